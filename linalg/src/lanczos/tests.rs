//! Tests of the Lanczos factorization: its identities, its ends, and what other programs get wrong.

use super::testing::*;
use super::*;
use crate::operator::DenseOperator;
use crate::probes::Distribution;
use proptest::prelude::*;

use crate::testing::config;

const EPS: f64 = f64::EPSILON;

fn start(n: usize, i: u64) -> Vec<f64> {
    Distribution::Rademacher.probe(1, i, n)
}

/// max |A V − V T − β v eᵀ|, column by column.
fn defect(a: &dyn LinearOperator, run: &Factorization) -> f64 {
    let (n, k) = (run.dim(), run.steps());
    let (v, t) = (run.basis(), run.tridiagonal());
    let mut y = vec![0.0; n * k];
    a.apply(k, v, &mut y);
    let mut worst = 0.0f64;
    for j in 0..k {
        for i in 0..n {
            let mut want = t.alpha[j] * v[j * n + i];
            if j > 0 {
                want += t.beta[j - 1] * v[(j - 1) * n + i];
            }
            if j + 1 < k {
                want += t.beta[j] * v[(j + 1) * n + i];
            } else if let Some(next) = run.next() {
                want += run.beta() * next[i];
            }
            worst = worst.max((y[j * n + i] - want).abs());
        }
    }
    worst
}

#[test]
fn the_factorization_and_its_basis_hold_to_rounding() {
    let a = outliers_and_bulk(500);
    for how in [Reorthogonalize::Twice, Reorthogonalize::WhenNeeded] {
        let run = lanczos(&a, &start(500, 0), &Options { reorthogonalize: how, ..Options::steps(60) });
        assert_eq!((run.stop(), run.steps(), run.products()), (Stop::MaxSteps, 60, 60));
        assert_eq!(a.products() % 60, 0);
        assert!(defect(&a, &run) <= 10.0 * 40.0 * EPS, "{how:?}: {:e}", defect(&a, &run));
        assert!(run.orthogonality() <= 40.0 * EPS, "{how:?}: {:e}", run.orthogonality());
        assert!(run.asymmetry() <= 1e-12, "{how:?}: {:e}", run.asymmetry());
        assert!((run.start_norm() - 500f64.sqrt()).abs() < 1e-12);
        // ‖A v‖ never exceeds ‖A‖ and comes close to it.
        assert!(run.scale() <= 10.0 + 1e-12 && run.scale() > 7.0, "{}", run.scale());
    }
}

/// D4, D7: without full re-orthogonalisation copies of the nine outliers appear; there must be exactly nine.
#[test]
fn d4_d7_nine_outliers_give_nine_ritz_values_above_the_bulk() {
    let a = outliers_and_bulk(1000);
    for how in [Reorthogonalize::Twice, Reorthogonalize::WhenNeeded] {
        let run = lanczos(&a, &start(1000, 3), &Options { reorthogonalize: how, ..Options::steps(120) });
        let values = run.tridiagonal().eigenvalues().unwrap();
        assert_eq!(values.iter().filter(|&&x| x > 1.0 + 1e-9).count(), 9, "{how:?}");
        for (i, x) in values.iter().rev().take(9).enumerate() {
            assert!((x - (10.0 - i as f64)).abs() < 1e-13, "{how:?}: {x}");
        }
    }
}

/// D1: the scale of the loss must not change anything but the scale of the result. Powers of two to the last bit, others to
/// rounding.
#[test]
fn d1_a_scaled_operator_gives_the_scaled_factorization() {
    let a = outliers_and_bulk(200);
    let options = Options::steps(40);
    let want = lanczos(&a, &start(200, 0), &options);
    let values = want.tridiagonal().eigenvalues().unwrap();
    for exponent in [-24, 24, -300, 300] {
        let c = 2f64.powi(exponent);
        let got = lanczos(&Scaled(c, &a), &start(200, 0), &options);
        assert_eq!(got.tridiagonal().alpha, want.tridiagonal().alpha.iter().map(|x| c * x).collect::<Vec<_>>());
        assert_eq!(got.basis(), want.basis());
    }
    for c in [1e-7, 1e-5, 1e-3, 1e3, 1e5, 1e7] {
        let got = lanczos(&Scaled(c, &a), &start(200, 0), &options);
        assert_eq!(got.stop(), want.stop());
        for (x, y) in got.tridiagonal().eigenvalues().unwrap().iter().zip(&values).rev().take(9) {
            assert!((x / c - y).abs() <= 1e-13 * y, "c = {c}: {x} {y}");
        }
    }
}

