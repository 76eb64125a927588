//! Quantities of one spectrum: rows 1–9 of the table of definitions, from all eigenvalues or from quadratures.
//!
//! Every quantity is a function of the sums Σ f(λ_i), of the sorted distribution of |λ|, or of a few extreme eigenvalues.
//! From an exact spectrum the sums are taken over the eigenvalues. From quadratures they are p Σ ω f(λ), one per probe, and
//! the value comes with the jackknife standard error over the probes.
//!
//! # Conventions
//! - **A quantity that is undefined or unknown is left out of the list**, so every reported value is finite.
//! - A quotient whose denominator is zero is undefined, and so is one whose denominator is an eigenvalue with
//!   |λ| ≤ τ|λ|_max: such an eigenvalue is zero to rounding, and its reciprocal is noise. (`ratio_k`, `r_e`,
//!   `trace_over_lambda_max`.)
//! - The identically zero matrix has counts and ranks 0 (`participation_ratio` and `rank_stable` included), norms 0, and no
//!   `condition`, `negative_mass`, `entropy`, `gini`, `skewness` or `kurtosis`.
//! - A spectrum without spread, such as p = 1 or a multiple of the identity, has no skewness or kurtosis, and no outliers.
//! - A matrix without positive eigenvalues has no `k_h_half`, no `power_law_slope`, and 0 outliers; `lambda_max` is then
//!   its eigenvalue nearest zero, and `trace_over_lambda_max` is still defined and positive when that is not zero.
//! - `negative_mass` and `k_h_half` sum over λ < 0 as defined, without the threshold: on a singular PSD matrix they show
//!   the rounding of the zero eigenvalues, where `negative_count` does not.
//!
//! # What a quadrature can and cannot give
//! An m-step Gauss quadrature is exact up to degree 2m − 1, so `trace` and `frobenius` have a probe error only. Sums of
//! |λ|, √|λ| and |λ| ln|λ| have a small further quadrature error, which the standard error doesn't include. Counts integrate a
//! step, so their error also contains the Chebyshev–Markov–Stieltjes bound, root sum of squares. `condition` and
//! `power_law_slope` need single eigenvalues inside the spectrum and are left out; so is all that needs λ_1 or λ_p, when no
//! extreme pairs are known, and `outliers`, unless the leading pairs are known and their residuals decide it.

mod sums;
mod table;
#[cfg(test)]
mod tests;

pub use table::{GAPS, METRICS, Metric, RATIOS, Unit, metric};

use crate::estimate::{Estimate, Quantity, Uncertainty, pairwise_sum};
use crate::spectrum::{Pair, Spectrum};
use sums::{Columns, Magnitudes, at};

/// What a caller may choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricOptions {
    /// τ: eigenvalues with |λ| ≤ τ|λ|_max count as zero. Default 1e-6, well above the rounding of an f64 block (about
    /// p ε ≈ 1e-12) and of one whose products ran in f32 (1e-7).
    pub tau: f64,
    /// Share of Σ|λ| that the energy rank must reach. Default 0.9.
    pub energy: f64,
    /// Largest number of outliers looked for, also never more than half of all eigenvalues: the outliers are a minority at
    /// the top, and the relative gaps of the last few eigenvalues of a tail are large for no reason. Default 20, twice the
    /// ten classes of the usual image sets.
    pub leading: usize,
}

impl Default for MetricOptions {
    fn default() -> Self {
        MetricOptions { tau: 1e-6, energy: 0.9, leading: 20 }
    }
}

