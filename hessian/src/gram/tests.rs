//! The Gram route against dense blocks from products, its error bound against cancelling columns, and its mutants.

use eigenlens_linalg::operator::to_dense;
use eigenlens_nets::init::Init;
use eigenlens_nets::spec::{Penalty, Scope};
use eigenlens_nets::{Activation, Grouping, Loss, ModelSpec, Objective};

use super::factors::Columns;
use super::*;
use crate::block::{BlockOptions, Route};
use crate::layerwise::{block, choose};
use crate::operator::Block;
use crate::testing::{Case, cases, linearized, samples};

/// Wide layers, few samples: 7·12 + 12, 12·9 + 9 and 9·3 + 3 parameters on 5 samples.
fn wide(activation: Activation, loss: Loss, penalty: Option<Penalty>) -> Case {
    let init = Init::XavierNormal { gain: 1.5 };
    let spec = ModelSpec { penalty, ..ModelSpec::mlp(&[7, 12, 9, 3], activation, init, loss) };
    let name = format!("wide {activation} {loss}");
    Case { name, model: Model::new(&spec).unwrap(), samples: samples(5, 7, 3, loss) }
}

fn all() -> Vec<Case> {
    let everything = Some(Penalty { lambda: 0.03, scope: Scope::All });
    let mut list = cases();
    for activation in [Activation::Relu, Activation::Tanh, Activation::Softplus] {
        list.push(wide(activation, Loss::CrossEntropy, None));
        list.push(wide(activation, Loss::Mse, everything));
        list.push(wide(activation, Loss::Bce, None));
    }
    list
}

