//! How the gradient lies in the block of a layer: the curvature along it, and its share in the leading eigenspace.
//!
//! | key | formula |
//! |---|---|
//! | `gradient_quotient` | gᵀHg / gᵀg |
//! | `gradient_top_share` | ‖P_k g‖² / ‖g‖², P_k the projector on the eigenvectors of the k largest eigenvalues |
//! | `gradient_top_k` | k |
//!
//! g is the part's own piece of the gradient, penalty included, as H is. A share has a bound on its error from the residuals of
//! the pairs: |gᵀ(P − P̂)g| ≤ ‖P − P̂‖ ‖g‖², and ‖P − P̂‖ ≤ ‖R‖/δ with the residuals R and the gap δ below the k-th eigenvalue.
//! Where that bound is not below 1 — λ_k = λ_{k+1}, so that there is no such space — there is no share either.
//!
//! # Sources
//! Gur-Ari, Roberts & Dyer 2018, *Gradient descent happens in a tiny subspace* (the share). Davis & Kahan 1970; Parlett, *The
//! Symmetric Eigenvalue Problem*, theorem 11.7.1 (the bound).

use eigenlens_linalg::LinearOperator;
use eigenlens_linalg::eigs::Eigs;
use eigenlens_linalg::lanczos::invariant_tolerance;
use eigenlens_linalg::reduce::dot;

use crate::estimate::{Quantity, Uncertainty};
use crate::metrics::put;

/// The quantities of a gradient `g` in an operator; those of the leading space from `pairs`, the k + 1 largest (or all).
///
/// None for a gradient that vanishes. Cost: one product.
///
/// # Panics
/// If the lengths don't fit.
#[track_caller]
pub fn gradient_coupling(a: &dyn LinearOperator, g: &[f64], pairs: Option<&Eigs>, k: usize) -> Vec<Quantity> {
    let square = dot(g, g);
    let mut out = Vec::new();
    if square == 0.0 {
        return out;
    }
    let mut hg = vec![0.0; g.len()];
    a.apply(1, g, &mut hg);
    put(&mut out, "gradient_quotient", dot(g, &hg) / square, None);
    if let Some((share, bound)) = pairs.and_then(|p| top_share(p, g, k)) {
        put(&mut out, "gradient_top_share", share, Some(Uncertainty::Residual(bound)));
        put(&mut out, "gradient_top_k", k as f64, None);
    }
    out
}

/// ‖P_k g‖² / ‖g‖² and a bound on its error; `None` if that isn't below 1, or k + 1 pairs are not known.
fn top_share(pairs: &Eigs, g: &[f64], k: usize) -> Option<(f64, f64)> {
    let bound = space_error(pairs, k)?;
    let square = dot(g, g);
    let inside: f64 = (0..k).map(|i| dot(pairs.vector(i), g).powi(2)).sum();
    Some(((inside / square).min(1.0), bound))
}

