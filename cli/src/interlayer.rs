//! Curvature between functional blocks, as tables, JSON and CSV.

use serde::Serialize;

use crate::args::Format;
use crate::error::Result;
use crate::numbers::significant;
use crate::show::{csv, json};
use crate::table::{Kind, Table};

/// A number with its standard error, if it is an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// The number.
    pub value: f64,
    /// Its standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sem: Option<f64>,
}

/// A functional block by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockRow {
    /// Its layer with weights.
    pub name: String,
    /// The layer that it ends with, whose result is perturbed.
    pub end: String,
    /// ‖H_vv‖_F.
    pub resonance: Mean,
    /// ‖T_vv‖_F / ‖G_vv‖_F.
    pub gap: Option<f64>,
    /// ‖∂f_v/∂f_u‖₂ of the block u that it reads, mean over samples.
    pub rho: Option<Mean>,
}

/// Means over all pairs at one distance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Blocks between two.
    pub distance: usize,
    /// Ordered pairs.
    pub pairs: usize,
    /// R̄.
    pub resonance: f64,
    /// C̄.
    pub coupling: Option<f64>,
    /// D̄.
    pub stable_rank: Option<f64>,
    /// Mean GN-Gap.
    pub gap: Option<f64>,
}

/// log R̄ = a − b d from distance 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Decay {
    /// a.
    pub a: f64,
    /// b.
    pub b: f64,
    /// Share of the variance explained.
    pub r_squared: f64,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interlayer {
    /// The network in a few words.
    pub model: String,
    /// Over which samples.
    pub over: String,
    /// Whether by all unit vectors, without estimates.
    pub exact: bool,
    /// Directions used.
    pub products: usize,
    /// The functional blocks.
    pub blocks: Vec<BlockRow>,
    /// Means by distance.
    pub curve: Vec<Curve>,
    /// How fast R̄ falls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<Decay>,
    /// λ₁ per block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lyapunov: Option<Mean>,
    /// Distances of blocks.
    pub distance: Vec<Vec<Option<usize>>>,
    /// R.
    pub resonance: Vec<Vec<f64>>,
    /// C.
    pub coupling: Vec<Vec<Option<f64>>>,
    /// D, where the blocks are known exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable_rank: Option<Vec<Vec<Option<f64>>>>,
    /// GN-Gap.
    pub gap: Vec<Vec<Option<f64>>>,
}

fn number(x: Option<f64>) -> String {
    x.map_or_else(String::new, |x| significant(x, 3))
}

fn with_error(mean: Option<Mean>) -> String {
    match mean {
        None => String::new(),
        // What does not vary has an error of rounding only.
        Some(Mean { value, sem: Some(sem) }) if sem > 1e-12 * value.abs() => {
            format!("{} ± {}", significant(value, 3), significant(sem, 2))
        }
        Some(Mean { value, .. }) => significant(value, 3),
    }
}

/// The result in a form.
///
/// # Errors
/// Only if a value has no CSV form.
pub fn show(found: &Interlayer, format: Format, width: usize) -> Result<String> {
    match format {
        Format::Json => Ok(json(found)),
        Format::Csv => {
            let columns = ["from", "to", "distance", "resonance", "coupling", "stable_rank", "gap"];
            let count = found.blocks.len();
            let pairs = (0..count).flat_map(|v| (0..count).map(move |w| (v, w)));
            csv(
                &columns,
                pairs.map(|(v, w)| {
                    let d = found.stable_rank.as_ref().and_then(|d| d[v][w]);
                    let (from, to) = (&found.blocks[v].name, &found.blocks[w].name);
                    (from, to, found.distance[v][w], found.resonance[v][w], found.coupling[v][w], d, found.gap[v][w])
                }),
            )
        }
        Format::Table => Ok(tables(found, width)),
    }
}

fn tables(found: &Interlayer, width: usize) -> String {
    let mut blocks = Table::new()
        .column("block", Kind::Name, 255)
        .column("perturbed at", Kind::Name, 200)
        .column("R", Kind::Number, 254)
        .column("GN-Gap", Kind::Number, 253)
        .column("ρ", Kind::Number, 252);
    for b in &found.blocks {
        let cells =
            vec![b.name.clone(), b.end.clone(), with_error(Some(b.resonance)), number(b.gap), with_error(b.rho)];
        blocks.row(cells);
    }
    let mut curve = Table::new()
        .column("distance", Kind::Number, 255)
        .column("pairs", Kind::Number, 250)
        .column("mean R", Kind::Number, 254)
        .column("mean C", Kind::Number, 253)
        .column("mean D", Kind::Number, 252)
        .column("mean GN-Gap", Kind::Number, 251);
    for p in &found.curve {
        curve.row(vec![
            p.distance.to_string(),
            p.pairs.to_string(),
            significant(p.resonance, 3),
            number(p.coupling),
            number(p.stable_rank),
            number(p.gap),
        ]);
    }
    let how = if found.exact { "exactly" } else { "by probes" };
    let mut text = format!(
        "{}\ncurvature between the results of its blocks over {}, {how}\n\n{}\nBy distance:\n\n{}",
        found.model,
        found.over,
        blocks.render(width),
        curve.render(width)
    );
    if let Some(d) = found.decay {
        text.push_str(&format!(
            "\nlog R = {} - {} d from d = 1 on (r² {})\n",
            significant(d.a, 3),
            significant(d.b, 3),
            significant(d.r_squared, 3)
        ));
    }
    if let Some(l) = found.lyapunov {
        text.push_str(&format!("Lyapunov exponent {} per block\n", with_error(Some(l))));
    }
    text
}
