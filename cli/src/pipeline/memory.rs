//! Whether a run fits the memory, before there is anything of it: a message instead of an abort after an hour.

use eigenlens_autodiff::{Linearization, Order};
use eigenlens_hessian::block::{BlockOptions, Route};
use eigenlens_hessian::curvature::Curvature;
use eigenlens_hessian::layerwise::Choice;
use eigenlens_hessian::local::Local;
use eigenlens_linalg::Real;
use eigenlens_nets::{Model, Part};

use super::curvature::{Parts, between, block_options, parts, refusal};
use super::interlayer::results;
use super::setup::{Setup, failure};
use crate::config::{Config, Precision};
use crate::error::{Failure, Result};
use crate::machine;

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
/// # Errors
/// If it would, with the part that takes most.
pub fn check(config: &Config, setup: &Setup) -> Result<()> {
    let budget = match config.memory {
        gib if gib > 0.0 => gib * GIB,
        _ => match machine::memory() {
            Some(bytes) => bytes as f64 / 2.0,
            None => return Ok(()),
        },
    };
    let peak = match config.precision {
        Precision::F32 => peak::<f32>(config, setup, budget)?,
        Precision::F64 => peak::<f64>(config, setup, budget)?,
    };
    if peak.bytes <= budget {
        return Ok(());
    }
    let (needed, allowed) = (gib(peak.bytes), gib(budget));
    Err(Failure::new(format!("{} would take about {needed}, and {allowed} may be used", peak.what))
        .hint(format!("{}, or allow more with --memory (in GiB)", peak.hint)))
}

const GIB: f64 = (1u64 << 30) as f64;

fn gib(bytes: f64) -> String {
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
        return Ok(peak);
    }
    let Parts { all: parts, chosen } = parts(config, &model)?;
    for part in &chosen {
        let (bytes, what, hint) = block::<T>(config, &model, part, samples, &options)?;
        if base + bytes > peak.bytes {
            peak = Peak { bytes: base + bytes, what: format!("{what} of `{}`", part.name), hint };
        }
    }
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

/// Bytes of one block's spectrum, what takes them, and what lowers them.
///
/// # Errors
/// A part that has no such curvature.
fn block<T: Real>(
    config: &Config,
    model: &Model<T>,
    part: &Part,
    samples: usize,
    options: &BlockOptions,
) -> Result<(f64, String, String)> {
    let (p, curvature) = (part.len() as f64, config.spectra.curvature);
    let Choice { route, estimate, gram } = curvature.choose(model, samples, part, options).map_err(refusal)?;
    let lower = "lower spectra.exact_max".to_string();
    let (bytes, what, hint) = match route {
        Route::Zero => (0.0, "nothing".to_string(), lower),
        // The eigenvalue solver works on a copy.
        Route::DenseKronecker => (estimate.bytes + 8.0 * p * p, "the exact spectrum".to_string(), lower),
        Route::DenseProducts => (2.0 * 8.0 * p * p, "the exact spectrum".to_string(), lower),
        Route::Gram => {
            let bytes = gram.map_or(0.0, |g| g.bytes);
            (bytes, "the Gram matrix of its rank".to_string(), lower)
        }
        Route::Krylov => {
            let basis = 8.0 * options.slq.probes as f64 * options.slq.steps as f64 * p;
            (basis, "the Lanczos basis".to_string(), "lower spectra.slq_steps or spectra.slq_probes".to_string())
        }
    };
    // What the curvature keeps beside the network: the block cut out of it, or a score for every sample.
    let own = match curvature {
        Curvature::Local(head) => {
            let local = Local::new(model, part, head).map_err(|e| refusal(e.into()))?;
            Linearization::<T>::bytes_for(local.model().function(), samples, Order::Second)
        }
        other if other.moment(config.seed).is_some() => 8.0 * (samples * model.outputs()) as f64,
        _ => 0.0,
    };
    Ok((bytes + own, what, hint))
}
