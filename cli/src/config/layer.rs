//! One entry of `[[model.layers]]`: what a layer does, and its options.

use serde::{Deserialize, Serialize};

/// What a layer does; the names are those of the networks' own kinds of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerKind {
    /// y = W x + b on the last axis.
    Linear,
    /// y_k = uᵀ W_k v + b_k of two layers.
    Bilinear,
    /// Convolution of images.
    Conv2d,
    /// A function of each unit.
    Activation,
    /// The largest value of each window.
    MaxPool2d,
    /// The mean of each window.
    AvgPool2d,
    /// The mean of each channel.
    GlobalAvgPool2d,
    /// Normalisation over the last axis.
    LayerNorm,
    /// Scaling by the root mean square of the last axis.
    RmsNorm,
    /// Normalisation over groups of channels.
    GroupNorm,
    /// Normalisation of each channel over the batch.
    BatchNorm,
    /// Multi-head self-attention.
    Attention,
    /// A row of a table for each index.
    Embedding,
    /// A learned vector for each position.
    Positional,
    /// Softmax over the last axis.
    Softmax,
    /// The mean over tokens.
    MeanTokens,
    /// All axes as one.
    Flatten,
    /// Other extents.
    Reshape,
    /// Axes in another order.
    Permute,
    /// The sum of several layers.
    Add,
    /// The product of two layers.
    Mul,
    /// Several layers one after the other.
    Concat,
    /// A learned factor.
    ScaleBy,
    /// Random zeros in training.
    Dropout,
}

impl LayerKind {
    /// The name in a config.
    pub fn name(self) -> &'static str {
        match self {
            LayerKind::Linear => "linear",
            LayerKind::Bilinear => "bilinear",
            LayerKind::Conv2d => "conv2d",
            LayerKind::Activation => "activation",
            LayerKind::MaxPool2d => "max-pool2d",
            LayerKind::AvgPool2d => "avg-pool2d",
            LayerKind::GlobalAvgPool2d => "global-avg-pool2d",
            LayerKind::LayerNorm => "layer-norm",
            LayerKind::RmsNorm => "rms-norm",
            LayerKind::GroupNorm => "group-norm",
            LayerKind::BatchNorm => "batch-norm",
            LayerKind::Attention => "attention",
            LayerKind::Embedding => "embedding",
            LayerKind::Positional => "positional",
            LayerKind::Softmax => "softmax",
            LayerKind::MeanTokens => "mean-tokens",
            LayerKind::Flatten => "flatten",
            LayerKind::Reshape => "reshape",
            LayerKind::Permute => "permute",
            LayerKind::Add => "add",
            LayerKind::Mul => "mul",
            LayerKind::Concat => "concat",
            LayerKind::ScaleBy => "scale-by",
            LayerKind::Dropout => "dropout",
        }
    }

    /// Options that must be given, and options that may be, beside `name` and `inputs`.
    pub fn options(self) -> (&'static [&'static str], &'static [&'static str]) {
        const POOL: (&[&str], &[&str]) = (&["kernel"], &["stride", "padding", "dilation"]);
        match self {
            // `units` of the last layer come from the data.
            LayerKind::Linear => (&[], &["units", "bias", "init", "shares"]),
            LayerKind::Bilinear => (&["inputs", "units"], &["bias", "init", "shares"]),
            LayerKind::Conv2d => {
                (&["channels", "kernel"], &["stride", "padding", "dilation", "groups", "bias", "init", "shares"])
            }
            LayerKind::Activation => (&["fn"], &[]),
            LayerKind::MaxPool2d | LayerKind::AvgPool2d => POOL,
            LayerKind::LayerNorm | LayerKind::RmsNorm => (&[], &["eps", "shares"]),
            LayerKind::GroupNorm => (&["groups"], &["eps", "shares"]),
            LayerKind::BatchNorm => (&[], &["eps", "momentum", "statistics"]),
            LayerKind::Attention => (&["heads"], &["causal", "init", "shares"]),
            // `vocabulary` may come from the data.
            LayerKind::Embedding => (&["width"], &["vocabulary", "init", "shares"]),
            LayerKind::Positional => (&["length"], &["init", "shares"]),
            LayerKind::Reshape => (&["shape"], &[]),
            LayerKind::Permute => (&["axes"], &[]),
            LayerKind::Concat => (&["inputs"], &["axis"]),
            LayerKind::Add | LayerKind::Mul => (&["inputs"], &[]),
            LayerKind::ScaleBy => (&[], &["start", "shares"]),
            LayerKind::Dropout => (&["rate"], &[]),
            LayerKind::GlobalAvgPool2d | LayerKind::Softmax | LayerKind::MeanTokens | LayerKind::Flatten => (&[], &[]),
        }
    }
}

