//! Lanczos tridiagonalisation, A V = V T + β v eᵀ, as a factorization that grows.
//!
//! [`Factorization`] is the state of one run and knows no operator: it names the vector to be multiplied next
//! ([`next`](Factorization::next)) and takes the product in ([`absorb`](Factorization::absorb)). So runs on different
//! probes, or on different blocks of one network, can be fed from one call. [`lanczos`] drives one run, [`lockstep`]
//! several of equal dimension, one `apply` per step for all of them.

mod basis;
mod random_start;

pub(crate) use basis::Basis;
pub use random_start::{miss_probability, unseen_gap};

use rayon::prelude::*;

use crate::operator::LinearOperator;
use crate::reduce::norm2;
use crate::stop::Stop;
use crate::tridiagonal::Tridiagonal;

/// How often a new vector is orthogonalised against all earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reorthogonalize {
    /// Two passes of classical Gram–Schmidt at each step: orthogonal to a few ε whatever happens. Reads V three times.
    #[default]
    Twice,
    /// The three-term recurrence, one pass, and a second one only if the first took out more than it left, ‖w'‖ < ‖w‖/√2
    /// (Daniel, Gragg, Kaufman & Stewart 1976). Reads V twice; orthogonality is lost by a few ε more.
    WhenNeeded,
}

/// What a Lanczos run may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Steps at most; never more than n are made.
    pub steps: usize,
    /// Orthogonalisation.
    pub reorthogonalize: Reorthogonalize,
    /// The run stops with [`Stop::NotSymmetric`] if |v_iᵀ A v_j − v_jᵀ A v_i| exceeds this times the largest ‖A v‖ seen.
    ///
    /// The default, 1e-4, lets products in f32 pass (they err by 1e-7 to 1e-5) and catches an operator that is wrong.
    pub asymmetry: f64,
}

impl Options {
    /// At most `steps` steps, everything else as usual.
    pub fn steps(steps: usize) -> Self {
        Options { steps, reorthogonalize: Reorthogonalize::default(), asymmetry: ASYMMETRY }
    }
}

/// Default of [`Options::asymmetry`].
pub const ASYMMETRY: f64 = 1e-4;

/// β below this times ‖A‖ is rounding: 10 n ε, where n bounds how errors grow in sums of n terms. Summed in blocks they
/// grow far more slowly, so n stops counting at 1000; otherwise the small end of a large spectrum would be cut off.
pub fn invariant_tolerance(n: usize) -> f64 {
    10.0 * n.min(1000) as f64 * f64::EPSILON
}

/// Lanczos tridiagonalisation of a symmetric operator with full re-orthogonalisation.
///
/// After k steps A V = V T + β v eₖᵀ, V of shape (n, k), VᵀV = I to a few ε. The basis is kept as rows.
///
/// Cost: k products, 4 n k² flops (as matrix–vector products), n (k + 1) values of memory.
///
/// # Stops
/// `Invariant` when β ≤ 10 min(n, 1000) ε max ‖A v‖, or after n steps: the spectrum of T is then part of that of A; not
/// an error. The criterion is relative, so c A gives c T for any c > 0. `NonFinite` when a product (or the start) holds
/// NaN or infinity; `NotSymmetric` by [`Options::asymmetry`]. Both keep the steps made before. `MaxSteps` when the
/// allowed steps are made; such a run can be grown further.
/// # Sources
/// Lanczos 1950; Parlett, *The Symmetric Eigenvalue Problem*, ch. 13.
#[derive(Clone, Debug)]
pub struct Factorization {
    n: usize,
    /// The k finished rows and, unless the run ended for good, the next one.
    basis: Basis,
    alpha: Vec<f64>,
    /// β_1 .. β_k, the last one being the residual norm.
    beta: Vec<f64>,
    start_norm: f64,
    scale: f64,
    asymmetry: f64,
    products: usize,
    stop: Option<Stop>,
}

impl Factorization {
    /// Begins a run at `start` (of any length but zero; it is normalised).
    ///
    /// A zero start spans an invariant space of dimension 0: the run is over, `Invariant`, with no steps. A start with
    /// NaN or infinity ends it with `NonFinite`.
    pub fn new(start: &[f64]) -> Self {
        let n = start.len();
        let start_norm = norm2(start);
        let mut basis = Basis::new(n);
        let stop = if !start_norm.is_finite() {
            Some(Stop::NonFinite)
        } else if start_norm == 0.0 {
            Some(Stop::Invariant)
        } else {
            let mut v = start.to_vec();
            normalize(&mut v, start_norm);
            basis.push(&v);
            None
        };
        Factorization {
            n,
            basis,
            alpha: Vec::new(),
            beta: Vec::new(),
            start_norm,
            scale: 0.0,
            asymmetry: 0.0,
            products: 0,
            stop,
        }
    }

