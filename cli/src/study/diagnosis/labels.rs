//! What the learned rules are to find, defined by scores alone, before any spectrum is looked at. The definitions are ours.

use crate::study::tables::Experiment;

/// Training score − test score (accuracy or R²) from which on a network counts as over-fitted.
pub const GAP: f64 = 0.1;
/// How far the training score may stay behind the best of the same data set's networks.
pub const SHORTFALL: f64 = 0.05;

/// A condition of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Its test score is 0.1 or more below its training score.
    Overfitted,
    /// Its training score is more than 0.05 below the best training score on the same data among the study's networks.
    Underparameterised,
}

impl Condition {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Overfitted, Self::Underparameterised];

    /// Its name in files.
    pub fn key(self) -> &'static str {
        ["over-fitted", "under-parameterised"][self as usize]
    }

    /// The definition, in words.
    pub fn definition(self) -> &'static str {
        [
            "the training score (accuracy or R²) is at least 0.1 above the test score",
            "the training score is more than 0.05 below the best that another network of the study reached on the same data",
        ][self as usize]
    }

    /// What to do about it, in words.
    pub fn advice(self) -> &'static str {
        [
            "try a smaller network, a penalty, early stopping, or more data",
            "try wider or deeper layers, more epochs, or another optimiser",
        ][self as usize]
    }

    /// The label of every experiment; none where scores are missing.
    pub fn labels(self, all: &[&Experiment]) -> Vec<Option<bool>> {
        let best = |dataset: &str| {
            all.iter().filter(|e| e.dataset == dataset).filter_map(|e| e.train_score).fold(f64::MIN, f64::max)
        };
        let label = |e: &&Experiment| match self {
            Condition::Overfitted => Some(e.train_score? - e.test_score? >= GAP),
            Condition::Underparameterised => Some(e.train_score? < best(&e.dataset) - SHORTFALL),
        };
        all.iter().map(label).collect()
    }
}
