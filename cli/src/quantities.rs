//! How quantities are shown: order, symbol, a short explanation. The keys are those of `metrics.csv` and `result.json`.

use crate::results::{LayerResult, Measured};

/// How many digits make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A number of any size.
    Number,
    /// A share, shown in per cent.
    Share,
    /// A count, perhaps estimated.
    Count,
}

/// One quantity as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Key in files.
    pub key: &'static str,
    /// Symbol or short name, for tables.
    pub symbol: &'static str,
    /// What it says, in one line.
    pub meaning: &'static str,
    /// How it is written.
    pub form: Form,
}

const fn row(key: &'static str, symbol: &'static str, form: Form, meaning: &'static str) -> Shown {
    Shown { key, symbol, meaning, form }
}

/// The quantities of the metrics table, in its order.
pub const SHOWN: &[Shown] = &[
    row("lambda_max", "λ_max", Form::Number, "largest eigenvalue: the sharpest direction"),
    row("lambda_min", "λ_min", Form::Number, "smallest eigenvalue: below 0, the loss curves down in some direction"),
    row("trace", "trace", Form::Number, "sum of all eigenvalues"),
    row("mean_curvature", "trace / p", Form::Number, "mean eigenvalue"),
    row("frobenius", "‖H‖_F", Form::Number, "Frobenius norm: root of the sum of squared eigenvalues"),
    row("nuclear", "Σ|λ|", Form::Number, "nuclear norm: total curvature, whatever its sign"),
    row(
        "trace_over_lambda_max",
        "trace / λ_max",
        Form::Number,
        "how many directions as sharp as the sharpest make up the trace",
    ),
    row("condition", "condition", Form::Number, "largest |λ| over the smallest that is not negligible"),
    row(
        "rank_effective",
        "effective rank",
        Form::Count,
        "exp of the entropy of |λ| / Σ|λ|: directions that carry curvature",
    ),
    row("rank_numerical", "numerical rank", Form::Count, "eigenvalues that are not negligible: |λ| > τ |λ|_max"),
    row("rank_energy", "energy rank", Form::Count, "directions that hold 90 % of Σ|λ|"),
    row("rank_stable", "stable rank", Form::Count, "(‖H‖_F / ‖H‖_2)²"),
    row("participation_ratio", "participation", Form::Count, "(Σ|λ|)² / Σλ²"),
    row("outliers", "outliers", Form::Count, "eigenvalues above the largest relative gap"),
    row("negative_count", "negative λ", Form::Count, "eigenvalues below −τ |λ|_max"),
    row("negative_fraction", "negative share of p", Form::Share, "the same as a share of all"),
    row("negative_mass", "negative mass", Form::Share, "share of Σ|λ| that is negative"),
    row("r_e", "|λ_min / λ_max|", Form::Number, "extreme ratio r_e"),
    row("k_h_half", "K_H (n = ½)", Form::Number, "Gabdullin's Hessian criterion"),
    row("gap_1", "λ₁ − λ₂", Form::Number, "gap below the largest eigenvalue"),
    row("ratio_1", "λ₁ / λ₂", Form::Number, "the same as a ratio"),
    row("entropy", "entropy", Form::Number, "of |λ| / Σ|λ|, in nats"),
    row("gini", "Gini", Form::Number, "inequality of |λ|: 0 all equal, 1 all in one"),
    row("power_law_slope", "power-law slope", Form::Number, "slope of ln λ_k against ln k"),
    row("skewness", "skewness", Form::Number, "of the eigenvalues"),
    row("kurtosis", "kurtosis", Form::Number, "of the eigenvalues; 3 for a normal distribution"),
    row("trace_change", "Δ trace", Form::Number, "since the snapshot before, with the error of the difference"),
    row("frobenius_change", "Δ ‖H‖_F", Form::Number, "since the snapshot before, with the error of the difference"),
    row(
        "top_overlap",
        "overlap",
        Form::Share,
        "of the space of the k sharpest directions with that of the snapshot before",
    ),
    row("classes", "C", Form::Count, "classes: outliers are often C or C − 1"),
    row("ratio_below_classes", "λ_C−1 / λ_C", Form::Number, "a gap here: C − 1 outliers"),
    row("ratio_at_classes", "λ_C / λ_C+1", Form::Number, "a gap here: C outliers"),
    row("class_share_own", "own label", Form::Share, "of trace G: mean gradients of each class towards its own label"),
    row(
        "class_share_means",
        "class means",
        Form::Share,
        "of trace G: class means of the other gradients, the outliers",
    ),
    row(
        "class_share_cross",
        "cross-classes",
        Form::Share,
        "of trace G: means of each pair of classes about their class",
    ),
    row("gn_gap", "GN-Gap", Form::Number, "‖H − G‖_F / ‖G‖_F: what the Gauss–Newton block leaves out"),
    row(
        "kronecker_residual",
        "Kronecker residual",
        Form::Share,
        "of ‖H‖_F: its distance from one Kronecker product of means",
    ),
    row("activation_bend", "E[σ″(a)²]", Form::Number, "how much the activation behind the layer bends"),
    row("dead_units", "dead units", Form::Share, "units whose activation has slope 0 for every sample"),
    row("gradient_norm", "‖∇W‖_F", Form::Number, "of the gradient of the weights"),
    row("gradient_quotient", "gᵀHg / gᵀg", Form::Number, "curvature along the gradient"),
    row("gradient_top_share", "‖P_k g‖² / ‖g‖²", Form::Share, "share of the gradient in the k sharpest directions"),
    row("gradient_top_k", "k", Form::Count, "how many directions that are: the classes, at most 20"),
    row("gradient_rank_stable", "stable rank of ∇W", Form::Number, "(‖∇W‖_F / σ₁)²"),
    row("gradient_entropy", "entropy of ∇W", Form::Number, "of its singular values, in nats"),
    row("weight_norm", "‖W‖_F", Form::Number, "of the weights"),
    row("weight_spectral", "σ₁(W)", Form::Number, "largest singular value of the weights"),
    row("weight_condition", "condition of W", Form::Number, "σ₁ over the smallest singular value"),
    row("weight_rank_stable", "stable rank of W", Form::Number, "(‖W‖_F / σ₁)²"),
    row("weight_entropy", "entropy of W", Form::Number, "of its singular values, in nats"),
    row("weight_std", "std of W", Form::Number, "standard deviation of the weights"),
    row("weight_kurtosis", "kurtosis of W", Form::Number, "of the weights; 3 for a normal distribution"),
];

