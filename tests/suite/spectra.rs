//! Quadratures, densities and extreme pairs of networks against their dense spectra.

use eigenlens_hessian::block::{BlockOptions, analyze_block};
use eigenlens_hessian::density::{Axis, DensityOptions, density};
use eigenlens_hessian::hutchinson::{HutchinsonOptions, hutchinson};
use eigenlens_hessian::operator::Block;
use eigenlens_hessian::slq::{SlqOptions, slq};
use eigenlens_hessian::spectrum::Spectrum;
use eigenlens_linalg::eigs::{End, Options, eigs};
use eigenlens_linalg::lanczos::{Options as Steps, lanczos};
use eigenlens_linalg::operator::{Combination, DenseOperator, to_dense};
use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::{LinearOperator, dense};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Activation, Loss};
use proptest::prelude::*;

use crate::nets::{Net, any_net, apply, close, config, largest, linearized, mlp};
use crate::operators::Reflected;

fn tanh() -> Net {
    mlp(&[6, 9, 8, 4], Activation::Tanh, Loss::CrossEntropy, 40)
}

/// xᵀ A^k x by k products.
fn moment(a: &dyn LinearOperator, x: &[f64], k: usize) -> f64 {
    let y = (0..k).fold(x.to_vec(), |y, _| apply(a, 1, &y));
    x.iter().zip(&y).map(|(x, y)| x * y).sum()
}

#[test]
fn m_step_quadratures_are_exact_for_polynomials_of_degree_2m_minus_1() {
    let net = tanh();
    let (model, samples) = (net.model::<f64>(), net.samples());
    let objective = linearized(&model, &samples, &net.theta(), net.cut);
    for (kind, index) in [(Kind::Hessian, 0), (Kind::Hessian, 1), (Kind::GaussNewton, 2)] {
        let a = Block::layer(&objective, index, kind);
        let v = Distribution::Sphere.probe(1, 0, a.dim());
        let top = eigs(&a, &Options::new(1, End::Both)).scale;
        for m in 1..=6 {
            let rule = lanczos(&a, &v, &Steps::steps(m)).quadrature().unwrap();
            for k in 0..2 * m {
                let size = top.powi(k as i32);
                close(&format!("{m} steps, degree {k}"), &[rule.moment(k as i32)], &[moment(&a, &v, k)], 1e-13 * size);
            }
            // And not beyond: the error of degree 2m is the square of the product of all β.
            assert!((rule.moment(2 * m as i32) - moment(&a, &v, 2 * m)).abs() > 1e-12 * top.powi(2 * m as i32));
        }
    }
}

#[test]
fn quadratures_of_as_many_steps_as_dimensions_are_the_spectral_measure() {
    let net = mlp(&[3, 4, 3], Activation::Softplus, Loss::Mse, 20);
    let (model, samples) = (net.model::<f64>(), net.samples());
    let objective = linearized(&model, &samples, &net.theta(), net.cut);
    let a = Block::full(&objective, Kind::Hessian);
    let n = a.dim();
    let e = dense::eigen(n, &to_dense(&a)).unwrap();
    let v = Distribution::Sphere.probe(2, 0, n);
    let rule = lanczos(&a, &v, &Steps::steps(n)).quadrature().unwrap();
    let measure = |t: f64| -> f64 {
        let weight = |i: usize| e.vector(i).iter().zip(&v).map(|(e, v)| e * v).sum::<f64>().powi(2);
        (0..n).filter(|&i| e.values[i] <= t).map(weight).sum()
    };
    for t in [-0.2, -0.05, -0.01, 0.01, 0.05, 0.2, 0.5] {
        let found: f64 = rule.nodes.iter().zip(&rule.weights).filter(|(x, _)| **x <= t).map(|(_, w)| w).sum();
        close(&format!("F({t})"), &[found], &[measure(t)], 1e-9);
    }
}

