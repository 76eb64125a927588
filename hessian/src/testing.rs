//! Small networks for the tests of this crate.

use eigenlens_autodiff::Order;
use eigenlens_nets::init::Init;
use eigenlens_nets::objective::{Cut, Reduction};
use eigenlens_nets::spec::{LayerKind, LayerSpec, Penalty, Scope, Window};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec, Objective, Samples};
use proptest::prelude::ProptestConfig;
use proptest::test_runner::{FileFailurePersistence, RngSeed};

/// The same random cases each time; a failure prints the shrunken one.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(582_077_913),
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    }
}

/// A network with data.
pub struct Case {
    pub name: String,
    pub model: Model<f64>,
    pub samples: Samples,
}

/// Networks of every loss, smooth and piecewise linear, with and without bias and penalty.
pub fn cases() -> Vec<Case> {
    let init = Init::XavierNormal { gain: 1.5 };
    let mut cases = Vec::new();
    for (activation, loss) in [
        (Activation::Tanh, Loss::CrossEntropy),
        (Activation::Relu, Loss::CrossEntropy),
        (Activation::Gelu, Loss::Mse),
        (Activation::Softplus, Loss::Bce),
    ] {
        let mut spec = ModelSpec::mlp(&[4, 5, 6, 3], activation, init, loss);
        if loss == Loss::Mse
            && let LayerKind::Linear { bias, .. } = &mut spec.layers[2].kind
        {
            *bias = false;
        }
        if loss == Loss::Bce {
            spec.penalty = Some(Penalty { lambda: 0.05, scope: Scope::Weights });
        }
        let samples = samples(23, 4, 3, loss);
        cases.push(Case { name: format!("{activation} {loss}"), model: Model::new(&spec).unwrap(), samples });
    }
    cases
}

/// Convolution, norm, tokens, attention with two heads, a layer used twice, and a penalty; with data.
pub fn mixed() -> (Model<f64>, Samples) {
    let init = Init::XavierNormal { gain: 1.5 };
    let tanh = || LayerSpec::activation(Activation::Tanh);
    let layers = vec![
        LayerSpec::new("conv", LayerKind::Conv2d { channels: 4, window: Window::square(3), groups: 1, bias: true }),
        LayerSpec::new("norm", LayerKind::GroupNorm { groups: 2, eps: 1e-5 }),
        tanh(),
        LayerSpec::new("", LayerKind::Reshape(vec![4, 4])),
        LayerSpec::new("", LayerKind::Permute(vec![1, 0])),
        LayerSpec::new("position", LayerKind::Positional { length: 4 }),
        LayerSpec::new("attn", LayerKind::Attention { heads: 2, causal: false }),
        LayerSpec::linear("mix", 4, true, init),
        tanh(),
        LayerSpec::linear("again", 4, true, init).sharing("mix"),
        LayerSpec::new("", LayerKind::MeanTokens),
        LayerSpec::linear("out", 3, true, init),
    ];
    let penalty = Some(Penalty { lambda: 0.05, scope: Scope::Weights });
    let spec = ModelSpec { penalty, ..ModelSpec::new(&[1, 4, 4], layers, Loss::CrossEntropy) };
    (Model::new(&spec).unwrap(), samples(23, 16, 3, Loss::CrossEntropy))
}

/// A residual perceptron with layer norms, with data.
pub fn residual() -> (Model<f64>, Samples) {
    let init = Init::XavierNormal { gain: 1.5 };
    let layers = vec![
        LayerSpec::linear("in", 6, true, init),
        LayerSpec::new("norm1", LayerKind::LayerNorm { eps: 1e-5 }),
        LayerSpec::activation(Activation::Gelu),
        LayerSpec::linear("inner", 6, true, init),
        LayerSpec::new("sum", LayerKind::Add).reading(&["in", "inner"]),
        LayerSpec::new("norm2", LayerKind::LayerNorm { eps: 1e-5 }),
        LayerSpec::activation(Activation::Gelu),
        LayerSpec::linear("out", 3, true, init),
    ];
    let spec = ModelSpec::new(&[4], layers, Loss::CrossEntropy);
    (Model::new(&spec).unwrap(), samples(31, 4, 3, Loss::CrossEntropy))
}

/// Samples with short decimals.
pub fn samples(n: usize, inputs: usize, outputs: usize, loss: Loss) -> Samples {
    let value = |i: usize| ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0;
    let y = match loss {
        Loss::CrossEntropy => (0..n).map(|i| ((i * 7) % outputs) as f64).collect(),
        Loss::Mse => (0..n * outputs).map(|i| value(3 * i + 1)).collect(),
        Loss::Bce => (0..n * outputs).map(|i| f64::from(u8::from(i % 3 == 0))).collect(),
    };
    Samples { n, x: (0..n * inputs).map(value).collect(), y, w: Vec::new() }
}

/// The objective in several shards, linearized at the starting point of seed 3.
pub fn linearized<'m>(model: &'m Model<f64>, samples: &Samples) -> Objective<'m, f64> {
    let cut = Cut { rows: Some(9), groups: Some(2) };
    let mut objective = Objective::new(model, samples, Reduction::Mean, Order::Second, cut).unwrap();
    objective.linearize_with_gradient(&model.init(3));
    objective
}
