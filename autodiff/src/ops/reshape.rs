//! y = x under other extents; the batch axis stays.

use eigenlens_linalg::Real;

use super::copy_or_add;
use crate::family::LinearMap;
use crate::op::{Cx, Lanes, Shape, Slot};

/// Gives each sample (or parameter) new extents with the same number of values; row-major order is kept.
#[derive(Clone, Debug)]
pub struct Reshape(pub Vec<usize>);

impl<T: Real> LinearMap<T> for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [x] = inputs else { return Err(format!("takes one input, got {}", inputs.len())) };
        let y = Shape { dims: self.0.clone(), batched: x.batched };
        if y.size() == x.size() { Ok(y) } else { Err(format!("{x} has another number of values than {y}")) }
    }

    fn apply(&self, _cx: &Cx, _i: usize, x: Lanes<'_, T>, y: Slot<'_, T>) {
        copy_or_add(T::ONE, x.data, y.data, y.write);
    }

    fn transpose(&self, _cx: &Cx, _i: usize, gy: Lanes<'_, T>, gx: Slot<'_, T>) {
        copy_or_add(T::ONE, gy.data, gx.data, gx.write);
    }
}
