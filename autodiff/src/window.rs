//! Windows that slide over images, for convolutions and pools: their geometry, and patches as matrices.
//!
//! Along each axis, tap t of output o reads position o·stride + t·dilation − padding; what lies outside of the image is
//! padding. An image is (channels, height, width), row-major.

use std::ops::Range;

use eigenlens_linalg::Real;

pub(crate) mod correlation;
mod direct;
pub(crate) mod interleaved;
pub(crate) mod plane;

#[cfg(test)]
mod tests;

/// Largest number of a window along an axis. Whatever is larger is a mistake, and below it the arithmetic of places can't
/// overflow.
const MOST: usize = 1 << 20;

/// A sliding window: kernel size, stride, padding and dilation, each for (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Taps.
    pub kernel: [usize; 2],
    /// Steps from one output to the next.
    pub stride: [usize; 2],
    /// Rows and columns added on either side.
    pub padding: [usize; 2],
    /// Distance from one tap to the next.
    pub dilation: [usize; 2],
}

impl Window {
    /// A square window of stride 1 without padding or dilation.
    pub fn square(kernel: usize) -> Self {
        Window { kernel: [kernel; 2], stride: [1; 2], padding: [0; 2], dilation: [1; 2] }
    }

    /// The same with this stride on both axes.
    pub fn stride(self, stride: usize) -> Self {
        Window { stride: [stride; 2], ..self }
    }

    /// The same with this padding on all sides.
    pub fn padding(self, padding: usize) -> Self {
        Window { padding: [padding; 2], ..self }
    }

    /// The same with this dilation on both axes.
    pub fn dilation(self, dilation: usize) -> Self {
        Window { dilation: [dilation; 2], ..self }
    }

    /// Number of taps; `usize::MAX` if it is larger.
    pub fn taps(&self) -> usize {
        self.kernel[0].saturating_mul(self.kernel[1])
    }

    /// From the first tap to the last, both counted; `usize::MAX` if it is larger.
    pub fn span(&self) -> [usize; 2] {
        [0, 1].map(|a| self.dilation[a].saturating_mul(self.kernel[a].max(1) - 1).saturating_add(1))
    }

    /// # Errors
    /// If a number is larger than makes sense.
    pub(crate) fn check(&self) -> Result<(), String> {
        let all =
            [("kernel", self.kernel), ("stride", self.stride), ("padding", self.padding), ("dilation", self.dilation)];
        match all.iter().find(|(_, v)| v.iter().any(|&n| n > MOST)) {
            Some((what, v)) => Err(format!("the {what} is {}, at most {MOST} is possible", by(*v))),
            None => Ok(()),
        }
    }

    /// Whether the window is one pixel that visits every pixel.
    pub fn is_pointwise(&self) -> bool {
        self.taps() == 1 && self.stride == [1; 2] && self.padding == [0; 2]
    }

    /// (height, width) of the output for an input of (height, width).
    ///
    /// # Errors
    /// If an extent, stride or dilation is zero, or the window is larger than the padded input.
    pub fn output(&self, input: [usize; 2]) -> Result<[usize; 2], String> {
        let zero = |v: [usize; 2]| v.contains(&0);
        if zero(self.kernel) || zero(self.stride) || zero(self.dilation) || zero(input) {
            return Err(format!(
                "kernel {}, stride {}, dilation {} and image {} must not be zero",
                by(self.kernel),
                by(self.stride),
                by(self.dilation),
                by(input)
            ));
        }
        let padded = [0, 1].map(|a| self.padding[a].saturating_mul(2).saturating_add(input[a]));
        let span = self.span();
        if (0..2).any(|a| span[a] > padded[a]) {
            return Err(format!(
                "kernel {} with dilation {} spans {}, which is larger than the image {} with padding {}, {} in all",
                by(self.kernel),
                by(self.dilation),
                by(span),
                by(input),
                by(self.padding),
                by(padded)
            ));
        }
        Ok([0, 1].map(|a| (padded[a] - span[a]) / self.stride[a] + 1))
    }

    /// The outputs along `axis` whose tap `tap` reads inside the image.
    fn inside(&self, axis: usize, tap: usize, input: usize, output: usize) -> Range<usize> {
        let (stride, shift) = (self.stride[axis], tap * self.dilation[axis]);
        let start = self.padding[axis].saturating_sub(shift).div_ceil(stride).min(output);
        let end = (input + self.padding[axis]).saturating_sub(shift).div_ceil(stride).min(output);
        start..end.max(start)
    }

    /// The position that `tap` of output `at` reads; only for outputs [inside](Window::inside).
    fn position(&self, axis: usize, tap: usize, at: usize) -> usize {
        at * self.stride[axis] + tap * self.dilation[axis] - self.padding[axis]
    }

