//! y = x_1 + … + x_m: residual connections.

use eigenlens_linalg::Real;

use super::copy_or_add;
use crate::family::LinearMap;
use crate::op::{Cx, Lanes, Shape, Slot};

/// The sum of equally shaped inputs.
#[derive(Clone, Copy, Debug)]
pub struct Add;

impl<T: Real> LinearMap<T> for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [first, rest @ ..] if rest.iter().all(|s| s == first) => Ok(first.clone()),
            _ => Err("all inputs must have the same shape".to_string()),
        }
    }

    fn apply(&self, _cx: &Cx, _i: usize, x: Lanes<'_, T>, y: Slot<'_, T>) {
        copy_or_add(T::ONE, x.data, y.data, y.write);
    }

    fn transpose(&self, _cx: &Cx, _i: usize, gy: Lanes<'_, T>, gx: Slot<'_, T>) {
        copy_or_add(T::ONE, gy.data, gx.data, gx.write);
    }
}
