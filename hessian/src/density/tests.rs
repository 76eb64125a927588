//! Densities, distribution functions and distances of spectra that are known.

use eigenlens_linalg::Stop;

use super::*;
use crate::spectrum::Probe;

fn probe(nodes: &[f64], weights: &[f64]) -> Probe {
    Probe { nodes: nodes.to_vec(), weights: weights.to_vec(), stop: Stop::MaxSteps }
}

fn quadrature(probes: Vec<Probe>) -> Spectrum {
    Spectrum::Quadrature { dim: 100, probes, top: vec![], bottom: vec![] }
}

#[test]
fn signed_log_axis_is_odd_and_inverts_from_tiny_to_huge() {
    let axis = Axis::SignedLog { threshold: 1e-3 };
    for e in -30..30 {
        for sign in [1.0, -1.0] {
            let x = sign * 10.0_f64.powi(e);
            assert!((axis.eigenvalue(axis.position(x)) / x - 1.0).abs() < 1e-12, "{x:e}");
            assert_eq!(axis.position(-x), -axis.position(x));
        }
    }
    assert_eq!((axis.position(0.0), axis.eigenvalue(0.0)), (0.0, 0.0));
    assert!((axis.position(1.0) - 1001.0_f64.log10()).abs() < 1e-14);
}

#[test]
fn one_node_is_one_gaussian_of_the_stated_width() {
    let o = DensityOptions { width: Some(0.5), ..DensityOptions::on(Axis::Linear) };
    let d = density(&Spectrum::exact(vec![2.0]), &o).unwrap();
    let peak = d.mean.iter().copied().fold(0.0, f64::max);
    assert!((peak - 1.0 / (0.5 * (2.0 * std::f64::consts::PI).sqrt())).abs() < 1e-12);
    assert_eq!((d.width, d.at[0], d.sem), (0.5, -1.0, None));
}

#[test]
fn d14_no_mass_is_cut_off_when_one_probe_reaches_far_beyond_the_others() {
    // A grid from the means of the extremes would end at 34 and lose a quarter of the third probe.
    let narrow = probe(&[-1.0, 0.0, 1.0], &[0.2, 0.6, 0.2]);
    let wide = probe(&[-80.0, 0.0, 100.0], &[0.25, 0.5, 0.25]);
    let s = quadrature(vec![narrow.clone(), narrow, wide]);
    for axis in [Axis::Linear, Axis::signed_log(&s), Axis::SignedLog { threshold: 1.0 }] {
        for width in [None, Some(0.01), Some(3.0)] {
            let d = density(&s, &DensityOptions { points: 50, width, ..DensityOptions::on(axis) }).unwrap();
            assert!((d.mass() - 1.0).abs() < 1e-8, "{axis:?} {width:?}: {}", d.mass());
            assert!(d.at[0] < axis.position(-80.0) && d.at[d.at.len() - 1] > axis.position(100.0));
        }
    }
}

#[test]
fn d10_the_default_width_follows_the_scale_of_the_spectrum() {
    let l: Vec<f64> = (0..30).map(|i| f64::from(i * i) - 20.0).collect();
    let base = density(&Spectrum::exact(l.clone()), &DensityOptions::on(Axis::Linear)).unwrap();
    for c in [1e-7, 1e-3, 1e7] {
        let scaled = Spectrum::exact(l.iter().map(|x| c * x).collect());
        let d = density(&scaled, &DensityOptions::on(Axis::Linear)).unwrap();
        assert!((d.width / (c * base.width) - 1.0).abs() < 1e-12);
        let peak = base.mean.iter().copied().fold(0.0, f64::max);
        for (a, b) in base.mean.iter().zip(&d.mean) {
            assert!((a - c * b).abs() < 1e-9 * peak);
        }
    }
}

#[test]
fn a_tiny_width_is_raised_and_stated_and_degenerate_spectra_have_one() {
    let o = DensityOptions { width: Some(1e-12), ..DensityOptions::on(Axis::Linear) };
    let d = density(&Spectrum::exact(vec![0.0, 1.0]), &o).unwrap();
    assert!(d.width > 1e-5 && d.at.len() <= 20_002 && (d.mass() - 1.0).abs() < 1e-8);
    for (lambda, width) in [(0.0, 1.0), (-5.0, 0.05)] {
        let d = density(&Spectrum::exact(vec![lambda; 3]), &DensityOptions::on(Axis::Linear)).unwrap();
        assert!((d.width - width).abs() < 1e-15 && (d.mass() - 1.0).abs() < 1e-8);
    }
}

