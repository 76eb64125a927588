//! Learning rules from a study and measuring their errors on data sets that were left out.
//!
//! Two forms compete: the best single threshold, and a logistic regression on the eight features that separate best alone.
//! Everything that is chosen (form, feature, side, threshold, the eight) is chosen anew without the held-out data set, the form
//! by five inner folds, so that the measured error is that of the whole procedure.

use rayon::prelude::*;

use super::labels::Condition;
use super::rule::{Decision, Rule, Rules, SCHEMA, Term, Validation};
use crate::study::findings::cases::{Case, cases, enough};
use crate::study::findings::features::{Feature, When};
use crate::study::findings::questions::{Effort, Estimated, LEVEL};
use crate::study::statistics::controls::random_features;
use crate::study::statistics::logistic::{self, Weighting};
use crate::study::statistics::resampling::bootstrap;
use crate::study::statistics::scores::{Confusion, auc};
use crate::study::statistics::{Groups, Table, Unfit};
use crate::study::tables::{Experiment, Tables};

/// Features of a logistic rule.
const TERMS: usize = 8;
/// Its penalty, on standardised features.
const PENALTY: f64 = 3.0;
/// Inner folds that choose the form.
const INNER: usize = 5;
/// Cases that a class must have.
const LEAST: usize = 5;

/// Which form of decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Threshold,
    Logistic,
}

impl Form {
    fn learn(self, table: &Table, y: &[bool]) -> Result<Decision, Unfit> {
        let rows: Vec<usize> = (0..y.len()).collect();
        let (table, _) = table.without_constants(&rows);
        match self {
            Form::Threshold => threshold(&table, y),
            Form::Logistic => {
                let mut order: Vec<(f64, usize)> = Vec::new();
                for (j, column) in table.columns().iter().enumerate() {
                    order.push((-(auc(y, column)? - 0.5).abs(), j));
                }
                order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                let chosen =
                    order.iter().take(TERMS).map(|&(_, j)| (table.names()[j].clone(), table.columns()[j].clone()));
                let chosen = Table::new(chosen)?;
                let model = logistic::fit(&chosen, y, PENALTY, Weighting::Classes)?;
                let term = |((name, scale), weight): ((&String, &crate::study::statistics::table::Scale), &f64)| Term {
                    feature: name.clone(),
                    mean: scale.mean,
                    deviation: scale.deviation,
                    weight: *weight,
                };
                let terms = chosen.names().iter().zip(&model.scales).zip(&model.weights).map(term).collect();
                Ok(Decision::Logistic { intercept: model.intercept, terms })
            }
        }
    }
}

/// The threshold with the largest balanced accuracy; of equals the first feature, the lower threshold.
fn threshold(table: &Table, y: &[bool]) -> Result<Decision, Unfit> {
    let yes = y.iter().filter(|y| **y).count() as f64;
    let no = y.len() as f64 - yes;
    if yes == 0.0 || no == 0.0 {
        return Err(Unfit::Classes);
    }
    let mut best: Option<(f64, Decision)> = None;
    for (name, column) in table.names().iter().zip(table.columns()) {
        let mut order: Vec<usize> = (0..y.len()).collect();
        order.sort_by(|&a, &b| column[a].total_cmp(&column[b]));
        // Shares of yes and no at or below each place.
        let (mut below_yes, mut below_no) = (0.0, 0.0);
        for pair in order.windows(2) {
            if y[pair[0]] {
                below_yes += 1.0 / yes
            } else {
                below_no += 1.0 / no
            }
            let (low, high) = (column[pair[0]], column[pair[1]]);
            if low == high {
                continue;
            }
            let balanced = 0.5 * (below_yes + 1.0 - below_no);
            let (accuracy, above) = if balanced < 0.5 { (1.0 - balanced, true) } else { (balanced, false) };
            if best.as_ref().is_none_or(|b| accuracy > b.0 + 1e-12) {
                let at = f64::midpoint(low, high);
                best = Some((accuracy, Decision::Threshold { feature: name.clone(), above, at }));
            }
        }
    }
    best.map(|b| b.1).ok_or(Unfit::TooFew { what: "columns that vary", have: 0, need: 1 })
}

