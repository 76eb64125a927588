//! Curvature between functional blocks, as tables, JSON and CSV.

use serde::Serialize;

use crate::args::Format;
use crate::error::Result;
use crate::numbers::significant;
use crate::results::Measured;
use crate::results::maps::{Decay, Interlayer};
use crate::show::{csv, json};
use crate::table::{Kind, Table};

/// The maps of a network at its weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AtWeights {
    /// The network in a few words.
    pub model: String,
    /// Over which samples.
    pub over: String,
    /// The maps.
    #[serde(flatten)]
    pub found: Interlayer,
}

fn number(x: Option<f64>) -> String {
    x.map_or_else(String::new, |x| significant(x, 3))
}

fn with_error(m: Option<&Measured>) -> String {
    let Some(m) = m else { return String::new() };
    match m.standard_error {
        // What does not vary has an error of rounding only.
        Some(sem) if sem > 1e-12 * m.value.abs() => format!("{} ± {}", significant(m.value, 3), significant(sem, 2)),
        _ => significant(m.value, 3),
    }
}

/// The result in a form.
///
/// # Errors
/// Only if a value has no CSV form.
pub fn show(all: &AtWeights, format: Format, width: usize) -> Result<String> {
    let found = &all.found;
    match format {
        Format::Json => Ok(json(all)),
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
        Format::Table => Ok(tables(all, width)),
    }
}

fn tables(all: &AtWeights, width: usize) -> String {
    let found = &all.found;
    let mut blocks = Table::new()
        .column("block", Kind::Name, 255)
        .column("perturbed at", Kind::Name, 200)
        .column("R", Kind::Number, 254)
        .column("GN-Gap", Kind::Number, 253)
        .column("ρ", Kind::Number, 252);
    for b in &found.blocks {
        let cells = vec![
            b.name.clone(),
            b.end.clone(),
            with_error(Some(&b.resonance)),
            number(b.gap),
            with_error(b.rho.as_ref()),
        ];
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
        all.model,
        all.over,
        blocks.render(width),
        curve.render(width)
    );
    let fits = [("R", found.decay), ("C", found.coupling_decay)];
    let fits: Vec<String> = fits.into_iter().filter_map(|(name, fit)| Some(line(name, &fit?))).collect();
    text.push_str(&format!("\n{}", fits.concat()));
    if let Some(l) = &found.lyapunov {
        text.push_str(&format!("Lyapunov exponent {} per block\n", with_error(Some(l))));
    }
    if let Some(d) = &found.discrepancy {
        text.push_str(&format!(
            "{} probes per block give R within {} % ({} standard errors, root mean square)\n",
            d.probes,
            significant(100.0 * d.relative, 2),
            significant(d.deviation, 2)
        ));
    }
    text
}

/// A fit as a line of text.
pub fn line(name: &str, fit: &Decay) -> String {
    let explained = fit.r_squared.map_or(String::new(), |r| format!(" (r² {})", significant(r, 3)));
    let slope = if fit.b < 0.0 { '+' } else { '-' };
    format!(
        "log {name} = {} {slope} {} d from d = 1 on{explained}\n",
        significant(fit.a, 3),
        significant(fit.b.abs(), 3)
    )
}
