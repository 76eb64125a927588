//! From target columns to class labels or real values: the one place that decides which, and how classes are numbered.

use std::collections::{BTreeSet, HashMap};

use super::array::Array;
use super::dataset::{MAX_CLASSES, Targets, Task};
use super::error::{DataError, quoted};

/// Above this number of distinct whole numbers a target is taken for a quantity, not for classes.
const MAX_INFERRED_CLASSES: usize = 20;

/// What the user says about the target. The default says nothing: everything is inferred.
///
/// # Inference
/// A target is taken for **classes** if at least half of the values are not numbers, or if all are whole numbers with 2
/// to 20 distinct ones that occur twice or more on average. Otherwise it is a **regression** target, and a value that is
/// not a number is an error. Set `task` where this guesses wrong (a whole-number score, for instance).
///
/// # Numbering
/// Distinct values in sorted order (by value if all are numbers, else as text) become classes 0, 1, …; the values are
/// the names; in binary files, where they are numbers, they must already be 0, 1, … without a gap, because a stray label is
/// damage there. With `classes = Some(k)` nothing is renumbered: labels must be whole numbers in `0..k`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetSpec {
    /// Target column of a table by name; `None`: the column `target` if there is one, else the last.
    pub column: Option<String>,
    /// Classification or regression; `None`: inferred.
    pub task: Option<Task>,
    /// Number of classes; `None`: as many as there are distinct values.
    pub classes: Option<usize>,
}

/// Makes the error of a row from its index, the problem and the hint: a line of a text file, or a row of an array.
pub(crate) type Fail<'a> = &'a dyn Fn(usize, String, &str) -> DataError;

/// Targets from the texts of one column.
pub(crate) fn from_texts(texts: &Texts, column: &str, spec: &TargetSpec, fail: Fail) -> Result<Targets, DataError> {
    let all = || (0..texts.len()).map(|i| texts.get(i));
    if let Some(row) = all().position(|t| ["", "?"].contains(&t) || t.eq_ignore_ascii_case("nan")) {
        let problem = format!("the target is missing ({})", quoted(texts.get(row)));
        return Err(fail(row, problem, "remove or fill in such rows first"));
    }
    let numbers: Result<Vec<f64>, usize> = all().enumerate().map(|(i, t)| parse_finite(t).ok_or(i)).collect();
    let given = spec.task.or(spec.classes.map(|_| Task::Classification));
    let task = match (given, &numbers) {
        (Some(task), _) => task,
        (None, Ok(values)) => infer(values),
        // A few texts among numbers are more likely damage than classes.
        (None, Err(_)) if 2 * all().filter(|t| parse_finite(t).is_some()).count() > texts.len() => Task::Regression,
        (None, Err(_)) => Task::Classification,
    };
    match (task, numbers) {
        (Task::Regression, Ok(values)) => Ok(Targets::Values { values, outputs: 1, names: vec![column.to_owned()] }),
        (Task::Regression, Err(row)) => Err(fail(
            row,
            format!("target {} is not a finite number", quoted(texts.get(row))),
            "correct it, or set the task to classification",
        )),
        (Task::Classification, Ok(values)) => from_numbers(&values, spec.classes, fail),
        (Task::Classification, Err(row)) => match spec.classes {
            Some(k) => Err(fail(
                row,
                format!("class label {} is not a whole number", quoted(texts.get(row))),
                &format!(
                    "with classes = {k} labels are 0..={}; leave the number out to use names",
                    k.saturating_sub(1)
                ),
            )),
            None => from_names(texts, fail),
        },
    }
}

/// Targets from an array of shape (n) or (n, outputs).
pub(crate) fn from_array(file: &str, y: &Array, spec: &TargetSpec) -> Result<Targets, DataError> {
    let outputs = y.shape.get(1).copied().unwrap_or(1);
    let fail = |row: usize, problem: String, hint: &str| {
        DataError::format(file, format!("row {row} (from 0): {problem}"), hint)
    };
    if let Some(i) = y.data.iter().position(|v| !v.is_finite()) {
        return Err(fail(i / outputs, format!("the target is {}", y.data[i]), "remove or fill in such rows first"));
    }
    let task = spec
        .task
        .or(spec.classes.map(|_| Task::Classification))
        .unwrap_or_else(|| if outputs > 1 { Task::Regression } else { infer(&y.data) });
    match task {
        Task::Regression => {
            let names =
                if outputs == 1 { vec!["target".to_owned()] } else { (0..outputs).map(|i| format!("y{i}")).collect() };
            Ok(Targets::Values { values: y.data.clone(), outputs, names })
        }
        Task::Classification if outputs > 1 => Err(DataError::format(
            file,
            format!("class labels of shape {:?}", y.shape),
            "give one whole number per row instead of one-hot rows, or set the task to regression",
        )),
        Task::Classification => {
            if spec.classes.is_none() {
                without_gaps(&y.data, &fail)?;
            }
            from_numbers(&y.data, spec.classes, &fail)
        }
    }
}

