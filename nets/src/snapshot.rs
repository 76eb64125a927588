//! Snapshots of a network: named tensors in a safetensors file, and writing files so that none is ever half there.
//!
//! Layout: an u64 header length, a JSON header with dtype, shape and byte range of each tensor, then the values,
//! little-endian and row-major. Names and shapes follow PyTorch: `fc1.weight` has shape (out, in), `fc1.bias` (out), so
//! that `safetensors.torch.load_file` gives a state dict.
//!
//! The header is written here rather than by the safetensors crate, because that one keeps the metadata in a hash map and
//! so gives other bytes in every process; it is read here because that crate's sum of sizes can overflow on a hostile
//! header. The crate checks both directions in the tests.
//! Source: the format description of safetensors, <https://huggingface.co/docs/safetensors>.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::half::{bf16_to_f64, f16_to_f64};

/// Longest header, as in the safetensors crate.
const MAX_HEADER: u64 = 100_000_000;

/// Key of the metadata in the header; no tensor may have this name.
const METADATA: &str = "__metadata__";

/// The values of a tensor in the precision of the file.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision; also what the 16-bit formats are read into.
    F64(Vec<f64>),
}

impl TensorData {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            TensorData::F32(v) => v.len(),
            TensorData::F64(v) => v.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as f64, exact.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            TensorData::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            TensorData::F64(v) => v.clone(),
        }
    }

    fn dtype(&self) -> &'static str {
        match self {
            TensorData::F32(_) => "F32",
            TensorData::F64(_) => "F64",
        }
    }

    fn bytes(&self) -> usize {
        match self {
            TensorData::F32(v) => 4 * v.len(),
            TensorData::F64(v) => 8 * v.len(),
        }
    }
}

/// A tensor with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Such as `fc1.weight`.
    pub name: String,
    /// Row-major; (out, in) for the weight of a linear layer. `[]` is a single number.
    pub shape: Vec<usize>,
    /// As many values as the product of the shape.
    pub data: TensorData,
}

/// The content of a snapshot file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// The tensors in the order of the file.
    pub tensors: Vec<NamedTensor>,
    /// Free texts, such as the step and the layer types.
    pub metadata: BTreeMap<String, String>,
}

/// Why a snapshot could not be written, read or used. `Display` is one line: where, what, what to do.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// See [`WriteError`].
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The operating system refused to read.
    #[error("cannot read {file}: {source}; check that the file is there and that you may read it")]
    Read {
        /// The file.
        file: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is truncated, damaged or no safetensors file.
    #[error("{file}: {problem}; the file is damaged or no safetensors file: write it again")]
    Format {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A tensor has another number type than can be used.
    #[error("{file}: tensor {name:?} has dtype {dtype:?}; convert it to F64, F32, F16 or BF16")]
    Dtype {
        /// The file.
        file: String,
        /// Name of the tensor.
        name: String,
        /// Its dtype.
        dtype: String,
    },
    /// A tensor has another shape than the network.
    #[error("tensor {name:?} has shape {found:?}, and the network needs {expected:?}; use the snapshot's own network")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Shape in the snapshot.
        found: Vec<usize>,
        /// Shape the network needs.
        expected: Vec<usize>,
    },
    /// Names of the snapshot and of the network differ.
    #[error("{}; use the snapshot's own network", names_differ(.missing, .unexpected))]
    Names {
        /// Tensors the network needs and the snapshot lacks.
        missing: Vec<String>,
        /// Tensors of the snapshot that the network does not know.
        unexpected: Vec<String>,
    },
    /// What is to be written contradicts itself.
    #[error("cannot write a snapshot: {problem}; this is a mistake of the caller")]
    Invalid {
        /// What is wrong.
        problem: String,
    },
}

/// Why a file could not be written; nothing of it is left and an older file of this name is untouched.
#[derive(Debug, Error)]
#[error("cannot write {file}: {source}; {hint}")]
pub struct WriteError {
    /// The file.
    pub file: String,
    /// What the operating system said.
    pub source: io::Error,
    /// What to do.
    pub hint: &'static str,
}

fn names_differ(missing: &[String], unexpected: &[String]) -> String {
    let list = |what: &str, names: &[String]| {
        let shown: Vec<String> = names.iter().take(5).map(|n| format!("{n:?}")).collect();
        let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
        (!names.is_empty()).then(|| format!("{what} {}{more}", shown.join(", ")))
    };
    let parts: Vec<String> = [list("the snapshot lacks", missing), list("the network does not know", unexpected)]
        .into_iter()
        .flatten()
        .collect();
    parts.join(", and ")
}

/// Writes `bytes` to `path` as a whole or not at all: a temporary file in the same directory, flushed to the disk, then
/// renamed.
///
/// # Errors
/// A missing or read-only directory, a full disk; nothing is left behind.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    atomic_write_with(path, |out| out.write_all(bytes))
}

