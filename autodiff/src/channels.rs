//! Vectors with one entry per channel against rows in which each channel is a run of equal length.
//!
//! A row has the channels one after the other, each `row.len() / channels` values long: a feature vector (runs of one)
//! or an image with its channels outermost (runs of one plane).

use eigenlens_linalg::elementwise::{Kernel, update};
use eigenlens_linalg::{Number, Real, Write, reduce};
use pulp::Simd;

use crate::family::Times;

/// out ← c_1 x_1 + … + c_I x_I + d, or +=.
pub(crate) struct Combine<T, const I: usize>(pub(crate) [T; I], pub(crate) T, pub(crate) Write);
impl<T: Number, const I: usize> Kernel<T, I, 1> for Combine<T, I> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, x: [T::V<S>; I], [old]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let mut sum = T::splat(s, self.1);
        if self.2 == Write::Add {
            sum = T::add(s, sum, old);
        }
        for (&c, &x) in self.0.iter().zip(&x) {
            sum = T::fma(s, T::splat(s, c), x, sum);
        }
        [sum]
    }
}

/// The runs of a row, one for each channel.
fn run(row: usize, channels: usize) -> usize {
    (row / channels.max(1)).max(1)
}

/// out ← v ⊙ a, or +=, with v one number per channel.
pub(crate) fn scale<T: Real>(v: &[T], a: &[T], out: &mut [T], write: Write) {
    let run = run(a.len(), v.len());
    if run == 1 {
        update(&Times(write), [v, a], [out]);
        return;
    }
    for ((&v, a), out) in v.iter().zip(a.chunks_exact(run)).zip(out.chunks_exact_mut(run)) {
        update(&Combine([v], T::ZERO, write), [a], [out]);
    }
}

/// out ← Σ_i v_i ⊙ x_i + d, or +=, with v_i and d one number per channel.
pub(crate) fn combine<T: Real, const I: usize>(v: [&[T]; I], x: [&[T]; I], d: &[T], out: &mut [T], write: Write) {
    let run = run(out.len(), d.len());
    if run == 1 {
        spread(d, out, write);
        return v.iter().zip(x).for_each(|(v, x)| scale(v, x, out, Write::Add));
    }
    for (c, out) in out.chunks_exact_mut(run).enumerate() {
        let at = c * run..(c + 1) * run;
        update(&Combine(v.map(|v| v[c]), d[c], write), x.map(|x| &x[at.clone()]), [out]);
    }
}

/// out ← v spread over the runs, or +=.
pub(crate) fn spread<T: Real>(v: &[T], out: &mut [T], write: Write) {
    let run = run(out.len(), v.len());
    if run == 1 && write == Write::Set {
        out.copy_from_slice(v);
    } else if run == 1 {
        reduce::axpy(T::ONE, v, out);
    } else {
        for (&v, out) in v.iter().zip(out.chunks_exact_mut(run)) {
            update(&Combine([], v, write), [], [out]);
        }
    }
}

/// out_c ← Σ over the run of channel c of a ⊙ b, or +=.
pub(crate) fn dots<T: Real>(a: &[T], b: &[T], out: &mut [T], write: Write) {
    let run = run(a.len(), out.len());
    if run == 1 {
        update(&Times(write), [a, b], [out]);
        return;
    }
    for ((a, b), out) in a.chunks_exact(run).zip(b.chunks_exact(run)).zip(out) {
        put(out, reduce::dot(a, b), write);
    }
}

/// out_c ← Σ over the run of channel c of a, or +=.
pub(crate) fn sums<T: Real>(a: &[T], out: &mut [T], write: Write) {
    let run = run(a.len(), out.len());
    if run == 1 && write == Write::Set {
        out.copy_from_slice(a);
    } else if run == 1 {
        reduce::axpy(T::ONE, a, out);
    } else {
        for (a, out) in a.chunks_exact(run).zip(out) {
            put(out, reduce::sum(a), write);
        }
    }
}

/// out ← x, or out ← out + x.
#[inline]
pub(crate) fn put<T: Real>(out: &mut T, x: T, write: Write) {
    *out = if write == Write::Set { x } else { *out + x };
}
