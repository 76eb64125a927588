//! A data set in memory: rows of f64 inputs with class labels or real targets.

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::Range;

use super::error::{DataError, name_hint, quoted};

/// Largest number of input values (rows × features) of a data set: 2 GiB as f64.
///
/// A file that claims more is refused before memory is asked for.
pub const MAX_VALUES: usize = 1 << 28;

/// Largest number of features of one row.
pub const MAX_FEATURES: usize = 1 << 22;

/// Largest number of classes; a column with more distinct values is no class label.
pub const MAX_CLASSES: usize = 1 << 16;

/// What a network has to learn from a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Find the class: softmax cross-entropy, or binary cross-entropy for two classes.
    Classification,
    /// Find real values: mean squared error.
    Regression,
}

impl Task {
    /// "classification" or "regression".
    pub fn name(self) -> &'static str {
        match self {
            Task::Classification => "classification",
            Task::Regression => "regression",
        }
    }
}

/// The answers that belong to the rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// One class per row.
    Classes {
        /// Class of each row, in `0..names.len()`.
        labels: Vec<u32>,
        /// Names of the classes; their number is the number of outputs of a network.
        names: Vec<String>,
    },
    /// One class for each position of a row.
    Sequences {
        /// Row-major, shape (rows, positions), in `0..names.len()`.
        labels: Vec<u32>,
        /// Labels per row.
        positions: usize,
        /// Names of the classes.
        names: Vec<String>,
    },
    /// `outputs` real values per row.
    Values {
        /// Row-major, shape (rows, outputs).
        values: Vec<f64>,
        /// Values per row.
        outputs: usize,
        /// Names of the outputs.
        names: Vec<String>,
    },
}

impl Targets {
    /// Classification or regression.
    pub fn task(&self) -> Task {
        match self {
            Targets::Classes { .. } | Targets::Sequences { .. } => Task::Classification,
            Targets::Values { .. } => Task::Regression,
        }
    }

    /// Width of the network output that fits: number of classes (of each position, if a row has several), or values per row.
    pub fn outputs(&self) -> usize {
        match self {
            Targets::Classes { names, .. } | Targets::Sequences { names, .. } => names.len(),
            Targets::Values { outputs, .. } => *outputs,
        }
    }

    /// Number of rows; a remainder of incomplete rows is not counted.
    pub fn rows(&self) -> usize {
        match self {
            Targets::Classes { labels, .. } => labels.len(),
            Targets::Sequences { labels, positions, .. } => labels.len().checked_div(*positions).unwrap_or(0),
            Targets::Values { values, outputs, .. } => values.len().checked_div(*outputs).unwrap_or(0),
        }
    }

    /// The class labels, if there is one per row.
    pub fn labels(&self) -> Option<&[u32]> {
        match self {
            Targets::Classes { labels, .. } => Some(labels),
            Targets::Values { .. } | Targets::Sequences { .. } => None,
        }
    }

    /// The real targets, shape (rows, outputs), if these are values.
    pub fn values(&self) -> Option<&[f64]> {
        match self {
            Targets::Values { values, .. } => Some(values),
            Targets::Classes { .. } | Targets::Sequences { .. } => None,
        }
    }

    fn subset(&self, rows: &[usize]) -> Targets {
        match self {
            Targets::Classes { labels, names } => {
                Targets::Classes { labels: rows.iter().map(|&r| labels[r]).collect(), names: names.clone() }
            }
            Targets::Sequences { labels, positions, names } => Targets::Sequences {
                labels: gather(labels, *positions, rows),
                positions: *positions,
                names: names.clone(),
            },
            Targets::Values { values, outputs, names } => {
                Targets::Values { values: gather(values, *outputs, rows), outputs: *outputs, names: names.clone() }
            }
        }
    }
}

/// A data set: `rows` inputs of `features` values each, and their targets.
///
/// The fields are public for reading; whoever builds or changes one calls [`Dataset::validate`], as every reader of this
/// crate does.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Name for messages and reports.
    pub name: String,
    /// Inputs, row-major, shape (rows, features), all finite.
    pub x: Vec<f64>,
    /// Number of rows.
    pub rows: usize,
    /// Number of values per row.
    pub features: usize,
    /// One name per feature.
    pub feature_names: Vec<String>,
    /// Shape of one input, channels first: `[features]` for tables, `[1, 28, 28]` for MNIST.
    pub input_shape: Vec<usize>,
    /// The answers.
    pub targets: Targets,
    /// First row of the test part if the source fixes one: rows `test_start..rows` are its test part.
    pub test_start: Option<usize>,
    /// Largest possible input value if the source states one (255 or 16 for images, with 0 the smallest).
    pub max_value: Option<f64>,
    /// For inputs that are indices (characters): how many there are.
    pub vocabulary: Option<usize>,
    /// How much each row counts in the loss, if not all count the same.
    pub weights: Option<Vec<f64>>,
}

