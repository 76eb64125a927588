//! `[snapshots]` and `[spectra]`: when the network is looked at, and what is computed then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use eigenlens_hessian::block::BlockOptions;
use eigenlens_hessian::curvature::Curvature;
use eigenlens_nets::Grouping;
use eigenlens_nets::blocks::Group;

use super::Part;

/// Section `[snapshots]`: how many, or after which epochs. The last epoch trained is always one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Snapshots {
    /// How many to take: before training, after geometrically spaced epochs, and at the end. Default 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// After which epochs to take them, increasing; 0 is before training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<Vec<usize>>,
}

/// Snapshots of a run that says nothing about them.
const DEFAULT_COUNT: usize = 8;

impl Snapshots {
    pub(super) fn fill(&mut self) {
        if self.epochs.is_none() {
            self.count.get_or_insert(DEFAULT_COUNT);
        }
    }

    /// The epochs after which to look: increasing, all at most `epochs`, the last one included.
    pub fn at(&self, epochs: usize) -> Vec<usize> {
        let mut at = match &self.epochs {
            Some(at) => at.clone(),
            None => geometric(self.count.unwrap_or(DEFAULT_COUNT), epochs),
        };
        at.retain(|&e| e <= epochs);
        if at.last() != Some(&epochs) {
            at.push(epochs);
        }
        at
    }
}

/// `count` different epochs from 0 to `epochs`: 0 first, `epochs` last, between them as near to a geometric sequence as
/// whole numbers allow. Fewer if there are fewer.
fn geometric(count: usize, epochs: usize) -> Vec<usize> {
    let mut at = vec![0];
    for k in 1..count {
        if at.len() > epochs {
            break;
        }
        let last = *at.last().expect("never empty");
        // From the last one on, the steps still to come have to cover epochs / max(last, 1) with equal ratios.
        let left = (count - k) as f64;
        let from = last.max(1) as f64;
        let next = if last == 0 && count > 2 { 1.0 } else { (from * (epochs as f64 / from).powf(1.0 / left)).round() };
        at.push((next as usize).clamp(last + 1, epochs));
    }
    at
}

/// What a block of the Hessian belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blocks {
    /// Weight and bias of a layer.
    #[default]
    Layer,
    /// A weight or a bias.
    Tensor,
    /// All parameters.
    Network,
    /// A head of an attention, otherwise a layer.
    Head,
    /// One output of a layer.
    Neuron,
}

impl Blocks {
    /// The name in a config.
    pub fn name(self) -> &'static str {
        match self {
            Blocks::Layer => "layer",
            Blocks::Tensor => "tensor",
            Blocks::Network => "network",
            Blocks::Head => "head",
            Blocks::Neuron => "neuron",
        }
    }
}

/// A [`Curvature`] by its name.
mod by_name {
    use eigenlens_hessian::curvature::Curvature;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(curvature: &Curvature, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(curvature.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Curvature, D::Error> {
        let name = String::deserialize(deserializer)?;
        Curvature::of_name(&name).ok_or_else(|| D::Error::unknown_variant(&name, Curvature::NAMES))
    }
}

/// Which blocks get all their eigenvalues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpectraMethod {
    /// Those of up to `exact_max` parameters, or of a rank that is known to be no more.
    #[default]
    Auto,
    /// All.
    Exact,
    /// None.
    Slq,
}

/// Section `[spectra]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spectra {
    /// Which matrix is taken: the Hessian or a part of it, a second moment of gradients, or the local Hessian of each
    /// functional block.
    #[serde(with = "by_name")]
    pub curvature: Curvature,
    /// What each block of the Hessian belongs to: a layer, a tensor, the network, a head, a neuron.
    pub blocks: Blocks,
    /// The blocks whose spectra are computed, by name, with `*` for any characters and `?` for one; absent: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// The quantities that are computed and shown, by their keys (`gap` and `ratio` for all of these, `spectrum`, `phi`);
    /// absent: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quantities: Vec<String>,
    /// Which blocks get all their eigenvalues: `auto` by `exact_max`, `exact` all of them, `slq` none.
    pub method: SpectraMethod,
    /// Blocks of up to this many parameters get their exact spectrum; larger ones extreme pairs and a density.
    pub exact_max: usize,
    /// Largest eigenvalues where the spectrum is not exact; from 21 on they show how many outliers there are.
    pub pairs: usize,
    /// Smallest eigenvalues where the spectrum is not exact.
    pub bottom_pairs: usize,
    /// Probes of stochastic Lanczos quadrature.
    pub slq_probes: usize,
    /// Lanczos steps per probe.
    pub slq_steps: usize,
    /// Eigenvalues below τ·|λ|max count as zero (condition, rank, index).
    pub tau: f64,
    /// The samples that the Hessian is the mean over.
    pub part: Part,
    /// Use at most this many of them; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// Probes of the curvature between blocks (Φ). 0: leave it out.
    pub coupling_probes: usize,
    /// Blocks by name: the layers and tensors that each takes, with `*` for any characters and `?` for one. What none
    /// takes stays with its layer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Vec<String>>,
}

