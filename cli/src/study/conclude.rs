//! The end of a study: its statistics, its rules and its report, from its tables alone.

use std::path::{Path, PathBuf};

use super::diagnosis::learn::learn;
use super::diagnosis::{Rule, Rules};
use super::findings::questions::Effort;
use super::findings::{Findings, PERMUTED, find};
use super::report;
use super::tables::Tables;
use crate::error::{Failure, Result};
use crate::files::write_atomic;
use crate::numbers::{significant, typeset};

/// Name of the statistics in a study's directory.
pub const STATISTICS: &str = "statistics.json";
/// Name of the learned rules.
pub const RULES: &str = "rules.json";

/// What a study's tables lead to.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// The statistics, or why there are none.
    pub findings: std::result::Result<Findings, String>,
    /// The learned rules.
    pub rules: Vec<Rule>,
    /// Conditions without a rule, and why.
    pub skipped: Vec<String>,
    /// The report.
    pub report: PathBuf,
}

/// Computes and writes `statistics.json`, `rules.json` and `report.html` of a study. A study that is too small for
/// statistics has a report that says so.
///
/// # Errors
/// If something can't be written or drawn.
pub fn conclude(tables: &Tables, dir: &Path, effort: Effort) -> Result<Conclusion> {
    let findings = find(tables, effort).map_err(|e| e.to_string());
    let mut datasets: Vec<&str> = tables.experiments.iter().map(|e| e.dataset.as_str()).collect();
    datasets.sort_unstable();
    datasets.dedup();
    let study = format!("a study of {} networks on {} data sets", tables.experiments.len(), datasets.len());
    let (rules, skipped) = match learn(tables, &study, effort) {
        Ok((rules, skipped)) => (rules, skipped),
        Err(e) => (Rules { schema: super::diagnosis::rule::SCHEMA, study, rules: Vec::new() }, vec![e.to_string()]),
    };
    if let Ok(findings) = &findings {
        let text = serde_json::to_string_pretty(findings)
            .map_err(|e| Failure::new(format!("the statistics have no JSON form: {e}")))?;
        write_atomic(&dir.join(STATISTICS), (text + "\n").as_bytes())?;
    }
    write_atomic(&dir.join(RULES), rules.to_json().as_bytes())?;
    let mut conclusion = Conclusion { findings, rules: rules.rules, skipped, report: dir.join(crate::report::REPORT) };
    let html = report::render(tables, &conclusion, dir)?;
    write_atomic(&conclusion.report, html.as_bytes())?;
    conclusion.skipped.sort();
    Ok(conclusion)
}

impl Conclusion {
    /// The answers in sentences, the most important first: what the terminal shows and the report begins with.
    pub fn answers(&self) -> Vec<String> {
        let mut out = Vec::new();
        match &self.findings {
            Ok(f) => out.extend(statistics(f)),
            Err(why) => out.push(format!("There are no statistics: {why}.")),
        }
        for rule in &self.rules {
            let v = &rule.validation;
            out.push(format!(
                "{} networks are told from the others by spectra alone with a balanced accuracy of {} on new data sets; {}.",
                capital(&rule.condition),
                range(v.balanced_accuracy, 2),
                rule.verdict
            ));
        }
        out.extend(self.skipped.iter().map(|s| format!("No rule was learned for {s}.")));
        out
    }
}

/// A number with its interval: `0.31 (0.12 to 0.46)`.
pub fn range(e: super::findings::questions::Estimated, digits: usize) -> String {
    let of = |x: f64| typeset(&significant(x, digits));
    format!("{} ({} to {})", of(e.value), of(e.low), of(e.high))
}

/// The text with its first letter capital.
pub fn capital(text: &str) -> String {
    let mut all = text.chars();
    all.next().map_or(String::new(), |c| c.to_uppercase().chain(all).collect())
}

fn statistics(f: &Findings) -> Vec<String> {
    let Some(own) = f.batteries.first() else { return Vec::new() };
    let (plain, partial) = own.discoveries();
    let null: Vec<String> = f
        .batteries
        .iter()
        .skip(1)
        .map(|b| format!("{}: {} and {}", b.of, b.discoveries().0, b.discoveries().1))
        .collect();
    let mut out = vec![format!(
        "Of {} spectral features, {plain} go with the generalisation gap (false discovery rate 5 %), {partial} beyond parameter \
         count, load and training loss ({}).",
        own.gap.len(),
        null.join("; ")
    )];
    let all = own.predictions.iter().find(|p| p.from.ends_with("all at the end"));
    if let (Some(base), Some(all)) = (own.predictions.first(), all)
        && let (Some(gain), Some(p)) = (all.gain, all.gain_p)
    {
        let says = match gain {
            g if g.low > 0.0 && p <= 0.05 => "spectra add to it",
            g if g.high < 0.0 => "adding spectra makes it worse",
            _ if p <= 0.05 => {
                "more than when nothing is there, but not in enough data sets for its interval to leave zero: a hint"
            }
            _ => "spectra add nothing that could be measured",
        };
        out.push(format!(
            "On data sets left out, parameter count, load and training loss predict the rank of the gap with R² = {}; with all \
             spectra at the end beside them the remaining squared error falls by a share of {} (p = {}): {says}.",
            range(base.skill, 2),
            range(gain, 2),
            significant(p, 2)
        ));
    }
    let layers = ["first layer", "last layer", "mean of layers"];
    let each = layers.iter().filter_map(|l| {
        let p = own.predictions.iter().find(|p| p.from.ends_with(l))?;
        Some(format!("{l} {}", range(p.gain?, 2)))
    });
    out.push(format!("By layer, the share is: {}.", each.collect::<Vec<_>>().join(", ")));
    let c = &own.canonical;
    let exchanged = f.batteries.iter().find(|b| b.of == PERMUTED).map_or(String::new(), |b| {
        format!(
            " ({} with scores exchanged between data sets: so much is capacity alone)",
            range(b.canonical.held_out, 2)
        )
    });
    out.push(format!(
        "Spectra and scores have a first canonical correlation of {} (p = {}), {} on data sets left out{exchanged}.",
        significant(c.correlations.first().copied().unwrap_or(0.0), 2),
        significant(c.first_p, 2),
        range(c.held_out, 2)
    ));
    let mut clear: Vec<_> = f.contrasts.iter().filter(|c| c.difference.settled()).collect();
    let lopsided = |c: &super::findings::capacity::Contrast| (2 * c.larger).abs_diff(c.datasets);
    clear.sort_by_key(|c| std::cmp::Reverse(lopsided(c)));
    let say = |c: &&super::findings::capacity::Contrast| {
        let title = super::findings::features::Feature::of_name(&c.feature).map_or(c.feature.clone(), |f| f.title());
        let (way, count) =
            if c.difference.value > 0.0 { ("larger", c.larger) } else { ("smaller", c.datasets - c.larger) };
        format!("{title} is {way} in {count} of {}", c.datasets)
    };
    if !clear.is_empty() {
        let few: Vec<String> = clear.iter().take(4).map(say).collect();
        out.push(format!(
            "From the smallest to the largest network of a data set, {} of {} features move: {}.",
            clear.len(),
            f.contrasts.len(),
            few.join("; ")
        ));
    }
    out
}
