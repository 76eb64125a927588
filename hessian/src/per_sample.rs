//! Which samples own an eigenvalue, and how far it would be off on other samples.
//!
//! The loss is a mean over samples, and so is its Hessian: H = Σ_n w_n H_n + Λ. For a unit eigenvector v,
//! λ = vᵀHv = Σ_n w_n vᵀH_nv + vᵀΛv: each sample's share of the eigenvalue, exact but for the residual of the pair. A share
//! may be negative, and some may exceed 1.
//!
//! The same numbers give a second error bar. With other samples of the same distribution the eigenvalue would move, to first
//! order, as the mean of N w_n vᵀH_nv with v held fixed does: its standard error is the delete-one jackknife of that mean,
//! s/√N. Where eigenvalues lie closer than that error, the vectors move too, and the true error is larger.
//!
//! # Sources
//! Efron & Tibshirani 1993, *An Introduction to the Bootstrap*, ch. 11 (jackknife); Jaeckel 1972 (the infinitesimal jackknife,
//! of which this is the first-order term); Stewart & Sun 1990, theorem IV.2.3 (dλ = vᵀ dH v).

use eigenlens_autodiff::{At, Buffers, Exchange, Linearization, NodeId, Order, Workspace};
use eigenlens_linalg::reduce::dot;
use eigenlens_linalg::{Par, Real, View, Write, gemm};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Model, Objective, Part};
use rayon::prelude::*;

use crate::approximations::penalty;
use crate::estimate::Estimate;
use crate::kronecker::{self, Tile, holds};

/// w_n vᵀH_nv of every sample for several vectors: (vectors, N), without the penalty.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleQuotients {
    /// One row per vector.
    pub rows: Vec<Vec<f64>>,
    /// vᵀΛv: what the penalty adds to the sum of a row.
    pub penalty: Vec<f64>,
}

impl SampleQuotients {
    /// vᵀHv: the sum of a row and the penalty.
    pub fn total(&self, i: usize) -> f64 {
        self.rows[i].iter().sum::<f64>() + self.penalty[i]
    }

    /// Standard error of vᵀHv from the finite sample; NaN for one sample.
    pub fn data_error(&self, i: usize) -> f64 {
        data_error(&self.rows[i])
    }
}

/// Standard error of a sum Σ_n x_n of one term per sample, as a mean of N x_n: the delete-one jackknife.
pub fn data_error(terms: &[f64]) -> f64 {
    let n = terms.len() as f64;
    Estimate::from_samples(terms).sem * n
}

/// Terms by class: Σ of those of the samples with each label.
pub fn by_class(terms: &[f64], labels: &[usize], classes: usize) -> Vec<f64> {
    let mut sums = vec![0.0; classes];
    terms.iter().zip(labels).for_each(|(x, &label)| sums[label] += x);
    sums
}

/// The k terms of largest size, with their samples: descending, the first of equals first.
pub fn largest(terms: &[f64], k: usize) -> Vec<(usize, f64)> {
    let mut order: Vec<usize> = (0..terms.len()).collect();
    order.sort_by(|&a, &b| terms[b].abs().total_cmp(&terms[a].abs()).then(a.cmp(&b)));
    order.into_iter().take(k).map(|n| (n, terms[n])).collect()
}

/// The label of every sample, where each has exactly one: cross-entropy on one output per sample, or two classes by one output.
pub fn labels<T: Real>(objective: &Objective<'_, T>) -> Option<Vec<usize>> {
    let model = objective.model();
    if model.spec().loss != eigenlens_nets::Loss::CrossEntropy || model.target_size() != 1 {
        return None;
    }
    let of = |s: usize| objective.shard(s).0.value(model.target()).iter().map(|y| y.to_f64() as usize);
    Some((0..objective.shards()).flat_map(of).collect())
}

/// The quotients of unit vectors of a part, given one after the other.
///
/// For rows of a dense affine layer the perturbation V ẑ_n of its output goes through the layers above alone, all samples
/// together: 2 Σ_{m>ℓ} c_m multiply-adds per vector. Otherwise every sample is linearized by itself, which costs one gradient
/// and a product per vector, in small pieces. `None` where samples see each other (batch statistics), so that there is no H_n.
///
/// # Panics
/// If nothing was linearized with second order, or the lengths don't fit.
#[track_caller]
pub fn sample_quotients<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    kind: Kind,
    vectors: &[f64],
) -> Option<SampleQuotients> {
    let (model, p) = (objective.model(), part.len());
    assert!(vectors.len().is_multiple_of(p), "{} values as vectors of {p}", vectors.len());
    if model.graph().mixes_samples() {
        return None;
    }
    if vectors.is_empty() {
        return Some(SampleQuotients { rows: Vec::new(), penalty: Vec::new() });
    }
    let of_penalty = penalty(model, part);
    let rows = match Tile::of(model, part).filter(|t| holds(model, t.layer)) {
        Some(tile) => by_output(objective, &tile, kind, vectors),
        None => one_by_one(objective, part, kind, vectors),
    };
    let penalty = vectors.chunks_exact(p).map(|v| v.iter().zip(&of_penalty).map(|(v, l)| l * v * v).sum()).collect();
    Some(SampleQuotients { rows, penalty })
}