/// As [`atomic_write`], with the bytes from a function (buffered), so that they need not be in memory at once.
///
/// # Errors
/// Also those of `fill`; nothing is left behind.
pub fn atomic_write_with(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), WriteError> {
    replace(path, fill).map_err(|source| {
        let hint = match source.kind() {
            io::ErrorKind::NotFound => "the directory does not exist: create it first",
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "choose a directory you may write to"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space or choose another disk",
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => "give a file in a directory",
            _ => "check the directory and the disk",
        };
        WriteError { file: path.display().to_string(), source, hint }
    })
}

fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".eigenlens-").suffix(".tmp");
    // The default of 0600 would hide results from the user's group; the umask still applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temporary = builder.tempfile_in(directory)?;
    let mut out = BufWriter::with_capacity(1 << 16, temporary.as_file());
    fill(&mut out)?;
    out.flush()?;
    drop(out);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|e| e.error)?;
    // The rename itself is only safe from a power cut once the directory is flushed; not every file system can do that,
    // and the file is complete either way.
    #[cfg(unix)]
    let _ = File::open(directory).and_then(|d| d.sync_all());
    Ok(())
}

/// Writes a snapshot atomically. The same content gives the same bytes.
///
/// Tensors are laid out in the given order, f64 before f32 (values are then aligned to their size).
///
/// # Errors
/// [`SnapshotError::Invalid`] for repeated or reserved names and shapes that don't fit; [`SnapshotError::Write`].
pub fn write(path: &Path, tensors: &[NamedTensor], metadata: &BTreeMap<String, String>) -> Result<(), SnapshotError> {
    let mut order: Vec<&NamedTensor> = tensors.iter().collect();
    order.sort_by_key(|t| matches!(t.data, TensorData::F32(_)));
    let header = header(&order, metadata)?;
    Ok(atomic_write_with(path, |out| encode(out, &header, &order))?)
}

fn encode(out: &mut dyn Write, header: &[u8], order: &[&NamedTensor]) -> io::Result<()> {
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header)?;
    for tensor in order {
        match &tensor.data {
            TensorData::F32(v) => v.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))?,
            TensorData::F64(v) => v.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))?,
        }
    }
    Ok(())
}

/// The JSON header, padded with blanks to a multiple of 8 bytes.
fn header(order: &[&NamedTensor], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, SnapshotError> {
    let invalid = |problem: String| Err(SnapshotError::Invalid { problem });
    let mut parts = Vec::with_capacity(order.len() + 1);
    if !metadata.is_empty() {
        parts.push(format!("{:?}:{}", METADATA, json!(metadata)));
    }
    let mut seen = BTreeMap::new();
    let mut start = 0;
    for tensor in order {
        let name = &tensor.name;
        if name.is_empty() || name == METADATA || seen.insert(name, ()).is_some() {
            return invalid(format!("the tensor name {name:?} is empty, reserved or repeated"));
        }
        let volume = tensor.shape.iter().try_fold(1usize, |p, &d| p.checked_mul(d));
        if volume != Some(tensor.data.len()) {
            return invalid(format!("tensor {name:?} of shape {:?} has {} values", tensor.shape, tensor.data.len()));
        }
        let end = start + tensor.data.bytes();
        let entry = json!({"dtype": tensor.data.dtype(), "shape": tensor.shape, "data_offsets": [start, end]});
        parts.push(format!("{}:{entry}", json!(name)));
        start = end;
    }
    let mut text = format!("{{{}}}", parts.join(",")).into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok(text)
}

/// Reads a snapshot: F64 and F32 as they are, F16 and BF16 into f64.
///
/// Cost: memory for the file and its values, never more than twice the file's size plus the 16-bit tensors' fourfold.
///
/// # Errors
/// [`SnapshotError::Read`], [`SnapshotError::Format`], [`SnapshotError::Dtype`].
pub fn read(path: &Path) -> Result<Snapshot, SnapshotError> {
    let file = path.display().to_string();
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // A pipe or a device could go on for ever: read no more than the file's length.
        let length = fs::metadata(path)?.len();
        File::open(path)?.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| SnapshotError::Read { file: file.clone(), source })?;
    parse(&file, &bytes)
}

