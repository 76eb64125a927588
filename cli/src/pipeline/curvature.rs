//! The layer-wise picture at every snapshot: what is finished already is taken over, the rest computed.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use eigenlens_autodiff::Order;
use eigenlens_hessian::block::{BlockError, BlockOptions, BlockReport};
use eigenlens_hessian::coupling::{CouplingOptions, coupling};
use eigenlens_hessian::curvature::{Curvature, CurvatureError};
use eigenlens_hessian::density::{Axis, cdf_band, zero_atom};
use eigenlens_hessian::estimate::{Quantity, Uncertainty};
use eigenlens_hessian::estimators::norm::{NormInterval, NormOptions};
use eigenlens_hessian::sharpness::sharpness;
use eigenlens_hessian::slq::{SlqError, SlqOptions, discrepancy};
use eigenlens_hessian::spectrum::Spectrum;
use eigenlens_hessian::student::LEVEL;
use eigenlens_hessian::wanted::{Wanted, wanted};
use eigenlens_linalg::dense::DenseError;
use eigenlens_linalg::{Real, Stop};
use eigenlens_nets::blocks::select;
use eigenlens_nets::model::State;
use eigenlens_nets::objective::{Cut, Kind, Reduction};
use eigenlens_nets::{Model, Objective, Part};

use super::changes::Seen;
use super::cost::Rates;
use super::interlayer::at_point;
use super::pairs::{self, Between};
use super::setup::{Setup, failure};
use super::{panel, weights};
use crate::config::{Config, Precision};
use crate::error::{Failure, Result};
use crate::numbers::{duration, significant};
use crate::progress::Progress;
use crate::report::SMOOTHING_DECADES;
use crate::results::maps::{Interlayer, Maps};
use crate::results::{
    self, Cost, DensitySummary, LayerResult, Measured, OffDiagonal, Pair, Scores, Snapshot, Stability,
};
use crate::rundir::{Origin, RunDir};
use crate::selection::Selection;

/// A snapshot before it is analysed.
pub struct Kept {
    /// Epochs completed.
    pub epoch: usize,
    /// Optimiser steps completed.
    pub step: u64,
    /// File of the weights and running averages.
    pub file: String,
    /// On the training, validation and test part.
    pub scores: [Option<Scores>; 3],
    /// The optimiser then; `None` where it is not known, or nothing is trained.
    pub optimizer: Option<Rule>,
}

/// What an optimiser makes of curvature.
pub struct Rule {
    /// The largest λ_max(P⁻¹(H + D)) that its step size can stand.
    pub bound: f64,
    /// The diagonal of P; `None` for I.
    pub preconditioner: Option<Vec<f64>>,
    /// The diagonal of D, weight decay in the gradient.
    pub decay: Vec<f64>,
}

impl Rule {
    /// Whether it sees something else than H.
    fn differs(&self) -> bool {
        self.preconditioner.is_some() || self.decay.iter().any(|&d| d > 0.0)
    }
}

/// The block options of a config.
pub fn block_options(config: &Config) -> BlockOptions {
    let s = &config.spectra;
    let mut options = BlockOptions {
        exact_max: s.largest_exact(),
        top: s.pairs,
        bottom: s.bottom_pairs,
        // Products in f32 err by 1e-7 to 1e-5 of ‖H‖: no search gets its residuals below that.
        pair_tolerance: if config.precision == Precision::F32 { 1e-5 } else { BlockOptions::default().pair_tolerance },
        slq: SlqOptions { probes: s.slq_probes, steps: s.slq_steps, seed: config.seed, ..SlqOptions::default() },
        ..BlockOptions::default()
    };
    options.metrics.tau = s.tau;
    options
}

/// How a config cuts θ.
pub struct Parts {
    /// All parts, for what lies between them.
    pub all: Vec<Part>,
    /// Those whose spectra are asked for.
    pub chosen: Vec<Part>,
}

