//! From one symmetric operator to its report: all eigenvalues where they can be had, else extreme pairs and quadratures.

use eigenlens_linalg::dense::{self, DenseError};
use eigenlens_linalg::eigs::{self, Eigs, eigs_from};
use eigenlens_linalg::operator::to_dense;
use eigenlens_linalg::{LinearOperator, Stop};

use crate::estimate::{Quantity, Uncertainty};
use crate::estimators::deflation::Deflation;
use crate::hutchinson::{HutchinsonOptions, hutchinson};
use crate::metrics::{self, MetricOptions};
use crate::slq::{SlqError, SlqOptions, SlqResult, slq};
use crate::spectrum::{Pair, Spectrum};

/// How much may be spent on a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockOptions {
    /// Order of the largest matrix whose eigenvalues are all computed: the block, or the Gram matrix of a block whose rank is
    /// known to be low. Default 2,100: p² values are 35 MB and the eigenvalues take about a second.
    pub exact_max: usize,
    /// Beyond `exact_max`: how many of the largest eigenvalues. Default 21, one more than the most outliers looked for.
    pub top: usize,
    /// Beyond `exact_max`: how many of the smallest eigenvalues. Default 1: the lower end of a block is crowded, often
    /// with zeros, and only λ_p is needed.
    pub bottom: usize,
    /// A pair is accepted when ‖Hv − λv‖ is at most this times ‖H‖. Default 1e-8.
    pub pair_tolerance: f64,
    /// Products at most for the pairs of each end, which come from one run. Default 1,000.
    pub pair_products: usize,
    /// Whether to keep the eigenvectors of the pairs, p values each, in [`BlockReport::pairs`]. Default no.
    pub keep_vectors: bool,
    /// Beyond `exact_max`: the quadrature of the whole spectrum; with no probes there is none. Its seed also starts the search
    /// for pairs.
    pub slq: SlqOptions,
    /// Beyond `exact_max`: further probes for trace and Frobenius norm, until an error is reached. `None`: those of the
    /// quadrature serve, with the pairs taken exactly ([`Deflation`]).
    pub trace: Option<HutchinsonOptions>,
    /// How many of the leading eigenvectors to keep ([`BlockReport::leading`]), p values each. Default 0.
    pub vectors: usize,
    /// Thresholds.
    pub metrics: MetricOptions,
}

impl Default for BlockOptions {
    fn default() -> Self {
        let metrics = MetricOptions::default();
        BlockOptions {
            exact_max: 2100,
            top: metrics.leading + 1,
            bottom: 1,
            pair_tolerance: 1e-8,
            pair_products: 1000,
            keep_vectors: false,
            slq: SlqOptions::default(),
            trace: None,
            vectors: 0,
            metrics,
        }
    }
}

/// How the spectrum was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// All eigenvalues of a matrix that was assembled from structure (a sum of Kronecker products) and handed in.
    DenseKronecker,
    /// All eigenvalues of a matrix made of p products with unit vectors.
    DenseProducts,
    /// All eigenvalues from a Gram matrix of the order of the block's rank.
    Gram,
    /// None: the matrix is zero by structure, whatever the weights and the data.
    Zero,
    /// Extreme pairs by Lanczos, the rest by stochastic Lanczos quadrature.
    Krylov,
    /// No eigenvalues: trace and Frobenius norm from random signs.
    Hutchinson,
}

impl Route {
    /// A short word for tables and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Route::DenseKronecker => "dense-kronecker",
            Route::DenseProducts => "dense-products",
            Route::Gram => "gram",
            Route::Zero => "identically zero",
            Route::Krylov => "krylov",
            Route::Hutchinson => "hutchinson",
        }
    }
}

/// An iteration of the Krylov route and why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageStop {
    /// `"density"` (adaptive probes of the quadrature), `"pairs"` or `"trace"` (further probes).
    pub stage: &'static str,
    /// Why it ended. `MaxSteps`: the residuals or standard errors say how far it got.
    pub stop: Stop,
}

/// The evidence for the extreme pairs of the Krylov route.
#[derive(Clone, Debug, PartialEq)]
pub struct PairSearch {
    /// Products that the search took.
    pub products: usize,
    /// Random searches in the complement of the pairs that found nothing more; see [`eigs::Options::checks`].
    pub checks: usize,
    /// max |QᵀQ − I| over the eigenvectors, measured: far above rounding it would mean a pair found twice.
    pub orthogonality: f64,
    /// For each pair an interval that holds its eigenvalue ([`eigs::Eigs::interval`]): the largest first, descending, then
    /// the smallest, ascending.
    pub intervals: Vec<(f64, f64)>,
    /// The unit eigenvectors in the same order, one after the other, if they were to be kept.
    pub vectors: Vec<f64>,
}

