//! What the activation behind a layer does to its curvature: the mean square of σ″, and the units that let nothing through.
//!
//! | key | formula |
//! |---|---|
//! | `activation_bend` | E\[σ″(a)²\] over samples and units |
//! | `dead_units` | share of units with |σ′(a_n)| ≤ 10⁻⁶ for every sample n (and position) |
//!
//! The tensor part H − G of a layer's block comes from σ″ of this activation and of those above it, so that a network whose
//! σ″ vanishes has H = G for each layer. Units of a convolution are its channels.
//!
//! # Sources
//! Bolshim & Kugaevskikh, arXiv 2604.11639 (GN-Gap by activation); Lu et al. 2020, *Dying ReLU and initialization*.

use eigenlens_autodiff::NodeId;
use eigenlens_autodiff::op::{Cotangent, Cx, Lanes, Op, Primal, Slot};
use eigenlens_linalg::{Par, Real, Write};
use eigenlens_nets::spec::LayerKind;
use eigenlens_nets::{Activation, Model, Objective};

use crate::estimate::Quantity;
use crate::metrics::put;

/// Slopes of at most this size let nothing through.
const DEAD: f64 = 1e-6;

/// The activation that reads layer `index` next, directly or after its norm, and the node it reads.
fn behind<T: Real>(model: &Model<T>, index: usize) -> Option<(Activation, NodeId)> {
    let layer = &model.layers()[index];
    let (specs, mut node) = (&model.spec().layers, layer.output);
    if model.is_shared(layer) || specs[model.owner_of(layer)].label(model.owner_of(layer)) != layer.name {
        return None;
    }
    for (at, next) in specs.iter().enumerate().skip(model.owner_of(layer) + 1) {
        if !next.inputs.is_empty() {
            return None;
        }
        match &next.kind {
            LayerKind::Activation(activation) => return Some((*activation, node)),
            LayerKind::LayerNorm { .. }
            | LayerKind::RmsNorm { .. }
            | LayerKind::GroupNorm { .. }
            | LayerKind::BatchNorm { .. } => {
                node = model.layers().iter().find(|l| model.owner_of(l) == at)?.output;
            }
            _ => return None,
        }
    }
    None
}

/// The quantities of layer `index`; empty where no activation follows it (the last layer, a norm before another layer).
///
/// Cost: three passes over the layer's results.
///
/// # Panics
/// If nothing was linearized, or there is no such layer.
#[track_caller]
pub fn activation_bend<T: Real>(objective: &Objective<'_, T>, index: usize) -> Vec<Quantity> {
    let model = objective.model();
    let mut out = Vec::new();
    let Some((activation, node)) = behind(model, index) else { return out };
    let Some(op) = activation.op::<T>() else { return out };
    let dims = &model.graph().shape(node).dims;
    let size: usize = dims.iter().product();
    // Channels come first in an image; everywhere else units are the last axis.
    let unit = |i: usize| if dims.len() == 3 { i / (dims[1] * dims[2]) } else { i % dims.last().copied().unwrap_or(1) };
    let mut alive = vec![false; size.max(1)];
    let (mut squares, mut count) = (0.0, 0);
    for s in 0..objective.shards() {
        let lin = objective.shard(s).0;
        let a = lin.value(node);
        let (slope, bend) = derivatives(op.as_ref(), a, lin.batch());
        squares += bend.iter().map(|x| x.to_f64().powi(2)).sum::<f64>();
        count += bend.len();
        for (i, slope) in slope.iter().enumerate() {
            let slope = slope.to_f64();
            alive[unit(i % size)] |= slope.is_nan() || slope.abs() > DEAD;
        }
    }
    let units = (0..size).map(unit).max().map_or(0, |u| u + 1);
    put(&mut out, "activation_bend", squares / count as f64, None);
    let dead = alive[..units].iter().filter(|a| !**a).count();
    put(&mut out, "dead_units", dead as f64 / units as f64, None);
    out
}