/// Refuses labels that are not 0..C−1.
fn without_gaps(values: &[f64], fail: Fail) -> Result<(), DataError> {
    const HINT: &str =
        "renumber them, for example with numpy.unique(y, return_inverse=True), or set the task to regression";
    let bad = |v: &f64| v.fract() != 0.0 || *v < 0.0;
    if let Some(row) = values.iter().position(bad) {
        return Err(fail(row, format!("class label {} is not one of 0, 1, 2, …", values[row]), HINT));
    }
    let mut distinct: Vec<f64> = values.iter().map(|v| v + 0.0).collect();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    match distinct.iter().enumerate().find(|(i, v)| **v != *i as f64) {
        None => Ok(()),
        Some((missing, next)) => {
            let row = values.iter().position(|v| v == next).unwrap_or(0);
            Err(fail(row, format!("class label {next}, but no row has class {missing}"), HINT))
        }
    }
}

/// Labels that must already be 0..k, as in the built-in image sets.
pub(crate) fn in_range(file: &str, values: &[f64], classes: usize) -> Result<Vec<u32>, DataError> {
    let label = |(row, &v): (usize, &f64)| {
        if v.fract() == 0.0 && v >= 0.0 && v < classes as f64 {
            return Ok(v as u32);
        }
        Err(DataError::LabelRange {
            name: file.to_owned(),
            row,
            label: v.to_string(),
            classes,
            hint: "labels count from 0; correct the label or the number of classes",
        })
    };
    values.iter().enumerate().map(label).collect()
}

/// See [`TargetSpec`].
fn infer(values: &[f64]) -> Task {
    if why_numbers(values).is_some() { Task::Regression } else { Task::Classification }
}

/// Why targets of which nothing was said are taken for numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyNumbers {
    /// The first value that is not whole, in this row (from 0).
    Fraction {
        /// The row.
        row: usize,
    },
    /// There are too many different values for classes; this row (from 0) has the first that is one too many.
    Many {
        /// The row.
        row: usize,
        /// How many there are up to and with that row.
        distinct: usize,
    },
    /// There are too few of each value.
    Rare,
}

/// Why targets, one per row, are taken for numbers if nothing is said of them; nothing if they are taken for classes.
pub fn why_numbers(values: &[f64]) -> Option<WhyNumbers> {
    let mut distinct = BTreeSet::new();
    for (row, v) in values.iter().enumerate() {
        distinct.insert((v + 0.0).to_bits()); // -0 and 0 are the same
        if v.fract() != 0.0 {
            return Some(WhyNumbers::Fraction { row });
        }
        if distinct.len() > MAX_INFERRED_CLASSES {
            return Some(WhyNumbers::Many { row, distinct: distinct.len() });
        }
    }
    let classes = distinct.len() >= 2 && 2 * distinct.len() <= values.len();
    (!classes).then_some(WhyNumbers::Rare)
}

fn from_numbers(values: &[f64], classes: Option<usize>, fail: Fail) -> Result<Targets, DataError> {
    if let Some(k) = classes {
        if k > MAX_CLASSES {
            return Err(too_many(k, fail));
        }
        let bad = |v: &f64| v.fract() != 0.0 || *v < 0.0 || *v >= k as f64;
        if let Some(row) = values.iter().position(bad) {
            return Err(fail(
                row,
                format!("class label {} is outside 0..={}", values[row], k.saturating_sub(1)),
                "labels count from 0; correct the label or the number of classes",
            ));
        }
        let names = (0..k).map(|c| c.to_string()).collect();
        return Ok(Targets::Classes { labels: values.iter().map(|&v| v as u32).collect(), names });
    }
    if let Some(row) = values.iter().position(|v| v.fract() != 0.0) {
        return Err(fail(
            row,
            format!("class label {} is not a whole number", values[row]),
            "set the task to regression, or give whole numbers or names",
        ));
    }
    // -0 and 0 are the same class.
    let mut distinct: Vec<f64> = values.iter().map(|v| v + 0.0).collect();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    if distinct.len() > MAX_CLASSES {
        return Err(too_many(distinct.len(), fail));
    }
    let label = |v: &f64| distinct.partition_point(|d| d < v) as u32;
    Ok(Targets::Classes {
        labels: values.iter().map(label).collect(),
        names: distinct.iter().map(f64::to_string).collect(),
    })
}

fn from_names(texts: &Texts, fail: Fail) -> Result<Targets, DataError> {
    let distinct: BTreeSet<&str> = (0..texts.len()).map(|i| texts.get(i)).collect();
    if distinct.len() > MAX_CLASSES {
        return Err(too_many(distinct.len(), fail));
    }
    let index: HashMap<&str, u32> = distinct.iter().enumerate().map(|(i, &t)| (t, i as u32)).collect();
    Ok(Targets::Classes {
        labels: (0..texts.len()).map(|i| index[texts.get(i)]).collect(),
        names: distinct.iter().map(|&t| t.to_owned()).collect(),
    })
}

fn too_many(classes: usize, fail: Fail) -> DataError {
    fail(
        0,
        format!("the target has {classes} classes, above the limit of {MAX_CLASSES}"),
        "set the task to regression, or name another target column",
    )
}

/// A finite number, or nothing.
pub(crate) fn parse_finite(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|v| v.is_finite())
}

/// Many short texts in one buffer, since a table may have millions of rows.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    buffer: String,
    ends: Vec<usize>,
}

impl Texts {
    pub(crate) fn push(&mut self, text: &str) {
        self.buffer.push_str(text);
        self.ends.push(self.buffer.len());
    }

    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
        self.ends.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, i: usize) -> &str {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.buffer[start..self.ends[i]]
    }
}
