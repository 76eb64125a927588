//! y = log Σ_j exp(x_j) over all features of a sample: the head φ = logsumexp of the local Hessian.
//!
//! With p = softmax(x), which it saves:
//!
//! - ẏ = p·ẋ
//! - x̄ = ȳ p
//! - x̄̇ = ȳ̇ p + ȳ (diag p − p pᵀ) ẋ
//!
//! The values are shifted by their maximum, so that no finite x overflows.

use eigenlens_linalg::{Real, Write, reduce, scratch};

use super::copy_or_add;
use super::mse::scale_rows;
use crate::family::fill_unwritten;
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};
use crate::probabilities::{project, softmax};

/// The logarithm of the sum of the exponentials of a sample's values.
#[derive(Clone, Copy, Debug)]
pub struct LogSumExp;

impl<T: Real> Op<T> for LogSumExp {
    fn name(&self) -> &'static str {
        "log-sum-exp"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [x] if x.batched && x.size() > 0 => Ok(Shape::batched(&[])),
            _ => Err("takes one batched input that is not empty".to_string()),
        }
    }

    fn saved_len(&self, x: &[usize], _y: usize) -> usize {
        x[0]
    }

    fn couples(&self, _i: usize, _j: usize) -> bool {
        true
    }

    fn eval(&self, _cx: &Cx, x: &[&[T]], y: &mut [T], saved: &mut [T]) {
        let features = (x[0].len() / y.len().max(1)).max(1);
        let rows = x[0].chunks_exact(features).zip(saved.chunks_exact_mut(features));
        for (y, (x, p)) in y.iter_mut().zip(rows) {
            let (top, log_sum) = softmax(x, p);
            *y = top + log_sum;
        }
    }

    fn jvp(&self, _cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let dx = dx[0].expect("a tangent is given");
        let n = p.y.len().max(1);
        let features = p.saved.len() / n;
        for (k, dy) in dy.chunks_exact_mut(n).enumerate() {
            let rows = p.saved.chunks_exact(features).zip(dx.lane(k).chunks_exact(features));
            dy.iter_mut().zip(rows).for_each(|(dy, (p, dx))| *dy = reduce::dot(p, dx));
        }
    }

    fn vjp(&self, _cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        let Some(slot) = &mut gx[0] else { return };
        for k in 0..gy.lanes {
            let write = slot.write;
            scale_rows(|i| p.saved[i], gy.lane(k), T::ONE, slot.lane(k), write);
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
        match dgy {
            Some(dgy) => self.vjp(cx, p, dgy, dgx),
            None => fill_unwritten(dgx),
        }
        let (Some(dx), Some(slot)) = (dx[0], &mut dgx[0]) else { return };
        let features = p.saved.len() / p.y.len().max(1);
        scratch::with(features, |z: &mut [T]| {
            for k in 0..dx.lanes {
                let rows = p.saved.chunks_exact(features).zip(dx.lane(k).chunks_exact(features));
                for (((p, dx), &gy), out) in rows.zip(cotangent.gy).zip(slot.lane(k).chunks_exact_mut(features)) {
                    copy_or_add(gy, dx, z, Write::Set);
                    project(p, z, out, Write::Add);
                }
            }
        });
    }
}
