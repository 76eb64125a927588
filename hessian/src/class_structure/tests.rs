//! The parts against their definitions, and their sum against the Gauss–Newton block.

use super::*;
use crate::metrics::get;
use crate::operator::Block;
use crate::testing::{Case, cases, linearized, mixed};
use eigenlens_linalg::operator::to_dense;
use eigenlens_nets::{Grouping, Samples};

/// G_0 … G_3 as dense matrices, from the Jacobians of all samples, by the definitions.
fn by_definition(objective: &Objective<'_, f64>, part: &Part, labels: &[usize]) -> [Vec<f64>; 4] {
    let model = objective.model();
    let (c, p) = (model.outputs(), part.len());
    // Cotangents one sample and output at a time: means() of as many classes as there are samples would do no more.
    let head = model.logits();
    let (nodes, _) = directions::<f64>(model, part, &vec![0.0; p]);
    let plan = Plan::new(model.graph(), &[], &[head], &nodes, Curvature::None).unwrap();
    let at = At { function: model.function(), theta: objective.theta() };
    let mut gradients: Vec<(usize, usize, f64, Vec<f64>)> = Vec::new();
    let mut sample = 0;
    for s in 0..objective.shards() {
        let (lin, w) = objective.shard(s);
        let prob = probabilities(lin.value(head), c);
        for n in 0..lin.batch() {
            for other in 0..c {
                let (mut ws, mut out) = (Workspace::new(), model.function().param_buffers(1));
                ws.fit(model.function(), &plan, lin.batch(), 1);
                let cotangent = ws.cotangent_mut(head);
                cotangent.fill(0.0);
                for j in 0..c {
                    cotangent[n * c + j] = f64::from(u8::from(j == other)) - prob[n * c + j];
                }
                let none = Vec::new();
                let io = Exchange { directions: &none, out: &mut out, write: Write::Set, first: 0 };
                lin.product(at, &plan, &mut ws, io);
                let mut theta = vec![0.0; model.len()];
                for &node in &nodes {
                    theta[model.graph().param_range(node)].copy_from_slice(&out[node.index()]);
                }
                let g = part.ranges.iter().flat_map(|r| theta[r.clone()].to_vec()).collect();
                gradients.push((labels[sample], other, w[n] * prob[n * c + other], g));
            }
            sample += 1;
        }
    }
    let mean = |keep: &dyn Fn(usize, usize) -> bool| -> (f64, Vec<f64>) {
        let (mut total, mut g) = (0.0, vec![0.0; p]);
        for (class, other, w, own) in gradients.iter().filter(|(class, other, ..)| keep(*class, *other)) {
            let _ = (class, other);
            total += w;
            g.iter_mut().zip(own).for_each(|(g, x)| *g += w * x);
        }
        if total > 0.0 {
            g.iter_mut().for_each(|x| *x /= total);
        }
        (total, g)
    };
    let mut parts = [const { Vec::new() }; 4].map(|_: Vec<f64>| vec![0.0; p * p]);
    let mut add = |part: usize, w: f64, g: &[f64], from: &[f64]| {
        for i in 0..p {
            for j in 0..p {
                parts[part][i * p + j] += w * (g[i] - from[i]) * (g[j] - from[j]);
            }
        }
    };
    let zero = vec![0.0; p];
    for class in 0..c {
        let (total, of_class) = mean(&|a, b| a == class && b != class);
        add(1, total, &of_class, &zero);
        for other in 0..c {
            let (w, cross) = mean(&|a, b| a == class && b == other);
            if other == class {
                add(0, w, &cross, &zero);
            } else {
                add(2, w, &cross, &of_class);
            }
            for (_, _, w, g) in gradients.iter().filter(|g| g.0 == class && g.1 == other) {
                add(3, *w, g, &cross);
            }
        }
    }
    parts
}

