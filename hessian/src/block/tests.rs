//! The driver on dense, matrix-free and broken operators.

use std::sync::atomic::{AtomicUsize, Ordering};

use eigenlens_linalg::operator::DenseOperator;

use super::*;
use crate::slq::tests::{outliers_and_bulk, rotated};

fn krylov() -> BlockOptions {
    BlockOptions { exact_max: 0, slq: SlqOptions { probes: 12, steps: 40, ..Default::default() }, ..Default::default() }
}

/// diag(1, …, n), that returns one NaN after so many calls.
struct Nan {
    n: usize,
    good: usize,
    calls: AtomicUsize,
}
impl LinearOperator for Nan {
    fn dim(&self) -> usize {
        self.n
    }
    fn apply(&self, _k: usize, x: &[f64], y: &mut [f64]) {
        for (i, (x, y)) in x.iter().zip(&mut *y).enumerate() {
            *y = (i % self.n + 1) as f64 * x;
        }
        if self.calls.fetch_add(1, Ordering::Relaxed) >= self.good {
            y[self.n / 2] = f64::NAN;
        }
    }
}

/// A diagonal operator of any size.
struct Columns(Vec<f64>);
impl LinearOperator for Columns {
    fn dim(&self) -> usize {
        self.0.len()
    }
    fn apply(&self, _k: usize, x: &[f64], y: &mut [f64]) {
        for (x, y) in x.chunks_exact(self.dim()).zip(y.chunks_exact_mut(self.dim())) {
            y.iter_mut().zip(x.iter().zip(&self.0)).for_each(|(y, (x, l))| *y = l * x);
        }
    }
}

/// An operator that may not be asked for anything.
struct Untouchable(usize);
impl LinearOperator for Untouchable {
    fn dim(&self) -> usize {
        self.0
    }
    fn apply(&self, _k: usize, _x: &[f64], _y: &mut [f64]) {
        panic!("a product was asked for");
    }
}

#[test]
fn an_assembled_matrix_needs_no_product() {
    let l = outliers_and_bulk(30);
    let dense = rotated(&l).entries().to_vec();
    let o = BlockOptions { exact_max: 0, ..Default::default() };
    let r = analyze_block("layer", &Untouchable(30), Some(dense), &o).unwrap();
    assert_eq!((r.route, r.products, r.parameters, r.name.as_str()), (Route::DenseKronecker, 0, 30, "layer"));
    assert!((r.value("lambda_max").unwrap() - 11.0).abs() < 1e-12);
    assert_eq!((r.asymmetry, r.stops.len()), (Some(0.0), 0));
    assert_eq!(r.get("lambda_max").unwrap().uncertainty, None);
}

#[test]
fn products_and_assembly_give_the_same_quantities() {
    let a = rotated(&outliers_and_bulk(40));
    let assembled = analyze_block("b", &a, Some(a.entries().to_vec()), &BlockOptions::default()).unwrap();
    let products = analyze_block("b", &a, None, &BlockOptions::default()).unwrap();
    assert_eq!((products.route, products.products), (Route::DenseProducts, 40));
    assert_eq!(products.quantities, assembled.quantities);
}

