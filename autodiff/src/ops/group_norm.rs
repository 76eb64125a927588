//! y = γ ⊙ x̂ + β, x̂ = (x − mean x) / √(var x + ε) over groups of channels of each sample.
//!
//! Source: Wu, He 2018. One group is a layer norm over all of a sample, as many groups as channels an instance norm; γ
//! and β are per channel. The four maps and their derivation are those of every normalisation: see [`crate::normalise`].

use crate::normalise::{Groups, Norm};

/// Group norm of x (batch, C, …): the C channels form `groups` groups of neighbours; γ and β have length C.
#[derive(Clone, Copy, Debug)]
pub struct GroupNorm {
    /// C.
    pub channels: usize,
    /// Values of a channel of one sample: H · W, or 1.
    pub spatial: usize,
    /// How many groups; a divisor of C.
    pub groups: usize,
    /// ε, inside of the root.
    pub eps: f64,
}

impl Norm for GroupNorm {
    const NAME: &'static str = "group-norm";

    fn eps(&self) -> f64 {
        self.eps
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn refuse(&self, dims: &[usize]) -> Option<String> {
        let (c, s) = (self.channels, self.spatial);
        if self.groups == 0 || !c.is_multiple_of(self.groups) {
            return Some(format!("{c} channels can't form {} groups", self.groups));
        }
        let fits = dims.first() == Some(&c) && dims[1..].iter().product::<usize>() == s;
        (!fits).then(|| format!("the input must have {c} channels of {s} values"))
    }

    fn groups(&self, len: usize) -> Groups {
        let channels = (self.channels / self.groups.max(1)).max(1);
        let size = (channels * self.spatial).max(1);
        Groups { count: len / size, len: size, channels, all_channels: self.channels }
    }
}
