//! Full → band: a panel of [`BANDWIDTH`] columns is reduced to R by QR, and the reflections are applied to the rest of the
//! matrix from both sides at once.
//!
//! With Q = I − V S Vᵀ: Qᵀ A Q = A − V Wᵀ − W Vᵀ, where X = A V S, M = Sᵀ Vᵀ X and W = X − ½ V M. X takes one product with
//! the symmetric matrix, the update one with [V W] for one triangle: 2 m² flops per column each. The first rows of the
//! update are the next panel, which is decomposed while the other threads update the rest.

use super::BANDWIDTH;
use super::panel::Panel;
use crate::gemm::{Par, View, Write, gemm, gemm_strided};
use crate::parallel::pieces;
use crate::scratch;

/// Rows that are multiplied as one piece of work. Triangles on the diagonal are the price of long ones.
const ROWS: usize = 128;
/// Rows of a piece that share a rectangle across the diagonal.
const STAIR: usize = 32;

/// Reduces the matrix whose upper triangle `a` holds (row-major): row i keeps its diagonal and the [`BANDWIDTH`] values to
/// the right of it; what lies beyond is left as garbage.
pub fn reduce(n: usize, a: &mut [f64], par: Par) {
    let most = n.saturating_sub(BANDWIDTH);
    if most < 2 {
        return;
    }
    let (mut panel, mut next) = (Panel::new(most), Panel::new(most));
    let mut work = Work { vw: vec![0.0; 2 * BANDWIDTH * most], x: vec![0.0; BANDWIDTH * most] };
    panel.factor(a, n, BANDWIDTH);
    let mut first = BANDWIDTH;
    // The trailing matrix has rows first .. n; with one row only there is nothing to eliminate.
    while n - first >= 2 {
        let m = n - first;
        let trailing = &mut a[first * n..];
        work.both_sides(n, trailing, &mut panel, par);
        let update = Update { n, m, vw: &work.vw, transposed: &panel.transposed };
        let more = m > BANDWIDTH + 1;
        let (head, rest) = trailing.split_at_mut(BANDWIDTH.min(m) * n);
        let mut ahead = || {
            update.rows(0, head);
            if more {
                next.factor(head, n, first + BANDWIDTH);
            }
        };
        let mut others = || pieces(par, m * m, rest, ROWS * n, &|i, rows| update.rows(BANDWIDTH + i * ROWS, rows));
        if let Par::Seq = par {
            ahead();
            others();
        } else {
            rayon::join(ahead, others);
        }
        std::mem::swap(&mut panel, &mut next);
        first += BANDWIDTH;
        if !more {
            break;
        }
    }
}

/// Buffers of one round.
struct Work {
    /// [V W]: m rows of 2 [`BANDWIDTH`] values.
    vw: Vec<f64>,
    /// X, then W: m rows of [`BANDWIDTH`] values.
    x: Vec<f64>,
}

impl Work {
    /// W of the trailing matrix (rows `n` apart, the last m columns of each), beside V here and in the panel.
    fn both_sides(&mut self, n: usize, trailing: &[f64], panel: &mut Panel, par: Par) {
        const PAIR: usize = 2 * BANDWIDTH;
        let m = panel.rows;
        let (vw, x) = (&mut self.vw[..PAIR * m], &mut self.x[..BANDWIDTH * m]);
        let vt = panel.vt();
        pieces(par, PAIR * m, vw, ROWS * PAIR, &|piece, rows| {
            for (i, row) in rows.chunks_exact_mut(PAIR).enumerate() {
                for (c, v) in row[..BANDWIDTH].iter_mut().enumerate() {
                    *v = vt[c * m + piece * ROWS + i];
                }
            }
        });
        let v = |from: usize, rows: usize| View::strided(&vw[from * PAIR..], rows, BANDWIDTH, PAIR);
        let s = View::new(&panel.s, BANDWIDTH, BANDWIDTH);
        let symmetric = Symmetric { n, m, trailing };
        pieces(par, m * m, x, ROWS * BANDWIDTH, &|i, x| {
            scratch::with(x.len(), |av: &mut [f64]| {
                let rows = x.len() / BANDWIDTH;
                symmetric.rows_times(i * ROWS, rows, &v, av);
                gemm(x, Write::Set, 1.0, View::new(av, rows, BANDWIDTH), s, Par::Seq);
            });
        });
        let mut vx = [0.0; BANDWIDTH * BANDWIDTH];
        let mut middle = [0.0; BANDWIDTH * BANDWIDTH];
        gemm(&mut vx, Write::Set, 1.0, View::new(vt, BANDWIDTH, m), View::new(x, m, BANDWIDTH), Par::Seq);
        gemm(&mut middle, Write::Set, 1.0, s.t(), View::new(&vx, BANDWIDTH, BANDWIDTH), Par::Seq);
        pieces(par, PAIR * m, x, ROWS * BANDWIDTH, &|i, x| {
            let rows = x.len() / BANDWIDTH;
            gemm(x, Write::Add, -0.5, v(i * ROWS, rows), View::new(&middle, BANDWIDTH, BANDWIDTH), Par::Seq);
        });
        pieces(par, PAIR * m, vw, ROWS * PAIR, &|piece, rows| {
            for (i, row) in rows.chunks_exact_mut(PAIR).enumerate() {
                let at = (piece * ROWS + i) * BANDWIDTH;
                row[BANDWIDTH..].copy_from_slice(&x[at..at + BANDWIDTH]);
            }
        });
        pieces(par, PAIR * m, &mut panel.transposed[..BANDWIDTH * m], m, &|c, row| {
            for (w, x) in row.iter_mut().zip(x.chunks_exact(BANDWIDTH)) {
                *w = x[c];
            }
        });
    }
}

