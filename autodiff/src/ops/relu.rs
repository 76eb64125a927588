//! relu: f = max(0, x), f′ = [x > 0], f″ = 0.
//!
//! Convention at the kink: f′(0) = 0, as PyTorch and JAX. A piecewise-linear op: its second derivative is zero wherever
//! it exists, so it adds no curvature of its own.

use eigenlens_linalg::Number;
use pulp::Simd;

use crate::family::Map;

/// The activation `relu`; formulas in the file's head.
#[derive(Clone, Copy, Debug)]
pub struct Relu;

impl Map for Relu {
    const NAME: &'static str = "relu";
    const PIECEWISE_LINEAR: bool = true;

    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let zero = T::splat(s, T::ZERO);
        // `x ≤ 0` is false for NaN, which therefore passes through; a max instruction could drop it.
        let off = T::le(s, x, zero);
        (T::select(s, off, zero, x), T::select(s, off, zero, T::splat(s, T::ONE)))
    }

    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, _x: T::V<S>, _y: T::V<S>, _d: T::V<S>) -> T::V<S> {
        T::splat(s, T::ZERO)
    }
}
