//! How much curvature lies between parts of θ: block norms ‖H_ℓm‖_F², the share Φ that a blockwise picture leaves out, and how
//! far that can move its eigenvalues.
//!
//! A probe z on part m gives H_ℓm z for every part ℓ in one product, and E‖H_ℓm z‖² = ‖H_ℓm‖_F². Diagonal and
//! off-diagonal norms come from the *same* probes, so every estimate of Φ lies in [0, 1] (independent probes can leave it).

use std::ops::Range;

use eigenlens_linalg::Real;
use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Objective, Part};

use crate::estimate::{Estimate, Quantity, jackknife_of_means};
use crate::estimators::norm::NormInterval;
use crate::operator::Block;

mod off_diagonal;
mod unrolling;

pub use off_diagonal::{OffDiagonal, blockwise_error, steps_for};
pub use unrolling::{Unrolling, unrolling};

/// How block norms are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CouplingOptions {
    /// Networks of at most this many parameters are done exactly, with all P unit vectors. Default 700.
    pub exact_max: usize,
    /// Rademacher probes per part otherwise. Default 30 (the number of arXiv 2604.11639).
    pub probes: usize,
    /// Lanczos steps at most for ‖H − blockdiag H‖₂. Default 60; 0: leave it out.
    pub steps: usize,
    /// Seed of the probes.
    pub seed: u64,
}

impl Default for CouplingOptions {
    fn default() -> Self {
        CouplingOptions { exact_max: 700, probes: 30, steps: 60, seed: 0 }
    }
}

impl CouplingOptions {
    /// Products with columns confined to a part of p parameters, in a network of so many.
    pub fn columns(&self, p: usize, parameters: usize) -> usize {
        if parameters <= self.exact_max { p } else { self.probes }
    }
}

/// Squared Frobenius norms of all blocks of the Hessian.
#[derive(Clone, Debug, PartialEq)]
pub struct Coupling {
    /// Names of the parts.
    pub parts: Vec<String>,
    /// `norms[l][m]` estimates ‖H_ℓm‖_F²; symmetric only within errors. Exact: `samples` is 0 and the error 0.
    pub norms: Vec<Vec<Estimate>>,
    /// Φ = 1 − Σ_ℓ ‖H_ℓℓ‖_F² / ‖H‖_F², named `phi`. 0 for a Hessian that vanishes.
    pub phi: Quantity,
    /// ‖H − blockdiag H‖₂: at most so far is any eigenvalue of the parts, taken together and sorted, from that of H (Weyl). See
    /// [`blockwise_error`]. `None` without steps, or if a product is not finite or not symmetric.
    pub off_diagonal: Option<NormInterval>,
    /// Whether all P unit vectors were used.
    pub exact: bool,
    /// Full Hessian columns used for the norms.
    pub products: usize,
}

impl Coupling {
    /// C(ℓ, m) = ‖H_ℓm‖_F / √(‖H_ℓℓ‖_F ‖H_mm‖_F); `None` where a diagonal block vanishes. Not clamped.
    pub fn correlation(&self, l: usize, m: usize) -> Option<f64> {
        let scale = (self.norms[l][l].mean * self.norms[m][m].mean).sqrt().sqrt();
        (scale > 0.0).then(|| self.norms[l][m].mean.sqrt() / scale)
    }
}

/// Block norms of the Hessian (or the Gauss–Newton matrix) between parts of θ that cover it, and Φ.
///
/// Cost: K full products (columns confined to one part each) per part, or P in all when exact. Memory: P values
/// per lane, and K values for each pair of parts unless exact. Beside that [`blockwise_error`].
///
/// # Panics
/// If the parts don't cover θ exactly once.
/// # Sources
/// Bolshim & Kugaevskikh, arXiv 2604.11639 (R, C and Φ in parameter space).
#[track_caller]
pub fn coupling<T: Real>(
    objective: &Objective<'_, T>,
    parts: &[Part],
    kind: Kind,
    options: &CouplingOptions,
) -> Coupling {
    let model = objective.model();
    let (count, total) = (parts.len(), model.len());
    let mut ranges: Vec<&Range<usize>> = parts.iter().flat_map(|p| &p.ranges).collect();
    ranges.sort_by_key(|r| r.start);
    let end = ranges.iter().try_fold(0, |end, r| (r.start == end).then_some(r.end));
    assert_eq!(end, Some(total), "the parts cover θ exactly once");
    let (exact, network) = (total <= options.exact_max, Part::network(model));
    // samples[l][m][k] = ‖H_lm z_k‖²; of all unit vectors only the sum.
    let mut samples = vec![vec![Vec::new(); count]; count];
    let mut products = 0;
    for (m, part) in parts.iter().enumerate() {
        let block = Block::between_parts(objective, part, &network, kind);
        let p = part.len();
        let columns = options.columns(p, total);
        let lanes = eigenlens_linalg::LinearOperator::lanes(&block);
        products += columns;
        let (mut x, mut y) = (vec![0.0; lanes * p], vec![0.0; lanes * total]);
        for first in (0..columns).step_by(lanes) {
            let k = lanes.min(columns - first);
            x.fill(0.0);
            for (i, x) in x.chunks_exact_mut(p).take(k).enumerate() {
                if exact {
                    x[first + i] = 1.0;
                } else {
                    // Each part has its own probes: the same signs on two of them would correlate their norms.
                    let index = (m * options.probes + first + i) as u64;
                    Distribution::Rademacher.fill(options.seed, index, x);
                }
            }
            block.multiply(k, &x[..k * p], &mut y[..k * total]);
            for y in y.chunks_exact(total).take(k) {
                for (samples, part) in samples.iter_mut().zip(parts) {
                    let own = part.ranges.iter().flat_map(|r| &y[r.clone()]);
                    let square = own.map(|v| v * v).sum::<f64>();
                    match samples[m].last_mut() {
                        Some(sum) if exact => *sum += square,
                        _ => samples[m].push(square),
                    }
                }
            }
        }
    }
    let norms = samples.iter().map(|row| row.iter().map(|s| norm(s, exact)).collect()).collect();
    let phi = phi(&samples, exact);
    let off_diagonal = match options.steps {
        0 => None,
        steps => blockwise_error(objective, parts, kind, steps, options.seed).ok(),
    };
    Coupling { parts: parts.iter().map(|p| p.name.clone()).collect(), norms, phi, off_diagonal, exact, products }
}

