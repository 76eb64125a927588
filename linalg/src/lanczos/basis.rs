//! An orthonormal basis as rows, and the one thing done with it: taking its part out of other vectors.
//!
//! All passes walk over the columns in chunks that depend on the shape alone; the chunks are worked on in parallel and
//! their partial sums added in order, so results have the same bits for any number of threads.

use std::ops::Range;

use rayon::prelude::*;

use crate::gemm::{Par, View, Write, gemm};
use crate::reduce::max_abs;

/// Below this many values in the basis one thread does it all: waking the pool costs about 10 µs, the time in which one
/// core reads 100 kB from its cache. It changes who computes a chunk, not the result.
const PARALLEL: usize = 1 << 18;

/// Rows v_0 .. v_{k-1} of length n, orthonormal to rounding.
#[derive(Clone, Debug, Default)]
pub(crate) struct Basis {
    n: usize,
    rows: Vec<f64>,
}

/// Columns per chunk of vectors of length n: equal parts of at most 8192. Runs of 64 kB in each row stream at the full rate
/// (measured: runs of 8 kB at 0.6 of it), and 100 such runs still fit an L3 cache, so that the second visit within a
/// pass is cheap.
fn chunk(n: usize) -> usize {
    n.div_ceil(n.div_ceil(8192).max(1)).next_multiple_of(8)
}

impl Basis {
    /// An empty basis of vectors of length n.
    pub fn new(n: usize) -> Self {
        Basis { n, rows: Vec::new() }
    }

    /// Makes room for so many rows in all, if there isn't.
    pub fn reserve(&mut self, rows: usize) {
        self.rows.reserve_exact((rows * self.n).saturating_sub(self.rows.len()));
    }

    /// Number of rows k.
    pub fn len(&self) -> usize {
        self.rows.len().checked_div(self.n).unwrap_or(0)
    }

    /// The rows, (k, n).
    pub fn rows(&self) -> &[f64] {
        &self.rows
    }

    /// Row i.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.n..(i + 1) * self.n]
    }

    /// Appends a row.
    pub fn push(&mut self, row: &[f64]) {
        assert_eq!(row.len(), self.n, "row of a basis");
        self.rows.extend_from_slice(row);
    }

    /// Keeps the first k rows.
    pub fn truncate(&mut self, k: usize) {
        self.rows.truncate(k * self.n);
    }

    /// Classical Gram–Schmidt, twice, of b vectors at once: w (b, n) loses its part in the rows; returns the coefficients
    /// V wᵀ as (b, k), both passes added.
    ///
    /// Twice is enough: Giraud, Langou & Rozložník, *On the round-off error analysis of the Gram–Schmidt algorithm with
    /// reorthogonalization* (2002). The basis is read three times, not four: the second projection of a chunk is summed
    /// while it is still in cache from the first subtraction.
    pub fn orthogonalize(&self, b: usize, w: &mut [f64]) -> Vec<f64> {
        let all = 0..self.len();
        let mut total = self.project(all.clone(), b, w);
        let again = self.subtract(all.clone(), b, w, &total, true);
        self.subtract(all, b, w, &again, false);
        for (t, a) in total.iter_mut().zip(&again) {
            *t += a;
        }
        total
    }

    /// One pass against some of the rows: w ← w − Vᵀ(V w), returning V w. Enough when little is taken out.
    pub fn orthogonalize_once(&self, rows: Range<usize>, b: usize, w: &mut [f64]) -> Vec<f64> {
        let h = self.project(rows.clone(), b, w);
        self.subtract(rows, b, w, &h, false);
        h
    }

    /// Replaces p rows from `start` on by q ≤ p combinations of them, c (q, p), and moves the rows behind them up.
    pub fn recombine(&mut self, start: usize, p: usize, c: &[f64]) {
        let (n, q) = (self.n, c.len().checked_div(p).unwrap_or(0));
        assert!(q <= p && c.len() == q * p, "{} coefficients for {p} rows", c.len());
        let size = chunk(n);
        let mut out = vec![0.0; q * size.min(n)];
        for from in (0..n).step_by(size) {
            let len = size.min(n - from);
            let out = &mut out[..q * len];
            gemm(out, Write::Set, 1.0, View::new(c, q, p), self.columns(start..start + p, from, len), Par::Seq);
            for (i, out) in out.chunks_exact(len).enumerate() {
                let row = (start + i) * n + from;
                self.rows[row..row + len].copy_from_slice(out);
            }
        }
        self.rows.drain((start + q) * n..(start + p) * n);
    }

    /// The combination Σ_i y_i v_i of the first rows, as many as there are coefficients.
    pub fn combine(&self, y: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; self.n];
        let minus: Vec<f64> = y.iter().map(|y| -y).collect();
        self.subtract(0..y.len(), 1, &mut x, &minus, false);
        x
    }

    /// max |V Vᵀ − I|; 0 for an empty basis. Cost: 2 n k² flops.
    pub fn orthogonality(&self) -> f64 {
        let k = self.len();
        let mut gram = vec![0.0; k * k];
        let v = View::new(&self.rows, k, self.n);
        gemm(&mut gram, Write::Set, 1.0, v, v.t(), Par::Seq);
        for i in 0..k {
            gram[i * k + i] -= 1.0;
        }
        max_abs(&gram)
    }

    /// h = w Vᵀ for k rows of V, (b, k).
    pub fn project(&self, rows: Range<usize>, b: usize, w: &[f64]) -> Vec<f64> {
        let k = rows.len();
        let size = chunk(self.n);
        let partial = |c: usize| {
            let (from, len) = (c * size, size.min(self.n - c * size));
            let mut h = vec![0.0; b * k];
            let w = View::strided(&w[from..], b, len, self.n);
            gemm(&mut h, Write::Set, 1.0, w, self.columns(rows.clone(), from, len).t(), Par::Seq);
            h
        };
        let chunks = self.n.div_ceil(size);
        if k == 0 {
            return Vec::new();
        }
        let parts: Vec<Vec<f64>> = if k * self.n >= PARALLEL {
            (0..chunks).into_par_iter().map(partial).collect()
        } else {
            (0..chunks).map(partial).collect()
        };
        add_up(parts, b * k)
    }

    /// w ← w − h V for k rows of V; if `again`, returns the projection of the new w on them.
    fn subtract(&self, rows: Range<usize>, b: usize, w: &mut [f64], h: &[f64], again: bool) -> Vec<f64> {
        let k = rows.len();
        if k == 0 {
            return Vec::new();
        }
        let size = chunk(self.n);
        let coefficients = View::new(h, b, k);
        // The chunks of one vector are disjoint slices; those of several are gathered so that no two threads share one.
        let work = |(from, mut w): (usize, Vec<&mut [f64]>)| {
            let len = w[0].len();
            let v = self.columns(rows.clone(), from, len);
            let mut local = vec![0.0; b * len];
            for (local, w) in local.chunks_exact_mut(len).zip(&w) {
                local.copy_from_slice(w);
            }
            gemm(&mut local, Write::Add, -1.0, coefficients, v, Par::Seq);
            let mut h = vec![0.0; if again { b * k } else { 0 }];
            if again {
                gemm(&mut h, Write::Set, 1.0, View::new(&local, b, len), v.t(), Par::Seq);
            }
            for (local, w) in local.chunks_exact(len).zip(&mut w) {
                w.copy_from_slice(local);
            }
            h
        };
        let mut chunks: Vec<(usize, Vec<&mut [f64]>)> =
            (0..self.n).step_by(size).map(|from| (from, Vec::with_capacity(b))).collect();
        for w in w.chunks_exact_mut(self.n) {
            for ((_, list), part) in chunks.iter_mut().zip(w.chunks_mut(size)) {
                list.push(part);
            }
        }
        let parts: Vec<Vec<f64>> = if k * self.n >= PARALLEL {
            chunks.into_par_iter().map(work).collect()
        } else {
            chunks.into_iter().map(work).collect()
        };
        if again { add_up(parts, b * k) } else { Vec::new() }
    }

    /// Columns from .. from + len of some rows.
    fn columns(&self, rows: Range<usize>, from: usize, len: usize) -> View<'_, f64> {
        View::strided(&self.rows[rows.start * self.n + from..], rows.len(), len, self.n)
    }
}

