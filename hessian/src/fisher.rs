//! Second moments of per-sample gradients g_n = ∂ℓ_n/∂θ: the Fisher matrix, the empirical Fisher matrix, the covariance.
//!
//! | [`Moment`] | matrix |
//! |---|---|
//! | [`Drawn`](Moment::Drawn) | F = Σ_n w_n (1/D) Σ_d g_nd g_ndᵀ, labels drawn from the network itself: an estimate of the Fisher matrix |
//! | [`Given`](Moment::Given) | E = Σ_n w_n g_n g_nᵀ, the given labels: the empirical Fisher matrix |
//! | [`Centred`](Moment::Centred) | C = Σ_n w_n (g_n − ḡ)(g_n − ḡ)ᵀ = E − W ḡ ḡᵀ, W = Σ w_n, ḡ = Σ w_n g_n / W: the covariance of gradients |
//!
//! w_n = 1/N for a mean over samples. The penalty depends on no label and has no part in them.
//!
//! With J_n = ∂o_n/∂θ and the score r_n = ∂ℓ_n/∂o_n, g_n = J_nᵀ r_n: a product is a sweep forwards, the map ȯ_n ↦
//! w_n r_n r_nᵀ ȯ_n between, and a sweep back, with what is cached already. No gradient of a sample is ever formed, and more
//! draws cost no more sweeps.
//!
//! Where the loss is c times a negative log-likelihood − as a mean over outputs or positions is −, a drawn score is √c times
//! that of the likelihood: E F = c · Fisher matrix = the Gauss–Newton matrix, for cross-entropy (labels of each position
//! from the softmax), binary cross-entropy (independent 0 and 1 for each output) and squared errors (normal with the
//! variance that makes the loss a likelihood).
//!
//! # Sources
//! Martens 2020, "New insights and perspectives on the natural gradient method", §9, for the three losses; Kunstner, Balles &
//! Hennig 2019, "Limitations of the empirical Fisher approximation", on why E is no estimate of F.

use std::fmt;
use std::sync::Mutex;

use eigenlens_autodiff::{Curvature, Plan};
use eigenlens_linalg::reduce::dot;
use eigenlens_linalg::{LinearOperator, Real};
use eigenlens_nets::{Model, Objective, Part};

use crate::operator::{Buffers, Cut, lanes_for};

mod exact;
mod labels;

pub use exact::{FisherError, block, choose};

/// Which second moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Labels drawn from the network's own distribution: those of a sample depend on the seed and its place alone.
    Drawn {
        /// Seed of the labels.
        seed: u64,
        /// D, labels drawn for each sample; at least 1. With the same seed, more draws begin with the fewer.
        draws: usize,
    },
    /// The given labels.
    Given,
    /// The given labels, about the mean gradient.
    Centred,
}

impl Moment {
    /// Whether a network's loss has it.
    ///
    /// # Errors
    /// Labels that can't be drawn.
    pub fn check<T: Real>(self, model: &Model<T>) -> Result<(), LabelError> {
        match self {
            Moment::Drawn { draws: 0, .. } => Err(LabelError::NoDraws),
            Moment::Drawn { .. } if !model.spec().weighting.classes.is_empty() => Err(LabelError::ClassWeights),
            _ => Ok(()),
        }
    }

    /// Gradients that a sample contributes.
    fn draws(self) -> usize {
        if let Moment::Drawn { draws, .. } = self { draws } else { 1 }
    }
}

/// Why labels can't be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Class weights.
    #[error(
        "with class weights the loss is no likelihood, so that no labels can be drawn from the network; take the Gauss–Newton matrix, which is the Fisher matrix without them, or leave the class weights out"
    )]
    ClassWeights,
    /// No draws.
    #[error("labels drawn for each sample: at least 1")]
    NoDraws,
}

/// A second moment of per-sample gradients with respect to a part of θ, as an operator: positive semidefinite.
///
/// Cost per column with cached primals: that of a Gauss–Newton product. Memory: D N C values for C outputs.
pub struct Fisher<'o, 'm, T: Real> {
    objective: &'o Objective<'m, T>,
    moment: Moment,
    /// To the outputs, and back.
    plans: [Plan; 2],
    cut: Cut,
    /// r of each sample and draw, (N, D, C), without the weight.
    scores: Vec<f64>,
    /// Samples before each shard.
    starts: Vec<usize>,
    /// ḡ, if the moment is about it.
    mean: Option<Vec<f64>>,
    lanes: usize,
    buffers: Mutex<Buffers>,
}

impl<T: Real> fmt::Debug for Fisher<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fisher").field("moment", &self.moment).field("cut", &self.cut).finish_non_exhaustive()
    }
}

impl<'o, 'm, T: Real> Fisher<'o, 'm, T> {
    /// At the point where the objective was linearized.
    ///
    /// # Errors
    /// Labels that can't be drawn.
    /// # Panics
    /// If nothing was linearized, or the part reaches beyond θ.
    #[track_caller]
    pub fn new(objective: &'o Objective<'m, T>, part: &Part, moment: Moment) -> Result<Self, LabelError> {
        let model = objective.model();
        let (graph, head) = (model.graph(), model.logits());
        assert!(part.ranges.last().is_none_or(|r| r.end <= graph.param_len()), "{part:?} is no part of this θ");
        let (params, cut) = Cut::new(graph, part);
        let plan = |seeds: &[_], sources: &[_], targets: &[_]| {
            Plan::new(graph, seeds, sources, targets, Curvature::None).expect("parameters are not nested")
        };
        let mut starts = vec![0];
        starts.extend((0..objective.shards()).map(|s| objective.shard(s).0.batch()));
        for s in 1..starts.len() {
            starts[s] += starts[s - 1];
        }
        moment.check(model)?;
        let scores = match moment {
            Moment::Drawn { seed, draws } => labels::drawn(objective, seed, draws),
            Moment::Given | Moment::Centred => labels::given(objective),
        };
        let plans = [plan(&params, &[], &[]), plan(&[], &[head], &params)];
        let lanes = lanes_for(cut.width);
        let mut fisher =
            Fisher { objective, moment, plans, cut, scores, starts, mean: None, lanes, buffers: Mutex::default() };
        if moment == Moment::Centred {
            let total = fisher.total();
            let mut mean = vec![0.0; part.len()];
            fisher.pull(1, &mut mean, |_, w| w / total);
            fisher.mean = Some(mean);
        }
        Ok(fisher)
    }

