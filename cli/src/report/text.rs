//! The words and tables of the report.

use eigenlens_hessian::curvature::Curvature;

use super::Input;
use super::charts::layer_label;
use super::page::{definitions, escape, symbol};
use crate::numbers::{duration, grouped, measured, significant, typeset};
use crate::quantities::{Form, SHOWN, Shown, settled};
use crate::results::{Measured, RunResult, Scores, Snapshot};
use crate::show::misplaced;

/// Above the curves of training.
pub const TRAINING: &str = "Vertical lines mark the snapshots, at which the network was looked at. A vertical axis is \
    logarithmic where its values are positive and span more than a factor of ten.";
/// Above the quantities of the layers.
pub const EVOLUTION: &str = "Each mark is one block at one snapshot. Bars are ± one standard error, or a bound on the \
    error; where there is none, the number is exact to rounding. A vertical axis is logarithmic where its values are positive and \
    span more than a factor of ten.";
/// Above the spectra.
pub const SPECTRA: &str = "One row per snapshot. The eigenvalue axis is logarithmic on both sides of 0; what lies within \
    its innermost part can\u{2019}t be told from 0 at this scale (the table below counts zeros by a threshold of its own). Heights are log(1 + number of eigenvalues per bin of 1/8 decade), so that a single \
    outlier can be seen beside thousands of zeros. The ticks below a row are the eigenvalues themselves.";

/// Title and the few numbers that matter most.
pub fn head(input: &Input<'_>, title: &str) -> String {
    let r = input.result;
    let mut facts: Vec<(String, String)> = Vec::new();
    if let Some(test) = &r.test {
        facts.extend(quality(test).map(|(value, name)| (value, format!("test {name}"))));
    }
    facts.extend(quality(&r.train).map(|(value, name)| (value, format!("training {name}"))));
    if let Some(last) = r.last() {
        let sharpest = last.layers.iter().filter(|l| l.lambda_max.is_some());
        let sharpest = sharpest.max_by(|a, b| a.lambda_max.unwrap_or(0.0).total_cmp(&b.lambda_max.unwrap_or(0.0)));
        if let Some(layer) = sharpest {
            let value = typeset(&significant(layer.lambda_max.unwrap_or(0.0), 3));
            facts.push((value, format!("sharpest curvature, {}", layer_label(&layer.name))));
        }
        if let Some(phi) = &last.phi {
            facts.push((measured(phi, Form::Share), "of the curvature left out (Φ)".to_owned()));
        }
    }
    facts.push((grouped(r.model.parameters), "parameters".to_owned()));
    facts.push((r.snapshots.len().to_string(), "snapshots".to_owned()));
    let facts: String = facts
        .iter()
        .map(|(value, what)| format!("<li><b>{}</b><span>{}</span></li>\n", escape(value), escape(what)))
        .collect();
    let failed = match &input.manifest.reason {
        Some(reason) => format!("<p><strong>This run stopped early:</strong> {}</p>\n", escape(reason)),
        None => String::new(),
    };
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"lead\">{}, over {}</p>\n{failed}</header>\n\
         <ul class=\"facts\">\n{facts}</ul>\n",
        escape(title),
        escape(&r.headline()),
        escape(&r.hessian_over),
    )
}

fn quality(scores: &Scores) -> Option<(String, &'static str)> {
    match (scores.accuracy, scores.r2) {
        (Some(accuracy), _) => Some((format!("{:.1} %", 100.0 * accuracy), "accuracy")),
        (None, Some(r2)) => Some((typeset(&significant(r2, 3)), "R²")),
        (None, None) => None,
    }
}

