//! Graphs of operations in topological order, with shapes known when built.

use eigenlens_linalg::Real;
use thiserror::Error;

use crate::op::{MAX_INPUTS, MOST_VALUES, Op, Shape};

/// A node of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) usize);

impl NodeId {
    /// Position in topological order.
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Kind<T: Real> {
    /// Data, one row per sample.
    Input,
    /// A parameter; `offset` is its place in the flat vector θ.
    Param { offset: usize },
    /// The result of an op.
    Op { op: Box<dyn Op<T>>, inputs: Vec<NodeId> },
}

#[derive(Debug)]
pub(crate) struct Node<T: Real> {
    pub name: String,
    pub shape: Shape,
    pub kind: Kind<T>,
}

/// Why a node could not be added.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GraphError {
    /// The op refused the shapes of its inputs.
    #[error("node `{node}` ({op} of {inputs}): {reason}")]
    Shape {
        /// The node to be added.
        node: String,
        /// The op's name.
        op: &'static str,
        /// Names and shapes of the inputs.
        inputs: String,
        /// What the op said.
        reason: String,
    },
    /// More values than [`MOST_VALUES`].
    #[error("node `{node}`: {what} would have more than {MOST_VALUES} values, which no memory holds; make it smaller")]
    TooLarge {
        /// The node that has them.
        node: String,
        /// What of it, with its shape.
        what: String,
    },
    /// More inputs than [`MAX_INPUTS`].
    #[error("node `{node}`: {count} inputs, at most {MAX_INPUTS} are possible; chain several ops")]
    TooManyInputs {
        /// The node to be added.
        node: String,
        /// How many it has.
        count: usize,
    },
}

/// A function of data and parameters as a list of ops in topological order (SSA).
///
/// Activations carry an implicit leading batch axis, parameters don't. A parameter used twice is one node, so its
/// contributions add up before the second differentiation: weight sharing is right by construction.
/// The last node whose samples are scalars is usually the per-sample loss.
#[derive(Debug, Default)]
pub struct Graph<T: Real> {
    pub(crate) nodes: Vec<Node<T>>,
    params: Vec<NodeId>,
    param_len: usize,
}

impl<T: Real> Graph<T> {
    /// An empty graph.
    pub fn new() -> Self {
        Graph { nodes: Vec::new(), params: Vec::new(), param_len: 0 }
    }

    fn push(&mut self, name: &str, shape: Shape, kind: Kind<T>) -> NodeId {
        self.nodes.push(Node { name: name.to_string(), shape, kind });
        NodeId(self.nodes.len() - 1)
    }

    /// Data with `dims` values per sample.
    pub fn input(&mut self, name: &str, dims: &[usize]) -> NodeId {
        self.push(name, Shape::batched(dims), Kind::Input)
    }

    /// Data with `dims` values that all samples share and nothing is differentiated by: running statistics, for one.
    pub fn constant(&mut self, name: &str, dims: &[usize]) -> NodeId {
        self.push(name, Shape::fixed(dims), Kind::Input)
    }

    /// A parameter of shape `dims`, placed after the earlier ones in the flat vector θ. One that is too large is refused with
    /// the first op that reads it.
    pub fn param(&mut self, name: &str, dims: &[usize]) -> NodeId {
        let shape = Shape::fixed(dims);
        let size = shape.size();
        let id = self.push(name, shape, Kind::Param { offset: self.param_len });
        self.params.push(id);
        self.param_len = self.param_len.saturating_add(size);
        id
    }

    /// The result of `op` on earlier nodes.
    ///
    /// # Errors
    /// If the op refuses the shapes, something has more than [`MOST_VALUES`] values, or there are more than [`MAX_INPUTS`]
    /// inputs.
    pub fn op(&mut self, name: &str, op: impl Op<T> + 'static, inputs: &[NodeId]) -> Result<NodeId, GraphError> {
        self.boxed(name, Box::new(op), inputs)
    }

    /// [`Graph::op`] for an op chosen at run time.
    ///
    /// # Errors
    /// As [`Graph::op`].
    pub fn boxed(&mut self, name: &str, op: Box<dyn Op<T>>, inputs: &[NodeId]) -> Result<NodeId, GraphError> {
        if inputs.len() > MAX_INPUTS {
            return Err(GraphError::TooManyInputs { node: name.to_string(), count: inputs.len() });
        }
        inputs.iter().try_for_each(|&i| self.fits(i))?;
        let shapes: Vec<Shape> = inputs.iter().map(|&i| self.shape(i).clone()).collect();
        let shape = op.output_shape(&shapes).map_err(|reason| GraphError::Shape {
            node: name.to_string(),
            op: op.name(),
            inputs: inputs
                .iter()
                .map(|&i| format!("`{}` {}", self.name(i), self.shape(i)))
                .collect::<Vec<_>>()
                .join(", "),
            reason,
        })?;
        let too_large = |what: String| GraphError::TooLarge { node: name.to_string(), what };
        if shape.size() > MOST_VALUES {
            return Err(too_large(format!("its result of shape {shape}")));
        }
        let lens: Vec<usize> = shapes.iter().map(Shape::size).collect();
        if op.saved_len(&lens, shape.size()).max(op.bent_len(&lens, shape.size())) > MOST_VALUES {
            return Err(too_large(format!("what its derivatives need, for a result of shape {shape},")));
        }
        Ok(self.push(name, shape, Kind::Op { op, inputs: inputs.to_vec() }))
    }

