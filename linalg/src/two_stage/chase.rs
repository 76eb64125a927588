//! Band → tridiagonal: each sweep makes one column tridiagonal and chases the bulge that this makes down the band.
//!
//! Sweep s reflects column s; the block of columns k = 0, 1, … behind it, columns s + 1 + k b .. s + 1 + (k + 1) b with
//! b = [`BANDWIDTH`], takes part in step k. It holds a symmetric block D on the diagonal and B below it. The reflection of
//! the step before, H, comes from the left and the right onto D and from the right onto B, which fills B; a new
//! reflection H' clears B's first column and comes from the left onto the others. Only H' goes on to the next step, so a
//! step touches no columns but those of its block.
//!
//! Step k of sweep s needs step k + 1 of sweep s − 1. Here [`GROUP`] sweeps go together through [`STEPS`] steps at a time,
//! each sweep one step behind the one before it, so that their columns stay in cache; such tiles (group, turn) depend on
//! (group, turn − 1) and (group − 1, turn + 1), so all tiles with the same turn + 2 group are independent. Their columns
//! are disjoint since STEPS ≥ GROUP.
//!
//! The end needs no special case: the band is padded by zeros, of which reflections make zeros.

use pulp::{Simd, WithSimd};

use super::BANDWIDTH;
use super::panel::Reflection;
use crate::gemm::Par;
use crate::parallel::pieces;
use crate::simd::{self, Vectors};
use crate::tridiagonal::Tridiagonal;

/// Sweeps that go together.
const GROUP: usize = 8;
/// Steps that a group takes in one turn.
const STEPS: usize = 8;
const _: () = assert!(STEPS >= GROUP);

/// Values of a vector of 512 bits.
const LANES: usize = 8;
/// Vectors of a column of a block.
const VECTORS: usize = BANDWIDTH / LANES;
const _: () = assert!(BANDWIDTH.is_multiple_of(LANES));

/// Entry (i, j) of the matrix is at value j · `STRIDE` + i: a column keeps two blocks from its diagonal down, and some
/// zeros, so that a vector that begins above the diagonal finds zeros there.
const STRIDE: usize = 2 * BANDWIDTH + LANES;
/// Values from one diagonal entry to the next.
const COLUMN: usize = STRIDE + 1;

/// v and τ of a reflection, from one step to the next.
const ROOM: usize = BANDWIDTH + LANES;

/// A symmetric band matrix with room for the bulges, by columns of the lower triangle.
pub struct Band {
    n: usize,
    columns: Vec<f64>,
}

impl Band {
    /// The diagonal and the next [`BANDWIDTH`] values of each row of `a` (row-major, upper triangle).
    pub fn of(n: usize, a: &[f64]) -> Self {
        let mut columns = vec![0.0; (n + BANDWIDTH) * COLUMN];
        for (i, column) in columns.chunks_exact_mut(COLUMN).take(n).enumerate() {
            let len = (n - i).min(BANDWIDTH + 1);
            column[..len].copy_from_slice(&a[i * n + i..i * n + i + len]);
        }
        Band { n, columns }
    }

    /// The diagonal and the first subdiagonal.
    pub fn tridiagonal(&self) -> Tridiagonal {
        let at = |i: usize, below: usize| self.columns[i * COLUMN + below];
        let off = self.n.saturating_sub(1);
        Tridiagonal::new((0..self.n).map(|i| at(i, 0)).collect(), (0..off).map(|i| at(i, 1)).collect())
    }

