//! Where the outliers of a classifier's curvature come from: the Gauss–Newton block taken apart by class and cross-class.
//!
//! With cross-entropy on C classes, p_n the predicted probabilities and J_n the Jacobian of the C outputs,
//! G = Σ_n w_n J_nᵀ (diag p_n − p_n p_nᵀ) J_n = Σ_n Σ_c' w_n p_{n,c'} g_{n,c'} g_{n,c'}ᵀ with the extended gradients
//! g_{n,c'} = J_nᵀ(e_c' − p_n): minus the gradient that sample n would have if its label were c'. Let n run over the samples of
//! class c, with the weights w_{n,c'} = w_n p_{n,c'}, their sums W_{c,c'}, and the weighted means
//!
//! - of a cross-class, g_{c,c'} = Σ_n w_{n,c'} g_{n,c'} / W_{c,c'};
//! - of a class, g_c = Σ_{c'≠c} W_{c,c'} g_{c,c'} / W_c with W_c = Σ_{c'≠c} W_{c,c'}.
//!
//! Then G = G_0 + G_1 + G_2 + G_3, each positive semidefinite:
//!
//! | part | what | rank at most |
//! |---|---|---|
//! | G_0 | Σ_c W_{c,c} g_{c,c} g_{c,c}ᵀ: gradients towards the own label | C |
//! | G_1 | Σ_c W_c g_c g_cᵀ: class means, the outliers | C |
//! | G_2 | Σ_{c≠c'} W_{c,c'} (g_{c,c'} − g_c)(g_{c,c'} − g_c)ᵀ: cross-class means about their class mean | C (C − 2) |
//! | G_3 | Σ_n Σ_c' w_{n,c'} (g_{n,c'} − g_{c,c'})(g_{n,c'} − g_{c,c'})ᵀ: samples about their cross-class mean, the bulk | |
//!
//! # Sources
//! Papyan 2020, *Traces of class/cross-class structure pervade deep learning spectra* (this weighted form); Papyan 2019,
//! *Measurements of three-level hierarchical structure in the outliers in the spectrum of deepnet Hessians*.

use eigenlens_autodiff::{At, Curvature, Exchange, Plan, Workspace};
use eigenlens_linalg::dense::{self, DenseError};
use eigenlens_linalg::{Par, Real, View, Write, gemm};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Objective, Part};
use rayon::prelude::*;

use crate::estimate::{Quantity, Uncertainty};
use crate::metrics::put;
use crate::per_sample::{directions, labels, sample_traces};
use crate::spectrum::Spectrum;

/// The parts G_0, G_1 and G_2 of the Gauss–Newton block of one part of θ, without the penalty.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassStructure {
    /// C.
    pub classes: usize,
    /// The eigenvalues of G_0, G_1 and G_2 that need not be zero, descending.
    pub eigenvalues: [Vec<f64>; 3],
    /// tr G_0, tr G_1, tr G_2.
    pub traces: [f64; 3],
    /// tr G, where it is known from structure: tr G_3 is the rest.
    pub total: Option<f64>,
}

impl ClassStructure {
    /// tr G_k / tr G for k = 0, 1, 2.
    pub fn shares(&self) -> Option<[f64; 3]> {
        self.total.filter(|t| *t > 0.0).map(|total| self.traces.map(|t| t / total))
    }
}

/// What the class means may cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassOptions {
    /// Bytes of all C² cross-class means, and of their inner products. Default 256 MiB.
    pub bytes: f64,
}

impl Default for ClassOptions {
    fn default() -> Self {
        ClassOptions { bytes: (1_u64 << 28) as f64 }
    }
}

/// The C² cross-class means of a part, and their weights.
struct Means {
    classes: usize,
    /// W_{c,c'}.
    weights: Vec<f64>,
    /// g_{c,c'}, (C², p).
    vectors: Vec<f64>,
}

