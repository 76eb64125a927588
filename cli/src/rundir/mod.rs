//! The run directory: everything that a run leaves, in files that are complete at any moment.
//!
//! | file | content |
//! |---|---|
//! | `config.toml` | the resolved config; running it again repeats the run |
//! | `manifest.json` | command line, version, commit, machine, seeds, times, status |
//! | `snapshots/*.safetensors` | the weights at each snapshot |
//! | `spectra/*.npz` | every layer's eigenvalues, or nodes and weights, at each snapshot |
//! | `result.json` | all numbers |
//! | `metrics.csv` | the same, one row per snapshot, layer and quantity |
//! | `interlayer.csv` | what is known of pairs of blocks, one row per snapshot and pair |
//! | `report.html` | the pictures |
//! | `parts/` | until the run is finished: what a resumption need not compute again ([`Origin`]) |
//!
//! # Its place
//! `--out DIR`, else `runs/NAME-HASH`: the data set's name and [`Config::hash8`]. If that exists, `-2`, `-3`, … follow: the
//! same command twice gives two directories, side by side. Nothing is ever overwritten: a directory of another run, or
//! one that is no run directory, is refused.
//!
//! # Interruptions
//! A run that was killed leaves complete files and no statement that it ended. `--resume` replays the training, which is
//! deterministic and costs little beside the curvature, and takes over every spectrum whose seal fits. While a program is at
//! work it holds a lock on `parts/lock`, which the system releases however the program ends.

mod manifest;
mod parts;
mod place;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use crate::config::{Config, Override};
use crate::error::{Failure, Result};
use crate::files::{read_text, write_atomic};
use crate::machine;

pub use manifest::{Manifest, Memory, Seeds, Status};
pub use parts::Origin;
use parts::{PARTS, lock, sweep};
use place::{numbered, prepare, refuse_existing};

const CONFIG: &str = "config.toml";
const MANIFEST: &str = "manifest.json";
/// Folder of runs that were given no directory.
const RUNS: &str = "runs";
const FOLDERS: [&str; 3] = ["snapshots", "spectra", PARTS];

/// A run directory that belongs to this process, or is only read.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    manifest: Manifest,
    since: Instant,
    /// Held while this process works in the directory. Absent where the file system knows no locks.
    lock: Option<File>,
}

impl RunDir {
    /// Makes the directory of a new run, with `config.toml`, `manifest.json` and empty folders, under `base`.
    ///
    /// `data` is the hash of the data, where they come from files.
    ///
    /// It appears complete or not at all: it is prepared under another name and renamed.
    ///
    /// # Errors
    /// If `config.out` exists already and isn't an empty directory, or can't be made.
    pub fn create(config: &Config, data: Option<&str>, argv: &[String], base: &Path) -> Result<Self> {
        let manifest = Manifest { data_hash: data.map(str::to_owned), ..Manifest::begin(config, argv) };
        let since = Instant::now();
        if let Some(out) = &config.out {
            let path = base.join(out);
            refuse_existing(&path, config)?;
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !prepare(parent, config, &manifest)?.place(&path)? {
                refuse_existing(&path, config)?;
                return Err(Failure::new("another program is making the directory")
                    .at(path.display())
                    .hint("wait until it has ended, or choose another --out DIR"));
            }
            let lock = lock(&path)?;
            return Ok(Self { path, manifest, since, lock });
        }
        let prepared = prepare(&base.join(RUNS), config, &manifest)?;
        for path in numbered(config, base) {
            // A directory that another process made in the meantime is not replaced either: a rename only replaces
            // an empty one.
            if !path.exists() && prepared.place(&path)? {
                let lock = lock(&path)?;
                return Ok(Self { path, manifest, since, lock });
            }
        }
        Err(Failure::new("there is no free name left for the run").at(base.join(RUNS).display()).hint("use --out DIR"))
    }

