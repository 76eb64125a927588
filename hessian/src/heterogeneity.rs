//! How different the spectra of blocks are: distances between their distributions, pair by pair.
//!
//! Each spectrum is a distribution with the same mass 1 for its eigenvalues, whatever their number.
//!
//! | distance | formula | range |
//! |---|---|---|
//! | Jensen–Shannon divergence | ½ ∫ f ln(2f/(f+g)) du + ½ ∫ g ln(2g/(f+g)) du, natural logarithm, **no root taken** | 0 to ln 2 |
//! | Wasserstein-1 | ∫ |F(λ) − G(λ)| dλ | 0 up |
//!
//! The divergence is one of densities, and eigenvalues have none: f and g are smoothed by a Gaussian on a signed logarithmic
//! axis common to all blocks, u = sign(λ) log₁₀(1 + |λ|/c), c = 1e-6 of the largest |λ| of all. It depends on that width,
//! the Wasserstein distance does not. With [`Normalisation::Radius`] both speak of shapes alone: a multiple of a block is at
//! distance 0 from it. The root of the divergence is a metric.
//!
//! Of quadratures the distributions are means over probes; standard errors are jackknifed over the probes of both blocks. Noise
//! of the probes makes two equal spectra differ a little: the divergence of estimates is biased upwards.
//!
//! # Sources
//! Zhang et al., "Why transformers need Adam: a Hessian perspective", arXiv 2402.16788 (Jensen–Shannon distances between the
//! densities of blocks); Lin 1991 (the divergence); Endres & Schindelin 2003 (its root).

use crate::density::{Axis, curve, measures};
use crate::estimate::{Estimate, jackknife, pairwise_sum};
use crate::spectrum::Spectrum;

/// What eigenvalues are divided by before spectra are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalisation {
    /// By the block's own largest |λ|: what is compared are shapes on [−1, 1].
    #[default]
    Radius,
    /// By nothing: sizes count.
    None,
}

/// How spectra are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeterogeneityOptions {
    /// What eigenvalues are divided by.
    pub normalisation: Normalisation,
    /// Standard deviation of the Gaussian on the signed logarithmic axis, in decades. Default 0.1.
    pub width: f64,
}

impl Default for HeterogeneityOptions {
    fn default() -> Self {
        HeterogeneityOptions { normalisation: Normalisation::default(), width: 0.1 }
    }
}

/// Distances between the spectra of blocks, symmetric with 0 on the diagonal; `None` where a spectrum has no distribution
/// (extreme pairs alone) or, with [`Normalisation::Radius`], is identically zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Heterogeneity {
    /// Jensen–Shannon divergences in nats.
    pub jensen_shannon: Vec<Vec<Option<Estimate>>>,
    /// Wasserstein-1 distances, in units of the normalised eigenvalues.
    pub wasserstein: Vec<Vec<Option<Estimate>>>,
}

/// Part of the largest |λ| of all within which the axis is linear.
const LINEAR: f64 = 1e-6;

/// One spectrum, ready to be compared.
struct Block {
    /// (λ, weight), ascending, one list per probe.
    measures: Vec<Vec<(f64, f64)>>,
    /// The smoothed density of each on the common grid.
    curves: Vec<Vec<f64>>,
    exact: bool,
}

/// Distances between all pairs of spectra.
///
/// Cost: O(B² (n + g) k) for B blocks with n nodes, a grid of g ≈ 60/width points and k probes.
///
/// # Panics
/// If the width is not positive and finite.
#[track_caller]
pub fn heterogeneity(spectra: &[&Spectrum], options: &HeterogeneityOptions) -> Heterogeneity {
    let width = options.width;
    assert!(width > 0.0 && width.is_finite(), "densities of width {width}");
    let scale = |s: &Spectrum| match options.normalisation {
        Normalisation::Radius => Some(s.magnitude()).filter(|m| *m > 0.0),
        Normalisation::None => Some(1.0),
    };
    let scaled = |s: &&Spectrum| {
        let (mut measures, scale) = (measures(s)?, scale(s)?);
        measures.iter_mut().flatten().for_each(|(x, _)| *x /= scale);
        Some((measures, matches!(s, Spectrum::Exact { .. })))
    };
    let all: Vec<Option<_>> = spectra.iter().map(scaled).collect();
    let largest = all.iter().flatten().flat_map(|(m, _)| m.iter().flatten()).fold(0.0, |m: f64, (x, _)| m.max(x.abs()));
    // Where all spectra are zero any axis will do.
    let axis = Axis::SignedLog { threshold: if largest > 0.0 { LINEAR * largest } else { 1.0 } };
    let (reach, step) = (axis.position(largest) + 6.0 * width, width / 4.0);
    let points = (2.0 * reach / step).ceil() as usize + 1;
    let grid: Vec<f64> = (0..points).map(|i| step * i as f64 - reach).collect();
    let blocks: Vec<Option<Block>> = all
        .into_iter()
        .map(|found| {
            let (measures, exact) = found?;
            let curves = measures.iter().map(|m| curve(m, axis, width, &grid, step)).collect();
            Some(Block { measures, curves, exact })
        })
        .collect();
    let pairs = |distance: &dyn Fn(&Block, &Block) -> Estimate| {
        let mut matrix = vec![vec![None; blocks.len()]; blocks.len()];
        for i in 0..blocks.len() {
            for j in i..blocks.len() {
                if let (Some(a), Some(b)) = (&blocks[i], &blocks[j]) {
                    let same = Estimate { mean: 0.0, sem: 0.0, samples: 0 };
                    let found = Some(if i == j { same } else { distance(a, b) });
                    (matrix[i][j], matrix[j][i]) = (found, found);
                }
            }
        }
        matrix
    };
    Heterogeneity {
        jensen_shannon: pairs(&|a, b| {
            jackknifed(a, b, |i, j| step * jensen_shannon(&mean(&a.curves, i), &mean(&b.curves, j)))
        }),
        wasserstein: pairs(&|a, b| jackknifed(a, b, |i, j| wasserstein(&a.measures, i, &b.measures, j))),
    }
}

