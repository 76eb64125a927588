//! `result.json`: all numbers of a run, as plain data.
//!
//! A number that is not finite has no place in it: it is left out, and [`RunResult::notes`] says where. Lists are in the
//! order of time or depth.

mod cdf;
pub mod maps;
mod metrics;
mod pairs;
mod spectrum;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use eigenlens_hessian::curvature::Curvature;

use crate::config::Task;
use crate::error::{Failure, Result};

pub use cdf::Cdf;
pub use maps::Maps;
pub use metrics::{HEADER, Row, metrics_csv, rows};
pub use pairs::interlayer_csv;
pub use spectrum::{Probe, Spectrum};

/// Version of the form of `result.json`; a change that breaks readers raises it.
pub const SCHEMA: u32 = 1;

/// A number with what is known of its error. At most one of standard error and residual is there; none means exact to rounding,
/// for the samples at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The number.
    pub value: f64,
    /// Standard error of the mean over `samples` random probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
    /// Probes behind the standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// A bound on the error from the residuals of eigenpairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<f64>,
    /// Standard error from the finite sample: how far other samples of the same distribution would move it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_error: Option<f64>,
}

impl Measured {
    /// A number that is exact to rounding.
    pub fn exact(value: f64) -> Self {
        Self { value, ..Self::default() }
    }

    /// A mean over probes. A standard error that isn't finite (of one probe) is left out.
    pub fn mean(value: f64, standard_error: f64, samples: usize) -> Self {
        let standard_error = Some(standard_error).filter(|e| e.is_finite());
        Self { value, standard_error, samples: Some(samples), ..Self::default() }
    }

    /// A number with a bound on its error.
    pub fn bounded(value: f64, residual: f64) -> Self {
        Self { value, residual: Some(residual).filter(|r| r.is_finite()), ..Self::default() }
    }

    /// The standard error or the bound, whichever there is.
    pub fn error(&self) -> Option<f64> {
        self.standard_error.or(self.residual)
    }
}

/// The data of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetSummary {
    /// Name.
    pub name: String,
    /// What the target is.
    pub task: Task,
    /// Inputs per sample.
    pub features: usize,
    /// Classes, or numbers per target.
    pub outputs: usize,
    /// Samples to fit on.
    pub train: usize,
    /// Samples for early stopping.
    pub validation: usize,
    /// Samples for the final score.
    pub test: usize,
    /// Names of the classes, if there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// Where the data come from and under which licence, for built-in sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// The network of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// In a few words: `64-32-32-10 tanh`.
    pub description: String,
    /// Numbers that are trained.
    pub parameters: usize,
    /// Loss, with its penalty: `cross-entropy`, `mse + l2 1e-4`.
    pub loss: String,
}

/// How well a network does on one part of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean loss, with its penalty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Share of right classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Share of the target's variance that is explained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
}

impl Scores {
    /// Accuracy or R².
    pub fn quality(&self) -> Option<f64> {
        self.accuracy.or(self.r2)
    }
}

/// One point of the training curves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Epochs completed; 0 is before training.
    pub epoch: usize,
    /// Optimiser steps completed.
    pub step: u64,
    /// Learning rate of the last step.
    pub lr: f64,
    /// On the training part.
    pub train: Scores,
    /// On the validation part, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Scores>,
    /// On the test part, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Scores>,
}

/// How training went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Epochs completed.
    pub epochs: usize,
    /// Optimiser steps completed.
    pub steps: u64,
    /// Why it ended: `all epochs`, `early stopping`, or the layer and step of the first number that was not finite.
    pub stop: String,
    /// Where the first number that was not finite arose, if training ended with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<String>,
    /// Epoch of the lowest validation loss, if there is a validation part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_epoch: Option<usize>,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Losses and scores after each epoch.
    pub curve: Vec<CurvePoint>,
}

/// An eigenvalue with the norm of its residual.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// λ.
    pub value: f64,
    /// ‖Hv − λv‖.
    pub residual: f64,
}

