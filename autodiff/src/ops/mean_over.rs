//! y = mean of x over some neighbouring axes of each sample: the mean token, or the mean over an image.
//!
//! Linear; the transpose gives each place ȳ / count.

use std::ops::Range;

use eigenlens_linalg::{Real, Write, reduce, scratch};

use super::copy_or_add;
use crate::channels::put;
use crate::family::LinearMap;
use crate::op::{Cx, Lanes, Shape, Slot};

/// The mean over neighbouring axes (0 is the first after the batch's), which are then gone.
#[derive(Clone, Debug)]
pub struct MeanOver {
    dims: Vec<usize>,
    axes: Range<usize>,
}

impl MeanOver {
    /// Of samples of extents `dims`: `0..1` of (T, d) is the mean token, `1..3` of (C, H, W) the mean over the image.
    pub fn new(dims: &[usize], axes: Range<usize>) -> Self {
        MeanOver { dims: dims.to_vec(), axes }
    }

    /// How many values a mean is taken of, and how many means lie side by side.
    fn sizes(&self) -> (usize, usize) {
        (self.dims[self.axes.clone()].iter().product(), self.dims[self.axes.end..].iter().product())
    }
}

impl<T: Real> LinearMap<T> for MeanOver {
    fn name(&self) -> &'static str {
        "mean-over"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let want = Shape::batched(&self.dims);
        if inputs != [want.clone()] || want.size() == 0 {
            return Err(format!("takes one input of shape {want}, not empty"));
        }
        if self.axes.is_empty() || self.axes.end > self.dims.len() {
            return Err(format!("{want} has no axes {:?} after the batch", self.axes));
        }
        Ok(Shape::batched(&[&self.dims[..self.axes.start], &self.dims[self.axes.end..]].concat()))
    }

    fn apply(&self, _cx: &Cx, _i: usize, x: Lanes<'_, T>, y: Slot<'_, T>) {
        let (count, inner) = self.sizes();
        let (out, write) = (y.data, y.write);
        let factor = T::from_f64(1.0 / count as f64);
        // Lanes and samples are further blocks.
        let blocks = x.data.chunks_exact(count * inner).zip(out.chunks_exact_mut(inner));
        if inner == 1 {
            blocks.for_each(|(x, y)| put(&mut y[0], factor * reduce::sum(x), write));
            return;
        }
        scratch::with(inner, |sums: &mut [T]| {
            for (x, y) in blocks {
                reduce::sum_rows(sums, Write::Set, x, count);
                copy_or_add(factor, sums, y, write);
            }
        });
    }

    fn transpose(&self, _cx: &Cx, _i: usize, gy: Lanes<'_, T>, gx: Slot<'_, T>) {
        let (count, inner) = self.sizes();
        let (out, write) = (gx.data, gx.write);
        let factor = T::from_f64(1.0 / count as f64);
        for (gy, gx) in gy.data.chunks_exact(inner).zip(out.chunks_exact_mut(count * inner)) {
            if inner == 1 {
                gx.iter_mut().for_each(|x| put(x, factor * gy[0], write));
            } else {
                gx.chunks_exact_mut(inner).for_each(|gx| copy_or_add(factor, gy, gx, write));
            }
        }
    }
}
