//! Tests of the quadrature: exactness to the stated degree, mass, bounds.

use super::*;
use crate::lanczos::testing::{Prescribed, multiple_of_identity};
use crate::lanczos::{Options, lanczos};
use crate::operator::{DenseOperator, LinearOperator};
use crate::probes::Distribution;
use proptest::prelude::*;

use crate::testing::config;

/// The exact integral for a diagonal operator: Σ c_i² f(d_i) / Σ c_i².
fn exact(d: &[f64], c: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    let mass: f64 = c.iter().map(|c| c * c).sum();
    d.iter().zip(c).map(|(&d, c)| c * c * f(d)).sum::<f64>() / mass
}

#[test]
fn gauss_is_exact_to_degree_2m_minus_1_and_not_beyond() {
    let n = 40;
    let d: Vec<f64> = (0..n).map(|i| (i as f64 * 0.7).sin()).collect();
    let a = DenseOperator::diagonal(&d);
    let c = Distribution::Gaussian.probe(1, 0, n);
    for m in [1, 2, 5, 9] {
        let q = lanczos(&a, &c, &Options::steps(m)).quadrature().unwrap();
        assert_eq!(q.len(), m);
        for k in 0..2 * m as i32 {
            let want = exact(&d, &c, |x| x.powi(k));
            assert!((q.moment(k) - want).abs() < 1e-14 * m as f64, "m = {m}, k = {k}: {} {want}", q.moment(k));
        }
        let k = 2 * m as i32;
        assert!((q.moment(k) - exact(&d, &c, |x| x.powi(k))).abs() > 1e-10, "m = {m}: exact beyond its degree?");
    }
}

#[test]
fn radau_is_exact_to_degree_2m_and_has_its_node() {
    let n = 40;
    let d: Vec<f64> = (0..n).map(|i| 1.0 + (i as f64 * 0.7).sin()).collect();
    let a = DenseOperator::diagonal(&d);
    let c = Distribution::Gaussian.probe(1, 0, n);
    for m in [1, 2, 5] {
        let run = lanczos(&a, &c, &Options::steps(m));
        for node in [-0.5, 2.5] {
            let q = Quadrature::radau(&run.tridiagonal(), run.beta(), node).unwrap();
            assert_eq!(q.len(), m + 1);
            let nearest = q.nodes.iter().map(|x| (x - node).abs()).fold(f64::MAX, f64::min);
            assert!(nearest < 1e-14, "m = {m}: {:?}", q.nodes);
            for k in 0..=2 * m as i32 {
                let want = exact(&d, &c, |x| x.powi(k));
                assert!((q.moment(k) - want).abs() < 1e-13 * want.abs().max(1.0), "m = {m}, k = {k}");
            }
        }
    }
}

/// log and 1/t on a positive spectrum: Gauss and Radau with the node below enclose the integral and tighten.
#[test]
fn gauss_and_radau_enclose_logarithm_and_inverse() {
    let n = 60;
    let d: Vec<f64> = (0..n).map(|i| 0.01 + (i as f64 / n as f64).powi(2)).collect();
    let a = DenseOperator::diagonal(&d);
    let c = Distribution::Rademacher.probe(1, 0, n);
    let (log, inverse) = (exact(&d, &c, f64::ln), exact(&d, &c, f64::recip));
    let mut width = f64::MAX;
    for m in [2, 4, 8, 12] {
        let run = lanczos(&a, &c, &Options::steps(m));
        let gauss = run.quadrature().unwrap();
        let radau = Quadrature::radau(&run.tridiagonal(), run.beta(), 0.005).unwrap();
        assert!(gauss.integrate(f64::ln) >= log && radau.integrate(f64::ln) <= log, "m = {m}");
        assert!(gauss.integrate(f64::recip) <= inverse && radau.integrate(f64::recip) >= inverse, "m = {m}");
        let now = gauss.integrate(f64::ln) - radau.integrate(f64::ln);
        assert!(now < width);
        width = now;
    }
}

#[test]
fn radau_refuses_a_node_inside_the_spectrum() {
    let t = Tridiagonal::new(vec![1.0, 3.0], vec![0.5]);
    assert_eq!(Quadrature::radau(&t, 0.1, 2.0), Err(QuadratureError::NodeInside(2.0)));
    let t = Tridiagonal::new(vec![1.0], vec![]);
    assert_eq!(Quadrature::radau(&t, 0.1, 1.0), Err(QuadratureError::NodeInside(1.0)));
}

#[test]
fn radau_of_an_invariant_space_is_the_gauss_rule() {
    let run = lanczos(&multiple_of_identity(5, 2.0), &[1.0; 5], &Options::steps(3));
    let q = Quadrature::radau(&run.tridiagonal(), run.beta(), 0.0).unwrap();
    assert_eq!((q.nodes.len(), q.weights), (1, vec![1.0]));
}

#[test]
fn weights_are_masses_of_eigenspaces_when_the_space_is_invariant() {
    // Masses 1/4, 1/4, 1/2 at 0, 1, 5, whatever the multiplicities.
    let a = DenseOperator::diagonal(&[0.0, 1.0, 5.0, 5.0]);
    let q = lanczos(&a, &[1.0; 4], &Options::steps(4)).quadrature().unwrap();
    for (i, (node, weight)) in [(0.0, 0.25), (1.0, 0.25), (5.0, 0.5)].into_iter().enumerate() {
        assert!((q.nodes[i] - node).abs() < 1e-14 && (q.weights[i] - weight).abs() < 1e-14, "{q:?}");
    }
}

