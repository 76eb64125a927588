//! A few eigenpairs at either end of the spectrum: thick-restart Lanczos that does not miss multiplicities.
//!
//! A Krylov space of one vector sees each eigenvalue once. So, when the wanted pairs have converged, they are locked and
//! the search begins again from a random vector in their complement. It ends if nothing is left there that belongs to
//! the wanted ones; otherwise it goes on with what it found, and wider blocks.
//!
//! # Sources
//! Wu & Simon, *Thick-restart Lanczos method for large symmetric eigenvalue problems* (2000); Stewart, *A Krylov–Schur
//! algorithm for large eigenproblems* (2001); Kuczyński & Woźniakowski, *Estimating the largest eigenvalue by the power
//! and Lanczos algorithms with a random start* (1992); Parlett, *The Symmetric Eigenvalue Problem*, ch. 4, 11, 13.

mod space;

use space::{RitzPairs, Space};

use crate::dense::{self, DenseError};
use crate::gemm::{Par, View, Write, gemm};
use crate::lanczos::{ASYMMETRY, Basis, invariant_tolerance, norm};
use crate::operator::{LinearOperator, to_dense};
use crate::stop::Stop;

/// Which end of the spectrum (algebraic order).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The k largest eigenvalues.
    Largest,
    /// The k smallest (most negative) eigenvalues.
    Smallest,
    /// The k largest and the k smallest, from one run.
    Both,
}

/// What to look for and how hard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Pairs wanted at each end; all n if there are fewer.
    pub k: usize,
    /// The end.
    pub end: End,
    /// A pair has converged when ‖A x − λ x‖ ≤ tol ‖A‖ (the latter estimated from below).
    pub tol: f64,
    /// Products allowed, those of the final residuals included (but at least one step and those are made).
    pub max_products: usize,
    /// Vectors kept at most, besides locked ones; raised if too few for k. More of them save few products: for 10 pairs
    /// of a Gaussian spectrum, n = 2000, a basis of 30 takes 170 and one of 200 takes 163.
    pub basis: usize,
    /// Seed of the random vectors.
    pub seed: u64,
    /// Up to this dimension the matrix is assembled and solved densely; up to [`RESCUE`] times it that is done if the
    /// search has not converged after n products. 0: never. Only if `max_products` allows it.
    pub dense_up_to: usize,
    /// Fresh random searches that must find nothing more at the wanted end. 0 trusts the first search, and may miss
    /// copies of repeated eigenvalues.
    pub checks: usize,
    /// As [`crate::lanczos::Options::asymmetry`].
    pub asymmetry: f64,
}

impl Options {
    /// k pairs at an end: tol 1e-10, max(1000, 50 k') products for k' pairs in all, a basis of max(40, 2 k' + 20),
    /// the dense way up to max(120, 3 k') (a search takes 50 to 150 products), one check, seed 0.
    ///
    /// # Panics
    /// If k = 0.
    #[track_caller]
    pub fn new(k: usize, end: End) -> Self {
        assert!(k > 0, "0 eigenpairs asked for");
        let pairs = if end == End::Both { 2 * k } else { k };
        Options {
            k,
            end,
            tol: 1e-10,
            max_products: (50 * pairs).max(1000),
            basis: (2 * pairs + 20).max(40),
            seed: 0,
            dense_up_to: (3 * pairs).max(120),
            checks: 1,
            asymmetry: ASYMMETRY,
        }
    }
}

/// See [`Options::dense_up_to`]: by default the rescue reaches to n of about 2000, a few seconds and 150 MB.
pub const RESCUE: usize = 16;

/// Eigenpairs with the evidence for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Eigs {
    /// Eigenvalues, descending. For [`End::Both`] the k largest come before the k smallest.
    pub values: Vec<f64>,
    /// Unit eigenvectors, one after the other, (values.len(), n).
    pub vectors: Vec<f64>,
    /// ‖A x − λ x‖, recomputed from a product with x (not taken from the iteration).
    pub residuals: Vec<f64>,
    /// Why the search ended. `Converged` if all residuals are within tol; `MaxSteps` if not, be it that the products
    /// were used up or that they are too noisy.
    pub stop: Stop,
    /// Products used, columns counted.
    pub products: usize,
    /// Random searches that found nothing more. The matrix being solved densely, or a basis of the whole space, counts
    /// as the number asked for.
    pub checks: usize,
    /// max |XᵀX − I|, measured.
    pub orthogonality: f64,
    /// The estimate of ‖A‖ (from below) to which tol refers.
    pub scale: f64,
}

