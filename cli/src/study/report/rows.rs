//! The tables of a study's report: one row per experiment with its details, and differences by capacity.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::conclude::range;
use super::super::findings::Findings;
use super::super::findings::features::{Feature, Profile};
use super::super::tables::{Experiment, Row, Tables};
use super::table;
use crate::numbers::{grouped, significant, typeset};
use crate::report::REPORT;
use crate::report::page::{escape, symbol};

/// Above the experiments.
pub const EXPERIMENTS: &str = "One row per network. Its name leads to its own report, if it has one; below the table, each opens \
    to the spectra of its layers.";

/// Quantities of the details, with their symbols.
const DETAILS: [(&str, &str); 6] = [
    ("lambda_max", "λ_max"),
    ("lambda_min", "λ_min"),
    ("trace", "trace"),
    ("rank_effective", "effective rank"),
    ("negative_mass", "negative mass"),
    ("condition", "condition"),
];

fn number(x: Option<f64>) -> String {
    x.map_or("–".to_owned(), |x| typeset(&significant(x, 3)))
}

/// All experiments in a table, then the details of each.
pub fn experiments(tables: &Tables, dir: &Path) -> String {
    let mut own: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    tables.rows.iter().for_each(|r| own.entry(r.experiment.as_str()).or_default().push(r));
    let rows: Vec<_> = tables.experiments.iter().map(|e| overview(e, dir)).collect();
    let head = [
        "network",
        "task",
        "hidden",
        "parameters",
        "per equation",
        "start",
        "optimiser",
        "epochs",
        "training",
        "test",
        "gap",
        "ended",
    ];
    let details: String = tables
        .experiments
        .iter()
        .map(|e| {
            let rows = own.get(e.experiment.as_str()).map_or(&[][..], Vec::as_slice);
            details(e, &Profile::of_rows(rows.iter().copied()))
        })
        .collect();
    let many = format!(
        "<details><summary>All {} networks, layer by layer</summary>\n{details}</details>\n",
        tables.experiments.len()
    );
    table(&head, &rows) + &many
}

fn overview(e: &Experiment, dir: &Path) -> Vec<String> {
    let page = format!("experiments/{}/{REPORT}", e.experiment);
    let name = escape(&e.experiment);
    let has_page =
        e.experiment.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) && dir.join(&page).is_file();
    let name = if has_page { format!("<a href=\"{}\">{name}</a>", escape(&page)) } else { name };
    let ended = match &e.reason {
        Some(reason) => format!("{}: {reason}", e.status),
        None => e.status.clone(),
    };
    vec![
        name,
        escape(&e.task),
        escape(&format!("{} × {}", e.depth, e.width)),
        grouped(e.parameters),
        significant(e.load, 2),
        escape(&e.init),
        escape(&format!("{}, {}", e.optimizer, significant(e.lr, 2))),
        grouped(e.epochs),
        number(e.train_score),
        number(e.test_score),
        number(e.gap_score),
        escape(&ended),
    ]
}

fn details(e: &Experiment, profile: &Profile) -> String {
    let mut moments: Vec<_> = profile.moments.iter().collect();
    if moments.len() > 2 {
        moments = vec![moments[0], moments[moments.len() - 1]];
    }
    let mut rows = Vec::new();
    for moment in moments {
        for layer in &moment.layers {
            let mut cells = vec![escape(&layer.name), moment.epoch.to_string()];
            cells.extend(DETAILS.iter().map(|(key, _)| number(layer.get(key))));
            rows.push(cells);
        }
    }
    let heads: Vec<&str> = ["layer", "epoch"].into_iter().chain(DETAILS.iter().map(|d| d.1)).collect();
    let shown = if rows.is_empty() { "<p>There is no snapshot.</p>\n".to_owned() } else { table(&heads, &rows) };
    format!(
        "<details id=\"{0}\"><summary>{0}: {1}</summary>\n{shown}</details>\n",
        escape(&e.experiment),
        escape(&e.activation)
    )
}

/// Differences between the largest and the smallest network, those that are settled first.
pub fn contrasts(f: &Findings) -> String {
    let mut order: Vec<_> = f.contrasts.iter().collect();
    order.sort_by_key(|c| (!c.difference.settled(), std::cmp::Reverse((2 * c.larger).abs_diff(c.datasets))));
    let row = |c: &&super::super::findings::capacity::Contrast| {
        let title = Feature::of_name(&c.feature).map_or(c.feature.clone(), |f| f.title());
        vec![symbol(&title), range(c.difference, 2), format!("{} of {}", c.larger, c.datasets)]
    };
    let rows: Vec<_> = order.iter().map(row).collect();
    let head = ["feature", "largest − smallest", "larger in"];
    let (first, rest) = rows.split_at(rows.len().min(12));
    let more = if rest.is_empty() {
        String::new()
    } else {
        format!("<details><summary>{} more</summary>{}</details>\n", rest.len(), table(&head, rest))
    };
    table(&head, first) + &more
}
