//! Networks that are no multilayer perceptrons.

use eigenlens_nets::init::Init;
use eigenlens_nets::spec::{LayerKind, LayerSpec, Statistics, Window};
use eigenlens_nets::{Activation, Loss, ModelSpec};

use super::super::wiring::Wiring;
use eigenlens_nets::objective::Kind;

use super::*;
use crate::kronecker;

fn conv(name: &str, channels: usize, bias: bool) -> LayerSpec {
    let window = Window::square(3).padding(1);
    let kind = LayerKind::Conv2d { channels, window, groups: 1, bias };
    LayerSpec { init: Some(Init::XavierNormal { gain: 1.5 }), ..LayerSpec::new(name, kind) }
}

fn linear(name: &str, units: usize) -> LayerSpec {
    LayerSpec::linear(name, units, true, Init::XavierNormal { gain: 1.5 })
}

fn plain(kind: LayerKind) -> LayerSpec {
    LayerSpec::new("", kind)
}

fn relu() -> LayerSpec {
    LayerSpec::activation(Activation::Relu)
}

fn built(input: &[usize], layers: Vec<LayerSpec>, loss: Loss) -> Model<f64> {
    Model::new(&ModelSpec::new(input, layers, loss)).unwrap()
}

pub(super) fn cnn(loss: Loss) -> Model<f64> {
    let pool = |stride| plain(LayerKind::MaxPool2d(Window::square(2).stride(stride)));
    let layers = vec![
        conv("conv1", 3, true),
        relu(),
        pool(2),
        conv("conv2", 4, false),
        pool(1),
        LayerSpec::activation(Activation::Tanh),
        plain(LayerKind::Flatten),
        linear("head", 3),
    ];
    built(&[1, 6, 6], layers, loss)
}

fn resnet(statistics: Statistics, channels: usize) -> Model<f64> {
    let norm = |name: &str| LayerSpec::new(name, LayerKind::BatchNorm { eps: 1e-5, momentum: 0.1, statistics });
    let layers = vec![
        conv("conv0", channels, false),
        norm("bn0"),
        LayerSpec { name: "stem".into(), ..relu() },
        conv("conv1", channels, false),
        norm("bn1"),
        relu(),
        conv("conv2", channels, false),
        norm("bn2"),
        LayerSpec::new("skip", LayerKind::Add).reading(&["bn2", "stem"]),
        relu(),
        plain(LayerKind::GlobalAvgPool2d),
        linear("head", 3),
    ];
    built(&[1, 5, 5], layers, Loss::CrossEntropy)
}

fn residual(activation: Activation, norm: LayerKind, loss: Loss) -> Model<f64> {
    let layers = vec![
        linear("in", 6),
        LayerSpec::new("norm", norm),
        linear("up", 9),
        LayerSpec::activation(activation),
        linear("down", 6),
        LayerSpec::new("skip", LayerKind::Add).reading(&["down", "in"]),
        LayerSpec::new("drop", LayerKind::Dropout { rate: 0.2 }),
        linear("head", 3),
    ];
    built(&[5], layers, loss)
}

/// Two attention layers with the same parameters; each sample is 5 indices out of 7. With a label for the sample, or one
/// for each position.
fn attention(each: bool) -> (Model<f64>, Samples) {
    let mut layers = vec![
        LayerSpec::new("table", LayerKind::Embedding { vocabulary: 7, width: 4 }),
        LayerSpec::new("places", LayerKind::Positional { length: 5 }),
        LayerSpec::new("mix", LayerKind::Attention { heads: 2, causal: true }),
        LayerSpec::new("sum", LayerKind::Add).reading(&["mix", "places"]),
        LayerSpec::new("norm", LayerKind::LayerNorm { eps: 1e-5 }),
        LayerSpec::new("again", LayerKind::Attention { heads: 2, causal: true }).sharing("mix"),
        LayerSpec::new("scale", LayerKind::ScaleBy { start: 0.7 }),
        LayerSpec::new("end", LayerKind::Add).reading(&["scale", "sum"]),
        linear("tied", 4),
        LayerSpec::activation(Activation::Gelu),
        linear("tied2", 4).sharing("tied"),
    ];
    if !each {
        layers.push(plain(LayerKind::MeanTokens));
    }
    layers.push(linear("head", 3));
    let model = built(&[5], layers, Loss::CrossEntropy);
    let n = 24;
    let index = |i: usize, of: usize| ((i * 37 + i / 5 * 11 + 3) % 101 % of) as f64;
    let x = (0..n * 5).map(|i| index(i, 7)).collect();
    let y = (0..n * model.target_size()).map(|i| index(3 * i + 1, 3)).collect();
    (model, Samples { n, x, y, w: Vec::new() })
}

