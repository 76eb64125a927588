//! Kinds of layers by name, and what holds for all layers of a kind.

use std::str::FromStr;

use super::LayerKind;
use crate::init::Init;
use crate::options::{OptionError, name_of, names, value_of};

/// What a layer does, without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
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

const KINDS: [(&str, Kind); 24] = [
    ("linear", Kind::Linear),
    ("bilinear", Kind::Bilinear),
    ("conv2d", Kind::Conv2d),
    ("activation", Kind::Activation),
    ("max-pool2d", Kind::MaxPool2d),
    ("avg-pool2d", Kind::AvgPool2d),
    ("global-avg-pool2d", Kind::GlobalAvgPool2d),
    ("layer-norm", Kind::LayerNorm),
    ("rms-norm", Kind::RmsNorm),
    ("group-norm", Kind::GroupNorm),
    ("batch-norm", Kind::BatchNorm),
    ("attention", Kind::Attention),
    ("embedding", Kind::Embedding),
    ("positional", Kind::Positional),
    ("softmax", Kind::Softmax),
    ("mean-tokens", Kind::MeanTokens),
    ("flatten", Kind::Flatten),
    ("reshape", Kind::Reshape),
    ("permute", Kind::Permute),
    ("add", Kind::Add),
    ("mul", Kind::Mul),
    ("concat", Kind::Concat),
    ("scale-by", Kind::ScaleBy),
    ("dropout", Kind::Dropout),
];
const NAMES: [&str; KINDS.len()] = names(&KINDS);

impl Kind {
    /// Every name.
    pub const ALL: &'static [&'static str] = &NAMES;

    /// The name in configs and messages.
    pub fn name(self) -> &'static str {
        name_of(&KINDS, self)
    }

    /// Whether its layers have parameters of their own, unless they share those of others.
    pub fn has_parameters(self) -> bool {
        matches!(self, Kind::Positional | Kind::ScaleBy) || self.has_weights() || self.is_norm()
    }

    /// Whether it maps features by a weight, and so begins a functional block.
    pub fn has_weights(self) -> bool {
        matches!(self, Kind::Linear | Kind::Bilinear | Kind::Conv2d | Kind::Attention | Kind::Embedding)
    }

    /// Whether it normalises.
    pub fn is_norm(self) -> bool {
        matches!(self, Kind::LayerNorm | Kind::RmsNorm | Kind::GroupNorm | Kind::BatchNorm)
    }

    /// How its weight starts if nothing is said; none for those that start with ones or have no weight.
    pub fn default_init(self) -> Option<Init> {
        match self {
            Kind::Linear | Kind::Bilinear | Kind::Conv2d | Kind::Attention => Some(Init::XavierUniform { gain: 1.0 }),
            // PyTorch's.
            Kind::Embedding => Some(Init::Normal { sd: 1.0 }),
            Kind::Positional => Some(Init::Normal { sd: 0.02 }),
            _ => None,
        }
    }
}

impl FromStr for Kind {
    type Err = OptionError;

    fn from_str(name: &str) -> Result<Self, OptionError> {
        value_of(&KINDS, "type of layer", name, Self::ALL)
    }
}

impl LayerKind {
    /// The same without its numbers.
    pub fn kind(&self) -> Kind {
        match self {
            LayerKind::Linear { .. } => Kind::Linear,
            LayerKind::Bilinear { .. } => Kind::Bilinear,
            LayerKind::Conv2d { .. } => Kind::Conv2d,
            LayerKind::Activation(_) => Kind::Activation,
            LayerKind::MaxPool2d(_) => Kind::MaxPool2d,
            LayerKind::AvgPool2d(_) => Kind::AvgPool2d,
            LayerKind::GlobalAvgPool2d => Kind::GlobalAvgPool2d,
            LayerKind::LayerNorm { .. } => Kind::LayerNorm,
            LayerKind::RmsNorm { .. } => Kind::RmsNorm,
            LayerKind::GroupNorm { .. } => Kind::GroupNorm,
            LayerKind::BatchNorm { .. } => Kind::BatchNorm,
            LayerKind::Attention { .. } => Kind::Attention,
            LayerKind::Embedding { .. } => Kind::Embedding,
            LayerKind::Positional { .. } => Kind::Positional,
            LayerKind::Softmax => Kind::Softmax,
            LayerKind::MeanTokens => Kind::MeanTokens,
            LayerKind::Flatten => Kind::Flatten,
            LayerKind::Reshape(_) => Kind::Reshape,
            LayerKind::Permute(_) => Kind::Permute,
            LayerKind::Add => Kind::Add,
            LayerKind::Mul => Kind::Mul,
            LayerKind::Concat { .. } => Kind::Concat,
            LayerKind::ScaleBy { .. } => Kind::ScaleBy,
            LayerKind::Dropout { .. } => Kind::Dropout,
        }
    }

    /// The name of the kind in configs and messages.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_kinds_are_inverse() {
        for (name, kind) in KINDS {
            assert_eq!((kind.name(), name.parse::<Kind>()), (name, Ok(kind)));
        }
        assert!("liner".parse::<Kind>().unwrap_err().to_string().contains("did you mean 'linear'?"));
    }
}
