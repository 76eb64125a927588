//! Canonical correlation analysis with a ridge: which combination of one set of columns goes with which of another.
//!
//! Columns are standardised. With R the correlations and ridges rₓ, r_y added to the diagonals, the canonical
//! correlations are the singular values of (Rₓₓ + rₓ I)^{−½} Rₓᵧ (Rᵧᵧ + r_y I)^{−½}, the weights the singular vectors times
//! the inverse roots. Without ridges it is Hotelling's analysis; with them it exists for more columns than rows, too.
//!
//! # Sources
//! Hotelling (1936); Vinod, *Canonical ridge*, J. Econometrics 4 (1976); Rao, *Linear Statistical Inference*, §8c for F.

use eigenlens_linalg::dense::singular_values;
use rayon::prelude::*;

use super::correlation::pearson;
use super::distributions::f_tail;
use super::matrix::{combine, cross, gram, inverse_root, product, symmetric};
use super::resampling::p_value;
use super::table::{Scale, Table, take};
use super::{Groups, Unfit, at_least, same_rows};

/// A pair of canonical variates.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Canonical correlation of the ridged problem, between 0 and 1.
    pub correlation: f64,
    /// Weights of the standardised left columns.
    pub left_weights: Vec<f64>,
    /// Weights of the standardised right columns.
    pub right_weights: Vec<f64>,
    /// Loadings: the correlation of each left column with the left variate.
    pub left_loadings: Vec<f64>,
    /// The same on the right.
    pub right_loadings: Vec<f64>,
}

/// A fitted analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct Cca {
    /// The pairs, by correlation; as many as the narrower side has columns.
    pub pairs: Vec<Pair>,
    /// Wilks' Λ = Π (1 − ρ²).
    pub wilks: f64,
    /// Rao's F for Λ.
    pub f: f64,
    /// P(F ≥ f) for independent normal rows; none with a ridge, or with too few rows for it.
    pub f_p: Option<f64>,
    left: Vec<Scale>,
    right: Vec<Scale>,
}

/// How much is added to the diagonals of the correlation matrices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ridge {
    /// On the left.
    pub left: f64,
    /// On the right.
    pub right: f64,
}

/// What stays the same when outcomes change places: standardised columns and inverse roots.
struct Whitened {
    x: Vec<Vec<f64>>,
    y: Vec<Vec<f64>>,
    /// (Rₓₓ + rₓ I)^{−½}
    a: Vec<f64>,
    /// (Rᵧᵧ + r_y I)^{−½}
    b: Vec<f64>,
    scales: (Vec<Scale>, Vec<Scale>),
}

impl Whitened {
    fn new(left: &Table, right: &Table, ridge: Ridge) -> Result<Self, Unfit> {
        same_rows(left.rows(), right.rows())?;
        at_least("rows", left.rows(), 3)?;
        let scales = (left.scales()?, right.scales()?);
        let (x, y) = (left.standardised(&scales.0), right.standardised(&scales.1));
        let root = |z: &[Vec<f64>], ridge: f64, what| {
            let n = z.len();
            let mut r = gram(z);
            r.iter_mut().for_each(|v| *v /= (z[0].len() - 1) as f64);
            (0..n).for_each(|i| r[i * n + i] += ridge);
            inverse_root(n, &r, what)
        };
        let a = root(&x, ridge.left, "the correlation matrix on the left")?;
        let b = root(&y, ridge.right, "the correlation matrix on the right")?;
        Ok(Self { x, y, a, b, scales })
    }

    /// (Rₓₓ + rₓ I)^{−½} Rₓᵧ (Rᵧᵧ + r_y I)^{−½} with the right rows in another order.
    fn kernel(&self, order: Option<&[usize]>) -> Vec<f64> {
        let (p, q) = (self.x.len(), self.y.len());
        let moved: Vec<Vec<f64>>;
        let y = match order {
            Some(order) => {
                moved = self.y.iter().map(|c| take(c, order)).collect();
                &moved
            }
            None => &self.y,
        };
        let mut r = cross(&self.x, y);
        r.iter_mut().for_each(|v| *v /= (self.x[0].len() - 1) as f64);
        product(p, q, q, &product(p, p, q, &self.a, &r), &self.b)
    }
}

