//! From a config to data, a network and training options of the engine.

use eigenlens_linalg::Real;
use eigenlens_nets::data::{
    self, Dataset, Fractions, Scaling, Source, Standardizer, TargetSpec, Targets, Task as DataTask, WhyNumbers, split,
    subsample,
};
use eigenlens_nets::optim::{Adam, AdamW, Optimizer as Rule, Sgd};
use eigenlens_nets::schedule::Schedule as Rate;
use eigenlens_nets::spec::LayerKind;
use eigenlens_nets::stopping::EarlyStopping;
use eigenlens_nets::train::{TrainOptions, check_batches};
use eigenlens_nets::{Loss, Model, ModelSpec, Samples};

use super::network::network;
use super::weighting::weighting;
use crate::config::{self, Config, DataSource, LossKind, OptimizerKind, Part, ScheduleKind, Standardize, Task};
use crate::error::{Failure, Result};
use crate::results::DatasetSummary;
use crate::rundir::Origin;

/// An error of the engine, whose text ends in what to do after its last semicolon.
pub fn failure(error: impl std::fmt::Display) -> Failure {
    let text = error.to_string();
    match text.rsplit_once("; ") {
        Some((what, hint)) => Failure::new(what).hint(hint),
        None => Failure::new(text),
    }
}

/// Data, split and scaled, with the network and the loss that go with them.
pub struct Setup {
    /// For the result.
    pub summary: DatasetSummary,
    /// The network.
    pub spec: ModelSpec,
    /// What the program took the user's targets for, if they didn't say, and what of the config it does not use.
    pub notes: Vec<String>,
    /// Training, validation and test samples; the last two may be missing.
    pub train: Samples,
    /// Validation samples.
    pub validation: Option<Samples>,
    /// Test samples.
    pub test: Option<Samples>,
    /// The samples that the Hessian is taken over, and what they are.
    pub analysis: (Samples, String),
    /// Hash of the data if they come from files, which may change; those in the program only change with it.
    pub data_hash: Option<String>,
}

/// A hash of all inputs and targets.
fn hash(data: &Dataset) -> String {
    let origin = Origin::of_data().numbers(&data.x);
    let origin = match &data.targets {
        Targets::Classes { labels, names } | Targets::Sequences { labels, names, .. } => names
            .iter()
            .fold(origin, |o, name| o.text(name))
            .numbers(&labels.iter().map(|&l| f64::from(l)).collect::<Vec<_>>()),
        Targets::Values { values, .. } => origin.numbers(values),
    };
    data.weights.iter().fold(origin, |o, w| o.numbers(w)).hash()
}

fn load(config: &Config) -> Result<Dataset> {
    let d = &config.data;
    let task = d.task.map(|t| match t {
        Task::Classification => DataTask::Classification,
        Task::Regression => DataTask::Regression,
    });
    let source = match d.source() {
        DataSource::Builtin(name) if d.parameters.is_empty() => Source::Builtin(name),
        DataSource::Builtin(name) => Source::Synthetic { name, parameters: d.parameters.clone() },
        DataSource::Csv(path) => {
            Source::Csv { path, test: None, target: TargetSpec { column: d.target.clone(), task, classes: None } }
        }
        DataSource::Text { path, context } => Source::Text { path, context, test: d.test },
        DataSource::Idx { images, labels } => {
            Source::Idx { images, labels, test: None, target: TargetSpec { column: None, task, classes: None } }
        }
        DataSource::Npy { inputs, targets } => {
            Source::Npy { x: inputs, y: targets, test: None, target: TargetSpec { column: None, task, classes: None } }
        }
        DataSource::Npz(path) => Source::Npz {
            path,
            x: d.inputs.clone().unwrap_or_else(|| "x".to_owned()),
            y: d.target.clone().unwrap_or_else(|| "y".to_owned()),
            test: None,
            target: TargetSpec { column: None, task, classes: None },
        },
    };
    let mut data = data::load(&source).map_err(failure)?;
    if let Some(column) = &d.weights {
        data.weigh_by(column).map_err(failure)?;
    }
    Ok(data)
}

