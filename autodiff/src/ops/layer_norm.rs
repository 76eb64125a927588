//! y = γ ⊙ x̂ + β, x̂ = (x − mean x) / √(var x + ε) over the last axis.
//!
//! Mean and biased variance are those of each row of the last axis. The four maps and their derivation are those of
//! every normalisation: see [`crate::normalise`].

use crate::normalise::{Groups, Norm};

/// Layer norm over the last axis, of `features` values; γ and β have that length.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    /// Extent of the last axis.
    pub features: usize,
    /// ε, inside of the root.
    pub eps: f64,
}

/// Groups that are rows of the last axis.
pub(super) fn rows(features: usize, len: usize) -> Groups {
    let channels = features.max(1);
    Groups { count: len / channels, len: channels, channels, all_channels: channels }
}

/// What is wrong with the last axis, if anything.
pub(super) fn refuse_last(features: usize, dims: &[usize]) -> Option<String> {
    (dims.last() != Some(&features)).then(|| format!("the last axis must have {features} values"))
}

impl Norm for LayerNorm {
    const NAME: &'static str = "layer-norm";

    fn eps(&self) -> f64 {
        self.eps
    }

    fn channels(&self) -> usize {
        self.features
    }

    fn refuse(&self, dims: &[usize]) -> Option<String> {
        refuse_last(self.features, dims)
    }

    fn groups(&self, len: usize) -> Groups {
        rows(self.features, len)
    }
}
