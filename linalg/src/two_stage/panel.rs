//! The QR decomposition of a panel, recursively: Q = I − V S Vᵀ.
//!
//! # Sources
//! Schreiber & Van Loan, *A storage-efficient WY representation for products of Householder transformations*, SIAM J. Sci.
//! Stat. Comput. 10 (1989); Elmroth & Gustavson, *Applying recursion to serial and parallel QR factorization leads to better
//! performance*, IBM J. Res. Dev. 44 (2000).

use super::BANDWIDTH;
use crate::gemm::{Par, View, Write, gemm, gemm_strided};
use crate::reduce::{axpy, dot, scal};

/// Columns that are reflected one after the other.
const LEAF: usize = 8;

/// Reflections of an m x [`BANDWIDTH`] panel.
pub struct Panel {
    /// The rows m.
    pub rows: usize,
    /// Room for Wᵀ, [`BANDWIDTH`] rows of m values, and then Vᵀ, as many.
    pub transposed: Vec<f64>,
    /// S, upper triangular, [`BANDWIDTH`] rows.
    pub s: Vec<f64>,
}

/// Where Vᵀ starts in `transposed`, for a panel of m rows.
const fn v_start(m: usize) -> usize {
    BANDWIDTH * m
}

impl Panel {
    /// Room for panels of at most `rows` rows.
    pub fn new(rows: usize) -> Self {
        Panel { rows: 0, transposed: vec![0.0; 2 * BANDWIDTH * rows], s: vec![0.0; BANDWIDTH * BANDWIDTH] }
    }

    /// Vᵀ: [`BANDWIDTH`] rows of m values. Column k of V is zero above row k and one there, or zero for no reflection.
    pub fn vt(&self) -> &[f64] {
        &self.transposed[v_start(self.rows)..2 * v_start(self.rows)]
    }

    /// Takes the panel whose columns are the first [`BANDWIDTH`] rows of `source` (`stride` long), each from value `from` on;
    /// finds V and S with Qᵀ (panel) = R, and puts R in its place (zeros below are not written).
    pub fn factor(&mut self, source: &mut [f64], stride: usize, from: usize) {
        let m = stride - from;
        self.rows = m;
        self.s.fill(0.0);
        let vt = &mut self.transposed[v_start(m)..2 * v_start(m)];
        for (column, row) in vt.chunks_exact_mut(m).zip(source.chunks(stride)) {
            column.copy_from_slice(&row[from..]);
        }
        let mut r = [0.0; BANDWIDTH * BANDWIDTH];
        split(vt, m, 0, BANDWIDTH, &mut self.s, &mut r);
        for (c, row) in source.chunks_mut(stride).take(BANDWIDTH).enumerate() {
            let len = m.min(c + 1);
            row[from..from + len].copy_from_slice(&r[c * BANDWIDTH..c * BANDWIDTH + len]);
        }
    }
}

/// Columns lo .. hi: the first half, its effect on the second half, the second half, and S between the two.
fn split(vt: &mut [f64], m: usize, lo: usize, hi: usize, s: &mut [f64], r: &mut [f64]) {
    if hi - lo <= LEAF {
        return leaf(vt, m, lo, hi, s, r);
    }
    // A whole number of leaves on the left.
    let half = ((hi - lo) / LEAF).div_ceil(2) * LEAF;
    let mid = lo + half;
    split(vt, m, lo, mid, s, r);
    if lo < m {
        apply(vt, m, lo, mid, hi, s);
    }
    split(vt, m, mid, hi, s, r);
    if mid >= m {
        return;
    }
    // S₁₂ = −S₁ (V₁ᵀ V₂) S₂.
    let (rows, cols) = (half, hi - mid);
    let mut between = [0.0; BANDWIDTH * BANDWIDTH];
    let mut product = [0.0; BANDWIDTH * BANDWIDTH];
    let (between, product) = (&mut between[..rows * cols], &mut product[..rows * cols]);
    let v = |k: usize, count: usize| View::strided(&vt[k * m + mid..], count, m - mid, m);
    gemm(between, Write::Set, 1.0, v(lo, rows), v(mid, cols).t(), Par::Seq);
    let block = |k: usize, size: usize| (k * BANDWIDTH + k, size);
    let ((at1, size1), (at2, size2)) = (block(lo, rows), block(mid, cols));
    let s1 = View::strided(&s[at1..], size1, size1, BANDWIDTH);
    gemm(product, Write::Set, -1.0, s1, View::new(between, rows, cols), Par::Seq);
    let s2 = View::strided(&s[at2..], size2, size2, BANDWIDTH);
    gemm(between, Write::Set, 1.0, View::new(product, rows, cols), s2, Par::Seq);
    for (i, row) in between.chunks_exact(cols).enumerate() {
        let at = (lo + i) * BANDWIDTH + mid;
        s[at..at + cols].copy_from_slice(row);
    }
}

