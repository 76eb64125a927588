//! Built networks: the per-sample loss as a differentiable function, and where its layers are in it.

use std::ops::Range;

use eigenlens_autodiff::{Function, Graph, NodeId};
use eigenlens_linalg::Real;

pub use self::cut::{CutBlock, Head};
pub use self::error::ModelError;
pub use self::functional::Functional;
use crate::init::{Init, Stream};
pub use crate::spec::{LayerKind, LayerSpec, Loss, ModelSpec, Penalty, Scope, Statistics, Weighting, Window};

mod build;
mod cut;
mod error;
mod functional;
mod wiring;

use build::Builder;

/// A parametrised layer of a built network: a block of the layer-wise Hessian.
///
/// Its parameters are the tensors of one module, in PyTorch's order (weight, then bias), consecutive in the flat vector θ.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// What it is, in a few words: `linear 64→32 + bias`.
    pub description: String,
    /// Its parameter nodes: weight and, if there is one, bias.
    pub params: Vec<NodeId>,
    /// Its place in θ.
    pub range: Range<usize>,
    /// The node of its input z.
    pub input: NodeId,
    /// The node of its result a, before the activation; of its first use if the parameters are shared.
    pub output: NodeId,
    /// Whether a = W z + b for the whole sample and nothing else uses W and b: the Kronecker structure then holds.
    pub dense: bool,
    /// Values per row of z.
    pub inputs: usize,
    /// Values per row of a.
    pub outputs: usize,
    /// Whether there is a bias.
    pub bias: bool,
    /// Multiply-adds of one pass for one sample, over all uses; `usize::MAX` where there are more.
    pub work: usize,
}

impl Layer {
    /// Number of parameters p_ℓ.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are no parameters (never, for a built network).
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

/// How a tensor starts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    /// A weight, by its own shape.
    Weight(Init),
    /// A bias beside a weight of this many inputs.
    Bias(Init, usize),
    /// Every entry the same.
    Constant(f64),
}

/// The state of a network: what training changes.
#[derive(Clone, Debug, PartialEq)]
pub struct State<T> {
    /// The flat parameter vector θ.
    pub theta: Vec<T>,
    /// The running averages, one list for each of [`Model::buffers`].
    pub buffers: Vec<Vec<f64>>,
}

/// A parameter tensor of a built network.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// `layer.weight` or `layer.bias`.
    pub name: String,
    /// Its extents, PyTorch's layout.
    pub shape: Vec<usize>,
    /// Its place in θ.
    pub range: Range<usize>,
    start: Start,
}

/// A tensor that belongs to the network's state but is not trained by gradients: a running average.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// `layer.running_mean` or `layer.running_var`.
    pub name: String,
    /// Its length.
    pub len: usize,
    /// The value of every entry before training.
    pub start: f64,
    /// Its node in the analysed graph.
    pub node: NodeId,
}

/// The same network as it is trained, where that differs from how it is analysed.
#[derive(Debug)]
pub struct Training<T: Real> {
    /// The per-sample loss; θ means the same.
    pub function: Function<T>,
    /// The node of the data.
    pub input: NodeId,
    /// The node of the targets.
    pub target: NodeId,
    /// Dropout masks: nodes to be filled with 0 or 1/(1 − rate), and the rate.
    pub masks: Vec<(NodeId, f64)>,
    /// Batch norms whose running averages follow training.
    pub norms: Vec<Norm>,
}

/// A batch norm in training.
#[derive(Clone, Debug)]
pub struct Norm {
    /// The layer's name.
    pub name: String,
    /// Its node; [`eigenlens_autodiff::Linearization::saved`] begins with the batch's means and biased variances.
    pub node: NodeId,
    /// Index of `running_mean` among the buffers; `running_var` follows.
    pub buffer: usize,
    /// Share of a new batch.
    pub momentum: f64,
    /// Channels.
    pub channels: usize,
    /// Values per channel and sample: rows · columns.
    pub spatial: usize,
}

/// A built network: the per-sample loss as a differentiable function, and where its layers are in it.
#[derive(Debug)]
pub struct Model<T: Real> {
    spec: ModelSpec,
    function: Function<T>,
    training: Option<Training<T>>,
    layers: Vec<Layer>,
    tensors: Vec<Tensor>,
    buffers: Vec<Buffer>,
    functional: Vec<Functional>,
    input: NodeId,
    target: NodeId,
    logits: NodeId,
    head: Option<Head>,
}

