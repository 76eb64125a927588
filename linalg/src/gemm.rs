//! Matrix products, all through faer, and the row-major views that they take.
//!
//! Everything above `linalg` stores matrices row-major (a batch of samples is a matrix of rows); this is the only
//! file that knows how faer sees them.

use crate::real::Real;
pub use faer::Par;

/// A read-only matrix on a slice: entry (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T: Real> View<'a, T> {
    /// A contiguous row-major matrix of shape (rows, cols).
    ///
    /// # Panics
    /// If the slice is not `rows * cols` long.
    #[track_caller]
    #[inline]
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows} x {cols} matrix on a slice of another length");
        View { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// A matrix whose rows are `row_stride` apart.
    ///
    /// # Panics
    /// If the slice is too short for the last row.
    #[track_caller]
    #[inline]
    pub fn strided(data: &'a [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(
            rows == 0 || cols == 0 || (rows - 1) * row_stride + cols <= data.len(),
            "a {rows} x {cols} matrix with row stride {row_stride} on {} values",
            data.len()
        );
        View { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// The transpose, without moving data.
    #[inline]
    pub fn t(self) -> Self {
        View { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    #[inline]
    fn faer(self) -> faer::MatRef<'a, T> {
        // SAFETY: the constructors checked that every (i, j) lies inside `data`; `t` only swaps the roles.
        unsafe {
            faer::MatRef::from_raw_parts(
                self.data.as_ptr(),
                self.rows,
                self.cols,
                self.row_stride as isize,
                self.col_stride as isize,
            )
        }
    }
}

/// What a product does with the old contents of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Overwrite; old contents, NaN included, are not read.
    Set,
    /// Add to the old contents.
    Add,
}

impl Write {
    /// `Add` if `add`, else `Set`.
    #[inline]
    pub fn add_if(add: bool) -> Self {
        if add { Write::Add } else { Write::Set }
    }
}

/// dst ← alpha · a · b (`Write::Set`) or dst ← dst + alpha · a · b (`Write::Add`).
///
/// `dst` is a row-major matrix of shape (a.rows, b.cols) with rows `dst_stride` apart. Cost: 2 · rows · cols · inner flops.
/// The result has the same bits for every `par`.
///
/// # Panics
/// If the shapes don't meet or `dst` is too short.
#[track_caller]
#[inline]
pub fn gemm_strided<T: Real>(
    dst: &mut [T],
    dst_stride: usize,
    write: Write,
    alpha: T,
    a: View<'_, T>,
    b: View<'_, T>,
    par: Par,
) {
    let (m, n) = (a.rows, b.cols);
    assert_eq!(a.cols, b.rows, "gemm: ({} x {}) times ({} x {})", a.rows, a.cols, b.rows, b.cols);
    if m == 0 || n == 0 {
        return;
    }
    assert!(
        dst_stride >= n && (m - 1) * dst_stride + n <= dst.len(),
        "gemm: destination {m} x {n} with stride {dst_stride} on {} values",
        dst.len()
    );
    // SAFETY: bounds of (m, n, dst_stride) were checked just above, and `dst` is borrowed mutably.
    let out = unsafe { faer::MatMut::from_raw_parts_mut(dst.as_mut_ptr(), m, n, dst_stride as isize, 1) };
    let beta = match write {
        Write::Set => faer::Accum::Replace,
        Write::Add => faer::Accum::Add,
    };
    faer::linalg::matmul::matmul(out, beta, a.faer(), b.faer(), alpha, par);
}

/// [`gemm_strided`] onto a contiguous destination.
///
/// # Panics
/// If the shapes don't meet or `dst` is too short.
#[track_caller]
#[inline]
pub fn gemm<T: Real>(dst: &mut [T], write: Write, alpha: T, a: View<'_, T>, b: View<'_, T>, par: Par) {
    gemm_strided(dst, b.cols, write, alpha, a, b, par);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
        let mut c = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                c[i * n + j] = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
            }
        }
        c
    }

    fn ramp(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 7 + 3) % 11) as f64 - 5.0).collect()
    }

    #[test]
    fn small_integers_multiply_exactly_in_every_orientation() {
        let (m, k, n) = (5, 7, 3);
        let (a, b) = (ramp(m * k), ramp(k * n));
        let want = naive(&a, &b, m, k, n);
        let mut at = vec![0.0; m * k];
        for i in 0..m {
            for j in 0..k {
                at[j * m + i] = a[i * k + j];
            }
        }
        let mut c = vec![f64::NAN; m * n];
        gemm(&mut c, Write::Set, 1.0, View::new(&a, m, k), View::new(&b, k, n), Par::Seq);
        assert_eq!(c, want);
        gemm(&mut c, Write::Add, 2.0, View::new(&at, k, m).t(), View::new(&b, k, n), Par::Seq);
        assert_eq!(c, want.iter().map(|x| 3.0 * x).collect::<Vec<_>>());
    }

    #[test]
    fn strided_rows_leave_the_gaps_alone() {
        let (a, b) = (ramp(4), ramp(4));
        let mut c = vec![9.0; 6];
        gemm_strided(&mut c, 4, Write::Set, 1.0, View::new(&a, 2, 2), View::new(&b, 2, 2), Par::Seq);
        let want = naive(&a, &b, 2, 2, 2);
        assert_eq!(c, [want[0], want[1], 9.0, 9.0, want[2], want[3]]);
    }

    #[test]
    #[should_panic(expected = "gemm: (2 x 3) times (2 x 2)")]
    fn mismatched_shapes_are_named() {
        let (a, b) = (ramp(6), ramp(4));
        let mut c = vec![0.0; 4];
        gemm(&mut c, Write::Set, 1.0, View::new(&a, 2, 3), View::new(&b, 2, 2), Par::Seq);
    }
}
