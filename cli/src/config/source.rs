//! Where the values of a config come from: a file and overrides, merged without forgetting which is which.
//!
//! The file and the overrides are laid end to end in one imaginary text. Every key and value carries its place in that
//! text, so that any complaint can name the line and column of the file, or the flag.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{message, sample};
use crate::error::{Failure, Result};

/// One value given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// How the user wrote it, to say so in errors: `--set train.lr=0.1`, `--seed 3`.
    pub origin: String,
    /// Dotted key. A whole number as a part is an index into a list.
    pub key: String,
    /// A TOML value; text that is none is taken as a string.
    pub value: String,
}

impl Override {
    /// Reads `key=value`.
    ///
    /// # Errors
    /// Without `=`, or with an empty key.
    pub fn set(text: &str) -> Result<Self> {
        let origin = format!("--set {text}");
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Self { origin, key: key.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err(Failure::new(format!("`{text}` is not of the form key=value"))
                .at("--set")
                .hint("for example --set train.epochs=20")),
        }
    }

    /// What a flag of its own says, such as `--seed 3`.
    pub fn flag(flag: &str, key: &str, value: impl ToString) -> Self {
        let value = value.to_string();
        Self { origin: format!("--{flag} {value}"), key: key.to_owned(), value }
    }
}

/// What setting a key of a section on the command line removes from what the file gives there: options that exclude
/// each other. The command line wins, as it does for a single key.
const REPLACES: [(&str, &str, &[&str]); 11] = [
    ("snapshots", "count", &["epochs"]),
    ("snapshots", "epochs", &["count"]),
    (
        "model",
        "layers",
        &[
            "hidden",
            "activation",
            "init",
            "bias",
            "name",
            "width",
            "depth",
            "norm",
            "skips",
            "heads",
            "patch",
            "kernel",
            "bottleneck",
            "merge",
        ],
    ),
    (
        "model",
        "hidden",
        &["layers", "name", "width", "depth", "norm", "skips", "heads", "patch", "kernel", "bottleneck", "merge"],
    ),
    (
        "model",
        "name",
        &[
            "layers",
            "hidden",
            "activation",
            "init",
            "bias",
            "width",
            "depth",
            "norm",
            "skips",
            "heads",
            "patch",
            "kernel",
            "bottleneck",
            "merge",
        ],
    ),
    (
        "data",
        "name",
        &["text", "context", "csv", "idx", "idx_labels", "npy", "npy_targets", "npz", "target", "inputs", "parameters"],
    ),
    (
        "data",
        "csv",
        &[
            "text",
            "context",
            "name",
            "idx",
            "idx_labels",
            "npy",
            "npy_targets",
            "npz",
            "target",
            "inputs",
            "parameters",
        ],
    ),
    ("data", "idx", &["text", "context", "name", "csv", "npy", "npy_targets", "npz", "target", "inputs", "parameters"]),
    ("data", "npy", &["text", "context", "name", "csv", "idx", "idx_labels", "npz", "target", "inputs", "parameters"]),
    (
        "data",
        "text",
        &["name", "csv", "idx", "idx_labels", "npy", "npy_targets", "npz", "target", "inputs", "parameters"],
    ),
    (
        "data",
        "npz",
        &["text", "context", "name", "csv", "idx", "idx_labels", "npy", "npy_targets", "target", "parameters"],
    ),
];

/// Where the values of a config were given, by dotted key. They are no part of what a config says: all are equal.
#[derive(Clone, Debug, Default)]
pub struct Places(BTreeMap<String, String>);

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Places {
    /// The place of a key, or of the section or list that it would stand in.
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut key = key;
        loop {
            if let Some(place) = self.0.get(key) {
                return Some(place);
            }
            key = key.rsplit_once('.')?.0;
        }
    }
}

/// Keys where a name is short for a table with that `kind`.
const NAME_OR_TABLE: [&str; 2] = ["optimizer", "schedule"];

/// A merged config text.
pub struct Source<'a> {
    file: Option<(&'a str, &'a str)>,
    overrides: &'a [Override],
    /// Where each override starts in the imaginary text.
    starts: Vec<usize>,
    tree: Spanned<DeTable<'a>>,
}

