//! The layer-wise picture of a network at one point: every layer's block, and what it leaves out.

use eigenlens_linalg::Real;
use eigenlens_nets::Objective;
use eigenlens_nets::objective::Kind;

use crate::block::{BlockError, BlockOptions, BlockReport, Route, analyze_block};
use crate::coupling::{Coupling, CouplingOptions, coupling};
use crate::kronecker::{Estimate, assemble};
use crate::operator::Block;

/// What to compute at a point.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct LayerwiseOptions {
    /// For each block.
    pub block: BlockOptions,
    /// For Φ and the norms between blocks.
    pub coupling: CouplingOptions,
}

/// Every layer's block at one point, and the share of curvature between them.
#[derive(Clone, Debug)]
pub struct Layerwise {
    /// One report per layer, from the input on.
    pub layers: Vec<BlockReport>,
    /// Norms of all blocks and Φ.
    pub coupling: Coupling,
}

/// How a layer's block will be done, before it is: for plans and messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The route.
    pub route: Route,
    /// Multiply-adds of both exact routes, and bytes.
    pub estimate: Estimate,
}

/// The route that [`layerwise`] takes for layer `index`: exact up to `exact_max`, by the cheaper of the two exact routes.
///
/// # Panics
/// If there is no such layer.
#[track_caller]
pub fn choose<T: Real>(objective: &Objective<'_, T>, index: usize, options: &BlockOptions) -> Choice {
    let estimate = Estimate::new(objective, index);
    Choice { route: route(objective.model().layers()[index].len(), &estimate, options), estimate }
}

/// The route for a block of p parameters whose exact routes cost this much.
pub fn route(p: usize, estimate: &Estimate, options: &BlockOptions) -> Route {
    if p > options.exact_max {
        Route::Krylov
    } else if estimate.kronecker <= estimate.products {
        Route::DenseKronecker
    } else {
        Route::DenseProducts
    }
}

/// The block of one layer.
///
/// # Errors
/// NaN or infinity in the block, or an operator that is not symmetric; the error names the layer.
/// # Panics
/// If nothing was linearized with second order, or there is no such layer.
#[track_caller]
pub fn layer<T: Real>(
    objective: &Objective<'_, T>,
    index: usize,
    kind: Kind,
    options: &BlockOptions,
) -> Result<BlockReport, BlockError> {
    let name = &objective.model().layers()[index].name;
    let dense =
        (choose(objective, index, options).route == Route::DenseKronecker).then(|| assemble(objective, index, kind));
    analyze_block(name, &Block::layer(objective, index, kind), dense, options)
}

/// Every layer's block of the Hessian at the point where `objective` was linearized, and Φ beside them.
///
/// # Errors
/// As [`layer`].
pub fn layerwise<T: Real>(objective: &Objective<'_, T>, options: &LayerwiseOptions) -> Result<Layerwise, BlockError> {
    let layers = (0..objective.model().layers().len())
        .map(|index| layer(objective, index, Kind::Hessian, &options.block))
        .collect::<Result<Vec<_>, _>>()?;
    let coupling = coupling(objective, Kind::Hessian, &options.coupling);
    Ok(Layerwise { layers, coupling })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, cases, linearized};
    use eigenlens_linalg::dense;
    use eigenlens_linalg::operator::to_dense;

    #[test]
    fn traces_of_the_layers_add_up_to_the_trace_of_the_hessian() {
        for Case { name, model, samples } in cases() {
            let objective = linearized(&model, &samples);
            let all = layerwise(&objective, &LayerwiseOptions::default()).unwrap();
            let (p, full) = (model.len(), to_dense(&Block::full(&objective, Kind::Hessian)));
            let trace: f64 = (0..p).map(|i| full[i * p + i]).sum();
            let sum: f64 = all.layers.iter().map(|l| l.value("trace").unwrap()).sum();
            assert!((sum - trace).abs() <= 1e-12 * trace.abs(), "{name}: {sum} and {trace}");
        }
    }

    #[test]
    fn frobenius_norms_of_spectra_and_couplings_agree() {
        for Case { name, model, samples } in cases() {
            let objective = linearized(&model, &samples);
            let all = layerwise(&objective, &LayerwiseOptions::default()).unwrap();
            for (l, report) in all.layers.iter().enumerate() {
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
        for index in 0..model.layers().len() {
            let exact = layer(&objective, index, Kind::Hessian, &BlockOptions::default()).unwrap();
            let krylov = layer(&objective, index, Kind::Hessian, &options).unwrap();
            assert_eq!(krylov.route, Route::Krylov);
            let (a, b) = (exact.value("lambda_max").unwrap(), krylov.value("lambda_max").unwrap());
            assert!((a - b).abs() <= 1e-7 * a.abs(), "layer {index}: {a} and {b}");
        }
    }
}
