//! Values at the ends: zeros, infinities, NaN, subnormals, the edges of overflow and underflow.

use super::{Level, Real, bits, map_dyn};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// f(x) = y to the bit (NaN of any kind), in f32 and f64, at every level.
#[track_caller]
fn exact(f: char, cases: &[(f64, f64)]) {
    exact_in::<f64>(f, cases);
    exact_in::<f32>(f, cases);
}

#[track_caller]
fn exact_in<T: Real>(f: char, cases: &[(f64, f64)]) {
    for &level in Level::all() {
        for &(x, want) in cases {
            let (x, want) = (T::from_f64(x), T::from_f64(want));
            let y = map_dyn(f, level, &[x])[0];
            assert_eq!(bits(y), bits(want), "{f}({x:e}) = {y:e}, not {want:e} ({}, {})", T::NAME, level.name());
        }
    }
}

#[test]
fn exp_at_the_ends() {
    exact('e', &[(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (1e30, INF), (-1e30, 0.0)]);
    exact_in::<f64>('e', &[(709.79, INF), (-745.2, 0.0), (-745.1, 5e-324), (1e-300, 1.0), (1e308, INF)]);
    exact_in::<f32>('e', &[(88.73, INF), (-104.0, 0.0), (-103.9, 1e-45), (1e-40, 1.0)]);
}

#[test]
fn exp_is_finite_up_to_the_last_argument_below_overflow() {
    let y = map_dyn('e', Level::best(), &[709.782712893384, 709.7827128933841])
        .into_iter()
        .chain(map_dyn('e', Level::best(), &[88.72283f32, 88.72284]).into_iter().map(f64::from))
        .collect::<Vec<_>>();
    assert_eq!(y.iter().map(|y| y.is_finite()).collect::<Vec<_>>(), [true, false, true, false], "{y:?}");
    // Within an ulp of the limit the result is as large as a finite number gets.
    assert!(y[0] > 1.797693e308 && y[2] > 3.4027e38, "{y:?}");
}

#[test]
fn expm1_at_the_ends() {
    exact('m', &[(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (NAN, NAN), (-100.0, -1.0), (1e30, INF)]);
    exact('m', &[(1e-20, 1e-20), (-1e-20, -1e-20), (1e-45, 1e-45), (-1e-45, -1e-45)]);
    exact_in::<f64>('m', &[(5e-324, 5e-324), (709.79, INF)]);
}

#[test]
fn ln_at_the_ends() {
    exact(
        'l',
        &[(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1.0, NAN), (-1e-45, NAN), (NAN, NAN)],
    );
    exact_in::<f64>('l', &[(5e-324, -744.4400719213812), (2.0, std::f64::consts::LN_2), (-5e-324, NAN)]);
    exact_in::<f32>('l', &[(1e-45, -103.27893), (2.0, std::f64::consts::LN_2)]);
}

#[test]
fn log1p_at_the_ends() {
    exact('p', &[(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (INF, INF), (-INF, NAN), (-1.5, NAN), (NAN, NAN)]);
    exact('p', &[(1e-20, 1e-20), (-1e-20, -1e-20), (1e-45, 1e-45), (-1e-45, -1e-45)]);
    exact_in::<f64>('p', &[(f64::MAX, f64::MAX.ln()), (1e300, 1e300f64.ln())]);
    exact_in::<f32>('p', &[(f64::from(f32::MAX), f64::from(f32::MAX).ln())]);
}

#[test]
fn tanh_at_the_ends() {
    exact('t', &[(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (22.0, 1.0), (-1e30, -1.0)]);
    exact('t', &[(1e-20, 1e-20), (-1e-20, -1e-20), (1e-45, 1e-45), (-1e-45, -1e-45)]);
}

#[test]
fn sigmoid_at_the_ends() {
    exact('g', &[(0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (NAN, NAN), (100.0, 1.0), (-1e30, 0.0)]);
    exact_in::<f64>('g', &[(-745.1, 5e-324), (-746.0, 0.0)]);
}

#[test]
fn softplus_at_the_ends() {
    exact('f', &[(0.0, std::f64::consts::LN_2), (INF, INF), (-INF, 0.0), (NAN, NAN), (1000.0, 1000.0), (-1e30, 0.0)]);
    exact_in::<f64>('f', &[(f64::MAX, f64::MAX), (-745.1, 5e-324)]);
}

#[test]
fn erf_at_the_ends() {
    exact('r', &[(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (6.5, 1.0), (-1e30, -1.0)]);
    exact_in::<f64>('r', &[(1e-20, 1e-20 * std::f64::consts::FRAC_2_SQRT_PI), (-5e-324, -5e-324)]);
    exact_in::<f32>('r', &[(1e-45, 1e-45)]);
}

#[test]
fn sin_and_cos_at_the_ends() {
    exact('s', &[(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN), (1e-20, 1e-20), (-1e-45, -1e-45)]);
    exact('c', &[(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN), (NAN, NAN), (1e-20, 1.0)]);
}

#[test]
fn sin_and_cos_beyond_their_range_are_those_of_the_standard_library() {
    // One lane among ordinary ones, which keep their bits.
    for far in [1.5e9, 1e15, -1e22, 1e300] {
        let x = [0.1, 0.2, far, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
        let near = x.map(|x| if x == far { 0.3 } else { x });
        for (f, std) in [('s', f64::sin as fn(f64) -> f64), ('c', f64::cos)] {
            let (y, mut want) = (map_dyn(f, Level::best(), &x), map_dyn(f, Level::best(), &near));
            want[2] = std(far);
            assert_eq!(y, want);
        }
    }
}

#[test]
fn one_nan_leaves_its_neighbours_alone() {
    for f in super::FUNCTIONS {
        let x = [0.5f32; 40];
        let want = map_dyn(f, Level::best(), &x);
        for bad in 0..x.len() {
            let mut x = x;
            x[bad] = f32::NAN;
            let y = map_dyn(f, Level::best(), &x);
            assert!(y[bad].is_nan());
            assert!((0..x.len()).all(|i| i == bad || y[i] == want[i]), "{f}");
        }
    }
}

#[test]
fn odd_functions_are_odd_to_the_bit() {
    let x: Vec<f64> = (0..500).map(|i| 0.013 * f64::from(i)).collect();
    let minus: Vec<f64> = x.iter().map(|x| -x).collect();
    for f in ['t', 'r', 's'] {
        let (y, z) = (map_dyn(f, Level::best(), &x), map_dyn(f, Level::best(), &minus));
        assert!(y.iter().zip(z).all(|(y, z)| y.to_bits() == (-z).to_bits()), "{f}");
    }
}

#[test]
fn saturating_functions_never_pass_their_limits() {
    let x: Vec<f64> = (-4000..4000).map(|i| 0.01 * f64::from(i)).collect();
    for (f, low, high) in [('t', -1.0, 1.0), ('r', -1.0, 1.0), ('g', 0.0, 1.0), ('s', -1.0, 1.0), ('c', -1.0, 1.0)] {
        assert!(map_dyn(f, Level::best(), &x).iter().all(|y| (low..=high).contains(y)), "{f}");
        let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        assert!(map_dyn(f, Level::best(), &x).iter().all(|&y| (low..=high).contains(&f64::from(y))), "{f} in f32");
    }
}
