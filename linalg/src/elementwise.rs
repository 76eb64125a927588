//! One pass over slices with a vector function of a few inputs and outputs.
//!
//! A [`Kernel`] states what happens to one vector; [`update`] runs it over slices at the best instruction set, with one
//! dispatch per call. The tail goes through the same code on a padded vector, so that the bits of an element do not
//! depend on its position, nor on the level.

use pulp::{Simd, WithSimd};

use crate::real::Real;
use crate::simd::{self, Level, Vectors, copy_short};

/// A function of `I` inputs and the old contents of `O` outputs that gives the new outputs, element by element.
///
/// Mark `apply` `#[inline(always)]` and use no closures in it: what is not inlined into the driver loses SIMD.
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
            let (x, y) = if width <= n { self.load(s, n - width) } else { self.load_short(s) };
            end = self.k.apply(s, x, y);
        }
        let mut at = 0;
        while at < whole {
            let (x, y) = self.load(s, at);
            self.store::<S>(at, self.k.apply(s, x, y));
            at += width;
        }
        if width <= n && whole < n {
            self.store::<S>(n - width, end);
        } else if whole < n {
            for o in 0..O {
                copy_short(T::lanes::<S>(&end[o]), self.y[o]);
            }
        }
    }
}

impl<T: Vectors, K, const I: usize, const O: usize> Pass<'_, K, T, I, O> {
    /// The inputs and old outputs from element `at` on; a whole vector must be there.
    #[inline(always)]
    fn load<S: Simd>(&self, s: S, at: usize) -> ([T::V<S>; I], [T::V<S>; O]) {
        let (mut x, mut y) = ([T::splat(s, T::NIL); I], [T::splat(s, T::NIL); O]);
        for i in 0..I {
            // SAFETY: all slices have the same length (checked on entry), and `with_simd` asks for whole vectors.
            x[i] = unsafe { simd::load::<T, S>(self.x[i], at) };
        }
        for o in 0..O {
            // SAFETY: as above.
            y[o] = unsafe { simd::load::<T, S>(self.y[o], at) };
        }
        (x, y)
    }

    /// All of the inputs and old outputs, which are shorter than a vector, and zeros.
    #[inline(always)]
    fn load_short<S: Simd>(&self, s: S) -> ([T::V<S>; I], [T::V<S>; O]) {
        let (mut x, mut y) = ([T::splat(s, T::NIL); I], [T::splat(s, T::NIL); O]);
        for i in 0..I {
            copy_short(self.x[i], T::lanes_mut::<S>(&mut x[i]));
        }
        for o in 0..O {
            copy_short(self.y[o], T::lanes_mut::<S>(&mut y[o]));
        }
        (x, y)
    }

    /// Overwrites the outputs from element `at` on; a whole vector must be there.
    #[inline(always)]
    fn store<S: Simd>(&mut self, at: usize, y: [T::V<S>; O]) {
        for o in 0..O {
            debug_assert!(at + T::lanes::<S>(&y[o]).len() <= self.y[o].len());
            // SAFETY: as in `load`; a vector has the layout of its scalars, and the write may be unaligned.
            unsafe { self.y[o].as_mut_ptr().add(at).cast::<T::V<S>>().write_unaligned(y[o]) };
        }
    }
}

#[cfg(test)]
mod tests;