/// ‖P_k − P̂_k‖ at most, P̂_k the projector on the first k of these pairs; `None` if that is not below 1, or there are not k + 1
/// pairs of a larger matrix.
///
/// # Sources
/// Davis & Kahan 1970 (the sin Θ theorem).
pub fn space_error(pairs: &Eigs, k: usize) -> Option<f64> {
    let count = pairs.values.len();
    let n = pairs.vectors.len() / count.max(1);
    if k == 0 || k >= n || k >= count {
        return None;
    }
    // What a product's rounding adds to every residual.
    let rounding = invariant_tolerance(n) * pairs.scale;
    let residual = (0..k).map(|i| (pairs.residuals[i] + rounding).powi(2)).sum::<f64>().sqrt();
    let gap = pairs.values[k - 1] - (pairs.values[k] + pairs.residuals[k] + rounding);
    (gap > residual).then(|| residual / gap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::get;
    use eigenlens_linalg::eigs::{End, Options, eigs};
    use eigenlens_linalg::operator::DenseOperator;

    /// Q diag(d) Qᵀ with a reflection Q = I − 2uuᵀ, and the columns of Q.
    fn reflected(d: &[f64]) -> (DenseOperator, Vec<Vec<f64>>) {
        let n = d.len();
        let u: Vec<f64> = (0..n).map(|i| ((i * i + 1) as f64).sqrt()).collect();
        let norm: f64 = u.iter().map(|x| x * x).sum();
        let q: Vec<Vec<f64>> =
            (0..n).map(|j| (0..n).map(|i| f64::from(u8::from(i == j)) - 2.0 * u[i] * u[j] / norm).collect()).collect();
        let entry = |i: usize, j: usize| (0..n).map(|k| d[k] * q[k][i] * q[k][j]).sum();
        (DenseOperator::new(n, (0..n * n).map(|k| entry(k / n, k % n)).collect()), q)
    }

    #[test]
    fn quotient_and_share_are_those_of_the_coefficients() {
        let d = [5.0, 3.0, 2.0, 0.5, 0.0, -1.0];
        let (a, q) = reflected(&d);
        let c = [0.3, -1.0, 2.0, 0.25, -0.5, 1.5];
        let g: Vec<f64> = (0..6).map(|i| (0..6).map(|k| c[k] * q[k][i]).sum()).collect();
        let square: f64 = c.iter().map(|x| x * x).sum();
        let quotient: f64 = c.iter().zip(d).map(|(c, d)| c * c * d).sum::<f64>() / square;
        for k in 1..6 {
            let pairs = eigs(&a, &Options::new(k + 1, End::Largest));
            let found = gradient_coupling(&a, &g, Some(&pairs), k);
            let value = |key| get(&found, key).unwrap().value;
            assert!((value("gradient_quotient") - quotient).abs() < 1e-14);
            let share = c[..k].iter().map(|x| x * x).sum::<f64>() / square;
            assert!((value("gradient_top_share") - share).abs() < 1e-13, "{k}");
            let bound = get(&found, "gradient_top_share").unwrap().uncertainty.unwrap().size();
            assert!(bound < 1e-11, "{bound:e}");
            assert_eq!(value("gradient_top_k"), k as f64);
        }
    }

    #[test]
    fn a_space_that_is_not_defined_has_no_share() {
        let (a, q) = reflected(&[4.0, 1.0, 1.0, 0.0]);
        let pairs = eigs(&a, &Options::new(4, End::Largest));
        assert!(space_error(&pairs, 1).is_some() && space_error(&pairs, 3).is_some());
        assert_eq!(space_error(&pairs, 2), None, "λ_2 = λ_3");
        assert_eq!((space_error(&pairs, 4), space_error(&pairs, 0)), (None, None));
        let found = gradient_coupling(&a, &q[0], Some(&pairs), 2);
        assert_eq!(found.len(), 1, "only the quotient");
        assert!(gradient_coupling(&a, &[0.0; 4], Some(&pairs), 1).is_empty());
    }

    #[test]
    fn the_bound_covers_vectors_that_are_off() {
        let d = [3.0, 2.0, 1.0, 0.0];
        let (a, q) = reflected(&d);
        // The second vector turned towards the third by an angle t: the residual is |sin t cos t| (λ_2 − λ_3).
        for t in [1e-6_f64, 1e-3, 0.1] {
            let turned: Vec<f64> = (0..4).map(|i| t.cos() * q[1][i] + t.sin() * q[2][i]).collect();
            let mut found = eigs(&a, &Options::new(3, End::Largest));
            found.vectors[4..8].copy_from_slice(&turned);
            found.values[1] = 2.0 * t.cos().powi(2) + t.sin().powi(2);
            found.residuals[1] = t.sin() * t.cos();
            let (share, bound) = top_share(&found, &q[2], 2).unwrap();
            assert!(share <= bound && share >= 0.5 * t * t, "{t}: {share:e} and {bound:e}");
        }
    }
}
