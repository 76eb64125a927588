//! From a list of layers to a graph.

use std::collections::HashMap;

use eigenlens_autodiff::family::{Linear, Product};
use eigenlens_autodiff::normalise::Normalised;
use eigenlens_autodiff::op::Op;
use eigenlens_autodiff::ops::{
    Add, AddParam, Affine, Attention, AvgPool2d, BatchNorm, BatchNormEval, BceWithLogits, Concat, Conv2d, Embedding,
    GlobalAvgPool2d, GroupNorm, LayerNorm, MaxPool2d, MeanOver, Mse, Mul, Outer, Permute, Reshape, RmsNorm, ScaleBy,
    Softmax, SoftmaxCrossEntropy,
};
use eigenlens_autodiff::{Graph, NodeId, volume};
use eigenlens_linalg::Real;

use super::functional::{Functional, blocks};
use super::wiring::{reads, shares};
use super::{
    Buffer, Layer, LayerKind, LayerSpec, Loss, ModelError, ModelSpec, Norm, Start, Statistics, Tensor, Weighting,
};
use crate::init::{Init, fans};

/// What the builder makes of a network.
pub(super) struct Built<T: Real> {
    pub graph: Graph<T>,
    pub layers: Vec<Layer>,
    pub tensors: Vec<Tensor>,
    pub buffers: Vec<Buffer>,
    pub masks: Vec<(NodeId, f64)>,
    pub norms: Vec<Norm>,
    pub input: NodeId,
    pub target: NodeId,
    pub logits: NodeId,
    pub loss: NodeId,
    pub functional: Vec<Functional>,
}

/// A graph under construction.
pub(super) struct Builder<T: Real> {
    training: bool,
    graph: Graph<T>,
    layers: Vec<Layer>,
    tensors: Vec<Tensor>,
    buffers: Vec<Buffer>,
    masks: Vec<(NodeId, f64)>,
    norms: Vec<Norm>,
    /// Results by the layers' names.
    nodes: HashMap<String, NodeId>,
}

/// A parametrised map: its tensors, and what the block is called.
struct Module<'a> {
    name: &'a str,
    /// The layer whose parameters it uses, itself if none.
    owner: &'a str,
    description: String,
    /// Name, extents and start of each tensor.
    tensors: Vec<(&'static str, Vec<usize>, Start)>,
    input: NodeId,
    dense: bool,
    inputs: usize,
    outputs: usize,
    bias: bool,
    work: usize,
}

impl<T: Real> Builder<T> {
    pub(super) fn build(spec: &ModelSpec, training: bool) -> Result<Built<T>, ModelError> {
        let labels: Vec<String> = spec.layers.iter().enumerate().map(|(i, l)| l.label(i)).collect();
        let reads = reads(spec, &labels)?;
        shares(spec, &labels)?;
        let mut graph = Graph::new();
        if spec.features() == 0 {
            return Err(ModelError::Empty(ModelSpec::INPUT.to_string()));
        }
        let input = graph.input(ModelSpec::INPUT, &spec.input);
        let mut builder = Builder {
            training,
            graph,
            layers: Vec::new(),
            tensors: Vec::new(),
            buffers: Vec::new(),
            masks: Vec::new(),
            norms: Vec::new(),
            nodes: HashMap::from([(ModelSpec::INPUT.to_string(), input)]),
        };
        let mut node = input;
        let mut results = Vec::with_capacity(labels.len());
        for (place, (layer, name)) in spec.layers.iter().zip(&labels).enumerate() {
            let inputs: Vec<NodeId> = reads[place].iter().map(|r| builder.nodes[r.as_str()]).collect();
            node = builder.layer(layer, name, &inputs)?;
            builder.nodes.insert(name.clone(), node);
            results.push(node);
        }
        if builder.layers.is_empty() {
            return Err(ModelError::NoLayers);
        }
        let (target, loss) = builder.loss(spec, node)?;
        let place = |name: &String| labels.iter().position(|l| l == name);
        let places: Vec<Vec<Option<usize>>> = reads.iter().map(|r| r.iter().map(place).collect()).collect();
        let functional = blocks(&spec.layers, &labels, &places, &results);
        let Builder { graph, layers, tensors, buffers, masks, norms, .. } = builder;
        Ok(Built { graph, layers, tensors, buffers, masks, norms, input, target, logits: node, loss, functional })
    }

