//! Second moments against explicit gradients of single samples, and drawn ones against the Gauss–Newton matrix.

use eigenlens_autodiff::Order;
use eigenlens_linalg::operator::to_dense;
use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::init::Init;
use eigenlens_nets::objective::{Cut, Kind, Reduction};
use eigenlens_nets::spec::{LayerSpec, Weighting};
use eigenlens_nets::{Activation, Grouping, Loss, Model, ModelSpec, Samples};

use super::*;
use crate::block::{BlockOptions, Route};
use crate::estimate::Estimate;
use crate::operator::Block;
use crate::testing::{Case, cases, linearized, mixed, samples};

/// Two tokens of three values, with a label for each.
fn tokens() -> Case {
    let init = Init::XavierNormal { gain: 1.5 };
    let layers = vec![
        LayerSpec::linear("a", 4, true, init),
        LayerSpec::activation(Activation::Tanh),
        LayerSpec::linear("b", 3, true, init),
    ];
    let model = Model::new(&ModelSpec::new(&[2, 3], layers, Loss::CrossEntropy)).unwrap();
    let mut samples = samples(23, 6, 3, Loss::CrossEntropy);
    samples.y = (0..46).map(|i| ((i * 5 + 1) % 3) as f64).collect();
    Case { name: "tokens".into(), model, samples }
}

/// Networks of every loss and structure; the samples of the last have weights, of which one is 0.
fn all() -> Vec<Case> {
    let (model, samples) = mixed();
    let mut list = cases();
    list.push(Case { name: "mixed".into(), model, samples });
    list.push(tokens());
    let Case { model, mut samples, .. } = cases().swap_remove(0);
    let raw: Vec<f64> = (0..samples.n).map(|n| ((n * 5 + 3) % 4) as f64).collect();
    let mean = raw.iter().sum::<f64>() / samples.n as f64;
    samples.w = raw.iter().map(|w| w / mean).collect();
    list.push(Case { name: "weighted".into(), model, samples });
    list
}

/// ∂ℓ_n/∂θ of every sample alone, without the penalty.
fn gradients(model: &Model<f64>, samples: &Samples) -> Vec<Vec<f64>> {
    let theta = model.init(3);
    let (inputs, targets) = (model.features(), model.target_size());
    let one = |n: usize| {
        let x = samples.x[n * inputs..(n + 1) * inputs].to_vec();
        let single = Samples { n: 1, x, y: samples.y[n * targets..(n + 1) * targets].to_vec(), w: Vec::new() };
        let mut objective = Objective::new(model, &single, Reduction::Sum, Order::First, Cut::default()).unwrap();
        objective.linearize_with_gradient(&theta);
        let mut g = objective.gradient().to_vec();
        for (range, lambda) in model.penalized() {
            range.for_each(|i| g[i] -= lambda * theta[i]);
        }
        g
    };
    (0..samples.n).map(one).collect()
}

/// Σ w (g − shift)(g − shift)ᵀ of a part.
fn moment(samples: &Samples, gradients: &[Vec<f64>], part: &Part, centred: bool) -> Vec<f64> {
    let own: Vec<usize> = part.ranges.iter().cloned().flatten().collect();
    let p = own.len();
    let weight = |n: usize| samples.weight(n) / samples.n as f64;
    let mean: Vec<f64> =
        own.iter().map(|&i| (0..samples.n).map(|n| weight(n) * gradients[n][i]).sum::<f64>()).collect();
    let mut dense = vec![0.0; p * p];
    for (n, g) in gradients.iter().enumerate() {
        let g: Vec<f64> = own.iter().zip(&mean).map(|(&i, mean)| g[i] - if centred { *mean } else { 0.0 }).collect();
        for i in 0..p {
            (0..p).for_each(|j| dense[i * p + j] += weight(n) * g[i] * g[j]);
        }
    }
    dense
}

fn worst(a: &[f64], b: &[f64]) -> (f64, f64) {
    assert_eq!(a.len(), b.len());
    let difference = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    (difference, b.iter().fold(0.0, |m: f64, x| m.max(x.abs())))
}

fn groupings() -> [Grouping; 3] {
    [Grouping::Layer, Grouping::Network, Grouping::Head]
}

#[test]
fn moments_of_given_labels_are_those_of_explicit_gradients() {
    for Case { name, model, samples } in all() {
        let (objective, gradients) = (linearized(&model, &samples), gradients(&model, &samples));
        for part in groupings().iter().flat_map(|g| model.blocks(g).unwrap()) {
            for (kind, centred) in [(Moment::Given, false), (Moment::Centred, true)] {
                let fisher = Fisher::new(&objective, &part, kind).unwrap();
                let (difference, size) = worst(&to_dense(&fisher), &moment(&samples, &gradients, &part, centred));
                assert!(difference <= 1e-13 * size, "{name}, {}, {kind:?}: {difference:e} of {size:e}", part.name);
            }
        }
    }
}

