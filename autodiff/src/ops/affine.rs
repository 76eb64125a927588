//! y = x Wᵀ + b on the last axis: the linear layer.
//!
//! W is (out, in), PyTorch's layout; b is (out) and may be left out. With rows = batch times all axes but the last:
//!
//! - ẏ = ẋ Wᵀ + x Ẇᵀ + ḃ
//! - x̄ = ȳ W, W̄ = ȳᵀ x, b̄ = Σ_rows ȳ
//! - x̄̇ = ȳ̇ W + ȳ Ẇ, W̄̇ = ȳ̇ᵀ x + ȳᵀ ẋ, b̄̇ = Σ_rows ȳ̇
//!
//! Lanes with a shared weight are one product of K · rows rows.

use eigenlens_linalg::reduce::sum_rows;
use eigenlens_linalg::{Par, Real, View, Write, gemm};

use crate::family::pull_both;
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};

/// The linear layer x ↦ x Wᵀ (+ b); inputs x (batch, …, in), W (out, in) and, if there is a bias, b (out).
#[derive(Clone, Copy, Debug)]
pub struct Affine {
    inputs: usize,
    outputs: usize,
}

impl Affine {
    /// For weights of shape (`outputs`, `inputs`).
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Affine { inputs, outputs }
    }

    /// y ← x Wᵀ; lanes on x, on W, or on neither.
    pub(crate) fn product<T: Real>(&self, par: Par, x: Lanes<'_, T>, w: Lanes<'_, T>, y: &mut [T], write: Write) {
        let (n_in, n_out) = (self.inputs, self.outputs);
        if w.lanes == 1 {
            let rows = x.data.len() / n_in;
            gemm(y, write, T::ONE, View::new(x.data, rows, n_in), View::new(w.data, n_out, n_in).t(), par);
            return;
        }
        let rows = x.data.len() / n_in;
        for (k, y) in y.chunks_exact_mut((rows * n_out).max(1)).enumerate() {
            gemm(y, write, T::ONE, View::new(x.data, rows, n_in), View::new(w.lane(k), n_out, n_in).t(), par);
        }
    }

    /// x̄ ← ȳ W; lanes on ȳ, on W, or on neither.
    pub(crate) fn pull_x<T: Real>(&self, par: Par, gy: Lanes<'_, T>, w: Lanes<'_, T>, gx: &mut Slot<'_, T>) {
        let (n_in, n_out) = (self.inputs, self.outputs);
        let rows = gy.data.len() / n_out;
        let gy = View::new(gy.data, rows, n_out);
        if w.lanes == 1 {
            gemm(gx.data, gx.write, T::ONE, gy, View::new(w.data, n_out, n_in), par);
            return;
        }
        for k in 0..w.lanes {
            let write = gx.write;
            gemm(gx.lane(k), write, T::ONE, gy, View::new(w.lane(k), n_out, n_in), par);
        }
    }

    /// W̄ ← ȳᵀ x, lane by lane; the operand without lanes is shared.
    pub(crate) fn pull_w<T: Real>(&self, par: Par, gy: Lanes<'_, T>, x: Lanes<'_, T>, gw: &mut Slot<'_, T>) {
        let (n_in, n_out) = (self.inputs, self.outputs);
        let rows = x.data.len() / x.lanes / n_in;
        for k in 0..gw.lanes {
            let gy = if gy.lanes == 1 { gy.data } else { gy.lane(k) };
            let x = if x.lanes == 1 { x.data } else { x.lane(k) };
            let write = gw.write;
            gemm(gw.lane(k), write, T::ONE, View::new(gy, rows, n_out).t(), View::new(x, rows, n_in), par);
        }
    }
}

fn fill_rows<T: Real>(row: &[T], out: &mut [T]) {
    for out in out.chunks_exact_mut(row.len()) {
        out.copy_from_slice(row);
    }
}

