//! Training, snapshots, and the layer-wise picture at each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use eigenlens_autodiff::Order;
use eigenlens_hessian::block::{BlockOptions, BlockReport};
use eigenlens_hessian::coupling::{CouplingOptions, coupling};
use eigenlens_hessian::estimate::{Quantity, Uncertainty};
use eigenlens_hessian::layerwise::layer;
use eigenlens_hessian::slq::SlqOptions;
use eigenlens_hessian::spectrum::Spectrum;
use eigenlens_linalg::Real;
use eigenlens_nets::model::Layer;
use eigenlens_nets::objective::{Cut, Kind, Reduction};
use eigenlens_nets::snapshot::{self, NamedTensor, TensorData};
use eigenlens_nets::train::{End, Epoch, Evaluator, Next, Score, train};
use eigenlens_nets::{Model, Objective};

use super::Finished;
use super::setup::{Setup, failure, setup, training};
use crate::config::{Config, Precision};
use crate::error::Result;
use crate::progress::Progress;
use crate::report;
use crate::results::{
    self, CurvePoint, LayerResult, Measured, ModelSummary, Pair, RunResult, SCHEMA, Scores, Snapshot, Training,
    metrics_csv,
};
use crate::rundir::RunDir;

/// What training leaves for the rest of the run, in f64 whatever it computed in.
struct Course {
    snapshots: Vec<Kept>,
    training: Training,
    parameters: usize,
    diverged: Option<String>,
}

/// A snapshot before it is analysed.
struct Kept {
    epoch: usize,
    step: u64,
    file: String,
    theta: Vec<f64>,
    scores: [Option<Scores>; 3],
}

fn scores(s: Score) -> Scores {
    let finite = |x: f64| Some(x).filter(|x| x.is_finite());
    Scores { loss: finite(s.loss), accuracy: s.accuracy, r2: s.r2 }
}

/// The block options of a config.
pub fn block_options(config: &Config) -> BlockOptions {
    let s = &config.spectra;
    let mut options = BlockOptions {
        exact_max: s.exact_max,
        top: s.pairs,
        bottom: s.pairs.min(1),
        slq: SlqOptions { probes: s.slq_probes, steps: s.slq_steps, seed: config.seed, ..SlqOptions::default() },
        ..BlockOptions::default()
    };
    options.metrics.tau = s.tau;
    options
}

/// The whole run; see the module above.
pub fn run(config: &Config, argv: &[String], resume: bool, progress: &Progress) -> Result<Finished> {
    let setup = setup(config)?;
    // Whatever can be refused is refused before there is a directory.
    training(config, setup.train.n)?;
    Model::<f64>::new(&setup.spec).map_err(failure)?;
    let mut directory =
        if resume { RunDir::resume(config, Path::new("."))? } else { RunDir::create(config, argv, Path::new("."))? };
    match into(config, &setup, &directory, progress) {
        Ok((result, None)) => {
            write(&directory, &result)?;
            directory.finish()?;
            report::write(&directory)?;
            Ok(Finished { directory, result })
        }
        Ok((result, Some(reason))) => {
            write(&directory, &result)?;
            directory.fail(&reason)?;
            report::write(&directory)?;
            Err(failure(reason).at(directory.path().display()))
        }
        Err(error) => {
            directory.fail(error.what())?;
            Err(error)
        }
    }
}

fn write(directory: &RunDir, result: &RunResult) -> Result<()> {
    directory.write(report::RESULT, result.to_json().as_bytes())?;
    directory.write("metrics.csv", metrics_csv(result).as_bytes())
}

