//! Constants of the functions. Polynomials are minimax (Remez exchange in 60 digits, then rounded), their weight is
//! the relative error of the function they serve; "err" is that error in units of 2⁻⁵³ (f64) or 2⁻²⁴ (f32).

/// The constants of the vector functions for one scalar type; sealed, f32 and f64 only.
pub trait Tables: Sized + Copy + 'static {
    const NIL: Self;
    const HALF: Self;
    const UNIT: Self;
    const TWO: Self;
    const MINUS_ONE: Self;
    const MINUS_TWO: Self;
    const INF: Self;
    const MINUS_INF: Self;
    const NOT_A_NUMBER: Self;
    /// The numbers of the lanes.
    const LANE: [Self; 16];
    /// 1.5 · 2^(mantissa bits): adding it rounds to an integer, which then sits in the low bits.
    const ROUNDER: Self;
    const LOG2_E: Self;
    /// ln 2 in two parts. n · `LN2[0]` is exact inside a fused operation, and so is the difference from x.
    const LN2: [Self; 2];

    /// Above it eˣ overflows; below the second it rounds to zero; below the third 2ⁿ leaves the normal range.
    const EXP_MAX: Self;
    const EXP_MIN: Self;
    const EXP_SPLIT: Self;
    /// (shift k, 2⁻ᵏ) for arguments below `EXP_SPLIT`.
    const EXP_SHIFT: (Self, Self);
    /// (eʳ − 1 − r) / r² on |r| ≤ ln 2 / 2.
    const EXP: &'static [Self];
    /// Below it eˣ − 1 = −1.
    const EXPM1_MIN: Self;
    /// From here on tanh x = 1.
    const TANH_MAX: Self;

    /// The smallest normal number, and (2ᵏ, k) that makes subnormals normal.
    const MIN_NORMAL: Self;
    const SUBNORMAL: (Self, Self);
    /// The lowest exponent that a correction of ln(1 + x) is scaled by.
    const MIN_SCALE: Self;
    /// √2 − 1.
    const SQRT_2_M1: Self;
    /// (2 artanh s / s − 2) / s² in z = s² on |s| ≤ (√2 − 1)/(√2 + 1).
    const LOG: &'static [Self];

    /// Where the two pieces of erf meet, and from where it is 1.
    const ERF_SPLIT: Self;
    const ERF_MAX: Self;
    /// erf(x)/x − 1 in z = x² below the split.
    const ERF_LOW: &'static [Self];
    /// −ln(1 − erf(x)) in x − split above it.
    const ERF_HIGH: &'static [Self];

    const TWO_OVER_PI: Self;
    /// π/2 in parts.
    const PI_2: [Self; 3];
    /// Up to here the vectorised reduction of sin and cos is exact enough.
    const TRIG_MAX: Self;
    /// (sin r − r)/r³ in z = r² on |r| ≤ π/4.
    const SIN: &'static [Self];
    /// (cos r − 1 + r²/2)/r⁴ in z = r² on |r| ≤ π/4.
    const COS: &'static [Self];
}

impl Tables for f64 {
    const NIL: f64 = 0.0;
    const HALF: f64 = 0.5;
    const UNIT: f64 = 1.0;
    const TWO: f64 = 2.0;
    const MINUS_ONE: f64 = -1.0;
    const MINUS_TWO: f64 = -2.0;
    const INF: f64 = f64::INFINITY;
    const MINUS_INF: f64 = f64::NEG_INFINITY;
    const NOT_A_NUMBER: f64 = f64::NAN;
    const LANE: [f64; 16] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
    const ROUNDER: f64 = 6755399441055744.0;
    const LOG2_E: f64 = std::f64::consts::LOG2_E;
    const LN2: [f64; 2] = [std::f64::consts::LN_2, 2.3190468138462996e-17];