fn pull_bias<T: Real>(gy: Lanes<'_, T>, slot: &mut Slot<'_, T>) {
    for k in 0..gy.lanes {
        let (gy, write) = (gy.lane(k), slot.write);
        let gb = slot.lane(k);
        let rows = gy.len() / gb.len().max(1);
        sum_rows(gb, write, gy, rows);
    }
}

impl<T: Real> Op<T> for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [x, w, bias @ ..] = inputs else {
            return Err(format!("takes x, W and maybe a bias, got {} inputs", inputs.len()));
        };
        // A bilinear layer's weight (out, a, b) is one of a · b inputs.
        if w.batched || w.dims.first() != Some(&self.outputs) || w.size() != self.outputs.saturating_mul(self.inputs) {
            let want = Shape::fixed(&[self.outputs, self.inputs]);
            return Err(format!("the weight must have shape {want}, got {w}"));
        }
        match bias {
            [] => {}
            [b] if *b == Shape::fixed(&[self.outputs]) => {}
            [b] => return Err(format!("the bias must have shape ({}), got {b}", self.outputs)),
            _ => return Err(format!("takes x, W and maybe a bias, got {} inputs", inputs.len())),
        }
        if x.dims.last() != Some(&self.inputs) || !x.batched {
            return Err(format!("the input must be batched with last extent {}, got {x}", self.inputs));
        }
        let mut y = x.clone();
        *y.dims.last_mut().expect("checked above") = self.outputs;
        Ok(y)
    }

    fn couples(&self, i: usize, j: usize) -> bool {
        (i, j) == (0, 1) || (i, j) == (1, 0)
    }

    fn eval(&self, cx: &Cx, x: &[&[T]], y: &mut [T], _saved: &mut [T]) {
        let write = match x.get(2) {
            Some(bias) => {
                fill_rows(bias, y);
                Write::Add
            }
            None => Write::Set,
        };
        self.product(cx.par, Lanes::new(x[0], 1), Lanes::new(x[1], 1), y, write);
    }

    fn jvp(&self, cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let mut write = Write::Set;
        if let Some(Some(db)) = dx.get(2) {
            let lane = dy.len() / db.lanes;
            for (k, dy) in dy.chunks_exact_mut(lane.max(1)).enumerate() {
                fill_rows(db.lane(k), dy);
            }
            write = Write::Add;
        }
        if let Some(dx) = dx[0] {
            self.product(cx.par, dx, Lanes::new(p.x[1], 1), dy, write);
            write = Write::Add;
        }
        if let Some(dw) = dx[1] {
            self.product(cx.par, Lanes::new(p.x[0], 1), dw, dy, write);
        }
    }

    fn vjp(&self, cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        if let Some(slot) = &mut gx[0] {
            self.pull_x(cx.par, gy, Lanes::new(p.x[1], 1), slot);
        }
        if let Some(slot) = &mut gx[1] {
            self.pull_w(cx.par, gy, Lanes::new(p.x[0], 1), slot);
        }
        if let Some(Some(slot)) = gx.get_mut(2) {
            pull_bias(gy, slot);
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
        let gy = Lanes::new(cotangent.gy, 1);
        if let Some(slot) = &mut dgx[0] {
            let slope = dgy.map(|dgy| (dgy, Lanes::new(p.x[1], 1)));
            pull_both(slot, slope, dx[1].map(|dw| (gy, dw)), |gy, w, slot| self.pull_x(cx.par, gy, w, slot));
        }
        if let Some(slot) = &mut dgx[1] {
            let slope = dgy.map(|dgy| (dgy, Lanes::new(p.x[0], 1)));
            pull_both(slot, slope, dx[0].map(|dx| (gy, dx)), |gy, x, slot| self.pull_w(cx.par, gy, x, slot));
        }
        if let Some(Some(slot)) = dgx.get_mut(2) {
            match dgy {
                Some(dgy) => pull_bias(dgy, slot),
                None if slot.write == Write::Set => slot.data.fill(T::ZERO),
                None => {}
            }
        }
    }
}