/// What a block of the curvature is.
fn block(result: &RunResult) -> (&'static str, String) {
    let of = &result.blocks;
    match result.curvature() {
        Curvature::Hessian => (
            "Hessian block",
            format!(
                "The second derivatives of the loss by the parameters of one {of}, all others held fixed. Its eigenvalues \
                 are the curvatures of the loss along its eigenvectors: large ones are sharp directions, those near 0 flat \
                 ones, negative ones directions in which the loss curves down."
            ),
        ),
        Curvature::GaussNewton => (
            "Gauss–Newton block",
            format!(
                "The curvature of the loss by the parameters of one {of} as if the network were linear in them: what the \
                 loss itself curves. No eigenvalue is negative."
            ),
        ),
        Curvature::Tensor => (
            "Tensor block",
            format!(
                "What the Gauss–Newton part leaves of the Hessian by the parameters of one {of}: the curvature of the \
                 network itself, weighed by the errors that are left. It has no sign of its own."
            ),
        ),
        Curvature::Fisher => (
            "Fisher block",
            format!(
                "The mean of g gᵀ, g the gradient of one sample by the parameters of one {of}, with a label drawn from \
                 the network itself. Over many drawings its mean is the Gauss–Newton block."
            ),
        ),
        Curvature::EmpiricalFisher => (
            "Empirical Fisher block",
            format!(
                "The mean of g gᵀ, g the gradient of one sample by the parameters of one {of}, with the given label. It \
                 says where gradients point, and vanishes where all samples are fitted, whatever the curvature."
            ),
        ),
        Curvature::GradientCovariance => (
            "Covariance of the gradients",
            format!("How the gradients of single samples by the parameters of one {of} scatter about their mean."),
        ),
        Curvature::Local(_) => (
            "Local Hessian",
            format!(
                "The second derivatives of φ, a scalar of the result of a functional block (a layer and what follows it), \
                 by the parameters of one {of}, with the block's input held fixed: the curvature of the block's own map, \
                 whatever the loss and the layers above."
            ),
        ),
    }
}

/// A short guide.
pub fn how_to_read(result: &RunResult, tau: f64) -> String {
    let piecewise = ["relu", "leaky"].iter().any(|f| result.model.description.contains(f));
    let mut rows = vec![
        block(result),
        (
            "Outliers",
            "A few large eigenvalues stand apart from a mass near 0. With C classes there are often about C or C − 1 of \
             them."
                .to_owned(),
        ),
        (
            "Negative mass",
            "How much of the total |λ| is negative. It tends to fall as training approaches a minimum.".to_owned(),
        ),
        (
            "Effective rank",
            "How many directions share the curvature: 1 if one has all of it, the number of parameters if all are equal."
                .to_owned(),
        ),
        (
            "Zero",
            format!(
                "Ranks, condition and counts take eigenvalues below τ = {} times the largest |λ| as zero.",
                typeset(&significant(tau, 1))
            ),
        ),
    ];
    if result.curvature().kind().is_some() {
        rows.push((
            "Φ",
            "The blocks say nothing about curvature between them. Of the sum of squares of all entries of the whole \
             Hessian, Φ is the share that lies there; the pictures block by block show the rest. By Weyl's theorem no \
             eigenvalue of the whole is further from that of the blocks, all taken together and sorted, than the largest \
             |eigenvalue| of what lies between them."
                .to_owned(),
        ));
    }
    if piecewise && result.blocks == "layer" && result.curvature() == Curvature::Hessian {
        rows.push((
            "Piecewise linear",
            "With ReLU-like activations and a convex loss every block is positive semi-definite, whatever the network has \
             learned; all negative curvature lies between layers."
                .to_owned(),
        ));
    }
    format!("<details class=\"read\" open>\n<summary>How to read this</summary>\n{}</details>\n", definitions(rows))
}

/// All quantities of the last snapshot, layers as columns.
pub fn metrics_table(result: &RunResult) -> String {
    let Some(last) = result.last() else { return String::new() };
    let head: String = last
        .layers
        .iter()
        .map(|l| {
            format!("<th>{}<br><span class=\"note\">{}</span></th>", escape(&layer_label(&l.name)), escape(&l.kind))
        })
        .collect();
    let mut rows = String::new();
    let mut fixed = |name: &str, class: &str, value: &dyn Fn(usize) -> String, why: &str| {
        let cells: String =
            (0..last.layers.len()).map(|i| format!("<td class=\"{class}\">{}</td>", escape(&value(i)))).collect();
        rows.push_str(&format!("<tr><th>{name}</th>{cells}<td class=\"why\">{why}</td></tr>\n"));
    };
    fixed("parameters p", "number", &|i| grouped(last.layers[i].parameters), "size of the block: p × p");
    fixed("route", "words", &|i| last.layers[i].route.clone(), "how the block was handled");
    let time = |i: usize| {
        let layer = &last.layers[i];
        let predicted = layer.cost.map(|c| format!(" (predicted {})", duration(c.seconds_predicted)));
        format!("{}{}", duration(layer.seconds), predicted.unwrap_or_default())
    };
    fixed("time", "words", &time, "as it was, and as it was predicted from trial products");
    if last.layers.iter().any(|l| l.cost.is_some()) {
        let work = |i: usize| last.layers[i].cost.map_or(String::new(), |c| significant(c.flops / 1e9, 3));
        fixed("work", "number", &work, "GFLOP, by count");
    }
    for shown in SHOWN {
        if last.layers.iter().any(|l| l.get(shown.key).is_some()) {
            rows.push_str(&row(last, shown));
        }
    }
    let between = misplaced(last).filter(|_| result.blocks != "network");
    let between = between.map_or(String::new(), |b| format!(" Between the blocks: {}.", escape(&b)));
    format!(
        "<h2>All numbers at the last snapshot</h2>\n<p class=\"lead\">After epoch {}. An empty cell: not defined, or not \
         known from a quadrature. ± is the error of the number itself, for these samples; \u{201c}data ±\u{201d} the standard error from \
         the finite sample. The other snapshots are in metrics.csv.{between}</p>\n<div class=\"scroll\"><table>\n\
         <thead><tr><th>quantity</th>{head}<td class=\"why\"></td></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n",
        last.epoch,
    )
}

