//! The questions: which features go with which outcome, alone and beyond the controls; what they predict on new data sets.
//!
//! Everything goes by ranks: features, controls and outcomes are replaced by their ranks among all experiments, so that
//! neither the unit of a score nor a few extreme networks decide.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::cases::Sheet;
use crate::study::statistics::correlation::{Controlled, Of, pearson, ranks, spearman};
use crate::study::statistics::resampling::{Interval, bootstrap, permutation};
use crate::study::statistics::scores::skill;
use crate::study::statistics::table::take;
use crate::study::statistics::{Groups, Table, Unfit, cca, mixed, multiple, ridge};

/// Level of all intervals.
pub const LEVEL: f64 = 0.95;

/// How much is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// Seed of all draws.
    pub seed: u64,
    /// Bootstrap replicates.
    pub bootstrap: usize,
    /// Permutations of correlations and canonical correlations: for one discovery among m features at 5 %, 20 m at least.
    pub permutations: usize,
    /// Permutations of predictions, which are fitted anew each time.
    pub refits: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { seed: 20_261_124, bootstrap: 1000, permutations: 4999, refits: 199 }
    }
}

/// A number with its 95 % interval over resampled data sets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimated {
    /// The number.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl From<Interval> for Estimated {
    fn from(i: Interval) -> Self {
        Self { value: i.estimate, low: i.low, high: i.high }
    }
}

impl Estimated {
    /// Whether the interval lies on one side of zero.
    pub fn settled(self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// A test: p by permutation of whole data sets, q after Benjamini–Hochberg among all features of the same outcome.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// p.
    pub p: f64,
    /// q.
    pub q: f64,
}

/// A feature and an outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Association {
    /// Name of the feature.
    pub feature: String,
    /// Spearman's correlation.
    pub spearman: Estimated,
    /// Its test.
    pub test: Tested,
    /// Pearson's correlation of the values.
    pub pearson: f64,
    /// p of Spearman's correlation if the experiments were independent, which they are not.
    pub naive_p: f64,
    /// Spearman's correlation when parameters, load and training loss are taken out of both.
    pub partial: Estimated,
    /// Its test.
    pub partial_test: Tested,
    /// Coefficient of the feature in a mixed model of the outcome with the controls and a random intercept per data set, all
    /// in ranks over their standard deviation.
    pub mixed: f64,
    /// Its standard error.
    pub mixed_error: f64,
    /// P(|Z| ≥ |mixed/mixed_error|).
    pub mixed_p: f64,
}

/// Every feature of a sheet with outcome `k`.
///
/// # Errors
/// Too few data sets, or columns that can't be ranked.
pub fn associations(sheet: &Sheet, k: usize, effort: Effort) -> Result<Vec<Association>, Unfit> {
    let y = ("outcome", sheet.outcomes[k].as_slice());
    let controlled = Controlled::new(Of::Ranks, y.1.len(), &sheet.controls)?;
    let (rank_y, rest_y) = (ranks(y.0, y.1)?, controlled.rest(y)?);
    let controls = ranked(&sheet.controls)?;
    let one = |(j, (name, x)): (usize, (&String, &Vec<f64>))| {
        let (x, seed) = ((name.as_str(), x.as_slice()), effort.seed.wrapping_add(j as u64));
        let plain = spearman(x, y)?;
        let (rank_x, rest_x) = (ranks(x.0, x.1)?, controlled.rest(x)?);
        let interval = bootstrap(&sheet.groups, seed, effort.bootstrap, LEVEL, |rows| {
            Ok(spearman((x.0, &take(x.1, rows)), (y.0, &take(y.1, rows)))?.r)
        })?;
        let partial = bootstrap(&sheet.groups, seed, effort.bootstrap, LEVEL, |rows| {
            let controls = Controlled::new(Of::Ranks, rows.len(), &sheet.controls.select(rows))?;
            let (x, y) = (controls.rest((x.0, &take(x.1, rows)))?, controls.rest((y.0, &take(y.1, rows)))?);
            Ok(controls.correlation(&x, &y).r)
        })?;
        let p = permutation(&sheet.groups, seed, effort.permutations, |order| {
            Ok(pearson((x.0, &rank_x), (y.0, &take(&rank_y, order)))?.r.abs())
        })?;
        let partial_p = permutation(&sheet.groups, seed, effort.permutations, |order| {
            Ok(controlled.permuted(&rest_x, &rest_y, order).abs())
        })?;
        let regressors = Table::new([(x.0, rank_x.clone())])?.beside(&controls)?;
        let scales = regressors.scales()?;
        let z = Table::new(regressors.names().iter().cloned().zip(regressors.standardised(&scales)))?;
        let own = Table::new([("outcome", rank_y.clone())])?;
        let rank_y = own.standardised(&own.scales()?).swap_remove(0);
        let model = mixed::fit(&z, ("outcome", &rank_y), &sheet.groups)?;
        let slope = &model.coefficients[1];
        Ok(Association {
            feature: name.clone(),
            spearman: interval.into(),
            test: Tested { p: p.p, q: 1.0 },
            pearson: pearson(x, y)?.r,
            naive_p: plain.p,
            partial: partial.into(),
            partial_test: Tested { p: partial_p.p, q: 1.0 },
            mixed: slope.value,
            mixed_error: slope.error,
            mixed_p: slope.p,
        })
    };
    let columns: Vec<_> = sheet.features.names().iter().zip(sheet.features.columns()).enumerate().collect();
    let mut all: Vec<Association> = columns.into_par_iter().map(one).collect::<Result<_, Unfit>>()?;
    let adjusted = |p: fn(&Association) -> f64| multiple::benjamini_hochberg(&all.iter().map(p).collect::<Vec<_>>());
    let (q, partial_q) = (adjusted(|a| a.test.p)?, adjusted(|a| a.partial_test.p)?);
    for (a, (q, partial)) in all.iter_mut().zip(q.into_iter().zip(partial_q)) {
        (a.test.q, a.partial_test.q) = (q, partial);
    }
    Ok(all)
}

