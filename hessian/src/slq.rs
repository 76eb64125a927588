//! Stochastic Lanczos quadrature: the spectral distribution of an operator from a few random vectors.

use eigenlens_linalg::lanczos::{Options, lockstep};
use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::quadrature::QuadratureError;
use eigenlens_linalg::{LinearOperator, Stop};

use crate::density::{CdfDistance, cdf_distance};
use crate::estimate::Estimate;
use crate::estimators::looks;
use crate::spectrum::{Probe, Spectrum};

/// How many probes, how deep, and from which seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlqOptions {
    /// Random start vectors at most. Default 10 (Ghorbani et al. 2019, §2.1). With one there is no standard error.
    pub probes: usize,
    /// Stop once the [discrepancy](SlqResult::discrepancy) of the distribution is at most this. `None`: use all probes.
    ///
    /// An adaptive run looks after 8, 12, 18, 27 … probes (half as many again each time): few looks, so that it does not
    /// end on probes that happen to agree.
    pub rel_err: Option<f64>,
    /// Lanczos steps per probe, also never more than n. Default 80 (Ghorbani et al. 2019, §2.1).
    pub steps: usize,
    /// Probe i is a function of (seed, i).
    pub seed: u64,
    /// Probes that run in lockstep, one product of so many columns per step; `None`: as many as suit the operator. Memory
    /// is lanes · (steps + 3) · n values. It changes speed, not the result.
    pub lanes: Option<usize>,
    /// Distribution of the probes. Default Rademacher: the first moment is then Hutchinson's estimate of tr H / n, which has
    /// the smaller variance. A Gaussian probe has a component along every eigenvector, a Rademacher probe of a small or
    /// structured matrix may have none.
    pub distribution: Distribution,
}

impl Default for SlqOptions {
    fn default() -> Self {
        SlqOptions {
            probes: 10,
            rel_err: None,
            steps: 80,
            seed: 0,
            lanes: None,
            distribution: Distribution::Rademacher,
        }
    }
}

/// Why there are no quadratures.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SlqError {
    /// A product had NaN or infinity.
    #[error("the operator returned NaN or infinity in step {step} of probe {probe}")]
    NonFinite {
        /// Index of the probe.
        probe: usize,
        /// Lanczos step, from 1.
        step: usize,
    },
    /// uᵀHv and vᵀHu differ by more than rounding.
    #[error("the operator is not symmetric: relative asymmetry {asymmetry:.1e} in probe {probe}")]
    NotSymmetric {
        /// Index of the probe.
        probe: usize,
        /// The largest |uᵀHv − vᵀHu| / ‖Hv‖ seen.
        asymmetry: f64,
    },
    /// The small tridiagonal eigenproblem failed.
    #[error("probe {probe}: {source}")]
    Quadrature {
        /// Index of the probe.
        probe: usize,
        /// What failed.
        source: QuadratureError,
    },
}

/// One quadrature per probe.
#[derive(Clone, Debug, PartialEq)]
pub struct SlqResult {
    /// Dimension n of the operator.
    pub dim: usize,
    /// The quadratures, in the order of the probes. Each says why its recurrence ended: `MaxSteps` when all steps were made,
    /// `Invariant` when the Krylov space closed before and the quadrature is exact.
    pub quadratures: Vec<Probe>,
    /// Products used.
    pub products: usize,
    /// `Converged`: the discrepancy asked for was reached, or all probes were used and none was asked for. `MaxSteps`: the
    /// probes ran out first.
    pub stop: Stop,
}

/// Stochastic Lanczos quadrature with fully re-orthogonalised Lanczos.
///
/// For unit probes v_i, Σ_j ω_j f(λ_j) ≈ v_iᵀ f(H) v_i, whose mean is tr f(H) / n. Exact for polynomials of degree
/// 2 · steps − 1, so the first two moments carry the error of the probes alone.
///
/// Cost: probes · steps products and 4 n steps² flops per probe for the orthogonalisation.
///
/// # Errors
/// If a product is not finite or the operator is not symmetric; nothing is returned then, since a quadrature that ended
/// early for such a reason stands for nothing.
/// # Panics
/// If there are no probes, no steps, or n = 0; if `rel_err` is not positive.
///
/// # Sources
/// Ubaru, Chen & Saad 2017; Ghorbani, Krishnan & Xiao 2019.
///
/// ```
/// use eigenlens_hessian::slq::{SlqOptions, slq};
/// use eigenlens_linalg::operator::DenseOperator;
///
/// let h = DenseOperator::diagonal(&[3.0, 1.0, -1.0]);
/// let rules = slq(&h, &SlqOptions::default()).unwrap();
/// // Signs see a diagonal exactly: the trace has no spread.
/// assert!((rules.trace_of(|x| x).mean - 3.0).abs() < 1e-14);
/// ```
#[track_caller]
pub fn slq(a: &dyn LinearOperator, options: &SlqOptions) -> Result<SlqResult, SlqError> {
    let n = a.dim();
    assert!(n > 0, "stochastic Lanczos quadrature of an operator of dimension 0");
    assert!(options.probes > 0 && options.steps > 0, "{} probes of {} steps", options.probes, options.steps);
    let lanes = options.lanes.unwrap_or_else(|| a.lanes()).clamp(1, options.probes);
    assert!(
        options.rel_err.is_none_or(|e| e > 0.0),
        "stochastic Lanczos quadrature: relative error {:?}",
        options.rel_err
    );
    let mut result =
        SlqResult { dim: n, quadratures: Vec::with_capacity(options.probes), products: 0, stop: Stop::Converged };
    let looks = looks(options.probes, options.rel_err.is_some());
    for &look in &looks {
        probe(a, options, lanes, look, &mut result)?;
        if options.rel_err.is_some_and(|e| result.discrepancy() <= e) {
            return Ok(result);
        }
    }
    result.stop = if options.rel_err.is_some() { Stop::MaxSteps } else { Stop::Converged };
    Ok(result)
}

