//! Diagnosis of a run from the spectra of its layers.
//!
//! Two kinds of rules. **Learned** rules ([`rule`], [`learn`]) say whether a network over-fits or is too small; they come
//! from a study, where the truth is known from scores alone ([`labels`]), and carry the error that they make on data sets they
//! have not seen, beside that of the same procedure given training loss, number of parameters and gradient norm instead of
//! spectra. **Direct** rules ([`direct`]) are facts about one block that need no learning: a block that is zero, a step size
//! beyond its bound.
//!
//! | module | what |
//! |---|---|
//! | [`labels`] | what counts as over-fitted, under-parameterised, unstable |
//! | [`rule`] | the form of a learned rule and how it is applied |
//! | [`learn`] | learning and validating rules, leave-one-data-set-out |
//! | [`direct`] | dead, saturated, full and unstable |
//! | [`explain`] | `eigenlens diagnose` |

pub mod direct;
pub mod explain;
pub mod labels;
pub mod learn;
pub mod rule;
#[cfg(test)]
mod tests;

pub use explain::diagnose;
pub use rule::{Rule, Rules};