    /// Whether some window reads padding only, which has no maximum.
    pub(crate) fn misses(&self, input: [usize; 2], output: [usize; 2]) -> bool {
        (0..2).any(|a| {
            let (stride, padding) = (self.stride[a], self.padding[a]);
            let sees = |at: usize| {
                let first = padding.saturating_sub(at * stride).div_ceil(self.dilation[a]);
                first < self.kernel[a] && at * stride + first * self.dilation[a] < input[a] + padding
            };
            // Of the windows that begin inside, the last one sees least; those that begin before may step over the image.
            let before = padding.div_ceil(stride).min(output[a]);
            !(0..before).chain([output[a] - 1]).all(sees)
        })
    }

    /// The taps along `axis` that may read inside the image; the others read padding for every output.
    pub(crate) fn useful(&self, axis: usize, input: usize, output: usize) -> Range<usize> {
        let (padding, dilation) = (self.padding[axis], self.dilation[axis]);
        let last = (output - 1) * self.stride[axis];
        let end = (input + padding).div_ceil(dilation).min(self.kernel[axis]);
        padding.saturating_sub(last).div_ceil(dilation).min(end)..end
    }

    /// Writes the patches of an image as columns: row (channel, tap row, tap column) of `columns`, whose rows are
    /// `stride` apart, gets what that tap reads for each output.
    pub(crate) fn pack<T: Real>(
        &self,
        image: &[T],
        input: [usize; 2],
        output: [usize; 2],
        columns: &mut [T],
        stride: usize,
    ) {
        let (size, row) = (output[0] * output[1], self.taps());
        for (c, plane) in image.chunks_exact(input[0] * input[1]).enumerate() {
            for i in 0..self.kernel[0] {
                for j in 0..self.kernel[1] {
                    let at = (c * row + i * self.kernel[1] + j) * stride;
                    self.read_tap(plane, input, output, [i, j], &mut columns[at..at + size]);
                }
            }
        }
    }

    /// What one tap reads for each output of a plane.
    fn read_tap<T: Real>(&self, plane: &[T], input: [usize; 2], output: [usize; 2], tap: [usize; 2], out: &mut [T]) {
        let rows = self.inside(0, tap[0], input[0], output[0]);
        let cols = self.inside(1, tap[1], input[1], output[1]);
        if rows.is_empty() || cols.is_empty() {
            out.fill(T::ZERO);
            return;
        }
        let width = output[1];
        out[..rows.start * width].fill(T::ZERO);
        out[rows.end * width..].fill(T::ZERO);
        if self.stride == [1; 2] && width == input[1] {
            // Rows of equal length: the tap reads the plane shifted, so one copy does, and its borders are cleared.
            let from = self.position(0, tap[0], rows.start) * width + self.position(1, tap[1], cols.start);
            let (start, end) = (rows.start * width + cols.start, (rows.end - 1) * width + cols.end);
            out[start..end].copy_from_slice(&plane[from..from + end - start]);
            if cols != (0..width) {
                for out in out[rows.start * width..rows.end * width].chunks_exact_mut(width) {
                    out[..cols.start].fill(T::ZERO);
                    out[cols.end..].fill(T::ZERO);
                }
            }
            return;
        }
        for y in rows {
            let out = &mut out[y * width..(y + 1) * width];
            out[..cols.start].fill(T::ZERO);
            out[cols.end..].fill(T::ZERO);
            let from = self.position(0, tap[0], y) * input[1] + self.position(1, tap[1], cols.start);
            let out = &mut out[cols.clone()];
            if self.stride[1] == 1 {
                out.copy_from_slice(&plane[from..from + out.len()]);
            } else {
                out.iter_mut().zip(plane[from..].iter().step_by(self.stride[1])).for_each(|(out, &x)| *out = x);
            }
        }
    }

    /// The transpose of [`Window::pack`]: adds each entry of `columns` to the pixel that it was read from.
    pub(crate) fn scatter<T: Real>(
        &self,
        columns: &[T],
        stride: usize,
        input: [usize; 2],
        output: [usize; 2],
        image: &mut [T],
    ) {
        let (size, row) = (output[0] * output[1], self.taps());
        for (c, plane) in image.chunks_exact_mut(input[0] * input[1]).enumerate() {
            for i in 0..self.kernel[0] {
                for j in 0..self.kernel[1] {
                    let at = (c * row + i * self.kernel[1] + j) * stride;
                    plane::add_transposed(self, T::ONE, &columns[at..at + size], input, output, [i, j], plane);
                }
            }
        }
    }
}

/// "3×5".
pub(crate) fn by(v: [usize; 2]) -> String {
    format!("{}×{}", v[0], v[1])
}
