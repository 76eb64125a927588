//! y[i_π(0), i_π(1), …] = x[i_0, i_1, …]: the axes of each sample in another order.
//!
//! Linear, and its transpose is the inverse permutation.

use eigenlens_linalg::{Real, Write};

use super::copy_or_add;
use crate::family::LinearMap;
use crate::op::{Cx, Lanes, Shape, Slot};

/// Most axes of a sample; indices live on the stack.
const MAX_AXES: usize = 8;

/// A permutation of the axes after the batch's: axis a of the output is axis `order[a]` of the input.
#[derive(Clone, Debug)]
pub struct Permute {
    dims: Vec<usize>,
    order: Vec<usize>,
    moved: Vec<usize>,
    inverse: Vec<usize>,
}

impl Permute {
    /// Of samples of extents `dims`. What is no permutation is refused with the shapes.
    pub fn new(dims: &[usize], order: &[usize]) -> Self {
        let mut inverse = vec![0; order.len()];
        for (a, &o) in order.iter().enumerate() {
            if let Some(i) = inverse.get_mut(o) {
                *i = a;
            }
        }
        let moved = order.iter().filter_map(|&o| dims.get(o).copied()).collect();
        Permute { dims: dims.to_vec(), order: order.to_vec(), moved, inverse }
    }
}

/// y ← x with its axes in this order, or +=, sample by sample.
fn permute<T: Real>(dims: &[usize], order: &[usize], x: &[T], y: &mut [T], write: Write) {
    let Some((&last, outer)) = order.split_last() else { return copy_or_add(T::ONE, x, y, write) };
    // How far apart in x the neighbours along each of x's axes are.
    let mut strides = [1; MAX_AXES];
    for a in (1..dims.len()).rev() {
        strides[a - 1] = strides[a] * dims[a];
    }
    let (size, run, step) = (dims.iter().product::<usize>(), dims[last], strides[last]);
    if size == 0 {
        return;
    }
    for (x, y) in x.chunks_exact(size).zip(y.chunks_exact_mut(size)) {
        let mut index = [0; MAX_AXES];
        let mut from = 0;
        for y in y.chunks_exact_mut(run) {
            if step == 1 {
                copy_or_add(T::ONE, &x[from..from + run], y, write);
            } else {
                for (y, x) in y.iter_mut().zip(x[from..].iter().step_by(step)) {
                    *y = if write == Write::Set { *x } else { *y + *x };
                }
            }
            // The next index of the outer axes, the last of them fastest.
            for (place, &axis) in outer.iter().enumerate().rev() {
                index[place] += 1;
                from += strides[axis];
                if index[place] < dims[axis] {
                    break;
                }
                from -= strides[axis] * dims[axis];
                index[place] = 0;
            }
        }
    }
}

impl<T: Real> LinearMap<T> for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let axes = self.dims.len();
        let mut seen = self.order.clone();
        seen.sort_unstable();
        if axes > MAX_AXES || seen.iter().copied().ne(0..axes) {
            return Err(format!("{:?} is no order of {axes} axes (at most {MAX_AXES})", self.order));
        }
        match inputs {
            [x] if x.batched && x.dims == self.dims => Ok(Shape::batched(&self.moved)),
            _ => Err(format!("takes one input of shape {}", Shape::batched(&self.dims))),
        }
    }

    fn apply(&self, _cx: &Cx, _i: usize, x: Lanes<'_, T>, y: Slot<'_, T>) {
        permute(&self.dims, &self.order, x.data, y.data, y.write);
    }

    fn transpose(&self, _cx: &Cx, _i: usize, gy: Lanes<'_, T>, gx: Slot<'_, T>) {
        permute(&self.moved, &self.inverse, gy.data, gx.data, gx.write);
    }
}
