//! `[data]`: which samples, how they are split and scaled.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Integer class labels 0..C-1. In a CSV any whole numbers or texts may name the classes.
    Classification,
    /// One or more numbers.
    Regression,
}

/// How the inputs are scaled. Whatever is fitted is fitted on the training part alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standardize {
    /// Every column to mean 0 and standard deviation 1; constant columns to 0.
    #[default]
    Zscore,
    /// Divide by the largest value of the format (255 for images of bytes).
    Pixel,
    /// Leave the numbers alone.
    None,
}

/// A part of the samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// What the weights are fitted on.
    #[default]
    Train,
    /// What early stopping looks at.
    Validation,
    /// What nothing looks at before the end.
    Test,
}

/// Where the samples come from: exactly one of `name`, `csv`, `text`, `idx`, `npy` and `npz`.
#[derive(Clone, Debug, PartialEq)]
pub enum DataSource {
    /// A data set that comes with the program, by name.
    Builtin(String),
    /// A CSV file, perhaps gzipped.
    Csv(PathBuf),
    /// A text, perhaps gzipped, in windows of so many characters.
    Text {
        /// The text.
        path: PathBuf,
        /// Characters of a window.
        context: usize,
    },
    /// IDX images and IDX labels, perhaps gzipped.
    Idx {
        /// Images or other inputs.
        images: PathBuf,
        /// Labels.
        labels: PathBuf,
    },
    /// Two NumPy files.
    Npy {
        /// Inputs, one row per sample.
        inputs: PathBuf,
        /// Targets.
        targets: PathBuf,
    },
    /// A NumPy archive with one array of inputs and one of targets.
    Npz(PathBuf),
}

/// Characters of a window if nothing is said.
const CONTEXT: usize = 32;

/// Section `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Name of a built-in data set (`eigenlens data list`). Without any source: `digits`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A CSV file with a header line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csv: Option<PathBuf>,
    /// A text whose characters are to be predicted from those before; the test part is its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<PathBuf>,
    /// text: characters of a window. Default 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    /// An IDX file of inputs (MNIST's format).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idx: Option<PathBuf>,
    /// The IDX file of labels that belongs to `idx`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idx_labels: Option<PathBuf>,
    /// A NumPy file of inputs, one row per sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub npy: Option<PathBuf>,
    /// The NumPy file of targets that belongs to `npy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub npy_targets: Option<PathBuf>,
    /// A NumPy archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub npz: Option<PathBuf>,
    /// CSV: the target's column name (absent: the last column). NPZ: the target's array (absent: `y`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// NPZ: the array of inputs, one row per sample (absent: `x`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<String>,
    /// A column that says how much each row counts in the loss; it is no input then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// name: what a generated set depends on, by name (`eigenlens data show NAME` lists them); the usual values for those
    /// left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, f64>,
    /// Absent: the built-in data set's own; for files, classification if every target is a small whole number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Share of the samples held out for early stopping. Default 0.1.
    pub validation: f64,
    /// Share of the samples held out for the final score; ignored where the data set brings its own test part.
    /// Default 0.2.
    pub test: f64,
    /// Scaling of the inputs. The targets of a regression are brought to mean 0 and standard deviation 1, unless this is none.
    pub standardize: Standardize,
    /// Train on at most this many samples, drawn by the seed; validation and test part stay whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            name: None,
            csv: None,
            text: None,
            context: None,
            idx: None,
            idx_labels: None,
            npy: None,
            npy_targets: None,
            npz: None,
            target: None,
            inputs: None,
            weights: None,
            parameters: BTreeMap::new(),
            task: None,
            validation: 0.1,
            test: 0.2,
            standardize: Standardize::Zscore,
            limit: None,
        }
    }
}

impl Data {
    pub(super) fn fill(&mut self) {
        if self.text.is_some() {
            self.context.get_or_insert(CONTEXT);
        } else if self.csv.is_none() && self.idx.is_none() && self.npy.is_none() && self.npz.is_none() {
            self.name.get_or_insert_with(|| "digits".to_owned());
        }
    }

    /// Where the samples come from, of a checked config.
    pub fn source(&self) -> DataSource {
        if let Some(path) = &self.csv {
            DataSource::Csv(path.clone())
        } else if let Some(path) = &self.text {
            DataSource::Text { path: path.clone(), context: self.context.unwrap_or(CONTEXT) }
        } else if let (Some(images), Some(labels)) = (&self.idx, &self.idx_labels) {
            DataSource::Idx { images: images.clone(), labels: labels.clone() }
        } else if let (Some(inputs), Some(targets)) = (&self.npy, &self.npy_targets) {
            DataSource::Npy { inputs: inputs.clone(), targets: targets.clone() }
        } else if let Some(path) = &self.npz {
            DataSource::Npz(path.clone())
        } else {
            DataSource::Builtin(self.name.clone().unwrap_or_else(|| "digits".to_owned()))
        }
    }

    /// A short name for directories and titles: the data set's, or the file's without folder and endings. Only letters,
    /// digits, `-` and `_`.
    pub fn short_name(&self) -> String {
        let path = match self.source() {
            DataSource::Builtin(name) => PathBuf::from(name),
            DataSource::Csv(path)
            | DataSource::Npz(path)
            | DataSource::Text { path, .. }
            | DataSource::Idx { images: path, .. }
            | DataSource::Npy { inputs: path, .. } => path,
        };
        let name = path.file_name().map_or(String::new(), |n| n.to_string_lossy().into_owned());
        let stem = name.trim_start_matches('.').split('.').next().unwrap_or("");
        let clean: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        let clean = clean.trim_matches('-');
        if clean.is_empty() { "data".to_owned() } else { clean.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_safe_directory_names() {
        let named = |path: &str| Data { csv: Some(path.into()), ..Data::default() }.short_name();
        assert_eq!(named("/a/b/My data.csv.gz"), "My-data");
        assert_eq!(named("../.."), "data");
        assert_eq!(named("größe.csv"), "gr--e");
        assert_eq!(Data::default().short_name(), "digits");
    }
}