/// Runs further probes until there are `count`.
fn probe(
    a: &dyn LinearOperator,
    options: &SlqOptions,
    lanes: usize,
    count: usize,
    result: &mut SlqResult,
) -> Result<(), SlqError> {
    let n = a.dim();
    for first in (result.quadratures.len()..count).step_by(lanes) {
        let count = lanes.min(count - first);
        let starts = options.distribution.probes(options.seed, first as u64, count, n);
        for run in lockstep(a, &starts, &Options::steps(options.steps)) {
            let (probe, stop) = (result.quadratures.len(), run.stop());
            result.products += run.products();
            match stop {
                Stop::NonFinite => return Err(SlqError::NonFinite { probe, step: run.steps() + 1 }),
                Stop::NotSymmetric => return Err(SlqError::NotSymmetric { probe, asymmetry: run.asymmetry() }),
                Stop::Converged | Stop::Invariant | Stop::MaxSteps => {}
            }
            let rule = run.quadrature().map_err(|source| SlqError::Quadrature { probe, source })?;
            result.quadratures.push(Probe { nodes: rule.nodes, weights: rule.weights, stop });
        }
    }
    Ok(())
}

/// How much the distribution of an operator of dimension n still depends on the probes: half the Wasserstein-1 distance between
/// the mean distributions of those of even and of odd number, as a share of the mean |λ| (the distance from no curvature at
/// all). The mean of both halves errs by about half of what they differ by. NaN below two probes, 0 where the halves agree.
pub fn discrepancy(n: usize, probes: &[Probe]) -> f64 {
    let half = probes.len() / 2;
    if half == 0 {
        return f64::NAN;
    }
    let part = |odd: usize| {
        let probes = probes.iter().skip(odd).step_by(2).take(half).cloned().collect();
        Spectrum::Quadrature { dim: n, probes, top: vec![], bottom: vec![] }
    };
    let Some(distance) = cdf_distance(&part(0), &part(1)) else { return f64::NAN };
    let size = probes.iter().map(|q| q.integrate(f64::abs)).sum::<f64>() / probes.len() as f64;
    if distance.wasserstein == 0.0 { 0.0 } else { 0.5 * distance.wasserstein / size }
}

impl SlqResult {
    /// tr f(H) = n E Σ ω f(λ), with its standard error over the probes. The error of the quadrature itself comes on top,
    /// unless f is a polynomial of degree at most 2 · steps − 1.
    pub fn trace_of(&self, f: impl Fn(f64) -> f64) -> Estimate {
        let n = self.dim as f64;
        let samples: Vec<f64> = self.quadratures.iter().map(|q| n * q.integrate(&f)).collect();
        Estimate::from_samples(&samples)
    }

    /// The k-th moment tr H^k / n.
    pub fn moment(&self, k: i32) -> Estimate {
        self.trace_of(|x| x.powi(k)).scaled(1.0 / self.dim as f64)
    }

    /// How much the distribution still depends on the probes; see [`discrepancy`].
    pub fn discrepancy(&self) -> f64 {
        discrepancy(self.dim, &self.quadratures)
    }

    /// Why each recurrence ended.
    pub fn stops(&self) -> Vec<Stop> {
        self.quadratures.iter().map(|q| q.stop).collect()
    }

    /// As a spectrum without extreme pairs, for metrics and pictures.
    pub fn spectrum(&self) -> Spectrum {
        Spectrum::Quadrature { dim: self.dim, probes: self.quadratures.clone(), top: vec![], bottom: vec![] }
    }

    /// Distances of the mean distribution from that of all eigenvalues, in any order. `None` for an empty or non-finite
    /// list.
    pub fn cdf_distance(&self, eigenvalues: &[f64]) -> Option<CdfDistance> {
        cdf_distance(&self.spectrum(), &Spectrum::exact(eigenvalues.to_vec()))
    }
}

#[cfg(test)]
pub(crate) mod tests;
