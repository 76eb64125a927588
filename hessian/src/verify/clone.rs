//! A clone of the network that is small enough for dense matrices, and the rows on it.

use eigenlens_autodiff::check::Report;
use eigenlens_linalg::dense;
use eigenlens_linalg::eigs::{self, End, eigs};
use eigenlens_linalg::operator::to_dense;
use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::LayerKind;
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Loss, Model, Samples};

use super::network::{HALF, traces};
use super::subject::{Merged, Part, Subject};
use super::{SCALES, worse};
use crate::block::{BlockOptions, analyze_block};
use crate::metrics::{MetricOptions, Unit, metric, quantities};
use crate::slq::SlqOptions;
use crate::spectrum::Spectrum;

/// The same layers, activations, loss and penalty, but no width above 6 (less in deep networks), with parameters and
/// inputs of order one.
pub(super) struct Shrunken {
    pub model: Model<f64>,
    pub samples: Samples,
    pub theta: Vec<f64>,
}

/// Largest order of the clone's Hessian: its eigenvalues take a fraction of a second.
const ORDER: usize = 1200;

/// Results of layers above this are avoided by halving the parameters, at most so many times.
const TAME: f64 = 30.0;
const HALVINGS: usize = 20;

impl Shrunken {
    pub fn new(model: &Model<f64>, samples: &Samples, seed: u64) -> Self {
        let build = |width: usize| {
            let spec = model.spec();
            let mut small = spec.clone();
            small.input[0] = spec.input[0].min(width);
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
    Samples { n, x, y }
}

pub(super) fn check(report: &mut Report, s: &Subject<'_>, seed: u64) {
    let p = s.model.len();
    let [h, g] = [Kind::Hessian, Kind::GaussNewton].map(|kind| to_dense(&s.operator(Part::Whole, kind)));
    let detail = || format!("{p} parameters");
    let size = largest(&h).max(largest(&g)).max(f64::MIN_POSITIVE);
    report.at_most("dense H is symmetric", s.name, asymmetry(p, &h) / size, s.rounding(), detail());
    traces(report, s);
    blocks(report, s, [&h, &g], size);
    let spectrum = dense::eigenvalues(p, &h).unwrap_or_default();
    lanczos(report, s, &spectrum, seed);
    positive(report, s.name, p, &g);
    scales(report, s, &spectrum, seed);
}

fn largest(a: &[f64]) -> f64 {
    a.iter().fold(0.0, |m, x| worse(m, x.abs()))
}

fn asymmetry(p: usize, a: &[f64]) -> f64 {
    (0..p)
        .flat_map(|i| (0..i).map(move |j| (i, j)))
        .fold(0.0, |m, (i, j)| worse(m, (a[i * p + j] - a[j * p + i]).abs()))
}

/// Blocks by Kronecker assembly and by products, against those cut out of the whole.
fn blocks(report: &mut Report, s: &Subject<'_>, whole: [&[f64]; 2], size: f64) {
    let p = s.model.len();
    for (index, layer) in s.model.layers().iter().enumerate() {
        let (mut kronecker, mut products) = (0.0, 0.0);
        for (kind, whole) in [Kind::Hessian, Kind::GaussNewton].into_iter().zip(whole) {
            let cut: Vec<f64> =
                layer.range.clone().flat_map(|i| whole[i * p..][layer.range.clone()].iter().copied()).collect();
            let error = |a: &[f64]| a.iter().zip(&cut).fold(0.0, |m, (a, b)| worse(m, (a - b).abs()));
            kronecker = worse(kronecker, error(&(s.assemble)(index, kind)));
            products = worse(products, error(&to_dense(&s.operator(Part::Layer(index), kind))));
            if kind == Kind::GaussNewton {
                positive(report, &format!("clone's {}", layer.name), layer.len(), &cut);
            }
        }
        let subject = format!("clone's {}", layer.name);
        report.at_most("Kronecker block = block of the whole", &subject, kronecker / size, s.rounding(), String::new());
        report.at_most("dense block = block of the whole", &subject, products / size, s.rounding(), String::new());
    }
}

/// λ_min ≥ 0 to the accuracy of a dense eigenvalue, 8 p ε ‖G‖.
fn positive(report: &mut Report, subject: &str, p: usize, g: &[f64]) {
    let values = dense::eigenvalues(p, g).unwrap_or_else(|_| vec![f64::NAN]);
    let top = values.iter().fold(f64::MIN_POSITIVE, |m, x| worse(m, x.abs()));
    let bound = 8.0 * p as f64 * f64::EPSILON;
    report.at_most("G is positive semidefinite", subject, -values[0] / top, bound, format!("order {p}"));
}

/// Lanczos with its own search (no dense way out) against the dense spectrum, at both ends.
fn lanczos(report: &mut Report, s: &Subject<'_>, spectrum: &[f64], seed: u64) {
    let p = s.model.len();
    let k = 3.min(p / 2);
    if k == 0 {
        return;
    }
    // Residuals of 1e-11 ‖H‖ bound the errors of the values; the dense ones add p ε.
    let tol = 1e-11;
    let options = eigs::Options { tol, dense_up_to: 0, seed, ..eigs::Options::new(k, End::Both) };
    let found = eigs(&s.operator(Part::Whole, Kind::Hessian), &options);
    let want: Vec<f64> =
        spectrum.iter().rev().take(k).chain(spectrum[..k.min(spectrum.len())].iter().rev()).copied().collect();
    let scale = largest(spectrum).max(f64::MIN_POSITIVE);
    let nearest = |x: f64| spectrum.iter().fold(f64::INFINITY, |m, y| m.min((x - y).abs()));
    let error = if found.values.is_empty() || spectrum.is_empty() {
        f64::NAN
    } else if found.stop.is_success() {
        found.values.iter().zip(&want).fold(0.0, |m, (a, b)| worse(m, (a - b).abs()))
    } else {
        // A crowd of zeros at the lower end of a matrix of low rank: what is claimed is only that eigenvalues are near.
        found.values.iter().zip(&found.residuals).fold(0.0, |m, (x, r)| worse(m, nearest(*x) - r))
    };
    let bound = tol + 8.0 * p as f64 * f64::EPSILON;
    let detail = format!("{k} at each end, {} products, {}", found.products, found.stop);
    report.at_most("Lanczos extremes = dense ones", s.name, error / scale, bound, detail);
}

/// The whole way to the reported numbers on cL: extreme pairs, quadratures and metrics, and dense eigenvalues.
fn scales(report: &mut Report, s: &Subject<'_>, spectrum: &[f64], seed: u64) {
    let p = s.model.len();
    let slq = SlqOptions { probes: 3, steps: p, seed, ..SlqOptions::default() };
    let options =
        BlockOptions { exact_max: 0, top: 3, bottom: 1, pair_tolerance: 1e-10, slq, ..BlockOptions::default() };
    let keys = ["trace", "lambda_max", "lambda_min", "frobenius", "nuclear", "rank_effective", "participation_ratio"];
    // Each quantity divided by c where it has the unit of curvature.
    let report_of = |c: f64| -> Vec<f64> {
        let a = Merged::new(s.model, s.samples, s.theta, c);
        let Ok(block) = analyze_block("cL", &a, None, &options) else { return vec![f64::NAN; 2 * keys.len()] };
        let values = dense::eigenvalues(p, &to_dense(&a)).unwrap_or_default();
        let exact = quantities(&Spectrum::exact(values), &MetricOptions::default());
        let unit = |key: &str| if metric(key).is_some_and(|m| m.unit == Unit::Curvature) { c } else { 1.0 };
        let krylov = keys.iter().map(|key| block.value(key).unwrap_or(f64::NAN) / unit(key));
        let dense = keys.iter().map(|key| crate::metrics::get(&exact, key).map_or(f64::NAN, |q| q.value) / unit(key));
        krylov.chain(dense).collect()
    };
    if largest(spectrum) == 0.0 {
        return;
    }
    let base = report_of(1.0);
    // λ_min may be the rounding of a zero: curvatures are compared at the size of the largest.
    let curvature = |at: usize| metric(keys[at % keys.len()]).is_some_and(|m| m.unit == Unit::Curvature);
    let largest = (0..base.len()).filter(|&at| curvature(at)).fold(0.0, |m, at| worse(m, base[at].abs()));
    let mut error = 0.0;
    for c in SCALES {
        for (at, (a, b)) in report_of(c).iter().zip(&base).enumerate() {
            let size = if curvature(at) { largest } else { b.abs() };
            error = worse(error, (a - b).abs() / size);
        }
    }
    let detail = "pairs, quadratures, metrics and dense eigenvalues, c = 1e-7 … 1e7".into();
    report.at_most("metrics of cL scale with c", s.name, error, HALF, detail);
}
