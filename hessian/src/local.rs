//! The local Hessian of a functional block: LH^φ = ∇²_θ (1/N) Σ_n φ(A(P(z_n; θ))), the block's input z frozen.
//!
//! A block cut out of its network ([`eigenlens_nets::model::CutBlock`]) is a network with φ for a loss, so that its products,
//! assembly, Gram matrix and spectra are those of any network: that is the general route, for convolutions, norms and
//! attention as well. Where the block is an affine layer with an elementwise activation σ, u = σ(a), there is a closed form:
//! LH^φ = (1/N) Σ M_n ⊗ ẑ_n ẑ_nᵀ with
//!
//! M = diag(σ′(a)) ∇²φ(u) diag(σ′(a)) + diag(σ″(a) ⊙ ∇φ(u)),
//!
//! which then serves the assembly and the Gram matrix.
//!
//! | φ | ∇φ(u) | ∇²φ(u) |
//! |---|---|---|
//! | Σ u | 1 | 0 |
//! | (1/m) Σ u | 1/m | 0 |
//! | ½ ‖u‖² | u | 1 |
//! | log Σ exp u | p = softmax(u) | diag p − p pᵀ |
//!
//! The first term is the Gauss–Newton part of the block, the second its tensor part. A piecewise linear block has no second
//! term: with a linear φ its local Hessian is zero, whatever the weights, and is reported as such.
//!
//! # Sources
//! Bolshim & Kugaevskikh, arXiv 2510.17486, for the object.

use std::ops::Range;

use eigenlens_linalg::Real;
use eigenlens_nets::model::{CutBlock, Head, LayerKind};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Activation, Model, Objective, Part};

use crate::block::{BlockError, BlockOptions, BlockReport};
use crate::layerwise::{self, Choice};

/// Why a part has no local Hessian.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// Parameters of several blocks.
    #[error(
        "a local Hessian is that of one functional block with its input frozen, and the parameters of `{part}` are used by {}: {}; cut θ into parts of single blocks, such as layers or tensors",
        blocks.len(),
        list(blocks)
    )]
    Several {
        /// The part.
        part: String,
        /// The blocks.
        blocks: Vec<String>,
    },
    /// Parameters that no block uses.
    #[error("no functional block uses the parameters of `{0}`; the network has no result that depends on them")]
    Unused(String),
}

fn list(blocks: &[String]) -> String {
    const MOST: usize = 6;
    let named: Vec<String> = blocks.iter().take(MOST).map(|b| format!("`{b}`")).collect();
    named.join(", ") + if blocks.len() > MOST { ", …" } else { "" }
}

/// The block that a part of θ belongs to, cut out of its network.
#[derive(Debug)]
pub struct Local<T: Real> {
    cut: CutBlock<T>,
    part: Part,
}

impl<T: Real> Local<T> {
    /// For a part of a network's θ.
    ///
    /// # Errors
    /// A part that belongs to no block, or to several.
    pub fn new(model: &Model<T>, part: &Part, head: Head) -> Result<Self, LocalError> {
        let blocks = model.blocks_of(part);
        let &[block] = &blocks[..] else {
            let blocks: Vec<String> = blocks.iter().map(|&b| model.functional()[b].name.clone()).collect();
            let part = part.name.clone();
            return Err(if blocks.is_empty() {
                LocalError::Unused(part)
            } else {
                LocalError::Several { part, blocks }
            });
        };
        let cut = model.cut(block, head);
        let part = cut.part(part).ok_or_else(|| LocalError::Unused(part.name.clone()))?;
        Ok(Local { cut, part })
    }

    /// The block as a network.
    pub fn model(&self) -> &Model<T> {
        self.cut.model()
    }

