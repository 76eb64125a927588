//! The estimators against their definitions, exact cases, unbiasedness, and operators that break others.

use eigenlens_linalg::operator::DenseOperator;
use eigenlens_linalg::range::Range;

use super::hutchpp::{HutchPlusPlusOptions, basis, hutch_plus_plus, leading_trace};
use super::sketch::{Draw, Sketch, product};
use super::xnystrace::xnystrace;
use super::xtrace::{leave_one_out, xdiag, xtrace};
use super::*;
use crate::hutchinson::{HutchinsonOptions, hutchinson};
use crate::slq::tests::rotated;

fn options(probes: usize, seed: u64) -> TraceOptions {
    TraceOptions { probes, seed, ..Default::default() }
}

/// Eigenvalues that halve, that are all of one size with both signs, and that do both; positive semidefinite: the first.
pub(super) fn spectra(n: usize) -> [(&'static str, Vec<f64>); 3] {
    let decaying = (0..n).map(|i| 0.7f64.powi(i as i32)).collect();
    let flat = (0..n).map(|i| 1.0 + 0.3 * f64::from((i * 7 % 5) as u8)).collect();
    let indefinite = (0..n).map(|i| if i % 3 == 0 { -2.0 } else { 1.5 } * 0.8f64.powi(i as i32)).collect();
    [("decaying", decaying), ("flat", flat), ("indefinite", indefinite)]
}

/// A rotated matrix of rank k, indefinite or not.
fn of_rank(n: usize, k: usize, signed: bool) -> DenseOperator {
    let value = |i: usize| (1.0 + i as f64) * if signed && i % 2 == 1 { -1.0 } else { 1.0 };
    rotated(&(0..n).map(|i| if i < k { value(i) } else { 0.0 }).collect::<Vec<_>>())
}

fn trace_of(a: &DenseOperator) -> f64 {
    (0..a.dim()).map(|i| a.entries()[i * a.dim() + i]).sum()
}

/// What a dropped column can hide of the trace: 10 n ε per direction of the longest product, √n ‖A‖, in n directions.
fn rounding(n: usize, norm: f64) -> f64 {
    10.0 * (n * n) as f64 * f64::EPSILON * (n as f64).sqrt() * norm
}

fn times(a: &DenseOperator, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    a.apply(1, x, &mut y);
    y
}

/// The projector on A ω_j for j ≠ i, as a range.
fn without(a: &DenseOperator, omega: &[f64], i: usize) -> Range {
    let n = a.dim();
    let mut range = Range::new(n);
    for (j, x) in omega.chunks_exact(n).enumerate().filter(|(j, _)| *j != i) {
        assert!(range.push(&times(a, x)), "probe {j}");
    }
    range
}

/// The formulas in small matrices against the definition: the projector without probe i, built anew for every i.
#[test]
fn xtrace_and_xdiag_are_the_estimators_of_their_definition() {
    let (n, m) = (20, 6);
    for (name, l) in spectra(n) {
        let a = rotated(&l);
        let mut sketch = Sketch::new(&a, Draw::Sphere, 3, None, false);
        sketch.grow(m).unwrap();
        for (i, got) in leave_one_out(&sketch.reduced()).into_iter().enumerate() {
            let range = without(&a, &sketch.omega, i);
            let leading: f64 = range.rows().chunks_exact(n).map(|q| product(q, &times(&a, q))).sum();
            let mut u = sketch.omega[i * n..(i + 1) * n].to_vec();
            range.remove_from(&mut u);
            let want = leading + (n - m + 1) as f64 * product(&u, &times(&a, &u)) / product(&u, &u);
            assert!((got - want).abs() < 1e-11, "{name}, probe {i}: {got} for {want}");
        }

        let mut sketch = Sketch::new(&a, Draw::Signs, 3, None, true);
        sketch.grow(m).unwrap();
        let mut want = vec![0.0; n];
        for i in 0..m {
            let range = without(&a, &sketch.omega, i);
            let omega = &sketch.omega[i * n..(i + 1) * n];
            let mut rest = times(&a, omega);
            range.remove_from(&mut rest);
            let images: Vec<Vec<f64>> = range.rows().chunks_exact(n).map(|q| times(&a, q)).collect();
            for j in 0..n {
                let projected: f64 = images.iter().enumerate().map(|(p, z)| range.row(p)[j] * z[j]).sum();
                want[j] += (projected + omega[j] * rest[j]) / m as f64;
            }
        }
        let got = xdiag(&a, &options(m, 3)).unwrap().diagonal;
        for (j, (got, want)) in got.mean.iter().zip(&want).enumerate() {
            assert!((got - want).abs() < 1e-11, "{name}, entry {j}: {got} for {want}");
        }
    }
}

/// Likewise with Â_i from Ω_i alone: residual and trace by Gram–Schmidt in the inner product of A.
#[test]
fn xnystrace_is_the_estimator_of_its_definition() {
    let (n, m) = (20, 6);
    for (name, l) in &spectra(n)[..2] {
        let a = rotated(l);
        let omega = spherical(3, 0, m, n);
        let mut want = 0.0;
        for i in 0..m {
            // Vectors A-orthonormal in the span of the other probes: Â = Σ (A e)(A e)ᵀ.
            let mut frame: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
            let mut others = Range::new(n);
            let mut reduced = |x: &[f64], keep: bool| {
                let mut x = x.to_vec();
                for _ in 0..2 {
                    for (e, ae) in &frame {
                        let c = product(ae, &x);
                        x.iter_mut().zip(e).for_each(|(x, e)| *x -= c * e);
                    }
                }
                let ax = times(&a, &x);
                let square = product(&x, &ax);
                if keep {
                    let scale = |v: &[f64]| v.iter().map(|v| v / square.sqrt()).collect();
                    frame.push((scale(&x), scale(&ax)));
                }
                square
            };
            for (_, x) in omega.chunks_exact(n).enumerate().filter(|(j, _)| *j != i) {
                reduced(x, true);
                others.push(x);
            }
            let own = &omega[i * n..(i + 1) * n];
            let square = reduced(own, false);
            let mut u = own.to_vec();
            others.remove_from(&mut u);
            let leading: f64 = frame.iter().map(|(_, ae)| product(ae, ae)).sum();
            want += (leading + (n - m + 1) as f64 * square / product(&u, &u)) / m as f64;
        }
        let got = xnystrace(&a, &options(m, 3)).unwrap().trace.mean;
        // The shift of 1e-12 moves the sketch by about as much.
        assert!((got - want).abs() < 1e-9, "{name}: {got} for {want}");
    }
}

#[test]
fn with_more_probes_than_rank_the_trace_and_the_diagonal_are_exact() {
    let n = 40;
    for k in [0, 1, 3, 8] {
        let bound = rounding(n, 8.0);
        for signed in [false, true] {
            let a = of_rank(n, k, signed);
            let want = trace_of(&a);
            let x = xtrace(&a, &options(k + 1, 5)).unwrap();
            assert!((x.trace.mean - want).abs() < bound, "rank {k}: {} for {want}", x.trace);
            assert_eq!((x.stop, x.products), (Stop::Invariant, 2 * k + 1));
            // One probe says nothing about its error.
            assert!(if k == 0 { x.trace.sem.is_nan() } else { x.trace.sem <= bound });
            let o = HutchPlusPlusOptions { sketch: k, probes: 4, ..Default::default() };
            let h = hutch_plus_plus(&a, &o).unwrap();
            assert!((h.trace.mean - want).abs() < bound && h.trace.sem < bound, "rank {k}: {}", h.trace);
            let d = xdiag(&a, &options(k + 2, 5)).unwrap();
            for j in 0..n {
                let want = a.entries()[j * n + j];
                assert!((d.diagonal.mean[j] - want).abs() < bound, "rank {k}, entry {j}");
            }
            assert_eq!(d.stop, Stop::Invariant);
            if !signed {
                let x = xnystrace(&a, &options(k + 2, 5)).unwrap();
                assert!((x.trace.mean - want).abs() < bound, "rank {k}: {} for {want}", x.trace);
                assert_eq!((x.stop, x.products), (Stop::Invariant, k + 2));
            }
        }
    }
}

/// One probe fewer than that is not enough: the test above can fail.
#[test]
fn with_fewer_probes_than_rank_there_is_an_error_and_it_is_stated() {
    let a = of_rank(40, 8, false);
    let want = trace_of(&a);
    for t in [
        xtrace(&a, &options(7, 5)).unwrap(),
        xnystrace(&a, &options(7, 5)).unwrap(),
        hutch_plus_plus(&a, &HutchPlusPlusOptions { sketch: 6, probes: 6, ..Default::default() }).unwrap(),
    ] {
        assert!((t.trace.mean - want).abs() > 1e-6 && t.trace.sem > 1e-6 && t.stop == Stop::Converged, "{t:?}");
        assert!(t.trace.deviation(want) < 5.0, "{t:?}");
    }
}

#[test]
fn n_probes_are_everything_and_more_are_not_taken() {
    for (name, l) in spectra(9) {
        let a = rotated(&l);
        let want = trace_of(&a);
        let bound = rounding(9, 2.0);
        let x = xtrace(&a, &options(100, 1)).unwrap();
        assert!((x.trace.mean - want).abs() < bound && x.products == 18 && x.stop == Stop::Invariant, "{name}: {x:?}");
        let o = HutchPlusPlusOptions { sketch: 100, probes: 3, ..Default::default() };
        let h = hutch_plus_plus(&a, &o).unwrap();
        assert!((h.trace.mean - want).abs() < bound && h.products == 18 && h.trace.sem == 0.0, "{name}: {h:?}");
        if name != "indefinite" {
            let x = xnystrace(&a, &options(100, 1)).unwrap();
            assert!((x.trace.mean - want).abs() < 1e-9 && x.products == 9, "{name}: {x:?}");
        }
    }
}

type Run<'a> = Box<dyn Fn(u64) -> f64 + 'a>;

fn estimators<'a>(a: &'a DenseOperator, positive: bool) -> Vec<(&'static str, Run<'a>)> {
    let mut runs: Vec<(&'static str, Run<'a>)> = vec![
        ("xtrace", Box::new(move |s| xtrace(a, &options(5, s)).unwrap().trace.mean)),
        (
            "hutch++",
            Box::new(move |seed| {
                let o = HutchPlusPlusOptions { sketch: 3, probes: 3, seed, ..Default::default() };
                hutch_plus_plus(a, &o).unwrap().trace.mean
            }),
        ),
        ("xdiag", Box::new(move |s| xdiag(a, &options(4, s)).unwrap().diagonal.mean[3])),
    ];
    if positive {
        runs.push(("xnystrace", Box::new(move |s| xnystrace(a, &options(5, s)).unwrap().trace.mean)));
    }
    runs
}

