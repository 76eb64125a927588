//! Why an iteration ended.

/// The reason an iteration stopped. Every bounded loop of the engine returns one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The requested accuracy was reached.
    Converged,
    /// The Krylov space became invariant: what was found is exact to rounding. Not an error.
    Invariant,
    /// The allowed number of steps was used up first; residuals say how far it got.
    MaxSteps,
    /// The operator returned NaN or infinity.
    NonFinite,
    /// The operator is not symmetric to rounding.
    NotSymmetric,
}

impl Stop {
    /// Whether the result can be used as asked: `Converged` or `Invariant`.
    pub fn is_success(self) -> bool {
        matches!(self, Stop::Converged | Stop::Invariant)
    }

    /// A short word for tables and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Stop::Converged => "converged",
            Stop::Invariant => "invariant",
            Stop::MaxSteps => "max-steps",
            Stop::NonFinite => "non-finite",
            Stop::NotSymmetric => "not-symmetric",
        }
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
