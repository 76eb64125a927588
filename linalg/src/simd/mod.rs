//! Vectors of f32 and f64 at any instruction set, and the functions on them (exp, tanh, …).
//!
//! | file | what |
//! |---|---|
//! | here | [`Vectors`]: the arithmetic of a vector, over any [`pulp::Simd`]; [`Level`] and the dispatch |
//! | `lanes` | that arithmetic for f32 and f64, with the tricks that stand in for instructions pulp lacks |
//! | `exp`, `log`, `erf`, `trig` | the functions, each written once for both scalars and all levels |
//! | `tables` | their constants, and how they were made |
//!
//! Every operation is one IEEE operation (fused where it says so) on each lane, in the same order at every level. So a
//! function of an element has **the same bits** at every level, width and position.
//!
//! # Traps
//! A closure handed to pulp's dispatch is compiled without the instructions it was dispatched for. Give [`dispatch`] a
//! struct whose `with_simd` is `#[inline(always)]`, and call only `#[inline(always)]` functions from it.
//!
//! pulp 0.22's 512-bit vectors on AVX2 (`V3_512b`) load and store under a mask at the wrong place (their upper half one
//! vector too far), and their `vectorize` hands over the narrow token. Nothing here uses either.

use std::fmt::Debug;

use pulp::{Scalar, Simd, WithSimd};

mod erf;
mod exp;
mod lanes;
mod log;
mod tables;
mod trig;

#[cfg(test)]
mod tests;

use tables::Tables;

/// The vectors of a scalar, f32 or f64, for any [`Simd`]: arithmetic, comparisons, and functions.
///
/// Comparisons are false if an operand is NaN. All functions keep NaN, take ±0, ±∞ and subnormals, are free of
/// branches (but for the far range of `sin` and `cos`) and state a bound on their error in units in the last place, which
/// holds for every f32 and on dense grids of f64 (`tests/accuracy.rs`).
pub trait Vectors: Tables {
    /// A vector of `Self` in a register.
    type V<S: Simd>: Copy + Debug;
    /// The outcome of a comparison, one truth value per lane.
    type M<S: Simd>: Copy + Debug;

    /// A slice as whole vectors and the scalars left over.
    fn split<S: Simd>(x: &[Self]) -> (&[Self::V<S>], &[Self]);
    /// A mutable slice as whole vectors and the scalars left over.
    fn split_mut<S: Simd>(x: &mut [Self]) -> (&mut [Self::V<S>], &mut [Self]);
    /// The lanes of a vector, in order.
    fn lanes<S: Simd>(v: &Self::V<S>) -> &[Self];
    /// The lanes of a vector, in order, to write to.
    fn lanes_mut<S: Simd>(v: &mut Self::V<S>) -> &mut [Self];

    /// `x` in every lane.
    fn splat<S: Simd>(s: S, x: Self) -> Self::V<S>;
    /// a + b.
    fn add<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// a − b.
    fn sub<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// a b.
    fn mul<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// a / b.
    fn div<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// a b + c, rounded once.
    fn fma<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;
    /// c − a b, rounded once.
    fn fnma<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;
    /// √a, correctly rounded; NaN below zero.
    fn sqrt<S: Simd>(s: S, a: Self::V<S>) -> Self::V<S>;
    /// −a.
    fn neg<S: Simd>(s: S, a: Self::V<S>) -> Self::V<S>;
    /// |a|.
    fn abs<S: Simd>(s: S, a: Self::V<S>) -> Self::V<S>;
    /// |a| with the sign of b.
    fn copysign<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;

