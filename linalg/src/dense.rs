//! All eigenvalues of a dense symmetric matrix, with or without eigenvectors, and singular values, through faer.
//!
//! Values only: from order [`TWO_STAGE`] on the reduction of [`two_stage`], at the speed of matrix products; below, faer's
//! tridiagonalisation and our own QL (faer's values-only QR loses two digits). With vectors: faer's divide and conquer.
//!
//! faer splits the tridiagonalisation into as many partial sums as its `Par` has workers, so its bits depend on that
//! number (from n = 315 on, where its parallel loop begins). Here the number is fixed by n, whatever the pool has: the
//! same bits for any number of threads.
//!
//! # Sources
//! Golub & Van Loan, *Matrix Computations*, §8.3–8.4; faer 0.24, `linalg::evd`.

use faer::diag::DiagMut;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{self, ComputeEigenvectors, EvdError};
use faer::{MatMut, MatRef, Par};

use crate::reduce::{all_finite, max_abs};
use crate::tridiagonal::{Tridiagonal, power_of_two};
use crate::two_stage;

mod singular;

pub use singular::singular_values;

/// Relative asymmetry above which a matrix is refused: the same threshold as [`crate::lanczos::ASYMMETRY`].
pub const ASYMMETRY: f64 = crate::lanczos::ASYMMETRY;

/// The order from which on eigenvalues without vectors are found by way of a band: both ways are as fast there; the gain grows
/// with the order, to 2.4 times the speed at 2,000 and 3.5 times at 4,000 (processor time, measured).
pub const TWO_STAGE: usize = 256;

/// The eigenvalues of a dense matrix could not be computed.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum DenseError {
    /// The first entry (in row-major order) that is NaN or infinite.
    #[error("entry ({row}, {col}) of a symmetric matrix is {value}")]
    NonFinite {
        /// Its row.
        row: usize,
        /// Its column.
        col: usize,
        /// NaN, inf or −inf.
        value: f64,
    },
    /// The matrix differs from its transpose by more than rounding.
    #[error(
        "matrix is not symmetric: entries ({row}, {col}) and ({col}, {row}) differ by {asymmetry:.1e} of the largest"
    )]
    NotSymmetric {
        /// Row of the worst pair.
        row: usize,
        /// Its column.
        col: usize,
        /// |a_ij − a_ji| / max |a|.
        asymmetry: f64,
    },
    /// The iteration on the tridiagonal matrix gave up.
    #[error("eigenvalues of an order {0} matrix did not converge")]
    NoConvergence(usize),
}

/// Eigenvalues, ascending, and unit eigenvectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Eigen {
    /// The eigenvalues, ascending.
    pub values: Vec<f64>,
    /// The eigenvectors one after the other, n * n values.
    pub vectors: Vec<f64>,
}

impl Eigen {
    /// Eigenvector i.
    pub fn vector(&self, i: usize) -> &[f64] {
        let n = self.values.len();
        &self.vectors[i * n..(i + 1) * n]
    }
}

/// How far a matrix is from its transpose.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Asymmetry {
    /// max |a_ij − a_ji| / max |a_ij|; 0 for the zero matrix.
    pub relative: f64,
    /// Row of the worst pair, below the diagonal.
    pub row: usize,
    /// Its column.
    pub col: usize,
}

/// All eigenvalues of a symmetric n x n matrix (row-major), ascending; those of (A + Aᵀ)/2 if it is not quite symmetric.
///
/// Accuracy: a few √n ε ‖A‖. Cost: 4/3 n³ flops, [`workspace`] values of memory. Bits do not depend on the number of threads.
///
/// ```
/// let x = eigenlens_linalg::dense::eigenvalues(2, &[0.0, 1.0, 1.0, 0.0]).unwrap();
/// assert!((x[0] + 1.0).abs() < 1e-15 && (x[1] - 1.0).abs() < 1e-15);
/// ```
///
/// # Errors
/// A NaN or infinite entry; asymmetry above [`ASYMMETRY`].
/// # Panics
/// If `entries.len() != n * n`.
#[track_caller]
pub fn eigenvalues(n: usize, entries: &[f64]) -> Result<Vec<f64>, DenseError> {
    let (mut a, scale) = prepare(n, entries)?;
    let par = parts(n);
    let values = if n < TWO_STAGE {
        one_stage(n, &mut a, par).eigenvalues()
    } else {
        two_stage::eigenvalues(&two_stage::tridiagonalise(n, &mut a, par), par)
    };
    let mut values = values.map_err(|_| DenseError::NoConvergence(n))?;
    values.iter_mut().for_each(|x| *x *= scale);
    Ok(values)
}

/// Values of memory that [`eigenvalues`] takes: a copy of the matrix, and beside it some of order n.
pub fn workspace(n: usize) -> usize {
    n * n + if n < TWO_STAGE { 32 * n } else { two_stage::WORKSPACE * n }
}

