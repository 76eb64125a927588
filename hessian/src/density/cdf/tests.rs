//! The band and its parts against measures that are known.

use eigenlens_linalg::probes::Distribution;
use proptest::prelude::*;

use crate::testing::config;

use super::*;
use crate::density::distribution;
use crate::slq::tests::{outliers_and_bulk, rotated};
use crate::slq::{SlqOptions, slq};

fn rules(l: &[f64], probes: usize, steps: usize) -> Spectrum {
    slq(&rotated(l), &SlqOptions { probes, steps, ..Default::default() }).unwrap().spectrum()
}

fn share(l: &[f64], t: f64) -> f64 {
    l.iter().filter(|x| **x <= t).count() as f64 / l.len() as f64
}

#[test]
fn an_exact_spectrum_has_no_band_and_one_probe_none_that_says_anything() {
    let s = Spectrum::exact(vec![-1.0, 0.0, 0.0, 2.0]);
    let b = cdf_band(&s, &[-2.0, -1.0, 0.5, 2.0], 0.95).unwrap();
    assert_eq!(
        (b.mean.as_slice(), b.band[2], b.enclosure[2]),
        ([0.0, 0.25, 0.75, 1.0].as_slice(), (0.75, 0.75), (0.75, 0.75))
    );
    let z = zero_atom(&s, 1e-9, 0.95).unwrap();
    assert_eq!((z.mass.mean, z.band), (0.5, (0.5, 0.5)));
    let l = outliers_and_bulk(60);
    let one = cdf_band(&rules(&l, 1, 8), &[0.0], 0.95).unwrap();
    assert_eq!(one.band, [(0.0, 1.0)]);
    assert!(one.enclosure[0].0 < one.enclosure[0].1);
    assert!(cdf_band(&Spectrum::exact(vec![]), &[0.0], 0.95).is_none() && cdf_band(&s, &[f64::NAN], 0.95).is_none());
}

/// Few steps: the enclosure holds the mean of the probes' own distribution functions, which n steps give exactly.
#[test]
fn the_enclosure_holds_the_mean_over_these_probes_and_narrows_with_steps() {
    let l = outliers_and_bulk(80);
    let exact = rules(&l, 6, 80);
    let at: Vec<f64> = (-20..140).map(|i| f64::from(i) * 0.083).collect();
    let want = cdf_band(&exact, &at, 0.95).unwrap();
    let mut before = f64::INFINITY;
    for steps in [3, 10, 25] {
        let few = cdf_band(&rules(&l, 6, steps), &at, 0.95).unwrap();
        let mut width = 0.0;
        for (i, t) in at.iter().enumerate() {
            let ((low, high), f) = (few.enclosure[i], want.mean[i]);
            assert!(low - 1e-10 <= f && f <= high + 1e-10, "{steps} steps at {t}: {f} outside {low} .. {high}");
            assert!(few.band[i].0 <= low + 1e-12 && high <= few.band[i].1 + 1e-12);
            width += high - low;
        }
        assert!(width < 0.6 * before, "{steps}: {width} after {before}");
        before = width;
    }
    // Half of what the neighbouring weights alone say, or less.
    let coarse = distribution(&rules(&l, 6, 25)).unwrap();
    let fine = cdf_band(&rules(&l, 6, 25), &coarse.at, 0.95).unwrap();
    let sum = |x: &mut dyn Iterator<Item = f64>| x.sum::<f64>();
    let (a, b) = (sum(&mut fine.enclosure.iter().map(|e| e.1 - e.0)), sum(&mut coarse.bound.iter().map(|b| 2.0 * b)));
    assert!(a < 0.75 * b, "{a} for {b}");
}

/// A third of all eigenvalues is zero, the others are spread over decades on one side: the atom is found as mass, with both
/// its errors, and the upper end without any node at zero holds too.
#[test]
fn the_eigenvalues_at_zero_are_a_mass_within_its_band() {
    let l: Vec<f64> = (0..120).map(|i| if i % 3 == 0 { 0.0 } else { 0.96f64.powi(i) }).collect();
    for steps in [4, 12, 120] {
        let z = zero_atom(&rules(&l, 12, steps), 1e-6, 0.95).unwrap();
        let want = 1.0 / 3.0;
        assert!(z.band.0 <= want && want <= z.band.1, "{steps}: {z:?}");
        if steps == 120 {
            assert!(z.mass.deviation(want) < 3.0 && z.band.1 - z.band.0 < 0.15, "{z:?}");
        }
    }
    let none: Vec<f64> = (0..60).map(|i| 1.0 + f64::from(i)).collect();
    let z = zero_atom(&rules(&none, 5, 20), 1e-3, 0.95).unwrap();
    assert!(z.mass.mean == 0.0 && z.band.0 == 0.0 && z.band.1 < 0.05, "{z:?}");
}

