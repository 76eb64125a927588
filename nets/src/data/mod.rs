//! Data sets: the built-in ones, the user's own files, splits, and scaling.
//!
//! | file | what |
//! |---|---|
//! | [`Dataset`] | rows of inputs with class labels or real targets, checked |
//! | [`load`], [`Source`] | the one way in: built-in sets, CSV, text, IDX, NPY, NPZ |
//! | [`names`], [`info`] | what is built in or generated, with origin, licence and reference scores |
//! | [`split()`], [`subsample`] | training, validation and test parts |
//! | [`npz`] | archives of columns of numbers, for results |
//! | [`Standardizer`] | scaling fitted on the training part |
//!
//! Files are untrusted: a reader asks for memory only as bytes arrive, sizes have limits ([`MAX_VALUES`],
//! [`MAX_FEATURES`], [`MAX_CLASSES`]), and every error names the file, the place in it, and what to do.

mod array;
mod builtin;
mod csv;
mod dataset;
mod embedded;
mod error;
mod idx;
mod input;
mod labels;
mod npy;
pub mod npz;
mod split;
mod standardize;
mod synthetic;
mod text;
mod zip;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use builtin::{FileInfo, Info, info, list, names};
pub use dataset::{Dataset, MAX_CLASSES, MAX_FEATURES, MAX_VALUES, Targets, Task};
pub use error::DataError;
pub use labels::{TargetSpec, WhyNumbers, why_numbers};
pub use split::{Fractions, Split, shuffle, split, stream, subsample};
pub use standardize::{Affine, Scaling, Standardizer};

use array::Pair;
use input::Input;

/// Where a data set comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// One of [`names`].
    Builtin(String),
    /// A generated set of [`names`], with parameters; the usual ones for those left out.
    Synthetic {
        /// One of [`names`].
        name: String,
        /// Parameters by name.
        parameters: BTreeMap<String, f64>,
    },
    /// A text table with a header line: CSV, TSV or `;`-separated, packed with gzip or not.
    Csv {
        /// The table.
        path: PathBuf,
        /// A second table with the same header whose rows are the fixed test part.
        test: Option<PathBuf>,
        /// Which column is the target and what it means.
        target: TargetSpec,
    },
    /// A text, packed with gzip or not, whose characters are to be predicted from those before.
    Text {
        /// The text.
        path: PathBuf,
        /// Characters of a window.
        context: usize,
        /// Share of the windows that is the fixed test part: the end of the text.
        test: f64,
    },
    /// Two files in the format of MNIST, packed with gzip or not.
    Idx {
        /// Inputs, rank 2 to 4.
        images: PathBuf,
        /// Labels, rank 1.
        labels: PathBuf,
        /// Images and labels of the fixed test part.
        test: Option<(PathBuf, PathBuf)>,
        /// What the labels mean.
        target: TargetSpec,
    },
    /// Two NumPy files.
    Npy {
        /// Inputs, shape (n), (n, d), (n, h, w) or (n, channels, h, w).
        x: PathBuf,
        /// Targets, shape (n) or (n, outputs).
        y: PathBuf,
        /// Inputs and targets of the fixed test part.
        test: Option<(PathBuf, PathBuf)>,
        /// What the targets mean.
        target: TargetSpec,
    },
    /// Two arrays of one NumPy archive.
    Npz {
        /// The archive.
        path: PathBuf,
        /// Name of the inputs, shaped as for `Npy`.
        x: String,
        /// Name of the targets.
        y: String,
        /// Names of the inputs and targets of the fixed test part.
        test: Option<(String, String)>,
        /// What the targets mean.
        target: TargetSpec,
    },
}

/// Reads a data set and checks it ([`Dataset::validate`]).
///
/// # Errors
/// Anything wrong with the name, the file, its format or its values; see [`DataError`].
pub fn load(source: &Source) -> Result<Dataset, DataError> {
    match source {
        Source::Builtin(name) => builtin::load(name, &BTreeMap::new()),
        Source::Synthetic { name, parameters } => builtin::load(name, parameters),
        Source::Csv { path, test, target } => {
            let test = test.as_deref().map(Input::open).transpose()?;
            csv::read(&stem(path), Input::open(path)?, test, target, None)
        }
        Source::Text { path, context, test } => text::read(&stem(path), Input::open(path)?, *context, *test),
        Source::Idx { images, labels, test, target } => {
            let read = |x: &Path, y: &Path| pair(x, y, idx::read);
            let test = test.as_ref().map(|(x, y)| read(x, y)).transpose()?;
            array::dataset(&stem(images), read(images, labels)?, test, target, None)
        }
        Source::Npy { x, y, test, target } => {
            let read = |x: &Path, y: &Path| pair(x, y, npy::read);
            let test = test.as_ref().map(|(x, y)| read(x, y)).transpose()?;
            array::dataset(&stem(x), read(x, y)?, test, target, None)
        }
        Source::Npz { path, x, y, test, target } => {
            let archive = zip::Archive::open(path)?;
            let read = |x: &str, y: &str| -> Result<Pair, DataError> {
                let (a, b) = (archive.array(x)?, archive.array(y)?);
                Ok(Pair { x: a.1, y: b.1, x_file: a.0, y_file: b.0 })
            };
            let train = read(x, y)?;
            let test = test.as_ref().map(|(x, y)| read(x, y)).transpose()?;
            array::dataset(&stem(path), train, test, target, None)
        }
    }
}

fn pair(x: &Path, y: &Path, read: impl Fn(Input) -> Result<array::Array, DataError>) -> Result<Pair, DataError> {
    Ok(Pair { x: read(Input::open(x)?)?, y: read(Input::open(y)?)?, x_file: error::shown(x), y_file: error::shown(y) })
}

/// Line number (from 1) of a row (from 0) of a text table.
///
/// # Errors
/// Those of reading it.
pub fn line_of(path: &Path, row: usize) -> Result<u64, DataError> {
    csv::line_of(Input::open(path)?, row)
}

/// The file name up to its first dot.
fn stem(path: &Path) -> String {
    let name = path.file_name().map(|n| error::shown(Path::new(n))).unwrap_or_default();
    match name.split('.').next() {
        Some(stem) if !stem.is_empty() => stem.to_owned(),
        _ => name,
    }
}
