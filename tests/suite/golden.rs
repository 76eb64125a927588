//! The engine against curvature that JAX and PyTorch agree on (`tests/golden`): loss, gradient, products, blocks, spectra
//! and Lanczos coefficients, through the matrix-free products of the objective.
//!
//! Tolerances are the README's, relative to the largest entry or eigenvalue: 1e-12 in f64, which is 4,500 ε, for sums of
//! a few hundred samples in another order and the rounding of the reference itself.

use std::ops::Range;

use eigenlens_autodiff::{NodeId, Order, Plan};
use eigenlens_linalg::lanczos::{Options, lanczos};
use eigenlens_linalg::operator::to_dense;
use eigenlens_linalg::{LinearOperator, Real, dense};
use eigenlens_nets::Model;
use eigenlens_nets::objective::{Cut, Kind, Objective, Reduction, Samples};
use eigenlens_nets::spec::{Loss, ModelSpec, Penalty, Scope};

use crate::golden_arch;
use crate::golden_data::{self as data, CASES, Case, Labels, LossKind, Matrix, load};

const RELATIVE: f64 = 1e-12;

/// Three to five shards in two groups, so that sums over shards are part of every comparison.
const CUT: Cut = Cut { rows: Some(100), groups: Some(2) };

fn spec(case: &Case) -> ModelSpec {
    let loss = match case.loss.kind {
        LossKind::SoftmaxCrossEntropy => Loss::CrossEntropy,
        LossKind::BceWithLogits => Loss::Bce,
        LossKind::Mse => Loss::Mse,
    };
    let scope = if case.loss.l2_on_weights { Scope::Weights } else { Scope::All };
    let penalty = (case.loss.l2 != 0.0).then_some(Penalty { lambda: case.loss.l2, scope });
    ModelSpec { penalty, ..ModelSpec::new(&case.input, golden_arch::layers(&case.ops), loss) }
}

fn samples(case: &Case) -> Samples {
    let y = match &case.y {
        Labels::Classes(y) => y.iter().map(|c| *c as f64).collect(),
        Labels::Values(y) => y.clone(),
    };
    Samples { n: case.x.rows, x: case.x.data.clone(), y, w: vec![] }
}

fn model<T: Real>(case: &Case) -> Model<T> {
    Model::new(&spec(case)).unwrap()
}

/// The objective at the golden θ.
fn objective<'m, T: Real>(case: &Case, model: &'m Model<T>, cut: Cut) -> Objective<'m, T> {
    let theta: Vec<T> = case.theta.iter().map(|x| T::from_f64(*x)).collect();
    let reduction = if case.loss.mean { Reduction::Mean } else { Reduction::Sum };
    let mut objective = Objective::new(model, &samples(case), reduction, Order::Second, cut).unwrap();
    let named = |name: &String| case.buffers.iter().find(|b| b.0 == *name).expect("the case has the buffer").1.clone();
    objective.set_buffers(&model.buffers().iter().map(|b| named(&b.name)).collect::<Vec<_>>());
    objective.linearize_with_gradient(&theta);
    objective
}

/// A symmetric block of the curvature through its products.
struct Block<'a, T: Real> {
    objective: &'a Objective<'a, T>,
    plan: Plan,
    n: usize,
}

impl<'a, T: Real> Block<'a, T> {
    fn whole(objective: &'a Objective<'a, T>, kind: Kind) -> Self {
        Self::new(objective, objective.model().graph().params(), objective.model().len(), kind)
    }

    fn layer(objective: &'a Objective<'a, T>, layer: usize, kind: Kind) -> Self {
        let layer = &objective.model().layers()[layer];
        Self::new(objective, &layer.params, layer.len(), kind)
    }

    fn new(objective: &'a Objective<'a, T>, params: &[NodeId], n: usize, kind: Kind) -> Self {
        Block { objective, plan: objective.plan(params, params, kind).unwrap(), n }
    }
}

impl<T: Real> LinearOperator for Block<'_, T> {
    fn dim(&self) -> usize {
        self.n
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        self.objective.product(&self.plan, k, x, y);
    }

    fn lanes(&self) -> usize {
        8
    }
}

fn product(a: &dyn LinearOperator, lanes: usize, x: &[f64]) -> Vec<f64> {
    let mut y = vec![f64::NAN; x.len()];
    a.apply(lanes, x, &mut y);
    y
}

/// The rows of `m`, restricted to these columns.
fn columns(m: &Matrix, range: Range<usize>) -> Vec<f64> {
    (0..m.rows).flat_map(|i| &m.row(i)[range.clone()]).copied().collect()
}

