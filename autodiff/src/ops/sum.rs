//! y = Σ_j x_j over all features of a sample; a scaled sum is a mean.

use eigenlens_linalg::{Real, Write};

use crate::family::LinearMap;
use crate::op::{Cx, Lanes, Shape, Slot};

/// The sum (or, from [`Sum::mean`], the mean) of each sample's values: the heads φ = sum and mean of the local Hessian.
#[derive(Clone, Copy, Debug)]
pub struct Sum {
    mean: bool,
}

impl Sum {
    /// Σ_j x_j.
    pub fn total() -> Self {
        Sum { mean: false }
    }

    /// (1/d) Σ_j x_j.
    pub fn mean() -> Self {
        Sum { mean: true }
    }

    fn factor<T: Real>(&self, features: usize) -> T {
        if self.mean { T::from_f64(1.0 / features as f64) } else { T::ONE }
    }
}

impl<T: Real> LinearMap<T> for Sum {
    fn name(&self) -> &'static str {
        if self.mean { "mean" } else { "sum" }
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [x] if x.batched && x.size() > 0 => Ok(Shape::batched(&[])),
            _ => Err("takes one batched input that is not empty".to_string()),
        }
    }

    fn apply(&self, _cx: &Cx, _i: usize, x: Lanes<'_, T>, y: Slot<'_, T>) {
        let Slot { data: y_data, write, .. } = y;
        let features = (x.data.len() / y_data.len().max(1)).max(1);
        let factor = self.factor::<T>(features);
        for (y, x) in y_data.iter_mut().zip(x.data.chunks_exact(features)) {
            let term = factor * x.iter().copied().sum::<T>();
            *y = if write == Write::Set { term } else { *y + term };
        }
    }

    fn transpose(&self, _cx: &Cx, _i: usize, gy: Lanes<'_, T>, gx: Slot<'_, T>) {
        let Slot { data: gx_data, write, .. } = gx;
        let features = (gx_data.len() / gy.data.len().max(1)).max(1);
        let factor = self.factor::<T>(features);
        for (gx, &g) in gx_data.chunks_exact_mut(features).zip(gy.data) {
            let term = g * factor;
            gx.iter_mut().for_each(|x| *x = if write == Write::Set { term } else { *x + term });
        }
    }
}
