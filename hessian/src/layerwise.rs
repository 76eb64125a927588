//! The blockwise picture of a network at one point: the block of every layer, or of any other parts of θ, and what they
//! leave out.

use eigenlens_linalg::dense::DenseError;
use eigenlens_linalg::eigs::{self, Eigs, End, eigs};
use eigenlens_linalg::{LinearOperator, Real, Stop};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Model, Objective, Part};

use crate::block::{BlockError, BlockOptions, BlockReport, Route, analyze_block};
use crate::coupling::{Coupling, CouplingOptions, coupling};
use crate::gram::{self, Factors, GramError};
use crate::kronecker::{Estimate, Tile, assemble_tile};
use crate::noise;
use crate::operator::{Block, vanishes};
use crate::slq::SlqError;
use crate::spectrum::{Repeated, Spectrum};

/// What to compute at a point.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct LayerwiseOptions {
    /// For each block.
    pub block: BlockOptions,
    /// For Φ and the norms between blocks.
    pub coupling: CouplingOptions,
}

/// Every block at one point, and the share of curvature between them.
#[derive(Clone, Debug)]
pub struct Layerwise {
    /// One report per part of θ, in their order.
    pub blocks: Vec<BlockReport>,
    /// Norms of all blocks and Φ.
    pub coupling: Coupling,
}

/// How a block will be done, before it is: for plans and messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The route.
    pub route: Route,
    /// Multiply-adds of both exact routes, and bytes.
    pub estimate: Estimate,
    /// Order, multiply-adds and bytes of the Gram route, where there is one.
    pub gram: Option<gram::Estimate>,
}

impl Choice {
    /// The route that [`block`] takes for a part of a network on so many samples: exact up to `exact_max`, by the cheaper of
    /// the two dense routes; exact beyond it where the rank is known to be no more than that; else Krylov.
    pub fn of<T: Real>(model: &Model<T>, samples: usize, part: &Part, kind: Kind, options: &BlockOptions) -> Self {
        let estimate = Estimate::of(model, samples, part);
        if !part.is_empty() && vanishes(model, part, kind) {
            return Choice { route: Route::Zero, estimate, gram: None };
        }
        let gram = gram::Estimate::of(model, samples, part, kind);
        Choice::from_costs(part.len(), estimate, gram, options)
    }

    /// The same of p parameters, from what the routes would cost.
    pub(crate) fn from_costs(
        p: usize,
        estimate: Estimate,
        gram: Option<gram::Estimate>,
        options: &BlockOptions,
    ) -> Self {
        Choice { route: route(p, &estimate, gram.as_ref(), options), estimate, gram }
    }
}

/// [`Choice::of`] a part of the objective's network.
pub fn choose<T: Real>(objective: &Objective<'_, T>, part: &Part, kind: Kind, options: &BlockOptions) -> Choice {
    Choice::of(objective.model(), objective.samples(), part, kind, options)
}

fn route(p: usize, estimate: &Estimate, gram: Option<&gram::Estimate>, options: &BlockOptions) -> Route {
    if p > options.exact_max {
        if gram.is_some_and(|g| g.order <= options.exact_max) { Route::Gram } else { Route::Krylov }
    } else if estimate.kronecker <= estimate.products {
        Route::DenseKronecker
    } else {
        Route::DenseProducts
    }
}

/// The block of one part of θ; [`Route::Zero`] where it vanishes by structure, and exactly zero where nothing but rounding is
/// left of it.
///
/// # Errors
/// NaN or infinity in the block, or an operator that is not symmetric; the error names the part.
/// # Panics
/// If nothing was linearized with second order, or the part reaches beyond θ.
#[track_caller]
pub fn block<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    kind: Kind,
    options: &BlockOptions,
) -> Result<BlockReport, BlockError> {
    let mut report = spectrum_of(objective, part, kind, options)?;
    if options.vectors > 0 && report.leading.is_none() && report.spectrum.magnitude() > 0.0 {
        let found = leading(objective, part, kind, options);
        report.products += found.products;
        report.leading = (!found.values.is_empty()).then_some(found);
    }
    Ok(report)
}

/// The largest eigenvalues of a part with their vectors, whatever route its spectrum takes: one pair more than
/// `options.vectors`, or all.
///
/// Cost: about 100 to 300 products with the block. Numbers in f32 limit the residuals to about 100 ε ‖H‖.
fn leading<T: Real>(objective: &Objective<'_, T>, part: &Part, kind: Kind, options: &BlockOptions) -> Eigs {
    let own = Block::part(objective, part, kind);
    let limits = eigs::Options::new((options.vectors + 1).min(part.len()), End::Largest);
    let tol = options.pair_tolerance.max(100.0 * T::EPSILON.to_f64());
    eigs(&own, &eigs::Options { tol, max_products: options.pair_products, seed: options.slq.seed, ..limits })
}

fn spectrum_of<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    kind: Kind,
    options: &BlockOptions,
) -> Result<BlockReport, BlockError> {
    let route = choose(objective, part, kind, options).route;
    if route == Route::Zero {
        let zeros = Spectrum::exact_with(Vec::new(), Repeated { value: 0.0, count: part.len() });
        return Ok(BlockReport::of_spectrum(&part.name, route, zeros, &options.metrics));
    }
    let own = Block::part(objective, part, kind);
    let found = by_route(objective, part, &own, kind, options, route);
    let zero = match &found {
        Err(
            BlockError::Dense { source: DenseError::NotSymmetric { .. }, .. }
            | BlockError::Slq { source: SlqError::NotSymmetric { .. }, .. }
            | BlockError::Iteration { stop: Stop::NotSymmetric, .. },
        ) => noise::beside_the_whole(objective, &own, part, kind),
        Err(_) => false,
        Ok(report) => noise::is_rounding(objective, part, kind, report.spectrum.magnitude()),
    };
    if zero { analyze_block(&part.name, &Zero(part.len()), None, options) } else { found }
}