    /// The part as one of the block's θ.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// The mean of φ with the inputs that the block has where the network's objective was linearized, linearized there too.
    ///
    /// # Panics
    /// If the network's objective was not.
    #[track_caller]
    pub fn objective(&self, network: &Objective<'_, T>) -> Objective<'_, T> {
        let mut objective = network.of_block(&self.cut);
        objective.linearize(&self.cut.theta(network.theta()));
        objective
    }

    /// The route that [`Local::block`] takes, for so many samples.
    pub fn choose(&self, samples: usize, options: &BlockOptions) -> Choice {
        Choice::of(self.model(), samples, &self.part, Kind::Hessian, options)
    }

    /// The spectrum and the quantities of the local Hessian.
    ///
    /// # Errors
    /// NaN or infinity, by the name of the part.
    /// # Panics
    /// As [`Local::objective`].
    #[track_caller]
    pub fn block(&self, network: &Objective<'_, T>, options: &BlockOptions) -> Result<BlockReport, BlockError> {
        layerwise::block(&self.objective(network), &self.part, Kind::Hessian, options)
    }
}

/// The activation of a block that is an affine layer and at most one activation, and the layer's place.
fn activation<T: Real>(model: &Model<T>, index: usize) -> Option<Activation> {
    let (layer, block) = (&model.layers()[index], &model.functional()[0]);
    if layer.output == block.node {
        return Some(Activation::Identity);
    }
    let (specs, owner) = (&model.spec().layers, model.owner_of(layer));
    let (place, end) = specs.iter().enumerate().find(|(i, l)| l.label(*i) == block.end)?;
    let reads = match &end.inputs[..] {
        [] => place == owner + 1,
        [one] => *one == specs[owner].label(owner),
        _ => false,
    };
    match end.kind {
        LayerKind::Activation(activation) if reads => Some(activation),
        _ => None,
    }
}

/// w_n M_n of some outputs of a layer, as the pairs i ≤ j of them: shape (N, pairs). `None` unless the objective is that of a
/// block cut out of a network, and the block the layer and at most an activation.
///
/// Cost: N units² multiply-adds; no product.
pub(crate) fn closed_form<T: Real>(
    objective: &Objective<'_, T>,
    index: usize,
    units: &Range<usize>,
    kind: Kind,
) -> Option<Vec<f64>> {
    let model = objective.model();
    let (head, layer) = (model.head()?, model.layers().get(index)?);
    let activation = activation(model, index)?;
    let (out, count) = (layer.outputs, units.len());
    let (network, tensor) = (kind != Kind::Tensor, kind != Kind::GaussNewton);
    let pairs = count * (count + 1) / 2;
    let mut m = Vec::with_capacity(objective.samples() * pairs);
    for s in 0..objective.shards() {
        let (lin, weights) = objective.shard(s);
        let a: Vec<f64> = lin.value(layer.output).iter().map(|x| x.to_f64()).collect();
        let [u, slope, curvature] = activation.derivatives(&a);
        let rows = u.chunks_exact(out).zip(slope.chunks_exact(out)).zip(curvature.chunks_exact(out));
        for (((u, slope), curvature), w) in rows.zip(weights) {
            let (w, phi) = (w.to_f64(), Derivatives::of(head, u));
            for i in units.clone() {
                for j in i..units.end {
                    let first = if network { slope[i] * phi.second(i, j) * slope[j] } else { 0.0 };
                    let second = if tensor && i == j { curvature[i] * phi.first(i) } else { 0.0 };
                    m.push(w * (first + second));
                }
            }
        }
    }
    Some(m)
}

/// ∇φ and ∇²φ at one u.
struct Derivatives<'u> {
    head: Head,
    u: &'u [f64],
    /// softmax(u) for logsumexp.
    p: Vec<f64>,
}

impl<'u> Derivatives<'u> {
    fn of(head: Head, u: &'u [f64]) -> Self {
        let mut p = Vec::new();
        if head == Head::LogSumExp {
            let top = u.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            p.extend(u.iter().map(|u| (u - top).exp()));
            let sum: f64 = p.iter().sum();
            p.iter_mut().for_each(|p| *p /= sum);
        }
        Derivatives { head, u, p }
    }

    fn first(&self, i: usize) -> f64 {
        match self.head {
            Head::Sum => 1.0,
            Head::Mean => 1.0 / self.u.len() as f64,
            Head::HalfNorm => self.u[i],
            Head::LogSumExp => self.p[i],
        }
    }

    fn second(&self, i: usize, j: usize) -> f64 {
        match self.head {
            Head::Sum | Head::Mean => 0.0,
            Head::HalfNorm => f64::from(u8::from(i == j)),
            Head::LogSumExp => self.p[i] * (f64::from(u8::from(i == j)) - self.p[j]),
        }
    }
}

#[cfg(test)]
mod tests;
