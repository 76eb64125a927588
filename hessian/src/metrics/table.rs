//! The table of quantities: what each key means. Docs, report and CSV walk it.

/// How a quantity changes when H is replaced by cH, c > 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Multiplied by c.
    Curvature,
    /// Unchanged; a ratio, share or shape.
    Ratio,
    /// Unchanged; a number of eigenvalues or of dimensions.
    Count,
}

impl Unit {
    /// A short word for tables and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Curvature => "curvature",
            Unit::Ratio => "ratio",
            Unit::Count => "count",
        }
    }
}

/// One row of [`METRICS`].
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The stable name in files and tables, snake case.
    pub key: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// The definition, with λ₁ ≥ … ≥ λ_p and a_i = |λ_i| / Σ|λ|.
    pub formula: &'static str,
    /// Where the quantity comes from.
    pub source: &'static str,
    /// How it scales.
    pub unit: Unit,
}

const fn row(
    key: &'static str,
    title: &'static str,
    formula: &'static str,
    source: &'static str,
    unit: Unit,
) -> Metric {
    Metric { key, title, formula, source, unit }
}

/// Keys of the gaps λ_k − λ_{k+1}, k = 1, 2, ….
pub const GAPS: [&str; 10] =
    ["gap_1", "gap_2", "gap_3", "gap_4", "gap_5", "gap_6", "gap_7", "gap_8", "gap_9", "gap_10"];

/// Keys of the ratios λ_k / λ_{k+1}, k = 1, 2, ….
pub const RATIOS: [&str; 10] =
    ["ratio_1", "ratio_2", "ratio_3", "ratio_4", "ratio_5", "ratio_6", "ratio_7", "ratio_8", "ratio_9", "ratio_10"];

const fn gap(k: usize) -> Metric {
    row(GAPS[k - 1], "gap below the k-th eigenvalue", "λ_k − λ_{k+1}", "Sagun et al. 2016", Unit::Curvature)
}

const fn ratio(k: usize) -> Metric {
    row(RATIOS[k - 1], "ratio of consecutive eigenvalues", "λ_k / λ_{k+1}", "Sagun et al. 2016", Unit::Ratio)
}