    /// Refuses what is too large: an input, a parameter, or all parameters up to this one.
    fn fits(&self, id: NodeId) -> Result<(), GraphError> {
        let node = &self.nodes[id.0];
        let what = if node.shape.size() > MOST_VALUES {
            format!("a tensor of shape {}", node.shape)
        } else if matches!(node.kind, Kind::Param { offset } if offset.saturating_add(node.shape.size()) > MOST_VALUES)
        {
            "the parameters up to and with it".to_string()
        } else {
            return Ok(());
        };
        Err(GraphError::TooLarge { node: node.name.clone(), what })
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A node's name.
    pub fn name(&self, id: NodeId) -> &str {
        &self.nodes[id.0].name
    }

    /// A node's shape.
    pub fn shape(&self, id: NodeId) -> &Shape {
        &self.nodes[id.0].shape
    }

    /// The node of this name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|n| n.name == name).map(NodeId)
    }

    /// The parameters, in the order of the flat vector θ.
    pub fn params(&self) -> &[NodeId] {
        &self.params
    }

    /// Length of the flat vector θ.
    pub fn param_len(&self) -> usize {
        self.param_len
    }

    /// Where a parameter lies in θ.
    ///
    /// # Panics
    /// If the node is not a parameter.
    #[track_caller]
    pub fn param_range(&self, id: NodeId) -> std::ops::Range<usize> {
        match self.nodes[id.0].kind {
            Kind::Param { offset } => offset..offset.saturating_add(self.shape(id).size()),
            _ => panic!("node `{}` is not a parameter", self.name(id)),
        }
    }

    /// Whether the node is a parameter.
    pub fn is_param(&self, id: NodeId) -> bool {
        matches!(self.nodes[id.0].kind, Kind::Param { .. })
    }

    /// Whether the node is data: an input or a constant.
    pub fn is_input(&self, id: NodeId) -> bool {
        matches!(self.nodes[id.0].kind, Kind::Input)
    }

    /// All nodes, in topological order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<T> {
        (0..self.len()).map(NodeId)
    }

    /// The nodes that `to` is computed from, in topological order with `to` itself, going back no further than `ends`, of
    /// which those that are reached belong to them.
    pub fn cone(&self, ends: &[NodeId], to: NodeId) -> Vec<NodeId> {
        let mut kept = vec![false; self.len()];
        kept[to.0] = true;
        for i in (0..=to.0).rev().filter(|i| !ends.contains(&NodeId(*i))) {
            if kept[i] {
                self.op_of(i).map_or(&[][..], |(_, inputs)| inputs).iter().for_each(|j| kept[j.0] = true);
            }
        }
        self.ids().filter(|id| kept[id.0]).collect()
    }

    /// The part of the graph that computes `to` from `ends`, which become data: the nodes of [`Graph::cone`] alone, and the
    /// place of each node of this graph in it.
    pub fn cut(self, ends: &[NodeId], to: NodeId) -> (Graph<T>, Vec<Option<NodeId>>) {
        let cone = self.cone(ends, to);
        let (mut graph, mut places) = (Graph::new(), vec![None; self.len()]);
        for (i, node) in self.nodes.into_iter().enumerate() {
            if cone.binary_search(&NodeId(i)).is_err() {
                continue;
            }
            let here = match node.kind {
                Kind::Param { .. } => graph.param(&node.name, &node.shape.dims),
                Kind::Op { op, inputs } if !ends.contains(&NodeId(i)) => {
                    let inputs = inputs.iter().map(|j| places[j.0].expect("inputs of kept nodes are kept")).collect();
                    graph.push(&node.name, node.shape, Kind::Op { op, inputs })
                }
                Kind::Op { .. } | Kind::Input => graph.push(&node.name, node.shape, Kind::Input),
            };
            places[i] = Some(here);
        }
        (graph, places)
    }

    /// Whether some op lets samples see each other, so that a batch can't be cut into shards.
    pub fn mixes_samples(&self) -> bool {
        self.nodes.iter().any(|n| matches!(&n.kind, Kind::Op { op, .. } if op.mixes_samples()))
    }

    /// The node that asks for the largest batch, and how large, if some op asks for more than one sample
    /// ([`Op::least_batch`]).
    pub fn least_batch(&self) -> Option<(NodeId, usize)> {
        let asks = |i: usize| {
            let (op, inputs) = self.op_of(i)?;
            let shapes: Vec<Shape> = inputs.iter().map(|&j| self.shape(j).clone()).collect();
            Some((NodeId(i), op.least_batch(&shapes)))
        };
        (0..self.len()).filter_map(asks).filter(|(_, n)| *n > 1).reduce(|a, b| if b.1 > a.1 { b } else { a })
    }

    pub(crate) fn op_of(&self, i: usize) -> Option<(&dyn Op<T>, &[NodeId])> {
        match &self.nodes[i].kind {
            Kind::Op { op, inputs } => Some((op.as_ref(), inputs)),
            _ => None,
        }
    }

    /// The value of an input of node `i`: a parameter from θ, else from the buffers of earlier nodes.
    pub(crate) fn value<'a>(&self, id: NodeId, theta: &'a [T], earlier: &'a [Vec<T>]) -> &'a [T] {
        match self.nodes[id.0].kind {
            Kind::Param { offset } => &theta[offset..offset + self.nodes[id.0].shape.size()],
            _ => &earlier[id.0],
        }
    }
}