proptest! {
    #![proptest_config(config(48))]

    /// Six standard errors of 64 probes, whose squares are skewed, miss less than once in 10,000; the seed is fixed.
    #[test]
    fn moments_of_quadratures_are_trace_and_norm(net in any_net()) {
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        let a = Block::full(&objective, Kind::Hessian);
        let (n, h) = (a.dim(), to_dense(&a));
        let options = SlqOptions { probes: 64, steps: 3, seed: net.seed, ..SlqOptions::default() };
        let result = slq(&a, &options).unwrap();
        for q in &result.quadratures {
            prop_assert!((q.weights.iter().sum::<f64>() - 1.0).abs() < 1e-14 && q.weights.iter().all(|w| *w >= 0.0));
        }
        let trace: f64 = (0..n).map(|i| h[i * n + i]).sum();
        let square: f64 = h.iter().map(|x| x * x).sum();
        let scale = largest(&h);
        let (first, second) = (result.trace_of(|x| x), result.trace_of(|x| x * x));
        prop_assert!((first.mean - trace).abs() <= 6.0 * first.sem + 1e-12 * scale * n as f64, "{first}, not {trace}");
        prop_assert!((second.mean - square).abs() <= 6.0 * second.sem + 1e-12 * scale * scale * n as f64, "{second}, not {square}");
        // Rademacher probes of the quadrature are those of Hutchinson's estimator: the same numbers by another way.
        let h = hutchinson(&a, &HutchinsonOptions { probes: 64, seed: net.seed, ..Default::default() });
        close("trace", &[first.mean], &[h.trace.mean], 1e-12 * scale * n as f64);
        if result.quadratures.iter().all(|q| q.nodes.len() > 1) {
            close("norm", &[second.mean], &[h.frobenius_squared.mean], 1e-11 * scale * scale * (n * n) as f64);
        }
    }

    #[test]
    fn extreme_pairs_of_networks_are_the_dense_ones(net in any_net(), k in 1usize..=4) {
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        for kind in crate::nets::KINDS {
            let a = Block::full(&objective, kind);
            let values = dense::eigenvalues(a.dim(), &to_dense(&a)).unwrap();
            let k = k.min(a.dim());
            for (end, want) in [
                (End::Largest, values.iter().rev().take(k).copied().collect::<Vec<f64>>()),
                (End::Smallest, values.iter().take(k).rev().copied().collect()),
            ] {
                let options = Options { dense_up_to: 0, seed: net.seed, ..Options::new(k, end) };
                let found = eigs(&a, &options);
                // The lower end of a low rank matrix is a crowd of zeros; without the dense way out the search may give up
                // there, but not claim to have converged.
                if found.stop.is_success() {
                    close(&format!("{kind:?} {end:?}"), &found.values, &want, 1e-9 * largest(&values));
                }
                prop_assert!(found.stop.is_success() || end == End::Smallest, "{kind:?} {end:?}");
                for i in 0..found.values.len() {
                    let (low, high) = found.interval(i);
                    prop_assert!(values.iter().any(|x| (low..=high).contains(x)), "{} in neither", found.values[i]);
                }
                // With it, it converges always.
                let found = eigs(&a, &Options { seed: net.seed, ..Options::new(k, end) });
                prop_assert!(found.stop.is_success());
                close(&format!("{kind:?} {end:?} dense"), &found.values, &want, 1e-11 * largest(&values));
            }
        }
    }

    #[test]
    fn metrics_by_quadrature_are_the_exact_ones_within_their_errors(net in any_net()) {
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        let a = Block::full(&objective, Kind::Hessian);
        let exact = analyze_block("exact", &a, None, &BlockOptions::default()).unwrap();
        // Gaussian probes of as many steps as dimensions: the only error is that of the probes.
        let slq = SlqOptions { probes: 24, steps: a.dim(), seed: net.seed, distribution: Distribution::Gaussian, ..SlqOptions::default() };
        let options = BlockOptions { exact_max: 0, top: 2, slq, ..BlockOptions::default() };
        let krylov = analyze_block("krylov", &a, None, &options).unwrap();
        for key in ["trace", "frobenius", "nuclear", "negative_mass", "lambda_max", "lambda_min"] {
            let (Some(want), Some(found)) = (exact.value(key), krylov.get(key)) else {
                prop_assert!(exact.value(key).is_none() == krylov.get(key).is_none(), "{key} is known by one route only");
                continue;
            };
            let error = found.uncertainty.map_or(0.0, |u| u.size());
            let slack = 1e-9 * exact.value("frobenius").unwrap().max(1e-12);
            // Ratios are biased by the square of the error, roots of probes are skewed: six standard errors and a bit.
            prop_assert!((found.value - want).abs() <= 6.0 * error + slack + 0.02 * want.abs() * f64::from(u8::from(error > 0.0)),
                "{key}: {} ± {error}, exactly {want}", found.value);
        }
    }
}

#[test]
fn the_quadrature_of_a_layer_agrees_with_its_exact_spectrum() {
    // First and second moments within 3 standard errors (0.3 % each for so many probes), and the distance stated.
    let net = mlp(&[12, 16, 10, 5], Activation::Tanh, Loss::CrossEntropy, 120);
    let (model, samples) = (net.model::<f64>(), net.samples());
    let objective = linearized(&model, &samples, &net.theta(), net.cut);
    for index in 0..model.layers().len() {
        let a = Block::layer(&objective, index, Kind::Hessian);
        let values = dense::eigenvalues(a.dim(), &to_dense(&a)).unwrap();
        let result = slq(&a, &SlqOptions { probes: 60, steps: 60, seed: 5, ..SlqOptions::default() }).unwrap();
        for k in 1..=2 {
            let want = values.iter().map(|x| x.powi(k)).sum::<f64>() / values.len() as f64;
            let found = result.moment(k);
            assert!(found.deviation(want) <= 3.0, "layer {index}, moment {k}: {found}, not {want}");
        }
        let distance = result.cdf_distance(&values).unwrap();
        // A staircase of few steps is far from another one by about the height of its largest step, here that of the
        // crowd near zero.
        assert!(distance.kolmogorov < 0.15 && distance.wasserstein < 0.01 * largest(&values), "{distance:?}");
    }
}

