//! y_o = max_{taps t} x_{o,t}: the maximum over a sliding window, plane by plane.
//!
//! With a(o) the pixel that is the largest: ẏ_o = ẋ_{a(o)}, x̄_{a(o)} += ȳ_o, and no curvature. `eval` saves a(o).
//! Conventions are PyTorch's: among equals the first in row-major order, padding is −∞, and NaN is larger than all.

use eigenlens_linalg::{Real, Write};

use crate::family::fill_unwritten;
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};
use crate::window::{Window, by};

/// The maximum over a window: x (batch, C, H, W) gives y (batch, C, H′, W′).
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2d {
    input: [usize; 3],
    window: Window,
}

/// The output shape of a pool, or what is wrong.
pub(super) fn pooled_shape(dims: [usize; 3], window: &Window, inputs: &[Shape]) -> Result<Shape, String> {
    let [x] = inputs else { return Err(format!("takes one input, got {}", inputs.len())) };
    let want = Shape::batched(&dims);
    if *x != want {
        return Err(format!("the input must have shape {want}, got {x}"));
    }
    let [channels, height, width] = dims;
    window.check()?;
    let output = window.output([height, width])?;
    let span = window.span();
    if (0..2).any(|a| 2 * window.padding[a] > span[a]) {
        let [padding, span] = [window.padding, span].map(by);
        return Err(format!("the padding {padding} must be at most half of what the window spans, {span}"));
    }
    if window.misses([height, width], output) {
        let [padding, dilation] = [window.padding, window.dilation].map(by);
        return Err(format!(
            "with padding {padding} and dilation {dilation}, some windows on {x} see nothing but padding"
        ));
    }
    Ok(Shape::batched(&[channels, output[0], output[1]]))
}

impl MaxPool2d {
    /// For images of (channels, height, width). Shapes are checked when a graph takes the op.
    pub fn new(input: [usize; 3], window: Window) -> Self {
        MaxPool2d { input, window }
    }

    fn plane(&self) -> usize {
        self.input[1] * self.input[2]
    }

    /// The maxima of one plane and the pixels where they are.
    fn pool<T: Real>(&self, x: &[T], output: [usize; 2], y: &mut [T], at: &mut [T]) {
        let [_, height, width] = self.input;
        // Taps that read inside: first and one past the last.
        let taps = |axis: usize, o: usize, extent: usize| {
            let (start, step) = (o * self.window.stride[axis], self.window.dilation[axis]);
            let first = self.window.padding[axis].saturating_sub(start).div_ceil(step);
            let end = (extent + self.window.padding[axis]).saturating_sub(start).div_ceil(step);
            (first, end.min(self.window.kernel[axis]))
        };
        let place = |axis: usize, o: usize, tap: usize| {
            o * self.window.stride[axis] + tap * self.window.dilation[axis] - self.window.padding[axis]
        };
        for oy in 0..output[0] {
            let (top, bottom) = taps(0, oy, height);
            for ox in 0..output[1] {
                let (left, right) = taps(1, ox, width);
                let mut best = place(0, oy, top) * width + place(1, ox, left);
                let mut max = x[best];
                for i in top..bottom {
                    let row = place(0, oy, i) * width;
                    for j in left..right {
                        let p = row + place(1, ox, j);
                        // NaN wins once seen: nothing compares larger.
                        if x[p] > max || x[p].to_f64().is_nan() {
                            (best, max) = (p, x[p]);
                        }
                    }
                }
                y[oy * output[1] + ox] = max;
                at[oy * output[1] + ox] = T::from_f64(best as f64);
            }
        }
    }
}

impl<T: Real> Op<T> for MaxPool2d {
    fn name(&self) -> &'static str {
        "max-pool2d"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        if self.plane() as f64 * T::EPSILON.to_f64() > 1.0 {
            return Err(format!("planes of {} pixels are too large to number in {}", self.plane(), T::NAME));
        }
        pooled_shape(self.input, &self.window, inputs)
    }

    fn saved_len(&self, _x: &[usize], y: usize) -> usize {
        y
    }

    fn by_sample(&self) -> bool {
        true
    }

    fn couples(&self, _i: usize, _j: usize) -> bool {
        false
    }

    fn eval(&self, _cx: &Cx, x: &[&[T]], y: &mut [T], saved: &mut [T]) {
        let [_, height, width] = self.input;
        let output = self.window.output([height, width]).expect("the shape was checked when the graph was built");
        let size = output[0] * output[1];
        let planes = y.chunks_exact_mut(size).zip(saved.chunks_exact_mut(size));
        for (x, (y, at)) in x[0].chunks_exact(self.plane()).zip(planes) {
            self.pool(x, output, y, at);
        }
    }

    fn jvp(&self, _cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let dx = dx[0].expect("a tangent is given");
        let size = p.saved.len() / (p.x[0].len() / self.plane()).max(1);
        for (k, dy) in dy.chunks_exact_mut(p.saved.len().max(1)).enumerate() {
            let planes = dx.lane(k).chunks_exact(self.plane()).zip(p.saved.chunks_exact(size));
            for ((dx, at), dy) in planes.zip(dy.chunks_exact_mut(size)) {
                dy.iter_mut().zip(at).for_each(|(dy, at)| *dy = dx[at.to_f64() as usize]);
            }
        }
    }

    fn vjp(&self, _cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        let Some(slot) = &mut gx[0] else { return };
        if slot.write == Write::Set {
            slot.data.fill(T::ZERO);
        }
        let size = (p.saved.len() / (p.x[0].len() / self.plane()).max(1)).max(1);
        for k in 0..gy.lanes {
            let planes = gy.lane(k).chunks_exact(size).zip(p.saved.chunks_exact(size));
            for ((gy, at), gx) in planes.zip(slot.lane(k).chunks_exact_mut(self.plane())) {
                gy.iter().zip(at).for_each(|(&gy, at)| gx[at.to_f64() as usize] += gy);
            }
        }
    }

    fn vjp_jvp(
        &self,
        cx: &Cx,
        p: Primal<'_, T>,
        _cotangent: Cotangent<'_, T>,
        _dx: &[Option<Lanes<'_, T>>],
        dgy: Option<Lanes<'_, T>>,
        dgx: &mut [Option<Slot<'_, T>>],
    ) {
        match dgy {
            Some(dgy) => self.vjp(cx, p, dgy, dgx),
            None => fill_unwritten(dgx),
        }
    }
}
