//! `eigenlens diagnose`: the rules applied to a run, with their evidence and their error, in plain words.

use std::path::Path;

use serde::Serialize;

use super::direct::direct;
use super::rule::{Decision, Rule, Rules, Validation};
use crate::args::Format;
use crate::error::{Failure, Result};
use crate::files::read_text;
use crate::numbers::significant;
use crate::report::RESULT;
use crate::results::RunResult;
use crate::rundir::RunDir;
use crate::study::findings::features::{Feature, Profile};
use crate::table::wrapped;

/// Standard deviations from the study's mean beyond which a run is unlike the study's.
const UNLIKE: f64 = 4.0;

/// What one rule says of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// What the rule is about: a condition, or what a direct rule is called.
    pub rule: String,
    /// `learned` or `direct`.
    pub kind: &'static str,
    /// The layer, if it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// `likely`, `unlikely`, `found` or `unknown`.
    pub answer: &'static str,
    /// What it means.
    pub meaning: String,
    /// The numbers behind it.
    pub evidence: Vec<String>,
    /// How often the rule is wrong, and what else could be said without spectra.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reliability: Vec<String>,
    /// What can be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// What all rules say of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The run, in words.
    pub run: String,
    /// Where the learned rules come from.
    pub rules: String,
    /// The answers, learned rules first.
    pub answers: Vec<Answer>,
}

/// Applies the rules of a file, or those that come with the program, to a run directory.
///
/// # Errors
/// If it is no run directory, has no result or no snapshot, if its blocks are not the Hessian's layers, or if the rules can't
/// be read.
pub fn diagnose(dir: &Path, rules: Option<&Path>) -> Result<Diagnosis> {
    let run = RunDir::open(dir)?;
    let path = run.file(RESULT);
    if !path.is_file() {
        return Err(Failure::new("the run has no result yet")
            .at(dir.display())
            .hint("let it finish: eigenlens run --resume with its config and --out"));
    }
    let result = RunResult::from_json(&read_text(&path)?, &path.display().to_string())?;
    let rules = match rules {
        Some(path) => Rules::from_json(&read_text(path)?, &path.display().to_string())?,
        None => Rules::built_in()?,
    };
    of_result(&result, &rules).map_err(|e| e.at(dir.display()))
}

fn of_result(result: &RunResult, rules: &Rules) -> Result<Diagnosis> {
    if result.blocks != "layer" || result.curvature != "hessian" {
        let what = format!("the blocks of the run are {} of {}", result.blocks, result.curvature);
        return Err(Failure::new(format!("{what}; the rules speak of the Hessian layer by layer"))
            .hint("run it with spectra.blocks = \"layer\" and spectra.curvature = \"hessian\""));
    }
    let profile = Profile::of_run(result);
    let end = profile.moments.last().filter(|m| !m.layers.is_empty());
    let end = end.ok_or_else(|| Failure::new("the run has no snapshot with layers").hint("let it reach a snapshot"))?;
    let mut answers: Vec<Answer> = rules.rules.iter().map(|rule| learned(rule, &profile)).collect();
    answers.extend(direct(&profile).into_iter().map(|f| Answer {
        rule: f.name.to_owned(),
        kind: "direct",
        layer: f.layer,
        answer: "found",
        meaning: f.meaning,
        evidence: vec![f.evidence],
        reliability: Vec::new(),
        advice: None,
    }));
    Ok(Diagnosis {
        run: format!("{}: {}, after epoch {}", result.dataset.name, result.model.description, end.epoch),
        rules: rules.study.clone(),
        answers,
    })
}

fn learned(rule: &Rule, profile: &Profile) -> Answer {
    let value = |name: &str| profile.feature(Feature::of_name(name)?);
    let (answer, yes) = match rule.evidence(profile) {
        Some(e) if e > 0.0 => ("likely", Some(true)),
        Some(_) => ("unlikely", Some(false)),
        None => ("unknown", None),
    };
    let title = |name: &str| Feature::of_name(name).map_or(name.to_owned(), |f| f.title());
    let mut evidence = match &rule.decision {
        Decision::Threshold { feature, above, at } => {
            let side = if *above { "above" } else { "below" };
            let found = value(feature).map_or("is not known".to_owned(), |x| format!("is {}", significant(x, 3)));
            vec![format!("{} {found}; the rule says yes {side} {}", title(feature), significant(*at, 3))]
        }
        Decision::Logistic { terms, .. } => {
            let mut shares: Vec<(f64, String)> = Vec::new();
            for t in terms {
                let Some(x) = value(&t.feature) else {
                    return unknown(rule, &title(&t.feature));
                };
                let share = t.weight * (x - t.mean) / t.deviation;
                let direction = if share > 0.0 { "for" } else { "against" };
                let text = format!(
                    "{} is {} (study: {} ± {}), speaks {direction} it with {} in the log-odds",
                    title(&t.feature),
                    significant(x, 3),
                    significant(t.mean, 3),
                    significant(t.deviation, 2),
                    significant(share.abs(), 2)
                );
                shares.push((share.abs(), text));
            }
            shares.sort_by(|a, b| b.0.total_cmp(&a.0));
            shares.into_iter().take(3).map(|s| s.1).collect()
        }
    };
    if let Decision::Logistic { terms, .. } = &rule.decision {
        let far = terms.iter().filter(|t| value(&t.feature).is_some_and(|x| (x - t.mean).abs() > UNLIKE * t.deviation));
        evidence.extend(far.map(|t| format!("careful: {} is unlike any network of the study", title(&t.feature))));
    }
    if yes.is_none() {
        return unknown(rule, "a feature");
    }
    Answer {
        rule: rule.condition.clone(),
        kind: "learned",
        layer: None,
        answer,
        meaning: rule.definition.clone(),
        evidence,
        reliability: reliability(rule, yes),
        advice: rule.condition().filter(|_| yes == Some(true)).map(|c| c.advice().to_owned()),
    }
}

