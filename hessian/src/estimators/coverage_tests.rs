//! How often intervals of nominally 95 % hold the exact value, over 400 seeds with ten probes each.

use eigenlens_linalg::operator::DenseOperator;

use super::hutchpp::{HutchPlusPlusOptions, hutch_plus_plus};
use super::xnystrace::xnystrace;
use super::xtrace::xtrace;
use super::*;
use crate::hutchinson::{HutchinsonOptions, hutchinson};
use crate::slq::tests::rotated;
use crate::slq::{SlqOptions, slq};

const SEEDS: u64 = 400;
const PROBES: usize = 10;

/// The share of seeds whose interval, mean ± `widths(samples)` standard errors, holds the value.
fn coverage(want: f64, widths: impl Fn(usize) -> f64, f: impl Fn(u64) -> Estimate) -> f64 {
    let holds = |seed: u64| {
        let e = f(seed);
        u64::from((e.mean - want).abs() <= widths(e.samples) * e.sem)
    };
    (0..SEEDS).map(holds).sum::<u64>() as f64 / SEEDS as f64
}

fn student(samples: usize) -> f64 {
    crate::student::quantile(0.95, samples - 1)
}

fn signs(a: &DenseOperator, seed: u64) -> crate::hutchinson::Hutchinson {
    hutchinson(a, &HutchinsonOptions { probes: PROBES, seed, ..Default::default() })
}

/// 92 to 98 % is what 400 repetitions of 95 % give but for one case in a hundred; the means of ten quadratic forms are not
/// quite normal.
#[test]
fn intervals_from_independent_probes_cover_as_often_as_they_say() {
    for (name, l) in super::tests::spectra(60) {
        let (a, n) = (rotated(&l), l.len() as f64);
        let power = |k: i32| l.iter().map(|x| x.powi(k)).sum::<f64>();
        let check = |what: &str, share: f64| {
            assert!((0.92..=0.98).contains(&share), "{what}, {name}: {share}");
        };
        check("trace", coverage(power(1), student, |seed| signs(&a, seed).trace));
        check("squared Frobenius norm", coverage(power(2), student, |seed| signs(&a, seed).frobenius_squared));
        check(
            "Hutch++",
            coverage(power(1), student, |seed| {
                let o = HutchPlusPlusOptions { sketch: PROBES, probes: PROBES, seed, ..Default::default() };
                hutch_plus_plus(&a, &o).unwrap().trace
            }),
        );
        for k in [3, 4] {
            check(
                "moment",
                coverage(power(k) / n, student, |seed| {
                    slq(&a, &SlqOptions { probes: PROBES, steps: 3, seed, ..Default::default() }).unwrap().moment(k)
                }),
            );
        }
    }
}

/// The mutant of the test above: with 1.96 standard errors of five probes, coverage is that of t with 4 degrees of freedom,
/// 88 %.
#[test]
fn a_normal_quantile_for_few_probes_is_caught() {
    let l = &super::tests::spectra(60)[2].1;
    let a = rotated(l);
    let few = |seed| hutchinson(&a, &HutchinsonOptions { probes: 5, seed, ..Default::default() }).trace;
    let share = coverage(l.iter().sum(), |_| 1.96, few);
    assert!(share < 0.92, "{share}");
}

/// The jackknife is too large rather than too small: at least what is stated.
#[test]
fn intervals_from_the_jackknife_cover_at_least_as_often_as_they_say() {
    for (name, l) in super::tests::spectra(60) {
        let (a, want) = (rotated(&l), l.iter().sum());
        let o = |seed| TraceOptions { probes: PROBES, seed, ..Default::default() };
        let share = coverage(want, student, |seed| xtrace(&a, &o(seed)).unwrap().trace);
        assert!(share >= 0.95, "XTrace, {name}: {share}");
        if name != "indefinite" {
            let share = coverage(want, student, |seed| xnystrace(&a, &o(seed)).unwrap().trace);
            assert!(share >= 0.95, "XNysTrace, {name}: {share}");
        }
    }
}
