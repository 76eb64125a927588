//! Singular spectra and moments of the weights of a part of θ, and of the gradient there.
//!
//! A weight of shape (out, …) is a matrix of `out` rows: a convolution's is out × (in/groups · kh · kw). Where a part holds
//! several matrices (the projections of an attention, a whole network), the singular values are those of the block-diagonal
//! matrix of all of them. Biases are no matrices and take no part; where a part has no matrix, its entries still have moments.
//!
//! | key | formula, with σ_1 ≥ σ_2 ≥ … and a_i = σ_i / Σσ |
//! |---|---|
//! | `…_norm`, `…_spectral` | ‖·‖_F, σ_1 |
//! | `…_condition` | σ_1 / σ_min; left out where σ_min is zero to rounding |
//! | `…_rank_stable`, `…_entropy` | ‖·‖_F² / σ_1², −Σ a ln a |
//! | `…_mean`, `…_std`, `…_skewness`, `…_kurtosis` | of the entries: m_1, √m_2, m_3/m_2^{3/2}, m_4/m_2² about the mean |
//!
//! # Sources
//! Martin & Mahoney 2021, *Implicit self-regularization in deep neural networks* (spectra of weights as a diagnosis);
//! Rudelson & Vershynin 2007 (stable rank); Roy & Vetterli 2007 (entropy).

use eigenlens_linalg::Real;
use eigenlens_linalg::dense::{DenseError, singular_values};
use eigenlens_nets::{Model, Part};

use crate::estimate::{Quantity, pairwise_sum};
use crate::metrics::put;

/// Keys of the weights' quantities.
pub const WEIGHT: [&str; 9] = [
    "weight_norm",
    "weight_spectral",
    "weight_condition",
    "weight_rank_stable",
    "weight_entropy",
    "weight_mean",
    "weight_std",
    "weight_skewness",
    "weight_kurtosis",
];

/// Keys of the gradient's quantities.
pub const GRADIENT: [&str; 9] = [
    "gradient_norm",
    "gradient_spectral",
    "gradient_condition",
    "gradient_rank_stable",
    "gradient_entropy",
    "gradient_mean",
    "gradient_std",
    "gradient_skewness",
    "gradient_kurtosis",
];

/// A matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Its entries.
    pub entries: Vec<f64>,
}

/// The matrices of a part: whole rows of tensors of two axes and more, with their values in a vector of the length of θ.
///
/// # Panics
/// If `values` is not as long as θ.
#[track_caller]
pub fn matrices<T: Real>(model: &Model<T>, part: &Part, values: &[f64]) -> Vec<Matrix> {
    assert_eq!(values.len(), model.len(), "one value for each parameter");
    let mut out = Vec::new();
    for tensor in model.tensors().iter().filter(|t| t.shape.len() > 1) {
        let columns: usize = tensor.shape[1..].iter().product();
        let shared = |r: &std::ops::Range<usize>| r.start.max(tensor.range.start)..r.end.min(tensor.range.end);
        let inside: Vec<_> = part.ranges.iter().map(shared).filter(|r| !r.is_empty()).collect();
        let aligned = |x: usize| (x - tensor.range.start).is_multiple_of(columns);
        // Columns of a tensor, as those of a head, are no matrix of their own rows.
        if inside.is_empty() || !inside.iter().all(|r| aligned(r.start) && aligned(r.end)) {
            continue;
        }
        let entries: Vec<f64> = inside.iter().flat_map(|r| &values[r.clone()]).copied().collect();
        out.push(Matrix { rows: entries.len() / columns, columns, entries });
    }
    out
}

