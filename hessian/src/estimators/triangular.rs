//! Small triangular matrices: Cholesky and inverses, of the order of the number of probes.

/// The upper triangular C with CᵀC = H, both (m, m) row-major; H is read from its upper triangle.
///
/// The error is the first pivot that is not positive: H is not positive definite then.
pub(super) fn cholesky(m: usize, h: &[f64]) -> Result<Vec<f64>, f64> {
    let mut c = vec![0.0; m * m];
    for j in 0..m {
        let pivot = h[j * m + j] - (0..j).map(|k| c[k * m + j] * c[k * m + j]).sum::<f64>();
        if pivot.is_nan() || pivot <= 0.0 {
            return Err(pivot);
        }
        let root = pivot.sqrt();
        c[j * m + j] = root;
        for i in j + 1..m {
            let dot = (0..j).map(|k| c[k * m + j] * c[k * m + i]).sum::<f64>();
            c[j * m + i] = (h[j * m + i] - dot) / root;
        }
    }
    Ok(c)
}

/// The inverse of an upper triangular matrix, (m, m) row-major. Cost: m³/3 flops.
pub(super) fn inverse(m: usize, r: &[f64]) -> Vec<f64> {
    let mut x = vec![0.0; m * m];
    for j in 0..m {
        x[j * m + j] = 1.0 / r[j * m + j];
        for i in (0..j).rev() {
            let dot: f64 = (i + 1..=j).map(|k| r[i * m + k] * x[k * m + j]).sum();
            x[i * m + j] = -dot / r[i * m + i];
        }
    }
    x
}

/// Diagonal of H⁻¹ = C⁻¹ C⁻ᵀ from the inverse of C: squared norms of its rows.
pub(super) fn inverse_diagonal(m: usize, inverse: &[f64]) -> Vec<f64> {
    inverse.chunks_exact(m.max(1)).map(|row| row.iter().map(|x| x * x).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_and_inverses_multiply_back() {
        let m = 5;
        let h: Vec<f64> = (0..m * m)
            .map(|k| {
                let (i, j) = (k / m, k % m);
                ((i * j) as f64 * 0.3 + (i + j) as f64).cos() * 0.2
                    + ((i * j) as f64 * 0.3 + (i + j) as f64).cos() * 0.2
                    + if i == j { 3.0 } else { 0.0 }
            })
            .collect();
        let c = cholesky(m, &h).unwrap();
        let x = inverse(m, &c);
        let d = inverse_diagonal(m, &x);
        for i in 0..m {
            for j in 0..m {
                let product: f64 = (0..m).map(|k| c[k * m + i] * c[k * m + j]).sum();
                assert!((product - h[i * m + j]).abs() < 1e-14);
                let unit: f64 = (0..m).map(|k| c[i * m + k] * x[k * m + j]).sum();
                assert!((unit - f64::from(u8::from(i == j))).abs() < 1e-14);
            }
            // (H⁻¹)_ii H e_i: solve H y = e_i by the two factors and compare its entry i.
            let y: f64 = (0..m).map(|k| x[i * m + k] * x[i * m + k]).sum();
            assert_eq!(y, d[i]);
        }
    }

    #[test]
    fn an_indefinite_matrix_shows_its_pivot() {
        assert_eq!(cholesky(2, &[1.0, 2.0, 2.0, 1.0]), Err(-3.0));
        assert!(cholesky(1, &[f64::NAN]).unwrap_err().is_nan());
        assert_eq!(cholesky(0, &[]), Ok(vec![]));
    }
}
