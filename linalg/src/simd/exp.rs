//! exp and what is made of it: expm1, tanh, sigmoid.

use pulp::Simd;

use super::{Vectors, polynomial};

/// (n, x − n LN2[0], r) with x = n ln 2 + r, n an integer, |r| ≤ ln 2 / 2.
///
/// r is exact but for its last rounding: n · LN2[0] is exact inside the fused operation, and the difference is a
/// multiple of the last place of LN2[0] below 1/2, hence representable.
#[inline(always)]
fn argument<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> (T::V<S>, T::V<S>, T::V<S>) {
    let rounder = T::splat(s, T::ROUNDER);
    let n = T::sub(s, T::fma(s, x, T::splat(s, T::LOG2_E), rounder), rounder);
    let first = T::fnma(s, n, T::splat(s, T::LN2[0]), x);
    (n, first, T::fnma(s, n, T::splat(s, T::LN2[1]), first))
}

/// (n, eʳ − 1) with x = n ln 2 + r.
#[inline(always)]
fn reduced<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
    let (n, _, r) = argument::<T, S>(s, x);
    let q = polynomial::<T, S>(s, r, T::EXP);
    (n, T::fma(s, T::mul(s, r, r), q, r))
}

/// eˣ for arguments whose result is normal and finite, with one binade to spare above.
#[inline(always)]
pub(super) fn exp_normal<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let (n, e) = reduced::<T, S>(s, x);
    T::mul(s, T::add(s, e, T::splat(s, T::UNIT)), T::pow2(s, n))
}

/// eˣ for x ≤ 0 or NaN: no overflow to care for.
#[inline(always)]
pub(super) fn exp_negative<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let (n, e) = reduced::<T, S>(s, x);
    let tiny = T::lt(s, x, T::splat(s, T::EXP_SPLIT));
    let shift = T::select(s, tiny, T::splat(s, T::EXP_SHIFT.0), T::splat(s, T::NIL));
    let back = T::select(s, tiny, T::splat(s, T::EXP_SHIFT.1), T::splat(s, T::UNIT));
    let y = T::mul(s, T::add(s, e, T::splat(s, T::UNIT)), T::pow2(s, T::add(s, n, shift)));
    let y = T::mul(s, y, back);
    T::select(s, T::lt(s, x, T::splat(s, T::EXP_MIN)), T::splat(s, T::NIL), y)
}

/// eˣ = 2ⁿ eʳ. The power is split in two, 2ⁿ⁻¹ · 2 or 2ⁿ⁺ᵏ · 2⁻ᵏ, so that the largest results do not overflow early
/// and subnormal ones are rounded once.
#[inline(always)]
pub(super) fn exp<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let (n, e) = reduced::<T, S>(s, x);
    let tiny = T::lt(s, x, T::splat(s, T::EXP_SPLIT));
    let shift = T::select(s, tiny, T::splat(s, T::EXP_SHIFT.0), T::splat(s, T::MINUS_ONE));
    let back = T::select(s, tiny, T::splat(s, T::EXP_SHIFT.1), T::splat(s, T::TWO));
    let y = T::mul(s, T::add(s, e, T::splat(s, T::UNIT)), T::pow2(s, T::add(s, n, shift)));
    let y = T::mul(s, y, back);
    let y = T::select(s, T::lt(s, x, T::splat(s, T::EXP_MIN)), T::splat(s, T::NIL), y);
    T::select(s, T::lt(s, T::splat(s, T::EXP_MAX), x), T::splat(s, T::INF), y)
}

/// eˣ − 1 = 2ⁿ (eʳ − 1) + (2ⁿ − 1), in halves so that the largest results do not overflow early.
#[inline(always)]
pub(super) fn expm1<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let low = T::splat(s, T::EXPM1_MIN);
    let bounded = T::select(s, T::lt(s, x, low), low, x);
    let (n, first, r) = argument::<T, S>(s, bounded);
    // What the rounding of r lost counts here: where n = 1, e is doubled and then cancels.
    let lost = T::fnma(s, n, T::splat(s, T::LN2[1]), T::sub(s, first, r));
    let q = polynomial::<T, S>(s, r, T::EXP);
    let e = T::add(s, r, T::fma(s, T::mul(s, r, r), q, lost));
    let half = T::pow2(s, T::add(s, n, T::splat(s, T::MINUS_ONE)));
    let y = T::fma(s, half, e, T::sub(s, half, T::splat(s, T::HALF)));
    let y = T::add(s, y, y);
    let y = T::select(s, T::lt(s, T::splat(s, T::EXP_MAX), x), T::splat(s, T::INF), y);
    // The half loses the last place of subnormal arguments, and the sum the sign of zero.
    T::select(s, T::eq(s, y, T::splat(s, T::NIL)), x, y)
}

/// tanh x = −t / (2 + t) with t = e^(−2|x|) − 1, and the sign of x.
///
/// The quotient is corrected for the roundings of t, of 2 + t and of the division, which leaves that of eʳ − 1.
#[inline(always)]
pub(super) fn tanh<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let (one, two) = (T::splat(s, T::UNIT), T::splat(s, T::TWO));
    let a = T::abs(s, x);
    let max = T::splat(s, T::TANH_MAX);
    let a = T::select(s, T::lt(s, max, a), max, a);
    let (n, e) = reduced::<T, S>(s, T::mul(s, a, T::splat(s, T::MINUS_TWO)));
    let p = T::pow2(s, n);
    let base = T::sub(s, p, one);
    let t = T::fma(s, p, e, base);
    let t_low = T::fma(s, p, e, T::sub(s, base, t));
    let d = T::add(s, two, t);
    let d_low = T::sub(s, t, T::sub(s, d, two));
    let inverse = T::div(s, one, d);
    let y = T::mul(s, t, inverse);
    let rest = T::fnma(s, y, d_low, T::add(s, T::fnma(s, y, d, t), t_low));
    T::copysign(s, T::fma(s, rest, inverse, y), x)
}

/// With z = e^−|x|: 1 / (1 + z) for x ≥ 0, z / (1 + z) below, so that neither end loses digits.
#[inline(always)]
pub(super) fn sigmoid<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let one = T::splat(s, T::UNIT);
    let z = exp_negative::<T, S>(s, T::neg(s, T::abs(s, x)));
    let top = T::select(s, T::lt(s, x, T::splat(s, T::NIL)), z, one);
    T::div(s, top, T::add(s, one, z))
}
