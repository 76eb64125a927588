//! y = x[…, a..b, …]: a stretch of one axis, or one place of it (the axis is then gone).
//!
//! Linear; the transpose puts ȳ back in its place and 0 elsewhere.

use std::ops::Range;

use eigenlens_linalg::{Real, Write};

use super::copy_or_add;
use crate::family::LinearMap;
use crate::op::{Cx, Lanes, Shape, Slot};

/// A part of each sample along one axis: one token, the channels of one head, the queries of a joint projection.
#[derive(Clone, Debug)]
pub struct Select {
    dims: Vec<usize>,
    axis: usize,
    range: Range<usize>,
    keep: bool,
}

impl Select {
    /// Place `at` of an axis (0 is the first after the batch's) of samples of extents `dims`; the axis is then gone.
    pub fn index(dims: &[usize], axis: usize, at: usize) -> Self {
        Select { dims: dims.to_vec(), axis, range: at..at.saturating_add(1), keep: false }
    }

    /// The places `range` of an axis.
    pub fn range(dims: &[usize], axis: usize, range: Range<usize>) -> Self {
        Select { dims: dims.to_vec(), axis, range, keep: true }
    }

    /// Calls `f` with the ranges of x and y, block by block; lanes and samples are further blocks.
    fn each(&self, len: usize, mut f: impl FnMut(Range<usize>, Range<usize>)) {
        let inner: usize = self.dims[self.axis + 1..].iter().product();
        let (block, part) = (self.dims[self.axis] * inner, self.range.len() * inner);
        for o in 0..len / block.max(1) {
            let start = o * block + self.range.start * inner;
            f(start..start + part, o * part..(o + 1) * part);
        }
    }
}

impl<T: Real> LinearMap<T> for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let want = Shape::batched(&self.dims);
        if inputs != [want.clone()] {
            return Err(format!("takes one input of shape {want}"));
        }
        let Some(&extent) = self.dims.get(self.axis) else {
            return Err(format!("{want} has no axis {} after the batch", self.axis));
        };
        if self.range.is_empty() || self.range.end > extent {
            return Err(format!("places {:?} of axis {} of {want}", self.range, self.axis));
        }
        let mut dims = self.dims.clone();
        if self.keep {
            dims[self.axis] = self.range.len();
        } else {
            dims.remove(self.axis);
        }
        Ok(Shape::batched(&dims))
    }

    fn apply(&self, _cx: &Cx, _i: usize, x: Lanes<'_, T>, y: Slot<'_, T>) {
        let (out, write) = (y.data, y.write);
        self.each(x.data.len(), |from, to| copy_or_add(T::ONE, &x.data[from], &mut out[to], write));
    }

    fn transpose(&self, _cx: &Cx, _i: usize, gy: Lanes<'_, T>, gx: Slot<'_, T>) {
        let (out, write) = (gx.data, gx.write);
        if write == Write::Set {
            out.fill(T::ZERO);
        }
        self.each(out.len(), |to, from| copy_or_add(T::ONE, &gy.data[from], &mut out[to], write));
    }
}
