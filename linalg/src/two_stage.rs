//! Eigenvalues of a dense symmetric matrix by reduction in two stages.
//!
//! | file | stage | flops | runs at the speed of |
//! |---|---|---|---|
//! | `full_to_band`, `panel` | full → band of [`BANDWIDTH`] subdiagonals, by blocked Householder reflections | 4/3 n³ | matrix products |
//! | `chase` | band → tridiagonal, by chasing bulges down the band | 6 n² [`BANDWIDTH`] | vectors in cache |
//! | `bisection` | tridiagonal → eigenvalues, by counting sign changes | about 200 n² | vectors in registers |
//!
//! A reduction in one stage spends half of its flops on products of the matrix with single vectors and so reads it from
//! memory n times; here the matrix is read n / [`BANDWIDTH`] times. Eigenvectors would have to be carried back through both
//! stages, which costs as much as is won: they stay with faer.
//!
//! All stages have the same bits for any number of threads: pieces of work have sizes that depend on n alone, each value
//! is written by one piece, and sums are not split between pieces.
//!
//! # Sources
//! Bischof, Lang & Sun, *A framework for symmetric band reduction*, ACM TOMS 26 (2000), for the two stages and the order of
//! the updates; Haidar, Ltaief & Dongarra, *Parallel reduction to condensed forms for symmetric eigenvalue problems using
//! aggregated fine-grained and memory-aware kernels*, SC 2011, for the column-wise chase and its order in time.

use crate::Par;
use crate::tridiagonal::{Tridiagonal, TridiagonalError};

mod bisection;
mod chase;
mod full_to_band;
mod panel;

/// Subdiagonals of the band between the stages. The first stage gets faster with it, the second slower.
pub const BANDWIDTH: usize = 48;

/// Values of memory for each row that the reduction takes beside the matrix: V and W in two layouts, one of them twice, and
/// X; the band comes after them and is smaller.
pub const WORKSPACE: usize = 7 * BANDWIDTH;

/// A tridiagonal matrix with the eigenvalues of a symmetric n x n matrix, given by its upper triangle in row-major order
/// (= lower triangle in column-major order) with entries of at most about 2; the strict lower triangle is neither read nor
/// kept. `a` is destroyed.
///
/// Backward error: a few √n ε ‖A‖. Cost: 4/3 n³ + 6 n² [`BANDWIDTH`] flops; [`WORKSPACE`] n values of memory beside
/// `a`.
///
/// # Panics
/// If `a.len() != n * n`.
#[track_caller]
pub fn tridiagonalise(n: usize, a: &mut [f64], par: Par) -> Tridiagonal {
    assert_eq!(a.len(), n * n, "a dense {n} x {n} matrix");
    full_to_band::reduce(n, a, par);
    let mut band = chase::Band::of(n, a);
    band.chase(par);
    band.tridiagonal()
}

/// All eigenvalues of a tridiagonal matrix, ascending, by bisection: each within a few ε ‖T‖, whatever the others are. Cost:
/// about 50 m² steps of a recurrence, eight at a time.
///
/// # Errors
/// If an entry is NaN or infinite.
pub fn eigenvalues(t: &Tridiagonal, par: Par) -> Result<Vec<f64>, TridiagonalError> {
    bisection::eigenvalues(t, par)
}

#[cfg(test)]
mod tests;