/// All quantities of one spectrum, in the order in which they are reported.
pub const METRICS: &[Metric] = &[
    row("trace", "trace", "Σ λ_i", "Hutchinson 1990 (estimate)", Unit::Curvature),
    row("mean_curvature", "mean curvature", "Σ λ_i / p", "arXiv 2510.17486", Unit::Curvature),
    row("lambda_max", "largest eigenvalue", "λ_1", "LeCun et al. 1992", Unit::Curvature),
    row("lambda_min", "smallest eigenvalue", "λ_p", "Dauphin et al. 2014", Unit::Curvature),
    gap(1),
    gap(2),
    gap(3),
    gap(4),
    gap(5),
    gap(6),
    gap(7),
    gap(8),
    gap(9),
    gap(10),
    ratio(1),
    ratio(2),
    ratio(3),
    ratio(4),
    ratio(5),
    ratio(6),
    ratio(7),
    ratio(8),
    ratio(9),
    ratio(10),
    row("condition", "condition number", "|λ|_max / min{|λ| : |λ| > τ|λ|_max}", "arXiv 2510.17486", Unit::Ratio),
    row("condition_tau", "threshold τ", "τ, relative to |λ|_max", "chosen by the user", Unit::Ratio),
    row("condition_below", "eigenvalues below the threshold", "#{|λ| ≤ τ|λ|_max}", "definition", Unit::Count),
    row("rank_numerical", "numerical rank", "#{|λ| > τ|λ|_max}", "Golub & Van Loan, §5.4", Unit::Count),
    row("rank_energy", "energy rank", "min{k : Σ_{i≤k}|λ|_(i) ≥ 0.9 Σ|λ|}", "arXiv 2510.17486", Unit::Count),
    row("rank_stable", "stable rank", "‖H‖_F² / ‖H‖_2²", "Rudelson & Vershynin 2007", Unit::Count),
    row("rank_effective", "effective rank", "exp(−Σ a ln a)", "Roy & Vetterli 2007", Unit::Count),
    row("frobenius", "Frobenius norm", "√Σ λ²", "definition", Unit::Curvature),
    row("nuclear", "nuclear norm", "Σ |λ|", "definition", Unit::Curvature),
    row("participation_ratio", "participation ratio", "(Σ|λ|)² / Σ λ²", "Bell & Dean 1970", Unit::Count),
    row("trace_over_lambda_max", "trace over largest eigenvalue", "Σ λ_i / λ_1", "Tropp 2015, §7.1", Unit::Ratio),
    row("negative_count", "index: negative eigenvalues", "#{λ < −τ|λ|_max}", "Dauphin et al. 2014", Unit::Count),
    row(
        "negative_fraction",
        "fraction of negative eigenvalues",
        "#{λ < −τ|λ|_max} / p",
        "Dauphin et al. 2014",
        Unit::Ratio,
    ),
    row("negative_mass", "negative share of the curvature", "Σ_{λ<0}|λ| / Σ|λ|", "Ghorbani et al. 2019", Unit::Ratio),
    row("r_e", "extreme ratio r_e", "|λ_p / λ_1|", "Gabdullin 2024", Unit::Ratio),
    row(
        "k_h_half",
        "Hessian criterion K_H, n = ½",
        "Σ_{λ<0} |λω|^½ / Σ_{λ>0} (λω)^½, ω = 1/p for an exact spectrum, else the weights of the quadrature (with n ≠ 1 the \
         two are not comparable)",
        "Gabdullin 2024/25",
        Unit::Ratio,
    ),
    row(
        "outliers",
        "outliers above the largest relative gap",
        "argmax_k λ_k / max(λ_{k+1}, τ|λ|_max), k ≤ min(20, p/2)",
        "Papyan 2019",
        Unit::Count,
    ),
    row("entropy", "spectral entropy", "−Σ a ln a", "Roy & Vetterli 2007", Unit::Ratio),
    row("gini", "Gini coefficient of |λ|", "Σ_i (2i − p − 1)|λ|_(i) / (p Σ|λ|), ascending", "Gini 1912", Unit::Ratio),
    row("skewness", "skewness of the eigenvalues", "m₃ / m₂^{3/2}, m_k = Σ (λ − λ̄)^k / p", "definition", Unit::Ratio),
    row("kurtosis", "kurtosis of the eigenvalues (normal: 3)", "m₄ / m₂²", "definition", Unit::Ratio),
    row(
        "power_law_slope",
        "power-law slope",
        "least-squares slope of ln λ_k against ln k, over λ_k > τ|λ|_max",
        "Xie et al. 2022",
        Unit::Ratio,
    ),
];