/// The parts of θ that a config asks for.
///
/// # Errors
/// Names that the network doesn't have.
pub fn parts<T: Real>(config: &Config, model: &Model<T>) -> Result<Parts> {
    let all = model.blocks(&config.spectra.grouping()).map_err(failure)?;
    let chosen = select(&all, &config.spectra.only).map_err(failure)?;
    Ok(Parts { all, chosen })
}

/// The options of Φ between so many parts. Without probes only what can be done exactly is done; where all probes are no
/// fewer than the parameters, all of it is.
pub fn between(config: &Config, parts: usize) -> CouplingOptions {
    let (probes, options) = (config.spectra.coupling_probes, CouplingOptions::default());
    CouplingOptions {
        probes,
        seed: config.seed,
        exact_max: options.exact_max.max(probes.saturating_mul(parts)),
        ..options
    }
}

/// What is computed at a point, and the point itself once something needs it: a snapshot whose parts are all finished costs
/// no product.
struct Point<'o, 'm, T: Real> {
    objective: &'o mut Objective<'m, T>,
    state: &'o State<f64>,
    ready: bool,
}

impl<'m, T: Real> Point<'_, 'm, T> {
    fn objective(&mut self) -> &Objective<'m, T> {
        if !self.ready {
            self.objective.set_buffers(&self.state.buffers);
            self.objective
                .linearize_with_gradient(&self.state.theta.iter().map(|&x| T::from_f64(x)).collect::<Vec<_>>());
            self.ready = true;
        }
        self.objective
    }
}

/// What lies outside the blocks.
#[derive(Serialize, Deserialize)]
struct Outside {
    between: Between,
    off_diagonal: Option<OffDiagonal>,
}

fn off_diagonal(norm: NormInterval) -> OffDiagonal {
    let upper = Some(norm.upper).filter(|u| u.is_finite());
    OffDiagonal { lower: norm.lower, upper, confidence: NormOptions::default().confidence }
}

