//! How the functional blocks of a network are coupled, at its weights.

use eigenlens_autodiff::Order;
use eigenlens_hessian::estimate::Estimate;
use eigenlens_hessian::geometry::{Geometry, GeometryOptions, geometry, jacobians};
use eigenlens_linalg::Real;
use eigenlens_nets::objective::{Cut, Reduction};
use eigenlens_nets::{Model, Objective};

use super::setup::{Setup, failure, setup};
use super::{memory, weights};
use crate::config::{Config, Precision};
use crate::error::{Failure, Result};
use crate::interlayer::{BlockRow, Curve, Decay, Interlayer, Mean};
use crate::progress::Progress;

/// Samples whose Jacobians are formed.
const JACOBIAN_ROWS: usize = 64;
/// Results of the widest block whose Jacobians are formed.
const JACOBIAN_WIDTH: usize = 256;

/// The maps between functional blocks of the configured network.
///
/// # Errors
/// Bad data or weights, or a curvature that is not finite.
pub fn interlayer(config: &Config, progress: &Progress) -> Result<Interlayer> {
    let setup = setup(config)?;
    setup.notes.iter().for_each(|note| progress.say(note));
    memory::check(config, &setup)?;
    match config.precision {
        Precision::F32 => of::<f32>(config, &setup, progress),
        Precision::F64 => of::<f64>(config, &setup, progress),
    }
}

fn of<T: Real>(config: &Config, setup: &Setup, progress: &Progress) -> Result<Interlayer> {
    let model = Model::<T>::new(&setup.spec).map_err(failure)?;
    let mut objective =
        Objective::new(&model, &setup.analysis.0, Reduction::Mean, Order::Second, Cut::default()).map_err(failure)?;
    let start = weights::start(config, &model)?;
    objective.set_buffers(&start.buffers);
    let phase = progress.phase("curvature between blocks", 2);
    objective.linearize(&start.theta);
    let options =
        GeometryOptions { probes: config.spectra.coupling_probes.max(2), seed: config.seed, ..Default::default() };
    let found = geometry(&objective, &options);
    phase.advance(1, "norms");
    let stretch = jacobians(&objective, JACOBIAN_ROWS, JACOBIAN_WIDTH);
    phase.advance(1, "Jacobians");
    drop(phase);
    let finite = |rows: &Vec<Vec<Estimate>>| rows.iter().flatten().all(|e| e.mean.is_finite());
    if !(finite(&found.hessian) && finite(&found.gauss_newton)) {
        let bad = (0..found.blocks.len()).find(|&v| !found.hessian[v][v].mean.is_finite()).unwrap_or(0);
        return Err(Failure::new(format!("the curvature at `{}` is not finite", found.blocks[bad].name))
            .hint("look at the weights and the data: a value is too large"));
    }
    let mean = |e: Estimate| Mean { value: e.mean, sem: (e.samples > 0).then_some(e.sem) };
    let blocks = (0..found.blocks.len())
        .map(|v| BlockRow {
            name: found.blocks[v].name.clone(),
            end: found.blocks[v].end.clone(),
            resonance: mean(found.hessian[v][v]),
            gap: found.gap(v, v),
            rho: stretch.as_ref().and_then(|s| s.rho[v]).map(mean),
        })
        .collect();
    Ok(Interlayer {
        model: config.model.describe(setup.spec.features(), setup.summary.outputs),
        over: setup.analysis.1.clone(),
        exact: found.exact,
        products: found.products,
        blocks,
        curve: curve(&found),
        decay: found.decay().map(|d| Decay { a: d.a, b: d.b, r_squared: d.r_squared }),
        lyapunov: stretch.and_then(|s| s.lyapunov).map(mean),
        distance: found.distance.clone(),
        resonance: found.hessian.iter().map(|row| row.iter().map(|e| e.mean).collect()).collect(),
        coupling: matrix(&found, |v, w| found.coupling(v, w)),
        stable_rank: found.spectral.is_some().then(|| matrix(&found, |v, w| found.stable_rank(v, w))),
        gap: matrix(&found, |v, w| found.gap(v, w)),
    })
}

fn matrix(found: &Geometry, number: impl Fn(usize, usize) -> Option<f64>) -> Vec<Vec<Option<f64>>> {
    let count = found.blocks.len();
    (0..count).map(|v| (0..count).map(|w| number(v, w)).collect()).collect()
}

fn curve(found: &Geometry) -> Vec<Curve> {
    let at = |list: &[eigenlens_hessian::geometry::CurvePoint], d: usize| {
        list.iter().find(|p| p.distance == d).map(|p| p.mean)
    };
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
