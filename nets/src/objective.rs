//! The mean loss over a data set and its products, cut into shards that fit the cache and run in parallel.
//!
//! Shards and the groups that add them up depend on the problem alone, never on the number of threads: each group adds
//! its shards in order, and groups are added in order in f64, so that any number of threads gives the same bits.

use std::ops::Range;
use std::sync::Mutex;

use eigenlens_autodiff::{At, Buffers, Curvature, Linearization, NodeId, Order, Plan, PlanError, Workspace};
use eigenlens_linalg::{Par, Real, Write};
use rayon::prelude::*;
use thiserror::Error;

use crate::data::{Dataset, Targets};
use crate::model::{CutBlock, Loss, Model};

mod products;

use products::{add_groups, fit_params};

/// Samples as a network takes them: inputs and targets, row-major, in f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Number of samples N.
    pub n: usize,
    /// Inputs, shape (N, features).
    pub x: Vec<f64>,
    /// Labels (N) or target values (N, outputs).
    pub y: Vec<f64>,
    /// Factors w_n ≥ 0 on the samples' losses, with mean 1; empty if all are 1.
    pub w: Vec<f64>,
}

/// Why samples don't fit a network.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SampleError {
    /// No samples at all.
    #[error("there are no samples; check the split fractions and row limits")]
    Empty,
    /// Another number of inputs than the network has.
    #[error(
        "the data have {data} values per sample, the network takes {model}; set the network's input width to {data}"
    )]
    Inputs {
        /// What the data have.
        data: usize,
        /// What the network takes.
        model: usize,
    },
    /// Another number of targets than the loss takes.
    #[error(
        "the data have {data} target values per sample, the loss `{loss}` on {outputs} outputs takes {model}; end with one \
         vector per sample, for example by a flatten or mean-tokens layer before the last linear one"
    )]
    Targets {
        /// What the data have.
        data: usize,
        /// What the loss takes.
        model: usize,
        /// The loss.
        loss: Loss,
        /// Network outputs.
        outputs: usize,
    },
    /// A label outside 0..C.
    #[error("sample {row} has the label {label}, the network has {classes} outputs (labels 0 to {}); widen the last layer", classes - 1)]
    Label {
        /// Which sample.
        row: usize,
        /// Its label.
        label: f64,
        /// Network outputs.
        classes: usize,
    },
    /// The loss needs another kind of target.
    #[error("the loss `{loss}` needs {needs}, the data set has {has}")]
    Kind {
        /// The loss.
        loss: Loss,
        /// What it needs.
        needs: &'static str,
        /// What there is.
        has: &'static str,
    },
    /// An index that an embedding has no row for.
    #[error("sample {row} has the value {value}, and `{layer}` reads indices below {vocabulary}; widen its vocabulary")]
    Index {
        /// Which sample.
        row: usize,
        /// Its value.
        value: f64,
        /// The embedding.
        layer: String,
        /// Rows of its table.
        vocabulary: usize,
    },
    /// A layer that normalises over the samples, and too few of them.
    #[error(
        "layer `{layer}` normalises over the samples and needs at least {least}, there are {samples}; take more, or the running statistics"
    )]
    TooFew {
        /// The layer.
        layer: String,
        /// Samples it needs.
        least: usize,
        /// Samples there are.
        samples: usize,
    },
    /// Weights that are all 0.
    #[error("all {rows} samples of a part have the weight 0; give larger parts, or some rows a weight above 0")]
    NoWeight {
        /// Samples of the part.
        rows: usize,
    },
    /// A factor that is negative or not finite, or factors for another number of samples.
    #[error("sample {row} of {samples} has the weight {weight}; weights are finite and not negative, one per sample")]
    Weight {
        /// Which sample; how many weights there are if there are too many or too few.
        row: usize,
        /// How many samples there are.
        samples: usize,
        /// Its weight.
        weight: f64,
    },
    /// NaN or infinity.
    #[error("sample {row} has a value that is not finite; clean the data first")]
    NonFinite {
        /// Which sample.
        row: usize,
    },
}