/// Everything about one block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockReport {
    /// Name of the block.
    pub name: String,
    /// p, its number of parameters.
    pub parameters: usize,
    /// How the spectrum was found.
    pub route: Route,
    /// The spectrum.
    pub spectrum: Spectrum,
    /// The quantities that are defined and known, in the order of [`METRICS`](metrics::METRICS).
    pub quantities: Vec<Quantity>,
    /// The largest eigenvalues with their vectors, one pair more than [`BlockOptions::vectors`] (or all p) to know the gap
    /// below them; `None` if none were asked for or the block vanishes.
    pub leading: Option<Eigs>,
    /// Why each iteration ended; empty for the dense routes.
    pub stops: Vec<StageStop>,
    /// How the extreme pairs were found; `None` if there was no search.
    pub pairs: Option<PairSearch>,
    /// Products with the operator that were used here.
    pub products: usize,
    /// max |h_ij − h_ji| / max |h_ij| of a dense block before it was symmetrised, a check of the products; `None` for
    /// [`Route::Krylov`] and [`Route::Gram`].
    pub asymmetry: Option<f64>,
}

impl BlockReport {
    /// The report of a spectrum that was found without products.
    ///
    /// # Panics
    /// By impossible options.
    #[track_caller]
    pub fn of_spectrum(name: &str, route: Route, spectrum: Spectrum, options: &MetricOptions) -> Self {
        BlockReport {
            name: name.to_owned(),
            parameters: spectrum.dim(),
            route,
            quantities: metrics::quantities(&spectrum, options),
            spectrum,
            leading: None,
            stops: Vec::new(),
            pairs: None,
            products: 0,
            asymmetry: None,
        }
    }

    /// The quantity of a key. `None` if it is undefined or unknown.
    pub fn get(&self, key: &str) -> Option<&Quantity> {
        metrics::get(&self.quantities, key)
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<f64> {
        self.get(key).map(|q| q.value)
    }

    /// Puts a better value in the place of a quantity, such as a trace that is known exactly from structure.
    ///
    /// # Panics
    /// If the name is not a key of [`METRICS`](metrics::METRICS) or the value is not finite.
    #[track_caller]
    pub fn replace(&mut self, quantity: Quantity) {
        assert!(quantity.value.is_finite(), "{} = {}", quantity.name, quantity.value);
        let place = |q: &Quantity| metrics::METRICS.iter().position(|m| m.key == q.name);
        assert!(place(&quantity).is_some(), "{:?} is not a quantity of a spectrum", quantity.name);
        self.quantities.retain(|q| q.name != quantity.name);
        self.quantities.push(quantity);
        self.quantities.sort_by_key(place);
    }
}

/// Why a block has no report.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BlockError {
    /// p = 0.
    #[error("block {block:?} has no parameters")]
    Empty {
        /// Name of the block.
        block: String,
    },
    /// The dense matrix has NaN or infinity, is not symmetric, or its eigenvalues did not converge.
    #[error("block {block:?}: {source}")]
    Dense {
        /// Name of the block.
        block: String,
        /// What is wrong.
        source: DenseError,
    },
    /// The quadratures failed.
    #[error("block {block:?}: {source}")]
    Slq {
        /// Name of the block.
        block: String,
        /// What is wrong.
        source: SlqError,
    },
    /// An iteration met NaN, infinity or an unsymmetric operator.
    #[error("block {block:?}: {} while computing {stage} ({stop})", reason(*.stop))]
    Iteration {
        /// Name of the block.
        block: String,
        /// As in [`StageStop`].
        stage: &'static str,
        /// `NonFinite` or `NotSymmetric`.
        stop: Stop,
    },
}

fn reason(stop: Stop) -> &'static str {
    match stop {
        Stop::NotSymmetric => "the operator is not symmetric",
        _ => "the operator returned NaN or infinity",
    }
}

