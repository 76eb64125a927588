//! What a run would compute and what that costs: bytes and operations by count, seconds from trials on this machine.
//!
//! For each block three products are timed, of one column and of as many columns as go together, at the starting point of the
//! training; the middle one counts. One eigenvalue problem of moderate order says how fast those are. The rest is proportion:
//!
//! | work | operations | at the rate of |
//! |---|---|---|
//! | Kronecker assembly | `Estimate::kronecker` multiply-adds | products of several columns |
//! | p products | p | products of several columns |
//! | eigenvalues of a dense block | 4/3 p³ | the eigenvalue problem |
//! | Gram matrix and its eigenvalues | `gram::Estimate` | products of one column; the eigenvalue problem |
//! | quadrature | probes · steps products, and 4 p steps² per probe to orthogonalise | products of several columns; the eigenvalue problem |
//! | pairs | [`PAIR_PRODUCTS`] | products of one column |
//! | Φ | probes per block, or P | products from a block to all parameters |
//! | between results | `geometry`'s directions | the same with two probes per block |

use std::time::Instant;

use eigenlens_autodiff::Order;
use eigenlens_hessian::block::{BlockOptions, Route};
use eigenlens_hessian::coupling::{OffDiagonal, steps_for};
use eigenlens_hessian::curvature::Curvature;
use eigenlens_hessian::geometry::{GeometryOptions, geometry};
use eigenlens_hessian::layerwise::Choice;
use eigenlens_hessian::local::Local;
use eigenlens_hessian::operator::Block;
use eigenlens_linalg::{LinearOperator, Real, dense};
use eigenlens_nets::objective::{Cut, Kind, Reduction};
use eigenlens_nets::{Model, Objective, Part};

use super::curvature::{Parts, between, block_options, parts, refusal};
use super::interlayer::results;
use super::memory;
use super::setup::{Setup, failure, setup};
use super::{Plan, PlannedLayer, PlannedPairs, weights};
use crate::config::{Config, Precision};
use crate::error::Result;
use crate::progress::Progress;

/// Products that the search for the pairs at both ends takes as a rule. It depends on the spectrum: a crowded end takes
/// more, at most `BlockOptions::pair_products` for each.
const PAIR_PRODUCTS: f64 = 200.0;

/// Order of the eigenvalue problem on trial, at most: from 1,536 on it uses as many threads as any, in about 0.2 s.
const TRIAL_ORDER: usize = 1536;

/// Trials end when they have taken this long, in seconds.
const ENOUGH: f64 = 0.5;

/// What a run of this config would do.
///
/// # Errors
/// Bad data.
pub fn plan(config: &Config, progress: &Progress) -> Result<Plan> {
    let setup = setup(config)?;
    memory::check(config, &setup)?;
    match config.precision {
        Precision::F32 => plan_in::<f32>(config, &setup, progress),
        Precision::F64 => plan_in::<f64>(config, &setup, progress),
    }
}

fn plan_in<T: Real>(config: &Config, setup: &Setup, progress: &Progress) -> Result<Plan> {
    let model = Model::<T>::new(&setup.spec).map_err(failure)?;
    let mut objective =
        Objective::new(&model, &setup.analysis.0, Reduction::Mean, Order::Second, Cut::default()).map_err(failure)?;
    let options = block_options(config);
    let snapshots = config.snapshots.at(config.train.epochs);
    let Parts { all, chosen: parts } = parts(config, &model)?;
    let phase = progress.phase("trials", parts.len() as u64);
    let start = weights::start(config, &model)?;
    objective.set_buffers(&start.buffers);
    objective.linearize(&start.theta);
    let curvature = config.spectra.curvature;
    let choice = |part| curvature.choose(&model, objective.samples(), part, &options).map_err(refusal);
    let choices = parts.iter().map(choice).collect::<Result<Vec<_>>>()?;
    let order = |(part, choice): (&Part, &Choice)| match choice.route {
        Route::DenseKronecker | Route::DenseProducts => Some(part.len()),
        Route::Gram => choice.gram.map(|g| g.order),
        Route::Krylov | Route::Zero => None,
    };
    let largest = parts.iter().zip(&choices).filter_map(order).max();
    let eigen_rate = eigenvalue_rate(largest.unwrap_or(TRIAL_ORDER).clamp(64, TRIAL_ORDER));
    let (mut layers, mut phi_seconds, mut phi_products) = (Vec::new(), 0.0, 0);
    let phi = between(config, all.len());
    let network = Part::network(&model);
    for (part, choice) in parts.iter().zip(&choices) {
        let count = snapshots.len();
        layers.push(match curvature {
            Curvature::Local(head) => {
                let local = Local::new(&model, part, head).map_err(|e| refusal(e.into()))?;
                let own = (&local.objective(&objective), local.part(), Kind::Hessian);
                planned(own, choice, &options, eigen_rate, count)
            }
            // A moment of gradients costs as much as a Gauss–Newton product.
            other => {
                let kind = other.kind().unwrap_or(Kind::GaussNewton);
                planned((&objective, part, kind), choice, &options, eigen_rate, count)
            }
        });
        phase.advance(1, &part.name);
    }
    for (part, kind) in all.iter().flat_map(|part| curvature.kind().map(|kind| (part, kind))) {
        let columns = phi.columns(part.len(), model.len());
        if columns > 0 {
            let block = Block::between_parts(&objective, part, &network, kind);
            phi_products += columns;
            phi_seconds += columns as f64 * several(&block, columns);
        }
    }
    if phi_products > 0 && phi.steps > 0 && all.len() > 1 {
        // What lies between the blocks, at most so often.
        let products = steps_for(model.len(), phi.steps) + 1;
        phi_products += products;
        let outside = OffDiagonal::new(&objective, &all, curvature.kind().unwrap_or(Kind::Hessian));
        let (x, mut y) = (vec![1.0; model.len()], vec![0.0; model.len()]);
        phi_seconds += products as f64 * typical(|| outside.apply(1, &x, &mut y));
    }
    Ok(Plan {
        model: config.model.describe(setup.spec.features(), setup.summary.outputs),
        directory: config.out.as_ref().map_or_else(
            || format!("runs/{}-{}", config.data.short_name(), config.hash8()),
            |out| out.display().to_string(),
        ),
        phi: (phi_products > 0)
            .then_some(PlannedPairs { products: phi_products, seconds: phi_seconds * snapshots.len() as f64 }),
        interlayer: config.interlayer.enabled.then(|| between_results(config, &objective, snapshots.len())),
        snapshots,
        layers,
    })
}

