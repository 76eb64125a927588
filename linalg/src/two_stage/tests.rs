//! Tests of the reduction in two stages.

use proptest::prelude::*;

use super::*;
use crate::dense::{TWO_STAGE, eigen, eigenvalues as dense_eigenvalues};
use crate::lanczos::testing::Prescribed;
use crate::probes::Distribution;
use crate::reduce::max_abs;

const EPS: f64 = f64::EPSILON;

/// A symmetric matrix with entries in (−1, 1).
fn random(n: usize, seed: u64) -> Vec<f64> {
    let mut a = Distribution::Gaussian.probe(seed, 0, n * n);
    let largest = max_abs(&a).max(1.0);
    for i in 0..n {
        for j in 0..=i {
            let x = a[i * n + j] / largest;
            (a[i * n + j], a[j * n + i]) = (x, x);
        }
    }
    a
}

/// The eigenvalues by both stages, at any order.
fn values(n: usize, a: &[f64], par: Par) -> Vec<f64> {
    eigenvalues(&tridiagonalise(n, &mut a.to_vec(), par), par).unwrap()
}

fn worst(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    x.iter().zip(y).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

/// Orders about one, two and three widths of the band, whose last panels have all kinds of shapes, and some beyond.
#[test]
fn all_orders_give_what_faer_gives_with_vectors() {
    let b = BANDWIDTH;
    let about = |k: usize| [k * b - 1, k * b, k * b + 1, k * b + 2];
    let small = [0, 1, 2, 3, 7, 8, 9];
    for n in small.into_iter().chain(about(1)).chain(about(2)).chain([b + b / 2, 3 * b + 17, 200, 401, 560]) {
        let a = random(n, n as u64);
        let want = eigen(n, &a).unwrap().values;
        let norm = max_abs(&want);
        for par in [Par::Seq, Par::rayon(2)] {
            let error = worst(&values(n, &a, par), &want);
            assert!(error <= 8.0 * (n as f64).sqrt() * EPS * norm, "n = {n}: {error:e} of {norm:e}");
        }
    }
}

/// T has the trace and the Frobenius norm of A.
#[test]
fn the_reduction_keeps_trace_and_frobenius_norm() {
    let n = 333;
    let a = random(n, 4);
    let t = tridiagonalise(n, &mut a.clone(), Par::Seq);
    let squares = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
    let (norm, trace) = (squares(&a).sqrt(), (0..n).map(|i| a[i * n + i]).sum::<f64>());
    let (found, sum) = ((squares(&t.alpha) + 2.0 * squares(&t.beta)).sqrt(), t.alpha.iter().sum::<f64>());
    let tol = 4.0 * (n as f64).sqrt() * EPS * norm;
    assert!((found - norm).abs() <= tol && (sum - trace).abs() <= tol, "{found} {norm}, {sum} {trace}");
}

/// Clusters, multiplicities, zeros, low rank, grading, one eigenvalue apart.
#[test]
fn prescribed_spectra_are_found() {
    let n = 300;
    let spectra: [fn(usize) -> f64; 7] = [
        |_| 0.0,
        |_| 1.0,
        |i| if i < 7 { 1.0 + i as f64 } else { 0.0 },
        |i| (i % 3) as f64 - 1.0,
        |i| 2f64.powi(-(i as i32) / 2),
        |i| 1.0 + EPS * (i / 10) as f64,
        |i| if i == 0 { 1e6 } else { (i as f64).sin() },
    ];
    for (which, spectrum) in spectra.iter().enumerate() {
        let a = Prescribed::new((0..n).map(spectrum).collect(), which as u64);
        let want = a.ascending();
        let error = worst(&dense_eigenvalues(n, &a.dense()).unwrap(), &want);
        let tol = 20.0 * (n as f64).sqrt() * EPS * max_abs(&want);
        assert!(error <= tol, "spectrum {which}: {error:e}, not {tol:e}");
    }
}

/// Matrices that the first stage, the second or both have nothing to do with stay what they are.
#[test]
fn diagonal_block_and_band_matrices() {
    let n = 290;
    let fill = |f: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        (0..n * n).map(|k| f((k / n).max(k % n), (k / n).min(k % n))).collect()
    };
    let diagonal = fill(&|i, j| if i == j { (i as f64 * 0.7).sin() } else { 0.0 });
    let mut want: Vec<f64> = (0..n).map(|i| diagonal[i * n + i]).collect();
    want.sort_by(f64::total_cmp);
    assert_eq!(dense_eigenvalues(n, &diagonal).unwrap(), want);
    let cases = [
        fill(&|i, j| if i - j <= 1 { 1.0 / (1.0 + i as f64) } else { 0.0 }),
        fill(&|i, j| if i - j <= 5 { ((i + 2 * j) as f64).cos() } else { 0.0 }),
        // Columns of zeros in the middle of panels, and a block apart.
        fill(&|i, j| if i % 7 == 3 || j % 7 == 3 { 0.0 } else { ((3 * i + 5 * j) as f64).sin() }),
        fill(&|i, j| if i < 100 || j >= 100 { ((i * j) as f64).cos() } else { 0.0 }),
        // An arrow, and a matrix of rank one.
        fill(&|i, j| {
            if i == j {
                i as f64
            } else if j == 0 {
                1.0
            } else {
                0.0
            }
        }),
        fill(&|_, _| 1.0),
    ];
    for (which, a) in cases.iter().enumerate() {
        let want = eigen(n, a).unwrap().values;
        let error = worst(&dense_eigenvalues(n, a).unwrap(), &want);
        let tol = 8.0 * (n as f64).sqrt() * EPS * max_abs(&want);
        assert!(error <= tol, "case {which}: {error:e}, not {tol:e}");
    }
}

