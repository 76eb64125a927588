//! What is wrong with an option: a name nobody knows, or a number outside its range.
//!
//! Shared by everything a user configures by name and number, so that all refusals read alike.

use std::fmt;

/// An option that cannot be honoured.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionError {
    /// A name that is not in the list of known ones.
    Unknown {
        /// What was being named, such as `"initialiser"`.
        what: &'static str,
        /// The name given.
        name: String,
        /// The nearest known name, if one is near.
        nearest: Option<&'static str>,
        /// Every known name.
        known: &'static [&'static str],
    },
    /// A number outside its range (NaN included).
    Range {
        /// Whose option it is, such as `"adam"`.
        of: &'static str,
        /// The option, such as `"beta1"`.
        option: &'static str,
        /// The value given.
        value: f64,
        /// What it must be, such as `"in [0, 1)"`.
        must: &'static str,
    },
    /// A text that cannot be read, or two options that exclude each other.
    Invalid {
        /// Whose option it is.
        of: &'static str,
        /// One sentence with the remedy.
        reason: String,
    },
}

impl OptionError {
    /// The refusal of `name`, with the nearest of `known` as a suggestion.
    pub fn unknown(what: &'static str, name: &str, known: &'static [&'static str]) -> Self {
        OptionError::Unknown { what, name: name.to_owned(), nearest: nearest(name, known.iter().copied()), known }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionError::Unknown { what, name, nearest: Some(nearest), .. } => {
                write!(f, "unknown {what} {}: did you mean '{nearest}'?", quoted(name))
            }
            OptionError::Unknown { what, name, nearest: None, known } => {
                write!(f, "unknown {what} {}: known are {}", quoted(name), known.join(", "))
            }
            OptionError::Range { of, option, value, must } => write!(f, "{of}: {option} must be {must}, is {value}"),
            OptionError::Invalid { of, reason } => write!(f, "{of}: {reason}"),
        }
    }
}

impl std::error::Error for OptionError {}

/// A text from outside for a message of one line: quoted, without control characters, cut to 40 characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let shown: String = chars.by_ref().take(40).flat_map(char::escape_debug).collect();
    let cut = if chars.next().is_some() { "…" } else { "" };
    format!("'{shown}{cut}'")
}

/// The names of a table, in its order: one table is behind `Display`, `FromStr` and lists.
pub(crate) const fn names<V, const N: usize>(table: &[(&'static str, V); N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut i = 0;
    while i < N {
        names[i] = table[i].0;
        i += 1;
    }
    names
}

/// The name that a table gives to a value; empty if it has none.
pub(crate) fn name_of<V: PartialEq>(table: &[(&'static str, V)], value: V) -> &'static str {
    table.iter().find(|(_, v)| *v == value).map_or("", |(name, _)| name)
}

/// The value of a name in a table.
pub(crate) fn value_of<V: Copy>(
    table: &[(&'static str, V)],
    what: &'static str,
    name: &str,
    names: &'static [&'static str],
) -> Result<V, OptionError> {
    let found = table.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| OptionError::unknown(what, name, names))
}

/// `Ok` if `ok`, else the refusal of `value`. Write the condition so that NaN fails it (`x >= 0.0`, not `!(x < 0.0)`).
pub(crate) fn in_range(
    ok: bool,
    of: &'static str,
    option: &'static str,
    value: f64,
    must: &'static str,
) -> Result<(), OptionError> {
    if ok { Ok(()) } else { Err(OptionError::Range { of, option, value, must }) }
}

/// The known name most like `name`, if any is like it at all; case, `-`, `_` and spaces make no difference.
///
/// Like means a Jaro–Winkler similarity of at least 0.8: slips (two letters swapped, one dropped or doubled) and bare
/// beginnings of a name score above 0.85, unrelated words below 0.7. In short names one slip weighs too much for a similarity
/// (`rnu` for `run`); it counts as like, too. Of `name` 64 characters count, as the cost is quadratic.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE: f64 = 0.8;
    let plain = |s: &str| s.chars().take(64).collect::<String>().to_lowercase().replace(['-', ' '], "_");
    let name = plain(name);
    let likeness = |k: &str| {
        let k = plain(k);
        let one_slip = k.len() > 2 && strsim::osa_distance(&name, &k) == 1;
        strsim::jaro_winkler(&name, &k).max(if one_slip { LIKE } else { 0.0 })
    };
    known
        .into_iter()
        .map(|k| (likeness(k), k))
        .filter(|(likeness, _)| *likeness >= LIKE)
        // The first of equals.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["sgd", "adam", "adamw"];

    #[test]
    fn a_typing_error_finds_its_name() {
        assert_eq!(nearest("admaw", KNOWN.iter().copied()), Some("adamw"));
        assert_eq!(nearest("he_nromal", ["he-uniform", "he-normal"]), Some("he-normal"));
        assert_eq!(nearest("SGD", KNOWN.iter().copied()), Some("sgd"));
        let keys = ["batch_size", "epochs", "optimizer", "lr", "schedule", "early_stopping"];
        for (slip, name) in [
            ("batchsize", "batch_size"),
            ("batch-size", "batch_size"),
            ("Epoch", "epochs"),
            ("optimiser", "optimizer"),
            ("shedule", "schedule"),
            ("earlystopping", "early_stopping"),
        ] {
            assert_eq!(nearest(slip, keys), Some(name));
        }
    }

    #[test]
    fn one_slip_in_a_short_name_is_near() {
        assert_eq!(nearest("rnu", ["run", "check", "data"]), Some("run"));
        assert_eq!(nearest("lt", ["lr"]), None);
    }

    #[test]
    fn an_unrelated_word_finds_nothing_and_the_message_lists_all() {
        assert_eq!(nearest("lbfgs", KNOWN.iter().copied()), None);
        assert_eq!(nearest("banana", ["digits", "mnist", "wine"]), None);
        assert_eq!(nearest("", KNOWN.iter().copied()), None);
        assert_eq!(nearest("x", []), None);
        assert_eq!(
            OptionError::unknown("optimiser", "lbfgs", KNOWN).to_string(),
            "unknown optimiser 'lbfgs': known are sgd, adam, adamw"
        );
    }

    #[test]
    fn foreign_text_is_cut_and_escaped() {
        let shown = quoted(&format!("a\u{1b}[31m\n{}", "é".repeat(1000)));
        assert!(shown.chars().count() < 60 && !shown.chars().any(char::is_control) && shown.ends_with("…'"), "{shown}");
        assert_eq!(quoted("adam"), "'adam'");
    }

    #[test]
    fn a_nan_is_outside_every_range() {
        let x = f64::NAN;
        let refused = in_range((0.0..1.0).contains(&x), "adam", "beta1", x, "in [0, 1)").unwrap_err();
        assert_eq!(refused.to_string(), "adam: beta1 must be in [0, 1), is NaN");
    }
}
