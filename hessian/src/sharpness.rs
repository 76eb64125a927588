//! The largest eigenvalue of the whole Hessian, as it is or as an optimiser with its own metric sees it.
//!
//! A step θ ← θ − η P⁻¹g on a quadratic with Hessian H is stable where λ_max(P⁻¹H) = λ_max(P^{-½} H P^{-½}) is below a bound that
//! the rule and η alone decide (`Optimizer::stability_bound` of `nets`). Full-batch training tends to rise to that bound and
//! stay there, the edge of stability.
//!
//! # Sources
//! Cohen et al. 2021, *Gradient descent on neural networks typically occurs at the edge of stability*; Cohen et al. 2022,
//! *Adaptive gradient methods at the edge of stability*, arXiv 2207.14484 (the preconditioned sharpness).

use std::sync::Mutex;

use eigenlens_linalg::eigs::{End, Options, eigs};
use eigenlens_linalg::{LinearOperator, Real, Stop};
use eigenlens_nets::Objective;
use eigenlens_nets::objective::Kind;

use crate::estimate::{Quantity, Uncertainty};
use crate::operator::Block;

/// S (A + D) S for diagonal S and D.
pub struct Scaled<'a> {
    a: &'a dyn LinearOperator,
    scale: Vec<f64>,
    shift: Vec<f64>,
    buffer: Mutex<Vec<f64>>,
}

impl<'a> Scaled<'a> {
    /// S and D by their diagonals.
    ///
    /// # Panics
    /// If the lengths don't fit.
    #[track_caller]
    pub fn new(a: &'a dyn LinearOperator, scale: Vec<f64>, shift: Vec<f64>) -> Self {
        assert_eq!((scale.len(), shift.len()), (a.dim(), a.dim()), "diagonals of the operator's dimension");
        Scaled { a, scale, shift, buffer: Mutex::default() }
    }
}

impl LinearOperator for Scaled<'_> {
    fn dim(&self) -> usize {
        self.a.dim()
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        let mut buffer = self.buffer.lock().expect("no product panicked");
        buffer.clear();
        buffer.extend(x.iter().zip(self.scale.iter().cycle()).map(|(x, s)| x * s));
        self.a.apply(k, &buffer, y);
        let diagonals = self.scale.iter().zip(&self.shift).cycle();
        for ((y, x), (s, d)) in y.iter_mut().zip(&*buffer).zip(diagonals) {
            *y = s * (*y + d * x);
        }
    }

    fn lanes(&self) -> usize {
        self.a.lanes()
    }
}

/// λ_max of P^{-½}(H + D)P^{-½} with its residual: `p` the diagonal of P (all 1 if `None`), `decay` that of D, the weight decay
/// that an optimiser adds to the gradient. Under the name `sharpness`, or `sharpness_preconditioned`.
///
/// `None` where the search finds nothing finite. Cost: about 30 to 150 products with the whole Hessian; residuals of 10⁻⁶ λ.
///
/// # Panics
/// If nothing was linearized with second order, or the lengths don't fit.
#[track_caller]
pub fn sharpness<T: Real>(
    objective: &Objective<'_, T>,
    p: Option<&[f64]>,
    decay: &[f64],
    seed: u64,
) -> Option<Quantity> {
    let whole = Block::full(objective, Kind::Hessian);
    let scale = match p {
        Some(p) => p.iter().map(|p| p.sqrt().recip()).collect(),
        None => vec![1.0; whole.dim()],
    };
    let seen = Scaled::new(&whole, scale, decay.to_vec());
    let tol = 1e-6_f64.max(100.0 * T::EPSILON.to_f64());
    let found = eigs(&seen, &Options { tol, seed, ..Options::new(1, End::Largest) });
    if matches!(found.stop, Stop::NonFinite | Stop::NotSymmetric) {
        return None;
    }
    let (&value, &residual) = found.values.first().zip(found.residuals.first())?;
    let name = if p.is_some() { "sharpness_preconditioned" } else { "sharpness" };
    Some(Quantity { name, value, uncertainty: Some(Uncertainty::Residual(residual)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Case, cases, linearized};
    use eigenlens_linalg::dense;
    use eigenlens_linalg::operator::to_dense;

    #[test]
    fn sharpness_is_the_top_of_the_dense_matrix() {
        for Case { name, model, samples } in cases() {
            let objective = linearized(&model, &samples);
            let n = model.len();
            let h = to_dense(&Block::full(&objective, Kind::Hessian));
            let p: Vec<f64> = (0..n).map(|i| 0.01 + (i % 7) as f64 / 5.0).collect();
            let decay: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i % 3 == 0)) * 0.1).collect();
            let none = vec![0.0; n];
            for (p, decay) in [(None, &none), (None, &decay), (Some(&p[..]), &decay)] {
                let root = |i: usize| p.map_or(1.0, |p| p[i].sqrt());
                let entry = |k: usize| {
                    let (i, j) = (k / n, k % n);
                    (h[k] + if i == j { decay[i] } else { 0.0 }) / (root(i) * root(j))
                };
                let want = dense::eigenvalues(n, &(0..n * n).map(entry).collect::<Vec<_>>()).unwrap();
                let found = sharpness(&objective, p, decay, 1).unwrap();
                let (want, bound) = (want[n - 1], found.uncertainty.unwrap().size());
                assert!((found.value - want).abs() <= bound + 1e-12 * want, "{name}: {} and {want}", found.value);
                assert_eq!(found.name == "sharpness", p.is_none());
            }
        }
    }
}
