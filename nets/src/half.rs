//! The two 16-bit floating-point formats, read into f64 without rounding.

/// IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits.
pub(crate) fn f16_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    sign * match (exponent, fraction == 0.0) {
        (0x1f, true) => f64::INFINITY,
        (0x1f, false) => f64::NAN,
        (0, _) => fraction * 2f64.powi(-24),
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

/// bfloat16: the upper half of an f32.
pub(crate) fn bf16_to_f64(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_of_known_numbers() {
        // Values of IEEE 754-2019, table 3.5, and the ends of the ranges.
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 2f64.powi(-14)),
            (0x0001, 2f64.powi(-24)),
            (0x3555, 0.333251953125),
            (0x7c00, f64::INFINITY),
        ] {
            assert_eq!(f16_to_f64(bits), value, "{bits:04x}");
        }
        assert!(f16_to_f64(0x7e00).is_nan() && f16_to_f64(0x8000).is_sign_negative());
    }

    #[test]
    fn f16_grows_with_its_bits() {
        assert!((0..0x7c00).all(|b| f16_to_f64(b) < f16_to_f64(b + 1)));
    }

    #[test]
    fn bf16_of_known_numbers() {
        assert_eq!(bf16_to_f64(0x3f80), 1.0);
        assert_eq!(bf16_to_f64(0xc040), -3.0);
        assert_eq!(bf16_to_f64(0x7f80), f64::INFINITY);
        assert!(bf16_to_f64(0x7fc0).is_nan());
    }
}
