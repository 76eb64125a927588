//! Operators as those of faer, for its matrix-free solvers.

use std::fmt;
use std::sync::Mutex;

use faer::dyn_stack::{MemStack, StackReq};
use faer::matrix_free::{BiLinOp, LinOp};
use faer::{MatMut, MatRef};

use super::LinearOperator;
use crate::gemm::Par;

/// A [`LinearOperator`] as faer's `LinOp`: conjugate gradients, LSMR and the rest of `faer::matrix_free` then take it.
///
/// Being symmetric, it is its own transpose, and being real, its own conjugate. faer's `par` is not used: an operator has
/// its own way to use threads. Memory: the columns of a product twice, contiguous.
///
/// Of faer 0.24 `partial_self_adjoint_eigen` does not return on the identity; use [`eigs`](mod@crate::eigs).
pub struct MatrixFree<'a> {
    operator: &'a dyn LinearOperator,
    buffers: Mutex<[Vec<f64>; 2]>,
}

impl<'a> MatrixFree<'a> {
    /// Of an operator.
    pub fn new(operator: &'a dyn LinearOperator) -> Self {
        MatrixFree { operator, buffers: Mutex::default() }
    }
}

impl fmt::Debug for MatrixFree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a symmetric operator of dimension {}", self.operator.dim())
    }
}

impl LinOp<f64> for MatrixFree<'_> {
    fn apply_scratch(&self, _: usize, _: Par) -> StackReq {
        StackReq::EMPTY
    }

    fn nrows(&self) -> usize {
        self.operator.dim()
    }

    fn ncols(&self) -> usize {
        self.operator.dim()
    }

    fn apply(&self, mut out: MatMut<'_, f64>, rhs: MatRef<'_, f64>, _: Par, _: &mut MemStack) {
        let (n, k) = (self.operator.dim(), rhs.ncols());
        let mut buffers = self.buffers.lock().expect("no product panicked");
        let [x, y] = &mut *buffers;
        x.clear();
        x.extend((0..k).flat_map(|j| rhs.col(j).iter()));
        y.resize(n * k, 0.0);
        self.operator.apply(k, x, y);
        for (j, y) in y.chunks_exact(n.max(1)).enumerate() {
            out.as_mut().col_mut(j).iter_mut().zip(y).for_each(|(out, y)| *out = *y);
        }
    }

    fn conj_apply(&self, out: MatMut<'_, f64>, rhs: MatRef<'_, f64>, par: Par, stack: &mut MemStack) {
        self.apply(out, rhs, par, stack);
    }
}

impl BiLinOp<f64> for MatrixFree<'_> {
    fn transpose_apply_scratch(&self, k: usize, par: Par) -> StackReq {
        self.apply_scratch(k, par)
    }

    fn transpose_apply(&self, out: MatMut<'_, f64>, rhs: MatRef<'_, f64>, par: Par, stack: &mut MemStack) {
        self.apply(out, rhs, par, stack);
    }

    fn adjoint_apply(&self, out: MatMut<'_, f64>, rhs: MatRef<'_, f64>, par: Par, stack: &mut MemStack) {
        self.apply(out, rhs, par, stack);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{Combination, DenseOperator};
    use crate::probes::Distribution;
    use faer::Mat;
    use faer::dyn_stack::MemBuffer;
    use faer::matrix_free::IdentityPrecond;
    use faer::matrix_free::conjugate_gradient::{CgParams, conjugate_gradient, conjugate_gradient_scratch};

    /// A = Q diag(1 … n) Qᵀ with Q a reflection: dense, and its condition is n.
    fn reflected(n: usize) -> DenseOperator {
        let v = Distribution::Sphere.probe(3, 0, n);
        let q = |i: usize, j: usize| f64::from(u8::from(i == j)) - 2.0 * v[i] * v[j];
        let entry = |i: usize, j: usize| (0..n).map(|k| q(i, k) * (k + 1) as f64 * q(j, k)).sum();
        DenseOperator::new(n, (0..n * n).map(|e| entry(e / n, e % n)).collect())
    }

    #[test]
    fn conjugate_gradients_of_faer_solve_a_damped_system() {
        let (n, columns) = (40, 3);
        let a = reflected(n);
        let damped = Combination::shifted(&a, 0.5);
        let operator = MatrixFree::new(&damped);
        let b = Mat::from_fn(n, columns, |i, j| ((i + 3 * j) % 7) as f64 - 3.0);
        let mut x = Mat::<f64>::zeros(n, columns);
        let precond = IdentityPrecond { dim: n };
        let mut memory = MemBuffer::new(conjugate_gradient_scratch(precond, &operator, columns, Par::Seq));
        let stack = MemStack::new(&mut memory);
        let params = CgParams { max_iters: 200, rel_tolerance: 1e-13, ..CgParams::default() };
        let found = conjugate_gradient(x.as_mut(), precond, &operator, b.as_ref(), params, |_| {}, Par::Seq, stack);
        assert!(found.is_ok(), "{found:?}");
        // The residual by another way.
        for j in 0..columns {
            let (x, mut y) = (x.col(j).iter().copied().collect::<Vec<_>>(), vec![0.0; n]);
            damped.apply(1, &x, &mut y);
            let worst = y.iter().zip(b.col(j).iter()).map(|(y, b)| (y - b).abs()).fold(0.0, f64::max);
            assert!(worst <= 1e-11, "column {j}: {worst:e}");
        }
    }

    #[test]
    fn columns_with_strides_are_taken_as_they_are() {
        let a = DenseOperator::new(2, vec![2.0, 1.0, 1.0, 3.0]);
        let (wide, mut out) = (Mat::from_fn(3, 2, |i, j| (1 + 2 * i + j) as f64), Mat::<f64>::zeros(3, 2));
        let mut memory = MemBuffer::new(StackReq::EMPTY);
        // Rows in reverse, of a matrix with a row more.
        let (x, y) = (wide.as_ref().get(..2, ..).reverse_rows(), out.as_mut().get_mut(..2, ..).reverse_rows_mut());
        MatrixFree::new(&a).apply(y, x, Par::Seq, MemStack::new(&mut memory));
        // x = [3 4; 1 2], and the rows of the product lie in reverse.
        assert_eq!([out[(1, 0)], out[(0, 0)], out[(1, 1)], out[(0, 1)]], [7.0, 6.0, 10.0, 10.0]);
    }
}