fn straight(model: &Model<f64>) -> Vec<&str> {
    let wiring = Wiring::new(model);
    model.layers().iter().filter(|l| wiring.straight_above(l)).map(|l| l.name.as_str()).collect()
}

fn rows(report: &Report, check: &str) -> Vec<String> {
    report.rows.iter().filter(|r| r.check == check).map(|r| r.subject.clone()).collect()
}

#[test]
fn a_cnn_with_max_pools_passes() {
    for loss in LOSSES {
        let model = cnn(loss);
        for seed in 0..3 {
            let report = passes(&format!("{loss} {seed}"), &model, &model.init(seed), &samples(40, 36, 3, loss));
            assert_eq!(rows(&report, "block product = Σ M ⊗ zz'"), ["head"]);
            assert_eq!(rows(&report, "Kronecker block = block of the whole"), ["network's head"]);
            assert_eq!(rows(&report, "H block = G block"), ["head"]);
            assert_eq!(rows(&report, "Lanczos extremes = dense ones"), ["network"]);
        }
    }
}

#[test]
fn a_point_on_the_kinks_of_a_max_pool_is_left() {
    let model = cnn(Loss::Mse);
    let report = passes("zero", &model, &vec![0.0; model.len()], &samples(20, 36, 3, Loss::Mse));
    assert!(report.rows[0].detail.contains("beside a kink"), "{}", report.rows[0]);
    // Constant images tie every window inside at any θ, which is no kink.
    let smooth = built(
        &[1, 6, 6],
        vec![
            conv("conv", 3, true),
            plain(LayerKind::MaxPool2d(Window::square(2).stride(2))),
            plain(LayerKind::Flatten),
            linear("head", 3),
        ],
        Loss::Mse,
    );
    let mut data = samples(20, 36, 3, Loss::Mse);
    data.x.chunks_exact_mut(36).for_each(|x| x.fill(x[0]));
    let report = passes("constant", &smooth, &smooth.init(1), &data);
    assert_eq!(rows(&report, "H block = G block"), ["conv", "head"]);
}

#[test]
fn resnets_with_running_and_with_batch_statistics_pass() {
    for statistics in [Statistics::Running, Statistics::Batch] {
        let batch = statistics == Statistics::Batch;
        for seed in 0..3 {
            let model = resnet(statistics, 4);
            let data = samples(30, 25, 3, Loss::CrossEntropy);
            let report = passes(&format!("{statistics:?} {seed}"), &model, &model.init(seed), &data);
            assert_eq!(rows(&report, "Hv over batches = merged").is_empty(), batch);
            assert_eq!(rows(&report, "uneven batches = merged").is_empty(), !batch);
            assert_eq!(rows(&report, "block product = Σ M ⊗ zz'"), ["head"]);
        }
    }
    assert_eq!(straight(&resnet(Statistics::Running, 4)), ["conv0", "conv1", "conv2", "head"]);
    assert_eq!(straight(&resnet(Statistics::Batch, 4)), ["head"]);
}

#[test]
fn a_network_too_large_for_dense_matrices_is_checked_on_its_smallest_blocks() {
    for statistics in [Statistics::Running, Statistics::Batch] {
        let model = resnet(statistics, 9);
        let report = passes("large", &model, &model.init(1), &samples(20, 25, 3, Loss::CrossEntropy));
        let row = report.rows.iter().find(|r| r.check == "dense matrices of the smallest layers").unwrap();
        assert!(model.len() > 1200 && row.detail.ends_with("conv0, bn0, conv1, bn1, bn2, head"), "{}", row.detail);
        assert_eq!(rows(&report, "Lanczos extremes = dense ones").len(), 6);
        assert_eq!(rows(&report, "Kronecker block = block of the whole"), ["network's head"]);
    }
}

