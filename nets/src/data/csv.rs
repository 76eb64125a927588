//! Text tables: CSV, TSV or `;`-separated, packed with gzip or not.
//!
//! # Format
//! UTF-8, one header line, one row per line, blank lines ignored. Lines end in LF or CR LF, or all of them in CR. The separator (comma, tab or semicolon) is the one
//! most frequent in the header line. A field may stand in double quotes, with `""` for a quote inside, and must end on
//! its line. Blanks around fields are dropped. Features must be finite numbers; the target may also be a name.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use super::dataset::{Dataset, MAX_FEATURES, MAX_VALUES};
use super::error::{DataError, name_hint, quoted};
use super::input::Input;
use super::labels::{self, TargetSpec, Texts};

/// Longest line in bytes: 4 Mi features of four characters. A packed file without line ends stops here.
const MAX_LINE: usize = 1 << 24;

/// Data set from a table and, if the source fixes one, a table of test rows with the same header.
///
/// `class_names` is for sets whose classes are known beforehand.
pub(crate) fn read(
    name: &str,
    train: Input,
    test: Option<Input>,
    spec: &TargetSpec,
    class_names: Option<&[String]>,
) -> Result<Dataset, DataError> {
    let mut table = Table::read(train, spec)?;
    let train_rows = table.lines.len();
    let train_file = table.file.clone();
    let mut test_file = None;
    if let Some(test) = test {
        let file = test.file.clone();
        table.append(Table::read(test, spec)?)?;
        test_file = Some(file);
    }
    let fail = |row: usize, problem: String, hint: &str| DataError::Line {
        file: if row < train_rows { train_file.clone() } else { test_file.clone().unwrap_or_default() },
        line: table.lines[row],
        column: Some(table.target.clone()),
        problem,
        hint: hint.to_owned(),
    };
    let numbered = TargetSpec { classes: class_names.map(<[String]>::len).or(spec.classes), ..spec.clone() };
    let mut targets = labels::from_texts(&table.texts, &table.target, &numbered, &fail)?;
    if let (Some(known), super::Targets::Classes { names, .. }) = (class_names, &mut targets) {
        *names = known.to_vec();
    }
    let rows = table.lines.len();
    let features = table.features.len();
    let set = Dataset {
        name: name.to_owned(),
        x: table.x,
        rows,
        features,
        feature_names: table.features,
        input_shape: vec![features],
        targets,
        test_start: test_file.is_some().then_some(train_rows),
        max_value: None,
        vocabulary: None,
        weights: None,
    };
    set.validate()?;
    Ok(set)
}

/// Line number (from 1) of a row (from 0).
pub(crate) fn line_of(input: Input, row: usize) -> Result<u64, DataError> {
    let mut lines = Lines::new(input)?;
    lines.header()?;
    for _ in 0..=row {
        lines.next()?;
    }
    Ok(lines.number)
}

/// One file, read.
struct Table {
    file: String,
    features: Vec<String>,
    target: String,
    x: Vec<f64>,
    texts: Texts,
    /// Line number of each row.
    lines: Vec<u64>,
}

impl Table {
    fn read(input: Input, spec: &TargetSpec) -> Result<Self, DataError> {
        let mut lines = Lines::new(input)?;
        let header = lines.header()?;
        let target_index = lines.target(&header, spec)?;
        let file = lines.input.file.clone();
        let width = header.len();
        let mut table = Table {
            file,
            target: header[target_index].clone(),
            features: header.iter().enumerate().filter(|(i, _)| *i != target_index).map(|(_, n)| n.clone()).collect(),
            x: Vec::new(),
            texts: Texts::default(),
            lines: Vec::new(),
        };
        while lines.next()? {
            let cells = &lines.cells;
            if cells.len() != width {
                let problem = format!("{} fields, and the header has {width}", cells.len());
                let mixed = lines.line.trim_ascii().iter().any(|b| [b'\n', b'\r'].contains(b));
                let hint = match mixed {
                    true => "some lines end in CR and others in LF: save the table with one kind of line ends",
                    false => "every line needs the same number of fields",
                };
                return Err(lines.fail(None, problem, hint));
            }
            if table.x.len() + width > MAX_VALUES {
                return Err(DataError::TooLarge {
                    file: table.file,
                    what: "the number of values",
                    size: (table.x.len() + width) as u128,
                    limit: MAX_VALUES as u64,
                    hint: "take fewer rows or features",
                });
            }
            for (i, name) in header.iter().enumerate() {
                let cell = cells.get(i);
                if i == target_index {
                    table.texts.push(cell);
                } else {
                    let value = labels::parse_finite(cell).ok_or_else(|| {
                        let (problem, hint) = not_a_number(cell);
                        lines.fail(Some(name.clone()), problem, hint)
                    })?;
                    table.x.push(value);
                }
            }
            table.lines.push(lines.number);
        }
        if table.lines.is_empty() {
            return Err(DataError::format(&table.file, "there are no rows after the header", "give at least one row"));
        }
        Ok(table)
    }

