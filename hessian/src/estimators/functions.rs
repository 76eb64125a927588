//! Sums of functions of the eigenvalues, tr f(A), with the error of the quadrature enclosed and that of the probes beside it.

use eigenlens_linalg::lanczos::{Factorization, Options, grow};
use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::quadrature::{Quadrature, QuadratureError};
use eigenlens_linalg::{LinearOperator, Stop};

use super::EstimatorError;
use crate::estimate::Estimate;

/// A function of the eigenvalues.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SpectralFunction {
    /// log(λ + δ), summing to log det(A + δI). A positive semidefinite.
    LogDet {
        /// δ > 0.
        damping: f64,
    },
    /// λ/(λ + δ), summing to the effective dimension. A positive semidefinite.
    EffectiveDimension {
        /// δ > 0.
        damping: f64,
    },
    /// |λ|, summing to the nuclear norm. It has no derivatives at 0, so there are Gauss estimates and no bounds.
    Nuclear,
    /// λ^k, summing to tr Aᵏ: exact for each probe, because the run makes (k + 1)/2 steps at least.
    Power(u32),
}

impl SpectralFunction {
    fn at(self, x: f64) -> f64 {
        match self {
            Self::LogDet { damping } => (x + damping).ln(),
            Self::EffectiveDimension { damping } => x / (x + damping),
            Self::Nuclear => x.abs(),
            Self::Power(k) => x.powi(k as i32),
        }
    }

    fn slope(self, x: f64) -> f64 {
        match self {
            Self::LogDet { damping } => 1.0 / (x + damping),
            Self::EffectiveDimension { damping } => damping / (x + damping).powi(2),
            Self::Nuclear => 1.0,
            Self::Power(0) => 0.0,
            Self::Power(k) => f64::from(k) * x.powi(k as i32 - 1),
        }
    }

    /// δ, for the functions whose even derivatives are negative and odd ones positive beyond −δ.
    fn damping(self) -> Option<f64> {
        match self {
            Self::LogDet { damping } | Self::EffectiveDimension { damping } => Some(damping),
            Self::Nuclear | Self::Power(_) => None,
        }
    }
}

/// How many probes and steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FunctionOptions {
    /// Probes at most.
    pub probes: usize,
    /// Lanczos steps per probe at most.
    pub steps: usize,
    /// Stop taking steps once half the width of the enclosure is at most a tenth of this share of the result, and probes
    /// once the standard error is at most this share. `None`: use all.
    pub rel_err: Option<f64>,
    /// Probe i is a function of (seed, i).
    pub seed: u64,
    /// Probes that run in lockstep; `None`: as many as suit the operator. Memory is lanes · (steps + 3) · n values. It
    /// changes speed, not the result.
    pub lanes: Option<usize>,
}

impl Default for FunctionOptions {
    fn default() -> Self {
        FunctionOptions { probes: 16, steps: 80, rel_err: None, seed: 0, lanes: None }
    }
}

/// tr f(A), the two errors kept apart.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionEstimate {
    /// The estimate with its standard error over the probes: the middle of the enclosure, or the Gauss rule without one.
    pub value: Estimate,
    /// (lower, upper) ends for the mean over **these** probes of n vᵀf(A)v: what more steps could change, and no more than
    /// that. Rounding is included. `None` where the function has no bounds.
    pub bracket: Option<(Estimate, Estimate)>,
    /// Products used.
    pub products: usize,
    /// `Converged`: as asked for. `MaxSteps`: probes or steps ran out before the relative error was reached.
    pub stop: Stop,
}

impl FunctionEstimate {
    /// An interval for tr f(A) from both errors: the lower end of the lower bound's Student interval to the upper end of the
    /// upper bound's. Without bounds that of the Gauss estimate, which says nothing of the quadrature.
    #[track_caller]
    pub fn interval(&self, level: f64) -> (f64, f64) {
        let (lower, upper) = self.bracket.unwrap_or((self.value, self.value));
        (lower.interval(level).0, upper.interval(level).1)
    }