#[test]
fn residual_perceptrons_with_norms_pass() {
    for norm in [LayerKind::LayerNorm { eps: 1e-5 }, LayerKind::RmsNorm { eps: 1e-6 }] {
        for (activation, loss) in [(Activation::Relu, Loss::CrossEntropy), (Activation::Gelu, Loss::Mse)] {
            let model = residual(activation, norm.clone(), loss);
            let data = samples(30, 5, 3, loss);
            let report = passes(&format!("{norm:?} {loss}"), &model, &model.init(2), &data);
            // Linear layers have their structure, whatever is above.
            assert_eq!(rows(&report, "block product = Σ M ⊗ zz'"), ["in", "up", "down", "head"]);
        }
    }
    let model = residual(Activation::Relu, LayerKind::LayerNorm { eps: 1e-5 }, Loss::Mse);
    assert_eq!(straight(&model), ["up", "down", "head"]);
}

#[test]
fn under_statistics_of_the_batch_a_linear_layer_has_no_structure() {
    let kind = LayerKind::BatchNorm { eps: 1e-5, momentum: 0.1, statistics: Statistics::Batch };
    let layers = vec![linear("in", 4), LayerSpec::new("norm", kind), relu(), linear("head", 3)];
    let model = built(&[5], layers, Loss::Mse);
    let report = passes("batch norm", &model, &model.init(2), &samples(30, 5, 3, Loss::Mse));
    assert_eq!((0..3).map(|i| kronecker::holds(&model, i)).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(rows(&report, "Kronecker block = block of the whole"), ["network's head"]);
    let objective = crate::testing::linearized(&model, &samples(30, 5, 3, Loss::Mse));
    let block = crate::layerwise::block(
        &objective,
        &model.layer_blocks()[0],
        Kind::Hessian,
        &crate::block::BlockOptions::default(),
    );
    let trace: f64 = {
        let dense = eigenlens_linalg::operator::to_dense(&crate::operator::Block::layer(&objective, 0, Kind::Hessian));
        (0..24).map(|i| dense[i * 25]).sum()
    };
    assert!((block.unwrap().value("trace").unwrap() - trace).abs() <= 1e-12 * trace.abs());
}

#[test]
fn causal_attention_with_an_embedding_and_tied_weights_passes() {
    for each in [false, true] {
        let (model, data) = attention(each);
        for seed in 0..3 {
            let report = passes(&format!("{each} {seed}"), &model, &model.init(seed), &data);
            // On tokens no layer is a plain linear map of the sample; after their mean it is.
            assert_eq!(rows(&report, "block product = Σ M ⊗ zz'").len(), usize::from(!each));
        }
        assert_eq!(straight(&model), ["head"]);
    }
}

#[test]
fn norms_that_leave_nothing_or_little_pass() {
    // A norm of single values is zero whatever stands below it, and one of two values nearly a sign.
    let norm = |kind| LayerSpec::new("norm", kind);
    let single = vec![linear("in", 1), norm(LayerKind::LayerNorm { eps: 1e-5 }), linear("head", 3)];
    let groups = norm(LayerKind::GroupNorm { groups: 4, eps: 1e-5 });
    let window = Window::square(1);
    let pointwise = LayerSpec::new("conv", LayerKind::Conv2d { channels: 4, window, groups: 1, bias: true });
    let instance = vec![pointwise, groups, plain(LayerKind::Flatten), linear("head", 3)];
    let two = vec![linear("in", 2), norm(LayerKind::LayerNorm { eps: 1e-5 }), linear("head", 3)];
    for (name, input, layers) in [("single", &[4][..], single), ("instance", &[4, 1, 1], instance), ("two", &[4], two)]
    {
        let model = built(input, layers, Loss::CrossEntropy);
        for seed in 0..6 {
            let data = samples(60, 4, 3, Loss::CrossEntropy);
            let report = verify(&model, &model.init(seed), &data, &VerifyOptions { seed, ..VerifyOptions::default() });
            let failures: Vec<String> = report.unwrap().failures().map(ToString::to_string).collect();
            assert!(failures.is_empty(), "{name} {seed}:\n{}", failures.join("\n"));
        }
    }
}
