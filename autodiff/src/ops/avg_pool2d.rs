//! y_o = (1/taps) Σ_{taps t} x_{o,t}: the mean over a sliding window, plane by plane.
//!
//! Padding counts as zeros and in the number of taps, as PyTorch's `count_include_pad=True`, its default.

use eigenlens_linalg::{Real, Write};

use crate::family::LinearMap;
use crate::op::{Cx, Lanes, Shape, Slot};
use crate::ops::max_pool2d::pooled_shape;
use crate::window::{Window, plane};

/// The mean over a window: x (batch, C, H, W) gives y (batch, C, H′, W′).
#[derive(Clone, Copy, Debug)]
pub struct AvgPool2d {
    input: [usize; 3],
    window: Window,
}

impl AvgPool2d {
    /// For images of (channels, height, width). Shapes are checked when a graph takes the op.
    pub fn new(input: [usize; 3], window: Window) -> Self {
        AvgPool2d { input, window }
    }

    /// Calls `f` with (weight, input size, output size, tap) for each tap.
    fn each_tap<T: Real>(&self, mut f: impl FnMut(T, [usize; 2], [usize; 2], [usize; 2])) {
        let input = [self.input[1], self.input[2]];
        let output = self.window.output(input).expect("the shape was checked when the graph was built");
        let weight = T::from_f64(1.0 / self.window.taps() as f64);
        for i in 0..self.window.kernel[0] {
            for j in 0..self.window.kernel[1] {
                f(weight, input, output, [i, j]);
            }
        }
    }
}

impl<T: Real> LinearMap<T> for AvgPool2d {
    fn name(&self) -> &'static str {
        "avg-pool2d"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        pooled_shape(self.input, &self.window, inputs)
    }

    fn apply(&self, _cx: &Cx, _i: usize, x: Lanes<'_, T>, y: Slot<'_, T>) {
        if y.write == Write::Set {
            y.data.fill(T::ZERO);
        }
        self.each_tap(|weight, input, output, tap| {
            let planes = x.data.chunks_exact(input[0] * input[1]);
            for (x, y) in planes.zip(y.data.chunks_exact_mut(output[0] * output[1])) {
                plane::add(&self.window, weight, x, input, output, tap, y);
            }
        });
    }

    fn transpose(&self, _cx: &Cx, _i: usize, gy: Lanes<'_, T>, gx: Slot<'_, T>) {
        if gx.write == Write::Set {
            gx.data.fill(T::ZERO);
        }
        self.each_tap(|weight, input, output, tap| {
            let planes = gy.data.chunks_exact(output[0] * output[1]);
            for (gy, gx) in planes.zip(gx.data.chunks_exact_mut(input[0] * input[1])) {
                plane::add_transposed(&self.window, weight, gy, input, output, tap, gx);
            }
        });
    }
}