/// The mean over 400 seeds within 3.5 of its standard errors: a false alarm in 2,000 for each of the eleven, were the seeds
/// not fixed.
#[test]
fn they_are_unbiased_and_without_the_leading_part_they_would_not_be() {
    let n = 24;
    for (name, l) in spectra(n) {
        let a = rotated(&l);
        for (method, run) in estimators(&a, name != "indefinite") {
            let want = if method == "xdiag" { a.entries()[3 * n + 3] } else { trace_of(&a) };
            let e = Estimate::from_samples(&(0..400).map(&run).collect::<Vec<_>>());
            assert!(e.deviation(want) < 3.5, "{method} on {name}: {e} for {want}");
        }
        // Mutant: the rest alone.
        let mutant = (0..400).map(|seed| {
            let o = HutchPlusPlusOptions { sketch: 3, probes: 3, seed, ..Default::default() };
            let mut products = Products::new(&a, None);
            let range = basis(&mut products, seed, 3, n).unwrap();
            hutch_plus_plus(&a, &o).unwrap().trace.mean - leading_trace(&mut products, &range).unwrap()
        });
        let e = Estimate::from_samples(&mutant.collect::<Vec<_>>());
        assert!(e.deviation(trace_of(&a)) > 10.0, "{name}: {e}");
        // Mutant: XTrace with all of Q for every probe, which has seen them all.
        let mutant = (0..400).map(|seed| {
            let mut sketch = Sketch::new(&a, Draw::Sphere, seed, None, false);
            sketch.grow(5).unwrap();
            sketch.reduced().trace()
        });
        let e = Estimate::from_samples(&mutant.collect::<Vec<_>>());
        assert!(e.deviation(trace_of(&a)) > 10.0, "{name}: {e}");
    }
}

