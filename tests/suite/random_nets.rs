//! Identities of curvature on random networks: depth, widths, activation, loss, samples, biases, penalty and cut.

use std::cell::RefCell;

use eigenlens_autodiff::check::{Maps, check_maps};
use eigenlens_hessian::coupling::{CouplingOptions, coupling};
use eigenlens_hessian::kronecker::{assemble, output_curvature};
use eigenlens_hessian::layerwise::{LayerwiseOptions, layerwise};
use eigenlens_hessian::operator::Block;
use eigenlens_linalg::dense;
use eigenlens_linalg::operator::to_dense;
use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::Activation;
use eigenlens_nets::objective::Kind;
use proptest::prelude::*;

use crate::nets::{self, KINDS, Net, ROUNDING, any_net, close, config, cut_out, largest, linearized, net_with, whole};

/// Loss, gradient and Hessian product of a network as a user has them, held to Taylor remainders and differences.
fn check_derivatives(net: &Net) -> eigenlens_autodiff::check::Report {
    let (model, samples, theta) = (net.model::<f64>(), net.samples(), net.theta());
    let objective = RefCell::new(linearized(&model, &samples, &theta, net.cut));
    let at = |theta: &[f64]| {
        if objective.borrow().theta() != theta {
            objective.borrow_mut().linearize_with_gradient(theta);
        }
    };
    let maps = Maps {
        loss: &|theta| {
            at(theta);
            objective.borrow().loss()
        },
        gradient: &|theta| {
            at(theta);
            objective.borrow().gradient().to_vec()
        },
        hvp: &|theta, v| {
            at(theta);
            nets::apply(&Block::full(&*objective.borrow(), Kind::Hessian), 1, v)
        },
        terms: net.n,
    };
    check_maps("random network", &maps, &theta, net.seed)
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn hessians_are_symmetric_and_equal_to_finite_differences(net in any_net()) {
        let report = check_derivatives(&net);
        // A step may carry a sample over a kink; of the steps of a difference one is short enough, but not three in a
        // row of a Taylor remainder that is still above rounding.
        let smooth = !net.spec.layers.iter().any(|l| matches!(&l.kind, eigenlens_nets::LayerKind::Activation(a) if a.has_kink()));
        let failures: Vec<String> =
            report.failures().filter(|r| smooth || !r.check.starts_with("order")).map(ToString::to_string).collect();
        prop_assert!(failures.is_empty(), "{}", failures.join("\n"));
        let (model, samples) = (net.model::<f64>(), net.samples());
        let (p, objective) = (model.len(), linearized(&model, &samples, &net.theta(), net.cut));
        let [h, g] = nets::dense(&objective);
        let bound = ROUNDING * largest(&h).max(largest(&g));
        for i in 0..p {
            for j in 0..i {
                prop_assert!((h[i * p + j] - h[j * p + i]).abs() <= bound, "H, entry ({i}, {j})");
                prop_assert!((g[i * p + j] - g[j * p + i]).abs() <= bound, "G, entry ({i}, {j})");
            }
        }
    }
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn shards_in_any_cut_add_up_to_the_whole(net in any_net()) {
        let (model, samples, theta) = (net.model::<f64>(), net.samples(), net.theta());
        let (cut, one) = (linearized(&model, &samples, &theta, net.cut), linearized(&model, &samples, &theta, whole(net.n)));
        prop_assert_eq!(cut.shards(), net.n.div_ceil(net.cut.rows.unwrap()));
        let ([h, g], [h1, g1]) = (nets::dense(&cut), nets::dense(&one));
        let size = largest(&h1).max(largest(&g1));
        let outputs: Vec<f64> = one.shard(0).0.value(model.logits()).to_vec();
        close("loss", &[cut.loss()], &[one.loss()], ROUNDING * (one.loss().abs() + largest(&outputs)));
        close("gradient", cut.gradient(), one.gradient(), ROUNDING * (largest(one.gradient()) + size * (1.0 + largest(&theta))));
        close("H", &h, &h1, ROUNDING * size);
        close("G", &g, &g1, ROUNDING * size);
    }

    #[test]
    fn every_block_between_layers_is_cut_from_the_whole(net in any_net()) {
        let (model, samples) = (net.model::<f64>(), net.samples());
        let (p, objective) = (model.len(), linearized(&model, &samples, &net.theta(), net.cut));
        let whole = nets::dense(&objective);
        let bound = ROUNDING * largest(&whole[0]).max(largest(&whole[1]));
        for (kind, whole) in KINDS.into_iter().zip(&whole) {
            for from in model.layers() {
                for to in model.layers() {
                    let block = Block::between(&objective, &from.params, &to.params, kind).unwrap();
                    prop_assert_eq!(block.shape(), (to.len(), from.len()));
                    let mut units = vec![0.0; from.len() * from.len()];
                    (0..from.len()).for_each(|i| units[i * from.len() + i] = 1.0);
                    let mut columns = vec![f64::NAN; from.len() * to.len()];
                    block.multiply(from.len(), &units, &mut columns);
                    // Columns of the block are rows of its transpose, which is cut from the same symmetric matrix.
                    let want = cut_out(p, whole, from.range.clone(), to.range.clone());
                    close(&format!("{kind:?} {} {}", from.name, to.name), &columns, &want, bound);
                }
            }
        }
    }

    #[test]
    fn kronecker_assembly_equals_products(net in any_net()) {
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        let whole = nets::dense(&objective);
        let bound = ROUNDING * largest(&whole[0]).max(largest(&whole[1]));
        for kind in KINDS {
            for index in 0..model.layers().len() {
                let products = to_dense(&Block::layer(&objective, index, kind));
                close(&format!("{kind:?} layer {index}"), &assemble(&objective, index, kind), &products, bound);
            }
        }
    }

    #[test]
    fn lanes_equal_single_products(net in any_net(), lanes in 1usize..=19) {
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        let params = model.graph().params();
        let p = model.len();
        let x = Distribution::Gaussian.probes(net.seed, 3, lanes, p);
        for kind in KINDS {
            let plan = objective.plan(params, params, kind).unwrap();
            let (mut together, mut alone) = (vec![f64::NAN; lanes * p], vec![f64::NAN; lanes * p]);
            objective.product(&plan, lanes, &x, &mut together);
            for (x, y) in x.chunks_exact(p).zip(alone.chunks_exact_mut(p)) {
                objective.product(&plan, 1, x, y);
            }
            // The size of the operands is that of the largest column.
            close(&format!("{kind:?}"), &together, &alone, ROUNDING * largest(&alone).max(f64::MIN_POSITIVE));
        }
    }

    #[test]
    fn traces_and_norms_of_layers_add_up(net in any_net()) {
        let (model, samples) = (net.model::<f64>(), net.samples());
        let (p, objective) = (model.len(), linearized(&model, &samples, &net.theta(), net.cut));
        let [h, _] = nets::dense(&objective);
        let all = layerwise(&objective, &model.layer_blocks(), &LayerwiseOptions::default()).unwrap();
        let trace: f64 = (0..p).map(|i| h[i * p + i]).sum();
        let size: f64 = (0..p).map(|i| h[i * p + i].abs()).sum();
        let sum: f64 = all.blocks.iter().map(|l| l.value("trace").unwrap()).sum();
        close("trace", &[sum], &[trace], ROUNDING * size.max(f64::MIN_POSITIVE));
        let square: f64 = h.iter().map(|x| x * x).sum();
        let norms: f64 = all.coupling.norms.iter().flatten().map(|e| e.mean).sum();
        close("squared norm", &[norms], &[square], ROUNDING * square.max(f64::MIN_POSITIVE));
        let blocks: f64 = all.blocks.iter().map(|l| l.value("frobenius").unwrap().powi(2)).sum();
        let phi = if square > 0.0 { 1.0 - blocks / square } else { 0.0 };
        close("Φ", &[all.coupling.phi.value], &[phi], 10.0 * ROUNDING);
    }

    #[test]
    fn gauss_newton_matrices_are_positive_semidefinite(net in any_net()) {
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        let [_, g] = nets::dense(&objective);
        let values = dense::eigenvalues(model.len(), &g).unwrap();
        prop_assert!(values[0] >= -8.0 * model.len() as f64 * f64::EPSILON * values.last().unwrap().abs(), "{}", values[0]);
    }

    #[test]
    fn the_last_layer_has_no_residual_part(net in any_net()) {
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        let last = model.layers().len() - 1;
        let [h, g] = KINDS.map(|kind| assemble(&objective, last, kind));
        close("H and G", &h, &g, ROUNDING * largest(&g));
    }

    #[test]
    fn piecewise_linear_blocks_are_gauss_newton_and_positive_and_of_low_rank(
        net in net_with(vec![Activation::Relu, Activation::LeakyRelu { slope: 0.2 }, Activation::Identity])
    ) {
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        for (index, layer) in model.layers().iter().enumerate() {
            let [h, g] = KINDS.map(|kind| to_dense(&Block::layer(&objective, index, kind)));
            close(&layer.name, &h, &g, ROUNDING * largest(&g));
            let values = dense::eigenvalues(layer.len(), &h).unwrap();
            let top = values.last().unwrap().abs();
            prop_assert!(values[0] >= -8.0 * layer.len() as f64 * f64::EPSILON * top, "{}: {}", layer.name, values[0]);
            if net.spec.penalty.is_none() {
                // Softmax takes one direction of the outputs from each sample.
                let directions = model.outputs() - usize::from(net.spec.loss == eigenlens_nets::Loss::CrossEntropy);
                let rank = values.iter().filter(|&&x| x > 1e-10 * top).count();
                prop_assert!(rank <= net.n * directions, "rank {rank} of {} samples", net.n);
            }
        }
    }

    #[test]
    fn curvature_of_outputs_is_symmetric_in_every_sample(net in any_net()) {
        // The pairs i ≤ j are read from lane j; rows of lane i would give the mirror.
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        for (index, layer) in model.layers().iter().enumerate() {
            let out = layer.outputs;
            let m = output_curvature(&objective, index, Kind::Hessian);
            let trace_by_samples: f64 = {
                let z = |n: usize| -> f64 { row_norm(&objective, layer, n) };
                (0..net.n).map(|n| z(n) * diagonal_sum(&m[n * out * (out + 1) / 2..][..out * (out + 1) / 2], out)).sum()
            };
            let block = assemble(&objective, index, Kind::Hessian);
            let p = layer.len();
            let penalty: f64 = model
                .penalized()
                .iter()
                .map(|(r, l)| l * (r.start.max(layer.range.start)..r.end.min(layer.range.end)).len() as f64)
                .sum();
            let size: f64 = (0..p).map(|i| block[i * p + i].abs()).sum::<f64>();
            let trace: f64 = (0..p).map(|i| block[i * p + i]).sum();
            // tr H = Σ_n tr M_n ‖ẑ_n‖².
            close(&layer.name, &[trace_by_samples + penalty], &[trace], ROUNDING * (size + 1.0));
        }
    }

    #[test]
    fn estimated_couplings_are_those_of_the_dense_matrix(net in any_net()) {
        let (model, samples) = (net.model::<f64>(), net.samples());
        let objective = linearized(&model, &samples, &net.theta(), net.cut);
        let exact = coupling(&objective, &model.layer_blocks(), Kind::Hessian, &CouplingOptions::default());
        prop_assert!(exact.exact && exact.products == model.len());
        let few = coupling(&objective, &model.layer_blocks(), Kind::Hessian, &CouplingOptions { exact_max: 0, probes: 3, seed: net.seed, ..CouplingOptions::default() });
        prop_assert!((0.0..=1.0).contains(&few.phi.value), "{:?}", few.phi);
        prop_assert!((0.0..=1.0).contains(&exact.phi.value), "{:?}", exact.phi);
        for (l, row) in exact.norms.iter().enumerate() {
            for (m, e) in row.iter().enumerate() {
                let size = exact.norms[l][m].mean.max(exact.norms[l][l].mean);
                close("symmetry of norms", &[e.mean], &[exact.norms[m][l].mean], ROUNDING * size.max(f64::MIN_POSITIVE));
            }
        }
    }
}

