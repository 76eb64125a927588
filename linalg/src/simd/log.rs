//! ln, log1p and softplus.

use pulp::Simd;

use super::{Vectors, exp, polynomial};

/// ln(1 + f) + low for √½ − 1 ≤ f ≤ √2 − 1 and a small `low`.
///
/// ln(1 + f) = 2 artanh(t), t = f / (2 + f), written as f − (f²/2 − t (f²/2 + R)), R = 2 artanh(t)/t − 2, so that the
/// leading term is exact.
/// Source: fdlibm `e_log.c` (Sun, 1993).
#[inline(always)]
fn series<T: Vectors, S: Simd>(s: S, f: T::V<S>, low: T::V<S>) -> T::V<S> {
    let t = T::div(s, f, T::add(s, f, T::splat(s, T::TWO)));
    let z = T::mul(s, t, t);
    let half = T::mul(s, T::mul(s, f, f), T::splat(s, T::HALF));
    let r = T::fma(s, z, polynomial::<T, S>(s, z, T::LOG), half);
    T::add(s, f, T::sub(s, T::fma(s, t, r, low), half))
}

/// ln(2ᵉ (1 + f)).
#[inline(always)]
fn core<T: Vectors, S: Simd>(s: S, f: T::V<S>, e: T::V<S>) -> T::V<S> {
    let rest = series::<T, S>(s, f, T::mul(s, e, T::splat(s, T::LN2[1])));
    T::fma(s, e, T::splat(s, T::LN2[0]), rest)
}

/// ln x.
#[inline(always)]
pub(super) fn ln<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let zero = T::splat(s, T::NIL);
    let tiny = T::lt(s, x, T::splat(s, T::MIN_NORMAL));
    let scaled = T::select(s, tiny, T::mul(s, x, T::splat(s, T::SUBNORMAL.0)), x);
    let (m, e) = T::frexp(s, scaled);
    let e = T::sub(s, e, T::select(s, tiny, T::splat(s, T::SUBNORMAL.1), zero));
    let y = core::<T, S>(s, T::sub(s, m, T::splat(s, T::UNIT)), e);
    ends::<T, S>(s, x, zero, y)
}

/// The values of a logarithm at and outside the ends of its domain: `x` itself at +∞ and NaN, −∞ at `zero`, NaN below.
#[inline(always)]
fn ends<T: Vectors, S: Simd>(s: S, x: T::V<S>, zero: T::V<S>, y: T::V<S>) -> T::V<S> {
    let inside = T::lt(s, x, T::splat(s, T::INF));
    let y = T::select(s, inside, y, x);
    let y = T::select(s, T::eq(s, x, zero), T::splat(s, T::MINUS_INF), y);
    T::select(s, T::lt(s, x, zero), T::splat(s, T::NOT_A_NUMBER), y)
}

/// ln(1 + x) = ln u + (1 + x − u)/u with u = 1 + x rounded; the correction joins f before the series.
#[inline(always)]
pub(super) fn log1p<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let one = T::splat(s, T::UNIT);
    let u = T::add(s, one, x);
    let swap = T::lt(s, one, x);
    let (large, small) = (T::select(s, swap, x, one), T::select(s, swap, one, x));
    let lost = T::sub(s, small, T::sub(s, u, large));
    let (m, e) = T::frexp(s, u);
    let min = T::splat(s, T::MIN_SCALE);
    let scale = T::neg(s, e);
    let scale = T::select(s, T::lt(s, scale, min), min, scale);
    let f = T::fma(s, lost, T::pow2(s, scale), T::sub(s, m, one));
    let y = core::<T, S>(s, f, e);
    T::copysign(s, ends::<T, S>(s, x, T::splat(s, T::MINUS_ONE), y), x)
}

/// max(x, 0) + ln(1 + z), z = e^−|x| ≤ 1. Since 1 ≤ 1 + z ≤ 2 the exponent is a comparison, and f needs no correction.
#[inline(always)]
pub(super) fn softplus<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let zero = T::splat(s, T::NIL);
    let z = exp::exp_negative::<T, S>(s, T::neg(s, T::abs(s, x)));
    let upper = T::lt(s, T::splat(s, T::SQRT_2_M1), z);
    let half = T::splat(s, T::HALF);
    let f = T::select(s, upper, T::fma(s, z, half, T::neg(s, half)), z);
    let high = T::select(s, upper, T::splat(s, T::LN2[0]), zero);
    let low = T::select(s, upper, T::splat(s, T::LN2[1]), zero);
    let y = T::add(s, high, series::<T, S>(s, f, low));
    T::add(s, T::select(s, T::lt(s, zero, x), x, zero), y)
}
