//! A few eigenpairs at either end of the spectrum: thick-restart Lanczos that does not miss multiplicities.
//!
//! A Krylov space of one vector sees each eigenvalue once. So, when the wanted pairs have converged, they are locked and
//! the search begins again from a random vector in their complement. It ends if nothing is left there that belongs to
//! the wanted ones; otherwise it goes on with what it found, and wider blocks.
//!
//! # Sources
//! Wu & Simon, *Thick-restart Lanczos method for large symmetric eigenvalue problems* (2000); Stewart, *A Krylov–Schur
//! algorithm for large eigenproblems* (2001); [`crate::lanczos::miss_probability`] (random starts); Parlett, *The Symmetric
//! Eigenvalue Problem*, ch. 4, 11, 13.

mod search;
mod space;

use search::Search;
use space::Space;

use crate::dense::{self, DenseError};
use crate::gemm::{Par, View, Write, gemm};
use crate::lanczos::{ASYMMETRY, Basis, invariant_tolerance};
use crate::operator::{LinearOperator, to_dense};
use crate::reduce::norm2;
use crate::stop::Stop;

/// Which end of the spectrum (algebraic order), for [`Options::new`].
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
    /// Largest eigenvalues wanted; all n if that and `lower` are no fewer together.
    pub upper: usize,
    /// Smallest (most negative) eigenvalues wanted. Both ends grow from one Krylov space.
    pub lower: usize,
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
    /// k pairs at an end, or at each of both; everything else as for [`ends`](Self::ends).
    ///
    /// # Panics
    /// If k = 0.
    #[track_caller]
    pub fn new(k: usize, end: End) -> Self {
        match end {
            End::Largest => Self::ends(k, 0),
            End::Smallest => Self::ends(0, k),
            End::Both => Self::ends(k, k),
        }
    }

    /// So many of the largest and of the smallest: tol 1e-10, max(1000, 50 k) products for k pairs in all, a basis of
    /// max(40, 2 k + 20), the dense way up to max(120, 3 k) (a search takes 50 to 150 products), one check, seed 0.
    ///
    /// # Panics
    /// If both are 0.
    #[track_caller]
    pub fn ends(upper: usize, lower: usize) -> Self {
        let pairs = upper + lower;
        assert!(pairs > 0, "0 eigenpairs asked for");
        Options {
            upper,
            lower,
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
    /// Eigenvalues, descending: those at the upper end come before those at the lower end.
    pub values: Vec<f64>,
    /// How many of them are the largest; the others are the smallest. All n count as the largest.
    pub upper: usize,
    /// Unit eigenvectors, one after the other, (values.len(), n).
    pub vectors: Vec<f64>,
    /// ‖A x − λ x‖, recomputed from a product with x (not taken from the iteration).
    pub residuals: Vec<f64>,
    /// Why the search ended. `Converged` if all residuals are within tol and the checks asked for were passed;
    /// `MaxSteps` if not, be it that the products were used up or that they are too noisy.
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

    /// An interval that holds an eigenvalue: λ ± (‖r‖ + rounding), r = A x − λ x; where a [gap](Self::gap) is known, the
    /// smaller of that and λ ± (‖r‖²/gap + rounding). Rounding in the product is taken as 10 min(n, 1000) ε ‖A‖.
    ///
    /// The first holds always, the second if the condition of the gap does.
    ///
    /// # Sources
    /// Parlett, theorem 4.5.1 (‖r‖) and ch. 11 (‖r‖²/gap, after Temple and Kato: xᵀ(A − α)(A − β)x ≥ 0 for neighbouring
    /// eigenvalues α, β).
    pub fn interval(&self, i: usize) -> (f64, f64) {
        let (rounding, linear) = (self.rounding(), self.residuals[i] + self.rounding());
        let radius = self.gap(i).map_or(linear, |gap| linear.min(linear * linear / gap + rounding));
        (self.values[i] - radius, self.values[i] + radius)
    }

    /// A lower bound of the distance from λ_i to every eigenvalue but its own, from the pairs beside it.
    ///
    /// Condition: the values at that end are the eigenvalues there, each as often as it is one, as a search says that ended
    /// `Converged` with at least one check. By Kahan's theorem they are then within ρ = ‖(r_1 … r_k)‖_F of the eigenvalues
    /// in order, and the gap is at least the distance to the nearer neighbour less ρ. `None` without that condition, for
    /// the innermost pair of an end (its neighbour was not asked for), and where the distance does not exceed ρ.
    ///
    /// # Sources
    /// Kahan 1967; Parlett, ch. 11.
    pub fn gap(&self, i: usize) -> Option<f64> {
        if self.stop != Stop::Converged || self.checks == 0 {
            return None;
        }
        let (count, all) = (self.values.len(), self.values.len() * self.values.len() == self.vectors.len());
        let at_top = i < self.upper;
        let end = if at_top { 0..self.upper } else { self.upper..count };
        let rho = norm2(&self.residuals[end.clone()]) + self.rounding();
        // Beyond the outermost pair there is nothing, beyond the innermost one there are the others.
        let above = if i > end.start {
            self.values[i - 1] - rho - self.values[i]
        } else if at_top {
            f64::INFINITY
        } else {
            return None;
        };
        let below = if i + 1 < end.end {
            self.values[i] - self.values[i + 1] - rho
        } else if all || !at_top {
            f64::INFINITY
        } else {
            return None;
        };
        Some(above.min(below)).filter(|gap| *gap > 0.0)
    }

    /// What a product may err by.
    fn rounding(&self) -> f64 {
        let n = self.vectors.len() / self.values.len().max(1);
        invariant_tolerance(n) * self.scale
    }

    /// Nothing found.
    fn empty(stop: Stop, space: &Space) -> Self {
        Eigs {
            values: Vec::new(),
            upper: 0,
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
    assert!(options.upper + options.lower > 0, "0 eigenpairs asked for");
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
    let mut search = Search::new(&mut space, &target, options, budget);
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
        if options.upper.saturating_add(options.lower) >= n {
            Target { upper: n, lower: 0 }
        } else {
            Target { upper: options.upper, lower: options.lower }
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

/// Assembles the matrix and takes the ends of its spectrum.
fn solve_densely(a: &dyn LinearOperator, mut space: Space, target: &Target, options: &Options) -> Eigs {
    let n = a.dim();
    let matrix = to_dense(a);
    space.products += n;
    // A column of the matrix is a product with a unit vector.
    space.scale = matrix.chunks_exact(n).map(norm2).fold(0.0, f64::max);
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
    let residuals: Vec<f64> = images.chunks_exact(n).map(norm2).collect();
    let allowed = (options.tol + invariant_tolerance(n)) * space.scale;
    // Without the checks the pairs are eigenpairs, but perhaps not those at the end: a crowd there takes long to sort out.
    let converged = k == target.pairs() && checks >= options.checks && residuals.iter().all(|r| *r <= allowed);
    let mut basis = Basis::new(n);
    vectors.chunks_exact(n).for_each(|x| basis.push(x));
    Eigs {
        upper: target.upper.min(values.len()),
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
        let length = norm2(&row);
        row.iter_mut().for_each(|x| *x /= length);
        basis.push(&row);
    }
    basis
}

#[cfg(test)]
mod tests;