/// A statistic of two blocks with the errors that come from the probes of either, as independent ones.
fn jackknifed(a: &Block, b: &Block, statistic: impl Fn(Option<usize>, Option<usize>) -> f64) -> Estimate {
    let sem = |block: &Block, one: &dyn Fn(Option<usize>) -> f64| {
        if block.exact { (0.0, usize::MAX) } else { (jackknife(block.curves.len(), one).sem, block.curves.len()) }
    };
    let (first, second) = (sem(a, &|i| statistic(i, None)), sem(b, &|j| statistic(None, j)));
    let samples = if a.exact && b.exact { 0 } else { first.1.min(second.1) };
    Estimate { mean: statistic(None, None), sem: first.0.hypot(second.0), samples }
}

/// The mean of curves without one of them.
fn mean(curves: &[Vec<f64>], skip: Option<usize>) -> Vec<f64> {
    let kept = || curves.iter().enumerate().filter(|(i, _)| Some(*i) != skip);
    let mut sum = vec![0.0; curves[0].len()];
    kept().for_each(|(_, c)| sum.iter_mut().zip(c).for_each(|(s, c)| *s += c));
    let count = kept().count() as f64;
    sum.iter_mut().for_each(|s| *s /= count);
    sum
}

/// The integrand's sum over the grid.
fn jensen_shannon(f: &[f64], g: &[f64]) -> f64 {
    let part = |f: f64, m: f64| if f > 0.0 { f * (f / m).ln() } else { 0.0 };
    let at = |i: usize| {
        let m = (f[i] + g[i]) / 2.0;
        (part(f[i], m) + part(g[i], m)) / 2.0
    };
    pairwise_sum(f.len(), at).max(0.0)
}

