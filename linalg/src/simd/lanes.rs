//! [`Vectors`] for f32 and f64: pulp's methods by type, and bit tricks for powers of two.
//!
//! pulp shifts lanes of 32 bits only. In a vector of f64 the exponent sits in the upper of two such lanes; `swap` brings
//! it to the lower one and back, and adding 2³² to an integer below 2¹¹ puts it where an exponent of the other half
//! belongs. That costs one shuffle and one logical operation.

use pulp::{Simd, bytemuck, cast};

use super::Vectors;

/// Whether a mask, given as its bytes, is true anywhere: a false lane is zero at every level, as a bit, byte or word.
#[inline(always)]
fn any(m: &[u8]) -> bool {
    // By size, as the small masks come from mask registers and must not be read back in a wider piece.
    match *m {
        [m] => m != 0,
        [low, high] => low | high != 0,
        _ => m.chunks_exact(8).fold(0, |all, m| all | u64::from_ne_bytes(m.try_into().expect("8 bytes"))) != 0,
    }
}

impl Vectors for f32 {
    type V<S: Simd> = S::f32s;
    type M<S: Simd> = S::m32s;

    #[inline(always)]
    fn split<S: Simd>(x: &[f32]) -> (&[S::f32s], &[f32]) {
        S::as_simd_f32s(x)
    }
    #[inline(always)]
    fn split_mut<S: Simd>(x: &mut [f32]) -> (&mut [S::f32s], &mut [f32]) {
        S::as_mut_simd_f32s(x)
    }
    #[inline(always)]
    fn lanes<S: Simd>(v: &S::f32s) -> &[f32] {
        bytemuck::cast_slice(std::slice::from_ref(v))
    }
    #[inline(always)]
    fn lanes_mut<S: Simd>(v: &mut S::f32s) -> &mut [f32] {
        bytemuck::cast_slice_mut(std::slice::from_mut(v))
    }

    #[inline(always)]
    fn splat<S: Simd>(s: S, x: f32) -> S::f32s {
        s.splat_f32s(x)
    }
    #[inline(always)]
    fn add<S: Simd>(s: S, a: S::f32s, b: S::f32s) -> S::f32s {
        s.add_f32s(a, b)
    }
    #[inline(always)]
    fn sub<S: Simd>(s: S, a: S::f32s, b: S::f32s) -> S::f32s {
        s.sub_f32s(a, b)
    }
    #[inline(always)]
    fn mul<S: Simd>(s: S, a: S::f32s, b: S::f32s) -> S::f32s {
        s.mul_f32s(a, b)
    }
    #[inline(always)]
    fn div<S: Simd>(s: S, a: S::f32s, b: S::f32s) -> S::f32s {
        s.div_f32s(a, b)
    }
    #[inline(always)]
    fn fma<S: Simd>(s: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        s.mul_add_f32s(a, b, c)
    }
    #[inline(always)]
    fn fnma<S: Simd>(s: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        s.negate_mul_add_f32s(a, b, c)
    }
    #[inline(always)]
    fn sqrt<S: Simd>(s: S, a: S::f32s) -> S::f32s {
        s.sqrt_f32s(a)
    }
    #[inline(always)]
    fn neg<S: Simd>(s: S, a: S::f32s) -> S::f32s {
        s.xor_f32s(a, s.splat_f32s(-0.0))
    }
    #[inline(always)]
    fn abs<S: Simd>(s: S, a: S::f32s) -> S::f32s {
        s.and_f32s(a, s.splat_f32s(f32::from_bits(u32::MAX >> 1)))
    }
    #[inline(always)]
    fn copysign<S: Simd>(s: S, a: S::f32s, b: S::f32s) -> S::f32s {
        s.or_f32s(<Self as Vectors>::abs(s, a), s.and_f32s(b, s.splat_f32s(-0.0)))
    }

    #[inline(always)]
    fn lt<S: Simd>(s: S, a: S::f32s, b: S::f32s) -> S::m32s {
        s.less_than_f32s(a, b)
    }
    #[inline(always)]
    fn le<S: Simd>(s: S, a: S::f32s, b: S::f32s) -> S::m32s {
        s.less_than_or_equal_f32s(a, b)
    }
    #[inline(always)]
    fn eq<S: Simd>(s: S, a: S::f32s, b: S::f32s) -> S::m32s {
        s.equal_f32s(a, b)
    }
    #[inline(always)]
    fn and<S: Simd>(s: S, a: S::m32s, b: S::m32s) -> S::m32s {
        s.and_m32s(a, b)
    }
    #[inline(always)]
    fn or<S: Simd>(s: S, a: S::m32s, b: S::m32s) -> S::m32s {
        s.or_m32s(a, b)
    }
    #[inline(always)]
    fn not<S: Simd>(s: S, a: S::m32s) -> S::m32s {
        s.not_m32s(a)
    }
    #[inline(always)]
    fn any<S: Simd>(_: S, m: S::m32s) -> bool {
        any(bytemuck::bytes_of(&m))
    }
    #[inline(always)]
    fn select<S: Simd>(s: S, m: S::m32s, a: S::f32s, b: S::f32s) -> S::f32s {
        s.select_f32s(m, a, b)
    }

