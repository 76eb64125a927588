//! Krylov methods on operators with exact breakdowns: they must end, for the right reason, with the right values.

use eigenlens_autodiff::check::Report;
use eigenlens_linalg::eigs::{self, End, eigs};
use eigenlens_linalg::operator::DenseOperator;
use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::{LinearOperator, Stop};

use super::distance;
use super::subject::Subject;

/// Order of the operators.
const N: usize = 40;

/// I, 0, rank r and others, by their eigenvalues on the unit vectors rotated by a reflection.
fn reflected(values: &[f64], seed: u64) -> DenseOperator {
    let n = values.len();
    let u = Distribution::Sphere.probe(seed, 0, n);
    // (I − 2uuᵀ) D (I − 2uuᵀ).
    let q = |i: usize, j: usize| f64::from(u8::from(i == j)) - 2.0 * u[i] * u[j];
    let entries = (0..n * n)
        .map(|at| {
            let (i, j) = (at / n, at % n);
            (0..n).map(|k| q(i, k) * values[k] * q(j, k)).sum()
        })
        .collect();
    DenseOperator::new(n, entries)
}

struct Broken;

impl LinearOperator for Broken {
    fn dim(&self) -> usize {
        N
    }

    fn apply(&self, _k: usize, x: &[f64], y: &mut [f64]) {
        y.copy_from_slice(x);
        y[0] = f64::NAN;
    }
}

pub(super) fn check(report: &mut Report, s: &Subject<'_>, seed: u64) {
    let rank = |r: usize| -> Vec<f64> { (0..N).map(|i| if i < r { (r - i) as f64 } else { 0.0 }).collect() };
    let mut skew = vec![0.0; N * N];
    (0..N).for_each(|i| skew[i * N + (i + 1) % N] = 1.0);
    // The same length along every eigenvector of the reflected operators: a random start may have almost nothing along one
    // of them, and what rounding makes of that takes a step of its own.
    let u = Distribution::Sphere.probe(seed, 0, N);
    let along: f64 = u.iter().sum();
    let start: Vec<f64> = u.iter().map(|x| 1.0 - 2.0 * along * x).collect();
    // Each with the steps that Lanczos may take: the number of distinct eigenvalues.
    let cases: [(&'static str, &dyn LinearOperator, Stop, usize); 6] = [
        ("Lanczos ends on the identity", &DenseOperator::diagonal(&[1.0; N]), Stop::Invariant, 1),
        ("Lanczos ends on zero", &DenseOperator::diagonal(&[0.0; N]), Stop::Invariant, 1),
        ("Lanczos ends on rank 1", &reflected(&rank(1), seed), Stop::Invariant, 2),
        ("Lanczos ends on rank 3", &reflected(&rank(3), seed), Stop::Invariant, 4),
        ("Lanczos refuses NaN", &Broken, Stop::NonFinite, 0),
        ("Lanczos refuses asymmetry", &DenseOperator::new(N, skew), Stop::NotSymmetric, N),
    ];
    for (check, a, stop, steps) in cases {
        let run = (s.lanczos)(a, &start, N);
        let right = run.stop == stop && run.steps <= steps;
        let detail = format!("{} after {} steps", run.stop, run.steps);
        report.at_most(check, "Krylov", if right { 0.0 } else { 1.0 }, 0.0, detail);
    }
    // From an eigenvector one step is enough, and the node is its eigenvalue.
    let unit: Vec<f64> = (0..N).map(|i| f64::from(u8::from(i == 4))).collect();
    let values: Vec<f64> = (0..N).map(|i| i as f64).collect();
    let run = (s.lanczos)(&DenseOperator::diagonal(&values), &unit, N);
    let error = if run.nodes.len() == 1 { (run.nodes[0] - 4.0).abs() } else { f64::NAN };
    report.at_most("Lanczos from an eigenvector", "Krylov", error, 4.0 * f64::EPSILON, format!("{}", run.stop));
    // Copies that a single Krylov space can't see are found; ghosts that lost orthogonality would add are not.
    let mut values = vec![0.0; N];
    values[..5].copy_from_slice(&[2.0, 2.0, 2.0, 1.0, -1.0]);
    let repeated = reflected(&values, seed);
    let tol = 1e-11;
    let found = eigs(&repeated, &eigs::Options { tol, dense_up_to: 0, seed, ..eigs::Options::new(5, End::Largest) });
    let error = if found.values.len() == 5 { distance(&found.values, &[2.0, 2.0, 2.0, 1.0, 0.0]) } else { f64::NAN };
    let bound = tol * 2.0 * 5f64.sqrt() + 8.0 * N as f64 * f64::EPSILON;
    let detail = format!("{} after {} products", found.stop, found.products);
    report.at_most("repeated eigenvalues are all found, once each", "Krylov", error, bound, detail);
    // Ritz values of a run much longer than the spectrum is wide: no copies of the outliers.
    let spread: Vec<f64> =
        (0..4 * N).map(|i| if i < 4 { 10.0 * (i + 1) as f64 } else { 0.01 * (i as f64 * 1.7).sin() }).collect();
    let start = Distribution::Gaussian.probe(seed, 2, spread.len());
    let run = (s.lanczos)(&DenseOperator::diagonal(&spread), &start, 2 * N);
    let outliers = run.nodes.iter().filter(|&&x| x > 1.0).count();
    report.at_most(
        "no ghost eigenvalues",
        "Krylov",
        (outliers as f64 - 4.0).abs(),
        0.0,
        format!("{outliers} above 1, are 4"),
    );
}
