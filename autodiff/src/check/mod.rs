//! The one tester of derivatives: any op, layer or network, with identities and no reference values.
//!
//! [`check_op`] runs, for one op: jvp against differences of eval; ⟨w, Jv⟩ = ⟨Jᵀw, v⟩; vjp_jvp against differences of
//! vjp (symmetry alone misses a wrong f″); with ȳ̇ = 0 it is symmetric; with ẋ = 0 it equals vjp(ȳ̇); and the promises that
//! plans rely on: lanes are independent, slots add, what `couples` denies is zero, NaN is not swallowed.
//! [`check_maps`] looks at the slopes of Taylor remainders of any function of θ, [`check_function`] at those of a graph.
//!
//! Errors are divided by the size of the operands, not of the result. Source of the scheme: ChainRulesTestUtils.jl for the
//! first-order checks; Chebfun for testing the order rather than the number.

mod function;
mod maps;
mod op;
mod taylor;

pub use function::check_function;
pub use maps::{Maps, Product, check_maps};
pub use op::{check_op, draw};
pub use taylor::{Slope, slope};

use std::fmt;

/// Whether a row's value must stay below or reach its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    /// Passes when value ≤ bound: an error.
    AtMost,
    /// Passes when value ≥ bound: an order of convergence.
    AtLeast,
}

/// One checked identity.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which identity.
    pub check: &'static str,
    /// Of what: an op, a layer, a network.
    pub subject: String,
    /// The measured error or order.
    pub value: f64,
    /// What it is held to.
    pub bound: f64,
    /// How.
    pub sense: Sense,
    /// What helps when it fails: shapes, seed, slopes.
    pub detail: String,
}

impl Row {
    /// Whether the identity holds. NaN never passes.
    pub fn passed(&self) -> bool {
        match self.sense {
            Sense::AtMost => self.value <= self.bound,
            Sense::AtLeast => self.value >= self.bound,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed() { "ok  " } else { "FAIL" };
        let sign = if self.sense == Sense::AtMost { "<=" } else { ">=" };
        write!(
            f,
            "{verdict} {}: {} = {:.2e} {sign} {:.2e} {}",
            self.subject, self.check, self.value, self.bound, self.detail
        )
    }
}

/// The rows of a test, in order.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// All checked identities.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether every row passed (an empty report has shown nothing and did not pass).
    pub fn passed(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(Row::passed)
    }

    /// The rows that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|r| !r.passed())
    }

    /// Adds a row that passes when `value` ≤ `bound`.
    pub fn at_most(&mut self, check: &'static str, subject: &str, value: f64, bound: f64, detail: String) {
        self.rows.push(Row { check, subject: subject.to_string(), value, bound, sense: Sense::AtMost, detail });
    }

    /// Adds a row that passes when `value` ≥ `bound`.
    pub fn at_least(&mut self, check: &'static str, subject: &str, value: f64, bound: f64, detail: String) {
        self.rows.push(Row { check, subject: subject.to_string(), value, bound, sense: Sense::AtLeast, detail });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
