//! From the `[model]` of a config to a network's description.

use eigenlens_autodiff::volume;
use eigenlens_nets::data::Dataset;
use eigenlens_nets::init::Init;
use eigenlens_nets::model::ModelError;
use eigenlens_nets::spec::{
    EPS, LayerKind as Kind, LayerSpec, MOMENTUM, Penalty, Scope, Statistics, Weighting, Window,
};
use eigenlens_nets::zoo::Task;
use eigenlens_nets::{Loss, Model, ModelSpec};

use super::setup::failure;
use crate::config::{BatchStatistics, Config, L2Scope, Layer, LayerKind, Pair, refused};
use crate::error::{Failure, Result};

/// The network of a config for these data.
///
/// # Errors
/// Layers that don't fit each other or the data.
pub fn network(config: &Config, data: &Dataset, outputs: usize, loss: Loss, weighting: Weighting) -> Result<ModelSpec> {
    let (features, vocabulary) = (data.features, data.vocabulary);
    let named = config.model.named();
    let plain = || if named.is_some() { data.input_shape.clone() } else { vec![features] };
    let input = config.model.input.clone().unwrap_or_else(plain);
    if volume(&input) != features {
        let failure = Failure::new(format!("`model.input` is {input:?}, and a sample has {features} features"))
            .hint("its extents must multiply to the number of features");
        return Err(config.placed(failure, "model.input"));
    }
    let layers = match named {
        Some(named) => {
            let (family, options) = named.map_err(|(_, e)| failure(e))?;
            let task = Task { input: input.clone(), vocabulary, outputs };
            family.layers(&options, &task).map_err(|e| {
                let (key, failure) = refused(&e);
                config.placed(failure, &key)
            })?
        }
        None => {
            let layers = config.model.expand(outputs);
            let each = |(i, l)| {
                let made = layer(l, outputs, vocabulary);
                made.map_err(|failure| config.placed(failure, &format!("model.layers.{i}")))
            };
            layers.into_iter().enumerate().map(each).collect::<Result<Vec<_>>>()?
        }
    };
    let l2 = config.loss.l2;
    let scope = if l2.scope == L2Scope::All { Scope::All } else { Scope::Weights };
    let penalty = (l2.lambda != 0.0).then_some(Penalty { lambda: l2.lambda, scope });
    let spec = ModelSpec { weighting, penalty, ..ModelSpec::new(&input, layers, loss) };
    let model = Model::<f64>::new(&spec).map_err(|e| placed(config, &spec, &e))?;
    let has = if loss == Loss::CrossEntropy { model.classes() } else { model.outputs() };
    if has != outputs {
        let failure = Failure::new(format!("the network has {has} outputs, the data need {outputs}"))
            .hint(format!("give the last linear layer {outputs} units, or leave its units out"));
        return Err(config.placed(failure, &format!("model.layers.{}", spec.layers.len() - 1)));
    }
    Ok(spec)
}

/// Why there is no such network, with the place of the layer that it is about.
fn placed(config: &Config, spec: &ModelSpec, error: &ModelError) -> Failure {
    let about = |(i, l): (usize, &LayerSpec)| {
        let rest = error.layer()?.strip_prefix(&l.label(i))?;
        // A part of a layer is called after it, with a dot.
        (rest.is_empty() || rest.starts_with('.')).then_some((rest.len(), std::cmp::Reverse(i)))
    };
    // Of two layers of one name, the second.
    let layer = spec.layers.iter().enumerate().filter_map(about).min();
    // What is said of the whole network is said of its output.
    let place = layer.map_or(spec.layers.len().saturating_sub(1), |(_, i)| i.0);
    config.placed(failure(error), &format!("model.layers.{place}"))
}

/// One layer of a filled config.
fn layer(l: Layer, outputs: usize, vocabulary: Option<usize>) -> Result<LayerSpec> {
    let init = l.init.as_deref().map(|text| text.parse::<Init>().and_then(|i| i.check().map(|()| i)));
    let init = init.transpose().map_err(failure)?;
    let pair = |pair: Option<Pair>, default: [usize; 2]| pair.map_or(default, Pair::get);
    let kernel = pair(l.kernel, [1; 2]);
    let window = |stride| Window {
        kernel,
        stride: pair(l.stride, stride),
        padding: pair(l.padding, [0; 2]),
        dilation: pair(l.dilation, [1; 2]),
    };
    let (eps, bias) = (l.eps.unwrap_or(EPS), l.bias.unwrap_or(true));
    // What must be given has been checked with the config.
    let given = |n: Option<usize>| n.unwrap_or(0);
    let kind = match l.kind {
        LayerKind::Linear => Kind::Linear { units: l.units.unwrap_or(outputs), bias },
        LayerKind::Bilinear => Kind::Bilinear { units: given(l.units), bias },
        LayerKind::Conv2d => {
            Kind::Conv2d { channels: given(l.channels), window: window([1; 2]), groups: l.groups.unwrap_or(1), bias }
        }
        LayerKind::Activation => {
            Kind::Activation(l.function.as_deref().unwrap_or("identity").parse().map_err(failure)?)
        }
        LayerKind::MaxPool2d => Kind::MaxPool2d(window(kernel)),
        LayerKind::AvgPool2d => Kind::AvgPool2d(window(kernel)),
        LayerKind::GlobalAvgPool2d => Kind::GlobalAvgPool2d,
        LayerKind::LayerNorm => Kind::LayerNorm { eps },
        LayerKind::RmsNorm => Kind::RmsNorm { eps },
        LayerKind::GroupNorm => Kind::GroupNorm { groups: given(l.groups), eps },
        LayerKind::BatchNorm => Kind::BatchNorm {
            eps,
            momentum: l.momentum.unwrap_or(MOMENTUM),
            statistics: match l.statistics {
                Some(BatchStatistics::Batch) => Statistics::Batch,
                _ => Statistics::Running,
            },
        },
        LayerKind::Attention => Kind::Attention { heads: given(l.heads), causal: l.causal.unwrap_or(false) },
        LayerKind::Embedding => {
            let vocabulary = l.vocabulary.or(vocabulary).ok_or_else(|| {
                Failure::new("an embedding has no `vocabulary`, and the data are no indices")
                    .hint("say how many indices there are, or take data.text")
            })?;
            Kind::Embedding { vocabulary, width: given(l.width) }
        }
        LayerKind::Positional => Kind::Positional { length: given(l.length) },
        LayerKind::Softmax => Kind::Softmax,
        LayerKind::MeanTokens => Kind::MeanTokens,
        LayerKind::Flatten => Kind::Flatten,
        LayerKind::Reshape => Kind::Reshape(l.shape.unwrap_or_default()),
        LayerKind::Permute => Kind::Permute(l.axes.unwrap_or_default()),
        LayerKind::Add => Kind::Add,
        LayerKind::Mul => Kind::Mul,
        LayerKind::Concat => Kind::Concat { axis: l.axis.unwrap_or(0) },
        LayerKind::ScaleBy => Kind::ScaleBy { start: l.start.unwrap_or(1.0) },
        LayerKind::Dropout => Kind::Dropout { rate: l.rate.unwrap_or(0.0) },
    };
    let name = l.name.unwrap_or_default();
    Ok(LayerSpec { inputs: l.inputs.unwrap_or_default(), init, shares: l.shares, ..LayerSpec::new(&name, kind) })
}