/// Quantities of a block that need more than its spectrum: vectors, the gradient, weights, samples, another snapshot. Each is
/// there where it is defined.
pub const PANEL: &[Metric] = &[
    row("classes", "classes", "C, beside the outliers: theirs are C or C − 1", "Papyan 2019", Unit::Count),
    row("ratio_below_classes", "ratio above the C-th eigenvalue", "λ_{C−1} / λ_C", "Papyan 2019", Unit::Ratio),
    row("ratio_at_classes", "ratio below the C-th eigenvalue", "λ_C / λ_{C+1}", "Papyan 2019", Unit::Ratio),
    row("class_share_own", "share of gradients to the own label", "tr G_0 / tr G", "Papyan 2020", Unit::Ratio),
    row("class_share_means", "share of class means", "tr G_1 / tr G", "Papyan 2020", Unit::Ratio),
    row("class_share_cross", "share of cross-class means", "tr G_2 / tr G", "Papyan 2020", Unit::Ratio),
    row("gradient_quotient", "curvature along the gradient", "gᵀHg / gᵀg", "definition", Unit::Curvature),
    row(
        "gradient_top_share",
        "gradient in the leading eigenspace",
        "‖P_k g‖² / ‖g‖², P_k on the k largest eigenvalues",
        "Gur-Ari, Roberts & Dyer 2018",
        Unit::Ratio,
    ),
    row("gradient_top_k", "dimension of the leading eigenspace", "k: classes, at most 20", "definition", Unit::Count),
    row(
        "top_overlap",
        "overlap with the leading eigenspace before",
        "(1/k) tr(P_k P_k′), P_k′ of the previous snapshot",
        "Gur-Ari, Roberts & Dyer 2018",
        Unit::Ratio,
    ),
    row("trace_change", "change of the trace", "trace − that of the previous snapshot", "definition", Unit::Curvature),
    row(
        "frobenius_change",
        "change of the norm",
        "‖H‖_F − that of the previous snapshot",
        "definition",
        Unit::Curvature,
    ),
    row("sharpness", "sharpness", "λ_max of the whole Hessian", "Cohen et al. 2021", Unit::Curvature),
    row(
        "sharpness_preconditioned",
        "preconditioned sharpness",
        "λ_max(P^{-½} H P^{-½}), P of Adam",
        "Cohen et al. 2022",
        Unit::Curvature,
    ),
    row(
        "kronecker_residual",
        "distance from one Kronecker product",
        "‖H − E[M] ⊗ E[ẑẑᵀ]‖_F / ‖H‖_F, without the penalty",
        "Wu et al. 2020",
        Unit::Ratio,
    ),
    row("gn_gap", "GN-Gap", "‖H − G‖_F / ‖G‖_F, without the penalty", "arXiv 2604.11639", Unit::Ratio),
    row("activation_bend", "mean square of σ″ behind the layer", "E[σ″(a)²]", "arXiv 2604.11639", Unit::Ratio),
    row(
        "dead_units",
        "dead units",
        "share of units with |σ′(a)| ≤ 1e-6 for every sample",
        "Lu et al. 2020",
        Unit::Ratio,
    ),
    row("weight_norm", "weights: norm", "‖W‖_F", "definition", Unit::Ratio),
    row("weight_spectral", "weights: largest singular value", "σ_1", "definition", Unit::Ratio),
    row("weight_condition", "weights: condition number", "σ_1 / σ_min", "Martin & Mahoney 2021", Unit::Ratio),
    row("weight_rank_stable", "weights: stable rank", "‖W‖_F² / σ_1²", "Rudelson & Vershynin 2007", Unit::Count),
    row(
        "weight_entropy",
        "weights: entropy of the singular values",
        "−Σ a ln a, a = σ / Σσ",
        "Roy & Vetterli 2007",
        Unit::Ratio,
    ),
    row("weight_mean", "weights: mean of the entries", "m_1", "definition", Unit::Ratio),
    row("weight_std", "weights: standard deviation of the entries", "√m_2", "definition", Unit::Ratio),
    row("weight_skewness", "weights: skewness of the entries", "m_3 / m_2^{3/2}", "definition", Unit::Ratio),
    row("weight_kurtosis", "weights: kurtosis of the entries", "m_4 / m_2²", "definition", Unit::Ratio),
    row("gradient_norm", "gradient: norm", "‖∇W‖_F", "definition", Unit::Curvature),
    row("gradient_spectral", "gradient: largest singular value", "σ_1", "definition", Unit::Curvature),
    row("gradient_condition", "gradient: condition number", "σ_1 / σ_min", "Martin & Mahoney 2021", Unit::Ratio),
    row("gradient_rank_stable", "gradient: stable rank", "‖∇W‖_F² / σ_1²", "Rudelson & Vershynin 2007", Unit::Count),
    row(
        "gradient_entropy",
        "gradient: entropy of the singular values",
        "−Σ a ln a, a = σ / Σσ",
        "Roy & Vetterli 2007",
        Unit::Ratio,
    ),
    row("gradient_mean", "gradient: mean of the entries", "m_1", "definition", Unit::Curvature),
    row("gradient_std", "gradient: standard deviation of the entries", "√m_2", "definition", Unit::Curvature),
    row("gradient_skewness", "gradient: skewness of the entries", "m_3 / m_2^{3/2}", "definition", Unit::Ratio),
    row("gradient_kurtosis", "gradient: kurtosis of the entries", "m_4 / m_2²", "definition", Unit::Ratio),
];

/// The row of a key, in [`METRICS`] or [`PANEL`].
pub fn metric(key: &str) -> Option<&'static Metric> {
    METRICS.iter().chain(PANEL).find(|m| m.key == key)
}
