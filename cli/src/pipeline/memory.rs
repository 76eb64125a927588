//! Whether a run fits the memory, before there is anything of it: a message instead of an abort after an hour.

use eigenlens_autodiff::{Linearization, Order};
use eigenlens_hessian::block::{BlockOptions, Route};
use eigenlens_hessian::curvature::Curvature;
use eigenlens_hessian::layerwise::Choice;
use eigenlens_hessian::local::Local;
use eigenlens_hessian::operator::lanes_for;
use eigenlens_hessian::wanted::{Wanted, sums_route};
use eigenlens_linalg::Real;
use eigenlens_linalg::eigs;
use eigenlens_nets::{Model, Part};

use super::curvature::{Parts, between, block_options, parts, reduced, refusal};
use super::interlayer::results;
use super::setup::{Setup, failure};
use crate::config::{Config, Precision};
use crate::error::{Failure, Result};
use crate::machine;
use crate::selection::Selection;

/// Vectors of the size of θ that training, the optimiser, snapshots and sums over groups of shards hold at once, about.
const VECTORS: f64 = 24.0;

/// What a run holds at its peak, in bytes, and how one gets below it.
struct Peak {
    bytes: f64,
    what: String,
    hint: String,
}

/// Refuses a run that would take more than `memory`, by default half of the machine's.
///
/// Returns the bytes of its peak, by count.
///
/// # Errors
/// If it would, with the part that takes most, and what would fit.
pub fn check(config: &Config, setup: &Setup) -> Result<f64> {
    let budget = match config.memory {
        gib if gib > 0.0 => gib * GIB,
        _ => match machine::memory() {
            Some(bytes) => bytes as f64 / 2.0,
            None => f64::INFINITY,
        },
    };
    let peak = match config.precision {
        Precision::F32 => peak::<f32>(config, setup, budget)?,
        Precision::F64 => peak::<f64>(config, setup, budget)?,
    };
    if peak.bytes <= budget {
        return Ok(peak.bytes);
    }
    let (needed, allowed) = (size(peak.bytes), size(budget));
    Err(Failure::new(format!("{} would take about {needed}, and {allowed} may be used", peak.what))
        .hint(format!("{}, or allow more with --memory (in GiB)", peak.hint)))
}

const GIB: f64 = (1u64 << 30) as f64;

/// A size in words.
pub fn size(bytes: f64) -> String {
    if bytes < GIB / 10.0 {
        format!("{:.0} MiB", bytes / GIB * 1024.0)
    } else if bytes < 1e6 * GIB {
        format!("{:.1} GiB", bytes / GIB)
    } else {
        format!("{:.1e} GiB", bytes / GIB)
    }
}

/// The largest of what the run holds at once; the network alone if that is too much already.
fn peak<T: Real>(config: &Config, setup: &Setup, budget: f64) -> Result<Peak> {
    let model = Model::<T>::new(&setup.spec).map_err(failure)?;
    let (parameters, samples) = (model.len() as f64, setup.analysis.0.n);
    let theta = 8.0 * VECTORS * parameters;
    let cached = Linearization::<T>::bytes_for(model.function(), samples, Order::Second);
    let options = block_options(config);
    let mut peak = Peak {
        bytes: theta + cached,
        what: format!("the network ({} parameters, {samples} samples)", model.len()),
        hint: if theta > cached { "use narrower layers" } else { "lower spectra.rows" }.to_string(),
    };
    let base = peak.bytes;
    if base > budget {
        if theta <= cached {
            let rows = (samples as f64 * (budget - theta) / cached) as usize;
            peak.hint.push_str(&if rows > 0 { format!(": {rows} fit") } else { String::new() });
        }
        return Ok(peak);
    }
    let selection = Selection(&config.spectra.quantities);
    let wanted = reduced(config.spectra.curvature, selection.wanted()).unwrap_or(Wanted::ALL);
    let Parts { all: parts, chosen } = parts(config, &model)?;
    let mut routes = Vec::new();
    for part in &chosen {
        let choice = config.spectra.curvature.choose(&model, samples, part, &options).map_err(refusal)?;
        let (bytes, what, mut hint) = block(&choice, part, &options, wanted);
        let bytes = bytes + beside(config, &model, part, samples)?;
        routes.push((part.name.clone(), part.len(), choice.route));
        if base + bytes > budget {
            hint.push_str(&fitting(&choice, part, &options, budget - base));
        }
        if base + bytes > peak.bytes {
            peak = Peak { bytes: base + bytes, what: format!("{what} of `{}`", part.name), hint };
        }
    }
    selection.check(&routes)?;
    // Of small networks one column after the other; else all probes of a block, and what they give for each pair.
    let coupling = between(config, parts.len());
    let (probes, pairs) = (coupling.probes as f64, (parts.len() as f64).powi(2));
    let none = config.spectra.curvature.kind().is_none() || model.len() <= coupling.exact_max;
    let columns = if none { 0.0 } else { 8.0 * probes * (2.0 * parameters + pairs) };
    if base + columns > peak.bytes {
        let what = "the probes between blocks".to_string();
        peak = Peak { bytes: base + columns, what, hint: "lower spectra.coupling_probes".to_string() };
    }
    let bytes = if config.interlayer.enabled { between_results(config, &model) } else { 0.0 };
    if base + bytes > peak.bytes {
        let what = "the curvature between the results of blocks".to_string();
        let hint = "set interlayer.method = \"probes\", or lower interlayer.probes".to_string();
        peak = Peak { bytes: base + bytes, what, hint };
    }
    Ok(peak)
}

