//! Training by mini-batches: deterministic in the seed, and honest about divergence.
//!
//! The order of the samples in an epoch is a function of (seed, epoch) alone, so that a run can be resumed at any epoch
//! from (state, optimiser state, epoch), and the bits don't depend on the number of threads.

use eigenlens_autodiff::{At, Buffers, Linearization, Order};
use eigenlens_linalg::reduce::all_finite;
use eigenlens_linalg::{Par, Real, Write};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use crate::data::{shuffle, stream};
use crate::model::{Loss, Model, State};
use crate::objective::{Cut, Objective, Reduction, SampleError, Samples};
use crate::optim::{Optimizer, OptimizerState};
use crate::options::OptionError;
use crate::schedule::Schedule;
use crate::stopping::{Decision, EarlyStopping};

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// The update rule.
    pub optimizer: Optimizer,
    /// Base learning rate.
    pub lr: f64,
    /// How it changes.
    pub schedule: Schedule,
    /// Passes over the training data.
    pub epochs: u64,
    /// Samples per step; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// Seed of the sample order.
    pub seed: u64,
    /// Whether weight decay covers biases too. PyTorch's optimisers do; many recipes don't.
    pub decay_biases: bool,
    /// When to stop early, on the validation loss.
    pub stopping: Option<EarlyStopping>,
}

/// Why training can't start or go on.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum TrainError {
    /// An option outside its range.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Samples that don't fit the network.
    #[error(transparent)]
    Samples(#[from] SampleError),
    /// A batch of no samples.
    #[error("the batch size must be at least 1")]
    EmptyBatch,
    /// A batch whose variance is not defined.
    #[error(
        "layer `{layer}` normalises over the batch, and a batch of {batch} has one value per channel; take a batch size \
         that leaves no rest of 1 of the {samples} samples"
    )]
    SingleSample {
        /// The batch norm.
        layer: String,
        /// Samples in the smallest batch.
        batch: usize,
        /// Samples in all.
        samples: usize,
    },
    /// Early stopping without anything to watch.
    #[error("early stopping needs a validation part; give the validation fraction a value above 0")]
    NoValidation,
}

/// The first value that was not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// Optimiser steps taken before.
    pub step: u64,
    /// Epoch in which it happened (from 1).
    pub epoch: u64,
    /// The first layer whose values are not finite; the loss itself if all layers are finite.
    pub layer: String,
    /// The first parameter whose gradient is not finite, where it is only the gradient. Looked for before the first step;
    /// what a later one spoils is seen at the step after it.
    pub gradient: Option<String>,
    /// Largest parameter in absolute value; NaN if one is not a number.
    pub largest_parameter: f64,
}

impl std::fmt::Display for Divergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.step == 0 {
            let of = match &self.gradient {
                Some(parameter) => format!("the gradient by `{parameter}`"),
                None => format!("`{}`", self.layer),
            };
            return write!(
                f,
                "training cannot begin: at the starting weights, the largest of which is {:.1e}, the first values that are \
                 not finite are those of {of}; take smaller starting weights or a smaller l2 penalty, or scale the data",
                self.largest_parameter
            );
        }
        write!(
            f,
            "training diverged at step {} (epoch {}): the first values that are not finite are those of `{}`, the largest \
             parameter is {:.1e}; lower the learning rate or scale the data",
            self.step, self.epoch, self.layer, self.largest_parameter
        )
    }
}

/// Why training ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// All epochs are done.
    Finished,
    /// The validation loss stopped falling; θ is that of the best epoch.
    Stopped {
        /// The best epoch.
        best: u64,
    },
    /// A value was not finite; θ is that of the last epoch whose loss was finite.
    Diverged(Divergence),
    /// The observer asked for it.
    Interrupted,
}

/// Loss and quality on a set of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean loss, penalty included.
    pub loss: f64,
    /// Share of samples (of positions, where a sample has several labels) in the right class; `None` for regression.
    pub accuracy: Option<f64>,
    /// 1 − SSE / SST over all outputs; `None` for classification, or if the targets don't vary.
    pub r2: Option<f64>,
}