/// Looks at every snapshot, and keeps each part in the directory as soon as it is finished.
///
/// # Errors
/// A block that is not finite, a file that can't be written.
pub fn analyse<T: Real>(
    config: &Config,
    setup: &Setup,
    snapshots: &[Kept],
    directory: &mut RunDir,
    progress: &Progress,
) -> Result<Vec<Snapshot>> {
    let model = Model::<T>::new(&setup.spec).map_err(failure)?;
    let samples = &setup.analysis.0;
    let mut objective =
        Objective::new(&model, samples, Reduction::Mean, Order::Second, Cut::default()).map_err(failure)?;
    let mut options = block_options(config);
    options.vectors = panel::vectors(&model, options.top);
    let Parts { all, chosen: parts } = parts(config, &model)?;
    let selection = Selection(&config.spectra.quantities);
    let what = selection.wanted();
    let mut rates = Rates::new(config.spectra.curvature, &options, what);
    let between = between(config, all.len());
    let curvature = config.spectra.curvature;
    let with_phi = selection.has("phi") && (between.probes > 0 || model.len() <= between.exact_max);
    let phi_kind = curvature.kind().filter(|_| with_phi);
    // The rest of the panel is of the Hessian alone.
    let with_panel = curvature.kind() == Some(Kind::Hessian) && selection.has_panel();
    if !with_panel {
        options.vectors = 0;
    }
    let with_sharpness = with_panel && config.spectra.pairs > 0 && config.spectra.only.is_empty();
    let enabled = config.interlayer.enabled;
    let phase = progress.phase("curvature", (snapshots.len() * (parts.len() + 1 + usize::from(enabled))) as u64);
    let of_all = Origin::new(config)
        .text(setup.data_hash.as_deref().unwrap_or_default())
        .numbers(&samples.x)
        .numbers(&samples.y);
    let mut reused = 0;
    let mut done = Vec::new();
    // The point before, to which changes refer, and what was seen there.
    let mut before = State { theta: Vec::new(), buffers: Vec::new() };
    let mut seen: Vec<Option<Seen>> = parts.iter().map(|_| None).collect();
    for (index, kept) in snapshots.iter().enumerate() {
        let state = weights::read(&model, &directory.file(&kept.file))?;
        let of_state =
            |origin: Origin, s: &State<f64>| s.buffers.iter().fold(origin.numbers(&s.theta), |o, b| o.numbers(b));
        let origin = of_state(of_state(of_all.clone(), &before), &state);
        let mut point = Point { objective: &mut objective, state: &state, ready: false };
        let (mut layers, mut spectra) = (Vec::new(), BTreeMap::new());
        for (l, of) in parts.iter().enumerate() {
            let file = RunDir::spectrum_file(index, &of.name);
            let (part, origin) = (format!("{index:03}-layer-{l}"), origin.text(&of.name));
            let of_file = what.eigenvalues().then_some(file.as_str());
            let result = match directory.kept::<LayerResult>(&part, &origin, of_file) {
                Some(result) => {
                    reused += 1;
                    if of_file.is_some() {
                        let bytes = std::fs::read(directory.file(&file)).unwrap_or_default();
                        let now = Seen::from_npz(&bytes, &file)?;
                        spectra.insert(file.clone(), now.spectrum().clone());
                        seen[l] = Some(now);
                    }
                    result
                }
                None => {
                    let planned = rates.of(point.objective(), of)?;
                    let since = Instant::now();
                    let report = match (curvature.kind(), reduced(curvature, what)) {
                        (Some(kind), Some(what)) => {
                            wanted(point.objective(), of, kind, &options, what).map_err(CurvatureError::from)
                        }
                        _ => curvature.block(point.objective(), of, config.seed, &options),
                    }
                    .map_err(|e| at(block_failure(e), index, kept))?;
                    let now = Seen::new(spectrum(&report.spectrum), &report, options.vectors);
                    let mut result = layer_result(of, &report, now.spectrum(), selection);
                    result.density = density(&report.spectrum, options.metrics.tau);
                    if with_panel {
                        panel::panel(point.objective(), of, &report, &options)?.put_into(&mut result);
                        if let Some(before) = &seen[l] {
                            result.quantities.extend(now.since(before));
                        }
                    }
                    result.quantities.retain(|key, _| selection.has(key));
                    let missing = selection.missing(|key| result.quantities.contains_key(key), &result.route);
                    result.notes.extend(missing);
                    result.seconds = since.elapsed().as_secs_f64();
                    result.spectrum = of_file.map(str::to_owned);
                    phase.detail(&format!("{}: {}", of.name, against(&planned, result.seconds)));
                    result.cost = Some(planned);
                    let npz = of_file.map(|file| (file, now.to_npz()));
                    let npz = npz.as_ref().map(|(file, bytes)| (*file, bytes.as_slice()));
                    directory.keep(&part, &origin, &result, npz)?;
                    spectra.insert(file, now.spectrum().clone());
                    seen[l] = Some(now);
                    result
                }
            };
            layers.push(result);
            phase.advance(1, &format!("epoch {} {}", kept.epoch, of.name));
        }
        let (part, of_pairs) = (format!("{index:03}-between"), origin.text("between blocks"));
        let outside = match phi_kind.map(|kind| (kind, directory.kept::<Outside>(&part, &of_pairs, None))) {
            None => None,
            Some((_, Some(outside))) => Some(outside),
            Some((kind, None)) => {
                let found = coupling(point.objective(), &all, kind, &between);
                let outside = Outside {
                    between: pairs::between(&found, measured(&found.phi)),
                    off_diagonal: found.off_diagonal.map(off_diagonal),
                };
                directory.keep(&part, &of_pairs, &outside, None)?;
                Some(outside)
            }
        };
        phase.advance(1, &format!("epoch {} between blocks", kept.epoch));
        let (part, of_results) = (format!("{index:03}-interlayer"), origin.text("between results"));
        let activations = match enabled.then(|| directory.kept::<Interlayer>(&part, &of_results, None)) {
            None => None,
            Some(Some(found)) => Some(found),
            Some(None) => {
                let found = at_point(config, point.objective()).map_err(|e| at(e, index, kept))?;
                directory.keep(&part, &of_results, &found, None)?;
                Some(found)
            }
        };
        if enabled {
            phase.advance(1, &format!("epoch {} between results", kept.epoch));
        }
        let off_diagonal = outside.as_ref().and_then(|o| o.off_diagonal);
        let (phi, parameters) = outside.map_or((None, None), |o| (Some(o.between.phi), o.between.map));
        let maps = Maps { parameters, activations, spectra: pairs::spectra(&layers, &spectra) };
        let stability =
            with_sharpness.then(|| stability(&mut point, kept, index, &origin, config, directory)).transpose()?;
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
            off_diagonal,
            maps,
            stability: stability.flatten(),
            layers,
        });
        before = state;
    }
    if reused > 0 {
        phase.say(&format!(
            "{reused} of {} {} spectra were finished before",
            done.len() * parts.len(),
            config.spectra.block()
        ));
    }
    directory.reused(reused);
    Ok(done)
}

