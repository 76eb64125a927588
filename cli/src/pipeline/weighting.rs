//! Label smoothing and class weights of a config, for the loss.

use eigenlens_nets::Loss;
use eigenlens_nets::data::Dataset;
use eigenlens_nets::spec::Weighting;

use crate::config::{Balanced, ClassWeights, Config};
use crate::error::{Failure, Result};

/// Label smoothing, and class weights whose mean over the training samples, by their weights, is 1.
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
    let mass = masses(&data.subset(train));
    let weights = match &c.class_weights {
        None => Vec::new(),
        Some(ClassWeights::Each(weights)) if weights.len() != mass.len() => {
            let (has, classes) = (weights.len(), mass.len());
            let text = format!("`loss.class_weights` has {has} factors, the data have {classes} classes");
            let failure = Failure::new(text).hint("give one factor for each class, in the order of the labels");
            return Err(config.placed(failure, "loss.class_weights"));
        }
        Some(ClassWeights::Each(weights)) => weights.clone(),
        Some(ClassWeights::Named(Balanced::Balanced)) => {
            mass.iter().map(|&m| if m > 0.0 { 1.0 / m } else { 1.0 }).collect()
        }
    };
    let total: f64 = weights.iter().zip(&mass).map(|(w, m)| w * m).sum();
    if !weights.is_empty() && total <= 0.0 {
        let failure = Failure::new("every training sample is of a class whose weight is 0")
            .hint("give the classes that occur a weight above 0");
        return Err(config.placed(failure, "loss.class_weights"));
    }
    let scale = mass.iter().sum::<f64>() / total;
    Ok(Weighting { smoothing: c.smoothing, classes: weights.iter().map(|w| w * scale).collect() })
}

/// The sum of the weights of the samples of each class; their number where they have no weights. No values without classes.
fn masses(data: &Dataset) -> Vec<f64> {
    let Some(weights) = &data.weights else { return data.class_counts().iter().map(|&n| n as f64).collect() };
    let mut mass = vec![0.0; data.class_counts().len()];
    let labels = data.targets.labels().unwrap_or_default();
    let each = labels.len() / weights.len().max(1);
    for (labels, weight) in labels.chunks_exact(each.max(1)).zip(weights) {
        labels.iter().for_each(|&l| mass[l as usize] += weight);
    }
    mass
}

#[cfg(test)]
mod tests {
    use super::*;
    use eigenlens_nets::data::{Source, load};

    #[test]
    fn the_mean_of_the_class_weights_over_weighted_samples_is_one() {
        let mut data = load(&Source::Builtin("iris".into())).unwrap();
        let rows: Vec<usize> = (0..data.rows).step_by(3).collect();
        let mut config = Config::default();
        config.loss.class_weights = Some(ClassWeights::Each(vec![1.0, 2.0, 4.0]));
        for weighted in [false, true] {
            data.weights = weighted.then(|| (0..data.rows).map(|i| 0.5 + (i % 7) as f64).collect());
            let found = weighting(&config, &data, &rows, Loss::CrossEntropy).unwrap().classes;
            let w = |i: usize| data.weights.as_ref().map_or(1.0, |w| w[i]);
            let of = |i: usize| found[data.targets.labels().unwrap()[i] as usize];
            let (sum, all): (f64, f64) = rows.iter().fold((0.0, 0.0), |(s, a), &i| (s + w(i) * of(i), a + w(i)));
            assert!((sum / all - 1.0).abs() <= 1e-14, "{sum} of {all}");
            assert!((found[1] / found[0] - 2.0).abs() <= 1e-14 && (found[2] / found[0] - 4.0).abs() <= 1e-14);
        }
    }
}
