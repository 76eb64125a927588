//! Tests of the vector functions.

use pulp::Simd;

use super::{Level, Vectors};
use crate::elementwise::{Kernel, update_at};
use crate::real::Real;

/// One of the functions, as a kernel.
pub struct Apply<const F: char>;

impl<T: Vectors, const F: char> Kernel<T, 1, 1> for Apply<F> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [match F {
            'e' => T::exp(s, x),
            'm' => T::expm1(s, x),
            'l' => T::ln(s, x),
            'p' => T::log1p(s, x),
            't' => T::tanh(s, x),
            'g' => T::sigmoid(s, x),
            'f' => T::softplus(s, x),
            'r' => T::erf(s, x),
            's' => T::sin(s, x),
            'c' => T::cos(s, x),
            _ => x,
        }]
    }
}

fn map<T: Real, const F: char>(level: Level, x: &[T]) -> Vec<T> {
    let mut y = vec![T::ZERO; x.len()];
    update_at(level, &Apply::<F>, [x], [&mut y]);
    y
}

fn quick<const F: char>(name: &str, f: fn(f64) -> f64, a: f64, b: f64) {
    let n = 200_000;
    let x: Vec<f64> = (0..=n).map(|i| a + (b - a) * i as f64 / n as f64).collect();
    let x32: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    let y = map::<f64, F>(Level::Avx512, &x);
    let y32 = map::<f32, F>(Level::Avx512, &x32);
    let mut worst = (0f64, 0.0);
    for (x, y) in x.iter().zip(&y) {
        let want = f(*x);
        let ulp = (want.abs().max(f64::MIN_POSITIVE).to_bits() & (0x7ff << 52)) as f64;
        let ulp = f64::from_bits(ulp as u64) * f64::EPSILON;
        let e = (y - want).abs() / ulp;
        if !(e <= worst.0) {
            worst = (e, *x);
        }
    }
    let mut worst32 = (0f64, 0.0);
    for (x, y) in x32.iter().zip(&y32) {
        let want = f(f64::from(*x));
        let ulp = (want as f32).abs().max(f32::MIN_POSITIVE).to_bits() & (0xff << 23);
        let ulp = f64::from(f32::from_bits(ulp)) * f64::from(f32::EPSILON);
        let e = (f64::from(*y) - want).abs() / ulp;
        if !(e <= worst32.0) {
            worst32 = (e, *x);
        }
    }
    println!("{name:10} [{a}, {b}] f64 {worst:?} f32 {worst32:?}");
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

#[test]
fn quick_look() {
    quick::<'e'>("exp", f64::exp, -87.0, 88.7);
    quick::<'e'>("exp", f64::exp, -1.0, 1.0);
    quick::<'m'>("expm1", f64::exp_m1, -87.0, 88.7);
    quick::<'m'>("expm1", f64::exp_m1, -1.0, 1.0);
    quick::<'l'>("ln", f64::ln, 1e-3, 1e3);
    quick::<'l'>("ln", f64::ln, 0.5, 2.0);
    quick::<'p'>("log1p", f64::ln_1p, -0.9999, 1.0);
    quick::<'p'>("log1p", f64::ln_1p, 0.0, 1000.0);
    quick::<'t'>("tanh", f64::tanh, -1.0, 1.0);
    quick::<'t'>("tanh", f64::tanh, -30.0, 30.0);
    quick::<'g'>("sigmoid", sigmoid, -80.0, 40.0);
    quick::<'g'>("sigmoid", sigmoid, -2.0, 2.0);
    quick::<'f'>("softplus", softplus, -80.0, 40.0);
    quick::<'f'>("softplus", softplus, -2.0, 2.0);
    quick::<'s'>("sin", f64::sin, -10.0, 10.0);
    quick::<'c'>("cos", f64::cos, -10.0, 10.0);
    quick::<'s'>("sin", f64::sin, -99999.0, 99999.0);
    quick::<'c'>("cos", f64::cos, -99999.0, 99999.0);
    let x = [0.0, 0.5, 0.99, 1.0, 1.5, 3.0, -2.0, 6.0, f64::NAN, f64::INFINITY, -0.0];
    println!("erf {:?}", map::<f64, 'r'>(Level::Avx512, &x));
    println!("erf {:?}", map::<f32, 'r'>(Level::Avx512, &x.map(|x| x as f32)));
}

fn time<T: Real, const F: char>(name: &str) {
    let x: Vec<T> = (0..4096).map(|i| T::from_f64(0.1 + i as f64 * 1e-3)).collect();
    let mut out = String::new();
    for &level in Level::all() {
        let mut y = x.clone();
        let mut best = f64::INFINITY;
        for _ in 0..200 {
            let t = std::time::Instant::now();
            update_at(level, &Apply::<F>, [&x], [&mut y]);
            best = best.min(t.elapsed().as_secs_f64() * 1e9 / 4096.0);
        }
        out += &format!(" {best:.3}");
    }
    println!("{name:10} {} {out}", T::NAME);
}

#[test]
fn timing() {
    fn both<const F: char>(name: &str) {
        time::<f64, F>(name);
        time::<f32, F>(name);
    }
    both::<'e'>("exp");
    both::<'m'>("expm1");
    both::<'l'>("ln");
    both::<'p'>("log1p");
    both::<'t'>("tanh");
    both::<'g'>("sigmoid");
    both::<'f'>("softplus");
    both::<'r'>("erf");
    both::<'s'>("sin");
    both::<'c'>("cos");
    both::<'0'>("copy");
}