    /// W = Σ w_n.
    fn total(&self) -> f64 {
        let of = |s: usize| self.objective.shard(s).1.iter().map(|w| w.to_f64()).sum::<f64>();
        (0..self.objective.shards()).map(of).sum()
    }

    /// Values of the output, C.
    fn outputs(&self) -> usize {
        self.objective.model().outputs()
    }

    /// The scores of a sample, (D, C).
    fn scores(&self, sample: usize) -> &[f64] {
        let len = self.moment.draws() * self.outputs();
        &self.scores[sample * len..(sample + 1) * len]
    }

    /// y ← Σ_n c_n Σ_d g_nd, the coefficient from sample and weight; columns are the same, one for each lane.
    fn pull(&self, lanes: usize, y: &mut [f64], coefficient: impl Fn(usize, f64) -> f64 + Sync) {
        let (head, c) = (self.objective.model().logits(), self.outputs());
        let nothing = Plan::new(self.objective.model().graph(), &[], &[], &[], Curvature::None);
        let nothing = nothing.expect("nothing is perturbed");
        self.through([&nothing, &self.plans[1]], lanes, &[], y, |shard, _, ws| {
            let weights = self.objective.shard(shard).1;
            let cotangent = ws.cotangent_mut(head);
            cotangent.fill(T::ZERO);
            for (n, row) in cotangent.chunks_exact_mut(c).enumerate() {
                let n = n % weights.len();
                let sample = self.starts[shard] + n;
                let factor = coefficient(sample, weights[n].to_f64());
                for score in self.scores(sample).chunks_exact(c) {
                    row.iter_mut().zip(score).for_each(|(x, r)| *x += T::from_f64(factor * r));
                }
            }
        });
    }

    /// [`Objective::sandwich`] with columns of the part.
    fn through(
        &self,
        plans: [&Plan; 2],
        lanes: usize,
        x: &[f64],
        y: &mut [f64],
        middle: impl Fn(usize, usize, &mut eigenlens_autodiff::Workspace<T>) + Sync,
    ) {
        if self.cut.is_all() {
            return self.objective.sandwich(plans, lanes, x, y, middle);
        }
        let mut buffers = self.buffers.lock().expect("no product panicked");
        let Buffers { from, to } = &mut *buffers;
        let size = |columns: &[f64]| columns.len() / self.cut.len.max(1) * self.cut.width;
        from.resize(size(x), 0.0);
        to.resize(size(y), 0.0);
        self.cut.embed(x, from);
        self.objective.sandwich(plans, lanes, from, to, middle);
        self.cut.gather(to, y);
    }

    /// As many columns as go together.
    fn window(&self, k: usize, x: &[f64], y: &mut [f64]) {
        let (head, c, draws) = (self.objective.model().logits(), self.outputs(), self.moment.draws());
        let p = self.cut.len;
        // ḡᵀ x is taken off before the way back: a difference of products would lose the digits of a small covariance.
        let means = |lane: usize| self.mean.as_ref().map_or(0.0, |mean| dot(mean, &x[lane * p..(lane + 1) * p]));
        let [push, pull] = &self.plans;
        self.through([push, pull], k, x, y, |shard, first, ws| {
            let weights = self.objective.shard(shard).1;
            let lanes = ws.lanes();
            let (tangent, cotangent) = ws.tangent_and_cotangent(head);
            let rows = weights.len();
            for lane in 0..lanes {
                let mean = means(first + lane);
                let at = lane * rows * c..(lane + 1) * rows * c;
                let pairs = tangent[at.clone()].chunks_exact(c).zip(cotangent[at].chunks_exact_mut(c));
                for (n, (tangent, cotangent)) in pairs.enumerate() {
                    cotangent.fill(T::ZERO);
                    let weight = weights[n].to_f64() / draws as f64;
                    for score in self.scores(self.starts[shard] + n).chunks_exact(c) {
                        let slope: f64 = score.iter().zip(tangent).map(|(r, t)| r * t.to_f64()).sum();
                        let factor = weight * (slope - mean);
                        cotangent.iter_mut().zip(score).for_each(|(x, r)| *x += T::from_f64(factor * r));
                    }
                }
            }
        });
    }
}

impl<T: Real> LinearOperator for Fisher<'_, '_, T> {
    fn dim(&self) -> usize {
        self.cut.len
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        let p = self.cut.len;
        assert_eq!((x.len(), y.len()), (k * p, k * p), "{k} columns of {p}");
        for (x, y) in x.chunks((self.lanes * p).max(1)).zip(y.chunks_mut((self.lanes * p).max(1))) {
            self.window(x.len() / p, x, y);
        }
    }

    fn lanes(&self) -> usize {
        self.lanes
    }
}

#[cfg(test)]
mod tests;
