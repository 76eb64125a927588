//! One pass over slices with a vector function of a few inputs and outputs.
//!
//! A [`Kernel`] states what happens to one vector; [`update`] runs it over slices at the best instruction set, with one
//! dispatch per call. The tail goes through the same code on a padded vector, so that the bits of an element do not
//! depend on its position, nor on the level.

use std::ops::Deref;

use pulp::{Simd, WithSimd};

use crate::real::Real;
use crate::simd::{self, Level, Vectors, copy_short};

/// A function of `I` inputs and the old contents of `O` outputs that gives the new outputs, element by element.
///
/// Mark `apply` `#[inline(always)]` and use no closures in it: what is not inlined into the driver loses SIMD. Bound
/// `T` by [`Vectors`], not by [`Real`], whose operators make `T::add` ambiguous; `T::NIL` and `T::UNIT` are 0 and 1.
///
/// ```
/// use eigenlens_linalg::elementwise::{Kernel, update};
/// use eigenlens_linalg::simd::Vectors;
/// use pulp::Simd;
///
/// /// y <- y + tanh(x)
/// struct AddTanh;
/// impl<T: Vectors> Kernel<T, 1, 1> for AddTanh {
///     #[inline(always)]
///     fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], [y]: [T::V<S>; 1]) -> [T::V<S>; 1] {
///         [T::add(s, y, T::tanh(s, x))]
///     }
/// }
///
/// let mut y = [1.0, 2.0, 3.0];
/// update(&AddTanh, [&[0.0, 0.0, 100.0]], [&mut y]);
/// assert_eq!(y, [1.0, 2.0, 4.0]);
/// ```
pub trait Kernel<T: Vectors, const I: usize, const O: usize> {
    /// The new outputs for inputs `x` and old outputs `y`. Lanes past the end of the slices hold zeros, and what is
    /// computed there is dropped.
    fn apply<S: Simd>(&self, s: S, x: [T::V<S>; I], y: [T::V<S>; O]) -> [T::V<S>; O];
}

/// Sets the outputs `y` to what the kernel makes of the inputs `x` and of their old contents, in one pass.
///
/// # Panics
/// If the slices differ in length.
#[track_caller]
#[inline]
pub fn update<T: Real, K: Kernel<T, I, O>, const I: usize, const O: usize>(k: &K, x: [&[T]; I], y: [&mut [T]; O]) {
    check(&x, &y);
    simd::dispatch(Pass { k, x, y });
}

/// [`update`] at a given level, to compare levels.
///
/// # Panics
/// If the slices differ in length.
#[track_caller]
pub fn update_at<T: Real, K: Kernel<T, I, O>, const I: usize, const O: usize>(
    level: Level,
    k: &K,
    x: [&[T]; I],
    y: [&mut [T]; O],
) {
    check(&x, &y);
    simd::dispatch_at(level, Pass { k, x, y });
}

#[track_caller]
fn check<T, const I: usize, const O: usize>(x: &[&[T]; I], y: &[&mut [T]; O]) {
    let Some(n) = y.first().map(|y| y.len()) else { return };
    for (i, x) in x.iter().enumerate() {
        assert_eq!(x.len(), n, "input {i} has {} elements, output 0 has {n}", x.len());
    }
    for (i, y) in y.iter().enumerate() {
        assert_eq!(y.len(), n, "output {i} has {} elements, output 0 has {n}", y.len());
    }
}

struct Pass<'a, K, T, const I: usize, const O: usize> {
    k: &'a K,
    x: [&'a [T]; I],
    y: [&'a mut [T]; O],
}

impl<T: Vectors, K: Kernel<T, I, O>, const I: usize, const O: usize> WithSimd for Pass<'_, K, T, I, O> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let n = self.y.first().map_or(0, |y| y.len());
        let width = size_of::<T::V<S>>() / size_of::<T>();
        let whole = n - n % width;

        // The end first, while the outputs still have their old contents: a vector that ends with the slices, or a
        // padded one if they are shorter than that. Where it overlaps the others it gives the same bits.
        let mut end = [T::splat(s, T::NIL); O];
        if whole < n {
            let (x, y) = if width <= n {
                // SAFETY: all slices have length n (checked by the callers), and n - width + width <= n.
                unsafe { (load::<T, S, _, I>(s, &self.x, n - width), load::<T, S, _, O>(s, &self.y, n - width)) }
            } else {
                (load_short::<T, S, _, I>(s, &self.x), load_short::<T, S, _, O>(s, &self.y))
            };
            end = self.k.apply(s, x, y);
        }
        let mut at = 0;
        while at < whole {
            // SAFETY: as above; `whole` is the largest multiple of `width` up to n.
            let (x, y) = unsafe { (load::<T, S, _, I>(s, &self.x, at), load::<T, S, _, O>(s, &self.y, at)) };
            let y = self.k.apply(s, x, y);
            // SAFETY: as above.
            unsafe { store::<T, S, O>(&mut self.y, at, y) };
            at += width;
        }
        if width <= n && whole < n {
            // SAFETY: as above.
            unsafe { store::<T, S, O>(&mut self.y, n - width, end) };
        } else if whole < n {
            for (end, y) in end.iter().zip(&mut self.y) {
                copy_short(T::lanes::<S>(end), y);
            }
        }
    }
}

/// The vectors of all slices from element `at` on.
///
/// # Safety
/// Every slice has a whole vector there.
#[inline(always)]
unsafe fn load<T: Vectors, S: Simd, X: Deref<Target = [T]>, const N: usize>(
    s: S,
    x: &[X; N],
    at: usize,
) -> [T::V<S>; N] {
    let mut v = [T::splat(s, T::NIL); N];
    for (v, x) in v.iter_mut().zip(x) {
        // SAFETY: by contract.
        *v = unsafe { simd::load::<T, S>(x, at) };
    }
    v
}

/// The vectors of all slices, which are shorter than one, and zeros.
#[inline(always)]
fn load_short<T: Vectors, S: Simd, X: Deref<Target = [T]>, const N: usize>(s: S, x: &[X; N]) -> [T::V<S>; N] {
    let mut v = [T::splat(s, T::NIL); N];
    for (v, x) in v.iter_mut().zip(x) {
        copy_short(x, T::lanes_mut::<S>(v));
    }
    v
}

/// Overwrites all slices from element `at` on.
///
/// # Safety
/// Every slice has a whole vector there.
#[inline(always)]
unsafe fn store<T: Vectors, S: Simd, const N: usize>(y: &mut [&mut [T]; N], at: usize, v: [T::V<S>; N]) {
    for (y, v) in y.iter_mut().zip(v) {
        // SAFETY: in bounds by contract.
        unsafe { simd::store::<T, S>(y, at, v) };
    }
}

#[cfg(test)]
mod tests;