/// The analysis of two tables.
///
/// Cost: O(n (p² + q²) + (p + q)³).
///
/// # Errors
/// Different rows, fewer than three, a bad or constant column, correlation matrices that are singular without a larger
/// ridge.
pub fn fit(left: &Table, right: &Table, ridge: Ridge) -> Result<Cca, Unfit> {
    let whitened = Whitened::new(left, right, ridge)?;
    let (n, p, q) = (left.rows(), left.width(), right.width());
    let kernel = whitened.kernel(None);
    // Singular triplets as eigenpairs of [[0, K], [Kᵀ, 0]]: (u, v)/√2 with value σ, without squaring K.
    let order = p + q;
    let mut doubled = vec![0.0; order * order];
    for i in 0..p {
        for j in 0..q {
            (doubled[i * order + p + j], doubled[(p + j) * order + i]) = (kernel[i * q + j], kernel[i * q + j]);
        }
    }
    let e = symmetric(order, &doubled, "the matrix of cross-correlations")?;
    let mut pairs = Vec::new();
    for k in 0..p.min(q) {
        let at = order - 1 - k;
        let root2 = 2f64.sqrt();
        let vector: Vec<f64> = e.vector(at).iter().map(|x| x * root2).collect();
        let (mut a, mut b) = (product(p, p, 1, &whitened.a, &vector[..p]), product(q, q, 1, &whitened.b, &vector[p..]));
        // The sign is free: the largest weight on the right is positive.
        let largest = b.iter().copied().max_by(|x, y| x.abs().total_cmp(&y.abs())).unwrap_or(1.0);
        if largest < 0.0 {
            a.iter_mut().chain(&mut b).for_each(|x| *x = -*x);
        }
        let loadings = |table: &Table, z: &[Vec<f64>], weights: &[f64]| -> Result<Vec<f64>, Unfit> {
            let variate = combine(n, z, weights);
            let each = table.names().iter().zip(z);
            // A variate of weight zero (K = 0) goes with nothing.
            each.map(|(name, z)| Ok(pearson((name, z), ("canonical variate", &variate)).map_or(0.0, |c| c.r))).collect()
        };
        pairs.push(Pair {
            correlation: e.values[at].clamp(0.0, 1.0),
            left_loadings: loadings(left, &whitened.x, &a)?,
            right_loadings: loadings(right, &whitened.y, &b)?,
            left_weights: a,
            right_weights: b,
        });
    }
    let wilks = pairs.iter().map(|p| 1.0 - p.correlation * p.correlation).product();
    let (f, f_p) = rao(wilks, n, p, q);
    let plain = ridge == Ridge { left: 0.0, right: 0.0 };
    let (left, right) = whitened.scales;
    Ok(Cca { pairs, wilks, f, f_p: f_p.filter(|_| plain), left, right })
}

/// Rao's F for Wilks' Λ of p and q columns in n rows, and its tail.
fn rao(wilks: f64, n: usize, p: usize, q: usize) -> (f64, Option<f64>) {
    let (n, p, q) = (n as f64, p as f64, q as f64);
    let m = n - 1.0 - 0.5 * (p + q + 1.0);
    let squares = p * p + q * q - 5.0;
    let t = if squares > 0.0 { ((p * p * q * q - 4.0) / squares).sqrt() } else { 1.0 };
    let (nu1, nu2) = (p * q, m * t - 0.5 * p * q + 1.0);
    let root = wilks.powf(1.0 / t);
    let f = (1.0 - root) / root * nu2 / nu1;
    (f, (nu2 > 0.0).then(|| f_tail(f, nu1, nu2)))
}

