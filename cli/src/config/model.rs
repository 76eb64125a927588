//! `[model]`: the network, as a list of widths or layer by layer.

use serde::{Deserialize, Serialize};

/// What a layer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// y = W x + b.
    Linear,
    /// A function of each unit.
    Activation,
}

/// One entry of `[[model.layers]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// `"linear"` or `"activation"`.
    #[serde(rename = "type")]
    pub kind: LayerKind,
    /// Name in tables and files; absent: the position among the linear layers, `1`, `2`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// linear: outputs. May be left out in the last linear layer, where the data decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<usize>,
    /// linear: whether b is there. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<bool>,
    /// linear: how W starts, e.g. `"he-normal"` or `"normal(0.02)"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// activation: which function, e.g. `"tanh"`.
    #[serde(rename = "fn", default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
}

impl Layer {
    /// A linear layer.
    pub fn linear(units: Option<usize>, bias: bool, init: &str) -> Self {
        Self {
            kind: LayerKind::Linear,
            name: None,
            units,
            bias: Some(bias),
            init: Some(init.to_owned()),
            function: None,
        }
    }

    /// An activation layer.
    pub fn activation(function: &str) -> Self {
        Self {
            kind: LayerKind::Activation,
            name: None,
            units: None,
            bias: None,
            init: None,
            function: Some(function.to_owned()),
        }
    }
}

/// Section `[model]`: either `hidden` (with `activation`, `init` and `bias` for all of it) or `layers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
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
                    let follower = layers.get(i + 1).and_then(|next| next.function.clone());
                    let layer = &mut layers[i];
                    if layer.kind == LayerKind::Linear {
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
        let widths = layers.iter().filter_map(|l| l.units).map(|u| u.to_string());
        let widths: Vec<String> = std::iter::once(inputs.to_string()).chain(widths).collect();
        let mut functions: Vec<&str> = layers.iter().filter_map(|l| l.function.as_deref()).collect();
        functions.dedup();
        [widths.join("-"), functions.join("/")].join(" ").trim_end().to_owned()
    }
}