/// Time and memory of a block as they were, beside what was predicted.
fn against(planned: &Cost, seconds: f64) -> String {
    let (took, predicted) = (duration(seconds), duration(planned.seconds_predicted));
    format!("{took}, predicted {predicted}; {} GFLOP", significant(planned.flops / 1e9, 3))
}

/// What is less than everything, of a curvature that can be asked for less: one of the whole network's matrices.
pub fn reduced(curvature: Curvature, what: Wanted) -> Option<Wanted> {
    curvature.kind().map(|_| what).filter(|what| !what.density)
}

/// What to do about a block that has no spectrum.
fn block_failure(error: CurvatureError) -> Failure {
    let CurvatureError::Block(error) = error else { return refusal(error) };
    failure(&error).hint(match error {
        BlockError::Slq { source: SlqError::NotSymmetric { .. }, .. }
        | BlockError::Dense { source: DenseError::NotSymmetric { .. }, .. }
        | BlockError::Iteration { stop: Stop::NotSymmetric, .. } => {
            "check the network with eigenlens check; rounding is less with --precision f64"
        }
        _ => "look at the weights and the data: a value is too large, at least for f32; try --precision f64",
    })
}

/// A failure with the snapshot at which it arose.
fn at(failure: Failure, index: usize, kept: &Kept) -> Failure {
    failure.at(format!("snapshot {index}, epoch {}", kept.epoch))
}

/// Why a part has no such curvature, with what there is.
pub fn refusal(error: CurvatureError) -> Failure {
    match error {
        CurvatureError::Local(error) => {
            let text = error.to_string();
            Failure::new(text.split("; ").next().unwrap_or(&text)).hint(
                "take parts of single blocks: spectra.blocks = \"layer\", \"tensor\" or \"neuron\", and spectra.only without \
                 layers that are used twice",
            )
        }
        other => failure(other),
    }
}

/// The sharpness of the whole Hessian beside the optimiser's bound; taken over if it is finished already.
fn stability<T: Real>(
    point: &mut Point<'_, '_, T>,
    kept: &Kept,
    index: usize,
    origin: &Origin,
    config: &Config,
    directory: &RunDir,
) -> Result<Option<Stability>> {
    let (rule, part) = (kept.optimizer.as_ref(), format!("{index:03}-stability"));
    let of_rule =
        |r: &Rule| origin.numbers(&[r.bound]).numbers(&r.decay).numbers(r.preconditioner.as_deref().unwrap_or(&[]));
    let origin = rule.map_or_else(|| origin.text("no rule"), of_rule);
    if let Some(found) = directory.kept::<Stability>(&part, &origin, None) {
        return Ok(Some(found));
    }
    let objective = point.objective();
    let zeros = vec![0.0; objective.model().len()];
    let Some(own) = sharpness(objective, None, &zeros, config.seed) else { return Ok(None) };
    let seen = rule.filter(|r| r.differs()).map(|r| {
        let p = r.preconditioner.as_deref();
        sharpness(objective, p, &r.decay, config.seed).map(|q| measured(&q))
    });
    // A rule that sees what could not be found has nothing to be compared with.
    let bound = rule.filter(|_| seen != Some(None)).map(|r| r.bound).filter(|b| b.is_finite());
    let found = Stability { sharpness: measured(&own), preconditioned: seen.flatten(), bound };
    directory.keep(&part, &origin, &found, None)?;
    Ok(Some(found))
}

