//! Networks by name: the architectures that curvature papers use, with their sizes as parameters.
//!
//! | name | what | source |
//! |---|---|---|
//! | `mlp` | linear layers of one width | – |
//! | `residual-mlp` | h ← h + σ(W h + b) on one width, after a projection of the input | Bolshim & Kugaevskikh, arXiv 2604.11639 |
//! | `bottleneck-mlp` | an MLP whose middle layer is narrow | ibid. |
//! | `diamond` | two branches from one layer, merged again | ibid. |
//! | `lenet-5` | two convolutions with pooling, three linear layers | LeCun, Bottou, Bengio & Haffner 1998, §II.B |
//! | `vgg-11` | eight 3 × 3 convolutions, pooling between them | Simonyan & Zisserman 2015, table 1, column A |
//! | `resnet-8`, `-14`, `-20`, `-32`, `-44`, `-56` | 6n + 2 layers in three stages | He, Zhang, Ren & Sun 2016, §4.2 |
//! | `resnet-18` | four stages of two blocks, with a 3 × 3 stem for small images | He et al. 2016, table 1 |
//! | `vit` | patches as tokens, self-attention blocks, mean over tokens | Dosovitskiy et al. 2021 |
//! | `decoder` | causal self-attention over characters or other indices | Radford et al. 2018 |
//!
//! What is "like" a paper's network and not it, because images here are small or classes few, stands at each function.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::activation::Activation;
use crate::init::Init;
use crate::options::{OptionError, name_of, names, value_of};
use crate::spec::{EPS, LayerKind, LayerSpec, MOMENTUM, Statistics};

mod conv;
mod mlp;
mod transformer;

#[cfg(test)]
mod tests;

/// A network that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Linear layers of one width.
    Mlp,
    /// Linear layers of one width with a skip connection around each.
    ResidualMlp,
    /// An MLP with a narrow layer in the middle.
    BottleneckMlp,
    /// Two branches, merged.
    Diamond,
    /// LeNet-5.
    LeNet5,
    /// Like VGG-11.
    Vgg11,
    /// A residual network of three stages of n blocks: 6n + 2 layers.
    ResNetSmall(usize),
    /// ResNet-18 for small images.
    ResNet18,
    /// A vision transformer.
    Vit,
    /// A decoder-only transformer.
    Decoder,
}

/// What normalises between the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Nothing.
    None,
    /// Each channel over the batch.
    Batch,
    /// The last axis of each sample or token.
    Layer,
    /// The last axis by its root mean square.
    Rms,
    /// Groups of channels of each image: as many groups as divide the channels, at most 8.
    Group,
}

/// How two branches become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// u + v.
    Add,
    /// u ⊙ v.
    Mul,
    /// (u, v).
    Concat,
    /// uᵀ W_k v + b_k for each unit k.
    Bilinear,
}

const NORMS: [(&str, Norm); 5] =
    [("none", Norm::None), ("batch", Norm::Batch), ("layer", Norm::Layer), ("rms", Norm::Rms), ("group", Norm::Group)];
const MERGES: [(&str, Merge); 4] =
    [("add", Merge::Add), ("mul", Merge::Mul), ("concat", Merge::Concat), ("bilinear", Merge::Bilinear)];

const NORM_NAMES: [&str; NORMS.len()] = names(&NORMS);
const MERGE_NAMES: [&str; MERGES.len()] = names(&MERGES);

const FAMILIES: [(&str, Family); 15] = [
    ("mlp", Family::Mlp),
    ("residual-mlp", Family::ResidualMlp),
    ("bottleneck-mlp", Family::BottleneckMlp),
    ("diamond", Family::Diamond),
    ("lenet-5", Family::LeNet5),
    ("vgg-11", Family::Vgg11),
    ("resnet-8", Family::ResNetSmall(1)),
    ("resnet-14", Family::ResNetSmall(2)),
    ("resnet-20", Family::ResNetSmall(3)),
    ("resnet-32", Family::ResNetSmall(5)),
    ("resnet-44", Family::ResNetSmall(7)),
    ("resnet-56", Family::ResNetSmall(9)),
    ("resnet-18", Family::ResNet18),
    ("vit", Family::Vit),
    ("decoder", Family::Decoder),
];
const FAMILY_NAMES: [&str; FAMILIES.len()] = names(&FAMILIES);

