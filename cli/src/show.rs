//! What the commands print on standard output, in each of the three forms.

use eigenlens_hessian::curvature::Curvature;
use serde::Serialize;

use crate::args::Format;
use crate::config::Task;
use crate::error::{Failure, Result};
use crate::numbers::{grouped, measured, significant};
use crate::quantities::{Form, settled, shown};
use crate::results::{Measured, OffDiagonal, RunResult, Snapshot, metrics_csv};
use crate::table::{Kind, Table};

/// One row of `eigenlens check`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckRow {
    /// Short name: `hvp symmetry`.
    pub name: String,
    /// The identity that must hold: `uᵀHv = vᵀHu`.
    pub identity: String,
    /// What was found: an error relative to the size of the operands, or a slope.
    pub found: f64,
    /// What it must be: `≤ 1e-12`, `2.00 ± 0.15`.
    pub must: String,
    /// Whether it is.
    pub passed: bool,
    /// For a failure: everything that helps to find it, such as op, shapes, seed and Taylor slopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A built-in data set, for `eigenlens data`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatasetInfo {
    /// The name that configs use.
    pub name: String,
    /// What it is.
    pub title: String,
    /// What the target is.
    pub task: Task,
    /// Samples.
    pub rows: usize,
    /// Samples of its own test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_rows: Option<usize>,
    /// Inputs per sample.
    pub features: usize,
    /// Classes, or numbers per target.
    pub outputs: usize,
    /// Names of the classes with their counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<(String, usize)>,
    /// Who collected the data.
    pub origin: String,
    /// Under which licence they may be used.
    pub licence: String,
    /// The package that they were taken from.
    pub package: String,
    /// What was done to them.
    pub preprocessing: String,
    /// Anything else.
    pub note: String,
    /// Scores of reference models, with the metric: `mlp32 accuracy`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reference: Vec<(String, f64)>,
}

/// The result of a run, with the places of its directory and report.
pub fn run(result: &RunResult, directory: &str, report: &str, format: Format, width: usize) -> String {
    match format {
        Format::Json => {
            let mut value: serde_json::Value = serde_json::from_str(&result.to_json()).expect("just written");
            if let Some(object) = value.as_object_mut() {
                object.insert("directory".to_owned(), directory.into());
                object.insert("report".to_owned(), report.into());
            }
            json(&value)
        }
        Format::Csv => metrics_csv(result),
        Format::Table => {
            let mut text = format!("{}: {}\n\n", result.dataset.name, result.model.description);
            if result.curvature() != Curvature::Hessian {
                text.push_str(&format!("{}\n\n", result.headline()));
            }
            text.push_str(&over_training(result).render(width));
            if let Some(last) = result.last() {
                let blocks = if result.blocks == "layer" { "Layers" } else { "Blocks" };
                text.push_str(&format!("\n{blocks} after epoch {}:\n\n", last.epoch));
                text.push_str(&layers(last, &result.blocks).render(width));
                text.push_str(&outside(last, &result.blocks, width));
            }
            for layer in result.last().map_or(&[][..], |s| &s.layers) {
                layer.notes.iter().for_each(|note| text.push_str(&format!("note: {}: {note}\n", layer.name)));
            }
            for note in &result.notes {
                text.push_str(&format!("note: {note}\n"));
            }
            text.push_str(&format!("\nreport  {report}\n"));
            text
        }
    }
}

