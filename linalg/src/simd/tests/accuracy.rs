//! Errors in units in the last place against the reference, on dense grids. The bounds are those that the functions'
//! documentation states.

use super::{Real, map, reference as r};

/// The last place of the result of type T next to `y`.
fn ulp<T: Real>(y: f64) -> f64 {
    let least = T::MIN_NORMAL.to_f64();
    let binade = f64::from_bits(y.abs().max(least).to_bits() & (0x7ff << 52));
    binade * T::EPSILON.to_f64()
}

/// (largest error in ulp, where) of a function of f64 on a grid of `n` steps over each range.
fn worst64<const F: char>(f: fn(f64) -> r::Dd, ranges: &[(f64, f64)], n: usize) -> (f64, f64) {
    let mut worst = (0.0, 0.0);
    for &(a, b) in ranges {
        let x: Vec<f64> = (0..=n).map(|i| a + (b - a) * (i as f64 / n as f64)).collect();
        for (&x, y) in x.iter().zip(map::<f64, F>(&x)) {
            let want = f(x);
            let error = ((y - want.0) - want.1).abs() / ulp::<f64>(want.0);
            if error > worst.0 || error.is_nan() {
                worst = (error, x);
            }
        }
    }
    worst
}

/// The same for f32 over all bit patterns in steps of `step` (both signs), against a function of f64, where the result
/// is finite in f32.
fn worst32<const F: char>(f: fn(f64) -> f64, within: std::ops::RangeInclusive<f64>, step: usize) -> (f64, f64) {
    let mut worst = (0.0, 0.0);
    let mut block = Vec::with_capacity(1 << 14);
    let mut flush = |block: &mut Vec<f32>| {
        for (&x, y) in block.iter().zip(map::<f32, F>(block)) {
            let want = f(f64::from(x));
            if (want as f32).is_infinite() || want.is_nan() {
                assert_eq!(super::bits(y), super::bits(want as f32), "at {x:e}");
                continue;
            }
            let error = (f64::from(y) - want).abs() / ulp::<f32>(want);
            if error > worst.0 || error.is_nan() {
                worst = (error, f64::from(x));
            }
        }
        block.clear();
    };
    for bits in (0..=u32::MAX).step_by(step) {
        let x = f32::from_bits(bits);
        if within.contains(&f64::from(x)) {
            block.push(x);
            if block.len() == block.capacity() {
                flush(&mut block);
            }
        }
    }
    flush(&mut block);
    worst
}

#[track_caller]
fn check(name: &str, bound: f64, (error, at): (f64, f64)) {
    println!("{name}: {error:.3} ulp at {at:e}");
    assert!(error <= bound, "{name} is {error} ulp off at {at:e}, bound {bound}");
}

/// About 330,000 arguments of f32.
const STEP: usize = 12_979;
const GRID: usize = 6_000;
const ALL: std::ops::RangeInclusive<f64> = f64::NEG_INFINITY..=f64::INFINITY;

/// One function against its bounds: `n` steps of f64 per range, every `step`-th f32.
type Check = fn(n: usize, step: usize);

const CHECKS: [Check; 10] = [exp, expm1, ln, log1p, tanh, sigmoid, softplus, erf, sin, cos];

fn exp(n: usize, step: usize) {
    check("exp f64", 1.0, worst64::<'e'>(r::exp, &[(-0.35, 0.35), (-2.0, 2.0), (-690.0, 709.7)], n));
    check("exp f32", 1.0, worst32::<'e'>(f64::exp, ALL, step));
}

fn expm1(n: usize, step: usize) {
    let ranges = [(-1e-3, 1e-3), (-0.4, 0.4), (-2.0, 2.0), (-40.0, 60.0), (600.0, 709.7)];
    check("expm1 f64", 2.0, worst64::<'m'>(r::expm1, &ranges, n));
    check("expm1 f32", 2.0, worst32::<'m'>(f64::exp_m1, ALL, step));
}

fn ln(n: usize, step: usize) {
    let ranges = [(0.5, 2.0), (0.99, 1.01), (1e-3, 30.0), (1e-308, 1e-307), (1.0, 1e308)];
    check("ln f64", 1.0, worst64::<'l'>(r::ln, &ranges, n));
    check("ln f32", 1.0, worst32::<'l'>(f64::ln, ALL, step));
}

fn log1p(n: usize, step: usize) {
    let ranges = [(-1e-6, 1e-6), (-0.01, 0.01), (-0.9, 1.5), (-0.9999999, -0.999), (0.0, 1e4), (1.0, 1e308)];
    check("log1p f64", 1.5, worst64::<'p'>(r::log1p, &ranges, n));
    check("log1p f32", 1.5, worst32::<'p'>(f64::ln_1p, ALL, step));
}

fn tanh(n: usize, step: usize) {
    let ranges = [(-1e-4, 1e-4), (-0.2, 0.2), (-1.0, 1.0), (-25.0, 25.0)];
    check("tanh f64", 1.75, worst64::<'t'>(r::tanh, &ranges, n));
    check("tanh f32", 1.75, worst32::<'t'>(f64::tanh, ALL, step));
}

