//! The functions in double-double arithmetic (30 digits, 27 in the results), as the truth for f64.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// An unevaluated sum of two numbers, the second below the last place of the first.
#[derive(Clone, Copy, Debug)]
pub struct Dd(pub f64, pub f64);

const LN_2: Dd = Dd(std::f64::consts::LN_2, 2.3190468138462996e-17);
const LN_2_REST: f64 = 5.707708438416212e-34;
const PI_2: [f64; 4] =
    [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33, 5.562271104311117e-50];
const TWO_OVER_SQRT_PI: Dd = Dd(std::f64::consts::FRAC_2_SQRT_PI, 1.533545961316588e-17);

impl Dd {
    /// a + b exactly (Knuth).
    pub fn sum(a: f64, b: f64) -> Dd {
        let s = a + b;
        let t = s - a;
        Dd(s, (a - (s - t)) + (b - t))
    }

    /// a b exactly.
    pub fn product(a: f64, b: f64) -> Dd {
        let p = a * b;
        Dd(p, a.mul_add(b, -p))
    }

    fn scaled(self, k: i32) -> Dd {
        let (a, b) = (2f64.powi(k / 2), 2f64.powi(k - k / 2));
        Dd(self.0 * a * b, self.1 * a * b)
    }
}

impl From<f64> for Dd {
    fn from(x: f64) -> Dd {
        Dd(x, 0.0)
    }
}

impl Add for Dd {
    type Output = Dd;
    fn add(self, o: Dd) -> Dd {
        let (s, t) = (Dd::sum(self.0, o.0), Dd::sum(self.1, o.1));
        let v = Dd::sum(s.0, s.1 + t.0);
        Dd::sum(v.0, v.1 + t.1)
    }
}

impl Neg for Dd {
    type Output = Dd;
    fn neg(self) -> Dd {
        Dd(-self.0, -self.1)
    }
}

impl Sub for Dd {
    type Output = Dd;
    fn sub(self, o: Dd) -> Dd {
        self + -o
    }
}

impl Mul for Dd {
    type Output = Dd;
    fn mul(self, o: Dd) -> Dd {
        let p = Dd::product(self.0, o.0);
        Dd::sum(p.0, p.1 + (self.0 * o.1 + self.1 * o.0))
    }
}

impl Div for Dd {
    type Output = Dd;
    fn div(self, o: Dd) -> Dd {
        let q = self.0 / o.0;
        let r = self - o * Dd::from(q);
        let q2 = r.0 / o.0;
        let r = r - o * Dd::from(q2);
        Dd::from(q) + Dd::from(q2) + Dd::from(r.0 / o.0)
    }
}

fn one() -> Dd {
    Dd::from(1.0)
}

/// 1 + x/from (1 + x/(from + 1) (1 + …)).
fn nested(x: Dd, from: u32) -> Dd {
    (from..=from + 27).rev().fold(one(), |s, i| one() + s * x / Dd::from(f64::from(i)))
}

fn exp_dd(x: Dd) -> Dd {
    let k = (x.0 / std::f64::consts::LN_2).round();
    let n = Dd::from(k);
    let r = x - n * LN_2 - Dd::from(k * LN_2_REST);
    nested(r, 1).scaled(k as i32)
}

fn expm1_dd(x: Dd) -> Dd {
    if x.0.abs() < 0.5 { x * nested(x, 2) } else { exp_dd(x) - one() }
}

fn log1p_dd(x: Dd) -> Dd {
    if x.0.abs() < 1e-5 {
        let c = |n: f64| one() / Dd::from(n);
        return x * (one() - x * (c(2.0) - x * (c(3.0) - x * (c(4.0) - x * (c(5.0) - x * c(6.0))))));
    }
    let y = x.0.ln_1p();
    let d = (one() + x) * exp_dd(Dd::from(-y)) - one();
    Dd::from(y) + d - d * d * Dd::from(0.5)
}

pub fn exp(x: f64) -> Dd {
    exp_dd(Dd::from(x))
}

