//! Krylov methods on operators on which published ones hang, crash or invent eigenvalues.

use eigenlens_hessian::block::{BlockError, BlockOptions, Route, analyze_block};
use eigenlens_hessian::hutchinson::{HutchinsonOptions, hutchinson};
use eigenlens_hessian::slq::{SlqError, SlqOptions, slq};
use eigenlens_linalg::eigs::{End, Options, eigs, eigs_from};
use eigenlens_linalg::lanczos::{Options as Steps, lanczos, lockstep};
use eigenlens_linalg::operator::DenseOperator;
use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::{LinearOperator, Stop, dense};

use crate::nets::close;
use crate::operators::{FailsAfter, Reflected, Shift, identity, rank, zero};

fn start(n: usize) -> Vec<f64> {
    Distribution::Gaussian.probe(3, 0, n)
}

fn krylov(k: usize, end: End) -> Options {
    Options { dense_up_to: 0, ..Options::new(k, end) }
}

#[test]
fn lanczos_ends_after_as_many_steps_as_there_are_distinct_eigenvalues() {
    let cases: [(&dyn LinearOperator, usize); 5] =
        [(&identity(30), 1), (&zero(30), 1), (&rank(30, 1), 2), (&rank(30, 4), 5), (&identity(1), 1)];
    for (a, steps) in cases {
        let run = lanczos(a, &start(a.dim()), &Steps::steps(30));
        assert_eq!((run.stop(), run.steps(), run.products()), (Stop::Invariant, steps, steps));
    }
}

#[test]
fn lanczos_from_inside_an_eigenspace_sees_only_that_space() {
    let a = Reflected::new(vec![3.0, 3.0, -1.0, 2.0, 5.0, 7.0]);
    // Two eigenvectors of 3 and one of −1.
    let mut v = a.eigenvector(0);
    for (i, c) in [(1, 0.5), (2, -2.0)] {
        v.iter_mut().zip(a.eigenvector(i)).for_each(|(v, e)| *v += c * e);
    }
    let run = lanczos(&a, &v, &Steps::steps(6));
    assert_eq!((run.stop(), run.steps()), (Stop::Invariant, 2));
    close("nodes", &run.quadrature().unwrap().nodes, &[-1.0, 3.0], 1e-13);
}

#[test]
fn lanczos_of_as_many_steps_as_dimensions_gives_the_whole_spectrum() {
    let a = Reflected::new((1..=12).map(|i| f64::from(i * i)).collect());
    let run = lanczos(&a, &start(12), &Steps::steps(100));
    assert_eq!((run.stop(), run.steps()), (Stop::Invariant, 12));
    close("nodes", &run.quadrature().unwrap().nodes, &a.spectrum, 1e-11);
}

#[test]
fn a_zero_start_makes_no_step_and_says_so() {
    let run = lanczos(&identity(5), &[0.0; 5], &Steps::steps(5));
    assert_eq!((run.steps(), run.products()), (0, 0));
    assert!(run.ended().is_some());
}

#[test]
fn nan_and_infinity_stop_a_run_where_they_appear() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for good in 0..4 {
            let run = lanczos(&FailsAfter::new(20, good, value), &start(20), &Steps::steps(20));
            assert_eq!((run.stop(), run.steps()), (Stop::NonFinite, good), "{value} after {good}");
        }
    }
}

#[test]
fn an_unsymmetric_operator_is_refused_by_every_method() {
    let a = Shift(40);
    assert_eq!(lanczos(&a, &start(40), &Steps::steps(40)).stop(), Stop::NotSymmetric);
    for dense_up_to in [0, 100] {
        let found = eigs(&a, &Options { dense_up_to, ..Options::new(2, End::Largest) });
        assert_eq!((found.stop, found.values.len()), (Stop::NotSymmetric, 0));
    }
    assert!(matches!(slq(&a, &SlqOptions::default()), Err(SlqError::NotSymmetric { .. })));
    for exact_max in [0, 100] {
        let options = BlockOptions { exact_max, ..BlockOptions::default() };
        let error = analyze_block("shift", &a, None, &options).unwrap_err().to_string();
        assert!(error.contains("shift") && error.contains("symmetric"), "{error}");
    }
}

#[test]
fn runs_in_lockstep_end_each_for_itself() {
    let a = Reflected::new(vec![2.0, 2.0, 2.0, 1.0, 5.0]);
    let starts = [a.eigenvector(3), start(5), a.eigenvector(0)].concat();
    let runs = lockstep(&a, &starts, &Steps::steps(2));
    let ends: Vec<_> = runs.iter().map(|r| (r.stop(), r.steps())).collect();
    assert_eq!(ends, [(Stop::Invariant, 1), (Stop::MaxSteps, 2), (Stop::Invariant, 1)]);
}