/// The class structure of a part. `None` where there are no classes (another loss, several labels per sample, weights of
/// classes in the loss), where samples see each other, or where the means would exceed the options.
///
/// Cost: C² pull-backs through the whole network, and the traces of [`sample_traces`].
///
/// # Errors
/// A mean that is not finite.
/// # Panics
/// If nothing was linearized with second order.
#[track_caller]
pub fn class_structure<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    options: &ClassOptions,
) -> Result<Option<ClassStructure>, DenseError> {
    let model = objective.model();
    let c = model.outputs();
    let pairs = (c * c) as f64;
    let too_large = 8.0 * pairs * pairs.max(part.len() as f64) > options.bytes;
    if too_large || model.graph().mixes_samples() || !model.spec().weighting.classes.is_empty() {
        return Ok(None);
    }
    let Some(labels) = labels(objective) else { return Ok(None) };
    let means = means(objective, part, &labels);
    let (eigenvalues, traces) = means.parts()?;
    let total = sample_traces(objective, part, Kind::GaussNewton).map(|t| t.iter().sum());
    Ok(Some(ClassStructure { classes: c, eigenvalues, traces, total }))
}

/// Class counts beside the outliers of a spectrum: `classes`, λ_{C−1}/λ_C and λ_C/λ_{C+1}, where these eigenvalues are known and
/// not zero to the threshold τ.
pub fn class_ratios(spectrum: &Spectrum, classes: usize, tau: f64) -> Vec<Quantity> {
    let mut out = Vec::new();
    put(&mut out, "classes", classes as f64, None);
    let floor = tau * spectrum.magnitude();
    let mut ratio = |name, k: usize| {
        let Some((a, b)) = k.checked_sub(1).and_then(|above| spectrum.largest(above).zip(spectrum.largest(k))) else {
            return;
        };
        if b.value > floor && b.value > b.residual {
            // |a/b − a'/b'| ≤ (r_a + |a/b| r_b) / (b − r_b).
            let value = a.value / b.value;
            let bound = (a.residual + value.abs() * b.residual) / (b.value - b.residual);
            let exact = matches!(spectrum, Spectrum::Exact { .. });
            put(&mut out, name, value, (!exact).then_some(Uncertainty::Residual(bound)));
        }
    };
    ratio("ratio_below_classes", classes.saturating_sub(1));
    ratio("ratio_at_classes", classes);
    out
}

/// Probabilities of every sample from its outputs, row by row.
fn probabilities<T: Real>(outputs: &[T], c: usize) -> Vec<f64> {
    let mut p: Vec<f64> = outputs.iter().map(|x| x.to_f64()).collect();
    for row in p.chunks_exact_mut(c) {
        let top = row.iter().fold(f64::NEG_INFINITY, |m, x| m.max(*x));
        row.iter_mut().for_each(|x| *x = (*x - top).exp());
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|x| *x /= sum);
    }
    p
}

fn means<T: Real>(objective: &Objective<'_, T>, part: &Part, labels: &[usize]) -> Means {
    let model = objective.model();
    let (c, p, head) = (model.outputs(), part.len(), model.logits());
    // Only which tensors the part lies in.
    let (nodes, _) = directions::<T>(model, part, &vec![0.0; p]);
    let plan = Plan::new(model.graph(), &[], &[head], &nodes, Curvature::None).expect("outputs are no parameters");
    let at = At { function: model.function(), theta: objective.theta() };
    let probabilities: Vec<Vec<f64>> =
        (0..objective.shards()).map(|s| probabilities(objective.shard(s).0.value(head), c)).collect();
    let starts: Vec<usize> = (0..objective.shards())
        .scan(0, |at, s| {
            let start = *at;
            *at += objective.shard(s).0.batch();
            Some(start)
        })
        .collect();
    let pairs: Vec<usize> = (0..c * c).collect();
    let window = objective.lane_window(objective.shard(0).0.batch());
    // Each window of lanes goes through all shards in order, by itself: any number of threads gives the same bits.
    let found: Vec<(Vec<f64>, Vec<f64>)> = pairs
        .par_chunks(window)
        .map(|pairs| {
            let lanes = pairs.len();
            let (mut ws, mut out) = (Workspace::new(), model.function().param_buffers(lanes));
            let (mut sums, mut weights) = (vec![0.0; lanes * p], vec![0.0; lanes]);
            for (s, probabilities) in probabilities.iter().enumerate() {
                let (lin, w) = objective.shard(s);
                ws.fit(model.function(), &plan, lin.batch(), lanes);
                let cotangent = ws.cotangent_mut(head);
                cotangent.fill(T::ZERO);
                for (k, (lane, pair)) in cotangent.chunks_exact_mut(lin.batch() * c).zip(pairs).enumerate() {
                    let (class, other) = (pair / c, pair % c);
                    for (n, (row, prob)) in lane.chunks_exact_mut(c).zip(probabilities.chunks_exact(c)).enumerate() {
                        if labels[starts[s] + n] == class {
                            let weight = w[n].to_f64() * prob[other];
                            weights[k] += weight;
                            for (j, x) in row.iter_mut().enumerate() {
                                *x = T::from_f64(weight * (f64::from(u8::from(j == other)) - prob[j]));
                            }
                        }
                    }
                }
                let none = Vec::new();
                let io = Exchange { directions: &none, out: &mut out, write: Write::Set, first: 0 };
                lin.product(at, &plan, &mut ws, io);
                for (k, sums) in sums.chunks_exact_mut(p).enumerate() {
                    let mut at = 0;
                    for r in &part.ranges {
                        for &node in &nodes {
                            let tensor = model.graph().param_range(node);
                            let (from, to) = (r.start.max(tensor.start), r.end.min(tensor.end));
                            if from < to {
                                let lane = &out[node.index()][k * tensor.len()..(k + 1) * tensor.len()];
                                let own = &lane[from - tensor.start..to - tensor.start];
                                let place = at + from - r.start;
                                sums[place..].iter_mut().zip(own).for_each(|(s, x)| *s += x.to_f64());
                            }
                        }
                        at += r.len();
                    }
                }
            }
            // A class without samples, or a label that has no probability, has no mean, and weighs nothing.
            for (sum, w) in sums.chunks_exact_mut(p).zip(&weights).filter(|(_, w)| **w > 0.0) {
                sum.iter_mut().for_each(|x| *x /= w);
            }
            (weights, sums)
        })
        .collect();
    let (weights, vectors): (Vec<Vec<f64>>, Vec<Vec<f64>>) = found.into_iter().unzip();
    Means { classes: c, weights: weights.concat(), vectors: vectors.concat() }
}