    /// a < b.
    fn lt<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::M<S>;
    /// a ≤ b.
    fn le<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::M<S>;
    /// a = b; +0 = −0.
    fn eq<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::M<S>;
    /// Both.
    fn and<S: Simd>(s: S, a: Self::M<S>, b: Self::M<S>) -> Self::M<S>;
    /// Either.
    fn or<S: Simd>(s: S, a: Self::M<S>, b: Self::M<S>) -> Self::M<S>;
    /// Not.
    fn not<S: Simd>(s: S, a: Self::M<S>) -> Self::M<S>;
    /// True in at least one lane.
    fn any<S: Simd>(s: S, m: Self::M<S>) -> bool;
    /// `a` where `m` is true, else `b`. Both are computed: use it in place of a branch.
    fn select<S: Simd>(s: S, m: Self::M<S>, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;

    /// 2ⁿ for integers n in the range of normal exponents (else garbage; exactly 0 one below it).
    fn pow2<S: Simd>(s: S, n: Self::V<S>) -> Self::V<S>;
    /// (m, e) with x = m 2ᵉ and √½ ≤ m < √2, for finite normal x > 0 (else garbage).
    fn frexp<S: Simd>(s: S, x: Self::V<S>) -> (Self::V<S>, Self::V<S>);
    /// Where the integer n has bit `bit` set in two's complement, given n + `ROUNDER` (see [`Vectors::round`]).
    fn bit<S: Simd>(s: S, rounder_plus_n: Self::V<S>, bit: u32) -> Self::M<S>;
    /// `sin` of the standard library, for arguments beyond the vectorised range.
    fn std_sin(self) -> Self;
    /// `cos` of the standard library, for arguments beyond the vectorised range.
    fn std_cos(self) -> Self;

    /// a > b.
    #[inline(always)]
    fn gt<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::M<S> {
        Self::lt(s, b, a)
    }
    /// a ≥ b.
    #[inline(always)]
    fn ge<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::M<S> {
        Self::le(s, b, a)
    }
    /// Where a is NaN.
    #[inline(always)]
    fn is_nan<S: Simd>(s: S, a: Self::V<S>) -> Self::M<S> {
        Self::not(s, Self::eq(s, a, a))
    }
    /// The larger; NaN if either is NaN (the x86 instruction drops one of them); b of two zeros.
    #[inline(always)]
    fn max<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S> {
        let m = Self::select(s, Self::lt(s, b, a), a, b);
        Self::select(s, Self::eq(s, a, a), m, a)
    }
    /// The smaller; NaN if either is NaN (the x86 instruction drops one of them); b of two zeros.
    #[inline(always)]
    fn min<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S> {
        let m = Self::select(s, Self::lt(s, a, b), a, b);
        Self::select(s, Self::eq(s, a, a), m, a)
    }
    /// The nearest integer, ties to even, for |a| < 2²¹ (f32) or 2⁵⁰ (f64); garbage beyond.
    #[inline(always)]
    fn round<S: Simd>(s: S, a: Self::V<S>) -> Self::V<S> {
        let rounder = Self::splat(s, Self::ROUNDER);
        Self::sub(s, Self::add(s, a, rounder), rounder)
    }

    /// eˣ. Error ≤ 1 ulp, in the subnormal range too.
    #[inline(always)]
    fn exp<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S> {
        exp::exp::<Self, S>(s, x)
    }
    /// eˣ − 1. Error ≤ 2 ulp.
    #[inline(always)]
    fn expm1<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S> {
        exp::expm1::<Self, S>(s, x)
    }
    /// tanh x. Error ≤ 1.75 ulp.
    #[inline(always)]
    fn tanh<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S> {
        exp::tanh::<Self, S>(s, x)
    }
    /// 1 / (1 + e⁻ˣ), also where it is subnormal. Error ≤ 2.5 ulp.
    #[inline(always)]
    fn sigmoid<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S> {
        exp::sigmoid::<Self, S>(s, x)
    }
    /// ln x: −∞ at ±0, NaN below. Error ≤ 1 ulp.
    #[inline(always)]
    fn ln<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S> {
        log::ln::<Self, S>(s, x)
    }
    /// ln(1 + x): −∞ at −1, NaN below. Error ≤ 1.5 ulp.
    #[inline(always)]
    fn log1p<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S> {
        log::log1p::<Self, S>(s, x)
    }
    /// ln(1 + eˣ), without overflow: max(x, 0) + ln(1 + e^−|x|). Error ≤ 2 ulp.
    #[inline(always)]
    fn softplus<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S> {
        log::softplus::<Self, S>(s, x)
    }
    /// The error function 2/√π ∫₀ˣ e^(−t²) dt. Error ≤ 1.5 ulp.
    #[inline(always)]
    fn erf<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S> {
        erf::erf::<Self, S>(s, x)
    }
    /// sin x, x in radians. Error ≤ 1 ulp; beyond |x| = 10⁵ (f32) or 10⁹ (f64) lane by lane through the standard library.
    #[inline(always)]
    fn sin<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S> {
        trig::sin::<Self, S>(s, x)
    }
    /// cos x, x in radians. Error ≤ 1 ulp; beyond |x| = 10⁵ (f32) or 10⁹ (f64) lane by lane through the standard library.
    #[inline(always)]
    fn cos<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S> {
        trig::cos::<Self, S>(s, x)
    }
}

/// c₀ + c₁ x + … by Horner's rule; long ones as E(x²) + x O(x²), which halves the latency for one operation more.
///
/// # Panics
/// If there are no coefficients.
#[inline(always)]
pub fn polynomial<T: Vectors, S: Simd>(s: S, x: T::V<S>, c: &[T]) -> T::V<S> {
    if c.len() < 8 {
        return horner::<T, S, 1>(s, x, c, 0);
    }
    let z = T::mul(s, x, x);
    T::fma(s, x, horner::<T, S, 2>(s, z, c, 1), horner::<T, S, 2>(s, z, c, 0))
}

/// c[from] + c[from + STEP] z + ….
#[inline(always)]
fn horner<T: Vectors, S: Simd, const STEP: usize>(s: S, z: T::V<S>, c: &[T], from: usize) -> T::V<S> {
    let mut i = c.len() - 1 - (c.len() - 1 - from) % STEP;
    let mut p = T::splat(s, c[i]);
    while i > from {
        i -= STEP;
        p = T::fma(s, p, z, T::splat(s, c[i]));
    }
    p
}

/// The vector that starts at element `at`.
///
/// # Safety
/// `x` has a whole vector from `at` on.
#[inline(always)]
pub(crate) unsafe fn load<T: Vectors, S: Simd>(x: &[T], at: usize) -> T::V<S> {
    debug_assert!(at + size_of::<T::V<S>>() / size_of::<T>() <= x.len());
    // SAFETY: in bounds by contract; a vector has the layout of its scalars, and the read may be unaligned.
    unsafe { x.as_ptr().add(at).cast::<T::V<S>>().read_unaligned() }
}

/// Overwrites the vector that starts at element `at`.
///
/// # Safety
/// `x` has a whole vector from `at` on.
#[inline(always)]
pub(crate) unsafe fn store<T: Vectors, S: Simd>(x: &mut [T], at: usize, v: T::V<S>) {
    debug_assert!(at + size_of::<T::V<S>>() / size_of::<T>() <= x.len());
    // SAFETY: in bounds by contract; a vector has the layout of its scalars, and the write may be unaligned.
    unsafe { x.as_mut_ptr().add(at).cast::<T::V<S>>().write_unaligned(v) };
}

/// Copies as many values as both slices hold; one of them holds at most 16. Pieces of fixed size become plain moves.
#[inline(always)]
pub(crate) fn copy_short<T: Copy>(from: &[T], to: &mut [T]) {
    let n = from.len().min(to.len());
    debug_assert!(n <= 16);
    let mut at = 0;
    for size in [16, 8, 4, 2, 1] {
        if n & size != 0 {
            // SAFETY: `at` is the sum of the larger bits of n, so at + size <= n; the borrows do not overlap.
            unsafe { from.as_ptr().add(at).copy_to_nonoverlapping(to.as_mut_ptr().add(at), size) };
            at += size;
        }
    }
}

/// An instruction set that this build can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every machine of this architecture has.
    Portable,
    /// AVX2 and FMA (x86-64-v3).
    Avx2,
    /// AVX-512 F, BW, CD, DQ, VL (x86-64-v4).
    Avx512,
}

