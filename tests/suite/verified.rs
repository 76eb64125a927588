//! `verify` on networks that were trained on real data, which is where users run it.

use eigenlens_hessian::verify::{VerifyOptions, verify};
use eigenlens_nets::data::{Scaling, Source, Standardizer, Task, load};
use eigenlens_nets::init::Init;
use eigenlens_nets::optim::{Adam, Optimizer};
use eigenlens_nets::schedule::Schedule;
use eigenlens_nets::spec::{Penalty, Scope};
use eigenlens_nets::train::{Next, TrainOptions, train};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec, Samples};
use proptest::prelude::*;

use crate::nets::{any_net, config};

/// Trains on a built-in data set until the loss is small, and verifies at the beginning and at the end.
fn trained(name: &str, activation: Activation, loss: Loss, hidden: &[usize], penalty: Option<Penalty>) {
    let data = load(&Source::Builtin(name.into())).unwrap();
    let rows: Vec<usize> = (0..data.rows).collect();
    let regression = data.task() == Task::Regression;
    let data = Standardizer::fit(&data, &rows, Scaling::ZScore, regression).unwrap().apply(&data);
    let outputs = if loss == Loss::Bce && data.outputs() == 2 { 1 } else { data.outputs() };
    let widths = [&[data.features], hidden, &[outputs]].concat();
    let spec = ModelSpec { penalty, ..ModelSpec::mlp(&widths, activation, Init::Pytorch, loss) };
    let model = Model::<f64>::new(&spec).unwrap();
    let samples = Samples::new(&data, loss, outputs).unwrap();
    let options = TrainOptions {
        optimizer: Optimizer::Adam(Adam::default()),
        lr: 3e-3,
        schedule: Schedule::Constant,
        epochs: 30,
        batch_size: 64,
        seed: 1,
        decay_biases: true,
        stopping: None,
    };
    let start = model.start(5);
    let end = train(&model, start.clone(), &samples, None, &options, |_, _| Next::Continue).unwrap();
    let (first, last) = (end.history[0].train.loss, end.history.last().unwrap().train.loss);
    assert!(last < 0.8 * first, "{name}: from {first} to {last}");
    for (when, theta) in [("start", &start.theta), ("end", &end.state.theta)] {
        let report = verify(&model, theta, &samples, &VerifyOptions::default()).unwrap();
        let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
        assert!(report.passed(), "{name} {activation} {loss} at the {when}:\n{}", failures.join("\n"));
    }
}

#[test]
fn digits_with_tanh() {
    trained("digits", Activation::Tanh, Loss::CrossEntropy, &[32, 32], None);
}

#[test]
fn digits_with_relu() {
    trained("digits", Activation::Relu, Loss::CrossEntropy, &[48, 24], None);
}

#[test]
fn breast_cancer_with_silu_and_a_penalty() {
    let penalty = Some(Penalty { lambda: 1e-3, scope: Scope::Weights });
    trained("breast_cancer", Activation::Silu, Loss::Bce, &[16, 8], penalty);
}

#[test]
fn wine_with_elu_and_squared_errors_of_one_hot_rows() {
    trained("wine", Activation::Elu { alpha: 1.0 }, Loss::Mse, &[12], None);
}

#[test]
fn iris_with_softplus_fitted_almost_perfectly() {
    trained("iris", Activation::Softplus, Loss::CrossEntropy, &[30, 30], None);
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn random_networks_raise_no_false_alarm(net in any_net()) {
        let (model, options) = (net.model::<f64>(), VerifyOptions { seed: net.seed, ..VerifyOptions::default() });
        let report = verify(&model, &net.theta(), &net.samples(), &options).unwrap();
        let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
        prop_assert!(report.passed(), "{}", failures.join("\n"));
    }
}
