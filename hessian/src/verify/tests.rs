//! Sound networks pass; every seeded defect is rejected, by the row that is there for it.

mod mutants;
mod networks;

use eigenlens_nets::init::Init;
use eigenlens_nets::spec::{LayerKind, LayerSpec, Penalty, Scope};
use eigenlens_nets::{Activation, Loss, ModelSpec};

use super::*;
use crate::testing::samples;

fn spec(widths: &[usize], activation: Activation, loss: Loss) -> ModelSpec {
    ModelSpec::mlp(widths, activation, Init::XavierNormal { gain: 1.5 }, loss)
}

fn network(widths: &[usize], activation: Activation, loss: Loss) -> Model<f64> {
    Model::new(&spec(widths, activation, loss)).unwrap()
}

const LOSSES: [Loss; 3] = [Loss::CrossEntropy, Loss::Mse, Loss::Bce];

#[track_caller]
fn passes(what: &str, model: &Model<f64>, theta: &[f64], data: &Samples) -> Report {
    let report = verify(model, theta, data, &VerifyOptions::default()).unwrap();
    let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
    assert!(report.passed(), "{what}:\n{}", failures.join("\n"));
    report
}

#[test]
fn every_activation_and_loss_passes() {
    for activation in Activation::all() {
        for loss in LOSSES {
            let model = network(&[9, 8, 7, 4], activation, loss);
            passes(&format!("{activation} {loss}"), &model, &model.init(3), &samples(60, 9, 4, loss));
        }
    }
}

#[test]
fn the_smallest_networks_pass_on_the_fewest_samples() {
    for loss in LOSSES {
        let outputs = if loss == Loss::CrossEntropy { 2 } else { 1 };
        for widths in [vec![1, outputs], vec![3, outputs], vec![1, 1, outputs], vec![2, 1, 1, 1, outputs]] {
            for n in [1, 2, 3, 8] {
                let model = network(&widths, Activation::Tanh, loss);
                let data = samples(n, widths[0], outputs, loss);
                passes(&format!("{widths:?} {loss} {n}"), &model, &model.init(1), &data);
            }
        }
    }
}

#[test]
fn without_biases_with_a_penalty_and_with_an_activation_at_the_end_it_passes() {
    for (scope, loss) in [(Scope::All, Loss::Mse), (Scope::Weights, Loss::CrossEntropy), (Scope::Weights, Loss::Bce)] {
        let mut spec = spec(&[5, 6, 4, 3], Activation::Softplus, loss);
        spec.penalty = Some(Penalty { lambda: 0.3, scope });
        for layer in &mut spec.layers[1..] {
            if let LayerKind::Linear { bias, .. } = &mut layer.kind {
                *bias = false;
            }
        }
        spec.layers.push(LayerSpec::activation(Activation::Tanh));
        let model = Model::new(&spec).unwrap();
        let report = passes(&format!("{loss}"), &model, &model.init(2), &samples(50, 5, 3, loss));
        // The output is not a linear layer's: its closed form and its Gauss–Newton block are not to be compared.
        assert!(report.rows.iter().all(|r| r.check != "H block = G block" && !r.check.contains("closed form")));
    }
}

#[test]
fn zero_parameters_are_a_point_like_any_other() {
    // All pre-activations are 0: on the kink of every ReLU, and every derivative of the lower layers vanishes.
    for activation in Activation::all() {
        for loss in LOSSES {
            let model = network(&[4, 5, 6, 3], activation, loss);
            let data = samples(30, 4, 3, loss);
            let report = passes(&format!("{activation} {loss}"), &model, &vec![0.0; model.len()], &data);
            let kinked = activation.op::<f64>().is_some_and(|op| ["relu", "leaky-relu", "elu"].contains(&op.name()));
            assert_eq!(report.rows[0].detail.contains("beside a kink"), kinked, "{}", report.rows[0]);
        }
    }
}

#[test]
fn saturated_networks_on_unscaled_data_pass() {
    for (activation, loss) in
        [(Activation::Tanh, Loss::CrossEntropy), (Activation::Relu, Loss::Mse), (Activation::Gelu, Loss::Bce)]
    {
        let model = network(&[6, 9, 8, 3], activation, loss);
        let mut data = samples(40, 6, 3, loss);
        data.x.iter_mut().for_each(|x| *x *= 16.0);
        if loss == Loss::Mse {
            data.y.iter_mut().for_each(|y| *y = 150.0 + 80.0 * *y);
        }
        let theta: Vec<f64> = model.init(4).iter().map(|t| 2.0 * t).collect();
        passes(&format!("{activation} {loss}"), &model, &theta, &data);
    }
}

#[test]
fn deep_and_wide_networks_are_shrunken_to_what_dense_matrices_can_hold() {
    let deep = network(&[&[7][..], &[20; 40], &[4]].concat(), Activation::Tanh, Loss::CrossEntropy);
    let steep = network(&[7, 9, 9, 9, 9, 4], Activation::Exp, Loss::Mse);
    passes("steep", &steep, &vec![0.01; steep.len()], &samples(60, 7, 4, Loss::Mse));
    let wide = network(&[300, 90, 40, 30], Activation::Relu, Loss::CrossEntropy);
    for model in [&deep, &wide] {
        let data = samples(60, model.features(), model.outputs(), Loss::CrossEntropy);
        passes("deep or wide", model, &model.init(0), &data);
        let small = super::clone::Shrunken::new(model, &data, 0);
        assert!(small.model.len() <= 1200 && small.model.layers().len() == model.layers().len());
        assert!(small.model.layers().iter().all(|l| l.inputs <= 6 && l.outputs <= 6));
        small.samples.check(&small.model).unwrap();
    }
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let model = network(&[5, 7, 3], Activation::Silu, Loss::Mse);
    let data = samples(30, 5, 3, Loss::Mse);
    let run = |seed| verify(&model, &model.init(1), &data, &VerifyOptions { seed, rows: 20 }).unwrap().to_string();
    assert_eq!(run(4), run(4));
    assert_ne!(run(4), run(5));
}

#[test]
fn a_point_of_nan_fails_and_ends() {
    let model = network(&[4, 5, 3], Activation::Tanh, Loss::CrossEntropy);
    let mut theta = model.init(1);
    theta[7] = f64::NAN;
    let report = verify(&model, &theta, &samples(20, 4, 3, Loss::CrossEntropy), &VerifyOptions::default()).unwrap();
    let passed: Vec<&str> =
        report.rows.iter().filter(|r| r.passed() && r.subject == "network").map(|r| r.check).collect();
    assert!(passed.is_empty(), "{passed:?}");
}

#[test]
fn samples_that_do_not_fit_are_an_error() {
    let model = network(&[4, 5, 3], Activation::Tanh, Loss::CrossEntropy);
    let other = samples(20, 5, 3, Loss::CrossEntropy);
    assert!(verify(&model, &model.init(1), &other, &VerifyOptions::default()).is_err());
}

#[test]
fn batches_are_uneven_wherever_they_can_be() {
    for n in 3..200 {
        let rows = super::subject::uneven(n);
        assert!(n % rows != 0 || rows == 1 && n <= 2, "{n} samples in batches of {rows}");
    }
    assert_eq!((super::subject::uneven(1), super::subject::uneven(2), super::subject::uneven(48)), (1, 1, 7));
}
