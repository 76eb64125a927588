//! The tables of a study: `experiments.csv` with a row per experiment, `results.csv` with a row per experiment, snapshot, layer
//! and quantity. They hold no times and nothing of the machine: the same study gives the same bytes.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use eigenlens_nets::data::Info;

use super::capacity::layers;
use super::design::Planned;
use super::execute::Outcome;
use crate::error::{Failure, Result};
use crate::files::write_atomic;
use crate::results::{self, CurvePoint, RunResult};

/// Name of the table with a row per experiment.
pub const EXPERIMENTS: &str = "experiments.csv";
/// Name of the long table.
pub const RESULTS: &str = "results.csv";

/// Shortfall from a reference score that is still counted as reaching it, in standard deviations.
const TOLERANCE: f64 = 2.0;

/// How much of the way to the lowest training loss has to be covered for convergence.
const CONVERGED: f64 = 0.95;

/// An experiment. An absent number is one that there is not: it was not reached, or does not exist for the task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Its name.
    pub experiment: String,
    /// The data set.
    pub dataset: String,
    /// `classification` or `regression`.
    pub task: String,
    /// `under`, `adequate`, `over`, or the widths of a network that was given.
    pub capacity: String,
    /// Hidden layers.
    pub depth: usize,
    /// Units of the widest hidden layer.
    pub width: usize,
    /// Activation of the hidden layers.
    pub activation: String,
    /// Initialiser.
    pub init: String,
    /// Optimiser.
    pub optimizer: String,
    /// Learning rate at the start.
    pub lr: f64,
    /// Samples per step.
    pub batch_size: usize,
    /// Penalty in the loss.
    pub l2: f64,
    /// Seed of split, weights, order of the samples and probes.
    pub seed: u64,
    /// Inputs.
    pub features: usize,
    /// Outputs.
    pub outputs: usize,
    /// Training samples.
    pub train_rows: usize,
    /// Validation samples.
    pub validation_rows: usize,
    /// Test samples.
    pub test_rows: usize,
    /// P.
    pub parameters: usize,
    /// P / (training samples · outputs).
    pub load: f64,
    /// Parameters of the largest layer.
    pub largest_layer: usize,
    /// Layers whose spectrum is exact, at every snapshot.
    pub exact_layers: usize,
    /// Snapshots that were analysed.
    pub snapshots: usize,
    /// `finished`, `diverged` or `failed`.
    pub status: String,
    /// Why it is not finished.
    pub reason: Option<String>,
    /// Epochs completed.
    pub epochs: usize,
    /// Optimiser steps completed.
    pub steps: u64,
    /// The first epoch from which on the training loss stays within 5 % of its whole fall above its lowest value.
    pub epochs_to_converge: Option<usize>,
    /// Epoch of the lowest validation loss.
    pub best_validation_epoch: Option<usize>,
    /// `accuracy` or `r2`.
    pub metric: String,
    /// At the end of training.
    pub train_loss: Option<f64>,
    /// At the end of training.
    pub validation_loss: Option<f64>,
    /// At the end of training.
    pub test_loss: Option<f64>,
    /// Accuracy or R² at the end of training.
    pub train_score: Option<f64>,
    /// Accuracy or R² at the end of training.
    pub validation_score: Option<f64>,
    /// Accuracy or R² at the end of training.
    pub test_score: Option<f64>,
    /// Test loss − training loss.
    pub gap_loss: Option<f64>,
    /// Training score − test score.
    pub gap_score: Option<f64>,
    /// Score of a network of 32 units (64 for images) in another program; of adequate networks only.
    pub reference: Option<f64>,
    /// Its standard deviation over test parts of this size.
    pub reference_sd: Option<f64>,
    /// Shortfall that counts as reaching it.
    pub tolerance: Option<f64>,
    /// Whether the test score reaches it.
    pub reached: Option<bool>,
}