impl<'a> Source<'a> {
    /// Parses the file (its name, its text) and merges the overrides into it, later ones over earlier ones.
    ///
    /// # Errors
    /// Text that is not TOML; an override whose key leads through something that has no keys.
    pub fn new(file: Option<(&'a str, &'a str)>, overrides: &'a [Override]) -> Result<Self> {
        let text = file.map_or("", |(_, text)| text);
        let mut source =
            Self { file, overrides, starts: Vec::new(), tree: Spanned::new(0..text.len(), DeTable::new()) };
        let mut end = text.len() + 1;
        for o in overrides {
            source.starts.push(end);
            end += o.value.len() + 1;
        }
        source.tree = DeTable::parse(text).map_err(|e| source.explain(&e))?;
        for (i, o) in overrides.iter().enumerate() {
            source.insert(i, o)?;
        }
        Ok(source)
    }

    /// What the merged text says: a config, or another form that is written in TOML.
    ///
    /// # Errors
    /// Unknown keys and names, values of the wrong type.
    pub fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T> {
        let deserializer = toml::de::Deserializer::from(self.tree.clone());
        T::deserialize(deserializer).map_err(|e| self.explain(&e))
    }

    fn insert(&mut self, i: usize, o: &'a Override) -> Result<()> {
        let start = self.starts[i];
        let span = start..start + o.value.len();
        let value = match DeValue::parse(&o.value) {
            Ok(value) => shifted(value, start),
            Err(error) if o.value.starts_with(['[', '{', '"', '\'']) => return Err(broken(o, &error)),
            Err(_) => Spanned::new(span.clone(), DeValue::String(Cow::Borrowed(o.value.as_str()))),
        };
        let parts: Vec<&str> = o.key.split('.').collect();
        let (last, parents) = parts.split_last().expect("split gives at least one part");
        let file_end = self.starts[0];
        let mut table = self.tree.get_mut();
        let mut walked = String::new();
        let mut index = 0;
        while index < parents.len() {
            let part = parents[index];
            walked = if walked.is_empty() { part.to_owned() } else { format!("{walked}.{part}") };
            if index == 0 && parents.len() == 1 {
                make_room(table, part, last, file_end);
            }
            let mut next = entry(table, part, span.clone());
            if let DeValue::String(name) = next
                && NAME_OR_TABLE.contains(&part)
            {
                let kind = Spanned::new(span.clone(), DeValue::String(name.clone()));
                let mut named = DeTable::new();
                named.insert(Spanned::new(span.clone(), Cow::Borrowed("kind")), kind);
                *next = DeValue::Table(named);
            }
            if let DeValue::Array(list) = next {
                index += 1;
                let item = parents.get(index).and_then(|p| p.parse::<usize>().ok());
                let length = list.len();
                next = match item.and_then(|k| list.get_mut(k)) {
                    Some(item) => item.get_mut(),
                    None => {
                        return Err(Failure::new(format!("`{walked}` is a list of {length}"))
                            .at(&o.origin)
                            .hint(format!("name an item and its key: {walked}.0.KEY (counted from 0)")));
                    }
                };
            }
            table = match next {
                DeValue::Table(inner) => inner,
                _ => {
                    return Err(Failure::new(format!("`{walked}` is a single value, not a section"))
                        .at(&o.origin)
                        .hint(format!("set it as a whole: --set {walked}=VALUE")));
                }
            };
            index += 1;
        }
        // Removed first, so that the key too carries the override's place.
        table.remove(*last);
        table.insert(Spanned::new(span, Cow::Borrowed(*last)), value);
        Ok(())
    }

    /// Where the value of a dotted key was given, if it was.
    pub fn place(&self, key: &str) -> Option<String> {
        let mut parts = key.split('.');
        let first = parts.next()?;
        let mut value = self.tree.get_ref().get(first)?;
        for part in parts {
            value = match value.get_ref() {
                DeValue::Table(table) => table.get(part)?,
                DeValue::Array(list) => list.get(part.parse::<usize>().ok()?)?,
                // `optimizer = "adam"` stands for its `kind`.
                DeValue::String(_) if part == "kind" => value,
                _ => return None,
            };
        }
        self.place_of(value.span())
    }