/// Through the output of a dense affine layer.
fn by_output<T: Real>(objective: &Objective<'_, T>, tile: &Tile, kind: Kind, vectors: &[f64]) -> Vec<Vec<f64>> {
    let layer = &objective.model().layers()[tile.layer];
    let (node, out, units) = (layer.output, layer.outputs, tile.units.len());
    let (d, p) = (tile.z_len(layer), tile.len(layer));
    let width = d - usize::from(tile.bias);
    let plan = objective.plan(&[node], &[node], kind).expect("a layer's output can be perturbed");
    let starts: Vec<usize> = (0..objective.shards())
        .scan(0, |at, s| {
            *at += objective.shard(s).0.batch();
            Some(*at - objective.shard(s).0.batch())
        })
        .collect();
    let z = kronecker::inputs(objective, tile);
    let count = vectors.len() / p;
    let at_once = objective.lane_window(objective.shard(0).0.batch()).min(count);
    let mut rows = vec![Vec::with_capacity(objective.samples()); count];
    for first in (0..count).step_by(at_once) {
        let lanes = at_once.min(count - first);
        let lists = objective.sweep_activations(
            &plan,
            lanes,
            |s, ws| {
                let batch = objective.shard(s).0.batch();
                let z = &z[starts[s] * d..(starts[s] + batch) * d];
                let tangent = ws.tangent_mut(node);
                tangent.fill(T::ZERO);
                let mut a = vec![0.0; batch * units];
                for (k, lane) in tangent.chunks_exact_mut(batch * out).enumerate() {
                    let v = &vectors[(first + k) * p..(first + k + 1) * p];
                    let (weights, biases) = v.split_at(units * width);
                    a.fill(0.0);
                    if width > 0 {
                        let (z, v) = (View::strided(z, batch, width, d), View::new(weights, units, width));
                        gemm(&mut a, Write::Set, 1.0, z, v.t(), Par::Seq);
                    }
                    for (lane, a) in lane.chunks_exact_mut(out).zip(a.chunks_exact_mut(units)) {
                        a.iter_mut().zip(biases).for_each(|(a, b)| *a += b);
                        lane[tile.units.clone()].iter_mut().zip(&*a).for_each(|(t, a)| *t = T::from_f64(*a));
                    }
                }
            },
            |_, ws| {
                let pairs = ws.tangent(node).chunks_exact(out).zip(ws.cotangent(node).chunks_exact(out));
                let product = |(t, c): (&[T], &[T])| t.iter().zip(c).map(|(t, c)| t.to_f64() * c.to_f64()).sum::<f64>();
                pairs.map(product).collect::<Vec<f64>>()
            },
        );
        for list in &lists {
            for (row, lane) in rows[first..].iter_mut().zip(list.chunks_exact(list.len() / lanes)) {
                row.extend(lane);
            }
        }
    }
    rows
}

/// Each sample as a function of its own.
fn one_by_one<T: Real>(objective: &Objective<'_, T>, part: &Part, kind: Kind, vectors: &[f64]) -> Vec<Vec<f64>> {
    /// Samples that share a linearization's memory.
    const CHUNK: usize = 16;
    let model = objective.model();
    let (nodes, directions) = directions(model, part, vectors);
    let count = vectors.len() / part.len();
    let plan = objective.plan(&nodes, &nodes, kind).expect("parameters can always be perturbed");
    let places: Vec<(usize, usize)> =
        (0..objective.shards()).flat_map(|s| (0..objective.shard(s).0.batch()).map(move |n| (s, n))).collect();
    let at = At { function: model.function(), theta: objective.theta() };
    let found: Vec<Vec<f64>> = places
        .par_chunks(CHUNK)
        .map(|places| {
            let mut lin = Linearization::new(model.function(), 1, Order::Second, Par::Seq);
            let (mut ws, mut out) = (Workspace::new(), model.function().param_buffers(count));
            let mut quotients = Vec::with_capacity(places.len() * count);
            for &(s, n) in places {
                let (shard, weights) = objective.shard(s);
                for (node, len) in [(model.input(), model.features()), (model.target(), model.target_size())] {
                    lin.input_mut(node).copy_from_slice(&shard.value(node)[n * len..(n + 1) * len]);
                }
                for buffer in model.buffers() {
                    lin.input_mut(buffer.node).copy_from_slice(shard.value(buffer.node));
                }
                let w = &weights[n..=n];
                lin.evaluate(at, w);
                lin.pull(at, w, None);
                ws.fit(model.function(), &plan, 1, count);
                let io = Exchange { directions: &directions, out: &mut out, write: Write::Set, first: 0 };
                lin.product(at, &plan, &mut ws, io);
                for k in 0..count {
                    let of = |node: &NodeId| {
                        let len = model.graph().shape(*node).size();
                        let lane = k * len..(k + 1) * len;
                        let pairs = directions[node.index()][lane.clone()].iter().zip(&out[node.index()][lane]);
                        pairs.map(|(v, h)| v.to_f64() * h.to_f64()).sum::<f64>()
                    };
                    quotients.push(nodes.iter().map(of).sum());
                }
            }
            quotients
        })
        .collect();
    let all: Vec<f64> = found.into_iter().flatten().collect();
    (0..count).map(|k| all.iter().skip(k).step_by(count).copied().collect()).collect()
}

