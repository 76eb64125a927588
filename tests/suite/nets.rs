//! Random and fixed networks with data, for all tests of this binary.

use std::ops::Range;

use eigenlens_autodiff::Order;
use eigenlens_hessian::operator::Block;
use eigenlens_linalg::operator::to_dense;
use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::{LinearOperator, Real};
use eigenlens_nets::init::Init;
use eigenlens_nets::objective::{Cut, Kind, Reduction};
use eigenlens_nets::spec::{LayerKind, Penalty, Scope};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec, Objective, Samples};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};

/// Every property is tried on the same random networks each time; a failure prints the shrunken one.
pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(251_017_486),
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    }
}

pub const KINDS: [Kind; 2] = [Kind::Hessian, Kind::GaussNewton];
pub const LOSSES: [Loss; 3] = [Loss::CrossEntropy, Loss::Mse, Loss::Bce];

/// A network, its data, and how the data are cut.
#[derive(Clone, Debug)]
pub struct Net {
    pub spec: ModelSpec,
    pub n: usize,
    pub cut: Cut,
    pub seed: u64,
}

impl Net {
    pub fn model<T: Real>(&self) -> Model<T> {
        Model::new(&self.spec).unwrap()
    }

    pub fn samples(&self) -> Samples {
        random_samples(&self.spec, self.n, self.seed)
    }

    pub fn theta(&self) -> Vec<f64> {
        random_theta(&self.model(), self.seed)
    }
}

/// Networks and data have seeds of their own. With those of a Krylov method, its start would be θ itself, and eigenvectors
/// that are orthogonal to θ for a reason would be missed: a repeated eigenvalue of a Gauss–Newton matrix lost a copy.
const OWN: u64 = 1 << 40;

/// Inputs of variance 1; labels, values or shares that fit the loss.
pub fn random_samples(spec: &ModelSpec, n: usize, seed: u64) -> Samples {
    let outputs = spec.outputs();
    let x = Distribution::Gaussian.probe(seed + OWN, 0, n * spec.features());
    let values =
        Distribution::Gaussian.probe(seed + OWN, 1, n * if spec.loss == Loss::CrossEntropy { 1 } else { outputs });
    let target = |v: f64| match spec.loss {
        Loss::CrossEntropy => (v.abs() * 1e6).floor() % outputs as f64,
        Loss::Mse => v,
        Loss::Bce => (0.5 + v).clamp(0.0, 1.0),
    };
    Samples { n, x, y: values.into_iter().map(target).collect(), w: vec![] }
}

/// Parameters for which results have about the variance of their inputs, biases not zero.
pub fn random_theta(model: &Model<f64>, seed: u64) -> Vec<f64> {
    let mut theta = Distribution::Gaussian.probe(seed + OWN, 2, model.len());
    for layer in model.layers() {
        // e^(e^(e^x)) needs small x to be tame.
        let exp = model.spec().layers.iter().any(|l| l.kind == LayerKind::Activation(Activation::Exp));
        let sd = if exp { 0.25 } else { 1.2 } / (layer.inputs as f64 + 1.0).sqrt();
        theta[layer.range.clone()].iter_mut().for_each(|t| *t *= sd);
    }
    theta
}

/// Every activation, with numbers that are not the defaults.
pub fn activations() -> Vec<Activation> {
    Activation::all()
        .map(|a| match a {
            Activation::LeakyRelu { .. } => Activation::LeakyRelu { slope: 0.3 },
            Activation::Elu { .. } => Activation::Elu { alpha: 0.7 },
            other => other,
        })
        .collect()
}

/// Depth 1 to 4, widths 1 to 9, every activation and loss, 1 to 40 samples, with and without biases and penalty, cut into
/// random shards and groups.
pub fn any_net() -> impl Strategy<Value = Net> {
    net_with(activations())
}

/// As [`any_net`], with one of these activations.
pub fn net_with(activations: Vec<Activation>) -> impl Strategy<Value = Net> {
    let shape = (1usize..=4).prop_flat_map(|depth| {
        (proptest::collection::vec(1usize..=9, depth + 1), proptest::collection::vec(any::<bool>(), depth))
    });
    let penalty = prop_oneof![
        2 => Just(None),
        1 => (0.0..0.5, any::<bool>()).prop_map(|(lambda, all)| {
            Some(Penalty { lambda, scope: if all { Scope::All } else { Scope::Weights } })
        }),
    ];
    let data = (1usize..=40).prop_flat_map(|n| (Just(n), 1..=n, 1usize..=5));
    (shape, proptest::sample::select(activations), proptest::sample::select(LOSSES.to_vec()), penalty, data, 0..1000u64)
        .prop_map(|((mut widths, biases), activation, loss, penalty, (n, rows, groups), seed)| {
            if loss == Loss::CrossEntropy {
                let last = widths.last_mut().expect("there are at least two widths");
                *last = (*last).max(2);
            }
            let mut spec = ModelSpec::mlp(&widths, activation, Init::Zeros, loss);
            spec.penalty = penalty;
            let linear = spec.layers.iter_mut().filter_map(|l| match &mut l.kind {
                LayerKind::Linear { bias, .. } => Some(bias),
                _ => None,
            });
            linear.zip(biases).for_each(|(bias, wanted)| *bias = wanted);
            Net { spec, n, cut: Cut { rows: Some(rows), groups: Some(groups) }, seed }
        })
}

/// An MLP of these widths with data.
pub fn mlp(widths: &[usize], activation: Activation, loss: Loss, n: usize) -> Net {
    Net { spec: ModelSpec::mlp(widths, activation, Init::Zeros, loss), n, cut: Cut::default(), seed: 7 }
}

/// The mean loss, linearized to second order with its gradient.
pub fn linearized<'m, T: Real>(model: &'m Model<T>, samples: &Samples, theta: &[f64], cut: Cut) -> Objective<'m, T> {
    let theta: Vec<T> = theta.iter().map(|&t| T::from_f64(t)).collect();
    let mut objective = Objective::new(model, samples, Reduction::Mean, Order::Second, cut).unwrap();
    objective.linearize_with_gradient(&theta);
    objective
}

/// All samples in one shard.
pub fn whole(n: usize) -> Cut {
    Cut { rows: Some(n), groups: Some(1) }
}

/// A dense H and G.
pub fn dense<T: Real>(objective: &Objective<'_, T>) -> [Vec<f64>; 2] {
    KINDS.map(|kind| to_dense(&Block::full(objective, kind)))
}

/// Rows and columns cut out of a p × p matrix.
pub fn cut_out(p: usize, a: &[f64], rows: Range<usize>, columns: Range<usize>) -> Vec<f64> {
    rows.flat_map(|i| a[i * p..][columns.clone()].iter().copied()).collect()
}

pub fn apply(a: &dyn LinearOperator, k: usize, x: &[f64]) -> Vec<f64> {
    let mut y = vec![f64::NAN; x.len()];
    a.apply(k, x, &mut y);
    y
}

pub fn largest(a: &[f64]) -> f64 {
    a.iter().fold(0.0, |m: f64, x| if x.is_nan() { f64::NAN } else { m.max(x.abs()) })
}

/// Every entry within `bound` of the other; NaN fails.
#[track_caller]
pub fn close(what: &str, found: &[f64], expected: &[f64], bound: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= bound, "{what}, entry {i}: {a:e} and {b:e} differ by more than {bound:e}");
    }
}

/// Rounding of products of these small networks (sums of at most 9 and 40 terms, a dozen in a row), relative to the
/// largest entry of H and G: 2,000 ε.
pub const ROUNDING: f64 = 2000.0 * f64::EPSILON;
