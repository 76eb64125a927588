//! Orders of Taylor remainders and fourth-order differences.

/// The measured order of a remainder.
#[derive(Clone, Debug)]
pub struct Slope {
    /// Median of log₂(r(h) / r(h/2)) over the best run of steps; infinite if the remainder vanishes to rounding.
    pub order: f64,
    /// All local orders, from the largest h down, for the message of a failure.
    pub local: Vec<f64>,
}

impl Slope {
    /// The local orders as text.
    pub fn describe(&self) -> String {
        let list: Vec<String> = self.local.iter().map(|s| format!("{s:.2}")).collect();
        format!("slopes [{}]", list.join(" "))
    }
}

/// The order in h of `remainder(h)` ≥ 0 for h = h0, h0/2, …, as long as it stays above `floor` (its rounding error).
///
/// The order is the best median over three consecutive halvings: large h lie outside the region of convergence, small h
/// in rounding, and a kink may be crossed at some of them. A remainder that never exceeds the floor counts as exact.
pub fn slope(h0: f64, steps: usize, floor: f64, remainder: impl Fn(f64) -> f64) -> Slope {
    let r: Vec<f64> = (0..steps).map(|j| remainder(h0 * 0.5f64.powi(j as i32))).collect();
    if r.iter().all(|&r| r <= floor) {
        return Slope { order: f64::INFINITY, local: Vec::new() };
    }
    let local: Vec<f64> = r.windows(2).take_while(|w| w[1] > floor).map(|w| (w[0] / w[1]).log2()).collect();
    let order = local
        .windows(3.min(local.len().max(1)))
        .map(|w| {
            let mut w = w.to_vec();
            w.sort_by(f64::total_cmp);
            w[w.len() / 2]
        })
        .fold(f64::NEG_INFINITY, f64::max);
    Slope { order, local }
}

/// Errors of differences at h = 1/8, 1/16, …
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    errors: Vec<f64>,
    /// The least change from one step to the next, in the same unit.
    change: f64,
}

/// What differences can say at most about a function that bends so sharply that no step suits it.
const MOST: f64 = 1e-7;

impl Ladder {
    /// The errors as text.
    pub(super) fn describe(&self) -> String {
        let list: Vec<String> = self.errors.iter().map(|e| format!("{e:.1e}")).collect();
        format!("errors [{}]", list.join(" "))
    }

    /// What the error of a right derivative stays below: 1,000 ε^{4/5}, or what the differences themselves are known to, by
    /// how much they change from one step to the next. They don't know the derivative, so a wrong one gains nothing by it.
    pub(super) fn bound(&self) -> f64 {
        difference_bound().max((8.0 * self.change).min(MOST))
    }
}

/// The best agreement of fourth-order central differences of `g` with `derivative`, relative to `scale`.
///
/// D(h) = [8 (g(h) − g(−h)) − (g(2h) − g(−2h))] / 12h has truncation error O(h⁴) and rounding error O(ε/h); at the best
/// h both are about ε^{4/5} (Fornberg 1988); [`Ladder::bound`] says what a right derivative stays below. The ladder goes on to
/// h = 2⁻¹⁷, so that a piecewise smooth g with many kinks nearby has some h below the nearest. Returns the error at the best h
/// and the ladder of errors.
pub(super) fn difference_error(scale: f64, derivative: &[f64], g: impl Fn(f64) -> Vec<f64>) -> (f64, Ladder) {
    // f64::max would drop a NaN.
    let largest = |v: &mut dyn Iterator<Item = f64>| v.fold(0.0, |a: f64, b| if b.is_nan() || b > a { b } else { a });
    let differences: Vec<Vec<f64>> = (3..18)
        .map(|j| {
            let h = 0.5f64.powi(j);
            let (p1, m1, p2, m2) = (g(h), g(-h), g(2.0 * h), g(-2.0 * h));
            let at = |i: usize| (8.0 * (p1[i] - m1[i]) - (p2[i] - m2[i])) / (12.0 * h);
            (0..derivative.len()).map(at).collect()
        })
        .collect();
    let apart = |a: &[f64], b: &[f64]| largest(&mut a.iter().zip(b).map(|(a, b)| (a - b).abs())) / scale;
    let errors: Vec<f64> = differences.iter().map(|d| apart(d, derivative)).collect();
    let least = |list: &mut dyn Iterator<Item = f64>| list.fold(f64::INFINITY, f64::min);
    let change = least(&mut differences.windows(2).map(|w| apart(&w[0], &w[1])));
    let best = if errors.iter().all(|e| e.is_nan()) { f64::NAN } else { least(&mut errors.iter().copied()) };
    (best, Ladder { errors, change })
}

/// 1,000 ε^{4/5}: the constant covers the fifth derivatives of functions of order one.
fn difference_bound() -> f64 {
    1e3 * f64::EPSILON.powf(0.8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slope_finds_the_order_of_a_power() {
        let s = slope(0.5, 12, 1e-15, |h| 3.0 * h.powi(3));
        assert!((s.order - 3.0).abs() < 1e-9, "{s:?}");
    }

    #[test]
    fn slope_ignores_what_drowns_in_rounding() {
        let s = slope(0.5, 30, 1e-12, |h| h * h + 1e-13);
        assert!((s.order - 2.0).abs() < 0.01, "{s:?}");
    }

    #[test]
    fn vanishing_remainder_is_exact() {
        assert_eq!(slope(0.5, 5, 1e-15, |_| 0.0).order, f64::INFINITY);
    }

    #[test]
    fn differences_of_sine_reach_the_bound() {
        let (error, ladder) = difference_error(1.0, &[0.3f64.cos()], |h| vec![(0.3 + h).sin()]);
        assert!(error < difference_bound() && ladder.bound() == difference_bound(), "{error:e} {}", ladder.bound());
    }

    #[test]
    fn a_sharp_bend_widens_the_bound_and_hides_no_wrong_slope() {
        // A bend of width w beside a large number: the steps that it asks for lose too many digits.
        let (w, x) = (1e-3f64, 6e-4f64);
        let right = 1.0 / (x / w).cosh().powi(2);
        let of = |slope: f64| difference_error(right, &[slope], |h| vec![w * ((x + h) / w).tanh() + 30.0]);
        let (error, ladder) = of(right);
        assert!(error > difference_bound() && error <= ladder.bound(), "{error:e} and {:e}", ladder.bound());
        let (error, ladder) = of(right * (1.0 + 1e-5));
        assert!(error > ladder.bound(), "{error:e} and {:e}", ladder.bound());
    }

    #[test]
    fn differences_reject_a_slope_wrong_by_a_millionth() {
        let (error, _) = difference_error(1.0, &[0.3f64.cos() * (1.0 + 1e-6)], |h| vec![(0.3 + h).sin()]);
        assert!(error > difference_bound(), "{error:e}");
    }
}