impl Eigs {
    /// Eigenvector i.
    pub fn vector(&self, i: usize) -> &[f64] {
        let n = self.vectors.len() / self.values.len();
        &self.vectors[i * n..(i + 1) * n]
    }

    /// An interval that holds an eigenvalue: λ ± (‖A x − λ x‖ + 10 min(n, 1000) ε ‖A‖ for rounding in the product).
    ///
    /// Source: Parlett, theorem 4.5.1.
    pub fn interval(&self, i: usize) -> (f64, f64) {
        let n = self.vectors.len() / self.values.len();
        let radius = self.residuals[i] + invariant_tolerance(n) * self.scale;
        (self.values[i] - radius, self.values[i] + radius)
    }

    /// Nothing found.
    fn empty(stop: Stop, space: &Space) -> Self {
        Eigs {
            values: Vec::new(),
            vectors: Vec::new(),
            residuals: Vec::new(),
            stop,
            products: space.products,
            checks: 0,
            orthogonality: 0.0,
            scale: space.scale,
        }
    }
}

/// A few eigenpairs at either end, from a random start.
///
/// Cost: products as reported; about 8 n · basis flops of orthogonalisation each; basis + pairs vectors of memory.
/// Bits do not depend on the number of threads if those of the operator don't.
///
/// # Stops
/// `Converged`; `MaxSteps` with the best pairs so far, whose residuals say how far it got (fewer than asked for if there
/// were not even steps for them); `NonFinite` and `NotSymmetric` with no pairs.
///
/// ```
/// use eigenlens_linalg::{eigs::{End, Options, eigs}, operator::DenseOperator};
/// let a = DenseOperator::diagonal(&[5.0, -1.0, 5.0, 2.0]);
/// let top = eigs(&a, &Options::new(2, End::Largest));
/// assert!(top.stop.is_success() && top.values.iter().all(|x| (x - 5.0).abs() < 1e-12));
/// ```
#[track_caller]
pub fn eigs(a: &dyn LinearOperator, options: &Options) -> Eigs {
    eigs_from(a, &[], options)
}

/// As [`eigs`], from given start vectors, stored one after the other; their number is the block width of the first
/// search. Dependent and zero vectors are left out. Later searches start from random vectors.
///
/// # Panics
/// If `starts.len()` is not a multiple of `a.dim()`.
#[track_caller]
pub fn eigs_from(a: &dyn LinearOperator, starts: &[f64], options: &Options) -> Eigs {
    let n = a.dim();
    assert!(options.k > 0, "0 eigenpairs asked for");
    assert!(starts.len().is_multiple_of(n.max(1)), "{} values as start vectors of length {n}", starts.len());
    let mut space = Space::new(a, options.seed, options.asymmetry);
    if n == 0 {
        return Eigs::empty(Stop::Converged, &space);
    }
    let target = Target::new(n, options);
    if n <= options.dense_up_to && n + target.pairs() <= options.max_products {
        return solve_densely(a, space, &target, options);
    }
    let rescue = n <= RESCUE * options.dense_up_to && 2 * n + target.pairs() <= options.max_products;
    let budget = if rescue { n } else { options.max_products.saturating_sub(target.pairs()).max(1) };
    let mut search =
        Search { space: &mut space, target: &target, options, budget, locked_values: Vec::new(), checks: 0 };
    match search.run(starts) {
        Err(Stop::MaxSteps) if rescue => solve_densely(a, space, &target, options),
        Err(stop @ (Stop::NonFinite | Stop::NotSymmetric)) => Eigs::empty(stop, &space),
        // Whether it converged is for the recomputed residuals to say.
        Ok(()) | Err(_) => {
            let (values, checks) = (search.locked_values, search.checks);
            let rows = target.choose(&values);
            let x: Vec<f64> = rows.iter().flat_map(|&i| space.locked_row(i)).copied().collect();
            finish(space, x, &target, checks, options)
        }
    }
}

/// How many pairs at the upper and at the lower end.
#[derive(Clone, Copy, Debug)]
struct Target {
    upper: usize,
    lower: usize,
}