/// Where batch norm takes mean and variance from in analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchStatistics {
    /// The averages kept in training.
    Running,
    /// Those of the analysed samples.
    Batch,
}

/// One number for both axes, or one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Pair {
    /// For rows and columns.
    Both(usize),
    /// Rows, columns.
    Each([usize; 2]),
}

impl Pair {
    /// Rows, columns.
    pub fn get(self) -> [usize; 2] {
        match self {
            Pair::Both(n) => [n; 2],
            Pair::Each(pair) => pair,
        }
    }
}

/// One entry of `[[model.layers]]`. Which options a type has: [`LayerKind::options`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// What it does, e.g. `"linear"` or `"conv2d"`.
    #[serde(rename = "type")]
    pub kind: LayerKind,
    /// Name in tables and files, and for the `inputs` of later layers; absent: by type and place, such as `fc1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The layers it reads, `"input"` for the data; absent: the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<String>>,
    /// An earlier layer whose parameters it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<String>,
    /// linear, bilinear: outputs. May be left out in the last linear layer, where the data decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<usize>,
    /// linear, bilinear, conv2d: whether b is there. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<bool>,
    /// How W starts, e.g. `"he-normal"` or `"normal(0.02)"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// activation: which function, e.g. `"tanh"`.
    #[serde(rename = "fn", default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// conv2d: output channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// conv2d and pools: extent of the window, one number or [rows, columns].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Pair>,
    /// conv2d and pools: steps of the window. Default 1; of a pool: its kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<Pair>,
    /// conv2d and pools: rows and columns added on each side. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding: Option<Pair>,
    /// conv2d and pools: distance of the window's taps. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dilation: Option<Pair>,
    /// conv2d (default 1), group-norm: groups of channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// Norms: ε. Default 1e-5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// batch-norm: share of a new batch in the running averages. Default 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// batch-norm: `"running"` (default) or `"batch"`, in analysis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<BatchStatistics>,
    /// attention: heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// attention: whether tokens see only earlier ones. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causal: Option<bool>,
    /// embedding: rows of the table. Absent: the data's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<usize>,
    /// embedding: its columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// positional: tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// reshape: the new extents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
    /// permute: which axis comes where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axes: Option<Vec<usize>>,
    /// concat: along which axis. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis: Option<usize>,
    /// scale-by: the factor at the start. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    /// dropout: the probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

impl Layer {
    /// A layer of a type, without options.
    pub fn new(kind: LayerKind) -> Self {
        Self {
            kind,
            name: None,
            inputs: None,
            shares: None,
            units: None,
            bias: None,
            init: None,
            function: None,
            channels: None,
            kernel: None,
            stride: None,
            padding: None,
            dilation: None,
            groups: None,
            eps: None,
            momentum: None,
            statistics: None,
            heads: None,
            causal: None,
            vocabulary: None,
            width: None,
            length: None,
            shape: None,
            axes: None,
            axis: None,
            start: None,
            rate: None,
        }
    }

    /// A linear layer.
    pub fn linear(units: Option<usize>, bias: bool, init: &str) -> Self {
        Self { units, bias: Some(bias), init: Some(init.to_owned()), ..Self::new(LayerKind::Linear) }
    }

    /// An activation layer.
    pub fn activation(function: &str) -> Self {
        Self { function: Some(function.to_owned()), ..Self::new(LayerKind::Activation) }
    }

    /// The names of the options that were given.
    pub fn given(&self) -> Vec<String> {
        toml::Table::try_from(self).map_or_else(|_| Vec::new(), |table| table.into_iter().map(|(key, _)| key).collect())
    }
}