    #[inline(always)]
    fn pow2<S: Simd>(s: S, n: S::f32s) -> S::f32s {
        // The low bits of the sum are n + 127; the shift drops all others.
        let sum = s.transmute_u32s_f32s(s.add_f32s(n, s.splat_f32s(12582912.0 + 127.0)));
        s.transmute_f32s_u32s(s.wrapping_dyn_shl_u32s(sum, s.splat_u32s(23)))
    }
    #[inline(always)]
    fn frexp<S: Simd>(s: S, x: S::f32s) -> (S::f32s, S::f32s) {
        const BASE: f32 = 8388608.0;
        let one = 1f32.to_bits();
        let bits = s.transmute_u32s_f32s(x);
        // Shifted so that the exponent field steps at sqrt(1/2) in place of 1.
        let shifted = s.add_u32s(bits, s.splat_u32s(one - std::f32::consts::FRAC_1_SQRT_2.to_bits()));
        let field = s.and_u32s(shifted, s.splat_u32s(0x7f80 << 16));
        let m = s.sub_u32s(bits, s.sub_u32s(field, s.splat_u32s(one)));
        let low = s.wrapping_dyn_shr_u32s(field, s.splat_u32s(23));
        let e = s.transmute_f32s_u32s(s.or_u32s(low, s.splat_u32s(BASE.to_bits())));
        (s.transmute_f32s_u32s(m), s.sub_f32s(e, s.splat_f32s(BASE + 127.0)))
    }
    #[inline(always)]
    fn bit<S: Simd>(s: S, rounder_plus_n: S::f32s, bit: u32) -> S::m32s {
        let mask = s.splat_u32s(1 << bit);
        s.equal_u32s(s.and_u32s(s.transmute_u32s_f32s(rounder_plus_n), mask), mask)
    }
    fn std_sin(self) -> f32 {
        self.sin()
    }
    fn std_cos(self) -> f32 {
        self.cos()
    }
}

impl Vectors for f64 {
    type V<S: Simd> = S::f64s;
    type M<S: Simd> = S::m64s;

    #[inline(always)]
    fn split<S: Simd>(x: &[f64]) -> (&[S::f64s], &[f64]) {
        S::as_simd_f64s(x)
    }
    #[inline(always)]
    fn split_mut<S: Simd>(x: &mut [f64]) -> (&mut [S::f64s], &mut [f64]) {
        S::as_mut_simd_f64s(x)
    }
    #[inline(always)]
    fn lanes<S: Simd>(v: &S::f64s) -> &[f64] {
        bytemuck::cast_slice(std::slice::from_ref(v))
    }
    #[inline(always)]
    fn lanes_mut<S: Simd>(v: &mut S::f64s) -> &mut [f64] {
        bytemuck::cast_slice_mut(std::slice::from_mut(v))
    }

    #[inline(always)]
    fn splat<S: Simd>(s: S, x: f64) -> S::f64s {
        s.splat_f64s(x)
    }
    #[inline(always)]
    fn add<S: Simd>(s: S, a: S::f64s, b: S::f64s) -> S::f64s {
        s.add_f64s(a, b)
    }
    #[inline(always)]
    fn sub<S: Simd>(s: S, a: S::f64s, b: S::f64s) -> S::f64s {
        s.sub_f64s(a, b)
    }
    #[inline(always)]
    fn mul<S: Simd>(s: S, a: S::f64s, b: S::f64s) -> S::f64s {
        s.mul_f64s(a, b)
    }
    #[inline(always)]
    fn div<S: Simd>(s: S, a: S::f64s, b: S::f64s) -> S::f64s {
        s.div_f64s(a, b)
    }
    #[inline(always)]
    fn fma<S: Simd>(s: S, a: S::f64s, b: S::f64s, c: S::f64s) -> S::f64s {
        s.mul_add_f64s(a, b, c)
    }
    #[inline(always)]
    fn fnma<S: Simd>(s: S, a: S::f64s, b: S::f64s, c: S::f64s) -> S::f64s {
        s.negate_mul_add_f64s(a, b, c)
    }
    #[inline(always)]
    fn sqrt<S: Simd>(s: S, a: S::f64s) -> S::f64s {
        s.sqrt_f64s(a)
    }
    #[inline(always)]
    fn neg<S: Simd>(s: S, a: S::f64s) -> S::f64s {
        s.xor_f64s(a, s.splat_f64s(-0.0))
    }
    #[inline(always)]
    fn abs<S: Simd>(s: S, a: S::f64s) -> S::f64s {
        s.and_f64s(a, s.splat_f64s(f64::from_bits(u64::MAX >> 1)))
    }
    #[inline(always)]
    fn copysign<S: Simd>(s: S, a: S::f64s, b: S::f64s) -> S::f64s {
        s.or_f64s(<Self as Vectors>::abs(s, a), s.and_f64s(b, s.splat_f64s(-0.0)))
    }

