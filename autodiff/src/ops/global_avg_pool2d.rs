//! y_c = (1/HW) Σ_{pixels} x_c: the mean of each plane, which turns an image into one value per channel.

use eigenlens_linalg::reduce::sum;
use eigenlens_linalg::{Real, Write};

use crate::family::LinearMap;
use crate::op::{Cx, Lanes, Shape, Slot};

/// The mean over the last two axes: x (batch, C, H, W) gives y (batch, C).
#[derive(Clone, Copy, Debug)]
pub struct GlobalAvgPool2d;

/// Pixels of a plane.
fn pixels(x: usize, y: usize) -> usize {
    (x / y.max(1)).max(1)
}

impl<T: Real> LinearMap<T> for GlobalAvgPool2d {
    fn name(&self) -> &'static str {
        "global-avg-pool2d"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [x] if x.batched && x.dims.len() == 3 && x.size() > 0 => Ok(Shape::batched(&x.dims[..1])),
            [x] => Err(format!("takes images of shape (batch, C, H, W) that are not empty, got {x}")),
            _ => Err(format!("takes one input, got {}", inputs.len())),
        }
    }

    fn apply(&self, _cx: &Cx, _i: usize, x: Lanes<'_, T>, y: Slot<'_, T>) {
        let pixels = pixels(x.data.len(), y.data.len());
        for (y_c, x) in y.data.iter_mut().zip(x.data.chunks_exact(pixels)) {
            let mean = sum(x) / T::from_f64(pixels as f64);
            *y_c = if y.write == Write::Set { mean } else { *y_c + mean };
        }
    }

    fn transpose(&self, _cx: &Cx, _i: usize, gy: Lanes<'_, T>, gx: Slot<'_, T>) {
        let pixels = pixels(gx.data.len(), gy.data.len());
        for (gx_c, &g) in gx.data.chunks_exact_mut(pixels).zip(gy.data) {
            let part = g / T::from_f64(pixels as f64);
            match gx.write {
                Write::Set => gx_c.fill(part),
                Write::Add => gx_c.iter_mut().for_each(|x| *x += part),
            }
        }
    }
}