/// Σ of the parts in their order, by halves: the error grows with the logarithm of their number.
fn add_up(mut parts: Vec<Vec<f64>>, len: usize) -> Vec<f64> {
    while parts.len() > 1 {
        let half = parts.len().div_ceil(2);
        let (left, right) = parts.split_at_mut(half);
        for (l, r) in left.iter_mut().zip(right) {
            for (l, r) in l.iter_mut().zip(r) {
                *l += *r;
            }
        }
        parts.truncate(half);
    }
    parts.pop().unwrap_or_else(|| vec![0.0; len])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::Distribution;
    use crate::reduce::norm2;

    fn random_basis(n: usize, k: usize) -> Basis {
        let mut v = Basis::new(n);
        for i in 0..k {
            let mut w = Distribution::Gaussian.probe(1, i as u64, n);
            v.orthogonalize(1, &mut w);
            let length = norm2(&w);
            w.iter_mut().for_each(|x| *x /= length);
            v.push(&w);
        }
        v
    }

    #[test]
    fn gram_schmidt_gives_an_orthonormal_basis_across_chunks() {
        for (n, k) in [(1, 1), (5, 5), (300, 7), (9_000, 4), (20_000, 30), (500, 130)] {
            let v = random_basis(n, k);
            assert!(v.orthogonality() <= 20.0 * f64::EPSILON, "{n} {k}: {:e}", v.orthogonality());
        }
    }

    #[test]
    fn coefficients_and_remainder_rebuild_the_vector() {
        let (n, k, b) = (3_000, 20, 3);
        let v = random_basis(n, k);
        let w0 = Distribution::Gaussian.probes(2, 0, b, n);
        let mut w = w0.clone();
        let h = v.orthogonalize(b, &mut w);
        for i in 0..b {
            let part = v.combine(&h[i * k..(i + 1) * k]);
            let worst = (0..n).map(|j| (part[j] + w[i * n + j] - w0[i * n + j]).abs()).fold(0.0, f64::max);
            assert!(worst <= 1e-13, "{worst:e}");
            let left = v.project(0..k, 1, &w[i * n..(i + 1) * n]);
            assert!(left.iter().all(|x| x.abs() <= 1e-13), "{left:?}");
        }
    }

    #[test]
    fn threads_do_not_change_the_bits() {
        let (n, k) = (20_000, 20);
        let v = random_basis(n, k);
        let w0 = Distribution::Gaussian.probes(2, 0, 2, n);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut w = w0.clone();
            let h = pool.install(|| v.orthogonalize(2, &mut w));
            (h, w)
        };
        assert!(v.rows().len() >= PARALLEL);
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn chunks_are_equal_and_cover_everything() {
        for n in [1, 8, 8192, 8193, 100_000] {
            let size = chunk(n);
            assert!(size <= 8192 && size * n.div_ceil(size) >= n && size.is_multiple_of(8), "{n}: {size}");
        }
        assert_eq!(chunk(8193), 4104);
    }
}
