//! What a network is: layers as a TOML file or a program describes them, before any graph is built.

use std::fmt;
use std::str::FromStr;

pub use eigenlens_autodiff::Window;
use eigenlens_autodiff::volume;

use crate::activation::Activation;
use crate::init::Init;
use crate::options::OptionError;

mod kind;

pub use kind::Kind;

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

/// How cross-entropy counts classes: PyTorch's `label_smoothing` and `weight`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Weighting {
    /// ε in [0, 1]: targets (1 − ε) [c = t] + ε / C (Szegedy et al. 2016, §7).
    pub smoothing: f64,
    /// A factor w_c ≥ 0 for each class; empty if all are 1. The mean is over samples, so that factors whose mean over the
    /// samples is 1 give PyTorch's mean.
    pub classes: Vec<f64>,
}

/// Where batch norm takes mean and variance from in analysis; training always takes those of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// The averages kept in training: the samples don't see each other.
    Running,
    /// Those of the analysed samples, which are thereby coupled.
    Batch,
}

/// ε of the norms if nothing else is said: PyTorch's.
pub const EPS: f64 = 1e-5;
/// Share of a new batch in the running averages if nothing else is said: PyTorch's.
pub const MOMENTUM: f64 = 0.1;

/// What a layer does. Shapes leave out the batch axis: (features), (tokens, features) or (channels, rows, columns).
#[derive(Clone, Debug, PartialEq)]
pub enum LayerKind {
    /// y = W x + b on the last axis.
    Linear {
        /// Outputs.
        units: usize,
        /// Whether there is a bias.
        bias: bool,
    },
    /// y_k = uᵀ W_k v + b_k of two inputs.
    Bilinear {
        /// Outputs.
        units: usize,
        /// Whether there is a bias.
        bias: bool,
    },
    /// Cross-correlation of (channels, rows, columns) with a kernel for each pair of channels.
    Conv2d {
        /// Output channels.
        channels: usize,
        /// The kernel's extent, step, border and spread.
        window: Window,
        /// Groups of channels that don't see each other; as many as inputs is a depthwise convolution.
        groups: usize,
        /// Whether there is a bias.
        bias: bool,
    },
    /// An elementwise function.
    Activation(Activation),
    /// The largest value of each window.
    MaxPool2d(Window),
    /// The mean of each window, border included.
    AvgPool2d(Window),
    /// The mean over rows and columns.
    GlobalAvgPool2d,
    /// (x − mean)/√(variance + ε) over the last axis, times a weight plus a bias (Ba, Kiros & Hinton 2016).
    LayerNorm {
        /// ε.
        eps: f64,
    },
    /// x/√(mean x² + ε) over the last axis, times a weight (Zhang & Sennrich 2019).
    RmsNorm {
        /// ε.
        eps: f64,
    },
    /// As layer norm, over groups of channels (Wu & He 2018).
    GroupNorm {
        /// Number of groups.
        groups: usize,
        /// ε.
        eps: f64,
    },
    /// As layer norm, for each channel over batch, rows and columns (Ioffe & Szegedy 2015).
    BatchNorm {
        /// ε.
        eps: f64,
        /// Share of a new batch in the running averages.
        momentum: f64,
        /// Where mean and variance come from in analysis.
        statistics: Statistics,
    },
    /// Multi-head self-attention on (tokens, features), with projections `q`, `k`, `v` and `o` (Vaswani et al. 2017).
    Attention {
        /// Heads.
        heads: usize,
        /// Whether a token sees only itself and earlier ones.
        causal: bool,
    },
    /// A row of a table for each index of (tokens).
    Embedding {
        /// Rows of the table.
        vocabulary: usize,
        /// Its columns.
        width: usize,
    },
    /// A learned vector for each position, added to (tokens, features).
    Positional {
        /// Positions: as many as there are tokens, or more.
        length: usize,
    },
    /// exp(x_i)/Σ exp(x_j) over the last axis.
    Softmax,
    /// The mean over the first axis of (tokens, features).
    MeanTokens,
    /// All axes as one.
    Flatten,
    /// The same values with other extents.
    Reshape(Vec<usize>),
    /// Axes in another order.
    Permute(Vec<usize>),
    /// The sum of the inputs: a skip connection.
    Add,
    /// The product of two inputs, element by element.
    Mul,
    /// The inputs one after the other along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// The input times a learned number.
    ScaleBy {
        /// Its starting value.
        start: f64,
    },
    /// In training each value is zero with this probability, the others grow to keep the mean; the identity in analysis.
    Dropout {
        /// The probability.
        rate: f64,
    },
}

