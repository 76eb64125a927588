//! gelu, tanh form: with u = √(2/π) (x + 0.044715 x³) and t = tanh u, f = ½ x (1 + t);
//! f′ = ½ (1 + t) + ½ x (1 − t²) u′, f″ = (1 − t²) (u′ + ½ x (u″ − 2 t u′²)).
//!
//! Source: Hendrycks & Gimpel 2016, § 2 (the approximation that GPT-2 uses).

use eigenlens_linalg::Number;
use pulp::Simd;

use crate::family::Map;

/// The activation `gelu-tanh`; formulas in the file's head.
#[derive(Clone, Copy, Debug)]
pub struct GeluTanh;

const ROOT_TWO_OVER_PI: f64 = 0.797_884_560_802_865_4;
const CUBIC: f64 = 0.044_715;

/// (tanh u, u′, u″).
#[inline(always)]
fn inner<T: Number, S: Simd>(s: S, x: T::V<S>) -> (T::V<S>, T::V<S>, T::V<S>) {
    let c = T::splat(s, T::from_f64(ROOT_TWO_OVER_PI));
    let cubic = T::splat(s, T::from_f64(ROOT_TWO_OVER_PI * CUBIC));
    let square = T::mul(s, x, x);
    let u = T::mul(s, x, T::fma(s, cubic, square, c));
    let du = T::fma(s, T::splat(s, T::from_f64(3.0 * ROOT_TWO_OVER_PI * CUBIC)), square, c);
    let ddu = T::mul(s, T::splat(s, T::from_f64(6.0 * ROOT_TWO_OVER_PI * CUBIC)), x);
    (T::tanh(s, u), du, ddu)
}

impl Map for GeluTanh {
    const NAME: &'static str = "gelu-tanh";

    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let (one, half) = (T::splat(s, T::ONE), T::splat(s, T::from_f64(0.5)));
        let (t, du, _) = inner::<T, S>(s, x);
        let cdf = T::fma(s, half, t, half);
        let slope = T::fma(s, T::neg(s, t), t, one);
        let xh = T::mul(s, half, x);
        (T::mul(s, x, cdf), T::fma(s, T::mul(s, xh, slope), du, cdf))
    }

    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, x: T::V<S>, _y: T::V<S>, _d: T::V<S>) -> T::V<S> {
        let one = T::splat(s, T::ONE);
        let (t, du, ddu) = inner::<T, S>(s, x);
        let slope = T::fma(s, T::neg(s, t), t, one);
        let bend = T::fma(s, T::mul(s, T::splat(s, T::from_f64(-2.0)), t), T::mul(s, du, du), ddu);
        T::mul(s, slope, T::fma(s, T::mul(s, T::splat(s, T::from_f64(0.5)), x), bend, du))
    }
}