fn largest(a: &[f64]) -> f64 {
    a.iter().fold(0.0, |m, x| m.max(x.abs()))
}

/// Every entry within `relative` of the largest expected entry.
#[track_caller]
fn assert_close(what: &str, found: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = largest(expected);
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        let error = (a - b).abs() / size;
        // Written so that NaN fails.
        assert!(error <= relative, "{what}, entry {i}: {a:e}, expected {b:e}: off by {error:.1e} of the largest");
    }
}

#[track_caller]
fn assert_number(what: &str, found: f64, expected: f64, relative: f64) {
    assert_close(what, &[found], &[expected], relative);
}

fn frobenius(a: &[f64]) -> f64 {
    a.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn trace(n: usize, a: &[f64]) -> f64 {
    (0..n).map(|i| a[i * n + i]).sum()
}

#[test]
fn the_flat_vector_has_the_golden_order() {
    for case in CASES.map(load) {
        let model = model::<f64>(&case);
        let tensors = model.tensors().iter().map(|t| (&t.name, &t.shape, &t.range));
        assert!(tensors.eq(case.parameters.iter().map(|p| (&p.name, &p.shape, &p.range))), "{}", case.name);
        let layers = model.layers().iter().map(|l| (&l.name, &l.range));
        assert!(layers.eq(case.layers.iter().map(|l| (&l.name, &l.range))), "{}", case.name);
    }
}

#[test]
fn outputs_agree() {
    for case in CASES.map(load) {
        let model = model::<f64>(&case);
        let objective = objective(&case, &model, CUT);
        let outputs = (0..objective.shards()).flat_map(|i| objective.shard(i).0.value(model.logits()).to_vec());
        assert_close(case.name, &outputs.collect::<Vec<_>>(), &case.outputs.data, RELATIVE);
    }
}

#[test]
fn loss_and_gradient_agree_however_the_samples_are_cut() {
    for case in CASES.map(load) {
        let model = model::<f64>(&case);
        for cut in [CUT, Cut::default(), Cut { rows: Some(7), groups: Some(3) }] {
            let objective = objective(&case, &model, cut);
            assert_number(case.name, objective.loss(), case.loss_value, RELATIVE);
            assert_close(case.name, objective.gradient(), &case.grad, RELATIVE);
            assert_number(case.name, frobenius(objective.gradient()), case.grad_norm, RELATIVE);
        }
    }
}

#[test]
fn hessian_and_gauss_newton_products_agree_alone_and_in_lanes() {
    for case in CASES.map(load) {
        let model = model::<f64>(&case);
        let objective = objective(&case, &model, CUT);
        for (kind, expected) in [(Kind::Hessian, &case.hvp), (Kind::GaussNewton, &case.ggnvp)] {
            let whole = Block::whole(&objective, kind);
            let what = format!("{} {kind:?}", case.name);
            assert_close(&what, &product(&whole, 4, &case.vectors.data), &expected.data, RELATIVE);
            for k in 0..4 {
                assert_close(&what, &product(&whole, 1, case.vectors.row(k)), expected.row(k), RELATIVE);
            }
        }
    }
}

#[test]
fn f32_products_agree_on_the_smooth_cases() {
    // The README's 1e-4, which is 840 ε of f32; a ReLU near its kink may flip in f32.
    for case in
        CASES.map(load).into_iter().filter(|case| !["relu", "resnet"].iter().any(|kinked| case.name.contains(kinked)))
    {
        let model = model::<f32>(&case);
        let objective = objective(&case, &model, CUT);
        assert_number(case.name, objective.loss(), case.loss_value, 1e-4);
        assert_close(case.name, objective.gradient(), &case.grad, 1e-4);
        for (kind, expected) in [(Kind::Hessian, &case.hvp), (Kind::GaussNewton, &case.ggnvp)] {
            let found = product(&Block::whole(&objective, kind), 4, &case.vectors.data);
            for k in 0..4 {
                let p = case.theta.len();
                assert_close(&format!("{} {kind:?}", case.name), &found[k * p..(k + 1) * p], expected.row(k), 1e-4);
            }
        }
    }
}

#[test]
fn the_full_hessian_its_spectrum_and_its_blocks_agree() {
    for case in CASES.map(load) {
        let Some(expected) = &case.hessian else { continue };
        let model = model::<f64>(&case);
        let objective = objective(&case, &model, CUT);
        let n = case.theta.len();

        let hessian = to_dense(&Block::whole(&objective, Kind::Hessian));
        assert_close(case.name, &hessian, &expected.data, RELATIVE);
        assert_close(case.name, &dense::eigenvalues(n, &hessian).unwrap(), &case.hessian_eigs, RELATIVE);
        assert_number(case.name, trace(n, &hessian), case.trace, RELATIVE);
        assert_number(case.name, frobenius(&hessian), case.frobenius, RELATIVE);

        let ggn = to_dense(&Block::whole(&objective, Kind::GaussNewton));
        assert_close(case.name, &dense::eigenvalues(n, &ggn).unwrap(), &case.ggn_eigs, RELATIVE);
        assert_number(case.name, trace(n, &ggn), case.ggn_trace, RELATIVE);
        assert_number(case.name, frobenius(&ggn), case.ggn_frobenius, RELATIVE);

        for (matrix, norms) in [(hessian, &case.block_norms), (ggn, &case.ggn_block_norms)] {
            let matrix = Matrix { rows: n, cols: n, data: matrix };
            let block = |(i, j): (&data::Layer, &data::Layer)| {
                let entries = i.range.clone().flat_map(|row| &matrix.row(row)[j.range.clone()]);
                entries.map(|x| x * x).sum::<f64>().sqrt()
            };
            let pairs = case.layers.iter().flat_map(|i| case.layers.iter().map(move |j| (i, j)));
            assert_close(case.name, &pairs.map(block).collect::<Vec<_>>(), &norms.data, RELATIVE);
        }
    }
}

/// Dense block, spectrum, trace and norms of one layer, for H and G.
fn assert_layer(case: &Case, index: usize) {
    let (model, layer) = (model::<f64>(case), &case.layers[index]);
    let objective = objective(case, &model, CUT);
    let (n, what) = (layer.range.len(), format!("{} {}", case.name, layer.name));

    let block = to_dense(&Block::layer(&objective, index, Kind::Hessian));
    if let Some(expected) = &layer.block {
        assert_close(&what, &block, &expected.data, RELATIVE);
    }
    if let Some(sample) = &layer.sample {
        let diagonal: Vec<f64> = (0..n).map(|i| block[i * n + i]).collect();
        assert_close(&what, &diagonal, &sample.diagonal, RELATIVE);
        let rows: Vec<f64> = sample.indices.iter().flat_map(|i| &block[i * n..(i + 1) * n]).copied().collect();
        assert_close(&what, &rows, &sample.rows.data, RELATIVE);
    }
    let eigs = dense::eigenvalues(n, &block).unwrap();
    assert_close(&what, &eigs, &layer.eigs, RELATIVE);
    assert_close(&what, &[eigs[0], eigs[n - 1]], &[layer.lambda_min, layer.lambda_max], RELATIVE);
    assert_number(&what, trace(n, &block), layer.trace, RELATIVE);
    assert_number(&what, frobenius(&block), layer.frobenius, RELATIVE);

    let ggn = to_dense(&Block::layer(&objective, index, Kind::GaussNewton));
    let eigs = dense::eigenvalues(n, &ggn).unwrap();
    assert_close(&what, &eigs, &layer.ggn_eigs, RELATIVE);
    assert_number(&what, eigs[n - 1], layer.ggn_lambda_max, RELATIVE);
    assert_number(&what, trace(n, &ggn), layer.ggn_trace, RELATIVE);
    assert_number(&what, frobenius(&ggn), layer.ggn_frobenius, RELATIVE);
}

#[test]
fn every_layer_block_and_spectrum_of_the_smooth_cases_agrees() {
    for case in
        CASES.map(load).into_iter().filter(|case| !["relu", "resnet"].iter().any(|kinked| case.name.contains(kinked)))
    {
        (0..case.layers.len()).for_each(|layer| assert_layer(&case, layer));
    }
}

#[test]
fn the_last_two_layer_blocks_of_the_relu_case_agree() {
    let case = load("digits_mlp_relu_ce");
    (1..3).for_each(|layer| assert_layer(&case, layer));
}

#[test]
fn the_first_layer_block_of_the_relu_case_agrees() {
    assert_layer(&load("digits_mlp_relu_ce"), 0);
}

#[test]
fn blocks_between_layers_have_the_golden_norms() {
    for case in CASES.map(load) {
        let model = model::<f64>(&case);
        let objective = objective(&case, &model, CUT);
        for (kind, norms) in [(Kind::Hessian, &case.block_norms), (Kind::GaussNewton, &case.ggn_block_norms)] {
            for (j, from) in model.layers().iter().enumerate() {
                for (i, to) in model.layers()[..j].iter().enumerate() {
                    let plan = objective.plan(&from.params, &to.params, kind).unwrap();
                    let norm = norm_by_columns(&objective, &plan, from.len(), to.len());
                    let what = format!("{} {kind:?} {} from {}", case.name, to.name, from.name);
                    assert_number(&what, norm, norms.row(i)[j], RELATIVE);
                    assert_number(&what, norm, norms.row(j)[i], RELATIVE);
                }
            }
        }
    }
}

/// Frobenius norm of a block of shape (rows, cols), eight columns at a time.
fn norm_by_columns(objective: &Objective<'_, f64>, plan: &Plan, cols: usize, rows: usize) -> f64 {
    const LANES: usize = 8;
    let (mut x, mut y, mut sum) = (vec![0.0; LANES * cols], vec![0.0; LANES * rows], 0.0);
    for start in (0..cols).step_by(LANES) {
        let lanes = LANES.min(cols - start);
        x.fill(0.0);
        (0..lanes).for_each(|k| x[k * cols + start + k] = 1.0);
        objective.product(plan, lanes, &x[..lanes * cols], &mut y[..lanes * rows]);
        sum += y[..lanes * rows].iter().map(|y| y * y).sum::<f64>();
    }
    sum.sqrt()
}

#[test]
fn the_ends_of_the_large_spectrum_agree_through_lanczos() {
    let case = load("digits_mlp_relu_ce");
    let model = model::<f64>(&case);
    let objective = objective(&case, &model, CUT);
    let ends = |kind| {
        let run = lanczos(&Block::whole(&objective, kind), case.vectors.row(0), &Options::steps(150));
        let ritz = run.tridiagonal().eigenvalues().unwrap();
        (ritz[0], ritz[ritz.len() - 1])
    };
    let p = case.theta.len();
    let (low, high) = ends(Kind::Hessian);
    assert_close("H", &[low, high], &[case.hessian_eigs[0], case.hessian_eigs[p - 1]], RELATIVE);
    // The low end of G is a null space, which Ritz values approach from above and never pass.
    let (low, high) = ends(Kind::GaussNewton);
    assert_number("G", high, case.ggn_eigs[p - 1], RELATIVE);
    assert!(low >= -RELATIVE * high, "{low:e}");
}

#[test]
fn products_of_single_layers_agree() {
    for case in CASES.map(load) {
        let model = model::<f64>(&case);
        let objective = objective(&case, &model, CUT);
        for (i, layer) in case.layers.iter().enumerate() {
            let x = columns(&case.vectors, layer.range.clone());
            let found = product(&Block::layer(&objective, i, Kind::Hessian), 4, &x);
            let expected = match (&layer.sample, &layer.block) {
                (Some(sample), _) => sample.products.data.clone(),
                (None, Some(block)) => x.chunks_exact(block.cols).flat_map(|v| block.times(v)).collect(),
                (None, None) => unreachable!("the reader's tests see to it"),
            };
            assert_close(&format!("{} {}", case.name, layer.name), &found, &expected, RELATIVE);
        }
    }
}

/// α and β of as many steps as the golden run made: 1e-10 of ‖T‖ for the first six, 1e-8 later, where rounding has been
/// amplified by ‖A‖/β.
fn assert_lanczos(what: &str, a: &dyn LinearOperator, start: &[f64], expected: &data::Lanczos) {
    let run = lanczos(a, start, &Options::steps(expected.alpha.len()));
    let t = run.tridiagonal();
    assert_eq!(t.alpha.len(), expected.alpha.len(), "{what}: {:?}", run.stop());
    let beta: Vec<f64> = t.beta.iter().copied().chain([run.beta()]).collect();
    let size = largest(&expected.alpha).max(largest(&expected.beta));
    for (name, found, expected) in [("alpha", &t.alpha, &expected.alpha), ("beta", &beta, &expected.beta)] {
        for (j, (a, b)) in found.iter().zip(expected).enumerate() {
            let tolerance = if j < 6 { 1e-10 } else { 1e-8 };
            assert!((a - b).abs() <= tolerance * size, "{what}: {name}[{j}] is {a:e}, expected {b:e}");
        }
    }
}

#[test]
fn lanczos_coefficients_agree_for_the_network_and_every_layer() {
    for case in CASES.map(load) {
        let model = model::<f64>(&case);
        let objective = objective(&case, &model, CUT);
        let start = case.vectors.row(0);
        assert_lanczos(case.name, &Block::whole(&objective, Kind::Hessian), start, &case.lanczos);
        for (i, layer) in case.layers.iter().enumerate() {
            let block = Block::layer(&objective, i, Kind::Hessian);
            let what = format!("{} {}", case.name, layer.name);
            assert_lanczos(&what, &block, &start[layer.range.clone()], &layer.lanczos);
        }
    }
}
