//! Numbers that say how sure they are: means with standard errors, the jackknife, and named quantities.
//!
//! All sums run in a fixed pairwise order, so that equal inputs give equal bits.

use std::fmt;

/// A mean over independent samples with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub mean: f64,
    /// Standard error of `mean`. NaN below two samples: one sample says nothing about its own error.
    pub sem: f64,
    /// Number of independent samples.
    pub samples: usize,
}

impl Estimate {
    /// Sample mean x̄ and √(Σ (x − x̄)² / (n (n − 1))), in two passes.
    ///
    /// No samples give NaN for both; one sample gives a NaN error.
    pub fn from_samples(samples: &[f64]) -> Self {
        let n = samples.len();
        if n == 0 {
            return Estimate { mean: f64::NAN, sem: f64::NAN, samples: 0 };
        }
        let mean = pairwise_sum(n, |i| samples[i]) / n as f64;
        let sem = if n < 2 {
            f64::NAN
        } else {
            (pairwise_sum(n, |i| (samples[i] - mean).powi(2)) / (n as f64 * (n - 1) as f64)).sqrt()
        };
        Estimate { mean, sem, samples: n }
    }

    /// The estimate of c times the quantity.
    pub fn scaled(self, c: f64) -> Self {
        Estimate { mean: c * self.mean, sem: c.abs() * self.sem, samples: self.samples }
    }

    /// sem / |mean|: NaN below two samples, 0 when all samples agree (even on zero), infinite for a zero mean with spread.
    pub fn relative(self) -> f64 {
        if self.sem == 0.0 { 0.0 } else { self.sem / self.mean.abs() }
    }

    /// |mean − truth| / sem, the distance in standard errors. 0 when both the error and the difference are zero.
    pub fn deviation(self, truth: f64) -> f64 {
        let difference = (self.mean - truth).abs();
        if difference == 0.0 { 0.0 } else { difference / self.sem }
    }

    /// The standard error as an [`Uncertainty`].
    pub fn uncertainty(self) -> Uncertainty {
        Uncertainty::StandardError { sem: self.sem, samples: self.samples }
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6e} ± {:.1e} ({} samples)", self.mean, self.sem, self.samples)
    }
}

/// Running mean and variance for adaptive stops (Welford 1962).
#[derive(Clone, Copy, Debug, Default)]
pub struct Running {
    samples: usize,
    mean: f64,
    squares: f64,
}

impl Running {
    /// Takes one more sample.
    pub fn push(&mut self, x: f64) {
        self.samples += 1;
        let before = x - self.mean;
        self.mean += before / self.samples as f64;
        self.squares += before * (x - self.mean);
    }

    /// What the samples so far say.
    pub fn estimate(&self) -> Estimate {
        let n = self.samples as f64;
        Estimate {
            mean: if self.samples == 0 { f64::NAN } else { self.mean },
            sem: if self.samples < 2 { f64::NAN } else { (self.squares / (n * (n - 1.0))).sqrt() },
            samples: self.samples,
        }
    }
}

/// How far a [`Quantity`] may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Uncertainty {
    /// Standard error over `samples` independent probes (NaN for one probe). Of quantities from quadratures it contains
    /// the error of the quadrature too: see [`metrics`](crate::metrics).
    StandardError {
        /// The standard error.
        sem: f64,
        /// Number of probes.
        samples: usize,
    },
    /// A bound on the error that follows from the residuals ‖Hv − λv‖ of the eigenpairs used.
    Residual(f64),
}

impl Uncertainty {
    /// The number itself: standard error or bound.
    pub fn size(self) -> f64 {
        match self {
            Uncertainty::StandardError { sem, .. } => sem,
            Uncertainty::Residual(bound) => bound,
        }
    }

    /// `"sem"` or `"residual"`, for tables and files.
    pub fn kind(self) -> &'static str {
        match self {
            Uncertainty::StandardError { .. } => "sem",
            Uncertainty::Residual(_) => "residual",
        }
    }
}

/// One named number of a report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity {
    /// A key of [`METRICS`](crate::metrics::METRICS).
    pub name: &'static str,
    /// Its value, always finite: what is undefined or unknown is left out of the list instead.
    pub value: f64,
    /// `None` when exact to rounding.
    pub uncertainty: Option<Uncertainty>,
}

