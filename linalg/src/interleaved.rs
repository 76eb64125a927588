//! Correlations of images that stand side by side in the lanes of a vector: one vector is one pixel of several images.
//!
//! No column is computed in vain, whatever the size, stride or padding: an output multiplies only the taps that lie inside
//! of its image, so the adjoint of a strided correlation costs no more than the correlation. The price is that images are
//! [interleaved](interleave) before and [separated](separate) after.
//!
//! Planes are (channels, rows, columns) of vectors; a vector holds [`lanes`] values, one of each image.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::real::Real;
use crate::shifted::{tile, width};
use crate::simd::{self, Vectors};

mod transpose;
mod transposed;

pub use transpose::{interleave, separate};
use transposed::Transposed;

/// Images that stand in one vector, at the best instruction set of this machine.
pub fn lanes<T: Real>() -> usize {
    struct Width<T>(std::marker::PhantomData<T>);
    impl<T: Vectors> WithSimd for Width<T> {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            width::<T, S>()
        }
    }
    simd::dispatch(Width(std::marker::PhantomData::<T>))
}

/// One axis of a correlation, or of its adjoint: along it, tap t of output o of the correlation reads input
/// o · stride + t · dilation − padding.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// Extent of what is read.
    pub from: usize,
    /// Extent of what is written.
    pub to: usize,
    /// Taps.
    pub kernel: usize,
    /// Inputs from one output to the next.
    pub stride: usize,
    /// Inputs before the first.
    pub padding: usize,
    /// Inputs from one tap to the next.
    pub dilation: usize,
    /// Whether outputs are read and inputs written.
    pub adjoint: bool,
}

impl Axis {
    /// Where `at` reads with `tap`, if that is inside.
    #[inline(always)]
    fn position(&self, tap: usize, at: usize) -> Option<usize> {
        let from = if self.adjoint {
            let n = (at + self.padding).checked_sub(tap * self.dilation)?;
            if n % self.stride != 0 {
                return None;
            }
            n / self.stride
        } else {
            (at * self.stride + tap * self.dilation).checked_sub(self.padding)?
        };
        (from < self.from).then_some(from)
    }

    /// The taps that `at` reads with, an arithmetic progression.
    fn reads(&self, at: usize) -> Reads {
        let mut reads = Reads::default();
        for tap in 0..self.kernel {
            if let Some(from) = self.position(tap, at) {
                match reads.count {
                    0 => (reads.tap, reads.from) = (tap, from),
                    1 => (reads.tap_step, reads.from_step) = (tap - reads.tap, from as isize - reads.from as isize),
                    _ => {}
                }
                reads.count += 1;
            }
        }
        reads
    }

    /// What is written with `tap`; of the correlation, not the adjoint.
    fn inside(&self, tap: usize) -> Range<usize> {
        let shift = tap * self.dilation;
        let start = self.padding.saturating_sub(shift).div_ceil(self.stride).min(self.to);
        let end = (self.from + self.padding).saturating_sub(shift).div_ceil(self.stride).min(self.to);
        start..end.max(start)
    }
}

/// Taps `tap`, `tap + tap_step`, … at `from`, `from + from_step`, ….
#[derive(Clone, Copy, Debug, Default)]
struct Reads {
    count: usize,
    tap: usize,
    tap_step: usize,
    from: usize,
    from_step: isize,
}

/// Outputs that read with the same taps: the first one's reads, how many there are.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    to: usize,
    count: usize,
    reads: Reads,
}

/// Most runs of a row.
const RUNS: usize = 64;

/// Rows and columns of a correlation or its adjoint.
#[derive(Clone, Debug)]
pub struct Grid {
    rows: Axis,
    cols: Axis,
    runs: [Run; RUNS],
    count: usize,
    /// From one output of a run to the next, and from what one reads to what the next reads.
    to_step: usize,
    from_step: usize,
}

