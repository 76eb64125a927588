//! Real symmetric operators that are known only through their products, and what can be made of them.

mod combination;
mod matrix_free;

pub use combination::Combination;
pub use matrix_free::MatrixFree;

/// A real symmetric operator A of dimension n, applied to k columns at once.
///
/// Always f64: an operator that computes in f32 rounds at its border.
pub trait LinearOperator: Sync {
    /// n.
    fn dim(&self) -> usize;

    /// Y ← A X for k columns. `x` and `y` hold the columns one after the other, each of length n.
    ///
    /// # Panics
    /// If `x.len()` or `y.len()` is not `k * self.dim()`.
    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]);

    /// How many columns one call serves best; a hint for block methods and dense assembly.
    fn lanes(&self) -> usize {
        1
    }
}

/// A dense symmetric matrix, stored whole (row-major = column-major), as an operator. The reference in tests.
#[derive(Clone, Debug)]
pub struct DenseOperator {
    n: usize,
    entries: Vec<f64>,
}

impl DenseOperator {
    /// Wraps an n x n matrix; the caller vouches for its symmetry.
    ///
    /// # Panics
    /// If `entries.len() != n * n`.
    pub fn new(n: usize, entries: Vec<f64>) -> Self {
        assert_eq!(entries.len(), n * n, "a dense {n} x {n} operator");
        DenseOperator { n, entries }
    }

    /// The operator diag(d).
    pub fn diagonal(d: &[f64]) -> Self {
        let n = d.len();
        let mut entries = vec![0.0; n * n];
        for (i, &x) in d.iter().enumerate() {
            entries[i * n + i] = x;
        }
        DenseOperator { n, entries }
    }

    /// The entries, n x n.
    pub fn entries(&self) -> &[f64] {
        &self.entries
    }
}

impl LinearOperator for DenseOperator {
    fn dim(&self) -> usize {
        self.n
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        assert_eq!((x.len(), y.len()), (k * self.n, k * self.n), "{k} columns of length {}", self.n);
        for (x, y) in x.chunks_exact(self.n.max(1)).zip(y.chunks_exact_mut(self.n.max(1))) {
            for (i, out) in y.iter_mut().enumerate() {
                *out = self.entries[i * self.n..(i + 1) * self.n].iter().zip(x).map(|(a, b)| a * b).sum();
            }
        }
    }
}

/// A dense copy of an operator, by products with the unit vectors, `lanes` at a time. n² values; for tests and small n.
pub fn to_dense(a: &dyn LinearOperator) -> Vec<f64> {
    let n = a.dim();
    let lanes = a.lanes().max(1);
    let mut dense = vec![0.0; n * n];
    let mut x = vec![0.0; lanes * n];
    for start in (0..n).step_by(lanes) {
        let k = lanes.min(n - start);
        x.fill(0.0);
        for j in 0..k {
            x[j * n + start + j] = 1.0;
        }
        a.apply(k, &x[..k * n], &mut dense[start * n..(start + k) * n]);
    }
    dense
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_operator_reproduces_its_matrix() {
        let a = DenseOperator::new(3, vec![2.0, 1.0, 0.0, 1.0, 3.0, -1.0, 0.0, -1.0, 4.0]);
        assert_eq!(to_dense(&a), a.entries());
    }

    #[test]
    fn diagonal_scales_each_coordinate() {
        let a = DenseOperator::diagonal(&[1.0, -2.0]);
        let mut y = [0.0; 4];
        a.apply(2, &[1.0, 1.0, 3.0, 5.0], &mut y);
        assert_eq!(y, [1.0, -2.0, 3.0, -10.0]);
    }
}
