//! tanh: f′ = 1 − f², f″ = −2 f f′.

use eigenlens_linalg::Number;
use pulp::Simd;

use crate::family::Map;

/// The activation `tanh`; formulas in the file's head.
#[derive(Clone, Copy, Debug)]
pub struct Tanh;

impl Map for Tanh {
    const NAME: &'static str = "tanh";

    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let y = T::tanh(s, x);
        (y, T::fma(s, T::neg(s, y), y, T::splat(s, T::ONE)))
    }

    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, _x: T::V<S>, y: T::V<S>, d: T::V<S>) -> T::V<S> {
        T::mul(s, T::mul(s, T::splat(s, T::from_f64(-2.0)), y), d)
    }
}
