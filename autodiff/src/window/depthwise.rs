//! Depthwise correlations, whose patch matrices have too few rows for matrix products: each tap goes over its plane.

use eigenlens_linalg::{Real, Write};

use super::correlation::{Correlation, Sizes};
use super::plane;
use crate::op::{Lanes, Slot};

impl Correlation {
    /// Calls `f` with (index into lanes of x, of W, of y) for each plane of the output and each tap.
    fn each_tap(&self, s: &Sizes, images: usize, lanes: usize, mut f: impl FnMut(usize, usize, usize, [usize; 2])) {
        let (channels, taps) = (self.input[0], self.window.taps());
        for at in 0..lanes * images * self.outputs {
            let (o, n, lane) = (at % self.outputs, at / self.outputs % images, at / self.outputs / images);
            for tap in 0..taps {
                let w = (lane * self.outputs + o) * taps + tap;
                f(n * channels + o / s.outs, w, at, [tap / self.window.kernel[1], tap % self.window.kernel[1]]);
            }
        }
    }

    pub fn product_by_planes<T: Real>(&self, s: &Sizes, x: Lanes<'_, T>, w: Lanes<'_, T>, y: &mut [T], write: Write) {
        if write == Write::Set {
            y.fill(T::ZERO);
        }
        let size = s.from[0] * s.from[1];
        self.each_tap(s, x.data.len() / s.image, w.lanes, |x_at, w_at, y_at, tap| {
            let (x, y) = (&x.data[x_at * size..][..size], &mut y[y_at * s.pixels..][..s.pixels]);
            plane::add(&self.window, w.data[w_at], x, s.from, s.to, tap, y);
        });
    }

    pub fn pull_x_by_planes<T: Real>(&self, s: &Sizes, gy: Lanes<'_, T>, w: Lanes<'_, T>, gx: &mut Slot<'_, T>) {
        if gx.write == Write::Set {
            gx.data.fill(T::ZERO);
        }
        let (size, images) = (s.from[0] * s.from[1], gy.data.len() / (self.outputs * s.pixels));
        for lane in 0..w.lanes {
            let (w, gx) = (w.lane(lane), &mut gx.data[lane * images * s.image..]);
            self.each_tap(s, images, 1, |x_at, w_at, y_at, tap| {
                let (gy, gx) = (&gy.data[y_at * s.pixels..][..s.pixels], &mut gx[x_at * size..][..size]);
                plane::add_transposed(&self.window, w[w_at], gy, s.from, s.to, tap, gx);
            });
        }
    }

    pub fn pull_w_by_planes<T: Real>(&self, s: &Sizes, gy: Lanes<'_, T>, x: Lanes<'_, T>, gw: &mut Slot<'_, T>) {
        let size = s.from[0] * s.from[1];
        self.each_tap(s, x.data.len() / s.image, gy.lanes, |x_at, w_at, y_at, tap| {
            let (x, gy) = (&x.data[x_at * size..][..size], &gy.data[y_at * s.pixels..][..s.pixels]);
            gw.data[w_at] += plane::product(&self.window, gy, x, s.from, s.to, tap);
        });
    }
}
