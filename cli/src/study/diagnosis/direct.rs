//! Rules that need no learning: facts about one block at the end of training.

use crate::study::findings::features::{Layer, Moment, Profile};

/// Share of dead units from which on a layer is reported.
const DEAD: f64 = 0.5;
/// λ_max of a block over the largest of all blocks below which the layer hardly matters to the loss.
const NEGLIGIBLE: f64 = 1e-6;
/// Numerical rank over dimension from which on a block counts as full.
const FULL: f64 = 0.99;
/// Numerical rank over dimension below which another block has room.
const ROOM: f64 = 0.5;

/// Something that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What, in two words or three.
    pub name: &'static str,
    /// The layer, if it is one's.
    pub layer: Option<String>,
    /// What it means, in a sentence.
    pub meaning: String,
    /// The numbers behind it.
    pub evidence: String,
}

/// All that the direct rules find in a run.
pub fn direct(profile: &Profile) -> Vec<Finding> {
    let Some(end) = profile.moments.last() else { return Vec::new() };
    let mut found: Vec<Finding> = end.layers.iter().filter_map(dead).collect();
    found.extend(negligible(end));
    found.extend(bottleneck(end));
    found.extend(unstable(profile));
    found
}

/// Whether the block is exactly zero.
fn is_zero(layer: &Layer) -> bool {
    layer.get("frobenius") == Some(0.0)
}

fn dead(layer: &Layer) -> Option<Finding> {
    let name = Some(layer.name.clone());
    if is_zero(layer) {
        return Some(Finding {
            name: "dead layer",
            layer: name,
            meaning: "the loss does not change to second order with any weight of this layer".to_owned(),
            evidence: "its Hessian block is exactly zero".to_owned(),
        });
    }
    let dead = layer.get("dead_units").filter(|d| *d >= DEAD)?;
    Some(Finding {
        name: "dead units",
        layer: name,
        meaning: "half of the units or more pass nothing on for any sample: the layer is narrower than it looks"
            .to_owned(),
        evidence: format!("{:.0} % of its units are dead", 100.0 * dead),
    })
}

fn negligible(end: &Moment) -> Vec<Finding> {
    let largest = end.layers.iter().filter_map(|l| l.get("lambda_max")).fold(0.0, f64::max);
    let finding = |l: &Layer| {
        let own = l.get("lambda_max")?;
        (!is_zero(l) && own < NEGLIGIBLE * largest).then(|| Finding {
            name: "saturated layer",
            layer: Some(l.name.clone()),
            meaning: "the loss hardly reacts to this layer: its units are saturated, or what follows ignores them"
                .to_owned(),
            evidence: format!("its largest eigenvalue is {own:.1e}, that of the sharpest layer {largest:.1e}"),
        })
    };
    end.layers.iter().filter_map(finding).collect()
}

fn bottleneck(end: &Moment) -> Vec<Finding> {
    let filled = |l: &Layer| Some(l.get("rank_numerical")? / l.dimension()?);
    let shares: Vec<(&Layer, f64)> = end.layers.iter().filter_map(|l| Some((l, filled(l)?))).collect();
    let Some(roomiest) = shares.iter().map(|s| s.1).filter(|s| *s < ROOM).min_by(f64::total_cmp) else {
        return Vec::new();
    };
    let finding = |(l, share): &(&Layer, f64)| {
        (*share >= FULL).then(|| Finding {
            name: "bottleneck",
            layer: Some(l.name.clone()),
            meaning: "every direction of this layer's weights is in use, while another layer has room: it may be what limits \
                      the network"
                .to_owned(),
            evidence: format!(
                "the numerical rank of its block is {:.0} % of its dimension, in the layer with most room {:.0} %",
                100.0 * share,
                100.0 * roomiest
            ),
        })
    };
    shares.iter().filter_map(finding).collect()
}

fn unstable(profile: &Profile) -> Option<Finding> {
    let share = |m: &Moment| m.network.get("stability_share").copied();
    let over: Vec<(usize, f64)> = profile
        .moments
        .iter()
        .filter(|m| m.epoch > 0)
        .filter_map(|m| Some((m.epoch, share(m).filter(|s| *s > 1.0)?)))
        .collect();
    let (epoch, worst) = over.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let last = profile.moments.last().and_then(share);
    let now = last.map_or(String::new(), |s| format!(", {s:.2} times at the end"));
    Some(Finding {
        name: "unstable steps",
        layer: None,
        meaning: "the sharpest curvature is beyond what the step size can stand with full batches: along it, steps overshoot. \
                  Training can hover there without diverging (the edge of stability)"
            .to_owned(),
        evidence: format!("it was {worst:.2} times the bound after epoch {epoch}{now}"),
    })
}