impl Samples {
    /// The samples of a data set for a loss: labels for cross-entropy; labels as one-hot rows (or one 0/1 column for two
    /// classes and one output) for bce and mse; values as they are.
    ///
    /// # Errors
    /// If the targets are of the wrong kind for the loss.
    pub fn new(data: &Dataset, loss: Loss, outputs: usize) -> Result<Self, SampleError> {
        let y = match (&data.targets, loss) {
            (Targets::Classes { labels, .. }, Loss::CrossEntropy) => labels.iter().map(|&l| f64::from(l)).collect(),
            (Targets::Sequences { labels, .. }, Loss::CrossEntropy) => labels.iter().map(|&l| f64::from(l)).collect(),
            (Targets::Sequences { .. }, Loss::Bce | Loss::Mse) => {
                let (needs, has) = ("one target per row", "one label for each position; use the loss `cross-entropy`");
                return Err(SampleError::Kind { loss, needs, has });
            }
            (Targets::Classes { labels, names }, Loss::Bce | Loss::Mse) => {
                if outputs == 1 && names.len() == 2 {
                    labels.iter().map(|&l| f64::from(l)).collect()
                } else {
                    let classes = names.len();
                    labels
                        .iter()
                        .flat_map(|&l| (0..classes).map(move |c| f64::from(u8::from(c == l as usize))))
                        .collect()
                }
            }
            (Targets::Values { values, .. }, Loss::Mse | Loss::Bce) => values.clone(),
            (Targets::Values { .. }, Loss::CrossEntropy) => {
                return Err(SampleError::Kind { loss, needs: "class labels", has: "real targets; use the loss `mse`" });
            }
        };
        // Σ w ℓ / Σ w, by factors of mean 1.
        let w = data.weights.as_deref().unwrap_or_default();
        let mean = w.iter().sum::<f64>() / w.len().max(1) as f64;
        if !w.is_empty() && mean <= 0.0 {
            return Err(SampleError::NoWeight { rows: w.len() });
        }
        Ok(Samples { n: data.rows, x: data.x.clone(), y, w: w.iter().map(|w| w / mean).collect() })
    }

    /// w_n.
    ///
    /// # Panics
    /// If there are weights and none for this sample.
    #[track_caller]
    pub fn weight(&self, n: usize) -> f64 {
        if self.w.is_empty() { 1.0 } else { self.w[n] }
    }

    /// Whether there are enough of them for the analysed network: batch norm over the samples needs two.
    ///
    /// # Errors
    /// If not, with the layer.
    pub fn enough<T: Real>(&self, model: &Model<T>) -> Result<(), SampleError> {
        let graph = model.graph();
        match graph.least_batch().filter(|(_, least)| self.n < *least) {
            Some((node, least)) => {
                Err(SampleError::TooFew { layer: graph.name(node).to_string(), least, samples: self.n })
            }
            None => Ok(()),
        }
    }

    /// Whether these samples fit a network.
    ///
    /// # Errors
    /// If they don't: what, where, and what to do.
    pub fn check<T: Real>(&self, model: &Model<T>) -> Result<(), SampleError> {
        if self.n == 0 {
            return Err(SampleError::Empty);
        }
        let (inputs, outputs, loss) = (model.features(), model.outputs(), model.spec().loss);
        if self.x.len() != self.n * inputs {
            return Err(SampleError::Inputs { data: self.x.len() / self.n, model: inputs });
        }
        let targets = model.target_size();
        if self.y.len() != self.n * targets {
            return Err(SampleError::Targets { data: self.y.len() / self.n, model: targets, loss, outputs });
        }
        let finite = |v: &[f64], width: usize| v.chunks(width.max(1)).position(|r| r.iter().any(|x| !x.is_finite()));
        if let Some(row) = finite(&self.x, inputs).or_else(|| finite(&self.y, targets)) {
            return Err(SampleError::NonFinite { row });
        }
        let fits = self.w.is_empty() || self.w.len() == self.n;
        if let Some(row) = self.w.iter().position(|w| !(w.is_finite() && *w >= 0.0)).or((!fits).then_some(self.w.len()))
        {
            let weight = self.w.get(row).copied().unwrap_or(f64::NAN);
            return Err(SampleError::Weight { row, samples: self.n, weight });
        }
        if let Some((layer, vocabulary)) = model.spec().embedding() {
            let bad = |x: &f64| !(0.0..vocabulary as f64).contains(x) || x.fract() != 0.0;
            if let Some(at) = self.x.iter().position(bad) {
                let (row, value) = (at / inputs, self.x[at]);
                return Err(SampleError::Index { row, value, layer, vocabulary });
            }
        }
        if loss == Loss::CrossEntropy {
            let classes = model.classes();
            let bad = |&l: &f64| l < 0.0 || l >= classes as f64 || l.fract() != 0.0;
            if let Some(at) = self.y.iter().position(bad) {
                return Err(SampleError::Label { row: at / targets, label: self.y[at], classes });
            }
        }
        if loss == Loss::Bce
            && let Some(at) = self.y.iter().position(|t| !(0.0..=1.0).contains(t))
        {
            let row = at / targets;
            return Err(SampleError::Label { row, label: self.y[at], classes: 2 });
        }
        Ok(())
    }
}