fn into(
    config: &Config,
    setup: &Setup,
    directory: &RunDir,
    progress: &Progress,
) -> Result<(RunResult, Option<String>)> {
    let course = match config.train.precision {
        Precision::F32 => course::<f32>(config, setup, directory, progress)?,
        Precision::F64 => course::<f64>(config, setup, directory, progress)?,
    };
    let snapshots = match config.precision {
        Precision::F32 => analyse::<f32>(config, setup, &course, directory, progress)?,
        Precision::F64 => analyse::<f64>(config, setup, &course, directory, progress)?,
    };
    let last = snapshots.last();
    let result = RunResult {
        schema: SCHEMA,
        dataset: setup.summary.clone(),
        model: ModelSummary {
            description: config.model.describe(setup.spec.inputs, setup.spec.outputs()),
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
    let mut kept: Vec<(Epoch, Vec<T>, Option<Score>)> = Vec::new();
    let mut last: Option<(Epoch, Vec<T>, Option<Score>)> = None;
    let trained =
        train(&model, model.init(config.seed), &setup.train, setup.validation.as_ref(), &options, |e, theta| {
            let test = on_test.as_mut().map(|t| t.score(theta));
            curve.push(CurvePoint {
                epoch: e.epoch as usize,
                step: e.step,
                lr: e.lr,
                train: scores(e.train),
                validation: e.validation.map(scores),
                test: test.map(scores),
            });
            let now = (e.clone(), theta.to_vec(), test);
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
            let test = on_test.as_mut().map(|t| t.score(&trained.theta));
            kept.retain(|k| k.0.epoch < *best);
            last = Some((e, trained.theta.clone(), test));
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
    for (index, (e, theta, test)) in kept.into_iter().enumerate() {
        let file = RunDir::snapshot_file(index, e.epoch as usize);
        save(&model, &theta, &e, &directory.file(&file))?;
        snapshots.push(Kept {
            epoch: e.epoch as usize,
            step: e.step,
            file,
            theta: theta.iter().map(|x| x.to_f64()).collect(),
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

fn save<T: Real>(model: &Model<T>, theta: &[T], at: &Epoch, path: &Path) -> Result<()> {
    let tensors: Vec<NamedTensor> = model
        .tensors()
        .iter()
        .map(|t| {
            let values = theta[t.range.clone()].iter().map(|x| x.to_f64());
            let data = if T::NAME == "f32" {
                TensorData::F32(values.map(|x| x as f32).collect())
            } else {
                TensorData::F64(values.collect())
            };
            NamedTensor { name: t.name.clone(), shape: t.shape.clone(), data }
        })
        .collect();
    let mut metadata = BTreeMap::new();
    metadata.insert("epoch".to_owned(), at.epoch.to_string());
    metadata.insert("step".to_owned(), at.step.to_string());
    metadata.insert("program".to_owned(), "eigenlens".to_owned());
    snapshot::write(path, &tensors, &metadata).map_err(failure)
}

fn analyse<T: Real>(
    config: &Config,
    setup: &Setup,
    course: &Course,
    directory: &RunDir,
    progress: &Progress,
) -> Result<Vec<Snapshot>> {
    let model = Model::<T>::new(&setup.spec).map_err(failure)?;
    let samples = &setup.analysis.0;
    let mut objective =
        Objective::new(&model, samples, Reduction::Mean, Order::Second, Cut::default()).map_err(failure)?;
    let options = block_options(config);
    let between =
        CouplingOptions { probes: config.spectra.coupling_probes, seed: config.seed, ..CouplingOptions::default() };
    let phase = progress.phase("curvature", (course.snapshots.len() * (model.layers().len() + 1)) as u64);
    let mut done = Vec::new();
    for (index, kept) in course.snapshots.iter().enumerate() {
        let theta: Vec<T> = kept.theta.iter().map(|&x| T::from_f64(x)).collect();
        objective.linearize(&theta);
        let mut layers = Vec::new();
        for (l, of) in model.layers().iter().enumerate() {
            let since = Instant::now();
            let report = layer(&objective, l, Kind::Hessian, &options)
                .map_err(|e| failure(e).at(format!("snapshot {index}, epoch {}", kept.epoch)))?;
            let file = RunDir::spectrum_file(index, &of.name);
            let spectrum = spectrum(&report.spectrum);
            directory.write(&file, &spectrum.to_npz())?;
            layers.push(layer_result(of, &report, &spectrum, file, since.elapsed().as_secs_f64()));
            phase.advance(1, &format!("epoch {} {}", kept.epoch, of.name));
        }
        let phi = if config.spectra.coupling_probes == 0 && model.len() > between.exact_max {
            None
        } else {
            Some(measured(&coupling(&objective, Kind::Hessian, &between).phi))
        };
        phase.advance(1, &format!("epoch {} between layers", kept.epoch));
        let [train, validation, test] = kept.scores;
        done.push(Snapshot {
            index,
            epoch: kept.epoch,
            step: kept.step,
            file: Some(kept.file.clone()),
            train: train.unwrap_or_default(),
            validation,
            test,
            phi,
            layers,
        });
    }
    Ok(done)
}

fn measured(q: &Quantity) -> Measured {
    match q.uncertainty {
        None => Measured::exact(q.value),
        Some(Uncertainty::StandardError { sem, samples }) => Measured::mean(q.value, sem, samples),
        Some(Uncertainty::Residual(r)) => Measured::bounded(q.value, r),
    }
}

fn spectrum(spectrum: &Spectrum) -> results::Spectrum {
    let pairs = |list: &[eigenlens_hessian::spectrum::Pair]| {
        list.iter().map(|p| Pair { value: p.value, residual: p.residual }).collect()
    };
    match spectrum {
        Spectrum::Exact { eigenvalues } => results::Spectrum::Exact(eigenvalues.clone()),
        Spectrum::Quadrature { dim, probes, top, bottom } => results::Spectrum::Quadrature {
            dim: *dim,
            probes: probes
                .iter()
                .map(|p| results::Probe { nodes: p.nodes.clone(), weights: p.weights.clone() })
                .collect(),
            top: pairs(top),
            bottom: pairs(bottom),
        },
    }
}

/// What a layer is, in a few words.
pub fn describe(layer: &Layer) -> String {
    format!("linear {}→{}{}", layer.inputs, layer.outputs, if layer.bias { " + bias" } else { "" })
}

fn layer_result(
    layer: &Layer,
    report: &BlockReport,
    spectrum: &results::Spectrum,
    file: String,
    seconds: f64,
) -> LayerResult {
    let quantities = report.quantities.iter().map(|q| (q.name.to_owned(), measured(q)));
    let mut result =
        LayerResult::new(&layer.name, describe(layer), report.parameters, report.route.as_str(), quantities);
    result.products = report.products as u64;
    let stops: Vec<String> = report.stops.iter().map(|s| format!("{}: {}", s.stage, s.stop)).collect();
    result.stop = (!stops.is_empty()).then(|| stops.join(", "));
    result.seconds = seconds;
    result.spectrum = Some(file);
    if let results::Spectrum::Quadrature { top, bottom, .. } = spectrum {
        (result.top, result.bottom) = (top.clone(), bottom.clone());
    }
    result
}
