//! The distribution function of a spectrum in a band that holds as often as it says, and the eigenvalues at zero.
//!
//! Two errors are kept apart. A rule of m nodes fixes the distribution function of its probe only within the
//! Chebyshev–Markov–Stieltjes enclosure, which shrinks with steps; the probes scatter about the distribution function of the
//! spectrum, which shrinks with their number. The band is pointwise: at any one place it holds with the probability stated, and
//! a whole curve leaves it somewhere more often than that.
//!
//! For the lower end take the lower ends of the enclosures of all probes, their mean and standard error, for the upper end the
//! upper ones; each with Student's t on the scale log(F/(1 − F)), which keeps to [0, 1] and is nearly symmetric where few
//! eigenvalues lie on one side. Over 1,000 seeds of 10 probes with exact rules an interval of 95 % covered 91 to 97 % at 7
//! places in 17 blocks of small networks, least beside the outermost eigenvalues. Where the enclosure is wide it covers more.

use eigenlens_linalg::Stop;
use eigenlens_linalg::quadrature::Quadrature;
use eigenlens_linalg::tridiagonal::Tridiagonal;

use crate::estimate::Estimate;
use crate::spectrum::{Probe, Spectrum};
use crate::student::quantile;

/// The distribution function at some places, with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct CdfBand {
    /// The places t.
    pub at: Vec<f64>,
    /// Share of eigenvalues ≤ t: the sum of the Gauss weights up to there, averaged over the probes.
    pub mean: Vec<f64>,
    /// The mean over these probes lies between these, whatever their measures: the enclosure alone.
    pub enclosure: Vec<(f64, f64)>,
    /// The share of eigenvalues ≤ t lies between these with probability `level`, at each t by itself: both errors.
    pub band: Vec<(f64, f64)>,
    /// The probability.
    pub level: f64,
}

/// The distribution function of a spectrum at places t. Of an exact spectrum all ends are the value itself. `None` if there
/// are no nodes, or numbers that are not finite.
///
/// Cost: for each probe O(m³) once and about 20 m² flops per place; see [`Rule::bounds`].
///
/// # Panics
/// If the level is not strictly between 0 and 1.
#[track_caller]
pub fn cdf_band(spectrum: &Spectrum, at: &[f64], level: f64) -> Option<CdfBand> {
    let measures = super::measures(spectrum)?;
    if at.iter().any(|t| !t.is_finite()) {
        return None;
    }
    let mean = |t: f64| {
        let shares: Vec<f64> = measures.iter().map(|m| m.iter().filter(|x| x.0 <= t).map(|x| x.1).sum()).collect();
        Estimate::from_samples(&shares).mean.min(1.0)
    };
    let means: Vec<f64> = at.iter().map(|&t| mean(t)).collect();
    let (enclosure, band) = match spectrum {
        Spectrum::Exact { .. } => means.iter().map(|&f| ((f, f), (f, f))).unzip(),
        Spectrum::Quadrature { probes, .. } => {
            let rules: Vec<Rule> = probes.iter().map(Rule::new).collect();
            at.iter()
                .map(|&t| {
                    let (low, high): (Vec<f64>, Vec<f64>) = rules.iter().map(|r| r.bounds(t)).unzip();
                    ends(&low, &high, level)
                })
                .unzip()
        }
    };
    Some(CdfBand { at: at.to_vec(), mean: means, enclosure, band, level })
}

/// Mean and Student's interval of lower and upper ends of shares.
fn ends(low: &[f64], high: &[f64], level: f64) -> ((f64, f64), (f64, f64)) {
    let (low, high) = (Estimate::from_samples(low), Estimate::from_samples(high));
    ((low.mean, high.mean), (share_interval(low, level).0, share_interval(high, level).1))
}

/// Student's interval of a share, on the scale of its logit: (0, 1) below two samples.
///
/// # Panics
/// If the level is not strictly between 0 and 1.
#[track_caller]
pub fn share_interval(share: Estimate, level: f64) -> (f64, f64) {
    let f = share.mean;
    if share.samples < 2 {
        return (0.0, 1.0);
    }
    if share.sem == 0.0 || f <= 0.0 || f >= 1.0 {
        return (f.clamp(0.0, 1.0), f.clamp(0.0, 1.0));
    }
    // d logit F = dF / (F (1 − F)).
    let factor = (quantile(level, share.samples - 1) * share.sem / (f * (1.0 - f))).exp();
    let odds = f / (1.0 - f);
    let back = |odds: f64| if odds.is_finite() { odds / (1.0 + odds) } else { 1.0 };
    (back(odds / factor), back(odds * factor))
}