    /// The places of the values of all dotted keys.
    pub fn places(&self) -> Places {
        let mut all = BTreeMap::new();
        for (key, value) in self.tree.get_ref() {
            self.note(key.get_ref(), value, &mut all);
        }
        Places(all)
    }

    fn note(&self, key: &str, value: &Spanned<DeValue<'_>>, all: &mut BTreeMap<String, String>) {
        all.extend(self.place_of(value.span()).map(|place| (key.to_owned(), place)));
        match value.get_ref() {
            DeValue::Table(table) => {
                table.iter().for_each(|(inner, value)| self.note(&format!("{key}.{}", inner.get_ref()), value, all));
            }
            DeValue::Array(list) => {
                list.iter().enumerate().for_each(|(i, value)| self.note(&format!("{key}.{i}"), value, all));
            }
            _ => {}
        }
    }

    /// The place of a span of the imaginary text: the flag, or file:line:column (from 1, in characters).
    fn place_of(&self, span: Range<usize>) -> Option<String> {
        let i = self.starts.partition_point(|&start| start <= span.start);
        if i > 0 {
            return Some(self.overrides[i - 1].origin.clone());
        }
        let (name, text) = self.file?;
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Some(format!("{name}:{line}:{column}"))
    }

    fn explain(&self, error: &toml::de::Error) -> Failure {
        let failure = message::explain(error);
        match error.span().and_then(|span| self.place_of(span)) {
            Some(place) => failure.at(place),
            None => failure,
        }
    }
}

/// The refusal of a value that begins like a list, a table or a quoted text and is none.
fn broken(o: &Override, error: &toml::de::Error) -> Failure {
    let why = error.message().lines().collect::<Vec<_>>().join(", ");
    let what = format!("the value of `{}` is not whole: {why}", o.key);
    Failure::new(what).at(&o.origin).hint(match sample::hint(&o.key) {
        Some(sample) => format!("{sample}; quote it for the shell: --set 'KEY=VALUE'"),
        None => message::SYNTAX.to_owned(),
    })
}

/// Removes from section `section` what setting `key` replaces, if it was given before `file_end`: by the file.
fn make_room(root: &mut DeTable<'_>, section: &str, key: &str, file_end: usize) {
    let Some(DeValue::Table(table)) = root.get_mut(section).map(Spanned::get_mut) else { return };
    for (_, _, gone) in REPLACES.iter().filter(|(s, k, _)| (*s, *k) == (section, key)) {
        for name in *gone {
            if table.get(*name).is_some_and(|value| value.span().start < file_end) {
                table.remove(*name);
            }
        }
    }
}

/// The value at `key`, an empty table if there is none.
fn entry<'t, 'a>(table: &'t mut DeTable<'a>, key: &'a str, span: Range<usize>) -> &'t mut DeValue<'a> {
    if !table.contains_key(key) {
        let empty = Spanned::new(span.clone(), DeValue::Table(DeTable::new()));
        table.insert(Spanned::new(span, Cow::Borrowed(key)), empty);
    }
    table.get_mut(key).expect("just inserted").get_mut()
}

/// The same value, its places moved by `by`.
fn shifted(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = value.span().start + by..value.span().end + by;
    let inner = match value.into_inner() {
        DeValue::Array(mut list) => {
            for item in list.iter_mut() {
                let old = std::mem::replace(item, Spanned::new(0..0, DeValue::Boolean(false)));
                *item = shifted(old, by);
            }
            DeValue::Array(list)
        }
        DeValue::Table(table) => {
            let moved = |(key, value): (Spanned<_>, _)| {
                let span = key.span().start + by..key.span().end + by;
                (Spanned::new(span, key.into_inner()), shifted(value, by))
            };
            DeValue::Table(table.into_iter().map(moved).collect())
        }
        other => other,
    };
    Spanned::new(span, inner)
}
