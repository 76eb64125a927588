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
//! The standard error of a quantity from quadratures is the root sum of squares of its jackknife error over the probes and of
//! what the quadrature itself may be off:
//! - An m-step Gauss quadrature is exact up to degree 2m − 1, so `trace` and `frobenius` have the probe error only.
//! - For sums of |λ| and |λ| ln|λ| and for what depends on the order of |λ|, it is the larger of two changes: when the
//!   steps are halved, and when the nodes next to zero are moved there. No bound, but of the size of the error or above it,
//!   on spectra of every kind that we tried. Where all nodes lie on one side of zero, a bound of what the other side may
//!   hold is added.
//! - Counts integrate a step, where no estimate is safe: it is the Chebyshev–Markov–Stieltjes bound. Zero eigenvalues in
//!   great number make it large, and then the count is in fact unknown.
//! - `k_h_half` is left out: square roots near zero converge so slowly that the error of the probes says nothing.
//!
//! `condition` and `power_law_slope` need single eigenvalues inside the spectrum and are left out; so is all that needs λ_1
//! or λ_p, when no extreme pairs are known, and `outliers`, unless the leading pairs are known and their residuals decide it.

mod sums;
mod table;
#[cfg(test)]
mod tests;

pub use table::{GAPS, METRICS, Metric, PANEL, RATIOS, Unit, metric};

