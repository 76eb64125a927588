//! Maps of an op on pieces of a batch, by all threads: for graphs that are not cut into shards, because some of their ops
//! let samples see each other or because a training step takes the whole batch at once.
//!
//! Where the pieces end, and in which order their sums over samples are added, depends on the batch alone.

use std::ops::Range;

use eigenlens_linalg::parallel::both;
use eigenlens_linalg::{Par, Real, Write, scratch};

use crate::op::{Cotangent, Cx, Lanes, MAX_INPUTS, Op, Primal, Slot};

/// Most pieces: enough for a few threads, and few enough that sums over samples cost little.
const MOST: usize = 8;

/// When a batch is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cuts {
    /// Samples of a piece are a multiple of this.
    pub grain: usize,
    /// Values of input and output from which pieces pay.
    pub least: usize,
}

impl Cuts {
    /// Images fill the lanes of a vector; small maps cost about as much as it does to wake a thread.
    pub const USUAL: Cuts = Cuts { grain: 16, least: 1 << 15 };
}

/// An op with what its maps are called with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied<'a, T: Real> {
    pub op: &'a dyn Op<T>,
    pub cx: Cx,
    /// Which inputs have a batch axis; the others are the same for all samples.
    pub batched: [bool; MAX_INPUTS],
    pub cuts: Cuts,
}

/// Samples `part` of values for a batch of `n`.
fn cut<'a, T>(v: &'a [T], n: usize, part: &Range<usize>) -> &'a [T] {
    let each = v.len() / n;
    &v[part.start * each..part.end * each]
}

/// Values for a batch of `n`, before and from sample `at` on.
fn cut_mut<T>(v: &mut [T], n: usize, at: usize) -> (&mut [T], &mut [T]) {
    let each = v.len() / n;
    v.split_at_mut(at * each)
}

type Slots<'a, T> = [Option<Slot<'a, T>>; MAX_INPUTS];

impl<'a, T: Real> Applied<'a, T> {
    /// Samples of a piece for a map that reads and writes so many values; the whole batch if it stays in one.
    fn grain(&self, values: usize) -> usize {
        let (n, Cuts { grain, least }) = (self.cx.batch, self.cuts);
        if matches!(self.cx.par, Par::Seq) || n <= grain || values < least || !self.op.by_sample() {
            return n;
        }
        n.div_ceil(MOST).next_multiple_of(grain)
    }

    /// The context of a piece, which has its thread for itself.
    fn within(&self, part: &Range<usize>) -> Cx {
        Cx { batch: part.len(), par: Par::Seq }
    }

    /// An input, a tangent or a cotangent of it, for some samples.
    fn input(&self, i: usize, v: &'a [T], part: &Range<usize>) -> &'a [T] {
        if self.batched[i] { cut(v, self.cx.batch, part) } else { v }
    }

    fn with_primal(&self, p: &Primal<'a, T>, part: &Range<usize>, call: impl FnOnce(Primal<'_, T>)) {
        let mut x: [&[T]; MAX_INPUTS] = [&[]; MAX_INPUTS];
        for (i, (own, whole)) in x.iter_mut().zip(p.x).enumerate() {
            *own = self.input(i, whole, part);
        }
        let n = self.cx.batch;
        call(Primal { x: &x[..p.x.len()], y: cut(p.y, n, part), saved: cut(p.saved, n, part) });
    }

