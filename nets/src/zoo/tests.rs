//! Every named network builds, has the sizes of its source, and refuses what does not fit.

use super::*;
use crate::data;
use crate::model::Model;
use crate::spec::{Loss, ModelSpec};

fn images(side: usize) -> Task {
    Task { input: vec![3, side, side], vocabulary: None, outputs: 10 }
}

fn characters() -> Task {
    Task { input: vec![16], vocabulary: Some(11), outputs: 11 }
}

fn task(family: Family) -> Task {
    if family == Family::Decoder { characters() } else { images(32) }
}

fn parameters(family: Family, options: &Options, task: &Task) -> usize {
    let layers = family.layers(options, task).unwrap();
    Model::<f32>::new(&ModelSpec::new(&task.input, layers, Loss::CrossEntropy)).unwrap().len()
}

#[test]
fn published_sizes_are_reproduced() {
    let digits = Task { input: vec![1, 28, 28], vocabulary: None, outputs: 10 };
    // 6 · 26 + 16 · 151 + 120 · 401 + 84 · 121 + 10 · 85.
    assert_eq!(parameters(Family::LeNet5, &Options::default(), &digits), 61_706);
    // CIFAR-10, with option A's 269,722 and the projections of option B: 16 · 32 + 32 · 64 weights and two norms.
    let resnet20 = Family::ResNetSmall(3);
    assert_eq!(parameters(resnet20, &Options::default(), &images(32)), 269_722 + 2_560 + 192);
    assert_eq!(parameters(Family::ResNet18, &Options::default(), &images(32)), 11_173_962);
    let norm = Options { norm: Some(Norm::Batch), ..Options::default() };
    assert_eq!(parameters(Family::Vgg11, &norm, &images(32)), 9_231_114);
}

#[test]
fn every_name_is_its_own_and_is_in_the_list() {
    let names: Vec<String> = Family::all().iter().map(Family::to_string).collect();
    assert_eq!(names, Family::ALL);
    for family in Family::all() {
        assert_eq!(family.to_string().parse::<Family>().unwrap(), family);
    }
    for (norm, merge) in Norm::ALL.iter().zip(Merge::ALL) {
        assert_eq!((norm.parse::<Norm>().unwrap().name(), merge.parse::<Merge>().unwrap().name()), (*norm, *merge));
    }
    assert!("resnt-18".parse::<Family>().unwrap_err().to_string().contains("did you mean 'resnet-18'?"));
}

#[test]
fn every_network_is_built_with_every_norm_and_without_skips() {
    for family in Family::all() {
        let small = Options { width: Some(8), ..Options::default() };
        let task = task(family);
        parameters(family, &small, &task);
        for &norm in family.norms() {
            parameters(family, &Options { norm: Some(norm), ..small }, &task);
        }
        if family.defaults().skips.is_some() {
            let with = parameters(family, &small, &task);
            let without = parameters(family, &Options { skips: Some(false), ..small }, &task);
            assert!(without <= with, "{family}: {without} and {with}");
        }
    }
    for merge in MERGES.map(|m| m.1) {
        let options = Options { width: Some(4), merge: Some(merge), ..Options::default() };
        parameters(Family::Diamond, &options, &images(4));
    }
}

#[test]
fn a_residual_mlp_has_the_parameters_of_the_plain_one() {
    let options = |skips| Options { skips: Some(skips), norm: Some(Norm::Layer), ..Options::default() };
    let sizes = [true, false].map(|skips| parameters(Family::ResidualMlp, &options(skips), &images(4)));
    assert_eq!(sizes[0], sizes[1]);
}

#[test]
fn foreign_options_and_impossible_sizes_are_refused_by_name() {
    let refused =
        |family: Family, options: Options, task: &Task| family.layers(&options, task).unwrap_err().to_string();
    let none = Options::default();
    let text = refused(Family::Mlp, Options { heads: Some(2), ..none }, &images(8));
    assert!(text.contains("`mlp` has no option `heads`; it takes width, depth"), "{text}");
    let text = refused(Family::Vit, Options { heads: Some(5), ..none }, &images(8));
    assert!(text.contains("`heads` must divide the width 32, is 5"), "{text}");
    let text = refused(Family::Vit, Options { patch: Some(3), ..none }, &images(8));
    assert!(text.contains("must divide the image's 8 × 8 pixels, is 3"), "{text}");
    let text = refused(Family::LeNet5, none, &images(8));
    assert!(text.contains("at least 12 × 12 pixels, these have 8 × 8"), "{text}");
    let text = refused(Family::Decoder, none, &images(8));
    assert!(text.contains("takes sequences of indices, and a sample is [3, 8, 8]"), "{text}");
    let text = refused(Family::Mlp, none, &characters());
    assert!(text.contains("a sample is 16 indices below 11"), "{text}");
    let text = refused(Family::Mlp, Options { norm: Some(Norm::Group), ..none }, &images(8));
    assert!(text.contains("`norm` must be one of none, batch, layer, rms, is group"), "{text}");
    let text = refused(Family::Mlp, Options { width: Some(0), ..none }, &images(8));
    assert!(text.contains("`width` must be from 1 to 1073741824, is 0"), "{text}");
    let text = refused(Family::Vgg11, Options { width: Some(usize::MAX / 8 + 1), ..none }, &images(8));
    assert!(text.contains("`width` must be from 1 to 1073741824"), "{text}");
    let text = refused(Family::Mlp, Options { depth: Some(1_000_000_000), ..none }, &images(8));
    assert!(text.contains("`depth` must be from 1 to 1000,"), "{text}");
    let text = refused(Family::ResNet18, none, &images(4));
    assert!(text.contains("4 × 4 pixels"), "{text}");
}

#[test]
fn defaults_are_complete_and_stay_what_they_are() {
    for family in Family::all() {
        let complete = family.complete(&Options::default()).unwrap();
        assert_eq!(complete, family.defaults());
        assert_eq!(family.complete(&complete).unwrap(), complete);
    }
}

#[test]
fn built_in_images_fit_the_networks_for_images() {
    for (name, option) in [("digits", Options { kernel: Some(3), ..Options::default() }), ("mnist", Options::default())]
    {
        let info = data::info(name).unwrap();
        let task = Task { input: info.input_shape.clone(), vocabulary: None, outputs: info.class_names.len() };
        parameters(Family::LeNet5, &option, &task);
        for family in [Family::Vgg11, Family::ResNetSmall(1), Family::ResNet18, Family::Vit] {
            parameters(family, &Options { width: Some(4), ..Options::default() }, &task);
        }
    }
}
