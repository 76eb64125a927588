//! Enclosures for every number of steps, exact cases, and operators that break others.

use eigenlens_linalg::lanczos::lanczos;
use eigenlens_linalg::operator::DenseOperator;
use eigenlens_linalg::tridiagonal::Tridiagonal;
use proptest::prelude::*;

use crate::testing::config;

use super::*;
use crate::slq::tests::rotated;

const LOG: SpectralFunction = SpectralFunction::LogDet { damping: 0.01 };
const DIMENSION: SpectralFunction = SpectralFunction::EffectiveDimension { damping: 0.1 };

fn total(l: &[f64], f: SpectralFunction) -> f64 {
    l.iter().map(|&x| f.at(x)).sum()
}

/// vᵀf(A)v/vᵀv for a diagonal A.
fn exact(l: &[f64], v: &[f64], f: SpectralFunction) -> f64 {
    let mass: f64 = v.iter().map(|v| v * v).sum();
    l.iter().zip(v).map(|(&l, v)| v * v * f.at(l)).sum::<f64>() / mass
}

proptest! {
    #![proptest_config(config(256))]

    /// Spectra with zeros (a semidefinite operator of deficient rank), any start, any number of steps.
    #[test]
    fn brackets_hold_the_exact_value_for_every_number_of_steps(
        l in prop::collection::vec(prop_oneof![Just(0.0), 0.0f64..3.0, Just(1.0)], 1..30), m in 1usize..34, seed in 0u64..1000,
        damping in 1e-6f64..1.0
    ) {
        let v = Distribution::Gaussian.probe(seed, 0, l.len());
        let run = lanczos(&DenseOperator::diagonal(&l), &v, &Options::steps(m));
        for f in [SpectralFunction::LogDet { damping }, SpectralFunction::EffectiveDimension { damping }] {
            let (low, high) = enclosure(&run, f).unwrap();
            let want = exact(&l, &v, f);
            prop_assert!(low <= want && want <= high, "{f:?} {m}: {low} {want} {high}");
        }
        for k in 0..2 * m.min(4) as u32 {
            let (low, high) = enclosure(&run, SpectralFunction::Power(k)).unwrap();
            let want = exact(&l, &v, SpectralFunction::Power(k));
            prop_assert!(low <= want && want <= high, "power {k} {m}: {low} {want} {high}");
            prop_assert!(high - low <= 1e-12 * 3f64.powi(k as i32 + 1));
        }
    }
}

#[test]
fn the_bracket_narrows_with_steps_and_the_error_of_the_probes_does_not() {
    let l: Vec<f64> = (0..200).map(|i| (f64::from(i) / 200.0).powi(4)).collect();
    let a = rotated(&l);
    let mut before = f64::INFINITY;
    let mut sems = Vec::new();
    for steps in [4, 10, 30, 80] {
        let e = trace_of_function(&a, LOG, &FunctionOptions { probes: 10, steps, ..Default::default() }).unwrap();
        assert!(e.quadrature_error() < before && e.quadrature_error() > 0.0, "{steps} steps: {e:?}");
        before = e.quadrature_error();
        sems.push(e.value.sem);
        let (low, high) = e.interval(0.999);
        assert!(low < total(&l, LOG) && total(&l, LOG) < high, "{steps} steps: {low} {high}");
    }
    assert!(before < 1e-6 && sems[3] > 0.5 * sems[1] && sems[3] > 1e-2, "{before:e} {sems:?}");
}

/// Mutant: a Radau node inside the spectrum is refused, and one above it is no lower bound.
#[test]
fn a_node_inside_or_above_the_spectrum_would_not_do() {
    let l: Vec<f64> = (0..40).map(|i| 0.1 + f64::from(i) / 40.0).collect();
    let v = Distribution::Gaussian.probe(2, 0, 40);
    let run = lanczos(&DenseOperator::diagonal(&l), &v, &Options::steps(4));
    let t: Tridiagonal = run.tridiagonal();
    let inside = 0.5 * (t.eigenvalues().unwrap()[0] + t.eigenvalues().unwrap()[1]);
    assert_eq!(Quadrature::radau(&t, run.beta(), inside), Err(QuadratureError::NodeInside(inside)));
    let above = Quadrature::radau(&t, run.beta(), 1.2).unwrap().integrate(|x| LOG.at(x));
    assert!(above > exact(&l, &v, LOG));
    // An operator with an eigenvalue below the node that four steps don't see: the bound is none, and more steps tell.
    let mut l = l;
    l[0] = -0.005;
    let a = DenseOperator::diagonal(&l);
    let e = trace_of_function(&a, LOG, &FunctionOptions::default()).unwrap_err();
    assert!(matches!(e, EstimatorError::NotPositive { pivot } if pivot < 0.0), "{e}");
}