impl<T: Real> Model<T> {
    /// Builds the graph of a network.
    ///
    /// # Errors
    /// If names, shapes or numbers don't fit; the error names the layer.
    pub fn new(spec: &ModelSpec) -> Result<Self, ModelError> {
        if let Some(p) = spec.penalty
            && !(p.lambda.is_finite() && p.lambda >= 0.0)
        {
            return Err(ModelError::Penalty(p.lambda));
        }
        if spec.loss != Loss::CrossEntropy && spec.weighting != Weighting::default() {
            return Err(ModelError::Weighting(spec.loss));
        }
        let built = Builder::build(spec, false)?;
        let function = Function::new(built.graph, built.loss);
        let differs = spec.layers.iter().any(|l| match l.kind {
            LayerKind::Dropout { rate } => rate > 0.0,
            LayerKind::BatchNorm { .. } => true,
            _ => false,
        });
        let training = if differs {
            let t = Builder::build(spec, true)?;
            let function = Function::new(t.graph, t.loss);
            Some(Training { function, input: t.input, target: t.target, masks: t.masks, norms: t.norms })
        } else {
            None
        };
        Ok(Model {
            spec: spec.clone(),
            function,
            training,
            layers: built.layers,
            tensors: built.tensors,
            buffers: built.buffers,
            functional: built.functional,
            input: built.input,
            target: built.target,
            logits: built.logits,
            head: None,
        })
    }

    /// What it was built from.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The per-sample loss as a function of θ, as it is analysed.
    pub fn function(&self) -> &Function<T> {
        &self.function
    }

    /// The network as it is trained, if that differs: dropout, batch norm.
    pub fn training(&self) -> Option<&Training<T>> {
        self.training.as_ref()
    }

    /// The function that training differentiates, with its nodes of the data and of the targets.
    pub fn trained(&self) -> (&Function<T>, NodeId, NodeId) {
        self.training.as_ref().map_or((&self.function, self.input, self.target), |t| (&t.function, t.input, t.target))
    }

    /// The graph.
    pub fn graph(&self) -> &Graph<T> {
        self.function.graph()
    }

    /// The parametrised layers, in the order of θ.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The functional blocks, in the order of the network: their results are where curvature in activation space is taken.
    pub fn functional(&self) -> &[Functional] {
        &self.functional
    }

    /// The parameter tensors, in the order of θ.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The running averages that the analysed graph reads; empty for most networks.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// The values of [`Model::buffers`] before training.
    pub fn start_buffers(&self) -> Vec<Vec<f64>> {
        self.buffers.iter().map(|b| vec![b.start; b.len]).collect()
    }

    /// Number of parameters P.
    pub fn len(&self) -> usize {
        self.graph().param_len()
    }

    /// Whether there are no parameters (never).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The node of the data.
    pub fn input(&self) -> NodeId {
        self.input
    }

    /// The node of the labels or target values.
    pub fn target(&self) -> NodeId {
        self.target
    }

    /// The node of the network's output, the argument of the loss.
    pub fn logits(&self) -> NodeId {
        self.logits
    }

    /// Values per sample.
    pub fn features(&self) -> usize {
        self.spec.features()
    }

    /// Target values per sample.
    pub fn target_size(&self) -> usize {
        self.graph().shape(self.target).size()
    }

    /// Classes of a classifier: the last extent of the output, which may have several positions per sample.
    pub fn classes(&self) -> usize {
        self.graph().shape(self.logits).dims.last().copied().unwrap_or(1)
    }

    /// Network outputs per sample.
    pub fn outputs(&self) -> usize {
        self.graph().shape(self.logits).size()
    }

    /// Starting parameters: each tensor a function of the seed and its index, the same numbers in f32 and f64.
    pub fn init(&self, seed: u64) -> Vec<T> {
        let mut theta = vec![T::ZERO; self.len()];
        for (index, tensor) in self.tensors.iter().enumerate() {
            let stream = Stream { seed, tensor: index as u64 };
            let out = &mut theta[tensor.range.clone()];
            match tensor.start {
                Start::Weight(init) => init.fill(&tensor.shape, stream, out),
                Start::Bias(init, fan_in) => init.fill_bias(fan_in, stream, out),
                Start::Constant(value) => out.fill(T::from_f64(value)),
            }
        }
        theta
    }

    /// The state before training: [`Model::init`] and [`Model::start_buffers`].
    pub fn start(&self, seed: u64) -> State<T> {
        State { theta: self.init(seed), buffers: self.start_buffers() }
    }

    /// The ranges of θ that the penalty covers, with λ; empty without a penalty.
    pub fn penalized(&self) -> Vec<(Range<usize>, f64)> {
        let Some(Penalty { lambda, scope }) = self.spec.penalty else { return Vec::new() };
        self.tensors
            .iter()
            .filter(|t| scope == Scope::All || t.name.ends_with(".weight"))
            .map(|t| (t.range.clone(), lambda))
            .collect()
    }

    /// The ranges of θ that hold weights, not biases: what weight decay is usually applied to.
    pub fn weight_ranges(&self) -> Vec<Range<usize>> {
        self.tensors.iter().filter(|t| t.name.ends_with(".weight")).map(|t| t.range.clone()).collect()
    }

    /// Multiply-adds of one pass through all layers for one sample: Σ_ℓ in · out for linear layers.
    pub fn multiply_adds(&self) -> usize {
        self.layers.iter().fold(0, |sum: usize, l| sum.saturating_add(l.work))
    }
}

#[cfg(test)]
mod tests;
