//! Softmax of rows and its derivatives, for the ops that contain one.
//!
//! With p = softmax(x) of one row: ṗ = p ⊙ (ẋ − Σ p ẋ), and the Jacobian is symmetric, so x̄ = p ⊙ (p̄ − Σ p p̄).
//! The second derivative has the same form once more: with e = ẋ − Σ p ẋ and w = p̄ − Σ p p̄,
//!
//! x̄̇ = ṗ ⊙ w + p ⊙ (p̄̇ − Σ p p̄̇ − Σ ṗ p̄) = p ⊙ (z − Σ p z) with z = p̄̇ + e ⊙ w,
//!
//! because ṗ = p ⊙ e has sum 0, so that Σ ṗ p̄ = Σ p e w.

use eigenlens_linalg::elementwise::{Kernel, update};
use eigenlens_linalg::{Number, Real, Write, reduce};
use pulp::Simd;

/// x ← exp(x − top).
struct ExpAbove<T>(T);
impl<T: Number> Kernel<T, 1, 1> for ExpAbove<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::exp(s, T::sub(s, x, T::splat(s, self.0)))]
    }
}

/// out ← p ⊙ (z − t), or +=.
struct Weighed<T>(T, Write);
impl<T: Number> Kernel<T, 2, 1> for Weighed<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [p, z]: [T::V<S>; 2], [old]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let z = T::sub(s, z, T::splat(s, self.0));
        match self.1 {
            Write::Set => [T::mul(s, p, z)],
            Write::Add => [T::fma(s, p, z, old)],
        }
    }
}

/// z ← z − t.
struct Lower<T>(T);
impl<T: Number> Kernel<T, 0, 1> for Lower<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, _: [T::V<S>; 0], [z]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::sub(s, z, T::splat(s, self.0))]
    }
}

/// p ← softmax(x) for one row. Returns max x and log Σ exp(x − max x).
///
/// The row is shifted by its maximum, so no finite x overflows. NaN anywhere makes all of the row NaN.
pub(crate) fn softmax<T: Real>(x: &[T], p: &mut [T]) -> (T, T) {
    // A comparison that is false for NaN would hide it: NaN wins.
    let top = x.iter().skip(1).fold(x[0], |m, &v| if v > m || v.to_f64().is_nan() { v } else { m });
    update(&ExpAbove(top), [x], [p]);
    let sum = reduce::sum(p);
    reduce::scal(T::ONE / sum, p);
    (top, T::from_f64(sum.to_f64().ln()))
}

/// out ← p ⊙ (z − Σ p z) for one row, or +=: the Jacobian of softmax, or its transpose.
pub(crate) fn project<T: Real>(p: &[T], z: &[T], out: &mut [T], write: Write) {
    update(&Weighed(reduce::dot(p, z), write), [p, z], [out]);
}

/// z ← z − Σ p z for one row.
pub(crate) fn centre<T: Real>(p: &[T], z: &mut [T]) {
    update(&Lower(reduce::dot(p, z)), [], [z]);
}
