//! Scratch memory for kernels: buffers that a thread keeps from call to call, so that products don't allocate.

use std::cell::RefCell;

use crate::real::Real;

/// The free buffers of one thread.
pub type Pool<T> = RefCell<Vec<Vec<T>>>;

/// Bytes of a cache line and of the widest vector: a vector that straddles two lines costs two loads.
const ALIGNMENT: usize = 64;

/// Calls `f` with `len` values of scratch memory, whose contents are whatever an earlier call left there. They begin at a
/// cache line.
///
/// Calls nest: each has its own buffer. A thread allocates only when a buffer has to grow; it never shares or returns one.
///
/// ```
/// use eigenlens_linalg::scratch;
/// let sum = scratch::with(3, |a: &mut [f64]| {
///     a.fill(1.0);
///     scratch::with(2, |b: &mut [f64]| b.fill(0.0));
///     a.iter().sum::<f64>()
/// });
/// assert_eq!(sum, 3.0);
/// ```
pub fn with<T: Real, R>(len: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    T::pool(|pool| {
        let mut buffer = pool.borrow_mut().pop().unwrap_or_default();
        let room = len + ALIGNMENT / size_of::<T>();
        if buffer.len() < room {
            buffer.resize(room, T::ZERO);
        }
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        let result = f(&mut buffer[start..start + len]);
        pool.borrow_mut().push(buffer);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::with;

    #[test]
    fn a_buffer_is_used_again_and_nested_calls_have_their_own() {
        let first = with(10, |a: &mut [f64]| a.as_ptr());
        let (outer, inner) = with(10, |a: &mut [f64]| (a.as_ptr(), with(10, |b: &mut [f64]| b.as_ptr())));
        assert_eq!(first, outer);
        assert_ne!(outer, inner);
        assert_eq!(with(4, |a: &mut [f64]| a.len()), 4);
        assert_eq!(with(4, |a: &mut [f32]| a.as_ptr().align_offset(super::ALIGNMENT)), 0);
    }
}
