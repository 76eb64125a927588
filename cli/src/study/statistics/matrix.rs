//! The little dense linear algebra of statistics: few columns, many rows.

use eigenlens_linalg::dense::{Eigen, eigen};
use eigenlens_linalg::reduce::{axpy, dot, norm2};

use super::Unfit;

/// What is left of a column after the others were taken out, relative to the column, below which it counts as dependent.
const DEPENDENT: f64 = 1e-10;
/// Least eigenvalue relative to the largest of a matrix that is inverted.
const SINGULAR: f64 = 1e-12;

/// Orthonormal columns that span what some columns and the constant span.
#[derive(Clone, Debug)]
pub struct Basis(Vec<Vec<f64>>);

impl Basis {
    /// The basis of the constant and these columns, by Gram–Schmidt, twice.
    ///
    /// # Errors
    /// A column that depends on those before it or is constant.
    pub fn with_constant(rows: usize, names: &[String], columns: &[Vec<f64>]) -> Result<Self, Unfit> {
        let mut basis = Self(vec![vec![1.0 / (rows as f64).sqrt(); rows]]);
        for (name, column) in names.iter().zip(columns) {
            let mut rest = basis.residual(column);
            let size = norm2(&rest);
            if size <= DEPENDENT * norm2(column) || size == 0.0 {
                return Err(Unfit::Dependent { column: name.clone() });
            }
            rest.iter_mut().for_each(|x| *x /= size);
            basis.0.push(rest);
        }
        Ok(basis)
    }

    /// What is left of `y` when its projection is taken off.
    pub fn residual(&self, y: &[f64]) -> Vec<f64> {
        let mut rest = y.to_vec();
        for _ in 0..2 {
            for q in &self.0 {
                axpy(-dot(q, &rest), q, &mut rest);
            }
        }
        rest
    }
}

/// A Aᵀ of columns (entry (i, j) = columns i · j), row-major, symmetric to the bit.
pub fn gram(columns: &[Vec<f64>]) -> Vec<f64> {
    let n = columns.len();
    let mut out = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let x = dot(&columns[i], &columns[j]);
            (out[i * n + j], out[j * n + i]) = (x, x);
        }
    }
    out
}

/// (left columns i · right columns j), row-major.
pub fn cross(left: &[Vec<f64>], right: &[Vec<f64>]) -> Vec<f64> {
    left.iter().flat_map(|a| right.iter().map(|b| dot(a, b))).collect()
}

/// A B of row-major matrices, (rows x inner) times (inner x cols).
pub fn product(rows: usize, inner: usize, cols: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; rows * cols];
    for (a, out) in a.chunks_exact(inner.max(1)).zip(out.chunks_exact_mut(cols.max(1))) {
        for (x, b) in a.iter().zip(b.chunks_exact(cols.max(1))) {
            axpy(*x, b, out);
        }
    }
    out
}

/// Σ columns · weights: a value per row.
pub fn combine(rows: usize, columns: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; rows];
    columns.iter().zip(weights).for_each(|(c, w)| axpy(*w, c, &mut out));
    out
}

/// Eigenvalues and vectors of a symmetric matrix.
///
/// # Errors
/// Entries that are not finite, or no convergence.
pub fn symmetric(n: usize, a: &[f64], what: &'static str) -> Result<Eigen, Unfit> {
    eigen(n, a).map_err(|_| Unfit::Singular { what })
}

/// A^{−1/2} of a symmetric positive definite matrix, row-major.
///
/// # Errors
/// If its least eigenvalue is not above 1e-12 of the largest.
pub fn inverse_root(n: usize, a: &[f64], what: &'static str) -> Result<Vec<f64>, Unfit> {
    let e = symmetric(n, a, what)?;
    if n > 0 && e.values[0] <= SINGULAR * e.values[n - 1] {
        return Err(Unfit::Singular { what });
    }
    let mut out = vec![0.0; n * n];
    for (k, value) in e.values.iter().enumerate() {
        let v = e.vector(k);
        for (i, row) in out.chunks_exact_mut(n).enumerate() {
            axpy(v[i] / value.sqrt(), v, row);
        }
    }
    Ok(out)
}