impl Grid {
    /// For these axes; none if too many outputs of a row differ in their taps.
    ///
    /// # Panics
    /// If one axis is adjoint and the other is not, or a stride is zero.
    pub fn new(rows: Axis, cols: Axis) -> Option<Grid> {
        assert_eq!(rows.adjoint, cols.adjoint, "both axes or none");
        let (to_step, from_step) = if cols.adjoint { (cols.stride, 1) } else { (1, cols.stride) };
        let (mut runs, mut count) = ([Run::default(); RUNS], 0);
        for class in 0..to_step.min(cols.to) {
            let mut at = class;
            while at < cols.to {
                let reads = cols.reads(at);
                let mut run = Run { to: at, count: 1, reads };
                at += to_step;
                while at < cols.to {
                    let next = cols.reads(at);
                    if (next.tap, next.count) != (reads.tap, reads.count) {
                        break;
                    }
                    run.count += 1;
                    at += to_step;
                }
                *runs.get_mut(count)? = run;
                count += 1;
            }
        }
        Some(Grid { rows, cols, runs, count, to_step, from_step })
    }

    fn taps(&self) -> usize {
        self.rows.kernel * self.cols.kernel
    }

    /// Vectors of a plane that is read, and of one that is written.
    fn planes(&self) -> (usize, usize) {
        (self.rows.from * self.cols.from, self.rows.to * self.cols.to)
    }
}

/// A factor W (outputs, channels of x, taps) as [`arrange`](crate::shifted::arrange) leaves it, and the x that it goes with.
pub type Term<'a, T> = (&'a [T], &'a [T]);

/// y ← Σ W ⋆ x over terms of equal shapes: one pass over y, whose sums stay in registers.
///
/// # Panics
/// If a slice is too short, or terms differ in length.
#[track_caller]
pub fn product<T: Real>(y: &mut [T], terms: &[Term<'_, T>], grid: &Grid) {
    let lens = |&(w, x): &Term<'_, T>| (w.len(), x.len());
    assert!(terms.windows(2).all(|t| lens(&t[0]) == lens(&t[1])), "terms of one shape");
    simd::dispatch(Product { y, terms, grid });
}

/// G ← G + Σ over pixels and images of y xᵀ, G (channels of y, channels of x, taps), for a correlation from x to y.
///
/// # Panics
/// If a slice is too short, or the grid is that of an adjoint.
#[track_caller]
pub fn product_transposed<T: Real>(g: &mut [T], y: &[T], x: &[T], grid: &Grid) {
    assert!(!grid.rows.adjoint, "the grid of the correlation, not of its adjoint");
    simd::dispatch(Transposed { g, y, x, grid });
}

struct Product<'a, T> {
    y: &'a mut [T],
    terms: &'a [Term<'a, T>],
    grid: &'a Grid,
}

impl<T: Vectors> WithSimd for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Some((w, x)) = self.terms.first() else { return self.y.fill(T::NIL) };
        let (from, to) = self.grid.planes();
        let y = T::split_mut::<S>(self.y).0;
        let (ins, outs) = (T::split::<S>(x).0.len() / from, y.len() / to);
        let rows = ins * self.grid.taps();
        assert_eq!(w.len(), outs * rows, "a factor for these outputs and inputs");
        let tile = tile::<S>();
        for (i, y) in y.chunks_mut(tile * to).enumerate() {
            let strip = Strip { y, first: i * tile * rows, terms: self.terms, ins, grid: self.grid };
            // As many accumulators as hide the latency and fit into the registers.
            match (tile, tile.min(outs - i * tile)) {
                (_, 1) => strip.run::<S, 1, 8, 4>(s),
                (8, 2) => strip.run::<S, 2, 8, 4>(s),
                (_, 2) => strip.run::<S, 2, 4, 2>(s),
                (8, 3) => strip.run::<S, 3, 8, 3>(s),
                (_, 3) => strip.run::<S, 3, 3, 2>(s),
                (8, 4) => strip.run::<S, 4, 6, 3>(s),
                (_, 4) => strip.run::<S, 4, 3, 2>(s),
                (_, 5) => strip.run::<S, 5, 5, 2>(s),
                (_, 6) => strip.run::<S, 6, 4, 2>(s),
                (_, 7) => strip.run::<S, 7, 3, 2>(s),
                _ => strip.run::<S, 8, 3, 2>(s),
            }
        }
    }
}

