//! Standard output and standard error: the only place that prints.
//!
//! Standard output carries data, standard error talk. A reader that closes the pipe early is no error.

use std::io::{ErrorKind, IsTerminal, Write};

use crate::error::{Failure, Result};

/// Writes data to standard output. After the reader has gone, writing quietly does nothing.
///
/// # Errors
/// If standard output can't be written to for any other reason, such as a full disk.
pub fn data(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {e}")).hint("is the disk full?"))
        }
        _ => Ok(()),
    }
}

/// Writes a line of talk to standard error. There is nobody to tell if that fails.
pub fn talk(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes a failure to standard error, `error:` and `hint:` in colour where that is wanted.
pub fn failure(failure: &Failure) {
    let text = failure.to_string();
    if !colour(std::io::stderr().is_terminal(), |name| std::env::var(name).ok()) {
        return talk(&text);
    }
    let text = text.replacen("error:", "\x1b[1;31merror:\x1b[0m", 1).replacen("\nhint:", "\n\x1b[1;36mhint:\x1b[0m", 1);
    talk(&text);
}

/// Whether colour is wanted: on a terminal that isn't dumb, unless NO_COLOR is set to anything (no-color.org).
fn colour(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let refused = variable("NO_COLOR").is_some_and(|v| !v.is_empty());
    terminal && !refused && variable("TERM").is_none_or(|t| t != "dumb")
}

/// Columns of the terminal that standard output goes to; 80 if it is none. COLUMNS overrides both.
pub fn width() -> usize {
    let forced = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let detected = comfy_table::Table::new().width().map(usize::from);
    forced.or(detected).filter(|w| *w >= 20).unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_willing_terminals_only() {
        let none = |_: &str| None;
        assert!(colour(true, none) && !colour(false, none));
        assert!(!colour(true, |name| (name == "NO_COLOR").then(|| "1".to_owned())));
        assert!(!colour(true, |name| (name == "TERM").then(|| "dumb".to_owned())));
        assert!(colour(true, |name| (name == "NO_COLOR").then(String::new)));
    }
}