/// The block as its route gives it.
fn by_route<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    own: &Block<'_, '_, T>,
    kind: Kind,
    options: &BlockOptions,
    route: Route,
) -> Result<BlockReport, BlockError> {
    let tile = Tile::of(objective.model(), part);
    if let (Route::Gram, Some(tile)) = (route, &tile)
        && let Some(report) = by_gram(objective, part, tile, kind, options)?
    {
        return Ok(report);
    }
    let tile = tile.filter(|_| route == Route::DenseKronecker);
    let dense = tile.map(|tile| assemble_tile(objective, &tile, kind));
    analyze_block(&part.name, own, dense, options)
}

/// The spectrum by the Gram route; `None` where columns of both signs cancel so much that its error bound exceeds what counts
/// as zero, τ |λ|_max.
fn by_gram<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    tile: &Tile,
    kind: Kind,
    options: &BlockOptions,
) -> Result<Option<BlockReport>, BlockError> {
    let found = Factors::new(objective, tile, kind).map_err(GramError::from).and_then(|f| f.spectrum());
    match found {
        Ok(found) => {
            let within = found.bound <= options.metrics.tau * found.spectrum.magnitude();
            let report = || BlockReport::of_spectrum(&part.name, Route::Gram, found.spectrum, &options.metrics);
            Ok(within.then(report))
        }
        Err(GramError::Dense(source)) => Err(BlockError::Dense { block: part.name.clone(), source }),
        Err(GramError::Penalty(_)) => Ok(None),
    }
}

/// The zero matrix.
struct Zero(usize);

impl LinearOperator for Zero {
    fn dim(&self) -> usize {
        self.0
    }

    fn apply(&self, _: usize, _: &[f64], y: &mut [f64]) {
        y.fill(0.0);
    }
}

/// The blocks of the Hessian of parts that cover θ, at the point where `objective` was linearized, and Φ beside them.
///
/// # Errors
/// As [`block`].
/// # Panics
/// As [`block`] and [`coupling`].
#[track_caller]
pub fn layerwise<T: Real>(
    objective: &Objective<'_, T>,
    parts: &[Part],
    options: &LayerwiseOptions,
) -> Result<Layerwise, BlockError> {
    let one = |part| block(objective, part, Kind::Hessian, &options.block);
    let blocks = parts.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let coupling = coupling(objective, parts, Kind::Hessian, &options.coupling);
    Ok(Layerwise { blocks, coupling })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kronecker::assemble;
    use crate::testing::{Case, cases, linearized};
    use eigenlens_linalg::dense;
    use eigenlens_linalg::operator::to_dense;

    #[test]
    fn traces_of_the_layers_add_up_to_the_trace_of_the_hessian() {
        for Case { name, model, samples } in cases() {
            let objective = linearized(&model, &samples);
            let all = layerwise(&objective, &model.layer_blocks(), &LayerwiseOptions::default()).unwrap();
            let (p, full) = (model.len(), to_dense(&Block::full(&objective, Kind::Hessian)));
            let trace: f64 = (0..p).map(|i| full[i * p + i]).sum();
            let sum: f64 = all.blocks.iter().map(|l| l.value("trace").unwrap()).sum();
            assert!((sum - trace).abs() <= 1e-12 * trace.abs(), "{name}: {sum} and {trace}");
        }
    }

    #[test]
    fn frobenius_norms_of_spectra_and_couplings_agree() {
        for Case { name, model, samples } in cases() {
            let objective = linearized(&model, &samples);
            let all = layerwise(&objective, &model.layer_blocks(), &LayerwiseOptions::default()).unwrap();
            for (l, report) in all.blocks.iter().enumerate() {
                let f = report.value("frobenius").unwrap();
                assert!((f * f - all.coupling.norms[l][l].mean).abs() <= 1e-12 * f * f, "{name}, layer {l}");
            }
        }
    }

    #[test]
    fn relu_blocks_are_positive_semidefinite_and_equal_gauss_newton() {
        let Case { model, samples, .. } = cases().swap_remove(1);
        let objective = linearized(&model, &samples);
        for index in 0..model.layers().len() {
            let h = assemble(&objective, index, Kind::Hessian);
            let g = assemble(&objective, index, Kind::GaussNewton);
            let values = dense::eigenvalues(model.layers()[index].len(), &h).unwrap();
            let top = values.last().unwrap();
            assert!(values[0] >= -1e-12 * top, "layer {index}: {}", values[0]);
            assert!(h.iter().zip(&g).all(|(h, g)| (h - g).abs() <= 1e-13 * top));
        }
    }

    #[test]
    fn a_limit_of_zero_takes_the_krylov_route_and_agrees() {
        let Case { model, samples, .. } = cases().swap_remove(0);
        let objective = linearized(&model, &samples);
        let options = BlockOptions { exact_max: 0, top: 3, bottom: 1, ..BlockOptions::default() };
        for (index, part) in model.layer_blocks().iter().enumerate() {
            let exact = block(&objective, part, Kind::Hessian, &BlockOptions::default()).unwrap();
            let krylov = block(&objective, part, Kind::Hessian, &options).unwrap();
            assert_eq!(krylov.route, Route::Krylov);
            let (a, b) = (exact.value("lambda_max").unwrap(), krylov.value("lambda_max").unwrap());
            assert!((a - b).abs() <= 1e-7 * a.abs(), "layer {index}: {a} and {b}");
        }
    }
}
