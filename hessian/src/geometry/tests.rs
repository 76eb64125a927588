//! Couplings against blocks of biases, Jacobians, bounds and published facts.

use super::*;
use crate::operator::Block;
use crate::testing::samples;
use eigenlens_autodiff::Order;
use eigenlens_linalg::operator::to_dense;
use eigenlens_nets::objective::{Cut, Reduction, Samples};
use eigenlens_nets::zoo::{Family, Norm, Options, Task};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec};

fn model(family: Family, options: Options) -> Model<f64> {
    let task = Task { input: vec![5], vocabulary: None, outputs: 3 };
    let layers = family.layers(&options, &task).unwrap();
    Model::new(&ModelSpec::new(&[5], layers, Loss::CrossEntropy)).unwrap()
}

fn residual(activation: Activation) -> Model<f64> {
    let options = Options {
        width: Some(4),
        depth: Some(3),
        norm: Some(Norm::Layer),
        activation: Some(activation),
        ..Options::default()
    };
    model(Family::ResidualMlp, options)
}

fn plain(activation: Activation) -> Model<f64> {
    model(Family::Mlp, Options { width: Some(4), depth: Some(3), activation: Some(activation), ..Options::default() })
}

fn at<'m>(model: &'m Model<f64>, samples: &Samples) -> Objective<'m, f64> {
    let cut = Cut { rows: Some(7), groups: Some(2) };
    let mut objective = Objective::new(model, samples, Reduction::Mean, Order::Second, cut).unwrap();
    objective.linearize(&model.init(4));
    objective
}

#[test]
fn a_shift_of_a_linear_layers_result_is_a_shift_of_its_bias() {
    let model = residual(Activation::Tanh);
    let objective = at(&model, &samples(20, 5, 3, Loss::CrossEntropy));
    let found = geometry(&objective, &GeometryOptions::default());
    let (p, h) = (model.len(), to_dense(&Block::full(&objective, Kind::Hessian)));
    let bias = |name: &str| model.tensors().iter().find(|t| t.name == name).unwrap().range.clone();
    // The first block ends at `embed` itself, the last at `head`.
    let ends = [(0, bias("embed.bias")), (found.blocks.len() - 1, bias("head.bias"))];
    for (v, rows) in &ends {
        for (w, columns) in &ends {
            let square: f64 =
                rows.clone().flat_map(|i| columns.clone().map(move |j| i * p + j)).map(|k| h[k] * h[k]).sum();
            let r = found.hessian[*v][*w].mean;
            assert!((r - square.sqrt()).abs() <= 1e-12 * r, "({v}, {w}): {r} and {}", square.sqrt());
        }
    }
    assert!(found.exact && found.products == 2 * (4 * 4 + 3));
}

