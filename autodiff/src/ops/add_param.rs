//! y = x + p with a parameter p that all samples share: a positional table, or a bias of its own.
//!
//! ẏ = ẋ + ṗ; x̄ = ȳ, p̄ = Σ ȳ over the batch and all axes that p does not have.

use eigenlens_linalg::{Real, reduce};

use super::copy_or_add;
use crate::family::LinearMap;
use crate::op::{Cx, Lanes, Shape, Slot};

/// The sum of x (batch, …) and a parameter whose extents are the last ones of x.
#[derive(Clone, Copy, Debug)]
pub struct AddParam;

impl<T: Real> LinearMap<T> for AddParam {
    fn name(&self) -> &'static str {
        "add-param"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [x, p] if x.batched && !p.batched && p.size() > 0 && x.dims.ends_with(&p.dims) => Ok(x.clone()),
            _ => Err("takes a batched input and a parameter whose extents are the last ones of the input".to_string()),
        }
    }

    fn apply(&self, _cx: &Cx, i: usize, x: Lanes<'_, T>, y: Slot<'_, T>) {
        let mut y = y;
        if i == 0 {
            return copy_or_add(T::ONE, x.data, y.data, y.write);
        }
        for k in 0..x.lanes {
            let (p, write) = (x.lane(k), y.write);
            for y in y.lane(k).chunks_exact_mut(p.len()) {
                copy_or_add(T::ONE, p, y, write);
            }
        }
    }

    fn transpose(&self, _cx: &Cx, i: usize, gy: Lanes<'_, T>, gx: Slot<'_, T>) {
        let mut gx = gx;
        if i == 0 {
            return copy_or_add(T::ONE, gy.data, gx.data, gx.write);
        }
        for k in 0..gy.lanes {
            let (gy, write) = (gy.lane(k), gx.write);
            let out = gx.lane(k);
            reduce::sum_rows(out, write, gy, gy.len() / out.len());
        }
    }
}