    /// Half the width of the bracket: the error of the quadrature at most. NaN without bounds.
    pub fn quadrature_error(&self) -> f64 {
        self.bracket.map_or(f64::NAN, |(lower, upper)| 0.5 * (upper.mean - lower.mean))
    }
}

/// An adaptive run looks at its error after every so many probes, from two times that on, as Hutchinson's does.
const ROUND: usize = 8;
/// Steps between two looks at the width of an enclosure.
const STRIDE: usize = 8;

/// tr f(A) from Gauss and Gauss–Radau quadrature for random signs v: E n vᵀf(A)v/‖v‖² = tr f(A).
///
/// For log(λ + δ) and λ/(λ + δ) even derivatives are negative and odd ones positive for λ > −δ. So the Gauss rule is never
/// below the value of a probe, and the Radau rule with a node at or below all eigenvalues never above: a bracket for every
/// number of steps. The node is at −10 min(n, 1000) ε ‖A‖, zero less what a product may err by. Bounds are widened by the
/// rounding of the recurrence, 10 m ε ‖A‖ · mean |f'|.
///
/// Cost: probes · steps products, 4 n steps² flops per probe.
///
/// # Errors
/// A product that is not finite; an operator that is not symmetric, or that has a value below the node for the functions
/// that ask for a positive semidefinite one; a δ below what a product errs by.
/// # Panics
/// If n = 0, there are no probes or steps, or δ or `rel_err` is not positive.
///
/// # Sources
/// Golub & Meurant, *Matrices, Moments and Quadrature with Applications* (2010), ch. 6; Bai, Fahey & Golub 1996 (log det);
/// Ubaru, Chen & Saad 2017.
#[track_caller]
pub fn trace_of_function(
    a: &dyn LinearOperator,
    f: SpectralFunction,
    options: &FunctionOptions,
) -> Result<FunctionEstimate, EstimatorError> {
    let n = a.dim();
    assert!(n > 0, "a function of an operator of dimension 0");
    assert!(options.probes > 0 && options.steps > 0, "{} probes of {} steps", options.probes, options.steps);
    assert!(options.rel_err.is_none_or(|e| e > 0.0), "relative error {:?}", options.rel_err);
    assert!(f.damping().is_none_or(|d| d > 0.0), "{f:?}: δ must be positive");
    let steps = if let SpectralFunction::Power(k) = f { options.steps.max(k as usize / 2 + 1) } else { options.steps };
    let lanes = options.lanes.unwrap_or_else(|| a.lanes()).max(1);
    let (mut lower, mut upper, mut products) = (Vec::new(), Vec::new(), 0);
    loop {
        let done = lower.len();
        let round = if options.rel_err.is_some() { ROUND } else { options.probes }.min(options.probes - done);
        for first in (0..round).step_by(lanes) {
            let count = lanes.min(round - first);
            let starts = Distribution::Rademacher.probes(options.seed, (done + first) as u64, count, n);
            let mut runs: Vec<Factorization> = starts.chunks_exact(n).map(Factorization::new).collect();
            let ends = advance(a, &mut runs, f, steps, options.rel_err, done + first)?;
            products += runs.iter().map(Factorization::products).sum::<usize>();
            for (low, high) in ends {
                lower.push(n as f64 * low);
                upper.push(n as f64 * high);
            }
        }
        let middles: Vec<f64> = lower.iter().zip(&upper).map(|(a, b)| 0.5 * (a + b)).collect();
        let value = Estimate::from_samples(&middles);
        let (low, high) = (Estimate::from_samples(&lower), Estimate::from_samples(&upper));
        let last = lower.len() == options.probes;
        let reached = options.rel_err.is_some_and(|e| {
            let narrow = 0.5 * (high.mean - low.mean) <= 0.1 * e * value.mean.abs();
            lower.len() >= 2 * ROUND && value.relative() <= e && narrow
        });
        if last || reached {
            let stop = if reached || options.rel_err.is_none() { Stop::Converged } else { Stop::MaxSteps };
            let bracket = (f != SpectralFunction::Nuclear).then_some((low, high));
            return Ok(FunctionEstimate { value, bracket, products, stop });
        }
    }
}

