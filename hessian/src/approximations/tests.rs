//! The ratios against dense blocks, probes against exact norms.

use super::*;
use crate::kronecker::assemble_tile;
use crate::metrics::get;
use crate::testing::{Case, cases, linearized, mixed};
use eigenlens_linalg::operator::to_dense;
use eigenlens_nets::Grouping;

/// The block without its penalty.
fn dense(objective: &Objective<'_, f64>, part: &Part, kind: Kind) -> Vec<f64> {
    let (p, mut b) = (part.len(), to_dense(&Block::part(objective, part, kind)));
    penalty(objective.model(), part).iter().enumerate().for_each(|(i, l)| b[i * p + i] -= l);
    b
}

fn norm(a: &[f64]) -> f64 {
    a.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// E[M] ⊗ E[ẑẑᵀ], entry by entry.
fn kronecker_of_means(objective: &Objective<'_, f64>, part: &Part) -> Vec<f64> {
    let tile = Tile::of(objective.model(), part).unwrap();
    let factors = Factors::new(objective, &tile);
    let p = part.len();
    let mut out = vec![0.0; p * p];
    for (j, row) in out.chunks_exact_mut(p).enumerate() {
        let mut e = vec![0.0; p];
        e[j] = 1.0;
        row.copy_from_slice(&factors.apply(&e));
    }
    out
}

#[test]
fn exact_ratios_are_those_of_the_dense_blocks() {
    for Case { name, model, samples } in cases() {
        let objective = linearized(&model, &samples);
        for grouping in [Grouping::Layer, Grouping::Tensor, Grouping::Neuron] {
            for part in model.blocks(&grouping).unwrap() {
                let [h, g] = [Kind::Hessian, Kind::GaussNewton].map(|kind| dense(&objective, &part, kind));
                let minus = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
                let residual = norm(&minus(&h, &kronecker_of_means(&objective, &part))) / norm(&h);
                let gap = norm(&minus(&h, &g)) / norm(&g);
                let (found, products) = approximations(&objective, &part, &ApproximationOptions::default());
                if norm(&h) == 0.0 {
                    assert!(get(&found, "kronecker_residual").is_none(), "a dead neuron has no ratio");
                    continue;
                }
                let value = |key| get(&found, key).unwrap().value;
                // A difference of squares of order ‖H‖².
                let close = |a: f64, b: f64| (a * a - b * b).abs() <= 1e-13 * (1.0 + b * b);
                assert!(close(value("kronecker_residual"), residual), "{name} {}", part.name);
                assert!(close(value("gn_gap"), gap), "{name} {}: {} and {gap}", part.name, value("gn_gap"));
                assert_eq!(products, 0);
                assert!(!name.starts_with("relu") || value("gn_gap") == 0.0);
            }
        }
    }
}

#[test]
fn means_of_the_samples_are_the_block_of_a_bias() {
    // For a bias ẑ = 1: H is E[M] itself, and nothing is left over.
    for Case { name, model, samples } in cases() {
        let objective = linearized(&model, &samples);
        let parts = model.blocks(&Grouping::Tensor).unwrap();
        for part in parts.iter().filter(|p| p.name.ends_with(".bias")) {
            let tile = Tile::of(&model, part).unwrap();
            let (a, h) = (Factors::new(&objective, &tile).a, assemble_tile(&objective, &tile, Kind::Hessian));
            let off = a.iter().zip(&h).map(|(a, h)| (a - h).abs()).fold(0.0, f64::max);
            assert!(off <= 1e-14 * norm(&h), "{name} {}", part.name);
            let (found, _) = approximations(&objective, part, &ApproximationOptions::default());
            assert!(get(&found, "kronecker_residual").unwrap().value < 1e-7);
        }
    }
}

#[test]
fn probes_agree_within_their_errors_and_unit_vectors_exactly() {
    for Case { name, model, samples } in cases() {
        let objective = linearized(&model, &samples);
        for part in model.layer_blocks() {
            let (want, _) = approximations(&objective, &part, &ApproximationOptions::default());
            let options = ApproximationOptions { exact_work: 0.0, ..ApproximationOptions::default() };
            let probes = ApproximationOptions { probes: 20, seed: 5, ..options };
            let units = ApproximationOptions { probes: 100, ..options };
            let ((rough, products), (exact, _)) =
                (approximations(&objective, &part, &probes), approximations(&objective, &part, &units));
            assert!(products >= 20);
            for q in &want {
                let (rough, exact) = (get(&rough, q.name).unwrap(), get(&exact, q.name).unwrap());
                let off = (exact.value * exact.value - q.value * q.value).abs();
                assert!(off <= 1e-13 * (1.0 + q.value * q.value), "{name} {} {}", part.name, q.name);
                let error = rough.uncertainty.map_or(0.0, |u| u.size());
                assert!((rough.value - q.value).abs() <= 4.5 * error + 1e-7, "{name} {} {}", part.name, q.name);
            }
        }
    }
}

#[test]
fn other_layers_have_a_gap_but_no_factors() {
    let (model, samples) = mixed();
    let objective = linearized(&model, &samples);
    let options = ApproximationOptions { probes: 200, ..ApproximationOptions::default() };
    for part in model.layer_blocks() {
        let (found, _) = approximations(&objective, &part, &options);
        let affine = Tile::of(&model, &part).is_some_and(|t| holds(&model, t.layer));
        assert_eq!(get(&found, "kronecker_residual").is_some(), affine, "{}", part.name);
        let [h, g] = [Kind::Hessian, Kind::GaussNewton].map(|kind| dense(&objective, &part, kind));
        let t: Vec<f64> = h.iter().zip(&g).map(|(h, g)| h - g).collect();
        let (gap, want) = (get(&found, "gn_gap").map(|q| q.value), norm(&t) / norm(&g));
        // Where G is but rounding, so is the gap.
        if norm(&g) > 1e-12 {
            assert!((gap.unwrap() - want).abs() <= 1e-10 * (1.0 + want), "{}: {gap:?} and {want}", part.name);
        }
    }
}
