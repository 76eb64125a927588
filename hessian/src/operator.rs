//! Curvature operators of a network: the only place, with `kronecker` and `coupling`, that knows what a network is.

use std::sync::Mutex;

use eigenlens_autodiff::{NodeId, Plan, PlanError};
use eigenlens_linalg::{LinearOperator, Real};
use eigenlens_nets::Objective;
use eigenlens_nets::objective::Kind;

/// A block B = ∂²L/∂θ_to∂θ_from of the Hessian or of the Gauss–Newton matrix, known by its products.
///
/// Parameters stand in the order of the nodes given; a layer's are weight (row-major), then bias. With the penalty.
/// Cost per column with cached primals, in multiply-adds: 2 Σ_{m≥ℓ} c_m for the block of layer ℓ, c_m = N · in · out.
#[derive(Debug)]
pub struct Block<'o, 'm, T: Real> {
    objective: &'o Objective<'m, T>,
    plan: Plan,
    rows: usize,
    columns: usize,
    lanes: usize,
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
        let plan = objective.plan(from, to, kind)?;
        let size = |list: &[NodeId]| list.iter().map(|&p| objective.model().graph().shape(p).size()).sum();
        let (columns, rows) = (size(from), size(to));
        Ok(Block { objective, plan, rows, columns, lanes: lanes_for(rows.max(columns)) })
    }

    /// The diagonal block of layer `index`.
    ///
    /// # Panics
    /// If there is no such layer.
    #[track_caller]
    pub fn layer(objective: &'o Objective<'m, T>, index: usize, kind: Kind) -> Self {
        let params = &objective.model().layers()[index].params;
        Self::between(objective, params, params, kind).expect("parameters can always be perturbed")
    }

    /// The whole matrix.
    pub fn full(objective: &'o Objective<'m, T>, kind: Kind) -> Self {
        let params = objective.model().graph().params();
        Self::between(objective, params, params, kind).expect("parameters can always be perturbed")
    }

    /// (rows, columns).
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// y ← B x for k columns, also for a block that is not square.
    ///
    /// # Panics
    /// If the lengths don't fit.
    #[track_caller]
    pub fn multiply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        assert_eq!((x.len(), y.len()), (k * self.columns, k * self.rows), "{k} columns");
        let columns = x.chunks(self.lanes * self.columns).zip(y.chunks_mut(self.lanes * self.rows));
        for (x, y) in columns {
            self.objective.product(&self.plan, x.len() / self.columns, x, y);
        }
    }
}

impl<T: Real> LinearOperator for Block<'_, '_, T> {
    /// The order of a square block.
    ///
    /// # Panics
    /// If the block is not square.
    fn dim(&self) -> usize {
        assert_eq!(self.rows, self.columns, "only a square block is an operator");
        self.rows
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