#[test]
fn bands_are_the_spread_over_probes() {
    let s = quadrature(vec![probe(&[0.0, 1.0], &[0.2, 0.8]), probe(&[0.0, 1.0], &[0.6, 0.4])]);
    let f = distribution(&s).unwrap();
    assert_eq!(f.at, [0.0, 1.0]);
    assert!((f.mean[0] - 0.4).abs() < 1e-15 && (f.mean[1] - 1.0).abs() < 1e-15);
    let sem = f.sem.unwrap();
    assert!((sem[0] - 0.2).abs() < 1e-15 && sem[1] < 1e-15);
    // The larger neighbouring weight, averaged: (0.8 + 0.6)/2 and (0.8 + 0.4)/2.
    assert!((f.bound[0] - 0.7).abs() < 1e-15 && (f.bound[1] - 0.6).abs() < 1e-15);
    let d = density(&s, &DensityOptions::on(Axis::Linear)).unwrap();
    assert!(d.sem.unwrap().iter().any(|&x| x > 0.0));
}

#[test]
fn one_probe_has_nan_bands_and_an_exact_spectrum_none() {
    let one = distribution(&quadrature(vec![probe(&[0.0], &[1.0])])).unwrap();
    assert!(one.sem.unwrap()[0].is_nan());
    let exact = distribution(&Spectrum::exact(vec![1.0, 1.0, 3.0])).unwrap();
    assert_eq!((exact.at.as_slice(), exact.sem, exact.bound), ([1.0, 3.0].as_slice(), None, vec![0.0; 2]));
    assert!((exact.mean[0] - 2.0 / 3.0).abs() < 1e-15);
}

#[test]
fn what_lies_at_zero_is_an_atom_and_the_rest_a_density() {
    let s = Spectrum::exact(vec![-1.0, 0.0, 1e-9, 0.5, 2.0]);
    let d = density(&s, &DensityOptions::on(Axis::Linear)).unwrap();
    assert!((d.atom.unwrap().mass.mean - 0.4).abs() < 1e-15 && (d.integral() - 0.6).abs() < 1e-8);
    let whole = density(&s, &DensityOptions { zero: -1.0, ..DensityOptions::on(Axis::Linear) }).unwrap();
    assert!(whole.atom.is_none() && (whole.integral() - 1.0).abs() < 1e-8);
    let two = quadrature(vec![probe(&[0.0, 1.0], &[0.2, 0.8]), probe(&[0.0, 1.0], &[0.6, 0.4])]);
    let atom = density(&two, &DensityOptions::on(Axis::Linear)).unwrap().atom.unwrap();
    assert!((atom.mass.mean - 0.4).abs() < 1e-15 && (atom.mass.sem - 0.2).abs() < 1e-15 && atom.tolerance == 1e-6);
    assert!(atom.band.0 < 0.4 && atom.band.1 > 0.6);
}

#[test]
fn distances_between_point_masses_are_known() {
    let (a, b) = (Spectrum::exact(vec![0.0, 0.0, 0.0, 4.0]), Spectrum::exact(vec![0.0, 0.0, 4.0, 4.0]));
    let d = cdf_distance(&a, &b).unwrap();
    assert_eq!((d.kolmogorov, d.wasserstein), (0.25, 1.0));
    let shifted = Spectrum::exact(vec![1.0, 1.0, 1.0, 5.0]);
    let d = cdf_distance(&a, &shifted).unwrap();
    assert_eq!((d.kolmogorov, d.wasserstein), (0.75, 1.0));
    assert_eq!(cdf_distance(&shifted, &a), Some(d));
}

#[test]
fn rounding_of_a_multiple_eigenvalue_is_no_distance() {
    let l: Vec<f64> = (0..50).map(|i| f64::from(i - 25) * 1e-17).chain([1.0, 2.0]).collect();
    let q = quadrature(vec![probe(&[3e-16, 1.0 - 1e-15, 2.0], &[50.0 / 52.0, 1.0 / 52.0, 1.0 / 52.0])]);
    let d = cdf_distance(&q, &Spectrum::exact(l)).unwrap();
    assert!(d.kolmogorov < 1e-14 && d.wasserstein < 1e-14, "{d:?}");
}

#[test]
fn distance_of_a_spectrum_to_itself_is_zero_and_nothing_has_no_picture() {
    let s = Spectrum::exact((0..9).map(f64::from).collect());
    assert_eq!(cdf_distance(&s, &s), Some(CdfDistance { kolmogorov: 0.0, wasserstein: 0.0 }));
    for bad in [quadrature(vec![]), quadrature(vec![probe(&[], &[])]), Spectrum::exact(vec![f64::NAN])] {
        assert!(density(&bad, &DensityOptions::on(Axis::Linear)).is_none());
        assert!(distribution(&bad).is_none() && cdf_distance(&s, &bad).is_none());
    }
}

#[test]
#[should_panic(expected = "a density of width 0")]
fn a_width_of_zero_is_refused() {
    let o = DensityOptions { width: Some(0.0), ..DensityOptions::on(Axis::Linear) };
    density(&Spectrum::exact(vec![1.0]), &o);
}