/// Jackknife of a statistic of n independent samples, for ratios and other smooth functions of means.
///
/// `statistic(None)` is the value on all samples, `statistic(Some(i))` the one without sample i. The standard error is
/// √((n − 1)/n Σ (θ₋ᵢ − θ̄)²); for the sample mean it equals the usual one exactly. The value is not corrected for bias:
/// the correction could leave the range of a bounded statistic.
///
/// Cost: n + 1 evaluations. The error is NaN for n < 2 or where a leave-one-out value isn't finite.
///
/// # Sources
/// Quenouille 1956; Tukey 1958; Efron & Stein, *The jackknife estimate of variance*, 1981.
pub fn jackknife(n: usize, mut statistic: impl FnMut(Option<usize>) -> f64) -> Estimate {
    let mean = statistic(None);
    if n < 2 {
        return Estimate { mean, sem: f64::NAN, samples: n };
    }
    let without: Vec<f64> = (0..n).map(|i| statistic(Some(i))).collect();
    let centre = pairwise_sum(n, |i| without[i]) / n as f64;
    let variance = pairwise_sum(n, |i| (without[i] - centre).powi(2)) * (n - 1) as f64 / n as f64;
    Estimate { mean, sem: variance.sqrt(), samples: n }
}

/// [`jackknife`] of f(means), where `columns[j][i]` is sample i of variable j.
///
/// Use it for ratios of estimated sums, such as Φ = 1 − Σ‖H_ℓℓ‖²/‖H‖² from the same probes.
///
/// # Panics
/// If the columns differ in length.
#[track_caller]
pub fn jackknife_of_means(columns: &[&[f64]], f: impl Fn(&[f64]) -> f64) -> Estimate {
    let n = columns.first().map_or(0, |c| c.len());
    for c in columns {
        assert_eq!(c.len(), n, "jackknife: columns of {} and {n} samples", c.len());
    }
    let sums: Vec<LeaveOneOut> = columns.iter().map(|c| LeaveOneOut::new(c)).collect();
    jackknife(n, |skip| f(&sums.iter().map(|s| s.mean(skip)).collect::<Vec<_>>()))
}

/// Means without sample i, by prefix and suffix sums: subtracting x_i from the total would cancel where x_i dominates.
struct LeaveOneOut {
    prefix: Vec<f64>,
    suffix: Vec<f64>,
    total: f64,
}

impl LeaveOneOut {
    fn new(x: &[f64]) -> Self {
        let n = x.len();
        let (mut prefix, mut suffix) = (vec![0.0; n + 1], vec![0.0; n + 1]);
        for i in 0..n {
            prefix[i + 1] = prefix[i] + x[i];
            suffix[n - 1 - i] = suffix[n - i] + x[n - 1 - i];
        }
        LeaveOneOut { prefix, suffix, total: pairwise_sum(n, |i| x[i]) }
    }

    fn mean(&self, skip: Option<usize>) -> f64 {
        let n = self.prefix.len() - 1;
        match skip {
            None => self.total / n as f64,
            Some(i) => (self.prefix[i] + self.suffix[i + 1]) / (n - 1) as f64,
        }
    }
}

