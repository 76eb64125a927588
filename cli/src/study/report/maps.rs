//! The pictures of a study's report: courses, correlations, loadings.

use super::super::findings::Findings;
use super::super::findings::features::{Place, QUANTITIES, When};
use super::super::findings::questions::{Association, Estimated};
use super::{range, table};
use crate::error::Result;
use crate::numbers::{significant, typeset};
use crate::report::heat::{Levels, Map};
use crate::report::lines::{Chart, Point, Series, Vertical};
use crate::report::page::{escape, figure, maps};

/// Above the courses.
pub const COURSES: &str = "Medians over data sets, with bars to half of their 95 % interval. Snapshot 0 is before training, the \
    last after it; those between follow at growing distances.";
/// Above the correlations.
pub const ASSOCIATIONS: &str = "Spearman's correlation of each feature with the generalisation gap (training − test score), alone \
    and when parameters, parameters per equation and training loss are taken out of both; with half the width of its interval on \
    hover and in the numbers. The table has the strongest with p by exchange of data sets and q after Benjamini–Hochberg; the mixed \
    model has the controls and a random intercept per data set, all in ranks over their deviation. The table below it counts what is \
    found in nothing, also by the p that would follow if networks on the same data were independent, which they are not.";
/// Above the canonical correlations.
pub const CANONICAL: &str = "Which combination of all features goes with which combination of gap, test and training score (ridge \
    analysis of ranks). Loadings are correlations with the combination. The correlation on held-out data sets contains what capacity does to both; where scores were exchanged between \
    data sets, only that is left.";

/// Rows of the table of associations.
const STRONGEST: usize = 15;

/// A chart per quantity and layer, a line per capacity.
pub fn courses(f: &Findings) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for group in f.courses.chunk_by(|a, b| (&a.quantity, &a.layer) == (&b.quantity, &b.layer)) {
        let series = group.iter().enumerate().map(|(k, course)| Series {
            label: course.capacity.clone(),
            colour: k,
            marks: true,
            dashed: false,
            points: course
                .points
                .iter()
                .map(|(x, e)| Point { x: *x as f64, y: e.value, error: Some(0.5 * (e.high - e.low)) })
                .collect(),
        });
        let last = group.iter().flat_map(|c| &c.points).map(|p| p.0).max().unwrap_or(0);
        let snapshots: Vec<usize> = (0..=last).collect();
        let title = format!("{}, {} layer", group[0].title, group[0].layer);
        let chart = Chart {
            label: format!("{title} by capacity over the snapshots"),
            series: series.collect(),
            across: "snapshot",
            snapshots: &snapshots,
            last,
            vertical: Vertical::Linear,
        };
        out.extend(chart.svg()?.map(|svg| figure(&svg, &title, "")));
    }
    Ok(out)
}