#[test]
fn drawn_moments_have_the_gauss_newton_matrix_as_their_mean() {
    // vᵀFv over 400 seeds: the mean is a sum over 23 samples as well, close to normal; 4 errors, 7 · 3 · 2 fixed checks.
    for Case { name, model, samples } in all() {
        let objective = linearized(&model, &samples);
        let network = Part::network(&model);
        let g = Block::full(&objective, Kind::GaussNewton);
        let (p, penalized) = (model.len(), model.penalized());
        for index in 0..3 {
            let v = Distribution::Gaussian.probe(5, index, p);
            let mut y = vec![0.0; p];
            g.apply(1, &v, &mut y);
            let penalty: f64 = penalized.iter().map(|(r, l)| l * dot(&v[r.clone()], &v[r.clone()])).sum();
            let want = dot(&v, &y) - penalty;
            for draws in [1, 3] {
                let form = |seed| {
                    let fisher = Fisher::new(&objective, &network, Moment::Drawn { seed, draws }).unwrap();
                    let mut y = vec![0.0; p];
                    fisher.apply(1, &v, &mut y);
                    dot(&v, &y)
                };
                let found = Estimate::from_samples(&(0..400).map(form).collect::<Vec<_>>());
                assert!(found.relative() < 0.1, "{name}: {found}");
                assert!(found.deviation(want) <= 4.0, "{name}, {draws} draws: {found}, not {want:e}");
            }
        }
    }
}

#[test]
fn dense_and_gram_routes_give_the_same_spectrum() {
    for Case { name, model, samples } in all() {
        let objective = linearized(&model, &samples);
        for part in groupings().iter().flat_map(|g| model.blocks(g).unwrap()).filter(|p| p.len() > 23) {
            for kind in [Moment::Given, Moment::Centred, Moment::Drawn { seed: 4, draws: 1 }] {
                let of = |exact_max| {
                    let options = BlockOptions { exact_max, ..BlockOptions::default() };
                    block(&objective, &part, kind, &options).unwrap()
                };
                let (gram, dense) = (of(23), of(2100));
                assert_eq!(gram.route, Route::Gram);
                let size = dense.value("lambda_max").unwrap();
                for k in 0..part.len() {
                    let [a, b] = [&gram, &dense].map(|r| r.spectrum.largest(k).unwrap().value);
                    assert!((a - b).abs() <= 1e-13 * size, "{name}, {}, {kind:?}, {k}: {a} and {b}", part.name);
                    assert!(b >= -1e-13 * size, "{name}, {}: {b}", part.name);
                }
                // At most one gradient per sample, and their mean taken off.
                let rank = 23 - usize::from(kind == Moment::Centred);
                assert!(gram.spectrum.largest(rank).unwrap().value.abs() <= 1e-13 * size, "{name}, {}", part.name);
            }
        }
    }
}

#[test]
fn several_draws_fill_a_gram_matrix_of_their_own() {
    let Case { model, samples, .. } = cases().swap_remove(0);
    let objective = linearized(&model, &samples);
    let network = Part::network(&model);
    let kind = Moment::Drawn { seed: 1, draws: 2 };
    let of = |exact_max| {
        let options = BlockOptions { exact_max, ..BlockOptions::default() };
        block(&objective, &network, kind, &options).unwrap()
    };
    let (gram, dense) = (of(46), of(2100));
    assert_eq!((gram.route, dense.route), (Route::Gram, Route::DenseProducts));
    for key in ["trace", "lambda_max", "frobenius"] {
        let (a, b) = (gram.value(key).unwrap(), dense.value(key).unwrap());
        assert!((a - b).abs() <= 1e-12 * b, "{key}: {a} and {b}");
    }
}

#[test]
fn labels_and_products_are_the_same_bits_for_any_cut_and_number_of_threads() {
    let Case { model, samples, .. } = tokens();
    let network = Part::network(&model);
    let of = |threads, rows| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let cut = Cut { rows: Some(rows), groups: Some(2) };
            let mut objective = Objective::new(&model, &samples, Reduction::Mean, Order::Second, cut).unwrap();
            objective.linearize(&model.init(3));
            let fisher = Fisher::new(&objective, &network, Moment::Drawn { seed: 9, draws: 2 }).unwrap();
            (fisher.scores.clone(), to_dense(&fisher))
        })
    };
    let one = of(1, 9);
    assert!(one == of(2, 9));
    // Another cut adds in another order, but draws the same labels.
    let drawn = |scores: &[f64]| scores.iter().map(|r| *r < 0.0).collect::<Vec<_>>();
    assert_eq!(drawn(&one.0), drawn(&of(2, 5).0));
}

#[test]
fn class_weights_have_no_labels_to_draw_and_are_refused_with_the_way_out() {
    let Case { model, samples, .. } = cases().swap_remove(0);
    let weighting = Weighting { smoothing: 0.0, classes: vec![1.0, 2.0, 3.0] };
    let model = Model::new(&ModelSpec { weighting, ..model.spec().clone() }).unwrap();
    let objective = linearized(&model, &samples);
    let network = Part::network(&model);
    let error = Fisher::new(&objective, &network, Moment::Drawn { seed: 1, draws: 1 }).unwrap_err();
    assert!(error.to_string().contains("take the Gauss–Newton matrix"), "{error}");
    assert!(Fisher::new(&objective, &network, Moment::Given).is_ok());
}
