//! The distributions by their moments and bounds, the streams by their independence, the names by their round trip.
//!
//! Random tests have fixed seeds; each moment may stray five standard errors, so that a new seed would fail one test
//! in about 1.7 million.

use super::*;

fn filled(init: Init, shape: &[usize], seed: u64) -> Vec<f64> {
    let mut out = vec![f64::NAN; shape.iter().product()];
    init.fill(shape, Stream { seed, tensor: 0 }, &mut out);
    out
}

/// Mean 0 and the standard deviation `sd`, with the kurtosis of the law setting the error of the latter.
fn assert_moments(x: &[f64], sd: f64, kurtosis: f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| x * x).sum::<f64>() / n;
    assert!(mean.abs() < 5.0 * sd / n.sqrt(), "mean {mean} of {n} draws with sd {sd}");
    let error = sd * sd * ((kurtosis - 1.0) / n).sqrt();
    assert!((variance - sd * sd).abs() < 5.0 * error, "variance {variance}, expected {}", sd * sd);
}

fn assert_uniform(init: Init, shape: &[usize], bound: f64) {
    let x = filled(init, shape, 1);
    let largest = x.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    // The largest of n uniform magnitudes lies below bound (1 - t) with probability (1 - t)^n.
    assert!(largest <= bound && largest > bound * (1.0 - 20.0 / x.len() as f64), "{largest} against bound {bound}");
    assert_moments(&x, bound / 3.0_f64.sqrt(), 1.8);
}

const SHAPE: [usize; 2] = [80, 120];

#[test]
fn xavier_uniform_fills_its_interval() {
    assert_uniform(Init::XavierUniform { gain: 1.0 }, &SHAPE, (6.0 / 200.0_f64).sqrt());
    assert_uniform(Init::XavierUniform { gain: 5.0 / 3.0 }, &SHAPE, 5.0 / 3.0 * (6.0 / 200.0_f64).sqrt());
}

#[test]
fn xavier_normal_has_its_variance() {
    assert_moments(&filled(Init::XavierNormal { gain: 1.0 }, &SHAPE, 2), (2.0 / 200.0_f64).sqrt(), 3.0);
}

#[test]
fn he_divides_by_the_fan_it_is_told() {
    let gain = RELU_GAIN;
    assert_uniform(Init::HeUniform { fan: Fan::In, gain }, &SHAPE, (6.0 / 120.0_f64).sqrt());
    assert_uniform(Init::HeUniform { fan: Fan::Out, gain }, &SHAPE, (6.0 / 80.0_f64).sqrt());
    assert_moments(&filled(Init::HeNormal { fan: Fan::In, gain }, &SHAPE, 3), (2.0 / 120.0_f64).sqrt(), 3.0);
    assert_moments(&filled(Init::HeNormal { fan: Fan::Out, gain }, &SHAPE, 4), (2.0 / 80.0_f64).sqrt(), 3.0);
}

#[test]
fn lecun_has_unit_variance_over_fan_in() {
    assert_uniform(Init::LecunUniform, &SHAPE, (3.0 / 120.0_f64).sqrt());
    assert_moments(&filled(Init::LecunNormal, &SHAPE, 5), (1.0 / 120.0_f64).sqrt(), 3.0);
}

#[test]
fn pytorch_draws_weight_and_bias_from_one_interval() {
    assert_uniform(Init::Pytorch, &SHAPE, 1.0 / 120.0_f64.sqrt());
    let mut bias = vec![0.0_f64; 4000];
    Init::Pytorch.fill_bias(120, Stream { seed: 1, tensor: 1 }, &mut bias);
    assert_moments(&bias, 1.0 / 360.0_f64.sqrt(), 1.8);
    assert!(bias.iter().all(|b| b.abs() <= 1.0 / 120.0_f64.sqrt()));
}

#[test]
fn pytorch_is_kaiming_uniform_with_a_of_root_five() {
    // gain = √(2 / (1 + a²)) with a = √5.
    let kaiming = Init::HeUniform { fan: Fan::In, gain: (2.0 / 6.0_f64).sqrt() };
    for (a, b) in filled(Init::Pytorch, &SHAPE, 6).iter().zip(filled(kaiming, &SHAPE, 6)) {
        assert!((a - b).abs() <= 2.0 * f64::EPSILON * b.abs());
    }
}