fn diagonal_sum(pairs: &[f64], out: usize) -> f64 {
    let mut at = 0;
    (0..out)
        .map(|i| {
            let x = pairs[at];
            at += out - i;
            x
        })
        .sum()
}

/// ‖ẑ_n‖².
fn row_norm(objective: &eigenlens_nets::Objective<'_, f64>, layer: &eigenlens_nets::model::Layer, n: usize) -> f64 {
    let mut start = 0;
    for s in 0..objective.shards() {
        let z = objective.shard(s).0.value(layer.input);
        let rows = z.len() / layer.inputs;
        if n < start + rows {
            let row = &z[(n - start) * layer.inputs..][..layer.inputs];
            return row.iter().map(|x| x * x).sum::<f64>() + f64::from(u8::from(layer.bias));
        }
        start += rows;
    }
    unreachable!("sample {n} lies in some shard")
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn single_precision_agrees_to_its_own_rounding(net in any_net()) {
        let (double, single) = (net.model::<f64>(), net.model::<f32>());
        // Both at the same point, on the same numbers.
        let round = |v: Vec<f64>| -> Vec<f64> { v.into_iter().map(|x| f64::from(x as f32)).collect() };
        let (theta, mut samples) = (round(net.theta()), net.samples());
        samples.x = round(samples.x);
        if net.spec.loss != eigenlens_nets::Loss::CrossEntropy {
            samples.y = round(samples.y);
        }
        let a = linearized(&double, &samples, &theta, net.cut);
        let b = linearized(&single, &samples, &theta, net.cut);
        let ([h, g], [h32, g32]) = (nets::dense(&a), nets::dense(&b));
        let size = largest(&h).max(largest(&g)).max(1e-6);
        // 200 ε of f32: sums of a few dozen terms, a dozen in a row.
        let rounding = 200.0 * f64::from(f32::EPSILON);
        close("H", &h32, &h, rounding * size);
        close("G", &g32, &g, rounding * size);
        close("gradient", b.gradient(), a.gradient(), rounding * (largest(a.gradient()) + size * (1.0 + largest(&theta))));
    }
}