/// A probe's rule, ready to bound its distribution function.
pub struct Rule {
    gauss: Quadrature,
    /// The tridiagonal matrix behind it; `None` where the rule is exact already, or it could not be recovered.
    t: Option<Tridiagonal>,
    exact: bool,
}

impl Rule {
    /// Of a probe. Cost: O(m³), for the recovery of its tridiagonal matrix.
    pub fn new(probe: &Probe) -> Self {
        let exact = probe.stop == Stop::Invariant;
        let gauss = Quadrature { nodes: probe.nodes.clone(), weights: probe.weights.clone() };
        let t = if exact { None } else { gauss.tridiagonal(gauss.len()) };
        Rule { gauss, t, exact }
    }

    /// Bounds of the probe's own distribution function at t, μ((−∞, t]): of all measures with the moments that the rule has,
    /// one reaches either. The value itself, twice, for an exact rule. See [`Tridiagonal::cdf_bounds`].
    pub fn bounds(&self, t: f64) -> (f64, f64) {
        let below = self.gauss.nodes.partition_point(|&x| x <= t);
        if self.exact {
            let f = self.gauss.weights[..below].iter().sum::<f64>().min(1.0);
            return (f, f);
        }
        let coarse = self.gauss.distribution_bounds(t);
        match self.t.as_ref().and_then(|m| m.cdf_bounds(t)) {
            Some((low, high)) => (coarse.0.max(low), coarse.1.min(high).max(coarse.0.max(low))),
            None => coarse,
        }
    }
}

/// The eigenvalues that count as zero, as a share of all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZeroAtom {
    /// |λ| up to here counts as zero.
    pub tolerance: f64,
    /// The weight of the nodes there, mean over the probes; no error and 0 samples of an exact spectrum.
    pub mass: Estimate,
    /// The share lies between these with probability `level`: probes and Chebyshev–Markov–Stieltjes.
    pub band: (f64, f64),
    /// The probability.
    pub level: f64,
}

/// The share of eigenvalues with |λ| ≤ `tolerance`. `None` if there are no nodes, or numbers that are not finite.
///
/// A zero of high multiplicity is one node that converges as soon as the eigenvalues beside it are told apart from it; its
/// weight is then the share of the eigenspace. Between −tolerance and tolerance the enclosures of both places are as wide as
/// the weights beside them, so that the band says how far that has come.
///
/// # Panics
/// If the tolerance is negative, or the level is not strictly between 0 and 1.
#[track_caller]
pub fn zero_atom(spectrum: &Spectrum, tolerance: f64, level: f64) -> Option<ZeroAtom> {
    assert!(tolerance >= 0.0, "eigenvalues within {tolerance} of zero");
    let measures = super::measures(spectrum)?;
    let masses: Vec<f64> =
        measures.iter().map(|m| m.iter().filter(|x| x.0.abs() <= tolerance).map(|x| x.1).sum()).collect();
    let (mass, band) = match spectrum {
        Spectrum::Exact { .. } => {
            let mass = Estimate { mean: masses[0], sem: 0.0, samples: 0 };
            (mass, (mass.mean, mass.mean))
        }
        Spectrum::Quadrature { probes, .. } => {
            // Below −tolerance, not at it.
            let under = -tolerance - tolerance.max(f64::MIN_POSITIVE) * f64::EPSILON;
            let (low, high): (Vec<f64>, Vec<f64>) = probes
                .iter()
                .zip(&masses)
                .map(|(p, &mass)| {
                    let rule = Rule::new(p);
                    if rule.exact {
                        return (mass, mass);
                    }
                    let (left, right) = (rule.bounds(under), rule.bounds(tolerance));
                    ((right.0 - left.1).clamp(0.0, mass), (right.1 - left.0).clamp(mass, 1.0))
                })
                .unzip();
            (Estimate::from_samples(&masses), ends(&low, &high, level).1)
        }
    };
    Some(ZeroAtom { tolerance, mass, band, level })
}

#[cfg(test)]
mod tests;