    /// Makes everything but the diagonal and the first subdiagonal zero.
    pub fn chase(&mut self, par: Par) {
        let n = self.n;
        let groups = n.saturating_sub(2).div_ceil(GROUP);
        let mut reflections = vec![0.0; groups * GROUP * ROOM];
        // The last group ends in its first turn or in the next.
        for time in 0..2 * groups + n / (STEPS * BANDWIDTH) + 1 {
            let mut tiles = Vec::with_capacity(n / (2 * STEPS * BANDWIDTH) + 2);
            let (mut columns, mut taken) = (&mut self.columns[..], 0);
            let mut reflections = &mut reflections[..];
            // From the latest group on: its columns come first.
            for group in (0..groups.min(time / 2 + 1)).rev() {
                let turn = time - 2 * group;
                let first = group * GROUP;
                // The last sweep of the group is behind by GROUP − 1 steps, and ahead by as many columns.
                let top = first + 1 + turn * STEPS * BANDWIDTH;
                let start = if turn == 0 { first } else { top - (GROUP - 1) * (BANDWIDTH - 1) };
                if start >= n {
                    break;
                }
                let end = (top + STEPS * BANDWIDTH).min(n + BANDWIDTH);
                let (mine, after) = columns.split_at_mut((end - taken) * COLUMN);
                let mine = &mut mine[(start - taken) * COLUMN..];
                let (before, own) = reflections.split_at_mut(first * ROOM);
                tiles.push(Tile { n, first, turn, start, columns: mine, reflections: &mut own[..GROUP * ROOM] });
                (columns, taken, reflections) = (after, end, before);
            }
            let work = tiles.len() * GROUP * STEPS * BANDWIDTH * BANDWIDTH;
            pieces(par, work, &mut tiles, 1, &|_, tiles| tiles.iter_mut().for_each(|t| simd::dispatch_wide(Run(t))));
        }
    }
}

/// [`STEPS`] steps of [`GROUP`] sweeps.
struct Tile<'a> {
    n: usize,
    /// The first sweep.
    first: usize,
    turn: usize,
    /// The first of `columns`.
    start: usize,
    columns: &'a mut [f64],
    reflections: &'a mut [f64],
}

struct Run<'t, 'a>(&'t mut Tile<'a>);

impl WithSimd for Run<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Tile { n, first, turn, start, columns, reflections } = self.0;
        for (i, reflection) in reflections.chunks_exact_mut(ROOM).enumerate() {
            let sweep = *first + i;
            if sweep + 2 >= *n {
                break;
            }
            let steps = if *turn == 0 { 0..STEPS - i } else { *turn * STEPS - i..(*turn + 1) * STEPS - i };
            if *turn == 0 {
                begin(s, &mut columns[(sweep - *start) * COLUMN..][..COLUMN], reflection);
            }
            for step in steps {
                let column = sweep + 1 + step * BANDWIDTH;
                if column >= *n {
                    break;
                }
                let block = &mut columns[(column - *start) * COLUMN..][..BANDWIDTH * COLUMN];
                advance(s, block, reflection);
            }
        }
    }
}

/// A column of a block.
type Column<S> = [<S as Simd>::f64s; VECTORS];

/// One in the lanes below lane j, zero elsewhere.
const BELOW: [[f64; LANES]; LANES] = {
    let mut below = [[0.0; LANES]; LANES];
    let mut j = 0;
    while j < LANES {
        let mut i = j + 1;
        while i < LANES {
            below[j][i] = 1.0;
            i += 1;
        }
        j += 1;
    }
    below
};

/// One in lane j, zero elsewhere.
const UNIT: [[f64; LANES]; LANES] = {
    let mut unit = [[0.0; LANES]; LANES];
    let mut j = 0;
    while j < LANES {
        unit[j][j] = 1.0;
        j += 1;
    }
    unit
};

/// Sum of the lanes, halves onto halves.
#[inline(always)]
fn total<S: Simd>(v: S::f64s) -> f64 {
    let v = f64::lanes::<S>(&v);
    let half = [v[0] + v[4], v[1] + v[5], v[2] + v[6], v[3] + v[7]];
    (half[0] + half[2]) + (half[1] + half[3])
}

/// Vectors from value `at` on.
#[inline(always)]
fn load<S: Simd>(x: &[f64], at: usize) -> Column<S> {
    assert!(at + BANDWIDTH <= x.len());
    // SAFETY: just checked; the vectors have 512 bits.
    std::array::from_fn(|i| unsafe { simd::load::<f64, S>(x, at + i * LANES) })
}

