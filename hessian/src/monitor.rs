//! Watching training through traces: every layer's from the same few products, what scatters them, and when to raise an alarm.
//!
//! With z of random signs on all of θ, z_ℓ · (Hz)_ℓ is an unbiased estimate of tr H_ℓℓ for every layer ℓ from *one* product.
//! What the other layers add to it is noise: over K probes
//!
//! - Var T̂_ℓ = V_ℓ / K with V_ℓ = 2 (‖H_ℓℓ‖_F² − Σ_i H_ii²) + Σ_{m≠ℓ} ‖H_ℓm‖_F²
//! - Cov(T̂_ℓ, T̂_m) = ‖H_ℓm‖_F² / K: how the estimates move together tells how strongly layers are coupled, for nothing
//!
//! On mini-batches the matrix itself scatters, too; [`Sampling`] takes the two apart. [`Cusum`] watches a series of numbers.
//!
//! A product on all of θ serves traces only: eigenvalues of a block need vectors that are confined to it.

use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::{LinearOperator, Real};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Objective, Part};

use crate::estimate::{Estimate, pairwise_sum};
use crate::operator::Block;

mod cusum;

pub use cusum::{Alarm, Baseline, Cusum, Detection, Side, Z95, wilson};

/// Estimates of the traces of all parts from shared probes.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerTraces {
    /// Names of the parts.
    pub parts: Vec<String>,
    /// `samples[l][k]` = z_ℓ · (Hz)_ℓ of probe k.
    pub samples: Vec<Vec<f64>>,
}

/// tr H_ℓℓ of every part from `probes` vectors of random signs on all of θ; probe k is a function of (seed, k).
///
/// Cost: `probes` Hessian products of the network.
///
/// # Panics
/// If there are no probes or no parts.
#[track_caller]
pub fn layer_traces<T: Real>(
    objective: &Objective<'_, T>,
    parts: &[Part],
    kind: Kind,
    probes: usize,
    seed: u64,
) -> LayerTraces {
    assert!(probes > 0 && !parts.is_empty(), "{probes} probes for {} parts", parts.len());
    let all = Block::full(objective, kind);
    let n = all.dim();
    let lanes = all.lanes().clamp(1, probes);
    let mut samples = vec![Vec::with_capacity(probes); parts.len()];
    let mut y = vec![0.0; lanes * n];
    for first in (0..probes).step_by(lanes) {
        let count = lanes.min(probes - first);
        let z = Distribution::Rademacher.probes(seed, first as u64, count, n);
        all.apply(count, &z, &mut y[..count * n]);
        for (z, y) in z.chunks_exact(n).zip(y.chunks_exact(n)) {
            for (samples, part) in samples.iter_mut().zip(parts) {
                let own = |r: &std::ops::Range<usize>| pairwise_sum(r.len(), |i| z[r.start + i] * y[r.start + i]);
                samples.push(part.ranges.iter().map(own).sum());
            }
        }
    }
    LayerTraces { parts: parts.iter().map(|p| p.name.clone()).collect(), samples }
}

impl LayerTraces {
    /// Number of probes K.
    pub fn probes(&self) -> usize {
        self.samples[0].len()
    }

    /// T̂_ℓ with its standard error.
    pub fn trace(&self, part: usize) -> Estimate {
        Estimate::from_samples(&self.samples[part])
    }

    /// An estimate of V_ℓ, K times the variance of T̂_ℓ. NaN for a single probe.
    pub fn variance(&self, part: usize) -> f64 {
        self.trace(part).sem.powi(2) * self.probes() as f64
    }

    /// ‖H_ℓm‖_F² for ℓ ≠ m, from how the two estimates move together, with its standard error. May be negative where the coupling
    /// is smaller than the error. NaN for a single probe.
    ///
    /// Each probe's product of deviations counts as a sample, K / (K − 1) of it, as the means are estimated, too.
    ///
    /// # Panics
    /// If ℓ = m: the variance of one estimate is not the norm of its block.
    #[track_caller]
    pub fn coupling(&self, l: usize, m: usize) -> Estimate {
        assert_ne!(l, m, "the coupling of a part with itself");
        let (a, b, k) = (self.trace(l).mean, self.trace(m).mean, self.probes() as f64);
        let pairs = self.samples[l].iter().zip(&self.samples[m]);
        let products: Vec<f64> = pairs.map(|(x, y)| (x - a) * (y - b)).collect();
        Estimate::from_samples(&products).scaled(if k > 1.0 { k / (k - 1.0) } else { f64::NAN })
    }
}

/// Where the scatter of a trace over mini-batches comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// E(V_ℓ) over batches: the variance of a single probe on a batch.
    pub within: f64,
    /// Var(tr H_ℓℓ) over batches: the variance of the trace itself from batch to batch. An unbiased estimate, and so possibly negative.
    pub between: f64,
    /// Probes at each batch.
    pub probes: usize,
    /// Batches.
    pub batches: usize,
}

impl Sampling {
    /// From the traces of one part on several batches.
    ///
    /// With the variance of the means of K probes over batches, Var T̂ = Var(tr H_ℓℓ) + E(V_ℓ) / K; the second term is taken off.
    ///
    /// # Panics
    /// If there are fewer than two batches or probes, or batches differ in their number of probes.
    #[track_caller]
    pub fn of(batches: &[LayerTraces], part: usize) -> Self {
        let probes = batches.first().map_or(0, LayerTraces::probes);
        assert!(batches.len() > 1 && probes > 1, "{} batches of {probes} probes", batches.len());
        assert!(batches.iter().all(|b| b.probes() == probes), "batches with different numbers of probes");
        let mean =
            |f: &dyn Fn(&LayerTraces) -> f64| pairwise_sum(batches.len(), |i| f(&batches[i])) / batches.len() as f64;
        let within = mean(&|b| b.variance(part));
        let means: Vec<f64> = batches.iter().map(|b| b.trace(part).mean).collect();
        let scatter = Estimate::from_samples(&means).sem.powi(2) * batches.len() as f64;
        Sampling { within, between: scatter - within / probes as f64, probes, batches: batches.len() }
    }

    /// K* = E(V_ℓ) / Var(tr H_ℓℓ): with so many probes, probes and batches scatter the estimate alike; many more are wasted.
    /// None if the scatter over batches can't be told from that of the probes.
    pub fn critical_probes(&self) -> Option<f64> {
        (self.between > 0.0).then(|| self.within / self.between)
    }
}

#[cfg(test)]
mod tests;
