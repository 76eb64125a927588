//! Networks that can be built, and those that can't, with what is said of them.

use super::*;
use crate::Activation;

fn mlp() -> ModelSpec {
    ModelSpec::mlp(&[3, 4, 2], Activation::Tanh, Init::XavierNormal { gain: 1.0 }, Loss::CrossEntropy)
}

#[test]
fn layers_lie_one_after_the_other_with_weight_before_bias() {
    let model = Model::<f64>::new(&mlp()).unwrap();
    let names: Vec<_> = model.tensors().iter().map(|t| (t.name.as_str(), t.range.clone())).collect();
    assert_eq!(names, [("fc1.weight", 0..12), ("fc1.bias", 12..16), ("fc2.weight", 16..24), ("fc2.bias", 24..26)]);
    assert_eq!(model.layers().iter().map(|l| l.range.clone()).collect::<Vec<_>>(), [0..16, 16..26]);
    assert_eq!((model.len(), model.outputs(), model.multiply_adds()), (26, 2, 20));
}

#[test]
fn f32_and_f64_start_from_the_same_numbers() {
    let (a, b) = (Model::<f64>::new(&mlp()).unwrap().init(7), Model::<f32>::new(&mlp()).unwrap().init(7));
    assert!(a.iter().zip(&b).all(|(a, b)| *a as f32 == *b));
    assert!(a.iter().any(|x| *x != 0.0));
}

#[test]
fn a_single_class_is_refused_with_the_remedy() {
    let spec = ModelSpec::mlp(&[3, 1], Activation::Relu, Init::Pytorch, Loss::CrossEntropy);
    let error = Model::<f64>::new(&spec).unwrap_err().to_string();
    assert!(error.contains("use the loss `bce`"), "{error}");
}

#[test]
fn zero_widths_and_equal_names_are_refused() {
    let spec = ModelSpec::mlp(&[3, 0, 2], Activation::Relu, Init::Pytorch, Loss::Mse);
    assert_eq!(Model::<f64>::new(&spec).unwrap_err(), ModelError::Empty("fc1".into()));
    let mut spec = mlp();
    spec.layers[2].name = "fc1".into();
    assert_eq!(Model::<f64>::new(&spec).unwrap_err(), ModelError::DuplicateName("fc1".into()));
    spec.layers[2].name = "fc1.q".into();
    let made = ModelError::MadeName { layer: "fc1.q".into(), owner: "fc1".into() };
    assert_eq!(Model::<f64>::new(&spec).unwrap_err(), made);
}

#[test]
fn skip_connections_that_dont_fit_are_refused_by_name() {
    let with = |layers: Vec<LayerSpec>| {
        let spec = ModelSpec::new(&[3], layers, Loss::Mse);
        Model::<f64>::new(&spec).map(|_| ()).unwrap_err().to_string()
    };
    let linear = |name: &str| LayerSpec::linear(name, 3, true, Init::Pytorch);
    let add = |inputs: &[&str]| LayerSpec::new("sum", LayerKind::Add).reading(inputs);
    let error = with(vec![linear("a"), add(&["a", "imput"])]);
    assert!(error.contains("`sum` reads `imput`") && error.contains("did you mean `input`?"), "{error}");
    let error = with(vec![linear("a").reading(&["b"]), linear("b").reading(&["a"])]);
    assert!(error.contains("`a` → `b` → `a`"), "{error}");
    let error = with(vec![linear("a").reading(&["b"]), linear("b").reading(&["input"]), add(&["a", "b"])]);
    assert!(error.contains("stands after it"), "{error}");
    let error = with(vec![linear("a"), linear("b").reading(&["input"])]);
    assert!(error.contains("nobody reads layer `a`"), "{error}");
    let error = with(vec![linear("a"), add(&["a"])]);
    assert!(error.contains("it takes 2 or more"), "{error}");
    let error = with(vec![linear("a"), LayerSpec::linear("b", 4, true, Init::Pytorch), add(&["a", "b"])]);
    assert!(error.contains("`sum`") && error.contains("`a` (batch, 3)") && error.contains("`b` (batch, 4)"), "{error}");
    // A mean over the only axis leaves none; no layer may take that for granted.
    let statistics = Statistics::Running;
    for kind in [
        LayerKind::BatchNorm { eps: 1e-5, momentum: 0.1, statistics },
        LayerKind::GroupNorm { groups: 1, eps: 1e-5 },
        LayerKind::Conv2d { channels: 1, window: Window::square(1), groups: 1, bias: true },
        LayerKind::LayerNorm { eps: 1e-5 },
        LayerKind::Linear { units: 1, bias: true },
        LayerKind::Flatten,
    ] {
        let name = kind.name();
        let error = with(vec![linear("a"), LayerSpec::new("mean", LayerKind::MeanTokens), LayerSpec::new("b", kind)]);
        assert!(error.contains("`b`"), "{name}: {error}");
    }
    let error = with(vec![linear("a"), LayerSpec::new("b", LayerKind::Dropout { rate: 1.0 })]);
    assert!(error.contains("dropout rate"), "{error}");
}