    /// Takes up the interrupted run of the same config: in `config.out`, else the latest unfinished one under `runs/`.
    ///
    /// # Errors
    /// If there is none, if it belongs to another config (with the first option that differs) or to other data, or if it is
    /// finished.
    pub fn resume(config: &Config, data: Option<&str>, base: &Path) -> Result<Self> {
        let path = match &config.out {
            Some(out) => base.join(out),
            None => {
                let existing = numbered(config, base).take_while(|p| p.exists()).collect::<Vec<_>>();
                let latest = existing
                    .into_iter()
                    .rev()
                    .find(|p| Self::open(p).is_ok_and(|run| run.manifest.status != Status::Finished));
                latest.ok_or_else(|| {
                    Failure::new("there is no interrupted run of this config")
                        .at(base.join(RUNS).display())
                        .hint("leave out --resume to start one, or name its directory with --out DIR")
                })?
            }
        };
        if !path.exists() {
            return Err(Failure::new("there is nothing to resume")
                .at(path.display())
                .hint("leave out --resume to start a run there"));
        }
        let mut run = Self::open(&path)?;
        let theirs = run.config()?;
        if theirs.hash8() != config.hash8() {
            let what = match first_difference(&theirs, config) {
                Some(line) => format!("the run there has another config ({line})"),
                None => "the run there has another config".to_owned(),
            };
            return Err(Failure::new(what)
                .at(path.display())
                .hint("use its config.toml, or another directory with --out DIR"));
        }
        if run.manifest.status == Status::Finished {
            return Err(Failure::new("the run there is finished")
                .at(path.display())
                .hint(format!("eigenlens report {} writes its report anew", path.display())));
        }
        // A manifest without a hash is that of built-in data, or of an older version.
        if run.manifest.data_hash.as_deref().is_some_and(|theirs| data != Some(theirs)) {
            return Err(Failure::new("the data have changed since the run began")
                .at(path.display())
                .hint("put the former files back, or start anew in another directory with --out DIR"));
        }
        for folder in FOLDERS {
            let folder = path.join(folder);
            std::fs::create_dir_all(&folder).map_err(|e| Failure::io("create the directory", &folder, &e))?;
        }
        run.lock = lock(&path)?;
        sweep(&path);
        FOLDERS.iter().for_each(|folder| sweep(&path.join(folder)));
        run.manifest.resumed.push(machine::timestamp(machine::now()));
        (run.manifest.status, run.manifest.reason, run.manifest.ended) = (Status::Running, None, None);
        run.manifest.reused = None;
        run.save_manifest()?;
        Ok(run)
    }

