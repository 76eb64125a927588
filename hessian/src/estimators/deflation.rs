//! Known eigenpairs as control variates: what they contribute to a sum over the spectrum is taken exactly.
//!
//! A probe z sees a known pair (λ, u) with the factor (uᵀz)², whose mean is 1 for signs, normal entries and vectors of length
//! √n. So for any f, n Σ ω f(θ) − Σ_j f(λ_j) ((u_jᵀz)² − 1) has the same mean as n Σ ω f(θ), and its spread over probes is that
//! of what the pairs leave. The variance of a trace falls from 2 ‖H‖_F² to 2 (‖H‖_F² − Σ λ_j²), less what the diagonal takes
//! off. No product is needed beyond those that found the pairs.
//!
//! The mean is right for any unit vectors, eigenvectors or not: vectors of poor quality cost accuracy, not honesty.
//!
//! # Sources
//! Gambhir, Stathopoulos & Orginos, *Deflation as a method of variance reduction for estimating the trace of a matrix
//! inverse* (2017); control variates as in any text on Monte Carlo.

use eigenlens_linalg::reduce::dot;

use crate::estimate::Estimate;
use crate::slq::{SlqOptions, SlqResult};

/// How the probes of a quadrature see some eigenpairs.
#[derive(Clone, Debug, PartialEq)]
pub struct Deflation {
    /// λ_j.
    values: Vec<f64>,
    /// (u_jᵀz_i)² n/‖z_i‖² of probe i, for all j.
    seen: Vec<Vec<f64>>,
}

impl Deflation {
    /// Of orthonormal `vectors`, stored one after the other, with their eigenvalues, in the first `probes` probes that
    /// [`slq`](crate::slq::slq) draws with these options.
    ///
    /// Cost: the probes are drawn again, one at a time; 2 n flops for each probe and pair.
    ///
    /// # Panics
    /// If there are not n values for each vector.
    #[track_caller]
    pub fn new(n: usize, values: &[f64], vectors: &[f64], options: &SlqOptions, probes: usize) -> Self {
        assert_eq!(vectors.len(), n * values.len(), "{} eigenvectors of length {n}", values.len());
        let mut z = vec![0.0; n];
        let seen = (0..probes).map(|i| {
            options.distribution.fill(options.seed, i as u64, &mut z);
            let share = n as f64 / dot(&z, &z);
            vectors.chunks_exact(n.max(1)).map(|u| dot(u, &z).powi(2) * share).collect()
        });
        Deflation { values: values.to_vec(), seen: seen.collect() }
    }

    /// Σ_j f(λ_j) ((u_jᵀz_i)² − 1): what probe i sees too much of.
    pub fn excess(&self, probe: usize, f: impl Fn(f64) -> f64) -> f64 {
        self.values.iter().zip(&self.seen[probe]).map(|(&l, s)| f(l) * (s - 1.0)).sum()
    }

    /// Σ_j f(λ_j).
    pub fn sum(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.values.iter().map(|&l| f(l)).sum()
    }
}

impl SlqResult {
    /// [`trace_of`](Self::trace_of) with the known pairs taken exactly.
    ///
    /// # Panics
    /// If the pairs were seen by fewer probes.
    pub fn deflated_trace_of(&self, deflation: &Deflation, f: impl Fn(f64) -> f64) -> Estimate {
        let n = self.dim as f64;
        let sample = |(i, q): (usize, &crate::spectrum::Probe)| n * q.integrate(&f) - deflation.excess(i, &f);
        Estimate::from_samples(&self.quadratures.iter().enumerate().map(sample).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slq::slq;
    use crate::slq::tests::{outliers_and_bulk, rotated};
    use eigenlens_linalg::dense;
    use eigenlens_linalg::probes::Distribution;

    /// Nine outliers of which some are known: the mean over many seeds is right, the variance is that of what they leave, and
    /// with all pairs known there is no error.
    #[test]
    fn known_pairs_leave_the_mean_and_take_their_variance() {
        let n = 40;
        let l = outliers_and_bulk(n);
        let a = rotated(&l);
        let e = dense::eigen(n, a.entries()).unwrap();
        let pairs = |k: usize| {
            let vectors: Vec<f64> = (n - k..n).flat_map(|i| e.vector(i)).copied().collect();
            (e.values[n - k..].to_vec(), vectors)
        };
        for distribution in [Distribution::Rademacher, Distribution::Gaussian] {
            let o = SlqOptions { probes: 2000, steps: 3, distribution, ..Default::default() };
            let rules = slq(&a, &o).unwrap();
            for power in 1..4 {
                let f = |x: f64| x.powi(power);
                let want: f64 = l.iter().map(|&x| f(x)).sum();
                let mut before = rules.trace_of(f).sem;
                for k in [3, 9, n] {
                    let (values, vectors) = pairs(k);
                    let d = Deflation::new(n, &values, &vectors, &o, o.probes);
                    let t = rules.deflated_trace_of(&d, f);
                    assert!((t.mean - want).abs() < 4.0 * t.sem + 1e-9, "{distribution:?} {power} {k}: {t} for {want}");
                    assert!(t.sem < 0.75 * before, "{distribution:?} {power} {k}: {} after {before}", t.sem);
                    before = t.sem;
                }
                assert!(before < 1e-9, "{before}");
            }
        }
    }
}
