//! Label smoothing and class weights of a config, for the loss.

use eigenlens_nets::Loss;
use eigenlens_nets::data::Dataset;
use eigenlens_nets::spec::Weighting;

use crate::config::{Balanced, ClassWeights, Config};
use crate::error::{Failure, Result};

/// Label smoothing, and class weights whose mean over the training samples is 1.
///
/// # Errors
/// Another loss than cross-entropy, another number of classes, or weights of which all training samples have 0.
pub fn weighting(config: &Config, data: &Dataset, train: &[usize], loss: Loss) -> Result<Weighting> {
    let c = &config.loss;
    if loss != Loss::CrossEntropy && (c.smoothing != 0.0 || c.class_weights.is_some()) {
        return Err(Failure::new(format!(
            "label smoothing and class weights belong to cross-entropy, the loss is {loss}"
        ))
        .hint("leave them out, or set loss.kind = \"cross-entropy\""));
    }
    let counts = data.subset(train).class_counts();
    let weights = match &c.class_weights {
        None => Vec::new(),
        Some(ClassWeights::Each(weights)) if weights.len() != counts.len() => {
            let (has, classes) = (weights.len(), counts.len());
            return Err(Failure::new(format!(
                "`loss.class_weights` has {has} factors, the data have {classes} classes"
            ))
            .hint("give one factor for each class, in the order of the labels"));
        }
        Some(ClassWeights::Each(weights)) => weights.clone(),
        Some(ClassWeights::Named(Balanced::Balanced)) => counts.iter().map(|&n| 1.0 / n.max(1) as f64).collect(),
    };
    let total: f64 = weights.iter().zip(&counts).map(|(w, &n)| w * n as f64).sum();
    if !weights.is_empty() && total <= 0.0 {
        return Err(Failure::new("every training sample is of a class whose weight is 0")
            .hint("give the classes that occur a weight above 0"));
    }
    let scale = counts.iter().sum::<usize>() as f64 / total;
    Ok(Weighting { smoothing: c.smoothing, classes: weights.iter().map(|w| w * scale).collect() })
}
