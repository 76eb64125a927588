//! y = x + p with a parameter p that all samples share: a positional table, or a bias of its own.
//!
//! ẏ = ẋ + ṗ; x̄ = ȳ, p̄ = Σ ȳ over the batch and all axes that p does not have. Rows of a table that go beyond those of x
//! are not read, and their derivatives are zero.

use eigenlens_linalg::{Real, Write, reduce};

use super::copy_or_add;
use crate::family::LinearMap;
use crate::op::{Cx, Lanes, Shape, Slot};

/// The sum of x (batch, …) and a parameter whose extents are the last ones of x; one that has as many axes as x may be longer
/// along the first.
#[derive(Clone, Copy, Debug)]
pub struct AddParam;

/// Whether a sample of these extents can read p.
fn reads(x: &[usize], p: &[usize]) -> bool {
    let longer = || p.len() == x.len() && p.first() > x.first() && p[1..] == x[1..];
    x.ends_with(p) || longer()
}

/// Values of p that a sample of so many reads, as a row.
fn row(p: usize, sample: usize) -> usize {
    p.min(sample)
}

impl<T: Real> LinearMap<T> for AddParam {
    fn name(&self) -> &'static str {
        "add-param"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [x, p] if x.batched && !p.batched && p.size() > 0 && reads(&x.dims, &p.dims) => Ok(x.clone()),
            _ => Err(
                "takes a batched input and a parameter whose extents are the last ones of the input, or whose first \
                      is longer"
                    .to_string(),
            ),
        }
    }

    fn apply(&self, cx: &Cx, i: usize, x: Lanes<'_, T>, y: Slot<'_, T>) {
        let mut y = y;
        if i == 0 {
            return copy_or_add(T::ONE, x.data, y.data, y.write);
        }
        for k in 0..x.lanes {
            let (p, write) = (x.lane(k), y.write);
            let y = y.lane(k);
            let row = row(p.len(), y.len() / cx.batch.max(1));
            for y in y.chunks_exact_mut(row.max(1)) {
                copy_or_add(T::ONE, &p[..row], y, write);
            }
        }
    }

    fn transpose(&self, cx: &Cx, i: usize, gy: Lanes<'_, T>, gx: Slot<'_, T>) {
        let mut gx = gx;
        if i == 0 {
            return copy_or_add(T::ONE, gy.data, gx.data, gx.write);
        }
        for k in 0..gy.lanes {
            let (gy, write) = (gy.lane(k), gx.write);
            let out = gx.lane(k);
            let row = row(out.len(), gy.len() / cx.batch.max(1));
            let (read, rest) = out.split_at_mut(row);
            reduce::sum_rows(read, write, gy, gy.len() / row.max(1));
            if write == Write::Set {
                rest.fill(T::ZERO);
            }
        }
    }
}