/// Vectors to value `at` on.
#[inline(always)]
fn store<S: Simd>(x: &mut [f64], at: usize, v: Column<S>) {
    assert!(at + BANDWIDTH <= x.len());
    for (i, v) in v.into_iter().enumerate() {
        // SAFETY: just checked; the vectors have 512 bits.
        unsafe { simd::store::<f64, S>(x, at + i * LANES, v) };
    }
}

#[inline(always)]
fn constant<S: Simd>(x: &[f64; LANES]) -> S::f64s {
    // SAFETY: the vectors have 512 bits.
    unsafe { simd::load::<f64, S>(x, 0) }
}

/// The reflection that takes `x` to (β, 0, …): v with v₀ = 1, τ (0 for none), β.
#[inline(always)]
fn reflect<S: Simd>(s: S, mut x: Column<S>) -> (Column<S>, f64, f64) {
    let head = f64::lanes::<S>(&x[0])[0];
    x[0] = s.mul_f64s(x[0], constant::<S>(&BELOW[0]));
    let mut squares = s.mul_f64s(x[0], x[0]);
    for x in &x[1..] {
        squares = s.mul_add_f64s(*x, *x, squares);
    }
    let (tau, beta, scale) = match Reflection::of(head, total::<S>(squares)) {
        Some(r) => (r.tau, r.beta, r.scale),
        None => (0.0, head, 0.0),
    };
    let scale = s.splat_f64s(scale);
    for x in &mut x {
        *x = s.mul_f64s(*x, scale);
    }
    x[0] = s.add_f64s(x[0], constant::<S>(&UNIT[0]));
    (x, tau, beta)
}

/// (β, 0, …) as a column.
#[inline(always)]
fn cleared<S: Simd>(s: S, beta: f64) -> Column<S> {
    let mut column = [s.splat_f64s(0.0); VECTORS];
    column[0] = s.mul_f64s(s.splat_f64s(beta), constant::<S>(&UNIT[0]));
    column
}

/// Reflects the first column of a sweep.
#[inline(always)]
fn begin<S: Simd>(s: S, column: &mut [f64], reflection: &mut [f64]) {
    let (v, tau, beta) = reflect(s, load::<S>(column, 1));
    store::<S>(column, 1, cleared(s, beta));
    store::<S>(reflection, 0, v);
    reflection[BANDWIDTH] = tau;
}

