//! The closed form against products, a network of one layer and second differences; facts of structure; what has no local
//! Hessian.

use eigenlens_linalg::operator::to_dense;
use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::init::Init;
use eigenlens_nets::spec::LayerSpec;
use eigenlens_nets::zoo::{Family, Norm, Options, Task};
use eigenlens_nets::{Loss, ModelSpec, Samples};
use proptest::prelude::*;

use crate::testing::config;

use super::*;
use crate::block::Route;
use crate::kronecker::{Tile, assemble_tile};
use crate::operator::Block;
use crate::testing::{linearized, mixed, samples};

const ACTIVATIONS: [Activation; 4] = [Activation::Tanh, Activation::Relu, Activation::Softplus, Activation::Gelu];

fn network(sizes: &[usize], activation: Activation, bias: bool) -> Model<f64> {
    let mut spec = ModelSpec::mlp(sizes, activation, Init::XavierNormal { gain: 1.5 }, Loss::Mse);
    for layer in &mut spec.layers {
        if let LayerKind::Linear { bias: has, .. } = &mut layer.kind {
            *has = bias;
        }
    }
    Model::new(&spec).unwrap()
}

fn worst(a: &[f64], b: &[f64]) -> (f64, f64) {
    assert_eq!(a.len(), b.len());
    let difference = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    (difference, b.iter().fold(0.0, |m: f64, x| m.max(x.abs())))
}

proptest! {
    #![proptest_config(config(12))]

    /// Of every activation and φ at any size: the block that is assembled from M_n in closed form and the one made of products.
    #[test]
    fn the_closed_form_is_the_general_route(
        n in 1usize..12, inputs in 1usize..6, units in 1usize..6, outputs in 1usize..4, bias: bool,
    ) {
        for activation in ACTIVATIONS {
            let model = network(&[inputs, units, outputs], activation, bias);
            let samples = samples(n, inputs, outputs, Loss::Mse);
            let objective = linearized(&model, &samples);
            for (part, head) in model.layer_blocks().iter().flat_map(|p| Head::ALL.map(|h| (p, h))) {
                let local = Local::new(&model, part, head).unwrap();
                let here = local.objective(&objective);
                let tile = Tile::of(local.model(), local.part()).unwrap();
                for kind in [Kind::Hessian, Kind::GaussNewton, Kind::Tensor] {
                    prop_assert!(closed_form(&here, tile.layer, &tile.units, kind).is_some());
                    let products = to_dense(&Block::part(&here, local.part(), kind));
                    let (difference, size) = worst(&assemble_tile(&here, &tile, kind), &products);
                    prop_assert!(
                        difference <= 1e-12 * size.max(1e-3),
                        "{activation} {head}, {}, {kind:?}: {difference:e} of {size:e}", part.name
                    );
                }
            }
        }
    }
}

#[test]
fn piecewise_linear_blocks_with_a_linear_head_vanish_by_structure() {
    let (inputs, samples) = (7, samples(9, 7, 3, Loss::Mse));
    for activation in ACTIVATIONS {
        let model = network(&[inputs, 5, 3], activation, true);
        let objective = linearized(&model, &samples);
        for (layer, part) in model.layer_blocks().iter().enumerate() {
            for head in Head::ALL {
                let report =
                    Local::new(&model, part, head).unwrap().block(&objective, &BlockOptions::default()).unwrap();
                // The last block has no activation.
                let linear = activation.is_piecewise_linear() || layer == 1;
                let zero = linear && matches!(head, Head::Sum | Head::Mean);
                assert_eq!(report.route == Route::Zero, zero, "{activation} {head} {}", part.name);
                assert_eq!(report.value("lambda_max") == Some(0.0), zero, "{activation} {head} {}", part.name);
                assert_eq!(report.parameters, part.len());
            }
        }
    }
}

#[test]
fn half_the_squared_norm_of_the_first_block_is_a_squared_error_of_its_own_network() {
    let model = network(&[4, 5, 3], Activation::Tanh, true);
    let samples = samples(23, 4, 3, Loss::Mse);
    let objective = linearized(&model, &samples);
    let local = Local::new(&model, &model.layer_blocks()[0], Head::HalfNorm).unwrap();
    let layers = vec![
        LayerSpec::linear("fc1", 5, true, Init::XavierNormal { gain: 1.5 }),
        LayerSpec::activation(Activation::Tanh),
    ];
    let alone = Model::<f64>::new(&ModelSpec::new(&[4], layers, Loss::Mse)).unwrap();
    let targets = Samples { y: vec![0.0; 23 * 5], ..samples };
    let mut own = linearized(&alone, &targets);
    own.linearize(&objective.theta()[..25]);
    let want: Vec<f64> = to_dense(&Block::full(&own, Kind::Hessian)).iter().map(|x| 2.5 * x).collect();
    let here = local.objective(&objective);
    let (difference, size) = worst(&to_dense(&Block::full(&here, Kind::Hessian)), &want);
    assert!(difference <= 1e-14 * size, "{difference:e} of {size:e}");
}