impl Spectra {
    /// How θ is cut into blocks.
    pub fn grouping(&self) -> Grouping {
        match self.blocks {
            _ if !self.groups.is_empty() => {
                let group = |(name, patterns): (&String, &Vec<String>)| Group {
                    name: name.clone(),
                    patterns: patterns.clone(),
                };
                Grouping::Groups(self.groups.iter().map(group).collect())
            }
            Blocks::Layer => Grouping::Layer,
            Blocks::Tensor => Grouping::Tensor,
            Blocks::Network => Grouping::Network,
            Blocks::Head => Grouping::Head,
            Blocks::Neuron => Grouping::Neuron,
        }
    }

    /// Order of the largest matrix whose eigenvalues are all computed.
    pub fn largest_exact(&self) -> usize {
        match self.method {
            SpectraMethod::Auto => self.exact_max,
            SpectraMethod::Exact => usize::MAX,
            SpectraMethod::Slq => 0,
        }
    }

    /// What a block is, in a word: `layer`, `tensor`, `network`, `head`, `neuron` or `group`.
    pub fn block(&self) -> &'static str {
        if self.groups.is_empty() { self.blocks.name() } else { "group" }
    }
}

impl Default for Spectra {
    fn default() -> Self {
        Self {
            curvature: Curvature::default(),
            blocks: Blocks::default(),
            only: Vec::new(),
            quantities: Vec::new(),
            method: SpectraMethod::Auto,
            // Of 2,100 parameters all eigenvalues take about a second on one core; the hidden layers of 64-32-32-10 have
            // 2,080 and 1,056.
            exact_max: 2100,
            pairs: BlockOptions::default().top,
            bottom_pairs: BlockOptions::default().bottom,
            // 10 probes of 80 steps resolve the outliers of Ghorbani et al. 2019, who use 10 and 80 to 100.
            slq_probes: 10,
            slq_steps: 80,
            tau: 1e-6,
            part: Part::Train,
            rows: None,
            coupling_probes: 30,
            groups: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometric_epochs_start_at_zero_and_end_at_the_end() {
        assert_eq!(geometric(8, 50), [0, 1, 2, 4, 8, 15, 27, 50]);
        assert_eq!(geometric(2, 50), [0, 50]);
        assert_eq!(geometric(3, 50), [0, 1, 50]);
    }

    #[test]
    fn there_are_never_more_snapshots_than_epochs_allow() {
        assert_eq!(geometric(8, 3), [0, 1, 2, 3]);
        assert_eq!(geometric(8, 1), [0, 1]);
        assert_eq!(geometric(8, 0), [0]);
        for epochs in 0..60 {
            for count in 2..20 {
                let at = geometric(count, epochs);
                assert!(at.windows(2).all(|w| w[0] < w[1]), "{at:?}");
                assert_eq!((at[0], *at.last().unwrap()), (0, epochs), "{count} of {epochs}");
                assert_eq!(at.len(), count.min(epochs + 1), "{count} of {epochs}: {at:?}");
            }
        }
    }

    #[test]
    fn an_early_end_is_a_snapshot_too() {
        let snapshots = Snapshots { count: None, epochs: Some(vec![0, 5, 50]) };
        assert_eq!(snapshots.at(20), [0, 5, 20]);
        assert_eq!(snapshots.at(50), [0, 5, 50]);
    }
}