#[test]
fn every_bias_but_pytorchs_starts_at_zero() {
    for (_, init) in NAMED.iter().filter(|(_, init)| *init != Init::Pytorch) {
        let mut bias = [1.0_f32; 3];
        init.fill_bias(7, Stream { seed: 0, tensor: 0 }, &mut bias);
        assert_eq!(bias, [0.0; 3], "{init}");
    }
}

#[test]
fn a_convolution_counts_its_kernel_in_both_fans() {
    assert_eq!(fans(&[16, 8, 3, 5]), (120, 240));
    assert_uniform(Init::LecunUniform, &[16, 8, 3, 5], (3.0 / 120.0_f64).sqrt());
}

#[test]
#[should_panic(expected = "has no fans")]
fn a_bias_has_no_fans() {
    filled(Init::LecunNormal, &[5], 0);
}

#[test]
fn laws_without_fans_fill_any_shape() {
    assert_eq!(filled(Init::Constant { value: 1.5 }, &[3], 0), [1.5; 3]);
    assert_eq!(filled(Init::Zeros, &[3], 0), [0.0; 3]);
    assert_moments(&filled(Init::Normal { sd: 0.3 }, &[5000], 7), 0.3, 3.0);
    assert_uniform(Init::Uniform { bound: 0.7 }, &[5000], 0.7);
}

#[test]
fn truncated_normal_stops_at_two_sd_with_the_variance_left_over() {
    let x = filled(Init::TruncatedNormal { sd: 0.5 }, &[20_000], 8);
    assert!(x.iter().all(|x| x.abs() <= 1.0));
    // Variance 1 - 4 φ(2) / (2 Φ(2) - 1) = 0.773741 and fourth moment 1.416 (integrated numerically) of the law at sd 1.
    assert_moments(&x, 0.5 * 0.773_741_3_f64.sqrt(), 1.416 / 0.773_741_3_f64.powi(2));
}

/// Largest deviation of Q Qᵀ (or QᵀQ, whichever is smaller) from gain² I.
fn orthogonality_defect(q: &[f64], rows: usize, cols: usize, gain: f64) -> f64 {
    let at = |i: usize, k: usize| if rows <= cols { q[i * cols + k] } else { q[k * cols + i] };
    let (m, n) = (rows.min(cols), rows.max(cols));
    let mut defect = 0.0_f64;
    for i in 0..m {
        for j in 0..=i {
            let dot: f64 = (0..n).map(|k| at(i, k) * at(j, k)).sum();
            defect = defect.max((dot - if i == j { gain * gain } else { 0.0 }).abs());
        }
    }
    defect
}

#[test]
fn orthogonal_has_orthonormal_rows_or_columns_whatever_the_shape() {
    for (rows, cols) in [(1, 1), (1, 9), (9, 1), (40, 70), (70, 40), (50, 50)] {
        for gain in [1.0, 1.7] {
            let q = filled(Init::Orthogonal { gain }, &[rows, cols], 9);
            let defect = orthogonality_defect(&q, rows, cols, gain);
            // A dot product of n terms of unit vectors: n ε; twice-done Gram–Schmidt adds a small multiple.
            assert!(defect < 10.0 * rows.max(cols) as f64 * f64::EPSILON, "{rows} x {cols}: {defect}");
        }
    }
}

#[test]
fn an_orthogonal_square_can_be_a_reflection_or_a_rotation() {
    // Uniform on O(2) means both signs of the determinant; a QR without the sign convention gives a constant one.
    let determinants: Vec<f64> = (0..64)
        .map(|seed| filled(Init::Orthogonal { gain: 1.0 }, &[2, 2], seed))
        .map(|q| q[0] * q[3] - q[1] * q[2])
        .collect();
    let reflections = determinants.iter().filter(|d| **d < 0.0).count();
    // Binomial(64, 1/2): outside of 10..=54 with probability 3e-9.
    assert!((10..=54).contains(&reflections), "{reflections} of 64");
}

#[test]
fn blocks_of_rows_change_nothing_but_rounding() {
    let (m, n) = (11, 13);
    let gaussian: Vec<f64> = filled(Init::Normal { sd: 1.0 }, &[m, n], 10);
    let (mut whole, mut blocked) = (gaussian.clone(), gaussian);
    orthonormal_rows(&mut whole, n, m);
    orthonormal_rows(&mut blocked, n, 3);
    for (a, b) in whole.iter().zip(&blocked) {
        // The Gaussian matrix has a condition number of about 1e2, which multiplies n ε.
        assert!((a - b).abs() < 1e4 * f64::EPSILON, "{a} and {b}");
    }
}