/// The factor L of A = L Lᵀ, row-major with the upper part zero.
#[derive(Clone, Debug)]
pub struct Cholesky {
    n: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Of a symmetric positive definite matrix (row-major; the lower part is read).
    ///
    /// # Errors
    /// A pivot that is not above 1e-12 of the diagonal it comes from.
    pub fn new(n: usize, a: &[f64], what: &'static str) -> Result<Self, Unfit> {
        let mut lower = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let s = a[i * n + j] - dot(&lower[i * n..i * n + j], &lower[j * n..j * n + j]);
                if i > j {
                    lower[i * n + j] = s / lower[j * n + j];
                } else if s > SINGULAR * a[i * n + i] {
                    lower[i * n + i] = s.sqrt();
                } else {
                    return Err(Unfit::Singular { what });
                }
            }
        }
        Ok(Self { n, lower })
    }

    /// A⁻¹ b.
    pub fn solve(&self, b: &[f64]) -> Vec<f64> {
        let (n, l) = (self.n, &self.lower);
        let mut x = b.to_vec();
        for i in 0..n {
            x[i] = (x[i] - dot(&l[i * n..i * n + i], &x[..i])) / l[i * n + i];
        }
        for i in (0..n).rev() {
            x[i] /= l[i * n + i];
            let value = x[i];
            axpy(-value, &l[i * n..i * n + i], &mut x[..i]);
        }
        x
    }

    /// A⁻¹, row-major.
    pub fn inverse(&self) -> Vec<f64> {
        let unit = |k: usize| (0..self.n).map(|i| f64::from(u8::from(i == k))).collect::<Vec<_>>();
        (0..self.n).flat_map(|k| self.solve(&unit(k))).collect()
    }

    /// log det A.
    pub fn log_determinant(&self) -> f64 {
        (0..self.n).map(|i| 2.0 * self.lower[i * self.n + i].ln()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eigenlens_linalg::probes::Distribution;

    #[test]
    fn inverses_are_inverse() {
        let n = 7;
        let columns: Vec<Vec<f64>> = (0..n).map(|i| Distribution::Gaussian.probe(1, i, 20)).collect();
        let n = n as usize;
        let a = gram(&columns);
        let unit = |m: &[f64]| {
            m.iter().enumerate().map(|(i, x)| (x - f64::from(u8::from(i % (n + 1) == 0))).abs()).fold(0.0, f64::max)
        };
        let c = Cholesky::new(n, &a, "a").unwrap();
        assert!(unit(&product(n, n, n, &a, &c.inverse())) < 1e-13);
        let root = inverse_root(n, &a, "a").unwrap();
        assert!(unit(&product(n, n, n, &root, &product(n, n, n, &a, &root))) < 1e-13);
        let values = symmetric(n, &a, "a").unwrap().values;
        assert!((c.log_determinant() - values.iter().map(|x| x.ln()).sum::<f64>()).abs() < 1e-12);
        let singular = gram(&[columns[0].clone(), columns[0].clone()]);
        assert!(Cholesky::new(2, &singular, "a").is_err() && inverse_root(2, &singular, "a").is_err());
    }

    #[test]
    fn residuals_are_orthogonal_and_dependence_is_named() {
        let names: Vec<String> = ["a", "b"].map(String::from).to_vec();
        let a = Distribution::Gaussian.probe(2, 0, 30);
        let b: Vec<f64> = a.iter().map(|x| 3.0 - 2.0 * x).collect();
        let found = Basis::with_constant(30, &names, &[a.clone(), b]).map(|_| ());
        assert_eq!(found, Err(Unfit::Dependent { column: "b".into() }));
        let basis = Basis::with_constant(30, &names[..1], std::slice::from_ref(&a)).unwrap();
        let rest = basis.residual(&Distribution::Gaussian.probe(2, 1, 30));
        assert!(dot(&rest, &a).abs() < 1e-13 && rest.iter().sum::<f64>().abs() < 1e-13);
    }
}