/// The second difference has eigenvalues 2 − 2 cos(π k / (m + 1)), Wilkinson's W⁺ has pairs closer than rounding, and a
/// graded matrix has off-diagonal entries that are neglected.
#[test]
fn tridiagonal_matrices_by_bisection() {
    for m in [1, 2, 3, 31, 32, 33, 500] {
        let t = Tridiagonal::new(vec![2.0; m], vec![-1.0; m - 1]);
        let angle = |k: usize| std::f64::consts::PI * (k + 1) as f64 / (m + 1) as f64;
        let want: Vec<f64> = (0..m).map(|k| 2.0 - 2.0 * angle(k).cos()).collect();
        let error = worst(&eigenvalues(&t, Par::rayon(2)).unwrap(), &want);
        assert!(error <= 4.0 * 4.0 * EPS, "m = {m}: {error:e}");
    }
    let wilkinson = Tridiagonal::new((0..21).map(|i| f64::from(i - 10).abs()).collect(), vec![1.0; 20]);
    let graded =
        Tridiagonal::new((0..40).map(|i| 10f64.powi(-i)).collect(), (0..39).map(|i| 10f64.powi(-i - 1)).collect());
    for t in [wilkinson, graded] {
        let want = t.eigenvalues().unwrap();
        let error = worst(&eigenvalues(&t, Par::Seq).unwrap(), &want);
        assert!(error <= 10.0 * EPS * t.norm(), "{error:e} of {:e}", t.norm());
    }
    // Pairs of ±1 whose couplings are too large to neglect, and let minors shrink and grow by turns.
    let pairs = Tridiagonal::new(vec![0.0; 160], (0..159).map(|i| if i % 2 == 0 { 1.0 } else { 3e-16 }).collect());
    let want: Vec<f64> = (0..160).map(|i| if i < 80 { -1.0 } else { 1.0 }).collect();
    let error = worst(&eigenvalues(&pairs, Par::Seq).unwrap(), &want);
    assert!(error <= 2.0 * 3e-16 + 4.0 * EPS, "{error:e}");
}

#[test]
fn bisection_takes_the_empty_matrix_and_any_scale_and_refuses_nan() {
    assert_eq!(eigenvalues(&Tridiagonal::default(), Par::Seq), Ok(vec![]));
    let t = Tridiagonal::new((0..70).map(|i| (f64::from(i) * 1.3).sin()).collect(), vec![0.3; 69]);
    let want = eigenvalues(&t, Par::Seq).unwrap();
    for scale in [2f64.powi(-1000), 2f64.powi(900)] {
        let times = |x: &[f64]| x.iter().map(|x| x * scale).collect::<Vec<_>>();
        let scaled = Tridiagonal::new(times(&t.alpha), times(&t.beta));
        assert_eq!(eigenvalues(&scaled, Par::Seq).unwrap(), times(&want));
    }
    let nan = Tridiagonal::new(vec![1.0, 2.0, 3.0], vec![0.0, f64::NAN]);
    assert_eq!(eigenvalues(&nan, Par::Seq), Err(TridiagonalError::NonFinite(1)));
}

/// Neither the threads of the pool nor `par` decide the bits.
#[test]
fn threads_do_not_change_the_bits() {
    let n = 700;
    let a = random(n, 2);
    let want = values(n, &a, Par::Seq);
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for par in [Par::rayon(2), Par::rayon(8)] {
            assert!(pool.install(|| values(n, &a, par)) == want, "{threads} threads, {par:?}");
        }
    }
}

#[test]
#[should_panic(expected = "a dense 2 x 2 matrix")]
fn a_wrong_number_of_entries_is_refused() {
    tridiagonalise(2, &mut [1.0; 3], Par::Seq);
}

proptest! {
    #![proptest_config(crate::testing::config(24))]

    /// Any spectrum comes back from Q diag(λ) Qᵀ at orders that the dense solver hands to this one.
    #[test]
    fn random_spectra_come_back(
        spectrum in prop::collection::vec(prop_oneof![Just(0.0), -4.0f64..4.0], TWO_STAGE..TWO_STAGE + 70),
        seed in 0u64..100,
    ) {
        let n = spectrum.len();
        let a = Prescribed::new(spectrum, seed);
        let error = worst(&dense_eigenvalues(n, &a.dense()).unwrap(), &a.ascending());
        prop_assert!(error <= 20.0 * (n as f64).sqrt() * EPS * 4.0, "{error:e}");
    }
}