/// D3: one step, no NaN, no crash.
#[test]
fn d3_the_identity_ends_after_one_step() {
    for c in [1.0, -3.0, 1e-300, 1e300] {
        let run = lanczos(&multiple_of_identity(50, c), &start(50, 0), &Options::steps(10));
        assert_eq!((run.stop(), run.steps(), run.beta()), (Stop::Invariant, 1, 0.0));
        assert!((run.tridiagonal().alpha[0] / c - 1.0).abs() < 4.0 * EPS);
        assert!(run.next().is_none());
    }
}

/// D11: the zero operator.
#[test]
fn d11_the_zero_operator_ends_after_one_step() {
    let run = lanczos(&multiple_of_identity(50, 0.0), &start(50, 0), &Options::steps(10));
    assert_eq!((run.stop(), run.steps()), (Stop::Invariant, 1));
    assert_eq!(run.tridiagonal().alpha, [0.0]);
    assert_eq!((run.scale(), run.asymmetry()), (0.0, 0.0));
}

/// D10, D11: rank r ends after r + 1 steps (r nonzero eigenvalues, and one more for the null space), with unit vectors.
#[test]
fn d10_d11_rank_r_operators_end_after_r_plus_one_steps() {
    for r in [1, 2, 5] {
        let n = 300;
        let a = Prescribed::new((0..n).map(|i| if i < r { (i + 1) as f64 } else { 0.0 }).collect(), 5);
        let run = lanczos(&a, &start(n, 0), &Options::steps(50));
        assert_eq!((run.stop(), run.steps()), (Stop::Invariant, r + 1));
        let values = run.tridiagonal().eigenvalues().unwrap();
        assert!(values[0].abs() < 1e-13, "{values:?}");
        for (i, x) in values[1..].iter().enumerate() {
            assert!((x - (i + 1) as f64).abs() < 1e-12, "{values:?}");
        }
        assert!(run.orthogonality() < 1e-14, "{:e}", run.orthogonality());
    }
}

/// A start vector orthogonal to the range, or inside it.
#[test]
fn a_start_inside_an_eigenspace_stays_there() {
    let a = Prescribed::new((0..40).map(|i| if i < 20 { 2.0 } else { i as f64 }).collect(), 9);
    let v: Vec<f64> = a.eigenvector(3).iter().zip(a.eigenvector(7)).map(|(x, y)| x - 2.0 * y).collect();
    let run = lanczos(&a, &v, &Options::steps(10));
    assert_eq!((run.stop(), run.steps()), (Stop::Invariant, 1));
    assert!((run.tridiagonal().alpha[0] - 2.0).abs() < 1e-13);
    let run = lanczos(&a, &a.eigenvector(39), &Options::steps(10));
    assert!((run.tridiagonal().alpha[0] - 39.0).abs() < 1e-12 && run.steps() == 1);
}

/// d distinct eigenvalues, each ten times: d steps.
#[test]
fn repeated_eigenvalues_count_once() {
    let a = Prescribed::new((0..60).map(|i| f64::from(i / 10)).collect(), 2);
    let run = lanczos(&a, &start(60, 0), &Options::steps(60));
    assert_eq!((run.stop(), run.steps()), (Stop::Invariant, 6));
    for (i, x) in run.tridiagonal().eigenvalues().unwrap().iter().enumerate() {
        assert!((x - i as f64).abs() < 1e-12);
    }
}

#[test]
fn dimension_one_is_its_entry() {
    let run = lanczos(&multiple_of_identity(1, -2.5), &[4.0], &Options::steps(5));
    assert_eq!((run.stop(), run.steps(), run.start_norm()), (Stop::Invariant, 1, 4.0));
    assert_eq!(run.tridiagonal().alpha, [-2.5]);
}

