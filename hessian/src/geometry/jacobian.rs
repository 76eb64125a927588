//! How much a block stretches perturbations: spectral norms of Jacobians from block to block, sample by sample.

use eigenlens_autodiff::{Curvature, Plan};
use eigenlens_linalg::Real;
use eigenlens_nets::Objective;

use super::spectral_norm;
use crate::estimate::Estimate;

/// Jacobians between functional blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Jacobians {
    /// For each block, ‖∂f_w/∂f_v‖₂ of the first block v that it reads, over samples; `None` for blocks that read the data.
    pub rho: Vec<Option<Estimate>>,
    /// λ₁ = (1/L) log ‖∂f_last/∂f_first‖₂ over samples, L the distance between the two: the largest Lyapunov exponent per
    /// block. `None` for a single block.
    pub lyapunov: Option<Estimate>,
}

/// Jacobians at the point where `objective` was linearized, of at most `rows` samples (those of the first shards).
///
/// The total derivative is taken, so that skip connections count. It is formed column by column: no product of Jacobians
/// that would need the QR steps of Benettin et al. 1980.
///
/// Cost: as many tangent sweeps as block v has results, for each block. Returns `None` if a block has more than `widest`
/// results, or if samples are coupled.
pub fn jacobians<T: Real>(objective: &Objective<'_, T>, rows: usize, widest: usize) -> Option<Jacobians> {
    let model = objective.model();
    let blocks = model.functional();
    let width = |b: usize| model.graph().shape(blocks[b].node).size();
    if model.graph().mixes_samples() || (0..blocks.len()).any(|b| width(b) > widest) {
        return None;
    }
    let rho = (0..blocks.len())
        .map(|w| blocks[w].reads.first().map(|&v| Estimate::from_samples(&norms(objective, v, w, rows))))
        .collect();
    let last = blocks.len().checked_sub(1).filter(|last| *last > 0);
    let lyapunov = last.and_then(|last| {
        let steps = super::distances(blocks)[0][last].filter(|d| *d > 0)? as f64;
        let logs: Vec<f64> = norms(objective, 0, last, rows).iter().map(|n| n.ln() / steps).collect();
        Some(Estimate::from_samples(&logs))
    });
    Some(Jacobians { rho, lyapunov })
}

/// ‖∂f_w/∂f_v‖₂ of each sample.
fn norms<T: Real>(objective: &Objective<'_, T>, v: usize, w: usize, rows: usize) -> Vec<f64> {
    let model = objective.model();
    let (from, to) = (model.functional()[v].node, model.functional()[w].node);
    let size = |node| model.graph().shape(node).size();
    let (inputs, outputs) = (size(from), size(to));
    let plan = Plan::new(model.graph(), &[from], &[], &[], Curvature::None).expect("one result can be perturbed");
    let lists = objective.sweep_activations(
        &plan,
        inputs,
        |_, ws| {
            let tangent = ws.tangent_mut(from);
            tangent.fill(T::ZERO);
            let lane = tangent.len() / inputs;
            for (k, lane) in tangent.chunks_exact_mut(lane).enumerate() {
                lane.iter_mut().skip(k).step_by(inputs).for_each(|t| *t = T::ONE);
            }
        },
        |_, ws| {
            let tangent = ws.tangent(to);
            let samples = tangent.len() / (inputs * outputs);
            (0..samples.min(rows))
                .map(|n| {
                    let columns: Vec<f64> = (0..inputs)
                        .flat_map(|k| tangent[(k * samples + n) * outputs..][..outputs].iter().map(|x| x.to_f64()))
                        .collect();
                    spectral_norm(&columns, inputs, outputs)
                })
                .collect::<Vec<_>>()
        },
    );
    lists.into_iter().flatten().take(rows).collect()
}