    /// Lane k of the tangents, for some samples.
    fn tangents(
        &self,
        dx: &[Option<Lanes<'a, T>>],
        k: usize,
        part: &Range<usize>,
    ) -> [Option<Lanes<'a, T>>; MAX_INPUTS] {
        let mut own = [None; MAX_INPUTS];
        for (i, (own, dx)) in own.iter_mut().zip(dx).enumerate() {
            *own = dx.map(|dx| Lanes::new(self.input(i, dx.lane(k), part), 1));
        }
        own
    }

    /// Two results for all samples, in pieces of `grain` samples.
    fn forwards(
        &self,
        part: Range<usize>,
        grain: usize,
        out: [&mut [T]; 2],
        leaf: &(impl Fn(&Range<usize>, [&mut [T]; 2]) + Sync),
    ) {
        let count = part.len().div_ceil(grain);
        if count <= 1 {
            return leaf(&part, out);
        }
        let middle = part.start + count / 2 * grain;
        let [a, b] = out.map(|v| cut_mut(v, part.len(), middle - part.start));
        both(
            self.cx.par,
            || self.forwards(part.start..middle, grain, [a.0, b.0], leaf),
            || self.forwards(middle..part.end, grain, [a.1, b.1], leaf),
        );
    }

    /// The slots of one lane, in pieces of `grain` samples. Sums over samples are made for each half and added.
    fn backwards(
        &self,
        part: Range<usize>,
        grain: usize,
        mut slots: Slots<'_, T>,
        leaf: &(impl Fn(&Range<usize>, &mut [Option<Slot<'_, T>>]) + Sync),
    ) {
        let count = part.len().div_ceil(grain);
        if count <= 1 {
            return leaf(&part, &mut slots);
        }
        let middle = part.start + count / 2 * grain;
        let sums = |slots: &Slots<'_, T>| -> usize {
            slots
                .iter()
                .zip(self.batched)
                .filter(|(_, batched)| !batched)
                .flat_map(|(s, _)| s)
                .map(|s| s.data.len())
                .sum()
        };
        scratch::with(sums(&slots), |room: &mut [T]| {
            let (mut left, mut right): (Slots<'_, T>, Slots<'_, T>) = (none(), none());
            let mut rest = &mut *room;
            for (i, slot) in slots.iter_mut().enumerate() {
                let Some(slot) = slot else { continue };
                let write = slot.write;
                if self.batched[i] {
                    let (a, b) = cut_mut(slot.data, part.len(), middle - part.start);
                    left[i] = Some(Slot { data: a, lanes: 1, write });
                    right[i] = Some(Slot { data: b, lanes: 1, write });
                } else {
                    let (own, after) = std::mem::take(&mut rest).split_at_mut(slot.data.len());
                    left[i] = Some(Slot { data: slot.data, lanes: 1, write });
                    right[i] = Some(Slot { data: own, lanes: 1, write: Write::Set });
                    rest = after;
                }
            }
            both(
                self.cx.par,
                || self.backwards(part.start..middle, grain, left, leaf),
                || self.backwards(middle..part.end, grain, right, leaf),
            );
            let mut rest = &*room;
            for slot in slots.iter_mut().zip(self.batched).filter(|(_, batched)| !batched).flat_map(|(slot, _)| slot) {
                let (own, after) = rest.split_at(slot.data.len());
                slot.data.iter_mut().zip(own).for_each(|(sum, &x)| *sum += x);
                rest = after;
            }
        });
    }

    /// Lane k of the slots.
    fn lane<'s>(slots: &'s mut [Option<Slot<'_, T>>], k: usize) -> Slots<'s, T> {
        let mut own = none();
        for (own, slot) in own.iter_mut().zip(slots) {
            *own = slot.as_mut().map(|slot| {
                let write = slot.write;
                Slot { data: slot.lane(k), lanes: 1, write }
            });
        }
        own
    }

    /// As [`Op::eval`].
    pub fn eval(&self, x: &[&'a [T]], y: &mut [T], saved: &mut [T]) {
        let grain = self.grain(y.len() + saved.len() + x.iter().map(|x| x.len()).sum::<usize>());
        if grain == self.cx.batch {
            return self.op.eval(&self.cx, x, y, saved);
        }
        self.forwards(0..self.cx.batch, grain, [y, saved], &|part, [y, saved]| {
            let p = Primal { x, y: &[], saved: &[] };
            self.with_primal(&p, part, |p| self.op.eval(&self.within(part), p.x, y, saved));
        });
    }

    /// As [`Op::jvp`].
    pub fn jvp(&self, p: Primal<'a, T>, dx: &[Option<Lanes<'a, T>>], dy: &mut [T]) {
        let grain = self.grain(2 * p.y.len());
        if grain == self.cx.batch {
            return self.op.jvp(&self.cx, p, dx, dy);
        }
        for (k, dy) in dy.chunks_exact_mut(p.y.len()).enumerate() {
            self.forwards(0..self.cx.batch, grain, [dy, &mut []], &|part, [dy, _]| {
                let dx = self.tangents(dx, k, part);
                self.with_primal(&p, part, |p| self.op.jvp(&self.within(part), p, &dx[..p.x.len()], dy));
            });
        }
    }

    /// As [`Op::vjp`].
    pub fn vjp(&self, p: Primal<'a, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        let grain = self.grain(2 * p.y.len());
        if grain == self.cx.batch {
            return self.op.vjp(&self.cx, p, gy, gx);
        }
        for k in 0..gy.lanes {
            self.backwards(0..self.cx.batch, grain, Self::lane(gx, k), &|part, gx| {
                let gy = Lanes::new(cut(gy.lane(k), self.cx.batch, part), 1);
                self.with_primal(&p, part, |p| self.op.vjp(&self.within(part), p, gy, &mut gx[..p.x.len()]));
            });
        }
    }

    /// As [`Op::bend`].
    pub fn bend(&self, p: Primal<'a, T>, gy: &[T], bent: &mut [T]) {
        let grain = self.grain(2 * p.y.len());
        if grain == self.cx.batch {
            return self.op.bend(&self.cx, p, gy, bent);
        }
        self.forwards(0..self.cx.batch, grain, [bent, &mut []], &|part, [bent, _]| {
            let gy = cut(gy, self.cx.batch, part);
            self.with_primal(&p, part, |p| self.op.bend(&self.within(part), p, gy, bent));
        });
    }

    /// As [`Op::vjp_jvp`].
    pub fn vjp_jvp(
        &self,
        p: Primal<'a, T>,
        cotangent: Cotangent<'_, T>,
        dx: &[Option<Lanes<'a, T>>],
        dgy: Option<Lanes<'_, T>>,
        dgx: &mut [Option<Slot<'_, T>>],
    ) {
        let (n, grain) = (self.cx.batch, self.grain(2 * p.y.len()));
        if grain == n {
            return self.op.vjp_jvp(&self.cx, p, cotangent, dx, dgy, dgx);
        }
        let lanes = dgx.iter().flatten().next().map_or(0, |slot| slot.lanes);
        for k in 0..lanes {
            self.backwards(0..n, grain, Self::lane(dgx, k), &|part, dgx| {
                let dx = self.tangents(dx, k, part);
                let dgy = dgy.map(|dgy| Lanes::new(cut(dgy.lane(k), n, part), 1));
                let own = Cotangent { gy: cut(cotangent.gy, n, part), bent: cut(cotangent.bent, n, part) };
                self.with_primal(&p, part, |p| {
                    let m = p.x.len();
                    self.op.vjp_jvp(&self.within(part), p, own, &dx[..m], dgy, &mut dgx[..m]);
                });
            });
        }
    }
}

fn none<'a, T>() -> Slots<'a, T> {
    [const { None }; MAX_INPUTS]
}