impl Norm {
    /// Every name.
    pub const ALL: &'static [&'static str] = &NORM_NAMES;

    /// The stable name.
    pub fn name(self) -> &'static str {
        name_of(&NORMS, self)
    }
}

impl FromStr for Norm {
    type Err = OptionError;

    fn from_str(name: &str) -> Result<Self, OptionError> {
        value_of(&NORMS, "norm", name, Self::ALL)
    }
}

impl Merge {
    /// Every name.
    pub const ALL: &'static [&'static str] = &MERGE_NAMES;

    /// The stable name.
    pub fn name(self) -> &'static str {
        name_of(&MERGES, self)
    }
}

impl FromStr for Merge {
    type Err = OptionError;

    fn from_str(name: &str) -> Result<Self, OptionError> {
        value_of(&MERGES, "merge", name, Self::ALL)
    }
}

/// Sizes and choices of a network; what is left out is the family's own ([`Family::defaults`]).
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Options {
    /// Units of a hidden layer, channels of the first convolution, or features of a token.
    pub width: Option<usize>,
    /// Hidden layers, layers of a branch, or blocks.
    pub depth: Option<usize>,
    /// Between the layers.
    pub activation: Option<Activation>,
    /// How the weights start; by the activation that follows ([`Activation::default_init`]) if left out.
    pub init: Option<Init>,
    /// What normalises.
    pub norm: Option<Norm>,
    /// Whether there are skip connections.
    pub skips: Option<bool>,
    /// Heads of self-attention.
    pub heads: Option<usize>,
    /// Side of a patch.
    pub patch: Option<usize>,
    /// Side of a convolution's kernel.
    pub kernel: Option<usize>,
    /// Units of the narrow layer.
    pub bottleneck: Option<usize>,
    /// How branches become one.
    pub merge: Option<Merge>,
}

/// Largest depth: each layer is a list entry, a block and a row of every table.
const MOST_DEPTH: usize = 1000;
/// Largest of the other sizes, so that multiples of them are numbers; what fits the memory is less.
const MOST_SIZE: usize = 1 << 30;

/// Names of the options, in the order of [`Options`].
const OPTIONS: [&str; 11] =
    ["width", "depth", "activation", "init", "norm", "skips", "heads", "patch", "kernel", "bottleneck", "merge"];

impl Options {
    /// The names of the options that are given.
    pub fn given(&self) -> Vec<&'static str> {
        self.values().into_iter().map(|(name, _)| name).collect()
    }

    /// The names and values of the options that are given.
    pub fn values(&self) -> Vec<(&'static str, String)> {
        let number = |n: Option<usize>| n.map(|n| n.to_string());
        let values = [
            number(self.width),
            number(self.depth),
            self.activation.map(|a| a.to_string()),
            self.init.map(|i| i.to_string()),
            self.norm.map(|n| n.name().to_owned()),
            self.skips.map(|s| s.to_string()),
            number(self.heads),
            number(self.patch),
            number(self.kernel),
            number(self.bottleneck),
            self.merge.map(|m| m.name().to_owned()),
        ];
        OPTIONS.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn or(self, other: Options) -> Options {
        Options {
            width: self.width.or(other.width),
            depth: self.depth.or(other.depth),
            activation: self.activation.or(other.activation),
            init: self.init.or(other.init),
            norm: self.norm.or(other.norm),
            skips: self.skips.or(other.skips),
            heads: self.heads.or(other.heads),
            patch: self.patch.or(other.patch),
            kernel: self.kernel.or(other.kernel),
            bottleneck: self.bottleneck.or(other.bottleneck),
            merge: self.merge.or(other.merge),
        }
    }
}

