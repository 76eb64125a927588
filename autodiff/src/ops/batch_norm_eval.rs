//! y = γ ⊙ x̂ + β, x̂ = r ⊙ (x − m), r = 1 / √(v + ε), with given m and v per channel: batch norm in eval mode.
//!
//! An affine map per channel, bilinear in γ and x. With sums over all values of a channel:
//!
//! - ẏ = γ r ⊙ ẋ + γ̇ ⊙ x̂ + β̇
//! - x̄ = γ r ⊙ ȳ; γ̄ = Σ x̂ ⊙ ȳ; β̄ = Σ ȳ
//! - x̄̇ = γ r ⊙ ȳ̇ + γ̇ r ⊙ ȳ; γ̄̇ = Σ (x̂ ⊙ ȳ̇ + r ẋ ⊙ ȳ); β̄̇ = Σ ȳ̇

use eigenlens_linalg::elementwise::update;
use eigenlens_linalg::{Real, Write, reduce, scratch};

use crate::channels::{Combine, dots, scale, spread, sums};
use crate::family::Times;
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};

/// Batch norm in eval mode: inputs x (batch, C, …), γ (C), β (C), running mean m (C) and running variance v (C).
///
/// The last two are data: nothing is differentiated by them. It saves r (C), γ r (C) and x̂.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormEval {
    /// ε, inside of the root.
    pub eps: f64,
}

struct Cached<'a, T> {
    r: &'a [T],
    slope: &'a [T],
    xhat: &'a [T],
}

fn cached<'a, T: Real>(p: &Primal<'a, T>) -> Cached<'a, T> {
    let c = p.x[1].len();
    let (r, rest) = p.saved.split_at(c);
    let (slope, xhat) = rest.split_at(c);
    Cached { r, slope, xhat }
}

/// Samples in a slice, by the number of values of each.
fn rows<T>(data: &[T], size: usize) -> std::slice::ChunksExact<'_, T> {
    data.chunks_exact(size)
}