/// Root mean square errors over 30 seeds at 36 products. A sketch of 12 leaves 0.7^12 = 1.4 % of the
/// spectrum.
#[test]
fn deflation_beats_signs_where_the_spectrum_decays() {
    let a = rotated(&spectra(60)[0].1);
    let want = trace_of(&a);
    let error = |f: &dyn Fn(u64) -> f64| (0..30).map(|s| (f(s) - want).powi(2)).sum::<f64>().sqrt() / 30f64.sqrt();
    let signs = error(&|seed| hutchinson(&a, &HutchinsonOptions { probes: 36, seed, ..Default::default() }).trace.mean);
    let o = |seed| HutchPlusPlusOptions { sketch: 12, probes: 12, seed, ..Default::default() };
    let plus = error(&|s| hutch_plus_plus(&a, &o(s)).unwrap().trace.mean);
    let x = error(&|s| xtrace(&a, &options(18, s)).unwrap().trace.mean);
    let nystrom = error(&|s| xnystrace(&a, &options(36, s)).unwrap().trace.mean);
    assert!(plus < 0.25 * signs && x < 0.25 * plus && nystrom < 0.1 * x, "{signs:e} {plus:e} {x:e} {nystrom:e}");
}

#[test]
fn identity_zero_and_dimension_one_need_nothing_special() {
    for (n, value) in [(1, -2.0), (1, 0.0), (7, 1.0), (7, 0.0), (300, 1.0), (300, 0.0)] {
        let a = DenseOperator::diagonal(&vec![value; n]);
        let (want, bound) = (value * n as f64, rounding(n, 1.0));
        let x = xtrace(&a, &options(5, 0)).unwrap();
        assert!((x.trace.mean - want).abs() <= bound && (n == 1 || x.trace.sem <= bound), "{n} {value}: {x:?}");
        // The rest of the identity is the squared length of what is left of the signs, which is not the same for all.
        let h = hutch_plus_plus(&a, &HutchPlusPlusOptions::default()).unwrap();
        assert!((h.trace.mean - want).abs() <= 5.0 * h.trace.sem + bound, "{n} {value}: {h:?}");
        let d = xdiag(&a, &options(5, 0)).unwrap().diagonal;
        // One entry varies by (n − 5)/n · ½ or so; their mean by √(2 · 5)/n.
        assert!((d.mean.iter().sum::<f64>() / n as f64 - value).abs() <= 10.0 / n as f64 + bound, "{n} {value}");
        if value >= 0.0 {
            let x = xnystrace(&a, &options(5, 0)).unwrap();
            assert!((x.trace.mean - want).abs() <= bound, "{n} {value}: {x:?}");
        }
    }
}

