//! ℓ = −Σ_c a_c log p_c with p = softmax(o): the loss of classification, for class labels t.
//!
//! The weights a are PyTorch's: a_c = w_c ((1 − ε) [c = t] + ε / C), with label smoothing ε and class weights w. Without
//! either, ℓ = log Σ_c exp(o_c) − o_t. PyTorch's mean then divides by Σ_n w_{t_n}; here each sample's loss is as above,
//! and the mean is the caller's. A sample of several positions (tokens) has the mean of their losses.
//!
//! With A = Σ_c a_c, which depends on the label, and for one position of one:
//!
//! - ℓ̇ = (A p − a)·ȯ
//! - ō = ȳ (A p − a)
//! - ō̇ = ȳ̇ (A p − a) + ȳ A (diag p − p pᵀ) ȯ
//!
//! The logits are shifted by their maximum before exponentiation, so no finite logit overflows.

use eigenlens_linalg::elementwise::update;
use eigenlens_linalg::{Real, Write, reduce, scratch};

use super::{ScaledCopy, copy_or_add};
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};
use crate::probabilities::{project, softmax};

/// Softmax cross-entropy of logits (batch, …, C) with labels (batch, …), each an integer in 0..C stored as a real number.
///
/// A label outside the range gives NaN: data are checked where they enter, not here. It saves p, A p − a and A.
#[derive(Clone, Debug, Default)]
pub struct SoftmaxCrossEntropy {
    smoothing: f64,
    /// Empty if all classes weigh 1.
    weights: Vec<f64>,
}

impl SoftmaxCrossEntropy {
    /// With label smoothing ε, from 0 to 1.
    pub fn with_smoothing(self, smoothing: f64) -> Self {
        SoftmaxCrossEntropy { smoothing, ..self }
    }

    /// With a weight w_c ≥ 0 for each class.
    pub fn with_weights(self, weights: &[f64]) -> Self {
        SoftmaxCrossEntropy { weights: weights.to_vec(), ..self }
    }

    fn weight(&self, class: usize) -> f64 {
        self.weights.get(class).copied().unwrap_or(1.0)
    }

    /// ℓ of one position, and A: residual ← A p − a.
    fn position<T: Real>(&self, logits: &[T], label: T, p: &mut [T], residual: &mut [T]) -> (f64, T) {
        let classes = logits.len();
        let label = label.to_f64();
        if !(label >= 0.0 && label < classes as f64 && label.fract() == 0.0) {
            p.fill(T::from_f64(f64::NAN));
            residual.fill(T::from_f64(f64::NAN));
            return (f64::NAN, T::from_f64(f64::NAN));
        }
        let class = label as usize;
        let (top, log_sum) = softmax(logits, p);
        // −log p_c, from the shifted logits: p itself may have underflowed.
        let surprise = |c: usize| log_sum.to_f64() - (logits[c] - top).to_f64();
        let on = (1.0 - self.smoothing) * self.weight(class);
        let mut loss = on * surprise(class);
        let mut all = on;
        residual.fill(T::ZERO);
        if self.smoothing > 0.0 {
            let share = self.smoothing / classes as f64;
            for (c, residual) in residual.iter_mut().enumerate() {
                let off = share * self.weight(c);
                loss += off * surprise(c);
                all += off;
                *residual = T::from_f64(-off);
            }
        }
        residual[class] -= T::from_f64(on);
        let all = T::from_f64(all);
        reduce::axpy(all, p, residual);
        (loss, all)
    }
}

/// What `eval` saved: p and A p − a, row by row, and A.
struct Cached<'a, T> {
    p: &'a [T],
    residual: &'a [T],
    all: &'a [T],
    classes: usize,
    /// Values of a sample, and 1 / its positions.
    sample: usize,
    share: T,
}

fn cached<'a, T: Real>(p: &Primal<'a, T>) -> Cached<'a, T> {
    let (logits, labels, samples) = (p.x[0].len(), p.x[1].len(), p.y.len().max(1));
    let (probabilities, rest) = p.saved.split_at(logits);
    let (residual, all) = rest.split_at(logits);
    let share = T::from_f64(samples as f64 / labels.max(1) as f64);
    let classes = (logits / labels.max(1)).max(1);
    Cached { p: probabilities, residual, all, classes, sample: (logits / samples).max(1), share }
}

impl<T: Real> Op<T> for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax-cross-entropy"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let classes = match inputs {
            [o, t]
                if o.batched && t.batched && o.size() > 0 && o.dims.split_last().is_some_and(|(_, d)| t.dims == d) =>
            {
                o.dims[o.dims.len() - 1]
            }
            _ => return Err("takes logits (batch, …, C) and labels (batch, …)".to_string()),
        };
        if !(0.0..=1.0).contains(&self.smoothing) {
            return Err(format!("label smoothing is from 0 to 1, not {}", self.smoothing));
        }
        if !self.weights.is_empty() && self.weights.len() != classes {
            return Err(format!("{} class weights for {classes} classes", self.weights.len()));
        }
        match self.weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
            Some(bad) => Err(format!("a class weight is {bad}")),
            None => Ok(Shape::batched(&[])),
        }
    }

    fn saved_len(&self, x: &[usize], _y: usize) -> usize {
        2 * x[0] + x[1]
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
        let positions = labels.len() / y.len();
        let (p, rest) = saved.split_at_mut(logits.len());
        let (residual, all) = rest.split_at_mut(logits.len());
        let mut rows = logits
            .chunks_exact(classes)
            .zip(p.chunks_exact_mut(classes).zip(residual.chunks_exact_mut(classes)))
            .zip(labels.iter().zip(all));
        for y in y {
            let mut sum = 0.0;
            for ((logits, (p, residual)), (&label, all)) in rows.by_ref().take(positions) {
                let (loss, total) = self.position(logits, label, p, residual);
                (sum, *all) = (sum + loss, total);
            }
            *y = T::from_f64(sum / positions as f64);
        }
    }

    fn jvp(&self, _cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let dx = dx[0].expect("a tangent is given");
        let Cached { residual, sample, share, .. } = cached(&p);
        // Lanes are further samples, each with the residuals of its own.
        let rows = dx.data.chunks_exact(sample).zip(residual.chunks_exact(sample).cycle());
        for (dy, (dx, residual)) in dy.iter_mut().zip(rows) {
            *dy = share * reduce::dot(residual, dx);
        }
    }

    fn vjp(&self, _cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        let Some(slot) = &mut gx[0] else { return };
        let Cached { residual, sample, share, .. } = cached(&p);
        let rows = slot.data.chunks_exact_mut(sample).zip(residual.chunks_exact(sample).cycle());
        for (&gy, (out, residual)) in gy.data.iter().zip(rows) {
            copy_or_add(share * gy, residual, out, slot.write);
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
        let Cached { p: prob, all, classes, sample, share, .. } = cached(&p);
        let positions = sample / classes;
        scratch::with(classes, |moved: &mut [T]| {
            for k in 0..dx.lanes {
                let rows = dx.lane(k).chunks_exact(classes).zip(prob.chunks_exact(classes)).zip(all);
                for (n, (((dx, prob), &all), out)) in rows.zip(slot.lane(k).chunks_exact_mut(classes)).enumerate() {
                    project(prob, dx, moved, Write::Set);
                    let scale = cotangent.gy[n / positions] * share * all;
                    update(&ScaledCopy(scale, write), [moved], [out]);
                }
            }
        });
    }
}