/// What a network reads and gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Extents of a sample.
    pub input: Vec<usize>,
    /// For inputs that are indices: how many there are.
    pub vocabulary: Option<usize>,
    /// Outputs, for each position if there are several.
    pub outputs: usize,
}

/// Why a network can't be made.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ZooError {
    /// An option that the family has no use for.
    #[error("`{family}` has no option `{option}`; it takes {}", takes.join(", "))]
    Foreign {
        /// The network.
        family: String,
        /// The option.
        option: &'static str,
        /// What it takes.
        takes: Vec<&'static str>,
    },
    /// A size or choice that is impossible.
    #[error("`{family}`: `{option}` {reason}")]
    Option {
        /// The network.
        family: String,
        /// The option.
        option: &'static str,
        /// What is wrong, with the remedy.
        reason: String,
    },
    /// Samples of another kind.
    #[error("`{family}` takes {needs}, and a sample is {has}; {remedy}")]
    Input {
        /// The network.
        family: String,
        /// What it takes.
        needs: &'static str,
        /// What there is.
        has: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (name_of(&FAMILIES, *self), self) {
            ("", Family::ResNetSmall(n)) => write!(f, "resnet-{}", 6 * n + 2),
            (name, _) => f.write_str(name),
        }
    }
}

impl FromStr for Family {
    type Err = OptionError;

    fn from_str(name: &str) -> Result<Self, OptionError> {
        value_of(&FAMILIES, "network", name, Self::ALL)
    }
}

