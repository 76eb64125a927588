//! Hutch++: the trace of the leading part of an operator exactly, the rest by random signs.

use eigenlens_linalg::probes::rademacher;
use eigenlens_linalg::range::Range;
use eigenlens_linalg::reduce::dot;
use eigenlens_linalg::{LinearOperator, Stop};

use super::{EstimatorError, Products, TraceEstimate};
use crate::estimate::Running;

/// How many probes for the sketch and for the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HutchPlusPlusOptions {
    /// Columns of the sketch, two products each; never more than n. 0 is Hutchinson's estimator.
    pub sketch: usize,
    /// Probes at most for the rest, one product each.
    pub probes: usize,
    /// Stop once the standard error is at most this share of the trace's absolute value. `None`: use all probes.
    pub rel_err: Option<f64>,
    /// Probe i of the rest is a function of (seed, i), the same as Hutchinson's; column i of the sketch another.
    pub seed: u64,
    /// Columns per product; `None`: as many as suit the operator. It changes speed and memory, not the result.
    pub lanes: Option<usize>,
}

impl Default for HutchPlusPlusOptions {
    fn default() -> Self {
        HutchPlusPlusOptions { sketch: 16, probes: 32, rel_err: None, seed: 0, lanes: None }
    }
}

/// The streams of the sketch begin here: beyond those of any number of probes.
const SKETCH: u64 = 1 << 40;
/// An adaptive run looks at its error after every so many probes, first after two rounds, as
/// [`hutchinson`](crate::hutchinson::hutchinson) does and for its reasons.
const ROUND: usize = 8;

/// tr A = tr QᵀAQ + tr (I − QQᵀ) A (I − QQᵀ), Q an orthonormal basis of A S for random signs S: the first term exactly, the
/// second by Hutchinson's estimator with probes independent of Q.
///
/// Given Q the samples are independent, and unbiased; so is the result. With Q as good as 2 k leading eigenvectors the
/// variance is 2/probes times the squared Frobenius norm of what they leave, instead of that of A. The standard error is
/// that of the samples. Exact to rounding (`Invariant`, standard error about 1e-15 of ‖A‖) when the sketch has at least
/// as many columns as A has rank.
///
/// Cost: 2 · sketch + probes products, n (sketch + 2 · lanes) values of memory, 4 n sketch² flops for the basis and
/// 4 n · sketch per probe.
///
/// # Errors
/// A product that is not finite, or an operator that is not symmetric.
/// # Panics
/// If n = 0, no probes are allowed or `rel_err` is not positive.
///
/// # Sources
/// Meyer, Musco, Musco & Woodruff, *Hutch++: Optimal stochastic trace estimation* (2021), algorithm 1.
///
/// ```
/// use eigenlens_hessian::estimators::hutchpp::{HutchPlusPlusOptions, hutch_plus_plus};
/// use eigenlens_linalg::operator::DenseOperator;
///
/// let a = DenseOperator::new(3, vec![1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 3.0, 6.0, 9.0]);
/// // Rank one: any sketch is the whole range.
/// let t = hutch_plus_plus(&a, &HutchPlusPlusOptions::default()).unwrap();
/// assert!((t.trace.mean - 14.0).abs() < 1e-12);
/// ```
#[track_caller]
pub fn hutch_plus_plus(
    a: &dyn LinearOperator,
    options: &HutchPlusPlusOptions,
) -> Result<TraceEstimate, EstimatorError> {
    let n = a.dim();
    assert!(n > 0, "Hutch++ of an operator of dimension 0");
    assert!(options.probes > 0, "Hutch++: no probes");
    assert!(options.rel_err.is_none_or(|e| e > 0.0), "Hutch++: relative error {:?}", options.rel_err);
    let mut products = Products::new(a, options.lanes);
    let sketch = options.sketch.min(n);
    let range = basis(&mut products, options.seed, sketch, n)?;
    let leading = leading_trace(&mut products, &range)?;
    let whole = range.rank() == n;

    let mut samples = Running::default();
    let mut done = 0;
    loop {
        let count = if options.rel_err.is_some() { ROUND } else { options.probes }.min(options.probes - done);
        let from = done;
        // No more probes in memory than one product takes.
        for first in (0..count).step_by(products.lanes) {
            let k = products.lanes.min(count - first);
            let mut x = signs(options.seed, (from + first) as u64, k, n);
            x.chunks_exact_mut(n).for_each(|x| range.remove_from(x));
            // In the empty complement there is only rounding, which is no sample of anything.
            let y = if whole { vec![0.0; k * n] } else { products.of(&x)? };
            for (x, y) in x.chunks_exact(n).zip(y.chunks_exact(n)) {
                samples.push(dot(x, y));
            }
        }
        done += count;
        let mut trace = samples.estimate();
        trace.mean += leading;
        let last = done == options.probes;
        let reached = options.rel_err.is_some_and(|e| done >= 2 * ROUND && trace.relative() <= e);
        if whole || reached || last {
            let exact = whole || range.rank() < sketch && trace.sem <= range.tolerance();
            let stop = match options.rel_err {
                _ if exact => Stop::Invariant,
                Some(_) if !reached => Stop::MaxSteps,
                _ => Stop::Converged,
            };
            return Ok(TraceEstimate { trace, products: products.made, stop });
        }
    }
}

/// An orthonormal basis of A S.
pub(super) fn basis(products: &mut Products, seed: u64, sketch: usize, n: usize) -> Result<Range, EstimatorError> {
    let mut range = Range::new(n);
    for first in (0..sketch).step_by(products.lanes) {
        let k = products.lanes.min(sketch - first);
        let y = products.of(&signs(seed, SKETCH + first as u64, k, n))?;
        y.chunks_exact(n).for_each(|y| {
            range.push(y);
        });
    }
    Ok(range)
}

/// tr Q A Qᵀ, after a look at the symmetry of neighbouring rows.
pub(super) fn leading_trace(products: &mut Products, range: &Range) -> Result<f64, EstimatorError> {
    let n = products.a.dim();
    let (mut trace, mut largest, mut difference) = (0.0, 0.0f64, 0.0f64);
    // (last row of the chunk before, its product)
    let mut before: Option<(usize, Vec<f64>)> = None;
    for first in (0..range.rank()).step_by(products.lanes) {
        let k = products.lanes.min(range.rank() - first);
        let y = products.of(&range.rows()[first * n..(first + k) * n])?;
        for (i, y) in y.chunks_exact(n).enumerate() {
            let p = first + i;
            let value = dot(range.row(p), y);
            trace += value;
            largest = largest.max(dot(y, y).sqrt());
            if let Some((q, z)) = &before {
                difference = difference.max((dot(range.row(*q), y) - dot(range.row(p), z)).abs());
            }
            before = Some((p, y.to_vec()));
        }
    }
    super::symmetric(difference, largest)?;
    Ok(trace)
}

fn signs(seed: u64, first: u64, count: usize, n: usize) -> Vec<f64> {
    let mut x = vec![0.0; count * n];
    for (i, x) in x.chunks_exact_mut(n).enumerate() {
        rademacher(seed, first + i as u64, x);
    }
    x
}
