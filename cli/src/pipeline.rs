//! From a config to numbers: the seam between this crate and the engine.
//!
//! Everything around it works on the plain types of this crate; only this file and its parts know the crates below:
//! `setup` (data, network, options), `run` (training, files), `curvature` (the picture at each snapshot) and
//! `cost` (what that would take). Names of curvatures, activations
//! and initialisers, and what is near to a misspelt one, are those of `hessian` and `nets` wherever they are
//! needed.
//!
//! | function | maps | to |
//! |---|---|---|
//! | [`dataset_names`], [`catalogue`], [`export_csv`] | `nets::data` | names, [`DatasetInfo`], CSV text |
//! | [`plan`] | config, data, the cost model of `hessian`, trials | [`Plan`] for `--dry-run` |
//! | [`run`] | train → snapshots → spectra of every layer at each → Φ | files of a [`RunDir`], [`RunResult`] |
//! | [`check`] | the identities on the user's own network | [`CheckRow`]s |
//!
//! # How `run` proceeds
//! 1. Read, check and split the data. Only when they are fine, make the directory: [`RunDir::create`] or
//!    [`RunDir::resume`].
//! 2. Train; at each epoch of [`Snapshots::at`](crate::config::Snapshots::at) write
//!    [`RunDir::snapshot_file`]. A resumption replays this: the same config gives the same bits.
//! 3. At each snapshot: for every layer its spectrum into [`RunDir::spectrum_file`] and a
//!    [`LayerResult`](crate::results::LayerResult), then Φ. What [`RunDir::kept`] has from before is not computed again.
//! 4. Write `result.json` ([`RunResult::to_json`]), `metrics.csv` ([`metrics_csv`](crate::results::metrics_csv)) and the
//!    report ([`report::write`](crate::report::write)), then [`RunDir::finish`].
//!
//! A loss that isn't finite ends step 2: the snapshots so far are analysed and written, the manifest says
//! [`RunDir::fail`] with layer and step, and the command fails.

use eigenlens_autodiff::check::Sense;
use eigenlens_hessian::verify::{VerifyOptions, verify};
use eigenlens_nets::{Model, data};

use serde::Serialize;

use self::setup::{failure, setup};
use crate::config::{Config, Task};
use crate::error::{Failure, Result};
use crate::interlayer::AtWeights;
use crate::progress::Progress;
use crate::results::RunResult;
use crate::rundir::RunDir;
use crate::show::{CheckRow, DatasetInfo};

mod changes;
mod cost;
mod curvature;
mod interlayer;
mod memory;
mod network;
mod pairs;
mod panel;
mod run;
mod setup;
mod weighting;
mod weights;

/// What a run would compute, and what it would cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The network in a few words.
    pub model: String,
    /// Where the run would go.
    pub directory: String,
    /// Epochs of the snapshots.
    pub snapshots: Vec<usize>,
    /// The layers, first to last.
    pub layers: Vec<PlannedLayer>,
    /// The curvature between layers, unless it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phi: Option<PlannedPairs>,
    /// The curvature between the results of functional blocks, if it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interlayer: Option<PlannedPairs>,
}

impl Plan {
    /// Seconds of the curvature at all snapshots. Training comes on top.
    pub fn seconds(&self) -> f64 {
        let pairs = self.phi.iter().chain(&self.interlayer).map(|p| p.seconds);
        self.layers.iter().map(|l| l.seconds).chain(pairs).sum()
    }
}

/// One layer of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedLayer {
    /// Name.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// Dimension of its Hessian.
    pub parameters: usize,
    /// How its Hessian would be handled.
    pub route: String,
    /// Bytes at once, by count.
    pub bytes: u64,
    /// Floating-point operations per snapshot, by count.
    pub flops: f64,
    /// Seconds for all snapshots, from trial products.
    pub seconds: f64,
    /// What is done, and which quantities each part of it gives.
    pub stages: Vec<PlannedStage>,
}

/// One part of the work on a layer of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedStage {
    /// `assembly`, `columns`, `eigenvalues`, `quadrature`, `pairs` or `probes`.
    pub stage: String,
    /// The quantities that it gives.
    pub gives: String,
    /// Floating-point operations per snapshot, by count.
    pub flops: f64,
    /// Bytes at once, by count.
    pub bytes: u64,
    /// Seconds for all snapshots, from trial products.
    pub seconds: f64,
}