pub fn expm1(x: f64) -> Dd {
    expm1_dd(Dd::from(x))
}

pub fn ln(x: f64) -> Dd {
    if (0.5..2.0).contains(&x) {
        return log1p_dd(Dd::sum(x, -1.0));
    }
    // Scaled to [1/2, 1) so that e^-y is normal.
    let k = x.log2().floor() as i32 + 1;
    let (n, m) = (Dd::from(f64::from(k)), Dd::from(x).scaled(-k));
    log1p_dd(m - one()) + n * LN_2 + Dd::from(f64::from(k) * LN_2_REST)
}

pub fn log1p(x: f64) -> Dd {
    if x.abs() < 0.5 { log1p_dd(Dd::from(x)) } else { log1p_dd_wide(Dd::sum(1.0, x)) }
}

fn log1p_dd_wide(u: Dd) -> Dd {
    let k = u.0.log2().floor() as i32 + 1;
    log1p_dd(u.scaled(-k) - one()) + Dd::from(f64::from(k)) * LN_2 + Dd::from(f64::from(k) * LN_2_REST)
}

pub fn tanh(x: f64) -> Dd {
    let t = expm1(-2.0 * x.abs());
    let y = t / (t + Dd::from(2.0));
    if x < 0.0 { y } else { -y }
}

pub fn sigmoid(x: f64) -> Dd {
    let z = exp(-x.abs());
    if x < 0.0 { z / (one() + z) } else { one() / (one() + z) }
}

pub fn softplus(x: f64) -> Dd {
    let z = exp(-x.abs());
    let y = if z.0 < 0.5 { log1p_dd(z) } else { log1p_dd_wide(one() + z) };
    Dd::from(x.max(0.0)) + y
}

/// 2/√π e^(−x²) x Σ (2x²)ⁿ / (1 · 3 · … · (2n + 1)), whose terms are all positive.
pub fn erf(x: f64) -> Dd {
    let z = Dd::product(x, x);
    let (mut term, mut sum, mut n) = (one(), one(), 1.0);
    while term.0 > 1e-34 * sum.0 {
        term = term * z * Dd::from(2.0) / Dd::from(2.0 * n + 1.0);
        sum = sum + term;
        n += 1.0;
    }
    TWO_OVER_SQRT_PI * exp_dd(-z) * sum * Dd::from(x)
}

/// sin(x + quarters π/2) for |x| up to about 1e10.
fn sine(x: f64, quarters: i64) -> Dd {
    let n = (x * std::f64::consts::FRAC_2_PI).round();
    // x − n π₁ is exact: a multiple of the last place of π₁ (or of x) below 1.
    let first = (-n).mul_add(PI_2[0], x);
    let r = PI_2[1..].iter().fold(Dd::from(first), |r, &p| r - Dd::product(n, p));
    let z = r * r;
    let quadrant = (n as i64 + quarters).rem_euclid(4);
    let odd = quadrant % 2 == 1;
    let terms = (1..=14).rev().fold(one(), |s, i| {
        let k = 2.0 * f64::from(i) + if odd { -1.0 } else { 0.0 };
        one() - s * z / Dd::from(k * (k + 1.0))
    });
    let y = if odd { terms } else { r * terms };
    if quadrant < 2 { y } else { -y }
}

pub fn sin(x: f64) -> Dd {
    sine(x, 0)
}

pub fn cos(x: f64) -> Dd {
    sine(x, 1)
}