#[test]
fn intervals_of_shares_stay_in_their_range_and_are_those_of_student_in_the_middle() {
    let e = |mean, sem| Estimate { mean, sem, samples: 10 };
    let (low, high) = share_interval(e(0.5, 0.001), 0.95);
    assert!((low - 0.5 + 2.262 * 0.001).abs() < 1e-5 && (low + high - 1.0).abs() < 1e-12);
    for (mean, sem) in [(0.01, 0.3), (0.99, 0.3), (1e-9, 1.0), (0.5, 1e6)] {
        let (low, high) = share_interval(e(mean, sem), 0.95);
        assert!(0.0 <= low && low <= mean && mean <= high && high <= 1.0, "{mean} {sem}: {low} {high}");
    }
    assert_eq!(share_interval(e(0.0, 0.0), 0.95), (0.0, 0.0));
    assert_eq!(share_interval(Estimate { mean: 0.2, sem: f64::NAN, samples: 1 }, 0.95), (0.0, 1.0));
}

/// 95 % at five places over 400 seeds with exact rules, 92 to 98 % at each; with 1.96 standard errors, as if there were
/// five probes (88 %, the mutant), below that.
#[test]
fn the_band_covers_as_often_as_it_says() {
    let l: Vec<f64> = (0..60).map(|i| (f64::from(i) * 0.77).sin() * f64::from(i)).collect();
    let a = rotated(&l);
    let mut sorted = l.clone();
    sorted.sort_by(f64::total_cmp);
    let at: Vec<f64> = [6, 15, 30, 45, 54].iter().map(|&i| 0.5 * (sorted[i - 1] + sorted[i])).collect();
    let (mut hits, mut naive) = ([0; 5], [0; 5]);
    for seed in 0..400 {
        let o =
            SlqOptions { probes: 10, steps: 60, seed, distribution: Distribution::Rademacher, ..Default::default() };
        let b = cdf_band(&slq(&a, &o).unwrap().spectrum(), &at, 0.95).unwrap();
        let n = cdf_band(&slq(&a, &o).unwrap().spectrum(), &at, 0.88).unwrap();
        for i in 0..5 {
            let want = share(&l, at[i]);
            hits[i] += i32::from(b.band[i].0 <= want && want <= b.band[i].1);
            naive[i] += i32::from(n.band[i].0 <= want && want <= n.band[i].1);
        }
    }
    assert!(hits.iter().all(|h| (368..=392).contains(h)), "{hits:?}");
    assert!(naive.iter().all(|h| *h < 368), "{naive:?}");
}

proptest! {
    #![proptest_config(config(64))]
    /// The bounds of one rule hold its own measure at any place, atoms and places at nodes included.
    #[test]
    fn bounds_hold_the_measure_of_the_probe(
        spectrum in prop::collection::vec(-9i32..9, 2..40), seed in 0u64..500, steps in 1usize..12, t in -10f64..10.0
    ) {
        let l: Vec<f64> = spectrum.iter().map(|x| f64::from(*x) / 3.0).collect();
        let o = |steps| SlqOptions { probes: 1, steps, seed, distribution: Distribution::Gaussian, ..Default::default() };
        let a = rotated(&l);
        let (few, all) = (slq(&a, &o(steps)).unwrap(), slq(&a, &o(60)).unwrap());
        let rule = Rule::new(&few.quadratures[0]);
        // Not at an eigenvalue, which the exact rule has only to rounding.
        let t = t / 3.0 + 1e-4;
        let want = all.quadratures[0].cdf(t);
        let (low, high) = rule.bounds(t);
        prop_assert!(low <= want + 1e-9 && want <= high + 1e-9, "{low} {want} {high}");
        let (lower, upper) = rule.gauss.distribution_bounds(t);
        prop_assert!(low >= lower && high <= upper + 1e-15);
    }
}