/// How per-sample losses are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// (1/N) Σ w_n ℓ_n.
    Mean,
    /// Σ w_n ℓ_n.
    Sum,
}

/// How an objective is cut up. The default suits the cache; tests use small values to reach every path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cut {
    /// Samples per shard; chosen from the network if `None`.
    pub rows: Option<usize>,
    /// Groups of shards that run in parallel; chosen from the problem if `None`.
    pub groups: Option<usize>,
}

/// What one group of shards needs for products: reused, so that products don't allocate.
#[derive(Debug)]
struct Group<T> {
    shards: Range<usize>,
    workspace: Workspace<T>,
    out: Buffers<T>,
}

#[derive(Debug)]
struct Products<T> {
    directions: Buffers<T>,
    groups: Vec<Group<T>>,
}

/// L(θ) = (1/N) Σ_n w_n ℓ_n(θ) + (λ/2) ‖θ‖², linearized at one θ at a time.
///
/// Memory: all values, and with [`Order::Second`] all cotangents, of all samples; see [`Objective::bytes`].
#[derive(Debug)]
pub struct Objective<'m, T: Real> {
    model: &'m Model<T>,
    theta: Vec<T>,
    shards: Vec<Linearization<T>>,
    weights: Vec<Vec<T>>,
    order: Order,
    n: usize,
    loss: f64,
    gradient: Vec<f64>,
    penalized: Vec<(Range<usize>, f64)>,
    products: Mutex<Products<T>>,
}

/// Work (in multiply-adds) below which a sweep over all samples is not worth waking another thread.
const PARALLEL_WORK: usize = 1 << 20;

impl<'m, T: Real> Objective<'m, T> {
    /// Cuts `samples` into shards for `model`. Nothing is evaluated before [`Objective::linearize`].
    ///
    /// # Errors
    /// If the samples don't fit the network.
    pub fn new(
        model: &'m Model<T>,
        samples: &Samples,
        reduction: Reduction,
        order: Order,
        cut: Cut,
    ) -> Result<Self, SampleError> {
        samples.check(model)?;
        let n = samples.n;
        let coupled = model.graph().mixes_samples();
        samples.enough(model)?;
        let rows = if coupled { n } else { cut.rows.unwrap_or_else(|| shard_rows(model, n)).clamp(1, n) };
        let par = if coupled { Par::rayon(0) } else { Par::Seq };
        let scale = if reduction == Reduction::Mean { 1.0 / n as f64 } else { 1.0 };
        let (features, targets) = (model.features(), model.target_size());
        let mut shards = Vec::new();
        let mut weights = Vec::new();
        for start in (0..n).step_by(rows) {
            let count = rows.min(n - start);
            let mut lin = Linearization::new(model.function(), count, order, par);
            copy(&samples.x[start * features..(start + count) * features], lin.input_mut(model.input()));
            copy(&samples.y[start * targets..(start + count) * targets], lin.input_mut(model.target()));
            shards.push(lin);
            weights.push((start..start + count).map(|i| T::from_f64(scale * samples.weight(i))).collect());
        }
        let count = cut.groups.unwrap_or_else(|| group_count(shards.len(), model.len())).clamp(1, shards.len());
        let groups = (0..count)
            .map(|g| Group {
                shards: g * shards.len() / count..(g + 1) * shards.len() / count,
                workspace: Workspace::new(),
                out: Vec::new(),
            })
            .collect();
        let mut objective = Objective {
            model,
            theta: vec![T::ZERO; model.len()],
            shards,
            weights,
            order,
            n,
            loss: f64::NAN,
            gradient: Vec::new(),
            penalized: model.penalized(),
            products: Mutex::new(Products { directions: Vec::new(), groups }),
        };
        objective.set_buffers(&model.start_buffers());
        Ok(objective)
    }