/// Ridges of the canonical correlation analysis, on correlation matrices of ranks: features nearly repeat each other,
/// outcomes don't.
const RIDGE: cca::Ridge = cca::Ridge { left: 1.0, right: 0.1 };

/// What canonical correlation analysis says of features and outcomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canonical {
    /// Ridges on the features' and the outcomes' correlations.
    pub ridge: (f64, f64),
    /// Canonical correlations.
    pub correlations: Vec<f64>,
    /// Wilks' Λ.
    pub wilks: f64,
    /// p of Λ, by permutation of whole data sets.
    pub wilks_p: f64,
    /// p of the first correlation.
    pub first_p: f64,
    /// Correlation of the first pair on data sets that were held out when it was fitted.
    pub held_out: Estimated,
    /// Loadings of the features on the first variate, by name.
    pub features: Vec<(String, f64)>,
    /// Loadings of the outcomes, by name.
    pub outcomes: Vec<(String, f64)>,
}

/// The analysis of all features and all outcomes of a sheet.
///
/// # Errors
/// Too few data sets, or bad columns.
pub fn canonical(sheet: &Sheet, names: &[&str], effort: Effort) -> Result<Canonical, Unfit> {
    let left = ranked(&sheet.features)?;
    let right = ranked(&Table::new(names.iter().copied().zip(sheet.outcomes.iter().cloned()))?)?;
    let whole = cca::fit(&left, &right, RIDGE)?;
    let p = cca::permuted(&left, &right, RIDGE, &sheet.groups, effort.seed, effort.permutations)?;
    let (u, v) = cca::held_out(&left, &right, RIDGE, &sheet.groups)?;
    let held_out = bootstrap(&sheet.groups, effort.seed, effort.bootstrap, LEVEL, |rows| {
        Ok(pearson(("left", &take(&u, rows)), ("right", &take(&v, rows)))?.r)
    })?;
    let loadings = |table: &Table, values: &[f64]| table.names().iter().cloned().zip(values.iter().copied()).collect();
    Ok(Canonical {
        ridge: (RIDGE.left, RIDGE.right),
        correlations: whole.pairs.iter().map(|p| p.correlation).collect(),
        wilks: whole.wilks,
        wilks_p: p.wilks_p,
        first_p: p.first_p,
        held_out: held_out.into(),
        features: loadings(&left, &whole.pairs[0].left_loadings),
        outcomes: loadings(&right, &whole.pairs[0].right_loadings),
    })
}

