//! y = u vᵀ per sample: every product of a feature of u with one of v, the input of a bilinear layer.
//!
//! - ẏ = u̇ vᵀ + u v̇ᵀ
//! - ū = ȳ v, v̄ = ȳᵀ u, with ȳ as a matrix (a, b)
//! - the second-order terms are the same contractions with a tangent in the place of a factor.

use eigenlens_linalg::reduce::{axpy, dot};
use eigenlens_linalg::{Real, Write};

use crate::family::Bilinear;
use crate::op::{Cx, Lanes, Shape, Slot};

/// The outer product of u (batch, a) and v (batch, b): shape (batch, a, b). Cost: batch · a · b multiply-adds.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// Features of u.
    pub a: usize,
    /// Features of v.
    pub b: usize,
}

impl<T: Real> Bilinear<T> for Outer {
    fn name(&self) -> &'static str {
        "outer"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [u, v]
                if u.batched && v.batched && u.dims == [self.a] && v.dims == [self.b] && self.a > 0 && self.b > 0 =>
            {
                Ok(Shape::batched(&[self.a, self.b]))
            }
            _ => Err(format!("takes vectors of {} and {} features", self.a, self.b)),
        }
    }

    fn product(&self, _cx: &Cx, u: Lanes<'_, T>, v: Lanes<'_, T>, y: &mut Slot<'_, T>) {
        let write = y.write;
        for k in 0..y.lanes {
            let samples = u.shared(k).chunks_exact(self.a).zip(v.shared(k).chunks_exact(self.b));
            for ((u, v), y) in samples.zip(y.lane(k).chunks_exact_mut(self.a * self.b)) {
                for (&u, row) in u.iter().zip(y.chunks_exact_mut(self.b)) {
                    if write == Write::Set {
                        row.fill(T::ZERO);
                    }
                    axpy(u, v, row);
                }
            }
        }
    }

    fn pull_first(&self, _cx: &Cx, gy: Lanes<'_, T>, v: Lanes<'_, T>, gu: &mut Slot<'_, T>) {
        let write = gu.write;
        for k in 0..gu.lanes {
            let samples = gy.shared(k).chunks_exact(self.a * self.b).zip(v.shared(k).chunks_exact(self.b));
            for ((gy, v), gu) in samples.zip(gu.lane(k).chunks_exact_mut(self.a)) {
                for (row, gu) in gy.chunks_exact(self.b).zip(gu) {
                    let term = dot(row, v);
                    *gu = if write == Write::Set { term } else { *gu + term };
                }
            }
        }
    }

    fn pull_second(&self, _cx: &Cx, gy: Lanes<'_, T>, u: Lanes<'_, T>, gv: &mut Slot<'_, T>) {
        let write = gv.write;
        for k in 0..gv.lanes {
            let samples = gy.shared(k).chunks_exact(self.a * self.b).zip(u.shared(k).chunks_exact(self.a));
            for ((gy, u), gv) in samples.zip(gv.lane(k).chunks_exact_mut(self.b)) {
                if write == Write::Set {
                    gv.fill(T::ZERO);
                }
                gy.chunks_exact(self.b).zip(u).for_each(|(row, &u)| axpy(u, row, gv));
            }
        }
    }
}
