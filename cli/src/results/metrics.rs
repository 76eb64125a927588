//! `metrics.csv`: one row per snapshot, layer and quantity.

use serde::Serialize;

use super::{Measured, RunResult, Scores};
use crate::quantities;

/// The columns.
pub const HEADER: [&str; 9] =
    ["snapshot", "epoch", "step", "layer", "quantity", "value", "standard_error", "residual", "data_error"];

/// One row. An empty field says that there is no such error.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Number of the snapshot.
    pub snapshot: usize,
    /// Epochs completed.
    pub epoch: usize,
    /// Optimiser steps completed.
    pub step: u64,
    /// Name of the layer; `*` for the network as a whole.
    pub layer: String,
    /// Key of the quantity.
    pub quantity: String,
    /// Its value, finite.
    pub value: f64,
    /// Standard error over probes.
    pub standard_error: Option<f64>,
    /// Bound on the error from residuals.
    pub residual: Option<f64>,
    /// Standard error from the finite sample.
    pub data_error: Option<f64>,
}

/// The rows of a result: for each snapshot the network's scores, Φ and sharpness, then each layer's quantities in the order of
/// [`quantities::order`].
pub fn rows(result: &RunResult) -> Vec<Row> {
    let mut rows = Vec::new();
    for snapshot in &result.snapshots {
        let mut put = |layer: &str, quantity: String, m: Measured| {
            if m.value.is_finite() {
                rows.push(Row {
                    snapshot: snapshot.index,
                    epoch: snapshot.epoch,
                    step: snapshot.step,
                    layer: layer.to_owned(),
                    quantity,
                    value: m.value,
                    standard_error: m.standard_error,
                    residual: m.residual,
                    data_error: m.data_error,
                });
            }
        };
        let parts = [("train", Some(snapshot.train)), ("validation", snapshot.validation), ("test", snapshot.test)];
        for (part, scores) in parts {
            let Scores { loss, accuracy, r2 } = scores.unwrap_or_default();
            for (name, value) in [("loss", loss), ("accuracy", accuracy), ("r2", r2)] {
                if let Some(value) = value {
                    put("*", format!("{part}_{name}"), Measured::exact(value));
                }
            }
        }
        if let Some(phi) = snapshot.phi {
            put("*", "phi".to_owned(), phi);
        }
        if let Some(between) = snapshot.off_diagonal {
            for (name, value) in [("lower", Some(between.lower)), ("upper", between.upper)] {
                if let Some(value) = value {
                    put("*", format!("off_diagonal_{name}"), Measured::exact(value));
                }
            }
        }
        if let Some(s) = snapshot.stability {
            let rows = [
                ("sharpness", Some(s.sharpness)),
                ("sharpness_preconditioned", s.preconditioned),
                ("stability_bound", s.bound.map(Measured::exact)),
                ("stability_share", s.share()),
            ];
            rows.into_iter().filter_map(|(key, m)| Some((key, m?))).for_each(|(key, m)| put("*", key.to_owned(), m));
        }
        for layer in &snapshot.layers {
            let mut keys: Vec<&String> = layer.quantities.keys().collect();
            keys.sort_by_key(|key| quantities::order(key));
            for key in keys {
                put(&layer.name, key.clone(), layer.quantities[key]);
            }
        }
    }
    rows
}

/// The CSV text, with a header line.
pub fn metrics_csv(result: &RunResult) -> String {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    let to_memory = "writing to memory";
    writer.write_record(HEADER).expect(to_memory);
    for row in rows(result) {
        writer.serialize(row).expect(to_memory);
    }
    String::from_utf8(writer.into_inner().expect(to_memory)).expect("names are UTF-8")
}