#[test]
fn all_n_steps_give_the_whole_spectrum_and_no_more() {
    let a = Prescribed::new((0..25).map(|i| f64::from(i * i)).collect(), 4);
    let run = lanczos(&a, &Distribution::Gaussian.probe(1, 0, 25), &Options::steps(1000));
    assert_eq!((run.stop(), run.steps(), run.products()), (Stop::Invariant, 25, 25));
    for (x, y) in run.tridiagonal().eigenvalues().unwrap().iter().zip(a.ascending()) {
        assert!((x - y).abs() < 1e-11);
    }
}

#[test]
fn nan_from_the_operator_keeps_the_steps_before() {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let a = Columnwise {
        n: 30,
        f: |x: &[f64], y: &mut [f64]| {
            let step = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            y.iter_mut().zip(x).enumerate().for_each(|(i, (y, x))| *y = i as f64 * x);
            y[29] = if step == 3 { f64::NAN } else { y[29] };
        },
    };
    let run = lanczos(&a, &start(30, 0), &Options::steps(10));
    assert_eq!((run.stop(), run.steps(), run.products()), (Stop::NonFinite, 3, 4));
    assert!(run.tridiagonal().eigenvalues().is_ok());
}

#[test]
fn an_infinite_product_is_not_finite() {
    let run = lanczos(&multiple_of_identity(3, f64::INFINITY), &[1.0; 3], &Options::steps(3));
    assert_eq!((run.stop(), run.steps()), (Stop::NonFinite, 0));
}

#[test]
fn a_zero_or_nan_start_ends_at_once() {
    let a = multiple_of_identity(3, 1.0);
    assert_eq!(lanczos(&a, &[0.0; 3], &Options::steps(3)).stop(), Stop::Invariant);
    let run = lanczos(&a, &[1.0, f64::NAN, 0.0], &Options::steps(3));
    assert_eq!((run.stop(), run.steps(), run.products()), (Stop::NonFinite, 0, 0));
}

#[test]
fn a_tiny_or_huge_start_is_as_good_as_any() {
    let a = outliers_and_bulk(50);
    let want = lanczos(&a, &start(50, 0), &Options::steps(10)).tridiagonal();
    for c in [1e-305, 1e300] {
        let v: Vec<f64> = start(50, 0).iter().map(|x| c * x).collect();
        let got = lanczos(&a, &v, &Options::steps(10)).tridiagonal();
        for (x, y) in got.alpha.iter().zip(&want.alpha) {
            assert!((x - y).abs() < 1e-11, "{x} {y}");
        }
    }
}

#[test]
fn an_unsymmetric_operator_is_refused_and_the_size_reported() {
    let n = 40;
    let shift = |strength: f64| Columnwise {
        n,
        f: move |x: &[f64], y: &mut [f64]| {
            for i in 0..n {
                y[i] = i as f64 * x[i] + strength * x[(i + 1) % n];
            }
        },
    };
    let run = lanczos(&shift(1.0), &start(n, 0), &Options::steps(20));
    assert_eq!(run.stop(), Stop::NotSymmetric);
    assert!(run.asymmetry() > ASYMMETRY);
    // Below the threshold the run goes on, and says how bad it was.
    let run = lanczos(&shift(1e-5), &start(n, 0), &Options::steps(20));
    assert_eq!(run.stop(), Stop::MaxSteps);
    assert!(run.asymmetry() > 1e-9 && run.asymmetry() < 1e-5, "{:e}", run.asymmetry());
}

#[test]
fn a_run_can_be_grown_later_to_the_same_bits() {
    let a = outliers_and_bulk(100);
    let whole = lanczos(&a, &start(100, 0), &Options::steps(30));
    let mut run = [lanczos(&a, &start(100, 0), &Options::steps(12))];
    assert_eq!(run[0].ended(), None);
    grow(&a, &mut run, &Options::steps(30));
    assert_eq!((run[0].basis(), run[0].tridiagonal()), (whole.basis(), whole.tridiagonal()));
}

