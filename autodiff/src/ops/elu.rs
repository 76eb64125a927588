//! elu: f = x for x > 0 and α (e^x − 1) otherwise; f′ = 1 or α e^x, f″ = 0 or α e^x.
//! Convention at 0: the left branch, f′(0) = α, f″(0) = α.
//!
//! Source: Clevert, Unterthiner & Hochreiter 2016.

use eigenlens_linalg::Number;
use pulp::Simd;

use crate::family::Map;

/// The activation `elu` with its scale α for negative arguments.
#[derive(Clone, Copy, Debug)]
pub struct Elu {
    /// α; the usual value is 1.
    pub alpha: f64,
}

impl Default for Elu {
    fn default() -> Self {
        Elu { alpha: 1.0 }
    }
}

impl Map for Elu {
    const NAME: &'static str = "elu";

    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let (zero, one) = (T::splat(s, T::ZERO), T::splat(s, T::ONE));
        let alpha = T::splat(s, T::from_f64(self.alpha));
        let left = T::le(s, x, zero);
        // Positive arguments are replaced by 0 before exponentiation, so that the branch not taken can't overflow.
        let x_left = T::select(s, left, x, zero);
        let y = T::select(s, left, T::mul(s, alpha, T::expm1(s, x_left)), x);
        let d = T::select(s, left, T::mul(s, alpha, T::exp(s, x_left)), one);
        (y, d)
    }

    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, x: T::V<S>, _y: T::V<S>, d: T::V<S>) -> T::V<S> {
        let zero = T::splat(s, T::ZERO);
        T::select(s, T::le(s, x, zero), d, zero)
    }
}
