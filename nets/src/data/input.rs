//! Bytes of a file or of an embedded one: unpacked when they begin like gzip, and never more than was asked for.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::error::{DataError, shown};

/// An open source of bytes and the name that messages give it.
pub(crate) struct Input {
    pub(crate) file: String,
    pub(crate) reader: Box<dyn BufRead>,
}

impl Input {
    /// Opens a file; gzip is recognised by its first two bytes, whatever the name says.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let file = shown(path);
        let io = |e| DataError::io(&file, e);
        let handle = File::open(path).map_err(io)?;
        if handle.metadata().map_err(io)?.is_dir() {
            return Err(io(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        Self::new(file.clone(), BufReader::with_capacity(1 << 16, handle))
    }

    /// A source in memory.
    pub(crate) fn memory(file: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self, DataError> {
        Self::new(file.to_owned(), io::Cursor::new(bytes.into()))
    }

    fn new(file: String, mut raw: impl BufRead + 'static) -> Result<Self, DataError> {
        let head = raw.fill_buf().map_err(|e| DataError::io(&file, e))?;
        let reader: Box<dyn BufRead> = if head.starts_with(&[0x1f, 0x8b]) {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(raw)))
        } else {
            Box::new(raw)
        };
        Ok(Self { file, reader })
    }

    /// Exactly `n` bytes, or what is missing. For headers: `n` is small.
    pub(crate) fn exactly(&mut self, n: usize, what: &str) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        (&mut self.reader).take(n as u64).read_to_end(&mut bytes).map_err(|e| DataError::io(&self.file, e))?;
        if bytes.len() < n {
            return Err(self.ends_early(bytes.len(), n, what));
        }
        Ok(bytes)
    }

    /// `n` values of `width` bytes each, decoded one by one.
    ///
    /// Memory grows with the bytes that are really there, so a header that lies costs nothing.
    pub(crate) fn values(&mut self, n: usize, width: usize, decode: fn(&[u8]) -> f64) -> Result<Vec<f64>, DataError> {
        /// Values per step.
        const STEP: usize = 1 << 13;
        let mut values = Vec::new();
        let mut bytes = Vec::with_capacity(width * STEP.min(n));
        while values.len() < n {
            let step = STEP.min(n - values.len());
            bytes.clear();
            let mut limited = (&mut self.reader).take((step * width) as u64);
            limited.read_to_end(&mut bytes).map_err(|e| DataError::io(&self.file, e))?;
            if bytes.len() < step * width {
                return Err(self.ends_early(values.len() * width + bytes.len(), n * width, "data"));
            }
            if values.capacity() - values.len() < step {
                // Double, but never beyond what the header says.
                values.reserve_exact((n - values.len()).min(values.len().max(step)));
            }
            values.extend(bytes.chunks_exact(width).map(decode));
        }
        Ok(values)
    }

    fn ends_early(&self, found: usize, expected: usize, what: &str) -> DataError {
        DataError::format(
            &self.file,
            format!("it ends after {found} of {expected} bytes of {what}"),
            "the file is truncated or of another kind: fetch or write it again",
        )
    }

    /// Refuses bytes after the end that the header promised.
    pub(crate) fn at_end(&mut self) -> Result<(), DataError> {
        let rest = self.reader.fill_buf().map_err(|e| DataError::io(&self.file, e))?;
        if rest.is_empty() {
            return Ok(());
        }
        Err(DataError::format(
            &self.file,
            "there are bytes after the end that its header promises",
            "the file is damaged or of another kind: fetch or write it again",
        ))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    use std::path::PathBuf;

    /// gzip of some bytes.
    pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut z = GzEncoder::new(Vec::new(), Compression::fast());
        z.write_all(bytes).unwrap();
        z.finish().unwrap()
    }

    /// A file in a fresh directory that goes away with the returned guard.
    pub(crate) fn temp(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    #[test]
    fn gzip_is_seen_by_magic_not_by_name() {
        let (_dir, path) = temp("plain.gz", b"hello");
        assert_eq!(Input::open(&path).unwrap().exactly(5, "text").unwrap(), b"hello");
        let (_dir, path) = temp("packed.txt", &gz(b"hello"));
        let mut input = Input::open(&path).unwrap();
        assert_eq!(input.exactly(5, "text").unwrap(), b"hello");
        input.at_end().unwrap();
    }

    #[test]
    fn several_gzip_members_are_one_stream() {
        let (_dir, path) = temp("two", &[gz(b"hel"), gz(b"lo")].concat());
        assert_eq!(Input::open(&path).unwrap().exactly(5, "text").unwrap(), b"hello");
    }

    #[test]
    fn truncated_gzip_is_an_error_with_a_hint() {
        let packed = gz(&[7; 10_000]);
        let (_dir, path) = temp("cut.gz", &packed[..packed.len() / 2]);
        let text = Input::open(&path).unwrap().exactly(10_000, "data").unwrap_err().to_string();
        assert!(text.contains("truncated"), "{text}");
    }

    #[test]
    fn directory_and_missing_file_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let text = |p: &Path| Input::open(p).err().expect("must fail").to_string();
        assert!(text(dir.path()).contains("not a directory"));
        assert!(text(&dir.path().join("absent")).contains("check the path"));
    }

    #[test]
    fn empty_file_has_no_bytes() {
        let (_dir, path) = temp("empty", b"");
        let mut input = Input::open(&path).unwrap();
        input.at_end().unwrap();
        assert!(input.exactly(4, "header").unwrap_err().to_string().contains("0 of 4 bytes of header"));
    }
}
