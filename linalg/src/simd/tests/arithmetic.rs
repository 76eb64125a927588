//! The operations on vectors, one lane at a time and at every level.

use pulp::Simd;

use super::{Level, Real, Vectors, bits};
use crate::elementwise::{Kernel, update_at};

/// An operation of two arguments, by a letter.
struct Binary<const F: char>;

impl<T: Vectors, const F: char> Kernel<T, 2, 1> for Binary<F> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [a, b]: [T::V<S>; 2], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let (yes, no) = (T::splat(s, T::UNIT), T::splat(s, T::NIL));
        [match F {
            '^' => T::max(s, a, b),
            'v' => T::min(s, a, b),
            '±' => T::copysign(s, a, b),
            '<' => T::select(s, T::lt(s, a, b), yes, no),
            '≤' => T::select(s, T::le(s, a, b), yes, no),
            '>' => T::select(s, T::gt(s, a, b), yes, no),
            '≥' => T::select(s, T::ge(s, a, b), yes, no),
            '=' => T::select(s, T::eq(s, a, b), yes, no),
            '?' => T::select(s, T::is_nan(s, a), yes, no),
            '&' => T::select(s, T::and(s, T::lt(s, no, a), T::lt(s, no, b)), yes, no),
            '|' => T::select(s, T::or(s, T::lt(s, no, a), T::lt(s, no, b)), yes, no),
            '!' => T::select(s, T::not(s, T::lt(s, a, b)), yes, no),
            '~' => T::round(s, a),
            'a' => T::abs(s, a),
            'n' => T::neg(s, a),
            'q' => T::sqrt(s, a),
            '2' => T::pow2(s, a),
            'M' => T::frexp(s, a).0,
            'E' => T::frexp(s, a).1,
            '+' => T::fma(s, a, b, a),
            '-' => T::fnma(s, a, b, a),
            'b' => {
                let n = T::add(s, a, T::splat(s, T::ROUNDER));
                T::add(
                    s,
                    T::select(s, T::bit(s, n, 0), yes, no),
                    T::select(s, T::bit(s, n, 1), T::add(s, yes, yes), no),
                )
            }
            'A' => {
                if T::any(s, T::lt(s, a, b)) {
                    yes
                } else {
                    no
                }
            }
            _ => unreachable!(),
        }]
    }
}

/// F(a, b) at every level, which must agree, over all pairs.
fn pairs<T: Real, const F: char>(a: &[f64], b: &[f64], want: impl Fn(f64, f64) -> f64) {
    let cast = |x: &f64| T::from_f64(*x);
    let (x, y): (Vec<T>, Vec<T>) = a.iter().flat_map(|a| b.iter().map(move |b| (cast(a), cast(b)))).unzip();
    for &level in Level::all() {
        let mut z = vec![T::ZERO; x.len()];
        update_at(level, &Binary::<F>, [&x, &y], [&mut z]);
        for ((a, b), z) in x.iter().zip(&y).zip(z) {
            let want = T::from_f64(want(a.to_f64(), b.to_f64()));
            assert_eq!(bits(z), bits(want), "{a:e} {F} {b:e} = {z:e}, not {want:e} ({}, {})", T::NAME, level.name());
        }
    }
}

fn both<const F: char>(a: &[f64], b: &[f64], want: impl Fn(f64, f64) -> f64) {
    pairs::<f32, F>(a, b, &want);
    pairs::<f64, F>(a, b, &want);
}

const X: [f64; 9] = [0.0, -0.0, 1.0, -1.0, 2.5, 1e-40, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];

#[test]
fn max_and_min_keep_nan_from_either_side() {
    both::<'^'>(&X, &X, |a, b| {
        if a.is_nan() || b.is_nan() {
            f64::NAN
        } else if a > b {
            a
        } else {
            b
        }
    });
    both::<'v'>(&X, &X, |a, b| {
        if a.is_nan() || b.is_nan() {
            f64::NAN
        } else if a < b {
            a
        } else {
            b
        }
    });
}

#[test]
fn comparisons_are_false_on_nan() {
    both::<'<'>(&X, &X, |a, b| f64::from(a < b));
    both::<'≤'>(&X, &X, |a, b| f64::from(a <= b));
    both::<'>'>(&X, &X, |a, b| f64::from(a > b));
    both::<'≥'>(&X, &X, |a, b| f64::from(a >= b));
    both::<'='>(&X, &X, |a, b| f64::from(a == b));
    both::<'?'>(&X, &X, |a, _| f64::from(a.is_nan()));
}

