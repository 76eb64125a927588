//! `report.html` of a study: one self-contained page in the style of a run's report.

mod maps;
mod rows;

use std::path::Path;

use super::conclude::{Conclusion, capital, range};
use super::diagnosis::Rule;
use super::findings::Findings;
use super::tables::Tables;
use crate::error::Result;
use crate::machine;
use crate::numbers::{grouped, significant};
use crate::report::page::{definitions, escape, figures, whole};

/// The page of a study in `dir`, whose experiments are linked where they have pages of their own.
///
/// # Errors
/// Only if plotters can't draw.
pub fn render(tables: &Tables, conclusion: &Conclusion, dir: &Path) -> Result<String> {
    let mut body = head(tables, conclusion);
    if let Ok(f) = &conclusion.findings {
        section(&mut body, "Spectra over training, by capacity", maps::COURSES, &figures(&maps::courses(f)?));
        section(&mut body, "What goes with the generalisation gap", maps::ASSOCIATIONS, &maps::associations(f));
        section(&mut body, "Canonical correlations", maps::CANONICAL, &maps::canonical(f));
        section(&mut body, "Predicting new data sets", PREDICTIONS, &predictions(f));
        section(&mut body, "By capacity", CONTRASTS, &rows::contrasts(f));
    }
    section(&mut body, "Diagnosis", DIAGNOSIS, &diagnosis(&conclusion.rules));
    section(&mut body, "Experiments", rows::EXPERIMENTS, &rows::experiments(tables, dir));
    body.push_str(&provenance(conclusion));
    Ok(whole("Study of layer-wise Hessians", machine::VERSION, &body))
}

const PREDICTIONS: &str = "Ridge regression of ranks; every data set is predicted from the others. Skill is 1 − squared error \
    over that of their mean; gain the same over the error of the controls (parameters, parameters per equation, training loss) \
    alone. p: how often as large a gain comes when what the controls leave of the gap is exchanged between data sets. \
    Random features and permuted outcomes went through the same program.";
const CONTRASTS: &str = "The largest network of a data set against its smallest, at the end of training: median difference with \
    its 95 % interval, and in how many data sets the larger network has the larger value.";
const DIAGNOSIS: &str = "Rules that see spectra only, learned without the data set that they are tried on. Beside them the same \
    procedures given training loss, number of parameters, load and gradient norm, both together, and two controls: random \
    features, and labels exchanged between networks of the same capacity on different data, which leave only what capacity \
    tells. Balanced accuracy is the mean of the shares found among yes and among no: 0.5 is guessing. Where there is nothing to \
    learn it comes out below that, as a data set that is left out takes its own labels out of what is learned: random features \
    say how far";

fn section(body: &mut String, heading: &str, intro: &str, content: &str) {
    if !content.is_empty() {
        body.push_str(&format!("<h2>{heading}</h2>\n<p class=\"lead\">{}</p>\n{content}", escape(intro)));
    }
}

fn head(tables: &Tables, conclusion: &Conclusion) -> String {
    let finished = tables.experiments.iter().filter(|e| e.status == "finished").count();
    let mut facts = vec![
        (grouped(tables.experiments.len()), "networks".to_owned()),
        (grouped(finished), "trained to the end".to_owned()),
        (grouped(tables.rows.len()), "numbers of spectra and weights".to_owned()),
    ];
    if let Ok(f) = &conclusion.findings {
        facts.push((grouped(f.datasets), "data sets".to_owned()));
        if let Some(own) = f.batteries.first() {
            let (plain, partial) = own.discoveries();
            let of = own.gap.len();
            facts.push((format!("{plain} of {of}"), "features go with the gap".to_owned()));
            facts.push((format!("{partial} of {of}"), "beyond size and training loss".to_owned()));
        }
    }
    let facts: String =
        facts.iter().map(|(v, what)| format!("<li><b>{}</b><span>{}</span></li>\n", escape(v), escape(what))).collect();
    let answers: String = conclusion.answers().iter().map(|a| format!("<li>{}</li>\n", escape(a))).collect();
    format!(
        "<header>\n<h1>Study of layer-wise Hessians</h1>\n<p class=\"lead\">Intervals cover 95 % over resampled data sets; \
         p-values exchange whole data sets.</p>\n</header>\n<ul class=\"facts\">\n{facts}</ul>\n<h2>What it says</h2>\n\
         <ul class=\"answers\">\n{answers}</ul>\n"
    )
}

/// A table with a heading row; cells are HTML.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = head.iter().map(|h| format!("<th>{}</th>", escape(h))).collect();
    let row = |cells: &Vec<String>| {
        let rest: String = cells[1..].iter().map(|c| format!("<td>{c}</td>")).collect();
        format!("<tr><th>{}</th>{rest}</tr>\n", cells[0])
    };
    let rows: String = rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table class=\"numbers\">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
}

fn predictions(f: &Findings) -> String {
    let show = |e| range(e, 2);
    let mut rows = Vec::new();
    for battery in &f.batteries {
        for p in &battery.predictions {
            if battery.of != "measured" && p.gain.is_none() && battery.of.contains("features") {
                continue;
            }
            rows.push(vec![
                escape(&p.from),
                escape(&battery.of),
                p.columns.to_string(),
                show(p.skill),
                p.gain.map_or("–".to_owned(), show),
                p.gain_p.map_or("–".to_owned(), |p| significant(p, 2)),
            ]);
        }
    }
    table(&["from", "data", "columns", "skill", "gain", "p"], &rows)
}