/// What is known after an epoch; epoch 0 is the starting point.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// Epochs done.
    pub epoch: u64,
    /// Optimiser steps done.
    pub step: u64,
    /// Learning rate of the last step (of the first to come, at epoch 0).
    pub lr: f64,
    /// On the training part, at the end of the epoch.
    pub train: Score,
    /// On the validation part, if there is one.
    pub validation: Option<Score>,
}

/// What the observer of [`train`] wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Continue,
    /// End here.
    Stop,
}

/// Evaluates samples in shards, again and again at different θ.
#[derive(Debug)]
pub struct Evaluator<'m, T: Real> {
    objective: Objective<'m, T>,
    y: Vec<f64>,
}

impl<'m, T: Real> Evaluator<'m, T> {
    /// For these samples.
    ///
    /// # Errors
    /// If they don't fit the network.
    pub fn new(model: &'m Model<T>, samples: &Samples) -> Result<Self, SampleError> {
        let objective = Objective::new(model, samples, Reduction::Mean, Order::Value, Cut::default())?;
        Ok(Evaluator { objective, y: samples.y.clone() })
    }

    /// Loss and quality at a state.
    ///
    /// # Panics
    /// If it is another network's.
    #[track_caller]
    pub fn score(&mut self, state: &State<T>) -> Score {
        self.objective.set_buffers(&state.buffers);
        let loss = self.objective.linearize(&state.theta);
        let model = self.objective.model();
        let kind = model.spec().loss;
        // Of a classifier each position has its own class; else a row is a sample.
        let outputs = if kind == Loss::CrossEntropy { model.classes() } else { model.outputs() };
        let rows = (0..self.objective.shards())
            .flat_map(|s| self.objective.shard(s).0.value(model.logits()).chunks_exact(outputs));
        if kind == Loss::Mse {
            return Score { loss, accuracy: None, r2: r_squared(rows, &self.y, outputs) };
        }
        let targets = if kind == Loss::CrossEntropy { 1 } else { outputs };
        let right = rows
            .zip(self.y.chunks_exact(targets))
            .filter(|(o, y)| match kind {
                Loss::CrossEntropy => argmax(o.iter().map(|x| x.to_f64())) == y[0] as usize,
                _ if outputs == 1 => (o[0] > T::ZERO) == (y[0] > 0.5),
                _ => argmax(o.iter().map(|x| x.to_f64())) == argmax(y.iter().copied()),
            })
            .count();
        Score { loss, accuracy: Some(right as f64 / (self.y.len() / targets) as f64), r2: None }
    }

    /// The first layer with values that are not finite at the last θ, or `loss`.
    fn first_non_finite(&self) -> String {
        let model = self.objective.model();
        let bad = model
            .layers()
            .iter()
            .find(|l| (0..self.objective.shards()).any(|s| !all_finite(self.objective.shard(s).0.value(l.output))));
        bad.map_or_else(|| "loss".to_string(), |l| l.name.clone())
    }
}

fn argmax(values: impl Iterator<Item = f64>) -> usize {
    values.enumerate().fold((0, f64::NEG_INFINITY), |best, (i, x)| if x > best.1 { (i, x) } else { best }).0
}

fn r_squared<'a, T: Real>(rows: impl Iterator<Item = &'a [T]>, y: &[f64], outputs: usize) -> Option<f64> {
    let n = y.len() / outputs;
    let means: Vec<f64> = (0..outputs).map(|c| y.iter().skip(c).step_by(outputs).sum::<f64>() / n as f64).collect();
    let (mut rest, mut total) = (0.0, 0.0);
    for (o, t) in rows.zip(y.chunks_exact(outputs)) {
        for ((o, t), mean) in o.iter().zip(t).zip(&means) {
            rest += (o.to_f64() - t).powi(2);
            total += (t - mean).powi(2);
        }
    }
    (total > 0.0).then(|| 1.0 - rest / total)
}