    /// The dimension n.
    pub fn dim(&self) -> usize {
        self.n
    }

    /// Steps made, k.
    pub fn steps(&self) -> usize {
        self.alpha.len()
    }

    /// T, of order k.
    pub fn tridiagonal(&self) -> Tridiagonal {
        Tridiagonal::new(self.alpha.clone(), self.beta[..self.steps().saturating_sub(1)].to_vec())
    }

    /// The residual norm β of the last step; 0 if the space is invariant or no step was made.
    pub fn beta(&self) -> f64 {
        self.beta.last().copied().unwrap_or(0.0)
    }

    /// The k basis vectors one after the other, (k, n).
    pub fn basis(&self) -> &[f64] {
        &self.basis.rows()[..self.steps() * self.n]
    }

    /// V y for y of length k: lifts an eigenvector of T to a Ritz vector.
    ///
    /// # Panics
    /// If `y.len()` is not the number of steps.
    #[track_caller]
    pub fn lift(&self, y: &[f64]) -> Vec<f64> {
        assert_eq!(y.len(), self.steps(), "coefficients for the basis of a Lanczos run");
        self.basis.combine(y)
    }

    /// ‖start‖; its square is the factor of the quadrature.
    pub fn start_norm(&self) -> f64 {
        self.start_norm
    }

    /// The largest ‖A v‖ seen: a lower bound of ‖A‖.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The largest |v_iᵀ A v_j − v_jᵀ A v_i| / scale measured.
    pub fn asymmetry(&self) -> f64 {
        self.asymmetry
    }

    /// Products used.
    pub fn products(&self) -> usize {
        self.products
    }

    /// Why the run ended for good; `None` while it can grow.
    pub fn ended(&self) -> Option<Stop> {
        self.stop
    }

    /// Why the run is where it is: as [`ended`](Self::ended), or `MaxSteps` if it could grow.
    pub fn stop(&self) -> Stop {
        self.stop.unwrap_or(Stop::MaxSteps)
    }

    /// max |VᵀV − I|, measured on all basis vectors. Cost: 2 n k² flops.
    pub fn orthogonality(&self) -> f64 {
        self.basis.orthogonality()
    }

    /// The vector whose product the next step needs; `None` when the run has ended.
    pub fn next(&self) -> Option<&[f64]> {
        if self.stop.is_some() { None } else { Some(self.basis.row(self.steps())) }
    }

    /// Takes in w = A v for v = [`next`](Self::next), and makes a step. `w` is used as scratch.
    ///
    /// # Panics
    /// If the run has ended or `w.len() != self.dim()`.
    #[track_caller]
    pub fn absorb(&mut self, w: &mut [f64], options: &Options) {
        assert!(self.stop.is_none(), "this Lanczos run has ended: {}", self.stop());
        assert_eq!(w.len(), self.n, "a product of a {}-dimensional operator", self.n);
        self.products += 1;
        let length = norm2(w);
        if !length.is_finite() {
            self.stop = Some(Stop::NonFinite);
            return;
        }
        self.scale = self.scale.max(length);
        let k = self.steps();
        let coefficients = match options.reorthogonalize {
            Reorthogonalize::Twice => self.basis.orthogonalize(1, w),
            Reorthogonalize::WhenNeeded => self.orthogonalize_when_needed(w),
        };
        // VᵀA V is symmetric: in exact arithmetic the coefficients are 0, …, 0, β_k, α_{k+1}.
        let expected = |i: usize| if i + 1 == k { self.beta() } else { 0.0 };
        let worst = (0..k).map(|i| (coefficients[i] - expected(i)).abs()).fold(0.0, f64::max);
        if worst > 0.0 {
            self.asymmetry = self.asymmetry.max(worst / self.scale);
        }
        if self.asymmetry > options.asymmetry {
            self.stop = Some(Stop::NotSymmetric);
            return;
        }
        let (alpha, beta) = (coefficients[k], norm2(w));
        if !(alpha.is_finite() && beta.is_finite()) {
            self.stop = Some(Stop::NonFinite);
            return;
        }
        self.alpha.push(alpha);
        if k + 1 == self.n || beta <= invariant_tolerance(self.n) * self.scale {
            self.beta.push(0.0);
            self.stop = Some(Stop::Invariant);
        } else {
            self.beta.push(beta);
            normalize(w, beta);
            if k == 0 {
                self.basis.reserve(options.steps.min(self.n) + 1);
            }
            self.basis.push(w);
        }
    }