#[test]
fn blocks_of_any_kind_curve_as_the_network_does_when_their_weights_move() {
    // φ of the block's result in the network itself, with only this part of θ moved: second differences.
    let (model, samples) = mixed();
    let mut objective = linearized(&model, &samples);
    let theta = model.init(3);
    let mut seen = Vec::new();
    for part in model.layer_blocks() {
        for head in Head::ALL {
            let Ok(local) = Local::new(&model, &part, head) else { continue };
            seen.push(part.name.clone());
            objective.linearize(&theta);
            let here = local.objective(&objective);
            let v = Distribution::Sphere.probe(1, 0, part.len());
            let mut y = vec![0.0; part.len()];
            Block::part(&here, local.part(), Kind::Hessian).multiply(1, &v, &mut y);
            let found: f64 = v.iter().zip(&y).map(|(v, y)| v * y).sum();
            let node = model.functional()[model.blocks_of(&part)[0]].node;
            let mut value = |h: f64| {
                let mut theta = theta.clone();
                let own = part.ranges.iter().cloned().flatten();
                own.zip(&v).for_each(|(i, v)| theta[i] += h * v);
                objective.linearize(&theta);
                let m = model.graph().shape(node).size();
                let of = |u: &[f64]| match head {
                    Head::Sum => u.iter().sum::<f64>(),
                    Head::Mean => u.iter().sum::<f64>() / m as f64,
                    Head::HalfNorm => u.iter().map(|u| u * u).sum::<f64>() / 2.0,
                    Head::LogSumExp => u.iter().map(|u| u.exp()).sum::<f64>().ln(),
                };
                let shard = |s| objective.shard(s).0.value(node).chunks_exact(m).map(of).sum::<f64>();
                (0..objective.shards()).map(shard).sum::<f64>() / samples.n as f64
            };
            let h = 1e-3;
            let (middle, sides) = (value(0.0), value(h) + value(-h));
            let want = (sides - 2.0 * middle) / (h * h);
            // h² of the fourth derivative, and the rounding of the values over h².
            let allowed = 1e-5 * want.abs().max(1.0) + 8.0 * f64::EPSILON * middle.abs().max(1.0) / (h * h);
            assert!((found - want).abs() <= allowed, "{} {head}: {found:e} and {want:e}", part.name);
        }
    }
    seen.dedup();
    assert!(seen.len() >= 6 && seen.contains(&"norm".to_string()), "{seen:?}");
}

#[test]
fn the_gram_route_finds_the_spectrum_of_wide_blocks() {
    // 5 samples and 8 values of ẑ: the rank is at most 5 units, below the 8 units parameters.
    let (units, samples) = (6, samples(5, 7, 3, Loss::Mse));
    for activation in ACTIVATIONS {
        let model = network(&[7, units, 3], activation, true);
        let objective = linearized(&model, &samples);
        for head in [Head::HalfNorm, Head::LogSumExp] {
            let local = Local::new(&model, &model.layer_blocks()[0], head).unwrap();
            let of = |exact_max| {
                let options = BlockOptions { exact_max, ..BlockOptions::default() };
                local.block(&objective, &options).unwrap()
            };
            let (gram, dense) = (of(5 * units), of(2100));
            assert_eq!(gram.route, Route::Gram, "{activation} {head}");
            let size = dense.spectrum.magnitude();
            for k in 0..8 * units {
                let [a, b] = [&gram, &dense].map(|r| r.spectrum.largest(k).unwrap().value);
                // Mixed signs lose half of the digits at most.
                assert!((a - b).abs() <= 1e-7 * size, "{activation} {head}, {k}: {a:e} and {b:e}");
            }
        }
    }
}

#[test]
fn what_is_not_one_block_is_refused_with_the_blocks() {
    let (model, _) = mixed();
    let of = |part: &Part| Local::new(&model, part, Head::Sum).map(|_| ()).unwrap_err();
    let error = of(&Part::network(&model)).to_string();
    assert!(error.contains("`network`") && error.contains("`conv`") && error.contains("single blocks"), "{error}");
    // Used by two blocks.
    let mix = model.layer_blocks().into_iter().find(|p| p.name == "mix").unwrap();
    assert!(matches!(of(&mix), LocalError::Several { blocks, .. } if blocks == ["mix", "again"]));
}

#[test]
fn every_layer_of_a_residual_network_belongs_to_one_block() {
    let options = Options { depth: Some(2), norm: Some(Norm::Layer), ..Options::default() };
    let task = Task { input: vec![4], vocabulary: None, outputs: 3 };
    let layers = Family::ResidualMlp.layers(&options, &task).unwrap();
    let model = Model::<f64>::new(&ModelSpec::new(&[4], layers, Loss::CrossEntropy)).unwrap();
    for part in model.layer_blocks() {
        assert_eq!(model.blocks_of(&part).len(), 1, "{}", part.name);
    }
}
