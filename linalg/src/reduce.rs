//! Sums, dot products and norms with a fixed order of summation, and the updates that go with them.
//!
//! A sum runs over leaves of 64 vectors of 512 bits; inside a leaf four vectors accumulate 16 terms each, the leaves
//! are added in pairs, in pairs of pairs and so on, and the lanes at last, again in pairs. The order depends on the
//! length alone, and vectors have 512 bits at every instruction set (made of narrower ones where need be). So the
//! **bits of a result are the same** for every alignment, thread and machine, and the error grows as
//! (20 + log₂ n) ε Σ|terms|, against n ε for a plain loop.

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};

use crate::elementwise::{self, Kernel};
use crate::real::Real;
use crate::simd::{self, Vectors, copy_short};

mod columns;

pub use columns::sum_rows;

/// Σ x.
pub fn sum<T: Real>(x: &[T]) -> T {
    total(Plain, [x])
}

/// Σ x y, with fused multiplications.
///
/// # Panics
/// If the slices differ in length.
#[track_caller]
pub fn dot<T: Real>(x: &[T], y: &[T]) -> T {
    same_length(x.len(), y.len());
    total(Product, [x, y])
}

/// Σ x y z, as Σ (x y) z with one rounding of x y.
///
/// # Panics
/// If the slices differ in length.
#[track_caller]
pub fn dot3<T: Real>(x: &[T], y: &[T], z: &[T]) -> T {
    same_length(x.len(), y.len());
    same_length(x.len(), z.len());
    total(Triple, [x, y, z])
}

/// ‖x‖₂, without overflow or underflow on the way: where Σ x² leaves the safe range, x is scaled by a power of two and
/// summed again.
pub fn norm2<T: Real>(x: &[T]) -> T {
    let square = dot(x, x);
    // Squares below the normal range lose at most n · (its end) ε in all.
    let safe = T::from_f64(x.len() as f64) * (T::MIN_NORMAL / T::EPSILON);
    if square.finite() && square > safe {
        return T::from_f64(square.to_f64().sqrt());
    }
    let largest = max_abs(x);
    if largest == T::ZERO || !largest.finite() {
        return largest;
    }
    // 2^-floor(log2(largest)), kept to powers that are normal and have a normal reciprocal.
    let limit = -T::MIN_NORMAL.to_f64().log2();
    let scale = T::from_f64((-largest.to_f64().log2().floor()).clamp(-limit, limit).exp2());
    let square = total(Scaled(scale), [x]);
    T::from_f64(square.to_f64().sqrt()) / scale
}

/// max |x|; 0 for no elements, NaN if any is NaN.
pub fn max_abs<T: Real>(x: &[T]) -> T {
    fold(simd::dispatch_wide(MaxAbs { x }), larger)
}

/// Neither infinities nor NaN.
pub fn all_finite<T: Real>(x: &[T]) -> bool {
    // 0 · x is 0 or NaN, and NaN stays. Blocks, so that a bad array ends early.
    x.chunks(1 << 14).all(|x| total(Vanishing, [x]) == T::ZERO)
}

/// y ← y + α x, fused.
///
/// # Panics
/// If the slices differ in length.
#[track_caller]
#[inline]
pub fn axpy<T: Real>(alpha: T, x: &[T], y: &mut [T]) {
    elementwise::update(&Axpy(alpha), [x], [y]);
}

/// x ← α x.
#[inline]
pub fn scal<T: Real>(alpha: T, x: &mut [T]) {
    elementwise::update(&Scal(alpha), [], [x]);
}

/// Σ of a term over the elements.
#[inline(always)]
fn total<T: Real, F: Term<T, I>, const I: usize>(term: F, x: [&[T]; I]) -> T {
    fold(simd::dispatch_wide(Sum { term, x }), |a, b| a + b)
}

/// The larger, NaN if either is NaN.
fn larger<T: Real>(a: T, b: T) -> T {
    if b <= a || a.to_f64().is_nan() { a } else { b }
}

#[track_caller]
fn same_length(x: usize, y: usize) {
    assert_eq!(x, y, "slices of {x} and {y} elements");
}

/// One term of a sum over `I` slices, added to an accumulator.
trait Term<T: Vectors, const I: usize> {
    fn add<S: Simd>(&self, s: S, sum: T::V<S>, x: [T::V<S>; I]) -> T::V<S>;
}

