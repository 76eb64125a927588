//! Pictures of a spectrum: smoothed density, distribution function with bands, and distances between distributions.
//!
//! Nothing is renormalised. The grid of a density reaches beyond every node of every probe, so its integral is 1 because
//! no mass is cut off, not because it was divided by what was left. Eigenvalues at zero are no density but an atom: their mass
//! is reported beside it, with its error, and not smeared.

mod cdf;

pub use cdf::{CdfBand, Rule, ZeroAtom, cdf_band, share_interval, zero_atom};

use crate::estimate::{Estimate, pairwise_sum};
use crate::spectrum::Spectrum;
use crate::student::LEVEL;

/// The axis on which a spectrum is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Axis {
    /// u = λ.
    Linear,
    /// u = sign(λ) log₁₀(1 + |λ|/threshold): linear within the threshold, decades of |λ| beyond it, on both sides of 0.
    SignedLog {
        /// Where the linear part ends, > 0.
        threshold: f64,
    },
}

impl Axis {
    /// A signed-log axis that shows six decades below the largest |λ|, or is linear for an identically zero spectrum.
    pub fn signed_log(spectrum: &Spectrum) -> Self {
        let threshold = 1e-6 * spectrum.magnitude();
        if threshold > 0.0 && threshold.is_finite() { Axis::SignedLog { threshold } } else { Axis::Linear }
    }

    /// The position u of λ.
    pub fn position(self, lambda: f64) -> f64 {
        match self {
            Axis::Linear => lambda,
            Axis::SignedLog { threshold } => {
                ((lambda / threshold).abs().ln_1p() / std::f64::consts::LN_10).copysign(lambda)
            }
        }
    }

    /// The λ at position u.
    pub fn eigenvalue(self, position: f64) -> f64 {
        match self {
            Axis::Linear => position,
            Axis::SignedLog { threshold } => {
                (threshold * (position.abs() * std::f64::consts::LN_10).exp_m1()).copysign(position)
            }
        }
    }
}

/// How a density is smoothed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DensityOptions {
    /// The axis. Smoothing happens on it: the density is per unit of u.
    pub axis: Axis,
    /// Grid points at least; there are more where the width asks for it, so that the spacing never exceeds the width.
    pub points: usize,
    /// Standard deviation σ of the Gaussian, in units of u. `None`: one hundredth of the distance between the outermost
    /// nodes, so that the picture does not depend on the scale of H.
    pub width: Option<f64>,
    /// Eigenvalues up to this times the largest |λ| are taken as zero: they go into [`Density::atom`]. Negative: none.
    pub zero: f64,
}

impl DensityOptions {
    /// 401 points, the default width, and zero up to 1e-6 |λ|_max.
    pub fn on(axis: Axis) -> Self {
        DensityOptions { axis, points: 401, width: None, zero: 1e-6 }
    }
}

/// A smoothed density φ_σ(u) = mean over probes of Σ ω_j N(u; u_j, σ²), and the mass at zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Density {
    /// The axis of `at`.
    pub axis: Axis,
    /// The σ that was used.
    pub width: f64,
    /// Equidistant positions u, from 6 σ below the lowest node to 6 σ above the highest.
    pub at: Vec<f64>,
    /// The mean over the probes.
    pub mean: Vec<f64>,
    /// Its standard error at each point: NaN for one probe, `None` for an exact spectrum.
    pub sem: Option<Vec<f64>>,
    /// The eigenvalues that count as zero, which the density leaves out, in a band of 95 %; `None` if none were to be.
    pub atom: Option<ZeroAtom>,
}

impl Density {
    /// Its integral over the grid by the trapezoidal rule and the mass of the atom; 1 to about 2e-9, the mass of a Gaussian
    /// beyond 6 σ.
    pub fn mass(&self) -> f64 {
        self.atom.map_or(0.0, |a| a.mass.mean) + self.integral()
    }

    /// Its integral over the grid by the trapezoidal rule: the share of eigenvalues that don't count as zero.
    pub fn integral(&self) -> f64 {
        let n = self.at.len();
        let ends = 0.5 * (self.mean[0] + self.mean[n - 1]);
        (pairwise_sum(n, |i| self.mean[i]) - ends) * (self.at[n - 1] - self.at[0]) / (n - 1) as f64
    }
}

