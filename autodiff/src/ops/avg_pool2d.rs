//! y_o = (1/taps) Σ_{taps t} x_{o,t}: the mean over a sliding window, plane by plane.
//!
//! Padding counts as zeros and in the number of taps, as PyTorch's `count_include_pad=True`, its default.

use eigenlens_linalg::{Real, Write};

use crate::channels::put;
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
        let [rows, cols] = [0, 1].map(|a| self.window.useful(a, input[a], output[a]));
        for i in rows {
            for j in cols.clone() {
                f(weight, input, output, [i, j]);
            }
        }
    }

    /// The extent of windows that lie side by side without gaps or padding, if they do.
    fn tiles(&self) -> Option<usize> {
        let w = &self.window;
        let [high, wide] = w.kernel;
        let simple = high == wide && w.stride == w.kernel && w.padding == [0; 2] && (w.dilation == [1; 2] || wide == 1);
        simple.then_some(wide)
    }

    /// The mean over windows of K × K that lie side by side: each pixel is read once.
    fn tile_means<T: Real, const K: usize>(&self, x: &[T], y: Slot<'_, T>) {
        let (input, output) = ([self.input[1], self.input[2]], [self.input[1] / K, self.input[2] / K]);
        let weight = T::from_f64(1.0 / (K * K) as f64);
        let planes = x.chunks_exact(input[0] * input[1]).zip(y.data.chunks_exact_mut(output[0] * output[1]));
        for (x, y_plane) in planes {
            for (rows, y_row) in x.chunks_exact(K * input[1]).zip(y_plane.chunks_exact_mut(output[1])) {
                for (at, y_o) in y_row.iter_mut().enumerate() {
                    let mut sum = T::ZERO;
                    for i in 0..K {
                        let taps: &[T; K] = rows[i * input[1] + at * K..].first_chunk().expect("inside of the row");
                        for &x in taps {
                            sum += x;
                        }
                    }
                    put(y_o, weight * sum, y.write);
                }
            }
        }
    }

    /// The transpose of [`AvgPool2d::tile_means`]: each pixel is written once.
    fn spread_tiles<T: Real, const K: usize>(&self, gy: &[T], gx: Slot<'_, T>) {
        let (input, output) = ([self.input[1], self.input[2]], [self.input[1] / K, self.input[2] / K]);
        let weight = T::from_f64(1.0 / (K * K) as f64);
        if gx.write == Write::Set && (input[0] % K != 0 || input[1] % K != 0) {
            gx.data.fill(T::ZERO);
        }
        let planes = gy.chunks_exact(output[0] * output[1]).zip(gx.data.chunks_exact_mut(input[0] * input[1]));
        for (gy, gx_plane) in planes {
            for (gy, rows) in gy.chunks_exact(output[1]).zip(gx_plane.chunks_exact_mut(K * input[1])) {
                for row in rows.chunks_exact_mut(input[1]) {
                    for (&g, taps) in gy.iter().zip(row.chunks_exact_mut(K)) {
                        let taps: &mut [T; K] = taps.try_into().expect("K values");
                        for x in taps {
                            put(x, weight * g, gx.write);
                        }
                    }
                }
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
        match self.tiles() {
            Some(2) => return self.tile_means::<T, 2>(x.data, y),
            Some(3) => return self.tile_means::<T, 3>(x.data, y),
            _ => {}
        }
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
        match self.tiles() {
            Some(2) => return self.spread_tiles::<T, 2>(gy.data, gx),
            Some(3) => return self.spread_tiles::<T, 3>(gy.data, gx),
            _ => {}
        }
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
