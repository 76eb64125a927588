//! A linear model with a random intercept per data set, by restricted maximum likelihood.
//!
//! y = X β + b_{g} + e, b ~ N(0, τ²), e ~ N(0, σ²). With δ = τ²/σ² the covariance of a data set of n_g rows is
//! σ² (I + δ 1 1ᵀ), whose inverse is I − δ/(1 + n_g δ) 1 1ᵀ and whose determinant is 1 + n_g δ. Given δ, β is the
//! generalised least squares solution and σ² = (y − Xβ)ᵀ V⁻¹ (y − Xβ)/(n − p): one number is left to search for.
//!
//! # Sources
//! Patterson & Thompson (1971); Searle, Casella & McCulloch, *Variance Components*, §6.6.

use eigenlens_linalg::reduce::dot;

use super::distributions::normal_two_sided;
use super::matrix::Cholesky;
use super::table::Table;
use super::{Groups, Unfit, at_least, finite, same_rows};

/// Ratios δ among which the search begins: powers of ten from the first to the second, four per decade.
const DECADES: (i32, i32) = (-6, 6);
/// Bisections of a bracket of log δ: more than bits in a number.
const BISECTIONS: usize = 60;

/// A coefficient.
#[derive(Clone, Debug, PartialEq)]
pub struct Coefficient {
    /// Name of the column, `intercept` for the first.
    pub name: String,
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// P(|Z| ≥ |value/error|): for many data sets; with few it is too small.
    pub p: f64,
}

/// A fitted model.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// The intercept, then a coefficient per column.
    pub coefficients: Vec<Coefficient>,
    /// σ²: variance within data sets.
    pub residual: f64,
    /// τ²: variance between them. 0 if the likelihood falls from there on.
    pub between: f64,
    /// Restricted log-likelihood.
    pub log_likelihood: f64,
}

impl Mixed {
    /// Share of the variance that is between data sets: τ²/(τ² + σ²).
    pub fn intraclass(&self) -> f64 {
        self.between / (self.between + self.residual)
    }
}

/// Everything at one δ.
struct At {
    beta: Vec<f64>,
    /// (XᵀV⁻¹X)⁻¹, row-major.
    covariance: Vec<f64>,
    sigma2: f64,
    /// −2 × restricted log-likelihood.
    deviance: f64,
    /// Its derivative with respect to δ.
    slope: f64,
}

struct Problem<'a> {
    columns: Vec<&'a [f64]>,
    y: &'a [f64],
    groups: &'a Groups,
    /// Sums of each column by data set, then those of y.
    sums: Vec<Vec<f64>>,
    /// Products of all pairs of columns, y the last.
    products: Vec<f64>,
}

impl Problem<'_> {
    /// aᵀ V⁻¹ b of two columns (the last is y) at δ.
    fn weighted(&self, i: usize, j: usize, delta: f64) -> f64 {
        let width = self.sums.len();
        let taken: f64 = self
            .groups
            .members()
            .iter()
            .enumerate()
            .map(|(g, m)| delta / (1.0 + m.len() as f64 * delta) * self.sums[i][g] * self.sums[j][g])
            .sum();
        self.products[i * width + j] - taken
    }

    fn at(&self, delta: f64) -> Result<At, Unfit> {
        let p = self.columns.len();
        let mut normal = vec![0.0; p * p];
        for i in 0..p {
            for j in 0..p {
                normal[i * p + j] = self.weighted(i.max(j), i.min(j), delta);
            }
        }
        let right: Vec<f64> = (0..p).map(|i| self.weighted(i, p, delta)).collect();
        let factor = Cholesky::new(p, &normal, "the matrix of regressors")?;
        let beta = factor.solve(&right);
        let covariance = factor.inverse();
        // The residual itself, as the difference of squares would cancel.
        let mut r = self.y.to_vec();
        self.columns.iter().zip(&beta).for_each(|(c, b)| c.iter().zip(&mut r).for_each(|(c, r)| *r -= b * c));
        let freedom = (self.y.len() - p) as f64;
        let (mut quadratic, mut spread, mut logs, mut trace) = (dot(&r, &r), 0.0, 0.0, 0.0);
        for (g, members) in self.groups.members().iter().enumerate() {
            let n = members.len() as f64;
            let shrink = 1.0 + n * delta;
            let sum: f64 = members.iter().map(|&i| r[i]).sum();
            quadratic -= delta / shrink * sum * sum;
            spread += (sum / shrink).powi(2);
            logs += shrink.ln();
            // 1ᵀ P 1 of the data set: 1ᵀV⁻¹1 − (XᵀV⁻¹1)ᵀ (XᵀV⁻¹X)⁻¹ (XᵀV⁻¹1).
            let s: Vec<f64> = (0..p).map(|i| self.sums[i][g] / shrink).collect();
            let inner: f64 = (0..p).map(|i| s[i] * dot(&covariance[i * p..(i + 1) * p], &s)).sum();
            trace += n / shrink - inner;
        }
        let sigma2 = quadratic / freedom;
        let constant = 1.0 + (2.0 * std::f64::consts::PI).ln();
        let deviance = freedom * (sigma2.ln() + constant) + logs + factor.log_determinant();
        Ok(At { beta, covariance, sigma2, deviance, slope: trace - freedom * spread / quadratic })
    }
}

