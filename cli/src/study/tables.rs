//! The tables of a study: `experiments.csv` has a row per network, `results.csv` one per network, snapshot, layer and quantity.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};

/// Name of the table with a row per network.
pub const EXPERIMENTS: &str = "experiments.csv";
/// Name of the long table.
pub const RESULTS: &str = "results.csv";

/// A network of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Its name, also that of its directory.
    pub experiment: String,
    /// Name of the data set.
    pub dataset: String,
    /// `classification` or `regression`.
    pub task: String,
    /// `under`, `adequate`, `over`, or a name of an own suite.
    pub capacity: String,
    /// Hidden layers.
    pub depth: usize,
    /// Units of every hidden layer.
    pub width: usize,
    /// Activation of the hidden layers.
    pub activation: String,
    /// How weights start.
    pub init: String,
    /// The optimiser.
    pub optimizer: String,
    /// Base learning rate.
    pub lr: f64,
    /// Rows per step.
    pub batch_size: usize,
    /// Factor of the penalty, 0 for none.
    pub l2: f64,
    /// Seed of everything random.
    pub seed: u64,
    /// Inputs per row.
    pub features: usize,
    /// Classes, or numbers per target.
    pub outputs: usize,
    /// Rows to fit on.
    pub train_rows: usize,
    /// Rows for validation.
    pub validation_rows: usize,
    /// Rows for the final score.
    pub test_rows: usize,
    /// Numbers that are trained.
    pub parameters: usize,
    /// Parameters per equation: parameters / (training rows × outputs), outputs 1 for regression.
    pub load: f64,
    /// Parameters of the largest layer.
    pub largest_layer: usize,
    /// Layers whose spectrum is exact.
    pub exact_layers: usize,
    /// Snapshots that were analysed.
    pub snapshots: usize,
    /// `finished`, `diverged` or `failed`.
    pub status: String,
    /// Why it did not finish.
    pub reason: Option<String>,
    /// Epochs completed.
    pub epochs: usize,
    /// Optimiser steps completed.
    pub steps: u64,
    /// First epoch from which on the training loss stays within 5 % of its whole decrease above its minimum.
    pub epochs_to_converge: Option<usize>,
    /// Epoch of the lowest validation loss.
    pub best_validation_epoch: Option<usize>,
    /// `accuracy` or `r2`.
    pub metric: String,
    /// Training loss at the end.
    pub train_loss: Option<f64>,
    /// Validation loss at the end.
    pub validation_loss: Option<f64>,
    /// Test loss at the end.
    pub test_loss: Option<f64>,
    /// Accuracy or R² on the training part at the end.
    pub train_score: Option<f64>,
    /// The same on the validation part.
    pub validation_score: Option<f64>,
    /// The same on the test part.
    pub test_score: Option<f64>,
    /// Test loss − training loss.
    pub gap_loss: Option<f64>,
    /// Training score − test score.
    pub gap_score: Option<f64>,
    /// The reference score of the data set.
    pub reference: Option<f64>,
    /// Its standard deviation.
    pub reference_sd: Option<f64>,
    /// Allowed shortfall from it.
    pub tolerance: Option<f64>,
    /// Whether the test score is within the tolerance.
    pub reached: Option<bool>,
}

/// A quantity of a layer at a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the network.
    pub experiment: String,
    /// Number of the snapshot.
    pub snapshot: usize,
    /// Epochs completed.
    pub epoch: usize,
    /// Optimiser steps completed.
    pub step: u64,
    /// Name of the layer; `*` for the network as a whole.
    pub layer: String,
    /// Place of the layer, from 0; none for `*`.
    pub depth_index: Option<usize>,
    /// Key of the quantity, as in `metrics.csv`.
    pub quantity: String,
    /// Its value, finite.
    pub value: f64,
    /// Its standard error or bound; none if it is exact to rounding.
    pub error: Option<f64>,
}

/// Both tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// The networks.
    pub experiments: Vec<Experiment>,
    /// Their quantities.
    pub rows: Vec<Row>,
}

impl Tables {
    /// Reads the tables of a study's directory.
    ///
    /// # Errors
    /// If one is missing or has other columns; with the line.
    pub fn read(dir: &Path) -> Result<Self> {
        Ok(Self { experiments: table(&dir.join(EXPERIMENTS))?, rows: table(&dir.join(RESULTS))? })
    }
}

fn table<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let again = "let `eigenlens study` write the tables anew with this version";
    let failure = |e: csv::Error| Failure::new(format!("the table can't be read: {e}")).at(path.display()).hint(again);
    csv::Reader::from_path(path).map_err(failure)?.deserialize().collect::<std::result::Result<_, _>>().map_err(failure)
}
