//! Tails of the distributions that tests refer to.
//!
//! Tails are computed as such, not as 1 minus the bulk, so that small p-values keep their digits; the whole-number sums of
//! the crate below (for confidence factors) don't do that and know no fractional degrees of freedom.

/// Steps of a continued fraction or series at most; beyond arguments of 10⁴ a few hundred are used.
const STEPS: usize = 10_000;

/// P(|T| ≥ |t|) for ν degrees of freedom.
///
/// # Sources
/// Abramowitz & Stegun, 26.7.1 and 26.5.27: I_x(ν/2, ½) with x = ν/(ν + t²).
pub fn student_two_sided(t: f64, nu: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    // 1 − x is given apart, as x is near 1 for small t.
    let square = t * t;
    beta(nu / (nu + square), square / (nu + square), 0.5 * nu, 0.5)
}

/// P(F ≥ f) for (ν₁, ν₂) degrees of freedom.
///
/// # Sources
/// Abramowitz & Stegun, 26.6.2: I_x(ν₂/2, ν₁/2) with x = ν₂/(ν₂ + ν₁ f).
pub fn f_tail(f: f64, nu1: f64, nu2: f64) -> f64 {
    if f <= 0.0 {
        return 1.0;
    }
    if f.is_infinite() {
        return 0.0;
    }
    let scaled = nu1 * f;
    beta(nu2 / (nu2 + scaled), scaled / (nu2 + scaled), 0.5 * nu2, 0.5 * nu1)
}

/// P(χ² ≥ x) for ν degrees of freedom.
pub fn chi2_tail(x: f64, nu: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { gamma_tail(0.5 * nu, 0.5 * x) }
}

/// P(|Z| ≥ |z|) for a standard normal Z.
pub fn normal_two_sided(z: f64) -> f64 {
    chi2_tail(z * z, 1.0)
}

/// log Γ(x), x > 0: Stirling's series beyond 12, recursion below. Relative error of Γ: some 1e-15.
///
/// # Sources
/// Abramowitz & Stegun, 6.1.41.
pub fn ln_gamma(x: f64) -> f64 {
    // The terms B_{2k} / (2k (2k − 1) x^{2k−1}); beyond x = 12 the first that is left out is below 1e-17.
    const SERIES: [f64; 8] = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
        -691.0 / 360_360.0,
        1.0 / 156.0,
        -3617.0 / 122_400.0,
    ];
    let (mut x, mut product) = (x, 1.0);
    while x < 12.0 {
        product *= x;
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let tail = SERIES.iter().rev().fold(0.0, |sum, c| sum * inverse + c) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + tail - f64::ln(product)
}

/// The regularised incomplete beta function I_x(a, b), with y = 1 − x given apart.
///
/// # Sources
/// The continued fraction of DLMF 8.17.22, evaluated by the modified method of Lentz (Thompson & Barnett 1986).
fn beta(x: f64, y: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || y <= 0.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    // It converges fast for x below the mean; elsewhere by symmetry.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta(y, x, b, a);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * y.ln()).exp() / a;
    let term = |step: usize| {
        let m = (step / 2) as f64;
        match step {
            0 => 1.0,
            _ if step.is_multiple_of(2) => m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            _ => -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        }
    };
    front / lentz(1.0, |step| (term(step), 1.0))
}

/// The upper regularised incomplete gamma function Q(a, x), x > 0.
///
/// # Sources
/// DLMF 8.11.4 (series, for x < a + 1) and 8.9.2 (continued fraction).
fn gamma_tail(a: f64, x: f64) -> f64 {
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for k in 1..STEPS {
            term *= x / (a + k as f64);
            sum += term;
            if term < sum * f64::EPSILON {
                break;
            }
        }
        return 1.0 - front * sum;
    }
    // 1/(x + 1 − a − 1 (1 − a)/(x + 3 − a − 2 (2 − a)/(x + 5 − a − …
    front
        / lentz(x + 1.0 - a, |step| {
            let k = step as f64;
            (-k * (k - a), x + 2.0 * k + 1.0 - a)
        })
}

/// b₀ + a₁/(b₁ + a₂/(b₂ + …)) with (aₖ, bₖ) = `term(k)`.
fn lentz(start: f64, term: impl Fn(usize) -> (f64, f64)) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |x: f64| if x.abs() < TINY { TINY } else { x };
    let mut value = away(start);
    let (mut c, mut d) = (value, 0.0);
    for step in 1..STEPS {
        let (a, b) = term(step);
        d = 1.0 / away(b + a * d);
        c = away(b + a / c);
        value *= c * d;
        if (c * d - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Γ(n) = (n − 1)!, Γ(½) = √π, and the doubling formula.
    #[test]
    fn gamma_is_the_factorial() {
        let mut factorial = 1.0f64;
        for n in 1..30 {
            assert!((ln_gamma(f64::from(n)) - factorial.ln()).abs() < 1e-13, "{n}");
            factorial *= f64::from(n);
        }
        for x in [0.01, 0.5, 1.3, 11.9, 12.1, 400.0] {
            let double = ln_gamma(x) + ln_gamma(x + 0.5);
            let want = (1.0 - 2.0 * x) * 2f64.ln() + 0.5 * std::f64::consts::PI.ln() + ln_gamma(2.0 * x);
            assert!((double - want).abs() < 1e-14 * want.abs().max(10.0), "{x}: {double} {want}");
        }
    }

    #[test]
    fn closed_forms() {
        let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-12, "{got} {want}");
        for x in [0.01f64, 1.0, 5.0, 60.0] {
            close(chi2_tail(x, 2.0), (-0.5 * x).exp());
            close(chi2_tail(x, 4.0), (-0.5 * x).exp() * (1.0 + 0.5 * x));
            close(student_two_sided(x, 2.0), 2.0 / (2.0 + x * x + x * (2.0 + x * x).sqrt()));
            close(f_tail(x, 2.0, 7.0), (1.0 + 2.0 * x / 7.0).powf(-3.5));
            close(f_tail(x * x, 1.0, 5.5), student_two_sided(x, 5.5));
        }
        assert_eq!((f_tail(0.0, 1.0, 2.0), chi2_tail(-1.0, 1.0), student_two_sided(0.0, 3.0)), (1.0, 1.0, 1.0));
        assert_eq!((f_tail(f64::INFINITY, 1.0, 2.0), student_two_sided(f64::NEG_INFINITY, 3.0)), (0.0, 0.0));
    }
}