    fn dims(&self, node: NodeId) -> Vec<usize> {
        self.graph.shape(node).dims.clone()
    }

    /// The N extents of a node, which are to be what `takes` says, such as "(tokens, features)"; `remedy` makes them so.
    fn extents<const N: usize>(
        &self,
        layer: &LayerSpec,
        name: &str,
        node: NodeId,
        takes: &str,
        remedy: &str,
    ) -> Result<[usize; N], ModelError> {
        self.dims(node).try_into().map_err(|dims| ModelError::Option {
            layer: name.to_string(),
            reason: format!(
                "{} takes {takes}, and `{}` gives {dims:?}; {remedy}",
                layer.kind.name(),
                self.graph.name(node)
            ),
        })
    }

    /// (channels, rows, columns) of a node that is to be an image.
    fn image(&self, layer: &LayerSpec, name: &str, node: NodeId) -> Result<[usize; 3], ModelError> {
        let remedy = "for data that are images give the extents of a sample, or put a reshape layer before";
        self.extents(layer, name, node, "(channels, rows, columns)", remedy)
    }

    /// (tokens, features) of a node that is to be a sequence.
    fn sequence(&self, layer: &LayerSpec, name: &str, node: NodeId) -> Result<[usize; 2], ModelError> {
        let remedy = "put an embedding or a reshape layer before, or give the extents of a sample";
        self.extents(layer, name, node, "(tokens, features)", remedy)
    }

    fn op(&mut self, name: &str, op: impl Op<T> + 'static, inputs: &[NodeId]) -> Result<NodeId, ModelError> {
        Ok(self.graph.op(name, op, inputs)?)
    }

    /// The parameter nodes of a module: new ones with their block, or those of the layer it shares with.
    fn module(&mut self, m: Module<'_>) -> Result<Vec<NodeId>, ModelError> {
        if m.owner != m.name {
            let shared = |reason: String| ModelError::Shared { layer: m.name.into(), with: m.owner.into(), reason };
            let Some(layer) = self.layers.iter_mut().find(|l| l.name == m.owner) else {
                return Err(shared("that layer has none; leave `shares` out".to_string()));
            };
            let shapes: Vec<&[usize]> = layer.params.iter().map(|&p| &self.graph.shape(p).dims[..]).collect();
            let own: Vec<&[usize]> = m.tensors.iter().map(|t| &t.1[..]).collect();
            if shapes != own {
                return Err(shared(format!(
                    "those have the shapes {shapes:?}, this layer needs {own:?}; give it the same sizes, or leave `shares` out"
                )));
            }
            layer.dense = false;
            layer.work = layer.work.saturating_add(m.work);
            return Ok(layer.params.clone());
        }
        let start = self.graph.param_len();
        let mut params = Vec::new();
        for (tensor, shape, begin) in m.tensors {
            let name = format!("{}.{tensor}", m.name);
            let p = self.graph.param(&name, &shape);
            self.tensors.push(Tensor { name, shape, range: self.graph.param_range(p), start: begin });
            params.push(p);
        }
        self.layers.push(Layer {
            name: m.name.to_string(),
            description: m.description,
            params: params.clone(),
            range: start..self.graph.param_len(),
            input: m.input,
            // Until the op is there.
            output: m.input,
            dense: m.dense,
            inputs: m.inputs,
            outputs: m.outputs,
            bias: m.bias,
            work: m.work,
        });
        Ok(params)
    }

    /// A module and its op, which reads `x` and then the parameters.
    fn apply(&mut self, m: Module<'_>, op: impl Op<T> + 'static) -> Result<NodeId, ModelError> {
        let (name, owner, x) = (m.name.to_string(), m.owner == m.name, m.input);
        let mut operands = vec![x];
        operands.extend(self.module(m)?);
        let node = self.graph.op(&name, op, &operands)?;
        if owner {
            self.layers.last_mut().expect("the module was just added").output = node;
        }
        Ok(node)
    }