/// Probes in lockstep, some of which end early, against each probe alone.
#[test]
fn lockstep_has_the_bits_of_single_runs() {
    let n = 80;
    let a = Prescribed::new((0..n).map(|i| (i % 5) as f64).collect(), 3);
    let mut starts = Distribution::Rademacher.probes(1, 0, 4, n);
    starts[n..2 * n].copy_from_slice(&a.eigenvector(7));
    starts[2 * n..3 * n].fill(0.0);
    let options = Options::steps(20);
    let runs = lockstep(&a, &starts, &options);
    let used = a.products();
    assert_eq!(used, runs.iter().map(Factorization::products).sum::<usize>());
    for (i, run) in runs.iter().enumerate() {
        let alone = lanczos(&a, &starts[i * n..(i + 1) * n], &options);
        assert_eq!((run.basis(), run.tridiagonal(), run.stop()), (alone.basis(), alone.tridiagonal(), alone.stop()));
    }
    assert_eq!(runs.iter().map(Factorization::steps).collect::<Vec<_>>(), [5, 1, 0, 5]);
}

#[test]
fn threads_do_not_change_the_bits() {
    let n = 20_000;
    let a = Prescribed::new((0..n).map(|i| (i as f64).sqrt()).collect(), 3);
    let starts = Distribution::Rademacher.probes(1, 0, 2, n);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let runs = pool.install(|| lockstep(&a, &starts, &Options::steps(16)));
        runs.iter().map(Factorization::tridiagonal).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(3));
}

/// Ritz pairs: ‖A x − θ x‖ = β |last component of the eigenvector of T|.
#[test]
fn residuals_are_beta_times_the_last_component() {
    let a = outliers_and_bulk(120);
    let run = lanczos(&a, &start(120, 0), &Options::steps(15));
    let t = run.tridiagonal();
    let (values, vectors) = t.eigen().unwrap();
    for (j, y) in vectors.chunks_exact(15).enumerate() {
        let x = run.lift(y);
        let mut ax = vec![0.0; 120];
        a.apply(1, &x, &mut ax);
        let residual: Vec<f64> = ax.iter().zip(&x).map(|(ax, x)| ax - values[j] * x).collect();
        assert!((norm2(&residual) - run.beta() * y[14].abs()).abs() < 1e-13);
        assert!((norm2(&x) - 1.0).abs() < 1e-14);
    }
}

#[test]
fn dense_operators_work_too() {
    let a = DenseOperator::new(2, vec![2.0, 1.0, 1.0, 2.0]);
    let run = lanczos(&a, &[1.0, 0.0], &Options::steps(2));
    assert_eq!(run.tridiagonal(), Tridiagonal::new(vec![2.0, 2.0], vec![1.0]));
    assert_eq!(run.stop(), Stop::Invariant);
}

#[test]
#[should_panic(expected = "start vector of a 3-dimensional operator")]
fn a_start_of_the_wrong_length_is_refused() {
    lanczos(&multiple_of_identity(3, 1.0), &[1.0; 2], &Options::steps(1));
}

#[test]
#[should_panic(expected = "this Lanczos run has ended: invariant")]
fn an_ended_run_takes_no_products() {
    let mut run = Factorization::new(&[0.0; 2]);
    run.absorb(&mut [1.0, 2.0], &Options::steps(1));
}

proptest! {
    #![proptest_config(config(256))]

    /// Any spectrum: extreme Ritz values lie within it, and n steps reproduce the moments of the start's measure.
    #[test]
    fn ritz_values_interlace_with_the_spectrum(
        spectrum in prop::collection::vec(-5.0f64..5.0, 2..30), seed in 0u64..1000, steps in 1usize..30
    ) {
        let n = spectrum.len();
        let a = Prescribed::new(spectrum, seed);
        let run = lanczos(&a, &Distribution::Gaussian.probe(seed, 7, n), &Options::steps(steps));
        let want = a.ascending();
        let got = run.tridiagonal().eigenvalues().unwrap();
        let tol = 100.0 * n as f64 * EPS;
        prop_assert!(run.steps() <= steps.min(n));
        // Cauchy: the i-th smallest Ritz value is at least the i-th smallest eigenvalue, and so from above.
        for (i, x) in got.iter().enumerate() {
            prop_assert!(*x >= want[i] - tol && *x <= want[n - got.len() + i] + tol);
        }
        prop_assert!(run.orthogonality() <= tol);
    }
}