/// ∫ |F − G| of the means over the probes but one.
fn wasserstein(a: &[Vec<(f64, f64)>], skip_a: Option<usize>, b: &[Vec<(f64, f64)>], skip_b: Option<usize>) -> f64 {
    let mut jumps = Vec::new();
    for (measures, skip, sign) in [(a, skip_a, 1.0), (b, skip_b, -1.0)] {
        let count = (measures.len() - usize::from(skip.is_some())) as f64;
        let kept = measures.iter().enumerate().filter(|(i, _)| Some(*i) != skip);
        jumps.extend(kept.flat_map(|(_, m)| m.iter().map(move |(x, w)| (*x, sign * w / count))));
    }
    jumps.sort_by(|x, y| x.0.total_cmp(&y.0));
    let mut between = 0.0;
    jumps
        .windows(2)
        .map(|pair| {
            between += pair[0].1;
            f64::abs(between) * (pair[1].0 - pair[0].0)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use eigenlens_linalg::operator::DenseOperator;
    use eigenlens_linalg::probes::Distribution;

    use super::*;
    use crate::density::cdf_distance;
    use crate::slq::{SlqOptions, slq};

    fn of(spectra: &[Spectrum], normalisation: Normalisation) -> Heterogeneity {
        let options = HeterogeneityOptions { normalisation, ..HeterogeneityOptions::default() };
        heterogeneity(&spectra.iter().collect::<Vec<_>>(), &options)
    }

    fn values(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * i) as f64 * 0.01 - 0.5) / 3.0).collect()
    }

    #[test]
    fn far_apart_is_ln_2_and_a_multiple_is_at_no_distance() {
        let base = Spectrum::exact(values(40));
        let scaled = Spectrum::exact(values(40).iter().map(|x| 1e3 * x).collect());
        let far = Spectrum::exact(vec![-7e2; 5]);
        let found = of(&[base.clone(), scaled.clone(), far.clone()], Normalisation::Radius);
        for matrix in [&found.jensen_shannon, &found.wasserstein] {
            assert!(matrix[0][1].unwrap().mean < 1e-12, "{:?}", matrix[0][1]);
            for (i, row) in matrix.iter().enumerate() {
                assert_eq!(row[i].unwrap().mean, 0.0);
                row.iter().zip(matrix).for_each(|(entry, mirror)| assert_eq!(*entry, mirror[i]));
            }
        }
        assert!((found.jensen_shannon[0][2].unwrap().mean - LN_2).abs() < 1e-6, "{:?}", found.jensen_shannon[0][2]);
        let found = of(&[base, scaled, far], Normalisation::None);
        assert!(found.jensen_shannon[0][1].unwrap().mean > 0.3 && found.wasserstein[0][1].unwrap().mean > 100.0);
    }

    #[test]
    fn wasserstein_is_that_of_the_distribution_functions_and_of_a_shift() {
        let (a, b) = (Spectrum::exact(values(30)), Spectrum::exact(values(47)));
        let shifted = Spectrum::exact(values(30).iter().map(|x| x + 0.25).collect());
        let found = of(&[a.clone(), b.clone(), shifted], Normalisation::None);
        let want = cdf_distance(&a, &b).unwrap().wasserstein;
        assert!((found.wasserstein[0][1].unwrap().mean - want).abs() < 1e-13 * want.max(1.0));
        assert!((found.wasserstein[0][2].unwrap().mean - 0.25).abs() < 1e-14);
        assert_eq!(found.wasserstein[0][1].unwrap().sem, 0.0);
    }

    #[test]
    fn two_gaussians_diverge_as_their_integral_says() {
        // Two single eigenvalues one width apart on the logarithmic axis, by an independent quadrature.
        let axis = Axis::SignedLog { threshold: LINEAR };
        let near = axis.eigenvalue(axis.position(1.0) - 0.1);
        let found = of(&[Spectrum::exact(vec![1.0]), Spectrum::exact(vec![near])], Normalisation::None);
        let density = |x: f64, centre: f64| (-0.5 * (x - centre).powi(2)).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let integrand = |x: f64| {
            let (f, g) = (density(x, 0.0), density(x, -1.0));
            0.5 * (f * (2.0 * f / (f + g)).ln() + g * (2.0 * g / (f + g)).ln())
        };
        let want: f64 = (-10_000..10_000).map(|i| 1e-3 * integrand(1e-3 * f64::from(i))).sum();
        let found = found.jensen_shannon[0][1].unwrap().mean;
        assert!((found - want).abs() < 1e-6, "{found} and {want}");
    }

    #[test]
    fn the_root_of_the_divergence_keeps_the_triangle_inequality() {
        let spectra: Vec<Spectrum> = (1..6)
            .map(|k| {
                Spectrum::exact((0..20 * k).map(|i| f64::from(i % 7) - f64::from(k) + 1e-3 * f64::from(i)).collect())
            })
            .collect();
        let found = of(&spectra, Normalisation::Radius).jensen_shannon;
        let d = |i: usize, j: usize| found[i][j].unwrap().mean.sqrt();
        for (i, j, k) in (0..125).map(|n| (n / 25, n / 5 % 5, n % 5)) {
            assert!(d(i, k) <= d(i, j) + d(j, k) + 1e-9, "{i} {j} {k}");
        }
    }

    #[test]
    fn quadratures_agree_with_all_eigenvalues_within_their_errors() {
        let h = DenseOperator::diagonal(&values(200));
        let exact = Spectrum::exact(values(200));
        // Signs would see a diagonal without any spread.
        let distribution = Distribution::Gaussian;
        let options = |seed| SlqOptions { seed, probes: 20, steps: 60, distribution, ..SlqOptions::default() };
        let rules = |seed| slq(&h, &options(seed)).unwrap().spectrum();
        let other = Spectrum::exact(values(200).iter().map(|x| x.powi(3)).collect());
        let found = of(&[exact, rules(1), rules(2), other], Normalisation::Radius);
        let w = |i: usize, j: usize| found.wasserstein[i][j].unwrap();
        let (truth, estimate) = (w(0, 3), w(1, 3));
        assert!(estimate.samples == 20 && estimate.sem > 0.0);
        assert!((estimate.mean - truth.mean).abs() < 4.0 * estimate.sem, "{estimate:?} and {truth:?}");
        // Against each other they differ by noise alone.
        assert!(w(1, 2).mean < 0.1 * truth.mean && found.jensen_shannon[1][2].unwrap().mean < 0.05);
    }

    #[test]
    fn what_has_no_distribution_has_no_distance() {
        let pairs = Spectrum::Quadrature { dim: 9, probes: vec![], top: vec![], bottom: vec![] };
        let zero = Spectrum::exact(vec![0.0; 3]);
        let found = of(&[Spectrum::exact(values(9)), pairs.clone(), zero.clone()], Normalisation::Radius);
        assert!(found.jensen_shannon[0][1].is_none() && found.jensen_shannon[0][2].is_none());
        let found = of(&[Spectrum::exact(values(9)), pairs, zero], Normalisation::None);
        assert!(found.wasserstein[0][1].is_none() && found.wasserstein[0][2].unwrap().mean > 0.0);
    }
}