/// Every part with a structure, by its dense block from products.
fn each(mut check: impl FnMut(&str, &Objective<'_, f64>, &Part, Kind, &Factors, &[f64])) {
    for Case { name, model, samples } in all() {
        let objective = linearized(&model, &samples);
        for grouping in [Grouping::Layer, Grouping::Tensor, Grouping::Neuron] {
            for part in model.blocks(&grouping).unwrap() {
                for kind in [Kind::Hessian, Kind::GaussNewton, Kind::Tensor] {
                    let factors = Factors::new(&objective, &Tile::of(&model, &part).unwrap(), kind).unwrap();
                    let dense = to_dense(&Block::part(&objective, &part, kind));
                    check(&format!("{name}, {}, {kind:?}", part.name), &objective, &part, kind, &factors, &dense);
                }
            }
        }
    }
}

/// The largest difference of two sorted lists.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// All eigenvalues, the repeated ones as well.
fn expanded(spectrum: &Spectrum) -> Vec<f64> {
    (0..spectrum.dim()).rev().map(|k| spectrum.largest(k).unwrap().value).collect()
}

#[test]
fn spectra_equal_those_of_dense_blocks_within_the_bound() {
    let (mut convex, mut signed, mut refused) = (0, 0, 0);
    each(|name, objective, part, kind, factors, dense| {
        let estimate = Estimate::of(objective.model(), objective.samples(), part, kind);
        let found = match factors.spectrum() {
            Err(GramError::Penalty("weights")) => {
                assert!(estimate.is_none());
                refused += 1;
                return;
            }
            found => found.unwrap(),
        };
        let estimate = estimate.unwrap();
        assert!(factors.order() <= estimate.order, "{name}: {} columns, {} expected", factors.order(), estimate.order);
        assert!(factors.is_positive() || !estimate.convex, "{name}");
        let want = dense::eigenvalues(part.len(), dense).unwrap();
        let norm = largest(&want);
        let error = distance(&expanded(&found.spectrum), &want);
        // The products that the dense block was made of have rounding errors of their own.
        assert!(error <= found.bound + 1e-14 * norm, "{name}: {error:e}, bound {:e}, norm {norm:e}", found.bound);
        if factors.is_positive() {
            assert!(found.bound <= 1e-13 * norm, "{name}: a bound of {:e} beside {norm:e}", found.bound);
            convex += 1;
        } else {
            signed += 1;
        }
        // A wrong sign, a lost column or a scaled one is no rounding.
        if factors.order() > 0 && norm > 0.0 {
            let mut values = expanded(&found.spectrum);
            *values.last_mut().unwrap() *= 1.0 - 1e-4;
            assert!(distance(&values, &want) > found.bound || want[want.len() - 1] < 1e-2 * norm, "{name}");
        }
    });
    assert!(convex > 100 && signed > 50 && refused > 0, "{convex} positive, {signed} signed, {refused} refused");
}

#[test]
fn traces_diagonals_norms_and_products_equal_those_of_dense_blocks() {
    each(|name, _, part, _, factors, dense| {
        let p = part.len();
        let squares: f64 = dense.iter().map(|x| x * x).sum();
        let size = squares.sqrt();
        let diagonal: Vec<f64> = (0..p).map(|i| dense[i * p + i]).collect();
        let columns = to_dense(factors);
        assert!(distance(&columns, dense) <= 1e-13 * size, "{name}");
        assert!(distance(&factors.diagonal(), &diagonal) <= 1e-13 * size, "{name}");
        assert!((factors.trace() - diagonal.iter().sum::<f64>()).abs() <= 1e-13 * p as f64 * size, "{name}");
        assert!((factors.frobenius_squared() - squares).abs() <= 1e-13 * squares, "{name}");
    });
}

#[test]
fn eigenvectors_have_the_residuals_that_their_eigenvalues_allow() {
    each(|name, objective, part, kind, factors, dense| {
        let Ok(found) = factors.eigen() else { return };
        let norm = largest(&dense::eigenvalues(part.len(), dense).unwrap());
        let own = Block::part(objective, part, kind);
        let shift = factors.shift().unwrap();
        for (&value, c) in found.values.iter().zip(found.coefficients.chunks_exact(factors.order().max(1))) {
            let (v, residual) = factors.pair(value, c);
            let mut product = vec![0.0; v.len()];
            own.multiply(1, &v, &mut product);
            let by_products = product.iter().zip(&v).map(|(b, v)| (b - value * v).powi(2)).sum::<f64>().sqrt();
            assert!((by_products - residual).abs() <= 1e-13 * norm, "{name}: {by_products:e} and {residual:e}");
            // ε ‖B‖ √(‖B‖/|λ|), for positive columns.
            let small = ((value - shift).abs() / norm).sqrt();
            if factors.is_positive() {
                assert!(residual <= 1e-13 * norm / small, "{name}, λ = {value:e}: {residual:e}");
            } else if small > 0.1 {
                assert!(residual <= 1e-7 * norm, "{name}, λ = {value:e}: {residual:e}");
            }
        }
    });
}

/// Rows of one neuron that see ẑ = (1, 0), so that B is the sum of s u uᵀ on the first coordinates.
fn of_columns(u: &[[f64; 2]], signs: &[f64]) -> Factors {
    let tile = Tile { layer: 0, units: 0..2, weight: true, bias: false };
    let columns = Columns { u: u.concat(), signs: signs.to_vec() };
    Factors::from_columns(tile, 2, [0.0; 2], vec![1.0, 0.0], vec![columns])
}

#[test]
fn the_bound_of_mixed_signs_holds_and_is_nearly_reached_where_columns_cancel() {
    let mut worst: f64 = 0.0;
    for exponent in 1..16 {
        let d = 10.0_f64.powi(-exponent);
        let factors = of_columns(&[[1.0, 0.0], [1.0, d]], &[1.0, -1.0]);
        let found = factors.spectrum().unwrap();
        // a aᵀ − (a + d e)(a + d e)ᵀ = [[0, −d], [−d, −d²]].
        let root = d * (1.0 + d * d / 4.0).sqrt();
        let want = [-root - d * d / 2.0, 0.0, 0.0, root - d * d / 2.0];
        let error = distance(&expanded(&found.spectrum), &want);
        assert!(error <= found.bound, "d = {d:e}: {error:e} above {:e}", found.bound);
        worst = worst.max(error / found.bound);
    }
    assert!(worst > 0.01, "the bound is {worst} of what happens");
    // All of one sign, the same columns lose nothing.
    let found = of_columns(&[[1.0, 0.0], [1.0, 1e-9]], &[1.0, 1.0]).spectrum().unwrap();
    assert!(found.bound < 1e-14 && distance(&expanded(&found.spectrum), &[0.0, 0.0, 5e-19, 2.0]) <= found.bound);
}

#[test]
fn a_block_without_curvature_is_zero() {
    let Case { model, .. } = wide(Activation::Relu, Loss::Mse, None);
    assert!(
        factors::penalty(&model, &Tile::layer(&model, 0), Kind::Hessian).iter().all(|l| l.to_bits() == 0),
        "0, not -0"
    );
    let found = of_columns(&[], &[]).spectrum().unwrap();
    assert_eq!(found.spectrum, Spectrum::exact_with(vec![], Repeated { value: 0.0, count: 4 }));
    assert_eq!(of_columns(&[], &[]).frobenius_squared(), 0.0);
    assert_eq!(of_columns(&[], &[]).eigen().unwrap().values, [] as [f64; 0]);
}

#[test]
fn nan_is_an_error() {
    assert!(matches!(of_columns(&[[f64::NAN, 1.0]], &[1.0]).spectrum(), Err(GramError::Dense(_))));
}

#[test]
fn wide_layers_beyond_the_limit_take_the_route_and_agree() {
    let mut taken = 0;
    for loss in [Loss::CrossEntropy, Loss::Bce, Loss::Mse] {
        for activation in [Activation::Relu, Activation::Tanh] {
            let Case { name, model, samples } = wide(activation, loss, None);
            let objective = linearized(&model, &samples);
            for part in model.layer_blocks() {
                let options = BlockOptions { exact_max: 20, ..BlockOptions::default() };
                let choice = choose(&objective, &part, Kind::Hessian, &options);
                let report = block(&objective, &part, Kind::Hessian, &options).unwrap();
                assert_eq!(report.route, choice.route, "{name}, {}", part.name);
                if report.route == Route::Gram {
                    let exact = block(&objective, &part, Kind::Hessian, &BlockOptions::default()).unwrap();
                    // Quantities that depend on the rounding of zeros in the dense block differ.
                    for key in ["trace", "lambda_max", "frobenius", "nuclear", "rank_numerical", "entropy", "gini"] {
                        let (a, b) = (report.value(key).unwrap(), exact.value(key).unwrap());
                        assert!((a - b).abs() <= 1e-11 * b.abs(), "{name}, {}, {key}: {a} and {b}", part.name);
                    }
                    assert_eq!(report.value("negative_mass"), Some(0.0));
                    taken += 1;
                }
            }
        }
    }
    assert!(taken >= 6, "{taken}");
}

#[test]
fn spectra_are_the_same_bits_for_any_number_of_threads() {
    let Case { model, samples, .. } = wide(Activation::Relu, Loss::CrossEntropy, None);
    let objective = linearized(&model, &samples);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let factors = Factors::new(&objective, &Tile::layer(&model, 0), Kind::Hessian).unwrap();
            let mut y = vec![0.0; factors.dim()];
            factors.apply(1, &factors.diagonal(), &mut y);
            (factors.spectrum().unwrap(), factors.frobenius_squared(), y)
        })
    };
    assert!(run(1) == run(2));
}