#[test]
fn scale_changes_nothing_but_the_scale() {
    let l = &spectra(30)[0].1;
    let base = rotated(l);
    for c in [1e-120, 1e-6, 1e90] {
        let scaled = DenseOperator::new(30, base.entries().iter().map(|x| c * x).collect());
        for f in [xtrace, xnystrace] {
            let (a, b) = (f(&base, &options(9, 2)).unwrap().trace, f(&scaled, &options(9, 2)).unwrap().trace);
            assert!((b.mean / c / a.mean - 1.0).abs() < 1e-9 && (b.sem / c / a.sem - 1.0).abs() < 1e-6, "{c:e}");
        }
    }
}

#[test]
fn an_adaptive_run_stops_at_its_error_or_says_that_it_could_not() {
    let a = rotated(&spectra(80)[0].1);
    let want = trace_of(&a);
    for rel_err in [1e-2, 1e-4] {
        let o = TraceOptions { rel_err: Some(rel_err), probes: 80, ..Default::default() };
        for f in [xtrace, xnystrace] {
            let t = f(&a, &o).unwrap();
            assert!(t.stop == Stop::Converged && t.trace.relative() <= rel_err, "{t:?}");
            assert!(t.trace.deviation(want) < 5.0 && t.trace.samples < 80, "{t:?}");
        }
    }
    let flat = rotated(&spectra(80)[1].1);
    let o = TraceOptions { rel_err: Some(1e-6), probes: 20, ..Default::default() };
    assert_eq!(xtrace(&flat, &o).unwrap().stop, Stop::MaxSteps);
    assert_eq!(xdiag(&flat, &o).unwrap().stop, Stop::MaxSteps);
    let o = HutchPlusPlusOptions { rel_err: Some(1e-6), probes: 20, ..Default::default() };
    let h = hutch_plus_plus(&flat, &o).unwrap();
    assert_eq!((h.stop, h.products, h.trace.samples), (Stop::MaxSteps, 52, 20));
    let o = HutchPlusPlusOptions { rel_err: Some(0.02), probes: 4000, ..Default::default() };
    assert!(hutch_plus_plus(&flat, &o).unwrap().trace.samples < 4000);
}