/// The quantities of a part's values under the names of [`WEIGHT`] or [`GRADIENT`].
///
/// Cost: the singular values of its matrices, about 4 rows · columns · min(rows, columns) flops each.
///
/// # Errors
/// A value that is not finite.
/// # Panics
/// As [`matrices`].
#[track_caller]
pub fn quantities<T: Real>(
    model: &Model<T>,
    part: &Part,
    values: &[f64],
    names: &[&'static str; 9],
) -> Result<Vec<Quantity>, DenseError> {
    let matrices = matrices(model, part, values);
    let mut out = Vec::new();
    let mut spectrum = Vec::new();
    for m in &matrices {
        spectrum.push(singular_values(m.rows, m.columns, &m.entries)?);
    }
    let entries: Vec<f64> = if matrices.is_empty() {
        part.ranges.iter().flat_map(|r| &values[r.clone()]).copied().collect()
    } else {
        matrices.iter().flat_map(|m| &m.entries).copied().collect()
    };
    let [norm, spectral, condition, rank, entropy, mean, std, skewness, kurtosis] = *names;
    let square = pairwise_sum(entries.len(), |i| entries[i] * entries[i]);
    put(&mut out, norm, square.sqrt(), None);
    let top = spectrum.iter().flatten().fold(0.0, |m: f64, s| m.max(*s));
    if top > 0.0 {
        put(&mut out, spectral, top, None);
        let least = spectrum.iter().flatten().fold(f64::INFINITY, |m: f64, s| m.min(*s));
        let rounding = matrices.iter().map(|m| m.rows.max(m.columns)).max().unwrap_or(0) as f64 * f64::EPSILON;
        if least > rounding * top {
            put(&mut out, condition, top / least, None);
        }
        put(&mut out, rank, square / (top * top), None);
        let total: f64 = spectrum.iter().flatten().sum();
        let share = |s: &f64| if *s > 0.0 { -(s / total) * (s / total).ln() } else { 0.0 };
        put(&mut out, entropy, spectrum.iter().flatten().map(share).sum(), None);
    }
    let n = entries.len() as f64;
    let centre = pairwise_sum(entries.len(), |i| entries[i]) / n;
    let moment = |k: i32| pairwise_sum(entries.len(), |i| (entries[i] - centre).powi(k)) / n;
    let variance = moment(2);
    put(&mut out, mean, centre, None);
    put(&mut out, std, variance.sqrt(), None);
    if variance.sqrt() > 8.0 * f64::EPSILON * centre.abs() {
        put(&mut out, skewness, moment(3) / variance.powf(1.5), None);
        put(&mut out, kurtosis, moment(4) / (variance * variance), None);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::get;
    use crate::testing::{cases, mixed};
    use eigenlens_nets::Grouping;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-13 * b.abs().max(1.0)
    }

    #[test]
    fn a_diagonal_weight_has_its_closed_forms() {
        let model = &cases().swap_remove(0).model;
        // 5 × 4 with σ = 4, 2, 1, 1 and a bias that must not count.
        let part = &model.layer_blocks()[0];
        let mut values = vec![0.0; model.len()];
        for (i, s) in [4.0, -2.0, 1.0, 1.0].into_iter().enumerate() {
            values[i * 4 + i] = s;
        }
        values[20..25].fill(7.0);
        let found = quantities(model, part, &values, &WEIGHT).unwrap();
        let value = |key| get(&found, key).unwrap().value;
        assert!(close(value("weight_norm"), 22_f64.sqrt()) && close(value("weight_spectral"), 4.0));
        assert!(close(value("weight_condition"), 4.0) && close(value("weight_rank_stable"), 22.0 / 16.0));
        assert!(close(value("weight_entropy"), 0.5 * 2_f64.ln() + 0.25 * 4_f64.ln() + 0.25 * 8_f64.ln()));
        // Entries: 4, −2, 1, 1 and sixteen zeros, mean 0.2.
        let entries: Vec<f64> = [4.0, -2.0, 1.0, 1.0].into_iter().chain([0.0; 16]).collect();
        let m = |k: i32| entries.iter().map(|x: &f64| (x - 0.2).powi(k)).sum::<f64>() / 20.0;
        assert!(close(value("weight_mean"), 0.2) && close(value("weight_std"), m(2).sqrt()));
        assert!(
            close(value("weight_skewness"), m(3) / m(2).powf(1.5))
                && close(value("weight_kurtosis"), m(4) / m(2).powi(2))
        );
    }

    #[test]
    fn what_is_undefined_is_left_out() {
        let model = &cases().swap_remove(0).model;
        let part = &model.layer_blocks()[0];
        let names = |values: &[f64]| -> Vec<&str> {
            quantities(model, part, values, &GRADIENT).unwrap().iter().map(|q| q.name).collect()
        };
        assert_eq!(names(&vec![0.0; model.len()]), ["gradient_norm", "gradient_mean", "gradient_std"]);
        // Rank one: no condition number; no spread: no shape.
        let constant = names(&vec![0.3; model.len()]);
        assert!(!constant.contains(&"gradient_condition") && !constant.contains(&"gradient_kurtosis"), "{constant:?}");
        let mut broken = vec![0.0; model.len()];
        broken[3] = f64::NAN;
        assert!(quantities(model, part, &broken, &GRADIENT).is_err());
    }

    #[test]
    fn norms_of_all_matrices_add_up_and_convolutions_are_out_by_the_rest() {
        let (model, _) = mixed();
        let values: Vec<f64> = (0..model.len()).map(|i| ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0).collect();
        let network = Part::network(&model);
        let all = matrices(&model, &network, &values);
        assert_eq!((all[0].rows, all[0].columns), (4, 9), "conv 1→4, 3 × 3");
        let squares: f64 =
            all.iter().flat_map(|m| singular_values(m.rows, m.columns, &m.entries).unwrap()).map(|s| s * s).sum();
        let found = quantities(&model, &network, &values, &WEIGHT).unwrap();
        assert!(close(get(&found, "weight_norm").unwrap().value, squares.sqrt()));
        // A norm has no matrix, but moments; a neuron's row is a matrix of one row, of rank 1.
        let parts = model.blocks(&Grouping::Tensor).unwrap();
        let bias = parts.iter().find(|p| p.name.ends_with(".bias")).unwrap();
        let keys: Vec<&str> = quantities(&model, bias, &values, &WEIGHT).unwrap().iter().map(|q| q.name).collect();
        assert!(keys.contains(&"weight_std") && !keys.contains(&"weight_spectral"));
        for part in model.blocks(&Grouping::Neuron).unwrap().iter().filter(|p| p.name.starts_with("out")) {
            let found = quantities(&model, part, &values, &WEIGHT).unwrap();
            assert!(close(get(&found, "weight_rank_stable").unwrap().value, 1.0), "{}", part.name);
        }
        // Columns of a head's output projection are not rows: only its rows of q, k and v count.
        for part in model.blocks(&Grouping::Head).unwrap().iter().filter(|p| p.name.contains("head")) {
            assert!(matrices(&model, part, &values).iter().all(|m| m.columns == 4), "{}", part.name);
        }
    }
}
