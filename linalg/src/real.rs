//! The scalar types of the engine: f32 and f64, and nothing else.

use std::fmt::{Debug, Display, LowerExp};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use crate::scratch::Pool;
use crate::simd::Vectors;

/// A scalar with its constants and conversions, but without operators: the bound of SIMD kernels, where `T::add` and the
/// like must mean the vector operation and nothing else.
pub trait Number: Vectors + Debug {
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Distance from 1 to the next larger value.
    const EPSILON: Self;
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;
    /// The nearest value of this type.
    fn from_f64(x: f64) -> Self;
    /// The same value in double precision (exact).
    fn to_f64(self) -> f64;
    /// Neither infinite nor NaN.
    fn finite(self) -> bool;
}

/// A real scalar. Implemented for `f32` and `f64` only; the one type parameter from the kernels to the model.
pub trait Real:
    Number
    + faer::traits::RealField
    + Copy
    + Default
    + Display
    + LowerExp
    + PartialOrd
    + Send
    + Sync
    + Sum
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + 'static
{
    /// Calls `f` with this thread's scratch buffers; use [`crate::scratch::with`].
    #[doc(hidden)]
    fn pool<R>(f: impl FnOnce(&Pool<Self>) -> R) -> R;
}

impl Real for f32 {
    fn pool<R>(f: impl FnOnce(&Pool<f32>) -> R) -> R {
        thread_local!(static POOL: Pool<f32> = const { Pool::new(Vec::new()) });
        POOL.with(f)
    }
}

impl Real for f64 {
    fn pool<R>(f: impl FnOnce(&Pool<f64>) -> R) -> R {
        thread_local!(static POOL: Pool<f64> = const { Pool::new(Vec::new()) });
        POOL.with(f)
    }
}

impl Number for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const EPSILON: f32 = f32::EPSILON;
    const NAME: &'static str = "f32";
    #[inline(always)]
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn finite(self) -> bool {
        self.is_finite()
    }
}

impl Number for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const EPSILON: f64 = f64::EPSILON;
    const NAME: &'static str = "f64";
    #[inline(always)]
    fn from_f64(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn finite(self) -> bool {
        self.is_finite()
    }
}