#[test]
fn lanes_and_threads_change_no_bit() {
    let a = rotated(&spectra(50)[0].1);
    let all = |lanes: Option<usize>| {
        let o = TraceOptions { probes: 13, rel_err: Some(1e-9), lanes, ..Default::default() };
        let h = HutchPlusPlusOptions { sketch: 7, probes: 19, lanes, ..Default::default() };
        (xtrace(&a, &o), xnystrace(&a, &o), xdiag(&a, &o), hutch_plus_plus(&a, &h))
    };
    let one = format!("{:?}", all(Some(1)));
    for lanes in [Some(2), Some(5), Some(64), None] {
        assert_eq!(format!("{:?}", all(lanes)), one, "{lanes:?}");
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| format!("{:?}", all(None))), one, "{threads} threads");
    }
}

/// An operator that answers NaN from some product on, or is not symmetric.
struct Broken {
    skew: f64,
    nan_after: usize,
    made: std::sync::atomic::AtomicUsize,
}

impl LinearOperator for Broken {
    fn dim(&self) -> usize {
        30
    }
    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        let first = self.made.fetch_add(k, std::sync::atomic::Ordering::Relaxed);
        for (c, (x, y)) in x.chunks_exact(30).zip(y.chunks_exact_mut(30)).enumerate() {
            for i in 0..30 {
                y[i] = (1.0 + i as f64) * x[i] + self.skew * x[(i + 1) % 30];
            }
            if first + c >= self.nan_after {
                y[7] = f64::NAN;
            }
        }
    }
}

#[test]
fn nan_and_asymmetry_are_errors_that_say_where() {
    let o = options(5, 0);
    let h = HutchPlusPlusOptions { sketch: 5, probes: 5, ..Default::default() };
    for nan_after in [0, 3] {
        let broken = || Broken { skew: 0.0, nan_after, made: 0.into() };
        let want = EstimatorError::NonFinite { product: nan_after + 1 };
        assert_eq!(xtrace(&broken(), &o), Err(want));
        assert_eq!(xnystrace(&broken(), &o), Err(want));
        assert_eq!(xdiag(&broken(), &o), Err(want));
        assert_eq!(hutch_plus_plus(&broken(), &h), Err(want));
    }
    let late = Broken { skew: 0.0, nan_after: 12, made: 0.into() };
    assert_eq!(hutch_plus_plus(&late, &h), Err(EstimatorError::NonFinite { product: 13 }));
    let skew = Broken { skew: 20.0, nan_after: usize::MAX, made: 0.into() };
    let refused = |e: EstimatorError| matches!(e, EstimatorError::NotSymmetric { asymmetry } if asymmetry > 1e-4);
    assert!(refused(xtrace(&skew, &o).unwrap_err()) && refused(xdiag(&skew, &o).unwrap_err()));
    assert!(refused(xnystrace(&skew, &o).unwrap_err()) && refused(hutch_plus_plus(&skew, &h).unwrap_err()));
    let text = EstimatorError::NonFinite { product: 3 }.to_string();
    assert_eq!(text, "product 3 with the operator is not finite; look for NaN or overflow in weights and data");
}

#[test]
fn an_indefinite_operator_is_refused_where_it_must_not_be() {
    let a = of_rank(40, 8, true);
    let e = xnystrace(&a, &options(9, 0)).unwrap_err();
    assert!(matches!(e, EstimatorError::NotPositive { pivot } if pivot < 0.0), "{e}");
    assert!(e.to_string().ends_with("; XTrace takes indefinite ones"));
}

#[test]
#[should_panic(expected = "XTrace: no probes")]
fn no_probes_are_refused() {
    let _ = xtrace(&DenseOperator::diagonal(&[1.0]), &options(0, 0));
}