    /// Opens an existing run directory for reading.
    ///
    /// # Errors
    /// If it isn't one.
    pub fn open(path: &Path) -> Result<Self> {
        let foreign = |why: &str| {
            Failure::new(format!("it is not a run directory: {why}"))
                .at(path.display())
                .hint("name a directory that `eigenlens run` made")
        };
        if !path.exists() {
            return Err(Failure::new("there is no such directory").at(path.display()).hint("check the path"));
        }
        let manifest = path.join(MANIFEST);
        if !manifest.is_file() || !path.join(CONFIG).is_file() {
            return Err(foreign("manifest.json or config.toml is missing"));
        }
        let manifest: Manifest = serde_json::from_str(&read_text(&manifest)?)
            .map_err(|e| foreign(&format!("manifest.json can't be read ({e})")))?;
        if manifest.program != "eigenlens" {
            return Err(foreign("its manifest is another program's"));
        }
        Ok(Self { path: path.to_owned(), manifest, since: Instant::now(), lock: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its config.
    ///
    /// # Errors
    /// If `config.toml` doesn't hold a config of this version.
    pub fn config(&self) -> Result<Config> {
        let path = self.path.join(CONFIG);
        let text = read_text(&path)?;
        // A data set's name is checked when the data are read; the directory may come from a version with other ones.
        let name = self.data_name(&text);
        Config::parse(Some((&path.display().to_string(), &text)), &[] as &[Override], &[name.as_str()])
    }

    /// Its config, whole: a part of the file may still be a config, but another one than the manifest speaks of.
    ///
    /// # Errors
    /// As [`RunDir::config`], or if the same version of the program wrote another config.
    pub fn whole_config(&self) -> Result<Config> {
        let config = self.config()?;
        let ours = self.manifest.version == machine::VERSION && self.manifest.commit.as_deref() == machine::COMMIT;
        if ours && config.hash8() != self.manifest.config_hash {
            return Err(Failure::new("the config is not the one of the run: the file is damaged or was changed")
                .at(self.path.join(CONFIG).display())
                .hint("put the former file back"));
        }
        Ok(config)
    }

    fn data_name(&self, text: &str) -> String {
        let table: toml::Table = text.parse().unwrap_or_default();
        table.get("data").and_then(|d| d.get("name")?.as_str()).unwrap_or_default().to_owned()
    }

    /// `config.toml` as it stands there.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn config_text(&self) -> Result<String> {
        read_text(&self.path.join(CONFIG))
    }

    /// Name of the file of snapshot `index`, taken after `epoch`, relative to the directory.
    pub fn snapshot_file(index: usize, epoch: usize) -> String {
        format!("snapshots/{index:03}-epoch-{epoch:05}.safetensors")
    }

    /// Name of the file of the spectrum of a layer or other block at snapshot `index`, relative to the directory. Characters
    /// that file names don't take everywhere become `-`; the brackets of `fc1[7]` stay, so that it is no layer's name.
    pub fn spectrum_file(index: usize, layer: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-[]".contains(c) { c } else { '-' };
        format!("spectra/{index:03}-{}.npz", layer.chars().map(plain).collect::<String>())
    }

    /// The full path of a file of the directory.
    pub fn file(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    /// Writes a file of the directory, atomically.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&self, file: &str, bytes: &[u8]) -> Result<()> {
        write_atomic(&self.path.join(file), bytes)
    }

    /// Writes a value as indented JSON, atomically.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write_json<T: Serialize>(&self, file: &str, value: &T) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(value).map_err(|e| Failure::new(format!("{file}: {e}")))?;
        text.push(b'\n');
        self.write(file, &text)
    }

    /// Notes for the manifest how many layer spectra this resumption found finished.
    pub fn reused(&mut self, spectra: usize) {
        self.manifest.reused = (!self.manifest.resumed.is_empty()).then_some(spectra);
    }

    /// Notes for the manifest how much memory the run took.
    pub fn memory(&mut self, memory: Memory) {
        self.manifest.memory = Some(memory);
    }

    /// Writes the last files, which may show the manifest as it will be, says in the manifest that all is there, and removes
    /// what was kept for a resumption.
    ///
    /// # Errors
    /// If something can't be written; the manifest then says so.
    pub fn finish(&mut self, last: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.end(Status::Finished, None, last)?;
        self.clear();
        Ok(())
    }

    /// Removes what was kept for a resumption, of a run that is finished: it may have been killed before it came to that.
    pub fn clear(&self) {
        // What might be left of it takes some space, but means nothing any more.
        let _ = std::fs::remove_dir_all(self.path.join(PARTS));
    }

    /// Writes the last files as [`RunDir::finish`] does, and says in the manifest why the run stopped. What was computed
    /// before stays.
    ///
    /// # Errors
    /// If something can't be written.
    pub fn fail(&mut self, reason: &str, last: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.end(Status::Failed, Some(reason.to_owned()), last)
    }

    fn end(&mut self, status: Status, reason: Option<String>, last: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.manifest.status = status;
        self.manifest.reason = reason;
        self.manifest.ended = Some(machine::timestamp(machine::now()));
        self.manifest.seconds = Some((self.since.elapsed().as_secs_f64() * 1e3).round() / 1e3);
        let written = last(self);
        if let Err(error) = &written {
            self.manifest.status = Status::Failed;
            self.manifest.reason.get_or_insert_with(|| error.what().to_owned());
        }
        // Of two errors the first tells more.
        let written = written.and(self.save_manifest());
        self.lock = None;
        written
    }

    fn save_manifest(&self) -> Result<()> {
        self.write_json(MANIFEST, &self.manifest)
    }
}

/// The first option in which two configs differ, as `train.lr = 0.1 there, 0.2 here`.
fn first_difference(theirs: &Config, ours: &Config) -> Option<String> {
    let table = |config: &Config| -> toml::Table { config.to_toml().parse().unwrap_or_default() };
    let (mut there, mut here) = (Vec::new(), Vec::new());
    leaves("", &toml::Value::Table(table(theirs)), &mut there);
    leaves("", &toml::Value::Table(table(ours)), &mut here);
    let find = |list: &[(String, String)], key: &str| list.iter().find(|l| l.0 == key).map(|l| l.1.clone());
    let keys = there.iter().chain(&here).map(|l| l.0.as_str()).filter(|k| !["out", "threads", "memory"].contains(k));
    for key in keys {
        let (a, b) = (find(&there, key), find(&here, key));
        if a != b {
            let show = |v: Option<String>| v.unwrap_or_else(|| "absent".to_owned());
            return Some(format!("{key} = {} there, {} here", show(a), show(b)));
        }
    }
    None
}

fn leaves(path: &str, value: &toml::Value, out: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(&path, value, out);
            }
        }
        other => out.push((path.to_owned(), other.to_string())),
    }
}