/// How far the grid reaches beyond the outermost nodes, in σ.
const MARGIN: f64 = 6.0;
/// Beyond this many σ a Gaussian is below 1e-18 of its peak and is not evaluated.
const REACH: f64 = 9.2;
/// Intervals of a grid at most; a smaller width is raised to that.
const INTERVALS: f64 = 20_000.0;

/// The smoothed density of a spectrum on a grid. `None` if it has no nodes or they are not finite.
///
/// Cost: O(nodes · points within 9 σ).
///
/// # Panics
/// If `width` is not positive and finite, or a signed-log threshold is not.
///
/// # Sources
/// Ghorbani, Krishnan & Xiao 2019, §2; Lin, Saad & Yang 2016. Unlike there, the grid covers all nodes of all probes.
#[track_caller]
pub fn density(spectrum: &Spectrum, options: &DensityOptions) -> Option<Density> {
    if let Some(width) = options.width {
        assert!(width > 0.0 && width.is_finite(), "a density of width {width}");
    }
    if let Axis::SignedLog { threshold } = options.axis {
        assert!(threshold > 0.0 && threshold.is_finite(), "a signed-log axis with threshold {threshold}");
    }
    let (axis, measures) = (options.axis, measures(spectrum)?);
    let ends = measures.iter().flat_map(|m| [m[0].0, m[m.len() - 1].0]).map(|x| axis.position(x));
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), u| (a.min(u), b.max(u)));
    let span = high - low;
    // Without any spread the width is set by the position itself, and is 1 at zero.
    let default = [span, low.abs(), 100.0].into_iter().find(|&x| x > 0.0).unwrap_or(1.0) / 100.0;
    let width = options.width.unwrap_or(default).max(span / (INTERVALS - 2.0 * MARGIN));
    let (first, length) = (low - MARGIN * width, span + 2.0 * MARGIN * width);
    let intervals = (options.points.max(2) - 1).max((length / width).ceil() as usize);
    let step = length / intervals as f64;
    let at: Vec<f64> = (0..=intervals).map(|i| first + step * i as f64).collect();
    let tolerance = options.zero * spectrum.magnitude();
    let smeared = |m: &[(f64, f64)]| -> Vec<_> {
        m.iter().filter(|x| options.zero < 0.0 || x.0.abs() > tolerance).copied().collect()
    };
    let curves: Vec<Vec<f64>> = measures.iter().map(|m| curve(&smeared(m), axis, width, &at, step)).collect();
    let (mean, sem) = bands(&curves, matches!(spectrum, Spectrum::Exact { .. }));
    let atom = if options.zero >= 0.0 { zero_atom(spectrum, tolerance, LEVEL) } else { None };
    Some(Density { axis, width, at, mean, sem, atom })
}

/// A measure smoothed by a Gaussian of a width, at equidistant positions.
pub(crate) fn curve(measure: &[(f64, f64)], axis: Axis, width: f64, at: &[f64], step: f64) -> Vec<f64> {
    let height = 1.0 / (width * (2.0 * std::f64::consts::PI).sqrt());
    let mut curve = vec![0.0; at.len()];
    for &(lambda, weight) in measure {
        let u = axis.position(lambda);
        let from = ((u - REACH * width - at[0]) / step).max(0.0) as usize;
        let to = (((u + REACH * width - at[0]) / step).ceil() as usize).min(at.len() - 1);
        for i in from..=to {
            curve[i] += weight * height * (-0.5 * ((at[i] - u) / width).powi(2)).exp();
        }
    }
    curve
}

/// The distribution function F(t) = share of eigenvalues ≤ t.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Every λ at which it jumps, ascending.
    pub at: Vec<f64>,
    /// F just after the jump, averaged over the probes.
    pub mean: Vec<f64>,
    /// Its standard error over the probes: NaN for one probe, `None` for an exact spectrum.
    pub sem: Option<Vec<f64>>,
    /// How far the mean over these probes can be off because a quadrature has few nodes: the Chebyshev–Markov–Stieltjes
    /// bound, averaged over the probes. It is no statistical error, and it shrinks with steps, not with probes. 0 for an
    /// exact spectrum.
    pub bound: Vec<f64>,
}

