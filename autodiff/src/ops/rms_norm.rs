//! y = γ ⊙ x̂, x̂ = x / √(mean x² + ε) over the last axis.
//!
//! Source: Zhang, Sennrich 2019. The four maps and their derivation are those of every normalisation, without the mean:
//! see [`crate::normalise`].

use super::layer_norm::{refuse_last, rows};
use crate::normalise::{Groups, Norm};

/// RMS norm over the last axis, of `features` values; γ has that length, and there is no β.
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm {
    /// Extent of the last axis.
    pub features: usize,
    /// ε, inside of the root.
    pub eps: f64,
}

impl Norm for RmsNorm {
    const NAME: &'static str = "rms-norm";
    const CENTRED: bool = false;

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
