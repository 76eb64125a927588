//! y = exp(x) / Σ exp(x) over the last axis.
//!
//! - ẏ = y ⊙ (ẋ − Σ y ẋ)
//! - x̄ = y ⊙ (ȳ − Σ y ȳ)
//! - x̄̇ = y ⊙ (z − Σ y z), z = ȳ̇ + e ⊙ w, e = ẋ − Σ y ẋ, w = ȳ − Σ y ȳ (saved by `bend`)
//!
//! Derived in `probabilities.rs`.

use eigenlens_linalg::elementwise::update;
use eigenlens_linalg::{Real, Write, scratch};

use super::layer_norm::refuse_last;
use crate::family::{Times, fill_unwritten};
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};
use crate::probabilities::{centre, project, softmax};

/// Softmax over the last axis, of `features` values.
#[derive(Clone, Copy, Debug)]
pub struct Softmax {
    /// Extent of the last axis.
    pub features: usize,
}

impl<T: Real> Op<T> for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [x] if self.features > 0 => refuse_last(self.features, &x.dims).map_or_else(|| Ok(x.clone()), Err),
            _ => Err("takes one input, which is not empty".to_string()),
        }
    }

    fn bent_len(&self, _x: &[usize], y: usize) -> usize {
        y
    }

    fn couples(&self, _i: usize, _j: usize) -> bool {
        true
    }

    fn eval(&self, _cx: &Cx, x: &[&[T]], y: &mut [T], _saved: &mut [T]) {
        for (x, y) in x[0].chunks_exact(self.features).zip(y.chunks_exact_mut(self.features)) {
            softmax(x, y);
        }
    }

    fn jvp(&self, _cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let dx = dx[0].expect("a tangent is given");
        self.project(p.y, dx, &mut Slot { data: dy, lanes: dx.lanes, write: Write::Set });
    }

    fn vjp(&self, _cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        if let Some(slot) = &mut gx[0] {
            self.project(p.y, gy, slot);
        }
    }

    fn bend(&self, _cx: &Cx, p: Primal<'_, T>, gy: &[T], bent: &mut [T]) {
        bent.copy_from_slice(gy);
        for (y, w) in p.y.chunks_exact(self.features).zip(bent.chunks_exact_mut(self.features)) {
            centre(y, w);
        }
    }

    fn vjp_jvp(
        &self,
        cx: &Cx,
        p: Primal<'_, T>,
        cotangent: Cotangent<'_, T>,
        dx: &[Option<Lanes<'_, T>>],
        dgy: Option<Lanes<'_, T>>,
        dgx: &mut [Option<Slot<'_, T>>],
    ) {
        let Some(dx) = dx[0] else {
            return match dgy {
                Some(dgy) => self.vjp(cx, p, dgy, dgx),
                None => fill_unwritten(dgx),
            };
        };
        let Some(slot) = &mut dgx[0] else { return };
        let d = self.features;
        scratch::with(2 * d, |buffer: &mut [T]| {
            let (e, z) = buffer.split_at_mut(d);
            for k in 0..dx.lanes {
                let write = slot.write;
                let rows = p.y.chunks_exact(d).zip(cotangent.bent.chunks_exact(d)).zip(dx.lane(k).chunks_exact(d));
                for (n, (((y, w), dx), out)) in rows.zip(slot.lane(k).chunks_exact_mut(d)).enumerate() {
                    e.copy_from_slice(dx);
                    centre(y, e);
                    let mut add = Write::Set;
                    if let Some(dgy) = dgy {
                        z.copy_from_slice(&dgy.lane(k)[n * d..(n + 1) * d]);
                        add = Write::Add;
                    }
                    update(&Times(add), [e, w], [z]);
                    project(y, z, out, write);
                }
            }
        });
    }
}

impl Softmax {
    fn project<T: Real>(&self, y: &[T], z: Lanes<'_, T>, out: &mut Slot<'_, T>) {
        let (d, write) = (self.features, out.write);
        for k in 0..z.lanes {
            let rows = y.chunks_exact(d).zip(z.lane(k).chunks_exact(d));
            for ((y, z), out) in rows.zip(out.lane(k).chunks_exact_mut(d)) {
                project(y, z, out, write);
            }
        }
    }
}
