//! softplus: f = log(1 + e^x), f′ = sigmoid(x), f″ = f′ (1 − f′).

use eigenlens_linalg::Number;
use pulp::Simd;

use crate::family::Map;

/// The activation `softplus`; formulas in the file's head.
#[derive(Clone, Copy, Debug)]
pub struct Softplus;

impl Map for Softplus {
    const NAME: &'static str = "softplus";

    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        (T::softplus(s, x), T::sigmoid(s, x))
    }

    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, _x: T::V<S>, _y: T::V<S>, d: T::V<S>) -> T::V<S> {
        T::mul(s, d, T::sub(s, T::splat(s, T::ONE), d))
    }
}