/// The maps between results, from the time of two probes per block.
fn between_results<T: Real>(config: &Config, objective: &Objective<'_, T>, snapshots: usize) -> PlannedPairs {
    let model = objective.model();
    let (all, blocks) = (results(model), model.functional().len());
    let directions = |o: GeometryOptions| {
        if all <= o.exact_max { 2 * all } else { 2 * o.probes * blocks + o.leading * blocks * blocks }
    };
    let (options, beside) = config.interlayer.options(all, config.seed);
    let products = directions(options) + beside.map_or(0, directions);
    let few = GeometryOptions { exact_max: 0, probes: 2, leading: 0, seed: 0 };
    let since = Instant::now();
    let each = geometry(objective, &few).products.max(1) as f64;
    PlannedPairs { products, seconds: since.elapsed().as_secs_f64() / each * (products * snapshots) as f64 }
}

fn planned<T: Real>(
    (objective, part, kind): (&Objective<'_, T>, &Part, Kind),
    choice: &Choice,
    options: &BlockOptions,
    eigen_rate: f64,
    snapshots: usize,
) -> PlannedLayer {
    let p = part.len() as f64;
    let block = Block::part(objective, part, kind);
    let per_product = 2.0 * choice.estimate.products / p;
    // The eigenvalues of a dense block take about 4/3 p³ operations.
    let eigenvalues = 4.0 / 3.0 * p.powi(3);
    let (flops, bytes, seconds) = match choice.route {
        Route::Zero => (0.0, 0.0, 0.0),
        Route::DenseKronecker => {
            let assembly = 2.0 * choice.estimate.kronecker;
            let rate = per_product / several(&block, part.len());
            (assembly + eigenvalues, choice.estimate.bytes, assembly / rate + eigenvalues / eigen_rate)
        }
        Route::DenseProducts => {
            let seconds = p * several(&block, part.len()) + eigenvalues / eigen_rate;
            (p * per_product + eigenvalues, 8.0 * p * p, seconds)
        }
        Route::Gram => {
            let gram = choice.gram.expect("the route has an estimate");
            let (work, eigenvalues) = (2.0 * gram.work, 2.0 * gram.eigenvalues);
            let rate = per_product / several(&block, 1);
            (work + eigenvalues, gram.bytes, work / rate + eigenvalues / eigen_rate)
        }
        Route::Krylov => {
            let (probes, steps) = (options.slq.probes as f64, options.slq.steps.min(part.len()) as f64);
            let orthogonal = 4.0 * p * steps * steps * probes;
            let seconds = probes * steps * several(&block, options.slq.probes)
                + orthogonal / eigen_rate
                + PAIR_PRODUCTS * trial(&block, 1);
            // A basis for every probe.
            ((probes * steps + PAIR_PRODUCTS) * per_product + orthogonal, 8.0 * probes * steps * p, seconds)
        }
    };
    PlannedLayer {
        name: part.name.clone(),
        kind: part.description.clone(),
        parameters: part.len(),
        route: choice.route.as_str().to_owned(),
        bytes: bytes as u64,
        flops,
        seconds: seconds * snapshots as f64,
    }
}

/// Seconds per column when as many columns go together as suit the block, of `columns` in all.
fn several<T: Real>(block: &Block<'_, '_, T>, columns: usize) -> f64 {
    let one = trial(block, 1);
    let lanes = LinearOperator::lanes(block).min(columns);
    // Where one column takes long there is nothing to be gained by more.
    if lanes < 2 || one * lanes as f64 > ENOUGH { one } else { trial(block, lanes) / lanes as f64 }
}

/// Seconds of a product with k columns.
fn trial<T: Real>(block: &Block<'_, '_, T>, k: usize) -> f64 {
    let (rows, columns) = block.shape();
    // What the numbers are makes no difference, as long as they are none of zero, subnormal and huge.
    let x: Vec<f64> = (0..k * columns).map(|i| if i % 3 == 0 { 1.0 } else { -1.0 }).collect();
    let mut y = vec![0.0; k * rows];
    typical(|| block.multiply(k, &x, &mut y))
}

/// Operations per second of the eigenvalue problem of order n.
fn eigenvalue_rate(n: usize) -> f64 {
    // Far from diagonal, and symmetric.
    let entries: Vec<f64> = (0..n * n).map(|i| (((i / n + 1) * (i % n + 1)) as f64).sin()).collect();
    let seconds = typical(|| {
        std::hint::black_box(dense::eigenvalues(n, &entries)).ok();
    });
    4.0 / 3.0 * (n as f64).powi(3) / seconds
}

/// Seconds that a piece of work takes: the middle one of three trials, of fewer when they take long.
fn typical(mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.len() < 3 && (times.is_empty() || begun.elapsed().as_secs_f64() < ENOUGH) {
        let since = Instant::now();
        work();
        times.push(since.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    // A clock that did not move says: no time at all, which is as good as a nanosecond.
    times[times.len() / 2].max(1e-9)
}
