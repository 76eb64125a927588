//! The ZIP container of NPZ files: stored or deflated entries, read from the central directory, checked by CRC-32.
//!
//! Only what numpy.savez and numpy.savez_compressed write: no encryption, no archives over 4 GiB, no split ones. Every
//! length is compared with the file before it is used. Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12, 4.3.16.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::array::Array;
use super::error::{DataError, name_hint, quoted, shown};
use super::input::Input;
use super::npy;

const END: [u8; 4] = *b"PK\x05\x06";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";

/// Largest central directory: at most 65,535 entries of about a hundred bytes.
const MAX_DIRECTORY: u64 = 1 << 24;

/// An open archive.
pub(crate) struct Archive {
    path: PathBuf,
    file: String,
    entries: Vec<Entry>,
}

struct Entry {
    /// Name without `.npy`.
    name: String,
    encrypted: bool,
    method: u16,
    crc: u32,
    packed: u64,
    unpacked: u64,
    offset: u64,
}

fn u16_at(b: &[u8], i: usize) -> u16 {
    u16::from_le_bytes([b[i], b[i + 1]])
}

fn u32_at(b: &[u8], i: usize) -> u32 {
    u32::from_le_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]])
}

impl Archive {
    /// Opens an archive and reads its directory.
    ///
    /// # Errors
    /// No ZIP archive, a damaged or oversized directory.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let name = shown(path);
        let io = |e: io::Error| DataError::io(&name, e);
        let mut file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.is_dir() {
            return Err(io(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let length = file.seek(SeekFrom::End(0)).map_err(io)?;
        // The end record has 22 bytes and a comment of up to 65,535.
        let tail_start = length.saturating_sub(22 + 65_535);
        let tail = read_at(&mut file, tail_start, length - tail_start).map_err(io)?;
        let at = (0..tail.len().saturating_sub(21)).rev().find(|&i| tail[i..].starts_with(&END)).ok_or_else(|| {
            let hint = "give a file written by numpy.savez; a single array (.npy) is another kind of source";
            DataError::format(&name, "it is not an NPZ archive (no ZIP directory)", hint)
        })?;
        let end = &tail[at..];
        let count = usize::from(u16_at(end, 10));
        let (size, offset) = (u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
        if size > MAX_DIRECTORY || offset + size > tail_start + at as u64 {
            let hint = "the file is damaged, or above 4 GiB: write it again, perhaps with fewer rows";
            return Err(DataError::format(&name, "the ZIP directory lies outside the file", hint));
        }
        let directory = read_at(&mut file, offset, size).map_err(io)?;
        let entries = directory_entries(&directory, count)
            .ok_or_else(|| DataError::format(&name, "the ZIP directory is damaged", "fetch or write the file again"))?;
        Ok(Self { path: path.to_owned(), file: name, entries })
    }

    /// Reads the array of this name; also returns the name messages give it.
    ///
    /// # Errors
    /// No such array (with the nearest name), an unsupported entry, a wrong checksum, and those of [`npy::read`].
    pub(crate) fn array(&mut self, name: &str) -> Result<(String, Array), DataError> {
        let wanted = name.strip_suffix(".npy").unwrap_or(name);
        let entry = self.entries.iter().find(|e| e.name == wanted).ok_or_else(|| {
            let known: Vec<String> = self.entries.iter().map(|e| e.name.clone()).collect();
            let problem = format!("there is no array {}", quoted(name));
            DataError::format(&self.file, problem, name_hint("arrays", wanted, &known))
        })?;
        let file = format!("{}, array {}", self.file, quoted(wanted));
        let bad = |problem: &str| DataError::format(&file, problem, "write it with numpy.savez");
        if entry.encrypted {
            return Err(bad("the entry is encrypted"));
        }
        let io = |e: io::Error| DataError::io(&file, e);
        let mut handle = File::open(&self.path).map_err(io)?;
        let head = read_at(&mut handle, entry.offset, 30).map_err(io)?;
        if head.len() < 30 || !head.starts_with(&LOCAL) {
            return Err(bad("the entry is not where the ZIP directory says"));
        }
        let skip = u64::from(u16_at(&head, 26)) + u64::from(u16_at(&head, 28));
        handle.seek(SeekFrom::Start(entry.offset + 30 + skip)).map_err(io)?;
        let packed = BufReader::with_capacity(1 << 16, handle.take(entry.packed));
        let unpacked: Box<dyn Read> = match entry.method {
            0 => Box::new(packed),
            8 => Box::new(DeflateDecoder::new(packed)),
            other => return Err(bad(&format!("compression method {other} is not supported"))),
        };
        // One byte more than stated would be found by the NPY reader as a rest.
        let checked = Checked { inner: unpacked.take(entry.unpacked + 1), crc: Crc::new(), expected: entry.crc };
        let reader = Box::new(BufReader::with_capacity(1 << 16, checked));
        let array = npy::read(Input { file: file.clone(), reader })?;
        Ok((file, array))
    }
}

/// At most `n` bytes from a position.
fn read_at(file: &mut File, offset: u64, n: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(n).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn directory_entries(mut directory: &[u8], count: usize) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    for _ in 0..count {
        let head = directory.get(..46).filter(|h| h.starts_with(&CENTRAL))?;
        let (name, extra, comment) = (u16_at(head, 28), u16_at(head, 30), u16_at(head, 32));
        let name_end = 46 + usize::from(name);
        let name = String::from_utf8_lossy(directory.get(46..name_end)?);
        entries.push(Entry {
            name: name.strip_suffix(".npy").unwrap_or(&name).to_owned(),
            encrypted: u16_at(head, 8) & 1 == 1,
            method: u16_at(head, 10),
            crc: u32_at(head, 16),
            packed: u64::from(u32_at(head, 20)),
            unpacked: u64::from(u32_at(head, 24)),
            offset: u64::from(u32_at(head, 42)),
        });
        directory = directory.get(name_end + usize::from(extra) + usize::from(comment)..)?;
    }
    Some(entries)
}

/// Passes bytes on and compares their checksum at the end.
struct Checked<R> {
    inner: R,
    crc: Crc,
    expected: u32,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.crc.update(&buffer[..n]);
        if n == 0 && !buffer.is_empty() && self.crc.sum() != self.expected {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum is wrong"));
        }
        Ok(n)
    }
}
