//! The course of a run: training, snapshots, and all files in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use eigenlens_linalg::Real;
use eigenlens_nets::Model;
use eigenlens_nets::model::State;
use eigenlens_nets::optim::Optimizer;
use eigenlens_nets::snapshot::{self, NamedTensor, SnapshotError, TensorData, WriteError};
use eigenlens_nets::train::{End, Epoch, Evaluator, Next, Score, Trainer, train_watched};

use super::Finished;
use super::curvature::{Kept, Rule, analyse};
use super::memory;
use super::setup::{Setup, failure, setup, training};
use super::weights;
use crate::config::{Config, Precision};
use crate::error::{Failure, Result};
use crate::machine;
use crate::progress::Progress;
use crate::report;
use crate::results::{CurvePoint, ModelSummary, RunResult, SCHEMA, Scores, Training, interlayer_csv, metrics_csv};
use crate::rundir::{Memory, RunDir};

/// What training leaves for the rest of the run, in f64 whatever it computed in.
struct Course {
    snapshots: Vec<Kept>,
    training: Training,
    parameters: usize,
    diverged: Option<String>,
}

fn scores(s: Score) -> Scores {
    let finite = |x: f64| Some(x).filter(|x| x.is_finite());
    Scores { loss: finite(s.loss), accuracy: s.accuracy, r2: s.r2 }
}

/// The whole run; see the module above.
pub fn run(config: &Config, argv: &[String], resume: bool, progress: &Progress) -> Result<Finished> {
    let setup = setup(config)?;
    setup.notes.iter().for_each(|note| progress.say(note));
    // Whatever can be refused is refused before there is a directory.
    let planned = memory::check(config, &setup)?;
    let model = Model::<f64>::new(&setup.spec).map_err(failure)?;
    setup.trainable(config, &model)?;
    if config.model.weights.is_some() {
        weights::start(config, &model)?;
    }
    let (data, here) = (setup.data_hash.as_deref(), Path::new("."));
    let mut directory =
        if resume { RunDir::resume(config, data, here)? } else { RunDir::create(config, data, argv, here)? };
    let done = into(config, &setup, &mut directory, progress);
    let peak = machine::peak_memory();
    directory.memory(Memory { planned: planned as u64, peak });
    if let Some(peak) = peak {
        progress.detail(&format!(
            "memory {} at the peak, {} by count",
            memory::size(peak as f64),
            memory::size(planned)
        ));
    }
    match done {
        Ok((result, None)) => {
            directory.finish(|directory| write(directory, &result))?;
            Ok(Finished { directory, result })
        }
        Ok((result, Some(reason))) => {
            directory.fail(&reason, |directory| write(directory, &result))?;
            Err(failure(reason).at(directory.path().display()))
        }
        Err(error) => {
            // If the manifest can't be written either, the first error is still the one to see.
            let _ = directory.fail(error.what(), |_| Ok(()));
            Err(error)
        }
    }
}

fn write(directory: &RunDir, result: &RunResult) -> Result<()> {
    directory.write(report::RESULT, result.to_json().as_bytes())?;
    directory.write("metrics.csv", metrics_csv(result).as_bytes())?;
    if let Some(csv) = interlayer_csv(result) {
        directory.write("interlayer.csv", csv.as_bytes())?;
    }
    report::write(directory).map(|_| ())
}

fn into(
    config: &Config,
    setup: &Setup,
    directory: &mut RunDir,
    progress: &Progress,
) -> Result<(RunResult, Option<String>)> {
    let course = match config.train.precision {
        Precision::F32 => course::<f32>(config, setup, directory, progress)?,
        Precision::F64 => course::<f64>(config, setup, directory, progress)?,
    };
    let snapshots = match config.precision {
        Precision::F32 => analyse::<f32>(config, setup, &course.snapshots, directory, progress)?,
        Precision::F64 => analyse::<f64>(config, setup, &course.snapshots, directory, progress)?,
    };
    let last = snapshots.last();
    let result = RunResult {
        schema: SCHEMA,
        dataset: setup.summary.clone(),
        model: ModelSummary {
            description: config.model.describe(setup.spec.features(), setup.summary.outputs),
            parameters: course.parameters,
            loss: setup.spec.loss.to_string(),
        },
        train: last.map(|s| s.train).unwrap_or_default(),
        validation: last.and_then(|s| s.validation),
        test: last.and_then(|s| s.test),
        training: course.training,
        curvature: config.spectra.curvature.name().to_owned(),
        blocks: config.spectra.block().to_owned(),
        hessian_over: setup.analysis.1.clone(),
        snapshots,
        notes: course.diverged.iter().cloned().collect(),
    };
    Ok((result, course.diverged))
}

