//! Tests of the tridiagonal eigensolver: identities, closed forms and hard cases.

use super::*;
use proptest::prelude::*;

use crate::testing::config;

const EPS: f64 = f64::EPSILON;

/// max |T z − λ z| and max |ZᵀZ − I| over all pairs.
fn defects(t: &Tridiagonal, values: &[f64], vectors: &[f64]) -> (f64, f64) {
    let m = t.order();
    let (mut residual, mut orthogonality) = (0.0f64, 0.0f64);
    for (k, z) in vectors.chunks_exact(m.max(1)).enumerate() {
        for i in 0..m {
            let mut y = (t.alpha[i] - values[k]) * z[i];
            if i > 0 {
                y += t.beta[i - 1] * z[i - 1];
            }
            if i + 1 < m {
                y += t.beta[i] * z[i + 1];
            }
            residual = residual.max(y.abs());
        }
        for (j, w) in vectors.chunks_exact(m).enumerate() {
            let dot: f64 = z.iter().zip(w).map(|(a, b)| a * b).sum();
            orthogonality = orthogonality.max((dot - if j == k { 1.0 } else { 0.0 }).abs());
        }
    }
    (residual, orthogonality)
}

/// Checks the three solvers against each other and against the matrix, to 10 m ε ‖T‖.
fn check(t: &Tridiagonal) {
    let m = t.order();
    let tol = 10.0 * (m.max(1) as f64) * EPS;
    let (values, vectors) = t.eigen().unwrap();
    let (residual, orthogonality) = defects(t, &values, &vectors);
    assert!(residual <= tol * t.norm() + f64::MIN_POSITIVE, "residual {residual:e} of {t:?}");
    assert!(orthogonality <= tol, "orthogonality {orthogonality:e} of {t:?}");
    assert!(values.is_sorted());
    let only = t.eigenvalues().unwrap();
    let ritz = t.ritz().unwrap();
    assert_eq!(values, only);
    assert_eq!(values, ritz.values);
    for k in 0..m {
        assert_eq!((ritz.first[k], ritz.last[k]), (vectors[k * m], vectors[k * m + m - 1]));
    }
    if m > 0 {
        assert!((ritz.first.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() <= tol);
        assert!((ritz.last.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() <= tol);
    }
}

#[test]
fn order_zero_is_empty() {
    let t = Tridiagonal::default();
    assert_eq!(t.eigenvalues().unwrap(), []);
    assert_eq!(t.ritz().unwrap(), Ritz::default());
    assert_eq!(t.eigen().unwrap(), (vec![], vec![]));
    assert_eq!(t.norm(), 0.0);
}

#[test]
fn order_one_is_its_entry() {
    let t = Tridiagonal::new(vec![-3.5], vec![]);
    assert_eq!(t.ritz().unwrap(), Ritz { values: vec![-3.5], first: vec![1.0], last: vec![1.0] });
}

#[test]
fn order_two_in_closed_form() {
    let t = Tridiagonal::new(vec![1.0, 3.0], vec![2.0]);
    let values = t.eigenvalues().unwrap();
    let root = 5f64.sqrt();
    assert!((values[0] - (2.0 - root)).abs() < 4.0 * EPS && (values[1] - (2.0 + root)).abs() < 4.0 * EPS);
    check(&t);
    check(&Tridiagonal::new(vec![0.0, 0.0], vec![1.0]));
}

#[test]
fn diagonal_matrices_are_exact_and_sorted() {
    let t = Tridiagonal::new(vec![3.0, -1.0, 2.0, 2.0], vec![0.0; 3]);
    assert_eq!(t.eigenvalues().unwrap(), [-1.0, 2.0, 2.0, 3.0]);
    assert_eq!(t.ritz().unwrap().first, [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(t.ritz().unwrap().last, [0.0, 0.0, 1.0, 0.0]);
}

#[test]
fn the_zero_matrix_has_zero_eigenvalues() {
    let t = Tridiagonal::new(vec![0.0; 5], vec![0.0; 4]);
    assert_eq!(t.eigenvalues().unwrap(), [0.0; 5]);
    check(&t);
}

/// The second difference matrix: λ_k = 2 − 2 cos(kπ/(m+1)).
#[test]
fn second_differences_have_their_known_spectrum() {
    for m in [3, 10, 100, 333] {
        let t = Tridiagonal::new(vec![2.0; m], vec![-1.0; m - 1]);
        for (k, x) in t.eigenvalues().unwrap().iter().enumerate() {
            let want = 2.0 - 2.0 * ((k + 1) as f64 * std::f64::consts::PI / (m + 1) as f64).cos();
            assert!((x - want).abs() <= 4.0 * m as f64 * EPS, "m = {m}, k = {k}: {x} {want}");
        }
        if m <= 100 {
            check(&t);
        }
    }
}

/// A zero diagonal leaves nothing to compare an off-diagonal entry with; the spectrum is symmetric about 0.
#[test]
fn zero_diagonal_converges_to_a_symmetric_spectrum() {
    for m in [2, 3, 9, 40] {
        let t = Tridiagonal::new(vec![0.0; m], vec![1.0; m - 1]);
        check(&t);
        let x = t.eigenvalues().unwrap();
        assert!((0..m).all(|i| (x[i] + x[m - 1 - i]).abs() <= 20.0 * m as f64 * EPS), "{x:?}");
    }
}

/// Wilkinson's W21+: pairs that agree to many digits, yet no two equal.
#[test]
fn wilkinson_pairs_are_resolved() {
    let t = Tridiagonal::new((-10..=10).map(|i: i32| f64::from(i.abs())).collect(), vec![1.0; 20]);
    check(&t);
    let x = t.eigenvalues().unwrap();
    assert!((x[20] - 10.746_194_182_903_393).abs() < 1e-13 && (x[20] - x[19]).abs() < 1e-13);
}

/// The exact splitting at a zero coupling: the spectrum is the union, eigenvectors stay in their block.
#[test]
fn exact_zeros_split_the_matrix() {
    let t = Tridiagonal::new(vec![1.0, 2.0, 5.0, 6.0], vec![0.5, 0.0, 0.25]);
    check(&t);
    let r = t.ritz().unwrap();
    assert_eq!(r.first[2..], [0.0, 0.0]);
    assert_eq!(r.last[..2], [0.0, 0.0]);
}

/// Graded both ways: the small eigenvalues keep relative accuracy, d_i being known to many digits.
#[test]
fn graded_matrices_keep_the_small_end() {
    let m = 12;
    let down: Vec<f64> = (0..m).map(|i| 10f64.powi(-2 * i)).collect();
    let off: Vec<f64> = (0..m - 1).map(|i| 0.1 * 10f64.powi(-2 * i - 1)).collect();
    let t = Tridiagonal::new(down.clone(), off.clone());
    let u = Tridiagonal::new(down.into_iter().rev().collect(), off.into_iter().rev().collect());
    check(&t);
    check(&u);
    let (a, b) = (t.eigenvalues().unwrap(), u.eigenvalues().unwrap());
    // Eliminating from the large end: each Schur complement d_{i+1} − b²/d'_i changes d by one part in a hundred.
    for k in 0..m as usize {
        let size = 10f64.powi(-2 * (m - 1 - k as i32));
        assert!((a[k] / size - 1.0).abs() < 0.02, "{k}: {}", a[k]);
        assert!((a[k] - b[k]).abs() <= 1e-13 * a[k], "{k}: {} {}", a[k], b[k]);
    }
}

/// The whole calculation is the same at every scale: powers of two change nothing but the exponent.
#[test]
fn scaling_by_powers_of_two_is_exact() {
    let t = Tridiagonal::new(vec![1.0, -2.0, 0.3, 0.7], vec![0.1, 0.9, 1.3]);
    let want = t.ritz().unwrap();
    for exponent in [-900, -30, 30, 900] {
        let c = 2f64.powi(exponent);
        let s = Tridiagonal::new(t.alpha.iter().map(|x| c * x).collect(), t.beta.iter().map(|x| c * x).collect());
        let got = s.ritz().unwrap();
        assert_eq!(got.values, want.values.iter().map(|x| c * x).collect::<Vec<_>>());
        assert_eq!((got.first, got.last), (want.first.clone(), want.last.clone()));
    }
}

#[test]
fn subnormal_and_huge_matrices_survive() {
    check(&Tridiagonal::new(vec![1e-310, 2e-310], vec![1e-310]));
    check(&Tridiagonal::new(vec![1e307, -1e307, 3e306], vec![1e306, 1e307]));
}

#[test]
fn nan_and_infinity_are_reported_with_their_row() {
    let t = Tridiagonal::new(vec![1.0, f64::NAN], vec![1.0]);
    assert_eq!(t.eigenvalues(), Err(TridiagonalError::NonFinite(1)));
    let t = Tridiagonal::new(vec![1.0, 2.0, 3.0], vec![1.0, f64::INFINITY]);
    assert_eq!(t.ritz(), Err(TridiagonalError::NonFinite(1)));
}

#[test]
#[should_panic(expected = "off-diagonal of an order 3 matrix")]
fn a_wrong_off_diagonal_is_refused() {
    Tridiagonal::new(vec![1.0; 3], vec![1.0; 3]);
}

proptest! {
    #![proptest_config(config(256))]

    /// Any matrix, entries over many orders of magnitude.
    #[test]
    fn random_matrices_satisfy_the_defining_identities(
        entries in prop::collection::vec((-1.0f64..1.0, -1.0f64..1.0, -6i32..6), 1..40)
    ) {
        let alpha: Vec<f64> = entries.iter().map(|(a, _, k)| a * 10f64.powi(*k)).collect();
        let beta: Vec<f64> = entries[1..].iter().map(|(_, b, k)| b * 10f64.powi(-*k)).collect();
        check(&Tridiagonal::new(alpha, beta));
    }

    /// Trace and Frobenius norm are those of the entries; a sign of β changes nothing.
    #[test]
    fn invariants_of_the_spectrum(entries in prop::collection::vec((-1.0f64..1.0, -1.0f64..1.0), 1..40)) {
        let (alpha, mut beta): (Vec<f64>, Vec<f64>) = entries.into_iter().unzip();
        beta.pop();
        let m = alpha.len();
        let tol = 20.0 * (m * m) as f64 * EPS;
        let t = Tridiagonal::new(alpha, beta);
        let x = t.eigenvalues().unwrap();
        let square = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
        prop_assert!((x.iter().sum::<f64>() - t.alpha.iter().sum::<f64>()).abs() <= tol);
        prop_assert!((square(&x) - square(&t.alpha) - 2.0 * square(&t.beta)).abs() <= tol);
        let flipped = Tridiagonal::new(t.alpha.clone(), t.beta.iter().map(|b| -b).collect());
        for (a, b) in x.iter().zip(&flipped.eigenvalues().unwrap()) {
            prop_assert!((a - b).abs() <= tol);
        }
    }
}
