//! y = γ ⊙ x̂ + β, x̂ = (x − mean x) / √(var x + ε) over the batch and all places of each channel: train mode.
//!
//! The statistics are those of the batch, so every sample's output depends on all samples and the batch can't be cut
//! into shards. Samples count alike whatever their weight in the loss. The four maps and their derivation, through the
//! statistics, are those of every normalisation: see [`crate::normalise`].

use crate::normalise::{Groups, Norm};

/// Batch norm in train mode of x (batch, C) or (batch, C, …); γ and β have length C.
///
/// What it saves begins with the C means and then the C biased variances, for a trainer's running statistics (which
/// PyTorch keeps of the unbiased variance, M / (M − 1) times this one). One value per channel has no variance:
/// [`crate::Graph::least_batch`] tells the caller beforehand; `eval` would give y = β.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// C.
    pub channels: usize,
    /// ε, inside of the root.
    pub eps: f64,
}

impl Norm for BatchNorm {
    const NAME: &'static str = "batch-norm";
    const ACROSS: bool = true;

    fn eps(&self) -> f64 {
        self.eps
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn refuse(&self, dims: &[usize]) -> Option<String> {
        (dims.first() != Some(&self.channels)).then(|| format!("the input must have {} channels", self.channels))
    }

    fn groups(&self, len: usize) -> Groups {
        let count = self.channels.max(1);
        Groups { count, len: len / count, channels: 1, all_channels: count, across: true }
    }
}