/// One number of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The experiment.
    pub experiment: String,
    /// Number of the snapshot; 0 is before training.
    pub snapshot: usize,
    /// Epochs completed.
    pub epoch: usize,
    /// Optimiser steps completed.
    pub step: u64,
    /// Name of the layer; `*` for the network as a whole.
    pub layer: String,
    /// Number of the layer from the input, from 0; absent for the network.
    pub depth_index: Option<usize>,
    /// Key of the quantity.
    pub quantity: String,
    /// Its value.
    pub value: f64,
    /// Standard error over probes, or bound on the error; absent: exact to rounding.
    pub error: Option<f64>,
}

/// Both tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// A row per experiment, in the order of the design.
    pub experiments: Vec<Experiment>,
    /// All numbers, experiment by experiment.
    pub rows: Vec<Row>,
}

impl Tables {
    /// Adds an experiment with all its numbers; `result` is absent if there is none.
    pub fn add(&mut self, planned: &Planned, outcome: &Outcome, result: Option<&RunResult>) {
        self.experiments.push(experiment(planned, outcome, result));
        let Some(result) = result else { return };
        let names: Vec<&str> =
            result.last().map(|s| s.layers.iter().map(|l| l.name.as_str()).collect()).unwrap_or_default();
        self.rows.extend(results::rows(result).into_iter().map(|r| Row {
            experiment: planned.id.clone(),
            snapshot: r.snapshot,
            epoch: r.epoch,
            step: r.step,
            depth_index: names.iter().position(|name| *name == r.layer),
            layer: r.layer,
            quantity: r.quantity,
            value: r.value,
            error: r.standard_error.or(r.residual),
        }));
    }

    /// Writes both files into a directory.
    ///
    /// # Errors
    /// If they can't be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        write_atomic(&directory.join(EXPERIMENTS), &csv_of(&self.experiments)?)?;
        write_atomic(&directory.join(RESULTS), &csv_of(&self.rows)?)
    }

    /// Reads them again.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn read(directory: &Path) -> Result<Self> {
        Ok(Self { experiments: read(&directory.join(EXPERIMENTS))?, rows: read(&directory.join(RESULTS))? })
    }
}

/// Rows as CSV with a header.
///
/// # Errors
/// If a row has no CSV form.
pub fn csv_of<T: Serialize>(rows: &[T]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let wrong = |e: &dyn std::fmt::Display| Failure::new(format!("a row has no CSV form: {e}"));
    for row in rows {
        writer.serialize(row).map_err(|e| wrong(&e))?;
    }
    writer.into_inner().map_err(|e| wrong(&e))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let bytes = std::fs::read(path).map_err(|e| Failure::io("read the file", path, &e))?;
    let rows = csv::Reader::from_reader(bytes.as_slice()).into_deserialize().collect::<Result<_, csv::Error>>();
    rows.map_err(|e| {
        Failure::new(format!("the table can't be read: {e}"))
            .at(path.display())
            .hint("`eigenlens study` with the same suite and --out writes it anew")
    })
}

/// The score that a data set's adequate network is compared with, and its standard deviation over test parts of so many rows:
/// that over the folds of the reference, and for shares at least that of a count of so many rows (with two more of each kind, as
/// Agresti & Coull 1998 have it, so that a share of 1 has an error, too).
fn reference(info: &Info, test_rows: usize) -> Option<(f64, f64)> {
    let name = if info.score("mlp32").is_some() { "mlp32" } else { "mlp64" };
    let score = info.score(name)?;
    let folds = info.score(&format!("{name}_sd")).unwrap_or(0.0);
    let share = info.metric == "accuracy" && test_rows > 0;
    let (n, more) = (test_rows as f64, 4.0);
    let middle = (score * n + more / 2.0) / (n + more);
    let counted = if share { (middle * (1.0 - middle) / (n + more)).sqrt() } else { 0.0 };
    Some((score, folds.max(counted)))
}