impl Family {
    /// Every name.
    pub const ALL: &'static [&'static str] = &FAMILY_NAMES;

    /// Every network.
    pub fn all() -> Vec<Family> {
        FAMILIES.iter().map(|(_, family)| *family).collect()
    }

    /// What it is, in one line.
    pub fn title(self) -> &'static str {
        match self {
            Family::Mlp => "linear layers of one width",
            Family::ResidualMlp => "linear layers of one width, a skip connection around each",
            Family::BottleneckMlp => "an MLP whose middle layer is narrow",
            Family::Diamond => "two branches from one layer, merged again",
            Family::LeNet5 => "two convolutions with pooling, three linear layers",
            Family::Vgg11 => "eight 3 × 3 convolutions with pooling, like VGG-11",
            Family::ResNetSmall(_) => "a residual network of three stages for small images",
            Family::ResNet18 => "a residual network of four stages for small images",
            Family::Vit => "patches of an image as tokens, self-attention",
            Family::Decoder => "causal self-attention over characters",
        }
    }

    /// The options that it takes, with the values that they have if left out. `init` is always taken.
    pub fn defaults(self) -> Options {
        let none = Options::default();
        let (relu, tanh, gelu) = (Some(Activation::Relu), Some(Activation::Tanh), Some(Activation::Gelu));
        match self {
            Family::Mlp => {
                Options { width: Some(64), depth: Some(2), activation: tanh, norm: Some(Norm::None), ..none }
            }
            Family::ResidualMlp => Options {
                width: Some(64),
                depth: Some(6),
                activation: relu,
                norm: Some(Norm::None),
                skips: Some(true),
                ..none
            },
            Family::BottleneckMlp => Options {
                width: Some(64),
                depth: Some(5),
                activation: relu,
                norm: Some(Norm::None),
                bottleneck: Some(8),
                ..none
            },
            Family::Diamond => Options {
                width: Some(64),
                depth: Some(2),
                activation: relu,
                norm: Some(Norm::None),
                merge: Some(Merge::Add),
                ..none
            },
            Family::LeNet5 => Options { width: Some(6), kernel: Some(5), activation: tanh, ..none },
            Family::Vgg11 => Options { width: Some(64), activation: relu, norm: Some(Norm::None), ..none },
            Family::ResNetSmall(_) => {
                Options { width: Some(16), activation: relu, norm: Some(Norm::Batch), skips: Some(true), ..none }
            }
            Family::ResNet18 => {
                Options { width: Some(64), activation: relu, norm: Some(Norm::Batch), skips: Some(true), ..none }
            }
            Family::Vit => Options {
                width: Some(32),
                depth: Some(2),
                heads: Some(4),
                patch: Some(4),
                activation: gelu,
                norm: Some(Norm::Layer),
                ..none
            },
            Family::Decoder => Options {
                width: Some(32),
                depth: Some(2),
                heads: Some(4),
                activation: gelu,
                norm: Some(Norm::Layer),
                ..none
            },
        }
    }

    /// The norms that it can have; the first word of messages about others.
    fn norms(self) -> &'static [Norm] {
        match self {
            Family::Mlp | Family::ResidualMlp | Family::BottleneckMlp | Family::Diamond => {
                &[Norm::None, Norm::Batch, Norm::Layer, Norm::Rms]
            }
            Family::LeNet5 => &[],
            Family::Vgg11 | Family::ResNetSmall(_) | Family::ResNet18 => &[Norm::None, Norm::Batch, Norm::Group],
            Family::Vit | Family::Decoder => &[Norm::Layer, Norm::Rms],
        }
    }

    /// All options of a network, its own defaults where nothing is given.
    ///
    /// # Errors
    /// An option that it has no use for, a size of 0 or beyond all measure, heads that don't divide the width.
    pub fn complete(self, options: &Options) -> Result<Options, ZooError> {
        let defaults = self.defaults();
        let mut takes = defaults.given();
        takes.push("init");
        if let Some(option) = options.given().into_iter().find(|o| !takes.contains(o)) {
            return Err(ZooError::Foreign { family: self.to_string(), option, takes });
        }
        let all = options.or(defaults);
        let sizes = [
            ("width", all.width),
            ("depth", all.depth),
            ("heads", all.heads),
            ("patch", all.patch),
            ("kernel", all.kernel),
            ("bottleneck", all.bottleneck),
        ];
        for (option, size) in sizes.into_iter().filter_map(|(option, size)| Some((option, size?))) {
            let most = if option == "depth" { MOST_DEPTH } else { MOST_SIZE };
            if !(1..=most).contains(&size) {
                return Err(self.refuse(option, format!("must be from 1 to {most}, is {size}")));
            }
        }
        if let Some(norm) = all.norm
            && !self.norms().contains(&norm)
        {
            let names: Vec<&str> = self.norms().iter().map(|n| n.name()).collect();
            return Err(self.refuse("norm", format!("must be one of {}, is {}", names.join(", "), norm.name())));
        }
        if let (Some(heads), Some(width)) = (all.heads, all.width)
            && width % heads != 0
        {
            return Err(self.refuse("heads", format!("must divide the width {width}, is {heads}")));
        }
        Ok(all)
    }

    /// The layers of the network for this task.
    ///
    /// # Errors
    /// As [`Family::complete`], or samples of another kind than the network takes.
    pub fn layers(self, options: &Options, task: &Task) -> Result<Vec<LayerSpec>, ZooError> {
        let sizes = Sizes::new(self, self.complete(options)?);
        match self {
            Family::Mlp => mlp::plain(&sizes, task),
            Family::ResidualMlp => mlp::residual(&sizes, task),
            Family::BottleneckMlp => mlp::bottleneck(&sizes, task),
            Family::Diamond => mlp::diamond(&sizes, task),
            Family::LeNet5 => conv::lenet(&sizes, task),
            Family::Vgg11 => conv::vgg(&sizes, task),
            Family::ResNetSmall(n) => conv::resnet(&sizes, task, &[n; 3]),
            Family::ResNet18 => conv::resnet(&sizes, task, &[2; 4]),
            Family::Vit => transformer::vit(&sizes, task),
            Family::Decoder => transformer::decoder(&sizes, task),
        }
    }

    fn refuse(self, option: &'static str, reason: String) -> ZooError {
        ZooError::Option { family: self.to_string(), option, reason }
    }

    /// (channels, rows, columns) of the samples.
    fn image(self, task: &Task) -> Result<[usize; 3], ZooError> {
        match (&task.input[..], task.vocabulary) {
            (&[c, h, w], None) => Ok([c, h, w]),
            _ => Err(ZooError::Input {
                family: self.to_string(),
                needs: "images (channels, rows, columns)",
                has: described(task),
                remedy: "give model.input, such as [1, 28, 28]",
            }),
        }
    }

    /// A layer that makes one vector of a sample, unless it is one.
    fn vector(self, task: &Task) -> Result<Vec<LayerSpec>, ZooError> {
        match (&task.input[..], task.vocabulary) {
            (_, Some(_)) => Err(ZooError::Input {
                family: self.to_string(),
                needs: "numbers",
                has: described(task),
                remedy: "take `decoder`, or layers that begin with an embedding",
            }),
            ([_], None) => Ok(Vec::new()),
            _ => Ok(vec![LayerSpec::new("flat", LayerKind::Flatten)]),
        }
    }
}