/// The row of a key, if it is one of the table's.
pub fn shown(key: &str) -> Option<&'static Shown> {
    SHOWN.iter().find(|s| s.key == key)
}

/// What sorts keys into the order of the table; others follow by name, with their numbers in order.
pub fn order(key: &str) -> (usize, String, u32) {
    let place = SHOWN.iter().position(|s| s.key == key).unwrap_or(SHOWN.len());
    let (name, number) = match key.rsplit_once('_') {
        Some((name, number)) => (name, number.parse().unwrap_or(0)),
        None => (key, 0),
    };
    (place, if number == 0 { key } else { name }.to_owned(), number)
}

/// A quantity of a layer as it is shown: what rounding alone can make is 0. The files keep the number.
///
/// An eigenvalue solver on p parameters leaves errors of about p ε |λ|max in every eigenvalue, p times that in their sum.
pub fn settled(key: &str, layer: &LayerResult) -> Option<Measured> {
    let m = *layer.get(key)?;
    let p = layer.parameters as f64;
    let size = |key: &str| layer.get(key).map_or(0.0, |m| m.value.abs());
    let noise = p * f64::EPSILON * size("lambda_max").max(size("lambda_min"));
    let limit = match key {
        "lambda_max" | "lambda_min" | "mean_curvature" => noise,
        "trace" => p * noise,
        "negative_mass" if size("nuclear") > 0.0 => p * noise / size("nuclear"),
        "negative_mass" | "r_e" => p * f64::EPSILON,
        _ => 0.0,
    };
    // A number with a larger error speaks for itself.
    Some(if m.value.abs() <= limit && m.error().is_none_or(|e| e <= limit) { Measured::exact(0.0) } else { m })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_noise_is_shown_as_zero_and_what_is_larger_as_it_is() {
        let layer = |lambda_min: f64, negative_mass: f64| {
            let numbers =
                [("lambda_max", 0.8), ("lambda_min", lambda_min), ("negative_mass", negative_mass), ("nuclear", 5.0)];
            LayerResult::new("a", "", 100, "", numbers.map(|(k, v)| (k.to_owned(), Measured::exact(v))))
        };
        let zeros = layer(-6.828e-18, 2.69e-16);
        assert_eq!(settled("lambda_min", &zeros).unwrap().value, 0.0);
        assert_eq!(settled("negative_mass", &zeros).unwrap().value, 0.0);
        assert_eq!(zeros.lambda_min, Some(-6.828e-18), "the number itself stays");
        let real = layer(-1e-9, 1e-6);
        assert_eq!(settled("lambda_min", &real).unwrap().value, -1e-9);
        assert_eq!(settled("negative_mass", &real).unwrap().value, 1e-6);
        assert!(settled("trace", &real).is_none());
    }

    #[test]
    fn keys_are_unique_and_sort_as_listed() {
        let mut keys: Vec<&str> = SHOWN.iter().rev().map(|s| s.key).chain(["gap_10", "gap_2", "foo"]).collect();
        keys.sort_by_key(|k| order(k));
        let want: Vec<&str> = SHOWN.iter().map(|s| s.key).chain(["foo", "gap_2", "gap_10"]).collect();
        assert_eq!(keys, want);
        keys.dedup();
        assert_eq!(keys.len(), SHOWN.len() + 3);
    }
}
