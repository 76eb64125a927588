//! The exact spectrum of a wide layer's block from a matrix whose order is the block's rank: the signed-Gram route.
//!
//! The block of a dense affine layer is B = Σ_n w_n M_n ⊗ ẑ_n ẑ_nᵀ + λI. With w_n M_n = Σ_r s_r u_{n,r} u_{n,r}ᵀ, s = ±1,
//! it is B = K S Kᵀ + λI with the columns u_{n,r} ⊗ ẑ_n of K ([`Factors`]). The non-zero spectrum of K S Kᵀ is that of
//! R S Rᵀ for any R with RᵀR = KᵀK, and the Gram matrix KᵀK = (UᵀU) ∘ (ẐẐᵀ expanded) has the order q = Σ_n rank M_n,
//! whatever the number of parameters. The remaining p − q eigenvalues are exactly λ.
//!
//! # Accuracy
//! - All s = +1 (Gauss–Newton blocks, and loss blocks below piecewise-linear layers): the eigenvalues of the Gram matrix
//!   themselves, with an absolute error of a few √q ε ‖B‖, as of a dense block.
//! - Mixed signs: R is the root of a Gram matrix that is known to δ ≈ 4 √q ε ‖KᵀK‖, and a root loses half of the digits
//!   where columns cancel: the error is at most 3 √(δ ‖KᵀK‖), which [`GramSpectrum::bound`] states. It is reached: two
//!   columns a and a + d with opposite signs and |d|² < ε|a|² have the same Gram matrix as a twice, and the eigenvalues
//!   ±|d| |a| come out as 0.
//!
//! # Sources
//! The identity of the spectra of A Aᵀ and AᵀA; Papyan 2019, "Measurements of three-level hierarchical structure", for the
//! Gram matrix of a Gauss–Newton matrix. Root of a perturbed matrix: Bhatia, *Matrix Analysis*, theorem X.1.1.

use eigenlens_linalg::dense::{self, DenseError};
use eigenlens_linalg::{LinearOperator, Par, Real, View, Write, gemm};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Model, Part};

use crate::kronecker::{Tile, holds};
use crate::spectrum::{Repeated, Spectrum};

mod factors;

pub(crate) use factors::Columns;
pub use factors::{Factors, is_convex};

/// What the Gram route costs for a part of θ, before it is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Σ rank M_n at most: the order of the Gram matrix.
    pub order: usize,
    /// Whether the block is known to be positive semidefinite (but for the penalty): the accuracy of a dense block.
    pub convex: bool,
    /// Multiply-adds of the columns and of the Gram matrix.
    pub work: f64,
    /// Multiply-adds of its eigenvalues.
    pub eigenvalues: f64,
    /// Bytes at the peak.
    pub bytes: f64,
}

impl Estimate {
    /// For a part of a network on so many samples. `None` where there is no such structure: the part is not rows of one
    /// dense affine layer, or the penalty covers only some of it.
    pub fn of<T: Real>(model: &Model<T>, samples: usize, part: &Part, kind: Kind) -> Option<Self> {
        let tile = Tile::of(model, part).filter(|tile| holds(model, tile.layer))?;
        factors::shift(factors::penalty(model, &tile, kind), &tile)?;
        let layer = &model.layers()[tile.layer];
        let above: f64 = model.layers()[tile.layer + 1..].iter().map(|l| l.work as f64).sum();
        let convex = is_convex(model, tile.layer, kind);
        let (outputs, units) = (model.outputs(), tile.units.len());
        let rank = if convex { units.min(model.loss_rank()) } else { units };
        let order = samples * rank;
        let (n, q, c, d, u) = (samples as f64, order as f64, outputs as f64, tile.z_len(layer) as f64, units as f64);
        let jacobians = factors::by_jacobians(convex, units, outputs);
        let (each, kept) =
            if jacobians { (9.0 * c.powi(3) + u * c * c, u * c) } else { (9.0 * u.powi(3), u * u / 2.0) };
        Some(Estimate {
            order,
            convex,
            work: n * (2.0 * u * above + each) + q * q * u + n * n * d,
            eigenvalues: if convex { 2.0 / 3.0 } else { 6.5 } * q.powi(3),
            bytes: 8.0 * (n * (kept + d + n) + q * u + if convex { 2.0 } else { 6.0 } * q * q),
        })
    }
}

/// A spectrum by the Gram route.
#[derive(Clone, Debug, PartialEq)]
pub struct GramSpectrum {
    /// All p eigenvalues: those of the Gram matrix, and the repeated rest.
    pub spectrum: Spectrum,
    /// Every eigenvalue is within this of that of K S Kᵀ + λI.
    pub bound: f64,
}

/// Eigenvalues of a block and the columns' coefficients of its eigenvectors.
#[derive(Clone, Debug, PartialEq)]
pub struct GramEigen {
    /// The eigenvalues that are not the repeated one, ascending.
    pub values: Vec<f64>,
    /// c of each eigenvector K c, one after the other, q values each.
    pub coefficients: Vec<f64>,
}

/// Why there is no spectrum by this route.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GramError {
    /// A matrix with NaN or infinity.
    #[error(transparent)]
    Dense(#[from] DenseError),
    /// The block is of low rank only beside a multiple of the identity.
    #[error(
        "the penalty covers only the {0} of the layer, so that the rest of its spectrum is no single eigenvalue; take a part with the {0} alone"
    )]
    Penalty(&'static str),
}