/// Learns the form that does better on inner folds of whole data sets; of equals the threshold.
fn learn_better(table: &Table, y: &[bool], groups: &Groups) -> Result<(Form, Decision), Unfit> {
    let folds = groups.folds(INNER)?;
    let score = |form: Form| -> Result<f64, Unfit> {
        let mut evidence = vec![0.0; y.len()];
        for fold in &folds {
            match form.learn(&table.select(&fold.train), &of(y, &fold.train)) {
                Ok(decision) => fold.test.iter().for_each(|&row| evidence[row] = weigh(&decision, table, row)),
                // Without one of the classes there is nothing to learn: no evidence.
                Err(Unfit::Classes) => {}
                Err(e) => return Err(e),
            }
        }
        let rows: Vec<usize> = (0..y.len()).collect();
        balanced(y, &evidence, &rows)
    };
    let form = if score(Form::Logistic)? > score(Form::Threshold)? { Form::Logistic } else { Form::Threshold };
    Ok((form, form.learn(table, y)?))
}

fn of(y: &[bool], rows: &[usize]) -> Vec<bool> {
    rows.iter().map(|&i| y[i]).collect()
}

fn weigh(decision: &Decision, table: &Table, row: usize) -> f64 {
    decision.evidence(|name| table.column(name).map(|c| c[row])).unwrap_or(0.0)
}

/// The evidence for every row, from a decision that was learned without its data set, and how many of these were thresholds.
fn held_out(table: &Table, y: &[bool], groups: &Groups) -> Result<(Vec<f64>, usize), Unfit> {
    let folds = groups.leave_one_out()?;
    let parts: Vec<(Form, Vec<f64>)> = folds
        .par_iter()
        .map(|fold| {
            let train = table.select(&fold.train);
            let (form, decision) = learn_better(&train, &of(y, &fold.train), &groups.select(&fold.train))?;
            Ok((form, fold.test.iter().map(|&row| weigh(&decision, table, row)).collect()))
        })
        .collect::<Result<_, Unfit>>()?;
    let mut out = vec![0.0; y.len()];
    let thresholds = parts.iter().filter(|p| p.0 == Form::Threshold).count();
    for (fold, (_, part)) in folds.iter().zip(parts) {
        fold.test.iter().zip(part).for_each(|(&row, x)| out[row] = x);
    }
    Ok((out, thresholds))
}

fn balanced(y: &[bool], evidence: &[f64], rows: &[usize]) -> Result<f64, Unfit> {
    Confusion::of(rows.iter().map(|&i| (y[i], evidence[i] > 0.0))).balanced().ok_or(Unfit::Classes)
}

/// A validation with the evidence behind it.
type Judged = (Validation, Vec<f64>);

fn judge(from: &str, table: &Table, y: &[bool], groups: &Groups, effort: Effort) -> Result<Judged, Unfit> {
    let (evidence, thresholds) = held_out(table, y, groups)?;
    let interval = bootstrap(groups, effort.seed, effort.bootstrap, LEVEL, |rows| balanced(y, &evidence, rows))?;
    let counts = Confusion::of(y.iter().copied().zip(evidence.iter().map(|e| *e > 0.0)));
    let folds = groups.count();
    let validation = Validation {
        from: from.to_owned(),
        form: match thresholds {
            0 => "logistic".to_owned(),
            t if t == folds => "threshold".to_owned(),
            t => format!("threshold in {t} of {folds} folds"),
        },
        counts: counts.into(),
        balanced_accuracy: interval.into(),
        // Evidence of thresholds on different features has no common scale.
        auc: if thresholds == 0 { Some(auc(y, &evidence)?) } else { None },
    };
    Ok((validation, evidence))
}

