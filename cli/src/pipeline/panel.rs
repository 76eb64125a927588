//! What is said of a block beyond its spectrum: gradient, approximations, weights, samples, classes.

use eigenlens_hessian::activation_bend::activation_bend;
use eigenlens_hessian::approximations::{ApproximationOptions, approximations};
use eigenlens_hessian::block::{BlockOptions, BlockReport};
use eigenlens_hessian::class_structure::{ClassOptions, ClassStructure, class_ratios, class_structure};
use eigenlens_hessian::estimate::Quantity;
use eigenlens_hessian::gradient_coupling::gradient_coupling;
use eigenlens_hessian::operator::Block;
use eigenlens_hessian::per_sample::{by_class, data_error, labels, largest, sample_quotients, sample_traces};
use eigenlens_hessian::weights_spectrum::{GRADIENT, WEIGHT, quantities};
use eigenlens_linalg::Real;
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Loss, Model, Objective, Part};

use super::curvature::measured;
use super::setup::failure;
use crate::error::Result;
use crate::results::{Attribution, ClassMeans, LayerResult, SampleShare};

/// Samples that are named as owners of an eigenvalue.
const NAMED: usize = 5;
/// Most eigenvectors that are kept.
const MOST_VECTORS: usize = 20;

/// How many leading eigenvectors of each block are wanted: as many as there are classes (or outputs), at most 20, and one fewer
/// than there are pairs.
pub fn vectors<T: Real>(model: &Model<T>, pairs: usize) -> usize {
    let outputs = if model.spec().loss == Loss::CrossEntropy { model.classes() } else { model.outputs() };
    outputs.min(MOST_VECTORS).min(pairs.saturating_sub(1))
}

/// The rest of a block's panel.
pub struct Panel {
    quantities: Vec<Quantity>,
    /// Standard errors from the finite sample, by key.
    data_errors: Vec<(&'static str, f64)>,
    attribution: Vec<Attribution>,
    class_means: Option<ClassMeans>,
    products: usize,
}

impl Panel {
    /// Adds it to a block's result.
    pub fn put_into(self, result: &mut LayerResult) {
        result.quantities.extend(self.quantities.iter().map(|q| (q.name.to_owned(), measured(q))));
        for (key, error) in self.data_errors.into_iter().filter(|(_, e)| e.is_finite()) {
            if let Some(m) = result.quantities.get_mut(key) {
                m.data_error = Some(error);
            }
        }
        result.attribution = self.attribution;
        result.class_means = self.class_means;
        result.products += self.products as u64;
    }
}

/// The panel of a block, at the point where `objective` was linearized with its gradient.
///
/// # Errors
/// Weights, a gradient or class means that are not finite.
pub fn panel<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    report: &BlockReport,
    options: &BlockOptions,
) -> Result<Panel> {
    let model = objective.model();
    let at = |e: eigenlens_linalg::dense::DenseError| failure(e).at(format!("block {}", part.name));
    let mut list = Vec::new();
    let gradient: Vec<f64> = part.ranges.iter().flat_map(|r| &objective.gradient()[r.clone()]).copied().collect();
    let own = Block::part(objective, part, Kind::Hessian);
    list.extend(gradient_coupling(&own, &gradient, report.leading.as_ref(), options.vectors));
    let seed = options.slq.seed;
    let (found, mut products) =
        approximations(objective, part, &ApproximationOptions { seed, ..ApproximationOptions::default() });
    list.extend(found);
    // The quotient's.
    products += 1;
    let whole = |l: &eigenlens_nets::model::Layer| part.ranges == [l.range.clone()];
    if let Some(index) = model.layers().iter().position(whole) {
        list.extend(activation_bend(objective, index));
    }
    let theta: Vec<f64> = objective.theta().iter().map(|x| x.to_f64()).collect();
    list.extend(quantities(model, part, &theta, &WEIGHT).map_err(at)?);
    list.extend(quantities(model, part, objective.gradient(), &GRADIENT).map_err(at)?);
    let labels = labels(objective);
    let mut data_errors = Vec::new();
    if let Some(traces) = sample_traces(objective, part, Kind::Hessian) {
        let error = data_error(&traces);
        data_errors.extend([("trace", error), ("mean_curvature", error / part.len() as f64)]);
    }
    let attribution = attribution(objective, part, report, options, labels.as_deref());
    data_errors.extend(attribution.first().and_then(|a| Some(("lambda_max", a.data_error?))));
    let classes = class_structure(objective, part, &ClassOptions::default()).map_err(at)?;
    if labels.is_some() {
        list.extend(class_ratios(&report.spectrum, model.classes(), options.metrics.tau));
    }
    if let Some(shares) = classes.as_ref().and_then(ClassStructure::shares) {
        for (name, value) in ["class_share_own", "class_share_means", "class_share_cross"].into_iter().zip(shares) {
            list.push(Quantity { name, value, uncertainty: None });
        }
    }
    let class_means = classes.map(|c| {
        let first = |list: &[f64]| list[..list.len().min(c.classes)].to_vec();
        let [own, means, cross] = &c.eigenvalues;
        ClassMeans { own: first(own), means: first(means), cross: first(cross) }
    });
    Ok(Panel { quantities: list, data_errors, attribution, class_means, products })
}

/// Whose the leading eigenvalues are; empty where there are no eigenvectors, or samples see each other.
fn attribution<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    report: &BlockReport,
    options: &BlockOptions,
    labels: Option<&[usize]>,
) -> Vec<Attribution> {
    let Some(pairs) = &report.leading else { return Vec::new() };
    let count = options.vectors.min(pairs.values.len());
    let floor = options.metrics.tau * report.spectrum.magnitude();
    // Of an eigenvalue that is zero there are no shares.
    let count = pairs.values[..count].iter().take_while(|x| **x > floor).count();
    let vectors = &pairs.vectors[..count * part.len()];
    let Some(found) = sample_quotients(objective, part, Kind::Hessian, vectors) else { return Vec::new() };
    let of = |i: usize| {
        let (terms, value) = (&found.rows[i], found.total(i));
        let named = largest(terms, NAMED).into_iter().map(|(sample, term)| SampleShare {
            sample,
            label: labels.map(|l| l[sample]),
            share: term / value,
        });
        let classes = labels.map_or(Vec::new(), |l| by_class(terms, l, objective.model().classes()));
        Attribution {
            rank: i + 1,
            value,
            data_error: Some(found.data_error(i)).filter(|e| e.is_finite()),
            penalty: found.penalty[i] / value,
            classes: classes.into_iter().map(|x| x / value).collect(),
            samples: named.collect(),
        }
    };
    (0..count).map(of).collect()
}