/// δ: how far the Gram matrix and the eigenvalues of a matrix of order q and norm `norm` may be off.
fn rounding(q: usize, norm: f64) -> f64 {
    4.0 * (q as f64).sqrt() * f64::EPSILON * norm
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m: f64, x| m.max(x.abs()))
}

impl Factors {
    /// All eigenvalues. Cost: those of a dense matrix of order q, about ten times as much for mixed signs.
    ///
    /// # Errors
    /// A column that is not finite; a penalty on a part of the layer alone.
    pub fn spectrum(&self) -> Result<GramSpectrum, GramError> {
        let (q, shift) = (self.order(), self.shift()?);
        let (values, bound) = if self.is_positive() {
            let values = dense::eigenvalues(q, &self.gram())?;
            let bound = rounding(q, largest(&values));
            (values, bound)
        } else {
            let Root { root, rank, norm, .. } = self.root()?;
            let values = dense::eigenvalues(rank, &self.between_roots(&root, rank))?;
            (values, 3.0 * (rounding(q, norm) * norm).sqrt())
        };
        // More columns than parameters are dependent: the smallest eigenvalues in size are then zeros of the Gram matrix alone.
        let mut values = values;
        if values.len() > self.dim() {
            values.sort_by(|a, b| a.abs().total_cmp(&b.abs()).reverse());
            values.truncate(self.dim());
        }
        let count = self.dim() - values.len();
        let values = values.into_iter().map(|x| x + shift).collect();
        Ok(GramSpectrum { spectrum: Spectrum::exact_with(values, Repeated { value: shift, count }), bound })
    }

    /// The eigenpairs that are not repeated and resolved: |λ| above the rounding. An eigenvector is [`Factors::pair`].
    ///
    /// Its residual is about ε ‖B‖ √(‖B‖/|λ|): the smaller the eigenvalue, the less its vector can be had from the Gram
    /// matrix. Cost: about 9 q³ flops, twice as much for mixed signs.
    ///
    /// # Errors
    /// As [`Factors::spectrum`].
    pub fn eigen(&self) -> Result<GramEigen, GramError> {
        let (q, shift) = (self.order(), self.shift()?);
        let Root { root, rank, norm, vectors, roots } = self.root()?;
        let mut found = GramEigen { values: Vec::new(), coefficients: Vec::new() };
        if self.is_positive() {
            // K y / √λ: the coefficients are rows of the root divided by λ.
            for i in 0..rank {
                found.values.push(roots[i] * roots[i] + shift);
                found.coefficients.extend(vectors[i * q..(i + 1) * q].iter().map(|y| y / roots[i]));
            }
            return Ok(found);
        }
        let inner = dense::eigen(rank, &self.between_roots(&root, rank))?;
        let floor = rounding(q, norm);
        for (i, &value) in inner.values.iter().enumerate().filter(|(_, x)| x.abs() > floor) {
            let mut c = vec![0.0; q];
            for ((w, r), y) in inner.vector(i).iter().zip(&roots).zip(vectors.chunks_exact(q)) {
                eigenlens_linalg::reduce::axpy(w / r, y, &mut c);
            }
            found.values.push(value + shift);
            found.coefficients.extend(c);
        }
        Ok(found)
    }

    /// λ if the block is K S Kᵀ + λI.
    fn shift(&self) -> Result<f64, GramError> {
        let [weights, _] = self.penalty;
        factors::shift(self.penalty, &self.tile).ok_or(GramError::Penalty(if weights > 0.0 {
            "weights"
        } else {
            "biases"
        }))
    }

    /// R with RᵀR = KᵀK, without the directions that are zero to rounding.
    fn root(&self) -> Result<Root, GramError> {
        let q = self.order();
        let eigen = dense::eigen(q, &self.gram())?;
        let norm = largest(&eigen.values);
        let first = eigen.values.partition_point(|&x| x <= rounding(q, norm));
        let roots: Vec<f64> = eigen.values[first..].iter().map(|x| x.sqrt()).collect();
        let vectors = eigen.vectors[first * q..].to_vec();
        let mut root = vectors.clone();
        root.chunks_exact_mut(q.max(1)).zip(&roots).for_each(|(row, r)| row.iter_mut().for_each(|x| *x *= r));
        Ok(Root { rank: roots.len(), root, norm, vectors, roots })
    }

    /// R S Rᵀ.
    fn between_roots(&self, root: &[f64], rank: usize) -> Vec<f64> {
        let q = self.order();
        let signed: Vec<f64> =
            root.chunks_exact(q.max(1)).flat_map(|row| row.iter().zip(self.signs()).map(|(x, s)| x * s)).collect();
        let mut inner = vec![0.0; rank * rank];
        let (left, right) = (View::new(&signed, rank, q), View::new(root, rank, q));
        gemm(&mut inner, Write::Set, 1.0, left, right.t(), Par::rayon(rayon::current_num_threads()));
        inner
    }
}

/// The root of a Gram matrix by its eigenvectors.
struct Root {
    /// (rank, q): eigenvectors times `roots`.
    root: Vec<f64>,
    rank: usize,
    /// ‖KᵀK‖.
    norm: f64,
    /// (rank, q).
    vectors: Vec<f64>,
    /// Roots of the eigenvalues.
    roots: Vec<f64>,
}

#[cfg(test)]
mod tests;
