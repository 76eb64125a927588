//! Tests of sums and norms.

use super::columns::SumRows;
use super::*;
use crate::gemm::Write;
use crate::simd::Level;

/// Numbers in [−1, 1] without a pattern: the fractional parts of multiples of the golden ratio.
fn noise<T: Real>(n: usize) -> Vec<T> {
    (0..n).map(|i| T::from_f64(2.0 * (0.5 + i as f64 * 0.618_033_988_749_894_9).fract() - 1.0)).collect()
}

/// Σ x in twice the precision (Knuth's two-sum).
fn exact(x: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0, 0.0);
    for x in x {
        let s: f64 = sum + x;
        let t = s - sum;
        lost += (sum - (s - t)) + (x - t);
        sum = s;
    }
    sum + lost
}

fn dot_at<T: Real>(level: Level, x: &[T], y: &[T]) -> T {
    fold(simd::dispatch_wide_at(level, Sum { term: Product, x: [x, y] }), |a, b| a + b)
}

const LENGTHS: [usize; 12] = [0, 1, 7, 8, 9, 31, 64, 100, 511, 512, 1025, 20_000];

#[test]
fn sums_of_integers_are_exact_at_every_length() {
    fn check<T: Real>() {
        let x: Vec<T> = (0..1200).map(|i| T::from_f64(f64::from((i * 7 + 3) % 11 - 5))).collect();
        let ones = vec![T::ONE; x.len()];
        for n in (0..300).chain([511, 512, 513, 1023, 1024, 1025, 1199]) {
            let want = exact(x[..n].iter().map(|x| x.to_f64()));
            assert_eq!(sum(&x[..n]).to_f64(), want, "{n}");
            assert_eq!(dot(&x[..n], &ones[..n]).to_f64(), want, "{n}");
            assert_eq!(dot3(&ones[..n], &x[..n], &ones[..n]).to_f64(), want, "{n}");
            let squares = exact(x[..n].iter().map(|x| x.to_f64() * x.to_f64()));
            assert_eq!(dot(&x[..n], &x[..n]).to_f64(), squares, "{n}");
            assert_eq!(dot3(&x[..n], &x[..n], &ones[..n]).to_f64(), squares, "{n}");
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn the_error_grows_like_the_logarithm() {
    // (20 + log2 n) ε Σ|x| at most; a plain loop of a million f32 is about 100 times worse than this bound's 40 ε.
    for n in [100, 10_000, 1 << 20] {
        let x: Vec<f32> = noise::<f32>(n).iter().map(|x| x.abs()).collect();
        let want = exact(x.iter().map(|&x| f64::from(x)));
        let error = (f64::from(sum(&x)) - want).abs() / want;
        let bound = (20.0 + (n as f64).log2()) * f64::from(f32::EPSILON) / 2.0;
        assert!(error <= bound, "{n}: {error:e} > {bound:e}");
        // In practice it is a few ε.
        assert!(error <= 3.0 * f64::from(f32::EPSILON), "{n}: {error:e}");
    }
}

#[test]
fn sums_have_the_same_bits_at_every_alignment() {
    fn check<T: Real>() {
        for n in LENGTHS {
            let (x, y) = (noise::<T>(n), noise::<T>(n + 5)[5..].to_vec());
            let want = (sum(&x), dot(&x, &y), dot3(&x, &y, &x), norm2(&x));
            for shift in 1..18 {
                let (mut xs, mut ys) = (vec![T::ONE; shift], vec![T::ONE; 2 * shift]);
                xs.extend(&x);
                ys.extend(&y);
                let (x, y) = (&xs[shift..], &ys[2 * shift..]);
                assert_eq!((sum(x), dot(x, y), dot3(x, y, x), norm2(x)), want, "{n} elements moved by {shift}");
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn sums_have_the_same_bits_at_every_level() {
    fn check<T: Real>() {
        for n in LENGTHS {
            let (x, y) = (noise::<T>(n), noise::<T>(n + 5)[5..].to_vec());
            for &level in Level::all() {
                assert_eq!(dot_at(level, &x, &y), dot(&x, &y), "{n} at {}", level.name());
                let max = fold(simd::dispatch_wide_at(level, MaxAbs { x: &x }), larger);
                assert_eq!(max, max_abs(&x), "{n} at {}", level.name());
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn column_sums_have_the_same_bits_at_every_level() {
    for (rows, cols) in [(3, 5), (40, 13), (100, 70)] {
        let a = noise::<f32>(rows * cols);
        let mut want = vec![0.0; cols];
        sum_rows(&mut want, Write::Set, &a, rows);
        for &level in Level::all() {
            let mut dst = vec![0.0; cols];
            simd::dispatch_wide_at(level, SumRows { dst: &mut dst, write: Write::Set, a: &a, rows });
            assert_eq!(dst, want, "{rows} x {cols} at {}", level.name());
        }
    }
}

#[test]
fn a_dot_product_of_threads_is_the_same() {
    let (x, y) = (noise::<f64>(30_000), noise::<f64>(30_000));
    let want = dot(&x, &y);
    std::thread::scope(|s| {
        for t in [s.spawn(|| dot(&x, &y)), s.spawn(|| dot(&y, &x))] {
            assert_eq!(t.join().unwrap(), want);
        }
    });
}

#[test]
fn nan_and_infinity_come_through_sums() {
    for n in [1, 9, 33, 700] {
        for at in [0, n / 2, n - 1] {
            let mut x = vec![1.0f64; n];
            x[at] = f64::NAN;
            assert!(sum(&x).is_nan() && dot(&x, &x).is_nan() && norm2(&x).is_nan() && max_abs(&x).is_nan());
            assert!(!all_finite(&x));
            x[at] = f64::NEG_INFINITY;
            assert_eq!((sum(&x), norm2(&x), max_abs(&x)), (f64::NEG_INFINITY, f64::INFINITY, f64::INFINITY));
            assert!(!all_finite(&x));
            x[at] = f64::MAX;
            assert!(all_finite(&x));
        }
    }
}

#[test]
fn max_abs_finds_the_largest_wherever_it_is() {
    for n in (1..70).chain([300]) {
        for at in [0, n / 3, n - 1] {
            let mut x = vec![0.5f32; n];
            x[at] = -3.0;
            assert_eq!(max_abs(&x), 3.0, "{n} {at}");
        }
    }
    assert_eq!(max_abs::<f64>(&[]), 0.0);
    assert_eq!(max_abs(&[-0.0f64]).to_bits(), 0);
}

#[test]
fn max_abs_keeps_a_nan_that_larger_values_follow() {
    for n in [2, 5, 17, 64, 90] {
        for at in 0..n {
            let mut x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            x[at] = f32::NAN;
            assert!(max_abs(&x).is_nan(), "{n} {at}");
        }
    }
}

#[test]
fn norms_neither_overflow_nor_underflow() {
    for scale in [1e300f64, 1e-300, 1e160, 1e-160, 1.0, 1e-308] {
        let y = norm2(&[3.0 * scale, -4.0 * scale]);
        assert!((y / (5.0 * scale) - 1.0).abs() < 4.0 * f64::EPSILON, "{scale:e}: {y:e}");
    }
    for scale in [1e37f32, 1e-37, 1e20, 1e-20, 1.0] {
        let y = norm2(&[3.0 * scale, -4.0 * scale]);
        assert!((y / (5.0 * scale) - 1.0).abs() < 4.0 * f32::EPSILON, "{scale:e}: {y:e}");
    }
    assert_eq!(norm2(&[5e-324; 4]), 1e-323);
    assert_eq!(norm2(&[1e-45f32; 4]), 3e-45);
    assert_eq!(norm2(&[f64::MAX, 0.0]), f64::MAX);
    assert_eq!(norm2(&[f32::MAX]), f32::MAX);
    assert_eq!((norm2::<f64>(&[]), norm2(&[0.0, -0.0])), (0.0, 0.0));
}

#[test]
fn norms_of_mixed_scales_do_not_lose_the_small_ones() {
    // A million elements of 2^-520, whose squares are subnormal, next to one of 2^-511.
    let mut x = vec![2f64.powi(-520); 1 << 20];
    x[77] = 2f64.powi(-511);
    let want = (exact(x.iter().map(|x| (x * 2f64.powi(520)).powi(2)))).sqrt() * 2f64.powi(-520);
    assert!((norm2(&x) / want - 1.0).abs() < 1e-15);
}

#[test]
fn axpy_and_scal_do_each_element_once() {
    for n in 0..70 {
        let x: Vec<f64> = (0..n).map(f64::from).collect();
        let mut y = vec![1.0; x.len()];
        axpy(2.0, &x, &mut y);
        assert_eq!(y, x.iter().map(|x| 1.0 + 2.0 * x).collect::<Vec<_>>());
        scal(-0.5, &mut y);
        assert_eq!(y, x.iter().map(|x| -0.5 - x).collect::<Vec<_>>());
    }
}

#[test]
fn axpy_rounds_once() {
    let e = f64::EPSILON;
    let mut y = [-1.0];
    axpy(1.0 + e, &[1.0 - e], &mut y);
    assert_eq!(y, [-e * e]);
}

#[test]
fn column_sums_of_integers_are_exact_for_every_shape() {
    fn check<T: Real>() {
        for rows in (0..10).chain([31, 32, 33, 64, 65, 97, 300]) {
            for cols in (1..20).chain([31, 32, 33, 64, 65, 100, 130]) {
                let a: Vec<T> = (0..rows * cols).map(|i| T::from_f64(((i * 7 + 3) % 11) as f64 - 5.0)).collect();
                let want: Vec<f64> = (0..cols).map(|j| exact((0..rows).map(|i| a[i * cols + j].to_f64()))).collect();
                let mut dst = vec![T::from_f64(f64::NAN); cols];
                sum_rows(&mut dst, Write::Set, &a, rows);
                assert_eq!(dst.iter().map(|x| x.to_f64()).collect::<Vec<_>>(), want, "{rows} x {cols}");
                sum_rows(&mut dst, Write::Add, &a, rows);
                assert_eq!(dst.iter().map(|x| 0.5 * x.to_f64()).collect::<Vec<_>>(), want, "{rows} x {cols}");
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn a_column_sum_does_not_depend_on_its_neighbours() {
    // The same column in matrices of several widths, at several places, next to NaN.
    let rows = 77;
    let column = noise::<f64>(rows);
    let mut want = [0.0];
    sum_rows(&mut want, Write::Set, &column, rows);
    for cols in [2, 8, 9, 31, 40, 71] {
        for at in [0, cols / 2, cols - 1] {
            let mut a = vec![f64::NAN; rows * cols];
            for (i, x) in column.iter().enumerate() {
                a[i * cols + at] = *x;
            }
            let mut dst = vec![0.0; cols];
            sum_rows(&mut dst, Write::Set, &a, rows);
            assert_eq!(dst[at], want[0], "{cols} {at}");
        }
    }
}

#[test]
fn column_sums_are_accurate() {
    let (rows, cols) = (100_000, 3);
    let a: Vec<f32> = noise::<f32>(rows * cols).iter().map(|x| x.abs()).collect();
    let mut dst = [0.0; 3];
    sum_rows(&mut dst, Write::Set, &a, rows);
    for j in 0..cols {
        let want = exact((0..rows).map(|i| f64::from(a[i * cols + j])));
        assert!((f64::from(dst[j]) / want - 1.0).abs() < 3.0 * f64::from(f32::EPSILON));
    }
}

#[test]
fn no_columns_and_no_rows_are_fine() {
    sum_rows::<f64>(&mut [], Write::Set, &[], 5);
    let mut dst = [7.0f64; 2];
    sum_rows(&mut dst, Write::Add, &[], 0);
    assert_eq!(dst, [7.0; 2]);
    sum_rows(&mut dst, Write::Set, &[], 0);
    assert_eq!(dst, [0.0; 2]);
    assert!(all_finite::<f32>(&[]));
}

#[test]
#[should_panic(expected = "slices of 2 and 3 elements")]
fn dot_of_unequal_lengths_names_both() {
    dot(&[1.0; 2], &[1.0; 3]);
}

#[test]
#[should_panic(expected = "sum_rows: 5 elements as 2 rows of 3")]
fn sum_rows_names_the_shape() {
    sum_rows(&mut [0.0; 3], Write::Set, &[1.0; 5], 2);
}