    /// The three-term recurrence, one pass against everything, a second if the first took out much.
    fn orthogonalize_when_needed(&self, w: &mut [f64]) -> Vec<f64> {
        let k = self.steps();
        let (near, all) = (k.saturating_sub(1)..k + 1, 0..k + 1);
        let local = self.basis.orthogonalize_once(near.clone(), 1, w);
        let before = norm2(w);
        let mut total = self.basis.orthogonalize_once(all.clone(), 1, w);
        if norm2(w) < std::f64::consts::FRAC_1_SQRT_2 * before {
            for (t, h) in total.iter_mut().zip(self.basis.orthogonalize_once(all, 1, w)) {
                *t += h;
            }
        }
        for (t, h) in total[near].iter_mut().zip(local) {
            *t += h;
        }
        total
    }
}

/// v / length, safe for subnormal lengths whose reciprocal overflows.
fn normalize(v: &mut [f64], length: f64) {
    for x in v {
        *x /= length;
    }
}

/// Runs Lanczos from one start vector. See [`Factorization`].
///
/// ```
/// use eigenlens_linalg::{Stop, lanczos::{Options, lanczos}, operator::DenseOperator};
/// let a = DenseOperator::diagonal(&[1.0, 2.0, 2.0, 4.0]);
/// let run = lanczos(&a, &[1.0; 4], &Options::steps(10));
/// // Three distinct eigenvalues: the space is invariant after three steps, and vᵀ A v is the mean of the diagonal.
/// assert_eq!((run.stop(), run.steps()), (Stop::Invariant, 3));
/// assert!((run.quadrature().unwrap().integrate(|x| x) - 2.25).abs() < 1e-14);
/// ```
///
/// # Panics
/// If `start.len() != a.dim()`.
#[track_caller]
pub fn lanczos(a: &dyn LinearOperator, start: &[f64], options: &Options) -> Factorization {
    assert_eq!(start.len(), a.dim(), "start vector of a {}-dimensional operator", a.dim());
    let mut run = [Factorization::new(start)];
    grow(a, &mut run, options);
    let [run] = run;
    run
}

/// Runs Lanczos from several start vectors, stored one after the other, one `apply` per step for all that still run.
///
/// If the columns of a product do not depend on how many are asked for at once, each run has the same bits as alone.
///
/// # Panics
/// If `starts.len()` is not a multiple of `a.dim()`.
#[track_caller]
pub fn lockstep(a: &dyn LinearOperator, starts: &[f64], options: &Options) -> Vec<Factorization> {
    let n = a.dim();
    assert!(n > 0 && starts.len().is_multiple_of(n), "{} values as start vectors of length {n}", starts.len());
    let mut runs: Vec<Factorization> = starts.chunks_exact(n).map(Factorization::new).collect();
    grow(a, &mut runs, options);
    runs
}

/// Grows runs until each has ended or made `options.steps` steps in all; those that are done drop out.
///
/// # Panics
/// If a run has another dimension than the operator.
#[track_caller]
pub fn grow(a: &dyn LinearOperator, runs: &mut [Factorization], options: &Options) {
    let n = a.dim();
    for run in runs.iter() {
        assert_eq!(run.n, n, "a Lanczos run and its operator differ in dimension");
    }
    let (mut x, mut y) = (Vec::new(), Vec::new());
    loop {
        let mut active: Vec<&mut Factorization> = runs.iter_mut().filter(|r| r.steps() < options.steps).collect();
        active.retain(|r| r.stop.is_none());
        let k = active.len();
        if k == 0 {
            return;
        }
        x.clear();
        for run in &active {
            x.extend_from_slice(run.basis.row(run.steps()));
        }
        y.resize(k * n, 0.0);
        a.apply(k, &x, &mut y[..k * n]);
        if k == 1 {
            active[0].absorb(&mut y[..n], options);
        } else {
            active.par_iter_mut().zip(y.par_chunks_exact_mut(n)).for_each(|(run, w)| run.absorb(w, options));
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