/// How well an outcome of held-out data sets is predicted, by ridge regression of ranks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// From what.
    pub from: String,
    /// Columns.
    pub columns: usize,
    /// 1 − squared error over that of the other data sets' mean.
    pub skill: Estimated,
    /// 1 − squared error over that of the prediction from the controls alone.
    pub gain: Option<Estimated>,
    /// p of the gain: how often the outcome's rest beyond the controls, permuted by whole data sets, gives as much.
    pub gain_p: Option<f64>,
}

/// Predicts outcome `k` from the controls, and from each set of features beside them.
///
/// # Errors
/// Too few data sets, or bad columns.
pub fn predictions(
    sheet: &Sheet,
    k: usize,
    sets: &[(&str, Vec<usize>)],
    effort: Effort,
) -> Result<Vec<Prediction>, Unfit> {
    let y = ranks("outcome", &sheet.outcomes[k])?;
    let controls = ranked(&sheet.controls)?;
    let base_plan = ridge::Plan::new(&controls, &sheet.groups)?;
    let base = base_plan.predict(("outcome", &y))?;
    let controlled = Controlled::new(Of::Values, y.len(), &controls)?;
    let rest = controlled.rest(("outcome", &y))?;
    let fitted: Vec<f64> = y.iter().zip(&rest).map(|(y, r)| y - r).collect();
    // The same permuted outcomes for every set, with what the controls make of them.
    let permuted: Vec<(Vec<f64>, Vec<f64>)> = (0..effort.refits as u64)
        .into_par_iter()
        .map(|i| {
            let order = sheet.groups.exchange(effort.seed, i);
            let y: Vec<f64> = fitted.iter().zip(take(&rest, &order)).map(|(f, r)| f + r).collect();
            let base = base_plan.predict(("outcome", &y))?.predicted;
            Ok((y, base))
        })
        .collect::<Result<_, Unfit>>()?;
    let interval = |predicted: &[f64], reference: &[f64]| -> Result<Estimated, Unfit> {
        let of = |rows: &[usize]| skill(&take(&y, rows), &take(predicted, rows), &take(reference, rows));
        Ok(bootstrap(&sheet.groups, effort.seed, effort.bootstrap, LEVEL, of)?.into())
    };
    let mut out = vec![Prediction {
        from: "controls".to_owned(),
        columns: controls.width(),
        skill: interval(&base.predicted, &base.mean)?,
        gain: None,
        gain_p: None,
    }];
    let ranked_features = ranked(&sheet.features)?;
    for (name, columns) in sets.iter().filter(|s| !s.1.is_empty()) {
        let chosen =
            columns.iter().map(|&j| (ranked_features.names()[j].clone(), ranked_features.columns()[j].clone()));
        let table = controls.beside(&Table::new(chosen)?)?;
        let plan = ridge::Plan::new(&table, &sheet.groups)?;
        let found = plan.predict(("outcome", &y))?;
        let gain = interval(&found.predicted, &base.predicted)?;
        let null: Vec<f64> = permuted
            .par_iter()
            .map(|(y, base)| skill(y, &plan.predict(("outcome", y))?.predicted, base))
            .collect::<Result<_, Unfit>>()?;
        out.push(Prediction {
            from: format!("controls + {name}"),
            columns: table.width(),
            skill: interval(&found.predicted, &found.mean)?,
            gain_p: Some(crate::study::statistics::resampling::p_value(gain.value, &null)),
            gain: Some(gain),
        });
    }
    Ok(out)
}

/// The ranks of every column.
fn ranked(table: &Table) -> Result<Table, Unfit> {
    let each = table.names().iter().zip(table.columns()).map(|(n, c)| Ok((n.clone(), ranks(n, c)?)));
    Table::new(each.collect::<Result<Vec<_>, Unfit>>()?)
}

/// The median with its interval over resampled data sets.
///
/// # Errors
/// Fewer than five data sets.
pub fn median(values: &[f64], groups: &Groups, effort: Effort) -> Result<Estimated, Unfit> {
    let of = |rows: &[usize]| {
        let mut sorted = take(values, rows);
        sorted.sort_by(f64::total_cmp);
        Ok(crate::study::statistics::resampling::quantile(&sorted, 0.5))
    };
    Ok(bootstrap(groups, effort.seed, effort.bootstrap, LEVEL, of)?.into())
}
