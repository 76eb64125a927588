//! Estimators that state their errors, for any symmetric operator: traces and diagonals beyond Hutchinson's, functions, norms.
//!
//! | module | what | products | values of memory |
//! |---|---|---|---|
//! | [`hutchpp`] | trace: the leading part exactly, random signs for the rest | 2 · sketch + probes | n (sketch + 2 lanes) |
//! | [`xtrace`] | trace and diagonal, each probe in the sketch of the others | 2 · probes | 2 to 3 n · probes |
//! | [`xnystrace`] | trace of a positive semidefinite operator, likewise | probes | 2 n · probes |
//! | [`functions`] | log det, effective dimension, nuclear norm, powers, with bounds | probes · steps | n · lanes · steps |
//! | [`deflation`] | any of these sums with known eigenpairs taken exactly | none | n |
//! | [`intervals`] | any of these sums between two ends, for few probes and dominant eigenvalues | none | none |
//! | [`norm`] | ‖A‖₂ between two ends | steps | n · steps |
//!
//! Every one takes seeded probes (probe i is a function of (seed, i)), asks for several products at once, has a standard
//! error, stops at a relative error if one is given, and gives the same bits for any number of lanes and threads.
//!
//! Which one: XNysTrace where the operator is positive semidefinite (Gauss–Newton blocks), XTrace where it is not and the
//! spectrum decays, Hutch++ where the sketch would not fit beside its products, and
//! [Hutchinson](crate::hutchinson) for flat spectra, where deflation buys nothing.
//!
//! # Intervals
//! Intervals of nominally 95 % from ten independent samples (Hutchinson, Hutch++, moments and distribution functions by
//! quadrature) cover 92 to 98 % where no single eigenvalue dominates. Of blocks with ‖H‖_F²/‖H‖₂² below 2 they covered 85 to
//! 91 % (91 to 94 % with 30 samples): there zᵀHz is nearly a multiple of χ²_1. Those of [`intervals`], which know the
//! variance from theory too, cover 92 to 98 % there too, with and without leading eigenpairs taken exactly ([`deflation`]), as tests on
//! three networks hold. Intervals from the errors of XTrace and
//! XNysTrace cover 97 to 100 %, those of XDiag 77 to 92 %: no confidence should be given to them in per cent.

pub mod deflation;
pub mod functions;
pub mod hutchpp;
pub mod intervals;
pub mod norm;
mod sketch;
mod triangular;
pub mod xnystrace;
pub mod xtrace;

use eigenlens_linalg::lanczos::ASYMMETRY;
use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::quadrature::QuadratureError;
use eigenlens_linalg::{LinearOperator, Stop};

use crate::estimate::{Estimate, pairwise_sum};

/// How many probes, and when they are enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceOptions {
    /// Probes at most; never more than n, with which the result is exact.
    pub probes: usize,
    /// Stop once the standard error is at most this share of the result. `None`: use all probes.
    ///
    /// An adaptive run looks after 8, 12, 18, 27 … probes (half as many again each time): few looks, so that it does not
    /// end on samples that happen to agree.
    pub rel_err: Option<f64>,
    /// Probe i is a function of (seed, i).
    pub seed: u64,
    /// Columns per product; `None`: as many as suit the operator. It changes speed and memory, not the result.
    pub lanes: Option<usize>,
}

impl Default for TraceOptions {
    fn default() -> Self {
        TraceOptions { probes: 32, rel_err: None, seed: 0, lanes: None }
    }
}

impl TraceOptions {
    #[track_caller]
    fn check(&self, name: &str, n: usize) {
        assert!(n > 0, "{name} of an operator of dimension 0");
        assert!(self.probes > 0, "{name}: no probes");
        assert!(self.rel_err.is_none_or(|e| e > 0.0), "{name}: relative error {:?}", self.rel_err);
    }

    /// As [`looks`], with n probes at most.
    fn looks(&self, n: usize) -> Vec<usize> {
        looks(self.probes.min(n), self.rel_err.is_some())
    }

    /// Whether a relative error is small enough; `last` if no more probes may be used.
    fn stop(&self, relative: f64, last: bool) -> Option<Stop> {
        match self.rel_err {
            None => last.then_some(Stop::Converged),
            Some(wanted) if relative <= wanted => Some(Stop::Converged),
            Some(_) => last.then_some(Stop::MaxSteps),
        }
    }
}