/// One row per snapshot: scores, Φ, the largest eigenvalue of each layer.
fn over_training(result: &RunResult) -> Table {
    let quality = if result.dataset.task == Task::Regression { "R²" } else { "accuracy" };
    let mut table = Table::new()
        .column("epoch", Kind::Number, 255)
        .column("train loss", Kind::Number, 200)
        .column(format!("test {quality}"), Kind::Number, 199)
        .column("Φ", Kind::Number, 198);
    let known = |s: &Snapshot| s.layers.iter().any(|l| l.lambda_max.is_some());
    let names: Vec<&str> =
        result.last().filter(|s| known(s)).map_or(Vec::new(), |s| s.layers.iter().map(|l| l.name.as_str()).collect());
    for (k, name) in names.iter().enumerate() {
        table = table.column(format!("λ_max {name}"), Kind::Number, 150u8.saturating_sub(k.min(150) as u8));
    }
    for s in &result.snapshots {
        let loss = s.train.loss.map_or("–".to_owned(), |x| significant(x, 3));
        let test = s.test.and_then(|t| t.quality());
        let test = match (test, result.dataset.task) {
            (None, _) => "–".to_owned(),
            (Some(r2), Task::Regression) => significant(r2, 3),
            (Some(accuracy), Task::Classification) => format!("{:.1} %", 100.0 * accuracy),
        };
        let mut cells = vec![s.epoch.to_string(), loss, test, or_dash(s.phi.as_ref(), Form::Share)];
        for name in &names {
            let layer = s.layers.iter().find(|l| l.name == *name);
            cells.push(
                layer
                    .and_then(|l| settled("lambda_max", l))
                    .map(|m| m.value)
                    .map_or("–".to_owned(), |x| significant(x, 3)),
            );
        }
        table.row(cells);
    }
    table
}

/// One row per layer, or per block of another kind.
fn layers(snapshot: &Snapshot, kind: &str) -> Table {
    const COLUMNS: [(&str, u8); 8] = [
        ("lambda_max", 200),
        ("lambda_min", 190),
        ("trace", 180),
        ("frobenius", 120),
        ("negative_mass", 170),
        ("rank_effective", 160),
        ("condition", 90),
        ("outliers", 80),
    ];
    let there: Vec<_> =
        COLUMNS.into_iter().filter(|(key, _)| snapshot.layers.iter().any(|l| l.get(key).is_some())).collect();
    let mut table =
        Table::new().column(kind, Kind::Name, 255).column("what", Kind::Name, 100).column("p", Kind::Number, 150);
    for (key, importance) in &there {
        table = table.column(shown(key).map_or(*key, |s| s.symbol), Kind::Number, *importance);
    }
    table = table.column("route", Kind::Text, 60);
    for layer in &snapshot.layers {
        let mut cells = vec![layer.name.clone(), layer.kind.clone(), grouped(layer.parameters)];
        for (key, _) in &there {
            cells.push(or_dash(settled(key, layer).as_ref(), shown(key).map_or(Form::Number, |s| s.form)));
        }
        cells.push(layer.route.clone());
        table.row(cells);
    }
    table
}

/// What the blocks leave out, in one sentence each; nothing if it was not computed or they are all of it.
fn outside(snapshot: &Snapshot, kind: &str, width: usize) -> String {
    let mut text = String::new();
    if kind == "network" {
        return text;
    }
    if let Some(phi) = &snapshot.phi {
        text.push_str(&format!("\nbetween blocks  Φ = {} of the squared curvature\n", measured(phi, Form::Share)));
    }
    if let Some(bound) = misplaced(snapshot) {
        // Below the label of Φ.
        let label = " ".repeat(16);
        for line in wrap(&bound, width.saturating_sub(label.len()).max(20)) {
            text.push_str(&format!("{label}{line}\n"));
        }
    }
    text
}

/// How far the blocks misplace eigenvalues at most.
pub fn misplaced(snapshot: &Snapshot) -> Option<String> {
    let OffDiagonal { lower, upper, confidence } = snapshot.off_diagonal?;
    let least = significant(lower, 3);
    Some(match upper {
        Some(upper) => format!(
            "no eigenvalue of the whole matrix is further than {} from that of the blocks (Weyl: ‖whole − blocks‖₂ is {least} \
             to {}, at {} %)",
            significant(upper, 3),
            significant(upper, 3),
            significant(100.0 * confidence, 3)
        ),
        None => format!(
            "‖whole − blocks‖₂ is at least {least}: so far may an eigenvalue of the whole matrix be from that of the blocks"
        ),
    })
}

fn or_dash(m: Option<&Measured>, form: Form) -> String {
    m.map_or("–".to_owned(), |m| measured(m, form))
}

