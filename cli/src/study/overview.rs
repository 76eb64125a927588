//! What a study shows on the terminal: the design, the experiments by capacity, and who reaches the reference scores.

use serde::Serialize;

use super::design::Planned;
use super::tables::{Experiment, Tables};
use crate::args::Format;
use crate::numbers::{grouped, significant};
use crate::table::{Kind, Table};

/// `summary.json`: what the tables say in a few numbers. Like them it holds no times.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Experiments in all.
    pub experiments: usize,
    /// With everything there.
    pub finished: usize,
    /// Of which training met a number that is not finite.
    pub diverged: usize,
    /// Without a result.
    pub failed: usize,
    /// Rows of `results.csv`.
    pub numbers: usize,
    /// Layers of all experiments, and those of which every spectrum is exact.
    pub layers: usize,
    /// See `layers`.
    pub exact_layers: usize,
    /// By capacity.
    pub capacities: Vec<OfCapacity>,
    /// The comparison with the reference scores.
    pub reference: Reference,
}

/// Medians over the experiments of one capacity that finished.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfCapacity {
    /// Its name.
    pub capacity: String,
    /// How many there are.
    pub experiments: usize,
    /// Parameters per equation.
    pub load: Option<f64>,
    /// Training score.
    pub train_score: Option<f64>,
    /// Test score.
    pub test_score: Option<f64>,
    /// Their difference.
    pub gap_score: Option<f64>,
    /// Test loss − training loss.
    pub gap_loss: Option<f64>,
    /// Largest eigenvalue of a layer at the end.
    pub lambda_max: Option<f64>,
    /// Largest eigenvalue of the whole Hessian at the end.
    pub sharpness: Option<f64>,
}

/// How many adequate networks reach their reference score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reference {
    /// Networks that are compared.
    pub compared: usize,
    /// Those within the tolerance.
    pub reached: usize,
    /// The data sets of the others.
    pub missed: Vec<String>,
}

/// The middle of the values, or the mean of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    let n = all.len();
    if n == 0 { None } else { Some((all[(n - 1) / 2] + all[n / 2]) / 2.0) }
}

/// Sums up the tables.
pub fn summary(tables: &Tables) -> Summary {
    let all = &tables.experiments;
    let count = |status: &str| all.iter().filter(|e| e.status == status).count();
    let mut names: Vec<&str> = Vec::new();
    for e in all {
        if !names.contains(&e.capacity.as_str()) {
            names.push(&e.capacity);
        }
    }
    let capacities = names.into_iter().map(|name| of_capacity(name, tables)).collect();
    let compared: Vec<&Experiment> = all.iter().filter(|e| e.reached.is_some()).collect();
    let missed: Vec<String> = compared.iter().filter(|e| e.reached == Some(false)).map(|e| e.dataset.clone()).collect();
    Summary {
        experiments: all.len(),
        finished: count("finished"),
        diverged: count("diverged"),
        failed: count("failed"),
        numbers: tables.rows.len(),
        layers: all.iter().map(|e| e.depth + 1).sum(),
        exact_layers: all.iter().map(|e| e.exact_layers).sum(),
        capacities,
        reference: Reference { compared: compared.len(), reached: compared.len() - missed.len(), missed },
    }
}

fn of_capacity(name: &str, tables: &Tables) -> OfCapacity {
    let of: Vec<&Experiment> =
        tables.experiments.iter().filter(|e| e.capacity == name && e.status == "finished").collect();
    let middle = |value: fn(&Experiment) -> Option<f64>| median(of.iter().filter_map(|e| value(e)));
    // The largest over the layers of each experiment, at its last snapshot.
    let at_end = |quantity: &str| {
        let largest = |e: &&Experiment| {
            let last = e.snapshots.checked_sub(1)?;
            let rows = tables.rows.iter().filter(|r| r.experiment == e.experiment && r.snapshot == last);
            rows.filter(|r| r.quantity == quantity).map(|r| r.value).max_by(f64::total_cmp)
        };
        median(of.iter().filter_map(largest))
    };
    OfCapacity {
        capacity: name.to_owned(),
        experiments: tables.experiments.iter().filter(|e| e.capacity == name).count(),
        load: middle(|e| Some(e.load)),
        train_score: middle(|e| e.train_score),
        test_score: middle(|e| e.test_score),
        gap_score: middle(|e| e.gap_score),
        gap_loss: middle(|e| e.gap_loss),
        lambda_max: at_end("lambda_max"),
        sharpness: at_end("sharpness"),
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |v| significant(v, 3))
}

