//! XTrace and XDiag: every probe serves the sketch of all the others, so that none is spent on the sketch alone.

use eigenlens_linalg::{LinearOperator, Stop};

use super::sketch::{Draw, Reduced, Sketch, product};
use super::{EstimatorError, TraceEstimate, TraceOptions, mean};
use crate::estimate::{Estimate, jackknife};
use crate::hutchinson::{Diagonal, RunningVector};

/// tr A from the mean over i of tr P_i A P_i + (n − rank P_i) uᵀAu/‖u‖², P_i the projector on A ω_j for all j ≠ i and
/// u = (I − P_i) ω_i.
///
/// Each term is unbiased, since the direction of u is uniform in the complement of P_i. For a spectrum that decays the error
/// falls as fast as that of the best approximation of A of rank m. Exact to rounding (`Invariant`) when there are more
/// probes than A has rank, or n of them.
///
/// The terms t_i are exchangeable but not independent. The spread Σ (t_i − t̄)²/(m (m − 1)) that the authors take for the
/// squared error covered 75 to 94 % where 95 were due (least for flat spectra and many probes). The standard error here
/// is that of the jackknife, the whole estimate without each probe in turn, which is not too small on average (Efron &
/// Stein 1981) and may be too large by several times where the error falls fast with m. An interval of nominally 95 % covers 97
/// to 100 %. It can't be mended from the same probes: the estimate takes all of them into every term, and no unbiased
/// estimate of its variance exists then.
///
/// Cost: 2 products per probe, 2 n · probes values of memory, about 8 n · probes² flops and, for the jackknife, 10 probes⁴.
///
/// # Errors
/// A product that is not finite, or an operator that is not symmetric.
/// # Panics
/// If n = 0, no probes are allowed or `rel_err` is not positive.
///
/// # Sources
/// Epperly, Tropp & Webber, *XTrace: Making the most of every sample in stochastic trace estimation* (2024), §2 and the
/// normalisation of §2.3; Epperly & Tropp, *Efficient error and variance estimation for randomized matrix computations*
/// (2024) (the jackknife).
///
/// ```
/// use eigenlens_hessian::estimators::{TraceOptions, xtrace::xtrace};
/// use eigenlens_linalg::operator::DenseOperator;
///
/// let a = DenseOperator::diagonal(&[3.0, 0.0, 0.0, -1.0, 0.0]);
/// let t = xtrace(&a, &TraceOptions { probes: 3, ..Default::default() }).unwrap();
/// assert!((t.trace.mean - 2.0).abs() < 1e-12);
/// ```
#[track_caller]
pub fn xtrace(a: &dyn LinearOperator, options: &TraceOptions) -> Result<TraceEstimate, EstimatorError> {
    options.check("XTrace", a.dim());
    let mut sketch = Sketch::new(a, Draw::Sphere, options.seed, options.lanes, false);
    let looks = options.looks(a.dim());
    for (look, &m) in looks.iter().enumerate() {
        sketch.grow(m)?;
        let trace = estimate(&sketch.reduced(), sketch.exhausted());
        let stop = if sketch.exhausted() {
            Some(Stop::Invariant)
        } else {
            options.stop(trace.relative(), look + 1 == looks.len())
        };
        if let Some(stop) = stop {
            return Ok(TraceEstimate { trace, products: sketch.products(), stop });
        }
    }
    unreachable!("the last look ends the run")
}

/// The estimate of each probe, by matrices of the order of their number.
///
/// With w = Q ω, c = Q A ω, g = c − H w and s the direction lost without probe i, β = s·w: u = (ω − Qᵀw) + β Qᵀs, and
/// because A ω lies in Q, uᵀAu = −w·g + 2 β g·s + β² sᵀHs.
pub(super) fn leave_one_out(sketch: &Reduced) -> Vec<f64> {
    let (n, r, trace) = (sketch.n, sketch.r, sketch.trace());
    let lost = sketch.lost_directions();
    let estimate = |i: usize| {
        let w = &sketch.inside[i * r..(i + 1) * r];
        let g: Vec<f64> = sketch.images[i].iter().zip(sketch.times_h(w)).map(|(c, hw)| c - hw).collect();
        let mut quadratic = -product(w, &g);
        let mut length = if r == n { 0.0 } else { (n as f64 - product(w, w)).max(0.0) };
        let (mut free, mut leading) = ((n - r) as f64, trace);
        if let Some(s) = &lost[i] {
            let (beta, shs) = (product(s, w), product(s, &sketch.times_h(s)));
            quadratic += beta * (2.0 * product(&g, s) + beta * shs);
            length += beta * beta;
            free += 1.0;
            leading -= shs;
        }
        // In an empty complement there is nothing to add.
        if length > 0.0 { leading + free * quadratic / length } else { leading }
    };
    (0..sketch.images.len()).map(estimate).collect()
}