/// The checks, and below the table the details of those that failed.
///
/// # Errors
/// Only if a value has no CSV form.
pub fn checks(rows: &[CheckRow], format: Format, width: usize) -> Result<String> {
    match format {
        Format::Json => Ok(json(&rows)),
        Format::Csv => {
            let columns = ["name", "identity", "found", "must", "passed"];
            csv(&columns, rows.iter().map(|r| (&r.name, &r.identity, r.found, &r.must, r.passed)))
        }
        Format::Table => {
            let mut table = Table::new()
                .column("check", Kind::Name, 255)
                .column("identity", Kind::Text, 100)
                .column("found", Kind::Number, 254)
                .column("must be", Kind::Name, 253)
                .column("", Kind::Name, 255);
            for r in rows {
                let verdict = if r.passed { "ok" } else { "FAILED" };
                let cells = [&r.name, &r.identity, &significant(r.found, 3), &r.must, verdict].map(ToString::to_string);
                table.row(cells.to_vec());
            }
            let failed: Vec<&CheckRow> = rows.iter().filter(|r| !r.passed).collect();
            let mut text = table.render(width);
            for row in &failed {
                if let Some(detail) = &row.detail {
                    text.push_str(&format!("\n{}:\n{}\n", row.name, detail.trim_end()));
                }
            }
            text.push_str(&match failed.len() {
                0 => format!("\nall {} checks passed\n", rows.len()),
                n => format!("\n{n} of {} checks failed\n", rows.len()),
            });
            Ok(text)
        }
    }
}

/// The list of data sets.
///
/// # Errors
/// Only if a value has no CSV form.
pub fn datasets(list: &[DatasetInfo], format: Format, width: usize) -> Result<String> {
    match format {
        Format::Json => Ok(json(&list)),
        Format::Csv => {
            let columns = ["name", "task", "rows", "features", "outputs", "title", "licence"];
            let row = |d: &DatasetInfo| {
                (d.name.clone(), d.task, d.rows, d.features, d.outputs, d.title.clone(), d.licence.clone())
            };
            csv(&columns, list.iter().map(row))
        }
        Format::Table => {
            let mut table = Table::new()
                .column("name", Kind::Name, 255)
                .column("task", Kind::Name, 200)
                .column("samples", Kind::Number, 199)
                .column("features", Kind::Number, 198)
                .column("outputs", Kind::Number, 197)
                .column("what it is", Kind::Text, 196);
            for d in list {
                let task = task_name(d.task).to_owned();
                let (rows, features) = (grouped(d.rows), grouped(d.features));
                table.row(vec![d.name.clone(), task, rows, features, d.outputs.to_string(), d.title.clone()]);
            }
            Ok(table.render(width))
        }
    }
}

/// One data set in full.
///
/// # Errors
/// Only if a value has no CSV form.
pub fn dataset(d: &DatasetInfo, format: Format, width: usize) -> Result<String> {
    let mut facts: Vec<(&str, String)> = vec![
        ("name", d.name.clone()),
        ("title", d.title.clone()),
        ("task", task_name(d.task).to_owned()),
        ("samples", grouped(d.rows)),
    ];
    if let Some(n) = d.test_rows {
        facts.push(("of them test", grouped(n)));
    }
    facts.push(("features", grouped(d.features)));
    facts.push(("outputs", d.outputs.to_string()));
    if !d.classes.is_empty() {
        let classes: Vec<String> = d.classes.iter().map(|(name, n)| format!("{name} ({n})")).collect();
        facts.push(("classes", classes.join(", ")));
    }
    let texts = [
        ("origin", &d.origin),
        ("licence", &d.licence),
        ("taken from", &d.package),
        ("preprocessing", &d.preprocessing),
        ("note", &d.note),
    ];
    facts.extend(texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.clone())));
    for (name, score) in &d.reference {
        facts.push(("reference", format!("{name}: {}", significant(*score, 4))));
    }
    match format {
        Format::Json => Ok(json(d)),
        Format::Csv => csv(&["key", "value"], facts.iter()),
        Format::Table => {
            let label = facts.iter().map(|f| f.0.len()).max().unwrap_or(0);
            let room = width.saturating_sub(label + 2).max(20);
            let mut text = String::new();
            for (name, value) in facts {
                for (i, line) in wrap(&value, room).iter().enumerate() {
                    let name = if i == 0 { name } else { "" };
                    text.push_str(&format!("{name:<label$}  {line}\n"));
                }
            }
            Ok(text)
        }
    }
}

