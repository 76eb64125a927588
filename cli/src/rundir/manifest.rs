//! `manifest.json`: who computed a run directory, with what, when, and how it went.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::machine;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It started and has not said that it ended: it is running, or was interrupted.
    Running,
    /// All is there.
    Finished,
    /// It stopped for a reason that the manifest names; what was computed before is there.
    Failed,
}

/// The content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always `eigenlens`: what makes a directory a run directory.
    pub program: String,
    /// Version of the program.
    pub version: String,
    /// The commit it was built from, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The command line.
    pub argv: Vec<String>,
    /// [`Config::hash8`] of `config.toml`.
    pub config_hash: String,
    /// Hash over the content of the data where they come from files: a resumption must find the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_hash: Option<String>,
    /// The processor.
    pub cpu: String,
    /// Processors that the process could use.
    pub cores: usize,
    /// Widest vector instructions in use.
    pub simd: String,
    /// Threads computed with.
    pub threads: usize,
    /// The seeds, by what they seed.
    pub seeds: Seeds,
    /// When it began.
    pub started: String,
    /// When it was taken up again after an interruption.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<String>,
    /// Layer spectra that the last resumption found finished and did not compute again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<usize>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Seconds from the start (or the last resumption) to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Bytes of memory at the peak, by count before the run and as the system saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// How far it has come.
    pub status: Status,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Memory of a run, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The peak by count.
    pub planned: u64,
    /// The peak of the process, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
}

/// Seeds of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seeds {
    /// The seed of the config, from which every other one is derived.
    pub run: u64,
}

impl Manifest {
    /// The manifest of a run that begins now.
    pub fn begin(config: &Config, argv: &[String]) -> Self {
        Self {
            program: "eigenlens".to_owned(),
            version: machine::VERSION.to_owned(),
            commit: machine::COMMIT.map(str::to_owned),
            argv: argv.to_vec(),
            config_hash: config.hash8(),
            data_hash: None,
            cpu: machine::cpu_model(),
            cores: machine::cores(),
            simd: machine::simd_level().to_owned(),
            threads: if config.threads == 0 { machine::cores() } else { config.threads },
            seeds: Seeds { run: config.seed },
            started: machine::timestamp(machine::now()),
            resumed: Vec::new(),
            reused: None,
            ended: None,
            seconds: None,
            memory: None,
            status: Status::Running,
            reason: None,
        }
    }
}
