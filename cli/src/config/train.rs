//! `[loss]` and `[train]`: what is minimised, and how.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::Precision;

/// A per-sample loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Softmax and cross-entropy, for classification.
    CrossEntropy,
    /// (1/C) Σ (y − t)², the mean over the outputs, for regression.
    Mse,
    /// Logistic loss of one output, for two classes.
    Bce,
}

/// Which parameters an l2 penalty falls on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum L2Scope {
    /// All of them.
    #[default]
    All,
    /// Weights, not biases.
    Weights,
}

/// A penalty ½ λ ‖θ‖² that belongs to the loss, and so to its Hessian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct L2 {
    /// λ. 0 means no penalty.
    pub lambda: f64,
    /// Where it applies.
    pub scope: L2Scope,
}

/// Section `[loss]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Loss {
    /// Absent: cross-entropy for classification, mse for regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<LossKind>,
    /// cross-entropy: label smoothing, from 0 to below 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub smoothing: f64,
    /// cross-entropy: a factor for each class, or `"balanced"` for those that give every class the same share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// The penalty.
    pub l2: L2,
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

/// How much the samples of each class count. Factors are scaled so that their mean over the training samples is 1, as in
/// PyTorch's mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ClassWeights {
    /// `"balanced"`: in inverse proportion to the samples of the class.
    Named(Balanced),
    /// A factor for each class.
    Each(Vec<f64>),
}

/// The one name of class weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balanced {
    /// In inverse proportion to the samples of the class.
    Balanced,
}

impl<'de> Deserialize<'de> for ClassWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrList;

        impl<'de> Visitor<'de> for NameOrList {
            type Value = ClassWeights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"balanced\", or a list of one number for each class")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<ClassWeights, E> {
                Balanced::deserialize(StrDeserializer::new(name)).map(ClassWeights::Named)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<ClassWeights, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(ClassWeights::Each)
            }
        }

        deserializer.deserialize_any(NameOrList)
    }
}

/// Which optimiser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Stochastic gradient descent, with heavy-ball or Nesterov momentum.
    Sgd,
    /// Adam (Kingma & Ba 2015).
    #[default]
    Adam,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    Adamw,
}

/// `train.optimizer`: a name, or a table `{ kind = "sgd", momentum = 0.9 }`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Optimizer {
    /// Which one.
    pub kind: OptimizerKind,
    /// sgd: μ. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// sgd: Nesterov's form. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nesterov: Option<bool>,
    /// adam, adamw: decay of the two moments. Default [0.9, 0.999].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f64; 2]>,
    /// adam, adamw: added to the root of the second moment. Default 1e-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// sgd, adam: added to the gradient as λθ, 0 by default; adamw: decoupled, 0.01 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

impl Optimizer {
    pub(super) fn fill(&mut self) {
        match self.kind {
            OptimizerKind::Sgd => {
                self.momentum.get_or_insert(0.0);
                self.nesterov.get_or_insert(false);
                self.weight_decay.get_or_insert(0.0);
            }
            OptimizerKind::Adam | OptimizerKind::Adamw => {
                self.betas.get_or_insert([0.9, 0.999]);
                self.eps.get_or_insert(1e-8);
                self.weight_decay.get_or_insert(if self.kind == OptimizerKind::Adamw { 0.01 } else { 0.0 });
            }
        }
    }
}

/// How the learning rate moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// It stays.
    #[default]
    Constant,
    /// Times `factor` every `every` epochs.
    Step,
    /// Times `factor` every epoch.
    Exponential,
    /// Half a cosine from `lr` down to `lr · floor`.
    Cosine,
    /// A linear rise over `warmup` epochs, then the cosine.
    WarmupCosine,
}

/// `train.schedule`: a name, or a table `{ kind = "step", every = 20, factor = 0.5 }`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Which one.
    pub kind: ScheduleKind,
    /// step, exponential: the factor. Default 0.1 (step), 0.95 (exponential).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// step: epochs between two steps. Default: a third of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<usize>,
    /// warmup-cosine: epochs of the rise. Default: a tenth of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<usize>,
    /// cosine, warmup-cosine: final learning rate as a share of the first. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
}

impl Schedule {
    pub(super) fn fill(&mut self, epochs: usize) {
        match self.kind {
            ScheduleKind::Constant => {}
            ScheduleKind::Step => {
                self.factor.get_or_insert(0.1);
                self.every.get_or_insert((epochs / 3).max(1));
            }
            ScheduleKind::Exponential => {
                self.factor.get_or_insert(0.95);
            }
            ScheduleKind::Cosine => {
                self.floor.get_or_insert(0.0);
            }
            ScheduleKind::WarmupCosine => {
                self.warmup.get_or_insert((epochs / 10).max(1).min(epochs.saturating_sub(1)));
                self.floor.get_or_insert(0.0);
            }
        }
    }
}

/// Stops training when the validation loss no longer falls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Epochs without improvement before the stop.
    pub patience: usize,
    /// Smaller falls don't count. Default 0.
    #[serde(default)]
    pub min_delta: f64,
}

/// Section `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Passes over the training part.
    pub epochs: usize,
    /// Samples per step.
    pub batch_size: usize,
    /// Learning rate at the start (of a warm-up: at its end).
    pub lr: f64,
    /// Scalar type of the training.
    pub precision: Precision,
    /// How a gradient becomes a step.
    #[serde(deserialize_with = "name_or_table")]
    pub optimizer: Optimizer,
    /// How the learning rate moves.
    #[serde(deserialize_with = "name_or_table")]
    pub schedule: Schedule,
    /// When to stop before the last epoch; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
}

impl Default for Train {
    fn default() -> Self {
        Self {
            epochs: 50,
            batch_size: 32,
            lr: 2e-3,
            precision: Precision::F32,
            optimizer: Optimizer::default(),
            schedule: Schedule::default(),
            early_stopping: None,
        }
    }
}

/// Something of which the bare name of its kind is short for a table with all defaults.
trait Named: Default + for<'de> Deserialize<'de> {
    type Kind: for<'de> Deserialize<'de>;
    const WHAT: &'static str;
    fn named(kind: Self::Kind) -> Self;
}

impl Named for Optimizer {
    type Kind = OptimizerKind;
    const WHAT: &'static str = "an optimizer: a name, or a table with `kind`";
    fn named(kind: OptimizerKind) -> Self {
        Self { kind, ..Self::default() }
    }
}

impl Named for Schedule {
    type Kind = ScheduleKind;
    const WHAT: &'static str = "a schedule: a name, or a table with `kind`";
    fn named(kind: ScheduleKind) -> Self {
        Self { kind, ..Self::default() }
    }
}

fn name_or_table<'de, T: Named, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct NameOrTable<T>(PhantomData<T>);

    impl<'de, T: Named> Visitor<'de> for NameOrTable<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(T::WHAT)
        }

        fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<T, E> {
            T::Kind::deserialize(StrDeserializer::new(name)).map(T::named)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_any(NameOrTable(PhantomData))
}