/// Columns mid .. hi ← (I − V S Vᵀ)ᵀ columns, with the V of columns lo .. mid.
fn apply(vt: &mut [f64], m: usize, lo: usize, mid: usize, hi: usize, s: &[f64]) {
    let (k, cols) = (mid - lo, hi - mid);
    let (left, right) = vt.split_at_mut(mid * m);
    let v = View::strided(&left[lo * m + lo..], k, m - lo, m);
    let mut c = [0.0; BANDWIDTH * BANDWIDTH];
    let mut cs = [0.0; BANDWIDTH * BANDWIDTH];
    let (c, cs) = (&mut c[..cols * k], &mut cs[..cols * k]);
    gemm(c, Write::Set, 1.0, View::strided(&right[lo..], cols, m - lo, m), v.t(), Par::Seq);
    let s = View::strided(&s[lo * BANDWIDTH + lo..], k, k, BANDWIDTH);
    gemm(cs, Write::Set, 1.0, View::new(c, cols, k), s, Par::Seq);
    gemm_strided(&mut right[lo..], m, Write::Add, -1.0, View::new(cs, cols, k), v, Par::Seq);
}

/// Columns lo .. hi one after the other.
fn leaf(vt: &mut [f64], m: usize, lo: usize, hi: usize, s: &mut [f64], r: &mut [f64]) {
    for k in lo..hi {
        let (before, rest) = vt.split_at_mut(k * m);
        let (v, rest) = rest.split_at_mut(m);
        let above = k.min(m);
        r[k * BANDWIDTH..k * BANDWIDTH + above].copy_from_slice(&v[..above]);
        v[..above].fill(0.0);
        if k >= m {
            continue;
        }
        let (tau, beta) = reflect(&mut v[k..]);
        r[k * BANDWIDTH + k] = beta;
        if tau == 0.0 {
            continue;
        }
        let v = &v[k..];
        for column in rest.chunks_exact_mut(m).take(hi - k - 1) {
            let column = &mut column[k..];
            axpy(-tau * dot(v, column), v, column);
        }
        // S_{·k} = −τ S (Vᵀ v_k).
        s[k * BANDWIDTH + k] = tau;
        let mut along = [0.0; LEAF];
        for (i, along) in (lo..k).zip(&mut along) {
            *along = -tau * dot(&before[i * m + k..(i + 1) * m], v);
        }
        for i in lo..k {
            s[i * BANDWIDTH + k] = (i..k).map(|j| s[i * BANDWIDTH + j] * along[j - lo]).sum();
        }
    }
}

/// Squares below which the rest of a column is dropped: ‖rest‖ < 10⁻¹⁴⁰ in a matrix with entries near one.
pub const NEGLIGIBLE: f64 = 1e-280;

/// Turns x into v with v₀ = 1 and (I − τ v vᵀ) x = (β, 0, …); gives (τ, β). No reflection (τ = 0, v = 0) if x is of that form.
fn reflect(x: &mut [f64]) -> (f64, f64) {
    let head = x[0];
    let tail = dot(&x[1..], &x[1..]);
    let Some(Reflection { tau, beta, scale }) = Reflection::of(head, tail) else {
        x.fill(0.0);
        return (0.0, head);
    };
    scal(scale, &mut x[1..]);
    x[0] = 1.0;
    (tau, beta)
}

/// The numbers of a Householder reflection.
#[derive(Clone, Copy)]
pub struct Reflection {
    /// τ in I − τ v vᵀ.
    pub tau: f64,
    /// What becomes of the head.
    pub beta: f64,
    /// What the tail is multiplied by to be that of v.
    pub scale: f64,
}

impl Reflection {
    /// Of a vector with this head and this sum of squares of the others, or none where they vanish.
    #[inline(always)]
    pub fn of(head: f64, tail: f64) -> Option<Self> {
        if tail < NEGLIGIBLE {
            return None;
        }
        // The sign that makes head − β a sum, without cancellation.
        let beta = -(head * head + tail).sqrt().copysign(head);
        Some(Reflection { tau: (beta - head) / beta, beta, scale: 1.0 / (head - beta) })
    }
}
