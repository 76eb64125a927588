//! sigmoid: f = 1 / (1 + e^{−x}), f′ = f (1 − f), f″ = f′ (1 − 2 f).

use eigenlens_linalg::Number;
use pulp::Simd;

use crate::family::Map;

/// The activation `sigmoid`; formulas in the file's head.
#[derive(Clone, Copy, Debug)]
pub struct Sigmoid;

impl Map for Sigmoid {
    const NAME: &'static str = "sigmoid";

    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let y = T::sigmoid(s, x);
        (y, T::mul(s, y, T::sub(s, T::splat(s, T::ONE), y)))
    }

    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, _x: T::V<S>, y: T::V<S>, d: T::V<S>) -> T::V<S> {
        T::mul(s, d, T::fma(s, T::splat(s, T::from_f64(-2.0)), y, T::splat(s, T::ONE)))
    }
}