/// The tensors that a part touches, and vectors of the part in buffers of their size, with zeros around.
pub(crate) fn directions<T: Real>(model: &Model<T>, part: &Part, vectors: &[f64]) -> (Vec<NodeId>, Buffers<T>) {
    let (graph, p) = (model.graph(), part.len());
    let count = vectors.len() / p;
    let mut buffers: Buffers<T> = (0..graph.len()).map(|_| Vec::new()).collect();
    let mut nodes = Vec::new();
    for &node in graph.params() {
        let tensor = graph.param_range(node);
        let mut at = 0;
        for r in &part.ranges {
            let (from, to) = (r.start.max(tensor.start), r.end.min(tensor.end));
            if from < to {
                let buffer = &mut buffers[node.index()];
                buffer.resize(count * tensor.len(), T::ZERO);
                if nodes.last() != Some(&node) {
                    nodes.push(node);
                }
                for (k, lane) in buffer.chunks_exact_mut(tensor.len()).enumerate() {
                    let v = &vectors[k * p + at + (from - r.start)..][..to - from];
                    lane[from - tensor.start..to - tensor.start]
                        .iter_mut()
                        .zip(v)
                        .for_each(|(x, v)| *x = T::from_f64(*v));
                }
            }
            at += r.len();
        }
    }
    (nodes, buffers)
}

/// w_n tr H_n of every sample for rows of a dense affine layer, tr M_n · ‖ẑ_n‖²; `None` for other parts.
///
/// Cost: one lane for each output through the layers above.
///
/// # Panics
/// If nothing was linearized with second order.
#[track_caller]
pub fn sample_traces<T: Real>(objective: &Objective<'_, T>, part: &Part, kind: Kind) -> Option<Vec<f64>> {
    let model = objective.model();
    let tile = Tile::of(model, part).filter(|t| holds(model, t.layer))?;
    let layer = &model.layers()[tile.layer];
    let (node, out, units, d) = (layer.output, layer.outputs, tile.units.len(), tile.z_len(layer));
    let plan = objective.plan(&[node], &[node], kind).expect("a layer's output can be perturbed");
    let mut traces = vec![0.0; objective.samples()];
    let at_once = objective.lane_window(objective.shard(0).0.batch()).min(units);
    for first in (0..units).step_by(at_once) {
        let lanes = at_once.min(units - first);
        let unit = |k: usize| tile.units.start + first + k;
        let lists = objective.sweep_activations(
            &plan,
            lanes,
            |_, ws| {
                let tangent = ws.tangent_mut(node);
                tangent.fill(T::ZERO);
                let lane = tangent.len() / lanes;
                for (k, lane) in tangent.chunks_exact_mut(lane).enumerate() {
                    lane.iter_mut().skip(unit(k)).step_by(out).for_each(|x| *x = T::ONE);
                }
            },
            |_, ws| {
                let cotangent = ws.cotangent(node);
                let lane = cotangent.len() / lanes;
                let diagonal =
                    |row: usize| (0..lanes).map(|k| cotangent[k * lane + row * out + unit(k)].to_f64()).sum();
                (0..lane / out).map(diagonal).collect::<Vec<f64>>()
            },
        );
        traces.iter_mut().zip(lists.iter().flatten()).for_each(|(t, m)| *t += m);
    }
    let z = kronecker::inputs(objective, &tile);
    traces.iter_mut().zip(z.chunks_exact(d)).for_each(|(t, z)| *t *= dot(z, z));
    Some(traces)
}

#[cfg(test)]
mod tests;
