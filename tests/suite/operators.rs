//! Operators with prescribed spectra, and broken ones, for Krylov tests.

use std::sync::atomic::{AtomicUsize, Ordering};

use eigenlens_linalg::LinearOperator;
use eigenlens_linalg::operator::DenseOperator;
use eigenlens_linalg::probes::Distribution;

/// (I − 2uuᵀ) diag(λ) (I − 2uuᵀ): dense to the outside, O(n) per product. Counts its columns.
pub struct Reflected {
    pub spectrum: Vec<f64>,
    u: Vec<f64>,
    columns: AtomicUsize,
}

impl Reflected {
    pub fn new(spectrum: Vec<f64>) -> Self {
        let u = Distribution::Sphere.probe(99, 0, spectrum.len());
        Reflected { spectrum, u, columns: AtomicUsize::new(0) }
    }

    pub fn columns(&self) -> usize {
        self.columns.load(Ordering::Relaxed)
    }

    fn reflect(&self, x: &mut [f64]) {
        let c = 2.0 * x.iter().zip(&self.u).map(|(x, u)| x * u).sum::<f64>();
        x.iter_mut().zip(&self.u).for_each(|(x, u)| *x -= c * u);
    }

    /// Eigenvector i, the i-th column of the reflection.
    pub fn eigenvector(&self, i: usize) -> Vec<f64> {
        let mut e = vec![0.0; self.spectrum.len()];
        e[i] = 1.0;
        self.reflect(&mut e);
        e
    }

    pub fn descending(&self) -> Vec<f64> {
        let mut values = self.spectrum.clone();
        values.sort_by(|a, b| b.total_cmp(a));
        values
    }
}

impl LinearOperator for Reflected {
    fn dim(&self) -> usize {
        self.spectrum.len()
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        let n = self.dim();
        assert_eq!((x.len(), y.len()), (k * n, k * n));
        self.columns.fetch_add(k, Ordering::Relaxed);
        y.copy_from_slice(x);
        for y in y.chunks_exact_mut(n.max(1)) {
            self.reflect(y);
            y.iter_mut().zip(&self.spectrum).for_each(|(y, l)| *y *= l);
            self.reflect(y);
        }
    }
}

/// The identity, but the products after the first `good` have one NaN or infinity.
pub struct FailsAfter {
    pub n: usize,
    pub good: usize,
    pub value: f64,
    calls: AtomicUsize,
}

impl FailsAfter {
    pub fn new(n: usize, good: usize, value: f64) -> Self {
        FailsAfter { n, good, value, calls: AtomicUsize::new(0) }
    }
}

impl LinearOperator for FailsAfter {
    fn dim(&self) -> usize {
        self.n
    }

    fn apply(&self, _k: usize, x: &[f64], y: &mut [f64]) {
        for (i, (y, x)) in y.iter_mut().zip(x).enumerate() {
            *y = (i % self.n + 1) as f64 * x;
        }
        if self.calls.fetch_add(1, Ordering::Relaxed) >= self.good {
            y[self.n / 2] = self.value;
        }
    }
}

/// A cyclic shift: orthogonal, not symmetric.
pub struct Shift(pub usize);

impl LinearOperator for Shift {
    fn dim(&self) -> usize {
        self.0
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        y.copy_from_slice(x);
        (0..k).for_each(|i| y[i * self.0..(i + 1) * self.0].rotate_right(1));
    }
}

pub fn identity(n: usize) -> DenseOperator {
    DenseOperator::diagonal(&vec![1.0; n])
}

pub fn zero(n: usize) -> DenseOperator {
    DenseOperator::diagonal(&vec![0.0; n])
}

/// r eigenvalues r, r − 1, …, 1, the others 0.
pub fn rank(n: usize, r: usize) -> Reflected {
    Reflected::new((0..n).map(|i| if i < r { (r - i) as f64 } else { 0.0 }).collect())
}