struct Plain;
impl<T: Vectors> Term<T, 1> for Plain {
    #[inline(always)]
    fn add<S: Simd>(&self, s: S, sum: T::V<S>, [x]: [T::V<S>; 1]) -> T::V<S> {
        T::add(s, sum, x)
    }
}

struct Product;
impl<T: Vectors> Term<T, 2> for Product {
    #[inline(always)]
    fn add<S: Simd>(&self, s: S, sum: T::V<S>, [x, y]: [T::V<S>; 2]) -> T::V<S> {
        T::fma(s, x, y, sum)
    }
}

struct Triple;
impl<T: Vectors> Term<T, 3> for Triple {
    #[inline(always)]
    fn add<S: Simd>(&self, s: S, sum: T::V<S>, [x, y, z]: [T::V<S>; 3]) -> T::V<S> {
        T::fma(s, T::mul(s, x, y), z, sum)
    }
}

/// (c x)².
struct Scaled<T>(T);
impl<T: Vectors> Term<T, 1> for Scaled<T> {
    #[inline(always)]
    fn add<S: Simd>(&self, s: S, sum: T::V<S>, [x]: [T::V<S>; 1]) -> T::V<S> {
        let x = T::mul(s, x, T::splat(s, self.0));
        T::fma(s, x, x, sum)
    }
}

/// 0 x.
struct Vanishing;
impl<T: Vectors> Term<T, 1> for Vanishing {
    #[inline(always)]
    fn add<S: Simd>(&self, s: S, sum: T::V<S>, [x]: [T::V<S>; 1]) -> T::V<S> {
        T::fma(s, x, T::splat(s, T::NIL), sum)
    }
}

/// Sums of 2ᵏ leaves each, from many to few, that wait for their like.
struct Pairs<V, const C: usize> {
    sums: [MaybeUninit<[V; C]>; LEVELS],
    depth: usize,
    leaves: usize,
}

impl<V: Copy, const C: usize> Pairs<V, C> {
    #[inline(always)]
    fn new() -> Self {
        // Not filled with zeros: that would cost more than a short sum.
        Pairs { sums: [const { MaybeUninit::uninit() }; LEVELS], depth: 0, leaves: 0 }
    }

    /// Adds the next leaf: one whose number ends in k ones completes k pairs.
    #[inline(always)]
    fn push<T: Vectors<V<S> = V>, S: Simd>(&mut self, s: S, mut sum: [V; C]) {
        for _ in 0..self.leaves.trailing_ones() {
            sum = self.pop::<T, S>(s, sum);
        }
        self.sums[self.depth].write(sum);
        self.depth += 1;
        self.leaves += 1;
    }

    /// `sum` added to the latest of the waiting sums, which is removed.
    #[inline(always)]
    fn pop<T: Vectors<V<S> = V>, S: Simd>(&mut self, s: S, mut sum: [V; C]) -> [V; C] {
        self.depth -= 1;
        // SAFETY: the first `depth` entries are written, and this was one of them.
        let pair = unsafe { self.sums[self.depth].assume_init() };
        for c in 0..C {
            sum[c] = T::add(s, pair[c], sum[c]);
        }
        sum
    }

    /// Everything that still waits.
    #[inline(always)]
    fn total<T: Vectors<V<S> = V>, S: Simd>(&mut self, s: S) -> [V; C] {
        let mut sum = [T::splat(s, T::NIL); C];
        while self.depth > 0 {
            sum = self.pop::<T, S>(s, sum);
        }
        sum
    }
}

/// Accumulators of a leaf, and terms that each of them takes.
const CHAINS: usize = 4;
const TERMS: usize = 16;
/// Enough levels of pairs for any slice.
const LEVELS: usize = 48;

struct Sum<'a, T, F, const I: usize> {
    term: F,
    x: [&'a [T]; I],
}

