//! Products with a matrix whose rows are overlapping pieces of one slice, as the patches of an image are: row (c, t) of X
//! is `data[c · plane + taps[t]..][..cols]`. Nothing is packed, so small products reach the rate of large ones.
//!
//! Columns come in whole vectors of 512 bits: [`padded`] rounds up, and all slices must have room for that.

use pulp::{Simd, WithSimd};

use crate::real::Real;
use crate::simd::{self, Vectors};

/// Columns are padded to a multiple of this: a vector of 512 bits of f32, two of f64.
const COLUMNS: usize = 16;

/// `cols` rounded up to whole vectors.
pub fn padded(cols: usize) -> usize {
    cols.next_multiple_of(COLUMNS)
}

/// A matrix of `planes · taps.len()` rows on one slice.
#[derive(Clone, Copy, Debug)]
pub struct Shifted<'a, T> {
    /// What the rows are pieces of.
    pub data: &'a [T],
    /// Number of planes.
    pub planes: usize,
    /// Distance from one plane to the next.
    pub plane: usize,
    /// Where the rows of a plane begin.
    pub taps: &'a [usize],
}

impl<T> Shifted<'_, T> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.planes * self.taps.len()
    }

    /// Where row r begins.
    #[inline(always)]
    fn start(&self, r: usize) -> usize {
        r / self.taps.len() * self.plane + self.taps[r % self.taps.len()]
    }
}

/// Copies the left factor W (outs, rows) of [`product`] into the order in which it is read.
///
/// # Panics
/// If `out` is not as long as W.
#[track_caller]
pub fn arrange<T: Real>(w: &[T], outs: usize, out: &mut [T]) {
    assert_eq!(w.len(), out.len(), "a factor and its arrangement differ in length");
    arrange_by(simd::dispatch(Tile), w, outs, out);
}

fn arrange_by<T: Copy>(tile: usize, w: &[T], outs: usize, out: &mut [T]) {
    let rows = w.len() / outs.max(1);
    for (first, out) in (0..outs).step_by(tile).zip(out.chunks_mut((tile * rows).max(1))) {
        let height = tile.min(outs - first);
        for (o, w) in w[first * rows..].chunks_exact(rows.max(1)).take(height).enumerate() {
            out[o..].iter_mut().step_by(height).zip(w).for_each(|(out, &w)| *out = w);
        }
    }
}

/// Y ← W X for an [arranged](arrange) W (outs, rows). Row o of Y is `y[o · pitch..][..padded(cols)]`; the columns from
/// `cols` on are of no meaning.
///
/// # Panics
/// If a slice is too short.
#[track_caller]
pub fn product<T: Real>(y: &mut [T], pitch: usize, arranged: &[T], x: Shifted<'_, T>, cols: usize) {
    simd::dispatch(Product { y, pitch, w: arranged, x, cols: padded(cols) });
}

/// G ← G + Σ_n Y_n X_nᵀ, G (outs, rows). For each n below `count`, X_n is `x` moved on by n · `x_step`, and row o of Y_n is
/// `y[n · outs · pitch + o · pitch..][..padded(cols)]`, which must be zero from `cols` on.
///
/// # Panics
/// If a slice is too short.
#[track_caller]
pub fn product_transposed<T: Real>(
    g: &mut [T],
    y: &[T],
    pitch: usize,
    x: Shifted<'_, T>,
    x_step: usize,
    count: usize,
    cols: usize,
) {
    simd::dispatch(Transposed { g, y, pitch, x, x_step, count, cols: padded(cols) });
}

/// Rows of Y that are made together.
struct Tile;
impl WithSimd for Tile {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        tile::<S>()
    }
}

#[inline(always)]
pub(crate) fn tile<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 8 } else { 4 }
}

#[inline(always)]
pub(crate) fn width<T: Vectors, S: Simd>() -> usize {
    size_of::<T::V<S>>() / size_of::<T>()
}

struct Product<'a, T> {
    y: &'a mut [T],
    pitch: usize,
    w: &'a [T],
    x: Shifted<'a, T>,
    cols: usize,
}

