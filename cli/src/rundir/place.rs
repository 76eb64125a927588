//! The place of a new run directory: free, and taken all at once.

use std::path::{Path, PathBuf};

use super::{CONFIG, FOLDERS, MANIFEST, Manifest, RUNS, RunDir, Status};
use crate::config::Config;
use crate::error::{Failure, Result};
use crate::files::write_atomic;

/// `runs/NAME-HASH`, `runs/NAME-HASH-2`, ….
pub fn numbered(config: &Config, base: &Path) -> impl Iterator<Item = PathBuf> {
    let first = format!("{}-{}", config.data.short_name(), config.hash8());
    let runs = base.join(RUNS);
    (1..=9999).map(move |n| runs.join(if n == 1 { first.clone() } else { format!("{first}-{n}") }))
}

/// Refuses a place that a file or a symbolic link to nothing stands in the way of, and a directory that has something in
/// it; says what it is.
pub fn refuse_existing(path: &Path, config: &Config) -> Result<()> {
    for part in path.ancestors() {
        let Ok(found) = part.symlink_metadata() else { continue };
        let what = if found.is_symlink() && !part.exists() {
            "it is a symbolic link to nothing"
        } else if part.is_dir() {
            break;
        } else if part == path {
            "it exists and is not a directory"
        } else {
            "a part of the path is a file"
        };
        return Err(Failure::new(what).at(part.display()).hint("choose another directory with --out DIR"));
    }
    if !path.exists() {
        return Ok(());
    }
    let mut entries = std::fs::read_dir(path).map_err(|e| Failure::io("look into the directory", path, &e))?;
    if entries.next().is_none() {
        return Ok(());
    }
    let failure = match RunDir::open(path) {
        Err(_) => Failure::new("the directory exists and is not a run directory").hint("choose another --out DIR"),
        Ok(run) if run.manifest.config_hash != config.hash8() => {
            Failure::new("the directory holds a run of another config").hint("choose another --out DIR")
        }
        Ok(run) if run.manifest.status == Status::Finished => {
            Failure::new("the directory holds a finished run of this config").hint("choose another --out DIR")
        }
        Ok(_) => Failure::new("the directory holds an unfinished run of this config")
            .hint("go on with --resume, or choose another --out DIR"),
    };
    Err(failure.at(path.display()))
}

/// A complete run directory under a temporary name, removed again unless it is placed.
pub struct Prepared(tempfile::TempDir);

impl Prepared {
    /// Gives it its name. `false` if there is something by that name.
    pub fn place(&self, path: &Path) -> Result<bool> {
        use std::io::ErrorKind::*;
        match std::fs::rename(self.0.path(), path) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory) => Ok(false),
            Err(e) => Err(Failure::io("create the run directory", path, &e)),
        }
    }
}

pub fn prepare(parent: &Path, config: &Config, manifest: &Manifest) -> Result<Prepared> {
    let failed = |e: std::io::Error| Failure::io("create the run directory", parent, &e);
    std::fs::create_dir_all(parent).map_err(failed)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".eigenlens-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let dir = builder.tempdir_in(parent).map_err(failed)?;
    for folder in FOLDERS {
        std::fs::create_dir(dir.path().join(folder)).map_err(failed)?;
    }
    write_atomic(&dir.path().join(CONFIG), config.to_toml().as_bytes())?;
    let mut text = serde_json::to_vec_pretty(manifest).map_err(|e| Failure::new(format!("{MANIFEST}: {e}")))?;
    text.push(b'\n');
    write_atomic(&dir.path().join(MANIFEST), &text)?;
    Ok(Prepared(dir))
}