#[test]
fn on_a_chain_a_block_is_the_jacobian_times_the_later_diagonal_block() {
    let model = plain(Activation::Softplus);
    let objective = at(&model, &samples(1, 5, 3, Loss::CrossEntropy));
    let widths: Vec<usize> = model.functional().iter().map(|b| model.graph().shape(b.node).size()).collect();
    let total: usize = widths.iter().sum();
    let units = |n: usize| -> Vec<f64> { (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect() };
    let of = |v: usize| responses(&objective, model.functional(), &widths, v, Kind::Hessian, &units(widths[v]));
    let place = |w: usize| widths[..w].iter().sum::<usize>();
    for v in 0..widths.len() {
        for w in v + 1..widths.len() {
            // J_{w←v} column by column, from tangents.
            let plan = eigenlens_autodiff::Plan::new(
                model.graph(),
                &[model.functional()[v].node],
                &[],
                &[],
                eigenlens_autodiff::Curvature::None,
            )
            .unwrap();
            let (from, to) = (model.functional()[v].node, model.functional()[w].node);
            let j = objective
                .sweep_activations(
                    &plan,
                    widths[v],
                    |_, ws| ws.tangent_mut(from).copy_from_slice(&units(widths[v])),
                    |_, ws| ws.tangent(to).to_vec(),
                )
                .concat();
            let (hv, hw) = (of(v), of(w));
            for k in 0..widths[v] {
                for i in 0..widths[w] {
                    // (H_wv)_{ik} = Σ_m (H_ww)_{im} J_{mk}.
                    let want: f64 = (0..widths[w]).map(|m| hw[m * total + place(w) + i] * j[k * widths[w] + m]).sum();
                    let found = hv[k * total + place(w) + i];
                    assert!((found - want).abs() <= 1e-13, "({v}, {w}) ({i}, {k}): {found} and {want}");
                }
            }
        }
    }
}

#[test]
fn couplings_of_gauss_newton_parts_and_stable_ranks_keep_their_bounds() {
    for model in [plain(Activation::Tanh), residual(Activation::Gelu), residual(Activation::Relu)] {
        let found = geometry(&at(&model, &samples(20, 5, 3, Loss::CrossEntropy)), &GeometryOptions::default());
        let count = found.blocks.len();
        for v in 0..count {
            assert!((found.coupling(v, v).unwrap() - 1.0).abs() < 1e-12);
            for w in 0..count {
                assert!(found.gauss_newton_coupling(v, w).unwrap() <= 1.0 + 1e-12, "({v}, {w})");
                let d = found.stable_rank(v, w).unwrap();
                assert!((1.0 - 1e-12..=4.0 + 1e-9).contains(&d), "({v}, {w}): {d}");
                let (a, b) = (found.hessian[v][w].mean, found.hessian[w][v].mean);
                assert!((a - b).abs() <= 1e-12 * a.max(b), "({v}, {w}) is not symmetric");
            }
        }
        // The node that feeds a linear head has no tensor part, nor has the head.
        for v in [count - 1, count - 2] {
            assert!(found.gap(v, v).unwrap() < 1e-12, "{}: {:?}", found.blocks[v].name, found.gap(v, v));
        }
    }
}

#[test]
fn piecewise_linear_networks_have_no_tensor_part_and_layer_norm_brings_one() {
    let gap = |model: &Model<f64>| {
        let found = geometry(&at(model, &samples(20, 5, 3, Loss::CrossEntropy)), &GeometryOptions::default());
        found.gap(0, 0).unwrap()
    };
    assert!(gap(&plain(Activation::Relu)) < 1e-12);
    assert!(gap(&plain(Activation::Softplus)) > 1e-3);
    assert!(gap(&residual(Activation::Relu)) > 1e-3);
}

#[test]
fn probes_agree_with_unit_vectors_within_four_errors() {
    let model = plain(Activation::Tanh);
    let objective = at(&model, &samples(20, 5, 3, Loss::CrossEntropy));
    let exact = geometry(&objective, &GeometryOptions::default());
    let found = geometry(&objective, &GeometryOptions { exact_max: 0, probes: 400, seed: 5, leading: 3 });
    assert!(!found.exact);
    let off = found.discrepancy(&exact).unwrap();
    assert!(off.relative < 0.2 && off.deviation < 2.0 && off.pairs >= 12, "{off:?}");
    for v in 0..exact.blocks.len() {
        for w in 0..exact.blocks.len() {
            for (a, b) in [(&exact.hessian, &found.hessian), (&exact.tensor, &found.tensor)] {
                let (truth, e) = (a[v][w].mean, b[v][w]);
                assert!((truth - e.mean).abs() <= 4.0 * e.sem + 1e-12, "({v}, {w}): {truth} and {e:?}");
            }
        }
    }
}

#[test]
fn spectral_norms_by_a_power_step_are_lower_bounds_and_close() {
    for model in [plain(Activation::Tanh), residual(Activation::Gelu)] {
        let objective = at(&model, &samples(20, 5, 3, Loss::CrossEntropy));
        let exact = geometry(&objective, &GeometryOptions::default()).spectral.unwrap();
        let options = GeometryOptions { exact_max: 0, probes: 30, ..GeometryOptions::default() };
        let found = geometry(&objective, &options);
        let (count, lower) = (exact.len(), found.spectral.clone().unwrap());
        for v in 0..count {
            for w in 0..count {
                let ratio = lower[v][w] / exact[v][w];
                assert!((0.99..=1.0 + 1e-12).contains(&ratio), "({v}, {w}): {ratio}");
            }
        }
        // 30 probes twice for each block, and at most three directions for each pair: two where the loss knows only two.
        let step = found.products - 2 * 30 * count;
        assert!((2 * count * count..=3 * count * count).contains(&step), "{step}");
        let without = geometry(&objective, &GeometryOptions { leading: 0, ..options });
        assert!(without.spectral.is_none() && without.hessian == found.hessian);
    }
}

#[test]
fn distances_and_curves_follow_the_graph() {
    let found =
        geometry(&at(&plain(Activation::Tanh), &samples(20, 5, 3, Loss::CrossEntropy)), &GeometryOptions::default());
    assert_eq!(found.distance[0], [Some(0), Some(1), Some(2), Some(3)]);
    let curve = found.curve(|v, w| found.coupling(v, w));
    assert_eq!(curve.iter().map(|p| (p.distance, p.pairs)).collect::<Vec<_>>(), [(0, 4), (1, 6), (2, 4), (3, 2)]);
    assert!((curve[0].mean - 1.0).abs() < 1e-12);
    let line: Vec<CurvePoint> =
        (0..5).map(|d| CurvePoint { distance: d, mean: (1.0 - 0.25 * d as f64).exp(), pairs: 1 }).collect();
    let fit = Decay::fit(&line).unwrap();
    assert!((fit.a - 1.0).abs() < 1e-12 && (fit.b - 0.25).abs() < 1e-12 && (fit.r_squared - 1.0).abs() < 1e-12);
    assert_eq!(Decay::fit(&line[..2]), None);
}

#[test]
fn a_linear_network_stretches_by_the_norm_of_its_weights() {
    let model = plain(Activation::Identity);
    let objective = at(&model, &samples(6, 5, 3, Loss::CrossEntropy));
    let found = jacobians(&objective, 4, 100).unwrap();
    let theta = model.init(4);
    assert!(found.rho[0].is_none());
    for (b, name) in [(1, "fc2.weight"), (3, "head.weight")] {
        let tensor = model.tensors().iter().find(|t| t.name == name).unwrap();
        let norm = spectral_norm(&theta[tensor.range.clone()], tensor.shape[0], tensor.shape[1]);
        let rho = found.rho[b].unwrap();
        assert!((rho.mean - norm).abs() <= 1e-14 * norm && rho.sem < 1e-14 && rho.samples == 4, "{name}: {rho:?}");
    }
    assert!(jacobians(&objective, 4, 3).is_none());
    assert!(found.lyapunov.unwrap().mean.is_finite());
}

#[test]
fn blocks_of_single_samples_are_those_of_objectives_of_one_sample() {
    let model = residual(Activation::Tanh);
    let all = samples(9, 5, 3, Loss::CrossEntropy);
    let found = geometry_by_sample(&at(&model, &all), &GeometryOptions::default());
    let count = found.blocks.len();
    let mut squares = vec![0.0; 3 * count * count];
    for n in 0..9 {
        let one = Samples { n: 1, x: all.x[5 * n..5 * (n + 1)].to_vec(), y: all.y[n..=n].to_vec(), w: Vec::new() };
        let alone = geometry(&at(&model, &one), &GeometryOptions::default());
        let parts = [&alone.hessian, &alone.gauss_newton, &alone.tensor];
        let entries = parts.into_iter().flatten().flatten();
        squares.iter_mut().zip(entries).for_each(|(s, e)| *s += e.mean * e.mean / 9.0);
    }
    let parts = [&found.hessian, &found.gauss_newton, &found.tensor];
    let scale = squares.iter().fold(0.0, |m: f64, s| m.max(s.sqrt()));
    for (e, s) in parts.into_iter().flatten().flatten().zip(&squares) {
        assert!((e.mean - s.sqrt()).abs() <= 1e-13 * scale, "{} and {}", e.mean, s.sqrt());
    }
    assert!(found.exact && found.spectral.is_none());
    // Probes agree with unit vectors within their errors.
    let options = GeometryOptions { exact_max: 0, probes: 400, ..GeometryOptions::default() };
    let probed = geometry_by_sample(&at(&model, &all), &options);
    for (p, e) in probed.hessian.iter().flatten().zip(found.hessian.iter().flatten()) {
        assert!((p.mean - e.mean).abs() <= 5.0 * p.sem + 1e-12 * scale, "{p:?} and {e:?}");
    }
}
