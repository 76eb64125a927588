//! sin: f′ = cos x, f″ = −sin x. Source of its use in networks: Sitzmann et al. 2020.

use eigenlens_linalg::Number;
use pulp::Simd;

use crate::family::Map;

/// The activation `sin`; formulas in the file's head.
#[derive(Clone, Copy, Debug)]
pub struct Sin;

impl Map for Sin {
    const NAME: &'static str = "sin";

    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        (T::sin(s, x), T::cos(s, x))
    }

    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, _x: T::V<S>, y: T::V<S>, _d: T::V<S>) -> T::V<S> {
        T::neg(s, y)
    }
}
