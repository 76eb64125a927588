//! Built networks: the per-sample loss as a differentiable function, and where its layers are in it.

use std::ops::Range;

use eigenlens_autodiff::{Function, Graph, GraphError, NodeId};
use eigenlens_linalg::Real;
use thiserror::Error;

pub use self::cut::{CutBlock, Head};
pub use self::functional::Functional;
use crate::init::{Init, Stream};
pub use crate::spec::{LayerKind, LayerSpec, Loss, ModelSpec, Penalty, Scope, Statistics, Weighting, Window};

mod build;
mod cut;
mod functional;

use build::Builder;

/// Why a network can't be built.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ModelError {
    /// A layer without inputs or outputs.
    #[error("layer `{0}` has no inputs or no outputs; every width must be at least 1")]
    Empty(String),
    /// Two layers of the same name.
    #[error("two layers are called `{0}`; give each its own name")]
    DuplicateName(String),
    /// A layer called as parts of another are.
    #[error("the name `{layer}` is kept for a part of layer `{owner}`; give it another, without the dot")]
    MadeName {
        /// The layer.
        layer: String,
        /// The other.
        owner: String,
    },
    /// A layer with parameters and without a name.
    #[error("layer {place} ({kind}) has parameters and needs a name")]
    Unnamed {
        /// Its place in the list, from 0.
        place: usize,
        /// What it does.
        kind: &'static str,
    },
    /// Nothing to train or analyse.
    #[error("the network has no layer with parameters; add at least one")]
    NoLayers,
    /// Cross-entropy over a single class.
    #[error("cross-entropy needs at least 2 outputs, the network has {0}; use the loss `bce` for one output")]
    SingleClass(usize),
    /// A penalty that is not a number ≥ 0.
    #[error("the L2 penalty must be finite and not negative, is {0}")]
    Penalty(f64),
    /// An input that no layer is called.
    #[error("layer `{layer}` reads `{input}`, and no layer is called that{}", nearest.as_ref().map_or(String::new(), |n| format!("; did you mean `{n}`?")))]
    UnknownInput {
        /// The reader.
        layer: String,
        /// What it reads.
        input: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// A layer that depends on itself.
    #[error("the layers {} read each other in a cycle", .0.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" → "))]
    Cycle(Vec<String>),
    /// An input that stands later in the list.
    #[error("layer `{layer}` reads `{input}`, which stands after it; list a layer after those it reads")]
    Later {
        /// The reader.
        layer: String,
        /// What it reads.
        input: String,
    },
    /// A layer whose result goes nowhere.
    #[error("nobody reads layer `{0}`, and it is not the last; remove it or let a later layer read it")]
    Unread(String),
    /// A wrong number of inputs.
    #[error("layer `{layer}` ({kind}) reads {has} layers, it takes {takes}")]
    Count {
        /// The layer.
        layer: String,
        /// What it does.
        kind: &'static str,
        /// How many it reads.
        has: usize,
        /// How many it takes.
        takes: &'static str,
    },
    /// Parameters shared with a layer that has none, or others.
    #[error("layer `{layer}` shares the parameters of `{with}`: {reason}")]
    Shared {
        /// The layer.
        layer: String,
        /// Whose parameters.
        with: String,
        /// What is wrong.
        reason: String,
    },
    /// A number outside its range.
    #[error("layer `{layer}`: {reason}")]
    Option {
        /// The layer.
        layer: String,
        /// What is wrong.
        reason: String,
    },
    /// Class weights or label smoothing for another loss.
    #[error("label smoothing and class weights belong to cross-entropy, the loss is {0}; leave them out")]
    Weighting(Loss),
    /// Ops refused their inputs.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

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
    /// Multiply-adds of one pass for one sample, over all uses.
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
        self.layers.iter().map(|l| l.work).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activation;

    fn mlp() -> ModelSpec {
        ModelSpec::mlp(&[3, 4, 2], Activation::Tanh, Init::XavierNormal { gain: 1.0 }, Loss::CrossEntropy)
    }

    #[test]
    fn layers_lie_one_after_the_other_with_weight_before_bias() {
        let model = Model::<f64>::new(&mlp()).unwrap();
        let names: Vec<_> = model.tensors().iter().map(|t| (t.name.as_str(), t.range.clone())).collect();
        assert_eq!(names, [("fc1.weight", 0..12), ("fc1.bias", 12..16), ("fc2.weight", 16..24), ("fc2.bias", 24..26)]);
        assert_eq!(model.layers().iter().map(|l| l.range.clone()).collect::<Vec<_>>(), [0..16, 16..26]);
        assert_eq!((model.len(), model.outputs(), model.multiply_adds()), (26, 2, 20));
    }

    #[test]
    fn f32_and_f64_start_from_the_same_numbers() {
        let (a, b) = (Model::<f64>::new(&mlp()).unwrap().init(7), Model::<f32>::new(&mlp()).unwrap().init(7));
        assert!(a.iter().zip(&b).all(|(a, b)| *a as f32 == *b));
        assert!(a.iter().any(|x| *x != 0.0));
    }

    #[test]
    fn a_single_class_is_refused_with_the_remedy() {
        let spec = ModelSpec::mlp(&[3, 1], Activation::Relu, Init::Pytorch, Loss::CrossEntropy);
        let error = Model::<f64>::new(&spec).unwrap_err().to_string();
        assert!(error.contains("use the loss `bce`"), "{error}");
    }

    #[test]
    fn zero_widths_and_equal_names_are_refused() {
        let spec = ModelSpec::mlp(&[3, 0, 2], Activation::Relu, Init::Pytorch, Loss::Mse);
        assert_eq!(Model::<f64>::new(&spec).unwrap_err(), ModelError::Empty("fc1".into()));
        let mut spec = mlp();
        spec.layers[2].name = "fc1".into();
        assert_eq!(Model::<f64>::new(&spec).unwrap_err(), ModelError::DuplicateName("fc1".into()));
        spec.layers[2].name = "fc1.q".into();
        let made = ModelError::MadeName { layer: "fc1.q".into(), owner: "fc1".into() };
        assert_eq!(Model::<f64>::new(&spec).unwrap_err(), made);
    }

    #[test]
    fn skip_connections_that_dont_fit_are_refused_by_name() {
        let with = |layers: Vec<LayerSpec>| {
            let spec = ModelSpec::new(&[3], layers, Loss::Mse);
            Model::<f64>::new(&spec).map(|_| ()).unwrap_err().to_string()
        };
        let linear = |name: &str| LayerSpec::linear(name, 3, true, Init::Pytorch);
        let add = |inputs: &[&str]| LayerSpec::new("sum", LayerKind::Add).reading(inputs);
        let error = with(vec![linear("a"), add(&["a", "imput"])]);
        assert!(error.contains("`sum` reads `imput`") && error.contains("did you mean `input`?"), "{error}");
        let error = with(vec![linear("a").reading(&["b"]), linear("b").reading(&["a"])]);
        assert!(error.contains("`a` → `b` → `a`"), "{error}");
        let error = with(vec![linear("a").reading(&["b"]), linear("b").reading(&["input"]), add(&["a", "b"])]);
        assert!(error.contains("stands after it"), "{error}");
        let error = with(vec![linear("a"), linear("b").reading(&["input"])]);
        assert!(error.contains("nobody reads layer `a`"), "{error}");
        let error = with(vec![linear("a"), add(&["a"])]);
        assert!(error.contains("it takes 2 or more"), "{error}");
        let error = with(vec![linear("a"), LayerSpec::linear("b", 4, true, Init::Pytorch), add(&["a", "b"])]);
        assert!(
            error.contains("`sum`") && error.contains("`a` (batch, 3)") && error.contains("`b` (batch, 4)"),
            "{error}"
        );
        // A mean over the only axis leaves none; no layer may take that for granted.
        let statistics = Statistics::Running;
        for kind in [
            LayerKind::BatchNorm { eps: 1e-5, momentum: 0.1, statistics },
            LayerKind::GroupNorm { groups: 1, eps: 1e-5 },
            LayerKind::Conv2d { channels: 1, window: Window::square(1), groups: 1, bias: true },
            LayerKind::LayerNorm { eps: 1e-5 },
            LayerKind::Linear { units: 1, bias: true },
            LayerKind::Flatten,
        ] {
            let name = kind.name();
            let error =
                with(vec![linear("a"), LayerSpec::new("mean", LayerKind::MeanTokens), LayerSpec::new("b", kind)]);
            assert!(error.contains("`b`"), "{name}: {error}");
        }
        let error = with(vec![linear("a"), LayerSpec::new("b", LayerKind::Dropout { rate: 1.0 })]);
        assert!(error.contains("dropout rate"), "{error}");
    }

    #[test]
    fn shared_layers_have_one_block_that_is_not_dense() {
        let linear = |name: &str| LayerSpec::linear(name, 3, true, Init::Pytorch);
        let layers = vec![linear("a"), LayerSpec::activation(Activation::Tanh), linear("b").sharing("a"), linear("c")];
        let mut spec = ModelSpec::new(&[3], layers, Loss::Mse);
        let model = Model::<f64>::new(&spec).unwrap();
        assert_eq!(
            model.layers().iter().map(|l| (l.name.as_str(), l.dense)).collect::<Vec<_>>(),
            [("a", false), ("c", true)]
        );
        assert_eq!((model.len(), model.multiply_adds()), (24, 27));
        spec.layers[2] = LayerSpec::linear("b", 2, true, Init::Pytorch).sharing("a");
        assert!(Model::<f64>::new(&spec).unwrap_err().to_string().contains("shares the parameters of `a`"));
        spec.layers[2] = linear("b").sharing("z");
        assert!(Model::<f64>::new(&spec).unwrap_err().to_string().contains("must be an earlier layer"));
    }

    #[test]
    fn a_penalty_on_weights_leaves_biases_out() {
        let mut spec = mlp();
        spec.penalty = Some(Penalty { lambda: 0.5, scope: Scope::Weights });
        let model = Model::<f64>::new(&spec).unwrap();
        assert_eq!(model.penalized(), [(0..12, 0.5), (16..24, 0.5)]);
        spec.penalty = Some(Penalty { lambda: f64::NAN, scope: Scope::All });
        assert!(matches!(Model::<f64>::new(&spec), Err(ModelError::Penalty(_))));
    }
}
