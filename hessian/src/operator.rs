//! Curvature operators of a network: the only place, with `kronecker` and `coupling`, that knows what a network is.

use std::ops::Range;
use std::sync::Mutex;

use eigenlens_autodiff::{Curvature, Graph, NodeId, Plan, PlanError};
use eigenlens_linalg::{LinearOperator, Real};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Model, Objective, Part};

/// A block B = ∂²L/∂θ_to∂θ_from of the Hessian or of the Gauss–Newton matrix, known by its products.
///
/// Parameters stand in the order of the nodes given, or of θ for parts; a layer's are weight (row-major), then bias. With
/// the penalty. A part that takes only some entries of a tensor is embedded into the whole tensor.
///
/// Cost per column with cached primals, in multiply-adds: 2 Σ_{m≥ℓ} c_m for the block of layer ℓ, c_m = N · in · out.
#[derive(Debug)]
pub struct Block<'o, 'm, T: Real> {
    objective: &'o Objective<'m, T>,
    plan: Plan,
    from: Cut,
    to: Cut,
    lanes: usize,
    buffers: Mutex<Buffers>,
}

/// Vectors of the size of the tensors that a part lies in.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub from: Vec<f64>,
    pub to: Vec<f64>,
}

/// Entries of the vector that holds some tensors one after the other.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Length of that vector.
    pub width: usize,
    /// Number of entries taken.
    pub len: usize,
    /// Which, in its places; empty for all of them.
    ranges: Vec<Range<usize>>,
}

impl Cut {
    fn all(width: usize) -> Self {
        Cut { width, len: width, ranges: Vec::new() }
    }

    pub fn is_all(&self) -> bool {
        self.len == self.width
    }

    /// The nodes that a part touches, and the part of them that it is.
    pub fn new<T: Real>(graph: &Graph<T>, part: &Part) -> (Vec<NodeId>, Self) {
        let (mut nodes, mut ranges, mut width) = (Vec::new(), Vec::new(), 0);
        for &node in graph.params() {
            let tensor = graph.param_range(node);
            let shared = |r: &Range<usize>| r.start.max(tensor.start)..r.end.min(tensor.end);
            // Ranges are sorted: those before the tensor are over when it begins.
            let first = part.ranges.partition_point(|r| r.end <= tensor.start);
            let here = part.ranges[first..].iter().map(shared).take_while(|r| !r.is_empty());
            let before = ranges.len();
            ranges.extend(here.map(|r| r.start - tensor.start + width..r.end - tensor.start + width));
            if ranges.len() > before {
                nodes.push(node);
                width += tensor.len();
            }
        }
        let len = part.len();
        (nodes, Cut { width, len, ranges: if len == width { Vec::new() } else { ranges } })
    }

    /// Columns of the part into columns of the tensors, with zeros around.
    pub fn embed(&self, x: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for (mut x, out) in x.chunks_exact(self.len).zip(out.chunks_exact_mut(self.width)) {
            for range in &self.ranges {
                let (own, rest) = x.split_at(range.len());
                out[range.clone()].copy_from_slice(own);
                x = rest;
            }
        }
    }

    /// Columns of the part from columns of the tensors.
    pub fn gather(&self, y: &[f64], out: &mut [f64]) {
        for (y, mut out) in y.chunks_exact(self.width).zip(out.chunks_exact_mut(self.len)) {
            for range in &self.ranges {
                let (own, rest) = out.split_at_mut(range.len());
                own.copy_from_slice(&y[range.clone()]);
                out = rest;
            }
        }
    }
}

impl<'o, 'm, T: Real> Block<'o, 'm, T> {
    /// The block between two lists of parameters.
    ///
    /// # Errors
    /// See [`PlanError`]; never for parameters.
    pub fn between(
        objective: &'o Objective<'m, T>,
        from: &[NodeId],
        to: &[NodeId],
        kind: Kind,
    ) -> Result<Self, PlanError> {
        let graph = objective.model().graph();
        let all = |list: &[NodeId]| Cut::all(list.iter().map(|&p| graph.shape(p).size()).sum());
        Self::new(objective, (from, all(from)), (to, all(to)), kind)
    }

    fn new(
        objective: &'o Objective<'m, T>,
        (seeds, from): (&[NodeId], Cut),
        (targets, to): (&[NodeId], Cut),
        kind: Kind,
    ) -> Result<Self, PlanError> {
        let plan = objective.plan(seeds, targets, kind)?;
        let lanes = lanes_for(to.width.max(from.width));
        Ok(Block { objective, plan, from, to, lanes, buffers: Mutex::default() })
    }