#[test]
fn eigs_finds_every_copy_of_repeated_eigenvalues() {
    let mut spectrum = vec![0.5; 60];
    spectrum[..7].copy_from_slice(&[4.0, 4.0, 4.0, 4.0, 3.0, 3.0, -2.0]);
    let a = Reflected::new(spectrum);
    let found = eigs(&a, &krylov(7, End::Largest));
    assert_eq!(found.stop, Stop::Converged);
    close("values", &found.values, &[4.0, 4.0, 4.0, 4.0, 3.0, 3.0, 0.5], 1e-9);
    assert!(found.orthogonality < 1e-12);
    let both = eigs(&a, &krylov(2, End::Both));
    close("both ends", &both.values, &[4.0, 4.0, 0.5, -2.0], 1e-9);
}

#[test]
fn eigs_ends_on_identity_zero_and_low_rank() {
    let cases: [(&dyn LinearOperator, [f64; 3]); 4] = [
        (&identity(200), [1.0; 3]),
        (&zero(200), [0.0; 3]),
        (&rank(200, 1), [1.0, 0.0, 0.0]),
        (&rank(200, 2), [2.0, 1.0, 0.0]),
    ];
    for (a, want) in cases {
        let found = eigs(a, &krylov(3, End::Largest));
        assert!(found.stop.is_success(), "{:?}", found.stop);
        assert!(found.products <= 40, "{} products", found.products);
        close("values", &found.values, &want, 1e-12);
    }
}

#[test]
fn eigs_of_all_pairs_equals_the_dense_spectrum() {
    let a = Reflected::new(vec![5.0, 5.0, 1.0, -3.0, 0.0, 2.0, -3.0]);
    for k in [7, 20] {
        for end in [End::Largest, End::Smallest, End::Both] {
            let found = eigs(&a, &krylov(k, end));
            assert!(found.stop.is_success());
            close("values", &found.values, &a.descending(), 1e-12);
        }
    }
}

#[test]
fn eigs_of_one_dimension_is_the_number_itself() {
    for x in [2.5, 0.0, -1e-300, 1e300] {
        for end in [End::Largest, End::Smallest, End::Both] {
            let found = eigs(&DenseOperator::diagonal(&[x]), &krylov(1, end));
            assert!(found.stop.is_success());
            assert_eq!(found.values, [x]);
        }
    }
}

#[test]
fn eigs_starting_on_an_eigenvector_still_finds_the_largest() {
    let a = Reflected::new((0..50).map(f64::from).collect());
    let found = eigs_from(&a, &a.eigenvector(3), &krylov(2, End::Largest));
    assert_eq!(found.stop, Stop::Converged);
    close("values", &found.values, &[49.0, 48.0], 1e-8);
}

#[test]
fn eigs_of_nan_gives_no_pairs() {
    for good in [0, 1, 5] {
        let found = eigs(&FailsAfter::new(90, good, f64::NAN), &krylov(2, End::Largest));
        assert_eq!((found.stop, found.values.len()), (Stop::NonFinite, 0), "after {good}");
    }
}

#[test]
fn residuals_enclose_the_eigenvalues_also_where_the_search_was_cut_short() {
    let a = Reflected::new((0..300).map(|i| f64::from(i % 97) / 10.0 + 1e-3 * f64::from(i)).collect());
    let all = a.descending();
    for max_products in [12, 40, 1000] {
        let found = eigs(&a, &Options { max_products, ..krylov(3, End::Largest) });
        assert!(found.products <= max_products.max(8) && found.products == a_columns_since(&a, found.products));
        for i in 0..found.values.len() {
            let (low, high) = found.interval(i);
            assert!(all.iter().any(|x| (low..=high).contains(x)), "{max_products}: {low} to {high}");
        }
        assert_eq!(found.stop == Stop::Converged, found.residuals.iter().all(|r| *r <= 1.1e-10 * found.scale));
    }
}

/// The operator counts for itself: what is reported is what was used.
fn a_columns_since(a: &Reflected, reported: usize) -> usize {
    use std::sync::Mutex;
    static BEFORE: Mutex<usize> = Mutex::new(0);
    let mut before = BEFORE.lock().unwrap();
    let used = a.columns() - *before;
    *before = a.columns();
    assert_eq!(used, reported);
    used
}