    /// A linear layer, of its own or inside another.
    fn linear(
        &mut self,
        name: &str,
        owner: &str,
        x: NodeId,
        units: usize,
        bias: bool,
        init: Init,
    ) -> Result<NodeId, ModelError> {
        let dims = self.dims(x);
        let width = dims.last().copied().unwrap_or(0);
        if units == 0 || width == 0 {
            return Err(ModelError::Empty(name.to_string()));
        }
        let mut tensors = vec![("weight", vec![units, width], Start::Weight(init))];
        if bias {
            tensors.push(("bias", vec![units], Start::Bias(init, width)));
        }
        let m = Module {
            name,
            owner,
            description: format!("linear {width}→{units}{}", if bias { " + bias" } else { "" }),
            tensors,
            input: x,
            dense: dims.len() == 1,
            inputs: width,
            outputs: units,
            bias,
            work: volume(&dims).saturating_mul(units),
        };
        self.apply(m, Affine::new(width, units))
    }

    fn layer(&mut self, layer: &LayerSpec, name: &str, x: &[NodeId]) -> Result<NodeId, ModelError> {
        let owner = layer.shares.as_deref().unwrap_or(name);
        // Those without a weight don't ask.
        let init = layer.init.or(layer.kind.kind().default_init()).unwrap_or(Init::Zeros);
        let dims = self.dims(x[0]);
        let last = dims.last().copied().unwrap_or(0);
        let elementwise = matches!(
            layer.kind,
            LayerKind::Activation(_)
                | LayerKind::Add
                | LayerKind::Mul
                | LayerKind::ScaleBy { .. }
                | LayerKind::Dropout { .. }
                | LayerKind::Reshape(_)
        );
        if dims.is_empty() && !elementwise {
            let reason = format!(
                "`{}` gives one number per sample, and {} needs an axis; put a reshape to [1] between",
                self.graph.name(x[0]),
                layer.kind.name()
            );
            return Err(ModelError::Option { layer: name.into(), reason });
        }
        // A norm's scale and shift: one value per channel.
        let norm = |kind: &str, width: usize, bias: bool| Module {
            name,
            owner,
            description: format!("{kind} {width}"),
            tensors: [("weight", 1.0), ("bias", 0.0)][..1 + usize::from(bias)]
                .iter()
                .map(|&(t, start)| (t, vec![width], Start::Constant(start)))
                .collect(),
            input: x[0],
            dense: false,
            inputs: width,
            outputs: width,
            bias,
            work: volume(&dims),
        };
        match &layer.kind {
            LayerKind::Linear { units, bias } => self.linear(name, owner, x[0], *units, *bias, init),
            LayerKind::Bilinear { units, bias } => {
                let vector = |node| self.extents(layer, name, node, "two vectors", "put a flatten layer between");
                let ([a], [b]) = (vector(x[0])?, vector(x[1])?);
                if [*units, a, b].contains(&0) {
                    return Err(ModelError::Empty(name.into()));
                }
                let pairs = self.op(&format!("{name}.outer"), Product(Outer { a, b }), x)?;
                let z = self.op(&format!("{name}.pairs"), Linear(Reshape(vec![volume(&[a, b])])), &[pairs])?;
                let mut tensors = vec![("weight", vec![*units, a, b], Start::Weight(init))];
                if *bias {
                    tensors.push(("bias", vec![*units], Start::Bias(init, volume(&[a, b]))));
                }
                let m = Module {
                    name,
                    owner,
                    description: format!("bilinear {a}×{b}→{units}{}", if *bias { " + bias" } else { "" }),
                    tensors,
                    input: z,
                    dense: true,
                    inputs: volume(&[a, b]),
                    outputs: *units,
                    bias: *bias,
                    work: volume(&[*units, a, b]),
                };
                self.apply(m, Affine::new(volume(&[a, b]), *units))
            }
            LayerKind::Conv2d { channels, window, groups, bias } => {
                let op = Conv2d::new(self.image(layer, name, x[0])?, *channels, *window).groups(*groups);
                let invalid = |reason| {
                    let reason = format!(
                        "{reason} (it reads `{}`); change its numbers, or the layers before",
                        self.graph.name(x[0])
                    );
                    ModelError::Option { layer: name.into(), reason }
                };
                let [_, height, width] = op.output_dims().map_err(invalid)?;
                let shape = op.weight_dims();
                let fan_in = fans(&shape).0;
                let mut tensors = vec![("weight", shape.to_vec(), Start::Weight(init))];
                if *bias {
                    tensors.push(("bias", vec![*channels], Start::Bias(init, fan_in)));
                }
                let (c, [kh, kw]) = (dims[0], window.kernel);
                let m = Module {
                    name,
                    owner,
                    description: format!("conv {c}→{channels} {kh}×{kw}{}", if *bias { " + bias" } else { "" }),
                    tensors,
                    input: x[0],
                    dense: false,
                    inputs: fan_in,
                    outputs: *channels,
                    bias: *bias,
                    work: volume(&[height, width, *channels, fan_in]),
                };
                self.apply(m, op)
            }
            LayerKind::Activation(activation) => match activation.op() {
                Some(op) => Ok(self.graph.boxed(name, op, x)?),
                None => Ok(x[0]),
            },
            LayerKind::MaxPool2d(window) => {
                let op = MaxPool2d::new(self.image(layer, name, x[0])?, *window);
                self.op(name, op, x)
            }
            LayerKind::AvgPool2d(window) => {
                let op = AvgPool2d::new(self.image(layer, name, x[0])?, *window);
                self.op(name, Linear(op), x)
            }
            LayerKind::GlobalAvgPool2d => self.op(name, Linear(GlobalAvgPool2d), x),
            LayerKind::LayerNorm { eps } => {
                let op = Normalised(LayerNorm { features: last, eps: *eps });
                self.apply(norm("layer norm", last, true), op)
            }
            LayerKind::RmsNorm { eps } => {
                let op = Normalised(RmsNorm { features: last, eps: *eps });
                self.apply(norm("rms norm", last, false), op)
            }
            LayerKind::GroupNorm { groups, eps } => {
                let spatial = volume(&dims[1..]);
                let op = Normalised(GroupNorm { channels: dims[0], spatial, groups: *groups, eps: *eps });
                self.apply(norm("group norm", dims[0], true), op)
            }
            LayerKind::BatchNorm { eps, momentum, statistics } => {
                let m = norm("batch norm", dims[0], true);
                if *statistics == Statistics::Running && !self.training {
                    return self.running_norm(m, *eps);
                }
                let node = self.apply(m, BatchNorm { channels: dims[0], eps: *eps })?;
                if *statistics == Statistics::Running {
                    self.norms.push(Norm {
                        name: name.to_string(),
                        node,
                        buffer: 2 * self.norms.len(),
                        momentum: *momentum,
                        channels: dims[0],
                        spatial: volume(&dims[1..]),
                    });
                }
                Ok(node)
            }
            LayerKind::Attention { heads, causal } => {
                let [tokens, _] = self.sequence(layer, name, x[0])?;
                if *heads == 0 || last % heads != 0 {
                    let reads = self.graph.name(x[0]);
                    let reason = format!("{heads} heads don't divide the {last} features of `{reads}`; take a divisor");
                    return Err(ModelError::Option { layer: name.into(), reason });
                }
                let project = |b: &mut Self, part: &str, z| {
                    b.linear(&format!("{name}.{part}"), &format!("{owner}.{part}"), z, last, true, init)
                };
                let q = project(self, "q", x[0])?;
                let k = project(self, "k", x[0])?;
                let v = project(self, "v", x[0])?;
                let mixed = self.op(
                    &format!("{name}.heads"),
                    Attention { tokens, features: last, heads: *heads, causal: *causal },
                    &[q, k, v],
                )?;
                project(self, "o", mixed)
            }
            LayerKind::Embedding { vocabulary, width } => {
                let start = Start::Weight(init);
                let m = Module {
                    name,
                    owner,
                    description: format!("embedding {vocabulary}×{width}"),
                    tensors: vec![("weight", vec![*vocabulary, *width], start)],
                    input: x[0],
                    dense: false,
                    inputs: *vocabulary,
                    outputs: *width,
                    bias: false,
                    work: last.saturating_mul(*width),
                };
                self.apply(m, Embedding { vocabulary: *vocabulary, features: *width })
            }
            LayerKind::Positional { length } => {
                let [tokens, _] = self.sequence(layer, name, x[0])?;
                if tokens > *length {
                    let reads = self.graph.name(x[0]);
                    let reason = format!(
                        "the table has {length} positions, and `{reads}` gives {tokens} tokens; take at least as many \
                         positions"
                    );
                    return Err(ModelError::Option { layer: name.into(), reason });
                }
                let start = Start::Weight(init);
                let m = Module {
                    name,
                    owner,
                    description: format!("positions {length}×{last}"),
                    tensors: vec![("weight", vec![*length, last], start)],
                    input: x[0],
                    dense: false,
                    inputs: *length,
                    outputs: last,
                    bias: false,
                    work: volume(&dims),
                };
                self.apply(m, Linear(AddParam))
            }
            LayerKind::ScaleBy { start } => {
                let m = Module {
                    name,
                    owner,
                    description: "scale".to_string(),
                    tensors: vec![("weight", vec![], Start::Constant(*start))],
                    input: x[0],
                    dense: false,
                    inputs: 1,
                    outputs: 1,
                    bias: false,
                    work: volume(&dims),
                };
                self.apply(m, Product(ScaleBy))
            }
            LayerKind::Softmax => self.op(name, Softmax { features: last }, x),
            LayerKind::MeanTokens => self.op(name, Linear(MeanOver::new(&dims, 0..1)), x),
            LayerKind::Permute(axes) => self.op(name, Linear(Permute::new(&dims, axes)), x),
            LayerKind::Concat { axis } => {
                let shapes: Vec<_> = x.iter().map(|&x| self.graph.shape(x).clone()).collect();
                self.op(name, Concat::new(*axis, &shapes), x)
            }
            LayerKind::Flatten => self.op(name, Linear(Reshape(vec![volume(&dims)])), x),
            LayerKind::Reshape(to) => self.op(name, Linear(Reshape(to.clone())), x),
            LayerKind::Add => self.op(name, Linear(Add), x),
            LayerKind::Mul => self.op(name, Product(Mul), x),
            LayerKind::Dropout { rate } => {
                if !(0.0..1.0).contains(rate) {
                    let reason = format!("the dropout rate must be in [0, 1), is {rate}; take 0.1, for example");
                    return Err(ModelError::Option { layer: name.into(), reason });
                }
                if !self.training || *rate == 0.0 {
                    return Ok(x[0]);
                }
                let mask = self.graph.input(&format!("{name}.mask"), &dims);
                self.masks.push((mask, *rate));
                self.op(name, Product(Mul), &[x[0], mask])
            }
        }
    }

