//! The Gauss quadrature that a Lanczos run gives: ∫ f dμ ≈ Σ ω_j f(λ_j) for the spectral measure of (A, v).
//!
//! With v = Σ c_i u_i in eigenvectors of A and ‖v‖ = 1, μ puts the mass c_i² at eigenvalue λ_i, so that
//! ∫ f dμ = vᵀ f(A) v.
//!
//! # Sources
//! Golub & Welsch 1969; Golub & Meurant, *Matrices, Moments and Quadrature with Applications* (2010), ch. 6;
//! Ubaru, Chen & Saad, *Fast estimation of tr(f(A)) via stochastic Lanczos quadrature* (2017).

use crate::lanczos::{Factorization, Options};
use crate::tridiagonal::{Tridiagonal, TridiagonalError};

/// Nodes, ascending, and their non-negative weights, which sum to 1 (unless there are none).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quadrature {
    /// The nodes, ascending.
    pub nodes: Vec<f64>,
    /// The weights.
    pub weights: Vec<f64>,
}

/// A quadrature rule could not be made.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum QuadratureError {
    /// The eigenvalues of T could not be found.
    #[error(transparent)]
    Eigenvalues(#[from] TridiagonalError),
    /// The prescribed node lies inside the spectrum of T (or on it), so no rule with positive weights has it at its end.
    #[error("Gauss-Radau: the prescribed node {0:e} is not outside the spectrum of T")]
    NodeInside(f64),
}

impl Quadrature {
    /// The m-point Gauss rule of T: nodes are its eigenvalues, weights the squared first components of its
    /// eigenvectors. Exact for polynomials of degree 2m − 1. Cost: O(m²).
    ///
    /// # Errors
    /// If T holds NaN or its eigenvalues don't converge.
    pub fn gauss(t: &Tridiagonal) -> Result<Self, QuadratureError> {
        let ritz = t.ritz()?;
        let mut weights: Vec<f64> = ritz.first.iter().map(|x| x * x).collect();
        // Unit to rounding already; the division makes the sum 1 to the last bits for long rules too.
        let mass: f64 = weights.iter().sum();
        for w in &mut weights {
            *w /= mass;
        }
        Ok(Quadrature { nodes: ritz.values, weights })
    }

    /// The (m + 1)-point Gauss–Radau rule with one node at `node`, below or above the whole spectrum of A. `beta` is the
    /// residual norm β_m of the run that gave T. Exact for polynomials of degree 2m.
    ///
    /// With the Gauss rule it encloses ∫ f dμ when f^{(2m)} and f^{(2m+1)} keep their signs: for f = log or f = 1/t and
    /// a node below the spectrum one is an upper and the other a lower bound (Golub & Meurant, §6.2).
    ///
    /// # Errors
    /// If the node is not outside the spectrum of T, or as [`gauss`](Self::gauss).
    pub fn radau(t: &Tridiagonal, beta: f64, node: f64) -> Result<Self, QuadratureError> {
        let m = t.order();
        // α' = node + β² / d_m, d_m the last pivot of T − node I; all pivots have one sign iff the node is outside.
        let mut pivot = 1.0;
        let mut sign = 0.0;
        for i in 0..m {
            let coupling = if i > 0 { t.beta[i - 1] * t.beta[i - 1] / pivot } else { 0.0 };
            pivot = t.alpha[i] - node - coupling;
            if i == 0 {
                sign = pivot.signum();
            }
            if pivot == 0.0 || pivot.signum() != sign || !pivot.is_finite() {
                return Err(QuadratureError::NodeInside(node));
            }
        }
        if m == 0 || beta == 0.0 {
            // An invariant space: the Gauss rule is already exact and has no room for a node of positive weight.
            return Self::gauss(t);
        }
        let (mut alpha, mut off) = (t.alpha.clone(), t.beta.clone());
        alpha.push(node + beta * beta / pivot);
        off.push(beta);
        Self::gauss(&Tridiagonal::new(alpha, off))
    }

