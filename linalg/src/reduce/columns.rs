//! Column sums of row-major matrices.

use pulp::{Simd, WithSimd};

use super::Pairs;
use crate::gemm::Write;
use crate::real::Real;
use crate::simd::{self, Vectors, copy_short};

/// `dst[j]` ← Σᵢ `a[i][j]` ([`Write::Set`]) or `dst[j]` + Σᵢ `a[i][j]` ([`Write::Add`]): the column sums of a
/// row-major matrix of shape (rows, dst.len()).
///
/// The order of summation is fixed by the number of rows: leaves of 32 rows, in two chains, then pairs of leaves.
///
/// # Panics
/// If `a` does not have `rows * dst.len()` elements.
#[track_caller]
pub fn sum_rows<T: Real>(dst: &mut [T], write: Write, a: &[T], rows: usize) {
    assert_eq!(a.len(), rows * dst.len(), "sum_rows: {} elements as {rows} rows of {}", a.len(), dst.len());
    simd::dispatch_wide(SumRows { dst, write, a, rows });
}

/// Rows of a leaf.
const LEAF: usize = 32;

pub(super) struct SumRows<'a, T> {
    pub(super) dst: &'a mut [T],
    pub(super) write: Write,
    pub(super) a: &'a [T],
    pub(super) rows: usize,
}

impl<T: Vectors> WithSimd for SumRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let cols = self.dst.len();
        let width = size_of::<T::V<S>>() / size_of::<T>();
        let strip = 4 * width;
        let mut at = 0;
        while at + strip <= cols {
            let sums = strip_sums::<T, S, 4>(s, self.a, self.rows, cols, at);
            finish::<T, S, 4>(s, &mut self.dst[at..at + strip], self.write, sums);
            at += strip;
        }
        while at < cols {
            let end = (at + width).min(cols);
            let sums = strip_sums::<T, S, 1>(s, self.a, self.rows, cols, at);
            finish::<T, S, 1>(s, &mut self.dst[at..end], self.write, sums);
            at = end;
        }
    }
}

/// Sums of `C` vectors of columns from column `at` on. Lanes past the last column hold sums of unrelated elements.
#[inline(always)]
fn strip_sums<T: Vectors, S: Simd, const C: usize>(s: S, a: &[T], rows: usize, cols: usize, at: usize) -> [T::V<S>; C] {
    let zero = T::splat(s, T::NIL);
    let mut pairs = Pairs::<T::V<S>, C>::new();
    let mut row = 0;
    while row < rows {
        let end = (row + LEAF).min(rows);
        let mut even = [zero; C];
        let mut odd = [zero; C];
        while row < end {
            add_row::<T, S, C>(s, a, row * cols + at, &mut even);
            if row + 1 < end {
                add_row::<T, S, C>(s, a, (row + 1) * cols + at, &mut odd);
            }
            row += 2;
        }
        row = end;
        for c in 0..C {
            even[c] = T::add(s, even[c], odd[c]);
        }
        pairs.push::<T, S>(s, even);
    }
    pairs.total::<T, S>(s)
}

#[inline(always)]
fn add_row<T: Vectors, S: Simd, const C: usize>(s: S, a: &[T], at: usize, sums: &mut [T::V<S>; C]) {
    let width = size_of::<T::V<S>>() / size_of::<T>();
    if at + C * width <= a.len() {
        for (c, sum) in sums.iter_mut().enumerate() {
            // SAFETY: just checked.
            *sum = T::add(s, *sum, unsafe { simd::load::<T, S>(a, at + c * width) });
        }
    } else {
        // The last rows of a matrix that is narrower than a vector.
        for (c, sum) in sums.iter_mut().enumerate() {
            let mut x = T::splat(s, T::NIL);
            copy_short(&a[(at + c * width).min(a.len())..], T::lanes_mut::<S>(&mut x));
            *sum = T::add(s, *sum, x);
        }
    }
}

#[inline(always)]
fn finish<T: Vectors, S: Simd, const C: usize>(s: S, dst: &mut [T], write: Write, mut sums: [T::V<S>; C]) {
    let width = size_of::<T::V<S>>() / size_of::<T>();
    for (sums, dst) in sums.iter_mut().zip(dst.chunks_mut(width)) {
        if write == Write::Add {
            let mut old = T::splat(s, T::NIL);
            copy_short(dst, T::lanes_mut::<S>(&mut old));
            *sums = T::add(s, old, *sums);
        }
        copy_short(T::lanes::<S>(sums), dst);
    }
}