    /// Batch norm with running averages: an affine map of each channel, and two buffers.
    fn running_norm(&mut self, m: Module<'_>, eps: f64) -> Result<NodeId, ModelError> {
        let (name, owner, x, channels) = (m.name.to_string(), m.owner == m.name, m.input, m.inputs);
        let mut operands = vec![x];
        operands.extend(self.module(m)?);
        for (buffer, start) in [("running_mean", 0.0), ("running_var", 1.0)] {
            let node = self.graph.constant(&format!("{name}.{buffer}"), &[channels]);
            let name = format!("{name}.{buffer}");
            self.buffers.push(Buffer { name, len: channels, start, node });
            operands.push(node);
        }
        let node = self.graph.op(&name, BatchNormEval { eps }, &operands)?;
        if owner {
            self.layers.last_mut().expect("the module was just added").output = node;
        }
        Ok(node)
    }

    fn loss(&mut self, spec: &ModelSpec, logits: NodeId) -> Result<(NodeId, NodeId), ModelError> {
        let dims = self.dims(logits);
        let classes = dims.last().copied().unwrap_or(1);
        Ok(match spec.loss {
            Loss::CrossEntropy => {
                if classes < 2 {
                    return Err(ModelError::SingleClass(classes));
                }
                let target = self.graph.input("target", &dims[..dims.len() - 1]);
                let Weighting { smoothing, classes } = &spec.weighting;
                let op = SoftmaxCrossEntropy::default().with_smoothing(*smoothing).with_weights(classes);
                (target, self.op("loss", op, &[logits, target])?)
            }
            Loss::Mse => {
                let target = self.graph.input("target", &dims);
                (target, self.op("loss", Mse, &[logits, target])?)
            }
            Loss::Bce => {
                let target = self.graph.input("target", &dims);
                (target, self.op("loss", BceWithLogits, &[logits, target])?)
            }
        })
    }
}