/// Whether every batch of an epoch has samples enough for the network as it is trained: batch norm needs two.
///
/// # Errors
/// If one has not, or the batch size is 0.
pub fn check_batches<T: Real>(model: &Model<T>, samples: usize, batch_size: usize) -> Result<(), TrainError> {
    if batch_size == 0 {
        return Err(TrainError::EmptyBatch);
    }
    let rest = samples % batch_size;
    let smallest = if rest == 0 { batch_size } else { rest };
    let graph = model.trained().0.graph();
    match graph.least_batch().filter(|(_, least)| smallest < *least) {
        Some((node, _)) => {
            let layer = graph.name(node).to_string();
            Err(TrainError::SingleSample { layer, batch: smallest, samples })
        }
        None => Ok(()),
    }
}

/// Mini-batch training of one network: its state, the optimiser's state, and room for one batch.
#[derive(Debug)]
pub struct Trainer<'m, T: Real> {
    model: &'m Model<T>,
    options: TrainOptions,
    point: State<T>,
    state: OptimizerState<T>,
    epoch: u64,
    x: Vec<T>,
    y: Vec<T>,
    /// Factors on the samples' losses.
    factors: Vec<T>,
    n: usize,
    rows: Vec<usize>,
    weights: Vec<T>,
    lin: Linearization<T>,
    gradient: Buffers<T>,
    flat: Vec<T>,
}

/// Work of one batch (in multiply-adds) from which a product is worth several threads.
const PARALLEL_WORK: usize = 1 << 24;

impl<'m, T: Real> Trainer<'m, T> {
    /// At a starting point.
    ///
    /// # Errors
    /// If options are out of range or samples don't fit.
    /// # Panics
    /// If the starting point is another network's.
    #[track_caller]
    pub fn new(
        model: &'m Model<T>,
        samples: &Samples,
        start: State<T>,
        options: TrainOptions,
    ) -> Result<Self, TrainError> {
        assert_eq!(start.theta.len(), model.len(), "length of θ");
        samples.check(model)?;
        options.schedule.check(options.lr)?;
        let mut state = OptimizerState::new(options.optimizer, model.len())?;
        if !options.decay_biases {
            state = state.decay_only(&model.weight_ranges());
        }
        check_batches(model, samples.n, options.batch_size)?;
        let batch = options.batch_size.min(samples.n);
        // Not `Seq` for one thread either: how a batch is cut must not depend on the number of threads.
        let work = batch.saturating_mul(model.multiply_adds());
        let par = if work >= PARALLEL_WORK { Par::rayon(0) } else { Par::Seq };
        let convert = |v: &[f64]| v.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>();
        Ok(Trainer {
            lin: Linearization::new(model.trained().0, batch, Order::First, par),
            gradient: model.trained().0.param_buffers(1),
            flat: vec![T::ZERO; model.len()],
            x: convert(&samples.x),
            y: convert(&samples.y),
            factors: (0..samples.n).map(|i| T::from_f64(samples.weight(i))).collect(),
            n: samples.n,
            rows: Vec::with_capacity(samples.n),
            weights: Vec::with_capacity(batch),
            epoch: 0,
            model,
            options,
            point: start,
            state,
        })
    }

    /// The network's state now.
    pub fn point(&self) -> &State<T> {
        &self.point
    }

    /// Epochs done.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The optimiser's state.
    pub fn state(&self) -> &OptimizerState<T> {
        &self.state
    }

    /// Epochs that are asked for.
    pub fn epochs(&self) -> u64 {
        self.options.epochs
    }