fn diagnosis(rules: &[Rule]) -> String {
    let mut out = String::new();
    for rule in rules {
        out.push_str(&format!(
            "<h3>{}</h3>\n<p>{}: {} of {} networks. {}.</p>\n",
            escape(&rule.condition),
            escape(&capital(&rule.definition)),
            rule.positive,
            rule.experiments,
            escape(&capital(&rule.verdict))
        ));
        let row = |v: &super::diagnosis::rule::Validation| {
            let c = v.counts;
            vec![
                escape(&format!("{}, {}", v.from, v.form)),
                c.true_positive.to_string(),
                c.false_negative.to_string(),
                c.false_positive.to_string(),
                c.true_negative.to_string(),
                significant(c.error(), 2),
                range(v.balanced_accuracy, 2),
                v.auc.map_or("–".to_owned(), |a| significant(a, 2)),
            ]
        };
        let rows: Vec<_> = std::iter::once(&rule.validation).chain(&rule.others).map(row).collect();
        let head = ["given", "found", "missed", "false alarms", "rightly no", "error", "balanced accuracy", "AUC"];
        out.push_str(&table(&head, &rows));
        out.push_str(&definitions([
            ("rule", in_words(&rule.decision)),
            ("spectra − baselines", range(rule.advantage, 2)),
            ("both − baselines", range(rule.addition, 2)),
        ]));
    }
    out
}

/// A decision in words.
fn in_words(decision: &super::diagnosis::rule::Decision) -> String {
    use super::diagnosis::rule::Decision;
    use super::findings::features::Feature;
    let title = |name: &str| Feature::of_name(name).map_or(name.to_owned(), |f| f.title());
    match decision {
        Decision::Threshold { feature, above, at } => {
            format!(
                "yes where {} is {} {}",
                title(feature),
                if *above { "above" } else { "below" },
                significant(*at, 3)
            )
        }
        Decision::Logistic { terms, .. } => {
            let each =
                |t: &super::diagnosis::rule::Term| format!("{} ({})", title(&t.feature), significant(t.weight, 2));
            format!("log-odds from {}", terms.iter().map(each).collect::<Vec<_>>().join("; "))
        }
    }
}

fn provenance(conclusion: &Conclusion) -> String {
    let mut lists = String::new();
    if let Ok(f) = &conclusion.findings {
        let e = f.effort;
        lists.push_str(&definitions([
            (
                "draws",
                format!(
                    "{} bootstrap, {} permutations, {} refits, seed {}",
                    e.bootstrap, e.permutations, e.refits, e.seed
                ),
            ),
            ("experiments", format!("{} of {} used", f.used, f.experiments)),
        ]));
        for (title, list) in [("Experiments left out", &f.left_out), ("Features left out", &f.dropped)] {
            if !list.is_empty() {
                let rows: Vec<_> = list.iter().map(|(a, b)| vec![escape(a), escape(b)]).collect();
                let shown = table(&["", "why"], &rows);
                lists.push_str(&format!("<details><summary>{title}: {}</summary>{shown}</details>\n", list.len()));
            }
        }
    }
    format!("<h2>How it was made</h2>\n{lists}<p class=\"note\">eigenlens {}</p>\n", escape(machine::VERSION))
}

#[cfg(test)]
mod tests {
    use super::super::conclude::conclude;
    use super::super::findings::questions::Effort;
    use super::super::findings::testing::study;

    const EFFORT: Effort = Effort { seed: 1, bootstrap: 60, permutations: 99, refits: 9 };

    #[test]
    fn a_study_becomes_a_page_with_every_part() {
        let dir = tempfile::tempdir().unwrap();
        let mut tables = study(10, |_, _, signal| 0.1 + 0.05 * signal);
        tables.experiments[2].reason = Some("the loss is <not> finite".into());
        tables.experiments[2].status = "diverged".into();
        let conclusion = conclude(&tables, dir.path(), EFFORT).unwrap();
        let html = std::fs::read_to_string(&conclusion.report).unwrap();
        for part in [
            "What it says",
            "by capacity",
            "generalisation gap",
            "Canonical correlations",
            "random features",
            "permuted outcomes",
            "false alarms",
            "set09-over",
            "&lt;not&gt; finite",
        ] {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("NaN") && !html.contains("http"), "self-contained and finite");
        for file in ["statistics.json", "rules.json"] {
            assert!(dir.path().join(file).is_file());
        }
        let again = tempfile::tempdir().unwrap();
        conclude(&tables, again.path(), EFFORT).unwrap();
        for file in ["statistics.json", "rules.json", "report.html"] {
            assert_eq!(std::fs::read(dir.path().join(file)).unwrap(), std::fs::read(again.path().join(file)).unwrap());
        }
    }

    #[test]
    fn a_study_that_is_too_small_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let conclusion = conclude(&study(2, |_, _, signal| signal), dir.path(), EFFORT).unwrap();
        assert!(conclusion.findings.is_err());
        let html = std::fs::read_to_string(&conclusion.report).unwrap();
        assert!(html.contains("There are no statistics: 2 data sets, at least"), "{}", &html[..3000.min(html.len())]);
    }
}
