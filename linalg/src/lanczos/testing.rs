//! Operators with prescribed spectra and other difficult ones, for the tests of all Krylov methods.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::operator::{LinearOperator, to_dense};
use crate::probes::Distribution;

/// A = Q diag(λ) Qᵀ with Q a product of Householder reflections: dense to the outside, O(n) per product.
pub(crate) struct Prescribed {
    pub spectrum: Vec<f64>,
    reflections: Vec<Vec<f64>>,
    products: AtomicUsize,
}

impl Prescribed {
    pub fn new(spectrum: Vec<f64>, seed: u64) -> Self {
        let reflections = (0..3).map(|i| Distribution::Sphere.probe(seed, i, spectrum.len())).collect();
        Prescribed { spectrum, reflections, products: AtomicUsize::new(0) }
    }

    /// Products asked for so far, counted by columns.
    pub fn products(&self) -> usize {
        self.products.load(Ordering::Relaxed)
    }

    /// Eigenvalues, ascending.
    pub fn ascending(&self) -> Vec<f64> {
        let mut values = self.spectrum.clone();
        values.sort_by(f64::total_cmp);
        values
    }

    /// Eigenvector i, Q e_i.
    pub fn eigenvector(&self, i: usize) -> Vec<f64> {
        let mut x = vec![0.0; self.spectrum.len()];
        x[i] = 1.0;
        self.reflections.iter().for_each(|u| reflect(u, &mut x));
        x
    }

    /// The n x n matrix, made symmetric to the last bit.
    pub fn dense(&self) -> Vec<f64> {
        let n = self.spectrum.len();
        let mut a = to_dense(self);
        for i in 0..n {
            for j in 0..i {
                a[j * n + i] = a[i * n + j];
            }
        }
        a
    }
}

fn reflect(u: &[f64], x: &mut [f64]) {
    let dot: f64 = u.iter().zip(x.iter()).map(|(u, x)| u * x).sum();
    for (x, u) in x.iter_mut().zip(u) {
        *x -= 2.0 * dot * u;
    }
}

impl LinearOperator for Prescribed {
    fn dim(&self) -> usize {
        self.spectrum.len()
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        self.products.fetch_add(k, Ordering::Relaxed);
        y.copy_from_slice(x);
        for y in y.chunks_exact_mut(self.dim().max(1)) {
            self.reflections.iter().rev().for_each(|u| reflect(u, y));
            y.iter_mut().zip(&self.spectrum).for_each(|(y, d)| *y *= d);
            self.reflections.iter().for_each(|u| reflect(u, y));
        }
    }
}

/// An operator given by what it does to one column.
pub(crate) struct Columnwise<F> {
    pub n: usize,
    pub f: F,
}

impl<F: Fn(&[f64], &mut [f64]) + Sync> LinearOperator for Columnwise<F> {
    fn dim(&self) -> usize {
        self.n
    }

    fn apply(&self, _: usize, x: &[f64], y: &mut [f64]) {
        for (x, y) in x.chunks_exact(self.n).zip(y.chunks_exact_mut(self.n)) {
            (self.f)(x, y);
        }
    }
}

/// c I.
pub(crate) fn multiple_of_identity(n: usize, c: f64) -> Columnwise<impl Fn(&[f64], &mut [f64]) + Sync> {
    Columnwise { n, f: move |x: &[f64], y: &mut [f64]| y.iter_mut().zip(x).for_each(|(y, x)| *y = c * x) }
}

/// c A.
pub(crate) struct Scaled<'a>(pub f64, pub &'a dyn LinearOperator);

impl LinearOperator for Scaled<'_> {
    fn dim(&self) -> usize {
        self.1.dim()
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        self.1.apply(k, x, y);
        y.iter_mut().for_each(|y| *y *= self.0);
    }
}

/// Nine outliers 10, 9, …, 2 above a bulk of n − 9 eigenvalues in [0, 1): the spectrum of a classifier's Hessian.
pub(crate) fn outliers_and_bulk(n: usize) -> Prescribed {
    let bulk = n - 9;
    let spectrum = (0..n).map(|i| if i < 9 { 10.0 - i as f64 } else { ((i - 9) as f64 / bulk as f64).powi(2) });
    Prescribed::new(spectrum.collect(), 17)
}