/// Spectrum and quantities of one block.
///
/// - With `dense` (p × p, p² values): all its eigenvalues, whatever its size.
/// - p ≤ `exact_max`: all eigenvalues of the matrix made of p products.
/// - else: extreme pairs with recomputed residuals and quadratures with standard errors. What these can't give is left out.
///
/// # Errors
/// No parameters; NaN or infinity; an operator that is not symmetric. The error names the block.
/// # Panics
/// If `dense` doesn't hold p² values, or by impossible options.
///
/// ```
/// use eigenlens_hessian::block::{BlockOptions, Route, analyze_block};
/// use eigenlens_linalg::operator::DenseOperator;
///
/// let h = DenseOperator::diagonal(&[3.0, 1.0, -1.0]);
/// let report = analyze_block("layer 1", &h, None, &BlockOptions::default()).unwrap();
/// assert_eq!((report.route, report.value("lambda_max")), (Route::DenseProducts, Some(3.0)));
/// ```
#[track_caller]
pub fn analyze_block(
    name: &str,
    a: &dyn LinearOperator,
    dense: Option<Vec<f64>>,
    options: &BlockOptions,
) -> Result<BlockReport, BlockError> {
    analyze_block_from(name, a, dense, &[], options)
}

/// As [`analyze_block`]; the search for extreme pairs begins with given vectors, stored one after the other, such as the
/// eigenvectors of the same block at the snapshot before ([`BlockOptions::keep_vectors`]). They change what it costs and
/// the last digits, within the residuals.
///
/// # Errors
/// As [`analyze_block`].
/// # Panics
/// As [`analyze_block`], or if `starts.len()` is not a multiple of `a.dim()`.
#[track_caller]
pub fn analyze_block_from(
    name: &str,
    a: &dyn LinearOperator,
    dense: Option<Vec<f64>>,
    starts: &[f64],
    options: &BlockOptions,
) -> Result<BlockReport, BlockError> {
    let p = a.dim();
    if p == 0 {
        return Err(BlockError::Empty { block: name.to_owned() });
    }
    match dense {
        Some(entries) => {
            assert_eq!(entries.len(), p * p, "block {name:?}: a dense matrix of order {p}");
            from_dense(name, p, &entries, Route::DenseKronecker, options)
        }
        None if p <= options.exact_max => from_dense(name, p, &to_dense(a), Route::DenseProducts, options),
        None => from_krylov(name, a, starts, options),
    }
}

fn from_dense(
    name: &str,
    p: usize,
    entries: &[f64],
    route: Route,
    options: &BlockOptions,
) -> Result<BlockReport, BlockError> {
    let eigenvalues =
        dense::eigenvalues(p, entries).map_err(|source| BlockError::Dense { block: name.to_owned(), source })?;
    let report = BlockReport::of_spectrum(name, route, Spectrum::exact(eigenvalues), &options.metrics);
    Ok(BlockReport {
        products: if route == Route::DenseProducts { p } else { 0 },
        asymmetry: Some(dense::asymmetry(p, entries).relative),
        ..report
    })
}

/// Eigenvalues nearer than this times the largest count as one that is multiple.
const TIED: f64 = 1e-6;

