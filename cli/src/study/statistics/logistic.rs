//! Logistic regression with a quadratic penalty, by Newton's method.

use rayon::prelude::*;

use super::groups::Fold;
use super::matrix::{Cholesky, combine};
use super::table::{Scale, Table};
use super::{Groups, Unfit, same_rows};
use eigenlens_linalg::reduce::{dot, norm2};

/// Newton steps at most; a penalised problem takes about ten.
const STEPS: usize = 100;
/// Halvings of a step at most.
const HALVINGS: usize = 40;
/// Gradient, relative to what it is at zero weights, below which a fit has converged.
const CONVERGED: f64 = 1e-12;

/// A fitted model: P(yes) = 1/(1 + exp(−(intercept + Σ weights · z))), z the standardised columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    /// The intercept, which is not penalised.
    pub intercept: f64,
    /// Weights of the standardised columns.
    pub weights: Vec<f64>,
    /// Means and deviations of the columns.
    pub scales: Vec<Scale>,
}

/// How rows count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// All the same.
    Rows,
    /// Both classes the same in sum, n/(2 n_class) each, so that a probability of ½ is where evidence is even.
    Classes,
}

/// Minimises ½ α ‖w‖² + Σ c_i log(1 + exp(−s_i η_i)), η = intercept + Zw, s = ±1, c the weights of the rows.
///
/// Cost: O(n p² + p³) a step.
///
/// # Errors
/// Different lengths, values that are not finite, constant columns, only one class; no convergence.
/// # Panics
/// If α is not positive: separable classes would have no finite solution.
/// # Sources
/// McCullagh & Nelder, *Generalized Linear Models*, §4.4.
#[track_caller]
pub fn fit(table: &Table, y: &[bool], alpha: f64, weighting: Weighting) -> Result<Logistic, Unfit> {
    assert!(alpha > 0.0, "a penalty of {alpha}");
    same_rows(table.rows(), y.len())?;
    let yes = y.iter().filter(|y| **y).count();
    let n = y.len();
    if yes == 0 || yes == n {
        return Err(Unfit::Classes);
    }
    let scales = table.scales()?;
    let z = table.standardised(&scales);
    let count = |y: bool| match weighting {
        Weighting::Rows => 1.0,
        Weighting::Classes => n as f64 / (2.0 * if y { yes } else { n - yes } as f64),
    };
    let counts: Vec<f64> = y.iter().map(|&y| count(y)).collect();
    let problem = Problem { z: &z, y, counts: &counts, alpha };
    let mut w = vec![0.0; z.len() + 1];
    let start = norm2(&problem.gradient(&w).0);
    for _ in 0..STEPS {
        let (gradient, curvature) = problem.gradient(&w);
        if norm2(&gradient) <= CONVERGED * start.max(f64::MIN_POSITIVE) {
            return Ok(Logistic { intercept: w[0], weights: w[1..].to_vec(), scales });
        }
        let step = problem.hessian(&curvature)?.solve(&gradient);
        let before = problem.value(&w);
        let decrease = dot(&gradient, &step);
        let mut size = 1.0;
        for _ in 0..HALVINGS {
            let next: Vec<f64> = w.iter().zip(&step).map(|(w, s)| w - size * s).collect();
            // Near the end the decrease is below rounding: any step that does not rise visibly is taken.
            if problem.value(&next) <= before - 1e-4 * size * decrease + 1e-14 * before.abs() {
                w = next;
                break;
            }
            size *= 0.5;
        }
    }
    // Rounding may stop the gradient just above the threshold.
    let last = norm2(&problem.gradient(&w).0);
    if last <= 1e3 * CONVERGED * start {
        return Ok(Logistic { intercept: w[0], weights: w[1..].to_vec(), scales });
    }
    Err(Unfit::NoConvergence { what: "logistic regression", steps: STEPS })
}

struct Problem<'a> {
    z: &'a [Vec<f64>],
    y: &'a [bool],
    counts: &'a [f64],
    alpha: f64,
}

impl Problem<'_> {
    fn eta(&self, w: &[f64]) -> Vec<f64> {
        combine(self.y.len(), self.z, &w[1..]).into_iter().map(|x| x + w[0]).collect()
    }

    fn value(&self, w: &[f64]) -> f64 {
        let each = self.eta(w).into_iter().zip(self.y).zip(self.counts);
        let loss: f64 = each.map(|((e, &y), c)| c * softplus(if y { -e } else { e })).sum();
        loss + 0.5 * self.alpha * dot(&w[1..], &w[1..])
    }

    /// The gradient (intercept first) and the curvature c p (1 − p) of every row.
    fn gradient(&self, w: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let p: Vec<f64> = self.eta(w).into_iter().map(sigmoid).collect();
        let rest: Vec<f64> =
            p.iter().zip(self.y).zip(self.counts).map(|((p, &y), c)| c * (p - f64::from(u8::from(y)))).collect();
        let curvature = p.iter().zip(self.counts).map(|(p, c)| c * p * (1.0 - p)).collect();
        let mut gradient = vec![rest.iter().sum()];
        gradient.extend(self.z.iter().zip(&w[1..]).map(|(z, w)| dot(z, &rest) + self.alpha * w));
        (gradient, curvature)
    }

    fn hessian(&self, curvature: &[f64]) -> Result<Cholesky, Unfit> {
        let n = self.z.len() + 1;
        let scaled = |j: usize| -> Vec<f64> {
            if j == 0 { curvature.to_vec() } else { self.z[j - 1].iter().zip(curvature).map(|(z, c)| z * c).collect() }
        };
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            let row = scaled(i);
            for j in 0..=i {
                a[i * n + j] = if j == 0 { row.iter().sum() } else { dot(&row, &self.z[j - 1]) };
            }
            a[i * n + i] += if i == 0 { 0.0 } else { self.alpha };
        }
        Cholesky::new(n, &a, "the Hessian of logistic regression")
    }
}

impl Logistic {
    /// P(yes) of every row.
    ///
    /// # Panics
    /// If the table has another number of columns.
    pub fn probabilities(&self, table: &Table) -> Vec<f64> {
        let z = table.standardised(&self.scales);
        combine(table.rows(), &z, &self.weights).into_iter().map(|x| sigmoid(x + self.intercept)).collect()
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// log(1 + eˣ) without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// P(yes) of rows whose data set was held out when the model was fitted, classes weighted evenly.
///
/// A fold whose other data sets hold one class only predicts that class with the rate ½ ± ½.
///
/// # Errors
/// As [`fit`] but for one class in a fold; fewer than three data sets.
pub fn held_out(table: &Table, y: &[bool], alpha: f64, groups: &Groups) -> Result<Vec<f64>, Unfit> {
    same_rows(table.rows(), groups.rows())?;
    let predict = |fold: &Fold| {
        let (varying, _) = table.without_constants(&fold.train);
        let truth: Vec<bool> = fold.train.iter().map(|&i| y[i]).collect();
        match fit(&varying.select(&fold.train), &truth, alpha, Weighting::Classes) {
            Ok(model) => Ok(model.probabilities(&varying.select(&fold.test))),
            Err(Unfit::Classes) => Ok(vec![f64::from(u8::from(truth[0])); fold.test.len()]),
            Err(other) => Err(other),
        }
    };
    let folds = groups.leave_one_out()?;
    let parts: Vec<Vec<f64>> = folds.par_iter().map(predict).collect::<Result<_, Unfit>>()?;
    let mut out = vec![0.0; y.len()];
    for (fold, values) in folds.iter().zip(parts) {
        fold.test.iter().zip(values).for_each(|(&row, value)| out[row] = value);
    }
    Ok(out)
}