impl<T: Vectors> WithSimd for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let (rows, tile) = (self.x.rows(), tile::<S>());
        let outs = self.w.len() / rows.max(1);
        for first in (0..outs).step_by(tile) {
            // As many accumulators as hide the latency and fit into the registers.
            match (tile, tile.min(outs - first)) {
                (_, 1) => self.strip::<S, 1, 8>(s, first),
                (8, 2) => self.strip::<S, 2, 8>(s, first),
                (_, 2) => self.strip::<S, 2, 4>(s, first),
                (8, 3) => self.strip::<S, 3, 6>(s, first),
                (_, 3) => self.strip::<S, 3, 3>(s, first),
                (8, 4) => self.strip::<S, 4, 6>(s, first),
                (_, 4) => self.strip::<S, 4, 3>(s, first),
                (_, 5) => self.strip::<S, 5, 4>(s, first),
                (_, 6) => self.strip::<S, 6, 4>(s, first),
                (_, 7) => self.strip::<S, 7, 3>(s, first),
                _ => self.strip::<S, 8, 3>(s, first),
            }
        }
    }
}

impl<T: Vectors> Product<'_, T> {
    /// `O` rows from `first` on, `V` vectors of columns at a time.
    #[inline(always)]
    fn strip<S: Simd, const O: usize, const V: usize>(&mut self, s: S, first: usize) {
        let (step, mut at) = (V * width::<T, S>(), 0);
        while at + step <= self.cols {
            self.block::<S, O, V>(s, first, at);
            at += step;
        }
        while at < self.cols {
            self.block::<S, O, 1>(s, first, at);
            at += width::<T, S>();
        }
    }

    // Loops by index, and sums taken by value: references to them would keep them out of the registers.
    #[allow(clippy::needless_range_loop, clippy::manual_memcpy, clippy::assign_op_pattern)]
    #[inline(always)]
    fn block<S: Simd, const O: usize, const V: usize>(&mut self, s: S, first: usize, at: usize) {
        let (rows, step) = (self.x.rows(), V * width::<T, S>());
        let mut w = self.w[first * rows..(first + O) * rows].chunks_exact(O);
        let mut sums = [[T::splat(s, T::NIL); V]; O];
        for c in 0..self.x.planes {
            let plane = &self.x.data[c * self.x.plane + at..];
            for (&tap, w) in self.x.taps.iter().zip(&mut w) {
                let (x, _) = T::split::<S>(&plane[tap..tap + step]);
                let x = &x[..V];
                for o in 0..O {
                    let w = T::splat(s, w[o]);
                    for v in 0..V {
                        sums[o][v] = T::fma(s, w, x[v], sums[o][v]);
                    }
                }
            }
        }
        for o in 0..O {
            let (y, _) = T::split_mut::<S>(&mut self.y[(first + o) * self.pitch + at..][..step]);
            let y = &mut y[..V];
            for v in 0..V {
                y[v] = sums[o][v];
            }
        }
    }
}

struct Transposed<'a, T> {
    g: &'a mut [T],
    y: &'a [T],
    pitch: usize,
    x: Shifted<'a, T>,
    x_step: usize,
    count: usize,
    cols: usize,
}

impl<T: Real> WithSimd for Transposed<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let outs = self.g.len() / self.x.rows().max(1);
        let most = if S::REGISTER_COUNT >= 32 { 4 } else { 2 };
        for first in (0..outs).step_by(most) {
            match most.min(outs - first) {
                1 => self.strip::<S, 1>(s, first, outs),
                2 => self.strip::<S, 2>(s, first, outs),
                3 => self.strip::<S, 3>(s, first, outs),
                _ => self.strip::<S, 4>(s, first, outs),
            }
        }
    }
}