impl Means {
    /// Eigenvalues and traces of G_0, G_1, G_2, from the inner products of the means alone.
    fn parts(&self) -> Result<([Vec<f64>; 3], [f64; 3]), DenseError> {
        let (c, rows) = (self.classes, self.classes * self.classes);
        let p = self.vectors.len() / rows;
        let mut gram = vec![0.0; rows * rows];
        let all = View::new(&self.vectors, rows, p);
        gemm(&mut gram, Write::Set, 1.0, all, all.t(), Par::rayon(rayon::current_num_threads()));
        // Each part is K Kᵀ with columns that are combinations of the means: their coefficients, (columns, C²).
        let w = |class: usize, other: usize| self.weights[class * c + other];
        let others = |class: usize| (0..c).filter(move |other| *other != class);
        let mut own = Vec::new();
        let (mut classes, mut crosses) = (Vec::new(), Vec::new());
        for class in 0..c {
            let mut row = vec![0.0; rows];
            row[class * c + class] = w(class, class).sqrt();
            own.extend(row);
            let total: f64 = others(class).map(|other| w(class, other)).sum();
            let mut mean = vec![0.0; rows];
            if total > 0.0 {
                others(class).for_each(|other| mean[class * c + other] = w(class, other) / total);
            }
            classes.extend(mean.iter().map(|x| x * total.sqrt()));
            for other in others(class) {
                let mut row: Vec<f64> = mean.iter().map(|x| -x).collect();
                row[class * c + other] += 1.0;
                crosses.extend(row.iter().map(|x| x * w(class, other).sqrt()));
            }
        }
        let spectrum = |k: &[f64]| -> Result<Vec<f64>, DenseError> {
            let columns = k.len() / rows;
            let (mut kg, mut inner) = (vec![0.0; columns * rows], vec![0.0; columns * columns]);
            let k = View::new(k, columns, rows);
            gemm(&mut kg, Write::Set, 1.0, k, View::new(&gram, rows, rows), Par::Seq);
            gemm(&mut inner, Write::Set, 1.0, View::new(&kg, columns, rows), k.t(), Par::Seq);
            let mut values = dense::eigenvalues(columns, &inner)?;
            // Positive semidefinite: what is below zero is rounding.
            values.iter_mut().for_each(|x| *x = x.max(0.0));
            values.reverse();
            Ok(values)
        };
        let eigenvalues = [spectrum(&own)?, spectrum(&classes)?, spectrum(&crosses)?];
        let traces = [0, 1, 2].map(|i| eigenvalues[i].iter().sum());
        Ok((eigenvalues, traces))
    }
}

#[cfg(test)]
mod tests;