    /// Optimiser steps in an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.n.div_ceil(self.options.batch_size.min(self.n)) as u64
    }

    fn lr(&self, step: u64) -> f64 {
        let per_epoch = self.steps_per_epoch();
        self.options.schedule.lr(self.options.lr, step, per_epoch * self.options.epochs, per_epoch)
    }

    /// One pass over the data.
    ///
    /// # Errors
    /// At the first batch whose loss is not finite, or the first gradient of all; θ is then what it was before that step.
    pub fn run_epoch(&mut self) -> Result<(), Divergence> {
        self.rows.clear();
        self.rows.extend(0..self.n);
        shuffle(&mut self.rows, &mut stream(self.options.seed, self.epoch));
        let rows = std::mem::take(&mut self.rows);
        let outcome = rows.chunks(self.options.batch_size.min(self.n)).try_for_each(|batch| self.step(batch));
        self.rows = rows;
        self.epoch += 1;
        outcome
    }

    fn divergence(&self) -> Divergence {
        // The nodes of the trained graph have the layers' names, too.
        let graph = self.model.trained().0.graph();
        let finite = |name: &str| graph.find(name).is_none_or(|node| all_finite(self.lin.value(node)));
        let bad = self.model.layers().iter().find(|l| !finite(&l.name));
        Divergence {
            step: self.state.steps(),
            epoch: self.epoch + 1,
            layer: bad.map_or_else(|| "loss".to_string(), |l| l.name.clone()),
            gradient: None,
            largest_parameter: largest(&self.point.theta),
        }
    }

    /// One optimiser step on these rows.
    fn step(&mut self, batch: &[usize]) -> Result<(), Divergence> {
        let model = self.model;
        let (f, input, target) = model.trained();
        let (features, targets) = (model.features(), model.target_size());
        self.lin.resize(f, batch.len());
        for (row, to) in batch.iter().zip(self.lin.input_mut(input).chunks_exact_mut(features)) {
            to.copy_from_slice(&self.x[row * features..(row + 1) * features]);
        }
        for (row, to) in batch.iter().zip(self.lin.input_mut(target).chunks_exact_mut(targets)) {
            to.copy_from_slice(&self.y[row * targets..(row + 1) * targets]);
        }
        self.weights.clear();
        let share = T::from_f64(1.0 / batch.len() as f64);
        self.weights.extend(batch.iter().map(|&row| share * self.factors[row]));
        self.draw_masks();
        let at = At { function: f, theta: &self.point.theta };
        if !self.lin.evaluate(at, &self.weights).is_finite() {
            return Err(self.divergence());
        }
        self.lin.pull(at, &self.weights, Some((&mut self.gradient, Write::Set)));
        for &p in f.graph().params() {
            self.flat[f.graph().param_range(p)].copy_from_slice(&self.gradient[p.index()]);
        }
        for (range, lambda) in model.penalized() {
            let lambda = T::from_f64(lambda);
            let pairs = self.flat[range.clone()].iter_mut().zip(&self.point.theta[range]);
            pairs.for_each(|(g, t)| *g += lambda * *t);
        }
        if self.state.steps() == 0 {
            let mut tensors = model.tensors().iter();
            if let Some(bad) = tensors.find(|t| !all_finite(&self.flat[t.range.clone()])) {
                return Err(Divergence { gradient: Some(bad.name.clone()), ..self.divergence() });
            }
        }
        let lr = self.lr(self.state.steps());
        self.state.step(lr, &mut self.point.theta, &self.flat);
        self.follow_averages(batch.len());
        Ok(())
    }

    /// Which values this step drops: a function of seed, step and layer.
    fn draw_masks(&mut self) {
        let Some(training) = self.model.training() else { return };
        for (i, &(mask, rate)) in training.masks.iter().enumerate() {
            // The key says what the numbers are for: the order of the samples must not be drawn from the same stream.
            let mut key = *b"________________eigenlensdropout";
            key[..8].copy_from_slice(&self.options.seed.to_le_bytes());
            key[8..16].copy_from_slice(&(i as u64).to_le_bytes());
            let mut random = ChaCha8Rng::from_seed(key);
            random.set_stream(self.state.steps());
            let (kept, threshold) = (T::from_f64(1.0 / (1.0 - rate)), (rate * 2f64.powi(32)) as u32);
            let draw = |x: &mut T| *x = if random.next_u32() < threshold { T::ZERO } else { kept };
            self.lin.input_mut(mask).iter_mut().for_each(draw);
        }
    }

    /// Moves the running averages towards the batch's: means as they are, variances unbiased, as PyTorch does.
    fn follow_averages(&mut self, batch: usize) {
        let Some(training) = self.model.training() else { return };
        for norm in &training.norms {
            let count = (batch * norm.spatial) as f64;
            let saved = &self.lin.saved(norm.node)[..2 * norm.channels];
            for (which, values) in saved.chunks_exact(norm.channels).enumerate() {
                let unbiased = if which == 1 { count / (count - 1.0) } else { 1.0 };
                for (average, now) in self.point.buffers[norm.buffer + which].iter_mut().zip(values) {
                    *average += norm.momentum * (unbiased * now.to_f64() - *average);
                }
            }
        }
    }
}

