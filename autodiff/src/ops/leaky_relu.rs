//! leaky relu: f = x for x > 0 and α x otherwise, f′ = 1 or α, f″ = 0. Convention at the kink: f′(0) = α.
//!
//! Source: Maas, Hannun & Ng 2013.

use eigenlens_linalg::Number;
use pulp::Simd;

use crate::family::Map;

/// The activation `leaky-relu` with its slope α for negative arguments.
#[derive(Clone, Copy, Debug)]
pub struct LeakyRelu {
    /// α; PyTorch's default is 0.01.
    pub slope: f64,
}

impl Default for LeakyRelu {
    fn default() -> Self {
        LeakyRelu { slope: 0.01 }
    }
}

impl Map for LeakyRelu {
    const NAME: &'static str = "leaky-relu";
    const PIECEWISE_LINEAR: bool = true;

    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let slope = T::splat(s, T::from_f64(self.slope));
        let d = T::select(s, T::le(s, x, T::splat(s, T::ZERO)), slope, T::splat(s, T::ONE));
        (T::mul(s, d, x), d)
    }

    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, _x: T::V<S>, _y: T::V<S>, _d: T::V<S>) -> T::V<S> {
        T::splat(s, T::ZERO)
    }
}
