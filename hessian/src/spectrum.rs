//! What is known of the spectrum of one symmetric operator: every eigenvalue, or quadratures and a few extreme pairs.

use eigenlens_linalg::Stop;
use eigenlens_linalg::quadrature::Quadrature;

use crate::estimate::pairwise_sum;

/// An eigenvalue with the norm of its recomputed residual: some eigenvalue lies within `residual` of `value`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The approximate eigenvalue λ (Rayleigh quotient of the unit vector v).
    pub value: f64,
    /// ‖Hv − λv‖.
    pub residual: f64,
}

/// The Gauss quadrature of one probe: Σ ω_j f(λ_j) ≈ vᵀ f(H) v, exact for polynomials of degree 2m − 1.
///
/// For a random unit vector v the right-hand side has the mean tr f(H) / p, if v is a normalised Rademacher or Gaussian
/// vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The m nodes λ_j, ascending.
    pub nodes: Vec<f64>,
    /// The weights ω_j ≥ 0: squared first components of the Ritz vectors. They sum to 1.
    pub weights: Vec<f64>,
    /// Why the recurrence ended. After [`Stop::Invariant`] the quadrature is exact for every f.
    pub stop: Stop,
}

impl Probe {
    /// Σ ω_j f(λ_j), summed by halves.
    pub fn integrate(&self, f: impl Fn(f64) -> f64) -> f64 {
        pairwise_sum(self.nodes.len(), |j| self.weights[j] * f(self.nodes[j]))
    }

    /// The sum of the weights up to and including t: this probe's distribution function.
    pub fn cdf(&self, t: f64) -> f64 {
        let below = self.nodes.partition_point(|&x| x <= t);
        pairwise_sum(below, |j| self.weights[j])
    }

    /// How far [`Probe::cdf`] can be from the measure of the probe itself, at a point t.
    ///
    /// Chebyshev–Markov–Stieltjes: between two nodes the distribution function of any measure with these 2m moments
    /// differs from the partial sum of the Gauss weights by at most the larger of the two neighbouring weights. 0 after an
    /// invariant stop.
    ///
    /// # Sources
    /// Szegő, *Orthogonal Polynomials*, §3.41; Chen, Trogdon & Ubaru 2021, §2.
    pub fn cdf_error(&self, t: f64) -> f64 {
        if self.stop == Stop::Invariant {
            return 0.0;
        }
        let above = self.nodes.partition_point(|&x| x <= t);
        let left = if above == 0 { 0.0 } else { self.weights[above - 1] };
        let right = self.weights.get(above).copied().unwrap_or(0.0);
        left.max(right)
    }

    /// The rule of the first `steps` Lanczos steps, recovered from this one: the difference between the two tells how far
    /// this one has converged. After an invariant stop this rule itself, which is exact. `None` for no steps.
    ///
    /// Cost: O(m · steps²); see [`Quadrature::tridiagonal`].
    pub fn truncated(&self, steps: usize) -> Option<Probe> {
        if self.stop == Stop::Invariant {
            return Some(self.clone());
        }
        let whole = Quadrature { nodes: self.nodes.clone(), weights: self.weights.clone() };
        let rule = Quadrature::gauss(&whole.tridiagonal(steps)?).ok()?;
        Some(Probe { nodes: rule.nodes, weights: rule.weights, stop: self.stop })
    }

    /// The degree of polynomials up to which the rule is exact: 2m − 1, or any after an invariant stop.
    pub fn degree(&self) -> usize {
        if self.stop == Stop::Invariant { usize::MAX } else { (2 * self.nodes.len()).saturating_sub(1) }
    }
}

/// The spectrum of a symmetric operator of dimension p, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Spectrum {
    /// All p eigenvalues.
    Exact {
        /// The eigenvalues, ascending, but for those in `repeated`.
        eigenvalues: Vec<f64>,
        /// One eigenvalue that structure proves to be repeated, and how often beyond those listed: the zeros of a block of
        /// low rank, by the million.
        repeated: Repeated,
    },
    /// Stochastic Lanczos quadrature, and extreme pairs where they were computed.
    Quadrature {
        /// p.
        dim: usize,
        /// One quadrature per random probe; may be empty.
        probes: Vec<Probe>,
        /// The largest eigenvalues, descending; may be empty.
        top: Vec<Pair>,
        /// The smallest eigenvalues, ascending; may be empty.
        bottom: Vec<Pair>,
    },
}