/// [`read`] on bytes in memory; `file` is the name for messages.
fn parse(file: &str, bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    let bad = |problem: String| SnapshotError::Format { file: file.to_owned(), problem };
    let (length, rest) =
        bytes.split_first_chunk::<8>().ok_or_else(|| bad(format!("it has only {} bytes", bytes.len())))?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER || length > rest.len() as u64 {
        return Err(bad(format!("its header of {length} bytes does not fit the file of {} bytes", bytes.len())));
    }
    let (text, data) = rest.split_at(length as usize);
    let header: Map<String, Value> =
        serde_json::from_slice(text).map_err(|e| bad(format!("its header is wrong ({e})")))?;
    let mut metadata = BTreeMap::new();
    let mut entries = Vec::new();
    for (name, entry) in &header {
        if name == METADATA {
            let texts = entry.as_object().ok_or_else(|| bad("its metadata is no table".into()))?;
            for (key, value) in texts {
                let value = value.as_str().ok_or_else(|| bad(format!("its metadata {key:?} is no text")))?;
                metadata.insert(key.clone(), value.to_owned());
            }
        } else {
            let entry = Entry::parse(entry).ok_or_else(|| bad(format!("the header of tensor {name:?} is wrong")))?;
            entries.push((name, entry));
        }
    }
    // The ranges must cover the data exactly, one after the other.
    entries.sort_by(|a, b| (a.1.start, a.1.end, a.0).cmp(&(b.1.start, b.1.end, b.0)));
    let mut tensors = Vec::with_capacity(entries.len());
    let mut at = 0;
    for (name, entry) in entries {
        let Entry { dtype, shape, start, end } = entry;
        let values = data.get(start..end).filter(|_| start == at).ok_or_else(|| {
            let size = data.len();
            bad(format!("tensor {name:?} claims bytes {start}..{end}, and {at}..{size} are left"))
        })?;
        at = end;
        let data = decode(dtype, values).ok_or_else(|| SnapshotError::Dtype {
            file: file.to_owned(),
            name: name.clone(),
            dtype: dtype.to_owned(),
        })?;
        let volume = shape.iter().try_fold(1usize, |p, &d| p.checked_mul(d));
        let width = if dtype == "F64" {
            8
        } else if dtype == "F32" {
            4
        } else {
            2
        };
        if volume != Some(data.len()) || !values.len().is_multiple_of(width) {
            return Err(bad(format!(
                "tensor {name:?} of shape {shape:?} and dtype {dtype} has {} bytes",
                values.len()
            )));
        }
        tensors.push(NamedTensor { name: name.clone(), shape, data });
    }
    if at != data.len() {
        return Err(bad(format!("{} bytes after the last tensor", data.len() - at)));
    }
    Ok(Snapshot { tensors, metadata })
}

/// What the header says about one tensor.
struct Entry<'a> {
    dtype: &'a str,
    shape: Vec<usize>,
    start: usize,
    end: usize,
}

impl<'a> Entry<'a> {
    fn parse(entry: &'a Value) -> Option<Self> {
        let size = |v: &Value| usize::try_from(v.as_u64()?).ok();
        let [start, end] = &entry.get("data_offsets")?.as_array()?[..] else {
            return None;
        };
        Some(Self {
            dtype: entry.get("dtype")?.as_str()?,
            shape: entry.get("shape")?.as_array()?.iter().map(size).collect::<Option<_>>()?,
            start: size(start)?,
            end: size(end)?,
        })
    }
}

fn decode(dtype: &str, bytes: &[u8]) -> Option<TensorData> {
    let wide = |f: fn(u16) -> f64| bytes.as_chunks().0.iter().map(|&b| f(u16::from_le_bytes(b))).collect();
    Some(match dtype {
        "F64" => TensorData::F64(bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect()),
        "F32" => TensorData::F32(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
        "F16" => TensorData::F64(wide(f16_to_f64)),
        "BF16" => TensorData::F64(wide(bf16_to_f64)),
        _ => return None,
    })
}

impl Snapshot {
    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// Whether the snapshot has exactly these tensors, in any order, with these shapes.
    ///
    /// # Errors
    /// [`SnapshotError::Names`] with all names that are missing or unexpected, else [`SnapshotError::Shape`] with both
    /// shapes.
    pub fn check<'a>(&self, expected: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Result<(), SnapshotError> {
        let expected: BTreeMap<&str, &[usize]> = expected.into_iter().collect();
        let found: BTreeMap<&str, &[usize]> = self.tensors.iter().map(|t| (t.name.as_str(), &t.shape[..])).collect();
        let only_in = |a: &BTreeMap<&str, &[usize]>, b: &BTreeMap<&str, &[usize]>| -> Vec<String> {
            a.keys().filter(|k| !b.contains_key(*k)).map(|k| (*k).to_owned()).collect()
        };
        let (missing, unexpected) = (only_in(&expected, &found), only_in(&found, &expected));
        if !missing.is_empty() || !unexpected.is_empty() {
            return Err(SnapshotError::Names { missing, unexpected });
        }
        match expected.iter().find(|(name, shape)| found[*name] != **shape) {
            Some((name, shape)) => Err(SnapshotError::Shape {
                name: (*name).to_owned(),
                found: found[name].to_vec(),
                expected: shape.to_vec(),
            }),
            None => Ok(()),
        }
    }

    /// The values of one tensor as f64, if it is there and has this shape. A single number may also have one axis.
    ///
    /// # Errors
    /// [`SnapshotError::Names`] or [`SnapshotError::Shape`].
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>, SnapshotError> {
        let tensor = self
            .get(name)
            .ok_or_else(|| SnapshotError::Names { missing: vec![name.to_owned()], unexpected: Vec::new() })?;
        let same = tensor.shape == shape || (shape.is_empty() && tensor.shape == [1]);
        if !same {
            return Err(SnapshotError::Shape {
                name: name.to_owned(),
                found: tensor.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        Ok(tensor.data.to_f64())
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
