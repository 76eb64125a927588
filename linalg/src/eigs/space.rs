//! The Krylov space of the eigensolver: a basis in three parts, the projected matrix, and its four moves
//! (begin, expand, restart, lock).
//!
//! Rows of the basis are locked | active (p) | residual (b). Between moves, on the complement of the locked vectors,
//!
//! A Vᵀ = Vᵀ H + Rᵀ Bᵀ, V the active rows, R the residual rows, H (p, p) symmetric, B (p, b) the coupling:
//!
//! a Krylov–Schur decomposition of varying block width. A block that loses rank gets narrower; one that vanishes has
//! found an invariant space.

use crate::dense;
use crate::lanczos::{Basis, invariant_tolerance};
use crate::operator::LinearOperator;
use crate::probes::gaussian;
use crate::reduce::norm2;
use crate::stop::Stop;

/// Ritz values in descending order with what is needed of their vectors.
pub(super) struct RitzPairs {
    /// Ritz values, descending.
    pub values: Vec<f64>,
    /// ‖A x − θ x‖ as the decomposition gives it.
    pub residuals: Vec<f64>,
    /// Coefficients of the Ritz vectors in the active rows, (p, p), one vector after the other.
    pub vectors: Vec<f64>,
}

pub(super) struct Space<'a> {
    a: &'a dyn LinearOperator,
    n: usize,
    seed: u64,
    /// Next stream of random vectors.
    stream: u64,
    basis: Basis,
    locked: usize,
    active: usize,
    width: usize,
    /// H and, in the columns p .. p + b, B; row-major, square of order `order`.
    h: Vec<f64>,
    order: usize,
    asymmetry_limit: f64,
    /// Largest ‖A v‖ seen.
    pub scale: f64,
    pub products: usize,
}

impl<'a> Space<'a> {
    pub fn new(a: &'a dyn LinearOperator, seed: u64, asymmetry_limit: f64) -> Self {
        let n = a.dim();
        Space {
            a,
            n,
            seed,
            stream: 0,
            basis: Basis::new(n),
            locked: 0,
            active: 0,
            width: 0,
            h: Vec::new(),
            order: 0,
            asymmetry_limit,
            scale: 0.0,
            products: 0,
        }
    }

    /// n.
    pub fn dim(&self) -> usize {
        self.n
    }

    /// Number of active rows p.
    pub fn active(&self) -> usize {
        self.active
    }

    /// Number of residual rows b: products that the next expansion costs.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of locked rows.
    pub fn locked(&self) -> usize {
        self.locked
    }

    /// Whether locked and active rows span everything.
    pub fn exhausted(&self) -> bool {
        self.locked + self.active == self.n
    }

    /// The residual of every Ritz pair is zero.
    pub fn invariant(&self) -> bool {
        self.width == 0
    }

    /// Drops the active and residual rows and begins anew in the complement of the locked ones, with the vectors in
    /// `starts` as far as they are independent, and room for `order` active rows.
    pub fn begin(&mut self, order: usize, starts: &[f64]) -> Result<(), Stop> {
        self.basis.truncate(self.locked);
        (self.active, self.width) = (0, 0);
        // The last expansion before a restart may overshoot by a block, and B needs one more.
        self.order = order + 2 * (starts.len() / self.n.max(1)).max(1) + 1;
        self.h = vec![0.0; self.order * self.order];
        for start in starts.chunks_exact(self.n) {
            if !norm2(start).is_finite() {
                return Err(Stop::NonFinite);
            }
            self.push(start.to_vec());
        }
        Ok(())
    }

    /// As many random vectors as asked for, unrelated to all earlier ones.
    pub fn random(&mut self, count: usize) -> Vec<f64> {
        let mut out = vec![0.0; count * self.n];
        for x in out.chunks_exact_mut(self.n) {
            gaussian(self.seed, self.stream, x);
            self.stream += 1;
        }
        out
    }

    /// Appends a random residual row without coupling: the way on from an invariant space.
    pub fn inject(&mut self) {
        let x = self.random(1);
        self.push(x);
    }

    /// Orthogonalises x against everything and appends it as an uncoupled residual row unless nothing is left of it.
    fn push(&mut self, mut x: Vec<f64>) {
        let before = norm2(&x);
        self.basis.orthogonalize(1, &mut x);
        let length = norm2(&x);
        if self.basis.len() < self.n && length > invariant_tolerance(self.n) * before {
            x.iter_mut().for_each(|x| *x /= length);
            // A vector that was almost inside the space has lost digits to it.
            self.basis.orthogonalize(1, &mut x);
            let length = norm2(&x);
            x.iter_mut().for_each(|x| *x /= length);
            self.basis.push(&x);
            self.width += 1;
        }
    }

