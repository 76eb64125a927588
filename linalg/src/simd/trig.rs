//! sin and cos.

use pulp::Simd;

use super::{Vectors, polynomial};

/// (n + ROUNDER, r, r') with x = n π/2 + r + r', n an integer, |r| ≤ π/4, r' below the last place of r.
///
/// Cody and Waite's reduction with fused operations: x − n π₁ is exact, as in `exp`.
#[inline(always)]
fn reduced<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> (T::V<S>, T::V<S>, T::V<S>) {
    let rounder = T::splat(s, T::ROUNDER);
    let shifted = T::fma(s, x, T::splat(s, T::TWO_OVER_PI), rounder);
    let n = T::sub(s, shifted, rounder);
    let [p1, p2, p3] = T::PI_2;
    let a = T::fnma(s, n, T::splat(s, p1), x);
    // a − n π₂ = b + lost − tail, without error: Knuth's two-sum, as neither term need be the larger.
    let w = T::mul(s, n, T::splat(s, p2));
    let tail = T::fma(s, n, T::splat(s, p2), T::neg(s, w));
    let b = T::sub(s, a, w);
    let c = T::sub(s, b, a);
    let lost = T::sub(s, T::sub(s, a, T::sub(s, b, c)), T::add(s, w, c));
    let low = T::fnma(s, n, T::splat(s, p3), T::sub(s, lost, tail));
    let r = T::add(s, b, low);
    (shifted, r, T::add(s, T::sub(s, b, r), low))
}

/// sin(n π/2 + r + r') for an n whose low bits are those of `shifted` − ROUNDER.
#[inline(always)]
fn quadrant<T: Vectors, S: Simd>(s: S, shifted: T::V<S>, r: T::V<S>, low: T::V<S>) -> T::V<S> {
    let z = T::mul(s, r, r);
    // sin(r + r') = r + (r³ P(z) + r' (1 − z/2))
    let c = T::fnma(s, z, T::splat(s, T::HALF), T::splat(s, T::UNIT));
    let sin = T::mul(s, T::mul(s, z, r), polynomial::<T, S>(s, z, T::SIN));
    let sin = T::add(s, r, T::fma(s, low, c, sin));
    // cos(r + r') = c + ((1 − c) − z/2) + (z² Q(z) − r r'), c = 1 − z/2 rounded
    let lost = T::fnma(s, z, T::splat(s, T::HALF), T::sub(s, T::splat(s, T::UNIT), c));
    let cos = T::fma(s, T::mul(s, z, z), polynomial::<T, S>(s, z, T::COS), T::fnma(s, r, low, lost));
    let cos = T::add(s, c, cos);
    let y = T::select(s, T::bit(s, shifted, 0), cos, sin);
    T::select(s, T::bit(s, shifted, 1), T::neg(s, y), y)
}

/// sin x.
#[inline(always)]
pub(super) fn sin<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let (shifted, r, low) = reduced::<T, S>(s, x);
    // The sum of the parts turns −0 into +0.
    let y = T::select(s, T::eq(s, x, T::splat(s, T::NIL)), x, quadrant::<T, S>(s, shifted, r, low));
    far::<T, S>(s, x, y, T::std_sin)
}

/// cos x = sin(x + π/2): the same with n one higher.
#[inline(always)]
pub(super) fn cos<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let (shifted, r, low) = reduced::<T, S>(s, x);
    let y = quadrant::<T, S>(s, T::add(s, shifted, T::splat(s, T::UNIT)), r, low);
    far::<T, S>(s, x, y, T::std_cos)
}

/// `y`, with lanes whose argument is beyond the reduction's range done one by one; that is rare and slow.
#[inline(always)]
fn far<T: Vectors, S: Simd>(s: S, x: T::V<S>, y: T::V<S>, f: fn(T) -> T) -> T::V<S> {
    let far = T::lt(s, T::splat(s, T::TRIG_MAX), T::abs(s, x));
    if T::any(s, far) {
        // Copies, so that the vectors themselves may stay in registers.
        let (x, mut near) = (T::select(s, far, x, T::splat(s, T::NIL)), y);
        one_by_one(T::lanes::<S>(&x), T::lanes_mut::<S>(&mut near), f);
        T::select(s, far, near, y)
    } else {
        y
    }
}

#[cold]
#[inline(never)]
fn one_by_one<T: Vectors>(x: &[T], y: &mut [T], f: fn(T) -> T) {
    for (x, y) in x.iter().zip(y) {
        *y = f(*x);
    }
}