/// Bytes of what the directions of the widest block give at all blocks, for the Hessian and the Gauss–Newton matrix.
fn between_results<T: Real>(config: &Config, model: &Model<T>) -> f64 {
    let sizes = || model.functional().iter().map(|b| model.graph().shape(b.node).size());
    let (total, widest, count) = (results(model), sizes().max().unwrap_or(0), sizes().count());
    let (options, _) = config.interlayer.options(total, config.seed);
    let exact = total <= options.exact_max;
    let columns = if exact { widest } else { options.probes.max(options.leading * count) };
    2.0 * 8.0 * columns as f64 * total as f64
}

/// What of an option would fit into so many bytes, to follow a hint.
fn fitting(choice: &Choice, part: &Part, options: &BlockOptions, room: f64) -> String {
    let p = part.len() as f64;
    match choice.route {
        Route::DenseKronecker | Route::DenseProducts => {
            // A dense block and the solver's copy.
            format!(" (a block of {} parameters fits)", (room.max(0.0) / 16.0).sqrt() as usize)
        }
        Route::Krylov => {
            let each = quadrature(options, part.len()) / (options.slq.steps.min(part.len()) + 4) as f64;
            let steps = (room / each - 4.0).min(p);
            if steps >= 2.0 { format!(" ({} fit)", steps as usize) } else { String::new() }
        }
        _ => String::new(),
    }
}

/// Bytes of one block's quantities, what takes them, and what lowers them.
fn block(choice: &Choice, part: &Part, options: &BlockOptions, wanted: Wanted) -> (f64, String, String) {
    let p = part.len() as f64;
    let Choice { route, estimate, gram } = choice;
    let exact = options.exact_max == usize::MAX;
    let lower = if exact { "use --auto or --slq" } else { "lower spectra.exact_max" }.to_string();
    if !wanted.eigenvalues() {
        let bytes = match sums_route(choice, part.len(), options) {
            Route::DenseKronecker | Route::DenseProducts => estimate.bytes.max(8.0 * p * p),
            Route::Gram => gram.map_or(0.0, |g| g.bytes),
            _ => 8.0 * 2.0 * lanes_for(part.len()) as f64 * p,
        };
        return (bytes, "trace and norm".to_string(), lower);
    }
    match route {
        Route::Zero => (0.0, "nothing".to_string(), lower),
        // The eigenvalue solver works on a copy.
        Route::DenseKronecker => (estimate.bytes + 8.0 * p * p, "the exact spectrum".to_string(), lower),
        Route::DenseProducts => (2.0 * 8.0 * p * p, "the exact spectrum".to_string(), lower),
        Route::Gram => {
            let bytes = gram.map_or(0.0, |g| g.bytes);
            (bytes, "the Gram matrix of its rank".to_string(), lower)
        }
        Route::Krylov | Route::Hutchinson => {
            let (quadrature, pairs) = (quadrature(options, part.len()), pairs(options, part.len()));
            if quadrature >= pairs {
                (quadrature, "the Lanczos basis".to_string(), "lower spectra.slq_steps".to_string())
            } else {
                (pairs, "the search for pairs".to_string(), "lower spectra.pairs".to_string())
            }
        }
    }
}

/// What the curvature keeps beside the network: the block cut out of it, or a score for every sample.
///
/// # Errors
/// A part that has no such curvature.
fn beside<T: Real>(config: &Config, model: &Model<T>, part: &Part, samples: usize) -> Result<f64> {
    Ok(match config.spectra.curvature {
        Curvature::Local(head) => {
            let local = Local::new(model, part, head).map_err(|e| refusal(e.into()))?;
            Linearization::<T>::bytes_for(local.model().function(), samples, Order::Second)
        }
        other if other.moment(config.seed).is_some() => 8.0 * (samples * model.outputs()) as f64,
        _ => 0.0,
    })
}

/// Bytes of the Lanczos bases of the probes that run in lockstep, for a block of p parameters.
pub fn quadrature(options: &BlockOptions, p: usize) -> f64 {
    let lanes = options.slq.lanes.unwrap_or_else(|| lanes_for(p)).clamp(1, options.slq.probes.max(1));
    // With what is multiplied, its product, and the start.
    8.0 * lanes as f64 * (options.slq.steps.min(p) + 4) as f64 * p as f64
}

/// Bytes of the search for pairs.
pub fn pairs(options: &BlockOptions, p: usize) -> f64 {
    let count = options.top + options.bottom;
    let vectors = if count == 0 { 0 } else { eigs::Options::ends(options.top, options.bottom).basis + 2 * count + 8 };
    8.0 * vectors as f64 * p as f64
}
