//! Which charts there are: curves of training, quantities of the layers over training, Φ, spectra.

use std::collections::BTreeMap;

use super::density::SMOOTHING_DECADES;
use super::lines::{Chart, Point, Series, Vertical};
use super::page::figure;
use super::ridges::{self, Ridge};
use crate::error::Result;
use crate::numbers::significant;
use crate::results::{CurvePoint, Measured, RunResult, Scores, Spectrum};

/// A part of the data and its scores at a point of training.
type Part = (&'static str, fn(&CurvePoint) -> Option<Scores>);

/// Loss and accuracy (or R²) after every epoch, on each part of the data.
///
/// # Errors
/// Only if plotters can't draw.
pub fn training(result: &RunResult) -> Result<Vec<String>> {
    let parts: [Part; 3] = [("train", |p| Some(p.train)), ("validation", |p| p.validation), ("test", |p| p.test)];
    let series = |value: fn(&Scores) -> Option<f64>| -> Vec<Series> {
        let line = |(k, (label, scores)): (usize, &Part)| {
            let point =
                |p: &CurvePoint| Some(Point { x: p.epoch as f64, y: scores(p).as_ref().and_then(value)?, error: None });
            let points = result.training.curve.iter().filter_map(point).collect();
            Series { label: (*label).to_owned(), colour: k, marks: false, dashed: false, points }
        };
        parts.iter().enumerate().map(line).collect()
    };
    let charts = [
        ("Loss", format!("mean {}", result.model.loss), series(|s| s.loss), Vertical::Auto),
        ("Accuracy", "share of right classes".to_owned(), series(|s| s.accuracy), Vertical::UpTo(1.0)),
        ("R²", "share of the target's variance that is explained".to_owned(), series(|s| s.r2), Vertical::UpTo(1.0)),
    ];
    let mut figures = Vec::new();
    for (title, note, series, vertical) in charts {
        figures.extend(chart(result, title, &note, series, vertical)?);
    }
    // Before the first step there is no learning rate; a constant one needs no picture.
    let rates: Vec<&CurvePoint> = result.training.curve.iter().filter(|p| p.step > 0).collect();
    if rates.windows(2).any(|w| w[0].lr != w[1].lr) {
        let points = rates.iter().map(|p| Point { x: p.epoch as f64, y: p.lr, error: None }).collect();
        let rate = Series { label: "lr".to_owned(), colour: 6, marks: false, dashed: false, points };
        figures.extend(chart(result, "Learning rate", "after each epoch", vec![rate], Vertical::Auto)?);
    }
    Ok(figures)
}

/// What each layer's Hessian does over training, and Φ.
///
/// # Errors
/// Only if plotters can't draw.
pub fn evolution(result: &RunResult) -> Result<Vec<String>> {
    let mut figures = Vec::new();
    let of_layers = [
        ("lambda_max", "Largest eigenvalue", "curvature of the sharpest direction", Vertical::Auto),
        ("lambda_min", "Smallest eigenvalue", "below 0, the loss curves down in some direction", Vertical::Auto),
        ("trace", "Trace", "sum of all eigenvalues", Vertical::Auto),
        ("negative_mass", "Negative mass", "share of Σ|λ| that is negative", Vertical::FromZero),
        ("rank_effective", "Effective rank", "number of directions that share the curvature", Vertical::Auto),
        ("gn_gap", "GN-Gap", "‖H − G‖ / ‖G‖: what the Gauss–Newton block leaves out", Vertical::Auto),
        (
            "gradient_top_share",
            "Gradient in the top space",
            "share of ‖g‖² in the k sharpest directions",
            Vertical::UpTo(1.0),
        ),
        ("top_overlap", "Overlap of top spaces", "with that of the snapshot before", Vertical::UpTo(1.0)),
    ];
    for (key, title, note, vertical) in of_layers {
        figures.extend(chart(result, title, note, of_each_layer(result, key), vertical)?);
    }
    let point = |epoch: usize, m: &Measured| Point { x: epoch as f64, y: m.value, error: m.error() };
    let points = result.snapshots.iter().filter_map(|s| Some(point(s.epoch, s.phi.as_ref()?))).collect();
    let phi = Series { label: "Φ".to_owned(), colour: 6, marks: true, dashed: false, points };
    let note = "share of the squared curvature that lies between blocks";
    figures.extend(chart(result, "Left out: Φ", note, vec![phi], Vertical::FromZero)?);
    let share = |s: &crate::results::Snapshot| Some(point(s.epoch, &s.stability?.share()?));
    let points = result.snapshots.iter().filter_map(share).collect();
    let series = Series { label: "λ_max / bound".to_owned(), colour: 6, dashed: false, marks: true, points };
    let note = "λ_max of the whole Hessian, as the optimiser sees it, over what its step size can stand";
    figures.extend(chart(result, "Edge of stability", note, vec![series], Vertical::FromZero)?);
    Ok(figures)
}

/// One series per layer of a quantity. Layers are named in full where there is room: "layer 1".
fn of_each_layer(result: &RunResult, key: &str) -> Vec<Series> {
    let Some(first) = result.snapshots.first() else { return Vec::new() };
    let names = first.layers.iter().map(|l| l.name.as_str()).enumerate();
    names
        .map(|(k, name)| {
            let point = |s: &crate::results::Snapshot| {
                let m = *s.layers.iter().find(|l| l.name == name)?.get(key)?;
                Some(Point { x: s.epoch as f64, y: m.value, error: m.error().filter(|e| *e > 1e-3 * m.value.abs()) })
            };
            let points = result.snapshots.iter().filter_map(point).collect();
            Series { label: layer_label(name), colour: k, marks: true, dashed: false, points }
        })
        .collect()
}

/// A layer as a label: `layer 1`; a name of its own as it is, cut if it is long.
pub fn layer_label(name: &str) -> String {
    if name.parse::<usize>().is_ok() {
        return format!("layer {name}");
    }
    let short: String = name.chars().take(12).collect();
    if short.len() < name.len() { format!("{short}…") } else { short }
}

fn chart(
    result: &RunResult,
    title: &str,
    note: &str,
    series: Vec<Series>,
    vertical: Vertical,
) -> Result<Option<String>> {
    let snapshots: Vec<usize> = result.snapshots.iter().map(|s| s.epoch).collect();
    let last = result.training.epochs.max(snapshots.last().copied().unwrap_or(0));
    let label = format!("{title} over the epochs of training");
    let svg = Chart { label, series, across: "epoch", snapshots: &snapshots, last, vertical }.svg()?;
    Ok(svg.map(|svg| figure(&svg, title, note)))
}

/// Every layer's spectrum at every snapshot. Spectra whose file is missing are left out.
///
/// # Errors
/// Only if plotters can't draw.
pub fn spectra(result: &RunResult, files: &BTreeMap<String, Spectrum>, tau: f64) -> Result<Vec<String>> {
    let Some(first) = result.snapshots.first() else { return Ok(Vec::new()) };
    let mut figures = Vec::new();
    for (k, layer) in first.layers.iter().enumerate() {
        let mut rows = Vec::new();
        for snapshot in &result.snapshots {
            let here = snapshot.layers.iter().find(|l| l.name == layer.name);
            if let Some(spectrum) = here.and_then(|l| files.get(l.spectrum.as_ref()?)) {
                rows.push(Ridge { epoch: snapshot.epoch, spectrum });
            }
        }
        if rows.is_empty() {
            continue;
        }
        let title = format!("{}: {}", layer_label(&layer.name), layer.kind);
        let note = match rows[0].spectrum {
            Spectrum::Exact { values, repeated: (_, 0) } => format!("all {} eigenvalues", values.len()),
            Spectrum::Exact { values, repeated: (value, count) } => {
                let dim = values.len() + count;
                format!("all {dim} eigenvalues: {} listed, {count} more are {value} by structure", values.len())
            }
            Spectrum::Quadrature { dim, probes, top, bottom, .. } => format!(
                "density of {dim} eigenvalues from {} probes, spread by {} decades (band: 95 % at each place, of the probes alone); \
                 what counts as zero is one column; ticks: {} extremes with residuals",
                probes.len(),
                significant(SMOOTHING_DECADES, 2),
                top.len() + bottom.len(),
            ),
        };
        let label = format!("spectrum of layer {} at {} moments of training", layer.name, rows.len());
        match ridges::svg(&rows, k, tau, &label)? {
            Some(svg) => figures.push(figure(&svg, &title, &note)),
            None => figures.push(figure("", &title, "identically zero at every snapshot")),
        }
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_layers_are_called_layers_and_long_names_are_cut() {
        assert_eq!(layer_label("2"), "layer 2");
        assert_eq!(layer_label("head"), "head");
        assert_eq!(layer_label("encoder.block.3.mlp"), "encoder.bloc…");
    }
}