    /// The mean of φ over the samples, for a block cut out of this one's network whose data are what the block reads here:
    /// the same shards, with the same weights. To be linearized at [`CutBlock::theta`].
    pub fn of_block<'c>(&self, cut: &'c CutBlock<T>) -> Objective<'c, T> {
        let model = cut.model();
        let coupled = model.graph().mixes_samples();
        let shard = |lin: &Linearization<T>| {
            let par = if coupled { Par::rayon(0) } else { Par::Seq };
            let mut here = Linearization::new(model.function(), lin.batch(), Order::Second, par);
            cut.given.iter().for_each(|&(there, node)| here.input_mut(node).copy_from_slice(lin.value(there)));
            here
        };
        let products = self.products.lock().expect("no product panicked");
        let group = |g: &Group<T>| Group { shards: g.shards.clone(), workspace: Workspace::new(), out: Vec::new() };
        let groups = products.groups.iter().map(group).collect();
        Objective {
            model,
            theta: vec![T::ZERO; model.len()],
            shards: self.shards.iter().map(shard).collect(),
            weights: self.weights.clone(),
            order: Order::Second,
            n: self.n,
            loss: f64::NAN,
            gradient: Vec::new(),
            penalized: Vec::new(),
            products: Mutex::new(Products { directions: Vec::new(), groups }),
        }
    }

    /// Sets the running averages that the network reads, one list for each of [`Model::buffers`]; before linearizing.
    ///
    /// # Panics
    /// If their number or lengths don't fit.
    #[track_caller]
    pub fn set_buffers(&mut self, values: &[Vec<f64>]) {
        let buffers = self.model.buffers();
        assert_eq!(values.len(), buffers.len(), "one list for each buffer");
        for (buffer, values) in buffers.iter().zip(values) {
            assert_eq!(values.len(), buffer.len, "length of `{}`", buffer.name);
            self.shards.iter_mut().for_each(|lin| copy(values, lin.input_mut(buffer.node)));
        }
    }

    /// The network.
    pub fn model(&self) -> &'m Model<T> {
        self.model
    }

    /// Number of samples N.
    pub fn samples(&self) -> usize {
        self.n
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The linearized shard and the weights w_n of its samples.
    pub fn shard(&self, i: usize) -> (&Linearization<T>, &[T]) {
        (&self.shards[i], &self.weights[i])
    }

    /// The point θ of the last [`Objective::linearize`].
    pub fn theta(&self) -> &[T] {
        &self.theta
    }

    /// Bytes of cached values, without workspaces.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(Linearization::bytes).sum()
    }

    fn at(&self) -> At<'_, T> {
        At { function: self.model.function(), theta: &self.theta }
    }

    /// Lanes that go through a shard of `rows` samples together: as many as keep their tangents in the cache.
    ///
    /// The cached primals of the shard are read once per window; a wider window would save that and push everything out.
    pub fn lane_window(&self, rows: usize) -> usize {
        let tangents = 4 * layer_width(self.model) * rows * size_of::<T>();
        (CACHE / tangents.max(1)).clamp(1, MAX_WINDOW)
    }

    fn parallel(&self, lanes: usize) -> bool {
        rayon::current_num_threads() > 1 && self.n * self.model.multiply_adds() * lanes >= PARALLEL_WORK
    }

    /// Evaluates all shards at θ and prepares what the order asks for. Returns the loss, penalty included.
    ///
    /// # Panics
    /// If θ has the wrong length.
    pub fn linearize(&mut self, theta: &[T]) -> f64 {
        self.sweep(theta, false)
    }

    /// [`Objective::linearize`], and the gradient as well; read it with [`Objective::gradient`].
    ///
    /// # Panics
    /// If θ has the wrong length or the order is `Value`.
    pub fn linearize_with_gradient(&mut self, theta: &[T]) -> f64 {
        self.sweep(theta, true)
    }

    fn sweep(&mut self, theta: &[T], with_gradient: bool) -> f64 {
        self.theta.copy_from_slice(theta);
        let (model, order, parallel) = (self.model, self.order, self.parallel(1));
        let at = At { function: model.function(), theta };
        let products = self.products.get_mut().expect("no product panicked");
        let mut rest = (&mut self.shards[..], &self.weights[..]);
        let mut work = Vec::new();
        for group in &mut products.groups {
            let (shards, later) = rest.0.split_at_mut(group.shards.len());
            let (weights, later_weights) = rest.1.split_at(group.shards.len());
            rest = (later, later_weights);
            work.push((group, shards, weights));
        }
        let run = |(group, shards, weights): &mut (&mut Group<T>, &mut [Linearization<T>], &[Vec<T>])| -> f64 {
            if with_gradient {
                fit_params(model, &mut group.out, model.graph().params(), 1);
            }
            let mut loss = 0.0;
            for (i, (lin, w)) in shards.iter_mut().zip(*weights).enumerate() {
                loss += lin.evaluate(at, w);
                if order != Order::Value {
                    let out = with_gradient.then_some((&mut group.out, Write::add_if(i > 0)));
                    lin.pull(at, w, out);
                }
            }
            loss
        };
        let losses: Vec<f64> =
            if parallel { work.par_iter_mut().map(run).collect() } else { work.iter_mut().map(run).collect() };
        self.loss = losses.iter().sum();
        if with_gradient {
            self.gradient.resize(model.len(), 0.0);
            let params = model.graph().params();
            add_groups(model, params, 1, &products.groups, &mut self.gradient, parallel);
        }
        for (range, lambda) in &self.penalized {
            let theta = &self.theta[range.clone()];
            self.loss += 0.5 * lambda * theta.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
            if with_gradient {
                self.gradient[range.clone()].iter_mut().zip(theta).for_each(|(g, x)| *g += lambda * x.to_f64());
            }
        }
        self.loss
    }

    /// The loss at the last point.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// The gradient at the last point, if it was asked for; else empty.
    pub fn gradient(&self) -> &[f64] {
        &self.gradient
    }

    /// A plan from parameters to parameters.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn plan(&self, seeds: &[NodeId], targets: &[NodeId], kind: Kind) -> Result<Plan, PlanError> {
        Plan::new(self.model.graph(), seeds, &[], targets, kind.of(self.model.logits()))
    }
}

