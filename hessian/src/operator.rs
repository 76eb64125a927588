//! Curvature operators of a network: the only place, with `kronecker` and `coupling`, that knows what a network is.

use std::ops::Range;
use std::sync::Mutex;

use eigenlens_autodiff::{Graph, NodeId, Plan, PlanError};
use eigenlens_linalg::{LinearOperator, Real};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Objective, Part};

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
struct Buffers {
    from: Vec<f64>,
    to: Vec<f64>,
}

/// Entries of the vector that holds some tensors one after the other.
#[derive(Debug)]
struct Cut {
    /// Length of that vector.
    width: usize,
    /// Number of entries taken.
    len: usize,
    /// Which, in its places; empty for all of them.
    ranges: Vec<Range<usize>>,
}

impl Cut {
    fn all(width: usize) -> Self {
        Cut { width, len: width, ranges: Vec::new() }
    }

    fn is_all(&self) -> bool {
        self.len == self.width
    }

    /// The nodes that a part touches, and the part of them that it is.
    fn new<T: Real>(graph: &Graph<T>, part: &Part) -> (Vec<NodeId>, Self) {
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
    fn embed(&self, x: &[f64], out: &mut [f64]) {
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
    fn gather(&self, y: &[f64], out: &mut [f64]) {
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
fn lanes_for(parameters: usize) -> usize {
    ((1 << 20) / parameters.max(1)).clamp(1, 16)
}

/// A linear combination Σ c_i A_i, damped or shifted by s: x ↦ Σ c_i A_i x + s x.
pub struct Combination<'a> {
    terms: Vec<(f64, &'a dyn LinearOperator)>,
    shift: f64,
    buffer: Mutex<Vec<f64>>,
}

impl<'a> Combination<'a> {
    /// Σ c_i A_i + shift · I.
    ///
    /// # Panics
    /// If there are no terms or their dimensions differ.
    #[track_caller]
    pub fn new(terms: Vec<(f64, &'a dyn LinearOperator)>, shift: f64) -> Self {
        assert!(!terms.is_empty(), "a combination of no operators has no dimension");
        let n = terms[0].1.dim();
        assert!(terms.iter().all(|(_, a)| a.dim() == n), "operators of different dimensions");
        Combination { terms, shift, buffer: Mutex::new(Vec::new()) }
    }
}

impl LinearOperator for Combination<'_> {
    fn dim(&self) -> usize {
        self.terms[0].1.dim()
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y = self.shift * x);
        let mut buffer = self.buffer.lock().expect("no product panicked");
        buffer.resize(y.len(), 0.0);
        for (c, a) in &self.terms {
            a.apply(k, x, &mut buffer);
            y.iter_mut().zip(buffer.iter()).for_each(|(y, b)| *y += c * b);
        }
    }

    fn lanes(&self) -> usize {
        self.terms.iter().map(|(_, a)| a.lanes()).min().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests;
