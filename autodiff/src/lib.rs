//! Forward-over-reverse differentiation of tensor graphs: every op is four maps, every product a pruned plan.
//!
//! Second order is a rule, not a transformation (Pearlmutter 1994): evaluate and pull back once, keep every primal and
//! cotangent; then each Hessian product is one tangent sweep forwards and one cotangent-tangent sweep backwards.
//!
//! | module | what |
//! |---|---|
//! | [`op`] | the contract of an op: `eval`, `jvp`, `vjp`, `vjp_jvp` |
//! | [`family`] | linear, bilinear and elementwise ops, whose maps are written for the author |
//! | [`normalise`] | the family of normalisations: one rule, several ways of grouping |
//! | [`ops`] | the ops, one file each, and their table |
//! | [`window`] | windows that slide over images: geometry and patches |
//! | [`graph`] | nodes in topological order with their shapes |
//! | [`plan`] | which maps a product calls: "perturb these nodes, read the derivative at those nodes" |
//! | [`linearize`] | cached primals and cotangents, and the products they serve without allocating |
//! | `pieces` | maps on pieces of a batch, by all threads |
//! | [`check`] | the one tester of ops and networks |
//!
//! This crate knows no layers, no data and no threads of its own.

mod channels;
pub mod check;
pub mod family;
pub mod graph;
pub mod linearize;
pub mod normalise;
pub mod op;
pub mod ops;
mod pieces;
pub mod plan;
mod probabilities;
#[cfg(test)]
mod tests;
pub mod window;

pub use graph::{Graph, GraphError, NodeId};
pub use linearize::{At, Buffers, Exchange, Function, Linearization, Order, Workspace};
pub use op::{Op, Shape, volume};
pub use plan::{Curvature, Plan, PlanError};
pub use window::Window;