#[test]
fn no_steps_give_an_empty_rule() {
    let q = Quadrature::gauss(&Tridiagonal::default()).unwrap();
    assert!(q.is_empty() && q.integrate(|_| 1.0) == 0.0);
    assert_eq!(q.distribution_bounds(0.0), (0.0, 0.0));
}

#[test]
fn nan_is_an_error() {
    let t = Tridiagonal::new(vec![f64::NAN], vec![]);
    assert!(matches!(Quadrature::gauss(&t), Err(QuadratureError::Eigenvalues(_))));
}

/// SLQ, the point of it all: E over Rademacher probes of n ∫ f dμ is tr f(A). Four standard errors at a fixed seed.
#[test]
fn the_mean_over_probes_estimates_the_trace() {
    let n = 200;
    let a = Prescribed::new((0..n).map(|i| 1.0 + i as f64 / n as f64).collect(), 8);
    let want: f64 = a.spectrum.iter().map(|x| x.ln()).sum();
    let samples: Vec<f64> = (0..20)
        .map(|i| {
            let run = lanczos(&a, &Distribution::Rademacher.probe(3, i, n), &Options::steps(15));
            n as f64 * run.quadrature().unwrap().integrate(f64::ln)
        })
        .collect();
    let mean = samples.iter().sum::<f64>() / 20.0;
    let variance = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 19.0;
    assert!((mean - want).abs() < 4.0 * (variance / 20.0).sqrt(), "{mean} ± {} {want}", (variance / 20.0).sqrt());
}

/// The canonical rule has its node, is exact to degree 2m − 2, and bounds the distribution function within what the Gauss
/// nodes say; at a Gauss node it is the Gauss rule.
#[test]
fn the_rule_through_a_place_is_exact_and_bounds_the_distribution_there() {
    let n = 40;
    let d: Vec<f64> = (0..n).map(|i| (i as f64 * 0.7).sin()).collect();
    let a = DenseOperator::diagonal(&d);
    let c = Distribution::Gaussian.probe(1, 0, n);
    for m in [1, 2, 5, 9] {
        let run = lanczos(&a, &c, &Options::steps(m));
        let (matrix, gauss) = (run.tridiagonal(), run.quadrature().unwrap());
        for t in (-30..30).map(|i| f64::from(i) * 0.0411) {
            let Some(rule) = matrix.canonical(t) else { continue };
            assert!(rule.nodes.iter().any(|x| (x - t).abs() < 1e-11), "m = {m}, t = {t}: {:?}", rule.nodes);
            for k in 0..(2 * m as i32 - 1) {
                let (got, want) = (rule.moment(k), exact(&d, &c, |x| x.powi(k)));
                let far = rule.nodes.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
                assert!((got - want).abs() < 1e-12 * far.powi(k), "m = {m}, t = {t}, k = {k}: {got} {want}");
            }
            let (low, high) = matrix.cdf_bounds(t).unwrap();
            let want = exact(&d, &c, |x| f64::from(u8::from(x <= t)));
            assert!(low <= want + 1e-12 && want <= high + 1e-12, "m = {m}, t = {t}: {low} {want} {high}");
            let (lower, upper) = gauss.distribution_bounds(t);
            assert!(lower <= low + 1e-12 && high <= upper + 1e-12, "m = {m}, t = {t}");
        }
        let node = gauss.nodes[m / 2];
        let (low, high) = matrix.cdf_bounds(node).unwrap();
        assert!((high - low - gauss.weights[m / 2]).abs() < 1e-9, "m = {m}");
    }
    assert!(Tridiagonal::default().canonical(0.0).is_none());
}

#[test]
fn a_rule_gives_its_matrix_back() {
    let a = Prescribed::new((0..60).map(|i| f64::from(i * i) / 900.0 - 1.0).collect(), 3);
    let run = lanczos(&a, &Distribution::Rademacher.probe(3, 0, 60), &Options::steps(12));
    let (t, back) = (run.tridiagonal(), run.quadrature().unwrap().tridiagonal(12).unwrap());
    let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(near(&t.alpha, &back.alpha) && near(&t.beta, &back.beta), "{t:?} {back:?}");
    assert_eq!(run.quadrature().unwrap().tridiagonal(5).unwrap().order(), 5);
    assert!(Quadrature::default().tridiagonal(3).is_none());
}

proptest! {
    #![proptest_config(config(256))]

    /// The distribution function of the measure lies within the bounds at every point; the mass is 1, no weight negative.
    #[test]
    fn distribution_bounds_enclose(
        spectrum in prop::collection::vec(-3.0f64..3.0, 1..40), seed in 0u64..1000, m in 1usize..12, t in -3.5f64..3.5
    ) {
        let c = Distribution::Gaussian.probe(seed, 0, spectrum.len());
        let a = DenseOperator::diagonal(&spectrum);
        prop_assert_eq!(a.dim(), c.len());
        let q = lanczos(&a, &c, &Options::steps(m)).quadrature().unwrap();
        prop_assert!((q.weights.iter().sum::<f64>() - 1.0).abs() < 1e-15 * 40.0);
        prop_assert!(q.weights.iter().all(|w| *w >= 0.0) && q.nodes.is_sorted());
        let want = exact(&spectrum, &c, |x| f64::from(u8::from(x <= t)));
        let (low, high) = q.distribution_bounds(t);
        prop_assert!(low <= want + 1e-12 && want <= high + 1e-12, "{low} {want} {high}");
    }
}
