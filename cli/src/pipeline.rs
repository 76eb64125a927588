//! From a config to numbers: the seam between this crate and the engine.
//!
//! Everything around it works on the plain types of this crate; only this file and its parts know the crates below:
//! `setup` (data, network, options), `run` (training, files) and `curvature` (the picture at each snapshot). Names of activations and
//! initialisers, and what is near to a misspelt one, are those of `nets` wherever they are needed.
//!
//! | function | maps | to |
//! |---|---|---|
//! | [`dataset_names`], [`catalogue`], [`export_csv`] | `nets::data` | names, [`DatasetInfo`], CSV text |
//! | [`plan`] | config, data shapes, the cost model of `hessian` | [`Plan`] for `--dry-run` |
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

use eigenlens_autodiff::Order;
use eigenlens_autodiff::check::Sense;
use eigenlens_hessian::block::Route;
use eigenlens_hessian::layerwise::choose;
use eigenlens_hessian::verify::{VerifyOptions, verify};
use eigenlens_nets::objective::{Cut, Reduction};
use eigenlens_nets::{Model, Objective, data};

use serde::Serialize;

use self::curvature::{block_options, describe};
use self::setup::{failure, setup};
use crate::config::{Config, Task};
use crate::error::{Failure, Result};
use crate::progress::Progress;
use crate::results::RunResult;
use crate::rundir::RunDir;
use crate::show::{CheckRow, DatasetInfo};

mod curvature;
mod run;
mod setup;

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
    /// Bytes at once, by the printed estimate.
    pub bytes: u64,
    /// Floating-point operations per snapshot, by the printed estimate.
    pub flops: f64,
    /// Seconds for all snapshots, from three trial products.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
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
            note: i.note.clone(),
            reference: i.reference.clone(),
        })
        .collect())
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

/// What [`run`] would do.
///
/// # Errors
/// Bad data.
pub fn plan(config: &Config, _progress: &Progress) -> Result<Plan> {
    let setup = setup(config)?;
    let model = Model::<f64>::new(&setup.spec).map_err(failure)?;
    let objective =
        Objective::new(&model, &setup.analysis.0, Reduction::Mean, Order::Value, Cut::default()).map_err(failure)?;
    let options = block_options(config);
    let layers = model
        .layers()
        .iter()
        .enumerate()
        .map(|(index, layer)| {
            let choice = choose(&objective, index, &options);
            let products = (options.slq.probes * options.slq.steps) as f64;
            let per_product = choice.estimate.products / layer.len() as f64;
            let (multiply_adds, bytes) = match choice.route {
                Route::DenseKronecker => (choice.estimate.kronecker, choice.estimate.bytes),
                Route::DenseProducts => (choice.estimate.products, 8.0 * (layer.len() as f64).powi(2)),
                // A basis for every probe.
                Route::Krylov => (products * per_product, 8.0 * products * layer.len() as f64),
            };
            // The eigenvalues of a dense block take about 4/3 p³ operations.
            let eigenvalues =
                if choice.route == Route::Krylov { 0.0 } else { 4.0 / 3.0 * (layer.len() as f64).powi(3) };
            PlannedLayer {
                name: layer.name.clone(),
                kind: describe(layer),
                parameters: layer.len(),
                route: choice.route.as_str().to_owned(),
                bytes: bytes as u64,
                flops: 2.0 * multiply_adds + eigenvalues,
                seconds: None,
            }
        })
        .collect();
    Ok(Plan {
        model: config.model.describe(setup.spec.inputs, setup.spec.outputs()),
        directory: config.out.as_ref().map_or_else(
            || format!("runs/{}-{}", config.data.short_name(), config.hash8()),
            |out| out.display().to_string(),
        ),
        snapshots: config.snapshots.at(config.train.epochs),
        layers,
    })
}

/// Trains, looks, and writes everything into the run directory.
///
/// # Errors
/// Bad data, a directory that can't be had, a loss that isn't finite.
pub fn run(config: &Config, argv: &[String], resume: bool, progress: &Progress) -> Result<Finished> {
    run::run(config, argv, resume, progress)
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
        config.model.describe(setup.spec.inputs, setup.spec.outputs()),
        setup.analysis.1
    ));
    let options = VerifyOptions { seed: config.seed, ..VerifyOptions::default() };
    let report = verify(&model, &model.init(config.seed), &setup.analysis.0, &options).map_err(failure)?;
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
