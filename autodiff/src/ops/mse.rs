//! ℓ = (1/C) Σ_c (o_c − t_c)²: the mean squared error over the outputs of a sample, without a factor ½.
//!
//! PyTorch's `MSELoss` with `reduction="mean"` once samples are averaged. For one sample:
//!
//! - ℓ̇ = (2/C) (o − t)·ȯ
//! - ō = ȳ (2/C) (o − t)
//! - ō̇ = ȳ̇ (2/C) (o − t) + ȳ (2/C) ȯ

use eigenlens_linalg::{Real, Write};

use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};

/// Mean squared error of outputs (batch, C) against targets (batch, C).
#[derive(Clone, Copy, Debug)]
pub struct Mse;

fn slope<T: Real>(classes: usize) -> T {
    T::from_f64(2.0 / classes as f64)
}

/// out ← s_n a_n, row by row (or +=).
pub(crate) fn scale_rows<T: Real>(a: impl Fn(usize) -> T, scale: &[T], factor: T, out: &mut [T], write: Write) {
    let columns = out.len() / scale.len().max(1);
    for (n, (out, &s)) in out.chunks_exact_mut(columns.max(1)).zip(scale).enumerate() {
        let s = s * factor;
        for (c, o) in out.iter_mut().enumerate() {
            let term = s * a(n * columns + c);
            *o = if write == Write::Set { term } else { *o + term };
        }
    }
}

impl<T: Real> Op<T> for Mse {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [o, t] if o.batched && o.dims.len() == 1 && o.size() > 0 && o == t => Ok(Shape::batched(&[])),
            _ => Err("takes outputs (batch, C) and targets (batch, C)".to_string()),
        }
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 0
    }

    fn couples(&self, i: usize, j: usize) -> bool {
        i == 0 && j == 0
    }

    fn eval(&self, _cx: &Cx, x: &[&[T]], y: &mut [T], _saved: &mut [T]) {
        let classes = x[0].len() / y.len().max(1);
        let rows = x[0].chunks_exact(classes.max(1)).zip(x[1].chunks_exact(classes.max(1)));
        for (y, (o, t)) in y.iter_mut().zip(rows) {
            let sum: T = o.iter().zip(t).map(|(&o, &t)| (o - t) * (o - t)).sum();
            *y = sum / T::from_f64(classes as f64);
        }
    }

    fn jvp(&self, _cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let dx = dx[0].expect("a tangent is given");
        let n = p.y.len().max(1);
        let classes = p.x[0].len() / n;
        for (k, dy) in dy.chunks_exact_mut(n).enumerate() {
            for (row, (dy, dx)) in dy.iter_mut().zip(dx.lane(k).chunks_exact(classes)).enumerate() {
                let at = row * classes;
                let sum: T = dx.iter().enumerate().map(|(c, &d)| (p.x[0][at + c] - p.x[1][at + c]) * d).sum();
                *dy = slope::<T>(classes) * sum;
            }
        }
    }

    fn vjp(&self, _cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        let Some(slot) = &mut gx[0] else { return };
        let factor = slope(p.x[0].len() / p.y.len().max(1));
        for k in 0..gy.lanes {
            let write = slot.write;
            scale_rows(|i| p.x[0][i] - p.x[1][i], gy.lane(k), factor, slot.lane(k), write);
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
        let factor = slope(p.x[0].len() / p.y.len().max(1));
        for k in 0..dx.lanes {
            let dx = dx.lane(k);
            scale_rows(|i| dx[i], cotangent.gy, factor, slot.lane(k), write);
        }
    }
}