/// One layer of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpec {
    /// Its name, by which later layers read it; parameters are called `name.weight` and `name.bias`. A layer without one
    /// is called by its kind and place: `flatten@4`.
    pub name: String,
    /// What it does.
    pub kind: LayerKind,
    /// The layers it reads, [`ModelSpec::INPUT`] for the data; empty for the layer before.
    pub inputs: Vec<String>,
    /// How its weight starts; by its kind if `None`.
    pub init: Option<Init>,
    /// An earlier layer of the same kind whose parameters it uses instead of its own.
    pub shares: Option<String>,
}

impl LayerSpec {
    /// A layer that reads the one before and starts as its kind does.
    pub fn new(name: &str, kind: LayerKind) -> Self {
        LayerSpec { name: name.to_string(), kind, inputs: Vec::new(), init: None, shares: None }
    }

    /// y = W x + b.
    pub fn linear(name: &str, units: usize, bias: bool, init: Init) -> Self {
        LayerSpec { init: Some(init), ..LayerSpec::new(name, LayerKind::Linear { units, bias }) }
    }

    /// An elementwise function.
    pub fn activation(activation: Activation) -> Self {
        LayerSpec::new("", LayerKind::Activation(activation))
    }

    /// The same layer, reading these.
    #[must_use]
    pub fn reading(mut self, inputs: &[&str]) -> Self {
        self.inputs = inputs.iter().map(|i| i.to_string()).collect();
        self
    }

    /// The same layer with the parameters of an earlier one.
    #[must_use]
    pub fn sharing(mut self, layer: &str) -> Self {
        self.shares = Some(layer.to_string());
        self
    }

    /// Its name, or its kind and place.
    pub fn label(&self, place: usize) -> String {
        match (&self.kind, self.name.as_str()) {
            (LayerKind::Activation(a), "") => format!("{a}@{place}"),
            (kind, "") => format!("{}@{place}", kind.name()),
            (_, name) => name.to_string(),
        }
    }
}

/// A network: what a TOML file or a program describes.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Extents of a sample: (features), (tokens, features), (channels, rows, columns), or (tokens) for an embedding.
    pub input: Vec<usize>,
    /// From the input to the output (logits or predictions); a layer may read any that stands before it.
    pub layers: Vec<LayerSpec>,
    /// The loss.
    pub loss: Loss,
    /// Label smoothing and class weights of cross-entropy.
    pub weighting: Weighting,
    /// L2 in the loss, if any.
    pub penalty: Option<Penalty>,
}

impl ModelSpec {
    /// What a layer reads that reads the data.
    pub const INPUT: &'static str = "input";

    /// A network without penalty and with equal classes.
    pub fn new(input: &[usize], layers: Vec<LayerSpec>, loss: Loss) -> Self {
        ModelSpec { input: input.to_vec(), layers, loss, weighting: Weighting::default(), penalty: None }
    }

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
                layers.push(LayerSpec::activation(activation));
            }
            layers.push(LayerSpec::linear(&format!("fc{}", i + 1), units, true, init));
        }
        ModelSpec::new(&widths[..1], layers, loss)
    }

    /// Values per sample.
    pub fn features(&self) -> usize {
        volume(&self.input)
    }

    /// The name and the vocabulary of the embedding that reads the data, the smallest if several do.
    pub fn embedding(&self) -> Option<(String, usize)> {
        let reads = |(i, l): (usize, &LayerSpec)| {
            if l.inputs.is_empty() { i == 0 } else { l.inputs.iter().any(|input| input == ModelSpec::INPUT) }
        };
        let tables = self.layers.iter().enumerate().filter(|&(i, l)| reads((i, l))).filter_map(|(i, l)| match l.kind {
            LayerKind::Embedding { vocabulary, .. } => Some((l.label(i), vocabulary)),
            _ => None,
        });
        tables.min_by_key(|(_, vocabulary)| *vocabulary)
    }

    /// Units of the last linear layer.
    pub fn outputs(&self) -> usize {
        let units = |l: &LayerSpec| if let LayerKind::Linear { units, .. } = l.kind { Some(units) } else { None };
        self.layers.iter().rev().find_map(units).unwrap_or_else(|| self.features())
    }

    /// Whether it is a chain of linear layers and elementwise functions on a vector, each with its own parameters.
    pub fn is_mlp(&self) -> bool {
        let simple = |l: &LayerSpec| {
            l.inputs.is_empty()
                && l.shares.is_none()
                && matches!(l.kind, LayerKind::Linear { .. } | LayerKind::Activation(_))
        };
        self.input.len() == 1 && self.layers.iter().all(simple)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_names_are_inverse() {
        for name in Loss::ALL {
            assert_eq!(name.parse::<Loss>().unwrap().name(), *name);
        }
    }

    #[test]
    fn a_layer_without_a_name_is_called_by_kind_and_place() {
        assert_eq!(LayerSpec::activation(Activation::Tanh).label(3), "tanh@3");
        assert_eq!(LayerSpec::new("", LayerKind::Flatten).label(4), "flatten@4");
        assert_eq!(LayerSpec::new("x", LayerKind::Add).label(4), "x");
    }
}
