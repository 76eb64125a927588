//! y_n = E[t_n]: the rows of a table that the indices name.
//!
//! Linear in the table: ẏ_n = Ė[t_n], and Ē[v] = Σ ȳ_n over the places n with t_n = v. No curvature.

use eigenlens_linalg::{Real, Write, reduce};

use crate::family::fill_unwritten;
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};

/// Indices (batch, …), each an integer in 0..V stored as a real number, and a table (V, d) give (batch, …, d).
///
/// An index that is none gives a row of NaN: data are checked where they enter, not here.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    /// V.
    pub vocabulary: usize,
    /// d.
    pub features: usize,
}

impl Embedding {
    fn row<'a, T: Real>(&self, index: T, table: &'a [T]) -> Option<&'a [T]> {
        let at = self.at(index)?;
        Some(&table[at * self.features..(at + 1) * self.features])
    }

    fn at<T: Real>(&self, index: T) -> Option<usize> {
        let index = index.to_f64();
        let known = index >= 0.0 && index < self.vocabulary as f64 && index.fract() == 0.0;
        known.then_some(index as usize)
    }

    fn look_up<T: Real>(&self, indices: &[T], table: &[T], out: &mut [T]) {
        for (&index, out) in indices.iter().zip(out.chunks_exact_mut(self.features)) {
            match self.row(index, table) {
                Some(row) => out.copy_from_slice(row),
                None => out.fill(T::from_f64(f64::NAN)),
            }
        }
    }
}

impl<T: Real> Op<T> for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let want = Shape::fixed(&[self.vocabulary, self.features]);
        match inputs {
            [indices, table] if indices.batched && *table == want && self.features > 0 => {
                Ok(Shape::batched(&[&indices.dims[..], &[self.features]].concat()))
            }
            _ => Err(format!("takes batched indices and a table of shape {want}")),
        }
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 1
    }

    fn couples(&self, _i: usize, _j: usize) -> bool {
        false
    }

    fn eval(&self, _cx: &Cx, x: &[&[T]], y: &mut [T], _saved: &mut [T]) {
        self.look_up(x[0], x[1], y);
    }

    fn jvp(&self, _cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let table = dx[1].expect("a tangent of the table is given");
        for (k, dy) in dy.chunks_exact_mut(p.y.len().max(1)).enumerate() {
            self.look_up(p.x[0], table.lane(k), dy);
        }
    }

    fn vjp(&self, _cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        let Some(slot) = &mut gx[1] else { return };
        if slot.write == Write::Set {
            slot.data.fill(T::ZERO);
        }
        for k in 0..gy.lanes {
            let table = slot.lane(k);
            for (&index, gy) in p.x[0].iter().zip(gy.lane(k).chunks_exact(self.features)) {
                if let Some(at) = self.at(index) {
                    reduce::axpy(T::ONE, gy, &mut table[at * self.features..(at + 1) * self.features]);
                }
            }
        }
    }

    fn vjp_jvp(
        &self,
        cx: &Cx,
        p: Primal<'_, T>,
        _cotangent: Cotangent<'_, T>,
        _dx: &[Option<Lanes<'_, T>>],
        dgy: Option<Lanes<'_, T>>,
        dgx: &mut [Option<Slot<'_, T>>],
    ) {
        match dgy {
            Some(dgy) => self.vjp(cx, p, dgy, dgx),
            None => fill_unwritten(dgx),
        }
    }
}