#[test]
fn nuclear_norm_and_powers_agree_with_the_spectrum() {
    let l: Vec<f64> = (0..60).map(|i| (f64::from(i) * 0.7).sin() * 2.0).collect();
    let a = rotated(&l);
    let o = FunctionOptions { probes: 40, steps: 60, ..Default::default() };
    let e = trace_of_function(&a, SpectralFunction::Nuclear, &o).unwrap();
    assert!(e.bracket.is_none() && e.quadrature_error().is_nan());
    assert!(e.value.deviation(total(&l, SpectralFunction::Nuclear)) < 3.5, "{e:?}");
    for k in [1, 2, 3, 8] {
        let f = SpectralFunction::Power(k);
        // One step is asked for; as many as the degree needs are made.
        let e = trace_of_function(&a, f, &FunctionOptions { steps: 1, ..o }).unwrap();
        assert_eq!(e.products, 40 * (k as usize / 2 + 1));
        assert!(e.value.deviation(total(&l, f)) < 3.5 && e.quadrature_error() < 1e-10 * e.value.mean.abs().max(1.0));
    }
}

#[test]
fn adaptive_runs_reach_their_error_or_say_that_they_could_not() {
    let l: Vec<f64> = (0..100).map(|i| (f64::from(i) / 100.0).powi(6)).collect();
    let a = rotated(&l);
    let o = FunctionOptions { probes: 2000, steps: 100, rel_err: Some(0.02), ..Default::default() };
    for f in [LOG, DIMENSION, SpectralFunction::Power(2)] {
        let e = trace_of_function(&a, f, &o).unwrap();
        assert!(e.stop == Stop::Converged && e.value.relative() <= 0.02, "{f:?}: {e:?}");
        assert!(e.quadrature_error() <= 0.002 * e.value.mean.abs() && e.value.samples < 2000, "{f:?}: {e:?}");
        let (low, high) = e.interval(0.999);
        assert!(low < total(&l, f) && total(&l, f) < high, "{f:?}: {low} {high}");
    }
    let e = trace_of_function(&a, LOG, &FunctionOptions { steps: 2, probes: 24, ..o }).unwrap();
    assert_eq!(e.stop, Stop::MaxSteps);
}

#[test]
fn lanes_and_threads_change_no_bit() {
    let a = rotated(&(0..50).map(|i| f64::from(i % 7)).collect::<Vec<_>>());
    let run = |lanes: Option<usize>| {
        let o = FunctionOptions { probes: 19, steps: 40, rel_err: Some(1e-3), lanes, ..Default::default() };
        format!("{:?}", [LOG, DIMENSION, SpectralFunction::Nuclear].map(|f| trace_of_function(&a, f, &o)))
    };
    let one = run(Some(1));
    for lanes in [Some(2), Some(5), None] {
        assert_eq!(run(lanes), one, "{lanes:?}");
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert_eq!(pool.install(|| run(Some(4))), one);
}

#[test]
fn identity_zero_and_rank_one_are_exact_and_nan_is_an_error() {
    for l in [vec![1.0; 9], vec![0.0; 9], vec![2.0]] {
        let e = trace_of_function(&rotated(&l), LOG, &FunctionOptions::default()).unwrap();
        let (low, high) = e.bracket.unwrap();
        assert!((e.value.mean - total(&l, LOG)).abs() < 1e-11 && e.quadrature_error() < 1e-10, "{e:?}");
        assert!(low.mean <= total(&l, LOG) && total(&l, LOG) <= high.mean && e.value.sem < 1e-12, "{e:?}");
    }
    let mut l = vec![0.0; 20];
    l[0] = 3.0;
    let e = trace_of_function(&rotated(&l), DIMENSION, &FunctionOptions { probes: 30, ..Default::default() }).unwrap();
    assert!(e.value.deviation(3.0 / 3.1) < 3.5 && e.quadrature_error() < 1e-11, "{e:?}");
    let e = trace_of_function(&DenseOperator::diagonal(&[1.0, f64::NAN]), LOG, &FunctionOptions::default());
    assert_eq!(e, Err(EstimatorError::NonFiniteStep { probe: 0, step: 1 }));
}

#[test]
fn a_damping_below_rounding_is_refused_with_the_least() {
    let f = SpectralFunction::LogDet { damping: 1e-16 };
    let e = trace_of_function(&DenseOperator::diagonal(&[1.0, 0.0]), f, &FunctionOptions::default()).unwrap_err();
    assert!(matches!(e, EstimatorError::Damping { least, .. } if least > 1e-16 && least < 1e-13), "{e}");
}

#[test]
#[should_panic(expected = "δ must be positive")]
fn a_damping_of_zero_is_refused() {
    let f = SpectralFunction::LogDet { damping: 0.0 };
    let _ = trace_of_function(&DenseOperator::diagonal(&[1.0]), f, &FunctionOptions::default());
}
