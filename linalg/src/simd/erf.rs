//! The error function.

use pulp::Simd;

use super::{Vectors, exp, polynomial};

/// erf x: x + x P(x²) near zero, ±(1 − e^−H(|x|)) beyond, H = −ln erfc.
///
/// H is nearly a quadratic, and the error of the exponential is scaled by erfc ≤ 0.29, so 1 − e^−H keeps all digits.
#[inline(always)]
pub(super) fn erf<T: Vectors, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let (split, max, one) = (T::splat(s, T::ERF_SPLIT), T::splat(s, T::ERF_MAX), T::splat(s, T::UNIT));
    let a = T::abs(s, x);
    let low = polynomial::<T, S>(s, T::mul(s, x, x), T::ERF_LOW);
    let low = T::fma(s, x, low, x);
    let bounded = T::select(s, T::lt(s, max, a), max, a);
    let h = polynomial::<T, S>(s, T::sub(s, bounded, split), T::ERF_HIGH);
    let high = T::sub(s, one, exp::exp_normal::<T, S>(s, T::neg(s, h)));
    T::copysign(s, T::select(s, T::lt(s, a, split), low, high), x)
}