/// What a rule has to be better than: everything here is known without any Hessian.
pub fn baselines(case: &Case) -> Option<[(&'static str, f64); 4]> {
    let e: &Experiment = &case.experiment;
    let end = case.profile.moments.last()?;
    let squares: Option<f64> = end.layers.iter().map(|l| l.get("gradient_norm").map(|g| g * g)).sum();
    let log = |x: f64| x.max(1e-12).log10();
    Some([
        ("train_loss", log(e.train_loss?)),
        ("parameters", log(e.parameters as f64)),
        ("load", log(e.load)),
        ("gradient_norm", log(squares?.sqrt())),
    ])
}

/// Learns the rules of a study. A condition that fewer than five experiments have (or have not) gets none; it is named.
///
/// # Errors
/// Fewer than five data sets.
pub fn learn(tables: &Tables, study: &str, effort: Effort) -> Result<(Rules, Vec<String>), Unfit> {
    let cases = cases(tables);
    let (mut rules, mut skipped) = (Vec::new(), Vec::new());
    for condition in Condition::ALL {
        match rule(condition, &cases, effort) {
            Ok(rule) => rules.push(rule),
            Err(e) => skipped.push(format!("{}: {e}", condition.key())),
        }
    }
    Ok((Rules { schema: SCHEMA, study: study.to_owned(), rules }, skipped))
}

fn rule(condition: Condition, cases: &[Case], effort: Effort) -> Result<Rule, Unfit> {
    let experiments: Vec<&Experiment> = cases.iter().map(|c| &c.experiment).collect();
    let labels = condition.labels(&experiments);
    // Features that nearly every labelled experiment has, then the experiments that have all of them.
    let labelled: Vec<usize> =
        (0..cases.len()).filter(|&i| labels[i].is_some() && baselines(&cases[i]).is_some()).collect();
    let features: Vec<Feature> = Feature::all(When::End)
        .into_iter()
        .filter(|f| {
            let known = labelled.iter().filter(|&&i| cases[i].profile.feature(*f).is_some()).count();
            enough(known, labelled.len())
        })
        .collect();
    let rows: Vec<usize> =
        labelled.into_iter().filter(|&i| features.iter().all(|f| cases[i].profile.feature(*f).is_some())).collect();
    let y: Vec<bool> = rows.iter().map(|&i| labels[i] == Some(true)).collect();
    let positive = y.iter().filter(|y| **y).count();
    for have in [positive, y.len() - positive] {
        if have < LEAST {
            return Err(Unfit::TooFew { what: "experiments of a class", have, need: LEAST });
        }
    }
    let groups = Groups::new(rows.iter().map(|&i| &cases[i].experiment.dataset));
    let column = |f: &Feature| rows.iter().map(|&i| cases[i].profile.feature(*f).unwrap_or(f64::NAN)).collect();
    let spectra = Table::new(features.iter().map(|f| (f.to_string(), column(f))))?;
    let base: Vec<[(&str, f64); 4]> = rows.iter().filter_map(|&i| baselines(&cases[i])).collect();
    let base = Table::new((0..4).map(|k| (base[0][k].0, base.iter().map(|b| b[k].1).collect())))?;
    let together = base.beside(&spectra)?;
    let random = random_features(&spectra, &groups, effort.seed);
    let order = groups.exchange(effort.seed, u64::MAX);
    let permuted: Vec<bool> = order.iter().map(|&i| y[i]).collect();

    let (validation, evidence) = judge("spectra", &spectra, &y, &groups, effort)?;
    let (baseline, baseline_evidence) = judge("baselines", &base, &y, &groups, effort)?;
    let (joint, joint_evidence) = judge("spectra and baselines", &together, &y, &groups, effort)?;
    // A baseline that is worse than guessing is replaced by guessing.
    let difference = |a: &[f64]| -> Result<Estimated, Unfit> {
        let of = |rows: &[usize]| Ok(balanced(&y, a, rows)? - balanced(&y, &baseline_evidence, rows)?.max(0.5));
        Ok(bootstrap(&groups, effort.seed, effort.bootstrap, LEVEL, of)?.into())
    };
    let (advantage, addition) = (difference(&evidence)?, difference(&joint_evidence)?);
    let null = [
        judge("random features", &random, &y, &groups, effort)?.0,
        judge("spectra, labels exchanged", &spectra, &permuted, &groups, effort)?.0,
    ];
    let others = [baseline, joint].into_iter().chain(null).collect();
    let (_, decision) = learn_better(&spectra, &y, &groups)?;
    Ok(Rule {
        condition: condition.key().to_owned(),
        definition: condition.definition().to_owned(),
        decision,
        experiments: y.len(),
        datasets: groups.count(),
        positive,
        verdict: verdict(&validation, advantage, addition),
        validation,
        others,
        advantage,
        addition,
    })
}

/// What may be said, given the intervals.
fn verdict(own: &Validation, advantage: Estimated, addition: Estimated) -> String {
    let useful = own.balanced_accuracy.low > 0.5;
    let beside = if addition.low > 0.0 {
        "added to them, spectra improve the decision"
    } else {
        "added to them, spectra do not measurably improve the decision"
    };
    let alone = match advantage {
        _ if !useful => "spectra alone are not measurably better than guessing",
        a if a.low > 0.0 => "spectra alone decide better than training loss, number of parameters and gradient norm",
        a if a.high < 0.0 => "spectra alone decide worse than training loss, number of parameters and gradient norm",
        _ => {
            "spectra alone decide neither measurably better nor worse than training loss, number of parameters and gradient norm"
        }
    };
    format!("{alone}; {beside}")
}
