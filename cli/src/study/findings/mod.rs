//! What a study says: correlations, canonical correlations, predictions for new data sets, spectra by capacity, and the same
//! for inputs that can't say anything.
//!
//! | module | what |
//! |---|---|
//! | [`features`] | the numbers that are taken of spectra |
//! | [`mod@cases`] | experiments as columns |
//! | [`questions`] | associations, canonical correlations, predictions |
//! | [`capacity`] | spectra by capacity and over training |

pub mod capacity;
pub mod cases;
pub mod features;
pub mod questions;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::study::statistics::controls::random_features;
use crate::study::statistics::{Unfit, table::take};
use crate::study::tables::Tables;
use capacity::{Contrast, Course};
use cases::{Case, Outcome, Sheet, cases, sheet};
use features::{Feature, Place, When};
use questions::{Association, Canonical, Effort, Prediction, associations, canonical, predictions};

/// Discoveries are associations with q up to this.
pub const DISCOVERY: f64 = 0.05;

/// Name of the version of the data in which whole data sets have exchanged their outcomes.
pub const PERMUTED: &str = "permuted outcomes";

/// All that is asked of one version of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Battery {
    /// `measured`, `random features`, `permuted outcomes`.
    pub of: String,
    /// Associations of every feature with the generalisation gap.
    pub gap: Vec<Association>,
    /// With the test score.
    pub test: Vec<Association>,
    /// Canonical correlations with gap, test and training score.
    pub canonical: Canonical,
    /// Predictions of the gap.
    pub predictions: Vec<Prediction>,
}

impl Battery {
    /// Features whose (partial) correlation with the gap is a discovery: (plain, partial).
    pub fn discoveries(&self) -> (usize, usize) {
        let count = |q: fn(&Association) -> f64| self.gap.iter().filter(|a| q(a) <= DISCOVERY).count();
        (count(|a| a.test.q), count(|a| a.partial_test.q))
    }
}

/// What a study says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// Draws behind intervals and p-values.
    pub effort: Effort,
    /// Experiments in the study.
    pub experiments: usize,
    /// Those with an outcome and all features.
    pub used: usize,
    /// Their data sets.
    pub datasets: usize,
    /// Experiments that are not used, with the reason.
    pub left_out: Vec<(String, String)>,
    /// Features that are not used, with the reason.
    pub dropped: Vec<(String, String)>,
    /// The measured spectra, then the negative controls.
    pub batteries: Vec<Battery>,
    /// Medians of some quantities over training, by capacity.
    pub courses: Vec<Course>,
    /// Differences between the largest and the smallest network of a data set.
    pub contrasts: Vec<Contrast>,
}

/// The outcomes, in the order of a sheet's columns.
const OUTCOMES: [Outcome; 3] = [Outcome::Gap, Outcome::Test, Outcome::Train];

/// Asks everything of a study's tables.
///
/// # Errors
/// Fewer than five data sets with outcomes, or columns on which a statistic doesn't exist.
pub fn find(tables: &Tables, effort: Effort) -> Result<Findings, Unfit> {
    let cases = cases(tables);
    let features: Vec<Feature> = [When::End, When::Start].into_iter().flat_map(Feature::all).collect();
    let measured = sheet(&cases, &features, &OUTCOMES);
    let mut random = measured.clone();
    random.features = random_features(&measured.features, &measured.groups, effort.seed);
    let mut permuted = measured.clone();
    let order = measured.groups.exchange(effort.seed, u64::MAX);
    permuted.outcomes = measured.outcomes.iter().map(|y| take(y, &order)).collect();
    let versions = [("measured", &measured), ("random features", &random), (PERMUTED, &permuted)];
    // Of the negative controls, p-values and point estimates matter; their intervals may be rougher.
    let rough = Effort { bootstrap: (effort.bootstrap / 5).max(20), ..effort };
    let of = |(k, (of, sheet)): (usize, (&str, &Sheet))| battery(of, sheet, if k == 0 { effort } else { rough });
    let batteries = versions.into_iter().enumerate().map(of).collect::<Result<_, Unfit>>()?;
    let left_out = left_out(&cases, &measured);
    Ok(Findings {
        effort,
        experiments: cases.len(),
        used: measured.rows.len(),
        datasets: measured.groups.count(),
        left_out,
        dropped: measured.dropped.clone(),
        batteries,
        courses: capacity::courses(&cases, effort),
        contrasts: capacity::contrasts(&cases, effort)?,
    })
}

fn battery(of: &str, sheet: &Sheet, effort: Effort) -> Result<Battery, Unfit> {
    let names = OUTCOMES.map(Outcome::key);
    let at = |keep: &dyn Fn(&Feature) -> bool| -> Vec<usize> {
        (0..sheet.which.len()).filter(|&j| keep(&sheet.which[j])).collect()
    };
    let end = |place: Place| at(&move |f: &Feature| f.moment == When::End && f.layer == place);
    let sets = [
        ("first layer", end(Place::First)),
        ("last layer", end(Place::Last)),
        ("mean of layers", end(Place::Mean)),
        ("all at the end", at(&|f| f.moment == When::End)),
        ("all at the start", at(&|f| f.moment == When::Start)),
    ];
    Ok(Battery {
        of: of.to_owned(),
        gap: associations(sheet, 0, effort)?,
        test: associations(sheet, 1, effort)?,
        canonical: canonical(sheet, &names, effort)?,
        predictions: predictions(sheet, 0, &sets, effort)?,
    })
}

/// Why an experiment is not in the sheet.
fn left_out(cases: &[Case], sheet: &Sheet) -> Vec<(String, String)> {
    let missing = |i: &usize| !sheet.rows.contains(i);
    let reason = |case: &Case| {
        let e = &case.experiment;
        if let Some(reason) = &e.reason {
            return format!("{}: {reason}", e.status);
        }
        if let Some(o) = OUTCOMES.iter().find(|o| o.of(e).is_none()) {
            return format!("no {}", o.title());
        }
        let unknown = sheet.which.iter().find(|f| case.profile.feature(**f).is_none());
        unknown.map_or("no controls".to_owned(), |f| format!("no {}", f.title()))
    };
    (0..cases.len()).filter(missing).map(|i| (cases[i].experiment.experiment.clone(), reason(&cases[i]))).collect()
}
