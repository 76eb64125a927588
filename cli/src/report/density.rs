//! How many eigenvalues lie where: counts in bins of a signed logarithmic axis.
//!
//! A bin of width 1/8 decade holds the number of eigenvalues, of an exact spectrum; of quadratures, p times the weight
//! that falls into it, as a mean over probes with an interval of 95 % (Student's t, each bin by itself). A quadrature's nodes
//! are spread by a narrow Gaussian first: it knows the mass around a node, not the place of every eigenvalue. Nodes that
//! count as zero are not: what lies there is an atom, whose mass goes into the bin of zero whole.

use eigenlens_hessian::student::{LEVEL, quantile};

use super::axis::Scale;
use crate::results::{Probe, Spectrum};

/// Bins per unit of the axis, which is a decade away from 0.
pub const PER_DECADE: f64 = 8.0;
/// Standard deviation of the Gaussian that spreads a node, in bins.
const SPREAD: f64 = 0.7;
/// The same in decades.
pub const SMOOTHING_DECADES: f64 = SPREAD / PER_DECADE;

/// Counts per bin.
#[derive(Clone, Debug)]
pub struct Density {
    /// Place of the left edge of the first bin.
    pub start: f64,
    /// Expected number of eigenvalues in each bin.
    pub counts: Vec<f64>,
    /// Half the width of an interval of 95 % for each, of a spectrum known from at least two probes.
    pub errors: Option<Vec<f64>>,
}

/// Where a layer's axis runs and where it turns linear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Linear within ±c.
    pub c: f64,
    /// Left end, as an eigenvalue.
    pub lo: f64,
    /// Right end, as an eigenvalue.
    pub hi: f64,
    /// Up to this times the largest |λ| of a spectrum counts as zero.
    pub tau: f64,
}

impl Frame {
    /// The frame for the spectra of one layer at all snapshots, so that its pictures can be compared: c is the power of
    /// ten next to τ times the largest |λ|, below which eigenvalues count as zero. `None` if all of them are zero.
    pub fn of<'a>(spectra: impl Iterator<Item = &'a Spectrum>, tau: f64) -> Option<Self> {
        let positions: Vec<f64> = spectra.flat_map(Spectrum::positions).filter(|x| x.is_finite()).collect();
        let largest = positions.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        if largest == 0.0 {
            return None;
        }
        let c = 10f64.powf((tau * largest).log10().round());
        let (lo, hi) = positions.iter().fold((0.0, 0.0), |(lo, hi): (f64, f64), x| (lo.min(*x), hi.max(*x)));
        // Room for what looks like zero, on both sides, and beyond the ends.
        Some(Self { c, lo: (2.0 * lo).min(-20.0 * c), hi: (2.0 * hi).max(20.0 * c), tau })
    }

    /// The scale of the axis.
    pub fn scale(self) -> Scale {
        Scale::Signed { c: self.c }
    }
}

impl Density {
    /// The density of a spectrum in a frame.
    pub fn of(spectrum: &Spectrum, frame: Frame) -> Self {
        let scale = frame.scale();
        // Edges at whole multiples of the width, so that 0 is the middle of a bin.
        let edge = |x: f64| (scale.place(x) * PER_DECADE - 0.5).floor();
        let first = edge(frame.lo);
        let bins = (edge(frame.hi) - first) as usize + 1;
        let start = (first + 0.5) / PER_DECADE;
        let place = |x: f64| (scale.place(x) - start) * PER_DECADE;
        match spectrum {
            Spectrum::Exact { values, repeated: (value, count) } => {
                let mut counts = vec![0.0; bins];
                let all = values.iter().map(|&x| (x, 1.0)).chain([(*value, *count as f64)]);
                for (x, m) in all.filter(|(x, _)| x.is_finite()) {
                    counts[(place(x).max(0.0) as usize).min(bins - 1)] += m;
                }
                Self { start, counts, errors: None }
            }
            Spectrum::Quadrature { dim, probes, .. } => {
                let largest = spectrum.positions().iter().fold(0.0, |m: f64, x| m.max(x.abs()));
                let zero = frame.tau * largest;
                let each: Vec<Vec<f64>> = probes.iter().map(|p| smear(p, *dim, bins, zero, place)).collect();
                let n = each.len() as f64;
                let mean: Vec<f64> = (0..bins).map(|i| each.iter().map(|p| p[i]).sum::<f64>() / n.max(1.0)).collect();
                let variance = |i: usize| each.iter().map(|p| (p[i] - mean[i]).powi(2)).sum::<f64>() / (n - 1.0);
                let t = quantile(LEVEL, each.len().saturating_sub(1));
                let errors = (each.len() > 1).then(|| (0..bins).map(|i| t * (variance(i) / n).sqrt()).collect());
                Self { start, counts: mean, errors }
            }
        }
    }

    /// Left and right edge of a bin.
    pub fn edges(&self, bin: usize) -> (f64, f64) {
        let left = self.start + bin as f64 / PER_DECADE;
        (left, left + 1.0 / PER_DECADE)
    }