impl Level {
    /// The name for manifests: "AVX-512", "AVX2" or "scalar".
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "scalar",
            Level::Avx2 => "AVX2",
            Level::Avx512 => "AVX-512",
        }
    }

    /// The best level of this machine, which [`dispatch`] takes.
    pub fn best() -> Level {
        *Level::all().last().expect("the portable level is always there")
    }

    /// All levels of this machine, from the plainest to the best.
    #[cfg(target_arch = "x86_64")]
    pub fn all() -> &'static [Level] {
        match pulp::Arch::new() {
            pulp::Arch::V4(_) => &[Level::Portable, Level::Avx2, Level::Avx512],
            pulp::Arch::V3(_) => &[Level::Portable, Level::Avx2],
            _ => &[Level::Portable],
        }
    }

    /// All levels of this machine, from the plainest to the best.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn all() -> &'static [Level] {
        &[Level::Portable]
    }
}

/// The instruction set in use, for manifests: "AVX-512", "AVX2" or "scalar".
pub fn level() -> &'static str {
    Level::best().name()
}

/// Runs an operation at the best level of this machine. Costs about a nanosecond.
#[inline(always)]
pub fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    // `Arch::new` is one relaxed load after its first call.
    pulp::Arch::new().dispatch(op)
}

/// Runs an operation at a given level, or at the nearest one below that this machine has.
#[cfg(target_arch = "x86_64")]
pub fn dispatch_at<Op: WithSimd>(level: Level, op: Op) -> Op::Output {
    if level >= Level::Avx512
        && let Some(simd) = pulp::x86::V4::try_new()
    {
        return Simd::vectorize(simd, op);
    }
    if level >= Level::Avx2
        && let Some(simd) = pulp::x86::V3::try_new()
    {
        return Simd::vectorize(simd, op);
    }
    Scalar.vectorize(op)
}