    fn append(&mut self, test: Table) -> Result<(), DataError> {
        if self.features != test.features || self.target != test.target {
            let mut pairs = self.features.iter().zip(&test.features);
            let what = match pairs.find(|(a, b)| a != b) {
                Some((a, b)) => format!("column {} stands where {} has {}", quoted(b), self.file, quoted(a)),
                None => {
                    format!("it has {} features, and {} has {}", test.features.len(), self.file, self.features.len())
                }
            };
            return Err(DataError::format(&test.file, what, "both files need the same header"));
        }
        self.x.extend(test.x);
        self.lines.extend(test.lines);
        for i in 0..test.texts.len() {
            self.texts.push(test.texts.get(i));
        }
        Ok(())
    }
}

/// The lines of a table, cut into fields, with bounded memory.
struct Lines {
    input: Input,
    separator: char,
    /// Last byte of a line.
    end: u8,
    /// Number of the line last read, from 1.
    number: u64,
    line: Vec<u8>,
    cells: Texts,
}

impl Lines {
    fn new(mut input: Input) -> Result<Self, DataError> {
        let (separator, end) = sniff(&mut input)?;
        Ok(Self { input, separator, end, number: 0, line: Vec::new(), cells: Texts::default() })
    }

    fn fail(&self, column: Option<String>, problem: impl Into<String>, hint: impl Into<String>) -> DataError {
        DataError::Line {
            file: self.input.file.clone(),
            line: self.number.max(1),
            column,
            problem: problem.into(),
            hint: hint.into(),
        }
    }

    /// Reads and cuts the next line that isn't blank; false at the end.
    fn next(&mut self) -> Result<bool, DataError> {
        loop {
            self.line.clear();
            let mut limited = (&mut self.input.reader).take(MAX_LINE as u64 + 1);
            let n = limited.read_until(self.end, &mut self.line).map_err(|e| DataError::io(&self.input.file, e))?;
            if n == 0 {
                return Ok(false);
            }
            self.number += 1;
            if n > MAX_LINE {
                let problem = format!("the line is longer than {} MiB", MAX_LINE >> 20);
                return Err(self.fail(None, problem, "this is no table with line ends"));
            }
            let Ok(text) = std::str::from_utf8(&self.line) else {
                return Err(self.fail(None, "it is not UTF-8 text", "save the table as plain UTF-8 CSV"));
            };
            if text.contains('\0') {
                return Err(self.fail(None, "it has zero bytes", "save the table as plain UTF-8 CSV"));
            }
            let text = if self.number == 1 { text.trim_start_matches('\u{feff}') } else { text };
            if text.trim().is_empty() {
                continue;
            }
            let text = text.trim_matches(['\n', '\r']);
            return match cut(text, self.separator, &mut self.cells) {
                Ok(()) => Ok(true),
                Err(problem) => {
                    Err(self.fail(None, problem, "quote a field as \"…\" on one line, with \"\" for a quote inside"))
                }
            };
        }
    }

