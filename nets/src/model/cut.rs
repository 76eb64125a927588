//! A functional block cut out of a network, with a scalar of its result in the place of the loss.
//!
//! It is a network of its own: what the block reads of others is its data, its result the output, φ the loss. Its Hessian is
//! the local Hessian of the block, ∇² (1/N) Σ_n φ(A(P(z_n; θ))) with z frozen (arXiv 2510.17486), and everything that is
//! done with the Hessian of a network can be done with it.

use std::fmt;
use std::ops::Range;

use eigenlens_autodiff::family::{Linear, Product};
use eigenlens_autodiff::ops::{LogSumExp, Mul, Scale, Sum};
use eigenlens_autodiff::{Function, NodeId};
use eigenlens_linalg::Real;

use super::build::Builder;
use super::{Buffer, Functional, Layer, Model, Tensor, Weighting};
use crate::blocks::Part;

/// φ: a scalar of a block's result u of m values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Σ u.
    Sum,
    /// (1/m) Σ u.
    Mean,
    /// ½ ‖u‖².
    HalfNorm,
    /// log Σ exp u.
    LogSumExp,
}

impl Head {
    /// All of them.
    pub const ALL: [Head; 4] = [Head::Sum, Head::Mean, Head::HalfNorm, Head::LogSumExp];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Head::Sum => "sum",
            Head::Mean => "mean",
            Head::HalfNorm => "half-norm",
            Head::LogSumExp => "logsumexp",
        }
    }

    /// The largest rank that ∇²φ can have for m values: 0 for the linear ones, and one less than m where constants are lost.
    pub fn rank(self, m: usize) -> usize {
        match self {
            Head::Sum | Head::Mean => 0,
            Head::HalfNorm => m,
            Head::LogSumExp => m - 1,
        }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A functional block as a network.
#[derive(Debug)]
pub struct CutBlock<T: Real> {
    model: Model<T>,
    /// What is data here: nodes of the network, and here.
    pub(crate) given: Vec<(NodeId, NodeId)>,
    /// Places of its parameters in the network's θ, in the order of its own.
    ranges: Vec<Range<usize>>,
}

impl<T: Real> CutBlock<T> {
    /// The block as a network.
    pub fn model(&self) -> &Model<T> {
        &self.model
    }

    /// A part of the network's θ as one of the block's. `None` if it has entries outside of the block.
    pub fn part(&self, part: &Part) -> Option<Part> {
        let mut found = Vec::new();
        let mut at = 0;
        for own in &self.ranges {
            for r in &part.ranges {
                let (start, end) = (r.start.max(own.start), r.end.min(own.end));
                if start < end {
                    found.push(start - own.start + at..end - own.start + at);
                }
            }
            at += own.len();
        }
        let here = Part::new(part.name.clone(), part.description.clone(), found);
        (here.len() == part.len()).then_some(here)
    }

    /// The block's parameters among the network's.
    ///
    /// # Panics
    /// If θ is shorter than the network's.
    #[track_caller]
    pub fn theta(&self, theta: &[T]) -> Vec<T> {
        self.ranges.iter().flat_map(|r| theta[r.clone()].iter().copied()).collect()
    }
}

impl<T: Real> Model<T> {
    /// The scalar that a block cut out of a network has for a loss; `None` for a network with a loss.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// The largest rank that the second derivative of a sample's loss by the outputs can have.
    pub fn loss_rank(&self) -> usize {
        let outputs = self.outputs();
        match (self.head, self.spec().loss) {
            (Some(head), _) => head.rank(outputs),
            // diag p − p pᵀ has a null vector at every position of the output.
            (None, super::Loss::CrossEntropy) => outputs - outputs / self.classes(),
            (None, super::Loss::Mse | super::Loss::Bce) => outputs,
        }
    }

    /// The nodes at which a functional block ends on the way back: the data, and the results of the others.
    fn ends(&self, block: usize) -> Vec<NodeId> {
        let others = self.functional().iter().enumerate().filter(|(b, _)| *b != block).map(|(_, f)| f.node);
        std::iter::once(self.input()).chain(others).collect()
    }

    /// The functional blocks that use parameters of a part, by their place in [`Model::functional`].
    ///
    /// A layer that stands before a block and belongs to no other, as a norm may, belongs to that block.
    pub fn blocks_of(&self, part: &Part) -> Vec<usize> {
        let touched = |node: &NodeId| {
            let graph = self.graph();
            graph.is_param(*node) && {
                let own = graph.param_range(*node);
                part.ranges.iter().any(|r| r.start < own.end && own.start < r.end)
            }
        };
        let uses = |&b: &usize| self.graph().cone(&self.ends(b), self.functional()[b].node).iter().any(touched);
        (0..self.functional().len()).filter(uses).collect()
    }

    /// Cuts out a functional block, by its place in [`Model::functional`], with φ for its loss. It has no penalty.
    ///
    /// # Panics
    /// If there is no such block.
    #[track_caller]
    pub fn cut(&self, block: usize, head: Head) -> CutBlock<T> {
        let functional = &self.functional()[block];
        // Ops can't be copied, but a network is built the same way every time.
        let built = Builder::<T>::build(self.spec(), false).expect("it was built before");
        let (mut graph, nodes) = built.graph.cut(&self.ends(block), functional.node);
        let here = |node: NodeId| nodes[node.index()];
        let output = here(functional.node).expect("it leads to itself");
        let op = |op: Result<NodeId, _>| op.expect("a result has values");
        let loss = match head {
            Head::Sum => op(graph.op("φ", Linear(Sum::total()), &[output])),
            Head::Mean => op(graph.op("φ", Linear(Sum::mean()), &[output])),
            Head::HalfNorm => {
                let squares = op(graph.op("squares", Product(Mul), &[output, output]));
                let sum = op(graph.op("sum", Linear(Sum::total()), &[squares]));
                op(graph.op("φ", Linear(Scale(0.5)), &[sum]))
            }
            Head::LogSumExp => op(graph.op("φ", LogSumExp, &[output])),
        };
        let is_data = |i: &usize| nodes[*i].is_some_and(|n| graph.is_input(n));
        let given: Vec<(NodeId, NodeId)> =
            self.graph().ids().filter(|id| is_data(&id.index())).filter_map(|id| Some((id, here(id)?))).collect();
        let data = given.first().map_or(output, |(_, here)| *here);
        let layers: Vec<Layer> = self
            .layers()
            .iter()
            .filter(|l| l.params.iter().all(|&p| here(p).is_some()))
            .map(|l| {
                let params: Vec<NodeId> = l.params.iter().filter_map(|&p| here(p)).collect();
                let range = graph.param_range(params[0]).start
                    ..graph.param_range(*params.last().expect("a layer has parameters")).end;
                // The first use of parameters that are used twice may be in another block.
                let (input, output) = (here(l.input).unwrap_or(data), here(l.output).unwrap_or(output));
                Layer { params, range, input, output, ..l.clone() }
            })
            .collect();
        let kept = || self.graph().params().iter().filter_map(|&p| Some((p, here(p)?)));
        let place = |tensor: &Tensor| {
            let (_, new) = kept().find(|(old, _)| self.graph().param_range(*old) == tensor.range)?;
            Some(Tensor { range: graph.param_range(new), ..tensor.clone() })
        };
        let buffer = |b: &Buffer| Some(Buffer { node: here(b.node)?, ..b.clone() });
        let mut spec = self.spec().clone();
        (spec.penalty, spec.weighting) = (None, Weighting::default());
        let ranges = kept().map(|(old, _)| self.graph().param_range(old)).collect();
        let (tensors, buffers) =
            (self.tensors().iter().filter_map(place).collect(), self.buffers().iter().filter_map(buffer).collect());
        let functional = vec![Functional { node: output, reads: Vec::new(), ..functional.clone() }];
        let model = Model {
            spec,
            function: Function::new(graph, loss),
            training: None,
            layers,
            tensors,
            buffers,
            functional,
            input: data,
            // There are no labels; the data stand for them, and nobody reads them as such.
            target: data,
            logits: output,
            head: Some(head),
        };
        CutBlock { model, given, ranges }
    }
}
