//! Scratch memory for kernels: buffers that a thread keeps from call to call, so that products don't allocate.

use std::cell::RefCell;

use crate::real::Real;

/// The free buffers of one thread.
pub type Pool<T> = RefCell<Vec<Vec<T>>>;

/// Calls `f` with `len` values of scratch memory, whose contents are whatever an earlier call left there.
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
        if buffer.len() < len {
            buffer.resize(len, T::ZERO);
        }
        let result = f(&mut buffer[..len]);
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
    }
}