/// An eigenvalue that is there `count` times without being listed.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Repeated {
    /// λ.
    pub value: f64,
    /// How often.
    pub count: usize,
}

impl Spectrum {
    /// An exact spectrum from eigenvalues in any order.
    pub fn exact(eigenvalues: Vec<f64>) -> Self {
        Spectrum::exact_with(eigenvalues, Repeated::default())
    }

    /// An exact spectrum from eigenvalues in any order and one that is there so many times more.
    pub fn exact_with(mut eigenvalues: Vec<f64>, repeated: Repeated) -> Self {
        eigenvalues.sort_by(f64::total_cmp);
        Spectrum::Exact { eigenvalues, repeated }
    }

    /// (λ, how often), ascending, of an exact spectrum. `None` for quadratures.
    pub fn atoms(&self) -> Option<Vec<(f64, f64)>> {
        let Spectrum::Exact { eigenvalues, repeated } = self else { return None };
        let mut atoms: Vec<(f64, f64)> = eigenvalues.iter().map(|&x| (x, 1.0)).collect();
        if repeated.count > 0 {
            let place = eigenvalues.partition_point(|&x| x < repeated.value);
            atoms.insert(place, (repeated.value, repeated.count as f64));
        }
        Some(atoms)
    }

    /// p, the number of eigenvalues.
    pub fn dim(&self) -> usize {
        match self {
            Spectrum::Exact { eigenvalues, repeated } => eigenvalues.len() + repeated.count,
            Spectrum::Quadrature { dim, .. } => *dim,
        }
    }

    /// The k-th largest eigenvalue, from k = 0. `None` if it isn't known.
    pub fn largest(&self, k: usize) -> Option<Pair> {
        match self {
            Spectrum::Exact { eigenvalues, repeated } => {
                let above = eigenvalues.len() - eigenvalues.partition_point(|&x| x < repeated.value);
                let value = if k < above {
                    eigenvalues[eigenvalues.len() - 1 - k]
                } else if k < above + repeated.count {
                    repeated.value
                } else {
                    *eigenvalues.iter().rev().nth(k - repeated.count)?
                };
                Some(Pair { value, residual: 0.0 })
            }
            Spectrum::Quadrature { top, .. } => top.get(k).copied(),
        }
    }

    /// The smallest eigenvalue. `None` if it isn't known: the outermost node of a quadrature only lies inside the spectrum.
    pub fn smallest(&self) -> Option<Pair> {
        match self {
            Spectrum::Exact { .. } => self.largest(self.dim().checked_sub(1)?),
            Spectrum::Quadrature { bottom, .. } => bottom.first().copied(),
        }
    }

    /// The largest absolute value of all that is known: eigenvalues, pairs and nodes. 0 if nothing is.
    pub fn magnitude(&self) -> f64 {
        let largest = |x: &mut dyn Iterator<Item = f64>| x.fold(0.0, |m: f64, v| m.max(v.abs()));
        match self {
            Spectrum::Exact { eigenvalues, repeated } => {
                let more = (repeated.count > 0).then_some(repeated.value);
                largest(&mut eigenvalues.iter().copied().chain(more))
            }
            Spectrum::Quadrature { probes, top, bottom, .. } => {
                let nodes = probes.iter().flat_map(|p| p.nodes.iter().copied());
                largest(&mut nodes.chain(top.iter().chain(bottom).map(|p| p.value)))
            }
        }
    }