fn norm(samples: &[f64], exact: bool) -> Estimate {
    if exact { Estimate { mean: samples.iter().sum(), sem: 0.0, samples: 0 } } else { Estimate::from_samples(samples) }
}

/// Φ of sums (exact) or of means with a jackknife over probes.
fn phi(samples: &[Vec<Vec<f64>>], exact: bool) -> Quantity {
    let count = samples.len();
    let share = |means: &[f64]| {
        let total: f64 = means.iter().sum();
        let diagonal: f64 = (0..count).map(|l| means[l * count + l]).sum();
        // Rounding may leave the difference a hair below 0.
        if total > 0.0 { (1.0 - diagonal / total).max(0.0) } else { 0.0 }
    };
    let flat: Vec<&[f64]> = samples.iter().flatten().map(Vec::as_slice).collect();
    if exact {
        let sums: Vec<f64> = flat.iter().map(|s| s.iter().sum()).collect();
        return Quantity { name: "phi", value: share(&sums), uncertainty: None };
    }
    let estimate = jackknife_of_means(&flat, share);
    Quantity { name: "phi", value: estimate.mean, uncertainty: Some(estimate.uncertainty()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, cases, linearized};
    use eigenlens_linalg::operator::to_dense;

    #[test]
    fn exact_norms_are_those_of_the_dense_hessian() {
        for Case { name, model, samples } in cases() {
            let objective = linearized(&model, &samples);
            let found = coupling(&objective, &model.layer_blocks(), Kind::Hessian, &CouplingOptions::default());
            let (p, dense) = (model.len(), to_dense(&Block::full(&objective, Kind::Hessian)));
            let mut diagonal = 0.0;
            for (l, a) in model.layers().iter().enumerate() {
                for (m, b) in model.layers().iter().enumerate() {
                    let want: f64 = a
                        .range
                        .clone()
                        .flat_map(|i| b.range.clone().map(move |j| i * p + j))
                        .map(|at| dense[at] * dense[at])
                        .sum();
                    assert!((found.norms[l][m].mean - want).abs() <= 1e-12 * want, "{name} ({l}, {m})");
                    if l == m {
                        diagonal += want;
                    }
                }
            }
            let total: f64 = dense.iter().map(|x| x * x).sum();
            assert!((found.phi.value - (1.0 - diagonal / total)).abs() < 1e-12, "{name}");
            assert!(found.exact && found.phi.uncertainty.is_none());
            assert!((found.correlation(0, 0).unwrap() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn estimates_lie_within_three_errors_and_phi_within_its_range() {
        // Fixed seeds; of the 4 · 9 norms, a 3σ miss has probability below 0.1 in all.
        for Case { name, model, samples } in cases() {
            let objective = linearized(&model, &samples);
            let exact = coupling(&objective, &model.layer_blocks(), Kind::Hessian, &CouplingOptions::default());
            for seed in 0..3 {
                let options = CouplingOptions { exact_max: 0, probes: 200, seed, ..CouplingOptions::default() };
                let found = coupling(&objective, &model.layer_blocks(), Kind::Hessian, &options);
                assert!((0.0..=1.0).contains(&found.phi.value));
                for l in 0..3 {
                    for m in 0..3 {
                        let (e, truth) = (found.norms[l][m], exact.norms[l][m].mean);
                        assert!(
                            (e.mean - truth).abs() <= 4.0 * e.sem + 1e-12 * truth,
                            "{name} ({l}, {m}): {e:?}, {truth}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn few_probes_keep_phi_between_zero_and_one() {
        let Case { model, samples, .. } = cases().swap_remove(1);
        let objective = linearized(&model, &samples);
        for seed in 0..20 {
            let options = CouplingOptions { exact_max: 0, probes: 2, seed, ..CouplingOptions::default() };
            let phi = coupling(&objective, &model.layer_blocks(), Kind::Hessian, &options).phi.value;
            assert!((0.0..=1.0).contains(&phi), "seed {seed}: {phi}");
        }
    }
}