fn course<T: Real>(config: &Config, setup: &Setup, directory: &RunDir, progress: &Progress) -> Result<Course> {
    let since = Instant::now();
    let model = Model::<T>::new(&setup.spec).map_err(failure)?;
    let options = training(config, setup.train.n)?;
    let wanted: BTreeSet<usize> = config.snapshots.at(config.train.epochs).into_iter().collect();
    let mut on_test = setup.test.as_ref().map(|t| Evaluator::new(&model, t)).transpose().map_err(failure)?;
    let phase = progress.phase("training", config.train.epochs as u64);
    let mut curve = Vec::new();
    let mut kept: Vec<Kept> = Vec::new();
    let mut failed = None;
    let trained = train_watched(
        &model,
        weights::start(config, &model)?,
        &setup.train,
        setup.validation.as_ref(),
        &options,
        |e, trainer| {
            let state = trainer.point();
            let test = on_test.as_mut().map(|t| t.score(state));
            curve.push(CurvePoint {
                epoch: e.epoch as usize,
                step: e.step,
                lr: e.lr,
                train: scores(e.train),
                validation: e.validation.map(scores),
                test: test.map(scores),
            });
            // Written now, not in the end: an interruption then leaves what was reached, and no weights wait in memory.
            if wanted.contains(&(e.epoch as usize)) {
                match keep(&model, state, e, test, kept.len(), directory, rule(trainer, e)) {
                    Ok(now) => kept.push(now),
                    Err(error) => {
                        failed = Some(error);
                        return Next::Stop;
                    }
                }
            }
            if e.epoch > 0 {
                phase.advance(1, &format!("epoch {} loss {:.4}", e.epoch, e.train.loss));
            }
            Next::Continue
        },
    )
    .map_err(failure)?;
    drop(phase);
    if let Some(error) = failed {
        return Err(error);
    }
    let mut best_epoch = None;
    let (mut stop, mut diverged) = ("all epochs done".to_owned(), None);
    let mut last = trained.history.last();
    match &trained.end {
        End::Finished | End::Interrupted => {}
        End::Stopped { best } => {
            stop = format!("early stopping; the parameters are those of epoch {best}");
            best_epoch = Some(*best as usize);
            // The last snapshot is the network that the run ends with: the best one.
            last = trained.history.get(*best as usize);
            let beyond = kept.iter().position(|k| k.epoch > *best as usize).unwrap_or(kept.len());
            for later in kept.drain(beyond..) {
                let path = directory.file(&later.file);
                std::fs::remove_file(&path).map_err(|e| Failure::io("remove the snapshot", &path, &e))?;
            }
        }
        End::Diverged(d) => {
            stop = match d.step {
                0 => "not finite at the starting weights".to_owned(),
                step => format!("diverged at step {step} (epoch {})", d.epoch),
            };
            diverged = Some(d.to_string());
        }
    }
    // However training ended, its last finite state is a snapshot.
    if let Some(last) = last
        && kept.last().is_none_or(|k| k.epoch < last.epoch as usize)
    {
        let test = on_test.as_mut().map(|t| t.score(&trained.state));
        kept.push(keep(&model, &trained.state, last, test, kept.len(), directory, None)?);
    }
    let end = trained.history.last();
    Ok(Course {
        snapshots: kept,
        training: Training {
            epochs: end.map_or(0, |e| e.epoch as usize),
            steps: end.map_or(0, |e| e.step),
            stop,
            diverged: diverged.clone(),
            best_epoch,
            seconds: since.elapsed().as_secs_f64(),
            curve,
        },
        parameters: model.len(),
        diverged,
    })
}

/// What the optimiser makes of curvature after an epoch. `None` before Adam's first step, whose metric is not known yet, and
/// where nothing is trained.
fn rule<T: Real>(trainer: &Trainer<'_, T>, at: &Epoch) -> Option<Rule> {
    let state = trainer.state();
    let preconditioner = state.preconditioner();
    let known = preconditioner.is_some() || matches!(state.optimizer(), Optimizer::Sgd(_));
    let trains = trainer.epochs() > 0;
    (known && trains).then(|| Rule {
        bound: state.optimizer().stability_bound(at.lr),
        preconditioner,
        decay: state.decay(),
    })
}

/// Writes a snapshot, and notes what the analysis has to know of it.
fn keep<T: Real>(
    model: &Model<T>,
    state: &State<T>,
    at: &Epoch,
    test: Option<Score>,
    index: usize,
    directory: &RunDir,
    optimizer: Option<Rule>,
) -> Result<Kept> {
    let file = RunDir::snapshot_file(index, at.epoch as usize);
    save(model, state, at, &directory.file(&file))?;
    let scores = [Some(scores(at.train)), at.validation.map(scores), test.map(scores)];
    Ok(Kept { epoch: at.epoch as usize, step: at.step, file, scores, optimizer })
}

fn save<T: Real>(model: &Model<T>, state: &State<T>, at: &Epoch, path: &Path) -> Result<()> {
    let mut tensors: Vec<NamedTensor> = model
        .tensors()
        .iter()
        .map(|t| {
            let values = state.theta[t.range.clone()].iter().map(|x| x.to_f64());
            let data = if T::NAME == "f32" {
                TensorData::F32(values.map(|x| x as f32).collect())
            } else {
                TensorData::F64(values.collect())
            };
            NamedTensor { name: t.name.clone(), shape: t.shape.clone(), data }
        })
        .collect();
    let averages = model.buffers().iter().zip(&state.buffers).map(|(b, values)| NamedTensor {
        name: b.name.clone(),
        shape: vec![b.len],
        data: TensorData::F64(values.clone()),
    });
    tensors.extend(averages);
    let mut metadata = BTreeMap::new();
    metadata.insert("epoch".to_owned(), at.epoch.to_string());
    metadata.insert("step".to_owned(), at.step.to_string());
    metadata.insert("program".to_owned(), "eigenlens".to_owned());
    snapshot::write(path, &tensors, &metadata).map_err(|error| match error {
        SnapshotError::Write(WriteError { source, .. }) => Failure::io("write the snapshot", path, &source),
        other => failure(other),
    })
}
