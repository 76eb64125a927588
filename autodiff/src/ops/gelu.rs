//! gelu, exact form: with Φ and φ the normal distribution and density, f = x Φ(x), f′ = Φ + x φ, f″ = φ (2 − x²).
//!
//! Source: Hendrycks & Gimpel 2016.

use eigenlens_linalg::Number;
use pulp::Simd;

use crate::family::Map;

/// The activation `gelu`; formulas in the file's head.
#[derive(Clone, Copy, Debug)]
pub struct Gelu;

/// The standard normal density e^{−x²/2} / √(2π).
#[inline(always)]
fn density<T: Number, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let square = T::mul(s, T::mul(s, x, x), T::splat(s, T::from_f64(-0.5)));
    T::mul(s, T::exp(s, square), T::splat(s, T::from_f64(0.398_942_280_401_432_7)))
}

impl Map for Gelu {
    const NAME: &'static str = "gelu";

    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let half = T::splat(s, T::from_f64(0.5));
        let erf = T::erf(s, T::mul(s, x, T::splat(s, T::from_f64(std::f64::consts::FRAC_1_SQRT_2))));
        let cdf = T::fma(s, half, erf, half);
        (T::mul(s, x, cdf), T::fma(s, x, density::<T, S>(s, x), cdf))
    }

    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, x: T::V<S>, _y: T::V<S>, _d: T::V<S>) -> T::V<S> {
        let two = T::splat(s, T::from_f64(2.0));
        T::mul(s, density::<T, S>(s, x), T::fma(s, T::neg(s, x), x, two))
    }
}