impl Cca {
    /// The variates of pair `k` for other rows, standardised as the fitted ones were: (left, right).
    ///
    /// # Panics
    /// If the tables have other columns, or there is no such pair.
    pub fn variates(&self, k: usize, left: &Table, right: &Table) -> (Vec<f64>, Vec<f64>) {
        let pair = &self.pairs[k];
        (
            combine(left.rows(), &left.standardised(&self.left), &pair.left_weights),
            combine(right.rows(), &right.standardised(&self.right), &pair.right_weights),
        )
    }
}

/// p-values by permutation of whole data sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Permuted {
    /// Of Wilks' Λ: does anything on the left go with anything on the right?
    pub wilks_p: f64,
    /// Of the first canonical correlation.
    pub first_p: f64,
    /// Permutations drawn.
    pub count: usize,
}

/// How often permuted outcomes give as small a Λ, and as large a first correlation.
///
/// Cost: `count` times O(n p q + p q (p + q)), on all threads: the inverse roots stay the same.
///
/// # Errors
/// As [`fit`]; no two data sets of the same size.
pub fn permuted(
    left: &Table,
    right: &Table,
    ridge: Ridge,
    groups: &Groups,
    seed: u64,
    count: usize,
) -> Result<Permuted, Unfit> {
    same_rows(left.rows(), groups.rows())?;
    groups.exchangeable()?;
    let whitened = Whitened::new(left, right, ridge)?;
    let (p, q) = (left.width(), right.width());
    let statistics = |order: Option<&[usize]>| {
        let what = "the matrix of cross-correlations";
        let s = singular_values(p, q, &whitened.kernel(order)).map_err(|_| Unfit::Singular { what })?;
        // −log Λ: large values speak against the null hypothesis.
        Ok((-s.iter().map(|s| (1.0 - s * s).max(0.0).ln()).sum::<f64>(), s[0]))
    };
    let observed = statistics(None)?;
    let drawn: Vec<(f64, f64)> = (0..count as u64)
        .into_par_iter()
        .map(|i| statistics(Some(&groups.exchange(seed, i))))
        .collect::<Result<_, Unfit>>()?;
    let (wilks, first): (Vec<f64>, Vec<f64>) = drawn.into_iter().unzip();
    Ok(Permuted { wilks_p: p_value(observed.0, &wilks), first_p: p_value(observed.1, &first), count })
}

/// The first pair's variates of rows whose data set was held out when the analysis was fitted: (left, right), in the order
/// of the rows. Their correlation is what the canonical correlation is worth on a new data set.
///
/// Each fold's sign is that which agrees with the analysis of all rows.
///
/// # Errors
/// As [`fit`], in any fold; fewer than three data sets.
pub fn held_out(left: &Table, right: &Table, ridge: Ridge, groups: &Groups) -> Result<(Vec<f64>, Vec<f64>), Unfit> {
    same_rows(left.rows(), groups.rows())?;
    let whole = fit(left, right, ridge)?;
    let folds = groups.leave_one_out()?;
    let parts: Vec<(Vec<f64>, Vec<f64>)> = folds
        .par_iter()
        .map(|fold| {
            let part = fit(&left.select(&fold.train), &right.select(&fold.train), ridge)?;
            let (mut u, mut v) = part.variates(0, &left.select(&fold.test), &right.select(&fold.test));
            let agreement = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (new, old) = (&part.pairs[0], &whole.pairs[0]);
            let sum =
                agreement(&new.left_loadings, &old.left_loadings) + agreement(&new.right_loadings, &old.right_loadings);
            if sum < 0.0 {
                u.iter_mut().chain(&mut v).for_each(|x| *x = -*x);
            }
            Ok((u, v))
        })
        .collect::<Result<_, Unfit>>()?;
    let (mut u, mut v) = (vec![0.0; left.rows()], vec![0.0; left.rows()]);
    for (fold, (a, b)) in folds.iter().zip(&parts) {
        for (k, &row) in fold.test.iter().enumerate() {
            (u[row], v[row]) = (a[k], b[k]);
        }
    }
    Ok((u, v))
}
