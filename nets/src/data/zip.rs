//! The ZIP container of NPZ files: stored or deflated entries, read from the central directory, checked by CRC-32; and
//! the writer of stored ones.
//!
//! Only what numpy.savez and numpy.savez_compressed write: no encryption, no archives over 4 GiB, no split ones. Every
//! length is compared with the file before it is used. Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12, 4.3.16.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Where the bytes of an archive are.
enum Place {
    File(PathBuf),
    Memory(Arc<[u8]>),
}

trait ReadSeek: Read + Seek {}
impl<R: Read + Seek> ReadSeek for R {}

impl Place {
    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(match self {
            Place::File(path) => {
                let file = File::open(path)?;
                if file.metadata()?.is_dir() {
                    return Err(io::Error::from(io::ErrorKind::IsADirectory));
                }
                Box::new(file)
            }
            Place::Memory(bytes) => Box::new(Cursor::new(Arc::clone(bytes))),
        })
    }
}

/// An open archive.
pub(crate) struct Archive {
    place: Place,
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
        Self::at(Place::File(path.to_owned()), shown(path))
    }

    /// An archive in memory, to be called `name`.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub(crate) fn memory(name: &str, bytes: &[u8]) -> Result<Self, DataError> {
        Self::at(Place::Memory(bytes.into()), name.to_owned())
    }

    fn at(place: Place, name: String) -> Result<Self, DataError> {
        let io = |e: io::Error| DataError::io(&name, e);
        let mut file = place.open().map_err(io)?;
        let length = file.seek(SeekFrom::End(0)).map_err(io)?;
        // The end record has 22 bytes and a comment of up to 65,535.
        let tail_start = length.saturating_sub(22 + 65_535);
        let tail = read_at(&mut file, tail_start, length - tail_start).map_err(io)?;
        let at = (0..tail.len().saturating_sub(21)).rev().find(|&i| tail[i..].starts_with(&END)).ok_or_else(|| {
            let hint =
                "give a file written by numpy.savez; single arrays (.npy) are given as two files, inputs and targets";
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
        Ok(Self { place, file: name, entries })
    }

    /// Names of the arrays.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|e| e.name.as_str())
    }

    /// Reads the array of this name; also returns the name messages give it.
    ///
    /// # Errors
    /// No such array (with the nearest name), an unsupported entry, a wrong checksum, and those of [`npy::read`].
    pub(crate) fn array(&self, name: &str) -> Result<(String, Array), DataError> {
        self.read(name, npy::read)
    }

    /// As [`Archive::array`], with another reader of the entry's bytes.
    ///
    /// # Errors
    /// As [`Archive::array`].
    pub(crate) fn read(
        &self,
        name: &str,
        read: impl Fn(Input) -> Result<Array, DataError>,
    ) -> Result<(String, Array), DataError> {
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
        let mut handle = self.place.open().map_err(io)?;
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
        let array = read(Input { file: file.clone(), reader })?;
        Ok((file, array))
    }
}

/// At most `n` bytes from a position.
fn read_at(file: &mut dyn ReadSeek, offset: u64, n: u64) -> io::Result<Vec<u8>> {
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

/// 1980-01-01, the earliest date that ZIP knows: archives carry no time, so that the same content gives the same bytes.
const DATE: u16 = 0x21;

/// An archive of NPY files, stored in this order.
///
/// # Panics
/// If it reaches 4 GiB, ZIP's limit.
#[track_caller]
pub(crate) fn stored(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in arrays {
        let name = format!("{name}.npy");
        let size = u32::try_from(data.len()).expect("an array below 4 GiB");
        let offset = u32::try_from(out.len()).expect("an archive below 4 GiB");
        let mut crc = Crc::new();
        crc.update(data);
        // Version 2.0, no flags, stored, no time, the date, checksum, both sizes, lengths of name and extra field: the
        // same in both headers.
        let mut common = Vec::new();
        [20, 0, 0, 0, DATE].iter().for_each(|w: &u16| common.extend(w.to_le_bytes()));
        [crc.sum(), size, size].iter().for_each(|w| common.extend(w.to_le_bytes()));
        [name.len() as u16, 0].iter().for_each(|w| common.extend(w.to_le_bytes()));
        out.extend(LOCAL);
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(data);
        directory.extend(CENTRAL);
        directory.extend(20u16.to_le_bytes());
        directory.extend(&common);
        // No comment, disk 0, no attributes.
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (at, size) = (out.len(), directory.len());
    out.append(&mut directory);
    out.extend(END);
    out.extend([0; 4]);
    let count = u16::try_from(arrays.len()).expect("fewer than 65,536 arrays");
    [count, count].iter().for_each(|w| out.extend(w.to_le_bytes()));
    for word in [size, at] {
        out.extend(u32::try_from(word).expect("an archive below 4 GiB").to_le_bytes());
    }
    out.extend([0; 2]);
    out
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
