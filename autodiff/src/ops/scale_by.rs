//! y = s x with a learned scalar s.
//!
//! ẏ = ṡ x + s ẋ; x̄ = s ȳ, s̄ = Σ x ȳ; D[x̄]·ṡ = ṡ ȳ, D[s̄]·ẋ = Σ ẋ ȳ.

use eigenlens_linalg::{Real, reduce};

use super::copy_or_add;
use crate::channels::put;
use crate::family::Bilinear;
use crate::op::{Cx, Lanes, Shape, Slot};

/// The product of x (batch, …) and a parameter of one value.
#[derive(Clone, Copy, Debug)]
pub struct ScaleBy;

impl ScaleBy {
    fn times<T: Real>(x: Lanes<'_, T>, s: Lanes<'_, T>, out: &mut Slot<'_, T>) {
        for k in 0..out.lanes {
            let write = out.write;
            copy_or_add(s.shared(k)[0], x.shared(k), out.lane(k), write);
        }
    }
}

impl<T: Real> Bilinear<T> for ScaleBy {
    fn name(&self) -> &'static str {
        "scale-by"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [x, s] if x.batched && !s.batched && s.size() == 1 => Ok(x.clone()),
            _ => Err("takes a batched input and a parameter of one value".to_string()),
        }
    }

    fn product(&self, _cx: &Cx, x: Lanes<'_, T>, s: Lanes<'_, T>, y: &mut Slot<'_, T>) {
        Self::times(x, s, y);
    }

    fn pull_first(&self, _cx: &Cx, gy: Lanes<'_, T>, s: Lanes<'_, T>, gx: &mut Slot<'_, T>) {
        Self::times(gy, s, gx);
    }

    fn pull_second(&self, _cx: &Cx, gy: Lanes<'_, T>, x: Lanes<'_, T>, gs: &mut Slot<'_, T>) {
        for k in 0..gs.lanes {
            let write = gs.write;
            put(&mut gs.lane(k)[0], reduce::dot(gy.shared(k), x.shared(k)), write);
        }
    }
}