/// x, high and low part of f(x), from mpmath 1.3 with 60 digits:
/// `v = f(mpf(x)); h = float(v); l = float(v - mpf(h))`.
#[test]
fn the_reference_has_27_digits() {
    type Case = (&'static str, fn(f64) -> Dd, &'static [(f64, f64, f64)]);
    #[rustfmt::skip]
    let cases: [Case; 10] = [
        ("exp", exp, &[(-20.1, 1.865008921902767e-09, 1.0628610813492404e-25), (0.3, 1.3498588075760032, -9.447314673432387e-17), (1.0, std::f64::consts::E, 1.4456468917292502e-16), (700.5, 1.6721859620674984e+304, 1.0957735777569338e+288)]),
        ("expm1", expm1, &[(-30.5, -0.9999999999999433, 2.4455767981725405e-17), (-0.3, -0.2591817793182821, -1.805530505953e-18), (1e-09, 1.0000000005000001e-09, -7.443897403844588e-26), (0.4, 0.49182469764127035, 3.4465650470333193e-18), (3.7, 39.4473043600674, -1.2179541332469429e-15)]),
        ("ln", ln, &[(1e-300, -690.7755278982137, -2.3670096176709832e-14), (0.1, -2.3025850929940455, -1.7150243628057985e-16), (0.9999, -0.00010000500033334732, 4.110491732511812e-21), (1.5, 0.4054651081081644, -2.8811380259626426e-18), (7e+200, 462.46292874786445, -2.6894315941580244e-15)]),
        ("log1p", log1p, &[(-0.999, -6.907755278982136, -2.369515526854508e-16), (-0.3, -0.35667494393873234, -2.6895094047056423e-17), (1e-09, 9.999999995e-10, 7.493897403823754e-26), (0.7, 0.5306282510621704, -5.076541175216476e-18), (10000000000.0, 23.025850930040455, 1.3736784183183428e-15)]),
        ("tanh", tanh, &[(1e-09, 1e-09, -3.3333333333333338e-28), (0.3, 0.2913126124515909, -6.4602656586469586e-18), (0.54, 0.49298796667532435, 1.0897843356493002e-17), (1.0, 0.7615941559557649, 3.7090214482164924e-17), (15.5, 0.9999999999999312, -1.571464263745353e-17)]),
        ("sigmoid", sigmoid, &[(-600.5, 1.6075467697937942e-261, 3.537726127764541e-279), (-3.3, 0.03557118927263618, -1.7070192825712422e-18), (0.1, 0.52497918747894, -2.5084310194303448e-17), (2.7, 0.9370266439430035, 1.9931659248286904e-17), (30.0, 0.9999999999999064, 1.557128750770682e-17)]),
        ("softplus", softplus, &[(-600.5, 1.6075467697937942e-261, 3.537726127764541e-279), (-3.3, 0.036219258870659285, -2.9646235854173335e-18), (0.1, 0.7443966600735709, 3.832711658753494e-17), (2.7, 2.7650435617765905, 2.1755593478065185e-16), (40.0, 40.0, 4.248354255291589e-18)]),
        ("erf", erf, &[(1e-09, 1.1283791670955127e-09, -1.624992790279848e-26), (0.3, 0.3286267594591274, 2.2908254446982777e-17), (0.99, 0.8385080695553698, -2.8410838632595673e-17), (1.01, 0.8468104962282768, -5.299360328208859e-17), (5.5, 0.9999999999999927, -3.03759554483649e-17)]),
        ("sin", sin, &[(1e-09, 1e-09, -1.6666666666666669e-28), (0.7, 0.644217687237691, 2.8740567927338755e-18), (3.0, 0.1411200080598672, 8.577269787017502e-18), (12345.678, -0.7040813137533816, -1.9646969196301474e-17), (950000000.0, -0.38384081000691533, -1.057531157428627e-17)]),
        ("cos", cos, &[(1e-09, 1.0, -5e-19), (0.7, 0.7648421872844885, -4.013780434022238e-17), (1.5, 0.0707372016677029, 3.683512075225569e-18), (12345.678, 0.7101193587160628, -2.4815747415365305e-17), (950000000.0, 0.9233992812284593, -4.928662479573568e-17)]),
    ];
    for (name, f, points) in cases {
        for &(x, high, low) in points {
            let y = f(x);
            let error = ((y.0 - high) + (y.1 - low)) / high;
            assert!(error.abs() < 1e-27, "{name}({x}) = {y:?}, relative error {error:e}");
        }
    }
}