/// Fits y on an intercept and the columns, with a random intercept per data set.
///
/// The search: the restricted likelihood on a grid of log δ and at δ = 0, then the zero of its derivative between the
/// neighbours of the best point, by bisection.
///
/// Cost: about 110 evaluations of O(n p + groups p²) each.
///
/// # Errors
/// Different lengths, values that are not finite, constant or dependent columns, fewer rows than columns + 3, fewer than
/// two data sets, none of which has two rows.
pub fn fit(table: &Table, y: (&str, &[f64]), groups: &Groups) -> Result<Mixed, Unfit> {
    let n = y.1.len();
    finite(y.0, y.1)?;
    same_rows(n, groups.rows())?;
    at_least("rows", n, table.width() + 3)?;
    at_least("data sets", groups.count(), 2)?;
    at_least("rows of the largest data set", groups.members().iter().map(Vec::len).max().unwrap_or(0), 2)?;
    if table.width() > 0 {
        same_rows(n, table.rows())?;
        table.scales()?;
    }
    super::matrix::Basis::with_constant(n, table.names(), table.columns())?;
    let one = vec![1.0; n];
    let columns: Vec<&[f64]> =
        std::iter::once(one.as_slice()).chain(table.columns().iter().map(Vec::as_slice)).collect();
    let with_y: Vec<&[f64]> = columns.iter().copied().chain([y.1]).collect();
    let by_set = |c: &&[f64]| groups.members().iter().map(|m| m.iter().map(|&i| c[i]).sum()).collect();
    let problem = Problem {
        sums: with_y.iter().map(by_set).collect(),
        products: with_y.iter().flat_map(|a| with_y.iter().map(|b| dot(a, b))).collect(),
        columns,
        y: y.1,
        groups,
    };
    let delta = search(&problem)?;
    let best = problem.at(delta)?;
    let names = std::iter::once("intercept").chain(table.names().iter().map(String::as_str));
    let p = best.beta.len();
    let coefficients = names.enumerate().map(|(i, name)| {
        let error = (best.sigma2 * best.covariance[i * p + i]).sqrt();
        Coefficient { name: name.to_owned(), value: best.beta[i], error, p: normal_two_sided(best.beta[i] / error) }
    });
    Ok(Mixed {
        coefficients: coefficients.collect(),
        residual: best.sigma2,
        between: delta * best.sigma2,
        log_likelihood: -0.5 * best.deviance,
    })
}

/// The δ with the largest restricted likelihood.
fn search(problem: &Problem) -> Result<f64, Unfit> {
    let grid: Vec<f64> = (4 * DECADES.0..=4 * DECADES.1).map(|k| 10f64.powf(0.25 * f64::from(k))).collect();
    let mut best = (problem.at(0.0)?.deviance, 0.0, (0.0, grid[0]));
    for (k, &delta) in grid.iter().enumerate() {
        let deviance = problem.at(delta)?.deviance;
        if deviance < best.0 {
            let low = if k == 0 { 0.0 } else { grid[k - 1] };
            best = (deviance, delta, (low, grid[(k + 1).min(grid.len() - 1)]));
        }
    }
    let (_, start, (mut low, mut high)) = best;
    if start == 0.0 && problem.at(0.0)?.slope >= 0.0 {
        return Ok(0.0);
    }
    // The deviance falls at the lower end and rises at the upper; bisection on it, in logarithms where that is possible.
    for _ in 0..BISECTIONS {
        let middle = if low > 0.0 { (low * high).sqrt() } else { 0.5 * high };
        if problem.at(middle)?.slope < 0.0 { low = middle } else { high = middle }
    }
    Ok(high)
}