#[test]
fn gram_schmidt_keeps_the_first_direction() {
    let mut q = vec![3.0, 4.0, 5.0, -1.0];
    orthonormal_rows(&mut q, 2, 8);
    for (x, expected) in q.iter().zip([0.6, 0.8, 0.8, -0.6]) {
        assert!((x - expected).abs() < 4.0 * f64::EPSILON, "{q:?}");
    }
}

#[test]
fn f32_starts_from_the_rounded_f64_numbers() {
    for (name, init) in NAMED {
        let wide = filled(init, &[6, 10], 11);
        let mut narrow = [0.0_f32; 60];
        init.fill(&[6, 10], Stream { seed: 11, tensor: 0 }, &mut narrow);
        assert!(wide.iter().zip(&narrow).all(|(w, n)| *w as f32 == *n), "{name}");
    }
}

#[test]
fn a_tensor_depends_on_seed_and_index_only() {
    let stream = |seed, tensor| {
        let mut out = [0.0_f64; 32];
        Init::LecunNormal.fill(&[4, 8], Stream { seed, tensor }, &mut out);
        out
    };
    let first = stream(1, 0);
    stream(1, 1);
    assert_eq!(first, stream(1, 0), "the order of filling must not matter");
    assert_ne!(first, stream(1, 1));
    assert_ne!(first, stream(2, 0));
    assert_ne!(stream(1, 2), stream(2, 1), "seed and index are not interchangeable");
}

#[test]
fn the_numbers_are_not_those_of_a_bare_generator() {
    // A random probe drawn from a plain ChaCha8 of the same seed and stream must not be parallel to the weights.
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    rng.set_stream(0);
    let probe: Vec<f64> = (0..32).map(|_| standard_normal(&mut rng)).collect();
    assert_ne!(filled(Init::Normal { sd: 1.0 }, &[32], 12), probe);
}

#[test]
fn a_longer_tensor_begins_with_the_shorter_one() {
    let (short, long) = (filled(Init::Normal { sd: 1.0 }, &[10], 13), filled(Init::Normal { sd: 1.0 }, &[20], 13));
    assert_eq!(short, long[..10]);
}

#[test]
fn an_empty_tensor_is_filled_without_complaint() {
    for (_, init) in NAMED {
        filled(init, &[0, 4], 0);
        filled(init, &[4, 0], 0);
    }
}

#[test]
#[should_panic(expected = "has 6 entries")]
fn a_slice_of_another_length_is_refused() {
    Init::Zeros.fill(&[2, 3], Stream { seed: 0, tensor: 0 }, &mut [0.0_f64; 5]);
}

#[test]
fn every_name_reads_back_as_itself() {
    assert_eq!(Init::ALL.len(), NAMED.len());
    for (name, init) in NAMED {
        assert_eq!(name.parse(), Ok(init));
        assert_eq!(init.to_string(), name);
        assert_eq!(init.name(), name);
        if init.number().is_some() {
            let other = init.with(0.3);
            assert_eq!(other.to_string(), format!("{name}(0.3)"));
            assert_eq!(other.to_string().parse(), Ok(other));
        }
    }
}

#[test]
fn other_names_of_the_same_laws_are_understood() {
    assert_eq!("glorot-normal".parse(), Ok(Init::XavierNormal { gain: 1.0 }));
    assert_eq!("kaiming-uniform-fan-out".parse(), Ok(Init::HeUniform { fan: Fan::Out, gain: RELU_GAIN }));
    assert_eq!(" normal( 0.1 ) ".parse(), Ok(Init::Normal { sd: 0.1 }));
}

#[test]
fn a_misspelt_name_is_answered_with_the_nearest() {
    let message = |text: &str| text.parse::<Init>().unwrap_err().to_string();
    assert_eq!(message("xavier-unifrom"), "unknown initialiser 'xavier-unifrom': did you mean 'xavier-uniform'?");
    assert_eq!(message("zeros(1)"), "initialiser: 'zeros' takes no number: write 'zeros'");
    assert_eq!(message("normal(x)"), "initialiser: 'normal(x)' is not of the form name or name(number)");
}

#[test]
fn numbers_outside_their_range_are_refused() {
    for text in ["normal(0)", "normal(-1)", "uniform(inf)", "he-normal(nan)", "constant(nan)"] {
        assert!(matches!(text.parse::<Init>(), Err(OptionError::Range { .. })), "{text}");
    }
    assert_eq!("constant(-2)".parse(), Ok(Init::Constant { value: -2.0 }));
}