impl Dataset {
    /// Checks everything the rest of the program relies on.
    ///
    /// Not empty; lengths agree; all inputs and targets finite; at least two classes and all labels in range; the fixed
    /// test part leaves rows on both sides. Cost: one pass over the data.
    ///
    /// # Errors
    /// The first violation, with row and column where there is one.
    pub fn validate(&self) -> Result<(), DataError> {
        let invalid = |problem: String, hint| DataError::Invalid { name: self.name.clone(), problem, hint };
        if self.rows == 0 || self.features == 0 {
            let problem = format!("it has {} rows and {} features", self.rows, self.features);
            return Err(invalid(problem, "give at least one row and one feature"));
        }
        let inconsistent = |what: &str, found: usize, expected: usize| {
            invalid(
                format!("{found} {what} for {} rows of {} features (expected {expected})", self.rows, self.features),
                "inputs and targets must have the same number of rows",
            )
        };
        let expected = self.rows.saturating_mul(self.features);
        if self.x.len() != expected {
            return Err(inconsistent("input values", self.x.len(), expected));
        }
        if self.feature_names.len() != self.features {
            return Err(inconsistent("feature names", self.feature_names.len(), self.features));
        }
        let volume = self.input_shape.iter().try_fold(1usize, |p, &d| p.checked_mul(d));
        if volume != Some(self.features) || self.input_shape.is_empty() {
            let problem = format!("input shape {:?} does not hold {} features", self.input_shape, self.features);
            return Err(invalid(problem, "the product of the shape must be the number of features"));
        }
        if let Some(start) = self.test_start
            && (start == 0 || start >= self.rows)
        {
            let problem = format!("the test part starts at row {start} of {}", self.rows);
            return Err(invalid(problem, "both the training and the test part need rows"));
        }
        if let Some(i) = self.x.iter().position(|v| !v.is_finite()) {
            return Err(DataError::NotFinite {
                name: self.name.clone(),
                row: i / self.features,
                column: self.feature_names[i % self.features].clone(),
                value: self.x[i],
            });
        }
        if let Some(vocabulary) = self.vocabulary
            && let Some(i) = self.x.iter().position(|v| !(0.0..vocabulary as f64).contains(v) || v.fract() != 0.0)
        {
            let (row, column) = (i / self.features, &self.feature_names[i % self.features]);
            let problem = format!("row {row}, column {column:?}: {} is no index below {vocabulary}", self.x[i]);
            return Err(invalid(problem, "indices are whole numbers that count from 0"));
        }
        match &self.targets {
            Targets::Sequences { labels, positions, names } => {
                let expected = self.rows.saturating_mul(*positions);
                if *positions == 0 || labels.len() != expected {
                    return Err(inconsistent("labels", labels.len(), expected));
                }
                if let Some(at) = labels.iter().position(|&l| l as usize >= names.len()) {
                    return Err(DataError::LabelRange {
                        name: self.name.clone(),
                        row: at / positions,
                        label: labels[at].to_string(),
                        classes: names.len(),
                        hint: "labels count from 0; correct the label or the number of classes",
                    });
                }
            }
            Targets::Classes { labels, names } => {
                if names.len() < 2 {
                    let problem = format!("the target has {} class(es)", names.len());
                    return Err(invalid(problem, "classification needs at least two; or set the task to regression"));
                }
                if labels.len() != self.rows {
                    return Err(inconsistent("labels", labels.len(), self.rows));
                }
                if let Some(row) = labels.iter().position(|&l| l as usize >= names.len()) {
                    return Err(DataError::LabelRange {
                        name: self.name.clone(),
                        row,
                        label: labels[row].to_string(),
                        classes: names.len(),
                        hint: "labels count from 0; correct the label or the number of classes",
                    });
                }
            }
            Targets::Values { values, outputs, names } => {
                let expected = self.rows.saturating_mul(*outputs);
                if *outputs == 0 || values.len() != expected {
                    return Err(inconsistent("target values", values.len(), expected));
                }
                if names.len() != *outputs {
                    return Err(inconsistent("target names", names.len(), *outputs));
                }
                if let Some(i) = values.iter().position(|v| !v.is_finite()) {
                    return Err(DataError::NotFinite {
                        name: self.name.clone(),
                        row: i / outputs,
                        column: names[i % outputs].clone(),
                        value: values[i],
                    });
                }
            }
        }
        Ok(())
    }

