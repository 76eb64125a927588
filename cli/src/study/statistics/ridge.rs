//! Ridge regression, held out by data set.
//!
//! The decomposition of the regressors does not depend on the outcome: a [`Plan`] holds it for every fold, and fitting many
//! outcomes (permuted ones, say) to the same regressors costs little more than one.

use rayon::prelude::*;

use super::groups::Fold;
use super::matrix::{combine, gram, symmetric};
use super::table::{Scale, Table, take};
use super::{Groups, Unfit, finite, same_rows};
use eigenlens_linalg::reduce::{axpy, dot, sum};

/// The penalties among which a fold's inner folds choose, per row: α = penalty × rows.
pub const PENALTIES: [f64; 9] = [1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0];
/// Inner folds that choose the penalty, of whole data sets.
const INNER: usize = 5;

/// Standardised regressors, decomposed.
#[derive(Clone, Debug)]
struct Decomposed {
    scales: Vec<Scale>,
    z: Vec<Vec<f64>>,
    /// ZᵀZ = Q Λ Qᵀ.
    values: Vec<f64>,
    vectors: Vec<f64>,
    rows: usize,
}

impl Decomposed {
    fn new(table: &Table) -> Result<Self, Unfit> {
        let scales = table.scales()?;
        let z = table.standardised(&scales);
        let e = symmetric(z.len(), &gram(&z), "the matrix of regressors")?;
        let values = e.values.iter().map(|x| x.max(0.0)).collect();
        Ok(Self { scales, values, vectors: e.vectors, rows: table.rows(), z })
    }

    /// Mean of y and the weights of the standardised columns: min ‖y − ȳ − Zw‖² + α‖w‖².
    fn solve(&self, y: &[f64], alpha: f64) -> (f64, Vec<f64>) {
        let mean = sum(y) / y.len() as f64;
        let centred: Vec<f64> = y.iter().map(|y| y - mean).collect();
        let right: Vec<f64> = self.z.iter().map(|z| dot(z, &centred)).collect();
        let p = self.z.len();
        let mut weights = vec![0.0; p];
        for (value, q) in self.values.iter().zip(self.vectors.chunks_exact(p)) {
            axpy(dot(q, &right) / (value + alpha), q, &mut weights);
        }
        (mean, weights)
    }

    fn predict(&self, fitted: &(f64, Vec<f64>), table: &Table) -> Vec<f64> {
        let z = table.standardised(&self.scales);
        combine(table.rows(), &z, &fitted.1).into_iter().map(|x| x + fitted.0).collect()
    }
}

/// A fitted regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Prediction where every column is at its mean.
    pub intercept: f64,
    /// Weights of the standardised columns.
    pub weights: Vec<f64>,
}

/// Fits y on standardised columns: min ‖y − ȳ − Zw‖² + α‖w‖², the intercept free.
///
/// # Errors
/// Different lengths, values that are not finite, constant columns.
/// # Sources
/// Hoerl & Kennard (1970).
pub fn fit(table: &Table, y: (&str, &[f64]), alpha: f64) -> Result<Fitted, Unfit> {
    finite(y.0, y.1)?;
    same_rows(table.rows(), y.1.len())?;
    let (intercept, weights) = Decomposed::new(table)?.solve(y.1, alpha);
    Ok(Fitted { intercept, weights })
}

/// A fold with the columns that vary in it.
#[derive(Clone, Debug)]
struct Part {
    fold: Fold,
    decomposed: Decomposed,
    /// The held-out rows.
    test: Table,
}

impl Part {
    fn new(table: &Table, fold: Fold) -> Result<Self, Unfit> {
        // What is constant in the training rows can't be weighed there.
        let (varying, _) = table.without_constants(&fold.train);
        let decomposed = Decomposed::new(&varying.select(&fold.train))?;
        Ok(Self { decomposed, test: varying.select(&fold.test), fold })
    }
}

/// Everything that predicting held-out data sets needs and that doesn't depend on the outcome.
#[derive(Clone, Debug)]
pub struct Plan {
    outer: Vec<(Part, Vec<Part>)>,
    rows: usize,
}

/// What was predicted for rows whose data set was held out.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// The predictions, in the order of the rows.
    pub predicted: Vec<f64>,
    /// The mean outcome of the other data sets: the least that a prediction has to beat.
    pub mean: Vec<f64>,
    /// The penalty per row that each fold chose.
    pub penalties: Vec<f64>,
}

impl Plan {
    /// Decomposes every fold of leaving one data set out, and five folds inside of each that choose its penalty.
    ///
    /// Cost: 6 × data sets decompositions of O(n p² + p³), on all threads.
    ///
    /// # Errors
    /// Values that are not finite, fewer than four data sets, a fold in which no column varies.
    pub fn new(table: &Table, groups: &Groups) -> Result<Self, Unfit> {
        same_rows(table.rows(), groups.rows())?;
        super::at_least("data sets", groups.count(), 4)?;
        table.names().iter().zip(table.columns()).try_for_each(|(n, c)| finite(n, c))?;
        let outer = groups
            .leave_one_out()?
            .into_par_iter()
            .map(|fold| {
                let train = table.select(&fold.train);
                let inner = groups.select(&fold.train).folds(INNER)?;
                let inner = inner.into_iter().map(|f| Part::new(&train, f)).collect::<Result<_, _>>()?;
                Ok((Part::new(table, fold)?, inner))
            })
            .collect::<Result<_, Unfit>>()?;
        Ok(Self { outer, rows: table.rows() })
    }

    /// Predicts every data set from the others.
    ///
    /// # Errors
    /// Another number of rows, values that are not finite.
    pub fn predict(&self, y: (&str, &[f64])) -> Result<HeldOut, Unfit> {
        same_rows(self.rows, y.1.len())?;
        finite(y.0, y.1)?;
        let (mut predicted, mut mean) = (vec![0.0; self.rows], vec![0.0; self.rows]);
        let mut penalties = Vec::new();
        for (part, inner) in &self.outer {
            let train = take(y.1, &part.fold.train);
            let errors = PENALTIES.map(|penalty| inner.iter().map(|part| loss(part, &train, penalty)).sum::<f64>());
            // The larger penalty of two that do equally well.
            let best = (0..PENALTIES.len()).rev().min_by(|&a, &b| errors[a].total_cmp(&errors[b])).unwrap_or(0);
            let fitted = part.decomposed.solve(&train, PENALTIES[best] * part.decomposed.rows as f64);
            for (value, &row) in part.decomposed.predict(&fitted, &part.test).iter().zip(&part.fold.test) {
                (predicted[row], mean[row]) = (*value, fitted.0);
            }
            penalties.push(PENALTIES[best]);
        }
        Ok(HeldOut { predicted, mean, penalties })
    }
}

/// Σ of squared errors on the held-out rows of an inner fold.
fn loss(part: &Part, y: &[f64], penalty: f64) -> f64 {
    let fitted = part.decomposed.solve(&take(y, &part.fold.train), penalty * part.decomposed.rows as f64);
    let predicted = part.decomposed.predict(&fitted, &part.test);
    predicted.iter().zip(&part.fold.test).map(|(p, &row)| (p - y[row]).powi(2)).sum()
}
