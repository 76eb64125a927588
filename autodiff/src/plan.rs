//! Which maps a sweep has to call, decided once: tangents known to be zero are not propagated, cotangents that nobody
//! reads are not pulled back.

use eigenlens_linalg::{Real, Write};
use thiserror::Error;

use crate::graph::{Graph, NodeId};
use crate::op::MAX_INPUTS;

/// One pull-back through one op.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    pub node: usize,
    /// For each input: not wanted, or wanted and to be overwritten or added to.
    pub slots: [Option<Write>; MAX_INPUTS],
    /// Whether the op's output has a cotangent of its own in this sweep.
    pub from_output: bool,
    /// Whether a second-derivative term takes part.
    pub bends: bool,
}

/// Which second derivatives a product includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curvature {
    /// All of them: H = ∂²L.
    Hessian,
    /// Only those of ops after `head` (usually the logits): G = Jᵀ (∂²ℓ/∂head²) J.
    GaussNewton {
        /// The node that splits the network from its loss.
        head: NodeId,
    },
    /// Only those of the ops up to `head`: T = H − G, what the network itself curves.
    Tensor {
        /// As for [`Curvature::GaussNewton`].
        head: NodeId,
    },
    /// None: only Jacobians, forwards and backwards.
    None,
}

/// Why a plan is impossible.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// A perturbed activation lies behind another perturbed node.
    #[error("node `{0}` is perturbed and also depends on another perturbed node; perturb one at a time")]
    NestedSeed(String),
    /// Data can't be differentiated into.
    #[error("node `{0}` is a parameter; a cotangent can only be fed in at an activation")]
    ParamSource(String),
}

/// A product as a list of calls: "perturb these nodes, read the derivative at those nodes".
///
/// A layer block, an inter-layer block, an activation-space block, the full Hessian, a Jacobian product and its
/// transpose are all plans; only seeds, sources and targets differ.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) curvature: Curvature,
    /// Perturbed nodes.
    pub(crate) seeds: Vec<NodeId>,
    /// Nodes whose cotangent is read.
    pub(crate) targets: Vec<NodeId>,
    /// Ops to push tangents through, in order.
    pub(crate) pushes: Vec<usize>,
    /// Pull-backs, in order.
    pub(crate) pulls: Vec<Pull>,
    /// Which nodes carry a tangent.
    pub(crate) tangent: Vec<bool>,
    /// Activations that need a cotangent buffer.
    pub(crate) cotangent: Vec<bool>,
    /// Targets that no pull-back reaches: their derivative is identically zero.
    pub(crate) zero: Vec<NodeId>,
}

impl Plan {
    /// Plans a product: directions enter at `seeds` (parameters or activations), cotangents of their own enter at
    /// `sources` (activations; usually none), derivatives are read at `targets`.
    ///
    /// # Errors
    /// If a seed activation depends on another seed, or a source is a parameter.
    pub fn new<T: Real>(
        graph: &Graph<T>,
        seeds: &[NodeId],
        sources: &[NodeId],
        targets: &[NodeId],
        curvature: Curvature,
    ) -> Result<Plan, PlanError> {
        if let Some(&p) = sources.iter().find(|&&s| graph.is_param(s)) {
            return Err(PlanError::ParamSource(graph.name(p).to_string()));
        }
        let n = graph.len();
        let tangent = downstream(graph, seeds);
        for &s in seeds {
            if graph.op_of(s.0).is_some_and(|(_, inputs)| inputs.iter().any(|i| tangent[i.0])) {
                return Err(PlanError::NestedSeed(graph.name(s).to_string()));
            }
        }
        let wanted = upstream_wanted(graph, targets);
        let bends: Vec<bool> = match curvature {
            Curvature::Hessian => vec![true; n],
            Curvature::GaussNewton { head } => after(graph, head),
            Curvature::Tensor { head } => after(graph, head).iter().map(|after| !after).collect(),
            Curvature::None => vec![false; n],
        };
        let pulls = pulls(graph, sources, &tangent, &wanted, &bends);
        let mut reached = vec![false; n];
        let mut cotangent = vec![false; n];
        for &s in sources {
            reached[s.0] = true;
            cotangent[s.0] = true;
        }
        for pull in &pulls {
            let (_, inputs) = graph.op_of(pull.node).expect("pull-backs are of ops");
            for (slot, input) in pull.slots.iter().zip(inputs) {
                if slot.is_some() {
                    reached[input.0] = true;
                    cotangent[input.0] = !graph.is_param(*input);
                }
            }
        }
        let zero: Vec<NodeId> = targets.iter().copied().filter(|t| !reached[t.0]).collect();
        for t in &zero {
            cotangent[t.0] = !graph.is_param(*t);
        }
        // A tangent is worth pushing only as far as some pull-back of a bending op looks at it, or the caller does.
        let mut useful = vec![curvature == Curvature::None; n];
        for pull in pulls.iter().filter(|p| p.bends) {
            for input in graph.op_of(pull.node).expect("pull-backs are of ops").1 {
                useful[input.0] = true;
            }
        }
        for i in (0..n).rev() {
            if useful[i] && tangent[i] {
                for input in graph.op_of(i).map_or(&[][..], |(_, inputs)| inputs) {
                    useful[input.0] = true;
                }
            }
        }
        let pushes = (0..n)
            .filter(|&i| tangent[i] && useful[i] && graph.op_of(i).is_some() && !seeds.contains(&NodeId(i)))
            .collect();
        let (seeds, targets) = (seeds.to_vec(), targets.to_vec());
        Ok(Plan { curvature, seeds, targets, pushes, pulls, tangent, cotangent, zero })
    }