/// What is known of a spectrum from quadratures as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DensitySummary {
    /// Share of the eigenvalues that count as zero: |λ| ≤ `zero_tolerance`. They are mass, not density.
    pub zero: Measured,
    /// The share is no less, with probability `level`.
    pub zero_low: f64,
    /// The share is no more, with probability `level`.
    pub zero_high: f64,
    /// τ times the largest |λ|.
    pub zero_tolerance: f64,
    /// Probability of this and of the bands of the distribution function in the spectrum's file, at each place by itself.
    pub level: f64,
    /// How much the distribution depends on the probes: half the Wasserstein-1 distance between those of even and odd number
    /// over the mean |λ|.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discrepancy: Option<f64>,
    /// Standard deviation of the Gaussian that spreads a node in the pictures of the report, in decades of |λ|.
    pub smoothing_decades: f64,
}

/// What a block takes, counted and predicted before it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Floating-point operations, by count.
    pub flops: f64,
    /// Bytes at once, by count.
    pub bytes: u64,
    /// Seconds, from trial products.
    pub seconds_predicted: f64,
}

/// The share of one sample in an eigenvalue.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleShare {
    /// Its number among the samples that the Hessian is the mean over, from 0.
    pub sample: usize,
    /// Its label, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<usize>,
    /// w_n vᵀH_nv / λ.
    pub share: f64,
}

/// Whose an eigenvalue is: λ = Σ_n w_n vᵀH_nv, and the penalty's part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// Its number, 1 for the largest.
    pub rank: usize,
    /// vᵀHv: the sum that the shares are of.
    pub value: f64,
    /// Standard error from the finite sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_error: Option<f64>,
    /// Share of the penalty.
    pub penalty: f64,
    /// Share of the samples of each class, where there are classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<f64>,
    /// The samples with the largest shares, in size.
    pub samples: Vec<SampleShare>,
}

/// Eigenvalues of the Gauss–Newton block's parts by class (Papyan 2020), descending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMeans {
    /// Of G_0: mean gradients towards the own label.
    pub own: Vec<f64>,
    /// Of G_1: class means.
    pub means: Vec<f64>,
    /// Of G_2: cross-class means about their class mean, the largest as many as there are classes.
    pub cross: Vec<f64>,
}

/// One layer, or another block of the Hessian, at one snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerResult {
    /// Name of the layer or block.
    pub name: String,
    /// What it is: `linear 64→32 + bias`.
    pub kind: String,
    /// Numbers that are trained: the dimension of its Hessian.
    pub parameters: usize,
    /// How its Hessian was handled: `exact (Kronecker assembly)`, `Lanczos + SLQ`, ….
    pub route: String,
    /// Hessian products used.
    #[serde(default)]
    pub products: u64,
    /// Why the iterations stopped, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    /// Wall-clock seconds.
    #[serde(default)]
    pub seconds: f64,
    /// What was predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// File of the spectrum, relative to the run directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectrum: Option<String>,
    /// λ₁.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lambda_max: Option<f64>,
    /// λ_p.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lambda_min: Option<f64>,
    /// Σ λ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<f64>,
    /// √Σ λ².
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frobenius: Option<f64>,
    /// All quantities, by key, with their errors; those four too.
    pub quantities: BTreeMap<String, Measured>,
    /// The largest eigenvalues, descending, where the spectrum is not exact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<Pair>,
    /// The smallest eigenvalues, ascending, where the spectrum is not exact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bottom: Vec<Pair>,
    /// max |QᵀQ − I| over the eigenvectors of the pairs, measured: far above rounding it would mean a pair found twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair_orthogonality: Option<f64>,
    /// The spectrum as a whole, where it is not exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub density: Option<DensitySummary>,
    /// Whose the largest eigenvalues are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attribution: Vec<Attribution>,
    /// Where a classifier's outliers come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_means: Option<ClassMeans>,
    /// Whatever else there is to say, such as "identically zero".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl LayerResult {
    /// A layer with its quantities; the four that have fields of their own are copied there.
    ///
    /// Values that aren't finite are left out, and noted.
    pub fn new(
        name: impl Into<String>,
        kind: impl Into<String>,
        parameters: usize,
        route: impl Into<String>,
        quantities: impl IntoIterator<Item = (String, Measured)>,
    ) -> Self {
        let (finite, other): (BTreeMap<_, _>, BTreeMap<_, _>) =
            quantities.into_iter().partition(|(_, q)| q.value.is_finite());
        let value = |key: &str| finite.get(key).map(|q: &Measured| q.value);
        let notes = other.keys().map(|key| format!("{key} is not finite and left out")).collect();
        Self {
            name: name.into(),
            kind: kind.into(),
            parameters,
            route: route.into(),
            products: 0,
            stop: None,
            seconds: 0.0,
            cost: None,
            spectrum: None,
            lambda_max: value("lambda_max"),
            lambda_min: value("lambda_min"),
            trace: value("trace"),
            frobenius: value("frobenius"),
            quantities: finite,
            top: Vec::new(),
            bottom: Vec::new(),
            pair_orthogonality: None,
            density: None,
            attribution: Vec::new(),
            class_means: None,
            notes,
        }
    }

    /// A quantity by its key.
    pub fn get(&self, key: &str) -> Option<&Measured> {
        self.quantities.get(key)
    }
}

