//! The run config: what to train on, what to train, and what to compute at each snapshot.
//!
//! A config is TOML. Everything has a default, and the defaults together are the built-in example: digits with a tanh
//! network 64-32-32-10. What a run used is written back as `config.toml` into its directory, complete, and reads back
//! to the same value.

mod analysis;
mod check;
mod data;
mod interlayer;
mod layer;
mod message;
mod model;
mod sample;
mod source;
mod train;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use analysis::{Blocks, Snapshots, Spectra, SpectraMethod};
pub use check::refused;
pub use data::{Data, DataSource, Part, Standardize, Task};
pub use interlayer::{Interlayer, Method};
pub use layer::{BatchStatistics, Layer, LayerKind, Pair};
pub use model::Model;
pub use source::{Override, Source};
pub use train::{
    Balanced, ClassWeights, EarlyStopping, L2, L2Scope, Loss, LossKind, Optimizer, OptimizerKind, Schedule,
    ScheduleKind, Train,
};

use crate::error::{Failure, Result};
use source::Places;

/// The largest seed: TOML has no larger number.
pub const MAX_SEED: u64 = i64::MAX as u64;

/// Scalar type of a computation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    #[default]
    F64,
}

/// A complete run config. `Config::default()` is the built-in example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Seed of everything random: split, weights, order of the samples, probes. At most 2⁶³ − 1, TOML's largest number.
    pub seed: u64,
    /// Threads to compute with; 0 means one per core. Results don't depend on it.
    pub threads: usize,
    /// Memory that may be used, in GiB; 0 means half of the machine's. Results don't depend on it.
    pub memory: f64,
    /// Scalar type of the curvature. Training has its own, [`Train::precision`].
    pub precision: Precision,
    /// Run directory; absent: a new one under `runs/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// What to train on.
    pub data: Data,
    /// The network.
    pub model: Model,
    /// The loss that is minimised and whose Hessian is taken.
    pub loss: Loss,
    /// How the network is trained.
    pub train: Train,
    /// When the network is looked at.
    pub snapshots: Snapshots,
    /// What is computed at every snapshot.
    pub spectra: Spectra,
    /// And between functional blocks.
    pub interlayer: Interlayer,
    /// Where its values were given.
    #[serde(skip)]
    pub(crate) places: Places,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            threads: 0,
            memory: 0.0,
            precision: Precision::F64,
            out: None,
            data: Data::default(),
            model: Model::default(),
            loss: Loss::default(),
            train: Train::default(),
            snapshots: Snapshots::default(),
            spectra: Spectra::default(),
            interlayer: Interlayer::default(),
            places: Places::default(),
        }
    }
}

impl Config {
    /// Reads the config file at `path` (without one: the built-in example), applies `overrides` in order, fills in
    /// every default that does not depend on the data; checks all that was given.
    ///
    /// `datasets` are the names that `data.name` may take.
    ///
    /// # Errors
    /// A file that can't be read, TOML that can't be parsed, an unknown key or name (with the nearest known one), a
    /// value of the wrong type or outside its range. The place is the line and column of the file, or the flag.
    pub fn load(path: Option<&Path>, overrides: &[Override], datasets: &[&str]) -> Result<Self> {
        let text = match path {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
                    std::io::ErrorKind::InvalidData => {
                        Failure::new("the config is not UTF-8 text").at(path.display()).hint("save it as UTF-8")
                    }
                    _ if path.is_dir() => {
                        let inside = path.join("config.toml");
                        let hint = if inside.is_file() {
                            format!("did you mean {}?", inside.display())
                        } else {
                            "give a TOML file".to_owned()
                        };
                        Failure::new("the config is a directory").at(path.display()).hint(hint)
                    }
                    _ => Failure::io("read the config", path, &e),
                })?;
                Some((path.display().to_string(), text))
            }
        };
        Self::parse(text.as_ref().map(|(name, text)| (name.as_str(), text.as_str())), overrides, datasets)
    }

    /// As [`Config::load`], from the text of a config and the name to call it by in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(file: Option<(&str, &str)>, overrides: &[Override], datasets: &[&str]) -> Result<Self> {
        let source = Source::new(file, overrides)?;
        let mut config: Config = source.read()?;
        check::check(&config, &source, datasets)?;
        config.places = source.places();
        config.fill();
        Ok(config)
    }

    /// The failure with the place of a dotted key, or of the section or list that it would stand in, if that was given.
    pub fn placed(&self, failure: Failure, key: &str) -> Failure {
        match self.places.get(key) {
            Some(place) => failure.at(place),
            None => failure,
        }
    }

    /// Makes explicit what follows from other options, so that the written config says everything.
    fn fill(&mut self) {
        self.data.fill();
        self.model.fill();
        self.train.optimizer.fill();
        self.train.schedule.fill(self.train.epochs);
        self.snapshots.fill();
    }

    /// The config as TOML, complete, with a first line that says how to use it.
    ///
    /// # Panics
    /// Never for a config that passed its check: every value of it has a TOML form.
    pub fn to_toml(&self) -> String {
        let body = toml::to_string(self).expect("a checked config has a TOML form");
        format!("# Every option of this run. `eigenlens run config.toml` repeats it.\n{body}")
    }

    /// The SHA-256 of everything in the config that can change a number, in hexadecimal digits: of its TOML form, without
    /// `out`, `threads` and `memory`.
    pub fn digest(&self) -> String {
        let same_numbers = Self { out: None, threads: 0, memory: 0.0, ..self.clone() };
        let digest = Sha256::digest(same_numbers.to_toml());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first eight digits of [`Config::digest`], as the name of the run.
    pub fn hash8(&self) -> String {
        self.digest()[..8].to_owned()
    }
}
