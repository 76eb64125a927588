//! Blocks of parts against sub-matrices of the dense Hessian.

use super::*;
use crate::block::BlockOptions;
use crate::coupling::{CouplingOptions, coupling};
use crate::layerwise::{LayerwiseOptions, block, layerwise};
use crate::testing::{linearized, mixed};
use eigenlens_linalg::operator::to_dense;
use eigenlens_nets::Grouping;
use eigenlens_nets::blocks::Group;

fn groupings() -> Vec<Grouping> {
    let group = |name: &str, pattern: &str| Group { name: name.to_string(), patterns: vec![pattern.to_string()] };
    vec![
        Grouping::Layer,
        Grouping::Tensor,
        Grouping::Network,
        Grouping::Head,
        Grouping::Neuron,
        Grouping::Groups(vec![group("front", "conv*"), group("weights", "attn.*.weight")]),
    ]
}

#[test]
fn blocks_of_every_grouping_are_those_of_the_dense_matrix() {
    let (model, samples) = mixed();
    let objective = linearized(&model, &samples);
    let p = model.len();
    for kind in [Kind::Hessian, Kind::GaussNewton, Kind::Tensor] {
        let full = to_dense(&Block::full(&objective, kind));
        let scale = full.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        for grouping in groupings() {
            for part in model.blocks(&grouping).unwrap() {
                let block = to_dense(&Block::part(&objective, &part, kind));
                let own: Vec<usize> = part.ranges.iter().cloned().flatten().collect();
                let want = own.iter().flat_map(|i| own.iter().map(|j| full[i * p + j]).collect::<Vec<_>>());
                let worst = block.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                // The same sums, of the same terms, in plans that differ by what they leave out.
                assert!(worst <= 1e-13 * scale, "{}: {worst:e} of {scale:e}", part.name);
            }
        }
    }
}

#[test]
fn the_tensor_part_is_what_the_gauss_newton_part_leaves() {
    let (model, samples) = mixed();
    let objective = linearized(&model, &samples);
    let [h, g, t] =
        [Kind::Hessian, Kind::GaussNewton, Kind::Tensor].map(|kind| to_dense(&Block::full(&objective, kind)));
    let scale = h.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let worst = h.iter().zip(&g).zip(&t).map(|((h, g), t)| (h - g - t).abs()).fold(0.0, f64::max);
    assert!(worst <= 1e-14 * scale, "{worst:e} of {scale:e}");
    // The last layer is linear: nothing of it curves but the loss.
    let last = model.layer_blocks().pop().unwrap();
    assert!(Block::part(&objective, &last, Kind::Tensor).vanishes());
    assert!(!Block::part(&objective, &last, Kind::Hessian).vanishes());
}

#[test]
fn blocks_between_parts_are_rectangles_of_the_dense_matrix() {
    let (model, samples) = mixed();
    let objective = linearized(&model, &samples);
    let (p, full) = (model.len(), to_dense(&Block::full(&objective, Kind::Hessian)));
    let scale = full.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let parts = model.blocks(&Grouping::Head).unwrap();
    for (from, to) in [(0, 2), (4, 3), (3, 4), (5, 3)] {
        let (from, to) = (&parts[from], &parts[to]);
        let block = Block::between_parts(&objective, from, to, Kind::Hessian);
        assert_eq!(block.shape(), (to.len(), from.len()));
        let (mut x, mut y) = (vec![0.0; from.len()], vec![0.0; to.len()]);
        for (k, j) in from.ranges.iter().cloned().flatten().enumerate() {
            x.fill(0.0);
            x[k] = 1.0;
            block.multiply(1, &x, &mut y);
            for (y, i) in y.iter().zip(to.ranges.iter().cloned().flatten()) {
                assert!((y - full[i * p + j]).abs() <= 1e-13 * scale, "{} to {}", from.name, to.name);
            }
        }
    }
}

#[test]
fn traces_add_up_and_norms_are_those_of_the_spectra_for_every_grouping() {
    let (model, samples) = mixed();
    let objective = linearized(&model, &samples);
    let (p, full) = (model.len(), to_dense(&Block::full(&objective, Kind::Hessian)));
    let trace: f64 = (0..p).map(|i| full[i * p + i]).sum();
    for grouping in groupings() {
        let parts = model.blocks(&grouping).unwrap();
        let all = layerwise(&objective, &parts, &LayerwiseOptions::default()).unwrap();
        let sum: f64 = all.blocks.iter().map(|b| b.value("trace").unwrap()).sum();
        assert!((sum - trace).abs() <= 1e-12 * trace.abs(), "{grouping:?}: {sum} and {trace}");
        let largest = all.coupling.norms.iter().flatten().map(|e| e.mean).fold(0.0, f64::max);
        for (l, block) in all.blocks.iter().enumerate() {
            let square = block.value("frobenius").unwrap().powi(2);
            assert!((square - all.coupling.norms[l][l].mean).abs() <= 1e-12 * largest, "{grouping:?}, {}", block.name);
        }
    }
}

#[test]
fn a_block_of_rounding_noise_is_zero_by_either_exact_and_krylov_route() {
    let (model, samples) = mixed();
    let objective = linearized(&model, &samples);
    let parts = model.blocks(&Grouping::Tensor).unwrap();
    // The softmax does not see what the bias of the keys adds to all scores of a query.
    let bias = parts.iter().find(|p| p.name == "attn.k.bias").unwrap();
    for exact_max in [0, 100] {
        let options = BlockOptions { exact_max, ..BlockOptions::default() };
        let report = block(&objective, bias, Kind::Hessian, &options).unwrap();
        assert_eq!((report.value("frobenius"), report.value("lambda_max")), (Some(0.0), Some(0.0)));
    }
}

#[test]
fn nothing_lies_outside_the_block_of_the_network_and_more_outside_smaller_ones() {
    let (model, samples) = mixed();
    let objective = linearized(&model, &samples);
    let phi = |grouping: &Grouping, exact_max| {
        let options = CouplingOptions { exact_max, ..CouplingOptions::default() };
        coupling(&objective, &model.blocks(grouping).unwrap(), Kind::Hessian, &options).phi.value
    };
    for exact_max in [0, model.len()] {
        assert_eq!(phi(&Grouping::Network, exact_max), 0.0);
    }
    let at = |grouping| phi(&grouping, model.len());
    assert!(0.0 < at(Grouping::Layer) && at(Grouping::Layer) < at(Grouping::Tensor));
    assert!(at(Grouping::Layer) < at(Grouping::Neuron) && at(Grouping::Neuron) < 1.0);
}

#[test]
#[should_panic(expected = "cover θ exactly once")]
fn parts_that_overlap_have_no_phi() {
    let (model, samples) = mixed();
    let objective = linearized(&model, &samples);
    let parts = [model.layer_blocks(), vec![Part::network(&model)]].concat();
    coupling(&objective, &parts, Kind::Hessian, &CouplingOptions::default());
}
