//! How the functional blocks of a network are coupled: at its weights for `eigenlens interlayer`, at every snapshot of a run.

use std::time::Instant;

use eigenlens_autodiff::Order;
use eigenlens_hessian::estimate::Estimate;
use eigenlens_hessian::geometry::{self, CurvePoint, Geometry, geometry, jacobians};
use eigenlens_linalg::Real;
use eigenlens_nets::objective::{Cut, Reduction};
use eigenlens_nets::{Model, Objective};

use super::setup::{Setup, failure, setup};
use super::{memory, weights};
use crate::config::{Config, Precision};
use crate::error::{Failure, Result};
use crate::interlayer::AtWeights;
use crate::progress::Progress;
use crate::results::Measured;
use crate::results::maps::{BlockRow, Curve, Decay, Discrepancy, Interlayer, Matrix, Partial};

/// Samples whose Jacobians are formed.
const JACOBIAN_ROWS: usize = 64;
/// Results of the widest block whose Jacobians are formed.
const JACOBIAN_WIDTH: usize = 256;

/// The maps between functional blocks of the configured network.
///
/// # Errors
/// Bad data or weights, or a curvature that is not finite.
pub fn interlayer(config: &Config, progress: &Progress) -> Result<AtWeights> {
    let mut config = config.clone();
    config.interlayer.enabled = true;
    let setup = setup(&config)?;
    setup.notes.iter().for_each(|note| progress.say(note));
    memory::check(&config, &setup)?;
    match config.precision {
        Precision::F32 => of::<f32>(&config, &setup, progress),
        Precision::F64 => of::<f64>(&config, &setup, progress),
    }
}

fn of<T: Real>(config: &Config, setup: &Setup, progress: &Progress) -> Result<AtWeights> {
    let model = Model::<T>::new(&setup.spec).map_err(failure)?;
    let mut objective =
        Objective::new(&model, &setup.analysis.0, Reduction::Mean, Order::Second, Cut::default()).map_err(failure)?;
    let start = weights::start(config, &model)?;
    objective.set_buffers(&start.buffers);
    let phase = progress.phase("curvature between blocks", 1);
    objective.linearize(&start.theta);
    let found = at_point(config, &objective)?;
    phase.advance(1, "all pairs");
    drop(phase);
    Ok(AtWeights {
        model: config.model.describe(setup.spec.features(), setup.summary.outputs),
        over: setup.analysis.1.clone(),
        found,
    })
}

/// How many numbers the results of all functional blocks are, per sample.
pub fn results<T: Real>(model: &Model<T>) -> usize {
    model.functional().iter().map(|b| model.graph().shape(b.node).size()).sum()
}

/// The maps at the point where `objective` was linearized.
///
/// # Errors
/// A curvature that is not finite.
pub fn at_point<T: Real>(config: &Config, objective: &Objective<'_, T>) -> Result<Interlayer> {
    let since = Instant::now();
    let (options, beside) = config.interlayer.options(results(objective.model()), config.seed);
    let found = geometry(objective, &options);
    let finite = |rows: &Vec<Vec<Estimate>>| rows.iter().flatten().all(|e| e.mean.is_finite());
    if !(finite(&found.hessian) && finite(&found.gauss_newton)) {
        let bad = (0..found.blocks.len()).find(|&v| !found.hessian[v][v].mean.is_finite()).unwrap_or(0);
        return Err(Failure::new(format!("the curvature at `{}` is not finite", found.blocks[bad].name))
            .hint("look at the weights and the data: a value is too large"));
    }
    let compared = beside.map(|options| (options.probes, geometry(objective, &options)));
    let discrepancy = compared.as_ref().and_then(|(probes, other)| {
        let geometry::Discrepancy { relative, deviation, pairs } = other.discrepancy(&found)?;
        Some(Discrepancy { probes: *probes, relative, deviation, pairs })
    });
    let stretch = jacobians(objective, JACOBIAN_ROWS, JACOBIAN_WIDTH);
    let blocks = (0..found.blocks.len())
        .map(|v| BlockRow {
            name: found.blocks[v].name.clone(),
            end: found.blocks[v].end.clone(),
            resonance: measured(found.hessian[v][v]),
            gap: found.gap(v, v),
            rho: stretch.as_ref().and_then(|s| s.rho[v]).map(measured),
        })
        .collect();
    Ok(Interlayer {
        exact: found.exact,
        products: found.products + compared.map_or(0, |(_, other)| other.products),
        seconds: since.elapsed().as_secs_f64(),
        discrepancy,
        blocks,
        curve: curve(&found),
        decay: found.decay().map(fit),
        coupling_decay: geometry::Decay::fit(&found.curve(|v, w| found.coupling(v, w))).map(fit),
        lyapunov: stretch.and_then(|s| s.lyapunov).map(measured),
        distance: found.distance.clone(),
        resonance: numbers(&found.hessian, |e| e.mean),
        resonance_error: (!found.exact).then(|| numbers(&found.hessian, |e| e.sem)),
        coupling: matrix(&found, |v, w| found.coupling(v, w)),
        stable_rank: found.spectral.is_some().then(|| matrix(&found, |v, w| found.stable_rank(v, w))),
        gap: matrix(&found, |v, w| found.gap(v, w)),
    })
}

/// An estimate; exact if no samples are behind it.
pub fn measured(e: Estimate) -> Measured {
    if e.samples == 0 { Measured::exact(e.mean) } else { Measured::mean(e.mean, e.sem, e.samples) }
}

/// A number of each estimate.
pub fn numbers(of: &[Vec<Estimate>], number: impl Fn(&Estimate) -> f64) -> Matrix {
    of.iter().map(|row| row.iter().map(&number).collect()).collect()
}

fn fit(decay: geometry::Decay) -> Decay {
    Decay { a: decay.a, b: decay.b, r_squared: Some(decay.r_squared).filter(|r| r.is_finite()) }
}

fn matrix(found: &Geometry, number: impl Fn(usize, usize) -> Option<f64>) -> Partial {
    let count = found.blocks.len();
    (0..count).map(|v| (0..count).map(|w| number(v, w)).collect()).collect()
}

fn curve(found: &Geometry) -> Vec<Curve> {
    let at = |list: &[CurvePoint], d: usize| list.iter().find(|p| p.distance == d).map(|p| p.mean);
    let (c, d) = (found.curve(|v, w| found.coupling(v, w)), found.curve(|v, w| found.stable_rank(v, w)));
    let gap = found.curve(|v, w| found.gap(v, w));
    found
        .curve(|v, w| Some(found.hessian[v][w].mean))
        .iter()
        .map(|r| Curve {
            distance: r.distance,
            pairs: r.pairs,
            resonance: r.mean,
            coupling: at(&c, r.distance),
            stable_rank: at(&d, r.distance),
            gap: at(&gap, r.distance),
        })
        .collect()
}
