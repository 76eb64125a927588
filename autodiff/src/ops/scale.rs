//! y = c x with a constant c.

use eigenlens_linalg::Real;

use super::copy_or_add;
use crate::family::LinearMap;
use crate::op::{Cx, Lanes, Shape, Slot};

/// Multiplication by a constant.
#[derive(Clone, Copy, Debug)]
pub struct Scale(pub f64);

impl<T: Real> LinearMap<T> for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [x] => Ok(x.clone()),
            _ => Err(format!("takes one input, got {}", inputs.len())),
        }
    }

    fn apply(&self, _cx: &Cx, _i: usize, x: Lanes<'_, T>, y: Slot<'_, T>) {
        copy_or_add(T::from_f64(self.0), x.data, y.data, y.write);
    }

    fn transpose(&self, _cx: &Cx, _i: usize, gy: Lanes<'_, T>, gx: Slot<'_, T>) {
        copy_or_add(T::from_f64(self.0), gy.data, gx.data, gx.write);
    }
}
