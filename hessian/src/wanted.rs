//! A block of which only some quantities are asked for: no eigenvalues where sums over the spectrum are enough.
//!
//! | asked for | of a dense or Gram route | else |
//! |---|---|---|
//! | trace and ‖·‖_F | sums over the assembled block, exact | from structure where that costs no more than a quadrature, exact; else Hutchinson's probes |
//! | extreme eigenvalues | all eigenvalues | pairs with residuals, no quadrature |
//! | anything else | all eigenvalues | pairs and quadrature |

use eigenlens_linalg::operator::to_dense;
use eigenlens_linalg::{Real, Stop, dense};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Objective, Part};

use crate::block::{BlockError, BlockOptions, BlockReport, Route, StageStop};
use crate::estimate::{Estimate, Quantity, pairwise_sum};
use crate::gram::{Factors, GramError};
use crate::hutchinson::{HutchinsonOptions, hutchinson};
use crate::kronecker::{Tile, assemble_tile};
use crate::layerwise::{Choice, block, choose};
use crate::noise;
use crate::operator::Block;
use crate::spectrum::Spectrum;

/// What is asked of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Trace, mean curvature and Frobenius norm.
    pub sums: bool,
    /// The largest and smallest eigenvalues, with what follows from them alone.
    pub ends: bool,
    /// The distribution of all eigenvalues; the other two come with it.
    pub density: bool,
}

impl Wanted {
    /// Everything.
    pub const ALL: Wanted = Wanted { sums: true, ends: true, density: true };

    /// Whether eigenvalues are to be found.
    pub fn eigenvalues(self) -> bool {
        self.ends || self.density
    }
}

/// How trace and ‖·‖_F are found where no eigenvalues are: the route of [`choose`] if the block is assembled; from the signed
/// columns of its structure ([`Route::Gram`]) if these cost no more work and memory than the quadrature they stand for; else by
/// probes ([`Route::Hutchinson`]).
pub fn sums_route(choice: &Choice, p: usize, options: &BlockOptions) -> Route {
    let products = (options.slq.probes * options.slq.steps.min(p)) as f64;
    let affordable = |g: &crate::gram::Estimate| {
        g.work <= products * choice.estimate.products / p as f64 && g.bytes <= 8.0 * products * p as f64
    };
    match choice.route {
        Route::DenseKronecker | Route::DenseProducts | Route::Zero => choice.route,
        _ if choice.gram.as_ref().is_some_and(affordable) => Route::Gram,
        _ => Route::Hutchinson,
    }
}

/// The block of one part of θ with what is wanted of it: [`block`](fn@block) where that is the distribution, less work else.
///
/// # Errors
/// As [`block`](fn@block).
/// # Panics
/// As [`block`](fn@block), or if nothing is wanted.
#[track_caller]
pub fn wanted<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    kind: Kind,
    options: &BlockOptions,
    wanted: Wanted,
) -> Result<BlockReport, BlockError> {
    assert!(wanted.sums || wanted.eigenvalues(), "nothing is wanted of block {:?}", part.name);
    if wanted.density {
        return block(objective, part, kind, options);
    }
    if !wanted.ends {
        return sums(objective, part, kind, options);
    }
    let mut pairs = *options;
    pairs.slq.probes = 0;
    let mut report = block(objective, part, kind, &pairs)?;
    if wanted.sums && report.route == Route::Krylov {
        let more = sums(objective, part, kind, options)?;
        more.quantities.into_iter().for_each(|q| report.replace(q));
        report.products += more.products;
        report.stops.extend(more.stops);
    }
    Ok(report)
}

