//! One entry of `[[model.layers]]`: what a layer does, and its options.

use std::fmt;

use eigenlens_nets::spec::{EPS, MOMENTUM};
use serde::de::{Deserializer, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

pub use eigenlens_nets::spec::Kind as LayerKind;

/// Options that must be given, and options that may be, beside `name` and `inputs`.
pub fn options(kind: LayerKind) -> (&'static [&'static str], &'static [&'static str]) {
    const POOL: (&[&str], &[&str]) = (&["kernel"], &["stride", "padding", "dilation"]);
    match kind {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrTwo;

        impl<'de> Visitor<'de> for NumberOrTwo {
            type Value = Pair;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, 0 or more, or [rows, columns]")
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Pair, E> {
                let n = usize::try_from(n).map_err(|_| E::invalid_value(Unexpected::Signed(n), &self))?;
                Ok(Pair::Both(n))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pair, A::Error> {
                let mut numbers = Vec::new();
                while let Some(n) = list.next_element::<usize>()? {
                    numbers.push(n);
                }
                let pair: Result<[usize; 2], Vec<usize>> = numbers.try_into();
                pair.map(Pair::Each).map_err(|n| serde::de::Error::invalid_length(n.len(), &self))
            }
        }

        deserializer.deserialize_any(NumberOrTwo)
    }
}

fn kind_name<S: Serializer>(kind: &LayerKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name())
}

fn kind_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LayerKind, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(|_| serde::de::Error::unknown_variant(&name, LayerKind::ALL))
}

/// One entry of `[[model.layers]]`. Which options a type has: `options` at the head of this file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// What it does, e.g. `"linear"` or `"conv2d"`.
    #[serde(rename = "type", serialize_with = "kind_name", deserialize_with = "kind_of")]
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
    pub fn linear(name: String, units: usize, bias: bool, init: &str) -> Self {
        let (init, bias, units) = (Some(init.to_owned()), Some(bias), Some(units));
        Self { name: Some(name), units, bias, init, ..Self::new(LayerKind::Linear) }
    }

    /// Makes explicit what its kind takes if nothing is said; `init` is how the weights of linear layers and convolutions start.
    pub(super) fn fill(&mut self, init: impl FnOnce() -> String) {
        let kind = self.kind;
        if matches!(kind, LayerKind::Linear | LayerKind::Bilinear | LayerKind::Conv2d) {
            self.bias.get_or_insert(true);
        }
        if self.shares.is_none() && self.init.is_none() {
            self.init = match kind {
                LayerKind::Linear | LayerKind::Conv2d => Some(init()),
                _ => kind.default_init().map(|init| init.to_string()),
            };
        }
        if matches!(kind, LayerKind::Conv2d | LayerKind::MaxPool2d | LayerKind::AvgPool2d) {
            let own = if kind == LayerKind::Conv2d { None } else { self.kernel };
            self.stride.get_or_insert(own.unwrap_or(Pair::Both(1)));
            self.padding.get_or_insert(Pair::Both(0));
            self.dilation.get_or_insert(Pair::Both(1));
        }
        if kind.is_norm() {
            self.eps.get_or_insert(EPS);
        }
        match kind {
            LayerKind::Conv2d => {
                self.groups.get_or_insert(1);
            }
            LayerKind::BatchNorm => {
                self.momentum.get_or_insert(MOMENTUM);
                self.statistics.get_or_insert(BatchStatistics::Running);
            }
            LayerKind::Attention => {
                self.causal.get_or_insert(false);
            }
            LayerKind::Concat => {
                self.axis.get_or_insert(0);
            }
            LayerKind::ScaleBy => {
                self.start.get_or_insert(1.0);
            }
            _ => {}
        }
    }

    /// An activation layer.
    pub fn activation(function: &str) -> Self {
        Self { function: Some(function.to_owned()), ..Self::new(LayerKind::Activation) }
    }

    /// Its name, or what the networks call a layer without one at this place.
    pub(super) fn label(&self, place: usize) -> String {
        let kind = self.function.as_deref().unwrap_or(self.kind.name());
        self.name.clone().unwrap_or_else(|| format!("{kind}@{place}"))
    }

    /// The names of the options that were given.
    pub fn given(&self) -> Vec<String> {
        toml::Table::try_from(self).map_or_else(|_| Vec::new(), |table| table.into_iter().map(|(key, _)| key).collect())
    }
}
