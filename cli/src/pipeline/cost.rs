//! What a run would compute and what that costs: bytes and operations by count, seconds from trials on this machine.
//!
//! Before a run (`--dry-run`) for each block three products are timed, in a run one, of one column and of as many columns as go together, at the starting point of the
//! training; the middle one counts. One eigenvalue problem of moderate order says how fast those are. The rest is proportion:
//!
//! | work | operations | at the rate of |
//! |---|---|---|
//! | Kronecker assembly | `Estimate::kronecker` multiply-adds | products of several columns |
//! | p products | p | products of several columns |
//! | eigenvalues of a dense block | 4/3 p³ | the eigenvalue problem |
//! | Gram matrix and its eigenvalues | `gram::Estimate` | products of one column; the eigenvalue problem |
//! | quadrature | probes · steps products, and 4 p steps² per probe to orthogonalise | products of several columns; the bandwidth of memory |
//! | trace and norm alone | probes | products of several columns |
//! | pairs | [`PAIR_PRODUCTS`] | products of one column |
//! | Φ | probes per block, or P | products from a block to all parameters |
//! | between results | `geometry`'s directions | the same with two probes per block |

use std::collections::BTreeMap;
use std::time::Instant;

use eigenlens_autodiff::Order;
use eigenlens_hessian::block::{BlockOptions, Route};
use eigenlens_hessian::coupling::{OffDiagonal, steps_for};
use eigenlens_hessian::curvature::Curvature;
use eigenlens_hessian::geometry::{GeometryOptions, geometry};
use eigenlens_hessian::layerwise::Choice;
use eigenlens_hessian::local::Local;
use eigenlens_hessian::operator::Block;
use eigenlens_hessian::wanted::{Wanted, sums_route};
use eigenlens_linalg::reduce::dot;
use eigenlens_linalg::{LinearOperator, Real, dense};
use eigenlens_nets::objective::{Cut, Kind, Reduction};
use eigenlens_nets::{Model, Objective, Part};