/// f(0) + … + f(n − 1) by halves: error O(ε log n), and an order of summation that depends on n alone.
pub(crate) fn pairwise_sum(n: usize, f: impl Fn(usize) -> f64) -> f64 {
    fn range(start: usize, end: usize, f: &dyn Fn(usize) -> f64) -> f64 {
        if end - start <= 16 {
            (start..end).fold(0.0, |sum, i| sum + f(i))
        } else {
            let middle = start + (end - start) / 2;
            range(start, middle, f) + range(middle, end, f)
        }
    }
    range(0, n, &f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_error_of_a_hand_computed_sample() {
        let e = Estimate::from_samples(&[1.0, 2.0, 3.0, 6.0]);
        assert_eq!((e.mean, e.samples), (3.0, 4));
        // Σ (x − 3)² = 14, so sem² = 14 / 12.
        assert!((e.sem - (14.0_f64 / 12.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn one_sample_has_no_error_rather_than_zero() {
        assert!(Estimate::from_samples(&[5.0]).sem.is_nan());
        assert!(Estimate::from_samples(&[]).mean.is_nan());
        let mut r = Running::default();
        assert!(r.estimate().mean.is_nan());
        r.push(5.0);
        assert!(r.estimate().sem.is_nan());
        assert_eq!(r.estimate().mean, 5.0);
    }

    #[test]
    fn a_large_offset_does_not_eat_the_variance() {
        let x: Vec<f64> = (0..10).map(|i| 1e9 + f64::from(i)).collect();
        let want = (82.5_f64 / 90.0).sqrt();
        assert!((Estimate::from_samples(&x).sem - want).abs() < 1e-9);
        let mut r = Running::default();
        x.iter().for_each(|&x| r.push(x));
        assert!((r.estimate().sem - want).abs() < 1e-6);
    }

    #[test]
    fn running_and_two_pass_agree() {
        let x: Vec<f64> = (0..57).map(|i| ((i * 31 + 7) % 19) as f64 - 3.5).collect();
        let (a, mut r) = (Estimate::from_samples(&x), Running::default());
        x.iter().for_each(|&x| r.push(x));
        let b = r.estimate();
        assert!((a.mean - b.mean).abs() < 1e-13 && (a.sem - b.sem).abs() < 1e-13);
    }

    #[test]
    fn jackknife_of_the_mean_is_the_standard_error() {
        let x = [0.3, -1.2, 2.7, 0.1, 5.5];
        let (a, b) = (Estimate::from_samples(&x), jackknife_of_means(&[&x], |m| m[0]));
        assert!((a.mean - b.mean).abs() < 1e-15 && (a.sem - b.sem).abs() < 1e-14);
    }

    #[test]
    fn jackknife_of_a_ratio_matches_the_delta_method_to_leading_order() {
        let n = 400;
        let x: Vec<f64> = (0..n).map(|i| 10.0 + ((i * 37) % 101) as f64 / 101.0).collect();
        let y: Vec<f64> = (0..n).map(|i| 5.0 + ((i * 53) % 97) as f64 / 97.0).collect();
        let e = jackknife_of_means(&[&x, &y], |m| m[0] / m[1]);
        let ratio = e.mean;
        let mean_y = Estimate::from_samples(&y).mean;
        let linear: Vec<f64> = (0..n).map(|i| (x[i] - ratio * y[i]) / mean_y).collect();
        let want = Estimate::from_samples(&linear).sem;
        assert!((e.sem / want - 1.0).abs() < 0.01, "{} against {want}", e.sem);
    }

    #[test]
    fn jackknife_of_a_perfectly_correlated_ratio_has_no_error() {
        let x = [1.0, 5.0, 2.0, 8.0];
        let y = x.map(|x| 2.0 * x);
        let e = jackknife_of_means(&[&x, &y], |m| m[0] / m[1]);
        assert_eq!((e.mean, e.sem), (0.5, 0.0));
    }

    /// Φ = 1 − Σ‖blocks‖²/‖whole‖² left [0, 1) in a peer that drew other probes for the numerator than for the denominator.
    /// With both from the same probes each part is at most its whole, and so is every mean, with any sample left out.
    #[test]
    fn d13_a_share_of_the_same_samples_stays_in_its_range() {
        let whole: Vec<f64> = (0..20).map(|i| 1.0 + 50.0 * f64::from((i * 7) % 5)).collect();
        let part: Vec<f64> = whole.iter().enumerate().map(|(i, w)| w * (1.0 - 1e-3 * (i % 3) as f64)).collect();
        let seen = std::cell::RefCell::new(Vec::new());
        let e = jackknife_of_means(&[&part, &whole], |m| {
            let share = 1.0 - m[0] / m[1];
            seen.borrow_mut().push(share);
            share
        });
        assert!(seen.into_inner().iter().all(|x| (0.0..1.0).contains(x)) && e.sem < e.mean, "{e}");
        // The same numbers paired at random, as from other probes, do leave it.
        let shifted: Vec<f64> = (0..20).map(|i| part[(i + 3) % 20]).collect();
        let (half, other) = (&whole[..7], &shifted[..7]);
        assert!(jackknife_of_means(&[other, half], |m| 1.0 - m[0] / m[1]).mean < 0.0);
    }

    #[test]
    fn jackknife_survives_one_sample_that_dwarfs_the_rest() {
        let x = [1e20, 1.0, 1.0];
        let without: Vec<f64> = (0..3).map(|i| LeaveOneOut::new(&x).mean(Some(i))).collect();
        assert_eq!(without[0], 1.0);
    }

    #[test]
    fn jackknife_of_one_sample_gives_the_value_and_no_error() {
        let e = jackknife_of_means(&[&[3.0], &[4.0]], |m| m[0] / m[1]);
        assert_eq!(e.mean, 0.75);
        assert!(e.sem.is_nan());
    }

    #[test]
    #[should_panic(expected = "columns of 1 and 2 samples")]
    fn ragged_columns_are_refused_with_both_lengths() {
        jackknife_of_means(&[&[1.0, 2.0], &[1.0]], |m| m[0]);
    }

    #[test]
    fn pairwise_sum_of_a_million_tenths_is_accurate() {
        assert!((pairwise_sum(1_000_000, |_| 0.1) - 1e5).abs() < 1e-9);
        assert_eq!(pairwise_sum(0, |_| 1.0), 0.0);
    }

    #[test]
    fn relative_error_of_agreeing_zeros_is_zero() {
        assert_eq!(Estimate::from_samples(&[0.0, 0.0]).relative(), 0.0);
        assert_eq!(Estimate::from_samples(&[1.0, -1.0]).relative(), f64::INFINITY);
        assert!(Estimate::from_samples(&[1.0]).relative().is_nan());
    }

    #[test]
    fn scaling_scales_mean_and_error() {
        let e = Estimate::from_samples(&[1.0, 3.0]).scaled(-2.0);
        assert_eq!((e.mean, e.sem), (-4.0, 2.0));
        assert_eq!(e.deviation(0.0), 2.0);
    }
}