    /// The product of the Hessian's block (targets, seeds) of the scalar function that was linearized.
    ///
    /// # Errors
    /// If a seed activation depends on another seed.
    pub fn hessian<T: Real>(graph: &Graph<T>, seeds: &[NodeId], targets: &[NodeId]) -> Result<Plan, PlanError> {
        Plan::new(graph, seeds, &[], targets, Curvature::Hessian)
    }

    /// The ops whose second derivative takes part, from the last to the first; one may stand twice.
    pub fn bending(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.pulls.iter().filter(|pull| pull.bends).map(|pull| NodeId(pull.node))
    }

    /// Which second derivatives it includes.
    pub fn curvature(&self) -> Curvature {
        self.curvature
    }

    /// The perturbed nodes.
    pub fn seeds(&self) -> &[NodeId] {
        &self.seeds
    }

    /// The nodes whose derivative is read.
    pub fn targets(&self) -> &[NodeId] {
        &self.targets
    }
}

/// Nodes that are, or depend on, one of `roots`.
fn downstream<T: Real>(graph: &Graph<T>, roots: &[NodeId]) -> Vec<bool> {
    let mut mark = vec![false; graph.len()];
    for r in roots {
        mark[r.0] = true;
    }
    for i in 0..graph.len() {
        if let Some((_, inputs)) = graph.op_of(i) {
            mark[i] |= inputs.iter().any(|j| mark[j.0]);
        }
    }
    mark
}

/// Nodes that depend on `head`, which itself is none of them.
fn after<T: Real>(graph: &Graph<T>, head: NodeId) -> Vec<bool> {
    let mut after = downstream(graph, &[head]);
    after[head.0] = false;
    after
}

/// Nodes through which a cotangent must pass to reach one of `targets`.
fn upstream_wanted<T: Real>(graph: &Graph<T>, targets: &[NodeId]) -> Vec<bool> {
    // "Leads to a target" in the direction of pull-backs is "depends on a target" in the direction of evaluation.
    downstream(graph, targets)
}

/// The pull-backs of one reverse sweep, in order, each slot with its first-write flag.
pub(crate) fn pulls<T: Real>(
    graph: &Graph<T>,
    sources: &[NodeId],
    tangent: &[bool],
    wanted: &[bool],
    bends: &[bool],
) -> Vec<Pull> {
    let n = graph.len();
    let mut live = vec![false; n];
    for s in sources {
        live[s.0] = true;
    }
    let mut list = Vec::new();
    for i in (0..n).rev() {
        let Some((op, inputs)) = graph.op_of(i) else { continue };
        let from_output = live[i] && wanted[i];
        // An input that stands twice gets one pull-back for each place, so that slots never alias.
        let mut rounds: Vec<Pull> = Vec::new();
        for (p, input) in inputs.iter().enumerate() {
            if !wanted[input.0] || !op.differentiable(p) {
                continue;
            }
            let coupled = bends[i] && inputs.iter().enumerate().any(|(q, j)| tangent[j.0] && op.couples(p, q));
            if !from_output && !coupled {
                continue;
            }
            let write = Write::add_if(live[input.0]);
            live[input.0] = true;
            let taken = |r: &Pull| r.slots.iter().zip(inputs).any(|(s, j)| s.is_some() && j == input);
            let round = match rounds.iter().position(|r| !taken(r)) {
                Some(at) => &mut rounds[at],
                None => {
                    rounds.push(Pull { node: i, slots: [None; MAX_INPUTS], from_output, bends: false });
                    rounds.last_mut().expect("just pushed")
                }
            };
            round.slots[p] = Some(write);
            round.bends |= coupled;
        }
        list.extend(rounds);
    }
    list
}