    /// Takes a column out of the inputs and makes it the weights of the rows.
    ///
    /// # Errors
    /// No such column, no other column, or a weight that is negative; the first row where that is.
    pub fn weigh_by(&mut self, column: &str) -> Result<(), DataError> {
        let invalid = |problem: String, hint| DataError::Invalid { name: self.name.clone(), problem, hint };
        let at = self.feature_names.iter().position(|n| n == column).ok_or_else(|| DataError::Format {
            file: self.name.clone(),
            problem: format!("there is no column {} to take as weights", quoted(column)),
            hint: name_hint("columns", column, &self.feature_names),
        })?;
        if self.features == 1 || self.input_shape.len() > 1 {
            let problem = format!("{column:?} is no column of a table with others");
            return Err(invalid(problem, "weights are a column beside the features"));
        }
        let weights: Vec<f64> = self.x.iter().skip(at).step_by(self.features).copied().collect();
        if let Some(row) = weights.iter().position(|w| *w < 0.0) {
            let problem = format!("row {row} (from 0) has the weight {}", weights[row]);
            return Err(invalid(problem, "weights are 0 or more"));
        }
        if weights.iter().all(|w| *w == 0.0) {
            return Err(invalid("every row has the weight 0".to_owned(), "give some rows a weight above 0"));
        }
        let mut place = 0..;
        let features = self.features;
        self.x.retain(|_| place.next().is_some_and(|i: usize| i % features != at));
        self.feature_names.remove(at);
        self.features -= 1;
        self.input_shape = vec![self.features];
        self.weights = Some(weights);
        self.validate()
    }

    /// Classification or regression.
    pub fn task(&self) -> Task {
        self.targets.task()
    }

    /// Width of the network output that fits: number of classes, or values per row.
    pub fn outputs(&self) -> usize {
        self.targets.outputs()
    }