/// The tridiagonal matrix that faer makes of the lower triangle of `a` (column-major), which is destroyed.
fn one_stage(n: usize, a: &mut [f64], par: Par) -> Tridiagonal {
    if n == 0 {
        return Tridiagonal::default();
    }
    let blocks = faer::linalg::qr::no_pivoting::factor::recommended_block_size::<f64>(n, n);
    let mut householder = vec![0.0; blocks * (n - 1)];
    evd::tridiag::tridiag_in_place(
        MatMut::from_column_major_slice_mut(a, n, n),
        MatMut::from_column_major_slice_mut(&mut householder, blocks, n - 1),
        par,
        MemStack::new(&mut MemBuffer::new(evd::tridiag::tridiag_in_place_scratch::<f64>(n, par, Default::default()))),
        Default::default(),
    );
    Tridiagonal::new((0..n).map(|i| a[i * n + i]).collect(), (0..n - 1).map(|i| a[i * n + i + 1]).collect())
}

/// As [`eigenvalues`], with eigenvectors. Cost: about 9 n³ flops, 4 n² values of memory.
///
/// # Errors
/// As [`eigenvalues`], or if the iteration on the tridiagonal matrix does not converge.
/// # Panics
/// If `entries.len() != n * n`.
#[track_caller]
pub fn eigen(n: usize, entries: &[f64]) -> Result<Eigen, DenseError> {
    eigen_with(n, entries, parts(n))
}

#[track_caller]
fn eigen_with(n: usize, entries: &[f64], par: Par) -> Result<Eigen, DenseError> {
    let (a, scale) = prepare(n, entries)?;
    let mut values = vec![0.0; n];
    let mut vectors = vec![0.0; n * n];
    if n == 0 {
        return Ok(Eigen { values, vectors });
    }
    let scratch = evd::self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, par, Default::default());
    evd::self_adjoint_evd(
        MatRef::from_column_major_slice(&a, n, n),
        DiagMut::from_slice_mut(&mut values),
        Some(MatMut::from_column_major_slice_mut(&mut vectors, n, n)),
        par,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|EvdError::NoConvergence| DenseError::NoConvergence(n))?;
    values.iter_mut().for_each(|x| *x *= scale);
    Ok(Eigen { values, vectors })
}

/// Measures how far a square matrix is from its transpose; NaN entries are ignored.
///
/// # Panics
/// If `entries.len() != n * n`.
#[track_caller]
pub fn asymmetry(n: usize, entries: &[f64]) -> Asymmetry {
    assert_eq!(entries.len(), n * n, "a dense {n} x {n} matrix");
    let mut worst = Asymmetry::default();
    let mut largest = 0.0f64;
    in_tiles(n, |i, j| {
        let (x, y) = (entries[i * n + j], entries[j * n + i]);
        largest = largest.max(x.abs()).max(y.abs());
        if (x - y).abs() > worst.relative {
            worst = Asymmetry { relative: (x - y).abs(), row: i, col: j };
        }
    });
    if largest > 0.0 {
        worst.relative /= largest;
    }
    worst
}

/// (A + Aᵀ)/2 with its upper triangle in row-major (= lower triangle in column-major) order, divided by a power of two
/// that brings the largest entry to [1, 2), and that power.
fn prepare(n: usize, entries: &[f64]) -> Result<(Vec<f64>, f64), DenseError> {
    assert_eq!(entries.len(), n * n, "a dense {n} x {n} matrix");
    if !all_finite(entries)
        && let Some(i) = entries.iter().position(|x| !x.is_finite())
    {
        return Err(DenseError::NonFinite { row: i / n, col: i % n, value: entries[i] });
    }
    let Asymmetry { relative, row, col } = asymmetry(n, entries);
    if relative > ASYMMETRY {
        return Err(DenseError::NotSymmetric { row, col, asymmetry: relative });
    }
    let scale = power_of_two(max_abs(entries));
    let mut a = vec![0.0; n * n];
    in_tiles(n, |i, j| a[j * n + i] = 0.5 * (entries[i * n + j] / scale + entries[j * n + i] / scale));
    Ok((a, scale))
}

/// Visits (i, j), j ≤ i, in tiles, so that a matrix and its transpose can be read together.
fn in_tiles(n: usize, mut visit: impl FnMut(usize, usize)) {
    const TILE: usize = 64;
    for rows in (0..n).step_by(TILE) {
        for cols in (0..=rows).step_by(TILE) {
            for i in rows..(rows + TILE).min(n) {
                for j in cols..(cols + TILE).min(i + 1) {
                    visit(i, j);
                }
            }
        }
    }
}

/// The degree of parallelism for order n, chosen once for all machines: it decides the bits, so it may not depend on the
/// pool. Splitting pays from about 500 on; eight parts cost as much as two on two cores from n = 2000 on (measured).
fn parts(n: usize) -> Par {
    match n {
        0..512 => Par::Seq,
        512..1536 => Par::rayon(2),
        _ => Par::rayon(8),
    }
}

#[cfg(test)]
mod tests;
