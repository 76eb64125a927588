//! What the TOML reader complains about, in the words of this program.

use super::sample;
use crate::error::Failure;

/// What to do about text that is no TOML.
pub const SYNTAX: &str = "a line is [section] or key = value; texts stand in quotes, lists in [ ], tables in { }";

/// Rewrites an error of the TOML reader; the place is added by the caller.
pub fn explain(error: &toml::de::Error) -> Failure {
    let message = error.message();
    let path = path_of(error);
    if let Some((name, known)) = unknown(message, "unknown field ") {
        let section = path.map_or("at the top level".to_owned(), |p| format!("in [{p}]"));
        return Failure::new(format!("unknown key `{name}` {section}")).did_you_mean(name, known);
    }
    if let Some((name, known)) = unknown(message, "unknown variant ") {
        let of = path.map_or(String::new(), |p| format!(" for `{p}`"));
        return Failure::new(format!("unknown value `{name}`{of}")).did_you_mean(name, known);
    }
    let text = readable(message);
    match path {
        Some(path) => {
            let failure = Failure::new(format!("`{path}`: {text}"));
            match sample::hint(&path) {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        None => Failure::new(text).hint(SYNTAX),
    }
}

/// The dotted key that the reader was at.
fn path_of(error: &toml::de::Error) -> Option<String> {
    let shown = error.to_string();
    let line = shown.trim_end().rsplit('\n').next()?;
    Some(line.strip_prefix("in `")?.strip_suffix('`')?.to_owned())
}

/// Of "unknown field `x`, expected one of `a`, `b`": `x` and [`a`, `b`].
fn unknown<'m>(message: &'m str, start: &str) -> Option<(&'m str, Vec<&'m str>)> {
    let mut quoted = message.strip_prefix(start)?.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.collect()))
}

/// serde's names of types as a user would say them.
fn readable(message: &str) -> String {
    const TYPES: [(&str, &str); 9] = [
        ("expected f64", "expected a number"),
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected a sequence", "expected a list"),
        ("expected an array of length 2", "expected a list of two numbers"),
        ("expected a boolean", "expected true or false"),
        ("expected path string", "expected a string"),
        ("expected struct ", "expected the section "),
        ("missing field `type`", "a layer needs a `type`, such as `type = \"linear\"` or `type = \"activation\"`"),
    ];
    // The reader's name for a type of its own.
    let mut text = message.lines().next().unwrap_or(message).replace(" as i128", "");
    for (theirs, ours) in TYPES {
        text = text.replace(theirs, ours);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quoted_names_are_read_whatever_their_number() {
        let read = |m| unknown(m, "unknown field ");
        assert_eq!(read("unknown field `x`, expected one of `a`, `b`, `c`"), Some(("x", vec!["a", "b", "c"])));
        assert_eq!(read("unknown field `x`, expected `a` or `b`"), Some(("x", vec!["a", "b"])));
        assert_eq!(read("unknown field `x`, there are no fields"), Some(("x", vec![])));
        assert_eq!(read("missing field `x`"), None);
    }
}
