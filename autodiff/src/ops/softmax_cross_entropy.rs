//! ℓ = log Σ_j exp(o_j) − o_t: the loss of classification, for class labels t.
//!
//! With p = softmax(o) and e the unit vector of the label, for one sample:
//!
//! - ℓ̇ = (p − e)·ȯ
//! - ō = ȳ (p − e)
//! - ō̇ = ȳ̇ (p − e) + ȳ (diag p − p pᵀ) ȯ
//!
//! The logits are shifted by their maximum before exponentiation, so no finite logit overflows.

use eigenlens_linalg::elementwise::{Kernel, update};
use eigenlens_linalg::{Number, Real, Write};
use pulp::Simd;

use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};

/// Softmax cross-entropy of logits (batch, C) with labels (batch), each an integer in 0..C stored as a real number.
///
/// A label outside the range gives NaN: data are checked where they enter, not here.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxCrossEntropy;

/// x ← exp(x).
struct ExpInPlace;
impl<T: Number> Kernel<T, 0, 1> for ExpInPlace {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, _: [T::V<S>; 0], [x]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::exp(s, x)]
    }
}

/// out ← p − e_t, row by row, scaled by s_n; or +=.
fn residual_rows<T: Real>(p: &[T], labels: &[T], scale: &[T], out: &mut [T], write: Write) {
    let classes = p.len() / labels.len().max(1);
    for (((p, &t), &s), out) in p.chunks_exact(classes).zip(labels).zip(scale).zip(out.chunks_exact_mut(classes)) {
        match write {
            Write::Set => out.iter_mut().zip(p).for_each(|(o, &p)| *o = s * p),
            Write::Add => out.iter_mut().zip(p).for_each(|(o, &p)| *o += s * p),
        }
        if let Some(o) = out.get_mut(t.to_f64() as usize) {
            *o -= s;
        }
    }
}

impl<T: Real> Op<T> for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax-cross-entropy"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [o, t] if o.batched && o.dims.len() == 1 && o.size() > 0 && *t == Shape::batched(&[]) => Ok(t.clone()),
            _ => Err("takes logits (batch, C) and labels (batch)".to_string()),
        }
    }

    fn saved_len(&self, x: &[usize], _y: usize) -> usize {
        x[0]
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 0
    }

    fn couples(&self, i: usize, j: usize) -> bool {
        i == 0 && j == 0
    }

    fn eval(&self, _cx: &Cx, x: &[&[T]], y: &mut [T], saved: &mut [T]) {
        let (logits, labels) = (x[0], x[1]);
        if labels.is_empty() {
            return;
        }
        let classes = logits.len() / labels.len();
        for ((row, out), (y, &t)) in
            logits.chunks_exact(classes).zip(saved.chunks_exact_mut(classes)).zip(y.iter_mut().zip(labels))
        {
            // A comparison that is false for NaN would hide it: start from the first and let NaN win.
            let top = row.iter().fold(row[0], |m, &v| if v > m || v.to_f64().is_nan() { v } else { m });
            out.iter_mut().zip(row).for_each(|(o, &v)| *o = v - top);
            let label = t.to_f64();
            let known = label >= 0.0 && label < classes as f64;
            *y = if known { -out[label as usize] } else { T::from_f64(f64::NAN) };
        }
        update(&ExpInPlace, [], [saved]);
        for (p, y) in saved.chunks_exact_mut(classes).zip(y.iter_mut()) {
            let sum: T = p.iter().copied().sum();
            p.iter_mut().for_each(|p| *p /= sum);
            *y += T::from_f64(sum.to_f64().ln());
        }
    }

    fn jvp(&self, _cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let dx = dx[0].expect("a tangent is given");
        let labels = p.x[1];
        let classes = p.saved.len() / labels.len().max(1);
        for (dy, dx) in dy.chunks_exact_mut(labels.len().max(1)).zip((0..dx.lanes).map(|k| dx.lane(k))) {
            for (((dy, dx), prob), &t) in
                dy.iter_mut().zip(dx.chunks_exact(classes)).zip(p.saved.chunks_exact(classes)).zip(labels)
            {
                let mean: T = prob.iter().zip(dx).map(|(&p, &d)| p * d).sum();
                *dy = mean - dx.get(t.to_f64() as usize).copied().unwrap_or(T::from_f64(f64::NAN));
            }
        }
    }

    fn vjp(&self, _cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        if let Some(slot) = &mut gx[0] {
            for k in 0..gy.lanes {
                let write = slot.write;
                residual_rows(p.saved, p.x[1], gy.lane(k), slot.lane(k), write);
            }
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
        let classes = p.saved.len() / p.x[1].len().max(1);
        for k in 0..dx.lanes {
            let rows = dx.lane(k).chunks_exact(classes).zip(p.saved.chunks_exact(classes)).zip(cotangent.gy);
            for (((dx, prob), &g), out) in rows.zip(slot.lane(k).chunks_exact_mut(classes)) {
                let mean: T = prob.iter().zip(dx).map(|(&p, &d)| p * d).sum();
                let terms = out.iter_mut().zip(prob).zip(dx);
                match write {
                    Write::Set => terms.for_each(|((o, &p), &d)| *o = g * p * (d - mean)),
                    Write::Add => terms.for_each(|((o, &p), &d)| *o += g * p * (d - mean)),
                }
            }
        }
    }
}
