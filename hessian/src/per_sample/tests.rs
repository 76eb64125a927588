//! Shares add up, whichever way they are found, and errors cover what other samples give.

use super::*;
use crate::operator::Block;
use crate::testing::{Case, cases, linearized, mixed};
use eigenlens_linalg::LinearOperator;
use eigenlens_linalg::operator::to_dense;
use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::objective::{Cut, Reduction};
use eigenlens_nets::{Grouping, Samples};

fn vectors(p: usize, k: usize) -> Vec<f64> {
    (0..k).flat_map(|i| Distribution::Sphere.probe(2, i as u64, p)).collect()
}

/// vᵀ B v by a product with the whole data.
fn whole(objective: &Objective<'_, f64>, part: &Part, kind: Kind, v: &[f64]) -> f64 {
    let mut y = vec![0.0; v.len()];
    Block::part(objective, part, kind).apply(1, v, &mut y);
    dot(v, &y)
}

#[test]
fn shares_add_up_to_the_quotient_by_either_way() {
    for Case { name, model, samples } in cases() {
        let objective = linearized(&model, &samples);
        for grouping in [Grouping::Layer, Grouping::Tensor, Grouping::Neuron, Grouping::Network] {
            for part in model.blocks(&grouping).unwrap() {
                for kind in [Kind::Hessian, Kind::GaussNewton] {
                    let v = vectors(part.len(), 3);
                    let found = sample_quotients(&objective, &part, kind, &v).unwrap();
                    for (i, v) in v.chunks_exact(part.len()).enumerate() {
                        assert_eq!(found.rows[i].len(), samples.n);
                        let want = whole(&objective, &part, kind, v);
                        let size = found.rows[i].iter().map(|x| x.abs()).sum::<f64>() + found.penalty[i];
                        assert!((found.total(i) - want).abs() <= 1e-13 * size, "{name} {} {kind:?}", part.name);
                    }
                    // A tile goes another way than one sample after the other.
                    let other = one_by_one(&objective, &part, kind, &v);
                    for (a, b) in found.rows.iter().flatten().zip(other.iter().flatten()) {
                        assert!((a - b).abs() <= 1e-13 * (a.abs() + 1e-2), "{name} {}: {a} and {b}", part.name);
                    }
                }
            }
        }
    }
}

#[test]
fn other_layers_add_up_too() {
    let (model, samples) = mixed();
    let objective = linearized(&model, &samples);
    for grouping in [Grouping::Layer, Grouping::Head] {
        for part in model.blocks(&grouping).unwrap() {
            let v = vectors(part.len(), 2);
            let found = sample_quotients(&objective, &part, Kind::Hessian, &v).unwrap();
            for (i, v) in v.chunks_exact(part.len()).enumerate() {
                let want = whole(&objective, &part, Kind::Hessian, v);
                let size = found.rows[i].iter().map(|x| x.abs()).sum::<f64>() + found.penalty[i];
                assert!((found.total(i) - want).abs() <= 1e-12 * (size + 1e-6), "{}", part.name);
            }
        }
    }
}

#[test]
fn a_share_is_what_the_sample_alone_would_give() {
    let Case { model, samples, .. } = cases().swap_remove(3);
    let weighted = Samples { w: (0..23).map(|i| f64::from(i % 5) / 2.0 * 23.0 / 22.5).collect(), ..samples };
    let objective = linearized(&model, &weighted);
    let part = &model.layer_blocks()[1];
    let v = vectors(part.len(), 1);
    let found = sample_quotients(&objective, part, Kind::Hessian, &v).unwrap();
    // Of no vector there is nothing to say: blocks of very few parameters have no pairs.
    assert!(sample_quotients(&objective, part, Kind::Hessian, &[]).unwrap().rows.is_empty());
    for n in 0..23 {
        let alone = Samples {
            n: 1,
            x: weighted.x[n * 4..(n + 1) * 4].to_vec(),
            y: weighted.y[n * 3..(n + 1) * 3].to_vec(),
            w: Vec::new(),
        };
        let mut one = Objective::new(&model, &alone, Reduction::Mean, Order::Second, Cut::default()).unwrap();
        one.linearize(objective.theta());
        let want = weighted.w[n] / 23.0 * (whole(&one, part, Kind::Hessian, &v) - found.penalty[0]);
        assert!((found.rows[0][n] - want).abs() <= 1e-14, "sample {n}: {} and {want}", found.rows[0][n]);
    }
}