/// One step: `reflection` onto D and B, and what clears B's first column onto B, into `reflection`.
#[inline(always)]
fn advance<S: Simd>(s: S, block: &mut [f64], reflection: &mut [f64]) {
    let mut v = [0.0; BANDWIDTH];
    v.copy_from_slice(&reflection[..BANDWIDTH]);
    let tau = reflection[BANDWIDTH];
    let vs = load::<S>(&v, 0);

    // u = τ B v.
    let mut u = [s.splat_f64s(0.0); VECTORS];
    for (c, v) in v.iter().enumerate() {
        let v = s.splat_f64s(*v);
        let column = load::<S>(block, c * STRIDE + BANDWIDTH);
        for (u, x) in u.iter_mut().zip(column) {
            *u = s.mul_add_f64s(x, v, *u);
        }
    }
    let splat_tau = s.splat_f64s(tau);
    for u in &mut u {
        *u = s.mul_f64s(*u, splat_tau);
    }
    let w = symmetric_product(s, block, &v, vs, tau);

    // B ← (I − τ' v' v'ᵀ) (B − u vᵀ).
    let first: Column<S> = minus(s, load::<S>(block, BANDWIDTH), u, s.splat_f64s(v[0]));
    let (next, next_tau, beta) = reflect(s, first);
    store::<S>(block, BANDWIDTH, cleared(s, beta));
    for (c, v) in v.iter().enumerate().skip(1) {
        let at = c * STRIDE + BANDWIDTH;
        let x = minus(s, load::<S>(block, at), u, s.splat_f64s(*v));
        let mut along = [s.mul_f64s(x[0], next[0]), s.mul_f64s(x[1], next[1])];
        for i in 2..VECTORS {
            along[i % 2] = s.mul_add_f64s(x[i], next[i], along[i % 2]);
        }
        let along = next_tau * total::<S>(s.add_f64s(along[0], along[1]));
        store::<S>(block, at, minus(s, x, next, s.splat_f64s(along)));
    }
    store::<S>(reflection, 0, next);
    reflection[BANDWIDTH] = next_tau;

    // D ← D − v wᵀ − w vᵀ, the lower triangle.
    let ws = load::<S>(&w, 0);
    for tile in 0..VECTORS {
        for j in 0..LANES {
            let c = tile * LANES + j;
            let (vc, wc) = (s.splat_f64s(v[c]), s.splat_f64s(w[c]));
            for i in tile..VECTORS {
                let at = c * STRIDE + i * LANES;
                // SAFETY: below `at + LANES` of `block`, which has BANDWIDTH columns.
                let x = unsafe { simd::load::<f64, S>(block, at) };
                let change = s.mul_add_f64s(vs[i], wc, s.mul_f64s(ws[i], vc));
                let x = if i == tile {
                    let kept = s.add_f64s(constant::<S>(&BELOW[j]), constant::<S>(&UNIT[j]));
                    s.negate_mul_add_f64s(change, kept, x)
                } else {
                    s.sub_f64s(x, change)
                };
                // SAFETY: as for the load.
                unsafe { simd::store::<f64, S>(block, at, x) };
            }
        }
    }
}

/// x − y c.
#[inline(always)]
fn minus<S: Simd>(s: S, x: Column<S>, y: Column<S>, c: S::f64s) -> Column<S> {
    let mut x = x;
    for (x, y) in x.iter_mut().zip(y) {
        *x = s.negate_mul_add_f64s(y, c, *x);
    }
    x
}

/// w = p − ½ τ (pᵀv) v with p = τ D v, from the lower triangle of D: then H D H = D − v wᵀ − w vᵀ.
#[inline(always)]
fn symmetric_product<S: Simd>(s: S, block: &[f64], v: &[f64; BANDWIDTH], vs: Column<S>, tau: f64) -> [f64; BANDWIDTH] {
    let mut w = [0.0; BANDWIDTH];
    let mut p = [s.splat_f64s(0.0); VECTORS];
    for tile in 0..VECTORS {
        // A column c of D, from the diagonal down, multiplies v_c, and its part below the diagonal is also row c.
        let mut rows = [s.splat_f64s(0.0); LANES];
        for i in tile..VECTORS {
            let mut sum = p[i];
            for (j, row) in rows.iter_mut().enumerate() {
                let c = tile * LANES + j;
                // SAFETY: below `c * STRIDE + BANDWIDTH` of `block`, which has BANDWIDTH columns.
                let x = unsafe { simd::load::<f64, S>(block, c * STRIDE + i * LANES) };
                sum = s.mul_add_f64s(x, s.splat_f64s(v[c]), sum);
                let below = if i == tile { s.mul_f64s(vs[i], constant::<S>(&BELOW[j])) } else { vs[i] };
                *row = s.mul_add_f64s(x, below, *row);
            }
            p[i] = sum;
        }
        for (j, row) in rows.into_iter().enumerate() {
            w[tile * LANES + j] = total::<S>(row);
        }
    }
    let splat_tau = s.splat_f64s(tau);
    let mut ws = load::<S>(&w, 0);
    let mut along = s.splat_f64s(0.0);
    for i in 0..VECTORS {
        ws[i] = s.mul_f64s(s.add_f64s(ws[i], p[i]), splat_tau);
        along = s.mul_add_f64s(ws[i], vs[i], along);
    }
    let half = s.splat_f64s(0.5 * tau * total::<S>(along));
    store::<S>(&mut w, 0, minus(s, ws, vs, half));
    w
}