/// Up to a tile of output channels, whose part of each factor begins at `first`.
struct Strip<'a, T, V> {
    y: &'a mut [V],
    first: usize,
    terms: &'a [Term<'a, T>],
    ins: usize,
    grid: &'a Grid,
}

/// A few outputs of one row: where they stand, and where the first of them reads.
struct Place<'a> {
    to: usize,
    from: usize,
    rows: &'a Reads,
    cols: &'a Reads,
}

impl<T: Vectors, V: Copy> Strip<'_, T, V> {
    /// `N` outputs of a row at a time, then `M`, then one.
    #[inline(always)]
    fn run<S: Simd, const O: usize, const N: usize, const M: usize>(mut self, s: S)
    where
        T: Vectors<V<S> = V>,
    {
        let grid = self.grid;
        for row in 0..grid.rows.to {
            let rows = &grid.rows.reads(row);
            for run in &grid.runs[..grid.count] {
                let mut done = 0;
                while done < run.count {
                    let place = Place {
                        to: row * grid.cols.to + run.to + done * grid.to_step,
                        from: rows.from * grid.cols.from + run.reads.from + done * grid.from_step,
                        rows,
                        cols: &run.reads,
                    };
                    let left = run.count - done;
                    if left >= N {
                        self.block::<S, O, N>(s, place);
                        done += N;
                    } else if left >= M {
                        self.block::<S, O, M>(s, place);
                        done += M;
                    } else {
                        self.block::<S, O, 1>(s, place);
                        done += 1;
                    }
                }
            }
        }
    }

    // Loops by index, and sums taken by value: references to them would keep them out of the registers.
    #[allow(clippy::needless_range_loop, clippy::assign_op_pattern)]
    #[inline(always)]
    fn block<S: Simd, const O: usize, const N: usize>(&mut self, s: S, at: Place<'_>)
    where
        T: Vectors<V<S> = V>,
    {
        let Place { to, from, rows, cols } = at;
        let grid = self.grid;
        let (plane, to_plane) = grid.planes();
        let row_step = rows.from_step * grid.cols.from as isize;
        let (step, taps) = (grid.from_step, grid.taps());
        let mut sums = [[T::splat(s, T::NIL); N]; O];
        for &(weights, x) in self.terms {
            let (weights, image) = (&weights[self.first..], T::split::<S>(x).0);
            for c in 0..self.ins {
                for i in 0..rows.count {
                    let mut x = ((c * plane + from) as isize + i as isize * row_step) as usize;
                    let mut w = (c * taps + (rows.tap + i * rows.tap_step) * grid.cols.kernel + cols.tap) * O;
                    for _ in 0..cols.count {
                        let factors = &weights[w..w + O];
                        let piece = &image[x..x + (N - 1) * step + 1];
                        let mut v = [T::splat(s, T::NIL); N];
                        for n in 0..N {
                            v[n] = piece[n * step];
                        }
                        for o in 0..O {
                            let factor = T::splat(s, factors[o]);
                            for n in 0..N {
                                sums[o][n] = T::fma(s, factor, v[n], sums[o][n]);
                            }
                        }
                        x = x.wrapping_add_signed(cols.from_step);
                        w += cols.tap_step * O;
                    }
                }
            }
        }
        for o in 0..O {
            for n in 0..N {
                self.y[o * to_plane + to + n * grid.to_step] = sums[o][n];
            }
        }
    }
}

#[cfg(test)]
mod tests;
