//! Tests of the vector functions.

use pulp::Simd;

use super::{Level, Vectors, polynomial};
use crate::elementwise::{Kernel, update_at};
use crate::real::Real;

mod accuracy;
mod arithmetic;
mod reference;
mod special;

/// One of the functions, by the letter that `FUNCTIONS` gives it.
struct Apply<const F: char>;

/// The letters of the functions below.
const FUNCTIONS: [char; 10] = ['e', 'm', 'l', 'p', 't', 'g', 'f', 'r', 's', 'c'];

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
            _ => unreachable!(),
        }]
    }
}

/// A function of each element at a given level.
fn map_at<T: Real, const F: char>(level: Level, x: &[T]) -> Vec<T> {
    let mut y = vec![T::ZERO; x.len()];
    update_at(level, &Apply::<F>, [x], [&mut y]);
    y
}

/// A function of each element at the best level.
fn map<T: Real, const F: char>(x: &[T]) -> Vec<T> {
    map_at::<T, F>(Level::best(), x)
}

/// [`map_at`] for a letter that is not known at compile time.
fn map_dyn<T: Real>(letter: char, level: Level, x: &[T]) -> Vec<T> {
    match letter {
        'e' => map_at::<T, 'e'>(level, x),
        'm' => map_at::<T, 'm'>(level, x),
        'l' => map_at::<T, 'l'>(level, x),
        'p' => map_at::<T, 'p'>(level, x),
        't' => map_at::<T, 't'>(level, x),
        'g' => map_at::<T, 'g'>(level, x),
        'f' => map_at::<T, 'f'>(level, x),
        'r' => map_at::<T, 'r'>(level, x),
        's' => map_at::<T, 's'>(level, x),
        'c' => map_at::<T, 'c'>(level, x),
        _ => unreachable!(),
    }
}

/// Bits that compare NaN equal to NaN.
fn bits<T: Real>(x: T) -> u64 {
    // Opaque, as rustc 1.95 folds the test to false where x is known to be a square root.
    let x = std::hint::black_box(x.to_f64());
    if x.is_nan() { u64::MAX } else { x.to_bits() }
}

/// Arguments of every kind: both signs of zeros, subnormals, integers, halves, neighbours of limits, infinities, NaN.
fn arguments<T: Real>() -> Vec<T> {
    let tiny = if T::NAME == "f32" { 1e-45 } else { 5e-324 };
    let normal = T::MIN_NORMAL.to_f64();
    let mut x = vec![0.0, tiny, 3.0 * tiny, normal * 0.75, normal, normal * 1.5, f64::INFINITY, f64::NAN];
    for e in -40..40 {
        x.extend([1.0, 1.1, 1.37, 1.9999].map(|m: f64| m * 2f64.powi(e)));
    }
    x.extend([17.3, 87.9, 88.8, 103.9, 104.1, 708.9, 709.9, 744.9, 745.3, 1e5, 1e9, 1e30, 1e38]);
    if T::NAME == "f64" {
        x.extend([1e-300, 1e200, 1.7e308]);
    }
    x.iter().flat_map(|&x| [T::from_f64(x), T::from_f64(-x)]).collect()
}

#[test]
fn every_level_gives_the_same_bits() {
    fn check<T: Real>() {
        let x = arguments::<T>();
        for f in FUNCTIONS {
            let want = map_dyn(f, Level::best(), &x);
            for &level in Level::all() {
                for ((x, y), want) in x.iter().zip(map_dyn(f, level, &x)).zip(&want) {
                    assert_eq!(bits(y), bits(*want), "{f}({x:e}) = {y:e} at {}, {want:e} at the best", level.name());
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn an_element_has_the_same_bits_at_every_position() {
    fn check<T: Real>() {
        let x = arguments::<T>();
        for f in FUNCTIONS {
            let whole = map_dyn(f, Level::best(), &x);
            for (from, length) in [(0, 1), (1, 7), (3, 8), (5, 15), (2, 17), (11, 33), (7, 70)] {
                let part = map_dyn(f, Level::best(), &x[from..from + length]);
                for (y, want) in part.iter().zip(&whole[from..]) {
                    assert_eq!(bits(*y), bits(*want), "{f}, {length} elements from {from} on");
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn levels_are_named_and_ordered() {
    assert_eq!(Level::all()[0], Level::Portable);
    assert!(Level::all().is_sorted());
    assert_eq!(super::level(), Level::best().name());
    assert_eq!([Level::Portable, Level::Avx2, Level::Avx512].map(Level::name), ["scalar", "AVX2", "AVX-512"]);
}

struct Power;
impl<T: Vectors> Kernel<T, 1, 1> for Power {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], [y]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let c = [T::UNIT; 12];
        let long = polynomial::<T, S>(s, x, &c);
        let short = polynomial::<T, S>(s, x, &c[..3]);
        [T::add(s, T::mul(s, y, long), short)]
    }
}

#[test]
fn polynomials_long_and_short_take_every_coefficient() {
    let (x, mut y) = ([2.0; 3], [2.0; 3]);
    update_at(Level::best(), &Power, [&x], [&mut y]);
    assert_eq!(y, [2.0 * 4095.0 + 7.0; 3]);
}

/// Prints nanoseconds per element at every level: `cargo test --release -p eigenlens-linalg -- --ignored --nocapture
/// speed`.
#[test]
#[ignore = "prints, checks nothing"]
fn speed() {
    fn time<T: Real>(f: char) {
        let x: Vec<T> = (0..4096).map(|i| T::from_f64(0.1 + f64::from(i) * 1e-3)).collect();
        print!("{f} {}", T::NAME);
        for &level in Level::all() {
            let run = || {
                let start = std::time::Instant::now();
                std::hint::black_box(map_dyn(f, level, &x));
                start.elapsed().as_secs_f64() * 1e9 / x.len() as f64
            };
            print!(" {:8.3}", (0..200).map(|_| run()).fold(f64::INFINITY, f64::min));
        }
        println!();
    }
    for f in FUNCTIONS {
        time::<f32>(f);
        time::<f64>(f);
    }
}