/// Their mean with its jackknife error; with that of their spread, which is rounding, if Q holds the range of A.
fn estimate(sketch: &Reduced, exhausted: bool) -> Estimate {
    let samples = leave_one_out(sketch);
    if exhausted {
        return Estimate::from_samples(&samples);
    }
    jackknife(samples.len(), |skip| match skip {
        None => mean(&samples),
        Some(i) => mean(&leave_one_out(&sketch.without(i))),
    })
}

/// A diagonal and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct DiagonalEstimate {
    /// Each A_ii with its standard error.
    pub diagonal: Diagonal,
    /// Products used.
    pub products: usize,
    /// As [`TraceEstimate::stop`].
    pub stop: Stop,
}

/// diag A from the mean over i of diag(P_i A) + ω_i ∘ (I − P_i) A ω_i, P_i the projector on A ω_j for all j ≠ i and ω_i
/// random signs.
///
/// Unbiased, and exact to rounding (`Invariant`) when there are more probes than A has rank. The standard errors are the
/// authors', from the spread of the terms, which are not independent: they are **too small**, by 5 to 40 % where we
/// measured, so that an interval of nominally 95 % covered 77 to 92 %:
/// don't give it as one of 95 %. `rel_err` bounds ‖standard errors‖₂/‖diagonal‖₂. For an operator that is diagonal
/// already, or nearly so, [`hutchinson`](crate::hutchinson::hutchinson) needs fewer products: one, if it is.
///
/// Cost: 2 products per probe, 3 n · probes values of memory and about 10 n · probes² flops.
///
/// # Errors
/// A product that is not finite, or an operator that is not symmetric.
/// # Panics
/// If n = 0, no probes are allowed or `rel_err` is not positive.
///
/// # Sources
/// Epperly, Tropp & Webber 2024, §2.4 (XDiag).
#[track_caller]
pub fn xdiag(a: &dyn LinearOperator, options: &TraceOptions) -> Result<DiagonalEstimate, EstimatorError> {
    options.check("XDiag", a.dim());
    let mut sketch = Sketch::new(a, Draw::Signs, options.seed, options.lanes, true);
    let looks = options.looks(a.dim());
    for (look, &m) in looks.iter().enumerate() {
        sketch.grow(m)?;
        let diagonal = diagonal(&sketch);
        let norm = eigenlens_linalg::reduce::norm2::<f64>;
        let error = norm(&diagonal.sem);
        let relative = if error == 0.0 { 0.0 } else { error / norm(&diagonal.mean) };
        let exact = sketch.range.rank() == sketch.n || sketch.exhausted() && error <= sketch.range.tolerance();
        let stop = if exact { Some(Stop::Invariant) } else { options.stop(relative, look + 1 == looks.len()) };
        if let Some(stop) = stop {
            return Ok(DiagonalEstimate { diagonal, products: sketch.products(), stop });
        }
    }
    unreachable!("the last look ends the run")
}

/// Since A ω_i = Qᵀ c_i, (I − P_i) A ω_i is Qᵀs (s·c_i), and P_i A loses Qᵀs (A Qᵀs)ᵀ against QᵀQ A.
fn diagonal(sketch: &Sketch) -> Diagonal {
    let n = sketch.n;
    let images = sketch.images.as_ref().expect("XDiag keeps the images");
    let mut whole = vec![0.0; n];
    for (q, z) in sketch.range.rows().chunks_exact(n).zip(images.chunks_exact(n)) {
        whole.iter_mut().zip(q.iter().zip(z)).for_each(|(d, (q, z))| *d += q * z);
    }
    let mut samples = RunningVector::new(n);
    let reduced = sketch.reduced();
    for (i, lost) in reduced.lost_directions().iter().enumerate() {
        let Some(s) = lost else {
            samples.push(|j| whole[j]);
            continue;
        };
        let (x, mut y) = (sketch.range.combine(s), vec![0.0; n]);
        for (s, z) in s.iter().zip(images.chunks_exact(n)) {
            eigenlens_linalg::reduce::axpy(*s, z, &mut y);
        }
        let (omega, step) = (&sketch.omega[i * n..(i + 1) * n], product(s, &reduced.images[i]));
        samples.push(|j| whole[j] + x[j] * (omega[j] * step - y[j]));
    }
    samples.finish()
}