fn described(task: &Task) -> String {
    match task.vocabulary {
        Some(vocabulary) => format!("{} indices below {vocabulary}", task.input.iter().product::<usize>()),
        None => format!("{:?}", task.input),
    }
}

/// Complete options, each with a value; those that the family doesn't take have one that nobody reads.
struct Sizes {
    family: Family,
    width: usize,
    depth: usize,
    activation: Activation,
    /// Of weights before the activation.
    init: Init,
    /// Of weights before anything else.
    plain_init: Init,
    norm: Norm,
    skips: bool,
    heads: usize,
    patch: usize,
    kernel: usize,
    bottleneck: usize,
    merge: Merge,
}

impl Sizes {
    fn new(family: Family, o: Options) -> Self {
        let activation = o.activation.unwrap_or(Activation::Identity);
        Sizes {
            family,
            width: o.width.unwrap_or(1),
            depth: o.depth.unwrap_or(1),
            activation,
            init: o.init.unwrap_or(activation.default_init()),
            plain_init: o.init.unwrap_or(Activation::Identity.default_init()),
            norm: o.norm.unwrap_or(Norm::None),
            skips: o.skips.unwrap_or(true),
            heads: o.heads.unwrap_or(1),
            patch: o.patch.unwrap_or(1),
            kernel: o.kernel.unwrap_or(1),
            bottleneck: o.bottleneck.unwrap_or(1),
            merge: o.merge.unwrap_or(Merge::Add),
        }
    }

    /// The norm of this many channels, if there is one.
    fn norm(&self, name: &str, channels: usize) -> Option<LayerSpec> {
        let kind = match self.norm {
            Norm::None => return None,
            Norm::Batch => LayerKind::BatchNorm { eps: EPS, momentum: MOMENTUM, statistics: Statistics::Running },
            Norm::Layer => LayerKind::LayerNorm { eps: EPS },
            Norm::Rms => LayerKind::RmsNorm { eps: EPS },
            Norm::Group => {
                let groups = (1..=8.min(channels)).rev().find(|g| channels.is_multiple_of(*g)).unwrap_or(1);
                LayerKind::GroupNorm { groups, eps: EPS }
            }
        };
        Some(LayerSpec::new(name, kind))
    }

    /// The activation, by name so that others can read it.
    fn activation(&self, name: &str) -> LayerSpec {
        LayerSpec { name: name.to_string(), ..LayerSpec::activation(self.activation) }
    }

    /// The last layer.
    fn head(&self, task: &Task) -> LayerSpec {
        LayerSpec::linear("head", task.outputs, true, self.plain_init)
    }
}