/// ‖H − blockdiag H‖₂: at most so far is any eigenvalue of the blocks, all taken together and sorted, from that of the whole
/// Hessian (Weyl).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OffDiagonal {
    /// It is no less.
    pub lower: f64,
    /// It is no more, with the confidence; absent if there were too few steps to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
    /// Probability with which `upper` holds.
    pub confidence: f64,
}

/// How sharp the loss is, beside what the optimiser can stand (Cohen et al. 2021, 2022).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// λ_max of the whole Hessian.
    pub sharpness: Measured,
    /// λ_max(P^{-½}(H + D)P^{-½}), with the optimiser's metric P and the weight decay D in its gradient, where there is either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preconditioned: Option<Measured>,
    /// The value of the latter (or of the sharpness) beyond which the last step size is unstable, for full batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
}

impl Stability {
    /// What the optimiser sees as a share of its bound: above 1, a step of that size is unstable.
    pub fn share(&self) -> Option<Measured> {
        let (seen, bound) = (self.preconditioned.unwrap_or(self.sharpness), self.bound?);
        let residual = seen.residual.map(|r| r / bound);
        Some(Measured { value: seen.value / bound, residual, ..Measured::default() })
    }
}

/// The network at one moment of its training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Number of the snapshot, from 0.
    pub index: usize,
    /// Epochs completed.
    pub epoch: usize,
    /// Optimiser steps completed.
    pub step: u64,
    /// File of the weights, relative to the run directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// On the training part.
    #[serde(default)]
    pub train: Scores,
    /// On the validation part, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Scores>,
    /// On the test part, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Scores>,
    /// Φ = 1 − Σ_ℓ ‖H_ℓℓ‖_F² / ‖H‖_F²: the share of curvature that the picture layer by layer leaves out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phi: Option<Measured>,
    /// What is known of pairs of blocks.
    #[serde(default, skip_serializing_if = "Maps::is_empty")]
    pub maps: Maps,
    /// How far the picture layer by layer can misplace an eigenvalue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_diagonal: Option<OffDiagonal>,
    /// The largest eigenvalue of the whole Hessian against the optimiser's bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stability: Option<Stability>,
    /// The layers, or other blocks, first to last.
    pub layers: Vec<LayerResult>,
}

/// The content of `result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The data.
    pub dataset: DatasetSummary,
    /// The network.
    pub model: ModelSummary,
    /// How training went.
    pub training: Training,
    /// Final scores on the training part.
    pub train: Scores,
    /// Final scores on the validation part, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Scores>,
    /// Final scores on the test part, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Scores>,
    /// Which matrix the blocks are of, by the name of `spectra.curvature`.
    #[serde(default = "hessian")]
    pub curvature: String,
    /// What each block of the Hessian belongs to, in a word: `layer`, `tensor`, `network`, `head`, `neuron`, `group`.
    #[serde(default = "layer")]
    pub blocks: String,
    /// The samples that the Hessians are means over, in words: `1293 samples of the training part`.
    pub hessian_over: String,
    /// The moments, in order.
    pub snapshots: Vec<Snapshot>,
    /// Whatever there is to say about the run, and which numbers were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

