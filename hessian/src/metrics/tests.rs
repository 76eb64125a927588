//! Quantities against spectra worked out by hand, their conventions, and the invariants between them.

use std::collections::BTreeSet;

use eigenlens_linalg::Stop;
use proptest::prelude::*;

use crate::testing::config;

use super::*;
use crate::spectrum::Probe;

fn exact(eigenvalues: &[f64]) -> Vec<Quantity> {
    quantities(&Spectrum::exact(eigenvalues.to_vec()), &MetricOptions::default())
}

fn value(list: &[Quantity], key: &str) -> f64 {
    get(list, key).unwrap_or_else(|| panic!("{key} is missing")).value
}

fn keys(list: &[Quantity]) -> Vec<&'static str> {
    list.iter().map(|q| q.name).collect()
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * a.abs().max(b.abs())
}

/// A probe that sees every eigenvalue with weight 1/p.
fn uniform_probe(eigenvalues: &[f64]) -> Probe {
    let mut nodes = eigenvalues.to_vec();
    nodes.sort_by(f64::total_cmp);
    let weights = vec![1.0 / nodes.len() as f64; nodes.len()];
    Probe { nodes, weights, stop: Stop::Invariant }
}

fn quadrature(dim: usize, probes: Vec<Probe>) -> Spectrum {
    Spectrum::Quadrature { dim, probes, top: vec![], bottom: vec![] }
}

fn pairs(list: &[(f64, f64)]) -> Vec<Pair> {
    list.iter().map(|&(value, residual)| Pair { value, residual }).collect()
}

const HAND: [f64; 4] = [4.0, 2.0, 1.0, -1.0];

#[test]
fn every_row_of_the_table_on_a_spectrum_done_by_hand() {
    let q = exact(&HAND);
    let ln2 = std::f64::consts::LN_2;
    let by_hand = [
        ("trace", 6.0),
        ("mean_curvature", 1.5),
        ("lambda_max", 4.0),
        ("lambda_min", -1.0),
        ("gap_1", 2.0),
        ("gap_2", 1.0),
        ("gap_3", 2.0),
        ("ratio_1", 2.0),
        ("ratio_2", 2.0),
        ("ratio_3", -1.0),
        ("condition", 4.0),
        ("condition_tau", 1e-6),
        ("condition_below", 0.0),
        ("rank_numerical", 4.0),
        // 4 + 2 + 1 = 7 is below 0.9 · 8.
        ("rank_energy", 4.0),
        ("rank_stable", 22.0 / 16.0),
        // a = ½, ¼, ⅛, ⅛.
        ("rank_effective", 2.0_f64.powf(1.75)),
        ("frobenius", 22.0_f64.sqrt()),
        ("nuclear", 8.0),
        ("participation_ratio", 64.0 / 22.0),
        ("trace_over_lambda_max", 1.5),
        ("negative_count", 1.0),
        ("negative_fraction", 0.25),
        ("negative_mass", 0.125),
        ("r_e", 0.25),
        ("k_h_half", 1.0 / (3.0 + 2.0_f64.sqrt())),
        // Both gaps that leave a minority above them are 2; the first counts.
        ("outliers", 1.0),
        ("entropy", 1.75 * ln2),
        // Ascending 1, 1, 2, 4 with factors −3, −1, 1, 3.
        ("gini", 10.0 / 32.0),
        // Deviations ±½, ±2½.
        ("skewness", 0.0),
        ("kurtosis", 19.5625 / (3.25 * 3.25)),
    ];
    for (key, want) in by_hand {
        assert!((value(&q, key) - want).abs() < 1e-14 * (1.0 + want.abs()), "{key}: {} for {want}", value(&q, key));
        assert_eq!(get(&q, key).unwrap().uncertainty, None, "{key}");
    }
    let listed: BTreeSet<_> = by_hand.iter().map(|x| x.0).chain(["power_law_slope"]).collect();
    assert_eq!(keys(&q).into_iter().collect::<BTreeSet<_>>(), listed);
}

