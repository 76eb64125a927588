//! exp: f = f′ = f″.

use eigenlens_linalg::Number;
use pulp::Simd;

use crate::family::Map;

/// The activation `exp`; formulas in the file's head.
#[derive(Clone, Copy, Debug)]
pub struct Exp;

impl Map for Exp {
    const NAME: &'static str = "exp";

    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let y = T::exp(s, x);
        (y, y)
    }

    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, _s: S, _x: T::V<S>, y: T::V<S>, _d: T::V<S>) -> T::V<S> {
        y
    }
}
