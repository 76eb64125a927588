//! The directory of a study.
//!
//! | file | content |
//! |---|---|
//! | `study.toml` | the suite, complete |
//! | `study.json` | program, machine and times |
//! | `experiments/NAME/` | a run directory each |
//! | `experiments.csv`, `results.csv`, `summary.json` | when all experiments have ended |
//!
//! It appears with `study.toml` and `study.json` or not at all. The same command takes it up again; a directory of another
//! suite, of another version or of something else is refused. While a program is at work it holds a lock on `lock`.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::suite::Suite;
use crate::args::StudyArgs;
use crate::error::{Failure, Result};
use crate::files::{lock, read_text, write_atomic};
use crate::machine;

const SUITE: &str = "study.toml";
const MANIFEST: &str = "study.json";
const EXPERIMENTS: &str = "experiments";
const LOCK: &str = "lock";
/// Folder of studies that were given no directory.
const STUDIES: &str = "studies";
/// How the names of directories begin that are being prepared.
const PREPARED: &str = ".eigenlens-";

/// The content of `study.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Manifest {
    program: String,
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    argv: Vec<String>,
    cpu: String,
    cores: usize,
    simd: String,
    started: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resumed: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    /// Seconds from the start (or the last resumption) to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    /// Bytes at the peak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
}

/// A study's directory that belongs to this process.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    manifest: Manifest,
    /// Held while this process works there. Absent where the file system knows no locks.
    _lock: Option<File>,
}

impl Place {
    /// Makes the directory, or takes it up again.
    ///
    /// # Errors
    /// If it holds something else, or can't be made.
    pub fn take(suite: &Suite, args: &StudyArgs, argv: &[String]) -> Result<Self> {
        let path = args.out.clone().unwrap_or_else(|| {
            let name = Path::new(&args.suite).file_stem().unwrap_or_default();
            Path::new(STUDIES).join(name)
        });
        let empty = |path: &Path| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if !path.exists() || empty(&path) {
            create(&path, suite, argv)?;
        }
        let mut manifest = open(&path)?;
        same_suite(&path, suite)?;
        let _lock = lock(&path.join(LOCK), &path)?;
        let ours = manifest.version == machine::VERSION && manifest.commit.as_deref() == machine::COMMIT;
        if !ours {
            let commit = manifest.commit.as_ref().map_or(String::new(), |c| format!(" ({c})"));
            return Err(Failure::new(format!("the study there was begun by version {}{commit}", manifest.version))
                .at(path.display())
                .hint("finish it with that version, or choose another --out DIR"));
        }
        sweep(&path.join(EXPERIMENTS));
        if manifest.argv != argv || path.join(EXPERIMENTS).read_dir().is_ok_and(|mut e| e.next().is_some()) {
            manifest.resumed.push(machine::timestamp(machine::now()));
        }
        let place = Self { path, manifest, _lock };
        place.save()?;
        Ok(place)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a value as indented JSON, atomically.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write<T: Serialize>(&self, file: &str, value: &T) -> Result<()> {
        write_json(&self.path.join(file), value)
    }

    fn save(&self) -> Result<()> {
        self.write(MANIFEST, &self.manifest)
    }

    /// Notes that all is there.
    ///
    /// # Errors
    /// If that can't be written.
    pub fn finish(&mut self, seconds: f64, memory: Option<u64>) -> Result<()> {
        self.manifest.ended = Some(machine::timestamp(machine::now()));
        self.manifest.seconds = Some(seconds);
        self.manifest.memory = memory;
        self.save()
    }
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| Failure::new(e.to_string()).at(path.display()))?;
    text.push(b'\n');
    write_atomic(path, &text)
}

/// Prepares the directory under another name and renames it.
fn create(path: &Path, suite: &Suite, argv: &[String]) -> Result<()> {
    let failed = |e: std::io::Error| Failure::io("create the study's directory", path, &e);
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREPARED);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let prepared = builder.tempdir_in(parent).map_err(failed)?;
    std::fs::create_dir(prepared.path().join(EXPERIMENTS)).map_err(failed)?;
    write_atomic(&prepared.path().join(SUITE), suite.to_toml().as_bytes())?;
    let manifest = Manifest {
        program: "eigenlens".to_owned(),
        version: machine::VERSION.to_owned(),
        commit: machine::COMMIT.map(str::to_owned),
        argv: argv.to_vec(),
        cpu: machine::cpu_model(),
        cores: machine::cores(),
        simd: machine::simd_level().to_owned(),
        started: machine::timestamp(machine::now()),
        resumed: Vec::new(),
        ended: None,
        seconds: None,
        memory: None,
    };
    write_json(&prepared.path().join(MANIFEST), &manifest)?;
    std::fs::rename(prepared.path(), path).map_err(failed)
}

fn open(path: &Path) -> Result<Manifest> {
    let foreign = |what: &str| {
        Failure::new(format!("the directory is not that of a study: {what}"))
            .at(path.display())
            .hint("choose another --out DIR")
    };
    let file = path.join(MANIFEST);
    if !file.is_file() {
        return Err(foreign(&format!("it has no {MANIFEST}")));
    }
    let manifest: Manifest =
        serde_json::from_str(&read_text(&file)?).map_err(|e| foreign(&format!("{MANIFEST} can't be read ({e})")))?;
    if manifest.program != "eigenlens" {
        return Err(foreign(&format!("{MANIFEST} is another program's")));
    }
    Ok(manifest)
}

fn same_suite(path: &Path, suite: &Suite) -> Result<()> {
    let file = path.join(SUITE);
    let theirs = read_text(&file)?;
    let ours = suite.to_toml();
    if theirs == ours {
        return Ok(());
    }
    let differs = theirs.lines().zip(ours.lines()).find(|(a, b)| a != b);
    let (there, here) = differs.unwrap_or(("fewer lines", "more lines"));
    let short = |line: &str| {
        if line.chars().count() > 60 {
            format!("{}…", line.chars().take(60).collect::<String>())
        } else {
            line.to_owned()
        }
    };
    Err(Failure::new(format!("the study there has another suite ({} there, {} here)", short(there), short(here)))
        .at(path.display())
        .hint(format!("go on with --suite {}, or choose another --out DIR", file.display())))
}

/// Removes what a killed program left of directories that it was preparing.
fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREPARED) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