/// What the targets of the user's own data were taken for, to be said aloud: one odd label changes the task or the outputs.
///
/// # Errors
/// Targets that are all the same.
fn taken_as(config: &Config, data: &Dataset) -> Result<Option<String>> {
    let own = !matches!(config.data.source(), DataSource::Builtin(_));
    match &data.targets {
        Targets::Values { values, outputs, .. } => {
            let constant = |c: usize| values.iter().skip(c).step_by(*outputs).all(|v| *v == values[c]);
            if own && !values.is_empty() && (0..*outputs).all(constant) {
                return Err(Failure::new(format!("every target is {}: there is nothing to learn", values[0]))
                    .hint("look at the target column of the data"));
            }
            if config.data.task.is_some() || !own {
                return Ok(None);
            }
            let because = if *outputs == 1 { because(config, values) } else { String::new() };
            Ok(Some(format!(
                "targets taken as numbers (regression){because}; data.task = \"classification\" says otherwise"
            )))
        }
        Targets::Sequences { names, .. } => Ok(own.then(|| format!("{} different characters", names.len()))),
        Targets::Classes { labels, names } => {
            let count = |c: usize| labels.iter().filter(|&&l| l as usize == c).count();
            let classes: Vec<String> =
                names.iter().enumerate().take(12).map(|(c, name)| format!("{name} ({})", count(c))).collect();
            let more = if names.len() > 12 { ", …" } else { "" };
            Ok(own.then(|| format!("{} classes (rows): {}{more}", names.len(), classes.join(", "))))
        }
    }
}

/// Which value made the targets numbers, and where it stands.
fn because(config: &Config, values: &[f64]) -> String {
    let place = |row: usize| match config.data.source() {
        // It was read a moment ago.
        DataSource::Csv(path) => {
            data::line_of(&path, row).map_or_else(|_| "a line".into(), |line| format!("line {line}"))
        }
        _ => format!("row {row} (from 0)"),
    };
    match data::why_numbers(values) {
        Some(WhyNumbers::Fraction { row }) => {
            format!(", as {} is the first with a fraction: {}", place(row), values[row])
        }
        Some(WhyNumbers::Many { row, distinct }) => {
            format!(", as {} brings the {distinct}st different value: {}", place(row), values[row])
        }
        Some(WhyNumbers::Rare) => ", as most values occur only once".to_owned(),
        None => String::new(),
    }
}

/// Says that the share of the test part is not used where the data set brings its own.
fn fixed_test(config: &Config, data: &Dataset) -> Option<String> {
    let (own, share) = (data.test_part().len(), config.data.test);
    // The default is no wish.
    let asked = share != config::Data::default().test && config.data.text.is_none();
    (own > 0 && asked)
        .then(|| format!("data.test = {share} is not used: {} brings its own test part of {own} rows", data.name))
}

/// Reads, splits and scales the data, and builds the network's description.
///
/// # Errors
/// Bad data, or a loss that doesn't fit them.
pub fn setup(config: &Config) -> Result<Setup> {
    let data = load(config)?;
    let classification = data.task() == DataTask::Classification;
    let loss = match config.loss.kind {
        Some(LossKind::CrossEntropy) => Loss::CrossEntropy,
        Some(LossKind::Mse) => Loss::Mse,
        Some(LossKind::Bce) => Loss::Bce,
        None if classification => Loss::CrossEntropy,
        None => Loss::Mse,
    };
    let outputs = if loss == Loss::Bce && classification && data.outputs() == 2 { 1 } else { data.outputs() };
    let mut notes: Vec<String> = taken_as(config, &data)?.into_iter().chain(fixed_test(config, &data)).collect();
    let fractions = Fractions { validation: config.data.validation, test: config.data.test };
    let mut parts = split(&data, fractions, config.seed).map_err(failure)?;
    if let Some(limit) = config.data.limit {
        parts.train = subsample(&data, &parts.train, limit, config.seed);
    }
    let scaling = match config.data.standardize {
        Standardize::Zscore => Scaling::ZScore,
        Standardize::Pixel => Scaling::Pixels,
        Standardize::None => Scaling::None,
    };
    // Numbers that are to be left alone are so on both sides.
    let targets = !classification && scaling != Scaling::None;
    let scale = Standardizer::fit(&data, &parts.train, scaling, targets).map_err(failure)?;
    let samples = |rows: &[usize]| Samples::new(&scale.apply(&data.subset(rows)), loss, outputs).map_err(failure);
    let optional = |rows: &[usize]| (!rows.is_empty()).then(|| samples(rows)).transpose();
    let (part, rows) = match config.spectra.part {
        Part::Train => ("training", &parts.train),
        Part::Validation => ("validation", &parts.validation),
        Part::Test => ("test", &parts.test),
    };
    if rows.is_empty() {
        return Err(Failure::new(format!("the {part} part is empty, and the Hessian is to be taken over it"))
            .hint("give the part a fraction above 0, or set spectra.part"));
    }
    let looked_at = match config.spectra.rows {
        Some(most) if most < rows.len() => subsample(&data, rows, most, config.seed),
        _ => rows.clone(),
    };
    let over = format!("{} {part} samples", looked_at.len());
    let weighting = weighting(config, &data, &parts.train, loss)?;
    let spec = network(config, &data, outputs, loss, weighting)?;
    notes.extend(twice_softmax(&spec));
    let of_files = !matches!(config.data.source(), DataSource::Builtin(_));
    let info = match config.data.source() {
        DataSource::Builtin(name) => data::info(&name).ok(),
        _ => None,
    };
    let class_names = match &data.targets {
        Targets::Classes { names, .. } | Targets::Sequences { names, .. } => names.clone(),
        Targets::Values { .. } => Vec::new(),
    };
    let setup = Setup {
        summary: DatasetSummary {
            name: config.data.short_name(),
            task: if classification { Task::Classification } else { Task::Regression },
            features: data.features,
            outputs,
            train: parts.train.len(),
            validation: parts.validation.len(),
            test: parts.test.len(),
            class_names,
            origin: info.map(|i| i.origin.clone()),
        },
        spec,
        notes,
        train: samples(&parts.train)?,
        validation: optional(&parts.validation)?,
        test: optional(&parts.test)?,
        analysis: (samples(&looked_at)?, over),
        data_hash: of_files.then(|| hash(&data)),
    };
    setup.check(&Model::<f64>::new(&setup.spec).map_err(failure)?)?;
    Ok(setup)
}