/// Trace, mean curvature and Frobenius norm alone, without any eigenvalue; the report's spectrum is empty.
///
/// Cost: by [`sums_route`] the assembly, the columns and their Gram matrix row by row, or `options.slq.probes` products.
fn sums<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    kind: Kind,
    options: &BlockOptions,
) -> Result<BlockReport, BlockError> {
    let (name, p) = (part.name.clone(), part.len());
    if p == 0 {
        return Err(BlockError::Empty { block: name });
    }
    let exact = |mean: f64| Estimate { mean, sem: 0.0, samples: 0 };
    let own = Block::part(objective, part, kind);
    let tile = Tile::of(objective.model(), part);
    let route = sums_route(&choose(objective, part, kind, options), p, options);
    let (mut products, mut stops, mut asymmetry) = (0, Vec::new(), None);
    let (trace, square, route) = match (route, tile) {
        (Route::Zero, _) => (exact(0.0), exact(0.0), route),
        (Route::DenseKronecker | Route::DenseProducts, tile) => {
            let tile = tile.filter(|_| route == Route::DenseKronecker);
            products = if tile.is_none() { p } else { 0 };
            let entries = tile.map_or_else(|| to_dense(&own), |tile| assemble_tile(objective, &tile, kind));
            asymmetry = Some(dense::asymmetry(p, &entries).relative);
            let trace = pairwise_sum(p, |i| entries[i * p + i]);
            (exact(trace), exact(pairwise_sum(p * p, |i| entries[i] * entries[i])), route)
        }
        (Route::Gram, Some(tile)) => {
            let factors = Factors::new(objective, &tile, kind).map_err(GramError::from);
            match factors {
                Ok(f) => (exact(f.trace()), exact(f.frobenius_squared()), route),
                Err(GramError::Dense(source)) => return Err(BlockError::Dense { block: name, source }),
                Err(GramError::Penalty(_)) => unreachable!("only eigenvalues ask for a penalty that is a shift"),
            }
        }
        _ => {
            let (probes, seed) = (options.slq.probes.max(2), options.slq.seed);
            let h = hutchinson(&own, &HutchinsonOptions { probes, seed, ..HutchinsonOptions::default() });
            products = h.products;
            stops.push(StageStop { stage: "trace", stop: h.stop });
            if h.stop == Stop::NonFinite {
                return Err(BlockError::Iteration { block: name, stage: "trace", stop: h.stop });
            }
            (h.trace, h.frobenius_squared, Route::Hutchinson)
        }
    };
    if !(trace.mean.is_finite() && square.mean.is_finite()) {
        return Err(BlockError::Iteration { block: name, stage: "trace", stop: Stop::NonFinite });
    }
    let largest = square.mean.max(0.0).sqrt();
    let (trace, square) = match noise::is_rounding(objective, part, kind, largest) {
        true => (exact(0.0), exact(0.0)),
        false => (trace, square),
    };
    let quantity =
        |name, e: Estimate| Quantity { name, value: e.mean, uncertainty: (e.samples > 0).then(|| e.uncertainty()) };
    let norm = square.mean.max(0.0).sqrt();
    // δ√s = δs / 2√s.
    let sem = if norm == 0.0 { 0.0 } else { square.sem / (2.0 * norm) };
    Ok(BlockReport {
        name,
        parameters: p,
        route,
        spectrum: Spectrum::Quadrature { dim: p, probes: Vec::new(), top: Vec::new(), bottom: Vec::new() },
        quantities: vec![
            quantity("trace", trace),
            quantity("mean_curvature", trace.scaled(1.0 / p as f64)),
            quantity("frobenius", Estimate { mean: norm, sem, samples: square.samples }),
        ],
        stops,
        pairs: None,
        leading: None,
        products,
        asymmetry,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, cases, linearized};

    const SUMS: Wanted = Wanted { sums: true, ends: false, density: false };

    #[test]
    fn sums_without_eigenvalues_are_those_of_all_eigenvalues() {
        let beyond = |probes: usize, steps: usize| {
            let mut options = BlockOptions { exact_max: 0, ..BlockOptions::default() };
            (options.slq.probes, options.slq.steps) = (probes, steps);
            options
        };
        let mut seen = Vec::new();
        for Case { name, model, samples } in cases() {
            let objective = linearized(&model, &samples);
            for part in model.layer_blocks() {
                let truth = block(&objective, &part, Kind::Hessian, &BlockOptions::default()).unwrap();
                // Assembled; in the place of a quadrature that would cost more than the columns; of one that would not.
                for options in [BlockOptions::default(), beyond(400, 1000), beyond(60, 1)] {
                    let found = wanted(&objective, &part, Kind::Hessian, &options, SUMS).unwrap();
                    assert!(found.spectrum.largest(0).is_none());
                    for key in ["trace", "mean_curvature", "frobenius"] {
                        let (a, b) = (found.get(key).unwrap(), truth.value(key).unwrap());
                        let rounding = 1e-11 * truth.value("nuclear").unwrap();
                        let error = a.uncertainty.map_or(0.0, |u| 5.0 * u.size()) + rounding;
                        assert!((a.value - b).abs() <= error, "{name}, {}: {key} {a:?} and {b}", part.name);
                        assert_eq!(a.uncertainty.is_some(), found.route == Route::Hutchinson);
                    }
                    seen.push(found.route);
                }
            }
        }
        for route in [Route::DenseKronecker, Route::Gram, Route::Hutchinson] {
            assert!(seen.contains(&route), "{route:?} was never taken");
        }
    }

    #[test]
    fn ends_alone_take_no_quadrature() {
        let Case { model, samples, .. } = cases().swap_remove(0);
        let objective = linearized(&model, &samples);
        let options = BlockOptions { exact_max: 0, top: 3, bottom: 1, ..BlockOptions::default() };
        let part = &model.layer_blocks()[0];
        let all = block(&objective, part, Kind::Hessian, &options).unwrap();
        for sums in [false, true] {
            let what = Wanted { sums, ends: true, density: false };
            let found = wanted(&objective, part, Kind::Hessian, &options, what).unwrap();
            assert_eq!((found.get("trace").is_some(), found.get("entropy")), (sums, None));
            let (a, b) = (found.value("lambda_max").unwrap(), all.value("lambda_max").unwrap());
            assert!((a - b).abs() <= 1e-7 * b.abs() && found.products < all.products, "{a} and {b}");
        }
    }
}