/// All quantities of a spectrum that are defined and known, in the order of [`METRICS`]. Empty for an empty or non-finite
/// spectrum.
///
/// Cost: O(p log p), or O(probes · (probes + log m) · m) for quadratures.
///
/// # Panics
/// If `tau` or `energy` is outside [0, 1).
#[track_caller]
pub fn quantities(spectrum: &Spectrum, options: &MetricOptions) -> Vec<Quantity> {
    assert!((0.0..1.0).contains(&options.tau), "tau = {} is not in [0, 1)", options.tau);
    assert!((0.0..1.0).contains(&options.energy), "energy = {} is not in [0, 1)", options.energy);
    if spectrum.dim() == 0 || !spectrum.all_finite() {
        return Vec::new();
    }
    let magnitude = spectrum.magnitude();
    let mut list = List {
        p: spectrum.dim() as f64,
        scale: sums::power_of_two_below(magnitude),
        magnitude,
        options,
        out: Vec::new(),
    };
    list.put("condition_tau", options.tau, None);
    list.extremes(spectrum);
    match spectrum {
        Spectrum::Exact { eigenvalues } => {
            list.sums(spectrum, &Columns::exact(eigenvalues, list.scale, options.tau));
            list.distribution(&Magnitudes::exact(eigenvalues, list.scale));
            list.tail(eigenvalues);
        }
        Spectrum::Quadrature { dim, probes, .. } if !probes.is_empty() => {
            list.sums(spectrum, &Columns::of_probes(*dim, probes, magnitude, list.scale, options.tau));
            list.distribution(&Magnitudes::of_probes(*dim, probes, list.scale));
        }
        Spectrum::Quadrature { .. } => {}
    }
    list.out.sort_by_key(|q| METRICS.iter().position(|m| m.key == q.name));
    list.out
}

/// The quantity of a key, if it is in the list.
pub fn get<'a>(quantities: &'a [Quantity], key: &str) -> Option<&'a Quantity> {
    quantities.iter().find(|q| q.name == key)
}

/// The list under construction. Values are computed from eigenvalues divided by `scale`, a power of two near the largest
/// |λ|: the division is exact, and no square or fourth power can overflow or vanish.
struct List<'a> {
    p: f64,
    scale: f64,
    magnitude: f64,
    options: &'a MetricOptions,
    out: Vec<Quantity>,
}

