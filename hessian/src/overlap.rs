//! How far the space of the leading eigenvectors moved from one point to another.
//!
//! The overlap of two spaces of dimension k with projectors P and Q is (1/k) tr(PQ) = (1/k) Σ_{i,j} (v_iᵀu_j)²: 1 for the same
//! space, 0 for orthogonal ones, k/p on average for random ones.
//!
//! # Sources
//! Gur-Ari, Roberts & Dyer 2018, *Gradient descent happens in a tiny subspace*, §3; Davis & Kahan 1970 (the error).

use eigenlens_linalg::{Par, View, Write, gemm};

use crate::estimate::{Quantity, Uncertainty};

/// A space of orthonormal vectors, with ‖P − P̂‖ at most.
#[derive(Clone, Debug, PartialEq)]
pub struct Subspace {
    /// k.
    pub count: usize,
    /// The vectors one after the other, (k, p).
    pub vectors: Vec<f64>,
    /// Bound of [`space_error`](crate::gradient_coupling::space_error).
    pub error: f64,
}

/// `top_overlap` of two spaces, with a bound on its error: |tr PQ − tr P̂Q̂| ≤ k (‖P − P̂‖ + ‖Q − Q̂‖). `None` where the spaces have
/// other dimensions, or that bound is not below 1.
///
/// # Panics
/// If the vectors are not of the same length.
#[track_caller]
pub fn overlap(a: &Subspace, b: &Subspace) -> Option<Quantity> {
    let k = a.count;
    if k == 0 || k != b.count || a.error + b.error >= 1.0 {
        return None;
    }
    assert_eq!(a.vectors.len(), b.vectors.len(), "vectors of the same length");
    let p = a.vectors.len() / k;
    let mut products = vec![0.0; k * k];
    let (left, right) = (View::new(&a.vectors, k, p), View::new(&b.vectors, k, p));
    gemm(&mut products, Write::Set, 1.0, left, right.t(), Par::Seq);
    let value = (products.iter().map(|x| x * x).sum::<f64>() / k as f64).min(1.0);
    Some(Quantity { name: "top_overlap", value, uncertainty: Some(Uncertainty::Residual(a.error + b.error)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use eigenlens_linalg::probes::Distribution;
    use eigenlens_linalg::reduce::{axpy, dot};

    /// The first k vectors of a random basis, by Gram–Schmidt.
    fn basis(seed: u64, k: usize, p: usize) -> Vec<f64> {
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for i in 0..k {
            let mut v = Distribution::Gaussian.probe(seed, i as u64, p);
            for _ in 0..2 {
                rows.iter().for_each(|u| axpy(-dot(u, &v), u, &mut v));
            }
            let norm = dot(&v, &v).sqrt();
            v.iter_mut().for_each(|x| *x /= norm);
            rows.push(v);
        }
        rows.concat()
    }

    fn space(vectors: Vec<f64>, count: usize) -> Subspace {
        Subspace { count, vectors, error: 1e-9 }
    }

    fn value(a: &Subspace, b: &Subspace) -> f64 {
        overlap(a, b).unwrap().value
    }

    #[test]
    fn a_space_is_itself_whatever_its_basis() {
        let (p, k) = (11, 3);
        let vectors = basis(1, k, p);
        // Another basis of the same space: a rotation of the first two, the third reversed.
        let (c, s) = (0.6, 0.8);
        let (u, v, w) = (&vectors[..p], &vectors[p..2 * p], &vectors[2 * p..]);
        let turned: Vec<f64> = (0..p)
            .map(|i| c * u[i] + s * v[i])
            .chain((0..p).map(|i| c * v[i] - s * u[i]))
            .chain(w.iter().map(|x| -x))
            .collect();
        assert!((value(&space(vectors.clone(), k), &space(turned, k)) - 1.0).abs() < 1e-14);
        let other = basis(1, 2 * k, p)[k * p..].to_vec();
        assert!(value(&space(vectors, k), &space(other, k)) < 1e-28, "orthogonal");
    }

    #[test]
    fn angles_and_random_spaces() {
        let unit = |t: f64| space(vec![t.cos(), t.sin()], 1);
        assert!((value(&unit(0.2), &unit(0.9)) - 0.7_f64.cos().powi(2)).abs() < 1e-15);
        // E = k/p.
        let (k, p) = (4, 40);
        let mean =
            (0..200).map(|i| value(&space(basis(3, k, p), k), &space(basis(100 + i, k, p), k))).sum::<f64>() / 200.0;
        assert!((mean - 0.1).abs() < 0.01, "{mean}");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let a = space(basis(1, 2, 5), 2);
        assert_eq!(overlap(&a, &space(basis(1, 3, 5), 3)), None);
        assert_eq!(overlap(&a, &Subspace { error: 1.0, ..a.clone() }), None);
        assert_eq!(overlap(&a, &a).unwrap().uncertainty, Some(Uncertainty::Residual(2e-9)));
    }
}
