//! Why a network can't be built, in words that say what to do.

use eigenlens_autodiff::GraphError;
use thiserror::Error;

use super::Loss;

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
    /// Nothing to train or analyse.
    #[error("the network has no layer with parameters; add at least one")]
    NoLayers,
    /// Cross-entropy over a single class.
    #[error("cross-entropy needs at least 2 outputs, the network has {0}; use the loss `bce` for one output")]
    SingleClass(usize),
    /// A penalty that is not a number ≥ 0.
    #[error("the L2 penalty must be finite and not negative, is {0}; 0 is none")]
    Penalty(f64),
    /// An input that no layer is called.
    #[error("layer `{layer}` reads `{input}`, and no layer is called that; {}", meant(nearest))]
    UnknownInput {
        /// The reader.
        layer: String,
        /// What it reads.
        input: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// A layer that depends on itself.
    #[error("the layers {} read each other in a cycle; let one of them read an earlier layer", .0.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" → "))]
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
    #[error("layer `{layer}` ({kind}) reads {has} layers, it takes {takes}; list them in its `inputs`")]
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
    #[error("{}", refused(.0))]
    Graph(#[from] GraphError),
}

impl ModelError {
    /// The layer that it is about, or a part of one after a dot; none if it is about the whole network.
    pub fn layer(&self) -> Option<&str> {
        match self {
            ModelError::Empty(layer)
            | ModelError::DuplicateName(layer)
            | ModelError::MadeName { layer, .. }
            | ModelError::UnknownInput { layer, .. }
            | ModelError::Later { layer, .. }
            | ModelError::Unread(layer)
            | ModelError::Count { layer, .. }
            | ModelError::Shared { layer, .. }
            | ModelError::Option { layer, .. } => Some(layer),
            ModelError::Graph(
                GraphError::Shape { node, .. }
                | GraphError::TooLarge { node, .. }
                | GraphError::TooManyInputs { node, .. },
            ) => Some(node),
            ModelError::Cycle(layers) => layers.first().map(String::as_str),
            ModelError::NoLayers | ModelError::SingleClass(_) | ModelError::Penalty(_) | ModelError::Weighting(_) => {
                None
            }
        }
    }
}

/// What to read instead of a layer that there is not.
fn meant(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!("did you mean `{name}`?"),
        None => "`inputs` takes names of layers, and `input` for the data".to_string(),
    }
}

/// What an op said, and what can be done about shapes.
fn refused(error: &GraphError) -> String {
    let text = error.to_string();
    match error {
        GraphError::Shape { .. } if !text.contains("; ") => {
            format!("{text}; change the sizes, or put a flatten, reshape, permute or linear layer between")
        }
        _ => text,
    }
}
