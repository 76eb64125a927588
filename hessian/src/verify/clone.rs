//! A clone of a multilayer perceptron that is small enough for dense matrices.

use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::{LayerKind, Loss, Model, Samples};

use super::dense::{ORDER, largest};
use super::subject::Merged;

/// The same layers, activations, loss and penalty, but no width above 6 (less in deep networks), with parameters and
/// inputs of order one.
pub(super) struct Shrunken {
    pub model: Model<f64>,
    pub samples: Samples,
    pub theta: Vec<f64>,
}

/// Results of layers above this are avoided by halving the parameters, at most so many times.
const TAME: f64 = 30.0;
const HALVINGS: usize = 20;

impl Shrunken {
    pub fn new(model: &Model<f64>, samples: &Samples, seed: u64) -> Self {
        let build = |width: usize| {
            let spec = model.spec();
            let mut small = spec.clone();
            small.input[0] = spec.input[0].min(width);
            small.weighting.classes.truncate(width);
            for layer in &mut small.layers {
                if let LayerKind::Linear { units, .. } = &mut layer.kind {
                    *units = (*units).min(width);
                }
            }
            Model::<f64>::new(&small).expect("narrower layers fit together as the wide ones did")
        };
        let small = (3..=6).rev().map(build).find(|m| m.len() <= ORDER).unwrap_or_else(|| build(2));
        let samples = shrunken_samples(model, &small, samples);
        let mut theta = Distribution::Gaussian.probe(seed, u64::MAX - 1, small.len());
        for layer in small.layers() {
            // Results of variance about 1.5 for inputs of variance 1: bent, but not saturated.
            let sd = (1.5 / (layer.inputs as f64 + 1.0)).sqrt();
            theta[layer.range.clone()].iter_mut().for_each(|t| *t *= sd);
        }
        // Compositions of e^x leave the range of numbers from points of order one.
        for _ in 0..HALVINGS {
            let lin = Merged::new(&small, &samples, &theta, 1.0).linearization;
            if small.layers().iter().all(|l| largest(lin.value(l.output)) < TAME) {
                break;
            }
            theta.iter_mut().for_each(|t| *t *= 0.5);
        }
        Shrunken { model: small, samples, theta }
    }
}

/// The inputs that vary most, standardised; labels modulo the classes that are left; the first targets.
fn shrunken_samples(model: &Model<f64>, small: &Model<f64>, samples: &Samples) -> Samples {
    let (n, wide, narrow) = (samples.n, model.features(), small.features());
    let columns: Vec<(f64, Vec<f64>)> = (0..wide)
        .map(|j| {
            let column: Vec<f64> = samples.x.iter().skip(j).step_by(wide).copied().collect();
            let mean = column.iter().sum::<f64>() / n as f64;
            let sd = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
            let scale = if sd > 0.0 { 1.0 / sd } else { 1.0 };
            (sd, column.iter().map(|x| (x - mean) * scale).collect())
        })
        .collect();
    let mut order: Vec<usize> = (0..wide).collect();
    order.sort_by(|&a, &b| columns[b].0.total_cmp(&columns[a].0));
    let x = (0..n).flat_map(|i| order[..narrow].iter().map(move |&j| (i, j))).map(|(i, j)| columns[j].1[i]).collect();
    let (outputs, kept) = (model.outputs(), small.outputs());
    let y = match small.spec().loss {
        Loss::CrossEntropy => samples.y.iter().map(|y| y % kept as f64).collect(),
        Loss::Bce => samples.y.chunks_exact(outputs).flat_map(|y| y[..kept].to_vec()).collect(),
        Loss::Mse => {
            let size = (samples.y.iter().map(|y| y * y).sum::<f64>() / samples.y.len() as f64).sqrt();
            let scale = if size > 0.0 { 1.0 / size } else { 1.0 };
            samples
                .y
                .chunks_exact(outputs)
                .flat_map(|y| y[..kept].iter().map(|y| y * scale).collect::<Vec<_>>())
                .collect()
        }
    };
    Samples { n, x, y, w: Vec::new() }
}