impl<T: Real> Op<T> for BatchNormEval {
    fn name(&self) -> &'static str {
        "batch-norm-eval"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [x, rest @ ..] = inputs else { return Err("takes an input".to_string()) };
        if rest.len() != 4 {
            return Err("takes x, weight, bias, running mean and running variance".to_string());
        }
        if self.eps.is_nan() || self.eps <= 0.0 || self.eps.is_infinite() {
            return Err(format!("ε must be positive, is {}", self.eps));
        }
        let Some(&channels) = x.dims.first().filter(|_| x.batched && x.size() > 0) else {
            return Err(format!("the input must be batched with channels, is {x}"));
        };
        let want = Shape::fixed(&[channels]);
        match rest.iter().find(|s| **s != want) {
            Some(bad) => Err(format!("weight, bias and statistics must have shape {want}, got {bad}")),
            None => Ok(x.clone()),
        }
    }

    fn saved_len(&self, x: &[usize], y: usize) -> usize {
        2 * x[1] + y
    }

    fn differentiable(&self, i: usize) -> bool {
        i < 3
    }

    fn couples(&self, i: usize, j: usize) -> bool {
        (i, j) == (0, 1) || (i, j) == (1, 0)
    }

    fn eval(&self, cx: &Cx, x: &[&[T]], y: &mut [T], saved: &mut [T]) {
        let &[x, gain, bias, mean, variance] = x else { unreachable!("output_shape asked for five inputs") };
        let c = gain.len();
        let size = (x.len() / cx.batch.max(1)).max(1);
        let (r, rest) = saved.split_at_mut(c);
        let (slope, xhat) = rest.split_at_mut(c);
        for (r, v) in r.iter_mut().zip(variance) {
            *r = T::from_f64(1.0 / (v.to_f64() + self.eps).sqrt());
        }
        update(&Times(Write::Set), [gain, r], [slope]);
        scratch::with(size, |centred: &mut [T]| {
            for ((x, xhat), y) in rows(x, size).zip(xhat.chunks_exact_mut(size)).zip(y.chunks_exact_mut(size)) {
                // x − m first: folding m into β would lose digits where m is large.
                spread(mean, centred, Write::Set);
                update(&Combine([T::ONE, -T::ONE], T::ZERO, Write::Set), [x, centred], [xhat]);
                scale(r, xhat, centred, Write::Set);
                xhat.copy_from_slice(centred);
                spread(bias, y, Write::Set);
                scale(gain, xhat, y, Write::Add);
            }
        });
    }

    fn jvp(&self, cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let Cached { slope, xhat, .. } = cached(&p);
        let size = (p.y.len() / cx.batch.max(1)).max(1);
        for (k, dy) in dy.chunks_exact_mut(p.y.len().max(1)).enumerate() {
            for (n, dy) in dy.chunks_exact_mut(size).enumerate() {
                let sample = n * size..(n + 1) * size;
                let mut write = Write::Set;
                if let Some(db) = dx[2] {
                    spread(db.lane(k), dy, write);
                    write = Write::Add;
                }
                if let Some(dw) = dx[1] {
                    scale(dw.lane(k), &xhat[sample.clone()], dy, write);
                    write = Write::Add;
                }
                if let Some(dx) = dx[0] {
                    scale(slope, &dx.lane(k)[sample], dy, write);
                }
            }
        }
    }

    fn vjp(&self, cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        self.vjp_jvp(cx, p, Cotangent { gy: &[], bent: &[] }, &[None; 5], Some(gy), gx);
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
        let Cached { r, slope, xhat } = cached(&p);
        let c = r.len();
        let size = (p.y.len() / cx.batch.max(1)).max(1);
        let lanes = dgy.or(dx[0]).or(dx[1]).map_or(0, |l| l.lanes);
        let [on_x, on_gain, on_bias, ..] = dgx else { unreachable!("output_shape asked for five inputs") };
        if let Some(slot) = on_x {
            scratch::with(c, |bent: &mut [T]| {
                for k in 0..lanes {
                    let before = slot.write;
                    if let Some(dw) = dx[1] {
                        update(&Times(Write::Set), [dw.lane(k), r], [bent]);
                    }
                    for (n, out) in slot.lane(k).chunks_exact_mut(size).enumerate() {
                        let sample = n * size..(n + 1) * size;
                        let mut write = before;
                        if let Some(dgy) = dgy {
                            scale(slope, &dgy.lane(k)[sample.clone()], out, write);
                            write = Write::Add;
                        }
                        if dx[1].is_some() {
                            scale(bent, &cotangent.gy[sample], out, write);
                            write = Write::Add;
                        }
                        if write == Write::Set {
                            out.fill(T::ZERO);
                        }
                    }
                }
            });
        }
        if let Some(slot) = on_gain {
            scratch::with(c * cx.batch, |table: &mut [T]| {
                for k in 0..lanes {
                    for (n, part) in table.chunks_exact_mut(c).enumerate() {
                        let sample = n * size..(n + 1) * size;
                        match dx[0] {
                            Some(dx) => {
                                dots(&dx.lane(k)[sample.clone()], &cotangent.gy[sample.clone()], part, Write::Set);
                                part.iter_mut().zip(r).for_each(|(x, &r)| *x *= r);
                            }
                            None => part.fill(T::ZERO),
                        }
                        if let Some(dgy) = dgy {
                            dots(&dgy.lane(k)[sample.clone()], &xhat[sample], part, Write::Add);
                        }
                    }
                    let write = slot.write;
                    reduce::sum_rows(slot.lane(k), write, table, cx.batch);
                }
            });
        }
        if let Some(slot) = on_bias {
            scratch::with(c * cx.batch, |table: &mut [T]| {
                for k in 0..lanes {
                    for (n, part) in table.chunks_exact_mut(c).enumerate() {
                        match dgy {
                            Some(dgy) => sums(&dgy.lane(k)[n * size..(n + 1) * size], part, Write::Set),
                            None => part.fill(T::ZERO),
                        }
                    }
                    let write = slot.write;
                    reduce::sum_rows(slot.lane(k), write, table, cx.batch);
                }
            });
        }
    }
}