    /// Row `i` of the inputs.
    ///
    /// # Panics
    /// If `i >= rows`.
    #[track_caller]
    pub fn row(&self, i: usize) -> &[f64] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        &self.x[i * self.features..][..self.features]
    }

    /// Rows the source meant for training: all, or those before its fixed test part.
    pub fn train_part(&self) -> Range<usize> {
        0..self.test_start.unwrap_or(self.rows)
    }

    /// Rows the source fixed for testing; empty if it did not.
    pub fn test_part(&self) -> Range<usize> {
        self.test_start.unwrap_or(self.rows)..self.rows
    }

    /// The given rows in the given order (repeats allowed), without a fixed test part. Class names stay complete.
    ///
    /// # Panics
    /// If an index is not below `rows`.
    #[track_caller]
    pub fn subset(&self, rows: &[usize]) -> Dataset {
        if let Some(&bad) = rows.iter().find(|&&r| r >= self.rows) {
            panic!("subset: row {bad} of {}", self.rows);
        }
        Dataset {
            name: self.name.clone(),
            x: gather(&self.x, self.features, rows),
            rows: rows.len(),
            features: self.features,
            feature_names: self.feature_names.clone(),
            input_shape: self.input_shape.clone(),
            targets: self.targets.subset(rows),
            test_start: None,
            max_value: self.max_value,
            vocabulary: self.vocabulary,
            weights: self.weights.as_ref().map(|w| gather(w, 1, rows)),
        }
    }

    /// Rows per class, or positions where a row has several; empty for regression.
    pub fn class_counts(&self) -> Vec<usize> {
        let (Targets::Classes { labels, names } | Targets::Sequences { labels, names, .. }) = &self.targets else {
            return Vec::new();
        };
        let mut counts = vec![0; names.len()];
        for &l in labels {
            counts[l as usize] += 1;
        }
        counts
    }

    /// Number of rows equal to an earlier one, targets included (bit for bit).
    pub fn duplicate_rows(&self) -> usize {
        let mut seen = HashSet::with_capacity(self.rows);
        let key = |i: usize| -> Vec<u64> {
            let target: Vec<u64> = match &self.targets {
                Targets::Classes { labels, .. } => vec![u64::from(labels[i])],
                Targets::Sequences { labels, positions, .. } => {
                    labels[i * positions..][..*positions].iter().map(|l| u64::from(*l)).collect()
                }
                Targets::Values { values, outputs, .. } => {
                    values[i * outputs..][..*outputs].iter().map(|v| v.to_bits()).collect()
                }
            };
            self.row(i).iter().map(|v| v.to_bits()).chain(target).collect()
        };
        (0..self.rows).filter(|&i| !seen.insert(key(i))).count()
    }

    /// Writes the set as CSV: one header line, features first, the target(s) last, class labels as names.
    ///
    /// Numbers are written so that reading them gives the same bits. A single target column is called `target`.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_csv(&self, out: impl Write) -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(out);
        let target_names: Vec<String> = match &self.targets {
            Targets::Classes { .. } | Targets::Values { outputs: 1, .. } => vec!["target".to_owned()],
            Targets::Sequences { positions, .. } => (1..=*positions).map(|i| format!("target{i}")).collect(),
            Targets::Values { names, .. } => names.clone(),
        };
        csv.write_record(self.feature_names.iter().chain(&target_names))?;
        for i in 0..self.rows {
            for v in self.row(i) {
                csv.write_field(v.to_string())?;
            }
            match &self.targets {
                Targets::Classes { labels, names } => csv.write_field(&names[labels[i] as usize])?,
                Targets::Sequences { labels, positions, names } => {
                    for &l in &labels[i * positions..][..*positions] {
                        csv.write_field(&names[l as usize])?;
                    }
                }
                Targets::Values { values, outputs, .. } => {
                    for v in &values[i * outputs..][..*outputs] {
                        csv.write_field(v.to_string())?;
                    }
                }
            }
            csv.write_record(None::<&[u8]>)?;
        }
        csv.flush()
    }
}

