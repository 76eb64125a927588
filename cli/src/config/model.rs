//! `[model]`: the network, by name, as a list of widths or layer by layer.

use std::collections::HashMap;
use std::path::PathBuf;

use eigenlens_nets::Activation;
use eigenlens_nets::options::OptionError;
use eigenlens_nets::zoo::{Family, Options};
use serde::{Deserialize, Serialize};

use super::layer::{Layer, LayerKind};

/// Section `[model]`: `name` with its sizes, `hidden` (with `activation`, `init` and `bias` for all of it), or `layers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// A network by name, e.g. `"resnet-8"`; the sizes below and `activation` and `init` go with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// name: units of a layer, channels of the first convolution, features of a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// name: hidden layers, or blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// name: `"none"`, `"batch"`, `"layer"`, `"rms"` or `"group"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<String>,
    /// name: whether there are skip connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skips: Option<bool>,
    /// name: heads of self-attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// name: side of a patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<usize>,
    /// name: side of a kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<usize>,
    /// name: units of the narrow layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<usize>,
    /// name: how branches become one, `"add"`, `"mul"`, `"concat"` or `"bilinear"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge: Option<String>,
    /// A safetensors file of weights to start from, e.g. a snapshot of a run; absent: drawn by `init`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
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

/// The initialiser for layers followed by the function of this (checked) name.
fn default_init(activation: &str) -> String {
    activation.parse().unwrap_or(Activation::Identity).default_init().to_string()
}

/// Names the layers that have parameters and no name: linear ones `fc1`, `fc2`, …, others by their kind and number, such as
/// `conv2d-1`.
fn name(layers: &mut [Layer]) {
    let mut counts = HashMap::new();
    for layer in layers {
        let count = counts.entry(layer.kind).or_insert(0);
        *count += 1;
        match layer.kind {
            LayerKind::Linear => {
                layer.name.get_or_insert_with(|| format!("fc{count}"));
            }
            kind if kind.has_parameters() => {
                layer.name.get_or_insert_with(|| format!("{}-{count}", kind.name()));
            }
            _ => {}
        }
    }
}

/// The function that the result of a layer goes through next; norms, pools and dropout may stand between.
fn activation_after(layers: &[Layer], place: usize) -> Option<String> {
    let mut at = place;
    loop {
        let label = layers[at].label(at);
        let reads = |j: usize| layers[j].inputs.as_ref().map_or(j == at + 1, |inputs| inputs.contains(&label));
        let readers: Vec<usize> = (at + 1..layers.len()).filter(|&j| reads(j)).collect();
        if let Some(function) = readers.iter().find_map(|&j| layers[j].function.clone()) {
            return Some(function);
        }
        let between = |kind: LayerKind| {
            kind.is_norm() || matches!(kind, LayerKind::MaxPool2d | LayerKind::AvgPool2d | LayerKind::Dropout)
        };
        match readers[..] {
            [next] if between(layers[next].kind) => at = next,
            _ => return None,
        }
    }
}

/// A network and its options, or the key of a name that nothing has.
pub type Named = Result<(Family, Options), (&'static str, OptionError)>;

/// An option by name, with its key if it is none.
fn parsed<V: std::str::FromStr<Err = OptionError>>(
    key: &'static str,
    text: &Option<String>,
) -> Result<Option<V>, (&'static str, OptionError)> {
    text.as_deref().map(str::parse).transpose().map_err(|e| (key, e))
}

impl Model {
    /// The network of a name and the options given with it; `None` for a model without a name.
    ///
    /// # Errors
    /// A name that nothing has, with the key it stands at.
    pub fn named(&self) -> Option<Named> {
        let name = self.name.as_ref()?;
        let read = || -> Named {
            let options = Options {
                width: self.width,
                depth: self.depth,
                activation: parsed("activation", &self.activation)?,
                init: parsed("init", &self.init)?,
                norm: parsed("norm", &self.norm)?,
                skips: self.skips,
                heads: self.heads,
                patch: self.patch,
                kernel: self.kernel,
                bottleneck: self.bottleneck,
                merge: parsed("merge", &self.merge)?,
            };
            Ok((name.parse().map_err(|e| ("name", e))?, options))
        };
        Some(read())
    }

    /// The options that go with a name only.
    pub fn sizes(&self) -> [(&'static str, bool); 9] {
        [
            ("width", self.width.is_some()),
            ("depth", self.depth.is_some()),
            ("norm", self.norm.is_some()),
            ("skips", self.skips.is_some()),
            ("heads", self.heads.is_some()),
            ("patch", self.patch.is_some()),
            ("kernel", self.kernel.is_some()),
            ("bottleneck", self.bottleneck.is_some()),
            ("merge", self.merge.is_some()),
        ]
    }

    /// Fills the defaults of whichever of the three forms was used.
    pub(super) fn fill(&mut self) {
        if let Some(Ok((family, options))) = self.named() {
            // Checked before; a network that refuses its options keeps them for the message.
            let all = family.complete(&options).unwrap_or(options);
            self.width = all.width;
            self.depth = all.depth;
            self.activation = all.activation.map(|a| a.to_string());
            self.init = all.init.map(|i| i.to_string());
            self.norm = all.norm.map(|n| n.name().to_owned());
            self.skips = all.skips;
            self.heads = all.heads;
            self.patch = all.patch;
            self.kernel = all.kernel;
            self.bottleneck = all.bottleneck;
            self.merge = all.merge.map(|m| m.name().to_owned());
            return;
        }
        match &mut self.layers {
            Some(layers) => {
                name(layers);
                for i in 0..layers.len() {
                    let follower = activation_after(layers, i);
                    layers[i].fill(|| default_init(follower.as_deref().unwrap_or("identity")));
                }
            }
            None => {
                self.hidden.get_or_insert_with(|| vec![32, 32]);
                let activation = self.activation.get_or_insert_with(|| "tanh".to_owned());
                self.init.get_or_insert_with(|| default_init(activation));
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
        let init = self.init.clone().unwrap_or_else(|| default_init(activation));
        let mut layers = Vec::new();
        let name = |i: usize| format!("fc{}", i + 1);
        let hidden = self.hidden.as_deref().unwrap_or_default();
        for (i, &units) in hidden.iter().enumerate() {
            layers.push(Layer::linear(name(i), units, bias, &init));
            layers.push(Layer::activation(activation));
        }
        layers.push(Layer::linear(name(hidden.len()), outputs, bias, &init));
        layers
    }

    /// The network in a few words, such as `64-32-32-10 tanh`.
    pub fn describe(&self, inputs: usize, outputs: usize) -> String {
        if let Some(name) = &self.name {
            let sizes = [
                self.width.map(|w| format!("width {w}")),
                self.depth.map(|d| format!("depth {d}")),
                self.activation.clone(),
                self.norm.as_ref().filter(|n| *n != "none").map(|n| format!("{n} norm")),
                (self.skips == Some(false)).then(|| "no skips".to_owned()),
                self.heads.map(|h| format!("{h} heads")),
                self.patch.map(|p| format!("patches of {p}")),
                self.bottleneck.map(|b| format!("bottleneck {b}")),
                self.merge.as_ref().map(|m| format!("merged by {m}")),
            ];
            return format!("{name}: {}", sizes.into_iter().flatten().collect::<Vec<_>>().join(", "));
        }
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