/// The overview in the form asked for; `directory` is where everything is.
pub fn show(tables: &Tables, directory: &str, format: Format, width: usize) -> String {
    let sum = summary(tables);
    match format {
        Format::Json => return serde_json::to_string_pretty(&sum).expect("plain data have a JSON form") + "\n",
        Format::Csv => return experiments_csv(tables),
        Format::Table => {}
    }
    let mut by_capacity = Table::new()
        .column("capacity", Kind::Name, 255)
        .column("experiments", Kind::Number, 200)
        .column("P / nK", Kind::Number, 254)
        .column("train", Kind::Number, 253)
        .column("test", Kind::Number, 252)
        .column("gap", Kind::Number, 251)
        .column("loss gap", Kind::Number, 240)
        .column("λ_max", Kind::Number, 250)
        .column("sharpness", Kind::Number, 230);
    for c in &sum.capacities {
        let numbers = [c.load, c.train_score, c.test_score, c.gap_score, c.gap_loss, c.lambda_max, c.sharpness];
        let cells = [c.capacity.clone(), c.experiments.to_string()];
        by_capacity.row(cells.into_iter().chain(numbers.map(shown)).collect());
    }
    let mut text = by_capacity.render(width);
    text += "medians at the end of training; scores are accuracy or R², λ_max is the largest of any layer's Hessian\n";
    if sum.reference.compared > 0 {
        text += &format!("\n{}", reference_table(tables).render(width));
        text += &format!(
            "{} of {} adequate networks reach the reference score less its tolerance\n",
            sum.reference.reached, sum.reference.compared
        );
    }
    let broken = tables.experiments.iter().filter_map(|e| Some((e, e.reason.as_ref()?)));
    let broken: Vec<String> = broken.map(|(e, reason)| format!("{} {}: {reason}\n", e.experiment, e.status)).collect();
    if !broken.is_empty() {
        text += &format!("\n{}", broken.concat());
    }
    text += &format!(
        "\n{} experiments, {} finished, {} diverged, {} failed; {} of {} layers with exact spectra; {} numbers\nresults  {directory}\n\
         `eigenlens report {directory}` makes statistics, rules and a report of them\n",
        sum.experiments,
        sum.finished,
        sum.diverged,
        sum.failed,
        sum.exact_layers,
        sum.layers,
        grouped(sum.numbers),
    );
    text
}

fn reference_table(tables: &Tables) -> Table {
    let mut table = Table::new()
        .column("data set", Kind::Name, 255)
        .column("metric", Kind::Name, 200)
        .column("reference", Kind::Number, 254)
        .column("tolerance", Kind::Number, 253)
        .column("test", Kind::Number, 252)
        .column("reached", Kind::Name, 251);
    for e in &tables.experiments {
        let (Some(reached), Some(reference)) = (e.reached, e.reference) else { continue };
        let cells = [shown(Some(reference)), shown(e.tolerance), shown(e.test_score)];
        let verdict = if reached { "yes" } else { "no" };
        let names = [e.dataset.clone(), e.metric.clone()];
        table.row(names.into_iter().chain(cells).chain([verdict.to_owned()]).collect());
    }
    table
}

fn experiments_csv(tables: &Tables) -> String {
    let bytes = super::tables::csv_of(&tables.experiments).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// The design table, for `--dry-run`.
pub fn show_design(plan: &[Planned], format: Format, width: usize) -> String {
    let widths = |p: &Planned| p.hidden.iter().map(ToString::to_string).collect::<Vec<_>>().join("-");
    let init = |p: &Planned| p.config.model.init.clone().unwrap_or_default();
    let cells = |p: &Planned| {
        let rows = p.config.data.limit.map_or_else(|| "all".to_owned(), |n| n.to_string());
        let epochs = p.config.train.epochs.to_string();
        let seed = p.config.seed.to_string();
        vec![p.id.clone(), widths(p), init(p), p.optimizer.name.to_owned(), rows, epochs, seed]
    };
    const COLUMNS: [&str; 7] = ["experiment", "hidden", "init", "optimizer", "rows", "epochs", "seed"];
    match format {
        Format::Json => {
            let row = |p: &Planned| COLUMNS.into_iter().zip(cells(p)).collect::<std::collections::BTreeMap<_, _>>();
            let rows: Vec<_> = plan.iter().map(row).collect();
            serde_json::to_string_pretty(&rows).expect("plain data have a JSON form") + "\n"
        }
        Format::Csv => {
            let lines = plan.iter().map(|p| cells(p).join(",") + "\n");
            std::iter::once(COLUMNS.join(",") + "\n").chain(lines).collect()
        }
        Format::Table => {
            let mut table = Table::new();
            for (i, title) in COLUMNS.into_iter().enumerate() {
                let kind = if i < 4 { Kind::Name } else { Kind::Number };
                table = table.column(title, kind, 255 - i as u8);
            }
            plan.iter().for_each(|p| table.row(cells(p)));
            format!("{}{} experiments. Nothing was written.\n", table.render(width), plan.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::design::design;
    use crate::study::execute::Outcome;
    use crate::study::suite::Suite;

    #[test]
    fn the_overview_fits_and_says_what_failed() {
        let plan = design(&Suite::parse("s.toml", "datasets = ['iris']").unwrap()).unwrap();
        let (result, _) = crate::example::run();
        let mut tables = Tables::default();
        tables.add(&plan[0], &Outcome::Failed("no memory".to_owned()), None);
        tables.add(&plan[1], &Outcome::Finished, Some(&result));
        tables.add(&plan[2], &Outcome::Finished, Some(&result));
        for width in [60, 80, 200] {
            let text = show(&tables, "studies/mine", Format::Table, width);
            let table = text.lines().take_while(|l| !l.starts_with("medians"));
            assert!(table.clone().count() > 3 && table.clone().all(|l| l.chars().count() <= width), "{text}");
            assert!(
                text.contains("iris-under failed: no memory") && text.contains("1 of 1") || text.contains("0 of 1")
            );
        }
        let sum = summary(&tables);
        assert_eq!((sum.experiments, sum.finished, sum.failed), (3, 2, 1));
        assert_eq!(sum.capacities[0].test_score, None);
        assert!(sum.capacities[1].lambda_max.is_some_and(|l| l > 0.0));
        assert_eq!(show(&tables, "", Format::Csv, 80).lines().count(), 4);
        assert_eq!(show_design(&plan, Format::Csv, 80).lines().count(), 4);
        assert!(show_design(&plan, Format::Table, 80).contains("iris-over"));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
