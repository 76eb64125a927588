//! Small networks for the tests of this crate.

use eigenlens_autodiff::Order;
use eigenlens_nets::init::Init;
use eigenlens_nets::objective::{Cut, Reduction};
use eigenlens_nets::spec::{LayerKind, Penalty, Scope};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec, Objective, Samples};

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