    #[inline(always)]
    fn lt<S: Simd>(s: S, a: S::f64s, b: S::f64s) -> S::m64s {
        s.less_than_f64s(a, b)
    }
    #[inline(always)]
    fn le<S: Simd>(s: S, a: S::f64s, b: S::f64s) -> S::m64s {
        s.less_than_or_equal_f64s(a, b)
    }
    #[inline(always)]
    fn eq<S: Simd>(s: S, a: S::f64s, b: S::f64s) -> S::m64s {
        s.equal_f64s(a, b)
    }
    #[inline(always)]
    fn and<S: Simd>(s: S, a: S::m64s, b: S::m64s) -> S::m64s {
        s.and_m64s(a, b)
    }
    #[inline(always)]
    fn or<S: Simd>(s: S, a: S::m64s, b: S::m64s) -> S::m64s {
        s.or_m64s(a, b)
    }
    #[inline(always)]
    fn not<S: Simd>(s: S, a: S::m64s) -> S::m64s {
        s.not_m64s(a)
    }
    #[inline(always)]
    fn any<S: Simd>(_: S, m: S::m64s) -> bool {
        any(bytemuck::bytes_of(&m))
    }
    #[inline(always)]
    fn select<S: Simd>(s: S, m: S::m64s, a: S::f64s, b: S::f64s) -> S::f64s {
        s.select_f64s(m, a, b)
    }

    #[inline(always)]
    fn pow2<S: Simd>(s: S, n: S::f64s) -> S::f64s {
        // The sum is 2^32 (1 + (n + 1023) 2^-32), whose lower half is (n + 1023) 2^20 and whose upper half is constant.
        const BASE: f64 = 4294967296.0;
        let sum = s.add_f64s(n, s.splat_f64s(BASE + 1023.0));
        let power: S::u64s = cast(s.swap_re_im_c32s(cast(sum)));
        s.transmute_f64s_u64s(s.xor_u64s(power, s.splat_u64s(BASE.to_bits() >> 32)))
    }
    #[inline(always)]
    fn frexp<S: Simd>(s: S, x: S::f64s) -> (S::f64s, S::f64s) {
        const BASE: f64 = 4294967296.0;
        let one = 1f64.to_bits();
        let bits = s.transmute_u64s_f64s(x);
        // Shifted so that the exponent field steps at sqrt(1/2) in place of 1.
        let shifted = s.add_u64s(bits, s.splat_u64s(one - std::f64::consts::FRAC_1_SQRT_2.to_bits()));
        let field = s.and_u64s(shifted, s.splat_u64s(0x7ff0 << 48));
        let m = s.sub_u64s(bits, s.sub_u64s(field, s.splat_u64s(one)));
        let low: S::u64s = cast(s.swap_re_im_c32s(cast(field)));
        let e = s.transmute_f64s_u64s(s.or_u64s(low, s.splat_u64s(BASE.to_bits())));
        (s.transmute_f64s_u64s(m), s.sub_f64s(e, s.splat_f64s(BASE + 1023.0)))
    }
    #[inline(always)]
    fn bit<S: Simd>(s: S, rounder_plus_n: S::f64s, bit: u32) -> S::m64s {
        let mask = s.splat_u64s(1 << bit);
        s.equal_u64s(s.and_u64s(s.transmute_u64s_f64s(rounder_plus_n), mask), mask)
    }
    fn std_sin(self) -> f64 {
        self.sin()
    }
    fn std_cos(self) -> f64 {
        self.cos()
    }
}