/// Runs an operation at a given level, or at the nearest one below that this machine has.
#[cfg(not(target_arch = "x86_64"))]
pub fn dispatch_at<Op: WithSimd>(_level: Level, op: Op) -> Op::Output {
    Scalar.vectorize(op)
}

/// An operation on 512-bit vectors made of pairs, as pulp's own `vectorize` would hand it the narrower ones.
#[cfg(target_arch = "x86_64")]
struct Paired<Op> {
    simd: pulp::x86::V3_512b,
    op: Op,
}

#[cfg(target_arch = "x86_64")]
impl<Op: WithSimd> WithSimd for Paired<Op> {
    type Output = Op::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Op::Output {
        self.op.with_simd(self.simd)
    }
}

/// Runs an operation on vectors of 512 bits, made of narrower ones where need be, at a given level or the nearest one
/// below that this machine has: sums over lanes then have the same order on every machine.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn dispatch_wide_at<Op: WithSimd>(level: Level, op: Op) -> Op::Output {
    if level >= Level::Avx512
        && let Some(simd) = pulp::x86::V4::try_new()
    {
        return Simd::vectorize(simd, op);
    }
    if level >= Level::Avx2
        && let Some(simd) = pulp::x86::V3::try_new()
    {
        return Simd::vectorize(simd, Paired { simd: pulp::x86::V3_512b(simd), op });
    }
    pulp::Scalar512b.vectorize(op)
}

/// Runs an operation on vectors of 512 bits, made of narrower ones where need be, at a given level or the nearest one
/// below that this machine has: sums over lanes then have the same order on every machine.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn dispatch_wide_at<Op: WithSimd>(_level: Level, op: Op) -> Op::Output {
    pulp::Scalar512b.vectorize(op)
}

/// [`dispatch_wide_at`] the best level.
#[inline(always)]
pub fn dispatch_wide<Op: WithSimd>(op: Op) -> Op::Output {
    dispatch_wide_at(Level::Avx512, op)
}
