//! Networks as lists of layers, and the graphs they become.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use eigenlens_autodiff::ops::{Affine, BceWithLogits, Mse, SoftmaxCrossEntropy};
use eigenlens_autodiff::{Function, Graph, NodeId};
use eigenlens_linalg::Real;
use thiserror::Error;

use crate::activation::Activation;
use crate::init::{Init, Stream};
use crate::options::OptionError;

/// The loss of one sample; the objective averages (or sums) it over samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// −log softmax(o)_t, for class labels.
    CrossEntropy,
    /// (1/C) Σ_c (o_c − t_c)².
    Mse,
    /// (1/C) Σ_c [softplus(o_c) − t_c o_c], for targets in [0, 1].
    Bce,
}

impl Loss {
    /// Every name.
    pub const ALL: &'static [&'static str] = &["cross-entropy", "mse", "bce"];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Loss::CrossEntropy => "cross-entropy",
            Loss::Mse => "mse",
            Loss::Bce => "bce",
        }
    }

    /// Target values per sample for `outputs` network outputs: one label, or one value per output.
    pub fn target_size(self, outputs: usize) -> usize {
        if self == Loss::CrossEntropy { 1 } else { outputs }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Loss {
    type Err = OptionError;

    fn from_str(name: &str) -> Result<Self, OptionError> {
        match name {
            "cross-entropy" => Ok(Loss::CrossEntropy),
            "mse" => Ok(Loss::Mse),
            "bce" => Ok(Loss::Bce),
            _ => Err(OptionError::unknown("loss", name, Self::ALL)),
        }
    }
}

/// Which parameters an L2 penalty covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// Tensors named `*.weight`.
    Weights,
}

/// (λ/2) Σ θ_i² in the loss: it shows in the gradient, the Hessian and the Gauss–Newton matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalty {
    /// λ ≥ 0.
    pub lambda: f64,
    /// Over which parameters.
    pub scope: Scope,
}

/// One layer of a network.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerSpec {
    /// y = W x + b on the last axis.
    Linear {
        /// Its name; parameters are called `name.weight` and `name.bias`.
        name: String,
        /// Outputs.
        units: usize,
        /// Whether there is a bias.
        bias: bool,
        /// How its parameters start.
        init: Init,
    },
    /// An elementwise function.
    Activation(Activation),
}

/// A network: what a TOML file or a program describes.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Values per sample.
    pub inputs: usize,
    /// From the input to the output (logits or predictions).
    pub layers: Vec<LayerSpec>,
    /// The loss.
    pub loss: Loss,
    /// L2 in the loss, if any.
    pub penalty: Option<Penalty>,
}

impl ModelSpec {
    /// A multilayer perceptron: linear layers `fc1`, `fc2`, … of these widths with `activation` between them.
    ///
    /// `widths` begins with the number of inputs and ends with the number of outputs.
    ///
    /// # Panics
    /// If there are fewer than two widths.
    #[track_caller]
    pub fn mlp(widths: &[usize], activation: Activation, init: Init, loss: Loss) -> Self {
        assert!(widths.len() >= 2, "an MLP has at least an input and an output width, got {widths:?}");
        let mut layers = Vec::new();
        for (i, &units) in widths[1..].iter().enumerate() {
            if i > 0 && activation != Activation::Identity {
                layers.push(LayerSpec::Activation(activation));
            }
            layers.push(LayerSpec::Linear { name: format!("fc{}", i + 1), units, bias: true, init });
        }
        ModelSpec { inputs: widths[0], layers, loss, penalty: None }
    }

    /// Outputs of the last linear layer.
    pub fn outputs(&self) -> usize {
        self.layers
            .iter()
            .rev()
            .find_map(|l| match l {
                LayerSpec::Linear { units, .. } => Some(*units),
                LayerSpec::Activation(_) => None,
            })
            .unwrap_or(self.inputs)
    }
}

/// Why a network can't be built.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ModelError {
    /// A layer without inputs or outputs.
    #[error("layer `{0}` has no inputs or no outputs; every width must be at least 1")]
    Empty(String),
    /// Two layers of the same name.
    #[error("two layers are called `{0}`; give each its own name")]
    DuplicateName(String),
    /// Nothing to train or analyse.
    #[error("the network has no linear layer; add at least one")]
    NoLayers,
    /// Cross-entropy over a single class.
    #[error("cross-entropy needs at least 2 outputs, the network has {0}; use the loss `bce` for one output")]
    SingleClass(usize),
    /// A penalty that is not a number ≥ 0.
    #[error("the L2 penalty must be finite and not negative, is {0}")]
    Penalty(f64),
    /// Ops refused their inputs.
    #[error(transparent)]
    Graph(#[from] eigenlens_autodiff::GraphError),
}

/// A parametrised layer of a built network: a block of the layer-wise Hessian.
///
/// Its parameters are the tensors of one module, in PyTorch's order (weight, then bias), consecutive in the flat vector θ.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its parameter nodes: weight and, if there is one, bias.
    pub params: Vec<NodeId>,
    /// Its place in θ.
    pub range: Range<usize>,
    /// The node of its input z.
    pub input: NodeId,
    /// The node of its result a = W z + b, before the activation.
    pub output: NodeId,
    /// Values per row of z.
    pub inputs: usize,
    /// Values per row of a.
    pub outputs: usize,
    /// Whether there is a bias.
    pub bias: bool,
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