    /// Whether all numbers in it are finite.
    pub fn all_finite(&self) -> bool {
        match self {
            Spectrum::Exact { eigenvalues, repeated } => {
                eigenvalues.iter().all(|x| x.is_finite()) && (repeated.count == 0 || repeated.value.is_finite())
            }
            Spectrum::Quadrature { probes, top, bottom, .. } => {
                probes.iter().all(|p| p.nodes.iter().chain(&p.weights).all(|x| x.is_finite()))
                    && top.iter().chain(bottom).all(|p| p.value.is_finite() && p.residual.is_finite())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_points() -> Probe {
        Probe { nodes: vec![-1.0, 2.0], weights: vec![0.25, 0.75], stop: Stop::MaxSteps }
    }

    #[test]
    fn exact_spectra_are_sorted_and_count_from_the_top() {
        let s = Spectrum::exact(vec![2.0, -3.0, 1.0]);
        assert_eq!(s, Spectrum::Exact { eigenvalues: vec![-3.0, 1.0, 2.0], repeated: Repeated::default() });
        assert_eq!(s.largest(1).unwrap().value, 1.0);
        assert_eq!(s.largest(3), None);
        assert_eq!(s.smallest().unwrap().value, -3.0);
        assert_eq!((s.dim(), s.magnitude()), (3, 3.0));
    }

    #[test]
    fn a_repeated_eigenvalue_counts_in_its_place() {
        for value in [-5.0, -1.0, 0.0, 1.0, 9.0] {
            let listed = [-3.0, -1.0, 1.0, 2.0];
            let short = Spectrum::exact_with(listed.to_vec(), Repeated { value, count: 3 });
            let long = Spectrum::exact([listed.as_slice(), &[value; 3]].concat());
            for k in 0..9 {
                assert_eq!(short.largest(k), long.largest(k), "{value}, {k}");
            }
            assert_eq!((short.dim(), short.smallest(), short.magnitude()), (7, long.smallest(), long.magnitude()));
            let atoms = short.atoms().unwrap();
            assert!(atoms.is_sorted_by(|a, b| a.0 <= b.0) && atoms.iter().map(|a| a.1).sum::<f64>() == 7.0);
        }
        let nothing = Spectrum::exact_with(vec![], Repeated { value: 0.0, count: 4 });
        assert_eq!((nothing.dim(), nothing.magnitude(), nothing.largest(4)), (4, 0.0, None));
        assert!(!Spectrum::exact_with(vec![1.0], Repeated { value: f64::NAN, count: 1 }).all_finite());
    }

    #[test]
    fn probe_integrates_and_accumulates() {
        let p = two_points();
        assert_eq!(p.integrate(|x| x * x), 0.25 + 3.0);
        assert_eq!((p.cdf(-2.0), p.cdf(-1.0), p.cdf(0.0), p.cdf(2.0)), (0.0, 0.25, 0.25, 1.0));
    }

    #[test]
    fn stieltjes_bound_is_the_larger_neighbour_and_vanishes_when_invariant() {
        let p = two_points();
        assert_eq!((p.cdf_error(-5.0), p.cdf_error(0.0), p.cdf_error(5.0)), (0.25, 0.75, 0.75));
        assert_eq!(Probe { stop: Stop::Invariant, ..p }.cdf_error(0.0), 0.0);
    }

    #[test]
    fn a_truncated_rule_keeps_the_moments_it_can() {
        let nodes: Vec<f64> = (0..10).map(|i| f64::from(i * i) - 9.0).collect();
        let probe = Probe { weights: (0..10).map(|i| f64::from(i + 1) / 55.0).collect(), nodes, stop: Stop::MaxSteps };
        assert_eq!(probe.degree(), 19);
        for steps in 1..10 {
            let short = probe.truncated(steps).unwrap();
            assert_eq!((short.nodes.len(), short.degree()), (steps, 2 * steps - 1));
            for k in 0..=(2 * steps as i32) {
                let (want, got) = (probe.integrate(|x| x.powi(k)), short.integrate(|x| x.powi(k)));
                let error = (got - want).abs() / 72.0_f64.powi(k);
                assert!(
                    if k < 2 * steps as i32 { error < 1e-13 } else { got < want },
                    "{steps} steps, degree {k}: {error:e}"
                );
            }
        }
        assert_eq!(probe.truncated(0), None);
        let exact = Probe { stop: Stop::Invariant, ..probe };
        assert_eq!(exact.truncated(2), Some(exact.clone()));
        assert_eq!(exact.degree(), usize::MAX);
    }

    #[test]
    fn a_node_is_not_an_extreme_eigenvalue() {
        let s = Spectrum::Quadrature { dim: 9, probes: vec![two_points()], top: vec![], bottom: vec![] };
        assert_eq!((s.largest(0), s.smallest()), (None, None));
        assert_eq!((s.magnitude(), s.dim()), (2.0, 9));
    }

    #[test]
    fn nan_is_seen_wherever_it_hides() {
        assert!(!Spectrum::exact(vec![1.0, f64::NAN]).all_finite());
        let pair = Pair { value: 1.0, residual: f64::NAN };
        let s = Spectrum::Quadrature { dim: 2, probes: vec![two_points()], top: vec![pair], bottom: vec![] };
        assert!(!s.all_finite());
    }
}