/// The distribution function of a spectrum with its bands. `None` if it has no nodes or they are not finite.
pub fn distribution(spectrum: &Spectrum) -> Option<Distribution> {
    let measures = measures(spectrum)?;
    let mut at: Vec<f64> = measures.iter().flatten().map(|x| x.0).collect();
    at.sort_by(f64::total_cmp);
    at.dedup();
    let curves: Vec<Vec<f64>> = measures.iter().map(|m| cumulated(m, &at)).collect();
    let (mean, sem) = bands(&curves, matches!(spectrum, Spectrum::Exact { .. }));
    let bound = match spectrum {
        Spectrum::Exact { .. } => vec![0.0; at.len()],
        Spectrum::Quadrature { probes, .. } => {
            let n = probes.len();
            at.iter().map(|&t| pairwise_sum(n, |i| probes[i].cdf_error(t)) / n as f64).collect()
        }
    };
    Some(Distribution { at, mean, sem, bound })
}

/// The weight of a measure at or below each t; both ascend.
fn cumulated(measure: &[(f64, f64)], at: &[f64]) -> Vec<f64> {
    let (mut next, mut sum) = (0, 0.0);
    at.iter()
        .map(|&t| {
            while next < measure.len() && measure[next].0 <= t {
                sum += measure[next].1;
                next += 1;
            }
            sum
        })
        .collect()
}

/// Mean and standard error of several curves, point by point.
fn bands(curves: &[Vec<f64>], exact: bool) -> (Vec<f64>, Option<Vec<f64>>) {
    let points = curves[0].len();
    let estimates = (0..points).map(|i| Estimate::from_samples(&curves.iter().map(|c| c[i]).collect::<Vec<_>>()));
    let (mean, sem) = estimates.map(|e| (e.mean, e.sem)).unzip();
    (mean, (!exact).then_some(sem))
}

/// (λ, weight), ascending, one list per probe.
pub(crate) fn measures(spectrum: &Spectrum) -> Option<Vec<Vec<(f64, f64)>>> {
    if !spectrum.all_finite() {
        return None;
    }
    let lists: Vec<Vec<(f64, f64)>> = match spectrum {
        Spectrum::Exact { .. } => {
            let (atoms, p) = (spectrum.atoms()?, spectrum.dim() as f64);
            vec![atoms.into_iter().map(|(x, m)| (x, m / p)).collect()]
        }
        Spectrum::Quadrature { probes, .. } => {
            probes.iter().map(|p| p.nodes.iter().copied().zip(p.weights.iter().copied()).collect()).collect()
        }
    };
    if lists.is_empty() || lists.iter().any(Vec::is_empty) { None } else { Some(lists) }
}

/// How far two spectral distributions are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CdfDistance {
    /// sup_t |F(t) − G(t)|, between 0 and 1. Jumps closer than 1e-10 |λ|_max count as one: a node and the eigenvalue it
    /// stands for differ by rounding.
    pub kolmogorov: f64,
    /// ∫ |F(t) − G(t)| dt, in units of curvature: the mean distance by which eigenvalues have to be moved.
    pub wasserstein: f64,
}

/// Kolmogorov and Wasserstein-1 distance between the (mean) distributions of two spectra. `None` if one has no nodes.
///
/// Against an exact spectrum the Kolmogorov distance of an m-step quadrature is rarely below half its largest weight: a
/// quadrature is a staircase. The Wasserstein distance has no such floor.
pub fn cdf_distance(a: &Spectrum, b: &Spectrum) -> Option<CdfDistance> {
    let (f, g) = (distribution(a)?, distribution(b)?);
    let same = 1e-10 * a.magnitude().max(b.magnitude());
    let excess = |f: &Distribution, g: &Distribution| {
        f.at.iter().zip(&f.mean).map(|(&t, &f)| f - height(g, t + same)).fold(0.0, f64::max)
    };
    let mut at: Vec<f64> = f.at.iter().chain(&g.at).copied().collect();
    at.sort_by(f64::total_cmp);
    let area = |i: usize| (height(&f, at[i]) - height(&g, at[i])).abs() * (at[i + 1] - at[i]);
    Some(CdfDistance { kolmogorov: excess(&f, &g).max(excess(&g, &f)), wasserstein: pairwise_sum(at.len() - 1, area) })
}

/// F(t).
fn height(f: &Distribution, t: f64) -> f64 {
    match f.at.partition_point(|&x| x <= t) {
        0 => 0.0,
        i => f.mean[i - 1],
    }
}

#[cfg(test)]
mod tests;
