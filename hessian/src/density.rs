//! Pictures of a spectrum: smoothed density, distribution function with bands, and distances between distributions.
//!
//! Nothing is renormalised. The grid of a density reaches beyond every node of every probe, so its integral is 1 because
//! no mass is cut off, not because it was divided by what was left.

use crate::estimate::{Estimate, pairwise_sum};
use crate::spectrum::Spectrum;

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
}

impl DensityOptions {
    /// 401 points and the default width.
    pub fn on(axis: Axis) -> Self {
        DensityOptions { axis, points: 401, width: None }
    }
}

/// A smoothed density φ_σ(u) = mean over probes of Σ ω_j N(u; u_j, σ²).
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
}

impl Density {
    /// Its integral over the grid by the trapezoidal rule; 1 to about 2e-9, the mass of a Gaussian beyond 6 σ.
    pub fn mass(&self) -> f64 {
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
    let curves: Vec<Vec<f64>> = measures.iter().map(|m| curve(m, axis, width, &at, step)).collect();
    let (mean, sem) = bands(&curves, matches!(spectrum, Spectrum::Exact { .. }));
    Some(Density { axis, width, at, mean, sem })
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
mod tests {
    use eigenlens_linalg::Stop;

    use super::*;
    use crate::spectrum::Probe;

    fn probe(nodes: &[f64], weights: &[f64]) -> Probe {
        Probe { nodes: nodes.to_vec(), weights: weights.to_vec(), stop: Stop::MaxSteps }
    }

    fn quadrature(probes: Vec<Probe>) -> Spectrum {
        Spectrum::Quadrature { dim: 100, probes, top: vec![], bottom: vec![] }
    }

    #[test]
    fn signed_log_axis_is_odd_and_inverts_from_tiny_to_huge() {
        let axis = Axis::SignedLog { threshold: 1e-3 };
        for e in -30..30 {
            for sign in [1.0, -1.0] {
                let x = sign * 10.0_f64.powi(e);
                assert!((axis.eigenvalue(axis.position(x)) / x - 1.0).abs() < 1e-12, "{x:e}");
                assert_eq!(axis.position(-x), -axis.position(x));
            }
        }
        assert_eq!((axis.position(0.0), axis.eigenvalue(0.0)), (0.0, 0.0));
        assert!((axis.position(1.0) - 1001.0_f64.log10()).abs() < 1e-14);
    }

    #[test]
    fn one_node_is_one_gaussian_of_the_stated_width() {
        let o = DensityOptions { width: Some(0.5), ..DensityOptions::on(Axis::Linear) };
        let d = density(&Spectrum::exact(vec![2.0]), &o).unwrap();
        let peak = d.mean.iter().copied().fold(0.0, f64::max);
        assert!((peak - 1.0 / (0.5 * (2.0 * std::f64::consts::PI).sqrt())).abs() < 1e-12);
        assert_eq!((d.width, d.at[0], d.sem), (0.5, -1.0, None));
    }

    #[test]
    fn d14_no_mass_is_cut_off_when_one_probe_reaches_far_beyond_the_others() {
        // A grid from the means of the extremes would end at 34 and lose a quarter of the third probe.
        let narrow = probe(&[-1.0, 0.0, 1.0], &[0.2, 0.6, 0.2]);
        let wide = probe(&[-80.0, 0.0, 100.0], &[0.25, 0.5, 0.25]);
        let s = quadrature(vec![narrow.clone(), narrow, wide]);
        for axis in [Axis::Linear, Axis::signed_log(&s), Axis::SignedLog { threshold: 1.0 }] {
            for width in [None, Some(0.01), Some(3.0)] {
                let d = density(&s, &DensityOptions { axis, points: 50, width }).unwrap();
                assert!((d.mass() - 1.0).abs() < 1e-8, "{axis:?} {width:?}: {}", d.mass());
                assert!(d.at[0] < axis.position(-80.0) && d.at[d.at.len() - 1] > axis.position(100.0));
            }
        }
    }

    #[test]
    fn d10_the_default_width_follows_the_scale_of_the_spectrum() {
        let l: Vec<f64> = (0..30).map(|i| f64::from(i * i) - 20.0).collect();
        let base = density(&Spectrum::exact(l.clone()), &DensityOptions::on(Axis::Linear)).unwrap();
        for c in [1e-7, 1e-3, 1e7] {
            let scaled = Spectrum::exact(l.iter().map(|x| c * x).collect());
            let d = density(&scaled, &DensityOptions::on(Axis::Linear)).unwrap();
            assert!((d.width / (c * base.width) - 1.0).abs() < 1e-12);
            let peak = base.mean.iter().copied().fold(0.0, f64::max);
            for (a, b) in base.mean.iter().zip(&d.mean) {
                assert!((a - c * b).abs() < 1e-9 * peak);
            }
        }
    }

    #[test]
    fn a_tiny_width_is_raised_and_stated_and_degenerate_spectra_have_one() {
        let o = DensityOptions { width: Some(1e-12), ..DensityOptions::on(Axis::Linear) };
        let d = density(&Spectrum::exact(vec![0.0, 1.0]), &o).unwrap();
        assert!(d.width > 1e-5 && d.at.len() <= 20_002 && (d.mass() - 1.0).abs() < 1e-8);
        for (lambda, width) in [(0.0, 1.0), (-5.0, 0.05)] {
            let d = density(&Spectrum::exact(vec![lambda; 3]), &DensityOptions::on(Axis::Linear)).unwrap();
            assert!((d.width - width).abs() < 1e-15 && (d.mass() - 1.0).abs() < 1e-8);
        }
    }

    #[test]
    fn bands_are_the_spread_over_probes() {
        let s = quadrature(vec![probe(&[0.0, 1.0], &[0.2, 0.8]), probe(&[0.0, 1.0], &[0.6, 0.4])]);
        let f = distribution(&s).unwrap();
        assert_eq!(f.at, [0.0, 1.0]);
        assert!((f.mean[0] - 0.4).abs() < 1e-15 && (f.mean[1] - 1.0).abs() < 1e-15);
        let sem = f.sem.unwrap();
        assert!((sem[0] - 0.2).abs() < 1e-15 && sem[1] < 1e-15);
        // The larger neighbouring weight, averaged: (0.8 + 0.6)/2 and (0.8 + 0.4)/2.
        assert!((f.bound[0] - 0.7).abs() < 1e-15 && (f.bound[1] - 0.6).abs() < 1e-15);
        let d = density(&s, &DensityOptions::on(Axis::Linear)).unwrap();
        assert!(d.sem.unwrap().iter().any(|&x| x > 0.0));
    }

    #[test]
    fn one_probe_has_nan_bands_and_an_exact_spectrum_none() {
        let one = distribution(&quadrature(vec![probe(&[0.0], &[1.0])])).unwrap();
        assert!(one.sem.unwrap()[0].is_nan());
        let exact = distribution(&Spectrum::exact(vec![1.0, 1.0, 3.0])).unwrap();
        assert_eq!((exact.at.as_slice(), exact.sem, exact.bound), ([1.0, 3.0].as_slice(), None, vec![0.0; 2]));
        assert!((exact.mean[0] - 2.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn distances_between_point_masses_are_known() {
        let (a, b) = (Spectrum::exact(vec![0.0, 0.0, 0.0, 4.0]), Spectrum::exact(vec![0.0, 0.0, 4.0, 4.0]));
        let d = cdf_distance(&a, &b).unwrap();
        assert_eq!((d.kolmogorov, d.wasserstein), (0.25, 1.0));
        let shifted = Spectrum::exact(vec![1.0, 1.0, 1.0, 5.0]);
        let d = cdf_distance(&a, &shifted).unwrap();
        assert_eq!((d.kolmogorov, d.wasserstein), (0.75, 1.0));
        assert_eq!(cdf_distance(&shifted, &a), Some(d));
    }

    #[test]
    fn rounding_of_a_multiple_eigenvalue_is_no_distance() {
        let l: Vec<f64> = (0..50).map(|i| f64::from(i - 25) * 1e-17).chain([1.0, 2.0]).collect();
        let q = quadrature(vec![probe(&[3e-16, 1.0 - 1e-15, 2.0], &[50.0 / 52.0, 1.0 / 52.0, 1.0 / 52.0])]);
        let d = cdf_distance(&q, &Spectrum::exact(l)).unwrap();
        assert!(d.kolmogorov < 1e-14 && d.wasserstein < 1e-14, "{d:?}");
    }

    #[test]
    fn distance_of_a_spectrum_to_itself_is_zero_and_nothing_has_no_picture() {
        let s = Spectrum::exact((0..9).map(f64::from).collect());
        assert_eq!(cdf_distance(&s, &s), Some(CdfDistance { kolmogorov: 0.0, wasserstein: 0.0 }));
        for bad in [quadrature(vec![]), quadrature(vec![probe(&[], &[])]), Spectrum::exact(vec![f64::NAN])] {
            assert!(density(&bad, &DensityOptions::on(Axis::Linear)).is_none());
            assert!(distribution(&bad).is_none() && cdf_distance(&s, &bad).is_none());
        }
    }

    #[test]
    #[should_panic(expected = "a density of width 0")]
    fn a_width_of_zero_is_refused() {
        let o = DensityOptions { width: Some(0.0), ..DensityOptions::on(Axis::Linear) };
        density(&Spectrum::exact(vec![1.0]), &o);
    }
}