fn hessian() -> String {
    Curvature::Hessian.name().to_owned()
}

fn layer() -> String {
    "layer".to_owned()
}

impl RunResult {
    /// The JSON text. Numbers that aren't finite, which JSON can't hold, are left out and named in `notes`.
    pub fn to_json(&self) -> String {
        let mut value = serde_json::to_value(self).expect("plain data have a JSON form");
        let mut gone = Vec::new();
        drop_nulls("", &mut value, &mut gone);
        if !gone.is_empty()
            && let Some(object) = value.as_object_mut()
        {
            let notes = object.entry("notes").or_insert_with(|| serde_json::Value::Array(Vec::new()));
            if let Some(notes) = notes.as_array_mut() {
                notes.extend(gone.iter().map(|path| format!("{path} is not finite and left out").into()));
            }
        }
        let mut text = serde_json::to_string_pretty(&value).expect("a value has a JSON form");
        text.push('\n');
        text
    }

    /// Reads the text of a `result.json`; `name` is what to call it in errors.
    ///
    /// # Errors
    /// If it isn't one, or one of another schema.
    pub fn from_json(text: &str, name: &str) -> Result<Self> {
        let again = "run the config again with this version, or read it with the version in its manifest.json";
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|e| Failure::new(format!("the result is damaged: {e}")).at(name))?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            Some(schema) => {
                return Err(Failure::new(format!("the result has schema {schema}, this version reads {SCHEMA}"))
                    .at(name)
                    .hint(again));
            }
            None => return Err(Failure::new("it is not the result of a run").at(name)),
        }
        serde_json::from_value(value)
            .map_err(|e| Failure::new(format!("the result can't be read: {e}")).at(name).hint(again))
    }

    /// Which matrix the blocks are of; the Hessian if this version doesn't know the name.
    pub fn curvature(&self) -> Curvature {
        Curvature::of_name(&self.curvature).unwrap_or_default()
    }

    /// What the blocks are, in words: `Gauss–Newton matrix of cross-entropy layer by layer`.
    pub fn headline(&self) -> String {
        let title = self.curvature().title();
        let of = match self.curvature() {
            Curvature::Local(_) => String::new(),
            _ => format!(" of {}", self.model.loss),
        };
        let cut = match self.blocks.as_str() {
            "network" => "of the whole network".to_owned(),
            block => format!("{block} by {block}"),
        };
        let (first, rest) = title.split_at(title.chars().next().map_or(0, char::len_utf8));
        format!("{}{rest}{of} {cut}", first.to_uppercase())
    }

    /// The last snapshot.
    pub fn last(&self) -> Option<&Snapshot> {
        self.snapshots.last()
    }
}

/// Removes every null and collects the paths of what it removed. An object whose `value` is gone goes as a whole. In maps a
/// null is a pair that has no such number, and stays.
fn drop_nulls(path: &str, value: &mut serde_json::Value, gone: &mut Vec<String>) {
    use serde_json::Value::*;
    let worthless = |v: &serde_json::Value| v.is_null() || v.get("value").is_some_and(serde_json::Value::is_null);
    let inside = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Object(map) => {
            gone.extend(map.iter().filter(|(_, v)| worthless(v)).map(|(key, _)| inside(key)));
            map.retain(|_, v| !worthless(v));
            map.iter_mut().filter(|(key, _)| *key != "maps").for_each(|(key, v)| drop_nulls(&inside(key), v, gone));
        }
        Array(list) => {
            gone.extend(list.iter().enumerate().filter(|(_, v)| worthless(v)).map(|(i, _)| format!("{path}[{i}]")));
            list.retain(|v| !worthless(v));
            list.iter_mut().enumerate().for_each(|(i, v)| drop_nulls(&format!("{path}[{i}]"), v, gone));
        }
        _ => {}
    }
}