fn row(snapshot: &Snapshot, shown: &Shown) -> String {
    let cell = |m: Option<&Measured>| match m {
        Some(m) => {
            let of_data = |e: f64| {
                let error = if shown.form == Form::Share { 100.0 * e } else { e };
                let text = format!("data ± {}", typeset(&significant(error, 2)));
                format!("<br><span class=\"note\">{}</span>", escape(&text))
            };
            let second = m.data_error.map_or(String::new(), of_data);
            format!("<td>{}{second}</td>", escape(&typeset(&measured(m, shown.form))))
        }
        None => "<td class=\"none\">–</td>".to_owned(),
    };
    let cells: String = snapshot.layers.iter().map(|l| cell(settled(shown.key, l).as_ref())).collect();
    format!("<tr><th>{}</th>{cells}<td class=\"why\">{}</td></tr>\n", symbol(shown.symbol), symbol(shown.meaning))
}

/// Where all of it comes from.
pub fn provenance(input: &Input<'_>) -> String {
    let (r, m) = (input.result, input.manifest);
    let mut rows = vec![
        (
            "data",
            format!(
                "{}: {} samples to train, {} to validate, {} to test; {} features, {} outputs",
                r.dataset.name,
                grouped(r.dataset.train),
                grouped(r.dataset.validation),
                grouped(r.dataset.test),
                grouped(r.dataset.features),
                r.dataset.outputs
            ),
        ),
        (
            "training",
            format!(
                "{} epochs, {} steps, {}; ended by: {}",
                r.training.epochs,
                grouped(r.training.steps as usize),
                duration(r.training.seconds),
                r.training.stop
            ),
        ),
        ("command", m.argv.join(" ")),
        (
            "program",
            format!("eigenlens {}{}", m.version, m.commit.as_ref().map_or(String::new(), |c| format!(" (commit {c})"))),
        ),
        ("machine", format!("{}, {} of {} cores used, {}", m.cpu, m.threads, m.cores, m.simd)),
        ("seed", m.seeds.run.to_string()),
        (
            "time",
            match (&m.ended, m.seconds) {
                (Some(ended), Some(seconds)) => format!("{} to {ended} ({})", m.started, duration(seconds)),
                _ => m.started.clone(),
            },
        ),
    ];
    if let Some(memory) = &m.memory {
        let mib = |bytes: u64| grouped((bytes >> 20) as usize);
        let peak = memory.peak.map_or(String::new(), |p| format!("{} MiB at the peak, ", mib(p)));
        rows.push(("memory", format!("{peak}{} MiB by count beforehand", mib(memory.planned))));
    }
    let notes = r.last().into_iter().flat_map(|s| &s.layers).flat_map(|l| l.notes.iter().map(move |n| (l, n)));
    let notes: Vec<String> = notes.map(|(l, n)| format!("{}: {n}", l.name)).collect();
    if !notes.is_empty() {
        rows.push(("left out", notes.join("; ")));
    }
    if let Some(origin) = &r.dataset.origin {
        rows.insert(1, ("origin of the data", origin.clone()));
    }
    let notes: String = r.notes.iter().map(|n| format!("<li>{}</li>\n", escape(n))).collect();
    let notes = if notes.is_empty() { notes } else { format!("<ul>\n{notes}</ul>\n") };
    format!(
        "<h2>Where this comes from</h2>\n{}{notes}<details>\n<summary>config.toml</summary>\n<pre>{}</pre>\n</details>\n",
        definitions(rows),
        escape(input.config),
    )
}