    /// The block between two parts of θ.
    ///
    /// # Panics
    /// If a part reaches beyond θ.
    #[track_caller]
    pub fn between_parts(objective: &'o Objective<'m, T>, from: &Part, to: &Part, kind: Kind) -> Self {
        let graph = objective.model().graph();
        let [(seeds, from), (targets, to)] = [from, to].map(|part| {
            assert!(part.ranges.last().is_none_or(|r| r.end <= graph.param_len()), "{part:?} is no part of this θ");
            Cut::new(graph, part)
        });
        Self::new(objective, (&seeds, from), (&targets, to), kind).expect(PERTURBED)
    }

    /// The diagonal block of a part of θ.
    ///
    /// # Panics
    /// If the part reaches beyond θ.
    #[track_caller]
    pub fn part(objective: &'o Objective<'m, T>, part: &Part, kind: Kind) -> Self {
        Self::between_parts(objective, part, part, kind)
    }

    /// The diagonal block of layer `index`.
    ///
    /// # Panics
    /// If there is no such layer.
    #[track_caller]
    pub fn layer(objective: &'o Objective<'m, T>, index: usize, kind: Kind) -> Self {
        let params = &objective.model().layers()[index].params;
        Self::between(objective, params, params, kind).expect(PERTURBED)
    }

    /// The whole matrix.
    pub fn full(objective: &'o Objective<'m, T>, kind: Kind) -> Self {
        let params = objective.model().graph().params();
        Self::between(objective, params, params, kind).expect(PERTURBED)
    }

    /// Whether the block is zero by structure, whatever the weights and the data: no op between its parameters has a second
    /// derivative that takes part, and no penalty belongs to the curvature.
    pub fn vanishes(&self) -> bool {
        plan_vanishes(self.objective.model(), &self.plan)
    }

    /// (rows, columns).
    pub fn shape(&self) -> (usize, usize) {
        (self.to.len, self.from.len)
    }

    /// y ← B x for k columns, also for a block that is not square.
    ///
    /// # Panics
    /// If the lengths don't fit.
    #[track_caller]
    pub fn multiply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        let (rows, columns) = self.shape();
        assert_eq!((x.len(), y.len()), (k * columns, k * rows), "{k} columns");
        for (x, y) in x.chunks((self.lanes * columns).max(1)).zip(y.chunks_mut((self.lanes * rows).max(1))) {
            self.window(x.len() / columns, x, y);
        }
    }

    /// As many columns as go together.
    fn window(&self, k: usize, x: &[f64], y: &mut [f64]) {
        if self.from.is_all() && self.to.is_all() {
            return self.objective.product(&self.plan, k, x, y);
        }
        let mut buffers = self.buffers.lock().expect("no product panicked");
        let Buffers { from, to } = &mut *buffers;
        from.resize(k * self.from.width, 0.0);
        to.resize(k * self.to.width, 0.0);
        let whole = if self.from.is_all() {
            x
        } else {
            self.from.embed(x, from);
            from
        };
        if self.to.is_all() {
            return self.objective.product(&self.plan, k, whole, y);
        }
        self.objective.product(&self.plan, k, whole, to);
        self.to.gather(to, y);
    }
}

/// [`Block::vanishes`] of a plan.
fn plan_vanishes<T: Real>(model: &Model<T>, plan: &Plan) -> bool {
    let tensor = matches!(plan.curvature(), Curvature::Tensor { .. });
    plan.bending().next().is_none() && (tensor || model.penalized().is_empty())
}

/// [`Block::vanishes`] of the diagonal block of a part.
pub(crate) fn vanishes<T: Real>(model: &Model<T>, part: &Part, kind: Kind) -> bool {
    let (nodes, _) = Cut::new(model.graph(), part);
    let plan = Plan::new(model.graph(), &nodes, &[], &nodes, kind.of(model.logits())).expect(PERTURBED);
    plan_vanishes(model, &plan)
}

const PERTURBED: &str = "parameters can always be perturbed";

impl<T: Real> LinearOperator for Block<'_, '_, T> {
    /// The order of a square block.
    ///
    /// # Panics
    /// If the block is not square.
    fn dim(&self) -> usize {
        let (rows, columns) = self.shape();
        assert_eq!(rows, columns, "only a square block is an operator");
        rows
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        self.multiply(k, x, y);
    }

    fn lanes(&self) -> usize {
        self.lanes
    }
}

/// Columns taken through a sweep at once: more for small blocks, whose overhead they share; few for large ones, whose
/// columns would leave the cache.
pub fn lanes_for(parameters: usize) -> usize {
    ((1 << 20) / parameters.max(1)).clamp(1, 16)
}

#[cfg(test)]
mod tests;