fn sigmoid(n: usize, step: usize) {
    fn truth(x: f64) -> f64 {
        let z = (-x.abs()).exp();
        if x < 0.0 { z / (1.0 + z) } else { 1.0 / (1.0 + z) }
    }
    check("sigmoid f64", 2.5, worst64::<'g'>(r::sigmoid, &[(-1.0, 1.0), (-5.0, 5.0), (-690.0, 50.0)], n));
    check("sigmoid f32", 2.5, worst32::<'g'>(truth, ALL, step));
}

fn softplus(n: usize, step: usize) {
    fn truth(x: f64) -> f64 {
        // `max` drops NaN.
        (if x < 0.0 { 0.0 } else { x }) + (-x.abs()).exp().ln_1p()
    }
    check("softplus f64", 2.0, worst64::<'f'>(r::softplus, &[(-1.0, 1.0), (-5.0, 5.0), (-690.0, 50.0)], n));
    check("softplus f32", 2.0, worst32::<'f'>(truth, ALL, step));
}

fn erf(n: usize, step: usize) {
    let ranges = [(-1e-4, 1e-4), (0.3, 1.1), (1.0, 2.0), (-6.5, 6.5)];
    check("erf f64", 1.5, worst64::<'r'>(r::erf, &ranges, n / 2));
    // In f32 against our own f64, which the line above measured: the standard library has no erf.
    check("erf f32", 1.5, worst32::<'r'>(|x| map::<f64, 'r'>(&[x])[0], ALL, step.max(16)));
}

/// Ranges of f64 and f32; beyond them the standard library does it.
const TRIG: ([(f64, f64); 4], std::ops::RangeInclusive<f64>) =
    ([(-0.8, 0.8), (-10.0, 10.0), (-1e5, 1e5), (0.99e9, 1e9)], -1.2e5..=1.2e5);

fn sin(n: usize, step: usize) {
    check("sin f64", 1.0, worst64::<'s'>(r::sin, &TRIG.0, n));
    check("sin f32", 1.0, worst32::<'s'>(f64::sin, TRIG.1, step));
}

fn cos(n: usize, step: usize) {
    check("cos f64", 1.0, worst64::<'c'>(r::cos, &TRIG.0, n));
    check("cos f32", 1.0, worst32::<'c'>(f64::cos, TRIG.1, step));
}

#[test]
fn exp_and_expm1_keep_their_bounds() {
    exp(GRID, STEP);
    expm1(GRID, STEP);
}

#[test]
fn ln_and_log1p_keep_their_bounds() {
    ln(GRID, STEP);
    log1p(GRID, STEP);
}

#[test]
fn tanh_and_sigmoid_keep_their_bounds() {
    tanh(GRID, STEP);
    sigmoid(GRID, STEP);
}

#[test]
fn softplus_keeps_its_bound() {
    softplus(GRID, STEP);
}

#[test]
fn erf_keeps_its_bound() {
    erf(GRID, STEP);
}

#[test]
fn sin_and_cos_keep_their_bounds() {
    sin(GRID, STEP);
    cos(GRID, STEP);
}

/// Every f32 there is and a hundred times the points of f64, some 15 minutes on one core:
/// `cargo test --release -p eigenlens-linalg -- --ignored --nocapture every_f32`.
#[test]
#[ignore = "slow; run after a change of a function or its tables"]
fn every_f32_and_a_dense_grid() {
    for check in CHECKS {
        check(100 * GRID, 1);
    }
}

/// The arguments nearest to multiples of π/2, from the continued fractions of 2ᵏ · 2/π, with sin and cos by mpmath.
#[test]
fn sin_and_cos_next_to_multiples_of_half_pi() {
    let cases = [
        (45.553093477052, 1.0, -6.189806365883577e-19),
        (91.106186954104, -1.2379612731767154e-18, -1.0),
        (14461176.67027838, -1.0, -1.6985038298986004e-18),
        (182.212373908208, 2.475922546353431e-18, 1.0),
    ];
    for (x, sin, cos) in cases {
        assert_eq!(map::<f64, 's'>(&[x, -x]), [sin, -sin], "sin {x}");
        assert_eq!(map::<f64, 'c'>(&[x, -x]), [cos, cos], "cos {x}");
    }
    for x in [252.89821f32, 505.79642, 4.712389, 52516.434, 1011.59283] {
        let (sin, cos) = f64::from(x).sin_cos();
        assert_eq!(map::<f32, 's'>(&[x]), [sin as f32], "sin {x}");
        assert_eq!(map::<f32, 'c'>(&[x]), [cos as f32], "cos {x}");
    }
}

#[test]
fn subnormal_results_are_rounded_once() {
    // Against the standard library in f64, and exactly rounded f64 results for f32.
    for i in 0..400 {
        let x = -708.0 - 0.094 * f64::from(i);
        let (y, want) = (map::<f64, 'e'>(&[x])[0], x.exp());
        assert!(y.to_bits().abs_diff(want.to_bits()) <= 1, "exp({x}) = {y:e}, {want:e}");
    }
    for i in 0..400 {
        let x = -87.0f32 - 0.0425 * i as f32;
        let (y, want) = (map::<f32, 'e'>(&[x])[0], f64::from(x).exp() as f32);
        assert!(y.to_bits().abs_diff(want.to_bits()) <= 1, "exp({x}) = {y:e}, {want:e}");
    }
}
