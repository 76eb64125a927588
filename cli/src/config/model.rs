//! `[model]`: the network, as a list of widths or layer by layer.

use serde::{Deserialize, Serialize};

use super::layer::{Layer, LayerKind};

/// Section `[model]`: either `hidden` (with `activation`, `init` and `bias` for all of it) or `layers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// Extents of a sample where it is no plain vector: [tokens, features] or [channels, rows, columns].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Vec<usize>>,
    /// Widths of the hidden layers; a linear layer to the outputs follows. `[]` is a linear model. Default `[32, 32]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Vec<usize>>,
    /// Activation after every hidden layer. Default `"tanh"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
    /// How the weights start. Default: by the activation, see `default_init`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Whether the linear layers have a bias. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bias: Option<bool>,
    /// The network layer by layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<Layer>>,
}

/// The initialiser for layers followed by `activation`: He et al. 2015 for the functions that are zero on the left,
/// Glorot & Bengio 2010 for the others.
pub fn default_init(activation: &str) -> &'static str {
    const LEFT_ZERO: [&str; 6] = ["relu", "leaky-relu", "elu", "silu", "gelu", "softplus"];
    let name = activation.split('(').next().unwrap_or(activation);
    if LEFT_ZERO.iter().any(|f| name.starts_with(f)) { "he-normal" } else { "xavier-uniform" }
}

impl Model {
    /// Fills the defaults of whichever of the two forms was used.
    pub(super) fn fill(&mut self) {
        match &mut self.layers {
            Some(layers) => {
                for i in 0..layers.len() {
                    // A norm or a pool may stand between a layer and its activation.
                    let follower = layers[i + 1..].iter().take(2).find_map(|next| next.function.clone());
                    let layer = &mut layers[i];
                    if matches!(layer.kind, LayerKind::Linear | LayerKind::Conv2d) {
                        layer.bias.get_or_insert(true);
                        layer.init.get_or_insert_with(|| default_init(follower.as_deref().unwrap_or("")).to_owned());
                    }
                }
            }
            None => {
                self.hidden.get_or_insert_with(|| vec![32, 32]);
                let activation = self.activation.get_or_insert_with(|| "tanh".to_owned());
                self.init.get_or_insert_with(|| default_init(activation).to_owned());
                self.bias.get_or_insert(true);
            }
        }
    }

    /// The network layer by layer, of a filled model; the last linear layer has `outputs` units.
    pub fn expand(&self, outputs: usize) -> Vec<Layer> {
        if let Some(layers) = &self.layers {
            let mut layers = layers.clone();
            if let Some(last) = layers.iter_mut().rev().find(|l| l.kind == LayerKind::Linear) {
                last.units.get_or_insert(outputs);
            }
            return layers;
        }
        let bias = self.bias.unwrap_or(true);
        let activation = self.activation.as_deref().unwrap_or("tanh");
        let init = self.init.as_deref().unwrap_or(default_init(activation));
        let mut layers = Vec::new();
        for &units in self.hidden.iter().flatten() {
            layers.push(Layer::linear(Some(units), bias, init));
            layers.push(Layer::activation(activation));
        }
        layers.push(Layer::linear(Some(outputs), bias, init));
        layers
    }

    /// The network in a few words, such as `64-32-32-10 tanh`.
    pub fn describe(&self, inputs: usize, outputs: usize) -> String {
        let layers = self.expand(outputs);
        if layers.iter().any(|l| !matches!(l.kind, LayerKind::Linear | LayerKind::Activation) || l.inputs.is_some()) {
            let input = self.input.clone().unwrap_or_else(|| vec![inputs]);
            let input: Vec<String> = input.iter().map(usize::to_string).collect();
            let mut kinds: Vec<(&str, usize)> = Vec::new();
            for layer in &layers {
                match kinds.iter_mut().find(|k| k.0 == layer.kind.name()) {
                    Some(kind) => kind.1 += 1,
                    None => kinds.push((layer.kind.name(), 1)),
                }
            }
            let kinds = kinds.iter().filter(|k| !matches!(k.0, "activation" | "flatten" | "add"));
            let kinds: Vec<String> = kinds.map(|(kind, count)| format!("{count} {kind}")).collect();
            return format!("{}: {}", input.join("×"), kinds.join(", "));
        }
        let widths = layers.iter().filter_map(|l| l.units).map(|u| u.to_string());
        let widths: Vec<String> = std::iter::once(inputs.to_string()).chain(widths).collect();
        let mut functions: Vec<&str> = layers.iter().filter_map(|l| l.function.as_deref()).collect();
        functions.dedup();
        [widths.join("-"), functions.join("/")].join(" ").trim_end().to_owned()
    }
}