/// Which curvature a product takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// H = ∂²L/∂θ².
    Hessian,
    /// G = (1/N) Σ Jᵀ (∂²ℓ/∂o²) J, o the network's output.
    GaussNewton,
    /// T = H − G = (1/N) Σ Σ_c (∂ℓ/∂o_c) ∂²o_c/∂θ²: what the network itself curves.
    Tensor,
}

impl Kind {
    /// The second derivatives that it includes, of a network whose output is this node.
    pub fn of(self, head: NodeId) -> Curvature {
        match self {
            Kind::Hessian => Curvature::Hessian,
            Kind::GaussNewton => Curvature::GaussNewton { head },
            Kind::Tensor => Curvature::Tensor { head },
        }
    }

    /// Whether the second derivative of the penalty belongs to it; for T = H − G it cancels.
    pub fn has_penalty(self) -> bool {
        self != Kind::Tensor
    }
}

fn copy<T: Real>(from: &[f64], to: &mut [T]) {
    debug_assert_eq!(from.len(), to.len());
    to.iter_mut().zip(from).for_each(|(t, &f)| *t = T::from_f64(f));
}

/// Samples per shard: as many as keep a shard's values near the cache, but enough rows for the products to be efficient.
fn shard_rows<T: Real>(model: &Model<T>, n: usize) -> usize {
    // Values, saved slopes, cotangents, bent cotangents and one lane of tangents and their cotangents.
    let width = model.features() + 10 * layer_width(model);
    // A weight that a sample uses in many places needs few samples to be worth its packing.
    let uses = (model.multiply_adds() / model.len().max(1)).max(1);
    let least = (MIN_ROWS / uses).max(ROW_STEP);
    let rows = (CACHE / (width * size_of::<T>())).clamp(least, MAX_ROWS);
    let shards = n.div_ceil(rows);
    n.div_ceil(shards).next_multiple_of(ROW_STEP).min(n)
}

/// Σ_ℓ out_ℓ: values per sample of all layers' outputs.
fn layer_width<T: Real>(model: &Model<T>) -> usize {
    model.layers().iter().map(|l| model.graph().shape(l.output).size()).sum()
}

/// Most lanes of a window: beyond it, nothing is gained.
const MAX_WINDOW: usize = 16;
/// Bytes of a core's second-level cache that a shard may fill.
const CACHE: usize = 1 << 20;
/// Rows come in multiples of this: vectors whose lanes are samples are then full.
const ROW_STEP: usize = 16;
/// Below this many rows, packing the weights of a layer costs more than the product.
const MIN_ROWS: usize = 128;
/// Above this many rows, nothing is gained.
const MAX_ROWS: usize = 1024;

/// Groups of shards: enough for several threads, few enough that the partial sums stay small.
///
/// A power of two, which threads halve evenly: seven groups of eight shards would give one of two threads five shards.
fn group_count(shards: usize, params: usize) -> usize {
    let most = ((1 << 22) / params.max(1)).clamp(4, 16).next_power_of_two();
    shards.min(most)
}

#[cfg(test)]
mod tests;
