//! y = (x_1, …, x_m), one after the other along an axis.
//!
//! Linear: ẏ = (ẋ_1, …, ẋ_m), x̄_i is the part of ȳ that x_i became. No curvature. A parameter among the inputs stands in
//! every sample, so its cotangent is the sum over the batch.

use eigenlens_linalg::{Real, Write};

use super::copy_or_add;
use crate::family::fill_unwritten;
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};

/// Concatenation along one axis (not the batch's) of inputs whose other extents agree.
///
/// At least one input is batched; one that is not (a class token) is repeated for every sample.
#[derive(Clone, Debug)]
pub struct Concat {
    axis: usize,
    inputs: Vec<Shape>,
}

/// Copies between an input and its place in the output.
struct Place {
    /// Blocks of a sample.
    outer: usize,
    /// Values of the input's block.
    len: usize,
    /// Values of the output's block.
    stride: usize,
    /// Where the input's block begins in it.
    start: usize,
    /// Whether the input has a batch axis.
    batched: bool,
}

impl Place {
    /// Calls `f` with the ranges of the input and of the output, block by block.
    fn each(&self, batch: usize, mut f: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>, bool)) {
        for n in 0..batch {
            for o in 0..self.outer {
                let (own, at) = (if self.batched { n } else { 0 } * self.outer + o, n * self.outer + o);
                let (own, at) = (own * self.len, at * self.stride + self.start);
                f(own..own + self.len, at..at + self.len, n == 0 || self.batched);
            }
        }
    }
}

impl Concat {
    /// Of inputs of these shapes, along `axis` (0 is the first after the batch's).
    pub fn new(axis: usize, inputs: &[Shape]) -> Self {
        Concat { axis, inputs: inputs.to_vec() }
    }

    fn place(&self, i: usize) -> Place {
        let dims = &self.inputs[i].dims;
        let inner: usize = dims[self.axis + 1..].iter().product();
        let extent = |s: &Shape| s.dims[self.axis] * inner;
        Place {
            outer: dims[..self.axis].iter().product(),
            len: extent(&self.inputs[i]),
            stride: self.inputs.iter().map(extent).sum(),
            start: self.inputs[..i].iter().map(extent).sum(),
            batched: self.inputs[i].batched,
        }
    }
}

impl<T: Real> Op<T> for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        if inputs != self.inputs {
            return Err("the inputs are not of the shapes that it was made for".to_string());
        }
        let Some(first) = inputs.first().filter(|s| self.axis < s.dims.len()) else {
            return Err(format!("there is no axis {} to join", self.axis));
        };
        let others = |s: &Shape| [&s.dims[..self.axis], &s.dims[self.axis + 1..]].concat();
        for s in &inputs[1..] {
            if s.dims.len() != first.dims.len() || others(s) != others(first) {
                return Err(format!("{s} and {first} differ in more than axis {}", self.axis));
            }
        }
        if inputs.iter().all(|s| !s.batched) {
            return Err("at least one input must be batched".to_string());
        }
        let mut dims = first.dims.clone();
        dims[self.axis] = inputs.iter().map(|s| s.dims[self.axis]).sum();
        Ok(Shape::batched(&dims))
    }

    fn couples(&self, _i: usize, _j: usize) -> bool {
        false
    }

    fn eval(&self, cx: &Cx, x: &[&[T]], y: &mut [T], _saved: &mut [T]) {
        for (i, x) in x.iter().enumerate() {
            self.place(i).each(cx.batch, |own, at, _| y[at].copy_from_slice(&x[own]));
        }
    }

    fn jvp(&self, cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        for (k, dy) in dy.chunks_exact_mut(p.y.len().max(1)).enumerate() {
            for (i, dx) in dx.iter().enumerate() {
                self.place(i).each(cx.batch, |own, at, _| match dx {
                    Some(dx) => dy[at].copy_from_slice(&dx.lane(k)[own]),
                    None => dy[at].fill(T::ZERO),
                });
            }
        }
    }

    fn vjp(&self, cx: &Cx, _p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        for (i, slot) in gx.iter_mut().enumerate() {
            let Some(slot) = slot else { continue };
            for k in 0..gy.lanes {
                let (gy, write) = (gy.lane(k), slot.write);
                let out = slot.lane(k);
                self.place(i).each(cx.batch, |own, at, first| {
                    let write = if first { write } else { Write::Add };
                    copy_or_add(T::ONE, &gy[at], &mut out[own], write);
                });
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