/// The first epoch from which on the training loss stays below the mark of [`CONVERGED`]. An epoch without a finite loss is
/// above every mark.
fn epochs_to_converge(curve: &[CurvePoint]) -> Option<usize> {
    let loss = |p: &CurvePoint| p.train.loss.unwrap_or(f64::INFINITY);
    let first = curve.first().map(loss)?;
    let lowest = curve.iter().map(loss).fold(f64::INFINITY, f64::min);
    let mark = first - CONVERGED * (first - lowest);
    let after = curve.iter().rposition(|p| loss(p) > mark).map_or(0, |last| last + 1);
    curve.get(after).map(|p| p.epoch)
}

fn experiment(planned: &Planned, outcome: &Outcome, result: Option<&RunResult>) -> Experiment {
    let (config, info) = (&planned.config, planned.info);
    let (status, reason) = match outcome {
        Outcome::Finished => ("finished", None),
        Outcome::Diverged(reason) => ("diverged", Some(reason.clone())),
        Outcome::Failed(reason) => ("failed", Some(reason.clone())),
    };
    let outputs = result.map_or(info.class_names.len().max(1), |r| r.dataset.outputs);
    let of = layers(info.features, &planned.hidden, outputs);
    let parameters: usize = of.iter().sum();
    let rows = |part: fn(&RunResult) -> usize| result.map_or(0, part);
    let train_rows = rows(|r| r.dataset.train);
    let test_rows = rows(|r| r.dataset.test);
    // A network that diverged has scores of its last finite snapshot, which are none of its training.
    let ended = result.filter(|_| *outcome == Outcome::Finished);
    let train = ended.map(|r| r.train).unwrap_or_default();
    let validation = ended.and_then(|r| r.validation).unwrap_or_default();
    let test = ended.and_then(|r| r.test).unwrap_or_default();
    let curve = ended.map_or(&[][..], |r| &r.training.curve);
    let validated = curve.iter().filter_map(|p| Some((p.epoch, p.validation?.loss?)));
    let exact = |r: &RunResult| {
        let is = |name: &str| {
            let of_layer = |s: &results::Snapshot| s.layers.iter().any(|l| l.name == name && l.density.is_none());
            r.snapshots.iter().all(of_layer)
        };
        r.last().map_or(0, |s| s.layers.iter().filter(|l| is(&l.name)).count())
    };
    let score = reference(info, test_rows).filter(|_| planned.adequate());
    let tolerance = score.map(|(_, sd)| TOLERANCE * sd);
    Experiment {
        experiment: planned.id.clone(),
        dataset: info.name.clone(),
        task: info.task.name().to_owned(),
        capacity: planned.capacity.clone(),
        depth: planned.hidden.len(),
        width: planned.hidden.iter().copied().max().unwrap_or(0),
        activation: config.model.activation.clone().unwrap_or_default(),
        init: config.model.init.clone().unwrap_or_default(),
        optimizer: planned.optimizer.name.to_owned(),
        lr: config.train.lr,
        batch_size: config.train.batch_size,
        l2: config.loss.l2.lambda,
        seed: config.seed,
        features: info.features,
        outputs,
        train_rows,
        validation_rows: rows(|r| r.dataset.validation),
        test_rows,
        parameters,
        load: if train_rows > 0 { parameters as f64 / (train_rows * outputs) as f64 } else { 0.0 },
        largest_layer: of.iter().copied().max().unwrap_or(0),
        exact_layers: result.map_or(0, exact),
        snapshots: result.map_or(0, |r| r.snapshots.len()),
        status: status.to_owned(),
        reason,
        epochs: result.map_or(0, |r| r.training.epochs),
        steps: result.map_or(0, |r| r.training.steps),
        epochs_to_converge: epochs_to_converge(curve),
        best_validation_epoch: validated.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(epoch, _)| epoch),
        metric: info.metric.clone(),
        train_loss: train.loss,
        validation_loss: validation.loss,
        test_loss: test.loss,
        train_score: train.quality(),
        validation_score: validation.quality(),
        test_score: test.quality(),
        gap_loss: test.loss.zip(train.loss).map(|(test, train)| test - train),
        gap_score: train.quality().zip(test.quality()).map(|(train, test)| train - test),
        reference: score.map(|s| s.0),
        reference_sd: score.map(|s| s.1),
        tolerance,
        reached: score.zip(tolerance).map(|((s, _), t)| test.quality().is_some_and(|found| found >= s - t)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Scores;
    use crate::study::design::design;
    use crate::study::suite::Suite;

    fn curve(losses: &[f64]) -> Vec<CurvePoint> {
        let point = |(epoch, &loss): (usize, &f64)| CurvePoint {
            epoch,
            step: epoch as u64,
            lr: 0.1,
            train: Scores { loss: Some(loss).filter(|l| l.is_finite()), ..Scores::default() },
            validation: None,
            test: None,
        };
        losses.iter().enumerate().map(point).collect()
    }

    #[test]
    fn convergence_is_the_last_time_that_the_mark_is_crossed() {
        // Falls from 1 to 0: the mark is 0.05.
        assert_eq!(epochs_to_converge(&curve(&[1.0, 0.5, 0.04, 0.06, 0.05, 0.0])), Some(4));
        assert_eq!(epochs_to_converge(&curve(&[1.0])), Some(0));
        assert_eq!(epochs_to_converge(&curve(&[1.0, 0.9, 0.0, 1.2])), None, "it ends above the mark");
        assert_eq!(epochs_to_converge(&curve(&[1.0, 0.0, f64::NAN])), None);
        assert_eq!(epochs_to_converge(&[]), None);
    }

    #[test]
    fn tables_come_back_bit_for_bit() {
        let plan = design(&Suite::parse("s.toml", "datasets = ['iris', 'auto_mpg']").unwrap()).unwrap();
        let mut tables = Tables::default();
        tables.add(&plan[0], &Outcome::Failed("the weights, \"all\" of them,\nare gone".to_owned()), None);
        tables.add(&plan[1], &Outcome::Finished, Some(&crate::example::run().0));
        tables.add(&plan[2], &Outcome::Diverged("step 3".to_owned()), Some(&crate::example::run().0));
        assert!(tables.rows.len() > 20 && tables.rows.iter().any(|r| r.error.is_some()));
        let of_layer = |r: &&Row| r.layer != "*";
        assert!(tables.rows.iter().filter(of_layer).all(|r| r.depth_index.is_some()));
        // A diverged training has no end, and so no scores; the finished one has.
        assert!(tables.experiments[2].test_score.is_none() && tables.experiments[1].test_score.is_some());
        let dir = tempfile::tempdir().unwrap();
        tables.write(dir.path()).unwrap();
        let back = Tables::read(dir.path()).unwrap();
        assert_eq!(back, tables);
        let bits = |t: &Tables| t.rows.iter().map(|r| r.value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&tables));
        std::fs::write(dir.path().join(EXPERIMENTS), "experiment,dataset\na,b\n").unwrap();
        let text = Tables::read(dir.path()).unwrap_err().to_string();
        assert!(text.contains("experiments.csv") && text.contains("the table can't be read"), "{text}");
    }

    #[test]
    fn a_reference_has_the_larger_of_its_two_errors() {
        let of = |name: &str| reference(eigenlens_nets::data::info(name).unwrap(), 100).unwrap();
        // 102 of 104, as its folds agree that every sample is right.
        let (score, sd) = of("tissue_gene");
        assert!(score == 1.0 && (sd - (102.0 * 2.0 / 104f64.powi(3)).sqrt()).abs() < 1e-15, "{sd}");
        // 92.6 of 104.
        let (_, sd) = of("mnist7x7");
        assert!((sd - (92.6 * 11.4 / 104f64.powi(3)).sqrt()).abs() < 1e-15, "{sd}");
        let (_, sd) = of("diabetes");
        assert!((sd - 0.1434).abs() < 1e-12, "{sd}");
    }
}
