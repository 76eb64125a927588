//! Groupings cover θ, name their parts, and refuse names that fit nothing.

use super::*;
use crate::init::Init;
use crate::spec::{LayerSpec, Loss, ModelSpec, Window};
use crate::{Activation, LayerKind};

fn mlp() -> Model<f64> {
    let spec = ModelSpec::mlp(&[3, 4, 2], Activation::Tanh, Init::XavierNormal { gain: 1.0 }, Loss::CrossEntropy);
    Model::new(&spec).unwrap()
}

/// Convolution, norms, tokens, attention with two heads, and a layer used twice.
fn mixed() -> Model<f64> {
    let layers = vec![
        LayerSpec::new("conv", LayerKind::Conv2d { channels: 4, window: Window::square(2), groups: 1, bias: true }),
        LayerSpec::new("gn", LayerKind::GroupNorm { groups: 2, eps: 1e-5 }),
        LayerSpec::new("", LayerKind::Reshape(vec![4, 9])),
        LayerSpec::new("", LayerKind::Permute(vec![1, 0])),
        LayerSpec::new("pos", LayerKind::Positional { length: 9 }),
        LayerSpec::new("attn", LayerKind::Attention { heads: 2, causal: false }),
        LayerSpec::linear("mix", 4, true, Init::Pytorch),
        LayerSpec::linear("again", 4, true, Init::Pytorch).sharing("mix"),
        LayerSpec::new("", LayerKind::MeanTokens),
        LayerSpec::linear("out", 3, true, Init::Pytorch),
    ];
    let spec = ModelSpec::new(&[2, 4, 4], layers, Loss::CrossEntropy);
    Model::new(&spec).unwrap()
}

fn group(name: &str, patterns: &[&str]) -> Group {
    Group { name: name.to_string(), patterns: patterns.iter().map(|p| p.to_string()).collect() }
}

fn names(model: &Model<f64>, grouping: &Grouping) -> Vec<String> {
    model.blocks(grouping).unwrap().into_iter().map(|p| p.name).collect()
}

#[test]
fn every_grouping_covers_the_parameters_exactly_once() {
    let groups = Grouping::Groups(vec![group("front", &["conv*", "gn"]), group("attention", &["attn.*"])]);
    for model in [mlp(), mixed()] {
        let mut all = vec![Grouping::Layer, Grouping::Tensor, Grouping::Network, Grouping::Head, Grouping::Neuron];
        all.extend((model.layers().len() > 2).then(|| groups.clone()));
        for grouping in all {
            let mut count = vec![0; model.len()];
            let parts = model.blocks(&grouping).unwrap();
            for part in &parts {
                part.ranges.iter().for_each(|r| count[r.clone()].iter_mut().for_each(|c| *c += 1));
                assert!(part.ranges.windows(2).all(|w| w[0].end < w[1].start), "{part:?}");
                assert!(!part.is_empty() && part.len() <= model.len());
            }
            assert!(count.iter().all(|&c| c == 1), "{grouping:?}");
            assert!(parts.windows(2).all(|w| w[0].ranges[0].start < w[1].ranges[0].start), "{grouping:?}");
        }
    }
}

#[test]
fn parts_are_named_after_what_they_are() {
    let model = mlp();
    assert_eq!(names(&model, &Grouping::Layer), ["fc1", "fc2"]);
    assert_eq!(names(&model, &Grouping::Head), ["fc1", "fc2"]);
    assert_eq!(names(&model, &Grouping::Tensor), ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]);
    assert_eq!(names(&model, &Grouping::Network), ["network"]);
    let neurons = model.blocks(&Grouping::Neuron).unwrap();
    assert_eq!(neurons.len(), 6);
    assert_eq!((neurons[1].name.as_str(), &neurons[1].ranges[..]), ("fc1[1]", &[3..6, 13..14][..]));
    let heads = names(&mixed(), &Grouping::Head);
    assert_eq!(heads, ["conv", "gn", "pos", "attn.head0", "attn.head1", "attn.o.bias", "mix", "out"]);
    assert!(names(&mixed(), &Grouping::Neuron).contains(&"pos".to_string()));
    assert!(names(&mixed(), &Grouping::Neuron).contains(&"gn[3]".to_string()));
}

#[test]
fn a_head_has_its_rows_of_q_k_v_and_its_columns_of_o() {
    let model = mixed();
    let head = &model.blocks(&Grouping::Head).unwrap()[4];
    let find = |name: &str| model.tensors().iter().find(|t| t.name == name).unwrap().range.start;
    for i in 0..4 {
        for j in 0..4 {
            let has = |at: usize| head.ranges.iter().any(|r| r.contains(&at));
            for part in ["q", "k", "v"] {
                assert_eq!(has(find(&format!("attn.{part}.weight")) + 4 * i + j), i >= 2);
                assert_eq!(has(find(&format!("attn.{part}.bias")) + i), i >= 2);
            }
            assert_eq!(has(find("attn.o.weight") + 4 * i + j), j >= 2);
        }
    }
    assert_eq!(head.len(), 3 * (2 * 4 + 2) + 4 * 2);
}

#[test]
fn groups_take_layers_and_tensors_and_leave_the_rest_to_the_layers() {
    let model = mixed();
    let by = |groups: &[Group]| model.blocks(&Grouping::Groups(groups.to_vec()));
    let parts = by(&[group("weights", &["*.weight"]), group("front", &["conv.bias", "g?.bias"])]).unwrap();
    let names: Vec<_> = parts.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["weights", "front", "attn.q", "attn.k", "attn.v", "attn.o", "mix", "out"]);
    assert_eq!(parts[1].description, "2 tensors");
    assert!(parts[6].description.starts_with("the rest of"), "{}", parts[6].description);
    let fail = |groups: &[Group]| by(groups).unwrap_err().to_string();
    assert!(fail(&[group("a", &["cnov*"])]).ends_with("; did you mean `conv`?"));
    assert!(fail(&[group("a", &["zzzzzz"])]).contains("; give names such as"));
    assert!(fail(&[group("a", &[])]).contains("group `a` has no names"));
    assert!(fail(&[group("a", &["conv"]), group("b", &["*.bias"])]).starts_with("`conv.bias` is in the groups"));
    assert!(fail(&[group("conv", &["conv.bias"])]).contains("called `conv`"));
    assert_eq!(by(&[group("a", &["conv", "conv.*"])]).unwrap()[0].description, "2 tensors");
}

#[test]
#[should_panic(expected = "overlap")]
fn overlapping_ranges_are_no_part() {
    Part::new("a", "", vec![0..4, 3..5]);
}
