//! From a config to numbers: the seam between this crate and the engine.
//!
//! Everything around it works on the plain types of this crate; only this file will know the crates below.
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
//!    [`RunDir::snapshot_file`] (skip what [`RunDir::has`] after a resumption).
//! 3. At each snapshot: Φ, then for every layer its spectrum into [`RunDir::spectrum_file`] and a
//!    [`LayerResult`](crate::results::LayerResult).
//! 4. Write `result.json` ([`RunResult::to_json`]), `metrics.csv` ([`metrics_csv`](crate::results::metrics_csv)) and the
//!    report ([`report::write`](crate::report::write)), then [`RunDir::finish`].
//!
//! A loss that isn't finite ends step 2: the snapshots so far are analysed and written, the manifest says
//! [`RunDir::fail`] with layer and step, and the command fails.

use serde::Serialize;

use crate::config::{Config, names};
use crate::error::{Failure, Result};
use crate::progress::Progress;
use crate::results::RunResult;
use crate::rundir::RunDir;
use crate::show::{CheckRow, DatasetInfo};

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

/// Names that `data.name` may take.
pub fn dataset_names() -> Vec<&'static str> {
    names::DATASETS.to_vec()
}

/// The built-in data sets.
///
/// # Errors
/// If one is damaged.
pub fn catalogue() -> Result<Vec<DatasetInfo>> {
    Err(no_engine("data sets"))
}

/// A built-in data set as CSV: a header, features first, `target` last.
///
/// # Errors
/// An unknown name.
pub fn export_csv(name: &str) -> Result<String> {
    Err(no_engine(name))
}

/// What [`run`] would do.
///
/// # Errors
/// Bad data.
pub fn plan(config: &Config, _progress: &Progress) -> Result<Plan> {
    Err(no_engine(&config.data.short_name()))
}

/// Trains, looks, and writes everything into the run directory.
///
/// # Errors
/// Bad data, a directory that can't be had, a loss that isn't finite.
pub fn run(config: &Config, _argv: &[String], _resume: bool, _progress: &Progress) -> Result<Finished> {
    Err(no_engine(&config.data.short_name()))
}

/// Checks the identities of derivatives and spectra on the configured network.
///
/// # Errors
/// Bad data. A check that fails is a row, not an error.
pub fn check(config: &Config, _progress: &Progress) -> Result<Vec<CheckRow>> {
    Err(no_engine(&config.data.short_name()))
}

fn no_engine(about: &str) -> Failure {
    Failure::new("this build has no engine: it can read configs and write reports, not compute").at(about)
}
