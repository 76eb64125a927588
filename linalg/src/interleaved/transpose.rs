//! Rows to lanes and back: a transposition, tile by tile in registers where the machine has AVX-512.

use super::lanes;
use crate::gemm::Write;
use crate::real::Real;

/// out[i · lanes + r] ← x[r · stride + i] for `count` rows of x, zero for the lanes beyond; `out` gives the length of a row.
///
/// # Panics
/// If there are more rows than lanes, or a slice is too short.
#[track_caller]
pub fn interleave<T: Real>(x: &[T], stride: usize, count: usize, out: &mut [T]) {
    let (lanes, len) = (lanes::<T>(), out.len() / lanes::<T>());
    assert!(count > 0 && count <= lanes && (count - 1) * stride + len <= x.len(), "rows to interleave");
    let mut done = 0;
    if count == lanes {
        done = tiles::interleave(x, stride, len, out);
    } else {
        out.fill(T::ZERO);
    }
    for r in 0..count {
        let row = &x[r * stride + done..r * stride + len];
        out[done * lanes..].iter_mut().skip(r).step_by(lanes).zip(row).for_each(|(out, &x)| *out = x);
    }
}

/// out[r · stride + i] ← x[i · lanes + r], or +=, for `count` rows: the reverse of [`interleave`].
///
/// # Panics
/// If there are more rows than lanes, or a slice is too short.
#[track_caller]
pub fn separate<T: Real>(x: &[T], out: &mut [T], stride: usize, count: usize, write: Write) {
    let (lanes, len) = (lanes::<T>(), x.len() / lanes::<T>());
    assert!(count > 0 && count <= lanes && (count - 1) * stride + len <= out.len(), "rows to separate");
    let done = if count == lanes { tiles::separate(x, out, stride, len, write) } else { 0 };
    for r in 0..count {
        let row = &mut out[r * stride + done..r * stride + len];
        let column = x[done * lanes..].iter().skip(r).step_by(lanes);
        match write {
            Write::Set => row.iter_mut().zip(column).for_each(|(out, &x)| *out = x),
            Write::Add => row.iter_mut().zip(column).for_each(|(out, &x)| *out += x),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod tiles {
    use std::arch::x86_64::*;

    use super::*;
    use crate::simd::Level;

    /// Interleaves as many whole tiles as there are; returns their length.
    pub fn interleave<T: Real>(x: &[T], stride: usize, len: usize, out: &mut [T]) -> usize {
        let (done, side) = (whole::<T>(len), lanes::<T>());
        for at in (0..done).step_by(side.max(1)) {
            // SAFETY: `whole` found AVX-512; rows hold `len` values from r · stride on, `out` has lanes for each, as the
            // caller checked.
            unsafe { tile(x.as_ptr().add(at), stride, out.as_mut_ptr().add(at * side), side, Write::Set) }
        }
        done
    }

    /// Separates as many whole tiles as there are; returns their length.
    pub fn separate<T: Real>(x: &[T], out: &mut [T], stride: usize, len: usize, write: Write) -> usize {
        let (done, side) = (whole::<T>(len), lanes::<T>());
        for at in (0..done).step_by(side.max(1)) {
            // SAFETY: as above, with source and destination changed.
            unsafe { tile(x.as_ptr().add(at * side), side, out.as_mut_ptr().add(at), stride, write) }
        }
        done
    }

    /// The part of a length that whole tiles cover.
    fn whole<T: Real>(len: usize) -> usize {
        if Level::best() < Level::Avx512 {
            return 0;
        }
        debug_assert_eq!(lanes::<T>(), 64 / size_of::<T>());
        len - len % lanes::<T>()
    }

    /// Transposes a square of 512-bit rows.
    ///
    /// # Safety
    /// The machine has AVX-512, and both squares are inside of what the pointers may read or write.
    #[target_feature(enable = "avx512f")]
    unsafe fn tile<T: Real>(x: *const T, x_stride: usize, out: *mut T, out_stride: usize, write: Write) {
        // SAFETY: by contract; f32 has 4 bytes and f64 8, there is no other `Real`.
        unsafe {
            match size_of::<T>() {
                4 => tile32(x.cast(), x_stride, out.cast(), out_stride, write),
                _ => tile64(x.cast(), x_stride, out.cast(), out_stride, write),
            }
        }
    }

    /// # Safety
    /// As [`tile`].
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn tile32(x: *const f32, x_stride: usize, out: *mut f32, out_stride: usize, write: Write) {
        // SAFETY: by contract.
        unsafe {
            let r: [__m512; 16] = std::array::from_fn(|i| _mm512_loadu_ps(x.add(i * x_stride)));
            // In each 128-bit part: pairs of rows, then quadruples.
            let pair = |i: usize, high: bool| {
                let (a, b) = (r[i / 2 * 4 + i % 2 * 2], r[i / 2 * 4 + i % 2 * 2 + 1]);
                _mm512_castps_pd(if high { _mm512_unpackhi_ps(a, b) } else { _mm512_unpacklo_ps(a, b) })
            };
            let p: [[__m512d; 8]; 2] = [false, true].map(|high| std::array::from_fn(|i| pair(i, high)));
            // q[k][b]: column k of each part, rows 4 b to 4 b + 3.
            let q: [[__m512; 4]; 4] = std::array::from_fn(|k| {
                std::array::from_fn(|b| {
                    let (a, c) = (p[k / 2][2 * b], p[k / 2][2 * b + 1]);
                    _mm512_castpd_ps(if k % 2 == 1 { _mm512_unpackhi_pd(a, c) } else { _mm512_unpacklo_pd(a, c) })
                })
            });
            for (k, [a, b, c, d]) in q.into_iter().enumerate() {
                let (ab0, ab1) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                let (cd0, cd1) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
                let columns = [
                    _mm512_shuffle_f32x4::<0x88>(ab0, cd0),
                    _mm512_shuffle_f32x4::<0x88>(ab1, cd1),
                    _mm512_shuffle_f32x4::<0xdd>(ab0, cd0),
                    _mm512_shuffle_f32x4::<0xdd>(ab1, cd1),
                ];
                for (part, mut v) in columns.into_iter().enumerate() {
                    let to = out.add((4 * part + k) * out_stride);
                    if write == Write::Add {
                        v = _mm512_add_ps(_mm512_loadu_ps(to), v);
                    }
                    _mm512_storeu_ps(to, v);
                }
            }
        }
    }

    /// # Safety
    /// As [`tile`].
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn tile64(x: *const f64, x_stride: usize, out: *mut f64, out_stride: usize, write: Write) {
        // SAFETY: by contract.
        unsafe {
            let r: [__m512d; 8] = std::array::from_fn(|i| _mm512_loadu_pd(x.add(i * x_stride)));
            // q[k][b]: column k of each 128-bit part, rows 2 b and 2 b + 1.
            let q: [[__m512d; 4]; 2] = std::array::from_fn(|k| {
                std::array::from_fn(|b| {
                    let (a, c) = (r[2 * b], r[2 * b + 1]);
                    if k == 1 { _mm512_unpackhi_pd(a, c) } else { _mm512_unpacklo_pd(a, c) }
                })
            });
            for (k, [a, b, c, d]) in q.into_iter().enumerate() {
                let (ab0, ab1) = (_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xdd>(a, b));
                let (cd0, cd1) = (_mm512_shuffle_f64x2::<0x88>(c, d), _mm512_shuffle_f64x2::<0xdd>(c, d));
                let columns = [
                    _mm512_shuffle_f64x2::<0x88>(ab0, cd0),
                    _mm512_shuffle_f64x2::<0x88>(ab1, cd1),
                    _mm512_shuffle_f64x2::<0xdd>(ab0, cd0),
                    _mm512_shuffle_f64x2::<0xdd>(ab1, cd1),
                ];
                for (part, mut v) in columns.into_iter().enumerate() {
                    let to = out.add((2 * part + k) * out_stride);
                    if write == Write::Add {
                        v = _mm512_add_pd(_mm512_loadu_pd(to), v);
                    }
                    _mm512_storeu_pd(to, v);
                }
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod tiles {
    use super::*;

    pub fn interleave<T: Real>(_: &[T], _: usize, _: usize, _: &mut [T]) -> usize {
        0
    }

    pub fn separate<T: Real>(_: &[T], _: &mut [T], _: usize, _: usize, _: Write) -> usize {
        0
    }
}