use crate::estimate::{Estimate, Quantity, Uncertainty, pairwise_sum};
use crate::spectrum::{Pair, Probe, Spectrum};
use sums::{Atom, Columns, Magnitudes, at};

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
///
/// ```
/// use eigenlens_hessian::metrics::{MetricOptions, get, quantities};
/// use eigenlens_hessian::spectrum::Spectrum;
///
/// let list = quantities(&Spectrum::exact(vec![4.0, 2.0, 1.0, -1.0]), &MetricOptions::default());
/// assert_eq!(get(&list, "trace").unwrap().value, 6.0);
/// assert_eq!(get(&list, "negative_mass").unwrap().value, 0.125);
/// ```
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
        Spectrum::Exact { .. } => {
            let atoms = spectrum.atoms().expect("an exact spectrum");
            list.sums(spectrum, &Columns::exact(&atoms, list.scale, options.tau));
            list.distribution(&Magnitudes::exact(&atoms, list.scale), None);
            list.tail(spectrum, &atoms);
        }
        Spectrum::Quadrature { dim, probes, .. } if !probes.is_empty() => {
            let variants = sums::variants(probes);
            let variants = variants.as_ref().map(|v| v.as_slice());
            let ends = [spectrum.smallest(), spectrum.largest(0)];
            let relative_to = (magnitude, list.scale, options.tau);
            list.sums(spectrum, &Columns::of_probes(*dim, probes, variants, ends, relative_to));
            let of_probes = |probes: &[Probe]| Magnitudes::of_probes(*dim, probes, list.scale);
            let (magnitudes, variants) =
                (of_probes(probes), variants.map(|v| v.iter().map(|q| of_probes(q)).collect()));
            list.distribution(&magnitudes, variants);
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

/// Adds a quantity of [`PANEL`] if its value is finite.
pub(crate) fn put(out: &mut Vec<Quantity>, name: &'static str, value: f64, uncertainty: Option<Uncertainty>) {
    debug_assert!(metric(name).is_some(), "{name} is in no table");
    if value.is_finite() {
        out.push(Quantity { name, value, uncertainty });
    }
}

/// The degree of sums that are integrals of no polynomial.
const SMOOTH: usize = usize::MAX;
/// The degree of sums whose quadrature error is in their bound, or that have none.
const SETTLED: usize = 0;

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
        put(&mut self.out, name, value, uncertainty);
    }

    fn put_bounded(&mut self, name: &'static str, exact: bool, value: f64, bound: f64) {
        self.put(name, value, (!exact).then_some(Uncertainty::Residual(bound)));
    }

    /// Puts f(sums), where the sums are integrals of polynomials of a degree (or [`SMOOTH`], or [`SETTLED`]). `bound` is an
    /// error that comes neither from the probes nor from the steps; all are added as a root sum of squares.
    fn put_sum(&mut self, name: &'static str, columns: &Columns, degree: usize, bound: f64, f: impl Fn(&[f64]) -> f64) {
        let unit = metric(name).map_or(1.0, |m| if m.unit == Unit::Curvature { self.scale } else { 1.0 });
        if columns.exact {
            return self.put(name, unit * f(&columns.means()), None);
        }
        let e = columns.jackknife(&f);
        let sem = e.sem.hypot(columns.quadrature_error(degree, &f)).hypot(bound);
        self.put(name, unit * e.mean, Some(Estimate { sem: unit * sem, ..e }.uncertainty()));
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
        let hidden = c.hinge_error / c.means()[at::NUCLEAR];
        self.put_sum("trace", c, 1, 0.0, |s| s[at::TRACE]);
        self.put_sum("mean_curvature", c, 1, 0.0, |s| s[at::TRACE] / p);
        self.put_sum("condition_below", c, SETTLED, c.rank_error, |s| p - s[at::RANK]);
        self.put_sum("rank_numerical", c, SETTLED, c.rank_error, |s| s[at::RANK]);
        self.put_sum("rank_effective", c, SMOOTH, 0.0, |s| if s[at::NUCLEAR] == 0.0 { 0.0 } else { entropy(s).exp() });
        self.put_sum("frobenius", c, 2, 0.0, |s| s[at::SQUARES].sqrt());
        self.put_sum("nuclear", c, SMOOTH, 2.0 * c.hinge_error, |s| s[at::NUCLEAR]);
        self.put_sum("participation_ratio", c, SMOOTH, 0.0, |s| {
            if s[at::SQUARES] == 0.0 { 0.0 } else { s[at::NUCLEAR] * s[at::NUCLEAR] / s[at::SQUARES] }
        });
        self.put_sum("negative_count", c, SETTLED, c.negative_error, |s| s[at::NEGATIVE_COUNT]);
        self.put_sum("negative_fraction", c, SETTLED, c.negative_error / p, |s| s[at::NEGATIVE_COUNT] / p);
        self.put_sum("negative_mass", c, SMOOTH, hidden, |s| s[at::NEGATIVE_MASS] / s[at::NUCLEAR]);
        if c.exact {
            self.put_sum("k_h_half", c, SETTLED, 0.0, |s| s[at::NEGATIVE_ROOTS] / s[at::POSITIVE_ROOTS]);
        }
        self.put_sum("entropy", c, SMOOTH, 0.0, entropy);
        self.put_sum("skewness", c, 3, 0.0, |s| sums::skewness_and_kurtosis(s, p).0);
        self.put_sum("kurtosis", c, 4, 0.0, |s| sums::skewness_and_kurtosis(s, p).1);
        self.relative_to_extremes(spectrum, c);
    }

    /// Sums divided by λ_1 or by ‖H‖_2, where these are known.
    fn relative_to_extremes(&mut self, spectrum: &Spectrum, c: &Columns) {
        let (Some(top), means) = (spectrum.largest(0), c.means()) else { return };
        if !self.negligible(top.value) {
            let lambda = top.value / self.scale;
            let bound = (means[at::TRACE] / lambda).abs() * top.residual / top.value.abs();
            self.put_sum("trace_over_lambda_max", c, 1, bound, |s| s[at::TRACE] / lambda);
        }
        let Some(bottom) = spectrum.smallest() else { return };
        let norm = if top.value.abs() >= bottom.value.abs() { top } else { bottom };
        let lambda = norm.value.abs() / self.scale;
        if lambda == 0.0 {
            return self.put_sum("rank_stable", c, 2, 0.0, |_| 0.0);
        }
        let bound = 2.0 * means[at::SQUARES] / (lambda * lambda) * norm.residual / norm.value.abs();
        self.put_sum("rank_stable", c, 2, bound, |s| s[at::SQUARES] / (lambda * lambda));
    }

    /// Everything that needs |λ| in order: energy rank and Gini coefficient, with their change by the variants.
    fn distribution(&mut self, magnitudes: &Magnitudes, variants: Option<Vec<Magnitudes>>) {
        let share = self.options.energy;
        let mut put = |name, bound: f64, f: &dyn Fn(&[Atom]) -> f64| {
            let (value, error) = magnitudes.evaluate(f);
            let steps = sums::largest_change(value, variants.as_ref().map(|v| v.iter().map(|m| m.evaluate(f).0)));
            self.put(name, value, error.map(|e| Estimate { sem: e.sem.hypot(steps).hypot(bound), ..e }.uncertainty()));
        };
        // Of an exact spectrum the rank is a whole number: the last eigenvalue is needed entirely. From a quadrature it is
        // not, and up to 1 below the whole number.
        let whole = magnitudes.is_exact();
        put("rank_energy", 0.5, &|atoms| {
            let rank = sums::energy_rank(atoms, share);
            if whole { rank.ceil() } else { rank }
        });
        put("gini", 0.0, &sums::gini);
    }

    /// What only all eigenvalues can give. `atoms` are those of an exact `spectrum`.
    fn tail(&mut self, spectrum: &Spectrum, atoms: &[Atom]) {
        let kept = atoms.iter().map(|a| a.0.abs()).filter(|&x| !self.negligible(x)).min_by(f64::total_cmp);
        if let Some(smallest) = kept {
            self.put("condition", self.magnitude / smallest, None);
        }
        let positive: f64 = atoms.iter().filter(|a| a.0 > 0.0 && !self.negligible(a.0)).map(|a| a.1).sum();
        let descending = |k: usize| spectrum.largest(k).expect("k is below the number of positive ones").value;
        if let Some(slope) = power_law_slope(positive as usize, descending) {
            self.put("power_law_slope", slope, None);
        }
    }
}

/// −Σ a ln a = ln S − (Σ|x| ln|x|)/S with S = Σ|x|, free of scale. NaN for the zero spectrum.
fn entropy(s: &[f64]) -> f64 {
    s[at::NUCLEAR].ln() - s[at::LOGS] / s[at::NUCLEAR]
}

/// Least-squares slope of ln λ_k against ln k for n descending positive values. `None` below three: two points always fit.
fn power_law_slope(n: usize, descending: impl Fn(usize) -> f64) -> Option<f64> {
    if n < 3 {
        return None;
    }
    // Relative to λ_1, so that the logarithms are small and the slope is free of scale.
    let x = |k: usize| ((k + 1) as f64).ln();
    let y = |k: usize| (descending(k) / descending(0)).ln();
    let (mx, my) = (pairwise_sum(n, x) / n as f64, pairwise_sum(n, y) / n as f64);
    let covariance = pairwise_sum(n, |k| (x(k) - mx) * (y(k) - my));
    Some(covariance / pairwise_sum(n, |k| (x(k) - mx).powi(2)))
}