    /// Multiplies the residual rows, takes them into the active ones and computes the new residual.
    pub fn expand(&mut self) -> Result<(), Stop> {
        let (n, p, b) = (self.n, self.active, self.width);
        let first = self.locked + p;
        let mut w = vec![0.0; b * n];
        self.a.apply(b, &self.basis.rows()[first * n..(first + b) * n], &mut w);
        self.products += b;
        for w in w.chunks_exact(n) {
            let length = norm2(w);
            if !length.is_finite() {
                return Err(Stop::NonFinite);
            }
            self.scale = self.scale.max(length);
        }
        let total = first + b;
        let c = self.basis.orthogonalize(b, &mut w);
        let c = |j: usize, i: usize| c[j * total + self.locked + i];
        // Symmetry: the coefficients of A r_j in the active rows are B, and RᵀA R is symmetric.
        let mut worst = 0.0f64;
        for j in 0..b {
            for i in 0..p {
                worst = worst.max((c(j, i) - self.h[i * self.order + p + j]).abs());
                self.h[(p + j) * self.order + i] = self.h[i * self.order + p + j];
            }
            for i in 0..=j {
                let (x, y) = (c(j, p + i), c(i, p + j));
                worst = worst.max((x - y).abs());
                self.h[(p + i) * self.order + p + j] = 0.5 * (x + y);
                self.h[(p + j) * self.order + p + i] = 0.5 * (x + y);
            }
        }
        if worst > self.asymmetry_limit * self.scale {
            return Err(Stop::NotSymmetric);
        }
        self.active += b;
        self.width = 0;
        for (j, w) in w.chunks_exact_mut(n).enumerate() {
            // Against the new residual rows, and once more against all: what is taken out for the former may uncover
            // rounding in the direction of the latter.
            if self.width > 0 {
                let c = self.basis.orthogonalize(1, w);
                for r in 0..self.width {
                    self.h[(p + j) * self.order + self.active + r] = c[total + r];
                }
            }
            let beta = norm2(w);
            if self.basis.len() < n && beta > invariant_tolerance(n) * self.scale {
                w.iter_mut().for_each(|x| *x /= beta);
                self.basis.push(w);
                self.h[(p + j) * self.order + self.active + self.width] = beta;
                self.width += 1;
            }
        }
        Ok(())
    }

    /// Rayleigh–Ritz on the active rows. Cost: about 20 p³ flops.
    pub fn ritz(&self) -> Result<RitzPairs, Stop> {
        let p = self.active;
        let h: Vec<f64> = (0..p).flat_map(|i| &self.h[i * self.order..i * self.order + p]).copied().collect();
        let e = dense::eigen(p, &h).map_err(|_| Stop::NonFinite)?;
        let order = (0..p).rev();
        let residual = |i: usize| {
            let coupling = |j: usize| (0..p).map(|a| self.h[a * self.order + p + j] * e.vector(i)[a]).sum::<f64>();
            norm2(&(0..self.width).map(coupling).collect::<Vec<_>>())
        };
        Ok(RitzPairs {
            values: order.clone().map(|i| e.values[i]).collect(),
            residuals: order.clone().map(residual).collect(),
            vectors: order.flat_map(|i| e.vector(i)).copied().collect(),
        })
    }

    /// Keeps the Ritz vectors of the given indices as the new active rows: a thick restart.
    pub fn restart(&mut self, ritz: &RitzPairs, keep: &[usize]) {
        let (p, q, b) = (self.active, keep.len(), self.width);
        let y: Vec<f64> = keep.iter().flat_map(|&i| &ritz.vectors[i * p..(i + 1) * p]).copied().collect();
        // The eigenvectors of H are orthonormal to some 10 ε only, which would add up from restart to restart.
        self.basis.recombine(self.locked, p, super::orthonormal(p, &y).rows());
        let mut h = vec![0.0; self.order * self.order];
        for (i, &k) in keep.iter().enumerate() {
            h[i * self.order + i] = ritz.values[k];
            for j in 0..b {
                h[i * self.order + q + j] =
                    (0..p).map(|a| self.h[a * self.order + p + j] * ritz.vectors[k * p + a]).sum();
            }
        }
        self.h = h;
        self.active = q;
    }

    /// Takes the Ritz vectors of the given indices out of the search, and drops everything else.
    pub fn lock(&mut self, ritz: &RitzPairs, chosen: &[usize]) {
        self.restart(ritz, chosen);
        self.locked += chosen.len();
        self.basis.truncate(self.locked);
        (self.active, self.width) = (0, 0);
    }

    /// Locked row i.
    pub fn locked_row(&self, i: usize) -> &[f64] {
        self.basis.row(i)
    }

    /// Multiplies k vectors, counting.
    pub fn apply(&mut self, k: usize, x: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; x.len()];
        self.a.apply(k, x, &mut y);
        self.products += k;
        y
    }
}