#[test]
fn krylov_pairs_carry_residuals_that_hold_and_sums_carry_standard_errors() {
    let l = outliers_and_bulk(300);
    let r = analyze_block("b", &rotated(&l), None, &krylov()).unwrap();
    let exact = metrics::quantities(&Spectrum::exact(l), &MetricOptions::default());
    assert_eq!(r.route, Route::Krylov);
    assert!(r.products > 480 && r.stops.iter().all(|s| s.stop.is_success()) && r.stops.len() == 1);
    let search = r.pairs.as_ref().unwrap();
    assert!(search.orthogonality < 1e-13 && search.checks == 1 && search.vectors.is_empty());
    for key in ["lambda_max", "lambda_min", "gap_1", "gap_9", "ratio_9", "r_e", "outliers"] {
        let (got, want) = (r.get(key).unwrap(), metrics::get(&exact, key).unwrap());
        let Some(Uncertainty::Residual(bound)) = got.uncertainty else { panic!("{key} has no bound") };
        // Plus rounding, 100 ε ‖H‖ being generous.
        assert!((got.value - want.value).abs() <= bound + 3e-13, "{key}: {} for {} ± {bound:e}", got.value, want.value);
        assert!(bound < 1e-5, "{key}");
    }
    for key in
        ["trace", "mean_curvature", "frobenius", "nuclear", "rank_stable", "trace_over_lambda_max", "rank_effective"]
    {
        let (got, want) = (r.get(key).unwrap(), metrics::get(&exact, key).unwrap());
        let Some(Uncertainty::StandardError { sem, samples: 12 }) = got.uncertainty else {
            panic!("{key} has no error")
        };
        assert!((got.value - want.value).abs() < 4.0 * sem, "{key}: {} ± {sem} for {}", got.value, want.value);
    }
    assert!(r.get("condition").is_none() && r.get("power_law_slope").is_none());
}

#[test]
fn bottom_pairs_ascend() {
    let o = BlockOptions { bottom: 3, top: 2, ..krylov() };
    let l = outliers_and_bulk(200);
    let r = analyze_block("b", &rotated(&l), None, &o).unwrap();
    let mut sorted = l;
    sorted.sort_by(f64::total_cmp);
    let Spectrum::Quadrature { top, bottom, .. } = &r.spectrum else { panic!("not a quadrature") };
    assert!(bottom.iter().zip(&sorted).all(|(p, l)| (p.value - l).abs() < 1e-8) && bottom.len() == 3);
    assert!(top.iter().zip(sorted.iter().rev()).all(|(p, l)| (p.value - l).abs() < 1e-8) && top.len() == 2);
}

/// The eigenvectors of one snapshot are the start for the next, which then takes fewer products and gives the same pairs.
#[test]
fn a_search_begins_with_the_vectors_of_the_one_before() {
    let l: Vec<f64> = (0..2500)
        .map(|i| match i {
            0..4 => 3.0 + f64::from(i),
            4 => -1.5,
            _ => 0.4 * (f64::from(i * 37 % 2501) / 2501.0 - 0.4),
        })
        .collect();
    let a = Columns(l.iter().map(|l| l * 1.02).collect());
    let o = BlockOptions {
        top: 4,
        bottom: 1,
        keep_vectors: true,
        slq: SlqOptions { probes: 2, steps: 5, ..Default::default() },
        ..krylov()
    };
    let before = analyze_block("b", &Columns(l), None, &o).unwrap().pairs.unwrap();
    assert_eq!((before.vectors.len(), before.intervals.len()), (5 * 2500, 5));
    let [cold, warm] = [&[][..], &before.vectors].map(|starts| analyze_block_from("b", &a, None, starts, &o).unwrap());
    let [c, w] = [&cold, &warm].map(|r| r.pairs.as_ref().unwrap());
    assert!(w.products < c.products, "{} for {}", w.products, c.products);
    for ((low, high), want) in w.intervals.iter().zip([6.0, 5.0, 4.0, 3.0, -1.5]) {
        assert!((low..=high).contains(&&(1.02 * want)), "{want} in {low} .. {high}");
    }
    for key in ["lambda_max", "lambda_min", "gap_2"] {
        assert!((cold.value(key).unwrap() - warm.value(key).unwrap()).abs() < 1e-7, "{key}");
    }
}