/// A quantity as it stands in results.
pub fn measured(q: &Quantity) -> Measured {
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
        Spectrum::Exact { eigenvalues, repeated } => {
            results::Spectrum::Exact { values: eigenvalues.clone(), repeated: (repeated.value, repeated.count) }
        }
        Spectrum::Quadrature { dim, probes, top, bottom } => results::Spectrum::Quadrature {
            cdf: cdf(spectrum),
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

/// Places at which the distribution function is given.
const PLACES: usize = 65;

/// The distribution function at places that are evenly spaced on the signed logarithmic axis.
fn cdf(spectrum: &Spectrum) -> Option<results::Cdf> {
    let Spectrum::Quadrature { probes, .. } = spectrum else { return None };
    let axis = Axis::signed_log(spectrum);
    let nodes = probes.iter().flat_map(|p| &p.nodes).map(|&x| axis.position(x));
    let (low, high) = nodes.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), u| (a.min(u), b.max(u)));
    let place = |i: usize| axis.eigenvalue(low + (high - low) * i as f64 / (PLACES - 1) as f64);
    let found = cdf_band(spectrum, &(0..PLACES).map(place).collect::<Vec<_>>(), LEVEL)?;
    Some(results::Cdf {
        at: found.at,
        mean: found.mean,
        enclosure: found.enclosure.into_iter().unzip(),
        band: found.band.into_iter().unzip(),
        level: found.level,
    })
}

/// What lies at zero, and how much the whole depends on the probes.
fn density(spectrum: &Spectrum, tau: f64) -> Option<DensitySummary> {
    let Spectrum::Quadrature { dim, probes, .. } = spectrum else { return None };
    let zero = zero_atom(spectrum, tau * spectrum.magnitude(), LEVEL)?;
    let discrepancy = discrepancy(*dim, probes);
    Some(DensitySummary {
        zero: Measured::mean(zero.mass.mean, zero.mass.sem, zero.mass.samples),
        zero_low: zero.band.0,
        zero_high: zero.band.1,
        zero_tolerance: zero.tolerance,
        level: zero.level,
        discrepancy: Some(discrepancy).filter(|d| d.is_finite()),
        smoothing_decades: SMOOTHING_DECADES,
    })
}

fn layer_result(
    part: &Part,
    report: &BlockReport,
    spectrum: &results::Spectrum,
    selection: Selection<'_>,
) -> LayerResult {
    let asked = report.quantities.iter().filter(|q| selection.has(q.name));
    let quantities = asked.map(|q| (q.name.to_owned(), measured(q)));
    let mut result =
        LayerResult::new(&part.name, part.description.clone(), report.parameters, report.route.as_str(), quantities);
    result.products = report.products as u64;
    let stops: Vec<String> = report.stops.iter().map(|s| format!("{}: {}", s.stage, s.stop)).collect();
    result.pair_orthogonality = report.pairs.as_ref().map(|p| p.orthogonality);
    result.stop = (!stops.is_empty()).then(|| stops.join(", "));
    if let results::Spectrum::Quadrature { top, bottom, .. } = spectrum {
        (result.top, result.bottom) = (top.clone(), bottom.clone());
    }
    result
}