/// What a [`Plan`] has between blocks: Φ with the norms behind it, or the maps between results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedPairs {
    /// Products per snapshot.
    pub products: usize,
    /// Seconds for all snapshots, from trial products.
    pub seconds: f64,
}

/// What a run leaves.
#[derive(Debug)]
pub struct Finished {
    /// Its directory, with all files written.
    pub directory: RunDir,
    /// All numbers.
    pub result: RunResult,
}

/// Names that `data.name` may take: those of the built-in data sets and their aliases.
pub fn dataset_names() -> Vec<&'static str> {
    data::list().iter().flat_map(|i| std::iter::once(i.name.as_str()).chain(i.alias.as_deref())).collect()
}

/// The built-in data sets.
///
/// # Errors
/// If one is damaged.
pub fn catalogue() -> Result<Vec<DatasetInfo>> {
    Ok(data::list()
        .iter()
        .map(|i| DatasetInfo {
            name: i.name.clone(),
            title: i.title.clone(),
            task: match i.task {
                data::Task::Classification => Task::Classification,
                data::Task::Regression => Task::Regression,
            },
            rows: i.rows,
            test_rows: i.test_rows,
            features: i.features,
            outputs: i.class_names.len().max(1),
            classes: i.class_names.iter().cloned().zip(i.class_counts.iter().copied()).collect(),
            origin: i.origin.clone(),
            licence: i.licence.clone(),
            package: i.package.clone(),
            preprocessing: i.preprocessing.clone(),
            note: if i.synthetic() { parameters(i) } else { i.note.clone() },
            reference: i.reference.clone(),
        })
        .collect())
}

/// What a generated data set depends on, as `data.parameters` takes it.
fn parameters(info: &data::Info) -> String {
    let all: Vec<String> = info.parameters.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!("data.parameters = {{ {} }}", all.join(", "))
}

/// A built-in data set as CSV: a header, features first, `target` last.
///
/// # Errors
/// An unknown name.
pub fn export_csv(name: &str) -> Result<String> {
    let set = data::load(&data::Source::Builtin(name.to_owned())).map_err(failure)?;
    let mut text = Vec::new();
    set.write_csv(&mut text).map_err(|e| Failure::new(format!("cannot write {name} as CSV: {e}")))?;
    String::from_utf8(text).map_err(|e| Failure::new(format!("{name} is not text: {e}")))
}

/// What [`run`] would do, with what it would cost on this machine.
///
/// # Errors
/// Bad data.
pub fn plan(config: &Config, progress: &Progress) -> Result<Plan> {
    cost::plan(config, progress)
}

/// Trains, looks, and writes everything into the run directory.
///
/// # Errors
/// Bad data, a directory that can't be had, a loss that isn't finite.
pub fn run(config: &Config, argv: &[String], resume: bool, progress: &Progress) -> Result<Finished> {
    run::run(config, argv, resume, progress)
}

/// Curvature between the functional blocks of the configured network, at `model.weights` or its starting weights.
///
/// # Errors
/// Bad data or weights.
pub fn interlayer(config: &Config, progress: &Progress) -> Result<AtWeights> {
    interlayer::interlayer(config, progress)
}

/// Checks the identities of derivatives and spectra on the configured network, at its starting point.
///
/// # Errors
/// Bad data. A check that fails is a row, not an error.
pub fn check(config: &Config, progress: &Progress) -> Result<Vec<CheckRow>> {
    let setup = setup(config)?;
    let model = Model::<f64>::new(&setup.spec).map_err(failure)?;
    progress.detail(&format!(
        "checking {} on {}",
        config.model.describe(setup.spec.features(), setup.summary.outputs),
        setup.analysis.1
    ));
    let options = VerifyOptions { seed: config.seed, ..VerifyOptions::default() };
    let start = weights::start(config, &model)?;
    let report = verify(&model, &start.theta, &setup.analysis.0, &options).map_err(failure)?;
    Ok(report
        .rows
        .iter()
        .map(|r| CheckRow {
            name: r.subject.clone(),
            identity: r.check.to_owned(),
            found: r.value,
            must: format!("{} {:.1e}", if r.sense == Sense::AtMost { "≤" } else { "≥" }, r.bound),
            passed: r.passed(),
            detail: (!r.passed()).then(|| r.detail.clone()),
        })
        .collect())
}
