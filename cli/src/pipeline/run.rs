//! The course of a run: training, snapshots, and all files in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use eigenlens_linalg::Real;
use eigenlens_nets::Model;
use eigenlens_nets::model::State;
use eigenlens_nets::snapshot::{self, NamedTensor, TensorData};
use eigenlens_nets::train::{End, Epoch, Evaluator, Next, Score, train};

use super::Finished;
use super::curvature::{Kept, analyse};
use super::memory;
use super::setup::{Setup, failure, setup, training};
use crate::config::{Config, Precision};
use crate::error::Result;
use crate::progress::Progress;
use crate::report;
use crate::results::{CurvePoint, ModelSummary, RunResult, SCHEMA, Scores, Training, metrics_csv};
use crate::rundir::RunDir;

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
    if let Some(note) = &setup.note {
        progress.say(note);
    }
    // Whatever can be refused is refused before there is a directory.
    training(config, setup.train.n)?;
    memory::check(config, &setup)?;
    let mut directory =
        if resume { RunDir::resume(config, Path::new("."))? } else { RunDir::create(config, argv, Path::new("."))? };
    match into(config, &setup, &mut directory, progress) {
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
    let mut kept: Vec<(Epoch, State<T>, Option<Score>)> = Vec::new();
    let mut last: Option<(Epoch, State<T>, Option<Score>)> = None;
    let trained =
        train(&model, model.start(config.seed), &setup.train, setup.validation.as_ref(), &options, |e, state| {
            let test = on_test.as_mut().map(|t| t.score(state));
            curve.push(CurvePoint {
                epoch: e.epoch as usize,
                step: e.step,
                lr: e.lr,
                train: scores(e.train),
                validation: e.validation.map(scores),
                test: test.map(scores),
            });
            let now = (e.clone(), state.clone(), test);
            if wanted.contains(&(e.epoch as usize)) {
                kept.push(now.clone());
            }
            last = Some(now);
            if e.epoch > 0 {
                phase.advance(1, &format!("epoch {} loss {:.4}", e.epoch, e.train.loss));
            }
            Next::Continue
        })
        .map_err(failure)?;
    drop(phase);
    let mut best_epoch = None;
    let (mut stop, mut diverged) = ("all epochs done".to_owned(), None);
    match &trained.end {
        End::Finished | End::Interrupted => {}
        End::Stopped { best } => {
            stop = format!("early stopping; the parameters are those of epoch {best}");
            best_epoch = Some(*best as usize);
            // The last snapshot is the network that the run ends with: the best one.
            let e = trained.history[*best as usize].clone();
            let test = on_test.as_mut().map(|t| t.score(&trained.state));
            kept.retain(|k| k.0.epoch < *best);
            last = Some((e, trained.state.clone(), test));
        }
        End::Diverged(d) => {
            stop = format!("diverged at step {} (epoch {})", d.step, d.epoch);
            diverged = Some(d.to_string());
        }
    }
    // However training ended, its last finite state is a snapshot.
    if let Some(last) = last
        && kept.last().is_none_or(|k| k.0.epoch < last.0.epoch)
    {
        kept.push(last);
    }
    let mut snapshots = Vec::new();
    for (index, (e, state, test)) in kept.into_iter().enumerate() {
        let file = RunDir::snapshot_file(index, e.epoch as usize);
        save(&model, &state, &e, &directory.file(&file))?;
        snapshots.push(Kept {
            epoch: e.epoch as usize,
            step: e.step,
            file,
            state: State { theta: state.theta.iter().map(|x| x.to_f64()).collect(), buffers: state.buffers },
            scores: [Some(scores(e.train)), e.validation.map(scores), test.map(scores)],
        });
    }
    let end = trained.history.last();
    Ok(Course {
        snapshots,
        training: Training {
            epochs: end.map_or(0, |e| e.epoch as usize),
            steps: end.map_or(0, |e| e.step),
            stop,
            best_epoch,
            seconds: since.elapsed().as_secs_f64(),
            curve,
        },
        parameters: model.len(),
        diverged,
    })
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
    snapshot::write(path, &tensors, &metadata).map_err(failure)
}