/// Says that a softmax stands before the loss, which has its own.
fn twice_softmax(spec: &ModelSpec) -> Option<String> {
    let ends = matches!(spec.layers.last().map(|l| &l.kind), Some(LayerKind::Softmax));
    (ends && spec.loss == Loss::CrossEntropy).then(|| {
        "the network ends in softmax, and cross-entropy takes the softmax of that once more; leave the layer out for the \
         usual loss"
            .to_owned()
    })
}

impl Setup {
    /// The parts that there are, with their names.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &Samples)> {
        let parts =
            [("training", Some(&self.train)), ("validation", self.validation.as_ref()), ("test", self.test.as_ref())];
        parts.into_iter().filter_map(|(name, samples)| Some((name, samples?)))
    }

    /// Whether the samples fit the network, and those that the Hessian is taken over are enough for it.
    fn check<T: Real>(&self, model: &Model<T>) -> Result<()> {
        self.parts().try_for_each(|(_, samples)| samples.check(model).map_err(failure))?;
        self.analysis.0.enough(model).map_err(failure)
    }

    /// Whether the network can be trained and scored on its samples.
    ///
    /// # Errors
    /// An option outside its range, a batch or a part with too few samples for a layer that looks at several.
    pub fn trainable<T: Real>(&self, config: &Config, model: &Model<T>) -> Result<()> {
        let options = training(config, self.train.n)?;
        let few = |e| config.placed(failure(e), "train.batch_size");
        check_batches(model, self.train.n, options.batch_size).map_err(few)?;
        self.parts().try_for_each(|(part, samples)| {
            samples.enough(model).map_err(|e| failure(format!("the {part} part is too small: {e}")))
        })
    }
}

/// The training options of a config.
///
/// # Errors
/// An option outside its range.
pub fn training(config: &Config, samples: usize) -> Result<TrainOptions> {
    let t = &config.train;
    let o = &t.optimizer;
    let [beta1, beta2] = o.betas.unwrap_or([0.9, 0.999]);
    let (eps, weight_decay) = (o.eps.unwrap_or(1e-8), o.weight_decay.unwrap_or(0.0));
    let optimizer = match o.kind {
        OptimizerKind::Sgd => {
            Rule::Sgd(Sgd { momentum: o.momentum.unwrap_or(0.0), nesterov: o.nesterov.unwrap_or(false), weight_decay })
        }
        OptimizerKind::Adam => Rule::Adam(Adam { beta1, beta2, eps, weight_decay }),
        OptimizerKind::Adamw => Rule::AdamW(AdamW { beta1, beta2, eps, weight_decay }),
    };
    // The config counts in epochs and in shares of the base rate, the schedule in steps and rates.
    let per_epoch = samples.div_ceil(t.batch_size.clamp(1, samples.max(1))) as u64;
    let s = &t.schedule;
    let min = s.floor.unwrap_or(0.0) * t.lr;
    let schedule = match s.kind {
        ScheduleKind::Constant => Rate::Constant,
        ScheduleKind::Step => Rate::Step { every: s.every.unwrap_or(1) as u64, gamma: s.factor.unwrap_or(0.1) },
        ScheduleKind::Exponential => Rate::Exponential { gamma: s.factor.unwrap_or(0.95) },
        ScheduleKind::Cosine => Rate::Cosine { min },
        ScheduleKind::WarmupCosine => Rate::WarmupCosine { warmup: s.warmup.unwrap_or(1) as u64 * per_epoch, min },
    };
    let stopping =
        t.early_stopping.map(|e| EarlyStopping::new(e.patience as u64, e.min_delta)).transpose().map_err(failure)?;
    Ok(TrainOptions {
        optimizer,
        lr: t.lr,
        schedule,
        epochs: t.epochs as u64,
        batch_size: t.batch_size,
        seed: config.seed,
        decay_biases: true,
        stopping,
    })
}