impl List<'_> {
    fn put(&mut self, name: &'static str, value: f64, uncertainty: Option<Uncertainty>) {
        debug_assert!(metric(name).is_some(), "{name} is not in METRICS");
        if value.is_finite() {
            self.out.push(Quantity { name, value, uncertainty });
        }
    }

    fn put_bounded(&mut self, name: &'static str, exact: bool, value: f64, bound: f64) {
        self.put(name, value, (!exact).then_some(Uncertainty::Residual(bound)));
    }

    /// Puts f(sums). `other` is an error that doesn't come from the probes, added as a root sum of squares.
    fn put_sum(&mut self, name: &'static str, columns: &Columns, other: f64, f: impl Fn(&[f64]) -> f64) {
        let unit = metric(name).map_or(1.0, |m| if m.unit == Unit::Curvature { self.scale } else { 1.0 });
        if columns.exact {
            return self.put(name, unit * f(&columns.means()), None);
        }
        let e = columns.jackknife(f).scaled(unit);
        self.put(name, e.mean, Some(Estimate { sem: e.sem.hypot(unit * other), ..e }.uncertainty()));
    }

    fn negligible(&self, eigenvalue: f64) -> bool {
        eigenvalue.abs() <= self.options.tau * self.magnitude
    }

    /// Everything that the extreme eigenvalues alone decide.
    fn extremes(&mut self, spectrum: &Spectrum) {
        let exact = matches!(spectrum, Spectrum::Exact { .. });
        let (top, bottom) = (spectrum.largest(0), spectrum.smallest());
        if let Some(a) = top {
            self.put_bounded("lambda_max", exact, a.value, a.residual);
        }
        if let Some(z) = bottom {
            self.put_bounded("lambda_min", exact, z.value, z.residual);
        }
        for k in 0..GAPS.len() {
            let (Some(a), Some(b)) = (spectrum.largest(k), spectrum.largest(k + 1)) else { break };
            self.put_bounded(GAPS[k], exact, a.value - b.value, a.residual + b.residual);
            if let Some((ratio, bound)) = self.ratio(a, b) {
                self.put_bounded(RATIOS[k], exact, ratio, bound);
            }
        }
        if let (Some(a), Some(z)) = (top, bottom)
            && let Some((ratio, bound)) = self.ratio(z, a)
        {
            self.put_bounded("r_e", exact, ratio.abs(), bound);
        }
        if let Some(count) = self.outliers(spectrum) {
            self.put_bounded("outliers", exact, count as f64, 0.0);
        }
    }

    /// a/b and a bound on its error: |a/b − a'/b'| ≤ (r_a + |a/b| r_b) / (|b| − r_b).
    fn ratio(&self, a: Pair, b: Pair) -> Option<(f64, f64)> {
        let room = b.value.abs() - b.residual;
        if self.negligible(b.value) || room <= 0.0 {
            return None;
        }
        let ratio = a.value / b.value;
        Some((ratio, (a.residual + ratio.abs() * b.residual) / room))
    }

    /// The k ≤ min(leading, p/2) with the largest λ_k / max(λ_{k+1}, τ|λ|_max), the first if several; 0 if all these
    /// eigenvalues agree to τ. `None` if too few leading pairs are known or their residuals leave it open.
    fn outliers(&self, spectrum: &Spectrum) -> Option<usize> {
        let window = self.options.leading.min(spectrum.dim() / 2);
        let floor = self.options.tau * self.magnitude;
        if window == 0 || self.magnitude == 0.0 {
            return Some(0);
        }
        let leading: Vec<Pair> = (0..=window).map(|k| spectrum.largest(k)).collect::<Option<_>>()?;
        // Lower and upper bounds of each relative gap.
        let gaps: Vec<(f64, f64)> = leading
            .windows(2)
            .take_while(|w| w[0].value > floor)
            .map(|w| {
                let bound = |sign: f64| {
                    let below = (w[1].value + sign * w[1].residual).max(floor).max(f64::MIN_POSITIVE);
                    (w[0].value - sign * w[0].residual) / below
                };
                (bound(1.0), bound(-1.0))
            })
            .collect();
        let mut best: Option<usize> = None;
        for (k, gap) in gaps.iter().enumerate() {
            if gap.0 > 1.0 + self.options.tau && best.is_none_or(|b| gap.0 > gaps[b].0) {
                best = Some(k);
            }
        }
        let sure = match best {
            Some(b) => gaps.iter().enumerate().all(|(k, g)| k == b || g.1 <= gaps[b].0),
            None => gaps.iter().all(|g| g.1 <= 1.0 + self.options.tau),
        };
        sure.then_some(best.map_or(0, |b| b + 1))
    }

    /// Everything that is a function of sums over the spectrum.
    fn sums(&mut self, spectrum: &Spectrum, c: &Columns) {
        let p = self.p;
        self.put_sum("trace", c, 0.0, |s| s[at::TRACE]);
        self.put_sum("mean_curvature", c, 0.0, |s| s[at::TRACE] / p);
        self.put_sum("condition_below", c, c.rank_error, |s| p - s[at::RANK]);
        self.put_sum("rank_numerical", c, c.rank_error, |s| s[at::RANK]);
        self.put_sum("rank_effective", c, 0.0, |s| if s[at::NUCLEAR] == 0.0 { 0.0 } else { entropy(s).exp() });
        self.put_sum("frobenius", c, 0.0, |s| s[at::SQUARES].sqrt());
        self.put_sum("nuclear", c, 0.0, |s| s[at::NUCLEAR]);
        self.put_sum("participation_ratio", c, 0.0, |s| {
            if s[at::SQUARES] == 0.0 { 0.0 } else { s[at::NUCLEAR] * s[at::NUCLEAR] / s[at::SQUARES] }
        });
        self.put_sum("negative_count", c, c.negative_error, |s| s[at::NEGATIVE_COUNT]);
        self.put_sum("negative_fraction", c, c.negative_error / p, |s| s[at::NEGATIVE_COUNT] / p);
        self.put_sum("negative_mass", c, 0.0, |s| s[at::NEGATIVE_MASS] / s[at::NUCLEAR]);
        self.put_sum("k_h_half", c, 0.0, |s| s[at::NEGATIVE_ROOTS] / s[at::POSITIVE_ROOTS]);
        self.put_sum("entropy", c, 0.0, entropy);
        self.put_sum("skewness", c, 0.0, |s| sums::skewness_and_kurtosis(s, p).0);
        self.put_sum("kurtosis", c, 0.0, |s| sums::skewness_and_kurtosis(s, p).1);
        self.relative_to_extremes(spectrum, c);
    }

    /// Sums divided by λ_1 or by ‖H‖_2, where these are known.
    fn relative_to_extremes(&mut self, spectrum: &Spectrum, c: &Columns) {
        let (Some(top), means) = (spectrum.largest(0), c.means()) else { return };
        if !self.negligible(top.value) {
            let lambda = top.value / self.scale;
            let bound = (means[at::TRACE] / lambda).abs() * top.residual / top.value.abs();
            self.put_sum("trace_over_lambda_max", c, bound, |s| s[at::TRACE] / lambda);
        }
        let Some(bottom) = spectrum.smallest() else { return };
        let norm = if top.value.abs() >= bottom.value.abs() { top } else { bottom };
        let lambda = norm.value.abs() / self.scale;
        if lambda == 0.0 {
            return self.put_sum("rank_stable", c, 0.0, |_| 0.0);
        }
        let bound = 2.0 * means[at::SQUARES] / (lambda * lambda) * norm.residual / norm.value.abs();
        self.put_sum("rank_stable", c, bound, |s| s[at::SQUARES] / (lambda * lambda));
    }

    /// Everything that needs |λ| in order: energy rank and Gini coefficient.
    fn distribution(&mut self, magnitudes: &Magnitudes) {
        let share = self.options.energy;
        let (rank, error) = magnitudes.evaluate(|atoms| sums::energy_rank(atoms, share));
        // Of an exact spectrum the rank is a whole number: the last eigenvalue is needed entirely.
        self.put("rank_energy", if error.is_none() { rank.ceil() } else { rank }, error.map(Estimate::uncertainty));
        let (gini, error) = magnitudes.evaluate(sums::gini);
        self.put("gini", gini, error.map(Estimate::uncertainty));
    }

    /// What only all eigenvalues can give. `eigenvalues` ascend.
    fn tail(&mut self, eigenvalues: &[f64]) {
        let kept = eigenvalues.iter().map(|x| x.abs()).filter(|&x| !self.negligible(x)).min_by(f64::total_cmp);
        if let Some(smallest) = kept {
            self.put("condition", self.magnitude / smallest, None);
        }
        let positive: Vec<f64> =
            eigenvalues.iter().rev().copied().take_while(|&x| x > 0.0 && !self.negligible(x)).collect();
        if let Some(slope) = power_law_slope(&positive) {
            self.put("power_law_slope", slope, None);
        }
    }
}

/// −Σ a ln a = ln S − (Σ|x| ln|x|)/S with S = Σ|x|, free of scale. NaN for the zero spectrum.
fn entropy(s: &[f64]) -> f64 {
    s[at::NUCLEAR].ln() - s[at::LOGS] / s[at::NUCLEAR]
}

/// Least-squares slope of ln λ_k against ln k for descending positive values. `None` below three: two points always fit.
fn power_law_slope(descending: &[f64]) -> Option<f64> {
    let n = descending.len();
    if n < 3 {
        return None;
    }
    // Relative to λ_1, so that the logarithms are small and the slope is free of scale.
    let x = |k: usize| ((k + 1) as f64).ln();
    let y = |k: usize| (descending[k] / descending[0]).ln();
    let (mx, my) = (pairwise_sum(n, x) / n as f64, pairwise_sum(n, y) / n as f64);
    let covariance = pairwise_sum(n, |k| (x(k) - mx) * (y(k) - my));
    Some(covariance / pairwise_sum(n, |k| (x(k) - mx).powi(2)))
}