/// σ′ and σ″ of an elementwise op at these values.
fn derivatives<T: Real>(op: &dyn Op<T>, a: &[T], batch: usize) -> (Vec<T>, Vec<T>) {
    let (n, cx) = (a.len(), Cx { batch, par: Par::Seq });
    let zeros = |n: usize| vec![T::ZERO; n];
    let (mut y, mut saved) = (zeros(n), zeros(op.saved_len(&[n], n)));
    op.eval(&cx, &[a], &mut y, &mut saved);
    let primal = Primal { x: &[a], y: &y, saved: &saved };
    let (ones, mut bent) = (vec![T::ONE; n], zeros(op.bent_len(&[n], n)));
    op.bend(&cx, primal, &ones, &mut bent);
    let (mut slope, mut bend) = (zeros(n), zeros(n));
    let direction = [Some(Lanes::new(&ones, 1))];
    op.jvp(&cx, primal, &direction, &mut slope);
    // A linear op couples nothing, and must not be asked.
    if op.couples(0, 0) {
        let slot = Some(Slot { data: &mut bend, lanes: 1, write: Write::Set });
        op.vjp_jvp(&cx, primal, Cotangent { gy: &ones, bent: &bent }, &direction, None, &mut [slot]);
    }
    (slope, bend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::get;
    use crate::testing::{cases, linearized, mixed};

    #[test]
    fn derivatives_are_those_of_differences() {
        let h = 1e-4;
        let at = [-2.0, -0.7, 0.3, 1.1];
        for activation in Activation::all() {
            let Some(op) = activation.op::<f64>() else { continue };
            let f = |x: f64| {
                let (mut y, mut saved) = ([0.0], vec![0.0; op.saved_len(&[1], 1)]);
                op.eval(&Cx { batch: 1, par: Par::Seq }, &[&[x]], &mut y, &mut saved);
                y[0]
            };
            let (slope, bend) = derivatives(op.as_ref(), &at, 4);
            for (i, &x) in at.iter().enumerate() {
                let (first, second) = ((f(x + h) - f(x - h)) / (2.0 * h), (f(x + h) - 2.0 * f(x) + f(x - h)) / (h * h));
                assert!((slope[i] - first).abs() < 1e-7 * (1.0 + first.abs()), "{activation} at {x}");
                assert!((bend[i] - second).abs() < 1e-6 * (1.0 + second.abs()), "{activation} at {x}");
            }
        }
    }

    #[test]
    fn tanh_has_its_closed_form_and_relu_none() {
        for case in cases() {
            let objective = linearized(&case.model, &case.samples);
            let found = activation_bend(&objective, 0);
            let bend = get(&found, "activation_bend").unwrap().value;
            if case.name.starts_with("tanh") {
                let node = case.model.layers()[0].output;
                let (mut sum, mut n) = (0.0, 0);
                for s in 0..objective.shards() {
                    for a in objective.shard(s).0.value(node) {
                        let t = a.tanh();
                        sum += (2.0 * t * (1.0 - t * t)).powi(2);
                        n += 1;
                    }
                }
                assert!((bend - sum / f64::from(n)).abs() < 1e-14, "{bend}");
            }
            assert_eq!(bend == 0.0, case.name.starts_with("relu"), "{}", case.name);
            assert!(activation_bend(&objective, 2).is_empty(), "nothing follows the last layer");
        }
    }

    #[test]
    fn a_unit_without_any_positive_sample_is_dead() {
        let case = cases().swap_remove(1);
        let model = &case.model;
        let mut objective = linearized(model, &case.samples);
        let mut theta = model.init(3);
        // Inputs lie within ±1: a bias of −100 is never overcome.
        for unit in [1, 3] {
            theta[20 + unit] = -100.0;
        }
        objective.linearize(&theta);
        let relu = |a: f64| a > 0.0;
        let node = model.layers()[0].output;
        let dead = (0..5).filter(|u| {
            (0..objective.shards()).all(|s| objective.shard(s).0.value(node).chunks(5).all(|a| !relu(a[*u])))
        });
        let dead = dead.count();
        assert!(dead >= 2);
        let found = activation_bend(&objective, 0);
        assert_eq!(get(&found, "dead_units").unwrap().value, dead as f64 / 5.0);
    }

    #[test]
    fn a_convolution_behind_a_norm_counts_channels() {
        let (model, samples) = mixed();
        let objective = linearized(&model, &samples);
        let found = activation_bend(&objective, 0);
        assert_eq!(get(&found, "dead_units").unwrap().value, 0.0);
        let norm = model.layers().iter().position(|l| l.name == "norm").unwrap();
        assert_eq!(activation_bend(&objective, norm), found, "both are read by the same tanh");
        let mix = model.layers().iter().position(|l| l.name == "mix").unwrap();
        assert!(activation_bend(&objective, mix).is_empty(), "used twice");
    }
}
