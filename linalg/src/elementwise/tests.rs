//! Tests of the driver.

use super::*;

/// yₒ ← yₒ + (o + 1) Σᵢ (i + 1) xᵢ.
struct Mix;

impl<T: Vectors, const I: usize, const O: usize> Kernel<T, I, O> for Mix {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, x: [T::V<S>; I], mut y: [T::V<S>; O]) -> [T::V<S>; O] {
        let mut sum = T::splat(s, T::NIL);
        for (x, k) in x.into_iter().zip(&T::LANE[1..]) {
            sum = T::fma(s, T::splat(s, *k), x, sum);
        }
        for (y, k) in y.iter_mut().zip(&T::LANE[1..]) {
            *y = T::fma(s, T::splat(s, *k), sum, *y);
        }
        y
    }
}

fn mix<T: Real, const I: usize, const O: usize>() {
    for level in Level::all() {
        for n in 0..70 {
            let x: [Vec<T>; I] = std::array::from_fn(|i| (0..n).map(|k| T::from_f64((k + 100 * i) as f64)).collect());
            // One guard element on either side of every output.
            let mut y: [Vec<T>; O] = std::array::from_fn(|o| vec![T::from_f64(o as f64); n + 2]);
            update_at(*level, &Mix, x.each_ref().map(|x| &x[..]), y.each_mut().map(|y| &mut y[1..n + 1]));
            for (o, y) in y.iter().enumerate() {
                let old = o as f64;
                assert_eq!((y[0].to_f64(), y[n + 1].to_f64()), (old, old), "guards, {n} elements");
                for k in 0..n {
                    let sum: f64 = (0..I).map(|i| (i + 1) as f64 * (k + 100 * i) as f64).sum();
                    assert_eq!(y[k + 1].to_f64(), old + (o + 1) as f64 * sum, "element {k} of {n}, {I} -> {O}");
                }
            }
        }
    }
}

#[test]
fn every_number_of_inputs_and_outputs_and_every_tail() {
    mix::<f32, 0, 1>();
    mix::<f64, 0, 2>();
    mix::<f32, 1, 1>();
    mix::<f64, 1, 4>();
    mix::<f64, 2, 1>();
    mix::<f32, 3, 2>();
    mix::<f64, 4, 3>();
    mix::<f32, 5, 4>();
    mix::<f64, 8, 1>();
    mix::<f64, 8, 4>();
}

#[test]
fn every_element_is_updated_once() {
    // Outputs that read themselves would show a second visit of the overlapping end.
    struct Increment;
    impl<T: Vectors> Kernel<T, 0, 1> for Increment {
        #[inline(always)]
        fn apply<S: Simd>(&self, s: S, _: [T::V<S>; 0], [y]: [T::V<S>; 1]) -> [T::V<S>; 1] {
            [T::add(s, y, T::splat(s, T::UNIT))]
        }
    }
    for n in 0..100 {
        let mut y = vec![1f32; n];
        update(&Increment, [], [&mut y]);
        assert!(y.iter().all(|&y| y == 2.0), "{n}");
    }
}

#[test]
fn padding_lanes_may_divide_by_zero() {
    struct Reciprocal;
    impl<T: Vectors> Kernel<T, 1, 1> for Reciprocal {
        #[inline(always)]
        fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
            [T::div(s, T::splat(s, T::UNIT), x)]
        }
    }
    let mut y = [0.0; 3];
    update(&Reciprocal, [&[1.0, 2.0, 0.0]], [&mut y]);
    assert_eq!(y, [1.0, 0.5, f64::INFINITY]);
}

#[test]
fn a_kernel_carries_its_parameters() {
    struct Affine<T>(T, T);
    impl<T: Vectors> Kernel<T, 1, 1> for Affine<T> {
        #[inline(always)]
        fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
            [T::fma(s, T::splat(s, self.0), x, T::splat(s, self.1))]
        }
    }
    let mut y = [0f32; 20];
    update(&Affine(2.0, 1.0), [&[3.0; 20]], [&mut y]);
    assert_eq!(y, [7.0; 20]);
}

#[test]
fn old_outputs_are_not_needed_when_they_are_not_used() {
    struct Copy;
    impl<T: Vectors> Kernel<T, 1, 1> for Copy {
        #[inline(always)]
        fn apply<S: Simd>(&self, _: S, x: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
            x
        }
    }
    for n in [1, 8, 9, 33] {
        let mut y = vec![f64::NAN; n];
        update(&Copy, [&vec![1.5; n]], [&mut y]);
        assert_eq!(y, vec![1.5; n]);
    }
}

#[test]
fn nothing_to_write_is_fine() {
    let y: [&mut [f64]; 0] = [];
    update(&Mix, [&[1.0, 2.0], &[1.0]], y);
}

#[test]
#[should_panic(expected = "input 1 has 3 elements, output 0 has 2")]
fn an_input_of_another_length_is_named() {
    update(&Mix, [&[1.0; 2], &[1.0; 3]], [&mut [0.0; 2]]);
}

#[test]
#[should_panic(expected = "output 1 has 1 elements, output 0 has 2")]
fn an_output_of_another_length_is_named() {
    update(&Mix, [&[1.0; 2]], [&mut [0.0; 2], &mut [0.0; 1]]);
}
