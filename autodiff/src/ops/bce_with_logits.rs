//! ℓ = (1/C) Σ_c [softplus(o_c) − t_c o_c]: binary cross-entropy of logits, averaged over the outputs of a sample.
//!
//! With s = sigmoid(o), for one sample:
//!
//! - ℓ̇ = (1/C) (s − t)·ȯ
//! - ō = ȳ (1/C) (s − t)
//! - ō̇ = ȳ̇ (1/C) (s − t) + ȳ (1/C) s (1 − s) ⊙ ȯ
//!
//! Targets may lie anywhere in [0, 1] (soft labels).

use eigenlens_linalg::elementwise::{Kernel, update};
use eigenlens_linalg::{Number, Real};
use pulp::Simd;

use super::mse::scale_rows;
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};
use eigenlens_linalg::Write;

/// Binary cross-entropy with logits (batch, C) against targets (batch, C) in [0, 1].
#[derive(Clone, Copy, Debug)]
pub struct BceWithLogits;

/// From (o, t): the term softplus(o) − t o, and s = sigmoid(o).
struct TermAndSigmoid;
impl<T: Number> Kernel<T, 2, 2> for TermAndSigmoid {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [o, t]: [T::V<S>; 2], _: [T::V<S>; 2]) -> [T::V<S>; 2] {
        [T::sub(s, T::softplus(s, o), T::mul(s, t, o)), T::sigmoid(s, o)]
    }
}

impl<T: Real> Op<T> for BceWithLogits {
    fn name(&self) -> &'static str {
        "bce-with-logits"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [o, t] if o.batched && o.dims.len() == 1 && o.size() > 0 && o == t => Ok(Shape::batched(&[])),
            _ => Err("takes logits (batch, C) and targets (batch, C)".to_string()),
        }
    }

    /// Sigmoids in the first half, terms of the loss in the second.
    fn saved_len(&self, x: &[usize], _y: usize) -> usize {
        2 * x[0]
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 0
    }

    fn couples(&self, i: usize, j: usize) -> bool {
        i == 0 && j == 0
    }

    fn eval(&self, _cx: &Cx, x: &[&[T]], y: &mut [T], saved: &mut [T]) {
        let (sigmoid, terms) = saved.split_at_mut(x[0].len());
        let classes = (x[0].len() / y.len().max(1)).max(1);
        update(&TermAndSigmoid, [x[0], x[1]], [&mut *terms, sigmoid]);
        for (y, terms) in y.iter_mut().zip(terms.chunks_exact(classes)) {
            *y = terms.iter().copied().sum::<T>() / T::from_f64(classes as f64);
        }
    }

    fn jvp(&self, _cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let dx = dx[0].expect("a tangent is given");
        let n = p.y.len().max(1);
        let classes = p.x[0].len() / n;
        for (k, dy) in dy.chunks_exact_mut(n).enumerate() {
            for (row, (dy, dx)) in dy.iter_mut().zip(dx.lane(k).chunks_exact(classes)).enumerate() {
                let at = row * classes;
                let sum: T = dx.iter().enumerate().map(|(c, &d)| (p.saved[at + c] - p.x[1][at + c]) * d).sum();
                *dy = sum / T::from_f64(classes as f64);
            }
        }
    }

    fn vjp(&self, _cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        let Some(slot) = &mut gx[0] else { return };
        let factor = T::from_f64(p.y.len().max(1) as f64 / p.x[0].len().max(1) as f64);
        for k in 0..gy.lanes {
            let write = slot.write;
            scale_rows(|i| p.saved[i] - p.x[1][i], gy.lane(k), factor, slot.lane(k), write);
        }
    }

    fn vjp_jvp(
        &self,
        cx: &Cx,
        p: Primal<'_, T>,
        cotangent: Cotangent<'_, T>,
        dx: &[Option<Lanes<'_, T>>],
        dgy: Option<Lanes<'_, T>>,
        dgx: &mut [Option<Slot<'_, T>>],
    ) {
        if let Some(dgy) = dgy {
            self.vjp(cx, p, dgy, dgx);
        }
        let (Some(dx), Some(slot)) = (dx[0], &mut dgx[0]) else { return };
        let write = if dgy.is_some() { Write::Add } else { slot.write };
        let factor = T::from_f64(p.y.len().max(1) as f64 / p.x[0].len().max(1) as f64);
        for k in 0..dx.lanes {
            let dx = dx.lane(k);
            let bend = |i: usize| p.saved[i] * (T::ONE - p.saved[i]) * dx[i];
            scale_rows(bend, cotangent.gy, factor, slot.lane(k), write);
        }
    }
}
