//! From the network description of a golden case (`arch.json`) to layers.

use eigenlens_nets::init::Init;
use eigenlens_nets::spec::{LayerKind, LayerSpec, ModelSpec, Statistics, Window};
use serde_json::Value;

use crate::golden_data::{array, number, size, text};

/// The layers of a list of ops.
pub fn layers(ops: &[Value]) -> Vec<LayerSpec> {
    let mut layers = Vec::new();
    chain(ops, ModelSpec::INPUT, &mut layers);
    layers
}

/// Appends ops that begin at the layer `from`; returns the name of the last.
fn chain(ops: &[Value], from: &str, layers: &mut Vec<LayerSpec>) -> String {
    let mut at = from.to_owned();
    for op in ops {
        if text(&op["op"]) == "residual" {
            let body = chain(array(&op["body"]), &at, layers);
            let shortcut = op.get("shortcut").and_then(Value::as_array).map_or(&[][..], |s| s);
            let shortcut = chain(shortcut, &at, layers);
            at = push(layers, "", LayerKind::Add, &[&body, &shortcut]);
        } else {
            at = push(layers, op.get("name").map_or("", text), kind(op), &[&at]);
        }
    }
    at
}

fn push(layers: &mut Vec<LayerSpec>, name: &str, kind: LayerKind, inputs: &[&str]) -> String {
    let mut layer = LayerSpec::new(name, kind).reading(inputs);
    layer.init = Some(Init::Zeros);
    if name.is_empty() {
        layer.name = format!("{}{}", layer.kind.name(), layers.len());
    }
    layers.push(layer.clone());
    layer.name
}

fn pair(value: &Value) -> [usize; 2] {
    let list = array(value);
    [size(&list[0]), size(&list[1])]
}

fn window(op: &Value) -> Window {
    let or = |key: &str, default: [usize; 2]| op.get(key).map_or(default, pair);
    Window {
        kernel: pair(&op["kernel"]),
        stride: or("stride", [1; 2]),
        padding: or("padding", [0; 2]),
        dilation: or("dilation", [1; 2]),
    }
}

fn kind(op: &Value) -> LayerKind {
    let bias = || op.get("bias").is_none_or(|b| b == &Value::Bool(true));
    match text(&op["op"]) {
        "linear" => LayerKind::Linear { units: size(&op["out"]), bias: bias() },
        "activation" => LayerKind::Activation(text(&op["fn"]).replace('_', "-").parse().unwrap()),
        "conv2d" => LayerKind::Conv2d {
            channels: size(&op["out"]),
            window: window(op),
            groups: op.get("groups").map_or(1, size),
            bias: bias(),
        },
        "avgpool2d" => LayerKind::AvgPool2d(window(op)),
        "maxpool2d" => LayerKind::MaxPool2d(window(op)),
        "global_avgpool2d" => LayerKind::GlobalAvgPool2d,
        "flatten" => LayerKind::Flatten,
        "layernorm" => LayerKind::LayerNorm { eps: number(&op["eps"]) },
        "batchnorm2d" => LayerKind::BatchNorm {
            eps: number(&op["eps"]),
            momentum: 0.1,
            statistics: if text(&op["mode"]) == "eval" { Statistics::Running } else { Statistics::Batch },
        },
        "attention" => LayerKind::Attention { heads: size(&op["heads"]), causal: op["causal"] == Value::Bool(true) },
        "mean_tokens" => LayerKind::MeanTokens,
        other => panic!("an op '{other}' that this reader does not know"),
    }
}
