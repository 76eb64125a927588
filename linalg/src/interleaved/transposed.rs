//! G ← G + Σ y xᵀ of images side by side: the gradient with respect to the weights of a correlation.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::Grid;
use crate::real::Real;
use crate::shifted::width;

/// Vectors of a plane that are taken together: those of ten planes fit the first-level cache.
const BAND: usize = 64;

pub(super) struct Transposed<'a, T> {
    pub g: &'a mut [T],
    pub y: &'a [T],
    pub x: &'a [T],
    pub grid: &'a Grid,
}

impl<T: Real> WithSimd for Transposed<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let (from, to) = self.grid.planes();
        let (ins, outs) = (T::split::<S>(self.x).0.len() / from, T::split::<S>(self.y).0.len() / to);
        let (most, wide) = if S::REGISTER_COUNT >= 32 { (4, 6) } else { (2, 4) };
        let (rows, cols) = (self.grid.rows, self.grid.cols);
        let band = (BAND / cols.to).max(1);
        let along = cols.inside(0).start.max(cols.inside(cols.kernel - 1).start)
            ..cols.inside(0).end.min(cols.inside(cols.kernel - 1).end);
        for top in (0..rows.to).step_by(band) {
            let down = |i: usize| {
                let inside = rows.inside(i);
                inside.start.max(top)..inside.end.min(top + band)
            };
            if ins == 1 && cols.kernel > 1 && !along.is_empty() {
                // With a single channel, taps of a row take the place of channels: as many sums as hide the latency.
                for (o, i) in (0..outs).step_by(most).flat_map(|o| (0..rows.kernel).map(move |i| (o, i))) {
                    for j in (0..cols.kernel).step_by(wide) {
                        let count = wide.min(cols.kernel - j);
                        self.corner(s, most.min(outs - o), Sides::taps(count), Corner::new(o, [i, j], down(i), &along));
                    }
                    for j in 0..cols.kernel {
                        let inside = cols.inside(j);
                        for edge in [inside.start..along.start, along.end..inside.end] {
                            self.corner(s, most.min(outs - o), Sides::taps(1), Corner::new(o, [i, j], down(i), &edge));
                        }
                    }
                }
                continue;
            }
            for c in (0..ins).step_by(wide) {
                for o in (0..outs).step_by(most) {
                    for tap in 0..self.grid.taps() {
                        let (i, j) = (tap / cols.kernel, tap % cols.kernel);
                        let at = Corner { c, ..Corner::new(o, [i, j], down(i), &cols.inside(j)) };
                        self.corner(s, most.min(outs - o), Sides::channels(wide.min(ins - c)), at);
                    }
                }
            }
        }
    }
}

/// Columns of G that are summed together: channels at one tap, or neighbouring taps of one channel.
#[derive(Clone, Copy)]
struct Sides {
    count: usize,
    channels: bool,
}

impl Sides {
    fn channels(count: usize) -> Self {
        Sides { count, channels: true }
    }

    fn taps(count: usize) -> Self {
        Sides { count, channels: false }
    }
}

/// A piece of G: first channels, first tap, and the outputs that have it.
struct Corner {
    o: usize,
    c: usize,
    i: usize,
    j: usize,
    rect: [Range<usize>; 2],
}

impl Corner {
    fn new(o: usize, [i, j]: [usize; 2], down: Range<usize>, along: &Range<usize>) -> Self {
        Corner { o, c: 0, i, j, rect: [down, along.clone()] }
    }
}

