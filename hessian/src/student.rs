//! Student's t: how many standard errors an interval from few samples needs.

use std::f64::consts::PI;

use crate::estimate::Estimate;

/// More degrees of freedom count as this many: an interval is then 0.02 % too wide at most.
const LARGE: usize = 10_000;

/// P(|T| ≤ t) for ν degrees of freedom, t ≥ 0.
///
/// The finite sums for whole ν: θ = atan(t/√ν), 2/π (θ + sin θ (cos θ + 2/3 cos³ θ + … )) for odd ν and
/// sin θ (1 + 1/2 cos² θ + 3/8 cos⁴ θ + …) for even ν, up to cos^{ν−2} θ. Cost: O(ν).
///
/// # Panics
/// If ν = 0 or t is negative or NaN.
///
/// # Sources
/// Abramowitz & Stegun, 26.7.3 and 26.7.4.
#[track_caller]
pub fn two_sided(t: f64, nu: usize) -> f64 {
    assert!(nu > 0 && t >= 0.0, "Student's t at {t} for {nu} degrees of freedom");
    let theta = (t / (nu as f64).sqrt()).atan();
    let (sine, cosine) = theta.sin_cos();
    let odd = nu % 2 == 1;
    let mut term = if odd { cosine } else { 1.0 };
    let mut sum = if nu == 1 { 0.0 } else { term };
    // The term of cos^k is the one of cos^{k−2} times (k − 1)/k · cos²; for odd ν k runs over odd numbers.
    let mut k = if odd { 3 } else { 2 };
    while k + 2 <= nu {
        term *= cosine * cosine * (k - 1) as f64 / k as f64;
        sum += term;
        k += 2;
    }
    if odd { (theta + sine * sum) * 2.0 / PI } else { sine * sum }
}

/// The t with P(|T| ≤ t) = level: half the width of an interval in standard errors. 2.26 for 95 % of ten samples (ν = 9).
///
/// By bisection to the last bits; infinite for ν = 0, since one sample says nothing about its own error.
///
/// # Panics
/// If the level is not strictly between 0 and 1.
#[track_caller]
pub fn quantile(level: f64, nu: usize) -> f64 {
    assert!(level > 0.0 && level < 1.0, "a confidence of {level}");
    if nu == 0 {
        return f64::INFINITY;
    }
    let nu = nu.min(LARGE);
    let mut high = 1.0;
    while two_sided(high, nu) < level && high < f64::MAX / 2.0 {
        high *= 2.0;
    }
    let mut low = 0.0;
    // Each step halves the bracket: 60 leave less than the spacing of f64.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if two_sided(middle, nu) < level {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

impl Estimate {
    /// The interval mean ± t sem that covers the quantity with probability `level`, t from Student's distribution with
    /// samples − 1 degrees of freedom. Exact for normal samples; see [`estimators`](crate::estimators) for what was
    /// measured for others, and which estimates it does not suit. (−∞, ∞) below two samples; (NaN, NaN) for none.
    ///
    /// # Panics
    /// If the level is not strictly between 0 and 1.
    #[track_caller]
    pub fn interval(self, level: f64) -> (f64, f64) {
        let t = quantile(level, self.samples.saturating_sub(1));
        let half = if self.samples < 2 { f64::INFINITY } else { t * self.sem };
        (self.mean - half, self.mean + half)
    }
}

/// A band of 95 %, the usual one.
pub const LEVEL: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;

    /// Closed forms: ν = 1 is 2/π atan t, ν = 2 is t/√(2 + t²), ν = 4 follows from the sum by hand.
    #[test]
    fn few_degrees_of_freedom_have_closed_forms() {
        for t in [0.0, 0.1, 1.0, 3.7, 100.0] {
            assert!((two_sided(t, 1) - 2.0 / PI * f64::atan(t)).abs() < 1e-15);
            assert!((two_sided(t, 2) - t / (2.0 + t * t).sqrt()).abs() < 1e-15);
            let c = 4.0 / (4.0 + t * t);
            assert!((two_sided(t, 4) - (1.0 - c).sqrt() * (1.0 + c / 2.0)).abs() < 1e-15);
        }
    }

    /// The density integrated by Simpson's rule with 2,000 intervals, its constant from Γ at halves by recursion.
    #[test]
    fn it_is_the_integral_of_the_density() {
        for nu in 1..40 {
            // Γ((ν + 1)/2)/Γ(ν/2) by steps of two from ν = 1 (1/√π) and ν = 2 (√π/2).
            let mut ratio = if nu % 2 == 1 { 1.0 / PI.sqrt() } else { PI.sqrt() / 2.0 };
            for k in ((2 - nu % 2)..nu).step_by(2) {
                ratio *= (k + 1) as f64 / k as f64;
            }
            let v = nu as f64;
            let density = |t: f64| ratio / (v * PI).sqrt() * (1.0 + t * t / v).powf(-0.5 * (v + 1.0));
            let h = 2.5 / 2000.0;
            let inner = (1..2000).map(|i| density(h * f64::from(i)) * f64::from(2 + 2 * (i % 2))).sum::<f64>();
            let want = 2.0 * h / 3.0 * (density(0.0) + inner + density(2.5));
            assert!((two_sided(2.5, nu as usize) - want).abs() < 1e-11, "{nu}: {} {want}", two_sided(2.5, nu as usize));
        }
    }

    /// The tables in every textbook, three decimals.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (level, nu, want) in [
            (0.95, 1, 12.706),
            (0.95, 2, 4.303),
            (0.95, 9, 2.262),
            (0.95, 30, 2.042),
            (0.99, 5, 4.032),
            (0.90, 20, 1.725),
            (0.95, 1_000_000, 1.960),
        ] {
            assert!((quantile(level, nu) - want).abs() < 6e-4, "{level} {nu}: {}", quantile(level, nu));
        }
        for nu in [1, 2, 3, 10, 11, 500] {
            for level in [0.01, 0.5, 0.999] {
                assert!((two_sided(quantile(level, nu), nu) - level).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn one_sample_covers_everything_and_agreement_nothing_else() {
        assert_eq!(Estimate::from_samples(&[3.0]).interval(0.95), (f64::NEG_INFINITY, f64::INFINITY));
        assert_eq!(Estimate::from_samples(&[3.0, 3.0]).interval(0.95), (3.0, 3.0));
        let (low, high) = Estimate::from_samples(&[1.0, 2.0, 3.0]).interval(0.95);
        assert!((high - 2.0 - 4.3027 / 3f64.sqrt()).abs() < 1e-4 && (low + high - 4.0).abs() < 1e-14);
    }

    #[test]
    #[should_panic(expected = "a confidence of 95")]
    fn a_level_in_percent_is_refused() {
        quantile(95.0, 3);
    }
}
