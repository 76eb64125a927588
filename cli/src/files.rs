//! Writing files so that a reader sees the old content or the new one, never a part.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;

use crate::error::{Failure, Result};

/// Writes `bytes` to `path`: into a temporary file beside it, flushed to the disk, then renamed over it.
///
/// # Errors
/// If the directory can't be written to or the disk is full; `path` is then as it was.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".eigenlens-").suffix(".part");
        // Temporary files are private by default; this one becomes an ordinary file, under the user's umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e| Failure::io("write the file", path, &e))
}

/// Locks a file, made if need be, for the work of one program in a directory. The lock goes with the program, however it ends.
///
/// `None` where the file can't be made or locked, as on some network drives: that is no reason to refuse the work.
///
/// # Errors
/// If another program holds it.
pub fn lock(file: &Path, directory: &Path) -> Result<Option<File>> {
    let Ok(file) = File::create(file) else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(Failure::new("another program is at work in the directory")
            .at(directory.display())
            .hint("wait until it has ended, or choose another --out DIR")),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Reads a whole text file.
///
/// # Errors
/// If it can't be read or isn't UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Failure::io("read the file", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_atomic(&path, b"long old text").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(read_text(&path).unwrap(), "new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_the_umask_lets_them() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (plain, atomic) = (dir.path().join("plain"), dir.path().join("atomic"));
        std::fs::write(&plain, "x").unwrap();
        write_atomic(&atomic, b"x").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&plain), mode(&atomic));
    }

    #[test]
    fn a_missing_directory_is_an_error_with_the_path() {
        let error = write_atomic(Path::new("/no/such/dir/a.json"), b"x").unwrap_err().to_string();
        assert!(
            error.starts_with("error: cannot write the file: ") && error.contains("/no/such/dir/a.json"),
            "{error}"
        );
    }
}
