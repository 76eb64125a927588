//! The user's own network, checked at run time: identities that its loss, gradient, products and spectra must satisfy.
//!
//! Nothing is compared with stored numbers. What the library computes (in uneven batches, by pruned plans, by structure, by
//! Krylov methods) is held to Taylor remainders, to symmetries, to one plain pass over all samples at once, and to dense
//! matrices: of a shrunken clone if the network is a multilayer perceptron, else of the network itself or its smallest
//! layers. Every row states its error and the bound it is held to; what can't be checked has a row that says why.
//!
//! | file | what |
//! |---|---|
//! | `subject` | what is looked at, behind closures, so that tests can put defects in its place; the plain pass |
//! | `network` | rows on the network itself |
//! | `wiring` | which layer reads which, at which nodes; where a block is its Gauss–Newton block |
//! | `kinks` | the samples, and a point where none of them lies on a kink |
//! | `clone` | the shrunken clone of a multilayer perceptron |
//! | `dense` | rows on dense matrices |
//! | `ends` | Krylov methods on operators on which others hang, crash or invent eigenvalues |

mod clone;
mod dense;
mod ends;
mod kinks;
mod network;
mod subject;
#[cfg(test)]
mod tests;
mod wiring;

use eigenlens_autodiff::check::Report;
use eigenlens_nets::objective::SampleError;
use eigenlens_nets::{Model, Samples};

use subject::Subject;

/// How much to check, and from which seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Seed of all random directions.
    pub seed: u64,
    /// Samples used at most, spread evenly over those given. Default 48: enough for uneven batches, and few enough that the
    /// steps of the Taylor tests rarely carry a sample over the kink of a piecewise linear activation. (Wide networks with
    /// kinks take fewer for that reason.)
    pub rows: usize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        VerifyOptions { seed: 0, rows: 48 }
    }
}

/// Factors c of the checks H(cL) = cH: from losses of well-fitted networks to sums over large sets.
const SCALES: [f64; 6] = [1e-7, 1e-5, 1e-3, 1e3, 1e5, 1e7];

/// Checks a network at θ on some of its samples. A penalty is part of all that is checked; running averages are those
/// before training.
///
/// If θ puts a sample on the kink of a piecewise activation (zero biases with a zero input do) or unusually close to one,
/// the rows on the network are taken at a point nearby, and say so: there are no derivatives at a kink.
///
/// Cost: about 110 gradients on `rows` samples, up to 1,500 products where the network is that small, and less than a
/// second for the clone, or less than a few minutes for the dense matrices of a network that is not shrunk. Memory: a few vectors of P values, and the M_n of one layer up to 64 MB.
///
/// # Errors
/// If the samples don't fit the network.
/// # Panics
/// If θ has the wrong length.
#[track_caller]
pub fn verify(
    model: &Model<f64>,
    theta: &[f64],
    samples: &Samples,
    options: &VerifyOptions,
) -> Result<Report, SampleError> {
    verify_with(model, theta, samples, options, &|sound| sound)
}

/// [`verify`] on what `defect` makes of the sound subject.
fn verify_with(
    model: &Model<f64>,
    theta: &[f64],
    samples: &Samples,
    options: &VerifyOptions,
    defect: &dyn for<'s> Fn(Subject<'s>) -> Subject<'s>,
) -> Result<Report, SampleError> {
    assert_eq!(theta.len(), model.len(), "length of θ");
    samples.check(model)?;
    let chosen = kinks::spread(model, samples, options.rows);
    let point = kinks::off_kinks(model, theta, &chosen, options.seed)?;
    let mut report = Report::default();
    let whole = defect(Subject::new("network", model, &chosen, &point.theta)?);
    network::check(&mut report, &whole, options.seed, point.moved);
    if model.spec().is_mlp() {
        let small = clone::Shrunken::new(model, &chosen, options.seed);
        let clone = defect(Subject::new("clone", &small.model, &small.samples, &small.theta)?);
        dense::clone(&mut report, &clone, options.seed);
    } else {
        dense::network(&mut report, &whole, options.seed);
    }
    ends::check(&mut report, &whole, options.seed);
    Ok(report)
}

/// ‖a − b‖; NaN if either holds one.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

fn norm(a: &[f64]) -> f64 {
    a.iter().map(|a| a * a).sum::<f64>().sqrt()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The larger one, NaN if either is: f64::max would drop it.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}
