//! Singular values of a dense matrix.

use faer::diag::DiagMut;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{self, ComputeSvdVectors, SvdError};
use faer::{MatRef, Par};

use super::{DenseError, parts};
use crate::reduce::{all_finite, max_abs};
use crate::tridiagonal::power_of_two;

/// The min(rows, cols) singular values of a matrix (row-major), descending: by bidiagonalisation, not from a Gram matrix, so
/// that small ones keep their digits.
///
/// Accuracy: a few √n ε ‖A‖₂. Cost: about 4 rows · cols · min(rows, cols) flops, as many values of memory as the matrix has.
/// Bits do not depend on the number of threads.
///
/// ```
/// let s = eigenlens_linalg::dense::singular_values(2, 3, &[3.0, 0.0, 0.0, 0.0, 0.0, -4.0]).unwrap();
/// assert!((s[0] - 4.0).abs() < 1e-15 && (s[1] - 3.0).abs() < 1e-15);
/// ```
///
/// # Errors
/// A NaN or infinite entry; an iteration that does not converge.
/// # Panics
/// If `entries.len() != rows * cols`.
/// # Sources
/// Golub & Van Loan, *Matrix Computations*, §8.6; faer 0.24, `linalg::svd`.
#[track_caller]
pub fn singular_values(rows: usize, cols: usize, entries: &[f64]) -> Result<Vec<f64>, DenseError> {
    assert_eq!(entries.len(), rows * cols, "a dense {rows} x {cols} matrix");
    if !all_finite(entries)
        && let Some(i) = entries.iter().position(|x| !x.is_finite())
    {
        return Err(DenseError::NonFinite { row: i / cols, col: i % cols, value: entries[i] });
    }
    let count = rows.min(cols);
    if count == 0 {
        return Ok(Vec::new());
    }
    let scale = power_of_two(max_abs(entries));
    let scaled: Vec<f64> = entries.iter().map(|x| x / scale).collect();
    let mut values = vec![0.0; count];
    let (none, par): (_, Par) = (ComputeSvdVectors::No, parts(count));
    let scratch = svd::svd_scratch::<f64>(rows, cols, none, none, par, Default::default());
    svd::svd(
        MatRef::from_row_major_slice(&scaled, rows, cols),
        DiagMut::from_slice_mut(&mut values),
        None,
        None,
        par,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|SvdError::NoConvergence| DenseError::NoConvergence(count))?;
    values.iter_mut().for_each(|x| *x = x.abs() * scale);
    values.sort_by(|a, b| b.total_cmp(a));
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dense::eigenvalues;
    use crate::probes::Distribution;
    use crate::{View, Write, gemm};

    /// A Aᵀ or AᵀA, whichever is smaller.
    fn gram(rows: usize, cols: usize, a: &[f64]) -> Vec<f64> {
        let n = rows.min(cols);
        let mut gram = vec![0.0; n * n];
        let view = View::new(a, rows, cols);
        let (left, right) = if rows <= cols { (view, view.t()) } else { (view.t(), view) };
        gemm(&mut gram, Write::Set, 1.0, left, right, crate::Par::Seq);
        gram
    }

    #[test]
    fn squares_are_the_eigenvalues_of_the_gram_matrix() {
        for (rows, cols) in [(1, 1), (1, 7), (9, 4), (30, 30), (40, 90), (600, 520)] {
            let a = Distribution::Gaussian.probe(3, (rows * 1000 + cols) as u64, rows * cols);
            let s = singular_values(rows, cols, &a).unwrap();
            let mut want = eigenvalues(rows.min(cols), &gram(rows, cols, &a)).unwrap();
            want.reverse();
            let worst = s.iter().zip(&want).map(|(s, w)| (s * s - w).abs()).fold(0.0, f64::max);
            let n = rows.max(cols) as f64;
            assert!(worst <= 8.0 * n.sqrt() * f64::EPSILON * want[0], "{rows} x {cols}: {worst:e} of {:e}", want[0]);
        }
    }

    #[test]
    fn small_values_keep_their_digits_and_large_ones_do_not_overflow() {
        // diag(1, 1e-12) between two rotations: a Gram matrix would know the second only as 0.
        let (c, s): (f64, f64) = (0.6, 0.8);
        for scale in [1.0, 1e-200, 1e200] {
            let a = [c * c, c * s, s * c, s * s].map(|x| x * scale);
            let b = [s * s, -s * c, -c * s, c * c].map(|x| x * 1e-12 * scale);
            let sum: Vec<f64> = a.iter().zip(b).map(|(a, b)| a + b).collect();
            let found = singular_values(2, 2, &sum).unwrap();
            assert!((found[0] / scale - 1.0).abs() < 1e-15, "{found:?}");
            assert!((found[1] / scale - 1e-12).abs() < 4e-16, "{found:?}");
        }
    }

    #[test]
    fn empty_and_broken_matrices() {
        assert_eq!(singular_values(0, 3, &[]), Ok(vec![]));
        let nan = singular_values(2, 3, &[0.0, 0.0, 0.0, 0.0, f64::NAN, 0.0]);
        assert!(matches!(nan, Err(DenseError::NonFinite { row: 1, col: 1, .. })));
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let a = Distribution::Gaussian.probe(1, 0, 600 * 550);
        let run = |n: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| singular_values(600, 550, &a).unwrap())
        };
        assert!(run(1) == run(2));
    }
}