    /// The tridiagonal matrix of the first `steps` Lanczos steps behind a Gauss rule, or of all of them if there are fewer: a
    /// rule and its matrix determine each other, and Lanczos on diag(λ_j) from (√ω_j) gives the latter back. `None` for no
    /// steps or a rule that is not finite. Cost: O(m · steps²).
    ///
    /// # Sources
    /// Gragg & Harrod 1984; Golub & Meurant 2010, ch. 3.
    pub fn tridiagonal(&self, steps: usize) -> Option<Tridiagonal> {
        let start: Vec<f64> = self.weights.iter().map(|w| w.sqrt()).collect();
        let mut run = Factorization::new(&start);
        while run.steps() < steps {
            let Some(v) = run.next() else { break };
            let mut product: Vec<f64> = v.iter().zip(&self.nodes).map(|(v, node)| v * node).collect();
            run.absorb(&mut product, &Options::steps(steps));
        }
        (run.steps() > 0).then(|| run.tridiagonal())
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes: the rule of a run that made no step.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Σ ω_j f(λ_j).
    pub fn integrate(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.nodes.iter().zip(&self.weights).map(|(&x, w)| w * f(x)).sum()
    }

    /// Σ ω_j λ_j^k, the k-th moment vᵀ A^k v.
    pub fn moment(&self, k: i32) -> f64 {
        self.integrate(|x| x.powi(k))
    }

    /// Bounds of the spectral distribution function F(t) = μ((−∞, t]) that hold whatever the measure, by the
    /// Chebyshev–Markov–Stieltjes inequalities: Σ_{j<i} ω_j ≤ μ((−∞, λ_i)) and μ((−∞, λ_i]) ≤ Σ_{j≤i} ω_j.
    pub fn distribution_bounds(&self, t: f64) -> (f64, f64) {
        // `below` nodes are ≤ t. The last of them bounds F(t) from below, the first one above t from above.
        let below = self.nodes.partition_point(|&x| x <= t);
        let low = self.weights[..below.saturating_sub(1)].iter().sum();
        let high = self.weights[..(below + 1).min(self.len())].iter().sum::<f64>();
        (low, high.min(1.0))
    }
}

impl Tridiagonal {
    /// The m-point rule with a node at t, exact for polynomials of degree 2m − 2: the canonical solution of the moment problem
    /// through t. `None` if T is empty, or if t is a node of the rule of m − 1 points, or so near to one that another node of
    /// this one would be beyond 1000 ‖T‖.
    ///
    /// Only the last diagonal entry differs from T: it makes the last pivot of T − t I vanish. Cost: O(m²).
    ///
    /// # Sources
    /// Akhiezer, *The Classical Moment Problem* (1965), ch. 2; Golub & Meurant 2010, ch. 6.
    pub fn canonical(&self, t: f64) -> Option<Quadrature> {
        let m = self.order();
        let last = m.checked_sub(1)?;
        let scale = self.norm().max(t.abs());
        let square = |i: usize| self.beta[i] * self.beta[i];
        let mut pivot = f64::INFINITY;
        for i in 0..last {
            let coupling = if i > 0 { square(i - 1) / pivot } else { 0.0 };
            pivot = self.alpha[i] - t - coupling;
            if pivot == 0.0 {
                pivot = f64::EPSILON * scale.max(f64::MIN_POSITIVE);
            }
        }
        let shift = if last > 0 { square(last - 1) / pivot } else { 0.0 };
        if shift.abs() > 1000.0 * scale || !shift.is_finite() {
            return None;
        }
        let mut alpha = self.alpha.clone();
        alpha[last] = t + shift;
        Quadrature::gauss(&Tridiagonal::new(alpha, self.beta.clone())).ok()
    }

    /// Sharp bounds of the distribution function at t, μ((−∞, t]), of every measure μ whose first 2m − 1 moments (degrees 0 to
    /// 2m − 2) are those of T: the weights of the canonical rule through t left of t, without and with the one at t. They
    /// lie within [`Quadrature::distribution_bounds`], which use the Gauss nodes beside t instead. `None` as for
    /// [`canonical`](Self::canonical).
    ///
    /// # Sources
    /// The Chebyshev–Markov–Stieltjes inequalities: Akhiezer 1965, ch. 2; Szegő, *Orthogonal Polynomials*, §3.41.
    pub fn cdf_bounds(&self, t: f64) -> Option<(f64, f64)> {
        let rule = self.canonical(t)?;
        let distance = |i: &usize| (rule.nodes[*i] - t).abs();
        let at = (0..rule.len()).min_by(|i, j| distance(i).total_cmp(&distance(j)))?;
        let low: f64 = rule.weights[..at].iter().sum();
        Some((low, (low + rule.weights[at]).min(1.0)))
    }
}

impl Factorization {
    /// The Gauss rule of this run for the normalised start vector; multiply by ‖start‖² for vᵀ f(A) v.
    ///
    /// # Errors
    /// As [`Quadrature::gauss`].
    pub fn quadrature(&self) -> Result<Quadrature, QuadratureError> {
        Quadrature::gauss(&self.tridiagonal())
    }
}

#[cfg(test)]
mod tests;
