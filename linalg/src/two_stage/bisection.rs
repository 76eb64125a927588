//! Eigenvalues of a tridiagonal matrix by bisection, many at a time.
//!
//! The leading principal minors p_i of T − x I follow p_i = (α_i − x) p_{i−1} − β²_{i−1} p_{i−2}; their sign changes are as
//! many as eigenvalues lie below x (Sturm). What is computed is exact for α and β perturbed by a few ε, so each eigenvalue
//! is within a few ε ‖T‖, whatever the others are. The usual recurrence in p_i / p_{i−1} needs no care for the range of
//! the minors, but a division per step, which takes three times as long as everything here together; minors are divided
//! by the larger of the latest two from time to time instead.
//!
//! # Sources
//! Barth, Martin & Wilkinson, *Calculation of the eigenvalues of a symmetric tridiagonal matrix by the method of bisection*,
//! Numer. Math. 9 (1967); Parlett, *The Symmetric Eigenvalue Problem*, §3.

use pulp::{Simd, WithSimd};

use crate::gemm::Par;
use crate::parallel::pieces;
use crate::simd::{self, Vectors};
use crate::tridiagonal::{Tridiagonal, TridiagonalError, power_of_two};

/// Vectors of 512 bits that go through the recurrence together, to hide its latency.
const CHAINS: usize = 4;
/// Eigenvalues that are bisected together.
const TOGETHER: usize = 8 * CHAINS;

/// As [`super::eigenvalues`].
pub fn eigenvalues(t: &Tridiagonal, par: Par) -> Result<Vec<f64>, TridiagonalError> {
    t.check_finite()?;
    let m = t.order();
    let scale = power_of_two(t.alpha.iter().chain(&t.beta).fold(0.0, |s: f64, x| s.max(x.abs())));
    let alpha: Vec<f64> = t.alpha.iter().map(|x| x / scale).collect();
    let beta: Vec<f64> = t.beta.iter().map(|x| x / scale).collect();
    // Entries are below 2 now and the largest is at least 1. Setting off-diagonal entries of this size to zero moves no
    // eigenvalue by more than it, and bounds how fast minors can vanish.
    let negligible = 0.25 * f64::EPSILON;
    let mut values = Vec::with_capacity(m);
    let mut lo = 0;
    for hi in 0..m {
        if hi + 1 == m || beta[hi].abs() <= negligible {
            Block::new(&alpha[lo..=hi], &beta[lo..hi]).eigenvalues(par, &mut values);
            lo = hi + 1;
        }
    }
    values.iter_mut().for_each(|x| *x *= scale);
    values.sort_by(f64::total_cmp);
    Ok(values)
}

/// A tridiagonal matrix without negligible off-diagonal entries.
struct Block {
    /// α_i and −β²_{i−1}; 0 for the first.
    rows: Vec<[f64; 2]>,
    /// Eigenvalues lie between these (Gershgorin).
    bounds: [f64; 2],
    /// Rows after which minors are scaled anew.
    rescale: usize,
}

impl Block {
    fn new(alpha: &[f64], beta: &[f64]) -> Self {
        let before = |i: usize| if i > 0 { beta[i - 1] } else { 0.0 };
        let rows = alpha.iter().enumerate().map(|(i, &a)| [a, -before(i) * before(i)]).collect();
        let mut bounds = [f64::INFINITY, f64::NEG_INFINITY];
        for (i, a) in alpha.iter().enumerate() {
            let radius = before(i).abs() + beta.get(i).map_or(0.0, |b| b.abs());
            bounds = [bounds[0].min(a - radius), bounds[1].max(a + radius)];
        }
        // One step multiplies (p_{i−1}, p_{i−2}) by a matrix of norm below 2⁴ and determinant β², so their size shrinks by
        // no more than β² / 2⁴. With β > 2⁻⁵⁴ eight steps stay far from underflow, and 64 from overflow.
        let least = beta.iter().fold(1.0, |m: f64, b| m.min(b.abs()));
        let rescale = if least > 1e-3 { 32 } else { 8 };
        Block { rows, bounds, rescale }
    }

    /// Appends the eigenvalues, each within ε/8 of the larger bound but for rounding.
    fn eigenvalues(&self, par: Par, values: &mut Vec<f64>) {
        let m = self.rows.len();
        if m == 1 {
            values.push(self.rows[0][0]);
            return;
        }
        let [bottom, top] = self.bounds;
        // A grid as fine as there are eigenvalues: bisection begins in its cells.
        let mut width = (top - bottom) / (m + 1) as f64;
        let grid = |k: usize| if k > m { top } else { bottom + k as f64 * width };
        let mut shifts: Vec<Shifts> = (0..m.div_ceil(TOGETHER))
            .map(|g| Shifts {
                lower: [0.0; TOGETHER],
                upper: std::array::from_fn(|l| grid(g * TOGETHER + l + 1)),
                rank: [0.0; TOGETHER],
            })
            .collect();
        let work = m * m;
        pieces(par, work, &mut shifts, 1, &|_, shifts| {
            shifts.iter_mut().for_each(|shifts| simd::dispatch_wide(Count { block: self, shifts }));
        });
        // Eigenvalues below each grid point; rounding could make them fall, by some that are all at that point.
        let mut below: Vec<f64> = shifts.iter().flat_map(|s| s.rank).take(m).collect();
        for k in 1..m {
            below[k] = below[k].max(below[k - 1]);
        }
        for (g, shifts) in shifts.iter_mut().enumerate() {
            for l in 0..TOGETHER {
                let rank = (g * TOGETHER + l).min(m - 1) as f64;
                let cell = below.partition_point(|&count| count <= rank);
                (shifts.lower[l], shifts.upper[l], shifts.rank[l]) = (grid(cell), grid(cell + 1), rank);
            }
        }
        let enough = 0.25 * f64::EPSILON * top.abs().max(bottom.abs());
        let mut halvings = 0;
        while width > enough {
            width *= 0.5;
            halvings += 1;
        }
        pieces(par, work, &mut shifts, 1, &|_, shifts| {
            shifts.iter_mut().for_each(|shifts| simd::dispatch_wide(Bisect { block: self, shifts, halvings }));
        });
        values.extend(shifts.iter().flat_map(|s| (0..TOGETHER).map(|l| 0.5 * (s.lower[l] + s.upper[l]))).take(m));
    }
}