#[test]
fn masks_combine() {
    both::<'&'>(&X, &X, |a, b| f64::from(a > 0.0 && b > 0.0));
    both::<'|'>(&X, &X, |a, b| f64::from(a > 0.0 || b > 0.0));
    both::<'!'>(&X, &X, |a, b| f64::from(a.partial_cmp(&b) != Some(std::cmp::Ordering::Less)));
}

#[test]
fn any_sees_a_single_lane() {
    for at in 0..16 {
        let (a, mut b) = ([1f32; 16], [0f32; 16]);
        let mut y = [9f32; 16];
        update_at(Level::best(), &Binary::<'A'>, [&a, &b], [&mut y]);
        assert_eq!(y, [0.0; 16]);
        b[at] = 2.0;
        update_at(Level::best(), &Binary::<'A'>, [&a, &b], [&mut y]);
        assert_eq!(y[at], 1.0);
    }
}

#[test]
fn signs_move_as_bits() {
    both::<'±'>(&X[..8], &X[..8], f64::copysign);
    both::<'a'>(&X, &[0.0], |a, _| a.abs());
    both::<'n'>(&X, &[0.0], |a, _| -a);
}

#[test]
fn square_roots_are_correctly_rounded() {
    pairs::<f64, 'q'>(&[0.0, -0.0, 2.0, 3.0, 1e300, 5e-324, -1.0, f64::INFINITY], &[0.0], |a, _| a.sqrt());
    pairs::<f32, 'q'>(&[0.0, -0.0, 2.0, 3.0, 1e30, 1e-45, -1.0, f64::INFINITY], &[0.0], |a, _| a.sqrt());
}

#[test]
fn round_takes_ties_to_even() {
    let x = [0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 0.49, 100.51, -2e6 + 0.5];
    both::<'~'>(&x, &[0.0], |a, _| a.round_ties_even() + 0.0);
}

#[test]
fn powers_of_two_are_exact_over_all_normal_exponents() {
    let n: Vec<f64> = (-1022..=1023).map(f64::from).collect();
    pairs::<f64, '2'>(&n, &[0.0], |a, _| a.exp2());
    let n: Vec<f64> = (-126..=127).map(f64::from).collect();
    pairs::<f32, '2'>(&n, &[0.0], |a, _| a.exp2());
    pairs::<f64, '2'>(&[-1023.0], &[0.0], |_, _| 0.0);
    pairs::<f32, '2'>(&[-127.0], &[0.0], |_, _| 0.0);
}

#[test]
fn frexp_takes_numbers_apart_without_loss() {
    fn split(x: f64) -> (f64, f64) {
        let mut e = x.log2().floor();
        let mut m = x / e.exp2();
        if m >= std::f64::consts::SQRT_2 {
            (m, e) = (m / 2.0, e + 1.0);
        }
        (m, e)
    }
    let x: Vec<f64> = (-120..120).flat_map(|e| [1.0, 1.2, 1.41, 1.415, 1.9].map(|m| m * 2f64.powi(e))).collect();
    both::<'M'>(&x, &[0.0], |x, _| split(x).0);
    both::<'E'>(&x, &[0.0], |x, _| split(x).1);
    let x: Vec<f64> = (-1021..1023).map(|e| 1.3 * 2f64.powi(e)).collect();
    pairs::<f64, 'E'>(&x, &[0.0], |x, _| split(x).1);
}

#[test]
fn fused_operations_round_once() {
    // 1 + ε is lost by a product that is rounded first.
    let e = f64::EPSILON;
    pairs::<f64, '+'>(&[1.0 + e], &[-(1.0 - e), 3.0], |a, b| a.mul_add(b, a));
    pairs::<f64, '-'>(&[1.0 + e], &[1.0 - e, 3.0], |a, b| (-a).mul_add(b, a));
    let e = f64::from(f32::EPSILON);
    pairs::<f32, '+'>(&[1.0 + e], &[-(1.0 - e), 3.0], |a, b| a * b + a);
    pairs::<f32, '-'>(&[1.0 + e], &[1.0 - e, 3.0], |a, b| a - a * b);
}

#[test]
fn bits_of_integers_are_those_of_twos_complement() {
    let n: Vec<f64> = (-9..9).map(f64::from).collect();
    both::<'b'>(&n, &[0.0], |n, _| n.rem_euclid(4.0) + 0.0);
}
