//! Where the layers of a network stand in its graph, and which identities hold above a layer.

use eigenlens_autodiff::NodeId;
use eigenlens_nets::model::Layer;
use eigenlens_nets::spec::Window;
use eigenlens_nets::{LayerKind, LayerSpec, Model, ModelSpec};

/// The layers of a network: what each reads, and at which node its result is.
pub(super) struct Wiring<'a> {
    model: &'a Model<f64>,
    labels: Vec<String>,
    /// Indices of the layers read; `None` is the data.
    reads: Vec<Vec<Option<usize>>>,
    nodes: Vec<NodeId>,
}

/// One use of a block's parameters: the node it reads, the node of its result.
pub(super) type Use = (NodeId, NodeId);

/// What switches a network from one smooth piece to another.
pub(super) enum Switch {
    /// Each value of this node, where it is 0.
    Argument(NodeId),
    /// Each window on this node of (channels, rows, columns), where its two largest values are equal.
    Pool(NodeId, [usize; 3], Window),
}

impl<'a> Wiring<'a> {
    pub fn new(model: &'a Model<f64>) -> Self {
        let layers = &model.spec().layers;
        let labels: Vec<String> = layers.iter().enumerate().map(|(i, l)| l.label(i)).collect();
        let place = |name: &String| labels.iter().position(|l| l == name);
        let read = |i: usize, l: &LayerSpec| match &l.inputs[..] {
            [] => vec![i.checked_sub(1)],
            inputs => inputs.iter().map(|r| if r == ModelSpec::INPUT { None } else { place(r) }).collect(),
        };
        let reads: Vec<Vec<Option<usize>>> = layers.iter().enumerate().map(|(i, l)| read(i, l)).collect();
        let mut nodes: Vec<NodeId> = Vec::new();
        for (i, layer) in layers.iter().enumerate() {
            let name = match layer.kind {
                LayerKind::Attention { .. } => format!("{}.o", labels[i]),
                _ => labels[i].clone(),
            };
            // What does nothing in analysis (the identity, dropout) has no node of its own.
            let below = reads[i][0].map_or(model.input(), |j| nodes[j]);
            nodes.push(model.graph().find(&name).unwrap_or(below));
        }
        Wiring { model, labels, reads, nodes }
    }

    fn layers(&self) -> &'a [LayerSpec] {
        &self.model.spec().layers
    }

    /// The node that layer i reads first.
    fn input(&self, i: usize) -> NodeId {
        self.reads[i][0].map_or(self.model.input(), |j| self.nodes[j])
    }

    /// The place in the list of the layer that a block belongs to, and which of its projections if it is an attention's.
    fn place<'l>(&self, block: &'l Layer) -> (usize, Option<&'l str>) {
        let named = |name: &str| self.labels.iter().position(|l| l == name);
        if let Some(at) = named(&block.name) {
            return (at, None);
        }
        let (layer, part) = block.name.rsplit_once('.').expect("a block is a layer or a projection of one");
        (named(layer).expect("a projection's layer is in the list"), Some(part))
    }

    /// What the layer of a block does.
    pub fn kind(&self, block: &Layer) -> &'a LayerKind {
        &self.layers()[self.place(block).0].kind
    }

    /// Every use of a block's parameters, by its own layer and by those that share them.
    pub fn uses(&self, block: &Layer) -> Vec<Use> {
        let (own, part) = self.place(block);
        let shares = |i: usize| i == own || self.layers()[i].shares.as_ref() == Some(&self.labels[own]);
        let find = |i: usize, part: &str| {
            let name = format!("{}.{part}", self.labels[i]);
            self.model.graph().find(&name).expect("an attention has its projections, a bilinear layer its pairs")
        };
        let one = |i: usize| match part {
            // What multiplies its weights.
            None if matches!(self.layers()[i].kind, LayerKind::Bilinear { .. }) => (find(i, "pairs"), self.nodes[i]),
            None => (self.input(i), self.nodes[i]),
            Some("o") => (find(i, "heads"), find(i, "o")),
            Some(part) => (self.input(i), find(i, part)),
        };
        (0..self.layers().len()).filter(|&i| shares(i)).map(one).collect()
    }

    /// Whether H = G for a block: its own map is linear in its parameters for each sample, and the output depends on the
    /// result by piecewise linear functions only, on every path.
    ///
    /// No for some blocks where it holds: above shared parameters, a product with what does not depend on the block.
    pub fn straight_above(&self, block: &Layer) -> bool {
        let (own, _) = self.place(block);
        let affine = matches!(
            self.layers()[own].kind,
            LayerKind::Linear { .. } | LayerKind::Bilinear { .. } | LayerKind::Conv2d { .. }
        );
        let mut above = vec![false; self.layers().len()];
        let mut straight = affine && self.uses(block).len() == 1;
        for (i, layer) in self.layers().iter().enumerate().skip(own + 1) {
            above[i] = self.reads[i].iter().flatten().any(|&j| j == own || above[j]);
            straight &= !above[i] || (is_piecewise_linear(&layer.kind) && layer.shares.is_none());
        }
        straight
    }

    /// All switches of the network.
    pub fn switches(&self) -> Vec<Switch> {
        let switch = |(i, layer): (usize, &LayerSpec)| {
            let x = self.input(i);
            match layer.kind {
                LayerKind::Activation(a) if a.has_kink() => Some(Switch::Argument(x)),
                LayerKind::MaxPool2d(window) => {
                    let dims = self.model.graph().shape(x).dims[..].try_into().expect("a pool reads images");
                    Some(Switch::Pool(x, dims, window))
                }
                _ => None,
            }
        };
        self.layers().iter().enumerate().filter_map(switch).collect()
    }
}

/// Whether a layer is a piecewise linear function of what it reads, for fixed parameters and sample by sample.
fn is_piecewise_linear(kind: &LayerKind) -> bool {
    match kind {
        LayerKind::Activation(a) => a.is_piecewise_linear(),
        LayerKind::BatchNorm { statistics, .. } => *statistics == eigenlens_nets::spec::Statistics::Running,
        LayerKind::Linear { .. }
        | LayerKind::Conv2d { .. }
        | LayerKind::MaxPool2d(_)
        | LayerKind::AvgPool2d(_)
        | LayerKind::GlobalAvgPool2d
        | LayerKind::Positional { .. }
        | LayerKind::MeanTokens
        | LayerKind::Flatten
        | LayerKind::Reshape(_)
        | LayerKind::Permute(_)
        | LayerKind::Add
        | LayerKind::Concat { .. }
        | LayerKind::ScaleBy { .. }
        | LayerKind::Dropout { .. } => true,
        _ => false,
    }
}
