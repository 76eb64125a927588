//! Every network that has a name, small, with weighted samples and smoothed targets, held to all identities of `verify`.

use eigenlens_hessian::verify::{VerifyOptions, verify};
use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::spec::Weighting;
use eigenlens_nets::zoo::{Family, Merge, Norm, Options, Task};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec, Samples};
use proptest::prelude::*;

use crate::nets::config;

const SAMPLES: usize = 10;

/// A network of the family, and samples of it.
fn subject(family: Family, options: &Options, seed: u64) -> (Model<f64>, Samples) {
    let classes = 3;
    let task = match family {
        Family::Decoder => Task { input: vec![4], vocabulary: Some(classes), outputs: classes },
        Family::Mlp | Family::ResidualMlp | Family::BottleneckMlp | Family::Diamond => {
            Task { input: vec![5], vocabulary: None, outputs: classes }
        }
        _ => Task { input: vec![2, 8, 8], vocabulary: None, outputs: classes },
    };
    let layers = family.layers(options, &task).unwrap();
    let weighting = Weighting { smoothing: 0.1, classes: vec![0.5, 1.0, 1.5] };
    let model =
        Model::new(&ModelSpec { weighting, ..ModelSpec::new(&task.input, layers, Loss::CrossEntropy) }).unwrap();
    let draw = |index: u64, n: usize| Distribution::Gaussian.probe(seed, index, n);
    let label = |x: f64| (x.abs() * 7.0).floor() % classes as f64;
    let x = draw(0, SAMPLES * model.features());
    let samples = Samples {
        n: SAMPLES,
        x: if task.vocabulary.is_some() { x.into_iter().map(label).collect() } else { x },
        y: draw(1, SAMPLES * model.target_size()).into_iter().map(label).collect(),
        w: draw(2, SAMPLES).into_iter().map(f64::abs).collect(),
    };
    (model, samples)
}

/// What `verify` finds wrong.
fn failures(family: Family, options: &Options, seed: u64) -> String {
    let (model, samples) = subject(family, options, seed);
    let report = verify(&model, &model.init(seed), &samples, &VerifyOptions { seed, rows: SAMPLES }).unwrap();
    report.failures().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn small() -> Options {
    Options { width: Some(4), ..Options::default() }
}

#[test]
fn named_networks_pass_their_identities() {
    let seen: Vec<(Family, Options)> = vec![
        (Family::LeNet5, Options { width: Some(1), kernel: Some(3), ..small() }),
        (Family::ResNetSmall(1), Options { width: Some(1), ..small() }),
        (Family::ResNetSmall(1), Options { width: Some(2), norm: Some(Norm::None), skips: Some(false), ..small() }),
        (Family::Vit, Options { depth: Some(1), heads: Some(2), ..small() }),
        (Family::Decoder, Options { depth: Some(1), heads: Some(2), ..small() }),
        (Family::Decoder, Options { depth: Some(1), heads: Some(1), norm: Some(Norm::Rms), ..small() }),
    ];
    for (family, options) in seen {
        let found = failures(family, &options, 3);
        assert!(found.is_empty(), "{family} {options:?}:\n{found}");
    }
}

fn any_mlp() -> impl Strategy<Value = (Family, Options)> {
    let family =
        prop_oneof![Just(Family::Mlp), Just(Family::ResidualMlp), Just(Family::BottleneckMlp), Just(Family::Diamond)];
    let norm = prop_oneof![Just(Norm::None), Just(Norm::Batch), Just(Norm::Layer), Just(Norm::Rms)];
    let merge = prop_oneof![Just(Merge::Add), Just(Merge::Mul), Just(Merge::Concat), Just(Merge::Bilinear)];
    let activation = prop_oneof![Just(Activation::Tanh), Just(Activation::Gelu), Just(Activation::Softplus)];
    // A layer norm over two features gives signs: all that is left of its derivatives is rounding.
    (family, 3usize..6, 1usize..4, norm, merge, activation, any::<bool>()).prop_map(
        |(family, width, depth, norm, merge, activation, skips)| {
            let takes = family.defaults();
            let options = Options {
                width: Some(width),
                depth: Some(depth),
                norm: Some(norm),
                activation: Some(activation),
                merge: takes.merge.map(|_| merge),
                skips: takes.skips.map(|_| skips),
                bottleneck: takes.bottleneck.map(|_| 3),
                ..Options::default()
            };
            (family, options)
        },
    )
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn perceptrons_of_any_shape_pass_their_identities((family, options) in any_mlp(), seed in 0u64..1000) {
        let found = failures(family, &options, seed);
        prop_assert!(found.is_empty(), "{family} {options:?}:\n{found}");
    }
}