impl<T: Vectors, F: Term<T, I>, const I: usize> WithSimd for Sum<'_, T, F, I> {
    type Output = Lanes<T>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> Lanes<T> {
        let n = self.x[0].len();
        let width = size_of::<T::V<S>>() / size_of::<T>();
        let zero = T::splat(s, T::NIL);
        let mut pairs = Pairs::<T::V<S>, 1>::new();
        let mut at = 0;
        while at < n {
            let mut sums = [zero; CHAINS];
            let mut term = 0;
            while term < TERMS && at + CHAINS * width <= n {
                for (c, sum) in sums.iter_mut().enumerate() {
                    let mut x = [zero; I];
                    for (v, x) in x.iter_mut().zip(&self.x) {
                        // SAFETY: all slices have length n (checked by the callers), and at + CHAINS * width <= n.
                        *v = unsafe { simd::load::<T, S>(x, at + c * width) };
                    }
                    *sum = self.term.add(s, *sum, x);
                }
                at += CHAINS * width;
                term += 1;
            }
            if term < TERMS {
                // Fewer than CHAINS whole vectors are left, and a part of one.
                for sum in sums.iter_mut() {
                    if at >= n {
                        break;
                    }
                    let mut x = [zero; I];
                    for (v, x) in x.iter_mut().zip(&self.x) {
                        *v = load_end::<T, S>(s, x, at);
                    }
                    *sum = self.term.add(s, *sum, x);
                    at += width;
                }
            }
            let sum = T::add(s, T::add(s, sums[0], sums[1]), T::add(s, sums[2], sums[3]));
            pairs.push::<T, S>(s, [sum]);
        }
        let [sum] = pairs.total::<T, S>(s);
        lanes::<T, S>(sum)
    }
}

/// The lanes of a 512-bit vector, filled up with zeros.
type Lanes<T> = [T; 16];

#[inline(always)]
fn lanes<T: Vectors, S: Simd>(v: T::V<S>) -> Lanes<T> {
    let v = T::lanes::<S>(&v);
    let mut all = [T::NIL; 16];
    all[..v.len()].copy_from_slice(v);
    all
}

/// All lanes made one: the upper half onto the lower half, and again.
#[inline]
fn fold<T: Real>(mut v: Lanes<T>, f: fn(T, T) -> T) -> T {
    let mut half = 8;
    while half > 0 {
        for i in 0..half {
            v[i] = f(v[i], v[i + half]);
        }
        half /= 2;
    }
    v[0]
}

/// The vector that starts at element `at`, or what is left of one with zeros in the other lanes.
#[inline(always)]
fn load_end<T: Vectors, S: Simd>(s: S, x: &[T], at: usize) -> T::V<S> {
    let width = size_of::<T::V<S>>() / size_of::<T>();
    let zero = T::splat(s, T::NIL);
    let left = x.len() - at;
    if width <= left {
        // SAFETY: just checked.
        unsafe { simd::load::<T, S>(x, at) }
    } else if width <= x.len() {
        // The last whole vector, without the lanes that came before; quicker than a copy.
        // SAFETY: just checked; LANE is at least as long as any vector.
        let (last, lane) = unsafe { (simd::load::<T, S>(x, x.len() - width), simd::load::<T, S>(&T::LANE, 0)) };
        T::select(s, T::le(s, T::splat(s, T::LANE[width - left]), lane), last, zero)
    } else {
        let mut v = zero;
        copy_short(&x[at..], T::lanes_mut::<S>(&mut v));
        v
    }
}

struct MaxAbs<'a, T> {
    x: &'a [T],
}

impl<T: Vectors> WithSimd for MaxAbs<'_, T> {
    type Output = Lanes<T>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> Lanes<T> {
        let (body, _) = T::split::<S>(self.x);
        let mut max = [T::splat(s, T::NIL); CHAINS];
        let mut blocks = body.chunks_exact(CHAINS);
        for block in &mut blocks {
            for (max, x) in max.iter_mut().zip(block) {
                *max = T::max(s, *max, T::abs(s, *x));
            }
        }
        for (max, x) in max.iter_mut().zip(blocks.remainder()) {
            *max = T::max(s, *max, T::abs(s, *x));
        }
        let whole = size_of_val(body) / size_of::<T>();
        if whole < self.x.len() {
            max[3] = T::max(s, max[3], T::abs(s, load_end::<T, S>(s, self.x, whole)));
        }
        let max = T::max(s, T::max(s, max[0], max[1]), T::max(s, max[2], max[3]));
        lanes::<T, S>(max)
    }
}

struct Axpy<T>(T);
impl<T: Vectors> Kernel<T, 1, 1> for Axpy<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], [y]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::fma(s, T::splat(s, self.0), x, y)]
    }
}

struct Scal<T>(T);
impl<T: Vectors> Kernel<T, 0, 1> for Scal<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, _: [T::V<S>; 0], [y]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::mul(s, T::splat(s, self.0), y)]
    }
}

#[cfg(test)]
mod tests;