/// A map of numbers by quantity and layer at a moment.
fn map(title: &str, note: &str, moment: When, value: impl Fn(&str) -> Option<(f64, Option<f64>)>) -> Option<String> {
    let columns: Vec<String> = Place::ALL.iter().map(|p| p.name().to_owned()).collect();
    let (mut rows, mut values, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for q in &QUANTITIES {
        let of = |p: &Place| value(&format!("{}:{}:{}", q.key, p.name(), moment.name()));
        let found: Vec<_> = Place::ALL.iter().map(of).collect();
        if found.iter().any(Option::is_some) {
            rows.push(q.symbol.trim_start_matches("log ").to_owned());
            values.push(found.iter().map(|x| x.map(|x| x.0)).collect::<Vec<_>>());
            errors.push(found.iter().map(|x| x.and_then(|x| x.1)).collect::<Vec<_>>());
        }
    }
    if rows.is_empty() {
        return None;
    }
    let map = Map {
        rows: &rows,
        columns: &columns,
        across: "layer",
        values: &values,
        errors: Some(&errors),
        levels: Levels::Even(1.0),
    };
    Some(map.figure(title, note))
}

/// A title and the correlation that it stands for.
type Shown = (&'static str, fn(&Association) -> Estimated);

/// The maps of correlations, and the strongest in a table.
pub fn associations(f: &Findings) -> String {
    let Some(own) = f.batteries.first() else { return String::new() };
    let half = |e: Estimated| Some((e.value, Some(0.5 * (e.high - e.low))));
    let find = |list: &[Association], name: &str, of: fn(&Association) -> Estimated| {
        list.iter().find(|a| a.feature == name).and_then(|a| half(of(a)))
    };
    let mut pictures = Vec::new();
    for moment in [When::End, When::Start] {
        let when = if moment == When::End { "at the end" } else { "before training" };
        let gap: [Shown; 2] = [("Gap", |a| a.spearman), ("Gap beyond controls", |a| a.partial)];
        for (title, of) in gap {
            pictures.extend(map(title, when, moment, |name| find(&own.gap, name, of)));
        }
        pictures.extend(map("Test score", when, moment, |name| find(&own.test, name, |a| a.spearman)));
    }
    let mut order: Vec<&Association> = own.gap.iter().collect();
    order.sort_by(|a, b| b.partial.value.abs().total_cmp(&a.partial.value.abs()));
    let title =
        |name: &str| super::super::findings::features::Feature::of_name(name).map_or(name.to_owned(), |f| f.title());
    let row = |a: &&Association| {
        let p = |x: f64| significant(x, 2);
        vec![
            escape(&title(&a.feature)),
            range(a.spearman, 2),
            p(a.test.p),
            p(a.test.q),
            range(a.partial, 2),
            p(a.partial_test.p),
            p(a.partial_test.q),
            typeset(&format!("{} ± {}", significant(a.mixed, 2), significant(a.mixed_error, 2))),
        ]
    };
    let rows: Vec<_> = order.iter().take(STRONGEST).map(row).collect();
    let head = ["feature", "Spearman", "p", "q", "beyond controls", "p", "q", "mixed model"];
    let null: Vec<_> = f
        .batteries
        .iter()
        .map(|b| {
            let (plain, partial) = b.discoveries();
            let share = |p: fn(&Association) -> f64| {
                let below = b.gap.iter().filter(|a| p(a) <= 0.05).count();
                format!("{below} of {}", b.gap.len())
            };
            vec![
                escape(&b.of),
                plain.to_string(),
                partial.to_string(),
                share(|a| a.test.p),
                share(|a| a.partial_test.p),
                share(|a| a.naive_p),
            ]
        })
        .collect();
    let counts = table(
        &["data", "q ≤ 0.05", "beyond controls", "p ≤ 0.05", "beyond controls", "p ≤ 0.05 if independent"],
        &null,
    );
    maps(&pictures) + &table(&head, &rows) + "<h3>Against nothing</h3>\n" + &counts
}

/// The numbers of the analysis for the measured data and the negative controls, and the loadings.
pub fn canonical(f: &Findings) -> String {
    let row = |b: &super::super::findings::Battery| {
        let c = &b.canonical;
        let rho: Vec<String> = c.correlations.iter().map(|x| significant(*x, 2)).collect();
        vec![
            escape(&b.of),
            rho.join(", "),
            significant(c.wilks, 2),
            significant(c.wilks_p, 2),
            significant(c.first_p, 2),
            range(c.held_out, 2),
        ]
    };
    let rows: Vec<_> = f.batteries.iter().map(row).collect();
    let head = ["data", "correlations", "Wilks’ Λ", "p of Λ", "p of the first", "first, held out"];
    let Some(own) = f.batteries.first() else { return String::new() };
    let loading = |name: &str| own.canonical.features.iter().find(|l| l.0 == name).map(|l| (l.1, None));
    let pictures: Vec<String> = [(When::End, "at the end"), (When::Start, "before training")]
        .into_iter()
        .filter_map(|(moment, when)| map("Loadings of the features", when, moment, loading))
        .collect();
    let outcomes: Vec<_> =
        own.canonical.outcomes.iter().map(|(n, x)| vec![escape(n), typeset(&significant(*x, 2))]).collect();
    table(&head, &rows) + &table(&["score", "loading"], &outcomes) + &maps(&pictures)
}
