//! Tests of the dense eigensolver.

use super::*;
use crate::lanczos::testing::Prescribed;
use crate::probes::Distribution;
use proptest::prelude::*;

use crate::testing::config;

const EPS: f64 = f64::EPSILON;

fn random(n: usize, seed: u64) -> Vec<f64> {
    let g = Distribution::Gaussian.probe(seed, 0, n * n);
    let mut a = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..n {
            a[i * n + j] = g[i * n + j] + g[j * n + i];
        }
    }
    a
}

/// max |A z − λ z| and max |ZᵀZ − I|.
fn defects(n: usize, a: &[f64], e: &Eigen) -> (f64, f64) {
    let (mut residual, mut orthogonality) = (0.0f64, 0.0f64);
    for k in 0..n {
        let z = e.vector(k);
        for i in 0..n {
            let y: f64 = a[i * n..(i + 1) * n].iter().zip(z).map(|(a, z)| a * z).sum();
            residual = residual.max((y - e.values[k] * z[i]).abs());
        }
        for j in 0..=k {
            let dot: f64 = z.iter().zip(e.vector(j)).map(|(a, b)| a * b).sum();
            orthogonality = orthogonality.max((dot - if j == k { 1.0 } else { 0.0 }).abs());
        }
    }
    (residual, orthogonality)
}

#[test]
fn empty_and_one_by_one() {
    assert_eq!(eigenvalues(0, &[]).unwrap(), []);
    assert_eq!(eigen(0, &[]).unwrap(), Eigen::default());
    assert_eq!(eigenvalues(1, &[-7.0]).unwrap(), [-7.0]);
    let one = eigen(1, &[-7.0]).unwrap();
    assert_eq!((one.values[0], one.vectors[0].abs()), (-7.0, 1.0));
}

#[test]
fn two_by_two_in_closed_form() {
    let x = eigenvalues(2, &[2.0, 1.0, 1.0, 2.0]).unwrap();
    assert!((x[0] - 1.0).abs() < 4.0 * EPS && (x[1] - 3.0).abs() < 4.0 * EPS);
}

/// Below and above faer's own thresholds (QR below 128, divide and conquer above; parallel above 512 here).
#[test]
fn eigenvectors_satisfy_their_equation() {
    for n in [2, 3, 17, 130, 520] {
        let a = random(n, n as u64);
        let e = eigen(n, &a).unwrap();
        let norm = e.values[n - 1].abs().max(e.values[0].abs());
        let (residual, orthogonality) = defects(n, &a, &e);
        let tol = 10.0 * (n as f64).sqrt() * EPS;
        assert!(residual <= tol * norm && orthogonality <= tol, "n = {n}: {residual:e} {orthogonality:e}");
        assert!(e.values.is_sorted());
        for (x, y) in e.values.iter().zip(eigenvalues(n, &a).unwrap()) {
            assert!((x - y).abs() <= tol * norm, "n = {n}: {x} {y}");
        }
    }
}

#[test]
fn prescribed_spectra_are_found() {
    for spectrum in [
        vec![0.0; 30],
        vec![3.0; 30],
        (0..30).map(|i| if i == 0 { 5.0 } else { 0.0 }).collect(),
        (0..30).map(|i| f64::from(i % 3) - 1.0).collect(),
        (0..30).map(|i| 10f64.powi(-i)).collect::<Vec<f64>>(),
    ] {
        let a = Prescribed::new(spectrum, 1);
        let largest = a.spectrum.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        let dense = a.dense();
        let (values, e) = (eigenvalues(30, &dense).unwrap(), eigen(30, &dense).unwrap());
        for ((x, y), want) in values.iter().zip(&e.values).zip(a.ascending()) {
            assert!(
                (x - want).abs() <= 50.0 * EPS * largest && (y - want).abs() <= 50.0 * EPS * largest,
                "{x} {y} {want}"
            );
        }
        assert!(defects(30, &dense, &e).1 < 1e-13);
    }
}

#[test]
fn nan_and_infinity_are_named_by_their_place() {
    let mut a = random(5, 1);
    a[2 * 5 + 3] = f64::INFINITY;
    a[4 * 5 + 1] = f64::NAN;
    let e = eigenvalues(5, &a).unwrap_err();
    assert_eq!(e, DenseError::NonFinite { row: 2, col: 3, value: f64::INFINITY });
    assert_eq!(e.to_string(), "entry (2, 3) of a symmetric matrix is inf");
    assert_eq!(eigen(5, &a).unwrap_err(), e);
}