#[test]
fn the_table_has_unique_snake_case_keys_and_gives_the_order() {
    let unique: BTreeSet<_> = METRICS.iter().map(|m| m.key).collect();
    assert_eq!(unique.len(), METRICS.len());
    for m in METRICS {
        assert!(m.key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{}", m.key);
        assert!(!m.title.is_empty() && !m.formula.is_empty() && !m.source.is_empty(), "{}", m.key);
    }
    let many: Vec<f64> = (1..40).map(f64::from).chain([-3.0]).collect();
    assert_eq!(keys(&exact(&many)), METRICS.iter().map(|m| m.key).collect::<Vec<_>>());
    assert_eq!((metric("trace").unwrap().unit.as_str(), metric("tracee").is_none()), ("curvature", true));
}

#[test]
fn the_zero_matrix_has_no_ranks_and_no_ratios() {
    let q = exact(&[0.0; 5]);
    for key in ["trace", "lambda_max", "frobenius", "nuclear", "rank_numerical", "rank_energy", "rank_stable"] {
        assert_eq!(value(&q, key), 0.0, "{key}");
    }
    for key in ["rank_effective", "participation_ratio", "negative_count", "negative_fraction", "outliers", "gap_1"] {
        assert_eq!(value(&q, key), 0.0, "{key}");
    }
    assert_eq!(value(&q, "condition_below"), 5.0);
    for m in ["condition", "ratio_1", "trace_over_lambda_max", "negative_mass", "r_e", "k_h_half", "entropy", "gini"] {
        assert_eq!(get(&q, m), None, "{m}");
    }
    for m in ["skewness", "kurtosis", "power_law_slope"] {
        assert_eq!(get(&q, m), None, "{m}");
    }
}

#[test]
fn one_eigenvalue_is_one_dimension_whatever_its_sign() {
    for lambda in [3.0, -3.0] {
        let q = exact(&[lambda]);
        for key in ["rank_numerical", "rank_energy", "rank_stable", "participation_ratio", "condition", "r_e"] {
            assert_eq!(value(&q, key), 1.0, "{key}");
        }
        assert!((value(&q, "rank_effective") - 1.0).abs() < 1e-14);
        assert_eq!((value(&q, "outliers"), value(&q, "gini")), (0.0, 0.0));
        assert_eq!(value(&q, "trace_over_lambda_max"), 1.0);
        assert!(get(&q, "gap_1").is_none() && get(&q, "skewness").is_none());
    }
}

#[test]
fn an_all_negative_spectrum_is_all_negative_mass_and_has_no_positive_denominator() {
    let q = exact(&[-1.0, -2.0, -4.0]);
    assert_eq!((value(&q, "negative_mass"), value(&q, "negative_count")), (1.0, 3.0));
    assert_eq!((value(&q, "negative_fraction"), value(&q, "outliers")), (1.0, 0.0));
    assert_eq!((value(&q, "r_e"), value(&q, "trace_over_lambda_max")), (4.0, 7.0));
    assert_eq!(value(&q, "rank_stable"), 21.0 / 16.0);
    assert!(get(&q, "k_h_half").is_none() && get(&q, "power_law_slope").is_none());
}

#[test]
fn an_empty_or_nan_spectrum_gives_nothing() {
    assert!(exact(&[]).is_empty());
    assert!(exact(&[1.0, f64::NAN]).is_empty());
    assert!(exact(&[1.0, f64::INFINITY]).is_empty());
}

#[test]
fn a_multiple_of_the_identity_has_full_ranks_and_no_shape() {
    // With the rounding that a dense solver leaves on it.
    let q = exact(&(0..50).map(|i| 3.0 * (1.0 + f64::from(i % 5 - 2) * 1e-15)).collect::<Vec<_>>());
    for key in ["rank_numerical", "rank_stable", "rank_effective", "participation_ratio"] {
        assert!(close(value(&q, key), 50.0, 1e-12), "{key}");
    }
    assert_eq!((value(&q, "rank_energy"), value(&q, "outliers")), (45.0, 0.0));
    assert!(value(&q, "gini").abs() < 1e-14);
    assert!(get(&q, "skewness").is_none() && get(&q, "kurtosis").is_none());
}

#[test]
fn rounding_in_a_singular_psd_block_is_not_negative_curvature_nor_a_denominator() {
    // Rank 3 of 12; the rest is what a solver returns for zero.
    let mut l = vec![5.0, 4.0, 3.0];
    l.extend((0..9).map(|i| f64::from(i - 4) * 1e-17));
    let q = exact(&l);
    assert_eq!((value(&q, "negative_count"), value(&q, "rank_numerical")), (0.0, 3.0));
    assert_eq!((value(&q, "condition"), value(&q, "condition_below")), (5.0 / 3.0, 9.0));
    assert_eq!(value(&q, "outliers"), 3.0);
    assert!(get(&q, "ratio_2").is_some() && get(&q, "ratio_3").is_none() && get(&q, "ratio_4").is_none());
    assert!(value(&q, "r_e") < 1e-16 && value(&q, "negative_mass") < 1e-15);
}

#[test]
fn ratios_to_a_vanishing_largest_eigenvalue_are_left_out() {
    let q = exact(&[1e-17, -1.0, -2.0]);
    assert!(get(&q, "r_e").is_none() && get(&q, "trace_over_lambda_max").is_none() && get(&q, "ratio_1").is_some());
    assert_eq!(value(&q, "lambda_max"), 1e-17);
}

#[test]
fn outliers_are_the_minority_above_the_largest_relative_gap() {
    // Nine classes above a bulk whose own tail has a wider last gap.
    let mut l: Vec<f64> = (1..=9).map(|i| 10.0 + f64::from(i)).collect();
    l.extend((0..50).map(|i| 0.5 + 0.01 * f64::from(i)));
    l.push(1e-4);
    assert_eq!(value(&exact(&l), "outliers"), 9.0);
    // No more than half may be outliers.
    assert_eq!(value(&exact(&[9.0, 8.0, 7.0, 1e-3]), "outliers"), 2.0);
}

/// The jackknife leaves probes out around a centre that is no longer their mean.
#[test]
fn skewness_and_kurtosis_do_not_depend_on_the_centre_of_the_powers() {
    let l = [4.0, 2.0, 1.5, -1.0, 0.25];
    let about = |centre: f64| {
        let mut s = [0.0; at::LEN];
        for k in 0..4 {
            s[at::CENTRED + k] = l.iter().map(|x| (x - centre).powi(k as i32 + 1)).sum();
        }
        sums::skewness_and_kurtosis(&s, 5.0)
    };
    let (q, (skewness, kurtosis)) = (exact(&l), about(-2.0));
    assert!((value(&q, "skewness") - skewness).abs() < 1e-12 && (value(&q, "kurtosis") - kurtosis).abs() < 1e-12);
    assert!(skewness > 0.1);
}

#[test]
fn power_law_slope_recovers_the_exponent_at_any_scale() {
    for c in [1e-9, 1.0, 1e9] {
        let l: Vec<f64> = (1..=30).map(|k| c * f64::from(k).powf(-1.5)).collect();
        assert!((value(&exact(&l), "power_law_slope") + 1.5).abs() < 1e-12);
    }
    assert!(get(&exact(&[2.0, 1.0]), "power_law_slope").is_none());
}

#[test]
fn energy_rank_of_ties_is_decided_by_the_spectrum_and_not_by_rounding() {
    let tenth: Vec<f64> = (0..10).map(|i| 0.1 * (1.0 + f64::from(i % 3 - 1) * f64::EPSILON)).collect();
    assert_eq!(value(&exact(&tenth), "rank_energy"), 9.0);
    for c in (1..40).map(|i| 0.1 * f64::from(i)) {
        assert_eq!(value(&exact(&vec![c; 1000]), "rank_energy"), 900.0, "c = {c}");
    }
    let half = MetricOptions { energy: 0.5, ..Default::default() };
    let q = quantities(&Spectrum::exact(HAND.to_vec()), &half);
    assert_eq!(value(&q, "rank_energy"), 1.0);
}

#[test]
fn tau_decides_what_counts_as_zero_and_is_reported() {
    let o = MetricOptions { tau: 0.3, ..Default::default() };
    let q = quantities(&Spectrum::exact(HAND.to_vec()), &o);
    assert_eq!((value(&q, "condition_tau"), value(&q, "condition_below")), (0.3, 2.0));
    assert_eq!((value(&q, "condition"), value(&q, "rank_numerical"), value(&q, "negative_count")), (2.0, 2.0, 0.0));
}

#[test]
#[should_panic(expected = "tau = 1 is not in [0, 1)")]
fn an_impossible_threshold_is_refused() {
    quantities(&Spectrum::exact(vec![1.0]), &MetricOptions { tau: 1.0, ..Default::default() });
}

#[test]
fn d1_every_quantity_is_covariant_under_scaling() {
    // A normalisation by ‖v‖ + 1e-6 would be 70 % off at c = 1e-7.
    let base: Vec<f64> = (0..60).map(|i| ((f64::from(i) * 0.37).sin() + 0.6) * 1.13_f64.powi(i)).collect();
    let original = exact(&base);
    for c in (-7..=7).map(|e| 10.0_f64.powi(e)).chain([1e-150, 1e-200, 1e150, 1e290]) {
        let scaled = exact(&base.iter().map(|x| c * x).collect::<Vec<_>>());
        assert_eq!(keys(&original), keys(&scaled), "c = {c:e}");
        for (a, b) in original.iter().zip(&scaled) {
            let want = if metric(a.name).unwrap().unit == Unit::Curvature { c * a.value } else { a.value };
            assert!(close(want, b.value, 1e-11), "{} at c = {c:e}: {want:e} and {:e}", a.name, b.value);
        }
    }
}

#[test]
fn scaling_by_a_power_of_two_leaves_every_bit_of_a_ratio() {
    let base: Vec<f64> = (0..40).map(|i| (f64::from(i) * 0.7).cos() * f64::from(i)).collect();
    let (a, b) = (exact(&base), exact(&base.iter().map(|x| 0.125 * x).collect::<Vec<_>>()));
    for (a, b) in a.iter().zip(&b) {
        let c = if metric(a.name).unwrap().unit == Unit::Curvature { 0.125 } else { 1.0 };
        assert_eq!((c * a.value).to_bits(), b.value.to_bits(), "{}", a.name);
    }
}

#[test]
fn sums_of_integers_are_exact() {
    for n in 1..80 {
        let q = exact(&(1..=n).map(f64::from).collect::<Vec<_>>());
        assert_eq!(value(&q, "trace"), f64::from(n * (n + 1) / 2));
        assert_eq!(value(&q, "trace_over_lambda_max"), f64::from(n + 1) / 2.0);
    }
}

#[test]
fn eigenvalues_at_the_ends_of_the_range_neither_overflow_nor_vanish() {
    let q = exact(&[5e-324, 5e-324]);
    assert_eq!((value(&q, "rank_numerical"), value(&q, "participation_ratio")), (2.0, 2.0));
    let q = exact(&[1e308, -1e308]);
    assert_eq!((value(&q, "rank_stable"), value(&q, "trace")), (2.0, 0.0));
    assert!(close(value(&q, "frobenius"), 2.0_f64.sqrt() * 1e308, 1e-14));
}

#[test]
fn the_order_of_the_input_leaves_no_bit() {
    let l: Vec<f64> = (0..200).map(|i| ((i * 73 % 199) as f64).sqrt() - 4.0).collect();
    let mut reversed = l.clone();
    reversed.reverse();
    let bits = |q: Vec<Quantity>| q.iter().map(|q| q.value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(exact(&l)), bits(exact(&reversed)));
}

#[test]
fn quadratures_that_see_every_eigenvalue_give_the_exact_sums_without_error() {
    let q = quantities(&quadrature(4, vec![uniform_probe(&HAND); 3]), &MetricOptions::default());
    let e = exact(&HAND);
    for key in [
        "trace",
        "mean_curvature",
        "condition_below",
        "rank_numerical",
        "rank_effective",
        "frobenius",
        "nuclear",
        "participation_ratio",
        "negative_count",
        "negative_fraction",
        "negative_mass",
        "entropy",
        "gini",
        "skewness",
        "kurtosis",
    ] {
        let (want, got) = (value(&e, key), get(&q, key).unwrap());
        assert!((got.value - want).abs() < 1e-13 * (1.0 + want.abs()), "{key}: {} for {want}", got.value);
        assert!(got.uncertainty.unwrap().size() < 1e-13, "{key}");
    }
}

#[test]
fn what_a_quadrature_cannot_give_is_absent() {
    let q = quantities(&quadrature(4, vec![uniform_probe(&HAND); 3]), &MetricOptions::default());
    for key in
        ["condition", "power_law_slope", "lambda_max", "lambda_min", "gap_1", "ratio_1", "r_e", "outliers", "k_h_half"]
    {
        assert_eq!(get(&q, key), None, "{key}");
    }
    assert!(get(&q, "rank_stable").is_none() && get(&q, "trace_over_lambda_max").is_none());
    assert_eq!(get(&q, "condition_tau").unwrap().uncertainty, None);
}

#[test]
fn linear_sums_carry_the_standard_error_over_probes() {
    let probe = |x: f64| Probe { nodes: vec![x], weights: vec![1.0], stop: Stop::Invariant };
    let q = quantities(&quadrature(10, vec![probe(1.0), probe(3.0)]), &MetricOptions::default());
    let trace = get(&q, "trace").unwrap();
    // Samples 10 and 30.
    assert_eq!(trace.value, 20.0);
    assert!(
        matches!(trace.uncertainty, Some(Uncertainty::StandardError { sem, samples: 2 }) if (sem - 10.0).abs() < 1e-13)
    );
    assert_eq!(value(&q, "mean_curvature"), 2.0);
}

#[test]
fn one_probe_has_a_value_and_a_nan_error() {
    let q = quantities(&quadrature(4, vec![uniform_probe(&HAND)]), &MetricOptions::default());
    for key in ["trace", "rank_effective", "gini", "rank_energy", "negative_count"] {
        let error = get(&q, key).unwrap().uncertainty.unwrap();
        assert!(matches!(error, Uncertainty::StandardError { sem, samples: 1 } if sem.is_nan()), "{key}");
    }
}

#[test]
fn a_count_from_an_unfinished_quadrature_carries_the_stieltjes_bound() {
    let probe = Probe { nodes: vec![-1.0, 0.0, 2.0], weights: vec![0.1, 0.6, 0.3], stop: Stop::MaxSteps };
    let q = quantities(&quadrature(100, vec![probe.clone(), probe]), &MetricOptions::default());
    let count = get(&q, "negative_count").unwrap();
    assert!((count.value - 10.0).abs() < 1e-12);
    // The node at 0 may stand for eigenvalues on both sides of it.
    assert!((count.uncertainty.unwrap().size() - 60.0).abs() < 1e-12);
    assert!((get(&q, "negative_fraction").unwrap().uncertainty.unwrap().size() - 0.6).abs() < 1e-14);
    assert!((get(&q, "rank_numerical").unwrap().uncertainty.unwrap().size() - 120.0).abs() < 1e-12);
    assert!(get(&q, "trace").unwrap().uncertainty.unwrap().size() < 1e-12);
}

/// Diagonal operators, on which signs have no spread: what is left is the error of the quadrature, which a standard error
/// over the probes would call zero. It must be covered by what is reported, for spectra that crowd at zero over five
/// decades, on one or both sides, fill an interval, sit on a few points, or follow a power law.
#[test]
fn the_reported_error_covers_the_quadrature_where_the_probes_agree() {
    let n = 600_u32;
    let t = |i: u32| f64::from(i) / f64::from(n);
    let decay = |i: u32| if i < 9 { 10.0 - f64::from(i) } else { 0.5 * (-12.0 * t(i)).exp() };
    let sign = |i: u32, every: u32| if i.is_multiple_of(every) { -1.0 } else { 1.0 };
    let spectra: [(&str, Vec<f64>); 6] = [
        ("one-sided decay", (0..n).map(decay).collect()),
        ("two-sided decay", (0..n).map(|i| decay(i) * sign(i, 2)).collect()),
        ("lopsided decay", (0..n).map(|i| if i % 7 == 0 && i > 8 { -0.1 * decay(i) } else { decay(i) }).collect()),
        ("interval", (0..n).map(|i| t(i) - 0.3).collect()),
        ("low rank and noise", (0..n).map(|i| if i < 20 { 10.0 / t(i + 1) } else { (37.0 * t(i)).sin() }).collect()),
        ("power law", (0..n).map(|i| f64::from(i + 1).powf(-1.2) * sign(i, 3)).collect()),
    ];
    for (name, l) in spectra {
        let a = eigenlens_linalg::operator::DenseOperator::diagonal(&l);
        let rules =
            crate::slq::slq(&a, &crate::slq::SlqOptions { probes: 2, steps: 40, ..Default::default() }).unwrap();
        let (q, e) = (quantities(&rules.spectrum(), &MetricOptions::default()), exact(&l));
        for key in [
            "trace",
            "frobenius",
            "nuclear",
            "participation_ratio",
            "rank_numerical",
            "rank_effective",
            "rank_energy",
            "negative_count",
            "negative_mass",
            "entropy",
            "gini",
            "kurtosis",
        ] {
            let (got, want) = (get(&q, key).unwrap(), value(&e, key));
            let (error, reported) = ((got.value - want).abs(), got.uncertainty.unwrap().size());
            assert!(
                error <= 2.0 * reported + 1e-11 * want.abs(),
                "{key} of {name}: off by {error:.2e} ± {reported:.2e}"
            );
        }
        assert!(get(&q, "nuclear").unwrap().uncertainty.unwrap().size() < 0.25 * value(&e, "nuclear"), "{name}");
    }
}

#[test]
fn a_side_of_zero_without_nodes_is_not_taken_for_empty() {
    let probe = Probe { nodes: vec![0.1, 2.0], weights: vec![0.9, 0.1], stop: Stop::MaxSteps };
    let mass = |bottom: Vec<Pair>| {
        let s = Spectrum::Quadrature { dim: 10, probes: vec![probe.clone(); 2], top: vec![], bottom };
        let q = get(&quantities(&s, &MetricOptions::default()), "negative_mass").copied().unwrap();
        (q.value, q.uncertainty.unwrap().size())
    };
    let nuclear = 0.9 * 0.1 + 0.1 * 2.0;
    // Weight 0.9 may reach down to −0.3, or to −0.1 if nobody knows; and nowhere if λ_p is not negative.
    for (bottom, want) in [(vec![], 0.09), (pairs(&[(-0.2, 0.1)]), 0.27), (pairs(&[(0.0, 0.0)]), 0.0)] {
        let (value, error) = mass(bottom);
        assert!(value == 0.0 && (error - want / nuclear).abs() < 1e-14, "{error}");
    }
}

#[test]
fn one_step_says_nothing_about_its_own_error() {
    let probe = Probe { nodes: vec![1.0], weights: vec![1.0], stop: Stop::MaxSteps };
    let q = quantities(&quadrature(10, vec![probe; 3]), &MetricOptions::default());
    assert_eq!(get(&q, "trace").unwrap().uncertainty.unwrap().size(), 0.0);
    for key in ["frobenius", "nuclear", "gini", "rank_effective"] {
        assert!(get(&q, key).unwrap().uncertainty.unwrap().size().is_nan(), "{key}");
    }
}

#[test]
fn residuals_of_pairs_bound_gaps_and_ratios() {
    let s = Spectrum::Quadrature {
        dim: 100,
        probes: vec![],
        top: pairs(&[(4.0, 0.1), (2.0, 0.2)]),
        bottom: pairs(&[(-1.0, 0.3)]),
    };
    let q = quantities(&s, &MetricOptions::default());
    assert_eq!(get(&q, "lambda_max").unwrap().uncertainty, Some(Uncertainty::Residual(0.1)));
    assert_eq!(get(&q, "lambda_min").unwrap().uncertainty, Some(Uncertainty::Residual(0.3)));
    let close_to = |key: &str, want: f64, bound: f64| {
        let q = get(&q, key).unwrap();
        assert!((q.value - want).abs() < 1e-15 && (q.uncertainty.unwrap().size() - bound).abs() < 1e-15, "{q:?}");
    };
    close_to("gap_1", 2.0, 0.1 + 0.2);
    // (0.1 + 2 · 0.2) / (2 − 0.2)
    close_to("ratio_1", 2.0, 0.5 / 1.8);
    close_to("r_e", 0.25, (0.3 + 0.25 * 0.1) / 3.9);
    assert!(get(&q, "gap_2").is_none() && get(&q, "trace").is_none());
}

#[test]
fn a_ratio_to_an_eigenvalue_within_its_residual_of_zero_is_left_out() {
    let (top, bottom) = (pairs(&[(4.0, 0.0), (0.5, 0.6)]), vec![]);
    let q = quantities(&Spectrum::Quadrature { dim: 9, probes: vec![], top, bottom }, &MetricOptions::default());
    assert!(get(&q, "ratio_1").is_none() && get(&q, "gap_1").is_some());
}

#[test]
fn outliers_from_pairs_need_enough_of_them_and_small_residuals() {
    let o = MetricOptions { leading: 3, ..Default::default() };
    let outliers = |top: &[(f64, f64)]| {
        let s = Spectrum::Quadrature { dim: 50, probes: vec![], top: pairs(top), bottom: vec![] };
        get(&quantities(&s, &o), "outliers").map(|q| q.value)
    };
    assert_eq!(outliers(&[(9.0, 0.0), (8.0, 0.0), (1.0, 0.0), (0.9, 0.0)]), Some(2.0));
    assert_eq!(outliers(&[(9.0, 0.0), (8.0, 0.0), (1.0, 0.0)]), None);
    // 9/4 against 4/1.5 with these residuals: nobody knows which is larger.
    assert_eq!(outliers(&[(9.0, 1.0), (4.0, 1.0), (1.5, 0.5), (1.4, 0.0)]), None);
}

#[test]
fn sums_over_extremes_combine_both_errors() {
    let probe = Probe { nodes: vec![1.0], weights: vec![1.0], stop: Stop::Invariant };
    let s = Spectrum::Quadrature {
        dim: 8,
        probes: vec![probe; 2],
        top: pairs(&[(2.0, 0.02)]),
        bottom: pairs(&[(-1.0, 0.0)]),
    };
    let q = quantities(&s, &MetricOptions::default());
    // 8/2 ± 4 · 1 %, and 8/4 ± 2 · 2 · 1 %.
    for (key, want, error) in [("trace_over_lambda_max", 4.0, 0.04), ("rank_stable", 2.0, 0.04)] {
        let q = get(&q, key).unwrap();
        assert!((q.value - want).abs() < 1e-15 && (q.uncertainty.unwrap().size() - error).abs() < 1e-15, "{q:?}");
    }
}

#[test]
fn quadrature_quantities_scale_with_their_errors() {
    let probe = |shift: f64| Probe {
        nodes: vec![-0.5 + shift, 0.01, 1.0 + shift, 7.0],
        weights: vec![0.2, 0.5, 0.2, 0.1],
        stop: Stop::MaxSteps,
    };
    let at = |c: f64| {
        let probes = [0.0, 0.1, -0.2].map(|s| {
            let p = probe(s);
            Probe { nodes: p.nodes.iter().map(|x| c * x).collect(), ..p }
        });
        let s = Spectrum::Quadrature {
            dim: 40,
            probes: probes.to_vec(),
            top: pairs(&[(8.0 * c, 0.01 * c), (3.0 * c, 0.01 * c)]),
            bottom: pairs(&[(-c, 0.01 * c)]),
        };
        quantities(&s, &MetricOptions::default())
    };
    let original = at(1.0);
    for c in (-7..=7).map(|e| 10.0_f64.powi(e)) {
        let scaled = at(c);
        assert_eq!(keys(&original), keys(&scaled));
        for (a, b) in original.iter().zip(&scaled) {
            let unit = if metric(a.name).unwrap().unit == Unit::Curvature { c } else { 1.0 };
            assert!(close(unit * a.value, b.value, 1e-11), "{}", a.name);
            let size = |q: &Quantity| q.uncertainty.map_or(0.0, Uncertainty::size);
            assert!((unit * size(a) - size(b)).abs() < 1e-11 * unit * a.value.abs().max(1.0), "{}", a.name);
        }
    }
}

fn spectra() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-1.0_f64..1.0, -6..3_i32).prop_map(|(x, e)| x * 10.0_f64.powi(e)), 1..60)
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn ranks_are_ordered_and_shares_lie_in_the_unit_interval(l in spectra()) {
        let (q, p) = (exact(&l), l.len() as f64);
        let v = |key: &str| value(&q, key);
        // Rank of the eigenvalues that are not exactly zero; the others don't count in any of the smooth ranks.
        let rank = l.iter().filter(|x| **x != 0.0).count() as f64;
        let room = 1.0 + 1e-12;
        prop_assert!(v("rank_numerical") <= p && v("rank_energy") <= rank);
        if rank > 0.0 {
            prop_assert!(1.0 <= v("rank_stable") * room && v("rank_stable") <= v("participation_ratio") * room);
            prop_assert!(v("participation_ratio") <= v("rank_effective") * room && v("rank_effective") <= rank * room);
            prop_assert!((0.0..=1.0).contains(&v("negative_mass")));
            prop_assert!((-1e-15..1.0).contains(&v("gini")));
            prop_assert!(v("condition") >= 1.0);
            prop_assert!((v("entropy").exp() - v("rank_effective")).abs() <= 1e-12 * p);
        }
        prop_assert!(v("frobenius") <= v("nuclear") * room && v("trace").abs() <= v("nuclear") * room);
        prop_assert!(v("nuclear") <= p.sqrt() * v("frobenius") * room);
        prop_assert_eq!(v("rank_numerical") + v("condition_below"), p);
        prop_assert!(v("negative_count") <= v("rank_numerical"));
        prop_assert!(v("outliers") <= p / 2.0);
        if let Some(kurtosis) = get(&q, "kurtosis") {
            // Pearson 1916.
            prop_assert!(kurtosis.value >= v("skewness").powi(2) + 1.0 - 1e-6);
        }
    }

    #[test]
    fn negating_the_matrix_swaps_the_ends_and_keeps_the_magnitudes(l in spectra()) {
        let (q, n) = (exact(&l), exact(&l.iter().map(|x| -x).collect::<Vec<_>>()));
        prop_assert_eq!(value(&q, "lambda_max"), -value(&n, "lambda_min"));
        for key in ["frobenius", "nuclear", "rank_numerical", "rank_energy", "rank_stable", "rank_effective"] {
            prop_assert!(close(value(&q, key), value(&n, key), 1e-12), "{}", key);
        }
        if let (Some(a), Some(b)) = (get(&q, "negative_mass"), get(&n, "negative_mass")) {
            prop_assert!((a.value + b.value - 1.0).abs() < 1e-12);
        }
    }
}

#[test]
fn a_repeated_eigenvalue_gives_what_its_copies_would() {
    let listed: Vec<f64> = (1..30).map(|i| 10.0 / f64::from(i * i)).collect();
    let signed: Vec<f64> = listed.iter().map(|x| x - 0.05).collect();
    for (listed, value) in [(&listed, 0.0), (&signed, 0.0), (&signed, 0.3), (&signed, -0.01), (&vec![], 0.0)] {
        let repeated = crate::spectrum::Repeated { value, count: 500 };
        let short = Spectrum::exact_with(listed.clone(), repeated);
        let long = Spectrum::exact([listed.as_slice(), &[value; 500]].concat());
        let both = [short, long].map(|s| quantities(&s, &MetricOptions::default()));
        assert_eq!(keys(&both[0]), keys(&both[1]));
        for (a, b) in both[0].iter().zip(&both[1]) {
            assert!((a.value - b.value).abs() <= 1e-12 * b.value.abs().max(1e-3), "{value}: {a:?} and {b:?}");
        }
    }
}