use super::curvature::{Parts, between, block_options, parts, reduced, refusal};
use super::interlayer::results;
use super::memory;
use super::setup::{Setup, failure, setup};
use super::{Plan, PlannedLayer, PlannedPairs, PlannedStage, weights};
use crate::config::{Config, Precision};
use crate::error::Result;
use crate::progress::Progress;
use crate::results::Cost;
use crate::selection::Selection;

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
    setup.trainable(config, &Model::<f64>::new(&setup.spec).map_err(failure)?)?;
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
    let selection = Selection(&config.spectra.quantities);
    let mut rates = Rates { trials: 3, ..Rates::new(curvature, &options, selection.wanted()) };
    let (mut layers, mut phi_seconds, mut phi_products) = (Vec::new(), 0.0, 0);
    let phi = between(config, all.len());
    let network = Part::network(&model);
    for part in &parts {
        layers.push(rates.planned(&objective, part, snapshots.len())?);
        phase.advance(1, &part.name);
    }
    let kind_of_phi = curvature.kind().filter(|_| selection.has("phi"));
    for (part, kind) in all.iter().flat_map(|part| kind_of_phi.map(|kind| (part, kind))) {
        let columns = phi.columns(part.len(), model.len());
        if columns > 0 {
            let block = Block::between_parts(&objective, part, &network, kind);
            phi_products += columns;
            phi_seconds += columns as f64 * rates.several(&block, columns);
        }
    }
    if phi_products > 0 && phi.steps > 0 && all.len() > 1 {
        // What lies between the blocks, at most so often.
        let products = steps_for(model.len(), phi.steps) + 1;
        phi_products += products;
        let outside = OffDiagonal::new(&objective, &all, curvature.kind().unwrap_or(Kind::Hessian));
        let (x, mut y) = (vec![1.0; model.len()], vec![0.0; model.len()]);
        phi_seconds += products as f64 * typical(rates.trials, || outside.apply(1, &x, &mut y));
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

/// What trials on this machine said, as far as it was asked.
pub struct Rates {
    curvature: Curvature,
    options: BlockOptions,
    wanted: Wanted,
    /// Trials of each kind at most.
    trials: usize,
    /// Operations per second of eigenvalue problems, by order.
    eigenvalues: BTreeMap<usize, f64>,
    /// Bytes per second.
    bandwidth: Option<f64>,
    /// What was found of a block before, by name.
    known: BTreeMap<String, Cost>,
}

impl Rates {
    /// Nothing tried yet; one trial of each kind.
    pub fn new(curvature: Curvature, options: &BlockOptions, wanted: Wanted) -> Self {
        Self {
            curvature,
            options: *options,
            wanted,
            trials: 1,
            eigenvalues: BTreeMap::new(),
            bandwidth: None,
            known: BTreeMap::new(),
        }
    }

    /// What a block takes at a snapshot. Trials are made the first time that a block is asked for.
    ///
    /// # Errors
    /// A part that has no such curvature.
    pub fn of<T: Real>(&mut self, objective: &Objective<'_, T>, part: &Part) -> Result<Cost> {
        if let Some(known) = self.known.get(&part.name) {
            return Ok(*known);
        }
        let PlannedLayer { flops, bytes, seconds, .. } = self.planned(objective, part, 1)?;
        let cost = Cost { flops, bytes, seconds_predicted: seconds };
        self.known.insert(part.name.clone(), cost);
        Ok(cost)
    }

    /// The same with the route and its stages, and the time of so many snapshots.
    fn planned<T: Real>(
        &mut self,
        objective: &Objective<'_, T>,
        part: &Part,
        snapshots: usize,
    ) -> Result<PlannedLayer> {
        let choice =
            self.curvature.choose(objective.model(), objective.samples(), part, &self.options).map_err(refusal)?;
        let route = match reduced(self.curvature, self.wanted) {
            Some(_) if !self.wanted.eigenvalues() => sums_route(&choice, part.len(), &self.options),
            _ => choice.route,
        };
        let mut stages = match self.curvature {
            Curvature::Local(head) => {
                let local = Local::new(objective.model(), part, head).map_err(|e| refusal(e.into()))?;
                let own = local.objective(objective);
                let block = Block::part(&own, local.part(), Kind::Hessian);
                self.stages(&block, part, &choice, route)
            }
            // A moment of gradients costs as much as a Gauss–Newton product.
            other => {
                let block = Block::part(objective, part, other.kind().unwrap_or(Kind::GaussNewton));
                self.stages(&block, part, &choice, route)
            }
        };
        stages.iter_mut().for_each(|s| s.seconds *= snapshots as f64);
        Ok(PlannedLayer {
            name: part.name.clone(),
            kind: part.description.clone(),
            parameters: part.len(),
            route: route.as_str().to_owned(),
            // Dense routes hold the block while its eigenvalues are found, the others one thing after the other.
            bytes: stages.iter().map(|s| s.bytes).max().unwrap_or(0),
            flops: stages.iter().map(|s| s.flops).sum(),
            seconds: stages.iter().map(|s| s.seconds).sum(),
            stages,
        })
    }

    fn stages<T: Real>(
        &mut self,
        block: &Block<'_, '_, T>,
        part: &Part,
        choice: &Choice,
        route: Route,
    ) -> Vec<PlannedStage> {
        const SUMS: &str = "trace, frobenius";
        let (p, wanted) = (part.len() as f64, reduced(self.curvature, self.wanted).unwrap_or(Wanted::ALL));
        let per_product = 2.0 * choice.estimate.products / p;
        let stage = |stage: &str, gives: &str, flops: f64, bytes: f64, seconds: f64| PlannedStage {
            stage: stage.to_owned(),
            gives: gives.to_owned(),
            flops,
            bytes: bytes as u64,
            seconds,
        };
        // The eigenvalues of a dense block take about 4/3 p³ operations, on a copy.
        let dense = 4.0 / 3.0 * p.powi(3);
        let mut stages = Vec::new();
        match route {
            Route::Zero => {}
            Route::DenseKronecker | Route::DenseProducts => {
                let each = self.several(block, part.len());
                let (flops, seconds) = match route {
                    Route::DenseKronecker => {
                        let assembly = 2.0 * choice.estimate.kronecker;
                        (assembly, assembly * each / per_product)
                    }
                    _ => (p * per_product, p * each),
                };
                let bytes = choice.estimate.bytes.max(8.0 * p * p);
                stages.push(stage("assembly", SUMS, flops, bytes, seconds));
                if wanted.eigenvalues() {
                    let seconds = dense / self.eigenvalue_rate(part.len());
                    stages.push(stage("eigenvalues", "all others", dense, bytes + 8.0 * p * p, seconds));
                }
            }
            Route::Gram => {
                let gram = choice.gram.expect("the route has an estimate");
                let (work, dense) = (2.0 * gram.work, 2.0 * gram.eigenvalues);
                let seconds = work * self.several(block, 1) / per_product;
                stages.push(stage("columns", SUMS, work, gram.bytes, seconds));
                if wanted.eigenvalues() {
                    let seconds = dense / self.eigenvalue_rate(gram.order);
                    stages.push(stage("eigenvalues", "all others", dense, gram.bytes, seconds));
                }
            }
            Route::Krylov | Route::Hutchinson => {
                let (probes, one) = (self.options.slq.probes as f64, self.several(block, 1));
                let lanes = LinearOperator::lanes(block).clamp(1, self.options.slq.probes.max(1));
                let vectors = 2.0 * lanes as f64 * 8.0 * p;
                if wanted.density {
                    let steps = self.options.slq.steps.min(part.len()) as f64;
                    // Two passes of Gram–Schmidt read the basis so far three times: Σ_k 3 · 8 k p bytes. Memory decides.
                    let orthogonal = 4.0 * p * steps * steps * probes;
                    let flops = probes * steps * per_product + orthogonal;
                    let seconds = probes * steps * self.several(block, self.options.slq.probes)
                        + 12.0 * p * steps * steps * probes / self.bandwidth();
                    let bytes = memory::quadrature(&self.options, part.len());
                    stages.push(stage("quadrature", "trace, frobenius, density", flops, bytes, seconds));
                } else if wanted.sums {
                    let seconds = probes * self.several(block, self.options.slq.probes);
                    stages.push(stage("probes", SUMS, probes * per_product, vectors, seconds));
                }
                if wanted.eigenvalues() && self.options.top + self.options.bottom > 0 {
                    let (flops, bytes) = (PAIR_PRODUCTS * per_product, memory::pairs(&self.options, part.len()));
                    // Each product is made orthogonal to the basis, which is about full: it is read three times.
                    let seconds = PAIR_PRODUCTS * (one + 3.0 * bytes / self.bandwidth());
                    stages.push(stage("pairs", "extreme eigenvalues", flops, bytes, seconds));
                }
            }
        }
        stages
    }

    /// Seconds per column when as many columns go together as suit the block, of `columns` in all.
    fn several<T: Real>(&self, block: &Block<'_, '_, T>, columns: usize) -> f64 {
        let one = self.trial(block, 1);
        let lanes = LinearOperator::lanes(block).min(columns);
        // Where one column takes long there is nothing to be gained by more.
        if lanes < 2 || one * lanes as f64 > ENOUGH { one } else { self.trial(block, lanes) / lanes as f64 }
    }

    /// Seconds of a product with k columns.
    fn trial<T: Real>(&self, block: &Block<'_, '_, T>, k: usize) -> f64 {
        let (rows, columns) = block.shape();
        // What the numbers are makes no difference, as long as they are none of zero, subnormal and huge.
        let x: Vec<f64> = (0..k * columns).map(|i| if i % 3 == 0 { 1.0 } else { -1.0 }).collect();
        let mut y = vec![0.0; k * rows];
        typical(self.trials, || block.multiply(k, &x, &mut y))
    }

    /// Operations per second of an eigenvalue problem of order n, or of [`TRIAL_ORDER`] if that is less.
    fn eigenvalue_rate(&mut self, n: usize) -> f64 {
        // Orders between two powers of two have about the same rate.
        let n = n.clamp(64, TRIAL_ORDER).next_power_of_two().min(TRIAL_ORDER);
        let trials = self.trials;
        *self.eigenvalues.entry(n).or_insert_with(|| {
            // Far from diagonal, and symmetric.
            let entries: Vec<f64> = (0..n * n).map(|i| (((i / n + 1) * (i % n + 1)) as f64).sin()).collect();
            let seconds = typical(trials, || {
                std::hint::black_box(dense::eigenvalues(n, &entries)).ok();
            });
            4.0 / 3.0 * (n as f64).powi(3) / seconds
        })
    }

    /// Bytes per second at which vectors are read that fit no cache.
    fn bandwidth(&mut self) -> f64 {
        let trials = self.trials;
        *self.bandwidth.get_or_insert_with(|| {
            let (a, b) = (vec![1.0; STREAM], vec![-0.5; STREAM]);
            let seconds = typical(trials, || {
                std::hint::black_box(dot(&a, &b));
            });
            16.0 * STREAM as f64 / seconds
        })
    }
}

/// Values of each of two vectors that tell how fast memory is: 32 MB each.
const STREAM: usize = 1 << 22;

/// Seconds that a piece of work takes: the middle one of so many trials, of fewer when they take long.
fn typical(trials: usize, mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.len() < trials && (times.is_empty() || begun.elapsed().as_secs_f64() < ENOUGH) {
        let since = Instant::now();
        work();
        times.push(since.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    // A clock that did not move says: no time at all, which is as good as a nanosecond.
    times[times.len() / 2].max(1e-9)
}