impl Target {
    fn new(n: usize, options: &Options) -> Self {
        let k = options.k.min(n);
        match options.end {
            End::Largest => Target { upper: k, lower: 0 },
            End::Smallest => Target { upper: 0, lower: k },
            End::Both if 2 * k >= n => Target { upper: n, lower: 0 },
            End::Both => Target { upper: k, lower: k },
        }
    }

    fn pairs(&self) -> usize {
        self.upper + self.lower
    }

    /// Indices of the wanted ones among `values`, in descending order of value.
    fn choose(&self, values: &[f64]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&i, &j| values[j].total_cmp(&values[i]));
        let upper = self.upper.min(order.len());
        let lower = self.lower.min(order.len() - upper);
        order.drain(upper..order.len() - lower);
        order
    }
}

/// The probability, accepted for each check, that a random start misses an eigenvalue it should have seen.
const MISS: f64 = 1e-4;

/// Widest block; more columns per product gain little, and the basis has to hold several blocks.
const WIDEST: usize = 8;

struct Search<'s, 'a> {
    space: &'s mut Space<'a>,
    target: &'s Target,
    options: &'s Options,
    /// Products allowed to the search.
    budget: usize,
    /// Values of the locked rows, in their order.
    locked_values: Vec<f64>,
    checks: usize,
}

/// How many of the active Ritz pairs belong to the wanted ones at either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    upper: usize,
    lower: usize,
}

/// What one search came to.
struct Outcome {
    /// Pairs locked.
    found: usize,
    /// Locked and active vectors spanned the whole space: nothing was left to be missed.
    everything: bool,
}

impl Search<'_, '_> {
    /// Searches until the wanted pairs are locked and the checks have found nothing more. On `Err(MaxSteps)` the best
    /// pairs are locked too.
    fn run(&mut self, starts: &[f64]) -> Result<(), Stop> {
        let n = self.space.dim();
        let random;
        let first = if starts.is_empty() {
            random = self.space.random(1);
            &random
        } else {
            starts
        };
        let mut all = self.phase(first, first.len() / n)?.everything;
        let mut width = 1;
        while !all && self.checks < self.options.checks {
            let starts = self.space.random(width.min(n - self.space.locked()));
            let outcome = self.phase(&starts, starts.len() / n)?;
            all = outcome.everything;
            if outcome.found == 0 {
                self.checks += 1;
            } else {
                // Repeated eigenvalues: look for several copies at once.
                self.checks = 0;
                width = (2 * width).min(WIDEST);
            }
        }
        if all {
            self.checks = self.options.checks;
        }
        Ok(())
    }

    /// One search in the complement of the locked vectors; locks what belongs to the wanted pairs.
    fn phase(&mut self, starts: &[f64], width: usize) -> Result<Outcome, Stop> {
        let free = self.space.dim() - self.space.locked();
        let n = self.space.dim();
        let order = self.options.basis.max(self.target.pairs() + 4 * width).min(free);
        self.space.begin(order, starts)?;
        if self.space.width() == 0 {
            self.space.inject();
        }
        let begun = self.space.products;
        // The Ritz problem costs about 20 p³ flops, a step 8 n p: look at each step if that is little in comparison.
        let every = |p: usize| if n > 4 * p * p { 1 } else { 4.max(p / 10) };
        let mut since = 0;
        loop {
            let tired = self.space.products > 0 && self.space.products + self.space.width() > self.budget;
            if tired && self.space.active() == 0 {
                return Err(Stop::MaxSteps);
            }
            if !tired {
                self.space.expand()?;
                since += 1;
            }
            let full = self.space.active() + self.space.width().max(1) > order;
            if !(tired || full || since >= every(self.space.active()) || self.space.invariant()) {
                continue;
            }
            since = 0;
            let ritz = self.space.ritz()?;
            let wanted = self.wanted(&ritz);
            let steps = (self.space.products - begun) / width;
            let done = self.done(&ritz, wanted, steps);
            if done || tired {
                let chosen = chosen(wanted, ritz.values.len());
                let outcome = Outcome { found: chosen.len(), everything: self.space.exhausted() };
                self.locked_values.extend(chosen.iter().map(|&i| ritz.values[i]));
                self.space.lock(&ritz, &chosen);
                return if done { Ok(outcome) } else { Err(Stop::MaxSteps) };
            }
            if full {
                let keep = self.keep(wanted, ritz.values.len(), order);
                self.space.restart(&ritz, &keep);
            }
            if self.space.invariant() {
                self.space.inject();
            }
        }
    }