    fn header(&mut self) -> Result<Vec<String>, DataError> {
        if !self.next()? {
            return Err(DataError::format(&self.input.file, "the file is empty", "give a header line and rows"));
        }
        let names: Vec<String> = (0..self.cells.len()).map(|i| self.cells.get(i).to_owned()).collect();
        if names.len() < 2 {
            let hint = "a table needs features and a target, separated by comma, tab or semicolon";
            return Err(self.fail(None, "there is only one column", hint));
        }
        if names.len() - 1 > MAX_FEATURES {
            return Err(DataError::TooLarge {
                file: self.input.file.clone(),
                what: "the number of features",
                size: names.len() as u128 - 1,
                limit: MAX_FEATURES as u64,
                hint: "one row per line, one feature per column",
            });
        }
        if names.iter().all(|n| n.parse::<f64>().is_ok()) {
            return Err(self.fail(None, "the header has only numbers", "begin the file with a line of column names"));
        }
        let mut seen = HashMap::new();
        for (i, name) in names.iter().enumerate() {
            if name.is_empty() {
                let hint = "name it, or leave the column out (a row index, perhaps)";
                return Err(self.fail(None, format!("column {} has no name", i + 1), hint));
            }
            if let Some(first) = seen.insert(name.as_str(), i) {
                let problem = format!("columns {} and {} have the same name {}", first + 1, i + 1, quoted(name));
                return Err(self.fail(None, problem, "give every column its own name"));
            }
        }
        Ok(names)
    }

    fn target(&self, header: &[String], spec: &TargetSpec) -> Result<usize, DataError> {
        let find = |name: &str| header.iter().position(|h| h == name);
        match &spec.column {
            None => Ok(find("target").unwrap_or(header.len() - 1)),
            Some(name) => find(name).ok_or_else(|| {
                let problem = format!("there is no target column {}", quoted(name));
                self.fail(None, problem, name_hint("columns", name, header))
            }),
        }
    }
}

/// The most frequent of comma, tab and semicolon outside quotes in the first line, and the byte that ends it: LF, or CR if
/// something else than LF follows one there (old Mac files).
fn sniff(input: &mut Input) -> Result<(char, u8), DataError> {
    let head = input.reader.fill_buf().map_err(|e| DataError::io(&input.file, e))?;
    let mut counts = [0usize; 3];
    let mut quotes = false;
    let mut end = b'\n';
    for (i, &b) in head.iter().enumerate().take_while(|(_, b)| **b != b'\n') {
        match b {
            b'\r' if !quotes && head.get(i + 1).is_some_and(|next| *next != b'\n') => {
                end = b;
                break;
            }
            b'"' => quotes = !quotes,
            b',' if !quotes => counts[0] += 1,
            b'\t' if !quotes => counts[1] += 1,
            b';' if !quotes => counts[2] += 1,
            _ => {}
        }
    }
    // The first of equals wins: a comma unless another is more frequent.
    let best = (0..3).rev().max_by_key(|&i| counts[i]).unwrap_or(0);
    Ok(([',', '\t', ';'][best], end))
}

/// Cuts a line into fields, without quotes and the blanks around them.
fn cut(line: &str, separator: char, cells: &mut Texts) -> Result<(), &'static str> {
    cells.clear();
    let mut rest = line;
    loop {
        let field = rest.trim_start_matches(' ');
        let Some(mut inside) = field.strip_prefix('"') else {
            let Some((cell, tail)) = rest.split_once(separator) else {
                cells.push(rest.trim());
                return Ok(());
            };
            cells.push(cell.trim());
            rest = tail;
            continue;
        };
        let mut text = String::new();
        let after = loop {
            let (part, tail) = inside.split_once('"').ok_or("a quoted field does not end on its line")?;
            text.push_str(part);
            match tail.strip_prefix('"') {
                Some(tail) => {
                    text.push('"');
                    inside = tail;
                }
                None => break tail.trim_start_matches(' '),
            }
        };
        cells.push(text.trim());
        if after.is_empty() {
            return Ok(());
        }
        rest = after.strip_prefix(separator).ok_or("there is text after the end of a quoted field")?;
    }
}

/// Why a feature cannot be used, and what to do.
fn not_a_number(cell: &str) -> (String, &'static str) {
    const MISSING: [&str; 7] = ["", "?", "na", "n/a", "null", "none", "-"];
    if MISSING.contains(&cell.to_ascii_lowercase().as_str()) {
        return (format!("the value is missing ({})", quoted(cell)), "remove or fill in such rows first");
    }
    if cell.parse::<f64>().is_ok() {
        return (format!("{} is not a finite number", quoted(cell)), "remove or fill in such rows first");
    }
    (
        format!("{} is not a number", quoted(cell)),
        "correct it; leave text columns out or make them 0/1 columns, one per category",
    )
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
