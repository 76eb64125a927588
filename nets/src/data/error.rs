//! What can go wrong with data: each message says what, where, and what to do, on one line.

use std::io;
use std::path::Path;

use thiserror::Error;

use crate::options::nearest;

/// Why a data set could not be read, checked or split.
///
/// The `Display` text is one line of the form `where: what; what to do`. Texts that come from a file are shortened and
/// escaped, so that a foreign file cannot garble the terminal.
#[derive(Debug, Error)]
pub enum DataError {
    /// No built-in set has this name.
    #[error("unknown data set {}{}; the built-in sets are {known}", quoted(.name), did_you_mean(.nearest))]
    UnknownName {
        /// The name asked for.
        name: String,
        /// The known name closest to it, if any is close.
        nearest: Option<String>,
        /// All known names, separated by commas.
        known: String,
    },
    /// The operating system refused to read.
    #[error("cannot read {file}: {source}; {hint}")]
    Io {
        /// The file.
        file: String,
        /// What the operating system said.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// A line of a text table is wrong.
    #[error("{file}, line {line}{}: {problem}; {hint}", in_column(.column))]
    Line {
        /// The file.
        file: String,
        /// Line number, from 1, the header included.
        line: u64,
        /// Name of the column, if the problem is in one.
        column: Option<String>,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A file is damaged, foreign, or not what it was taken for.
    #[error("{file}: {problem}; {hint}")]
    Format {
        /// The file (and the array in it).
        file: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A file asks for more memory than any sensible use.
    #[error("{file}: {what} is {size}, above the limit of {limit}; {hint}")]
    TooLarge {
        /// The file (and the array in it).
        file: String,
        /// The quantity that is too large.
        what: &'static str,
        /// Its value.
        size: u128,
        /// The largest accepted value.
        limit: u64,
        /// What to do.
        hint: &'static str,
    },
    /// A value is NaN or infinite.
    #[error("{name}, row {row} (from 0), column {column:?}: the value is {value}; remove or fill in such rows first")]
    NotFinite {
        /// The data set or file.
        name: String,
        /// Row index from 0.
        row: usize,
        /// Name of the column.
        column: String,
        /// NaN, inf or -inf.
        value: f64,
    },
    /// A class label does not name a class.
    #[error("{name}, row {row} (from 0): class label {label} is outside 0..={}; {hint}", .classes.saturating_sub(1))]
    LabelRange {
        /// The data set or file.
        name: String,
        /// Row index from 0.
        row: usize,
        /// The label as found.
        label: String,
        /// Number of classes.
        classes: usize,
        /// What to do.
        hint: &'static str,
    },
    /// The parts of a data set don't fit together.
    #[error("data set {}: {problem}; {hint}", quoted(.name))]
    Invalid {
        /// The data set.
        name: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: &'static str,
    },
    /// The rows cannot be divided as asked.
    #[error("cannot split {}: {problem}; {hint}", quoted(.name))]
    Split {
        /// The data set.
        name: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: &'static str,
    },
}

impl DataError {
    /// An [`DataError::Io`] with the hint that fits the kind of error.
    pub(crate) fn io(file: &str, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "check that you may read this file",
            io::ErrorKind::IsADirectory => "give a file, not a directory",
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                "the file is damaged or truncated: fetch or write it again"
            }
            _ => "check the file and the disk",
        };
        DataError::Io { file: file.to_owned(), source, hint }
    }

    /// A [`DataError::Format`].
    pub(crate) fn format(file: &str, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        DataError::Format { file: file.to_owned(), problem: problem.into(), hint: hint.into() }
    }
}

/// A path as the messages show it.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A text from outside, quoted, escaped and cut to 40 characters.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// The hint for a name that isn't in a list: the nearest one, else the list (its first ten).
pub(crate) fn name_hint(what: &str, name: &str, known: &[String]) -> String {
    if let Some(near) = nearest(name, known.iter().map(String::as_str)) {
        return format!("did you mean {}?", quoted(near));
    }
    let mut list: Vec<String> = known.iter().take(10).map(|k| quoted(k)).collect();
    if known.len() > 10 {
        list.push(format!("and {} more", known.len() - 10));
    }
    format!("the {what} are {}", list.join(", "))
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!(", did you mean {n:?}?")).unwrap_or_default()
}

fn in_column(column: &Option<String>) -> String {
    column.as_ref().map(|c| format!(", column {}", quoted(c))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_cut_and_escaped() {
        let text = format!("a\u{1b}[31m\n{}", "x".repeat(1000));
        let shown = quoted(&text);
        assert!(shown.len() < 80 && !shown.contains('\u{1b}') && !shown.contains('\n'), "{shown}");
        assert!(quoted("é".repeat(100).as_str()).contains('…'), "cut at a character, not inside one");
    }

    #[test]
    fn nearest_name_only_when_near() {
        let known = ["mnist", "iris", "wine", "wine_quality_red", "breast_cancer"];
        assert_eq!(nearest("mnits", known), Some("mnist"));
        assert_eq!(nearest("IRIS", known), Some("iris"));
        assert_eq!(nearest("breast-cancer", known), Some("breast_cancer"));
        assert_eq!(nearest("zzz", known), None);
    }

    #[test]
    fn messages_are_one_line_with_a_hint() {
        let io = DataError::io("a.csv", io::Error::from(io::ErrorKind::NotFound)).to_string();
        assert!(io.starts_with("cannot read a.csv: ") && io.ends_with("; check the path"), "{io}");
        let line = DataError::Line {
            file: "a.csv".into(),
            line: 7,
            column: Some("x".into()),
            problem: "\"abc\" is not a number".into(),
            hint: "remove it".into(),
        };
        assert_eq!(line.to_string(), "a.csv, line 7, column \"x\": \"abc\" is not a number; remove it");
    }
}
