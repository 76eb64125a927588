//! Statistics of tables whose rows come in data sets.
//!
//! The rows of one data set are alike: two experiments on the same data share its noise, its size and its difficulty. So
//! the unit that is resampled, permuted and held out is everywhere the whole data set ([`Groups`]), never the row.
//!
//! | module | what |
//! |---|---|
//! | [`table`] | named columns of numbers; rows left out because a number is missing are counted |
//! | [`groups`] | which rows belong together: resampling, exchange and folds by data set, reproducible from a seed |
//! | [`distributions`] | tails of Student's t, F, χ² and the normal distribution |
//! | [`correlation`] | ranks, Pearson, Spearman, partial correlation |
//! | [`resampling`] | bootstrap intervals and permutation p-values |
//! | [`multiple`] | Benjamini–Hochberg |
//! | [`matrix`] | orthonormal bases, Cholesky, inverse square roots |
//! | [`cca`] | ridge canonical correlation analysis |
//! | [`mixed`] | a linear model with a random intercept per data set |
//! | [`ridge`], [`logistic`] | penalised regressions, leave-one-data-set-out |
//! | [`scores`] | how good predictions are: R², confusion, AUC, Wilson intervals |
//! | [`controls`] | random features and permuted outcomes, which must come out null |
//!
//! Every function refuses NaN, constants and too few rows with an [`Unfit`] that names the column; nothing is dropped
//! or replaced in silence.

use std::fmt;

pub mod cca;
pub mod controls;
pub mod correlation;
pub mod distributions;
pub mod groups;
pub mod logistic;
pub mod matrix;
pub mod mixed;
pub mod multiple;
pub mod resampling;
pub mod ridge;
pub mod scores;
pub mod table;
#[cfg(test)]
mod tests;

pub use groups::Groups;
pub use resampling::{Interval, Permutation};
pub use table::Table;

/// Why a statistic can't be computed.
#[derive(Clone, Debug, PartialEq)]
pub enum Unfit {
    /// Fewer rows, data sets or columns than the statistic needs.
    TooFew {
        /// Of what: rows, data sets, columns.
        what: &'static str,
        /// How many there are.
        have: usize,
        /// How many it takes.
        need: usize,
    },
    /// A column whose values are all the same.
    Constant {
        /// Its name.
        column: String,
    },
    /// A value that is NaN or infinite.
    NonFinite {
        /// Name of its column.
        column: String,
        /// Its row, from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// Columns of different lengths.
    Lengths {
        /// Rows of the first.
        left: usize,
        /// Rows of the other.
        right: usize,
    },
    /// A column that is a linear combination of those before it.
    Dependent {
        /// Its name.
        column: String,
    },
    /// A matrix that ought to be positive definite and is not to working precision.
    Singular {
        /// Which.
        what: &'static str,
    },
    /// An outcome of classification without both classes, or with values other than 0 and 1.
    Classes,
    /// No two data sets have the same number of rows, so that none can change places.
    NoExchange,
    /// An iteration that did not end.
    NoConvergence {
        /// Which.
        what: &'static str,
        /// After how many steps.
        steps: usize,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::TooFew { what, have, need } => write!(f, "{have} {what}, at least {need} are needed"),
            Unfit::Constant { column } => write!(f, "`{column}` is the same in all rows"),
            Unfit::NonFinite { column, row, value } => write!(f, "`{column}` is {value} in row {row}"),
            Unfit::Lengths { left, right } => write!(f, "columns of {left} and {right} rows don't go together"),
            Unfit::Dependent { column } => write!(f, "`{column}` is a linear combination of the columns before it"),
            Unfit::Singular { what } => write!(f, "{what} is singular: use a larger ridge or fewer columns"),
            Unfit::Classes => write!(f, "the outcome must be 0 or 1, and both must occur"),
            Unfit::NoExchange => write!(f, "no two data sets have the same number of rows: none can change places"),
            Unfit::NoConvergence { what, steps } => write!(f, "{what} did not converge in {steps} steps"),
        }
    }
}

impl std::error::Error for Unfit {}

/// Requires that all values are finite.
fn finite(column: &str, values: &[f64]) -> Result<(), Unfit> {
    match values.iter().position(|x| !x.is_finite()) {
        Some(row) => Err(Unfit::NonFinite { column: column.to_owned(), row, value: values[row] }),
        None => Ok(()),
    }
}

/// Requires at least `need` of `what`.
fn at_least(what: &'static str, have: usize, need: usize) -> Result<(), Unfit> {
    if have < need { Err(Unfit::TooFew { what, have, need }) } else { Ok(()) }
}

/// Requires as many rows on both sides.
fn same_rows(left: usize, right: usize) -> Result<(), Unfit> {
    if left == right { Ok(()) } else { Err(Unfit::Lengths { left, right }) }
}
