//! From the network description of a golden case (`arch.json`) to layers.

use eigenlens_nets::init::Init;
use eigenlens_nets::spec::{LayerKind, LayerSpec, ModelSpec};
use serde_json::Value;

use crate::golden_data::{array, size, text};

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

fn kind(op: &Value) -> LayerKind {
    let bias = || op.get("bias").is_none_or(|b| b == &Value::Bool(true));
    match text(&op["op"]) {
        "linear" => LayerKind::Linear { units: size(&op["out"]), bias: bias() },
        "activation" => LayerKind::Activation(text(&op["fn"]).replace('_', "-").parse().unwrap()),
        other => panic!("an op '{other}' that this reader does not know"),
    }
}