    const EXP_MAX: f64 = 709.782712893384;
    const EXP_MIN: f64 = -745.1332191019412;
    const EXP_SPLIT: f64 = -690.0;
    const EXP_SHIFT: (f64, f64) = (200.0, 6.223015277861142e-61);
    // err 0.0024
    const EXP: &'static [f64] = &[
        0.5,
        0.16666666666666677,
        0.04166666666666651,
        0.008333333333321653,
        0.0013888888888962541,
        0.00019841269886074897,
        2.480158717233378e-05,
        2.7557244252791644e-06,
        2.7557402698436586e-07,
        2.5109024929756194e-08,
        2.0875350343152156e-09,
    ];
    const EXPM1_MIN: f64 = -40.0;
    const TANH_MAX: f64 = 20.0;

    const MIN_NORMAL: f64 = f64::MIN_POSITIVE;
    const SUBNORMAL: (f64, f64) = (18014398509481984.0, 54.0);
    const SQRT_2_M1: f64 = 0.41421356237309503;
    const MIN_SCALE: f64 = -1000.0;
    // err 0.011
    const LOG: &'static [f64] = &[
        0.6666666666666735,
        0.3999999999941108,
        0.2857142874326579,
        0.22222198475692623,
        0.18183569753483775,
        0.1531390293522408,
        0.14797510483530796,
    ];

    const ERF_SPLIT: f64 = 1.0;
    const ERF_MAX: f64 = 5.95;
    // err 0.066
    const ERF_LOW: &'static [f64] = &[
        0.12837916709551256,
        -0.3761263890318352,
        0.11283791670944185,
        -0.02686617064311151,
        0.00522397760611877,
        -0.0008548325929327103,
        0.0001205529357724718,
        -1.4924712308240948e-05,
        1.6447131643859141e-06,
        -1.620631428485447e-07,
        1.3710982554343236e-08,
        -7.779472296035115e-10,
    ];
    // err 0.011
    const ERF_HIGH: &'static [f64] = &[
        1.8496055099332482,
        2.6389675142347886,
        0.8431072563586589,
        0.041561098042183456,
        -0.010033825378473053,
        0.001977902594146743,
        -0.00023732259124572194,
        -2.6277560514229238e-05,
        2.7158472149379174e-05,
        -9.60795258458708e-06,
        2.058734801282886e-06,
        -1.4202958318390388e-07,
        -9.806171002995626e-08,
        5.2269533771576404e-08,
        -1.4987463768000633e-08,
        2.8816590969901626e-09,
        -3.7097605888311703e-10,
        2.906825624819183e-11,
        -1.0496720818279172e-12,
    ];

    const TWO_OVER_PI: f64 = std::f64::consts::FRAC_2_PI;
    const PI_2: [f64; 3] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];
    const TRIG_MAX: f64 = 1e9;
    // err 0.031
    const SIN: &'static [f64] = &[
        -0.16666666666666632,
        0.00833333333332237,
        -0.0001984126982977111,
        2.7557313678646725e-06,
        -2.505075595864214e-08,
        1.589666636076739e-10,
    ];
    // err 0.0004
    const COS: &'static [f64] = &[
        0.0416666666666666,
        -0.0013888888888874064,
        2.480158728944351e-05,
        -2.755731434066746e-07,
        2.087572162479768e-09,
        -1.135955938512752e-11,
    ];
}

impl Tables for f32 {
    const NIL: f32 = 0.0;
    const HALF: f32 = 0.5;
    const UNIT: f32 = 1.0;
    const TWO: f32 = 2.0;
    const MINUS_ONE: f32 = -1.0;
    const MINUS_TWO: f32 = -2.0;
    const INF: f32 = f32::INFINITY;
    const MINUS_INF: f32 = f32::NEG_INFINITY;
    const NOT_A_NUMBER: f32 = f32::NAN;
    const LANE: [f32; 16] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
    const ROUNDER: f32 = 12582912.0;
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN2: [f32; 2] = [std::f32::consts::LN_2, -1.9046542e-09];

    const EXP_MAX: f32 = 88.72284;
    const EXP_MIN: f32 = -103.97208;
    const EXP_SPLIT: f32 = -80.0;
    const EXP_SHIFT: (f32, f32) = (64.0, 5.421011e-20);
    // err 0.004
    const EXP: &'static [f32] = &[0.5, 0.16666666, 0.04166636, 0.00833339, 0.0013940668, 0.00019845882];
    const EXPM1_MIN: f32 = -18.0;
    const TANH_MAX: f32 = 10.0;

    const MIN_NORMAL: f32 = f32::MIN_POSITIVE;
    const SUBNORMAL: (f32, f32) = (33554432.0, 25.0);
    const SQRT_2_M1: f32 = 0.41421357;
    const MIN_SCALE: f32 = -100.0;
    // err 0.014
    const LOG: &'static [f32] = &[0.66666776, 0.39977497, 0.29873076];

    const ERF_SPLIT: f32 = 0.75;
    const ERF_MAX: f32 = 4.0;
    // err 0.024
    const ERF_LOW: &'static [f32] = &[0.12837917, -0.3761262, 0.11283377, -0.026834624, 0.005114346, -0.0006749515];
    // err 0.0056
    const ERF_HIGH: &'static [f32] =
        &[1.2418673, 2.2258737, 0.807849, 0.05291976, -0.01277899, 0.0024182284, -0.00030309497, 1.7573286e-05];

    const TWO_OVER_PI: f32 = std::f32::consts::FRAC_2_PI;
    const PI_2: [f32; 3] = [std::f32::consts::FRAC_PI_2, -4.371139e-08, -1.7151245e-15];
    const TRIG_MAX: f32 = 1e5;
    // err 0.06
    const SIN: &'static [f32] = &[-0.16666655, 0.008332176, -0.00019516976];
    // err 0.0016
    const COS: &'static [f32] = &[0.041666646, -0.0013887364, 2.4438092e-05];
}