    /// tol ‖A‖, not below rounding.
    fn threshold(&self) -> f64 {
        self.options.tol.max(f64::EPSILON) * self.space.scale
    }

    /// How many Ritz values belong to the wanted ones: i is in if fewer than k come before it, where a locked value that
    /// is equal to within the tolerance comes first (so that a search ends when it finds only equals).
    fn wanted(&self, ritz: &RitzPairs) -> Wanted {
        let (margin, p) = (self.threshold(), ritz.values.len());
        let above = |x: f64| self.locked_values.iter().filter(|&&l| l >= x - margin).count();
        let below = |x: f64| self.locked_values.iter().filter(|&&l| l <= x + margin).count();
        let upper = (0..p).take_while(|&i| above(ritz.values[i]) + i < self.target.upper).count();
        let lower = (0..p).take_while(|&i| below(ritz.values[p - 1 - i]) + i < self.target.lower).count();
        Wanted { upper, lower }
    }

    /// Whether this search can end.
    fn done(&self, ritz: &RitzPairs, wanted: Wanted, steps: usize) -> bool {
        if self.space.exhausted() {
            return true;
        }
        let (p, threshold) = (ritz.values.len(), self.threshold());
        if self.locked_values.len() + p < self.target.pairs() || wanted.upper + wanted.lower > p {
            return false;
        }
        let converged = |i: usize| ritz.residuals[i] <= threshold;
        let found = wanted.upper + wanted.lower > 0;
        if found {
            return chosen(wanted, p).into_iter().all(converged);
        }
        // Nothing here belongs to the wanted pairs. Has the search gone on long enough to be sure?
        if self.space.invariant() {
            return true;
        }
        let mut locked = self.locked_values.clone();
        locked.sort_by(f64::total_cmp);
        let reach = (ritz.values[0] + ritz.residuals[0], ritz.values[p - 1] - ritz.residuals[p - 1]);
        let upper = self.target.upper == 0 || converged(0) || {
            let bound = locked[locked.len() - self.target.upper];
            self.surely_seen((bound - ritz.values[0]) / (bound - reach.1), steps)
        };
        let lower = self.target.lower == 0 || converged(p - 1) || {
            let bound = locked[self.target.lower - 1];
            self.surely_seen((ritz.values[p - 1] - bound) / (reach.0 - bound), steps)
        };
        upper && lower
    }

    /// Kuczyński & Woźniakowski 1992, theorem 4.2: from a random start the largest Ritz value of j Lanczos steps is below
    /// λ_max − ε (λ_max − λ_min) with probability at most 1.648 √n exp(−√ε (2j − 1)).
    fn surely_seen(&self, gap: f64, steps: usize) -> bool {
        let n = (self.space.dim() - self.space.locked()) as f64;
        gap > 0.0 && 1.648 * n.sqrt() * (-gap.sqrt() * (2.0 * steps as f64 - 1.0)).exp() <= MISS
    }

    /// Ritz pairs to keep at a restart: the wanted ones and half of the others, shared between the ends.
    fn keep(&self, wanted: Wanted, p: usize, order: usize) -> Vec<usize> {
        let (upper, lower) = (self.target.upper > 0, self.target.lower > 0);
        let mut keep =
            Wanted { upper: wanted.upper.max(usize::from(upper)), lower: wanted.lower.max(usize::from(lower)) };
        let room = order.saturating_sub(2 * self.space.width().max(1)).min(p);
        let extra = (p.saturating_sub(keep.upper + keep.lower) / 2).min(room.saturating_sub(keep.upper + keep.lower));
        match (upper, lower) {
            (true, true) => {
                keep.upper += extra.div_ceil(2);
                keep.lower += extra / 2;
            }
            (true, false) => keep.upper += extra,
            _ => keep.lower += extra,
        }
        chosen(keep, p)
    }
}

/// The first and the last indices below p, without repetition.
fn chosen(wanted: Wanted, p: usize) -> Vec<usize> {
    let upper = wanted.upper.min(p);
    let lower = wanted.lower.min(p - upper);
    (0..upper).chain(p - lower..p).collect()
}