/// The numbers of probes at which a run of so many looks at its error: 8, 12, 18, 27 … if it is adaptive; the last is its end.
pub(crate) fn looks(probes: usize, adaptive: bool) -> Vec<usize> {
    let mut looks = Vec::new();
    let mut next = 8;
    while adaptive && next < probes {
        looks.push(next);
        next += next / 2;
    }
    looks.push(probes);
    looks
}

/// A trace and what it took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceEstimate {
    /// tr A with its standard error. [`Estimate::interval`] makes an interval of it that covers as often as it says for Hutch++;
    /// for XTrace and XNysTrace it covers more often and is **no 95 % interval** (see there).
    pub trace: Estimate,
    /// Products used.
    pub products: usize,
    /// `Converged`: the error asked for was reached, or all probes were used and none was asked for. `Invariant`: the
    /// sketch holds the whole range of the operator, so that the trace is exact to rounding. `MaxSteps`: the probes ran
    /// out first.
    pub stop: Stop,
}

/// Why there is no estimate.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum EstimatorError {
    /// A product had NaN or infinity.
    #[error("product {product} with the operator is not finite; look for NaN or overflow in weights and data")]
    NonFinite {
        /// Which product, from 1.
        product: usize,
    },
    /// A Lanczos step met NaN or infinity.
    #[error("step {step} of probe {probe} is not finite; look for NaN or overflow in weights and data")]
    NonFiniteStep {
        /// Index of the probe.
        probe: usize,
        /// Lanczos step, from 1.
        step: usize,
    },
    /// A damping that rounding in the products would hide.
    #[error("a damping of {damping:.1e} is below the rounding of a product; take at least {least:.1e}")]
    Damping {
        /// δ.
        damping: f64,
        /// The smallest δ for this operator.
        least: f64,
    },
    /// The small tridiagonal eigenproblem failed.
    #[error("{0}; this should not happen with finite products")]
    Quadrature(#[from] QuadratureError),
    /// uᵀAv and vᵀAu differ by more than rounding.
    #[error("the operator is not symmetric: relative asymmetry {asymmetry:.1e}; only symmetric ones have an estimate")]
    NotSymmetric {
        /// The largest |uᵀAv − vᵀAu| over the largest |uᵀAv| seen.
        asymmetry: f64,
    },
    /// The operator has a negative direction.
    #[error("the operator is not positive semidefinite: a pivot is {pivot:.1e}; XTrace takes indefinite ones")]
    NotPositive {
        /// A pivot or value of the quadratic form that should be positive.
        pivot: f64,
    },
}

/// Products of an operator, `lanes` at a time, counted and checked.
struct Products<'a> {
    a: &'a dyn LinearOperator,
    lanes: usize,
    made: usize,
}

impl<'a> Products<'a> {
    fn new(a: &'a dyn LinearOperator, lanes: Option<usize>) -> Self {
        Products { a, lanes: lanes.unwrap_or_else(|| a.lanes()).max(1), made: 0 }
    }

    /// Y = A X for the columns in `x`, one after the other.
    fn of(&mut self, x: &[f64]) -> Result<Vec<f64>, EstimatorError> {
        let n = self.a.dim();
        let mut y = vec![0.0; x.len()];
        for (x, y) in x.chunks(self.lanes * n).zip(y.chunks_mut(self.lanes * n)) {
            self.a.apply(x.len() / n, x, y);
            for y in y.chunks_exact(n) {
                self.made += 1;
                if !y.iter().all(|v| v.is_finite()) {
                    return Err(EstimatorError::NonFinite { product: self.made });
                }
            }
        }
        Ok(y)
    }
}

/// Probes uniform on the sphere of radius √n: E ω ωᵀ = I, and any few of them are independent vectors.
fn spherical(seed: u64, first: usize, count: usize, n: usize) -> Vec<f64> {
    let mut probes = Distribution::Sphere.probes(seed, first as u64, count, n);
    let radius = (n as f64).sqrt();
    probes.iter_mut().for_each(|x| *x *= radius);
    probes
}

/// The mean, summed by halves.
fn mean(samples: &[f64]) -> f64 {
    pairwise_sum(samples.len(), |i| samples[i]) / samples.len() as f64
}

/// Refuses a difference that is more than rounding beside the largest value.
fn symmetric(difference: f64, largest: f64) -> Result<(), EstimatorError> {
    let asymmetry = if difference == 0.0 { 0.0 } else { difference / largest };
    if asymmetry > ASYMMETRY { Err(EstimatorError::NotSymmetric { asymmetry }) } else { Ok(()) }
}

#[cfg(test)]
mod coverage_tests;
#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod tests;
