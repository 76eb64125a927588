//! `eigenlens study`: many data sets, three capacities each, every layer's spectrum, one table.
//!
//! | file | content |
//! |---|---|
//! | `suite` | what a study consists of, by name or as TOML |
//! | `capacity` | how wide the networks are |
//! | `design` | which data set is trained how |
//! | `execute` | runs, several at a time, that can be killed and gone on with |
//! | `tables` | `experiments.csv` and `results.csv` |
//! | `overview` | `summary.json` and what the terminal shows |
//! | [`statistics`] | what the tables say together |
//! | [`findings`] | the answers to the questions of a study |
//! | [`diagnosis`] | rules learned from a study, for single runs |
//! | [`conclude`], [`report`] | the files that a study ends with |
//! | `place` | the study's directory |

mod capacity;
pub mod conclude;
mod design;
pub mod diagnosis;
mod execute;
pub mod findings;
mod overview;
mod place;
pub mod report;
pub mod statistics;
mod suite;
pub mod tables;

use std::time::Instant;

pub use self::suite::Suite;

use self::design::design;
use self::execute::{execute, result};
use self::place::Place;
use self::tables::Tables;
use crate::args::StudyArgs;
use crate::error::{Failure, Result};
use crate::numbers::duration;
use crate::progress::Progress;
use crate::{machine, output};

/// Computes a study, or what is left of it, and returns the text for standard output.
///
/// # Errors
/// A suite that can't be, a directory of something else, a failure of the system. What was finished before stays.
pub fn run(args: &StudyArgs, argv: &[String], progress: &Progress) -> Result<String> {
    let suite = Suite::load(&args.suite)?;
    let plan = design(&suite)?;
    if args.dry_run {
        return Ok(overview::show_design(&plan, args.format, output::width()));
    }
    let workers = match args.threads {
        0 => machine::cores(),
        n => n,
    };
    let most = (4 * machine::cores()).max(64);
    if workers > most {
        return Err(Failure::new(format!("`threads` must be at most {most} on this machine, is {workers}"))
            .at("--threads")
            .hint("leave it out for one per core"));
    }
    let since = Instant::now();
    let mut place = Place::take(&suite, args, argv)?;
    let directory = place.path().to_owned();
    progress.say(&format!("{} experiments in {}", plan.len(), directory.display()));
    let outcomes = match execute(&directory, &plan, argv, workers, progress) {
        Ok(outcomes) => outcomes,
        Err(failure) => {
            progress.say("what was finished is kept: the same command goes on from there");
            return Err(failure);
        }
    };
    let mut tables = Tables::default();
    for (planned, outcome) in plan.iter().zip(&outcomes) {
        // A failed experiment may have left nothing.
        let found = match outcome {
            execute::Outcome::Failed(_) => None,
            _ => Some(result(&directory, &planned.id)?),
        };
        tables.add(planned, outcome, found.as_ref());
    }
    tables.write(&directory)?;
    place.write("summary.json", &overview::summary(&tables))?;
    for answer in conclude::conclude(&tables, &directory, findings::questions::Effort::default())?.answers() {
        progress.say(&answer);
    }
    let peak = machine::peak_memory();
    place.finish(since.elapsed().as_secs_f64(), peak)?;
    let memory = peak.map_or(String::new(), |bytes| format!(", {} MB of memory at the peak", bytes / 1_000_000));
    progress.say(&format!("took {}{memory}", duration(since.elapsed().as_secs_f64())));
    Ok(overview::show(&tables, &directory.display().to_string(), args.format, output::width()))
}
