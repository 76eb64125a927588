//! The experiments that a question is asked of, as columns.

use std::collections::BTreeMap;

use super::features::{Feature, Profile};
use crate::study::statistics::{Groups, Table};
use crate::study::tables::{Experiment, Tables};

/// Share of the experiments for which a feature must be known to be used: of each one that isn't, experiments are lost.
const KNOWN: f64 = 0.95;

/// Whether a feature that is known for `known` of `all` experiments is used.
pub fn enough(known: usize, all: usize) -> bool {
    known > 0 && known as f64 >= KNOWN * all as f64
}

/// An experiment with its spectra.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its row in `experiments.csv`.
    pub experiment: Experiment,
    /// Its spectra.
    pub profile: Profile,
}

/// All experiments of a study, those of a data set together, in the order of the table (by capacity).
pub fn cases(tables: &Tables) -> Vec<Case> {
    let mut rows: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for row in &tables.rows {
        rows.entry(row.experiment.as_str()).or_default().push(row);
    }
    let mut all: Vec<Case> = tables
        .experiments
        .iter()
        .map(|e| {
            let own = rows.get(e.experiment.as_str()).map_or(&[][..], Vec::as_slice);
            Case { experiment: e.clone(), profile: Profile::of_rows(own.iter().copied()) }
        })
        .collect();
    let order: BTreeMap<String, usize> =
        all.iter().enumerate().rev().map(|(i, c)| (c.experiment.dataset.clone(), i)).collect();
    all.sort_by_key(|c| order[&c.experiment.dataset]);
    all
}

/// What networks are judged by, and compared to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Training score − test score.
    Gap,
    /// Score on the test part.
    Test,
    /// Score on the training part.
    Train,
}

impl Outcome {
    /// Its column in `experiments.csv`.
    pub fn key(self) -> &'static str {
        ["gap_score", "test_score", "train_score"][self as usize]
    }

    /// In words.
    pub fn title(self) -> &'static str {
        ["generalisation gap", "test score", "training score"][self as usize]
    }

    /// The value of an experiment.
    pub fn of(self, e: &Experiment) -> Option<f64> {
        match self {
            Outcome::Gap => e.gap_score,
            Outcome::Test => e.test_score,
            Outcome::Train => e.train_score,
        }
    }
}

/// What a spectrum has to add to: the number of parameters, also per equation, and the training loss.
pub fn controls(e: &Experiment) -> [(&'static str, Option<f64>); 3] {
    [("parameters", Some(e.parameters as f64)), ("load", Some(e.load)), ("train_loss", e.train_loss)]
}

/// Columns of the experiments in which all of them are known.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// The experiments' places among the cases.
    pub rows: Vec<usize>,
    /// Their data sets.
    pub groups: Groups,
    /// The features.
    pub features: Table,
    /// Which they are.
    pub which: Vec<Feature>,
    /// The controls.
    pub controls: Table,
    /// The outcomes, in the order asked for.
    pub outcomes: Vec<Vec<f64>>,
    /// Features that are left out, with the reason.
    pub dropped: Vec<(String, String)>,
}

/// The sheet of some features and outcomes. Features that are known for less than 95 % of the experiments with an
/// outcome, or the same in all, are left out; then experiments in which one is missing.
pub fn sheet(cases: &[Case], features: &[Feature], outcomes: &[Outcome]) -> Sheet {
    let judged: Vec<usize> = (0..cases.len())
        .filter(|&i| {
            let e = &cases[i].experiment;
            let known = |x: Option<f64>| x.is_some_and(f64::is_finite);
            outcomes.iter().all(|o| known(o.of(e))) && controls(e).iter().all(|c| known(c.1))
        })
        .collect();
    let column = |f: &Feature| -> Vec<f64> {
        judged.iter().map(|&i| cases[i].profile.feature(*f).unwrap_or(f64::NAN)).collect()
    };
    let (mut which, mut columns, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    for feature in features {
        let values = column(feature);
        let known = values.iter().filter(|x| x.is_finite()).count();
        if !enough(known, judged.len()) {
            dropped.push((feature.to_string(), format!("known for {known} of {} experiments", judged.len())));
        } else {
            which.push(*feature);
            columns.push(values);
        }
    }
    let complete: Vec<usize> = (0..judged.len()).filter(|&k| columns.iter().all(|c| c[k].is_finite())).collect();
    let kept: Vec<usize> = complete.iter().map(|&k| judged[k]).collect();
    let mut named = Vec::new();
    let mut left = Vec::new();
    for (feature, column) in which.iter().zip(columns) {
        let values: Vec<f64> = complete.iter().map(|&k| column[k]).collect();
        if values.windows(2).all(|w| w[0] == w[1]) {
            dropped.push((feature.to_string(), "the same in all experiments".to_owned()));
        } else {
            named.push((feature.to_string(), values));
            left.push(*feature);
        }
    }
    let of = |value: &dyn Fn(&Experiment) -> Option<f64>| -> Vec<f64> {
        kept.iter().map(|&i| value(&cases[i].experiment).unwrap_or(f64::NAN)).collect()
    };
    let control = |k: usize| {
        let name = ["parameters", "load", "train_loss"][k];
        (name, of(&|e: &Experiment| controls(e)[k].1))
    };
    Sheet {
        groups: Groups::new(kept.iter().map(|&i| &cases[i].experiment.dataset)),
        features: Table::new(named).expect("a value per experiment"),
        which: left,
        controls: Table::new((0..3).map(control)).expect("a value per experiment"),
        outcomes: outcomes.iter().map(|o| of(&|e: &Experiment| o.of(e))).collect(),
        rows: kept,
        dropped,
    }
}