#[test]
fn shared_layers_have_one_block_that_is_not_dense() {
    let linear = |name: &str| LayerSpec::linear(name, 3, true, Init::Pytorch);
    let layers = vec![linear("a"), LayerSpec::activation(Activation::Tanh), linear("b").sharing("a"), linear("c")];
    let mut spec = ModelSpec::new(&[3], layers, Loss::Mse);
    let model = Model::<f64>::new(&spec).unwrap();
    assert_eq!(
        model.layers().iter().map(|l| (l.name.as_str(), l.dense)).collect::<Vec<_>>(),
        [("a", false), ("c", true)]
    );
    assert_eq!((model.len(), model.multiply_adds()), (24, 27));
    spec.layers[2] = LayerSpec::linear("b", 2, true, Init::Pytorch).sharing("a");
    assert!(Model::<f64>::new(&spec).unwrap_err().to_string().contains("shares the parameters of `a`"));
    spec.layers[2] = linear("b").sharing("z");
    assert!(Model::<f64>::new(&spec).unwrap_err().to_string().contains("no layer is called that"));
}

#[test]
fn a_penalty_on_weights_leaves_biases_out() {
    let mut spec = mlp();
    spec.penalty = Some(Penalty { lambda: 0.5, scope: Scope::Weights });
    let model = Model::<f64>::new(&spec).unwrap();
    assert_eq!(model.penalized(), [(0..12, 0.5), (16..24, 0.5)]);
    spec.penalty = Some(Penalty { lambda: f64::NAN, scope: Scope::All });
    assert!(matches!(Model::<f64>::new(&spec), Err(ModelError::Penalty(_))));
}

/// What is said of a network that can't be built, which has to say what to do.
#[track_caller]
fn refused(input: &[usize], layers: Vec<LayerSpec>) -> ModelError {
    let error = Model::<f64>::new(&ModelSpec::new(input, layers, Loss::Mse)).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("; "), "no remedy: {error}");
    error
}

#[test]
fn shared_parameters_say_why_they_can_not_be_shared() {
    let linear = |name: &str| LayerSpec::linear(name, 3, true, Init::Pytorch);
    let relu = |name: &str| LayerSpec { name: name.into(), ..LayerSpec::activation(Activation::Relu) };
    for (layers, why) in [
        (vec![linear("a"), linear("b").sharing("a"), linear("c").sharing("b")], "uses those of `a` itself"),
        (vec![linear("a"), linear("b").sharing("c"), linear("c")], "stands after it"),
        (vec![linear("a"), linear("b").sharing("b")], "is the layer itself"),
        (vec![linear("a"), linear("b").sharing("quite another")], "no layer is called that; name an earlier"),
        (vec![linear("a"), relu("r"), linear("b").sharing("r")], "of the kind activation, this of linear"),
        (vec![linear("a"), relu("r"), relu("s").sharing("r"), linear("b")], "of the kind activation have none"),
    ] {
        let error = refused(&[3], layers);
        assert!(matches!(error, ModelError::Shared { .. }) && error.to_string().contains(why), "{error}");
    }
}

#[test]
fn layers_that_read_another_shape_name_both() {
    let attention = LayerSpec::new("p", LayerKind::Attention { heads: 2, causal: false });
    let pool = LayerSpec::new("p", LayerKind::MaxPool2d(Window::square(2)));
    let conv = |window| LayerSpec::new("p", LayerKind::Conv2d { channels: 2, window, groups: 1, bias: true });
    let bilinear = LayerSpec::new("p", LayerKind::Bilinear { units: 2, bias: true }).reading(&["a", "input"]);
    let a = || LayerSpec::linear("a", 5, true, Init::Pytorch);
    for (input, layer, has) in [
        (&[4][..], attention.clone(), "[5]"),
        (&[3, 4], attention, "2 heads don't divide the 5 features"),
        (&[4], LayerSpec::new("p", LayerKind::Positional { length: 5 }), "[5]"),
        (&[3, 4], LayerSpec::new("p", LayerKind::Positional { length: 2 }), "gives 3 tokens"),
        (&[4], pool, "[5]"),
        (&[1, 4, 4], conv(Window::square(9)), "kernel 9×9"),
        (&[3, 4], bilinear, "[3, 5]"),
        (&[3, 4], LayerSpec::new("p", LayerKind::Reshape(vec![4])), "(batch, 3, 5)"),
    ] {
        let error = refused(input, vec![a(), layer]);
        assert_eq!(error.layer(), Some("p"), "{error}");
        let text = error.to_string();
        assert!(text.contains("`p`") && text.contains("`a`") && text.contains(has), "{text}");
    }
}