fn from_krylov(
    name: &str,
    a: &dyn LinearOperator,
    starts: &[f64],
    options: &BlockOptions,
) -> Result<BlockReport, BlockError> {
    let p = a.dim();
    let block = || name.to_owned();
    let rules = match options.slq.probes {
        0 => SlqResult { dim: p, quadratures: Vec::new(), products: 0, stop: Stop::Converged },
        _ => slq(a, &options.slq).map_err(|source| BlockError::Slq { block: block(), source })?,
    };
    let mut products = rules.products;
    let mut stops = Vec::new();
    if options.slq.rel_err.is_some() {
        stops.push(StageStop { stage: "density", stop: rules.stop });
    }
    let mut record = |stage, stop| {
        if matches!(stop, Stop::NonFinite | Stop::NotSymmetric) {
            return Err(BlockError::Iteration { block: block(), stage, stop });
        }
        stops.push(StageStop { stage, stop });
        Ok(())
    };
    let (mut top, mut bottom, mut search, mut deflation) = (Vec::new(), Vec::new(), None, None);
    let mut leading = None;
    if options.top + options.bottom > 0 {
        let ends = usize::from(options.top > 0) + usize::from(options.bottom > 0);
        let limits = eigs::Options {
            tol: options.pair_tolerance,
            max_products: ends * options.pair_products,
            seed: options.slq.seed,
            ..eigs::Options::ends(options.top, options.bottom)
        };
        let found = eigs_from(a, starts, &limits);
        products += found.products;
        record("pairs", found.stop)?;
        let pair = |i: usize| Pair { value: found.values[i], residual: found.residuals[i] };
        let count = found.values.len();
        // Of a spectrum that is known as a whole either end takes its share; of an unfinished search what there is.
        let upper = options.top.min(found.upper);
        let lower = options.bottom.min(if count == p { count } else { count - upper });
        let order: Vec<usize> = (0..upper).chain((count - lower..count).rev()).collect();
        top = order[..upper].iter().map(|&i| pair(i)).collect();
        bottom = order[upper..].iter().map(|&i| pair(i)).collect();
        // No index twice, where the ends overlap.
        let mut known: Vec<usize> = (0..upper).chain((count - lower).max(upper)..count).collect();
        if count < p {
            // Of a multiple eigenvalue that was found in part, the vectors are any: taken exactly, they would make the sums depend
            // on rounding. Only the innermost values can have more of their kind.
            let size = found.values.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            let inner = [(upper > 0).then(|| upper - 1), (lower > 0).then(|| count - lower)];
            let inner = inner.map(|i| i.map_or(f64::INFINITY, |i| found.values[i]));
            known.retain(|&i| inner.iter().all(|x| (found.values[i] - x).abs() > TIED * size));
        }
        let of_known = |f: &dyn Fn(usize) -> Vec<f64>| known.iter().flat_map(|&i| f(i)).collect::<Vec<f64>>();
        let (values, vectors) = (of_known(&|i| vec![found.values[i]]), of_known(&|i| found.vector(i).to_vec()));
        // Without probes there are no samples to take the known pairs out of.
        let probes = rules.quadratures.len();
        deflation = (probes > 0).then(|| Deflation::new(p, &values, &vectors, &options.slq, probes));
        let kept = if options.keep_vectors { &order[..] } else { &[] };
        search = Some(PairSearch {
            products: found.products,
            checks: found.checks,
            orthogonality: found.orthogonality,
            intervals: order.iter().map(|&i| found.interval(i)).collect(),
            vectors: kept.iter().flat_map(|&i| found.vector(i)).copied().collect(),
        });
        if options.vectors > 0 && found.upper > options.vectors.min(p - 1) {
            leading = Some(first_pairs(found, options.vectors + 1));
        }
    }
    let more = options.trace.map(|o| hutchinson(a, &o));
    if let Some(h) = &more {
        products += h.products;
        record("trace", h.stop)?;
    }
    // From samples in which the known pairs have no spread, or from more probes, whichever spread less.
    let deflated = deflation.map(|d| (rules.deflated_trace_of(&d, |x| x), rules.deflated_trace_of(&d, |x| x * x)));
    let probed = more.map(|h| (h.trace, h.frobenius_squared));
    let sums = match (probed, deflated) {
        (Some(probed), Some(deflated)) if deflated.0.sem < probed.0.sem => Some(deflated),
        (probed, deflated) => probed.or(deflated),
    };
    let spectrum = Spectrum::Quadrature { dim: p, probes: rules.quadratures, top, bottom };
    let mut report = BlockReport {
        name: block(),
        parameters: p,
        route: Route::Krylov,
        quantities: metrics::quantities(&spectrum, &options.metrics),
        spectrum,
        leading,
        stops,
        pairs: search,
        products,
        asymmetry: None,
    };
    if let Some((trace, squares)) = sums {
        let mut put = |name, value: f64, sem| {
            let uncertainty = Some(Uncertainty::StandardError { sem, samples: trace.samples });
            report.replace(Quantity { name, value, uncertainty });
        };
        put("trace", trace.mean, trace.sem);
        put("mean_curvature", trace.mean / p as f64, trace.sem / p as f64);
        // δ√s = δs / 2√s. Deflated samples of a square may be below zero, their mean only by chance.
        if squares.mean >= 0.0 {
            let norm = squares.mean.sqrt();
            put("frobenius", norm, if norm == 0.0 { 0.0 } else { squares.sem / (2.0 * norm) });
        }
    }
    Ok(report)
}

/// The first k pairs of a list.
fn first_pairs(mut found: Eigs, k: usize) -> Eigs {
    let n = found.vectors.len() / found.values.len().max(1);
    found.values.truncate(k);
    found.residuals.truncate(k);
    found.upper = found.upper.min(k);
    found.vectors.truncate(k * n);
    found.vectors.shrink_to_fit();
    found
}

#[cfg(test)]
mod tests;