fn task_name(task: Task) -> &'static str {
    match task {
        Task::Classification => "classification",
        Task::Regression => "regression",
    }
}

/// Lines of at most `width` characters, broken at spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("never empty");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("plain data have a JSON form") + "\n"
}

pub(crate) fn csv<T: Serialize>(columns: &[&str], rows: impl Iterator<Item = T>) -> Result<String> {
    let failed = |e: csv::Error| Failure::new(format!("a row has no CSV form: {e}"));
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(columns).map_err(failed)?;
    for row in rows {
        writer.serialize(row).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|e| Failure::new(format!("a row has no CSV form: {e}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn check(name: &str, passed: bool) -> CheckRow {
        CheckRow {
            name: name.into(),
            identity: "uᵀHv = vᵀHu".into(),
            found: 3.2e-15,
            must: "≤ 1e-12".into(),
            passed,
            detail: (!passed).then(|| "slopes 1.0 1.1".into()),
        }
    }

    fn digits() -> DatasetInfo {
        DatasetInfo {
            name: "digits".into(),
            title: "Handwritten digits, 8 × 8".into(),
            task: Task::Classification,
            rows: 1797,
            test_rows: Some(359),
            features: 64,
            outputs: 10,
            classes: (0..10).map(|k| (k.to_string(), 180)).collect(),
            origin: "E. Alpaydin and C. Kaynak 1998; UCI 80".into(),
            licence: "CC BY 4.0".into(),
            package: "scikit-learn 1.5.2".into(),
            preprocessing: "none".into(),
            note: String::new(),
            reference: vec![("mlp32 accuracy".into(), 0.9732)],
        }
    }

    #[test]
    fn the_run_table_fits_eighty_columns_and_ends_with_the_report() {
        let (result, _) = example::run();
        let text = run(&result, "runs/a", "runs/a/report.html", Format::Table, 80);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        if std::env::var_os("EIGENLENS_EXAMPLE").is_some() {
            for width in [60, 80, 140] {
                crate::output::talk(&run(&result, "runs/a", "runs/a/report.html", Format::Table, width));
            }
        }
        assert!(text.contains("λ_max 3") && text.contains("3.38 ± 0.10"), "{text}");
        assert!(text.ends_with("\nreport  runs/a/report.html\n"));
    }

    #[test]
    fn the_run_as_json_and_csv_is_for_programs() {
        let (result, _) = example::run();
        let json: serde_json::Value = serde_json::from_str(&run(&result, "d", "r", Format::Json, 80)).unwrap();
        assert_eq!((json["directory"].as_str(), json["report"].as_str()), (Some("d"), Some("r")));
        assert!(json["test"]["accuracy"].is_number());
        assert!(run(&result, "d", "r", Format::Csv, 80).starts_with("snapshot,epoch,step,layer,"));
    }

    #[test]
    fn failed_checks_are_counted_and_explained() {
        let rows = [check("symmetry", true), check("linearity", false)];
        let text = checks(&rows, Format::Table, 80).unwrap();
        assert!(text.contains("FAILED") && text.contains("slopes 1.0 1.1"), "{text}");
        assert!(text.ends_with("\n1 of 2 checks failed\n"));
        assert!(checks(&rows[..1], Format::Table, 80).unwrap().ends_with("\nall 1 checks passed\n"));
        let csv = checks(&rows, Format::Csv, 80).unwrap();
        assert!(csv.contains("\nlinearity,") && csv.lines().count() == 3, "{csv}");
    }

    #[test]
    fn a_data_set_is_listed_and_described_within_the_width() {
        for width in [40, 80] {
            let mut text = datasets(&[digits()], Format::Table, width).unwrap();
            text.push_str(&dataset(&digits(), Format::Table, width).unwrap());
            for line in text.lines().filter(|l| !l.starts_with('(')) {
                assert!(line.chars().count() <= width, "{line}");
            }
        }
        assert!(datasets(&[digits()], Format::Csv, 80).unwrap().contains("\ndigits,classification,1797,64,10,"));
        assert!(dataset(&digits(), Format::Json, 80).unwrap().contains("\"licence\": \"CC BY 4.0\""));
        assert!(dataset(&digits(), Format::Csv, 80).unwrap().starts_with("key,value\nname,digits\n"));
    }
}