fn gather<T: Copy>(x: &[T], width: usize, rows: &[usize]) -> Vec<T> {
    let mut out = Vec::with_capacity(rows.len() * width);
    for &r in rows {
        out.extend_from_slice(&x[r * width..][..width]);
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `n` rows of `d` features (value 10 i + j), class i mod k.
    pub(crate) fn classes(n: usize, d: usize, k: usize) -> Dataset {
        Dataset {
            name: "toy".into(),
            x: (0..n).flat_map(|i| (0..d).map(move |j| (10 * i + j) as f64)).collect(),
            rows: n,
            features: d,
            feature_names: (0..d).map(|j| format!("x{j}")).collect(),
            input_shape: vec![d],
            targets: Targets::Classes {
                labels: (0..n).map(|i| (i % k) as u32).collect(),
                names: (0..k).map(|c| format!("c{c}")).collect(),
            },
            test_start: None,
            max_value: None,
            vocabulary: None,
            weights: None,
        }
    }

    /// As [`classes`], with the row number as real target.
    pub(crate) fn values(n: usize, d: usize) -> Dataset {
        let targets =
            Targets::Values { values: (0..n).map(|i| i as f64).collect(), outputs: 1, names: vec!["y".into()] };
        Dataset { targets, ..classes(n, d, 2) }
    }

    fn message(set: &Dataset) -> String {
        set.validate().expect_err("must be refused").to_string()
    }

    #[test]
    fn valid_sets_pass() {
        classes(6, 3, 2).validate().unwrap();
        values(6, 3).validate().unwrap();
    }

    #[test]
    fn not_finite_names_row_and_column() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut set = classes(6, 3, 2);
            set.x[4 * 3 + 1] = bad;
            let text = message(&set);
            assert!(text.contains("row 4 (from 0), column \"x1\"") && text.contains(&bad.to_string()), "{text}");
        }
        let mut set = values(6, 3);
        set.targets =
            Targets::Values { values: vec![0.0, 1.0, f64::NAN, 3.0, 4.0, 5.0], outputs: 1, names: vec!["y".into()] };
        assert!(message(&set).contains("row 2 (from 0), column \"y\""));
    }

    #[test]
    fn label_out_of_range_names_row_label_and_range() {
        let mut set = classes(6, 3, 2);
        if let Targets::Classes { labels, .. } = &mut set.targets {
            labels[5] = 2;
        }
        let text = message(&set);
        assert!(text.contains("row 5 (from 0): class label 2 is outside 0..=1"), "{text}");
    }

    #[test]
    fn empty_and_one_class_are_refused() {
        let mut set = classes(6, 3, 2);
        (set.rows, set.x) = (0, vec![]);
        assert!(message(&set).contains("0 rows"));
        assert!(message(&classes(6, 3, 1)).contains("1 class(es)"));
    }

    #[test]
    fn inconsistent_lengths_are_refused() {
        let mut set = classes(6, 3, 2);
        set.x.pop();
        assert!(message(&set).contains("17 input values") && message(&set).contains("expected 18"));
        let mut set = classes(6, 3, 2);
        set.input_shape = vec![2, 2];
        assert!(message(&set).contains("[2, 2]"));
        let mut set = classes(6, 3, 2);
        set.targets = Targets::Classes { labels: vec![0, 1], names: vec!["a".into(), "b".into()] };
        assert!(message(&set).contains("2 labels"));
        let mut set = values(6, 3);
        set.targets = Targets::Values { values: vec![], outputs: 0, names: vec![] };
        assert!(set.validate().is_err());
        let mut set = classes(6, 3, 2);
        (set.rows, set.features) = (usize::MAX, usize::MAX);
        assert!(set.validate().is_err(), "no overflow");
    }

    #[test]
    fn test_part_must_leave_rows_on_both_sides() {
        for start in [0, 6, 7] {
            let set = Dataset { test_start: Some(start), ..classes(6, 3, 2) };
            assert!(message(&set).contains("test part"), "{start}");
        }
        let set = Dataset { test_start: Some(4), ..classes(6, 3, 2) };
        set.validate().unwrap();
        assert_eq!((set.train_part(), set.test_part()), (0..4, 4..6));
    }

    #[test]
    fn subset_keeps_rows_and_targets_together() {
        let set = Dataset { test_start: Some(4), ..classes(6, 2, 3) };
        let part = set.subset(&[5, 0, 5]);
        assert_eq!(part.x, [50.0, 51.0, 0.0, 1.0, 50.0, 51.0]);
        assert_eq!(part.targets.labels(), Some(&[2, 0, 2][..]));
        assert_eq!((part.outputs(), part.test_start), (3, None));
        assert_eq!(part.class_counts(), [1, 0, 2]);
        let part = values(6, 2).subset(&[3, 1]);
        assert_eq!(part.targets.values(), Some(&[3.0, 1.0][..]));
    }

    #[test]
    #[should_panic(expected = "row 6 of 6")]
    fn subset_names_a_wrong_row() {
        classes(6, 2, 3).subset(&[0, 6]);
    }

    #[test]
    fn duplicate_rows_count_the_target() {
        let set = classes(4, 2, 2);
        assert_eq!(set.duplicate_rows(), 0);
        let mut double = set.subset(&[0, 1, 0, 0]);
        assert_eq!(double.duplicate_rows(), 2);
        if let Targets::Classes { labels, .. } = &mut double.targets {
            labels[3] = 1;
        }
        assert_eq!(double.duplicate_rows(), 1);
    }

    #[test]
    fn a_column_can_be_the_weights() {
        let mut set = values(4, 3);
        let (x, column) = (set.x.clone(), set.feature_names[1].clone());
        set.x.iter_mut().skip(1).step_by(3).for_each(|w| *w = w.abs());
        let weights: Vec<f64> = x.iter().skip(1).step_by(3).map(|w| w.abs()).collect();
        set.weigh_by(&column).unwrap();
        assert_eq!((set.features, set.weights.clone()), (2, Some(weights.clone())));
        assert_eq!(set.row(2), [x[6], x[8]]);
        assert_eq!(set.subset(&[3, 0]).weights, Some(vec![weights[3], weights[0]]));
        let mut bad = values(4, 3);
        bad.x[4] = -1.0;
        let text = bad.weigh_by(&column).unwrap_err().to_string();
        assert!(text.contains("row 1 (from 0) has the weight -1"), "{text}");
        assert!(values(4, 3).weigh_by("nobody").unwrap_err().to_string().contains("there is no column"));
    }
}