/// Grows each run until its own enclosure is narrow enough, whatever its neighbours need, and returns the ends.
fn advance(
    a: &dyn LinearOperator,
    runs: &mut [Factorization],
    f: SpectralFunction,
    steps: usize,
    rel_err: Option<f64>,
    probe: usize,
) -> Result<Vec<(f64, f64)>, EstimatorError> {
    let mut ends = vec![(f64::NEG_INFINITY, f64::INFINITY); runs.len()];
    let mut at = if rel_err.is_some() { STRIDE.min(steps) } else { steps };
    loop {
        let narrow = |&(low, high): &(f64, f64)| {
            rel_err.is_some_and(|e| 0.5 * (high - low) <= 0.1 * e * (0.5 * (low + high)).abs())
        };
        let open: Vec<bool> = ends.iter().map(|e| !narrow(e)).collect();
        let mut growing: Vec<Factorization> = Vec::new();
        let mut places = Vec::new();
        for (i, run) in runs.iter_mut().enumerate() {
            if open[i] && run.ended().is_none() {
                growing.push(std::mem::replace(run, Factorization::new(&[])));
                places.push(i);
            }
        }
        if growing.is_empty() {
            return Ok(ends);
        }
        grow(a, &mut growing, &Options::steps(at));
        for (i, run) in places.into_iter().zip(growing) {
            match run.stop() {
                Stop::NonFinite => {
                    return Err(EstimatorError::NonFiniteStep { probe: probe + i, step: run.steps() + 1 });
                }
                Stop::NotSymmetric => return Err(EstimatorError::NotSymmetric { asymmetry: run.asymmetry() }),
                Stop::Converged | Stop::Invariant | Stop::MaxSteps => {}
            }
            ends[i] = enclosure(&run, f)?;
            runs[i] = run;
        }
        if at == steps {
            return Ok(ends);
        }
        at = (at + STRIDE).min(steps);
    }
}

/// Bounds of vᵀf(A)v for the unit start vector of a run; the Gauss value, twice, for a function without bounds.
pub(super) fn enclosure(run: &Factorization, f: SpectralFunction) -> Result<(f64, f64), EstimatorError> {
    let t = run.tridiagonal();
    let gauss = Quadrature::gauss(&t)?;
    let value = gauss.integrate(|x| f.at(x));
    if f == SpectralFunction::Nuclear {
        return Ok((value, value));
    }
    // Nodes err by 10 m ε ‖T‖ (see `Tridiagonal::eigenvalues`), sums of weights by a few ε.
    let error = 10.0 * gauss.len() as f64 * f64::EPSILON;
    let widen = |rule: &Quadrature| error * rule.integrate(|x| f.slope(x).abs() * run.scale() + f.at(x).abs());
    let Some(damping) = f.damping() else {
        return Ok((value - widen(&gauss), value + widen(&gauss)));
    };
    let below = eigenlens_linalg::lanczos::invariant_tolerance(run.dim()) * run.scale();
    if damping <= 2.0 * below {
        return Err(EstimatorError::Damping { damping, least: 2.0 * below });
    }
    if gauss.nodes[0] < -below {
        return Err(EstimatorError::NotPositive { pivot: gauss.nodes[0] });
    }
    let lower = if run.stop() == Stop::Invariant {
        value
    } else {
        match Quadrature::radau(&t, run.beta(), -below) {
            Ok(radau) => radau.integrate(|x| f.at(x)) - widen(&radau),
            Err(QuadratureError::NodeInside(node)) => return Err(EstimatorError::NotPositive { pivot: node }),
            Err(e) => return Err(e.into()),
        }
    };
    Ok((lower.min(value) - widen(&gauss), value + widen(&gauss)))
}

#[cfg(test)]
mod tests;