#[test]
fn both_routes_agree_on_small_and_degenerate_blocks() {
    let cases: [Vec<f64>; 5] =
        [vec![0.0; 6], vec![2.0; 6], vec![-3.0], vec![5.0, 0.0, 0.0, 0.0, 0.0], vec![1.0, 1.0, -1.0]];
    for l in cases {
        let a = rotated(&l);
        let exact = analyze_block("b", &a, None, &BlockOptions::default()).unwrap();
        let r = analyze_block("b", &a, None, &krylov()).unwrap();
        assert!(r.stops.iter().all(|s| s.stop.is_success()), "{l:?}: {:?}", r.stops);
        for key in ["lambda_max", "lambda_min"] {
            assert!((r.value(key).unwrap() - exact.value(key).unwrap()).abs() < 1e-12, "{key} of {l:?}");
        }
        for key in ["trace", "frobenius", "rank_numerical", "negative_count"] {
            let (got, want) = (r.get(key).unwrap(), exact.value(key).unwrap());
            let error = 4.0 * got.uncertainty.unwrap().size() + 1e-12;
            assert!((got.value - want).abs() <= error, "{key} of {l:?}: {got:?} for {want}");
        }
    }
}

#[test]
fn further_probes_sharpen_the_trace_and_say_when_they_ran_out() {
    let a = rotated(&outliers_and_bulk(60));
    let plain = analyze_block("b", &a, None, &BlockOptions { top: 0, bottom: 0, ..krylov() }).unwrap();
    let o = BlockOptions {
        trace: Some(HutchinsonOptions { probes: 1000, rel_err: Some(0.01), ..Default::default() }),
        ..krylov()
    };
    let r = analyze_block("b", &a, None, &o).unwrap();
    for key in ["trace", "mean_curvature", "frobenius"] {
        let size = |r: &BlockReport| r.get(key).unwrap().uncertainty.unwrap().size();
        assert!(size(&r) < 0.8 * size(&plain), "{key}");
    }
    assert!(r.get("trace").unwrap().uncertainty.unwrap().size() <= 0.01 * r.value("trace").unwrap());
    assert_eq!(r.stops[1], StageStop { stage: "trace", stop: Stop::Converged });
    let few = HutchinsonOptions { probes: 20, rel_err: Some(1e-6), ..Default::default() };
    let r = analyze_block("b", &a, None, &BlockOptions { trace: Some(few), ..krylov() }).unwrap();
    assert_eq!(r.stops[1].stop, Stop::MaxSteps);
}

#[test]
fn too_few_products_give_pairs_with_honest_residuals() {
    let l: Vec<f64> = (0..400).map(|i| 1.0 + 1e-3 * f64::from(i)).collect();
    let o = BlockOptions { top: 3, bottom: 0, pair_products: 30, ..krylov() };
    let r = analyze_block("b", &rotated(&l), None, &o).unwrap();
    assert_eq!(r.stops, [StageStop { stage: "pairs", stop: Stop::MaxSteps }]);
    let q = r.get("lambda_max").unwrap();
    let bound = q.uncertainty.unwrap().size();
    assert!(bound > 1e-6 && l.iter().any(|x| (x - q.value).abs() <= bound), "{q:?}");
    assert!(r.get("lambda_min").is_none() && r.get("r_e").is_none() && r.get("rank_stable").is_none());
}

#[test]
fn a_nan_operator_is_an_error_that_names_the_block() {
    for options in [krylov(), BlockOptions::default()] {
        let nan = Nan { n: 30, good: 0, calls: 0.into() };
        let e = analyze_block("encoder.0", &nan, None, &options).unwrap_err();
        assert!(e.to_string().contains("encoder.0") && e.to_string().contains("NaN"), "{e}");
    }
    let e = analyze_block("b", &Untouchable(2), Some(vec![1.0, 0.0, 0.0, f64::INFINITY]), &krylov()).unwrap_err();
    assert!(matches!(e, BlockError::Dense { source: DenseError::NonFinite { row: 1, col: 1, .. }, .. }), "{e}");
}

