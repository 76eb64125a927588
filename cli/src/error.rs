//! What can go wrong for a user, and the exit codes.
//!
//! A failure is one line `error: what, where` and, wherever something can be done, one line `hint: what to do`.

use std::fmt;
use std::path::Path;

use eigenlens_nets::options::nearest;

/// Exit codes of the program, as `--help` documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything went well. A reader that closed the pipe early counts as well.
    Fine = 0,
    /// A check of `eigenlens check` failed.
    CheckFailed = 1,
    /// Bad input or usage, or a run that could not be finished.
    BadInput = 2,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure as the user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    what: String,
    place: Option<String>,
    hint: Option<String>,
    of_system: bool,
}

/// The result of everything in this crate that a user's input can make fail.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure that says what is wrong.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), place: None, hint: None, of_system: false }
    }

    /// Adds where: a file with line and column, a flag, a directory.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
    }

    /// Adds what the user can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the hint that `name` was perhaps meant to be one of `known`; without a near one, the list of them.
    pub fn did_you_mean<'a>(self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => return self,
            None => format!("known: {}", known.join(", ")),
        };
        self.hint(hint)
    }

    /// An operating system error on a path. `doing` completes "cannot …".
    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::*;
        let hint = match error.kind() {
            NotFound => Some("check the path; relative paths start at the current directory"),
            PermissionDenied | ReadOnlyFilesystem => Some("choose a place that you may write to, e.g. with --out DIR"),
            AlreadyExists | NotADirectory => {
                Some("a part of the path is a file: choose another place, e.g. with --out DIR")
            }
            IsADirectory => Some("give a file, not a directory"),
            FileTooLarge => {
                Some("raise the limit on the size of files (ulimit -f), or choose another disk with --out DIR")
            }
            StorageFull | QuotaExceeded => Some("free some space, or choose another disk with --out DIR"),
            _ => None,
        };
        let failure = Self { of_system: true, ..Self::new(format!("cannot {doing}: {}", plain(error))) };
        let failure = failure.at(path.display());
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// Whether the operating system refused something: the next file will not fare better.
    pub fn is_of_system(&self) -> bool {
        self.of_system
    }

    /// What is wrong, without the place.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub fn remedy(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// The text of an operating system error without "(os error 13)".
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(place) = &self.place {
            write!(f, ", {place}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_the_error_and_one_for_the_hint() {
        let failure = Failure::new("no such column").at("a.csv:1:4").hint("add a header");
        assert_eq!(failure.to_string(), "error: no such column, a.csv:1:4\nhint: add a header");
        assert_eq!(Failure::new("x").to_string(), "error: x");
    }

    #[test]
    fn a_near_name_is_offered_and_a_far_one_lists_all() {
        let known = ["digits", "iris"];
        assert_eq!(Failure::new("x").did_you_mean("digist", known).remedy(), Some("did you mean `digits`?"));
        assert_eq!(Failure::new("x").did_you_mean("zzzzzz", known).remedy(), Some("known: digits, iris"));
        assert_eq!(Failure::new("x").did_you_mean("zzzzzz", []).remedy(), None);
    }

    #[test]
    fn system_errors_lose_their_number_and_gain_a_hint() {
        let error = std::io::Error::from_raw_os_error(13);
        let text = Failure::io("create the directory", Path::new("/x"), &error).to_string();
        assert!(text.starts_with("error: cannot create the directory: permission denied, /x\nhint: "), "{text}");
    }
}
