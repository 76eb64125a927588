//! An orthonormal basis of what an operator returns, grown column by column, with the coefficients in it: a thin QR
//! factorization that leaves out columns that add nothing.

use crate::lanczos::{Basis, invariant_tolerance};
use crate::reduce::norm2;

/// Y = Qᵀ C for columns y_i that were shown one after the other: Q (r, n) with orthonormal rows, c_i = Q y_i of length r.
///
/// A column is left out of Q when what is left of it is at most 10 min(n, 1000) ε times the longest column seen, which is
/// rounding in a product. If none is, C is upper triangular with a positive diagonal.
///
/// Cost: 4 n r flops per column (classical Gram–Schmidt, twice) and n (r + 1) values of memory. One column at a time and
/// in a fixed order: the same bits for any number of threads and whatever the columns came from.
///
/// # Sources
/// Giraud, Langou & Rozložník 2002 (two passes are enough).
#[derive(Clone, Debug)]
pub struct Range {
    basis: Basis,
    dim: usize,
    columns: Vec<Vec<f64>>,
    added: Vec<usize>,
    longest: f64,
}

impl Range {
    /// The empty basis for columns of length n.
    pub fn new(n: usize) -> Self {
        Range { basis: Basis::new(n), dim: n, columns: Vec::new(), added: Vec::new(), longest: 0.0 }
    }

    /// Takes in one more column; whether it added a row to Q.
    ///
    /// # Panics
    /// If the column is not n long or holds NaN or infinity.
    #[track_caller]
    pub fn push(&mut self, column: &[f64]) -> bool {
        assert_eq!(column.len(), self.dim, "a column of a {}-dimensional range", self.dim);
        let length = norm2(column);
        assert!(length.is_finite(), "a column of length {length}");
        self.longest = self.longest.max(length);
        let mut rest = column.to_vec();
        let mut coefficients = self.basis.orthogonalize(1, &mut rest);
        let left = norm2(&rest);
        let new = self.rank() < self.dim && left > self.tolerance();
        if new {
            rest.iter_mut().for_each(|x| *x /= left);
            self.basis.push(&rest);
            coefficients.push(left);
            self.added.push(self.columns.len());
        }
        self.columns.push(coefficients);
        new
    }

    /// r.
    pub fn rank(&self) -> usize {
        self.added.len()
    }

    /// Number of columns shown.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The columns that added a row to Q, ascending: column `added()[p]` added row p.
    pub fn added(&self) -> &[usize] {
        &self.added
    }

    /// What counts as rounding in a column: 10 min(n, 1000) ε times the longest one.
    pub fn tolerance(&self) -> f64 {
        invariant_tolerance(self.dim) * self.longest
    }

    /// Q, one row after the other, (r, n).
    pub fn rows(&self) -> &[f64] {
        self.basis.rows()
    }

    /// Row p of Q.
    pub fn row(&self, p: usize) -> &[f64] {
        self.basis.row(p)
    }

    /// Entry p of c_i.
    pub fn coefficient(&self, p: usize, i: usize) -> f64 {
        self.columns[i].get(p).copied().unwrap_or(0.0)
    }

    /// Q x. Cost: 2 n r flops.
    pub fn project(&self, x: &[f64]) -> Vec<f64> {
        self.basis.project(0..self.rank(), 1, x)
    }

    /// x ← x − Qᵀ Q x, twice.
    pub fn remove_from(&self, x: &mut [f64]) {
        self.basis.orthogonalize(1, x);
    }

    /// Σ_p y_p q_p.
    ///
    /// # Panics
    /// If there are more coefficients than rows.
    #[track_caller]
    pub fn combine(&self, y: &[f64]) -> Vec<f64> {
        assert!(y.len() <= self.rank(), "{} coefficients for {} rows", y.len(), self.rank());
        self.basis.combine(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::Distribution;

    fn close(a: &[f64], b: &[f64], tolerance: f64) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
    }

    /// Columns of length √n; ten ε per entry allow for two passes and the sum of up to 20 terms.
    #[test]
    fn columns_are_rebuilt_from_an_orthonormal_basis() {
        let (n, k) = (300, 20);
        let columns = Distribution::Gaussian.probes(4, 0, k, n);
        let mut range = Range::new(n);
        assert!(columns.chunks_exact(n).all(|y| range.push(y)));
        assert!(range.basis.orthogonality() < 20.0 * f64::EPSILON);
        for (i, y) in columns.chunks_exact(n).enumerate() {
            let c: Vec<f64> = (0..k).map(|p| range.coefficient(p, i)).collect();
            assert!(c[i] > 0.0 && c[i + 1..].iter().all(|&x| x == 0.0));
            assert!(close(&range.combine(&c), y, 10.0 * f64::EPSILON * (n as f64).sqrt()));
            assert!(close(&range.project(y), &c, 10.0 * f64::EPSILON * (n as f64).sqrt()));
        }
    }

    #[test]
    fn dependent_columns_add_nothing_at_any_scale() {
        for scale in [1e-200, 1.0, 1e150] {
            let x = Distribution::Gaussian.probes(1, 0, 2, 50).iter().map(|x| x * scale).collect::<Vec<_>>();
            let sum: Vec<f64> = (0..50).map(|i| 0.3 * x[i] - 7.0 * x[50 + i]).collect();
            let mut range = Range::new(50);
            let added: Vec<bool> = [&[0.0; 50], &x[..50], &x[50..], &sum, &x[..50]].map(|y| range.push(y)).to_vec();
            assert_eq!(added, [false, true, true, false, false], "{scale:e}");
            assert_eq!((range.rank(), range.columns(), range.added()), (2, 5, &[1, 2][..]));
        }
    }

    #[test]
    fn there_are_never_more_rows_than_dimensions() {
        let mut range = Range::new(3);
        for y in Distribution::Gaussian.probes(1, 0, 6, 3).chunks_exact(3) {
            range.push(y);
        }
        assert_eq!((range.rank(), range.columns()), (3, 6));
        let mut x = vec![1.0, -2.0, 5.0];
        range.remove_from(&mut x);
        assert!(x.iter().all(|x| x.abs() < 1e-14));
    }

    #[test]
    #[should_panic(expected = "a column of length NaN")]
    fn nan_is_refused() {
        Range::new(2).push(&[f64::NAN, 0.0]);
    }
}
