//! The execution of a study: every experiment is an ordinary run in a directory of its own, several at a time.
//!
//! Each worker is a thread that computes one experiment after the other, alone: the bits of a run don't depend on threads,
//! and small problems gain nothing from sharing one. The longest experiments come first, so that none is left alone in the end.
//!
//! An experiment whose directory says that it is finished, or that training diverged, is kept. One that was interrupted, or that
//! the system stopped, is taken up again as `--resume` does. A numerical failure is a result, with its reason; a failure of the
//! system (a full disk) ends the study, which can be gone on with.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::design::Planned;
use crate::config::Config;
use crate::error::{Failure, Result};
use crate::files::read_text;
use crate::pipeline;
use crate::progress::Progress;
use crate::report;
use crate::results::RunResult;
use crate::rundir::{RunDir, Status};

/// Folder of the experiments in a study's directory.
const EXPERIMENTS: &str = "experiments";

/// How an experiment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is there.
    Finished,
    /// A number in training was not finite; what was reached is there.
    Diverged(String),
    /// There is no result, for this reason.
    Failed(String),
}

/// The directory of an experiment.
pub fn directory(study: &Path, id: &str) -> PathBuf {
    study.join(EXPERIMENTS).join(id)
}

/// The result of an experiment, from its directory.
///
/// # Errors
/// If it can't be read.
pub fn result(study: &Path, id: &str) -> Result<RunResult> {
    let path = directory(study, id).join(report::RESULT);
    RunResult::from_json(&read_text(&path)?, &path.display().to_string())
}

/// What is there of an experiment.
enum Found {
    Nothing,
    Ended(Outcome),
    Unfinished,
}

fn look(study: &Path, planned: &Planned) -> Result<Found> {
    let path = directory(study, &planned.id);
    if !path.exists() {
        return Ok(Found::Nothing);
    }
    let run = RunDir::open(&path)?;
    let theirs = run.whole_config()?;
    if theirs.digest() != planned.config.digest() {
        return Err(Failure::new("the experiment there has another config")
            .at(path.display())
            .hint("choose another --out DIR, or remove the experiment's directory to have it computed anew"));
    }
    match run.manifest().status {
        Status::Running => Ok(Found::Unfinished),
        Status::Finished => {
            run.clear();
            result(study, &planned.id).map(|_| Found::Ended(Outcome::Finished))
        }
        Status::Failed => Ok(match result(study, &planned.id).ok().and_then(|r| r.training.diverged) {
            Some(reason) => Found::Ended(Outcome::Diverged(reason)),
            None => Found::Unfinished,
        }),
    }
}

/// Computes one experiment.
fn compute(study: &Path, planned: &Planned, argv: &[String], resume: bool) -> Result<Outcome> {
    let config = Config { out: Some(directory(study, &planned.id)), threads: 1, ..planned.config.clone() };
    match pipeline::run(&config, argv, resume, &Progress::silent()) {
        Ok(_) => Ok(Outcome::Finished),
        Err(failure) if failure.is_of_system() => Err(failure),
        Err(failure) => match look(study, planned)? {
            Found::Ended(outcome) => Ok(outcome),
            _ => Ok(Outcome::Failed(failure.what().to_owned())),
        },
    }
}

/// Computes every experiment that is not finished yet with so many workers, and says how each ended, in the order of the plan.
///
/// # Errors
/// A directory that belongs to something else; a failure of the system. Experiments that were finished stay.
pub fn execute(
    study: &Path,
    plan: &[Planned],
    argv: &[String],
    workers: usize,
    progress: &Progress,
) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Option<Outcome>> = Vec::new();
    let mut open = Vec::new();
    for (i, planned) in plan.iter().enumerate() {
        let (outcome, resume) = match look(study, planned)? {
            Found::Ended(outcome) => (Some(outcome), false),
            Found::Unfinished => (None, true),
            Found::Nothing => (None, false),
        };
        if outcome.is_none() {
            open.push((i, resume));
        }
        outcomes.push(outcome);
    }
    if open.len() < plan.len() {
        progress.say(&format!("{} of {} experiments were finished before", plan.len() - open.len(), plan.len()));
    }
    if open.is_empty() {
        return Ok(outcomes.into_iter().flatten().collect());
    }
    open.sort_by(|a, b| plan[b.0].work.total_cmp(&plan[a.0].work));
    let total: f64 = open.iter().map(|(i, _)| plan[*i].work).sum();
    let workers = workers.clamp(1, open.len());
    let phase = progress.uneven_phase("experiments", open.len() as u64);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let state = Mutex::new((0.0, outcomes, None::<Failure>));
    let locked = || state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let worker = || {
        while let Some(&(i, resume)) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let outcome = compute(study, &plan[i], argv, resume);
            let mut state = locked();
            state.0 += plan[i].work;
            let message = match &outcome {
                Ok(Outcome::Finished) => plan[i].id.clone(),
                Ok(Outcome::Diverged(_)) => format!("{} diverged", plan[i].id),
                Ok(Outcome::Failed(_)) | Err(_) => format!("{} failed", plan[i].id),
            };
            phase.advance_to(state.0 / total, &message);
            match outcome {
                Ok(outcome) => state.1[i] = Some(outcome),
                Err(failure) => {
                    stop.store(true, Ordering::Relaxed);
                    state.2.get_or_insert(failure);
                }
            }
        }
    };
    let failed = |e: rayon::ThreadPoolBuildError| Failure::new(format!("cannot start a thread: {e}"));
    // A pool of one thread each: whatever a run would do in parallel stays on its worker.
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(1).stack_size(STACK).build().map_err(failed);
    let pools = (0..workers).map(|_| pool()).collect::<Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        for pool in &pools {
            scope.spawn(|| pool.install(worker));
        }
    });
    drop(phase);
    let (_, outcomes, failure) = state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    match failure {
        Some(failure) => Err(failure),
        None => Ok(outcomes.into_iter().flatten().collect()),
    }
}

/// Stack of a worker in bytes, as large as that of a main thread.
const STACK: usize = 8 << 20;
