//! y = u ⊙ v, elementwise.
//!
//! ẏ = u̇ ⊙ v + u ⊙ v̇; ū = ȳ ⊙ v; D[ū]·v̇ = ȳ ⊙ v̇.

use eigenlens_linalg::Real;
use eigenlens_linalg::elementwise::update;

use crate::family::{Bilinear, Times};
use crate::op::{Cx, Lanes, Shape, Slot};

/// The elementwise product of two equally shaped inputs.
#[derive(Clone, Copy, Debug)]
pub struct Mul;

fn times<T: Real>(a: Lanes<'_, T>, b: Lanes<'_, T>, out: &mut Slot<'_, T>) {
    let write = out.write;
    for k in 0..out.lanes {
        update(&Times(write), [a.shared(k), b.shared(k)], [out.lane(k)]);
    }
}

impl<T: Real> Bilinear<T> for Mul {
    fn name(&self) -> &'static str {
        "mul"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [u, v] if u == v => Ok(u.clone()),
            _ => Err("takes two inputs of the same shape".to_string()),
        }
    }

    fn product(&self, _cx: &Cx, u: Lanes<'_, T>, v: Lanes<'_, T>, y: &mut Slot<'_, T>) {
        times(u, v, y);
    }

    fn pull_first(&self, _cx: &Cx, gy: Lanes<'_, T>, v: Lanes<'_, T>, gu: &mut Slot<'_, T>) {
        times(gy, v, gu);
    }

    fn pull_second(&self, _cx: &Cx, gy: Lanes<'_, T>, u: Lanes<'_, T>, gv: &mut Slot<'_, T>) {
        times(gy, u, gv);
    }
}