#[test]
fn quadratures_of_identity_zero_and_one_dimension_are_exact() {
    for (a, value) in [(identity(25), 1.0), (zero(25), 0.0), (identity(1), 1.0)] {
        let result = slq(&a, &SlqOptions { probes: 4, ..SlqOptions::default() }).unwrap();
        assert!(result.stops().iter().all(|s| *s == Stop::Invariant));
        for q in &result.quadratures {
            assert_eq!((q.nodes.len(), q.weights[0]), (1, 1.0));
            assert!((q.nodes[0] - value).abs() < 1e-14);
        }
        let trace = result.trace_of(|x| x);
        close("trace", &[trace.mean], &[value * a.dim() as f64], 1e-13);
        assert!(trace.sem < 1e-13);
    }
}

#[test]
fn quadratures_of_nan_name_probe_and_step() {
    let options = SlqOptions { lanes: Some(1), steps: 6, ..SlqOptions::default() };
    let error = slq(&FailsAfter::new(20, 8, f64::NAN), &options).unwrap_err();
    assert_eq!(error, SlqError::NonFinite { probe: 1, step: 3 });
}

#[test]
fn traces_of_nan_stop_with_what_is_known() {
    let h = hutchinson(&FailsAfter::new(20, 4, f64::NAN), &HutchinsonOptions { lanes: Some(1), ..Default::default() });
    assert_eq!((h.stop, h.trace.samples, h.products), (Stop::NonFinite, 4, 5));
    assert_eq!((h.trace.mean, h.trace.sem), (210.0, 0.0));
}

#[test]
fn blocks_of_edge_operators_have_reports_by_either_route() {
    let cases: [(&dyn LinearOperator, f64, f64); 5] = [
        (&identity(40), 40.0, 1.0),
        (&zero(40), 0.0, 0.0),
        (&rank(40, 1), 1.0, 1.0),
        (&rank(40, 3), 6.0, 3.0),
        (&identity(1), 1.0, 1.0),
    ];
    for (a, trace, top) in cases {
        let exact = analyze_block("exact", a, None, &BlockOptions::default()).unwrap();
        close("exact", &[exact.value("trace").unwrap(), exact.value("lambda_max").unwrap()], &[trace, top], 1e-12);
        let options = BlockOptions { exact_max: 0, top: 2, ..BlockOptions::default() };
        let krylov = analyze_block("krylov", a, None, &options).unwrap();
        assert_eq!(krylov.route, Route::Krylov);
        assert!(krylov.stops.iter().all(|s| s.stop.is_success()));
        close("largest", &[krylov.value("lambda_max").unwrap()], &[top], 1e-12);
        let found = krylov.get("trace").unwrap();
        let sem = found.uncertainty.unwrap().size();
        assert!((found.value - trace).abs() <= 4.0 * sem + 1e-12, "{} ± {sem}, not {trace}", found.value);
    }
}

#[test]
fn a_block_without_parameters_is_an_error_not_a_panic() {
    let error = analyze_block("none", &identity(0), None, &BlockOptions::default()).unwrap_err();
    assert!(matches!(error, BlockError::Empty { .. }));
}

#[test]
fn dense_spectra_of_edge_matrices() {
    assert_eq!(dense::eigenvalues(0, &[]).unwrap(), Vec::<f64>::new());
    assert_eq!(dense::eigenvalues(1, &[-3.0]).unwrap(), [-3.0]);
    assert_eq!(dense::eigenvalues(3, &[0.0; 9]).unwrap(), [0.0; 3]);
    close("identity", &dense::eigenvalues(30, identity(30).entries()).unwrap(), &[1.0; 30], 1e-14);
    assert!(dense::eigenvalues(2, &[1.0, f64::NAN, 0.0, 1.0]).is_err());
    assert!(dense::eigenvalues(2, &[1.0, 2.0, 0.0, 1.0]).is_err());
}

#[test]
fn products_are_reported_as_they_are_counted() {
    let a = Reflected::new((0..80).map(f64::from).collect());
    let options = BlockOptions { exact_max: 0, top: 3, bottom: 2, ..BlockOptions::default() };
    let report = analyze_block("counted", &a, None, &options).unwrap();
    assert_eq!(report.products, a.columns());
    let b = Reflected::new((0..80).map(f64::from).collect());
    let report = analyze_block("counted", &b, None, &BlockOptions::default()).unwrap();
    assert_eq!((report.products, b.columns()), (80, 80));
}