#[test]
fn asymmetry_is_measured_tolerated_at_rounding_and_refused_above() {
    let n = 70;
    let mut a = random(n, 3);
    let largest = a.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    assert_eq!(asymmetry(n, &a).relative, 0.0);
    let want = eigenvalues(n, &a).unwrap();
    a[66 * n + 2] += 1e-7 * largest;
    let found = asymmetry(n, &a);
    assert!((found.relative - 1e-7).abs() < 1e-9 && (found.row, found.col) == (66, 2), "{found:?}");
    for (x, y) in eigenvalues(n, &a).unwrap().iter().zip(&want) {
        assert!((x - y).abs() <= 1e-7 * largest);
    }
    a[66 * n + 2] += 1e-2 * largest;
    assert!(matches!(eigenvalues(n, &a), Err(DenseError::NotSymmetric { row: 66, col: 2, .. })));
}

/// D1 for dense matrices: a power of two changes the exponent only, even where squares would overflow or vanish.
#[test]
fn d1_scaling_by_powers_of_two_is_exact() {
    let n = 150;
    let a = random(n, 5);
    let (want, vectors) = (eigenvalues(n, &a).unwrap(), eigen(n, &a).unwrap());
    for exponent in [-1000, -600, -24, 24, 600, 1000] {
        let c = 2f64.powi(exponent);
        let b: Vec<f64> = a.iter().map(|x| c * x).collect();
        assert_eq!(eigenvalues(n, &b).unwrap(), want.iter().map(|x| c * x).collect::<Vec<_>>());
        let e = eigen(n, &b).unwrap();
        assert_eq!(e.vectors, vectors.vectors);
        assert_eq!(e.values, vectors.values.iter().map(|x| c * x).collect::<Vec<_>>());
    }
}

/// The degree decides the bits, the number of threads does not. If faer's parallel result ceases to differ from the
/// sequential one, the rule in `parts` can go.
#[test]
fn threads_do_not_change_the_bits() {
    let n = 400;
    let a = random(n, 9);
    for par in [Par::Seq, Par::rayon(2), Par::rayon(8)] {
        let both = || (eigenvalues(n, &a).unwrap(), eigen_with(n, &a, par).unwrap());
        let run = |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(both);
        let one = run(1);
        assert!(one == run(2) && one == run(3), "{par:?}");
        assert!(one == both(), "outside a pool, {par:?}");
    }
    let values = |par| eigen_with(n, &a, par).unwrap();
    assert_ne!(values(Par::Seq), values(Par::rayon(2)));
}

/// The choice of degree itself, at an order where the work is split.
#[test]
fn pools_do_not_change_the_bits_above_the_threshold() {
    let n = 530;
    assert_eq!(parts(n), Par::rayon(2));
    let a = random(n, 9);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| eigenvalues(n, &a).unwrap())
    };
    assert_eq!(run(1), run(2));
}

#[test]
#[should_panic(expected = "a dense 2 x 2 matrix")]
fn a_wrong_number_of_entries_is_refused() {
    let _ = eigenvalues(2, &[1.0; 3]);
}

proptest! {
    #![proptest_config(config(256))]

    /// Any spectrum comes back from Q diag(λ) Qᵀ; trace and Frobenius norm agree.
    #[test]
    fn random_spectra_come_back(spectrum in prop::collection::vec(-4.0f64..4.0, 1..50), seed in 0u64..100) {
        let n = spectrum.len();
        let a = Prescribed::new(spectrum, seed);
        let dense = a.dense();
        let values = eigenvalues(n, &dense).unwrap();
        let tol = 100.0 * EPS * 4.0 * (n as f64).sqrt();
        for (x, y) in values.iter().zip(a.ascending()) {
            prop_assert!((x - y).abs() <= tol, "{} {}", x, y);
        }
        let trace: f64 = (0..n).map(|i| dense[i * n + i]).sum();
        prop_assert!((values.iter().sum::<f64>() - trace).abs() <= n as f64 * tol);
    }
}