#[test]
fn more_probes_come_closer_to_the_exact_distribution() {
    let a = Reflected::new((0..400).map(|i| (f64::from(i) * 0.37).sin().powi(3)).collect());
    let distance = |probes| {
        let options =
            SlqOptions { probes, steps: 100, seed: 2, distribution: Distribution::Gaussian, ..SlqOptions::default() };
        slq(&a, &options).unwrap().cdf_distance(&a.spectrum).unwrap().wasserstein
    };
    // Errors fall like 1/√probes: 64 times as many make about 1/8.
    assert!(distance(128) < 0.4 * distance(2), "{} and {}", distance(128), distance(2));
}

#[test]
fn densities_hold_all_their_mass_on_either_axis() {
    let net = tanh();
    let (model, samples) = (net.model::<f64>(), net.samples());
    let objective = linearized(&model, &samples, &net.theta(), net.cut);
    let a = Block::full(&objective, Kind::Hessian);
    let quadrature = slq(&a, &SlqOptions::default()).unwrap().spectrum();
    let exact = Spectrum::exact(dense::eigenvalues(a.dim(), &to_dense(&a)).unwrap());
    for spectrum in [quadrature, exact] {
        for axis in [Axis::signed_log(&spectrum), Axis::Linear] {
            let density = density(&spectrum, &DensityOptions::on(axis)).unwrap();
            assert!((density.mass() - 1.0).abs() < 1e-6, "{}", density.mass());
        }
    }
}

#[test]
fn damped_and_combined_operators_shift_and_add_spectra() {
    let net = tanh();
    let (model, samples) = (net.model::<f64>(), net.samples());
    let objective = linearized(&model, &samples, &net.theta(), net.cut);
    let (h, g) = (Block::full(&objective, Kind::Hessian), Block::full(&objective, Kind::GaussNewton));
    let residual = Combination::difference(&h, &g);
    let damped = Combination::new(vec![(2.0, &h)], 0.5);
    let p = h.dim();
    let (dense_h, dense_g) = (to_dense(&h), to_dense(&g));
    let want: Vec<f64> = dense_h.iter().zip(&dense_g).map(|(h, g)| h - g).collect();
    close("T = H − G", &to_dense(&residual), &want, 1e-14 * largest(&dense_h));
    let tensor = Block::full(&objective, Kind::Tensor);
    close("T in one sweep", &to_dense(&tensor), &want, 1e-14 * largest(&dense_h));
    let values = dense::eigenvalues(p, &dense_h).unwrap();
    let shifted: Vec<f64> = values.iter().map(|x| 2.0 * x + 0.5).collect();
    close("2H + ½", &dense::eigenvalues(p, &to_dense(&damped)).unwrap(), &shifted, 1e-12);
}

#[test]
fn traces_stop_when_they_are_sure_enough() {
    let net = tanh();
    let (model, samples) = (net.model::<f64>(), net.samples());
    let objective = linearized(&model, &samples, &net.theta(), net.cut);
    let a = Block::full(&objective, Kind::GaussNewton);
    let (n, dense) = (a.dim(), to_dense(&a));
    let trace: f64 = (0..n).map(|i| dense[i * n + i]).sum();
    for rel_err in [0.2, 0.1, 0.05] {
        let o = HutchinsonOptions { probes: 5000, rel_err: Some(rel_err), seed: 1, ..Default::default() };
        let found = hutchinson(&a, &o);
        assert!(found.trace.sem <= rel_err * found.trace.mean);
        assert!((found.trace.mean - trace).abs() <= 4.0 * found.trace.sem, "{} and {trace}", found.trace);
    }
}

#[test]
fn diagonals_are_estimated_with_their_errors() {
    let a = DenseOperator::new(3, vec![2.0, 1.0, 0.0, 1.0, 3.0, -1.0, 0.0, -1.0, 4.0]);
    let found = hutchinson(&a, &HutchinsonOptions { probes: 400, diagonal: true, ..Default::default() });
    let d = found.diagonal.unwrap();
    for (i, want) in [2.0, 3.0, 4.0].into_iter().enumerate() {
        assert!((d.mean[i] - want).abs() <= 4.0 * d.sem[i], "entry {i}: {} ± {}", d.mean[i], d.sem[i]);
    }
}
