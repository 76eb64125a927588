//! The checks of any scalar function of θ that comes with a gradient and a Hessian product: orders of Taylor remainders,
//! agreement with differences, symmetry, linearity.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::taylor::{difference_error, slope};
use super::{Report, draw};
use crate::ops::Sample;

/// (θ, v) ↦ M(θ) v.
pub type Product<'a> = dyn Fn(&[f64], &[f64]) -> Vec<f64> + 'a;

/// A scalar function F of θ with its derivatives, as plain maps: whatever computes them, this is what a user relies on.
pub struct Maps<'a> {
    /// F(θ).
    pub loss: &'a dyn Fn(&[f64]) -> f64,
    /// ∂F(θ).
    pub gradient: &'a dyn Fn(&[f64]) -> Vec<f64>,
    /// (θ, v) ↦ ∂²F(θ) v.
    pub hvp: &'a Product<'a>,
    /// How many terms (samples) are added up in F, for the rounding of sums.
    pub terms: usize,
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn along(theta: &[f64], t: f64, v: &[f64]) -> Vec<f64> {
    theta.iter().zip(v).map(|(x, d)| x + t * d).collect()
}

/// How many disturbed copies of θ tell the rounding noise of F and its gradient.
const DISTURBED: usize = 3;

/// Checks F, its gradient and its Hessian product at θ.
///
/// The directions are random, of norm 1, from `seed`. Rows: the Taylor remainders of F fall with orders 2 and 3, that of
/// the gradient with order 2; the product agrees with fourth-order differences of the gradient, is symmetric and linear.
///
/// A remainder is followed down to the noise of its function, which is measured: the change of F under changes of θ in
/// its last bit. A formula for it would have to know how F is computed (the cross-entropy of a fitted sample has the
/// rounding of its logits, not of its tiny value).
///
/// Cost: about 80 values, 110 gradients and 5 products, or 8 where rounding is more than that of sums.
pub fn check_maps(name: &str, maps: &Maps<'_>, theta: &[f64], seed: u64) -> Report {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut direction = || {
        let mut v = draw(&mut rng, Sample::Normal, theta.len());
        let n = norm(&v).max(f64::MIN_POSITIVE);
        v.iter_mut().for_each(|x| *x /= n);
        v
    };
    let (random, u) = (direction(), direction());
    let loss = (maps.loss)(theta);
    let gradient = (maps.gradient)(theta);
    let steepest = norm(&gradient).max(f64::MIN_POSITIVE);
    let mixed: Vec<f64> = random.iter().zip(&gradient).map(|(r, g)| r + g / steepest).collect();
    let length = norm(&mixed).max(f64::MIN_POSITIVE);
    let v: Vec<f64> = mixed.iter().map(|x| x / length).collect();
    let (hv, hu) = ((maps.hvp)(theta, &v), (maps.hvp)(theta, &u));
    let (gv, vhv) = (dot(&gradient, &v), dot(&v, &hv));
    let detail = |extra: String| format!("(seed {seed}) {extra}");
    let mut report = Report::default();

    let terms = maps.terms as f64;
    let mut loss_noise = f64::EPSILON * (loss.abs() + gv.abs());
    let mut grad_noise = f64::EPSILON * (norm(&gradient) + norm(&hv));
    let disturbed: Vec<Vec<f64>> = (0..DISTURBED)
        .map(|_| theta.iter().zip(direction()).map(|(x, s)| x * (1.0 + f64::EPSILON * s.signum())).collect())
        .collect();
    for moved in &disturbed {
        loss_noise = loss_noise.max(((maps.loss)(moved) - loss).abs());
        let change: Vec<f64> = (maps.gradient)(moved).iter().zip(&gradient).map(|(a, b)| a - b).collect();
        grad_noise = grad_noise.max(norm(&change));
    }
    // A function that is all noise must not pass for one whose remainders vanish.
    let cap = f64::EPSILON.sqrt() * (loss.abs() + norm(&gradient) + norm(&hv));
    let loss_floor = (8.0 * loss_noise).min(cap);
    let grad_floor = (8.0 * grad_noise).min(cap);

    let first = slope(0.25, 24, loss_floor, |h| ((maps.loss)(&along(theta, h, &v)) - loss - h * gv).abs());
    report.at_least("order of F(θ+hv) - F - h g'v", name, first.order, 1.8, detail(first.describe()));
    let second =
        slope(0.25, 24, loss_floor, |h| ((maps.loss)(&along(theta, h, &v)) - loss - h * gv - 0.5 * h * h * vhv).abs());
    report.at_least("order of F(θ+hv) - F - h g'v - ½h² v'Hv", name, second.order, 2.7, detail(second.describe()));
    let third = slope(0.25, 24, grad_floor, |h| {
        let moved = (maps.gradient)(&along(theta, h, &v));
        norm(&moved.iter().zip(&gradient).zip(&hv).map(|((m, g), h0)| m - g - h * h0).collect::<Vec<_>>())
    });
    report.at_least("order of g(θ+hv) - g - h Hv", name, third.order, 1.8, detail(third.describe()));

    let scale = norm(&gradient).max(norm(&hv)).max(f64::MIN_POSITIVE);
    let (error, ladder) = difference_error(scale, &hv, |t| (maps.gradient)(&along(theta, t, &v)));
    report.at_most("Hv = differences of g", name, error, ladder.bound(), detail(ladder.describe()));

    let rounding = 16.0 * f64::EPSILON * (theta.len() as f64).sqrt() * terms.sqrt();
    let asymmetry = (dot(&u, &hv) - dot(&v, &hu)).abs();
    let mixed: Vec<f64> = v.iter().zip(&u).map(|(v, u)| 2.0 * v - 3.0 * u).collect();
    let h_mixed = (maps.hvp)(theta, &mixed);
    let error = norm(&h_mixed.iter().zip(&hv).zip(&hu).map(|((m, v), u)| m - 2.0 * v + 3.0 * u).collect::<Vec<_>>());
    let size = norm(&hv).max(norm(&hu)).max(f64::MIN_POSITIVE);
    let mut sizes = [size; 2];
    // What cancels in a product has more rounding than its sums: looked at only where a row would fail without.
    if asymmetry.max(error) > rounding * size {
        let change =
            |moved: &Vec<f64>| norm(&(maps.hvp)(moved, &v).iter().zip(&hv).map(|(a, b)| a - b).collect::<Vec<_>>());
        let noise = disturbed.iter().map(change).fold(0.0, f64::max);
        // Two products meet in the first row; in the second, one of a vector √13 as long, twice one and three times one.
        for (own, products) in sizes.iter_mut().zip([2.0, 13.0_f64.sqrt() + 5.0]) {
            *own += (4.0 * products * noise).min(f64::EPSILON.sqrt() * size) / rounding;
        }
    }
    report.at_most("u'Hv = v'Hu", name, asymmetry / sizes[0], rounding, detail(String::new()));
    report.at_most("H(2v - 3u) = 2Hv - 3Hu", name, error / sizes[1], rounding, detail(String::new()));
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F(θ) = Σ c_i sin θ_i + (Σ θ)³ / 6, whose derivatives are written by hand; `fault` is added to Hv.
    fn report(fault: impl Fn(&[f64], &[f64]) -> Vec<f64>) -> Report {
        let c = [1.0, -2.0, 0.5];
        let sum = |t: &[f64]| t.iter().sum::<f64>();
        let maps = Maps {
            loss: &|t| t.iter().zip(&c).map(|(t, c)| c * t.sin()).sum::<f64>() + sum(t).powi(3) / 6.0,
            gradient: &|t| t.iter().zip(&c).map(|(x, c)| c * x.cos() + sum(t).powi(2) / 2.0).collect(),
            hvp: &|t, v| {
                let wrong = fault(t, v);
                (0..3).map(|i| -c[i] * t[i].sin() * v[i] + sum(t) * sum(v) + wrong[i]).collect()
            },
            terms: 1,
        };
        check_maps("by hand", &maps, &[0.3, 0.8, -0.2], 5)
    }

    fn failed(report: &Report) -> Vec<&'static str> {
        report.failures().map(|r| r.check).collect()
    }

    #[test]
    fn a_sound_function_passes() {
        assert!(report(|_, _| vec![0.0; 3]).passed());
    }

    #[test]
    fn a_wrong_product_loses_an_order_and_the_differences() {
        let report = report(|_, v| v.iter().map(|x| 2.0 * x).collect());
        assert_eq!(failed(&report).len(), 3, "{report}");
    }

    #[test]
    fn a_product_wrong_by_a_millionth_is_seen_by_differences() {
        let report = report(|_, v| v.iter().map(|x| 1e-6 * x).collect());
        assert_eq!(failed(&report), ["Hv = differences of g"], "{report}");
    }

    #[test]
    fn an_unsymmetric_product_is_seen_even_where_its_quadratic_form_is_right() {
        let skew = |_: &[f64], v: &[f64]| vec![1e-6 * v[1], -1e-6 * v[0], 0.0];
        assert!(failed(&report(skew)).contains(&"u'Hv = v'Hu"));
    }

    #[test]
    fn a_product_that_is_not_linear_is_seen() {
        let cubic = |_: &[f64], v: &[f64]| v.iter().map(|x| 1e-9 * x.powi(3)).collect();
        assert!(failed(&report(cubic)).contains(&"H(2v - 3u) = 2Hv - 3Hu"));
    }

    #[test]
    fn noise_and_nan_never_pass() {
        assert!(!report(|_, _| vec![f64::NAN; 3]).passed());
        let calls = std::cell::Cell::new(0.0);
        let noisy = || {
            calls.set(calls.get() + 1.0);
            0.01 * f64::sin(calls.get() * 12.9898)
        };
        let maps = Maps {
            loss: &|t| t[0] * t[0] + noisy(),
            gradient: &|t| vec![2.0 * t[0] + noisy()],
            hvp: &|_, v| vec![2.0 * v[0]],
            terms: 1,
        };
        assert!(!check_maps("noise", &maps, &[0.5], 1).passed());
    }
}