/// Assembles the matrix and takes the ends of its spectrum.
fn solve_densely(a: &dyn LinearOperator, mut space: Space, target: &Target, options: &Options) -> Eigs {
    let n = a.dim();
    let matrix = to_dense(a);
    space.products += n;
    // A column of the matrix is a product with a unit vector.
    space.scale = matrix.chunks_exact(n).map(norm).fold(0.0, f64::max);
    match dense::eigen(n, &matrix) {
        Ok(e) => {
            space.scale = e.values.iter().fold(space.scale, |s, x| s.max(x.abs()));
            let x: Vec<f64> = target.choose(&e.values).into_iter().flat_map(|i| e.vector(i)).copied().collect();
            finish(space, x, target, options.checks, options)
        }
        Err(DenseError::NotSymmetric { .. }) => Eigs::empty(Stop::NotSymmetric, &space),
        Err(DenseError::NonFinite { .. } | DenseError::NoConvergence(_)) => Eigs::empty(Stop::NonFinite, &space),
    }
}

/// Rayleigh–Ritz on the chosen vectors x (k, n) with fresh products: sharpens clusters whose members were locked in
/// different searches, and gives the residuals.
///
/// x is orthonormalised first: each restart lets an ε of orthogonality slip.
fn finish(mut space: Space, x: Vec<f64>, target: &Target, checks: usize, options: &Options) -> Eigs {
    let n = space.dim();
    let k = x.len() / n;
    if k == 0 {
        return Eigs::empty(Stop::MaxSteps, &space);
    }
    let x = orthonormal(n, &x);
    let y = space.apply(k, x.rows());
    let x = x.rows();
    let mut gram = vec![0.0; k * k];
    gemm(&mut gram, Write::Set, 1.0, View::new(x, k, n), View::new(&y, k, n).t(), Par::Seq);
    // Unconverged pairs of an operator in f32 may leave an asymmetry here that is no news: take the mean.
    for i in 0..k {
        for j in 0..i {
            let mean = 0.5 * (gram[i * k + j] + gram[j * k + i]);
            (gram[i * k + j], gram[j * k + i]) = (mean, mean);
        }
    }
    let Ok(e) = dense::eigen(k, &gram) else {
        return Eigs::empty(Stop::NonFinite, &space);
    };
    let rotation: Vec<f64> = (0..k).rev().flat_map(|i| e.vector(i)).copied().collect();
    let values: Vec<f64> = e.values.iter().rev().copied().collect();
    let (mut vectors, mut images) = (vec![0.0; k * n], vec![0.0; k * n]);
    gemm(&mut vectors, Write::Set, 1.0, View::new(&rotation, k, k), View::new(x, k, n), Par::Seq);
    gemm(&mut images, Write::Set, 1.0, View::new(&rotation, k, k), View::new(&y, k, n), Par::Seq);
    for ((image, vector), value) in images.chunks_exact_mut(n).zip(vectors.chunks_exact(n)).zip(&values) {
        image.iter_mut().zip(vector).for_each(|(y, x)| *y -= value * x);
    }
    space.scale = values.iter().fold(space.scale, |s, x| s.max(x.abs()));
    let residuals: Vec<f64> = images.chunks_exact(n).map(norm).collect();
    let allowed = (options.tol + invariant_tolerance(n)) * space.scale;
    let converged = k == target.pairs() && residuals.iter().all(|r| *r <= allowed);
    let mut basis = Basis::new(n);
    vectors.chunks_exact(n).for_each(|x| basis.push(x));
    Eigs {
        values,
        vectors,
        residuals,
        stop: if converged { Stop::Converged } else { Stop::MaxSteps },
        products: space.products,
        checks,
        orthogonality: basis.orthogonality(),
        scale: space.scale,
    }
}

/// Almost orthonormal rows of length n made orthonormal to rounding.
fn orthonormal(n: usize, rows: &[f64]) -> Basis {
    let mut basis = Basis::new(n);
    for row in rows.chunks_exact(n) {
        let mut row = row.to_vec();
        basis.orthogonalize(1, &mut row);
        let length = norm(&row);
        row.iter_mut().for_each(|x| *x /= length);
        basis.push(&row);
    }
    basis
}

#[cfg(test)]
mod tests;