/// A parameter tensor of a built network.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// `layer.weight` or `layer.bias`.
    pub name: String,
    /// Its extents, PyTorch's layout.
    pub shape: Vec<usize>,
    /// Its place in θ.
    pub range: Range<usize>,
}

/// A built network: the per-sample loss as a differentiable function, and where its layers are in it.
#[derive(Debug)]
pub struct Model<T: Real> {
    spec: ModelSpec,
    function: Function<T>,
    layers: Vec<Layer>,
    tensors: Vec<Tensor>,
    input: NodeId,
    target: NodeId,
    logits: NodeId,
}

impl<T: Real> Model<T> {
    /// Builds the graph of a network.
    ///
    /// # Errors
    /// If widths are zero, names collide, or the loss doesn't fit the outputs.
    pub fn new(spec: &ModelSpec) -> Result<Self, ModelError> {
        let mut graph = Graph::new();
        let input = graph.input("input", &[spec.inputs]);
        let (mut node, mut width) = (input, spec.inputs);
        let (mut layers, mut tensors): (Vec<Layer>, Vec<Tensor>) = (Vec::new(), Vec::new());
        for (i, layer) in spec.layers.iter().enumerate() {
            match layer {
                LayerSpec::Linear { name, units, bias, .. } => {
                    if *units == 0 || width == 0 {
                        return Err(ModelError::Empty(name.clone()));
                    }
                    if layers.iter().any(|l| l.name == *name) {
                        return Err(ModelError::DuplicateName(name.clone()));
                    }
                    let start = graph.param_len();
                    let mut params = vec![graph.param(&format!("{name}.weight"), &[*units, width])];
                    if *bias {
                        params.push(graph.param(&format!("{name}.bias"), &[*units]));
                    }
                    for &p in &params {
                        tensors.push(Tensor {
                            name: graph.name(p).to_string(),
                            shape: graph.shape(p).dims.clone(),
                            range: graph.param_range(p),
                        });
                    }
                    let operands: Vec<NodeId> = std::iter::once(node).chain(params.iter().copied()).collect();
                    let output = graph.op(name, Affine::new(width, *units), &operands)?;
                    layers.push(Layer {
                        name: name.clone(),
                        params,
                        range: start..graph.param_len(),
                        input: node,
                        output,
                        inputs: width,
                        outputs: *units,
                        bias: *bias,
                    });
                    (node, width) = (output, *units);
                }
                LayerSpec::Activation(activation) => {
                    if let Some(op) = activation.op() {
                        node = graph.boxed(&format!("{activation}@{i}"), op, &[node])?;
                    }
                }
            }
        }
        if layers.is_empty() {
            return Err(ModelError::NoLayers);
        }
        if let Some(p) = spec.penalty
            && !(p.lambda.is_finite() && p.lambda >= 0.0)
        {
            return Err(ModelError::Penalty(p.lambda));
        }
        let (target, loss) = match spec.loss {
            Loss::CrossEntropy => {
                if width < 2 {
                    return Err(ModelError::SingleClass(width));
                }
                let target = graph.input("target", &[]);
                (target, graph.op("loss", SoftmaxCrossEntropy, &[node, target])?)
            }
            Loss::Mse => {
                let target = graph.input("target", &[width]);
                (target, graph.op("loss", Mse, &[node, target])?)
            }
            Loss::Bce => {
                let target = graph.input("target", &[width]);
                (target, graph.op("loss", BceWithLogits, &[node, target])?)
            }
        };
        let function = Function::new(graph, loss);
        Ok(Model { spec: spec.clone(), function, layers, tensors, input, target, logits: node })
    }

    /// What it was built from.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The per-sample loss as a function of θ.
    pub fn function(&self) -> &Function<T> {
        &self.function
    }

    /// The graph.
    pub fn graph(&self) -> &Graph<T> {
        self.function.graph()
    }

    /// The parametrised layers, from the input on.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The parameter tensors, in the order of θ.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
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

    /// Network outputs per sample.
    pub fn outputs(&self) -> usize {
        self.graph().shape(self.logits).size()
    }

    /// Starting parameters: each tensor a function of the seed and its index, the same numbers in f32 and f64.
    pub fn init(&self, seed: u64) -> Vec<T> {
        let mut theta = vec![T::ZERO; self.len()];
        let mut tensor = 0;
        let specs = self.spec.layers.iter().filter_map(|l| match l {
            LayerSpec::Linear { init, .. } => Some(init),
            LayerSpec::Activation(_) => None,
        });
        for (layer, init) in self.layers.iter().zip(specs) {
            for &p in &layer.params {
                let range = self.graph().param_range(p);
                let dims = &self.graph().shape(p).dims;
                let stream = Stream { seed, tensor };
                if dims.len() > 1 {
                    init.fill(dims, stream, &mut theta[range]);
                } else {
                    init.fill_bias(layer.inputs, stream, &mut theta[range]);
                }
                tensor += 1;
            }
        }
        theta
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

    /// Multiply-adds of one pass through all linear layers for one sample: Σ_ℓ in · out.
    pub fn multiply_adds(&self) -> usize {
        self.layers.iter().map(|l| l.inputs * l.outputs).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        if let LayerSpec::Linear { name, .. } = &mut spec.layers[2] {
            *name = "fc1".into();
        }
        assert_eq!(Model::<f64>::new(&spec).unwrap_err(), ModelError::DuplicateName("fc1".into()));
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

    #[test]
    fn loss_names_are_inverse() {
        for name in Loss::ALL {
            assert_eq!(name.parse::<Loss>().unwrap().name(), *name);
        }
    }
}