fn check(name: &str, objective: &Objective<'_, f64>, part: &Part) {
    let p = part.len();
    let labels = labels(objective).unwrap();
    let parts = by_definition(objective, part, &labels);
    let mut g = to_dense(&Block::part(objective, part, Kind::GaussNewton));
    crate::approximations::penalty(objective.model(), part).iter().enumerate().for_each(|(i, l)| g[i * p + i] -= l);
    let scale = g.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    for (i, g) in g.iter().enumerate() {
        let sum: f64 = parts.iter().map(|part| part[i]).sum();
        assert!((sum - g).abs() <= 1e-13 * scale * p as f64, "{name} {}: {sum} and {g}", part.name);
    }
    let found = class_structure(objective, part, &ClassOptions::default()).unwrap().unwrap();
    let trace = |m: &[f64]| (0..p).map(|i| m[i * p + i]).sum::<f64>();
    let total = trace(&g);
    for (k, matrix) in parts[..3].iter().enumerate() {
        assert!((found.traces[k] - trace(matrix)).abs() <= 1e-12 * total, "{name} {} G_{k}", part.name);
        let mut want = dense::eigenvalues(p, matrix).unwrap();
        want.reverse();
        for (i, have) in found.eigenvalues[k].iter().enumerate() {
            let want = want.get(i).copied().unwrap_or(0.0);
            assert!((have - want).abs() <= 1e-12 * total, "{name} {} G_{k}, {i}: {have} and {want}", part.name);
        }
    }
    if let Some(known) = found.total {
        assert!((known - total).abs() <= 1e-12 * total, "{name} {}", part.name);
        assert!(found.shares().unwrap().iter().sum::<f64>() <= 1.0 + 1e-12);
    }
}

#[test]
fn the_parts_add_up_to_the_gauss_newton_block() {
    for Case { name, model, samples } in cases().into_iter().take(2) {
        let weighted =
            Samples { w: (0..23).map(|i| f64::from(i % 5) / 2.0 * 23.0 / 22.5).collect(), ..samples.clone() };
        for samples in [&samples, &weighted] {
            let objective = linearized(&model, samples);
            for part in model.layer_blocks().iter().chain([&Part::network(&model)]) {
                check(&name, &objective, part);
            }
        }
    }
    let (model, samples) = mixed();
    let objective = linearized(&model, &samples);
    for part in model.blocks(&Grouping::Head).unwrap().iter().filter(|p| p.len() > 1) {
        check("mixed", &objective, part);
    }
}

#[test]
fn a_class_without_samples_has_no_part_in_it() {
    let Case { name, model, mut samples } = cases().swap_remove(0);
    samples.y.iter_mut().for_each(|y| *y = y.min(1.0));
    check(&name, &linearized(&model, &samples), &model.layer_blocks()[1]);
}

#[test]
fn without_classes_there_is_no_structure() {
    let none = |objective: &Objective<'_, f64>, options: &ClassOptions| {
        class_structure(objective, &objective.model().layer_blocks()[0], options).unwrap().is_none()
    };
    for Case { model, samples, .. } in cases().into_iter().skip(2) {
        assert!(none(&linearized(&model, &samples), &ClassOptions::default()));
    }
    let Case { model, samples, .. } = cases().swap_remove(0);
    assert!(none(&linearized(&model, &samples), &ClassOptions { bytes: 100.0 }));
}

#[test]
fn ratios_stand_where_the_classes_are() {
    let spectrum = Spectrum::exact(vec![8.0, 4.0, 1.0, 0.5, 0.0]);
    let found = class_ratios(&spectrum, 3, 1e-6);
    let value = |key| get(&found, key).map(|q| q.value);
    assert_eq!(value("classes"), Some(3.0));
    assert_eq!((value("ratio_below_classes"), value("ratio_at_classes")), (Some(4.0), Some(2.0)));
    let found = class_ratios(&spectrum, 4, 1e-6);
    let keys: Vec<&str> = found.iter().map(|q| q.name).collect();
    assert_eq!(keys, ["classes", "ratio_below_classes"], "λ_5 is zero");
    assert_eq!(class_ratios(&spectrum, 9, 1e-6).len(), 1);
}