/// The symmetric matrix in the upper triangle of the last m columns of rows that are n apart.
struct Symmetric<'a> {
    n: usize,
    m: usize,
    trailing: &'a [f64],
}

impl Symmetric<'_> {
    fn view(&self, row: usize, col: usize, rows: usize, cols: usize) -> View<'_, f64> {
        View::strided(&self.trailing[row * self.n + (self.n - self.m) + col..], rows, cols, self.n)
    }

    /// `out` ← rows `from` .. `from + rows` of A V: what lies above the diagonal block, the block itself, what lies right of it.
    fn rows_times<'v>(&self, from: usize, rows: usize, v: &impl Fn(usize, usize) -> View<'v, f64>, out: &mut [f64]) {
        scratch::with(rows * rows, |square: &mut [f64]| {
            for i in 0..rows {
                for j in i..rows {
                    let x = self.trailing[(from + i) * self.n + (self.n - self.m) + from + j];
                    square[i * rows + j] = x;
                    square[j * rows + i] = x;
                }
            }
            gemm(out, Write::Set, 1.0, View::new(square, rows, rows), v(from, rows), Par::Seq);
        });
        if from > 0 {
            gemm(out, Write::Add, 1.0, self.view(0, from, from, rows).t(), v(0, from), Par::Seq);
        }
        let end = from + rows;
        if end < self.m {
            let right = self.m - end;
            gemm(out, Write::Add, 1.0, self.view(from, end, rows, right), v(end, right), Par::Seq);
        }
    }
}

/// A ← A − V Wᵀ − W Vᵀ in the upper triangle.
struct Update<'a> {
    n: usize,
    m: usize,
    vw: &'a [f64],
    /// [W V]ᵀ: 2 [`BANDWIDTH`] rows of m values.
    transposed: &'a [f64],
}

impl Update<'_> {
    /// The rows from number `from` on, which are `n` apart.
    fn rows(&self, from: usize, rows: &mut [f64]) {
        let count = rows.len() / self.n;
        for stair in (0..count).step_by(STAIR) {
            let height = STAIR.min(count - stair);
            self.rectangle(from, rows, stair, height, stair, count - stair);
        }
        let right = self.m - from - count;
        if right > 0 {
            self.rectangle(from, rows, 0, count, count, right);
        }
    }

    /// `height` rows from `top` on, `width` columns from `left` on; both are counted from `from`.
    fn rectangle(&self, from: usize, rows: &mut [f64], top: usize, height: usize, left: usize, width: usize) {
        const PAIR: usize = 2 * BANDWIDTH;
        let start = top * self.n + (self.n - self.m) + from + left;
        gemm_strided(
            &mut rows[start..],
            self.n,
            Write::Add,
            -1.0,
            View::strided(&self.vw[(from + top) * PAIR..], height, PAIR, PAIR),
            View::strided(&self.transposed[from + left..], PAIR, width, self.m),
            Par::Seq,
        );
    }
}
