//! silu (swish): with s = sigmoid(x), f = x s, f′ = s (1 + x (1 − s)), f″ = s (1 − s) (2 + x (1 − 2 s)).
//!
//! Source: Elfwing, Uchibe & Doya 2018; Ramachandran et al. 2017.

use eigenlens_linalg::Number;
use pulp::Simd;

use crate::family::Map;

/// The activation `silu`; formulas in the file's head.
#[derive(Clone, Copy, Debug)]
pub struct Silu;

impl Map for Silu {
    const NAME: &'static str = "silu";

    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let one = T::splat(s, T::ONE);
        let g = T::sigmoid(s, x);
        let y = T::mul(s, x, g);
        (y, T::mul(s, g, T::fma(s, x, T::sub(s, one, g), one)))
    }

    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, x: T::V<S>, _y: T::V<S>, _d: T::V<S>) -> T::V<S> {
        let (one, two) = (T::splat(s, T::ONE), T::splat(s, T::from_f64(2.0)));
        let g = T::sigmoid(s, x);
        let slope = T::mul(s, g, T::sub(s, one, g));
        T::mul(s, slope, T::fma(s, x, T::sub(s, one, T::add(s, g, g)), two))
    }
}