fn unknown(rule: &Rule, missing: &str) -> Answer {
    Answer {
        rule: rule.condition.clone(),
        kind: "learned",
        layer: None,
        answer: "unknown",
        meaning: rule.definition.clone(),
        evidence: vec![format!(
            "{missing} is not known for this run; spectra of all layers must be exact or have pairs"
        )],
        reliability: Vec::new(),
        advice: None,
    }
}

fn reliability(rule: &Rule, yes: Option<bool>) -> Vec<String> {
    let percent = |x: f64| format!("{:.0} %", 100.0 * x);
    let v: &Validation = &rule.validation;
    let mut out = vec![format!(
        "on data sets that it had not seen, the rule was wrong for {} of {} networks ({}); balanced accuracy {} ({} to {}), \
         guessing gives 50 %",
        v.counts.false_positive + v.counts.false_negative,
        v.counts.total(),
        percent(v.counts.error()),
        percent(v.balanced_accuracy.value),
        percent(v.balanced_accuracy.low),
        percent(v.balanced_accuracy.high)
    )];
    if let Some(yes) = yes
        && let Some((wrong, all)) = v.counts.wrong_when(yes)
    {
        let said = if yes { "yes" } else { "no" };
        out.push(format!("when it said {said}, as here, it was wrong {wrong} times of {all}"));
    }
    let best = rule.others.iter().filter(|o| o.from == "baselines");
    let best = best.max_by(|a, b| a.balanced_accuracy.value.total_cmp(&b.balanced_accuracy.value));
    if let Some(b) = best {
        out.push(format!(
            "training loss, number of parameters and gradient norm alone reach {}: {}",
            percent(b.balanced_accuracy.value),
            rule.verdict
        ));
    }
    out
}

impl Diagnosis {
    /// The text for standard output.
    ///
    /// # Errors
    /// Never for plain data.
    pub fn show(&self, format: Format, width: usize) -> Result<String> {
        match format {
            Format::Json => serde_json::to_string_pretty(self)
                .map(|t| t + "\n")
                .map_err(|e| Failure::new(format!("the diagnosis has no JSON form: {e}"))),
            Format::Csv => self.csv(),
            Format::Table => Ok(self.text(width)),
        }
    }

    fn csv(&self) -> Result<String> {
        let failure = |e: &dyn std::fmt::Display| Failure::new(format!("the diagnosis has no CSV form: {e}"));
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["rule", "kind", "layer", "answer", "evidence"]).map_err(|e| failure(&e))?;
        for a in &self.answers {
            let layer = a.layer.as_deref().unwrap_or("");
            writer.write_record([&a.rule, a.kind, layer, a.answer, &a.evidence.join("; ")]).map_err(|e| failure(&e))?;
        }
        let bytes = writer.into_inner().map_err(|e| failure(&e))?;
        String::from_utf8(bytes).map_err(|e| failure(&e))
    }

    fn text(&self, width: usize) -> String {
        let mut out = wrapped(&self.run, width);
        let mut put = |indent: &str, line: &str| {
            for line in wrapped(line, width.saturating_sub(indent.len())).lines() {
                out.push_str(&format!("{indent}{line}\n"));
            }
        };
        for a in &self.answers {
            let layer = a.layer.as_ref().map_or(String::new(), |l| format!(" {l}"));
            put("", "");
            put("", &format!("{}{layer}: {}", a.rule, a.answer));
            put("  ", &format!("that is: {}", a.meaning));
            a.evidence.iter().for_each(|e| put("  ", &format!("evidence: {e}")));
            a.reliability.iter().for_each(|r| put("  ", &format!("how sure: {r}")));
            a.advice.iter().for_each(|d| put("  ", &format!("what to do: {d}")));
        }
        if !self.answers.iter().any(|a| a.kind == "direct") {
            put("", "");
            put("", "No layer is dead, saturated or full, and no step was beyond its bound.");
        }
        put("", "");
        put("", &format!("The learned rules come from {}.", self.rules));
        out
    }
}
