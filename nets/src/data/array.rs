//! A numeric array as the binary readers (IDX, NPY, NPZ) hand it on, and the data set made of two of them.

use super::dataset::{Dataset, MAX_FEATURES, MAX_VALUES, Targets};
use super::error::DataError;
use super::labels::{self, TargetSpec};

/// A C-ordered array of f64.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f64>,
    /// Whether the file stored unsigned bytes: images then have the range 0..=255.
    pub(crate) byte: bool,
}

/// Refuses a shape without values.
pub(crate) fn not_empty(file: &str, shape: &[usize]) -> Result<(), DataError> {
    if shape.contains(&0) {
        return Err(DataError::format(file, format!("its shape {shape:?} is empty"), "give at least one row"));
    }
    Ok(())
}

/// The product of a shape, refused beyond [`MAX_VALUES`].
pub(crate) fn checked_volume(file: &str, shape: &[usize]) -> Result<usize, DataError> {
    let volume = shape.iter().try_fold(1u128, |p, &d| p.checked_mul(d as u128)).unwrap_or(u128::MAX);
    if volume > MAX_VALUES as u128 {
        return Err(DataError::TooLarge {
            file: file.to_owned(),
            what: "the number of values",
            size: volume,
            limit: MAX_VALUES as u64,
            hint: "the file is damaged, or take fewer rows or features",
        });
    }
    Ok(volume as usize)
}

/// One input array, one target array, and the file names they came from.
pub(crate) struct Pair {
    pub(crate) x: Array,
    pub(crate) y: Array,
    pub(crate) x_file: String,
    pub(crate) y_file: String,
}

impl Pair {
    fn check(&self) -> Result<(), DataError> {
        let (n, m) = (self.x.shape[0], self.y.shape[0]);
        if n != m {
            return Err(DataError::format(
                &self.y_file,
                format!("{m} targets for the {n} inputs of {}", self.x_file),
                "inputs and targets must have the same number of rows",
            ));
        }
        if self.y.shape.len() > 2 {
            return Err(DataError::format(
                &self.y_file,
                format!("the targets have shape {:?}", self.y.shape),
                "targets have shape (rows) or (rows, outputs)",
            ));
        }
        // Here, where it is known which file a row is in.
        if let Some(i) = self.x.data.iter().position(|v| !v.is_finite()) {
            let width: usize = self.x.shape[1..].iter().product();
            return Err(DataError::NotFinite {
                name: self.x_file.clone(),
                row: i / width,
                column: feature_names(&input_shape(&self.x.shape))[i % width].clone(),
                value: self.x.data[i],
            });
        }
        Ok(())
    }
}

/// Data set from a training pair and, if the source fixes one, a test pair.
///
/// Inputs of shape (n) become one feature, (n, d) a table, (n, h, w) one-channel images `[1, h, w]`, and
/// (n, c, h, w) images with channels first. `class_names` is for sets whose classes are known beforehand.
pub(crate) fn dataset(
    name: &str,
    train: Pair,
    test: Option<Pair>,
    spec: &TargetSpec,
    class_names: Option<&[String]>,
) -> Result<Dataset, DataError> {
    train.check()?;
    let mut x = train.x;
    let mut y = train.y;
    let test_start = test.is_some().then_some(x.shape[0]);
    if let Some(test) = test {
        test.check()?;
        append(&mut x, test.x, &test.x_file)?;
        append(&mut y, test.y, &test.y_file)?;
    }
    let rows = x.shape[0];
    checked_volume(&train.x_file, &x.shape)?;
    let features: usize = x.shape[1..].iter().product();
    if features > MAX_FEATURES {
        return Err(DataError::TooLarge {
            file: train.x_file,
            what: "the number of features",
            size: features as u128,
            limit: MAX_FEATURES as u64,
            hint: "give rows along the first axis, or fewer features",
        });
    }
    let input_shape = input_shape(&x.shape);
    let targets = match class_names {
        Some(names) => {
            Targets::Classes { labels: labels::in_range(&train.y_file, &y.data, names.len())?, names: names.to_vec() }
        }
        None => labels::from_array(&train.y_file, &y, spec)?,
    };
    let max_value = (x.byte && input_shape.len() > 1).then_some(255.0);
    let set = Dataset {
        name: name.to_owned(),
        x: x.data,
        rows,
        features,
        feature_names: feature_names(&input_shape),
        input_shape,
        targets,
        test_start,
        max_value,
        vocabulary: None,
        weights: None,
    };
    set.validate()?;
    Ok(set)
}

fn append(a: &mut Array, b: Array, b_file: &str) -> Result<(), DataError> {
    if a.shape[1..] != b.shape[1..] {
        return Err(DataError::format(
            b_file,
            format!("one row of the test part has shape {:?}, of the training part {:?}", &b.shape[1..], &a.shape[1..]),
            "both parts must have the same columns",
        ));
    }
    a.shape[0] += b.shape[0];
    a.data.extend(b.data);
    a.byte &= b.byte;
    Ok(())
}

/// Shape of one input of an array of rows: channels first.
fn input_shape(shape: &[usize]) -> Vec<usize> {
    match shape[1..] {
        [] => vec![1],
        [d] => vec![d],
        [h, w] => vec![1, h, w],
        ref shape => shape.to_vec(),
    }
}

/// Names of unnamed features: x0, x1, … for tables, p{row}_{column} for one-channel images, with the channel in front
/// for more.
fn feature_names(shape: &[usize]) -> Vec<String> {
    match *shape {
        [1, h, w] => (0..h * w).map(|i| format!("p{}_{}", i / w, i % w)).collect(),
        [c, h, w] => (0..c * h * w).map(|i| format!("c{}_p{}_{}", i / (h * w), i / w % h, i % w)).collect(),
        _ => (0..shape.iter().product()).map(|i: usize| format!("x{i}")).collect(),
    }
}