/// Brackets of eigenvalues, and the number of eigenvalues below each.
struct Shifts {
    lower: [f64; TOGETHER],
    upper: [f64; TOGETHER],
    rank: [f64; TOGETHER],
}

type Chains<S> = [<S as Simd>::f64s; CHAINS];

#[inline(always)]
fn load<S: Simd>(x: &[f64; TOGETHER]) -> Chains<S> {
    // SAFETY: the vectors have 512 bits, and x is as long as all of them.
    std::array::from_fn(|c| unsafe { simd::load::<f64, S>(x, c * (TOGETHER / CHAINS)) })
}

#[inline(always)]
fn store<S: Simd>(x: &mut [f64; TOGETHER], v: Chains<S>) {
    for (c, v) in v.into_iter().enumerate() {
        // SAFETY: as for `load`.
        unsafe { simd::store::<f64, S>(x, c * (TOGETHER / CHAINS), v) };
    }
}

/// Writes the number of eigenvalues below `upper` to `rank`.
struct Count<'a> {
    block: &'a Block,
    shifts: &'a mut Shifts,
}

impl WithSimd for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let counts = counts(s, self.block, load::<S>(&self.shifts.upper));
        store::<S>(&mut self.shifts.rank, counts);
    }
}

/// Halves the brackets.
struct Bisect<'a> {
    block: &'a Block,
    shifts: &'a mut Shifts,
    halvings: usize,
}

impl WithSimd for Bisect<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Shifts { lower, upper, rank } = self.shifts;
        let (mut lo, mut hi, rank) = (load::<S>(lower), load::<S>(upper), load::<S>(rank));
        let half = s.splat_f64s(0.5);
        for _ in 0..self.halvings {
            let mut middle = lo;
            for c in 0..CHAINS {
                middle[c] = s.mul_f64s(half, s.add_f64s(lo[c], hi[c]));
            }
            let counts = counts(s, self.block, middle);
            for c in 0..CHAINS {
                let left = s.less_than_f64s(rank[c], counts[c]);
                lo[c] = f64::select::<S>(s, left, lo[c], middle[c]);
                hi[c] = f64::select::<S>(s, left, middle[c], hi[c]);
            }
        }
        store::<S>(lower, lo);
        store::<S>(upper, hi);
    }
}

/// The number of eigenvalues below each x.
#[inline(always)]
fn counts<S: Simd>(s: S, block: &Block, x: Chains<S>) -> Chains<S> {
    let one = s.splat_f64s(1.0);
    let (mut p, mut before, mut sign) = ([one; CHAINS], [s.splat_f64s(0.0); CHAINS], [one; CHAINS]);
    // Σ sign p_i sign p_{i−1} = m − 2 (changes).
    let mut agreement = [s.splat_f64s(0.0); CHAINS];
    for rows in block.rows.chunks(block.rescale) {
        for &[alpha, minus_beta2] in rows {
            let (alpha, minus_beta2) = (s.splat_f64s(alpha), s.splat_f64s(minus_beta2));
            for c in 0..CHAINS {
                let next = s.mul_add_f64s(s.sub_f64s(alpha, x[c]), p[c], s.mul_f64s(minus_beta2, before[c]));
                (before[c], p[c]) = (p[c], next);
                let next = <f64 as Vectors>::copysign(s, one, next);
                agreement[c] = s.mul_add_f64s(next, sign[c], agreement[c]);
                sign[c] = next;
            }
        }
        for c in 0..CHAINS {
            let (a, b) = (<f64 as Vectors>::abs(s, p[c]), <f64 as Vectors>::abs(s, before[c]));
            let scale = s.div_f64s(one, f64::select::<S>(s, s.less_than_f64s(a, b), b, a));
            (p[c], before[c]) = (s.mul_f64s(p[c], scale), s.mul_f64s(before[c], scale));
        }
    }
    let (half, m) = (s.splat_f64s(0.5), s.splat_f64s(block.rows.len() as f64));
    let mut counts = agreement;
    for count in &mut counts {
        *count = s.mul_f64s(half, s.sub_f64s(m, *count));
    }
    counts
}