impl<T: Real> Transposed<'_, T> {
    /// `O` rows of G from `first` on.
    #[inline(always)]
    fn strip<S: Simd, const O: usize>(&mut self, s: S, first: usize, outs: usize) {
        let (rows, mut r) = (self.x.rows(), 0);
        while S::REGISTER_COUNT >= 32 && r + 6 <= rows {
            self.block::<S, O, 6>(s, first, outs, r);
            r += 6;
        }
        while r + 3 <= rows {
            self.block::<S, O, 3>(s, first, outs, r);
            r += 3;
        }
        while r < rows {
            self.block::<S, O, 1>(s, first, outs, r);
            r += 1;
        }
    }

    // Loops by index, and sums taken by value: references to them would keep them out of the registers.
    #[allow(clippy::needless_range_loop, clippy::manual_memcpy, clippy::assign_op_pattern)]
    #[inline(always)]
    fn block<S: Simd, const O: usize, const R: usize>(&mut self, s: S, first: usize, outs: usize, row: usize) {
        let vectors = self.cols / width::<T, S>();
        let mut sums = [[T::splat(s, T::NIL); R]; O];
        let mut starts = [0; R];
        for (r, start) in starts.iter_mut().enumerate() {
            *start = self.x.start(row + r);
        }
        for n in 0..self.count {
            let mut y: [&[T::V<S>]; O] = [&[]; O];
            let mut x: [&[T::V<S>]; R] = [&[]; R];
            for (o, y) in y.iter_mut().enumerate() {
                *y = &T::split::<S>(&self.y[(n * outs + first + o) * self.pitch..][..self.cols]).0[..vectors];
            }
            for (x, start) in x.iter_mut().zip(starts) {
                *x = &T::split::<S>(&self.x.data[n * self.x_step + start..][..self.cols]).0[..vectors];
            }
            for i in 0..vectors {
                let mut top = [T::splat(s, T::NIL); O];
                for o in 0..O {
                    top[o] = y[o][i];
                }
                for r in 0..R {
                    let x = x[r][i];
                    for o in 0..O {
                        sums[o][r] = T::fma(s, top[o], x, sums[o][r]);
                    }
                }
            }
        }
        let (rows, width) = (self.x.rows(), width::<T, S>());
        // Two loops, as the first must unroll: sums that are reached by a running index would live in memory.
        let mut lanes = [[[T::NIL; COLUMNS]; R]; O];
        for o in 0..O {
            for r in 0..R {
                T::split_mut::<S>(&mut lanes[o][r][..width]).0[0] = sums[o][r];
            }
        }
        for (o, lanes) in lanes.iter_mut().enumerate() {
            for (r, lanes) in lanes.iter_mut().enumerate() {
                let mut half = width / 2;
                while half > 0 {
                    for i in 0..half {
                        lanes[i] = lanes[i] + lanes[i + half];
                    }
                    half /= 2;
                }
                self.g[(first + o) * rows + row + r] += lanes[0];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    fn ramp<T: Real>(len: usize, seed: usize) -> Vec<T> {
        (0..len).map(|i| T::from_f64(((i * 7 + seed) % 11) as f64 - 5.0)).collect()
    }

    /// Small integers, so that every order of summation gives the same.
    fn check<T: Real>(level: Level) {
        let (taps, planes, plane) = ([0, 1, 2, 9, 10], 2, 40);
        for (outs, cols) in (1..=10).flat_map(|outs| [1, 16, 33, 150].map(|cols| (outs, cols))) {
            let (room, count, rows) = (padded(cols), 3, planes * taps.len());
            let step = plane + 10 + room;
            let data = ramp::<T>(count * step, 1);
            let x = Shifted { data: &data, planes, plane, taps: &taps };
            assert_eq!(x.rows(), rows);
            let at = |n: usize, r: usize, p: usize| data[n * step + r / 5 * plane + taps[r % 5] + p];

            let w = ramp::<T>(outs * rows, 2);
            let (mut arranged, mut y) = (vec![T::ZERO; outs * rows], vec![T::from_f64(f64::NAN); outs * room]);
            arrange_by(simd::dispatch_at(level, Tile), &w, outs, &mut arranged);
            simd::dispatch_at(level, Product { y: &mut y, pitch: room, w: &arranged, x, cols: room });
            for (o, p) in (0..outs).flat_map(|o| (0..cols).map(move |p| (o, p))) {
                let want: T = (0..rows).map(|r| w[o * rows + r] * at(0, r, p)).sum();
                assert_eq!(y[o * room + p], want, "{level:?}, row {o} of {outs}, column {p} of {cols}");
            }

            let mut y = ramp::<T>(count * outs * room, 3);
            y.chunks_exact_mut(room).for_each(|y| y[cols..].fill(T::ZERO));
            let mut g = vec![T::ONE; outs * rows];
            let work = Transposed { g: &mut g, y: &y, pitch: room, x, x_step: step, count, cols: room };
            simd::dispatch_at(level, work);
            for (o, r) in (0..outs).flat_map(|o| (0..rows).map(move |r| (o, r))) {
                let one = |n: usize| (0..cols).map(|p| y[(n * outs + o) * room + p] * at(n, r, p)).sum::<T>();
                assert_eq!(g[o * rows + r], T::ONE + (0..count).map(one).sum::<T>(), "{level:?}, ({o}, {r})");
            }
        }
    }

    #[test]
    fn both_products_are_their_plain_loops_at_every_level() {
        for &level in Level::all() {
            check::<f32>(level);
            check::<f64>(level);
        }
    }

    #[test]
    #[should_panic(expected = "differ in length")]
    fn an_arrangement_of_another_length_is_refused() {
        arrange(&[1.0; 6], 2, &mut [0.0; 5]);
    }
}