/// The largest |θ_i|; NaN if one is not a number.
fn largest<T: Real>(theta: &[T]) -> f64 {
    theta.iter().map(|x| x.to_f64().abs()).fold(0.0, |m, x| if x.is_nan() || x > m { x } else { m })
}

/// The result of [`train`].
#[derive(Clone, Debug, PartialEq)]
pub struct Trained<T> {
    /// The final state.
    pub state: State<T>,
    /// Every epoch, the starting point included.
    pub history: Vec<Epoch>,
    /// Why it ended.
    pub end: End,
}

/// Trains from a state; `observe` sees the starting point and the end of every epoch with the network's state then.
///
/// Stops at the first step whose loss is not finite and says where. With early stopping, θ at the end is that of the best
/// epoch.
///
/// # Errors
/// If options are out of range, or samples don't fit.
pub fn train<T: Real>(
    model: &Model<T>,
    start: State<T>,
    training: &Samples,
    validation: Option<&Samples>,
    options: &TrainOptions,
    mut observe: impl FnMut(&Epoch, &State<T>) -> Next,
) -> Result<Trained<T>, TrainError> {
    train_watched(model, start, training, validation, options, |epoch, trainer| observe(epoch, trainer.point()))
}

/// As [`train`], for observers that also want the optimiser's state.
///
/// # Errors
/// As [`train`].
pub fn train_watched<T: Real>(
    model: &Model<T>,
    start: State<T>,
    training: &Samples,
    validation: Option<&Samples>,
    options: &TrainOptions,
    mut observe: impl FnMut(&Epoch, &Trainer<'_, T>) -> Next,
) -> Result<Trained<T>, TrainError> {
    let mut trainer = Trainer::new(model, training, start, options.clone())?;
    let mut on_train = Evaluator::new(model, training)?;
    let mut on_validation = validation.map(|v| Evaluator::new(model, v)).transpose()?;
    let mut stopping = options.stopping;
    if stopping.is_some() && validation.is_none() {
        return Err(TrainError::NoValidation);
    }
    let mut best = trainer.point().clone();
    let mut finite = best.clone();
    let mut history = Vec::new();
    let mut end = End::Finished;
    for epoch in 0..=options.epochs {
        if epoch > 0
            && let Err(divergence) = trainer.run_epoch()
        {
            return Ok(Trained { state: finite, history, end: End::Diverged(divergence) });
        }
        let step = trainer.state().steps();
        let now = Epoch {
            epoch,
            step,
            lr: trainer.lr(step.saturating_sub(1)),
            train: on_train.score(trainer.point()),
            validation: on_validation.as_mut().map(|v| v.score(trainer.point())),
        };
        if !now.train.loss.is_finite() {
            let (layer, largest_parameter) = (on_train.first_non_finite(), largest(&trainer.point().theta));
            end = End::Diverged(Divergence { step, epoch, layer, gradient: None, largest_parameter });
            return Ok(Trained { state: finite, history, end });
        }
        finite.clone_from(trainer.point());
        let wanted = observe(&now, &trainer);
        let watched = now.validation.map(|v| v.loss);
        history.push(now);
        if let (Some(stopping), Some(loss)) = (&mut stopping, watched) {
            match stopping.observe(epoch, loss) {
                Decision::Improved => best.clone_from(trainer.point()),
                Decision::Wait { .. } | Decision::NonFinite { .. } => {}
                Decision::Stop { best: found } => {
                    end = End::Stopped { best: found.map_or(0, |b| b.epoch) };
                    return Ok(Trained { state: best, history, end });
                }
            }
        }
        if wanted == Next::Stop {
            end = End::Interrupted;
            break;
        }
    }
    Ok(Trained { state: finite, history, end })
}

#[cfg(test)]
mod tests;
