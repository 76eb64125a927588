//! Progress on standard error: bars with the time left on a terminal, an occasional line elsewhere, nothing with `-q`.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::Talk;
use crate::numbers::duration;
use crate::output;

/// Where nobody watches, a phase says how far it is this often.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// What may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Silent,
    Lines,
    Bars,
}

/// The voice of the program while it works.
#[derive(Debug)]
pub struct Progress {
    manner: Manner,
    verbose: bool,
}

impl Progress {
    /// As the flags and standard error want it.
    pub fn new(talk: Talk) -> Self {
        let manner = match (talk.quiet, std::io::stderr().is_terminal()) {
            (true, _) => Manner::Silent,
            (false, true) => Manner::Bars,
            (false, false) => Manner::Lines,
        };
        Self { manner, verbose: talk.verbose }
    }

    /// One that never says anything.
    pub fn silent() -> Self {
        Self { manner: Manner::Silent, verbose: false }
    }

    /// Says a line, unless quiet. Not while a phase is under way: use [`Phase::say`] then.
    pub fn say(&self, line: &str) {
        if self.manner != Manner::Silent {
            output::talk(line);
        }
    }

    /// Says a line if asked to be verbose.
    pub fn detail(&self, line: &str) {
        if self.verbose {
            self.say(line);
        }
    }

    /// Begins a phase of `total` equal steps. It ends when it is dropped.
    pub fn phase(&self, name: &str, total: u64) -> Phase {
        self.begin(name, total, "{prefix:<12} {bar:24} {pos}/{len}  {eta} left  {wide_msg}")
    }

    /// As [`Progress::phase`], of steps that differ: [`Phase::advance_to`] says how much of the work is done.
    pub fn uneven_phase(&self, name: &str, total: u64) -> Phase {
        self.begin(name, total, "{prefix:<12} {bar:24} {pos}/{len}  {wide_msg}")
    }

    fn begin(&self, name: &str, total: u64, template: &str) -> Phase {
        let bar = match self.manner {
            Manner::Bars => {
                let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
                let style = ProgressStyle::with_template(template);
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ "));
                bar.set_prefix(name.to_owned());
                bar.enable_steady_tick(Duration::from_millis(200));
                Some(bar)
            }
            Manner::Lines => {
                output::talk(&format!("{name} ..."));
                None
            }
            Manner::Silent => None,
        };
        let begun = Instant::now();
        let state = Mutex::new(State { done: 0, message: String::new(), last_line: begun });
        Phase { name: name.to_owned(), manner: self.manner, verbose: self.verbose, total, bar, begun, state }
    }
}

#[derive(Debug)]
struct State {
    done: u64,
    message: String,
    last_line: Instant,
}

/// A phase under way. May be shared between threads.
#[derive(Debug)]
pub struct Phase {
    name: String,
    manner: Manner,
    verbose: bool,
    total: u64,
    bar: Option<ProgressBar>,
    begun: Instant,
    state: Mutex<State>,
}

impl Phase {
    /// Counts `steps` more, with a word on what is being done.
    pub fn advance(&self, steps: u64, message: &str) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.done += steps;
        message.clone_into(&mut state.message);
        match (&self.bar, self.manner) {
            (Some(bar), _) => {
                bar.inc(steps);
                bar.set_message(message.to_owned());
            }
            (None, Manner::Lines) if state.last_line.elapsed() >= BETWEEN_LINES && state.done < self.total => {
                state.last_line = Instant::now();
                let left = left(self.begun.elapsed(), state.done as f64 / self.total as f64);
                output::talk(&format!("{} {}/{}{left}  {message}", self.name, state.done, self.total));
            }
            _ => {}
        }
    }

    /// Counts one more of uneven steps: this `share` of what is to be done here is done now. The time left is told from it.
    pub fn advance_to(&self, share: f64, message: &str) {
        let left = left(self.begun.elapsed(), share);
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.done += 1;
        match (&self.bar, self.manner) {
            (Some(bar), _) => {
                bar.inc(1);
                bar.set_message(format!("{message}{left}"));
            }
            (None, Manner::Lines) if state.last_line.elapsed() >= BETWEEN_LINES && state.done < self.total => {
                state.last_line = Instant::now();
                output::talk(&format!("{} {}/{}{left}  {message}", self.name, state.done, self.total));
            }
            _ => {}
        }
    }

    /// Says a line, unless quiet.
    pub fn say(&self, line: &str) {
        match (&self.bar, self.manner) {
            (Some(bar), _) => bar.suspend(|| output::talk(line)),
            (None, Manner::Lines) => output::talk(line),
            _ => {}
        }
    }

    /// Says a line if asked to be verbose.
    pub fn detail(&self, line: &str) {
        if self.verbose {
            self.say(line);
        }
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.manner != Manner::Silent {
            let state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let message = if state.message.is_empty() { String::new() } else { format!("  {}", state.message) };
            let took = duration(self.begun.elapsed().as_secs_f64());
            output::talk(&format!("{} {}/{} in {took}{message}", self.name, state.done, self.total));
        }
    }
}

/// `, 20 s left`, if that can be told.
fn left(elapsed: Duration, share: f64) -> String {
    if !(share > 0.0 && share < 1.0) {
        return String::new();
    }
    let seconds = elapsed.as_secs_f64() / share * (1.0 - share);
    format!(", {} left", duration(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_in_proportion_to_what_is_left() {
        assert_eq!(left(Duration::from_secs(10), 0.25), ", 30 s left");
        assert_eq!(left(Duration::from_secs(10), 0.0), "");
        assert_eq!(left(Duration::from_secs(10), 1.0), "");
    }

    #[test]
    fn a_silent_phase_counts_from_several_threads() {
        let phase = Progress::silent().phase("test", 100);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|_| phase.advance(1, "")));
            }
        });
        assert_eq!(phase.state.lock().unwrap().done, 100);
    }
}