impl<T: Real> Transposed<'_, T> {
    #[inline(always)]
    fn corner<S: Simd>(&mut self, s: S, outs: usize, sides: Sides, at: Corner) {
        if at.rect.iter().any(Range::is_empty) {
            return;
        }
        match outs {
            1 => self.wide::<S, 1>(s, sides, at),
            2 => self.wide::<S, 2>(s, sides, at),
            3 => self.wide::<S, 3>(s, sides, at),
            _ => self.wide::<S, 4>(s, sides, at),
        }
    }

    #[inline(always)]
    fn wide<S: Simd, const O: usize>(&mut self, s: S, sides: Sides, at: Corner) {
        match sides.count {
            1 => self.block::<S, O, 1>(s, sides, at),
            2 => self.block::<S, O, 2>(s, sides, at),
            3 => self.block::<S, O, 3>(s, sides, at),
            4 => self.block::<S, O, 4>(s, sides, at),
            5 => self.block::<S, O, 5>(s, sides, at),
            _ => self.block::<S, O, 6>(s, sides, at),
        }
    }

    // Loops by index, and sums taken by value: references to them would keep them out of the registers.
    #[allow(clippy::needless_range_loop, clippy::manual_memcpy, clippy::assign_op_pattern)]
    #[inline(always)]
    fn block<S: Simd, const O: usize, const C: usize>(&mut self, s: S, sides: Sides, at: Corner) {
        let (x, y) = (T::split::<S>(self.x).0, T::split::<S>(self.y).0);
        let (from, to) = self.grid.planes();
        let (rows, cols) = (self.grid.rows, self.grid.cols);
        let [down, along] = at.rect;
        let step = cols.stride;
        let (taps, ins) = (self.grid.taps(), T::split::<S>(self.x).0.len() / from);
        // From one column of G to the next: in x, and in G.
        let (ahead, g_ahead) = if sides.channels { (from, taps) } else { (cols.dilation, 1) };
        let mut sums = [[T::splat(s, T::NIL); C]; O];
        for row in down {
            let to_row = at.o * to + row * cols.to + along.start;
            let read = rows.position(at.i, row).expect("inside") * cols.from;
            let from_row = at.c * from + read + cols.position(at.j, along.start).expect("inside");
            let (length, span) = (along.len(), (along.len() - 1) * step + 1);
            let mut top: [&[T::V<S>]; O] = [&[]; O];
            let mut side: [&[T::V<S>]; C] = [&[]; C];
            for o in 0..O {
                top[o] = &y[to_row + o * to..][..length];
            }
            for c in 0..C {
                side[c] = &x[from_row + c * ahead..][..span];
            }
            for n in 0..length {
                let mut v = [T::splat(s, T::NIL); O];
                for o in 0..O {
                    v[o] = top[o][n];
                }
                for c in 0..C {
                    let x = side[c][n * step];
                    for o in 0..O {
                        sums[o][c] = T::fma(s, v[o], x, sums[o][c]);
                    }
                }
            }
        }
        // Two loops, as the first must unroll: sums that are reached by a running index would live in memory.
        let mut lanes = [[[T::NIL; MAX_LANES]; C]; O];
        for o in 0..O {
            for c in 0..C {
                T::split_mut::<S>(&mut lanes[o][c][..width::<T, S>()]).0[0] = sums[o][c];
            }
        }
        for (o, lanes) in lanes.iter_mut().enumerate() {
            for (c, lanes) in lanes.iter_mut().enumerate() {
                // Loops of known length, so that they become vector additions.
                if width::<T, S>() > 8 {
                    halve::<T, 8>(lanes);
                }
                if width::<T, S>() > 4 {
                    halve::<T, 4>(lanes);
                }
                if width::<T, S>() > 2 {
                    halve::<T, 2>(lanes);
                }
                if width::<T, S>() > 1 {
                    halve::<T, 1>(lanes);
                }
                let tap = at.i * cols.kernel + at.j;
                self.g[((at.o + o) * ins + at.c) * taps + tap + c * g_ahead] += lanes[0];
            }
        }
    }
}

/// Adds the upper `N` of the first 2 `N` values to the lower.
#[inline(always)]
fn halve<T: Real, const N: usize>(lanes: &mut [T; MAX_LANES]) {
    for i in 0..N {
        lanes[i] += lanes[i + N];
    }
}

/// Values of the widest vector.
const MAX_LANES: usize = 16;