#[test]
fn a_table_of_positions_may_be_longer_than_the_sequence() {
    let layers = |length| {
        let positions = LayerSpec::new("p", LayerKind::Positional { length });
        vec![positions, LayerSpec::new("", LayerKind::Flatten), LayerSpec::linear("head", 2, true, Init::Pytorch)]
    };
    for length in [3, 5] {
        let model = Model::<f64>::new(&ModelSpec::new(&[3, 4], layers(length), Loss::Mse)).unwrap();
        assert_eq!(model.tensors()[0].shape, [length, 4]);
    }
    refused(&[3, 4], layers(2));
}

#[test]
fn layers_with_parameters_and_without_a_name_are_called_by_kind_and_place() {
    let unnamed = |kind| LayerSpec::new("", kind);
    let window = Window::square(2);
    let layers = vec![
        unnamed(LayerKind::Conv2d { channels: 2, window, groups: 1, bias: true }),
        unnamed(LayerKind::GroupNorm { groups: 1, eps: 1e-5 }),
        unnamed(LayerKind::Reshape(vec![9, 2])),
        unnamed(LayerKind::Attention { heads: 1, causal: false }),
        unnamed(LayerKind::MeanTokens),
        unnamed(LayerKind::Linear { units: 2, bias: true }),
    ];
    let model = Model::<f64>::new(&ModelSpec::new(&[1, 4, 4], layers, Loss::Mse)).unwrap();
    let names: Vec<&str> = model.layers().iter().map(|l| l.name.as_str()).collect();
    let attention = ["attention@3.q", "attention@3.k", "attention@3.v", "attention@3.o"];
    assert_eq!(names, [&["conv2d@0", "group-norm@1"][..], &attention, &["linear@5"]].concat());
}

#[test]
fn one_number_per_sample_can_be_scaled() {
    let layers = vec![
        LayerSpec::linear("a", 1, true, Init::Pytorch),
        LayerSpec::new("mean", LayerKind::MeanTokens),
        LayerSpec::new("s", LayerKind::ScaleBy { start: 2.0 }),
        LayerSpec::new("r", LayerKind::Reshape(vec![1])),
    ];
    assert_eq!(Model::<f64>::new(&ModelSpec::new(&[4], layers, Loss::Mse)).unwrap().outputs(), 1);
}

#[test]
fn sizes_beyond_all_memory_name_their_layer() {
    let window = Window::square(2);
    let kernel = |channels| LayerKind::Conv2d { channels, window, groups: 1, bias: true };
    for (input, kind) in [
        (&[4][..], LayerKind::Linear { units: usize::MAX, bias: true }),
        (&[4], LayerKind::Linear { units: 1 << 62, bias: false }),
        (&[4], LayerKind::Embedding { vocabulary: 1 << 62, width: 4 }),
        (&[4], LayerKind::Embedding { vocabulary: 4, width: 1 << 62 }),
        (&[1, 4, 4], kernel(usize::MAX)),
        (&[1, 4, 4], kernel(1 << 62)),
        (&[2, 4], LayerKind::Positional { length: usize::MAX }),
    ] {
        let error = refused(input, vec![LayerSpec::new("big", kind), LayerSpec::new("", LayerKind::Flatten)]);
        assert!(error.layer().is_some_and(|l| l.starts_with("big")), "{error}");
        assert!(error.to_string().contains("which no memory holds"), "{error}");
    }
    let bilinear = LayerSpec::new("b", LayerKind::Bilinear { units: 1 << 30, bias: true }).reading(&["u", "input"]);
    let error = refused(&[1 << 20], vec![LayerSpec::linear("u", 1 << 20, false, Init::Pytorch), bilinear]);
    assert!(error.to_string().contains("which no memory holds"), "{error}");
}