#[test]
fn nan_that_appears_late_names_the_stage() {
    // 2 probes of 5 steps in one lane, then pairs; further probes are the last.
    let slq = SlqOptions { probes: 2, steps: 5, ..Default::default() };
    let trace = Some(HutchinsonOptions { probes: 40, ..Default::default() });
    let o = BlockOptions { slq, trace, top: 2, bottom: 1, ..krylov() };
    let run = |good| {
        let a = Nan { n: 300, good, calls: 0.into() };
        (analyze_block("b", &a, None, &o).map(|_| ()), a.calls.into_inner())
    };
    let (all, calls) = run(usize::MAX);
    assert!(all.is_ok());
    for (good, want) in [(12, "pairs"), (calls - 20, "trace")] {
        let Err(BlockError::Iteration { block, stage, stop }) = run(good).0 else { panic!("{want}: no such error") };
        assert_eq!((block.as_str(), stage, stop), ("b", want, Stop::NonFinite));
    }
}

#[test]
fn an_unsymmetric_matrix_is_an_error_by_every_route() {
    let n = 40;
    let a = DenseOperator::new(n, (0..n * n).map(|k| ((k * 31) % 17) as f64).collect());
    for options in [krylov(), BlockOptions::default()] {
        let e = analyze_block("b", &a, None, &options).unwrap_err();
        assert!(e.to_string().contains("not symmetric"), "{e}");
    }
}

#[test]
fn a_block_without_parameters_is_an_error() {
    let e = analyze_block("relu", &DenseOperator::diagonal(&[]), None, &BlockOptions::default()).unwrap_err();
    assert_eq!(e.to_string(), "block \"relu\" has no parameters");
}

#[test]
#[should_panic(expected = "a dense matrix of order 3")]
fn a_matrix_of_another_order_is_refused() {
    let _ = analyze_block("b", &Untouchable(3), Some(vec![0.0; 4]), &BlockOptions::default());
}

#[test]
fn a_known_value_replaces_an_estimate_in_its_place() {
    let mut r = analyze_block("b", &rotated(&outliers_and_bulk(50)), None, &krylov()).unwrap();
    let before: Vec<_> = r.quantities.iter().map(|q| q.name).collect();
    r.replace(Quantity { name: "trace", value: 61.5, uncertainty: None });
    assert_eq!((r.value("trace"), r.get("trace").unwrap().uncertainty), (Some(61.5), None));
    assert_eq!(r.quantities.iter().map(|q| q.name).collect::<Vec<_>>(), before);
}

#[test]
fn reports_have_the_same_bits_for_any_lanes_and_any_run() {
    let a = rotated(&outliers_and_bulk(70));
    let run = |lanes| {
        let slq = SlqOptions { lanes, ..krylov().slq };
        analyze_block("b", &a, None, &BlockOptions { slq, ..krylov() }).unwrap()
    };
    assert_eq!(run(Some(1)), run(Some(8)));
    assert_eq!(run(None), run(None));
}

/// No coupling to the scale of H anywhere on the way: the report of cH is that of H, times c or times 1.
#[test]
fn d1_reports_are_covariant_under_scaling_by_every_route() {
    let l = outliers_and_bulk(50);
    for options in [BlockOptions::default(), BlockOptions { top: 9, ..krylov() }] {
        let at = |c: f64| {
            let scaled: Vec<f64> = l.iter().map(|x| c * x).collect();
            analyze_block("b", &rotated(&scaled), None, &options).unwrap()
        };
        let base = at(1.0);
        for c in [1e-7, 1e-5, 1e-3, 1e3, 1e7] {
            let r = at(c);
            assert_eq!(r.quantities.len(), base.quantities.len());
            for (a, b) in base.quantities.iter().zip(&r.quantities) {
                let unit = if metrics::metric(a.name).unwrap().unit == metrics::Unit::Curvature { c } else { 1.0 };
                let error = (unit * a.value - b.value).abs();
                assert!(error < 1e-8 * unit * a.value.abs().max(1.0), "{} at c = {c:e}: {error:e}", a.name);
            }
        }
    }
}