    /// The largest count, its error included.
    pub fn peak(&self) -> f64 {
        let error = |i: usize| self.errors.as_ref().map_or(0.0, |e| e[i]);
        self.counts.iter().enumerate().fold(0.0, |m, (i, c)| m.max(c + error(i)))
    }
}

/// p times the weights of one probe, spread over the bins but for what counts as zero; what falls over an end goes to the last
/// bin there.
fn smear(probe: &Probe, dim: usize, bins: usize, zero: f64, place: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut out = vec![0.0; bins];
    for (&x, &w) in probe.nodes.iter().zip(&probe.weights).filter(|(x, w)| x.is_finite() && **w > 0.0) {
        if x.abs() <= zero {
            out[(place(0.0).max(0.0) as usize).min(bins - 1)] += dim as f64 * w;
            continue;
        }
        let centre = place(x);
        let nearest = centre.floor();
        let kernel: Vec<(usize, f64)> = (-3..=3)
            .map(|d| {
                let bin = nearest + f64::from(d);
                let distance = (bin + 0.5 - centre) / SPREAD;
                (bin.clamp(0.0, bins as f64 - 1.0) as usize, (-0.5 * distance * distance).exp())
            })
            .collect();
        let total: f64 = kernel.iter().map(|k| k.1).sum();
        for (bin, share) in kernel {
            out[bin] += dim as f64 * w * share / total;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quadrature(probes: Vec<(Vec<f64>, Vec<f64>)>) -> Spectrum {
        let probes = probes.into_iter().map(|(nodes, weights)| Probe { nodes, weights }).collect();
        Spectrum::Quadrature { dim: 100, probes, top: vec![], bottom: vec![], cdf: None }
    }

    #[test]
    fn every_eigenvalue_is_counted_once() {
        let values = vec![-3.0, -1e-9, 0.0, 0.0, 1e-3, 5.0];
        let spectrum = Spectrum::exact(values.clone());
        let frame = Frame::of([&spectrum].into_iter(), 1e-6).unwrap();
        let density = Density::of(&spectrum, frame);
        assert_eq!(density.counts.iter().sum::<f64>(), values.len() as f64);
        for x in values {
            let place = frame.scale().place(x);
            let inside = (0..density.counts.len()).find(|&i| {
                let (left, right) = density.edges(i);
                (left..right).contains(&place)
            });
            assert!(density.counts[inside.expect("inside the frame")] >= 1.0, "{x}");
        }
    }

    #[test]
    fn zero_is_in_the_middle_of_a_bin() {
        let spectrum = Spectrum::exact(vec![0.0, 1.0]);
        let density = Density::of(&spectrum, Frame::of([&spectrum].into_iter(), 1e-6).unwrap());
        let zero = (0..density.counts.len()).find(|&i| density.edges(i).0 <= 0.0 && density.edges(i).1 > 0.0).unwrap();
        let (left, right) = density.edges(zero);
        assert!((left + right).abs() < 1e-12);
    }

    #[test]
    fn smearing_keeps_the_number_of_eigenvalues() {
        let spectrum = quadrature(vec![(vec![-2.0, 0.0, 1e-4, 7.0], vec![0.25; 4]), (vec![3.0], vec![1.0])]);
        let density = Density::of(&spectrum, Frame::of([&spectrum].into_iter(), 1e-6).unwrap());
        assert!((density.counts.iter().sum::<f64>() - 100.0).abs() < 1e-9);
    }

    /// 60 % at zero, and close to it: one column, not a hill.
    #[test]
    fn an_atom_at_zero_is_not_smeared_and_bands_are_student_s() {
        let spectrum = quadrature(vec![(vec![-1e-9, 1.0], vec![0.6, 0.4]), (vec![1e-8, 1.0], vec![0.7, 0.3])]);
        let density = Density::of(&spectrum, Frame::of([&spectrum].into_iter(), 1e-6).unwrap());
        let zero = (0..density.counts.len()).find(|&i| density.edges(i).1 > 0.0).unwrap();
        assert!(
            (density.counts[zero] - 65.0).abs() < 1e-9
                && density.counts[zero - 1] == 0.0
                && density.counts[zero + 1] == 0.0
        );
        // Two samples 60 and 70: a standard error of 5, times 12.7.
        assert!((density.errors.unwrap()[zero] - 5.0 * 12.706).abs() < 1e-2);
    }

    #[test]
    fn probes_that_agree_have_no_error_and_one_probe_has_none_to_show() {
        let probe = (vec![1.0, 2.0], vec![0.5, 0.5]);
        let spectrum = quadrature(vec![probe.clone(), probe.clone()]);
        let frame = Frame::of([&spectrum].into_iter(), 1e-6).unwrap();
        assert!(Density::of(&spectrum, frame).errors.unwrap().iter().all(|e| *e < 1e-12));
        assert!(Density::of(&quadrature(vec![probe]), frame).errors.is_none());
    }

    #[test]
    fn a_zero_spectrum_has_no_frame() {
        assert_eq!(Frame::of([&Spectrum::exact(vec![0.0; 5])].into_iter(), 1e-6), None);
        assert_eq!(Frame::of(std::iter::empty(), 1e-6), None);
    }
}