#[test]
fn traces_of_samples_add_up_to_the_trace() {
    for Case { name, model, samples } in cases() {
        let objective = linearized(&model, &samples);
        for part in model.blocks(&Grouping::Tensor).unwrap() {
            let (p, h) = (part.len(), to_dense(&Block::part(&objective, &part, Kind::Hessian)));
            let want: f64 = (0..p).map(|i| h[i * p + i]).sum::<f64>() - penalty(&model, &part).iter().sum::<f64>();
            let traces = sample_traces(&objective, &part, Kind::Hessian).unwrap();
            let size: f64 = traces.iter().map(|x| x.abs()).sum();
            assert!(
                (traces.iter().sum::<f64>() - want).abs() <= 1e-13 * (size + 0.05 * p as f64),
                "{name} {}",
                part.name
            );
        }
    }
    let (model, samples) = mixed();
    assert!(sample_traces(&linearized(&model, &samples), &model.layer_blocks()[0], Kind::Hessian).is_none());
}

#[test]
fn the_data_error_is_that_of_the_mean() {
    let x = [1.0, 2.0, 4.0, 9.0];
    let terms = x.map(|x| x / 4.0);
    let s2 = x.iter().map(|x: &f64| (x - 4.0).powi(2)).sum::<f64>() / 3.0;
    assert!((data_error(&terms) - (s2 / 4.0).sqrt()).abs() < 1e-15);
    assert!(data_error(&[1.0]).is_nan());
}

#[test]
fn classes_and_the_largest_terms() {
    let terms = [0.5, -2.0, 0.25, 2.0];
    assert_eq!(by_class(&terms, &[0, 2, 0, 1], 3), [0.75, 2.0, -2.0]);
    assert_eq!(largest(&terms, 3), [(1, -2.0), (3, 2.0), (0, 0.5)]);
    assert_eq!(largest(&terms, 9).len(), 4);
    let Case { model, samples, .. } = cases().swap_remove(0);
    let found = labels(&linearized(&model, &samples)).unwrap();
    assert_eq!(found, (0..23).map(|i| (i * 7) % 3).collect::<Vec<_>>());
    let Case { model, samples, .. } = cases().swap_remove(2);
    assert_eq!(labels(&linearized(&model, &samples)), None);
}

#[test]
fn the_data_error_of_a_trace_covers_other_samples() {
    // Sums over many samples: the spread of means of 23 is what the error of one of them says.
    let Case { model, .. } = cases().swap_remove(0);
    let part = &model.layer_blocks()[0];
    let (mut totals, mut errors) = (Vec::new(), Vec::new());
    for round in 0..60_u64 {
        let x = Distribution::Gaussian.probe(9, round, 40 * 4);
        let y = (0..40).map(|i| ((x[4 * i].abs() * 1e4) as u64 % 3) as f64).collect();
        let samples = Samples { n: 40, x, y, w: Vec::new() };
        let objective = linearized(&model, &samples);
        let traces = sample_traces(&objective, part, Kind::Hessian).unwrap();
        totals.push(traces.iter().sum::<f64>());
        errors.push(data_error(&traces));
    }
    let spread = Estimate::from_samples(&totals).sem * 60_f64.sqrt();
    let said = (errors.iter().map(|e| e * e).sum::<f64>() / 60.0).sqrt();
    // The spread of 60 numbers is itself known to about 1/√120 = 9 %.
    assert!((said / spread - 1.0).abs() < 0.3, "said {said}, found {spread}");
}

#[test]
fn without_vectors_there_are_no_quotients() {
    let Case { model, samples, .. } = cases().swap_remove(0);
    let objective = linearized(&model, &samples);
    let found = sample_quotients(&objective, &model.layer_blocks()[0], Kind::Hessian, &[]).unwrap();
    assert!(found.rows.is_empty() && found.penalty.is_empty());
}
