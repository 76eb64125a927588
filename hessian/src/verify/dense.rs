//! Rows on dense matrices: of the shrunken clone, of a network that is small itself, or of the smallest blocks of a larger.

use std::ops::Range;

use eigenlens_autodiff::check::Report;
use eigenlens_linalg::dense;
use eigenlens_linalg::eigs::{self, End, eigs};
use eigenlens_linalg::operator::{DenseOperator, to_dense};
use eigenlens_linalg::{LinearOperator, probes::Distribution};
use eigenlens_nets::objective::Kind;

use super::network::{HALF, conditioning, traces};
use super::subject::{Merged, Part, Subject};
use super::{SCALES, distance, worse};
use crate::block::{BlockOptions, analyze_block};
use crate::kronecker;
use crate::metrics::{MetricOptions, Unit, metric, quantities};
use crate::slq::SlqOptions;
use crate::spectrum::Spectrum;

/// Largest order of a dense matrix: its eigenvalues take a fraction of a second.
pub(super) const ORDER: usize = 1200;

/// Multiply-adds that the columns of dense matrices of a network may take: less than a minute.
const WORK: f64 = 4e10;

/// Multiply-adds of a product over those of a pass: four sweeps, each of H and of G.
const SWEEPS: f64 = 8.0;

/// Quadrature steps on a network of its own size, whose dense matrix is multiplied in each.
const STEPS: usize = 100;

const KINDS: [Kind; 2] = [Kind::Hessian, Kind::GaussNewton];

/// All rows on the clone.
pub(super) fn clone(report: &mut Report, s: &Subject<'_>, seed: u64) {
    let spectrum = whole(report, s, seed).1;
    traces(report, s);
    let factored = |c: f64| Merged::new(s.model, s.samples, s.theta, c);
    scales(report, s, &spectrum, s.model.len(), seed, &|c, f| f(&factored(c)));
}

/// The rows on a network that can't be shrunk by its widths: on all of it if it is small, else on its smallest blocks.
pub(super) fn network(report: &mut Report, s: &Subject<'_>, seed: u64) {
    let (p, column) = (s.model.len(), SWEEPS * (s.samples.n * s.model.multiply_adds()) as f64);
    let order = (WORK / column.max(1.0)).min(ORDER as f64) as usize;
    if p <= order {
        let (h, spectrum) = whole(report, s, seed);
        let scaled = |c: f64| DenseOperator::new(p, h.iter().map(|x| c * x).collect());
        scales(report, s, &spectrum, p.min(STEPS), seed, &|c, f| f(&scaled(c)));
        return;
    }
    let layers = s.model.layers();
    let mut smallest: Vec<usize> = (0..layers.len()).collect();
    smallest.sort_by_key(|&i| layers[i].len());
    let mut left = order;
    smallest.retain(|&i| {
        let fits = layers[i].len() <= left;
        left = if fits { left - layers[i].len() } else { 0 };
        fits
    });
    smallest.sort_unstable();
    let parameters: usize = smallest.iter().map(|&i| layers[i].len()).sum();
    let names: Vec<&str> = smallest.iter().map(|&i| layers[i].name.as_str()).collect();
    let detail = match names.is_empty() {
        true => format!("left out: no layer has {order} parameters or fewer"),
        false => format!("{parameters} of {p} parameters: {}", names.join(", ")),
    };
    report.at_most("dense matrices of the smallest layers", s.name, 0.0, 0.0, detail);
    for index in smallest {
        let [h, g] = KINDS.map(|kind| to_dense(&s.operator(Part::Layer(index), kind)));
        block(report, s, index, [&h, &g], seed);
    }
}

/// Rows on the dense matrix of everything; returns it, and its eigenvalues.
fn whole(report: &mut Report, s: &Subject<'_>, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let p = s.model.len();
    let [h, g] = KINDS.map(|kind| to_dense(&s.operator(Part::Whole, kind)));
    let size = largest(&h).max(largest(&g)).max(f64::MIN_POSITIVE);
    report.at_most("dense H is symmetric", s.name, asymmetry(p, &h) / size, s.rounding(), format!("{p} parameters"));
    blocks(report, s, [&h, &g], size);
    let spectrum = dense::eigenvalues(p, &h).unwrap_or_default();
    lanczos(report, s, (Part::Whole, s.name), &spectrum, seed);
    positive(report, s, s.name, &(0..p), &g);
    (h, spectrum)
}

pub(super) fn largest(a: &[f64]) -> f64 {
    a.iter().fold(0.0, |m, x| worse(m, x.abs()))
}

fn asymmetry(p: usize, a: &[f64]) -> f64 {
    (0..p)
        .flat_map(|i| (0..i).map(move |j| (i, j)))
        .fold(0.0, |m, (i, j)| worse(m, (a[i * p + j] - a[j * p + i]).abs()))
}

fn furthest(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |m, (a, b)| worse(m, (a - b).abs()))
}

/// Blocks by Kronecker assembly, where they have that structure, and by products, against those cut out of the whole.
fn blocks(report: &mut Report, s: &Subject<'_>, whole: [&[f64]; 2], size: f64) {
    let p = s.model.len();
    for (index, layer) in s.model.layers().iter().enumerate() {
        let subject = format!("{}'s {}", s.name, layer.name);
        let (mut assembled, mut products) = (0.0, 0.0);
        let structured = kronecker::holds(s.model, index);
        for (kind, whole) in KINDS.into_iter().zip(whole) {
            let cut: Vec<f64> =
                layer.range.clone().flat_map(|i| whole[i * p..][layer.range.clone()].iter().copied()).collect();
            if structured {
                assembled = worse(assembled, furthest(&(s.assemble)(index, kind), &cut));
            }
            products = worse(products, furthest(&to_dense(&s.operator(Part::Layer(index), kind)), &cut));
            if kind == Kind::GaussNewton {
                positive(report, s, &subject, &layer.range, &cut);
            }
        }
        if structured {
            let error = assembled / size;
            report.at_most("Kronecker block = block of the whole", &subject, error, s.rounding(), String::new());
        }
        report.at_most("dense block = block of the whole", &subject, products / size, s.rounding(), String::new());
    }
}

/// Rows on the dense matrices of one layer of a network whose own are too large.
fn block(report: &mut Report, s: &Subject<'_>, index: usize, matrices: [&[f64]; 2], seed: u64) {
    let layer = &s.model.layers()[index];
    let (p, subject) = (layer.len(), format!("{}'s {}", s.name, layer.name));
    let size = largest(matrices[0]).max(largest(matrices[1])).max(f64::MIN_POSITIVE);
    let detail = || format!("{p} parameters");
    let error = asymmetry(p, matrices[0]) / size;
    report.at_most("dense H is symmetric", &subject, error, s.rounding(), detail());
    let v = Distribution::Sphere.probe(seed, 8 + index as u64, p);
    let mut padded = vec![0.0; s.model.len()];
    padded[layer.range.clone()].copy_from_slice(&v);
    let (mut products, mut assembled, mut length) = (0.0, 0.0, f64::MIN_POSITIVE);
    for (kind, dense) in KINDS.into_iter().zip(matrices) {
        let full = (s.product)(Part::Whole, kind, 1, &padded);
        let row = |i: usize| super::dot(&dense[i * p..][..p], &v);
        products = worse(products, distance(&(0..p).map(row).collect::<Vec<_>>(), &full[layer.range.clone()]));
        length += super::norm(&full[layer.range.clone()]);
        if kronecker::holds(s.model, index) {
            assembled = worse(assembled, furthest(&(s.assemble)(index, kind), dense));
        }
    }
    // A product with the dense matrix adds up p terms.
    let bound = s.rounding() + f64::EPSILON * p as f64;
    report.at_most("dense block = block of the whole", &subject, products / length, bound, "one direction".into());
    if kronecker::holds(s.model, index) {
        let error = assembled / size;
        report.at_most("Kronecker block = block of the whole", &subject, error, s.rounding(), detail());
    }
    let spectrum = dense::eigenvalues(p, matrices[0]).unwrap_or_default();
    lanczos(report, s, (Part::Layer(index), &subject), &spectrum, seed);
    positive(report, s, &subject, &layer.range, matrices[1]);
}

/// λ_min ≥ 0 to the accuracy of a dense eigenvalue, 8 p ε ‖G‖; of what cancels, to that of its products.
fn positive(report: &mut Report, s: &Subject<'_>, subject: &str, range: &Range<usize>, g: &[f64]) {
    let (p, bound) = (range.len(), 8.0 * range.len() as f64 * f64::EPSILON);
    // −λ_min at the size of ‖G‖ and `more`.
    let lowest = |g: &[f64], more: f64| {
        let values = dense::eigenvalues(p, g).unwrap_or_else(|_| vec![f64::NAN]);
        -values[0] / (values.iter().fold(f64::MIN_POSITIVE, |m, x| worse(m, x.abs())) + more)
    };
    let mut error = lowest(g, 0.0);
    if error.is_nan() || error > bound {
        // A random direction has 1/√p of the norm.
        let rounding = (p as f64).sqrt() * conditioning(s, range, &Distribution::Sphere.probe(0, 0, p));
        if asymmetry(p, g) <= rounding {
            let symmetric: Vec<f64> = (0..p * p).map(|at| 0.5 * (g[at] + g[at % p * p + at / p])).collect();
            error = lowest(&symmetric, rounding / bound);
        }
    }
    report.at_most("G is positive semidefinite", subject, error, bound, format!("order {p}"));
}

/// Lanczos with its own search (no dense way out) against the dense spectrum, at both ends.
fn lanczos(report: &mut Report, s: &Subject<'_>, (part, subject): (Part, &str), spectrum: &[f64], seed: u64) {
    let operator = s.operator(part, Kind::Hessian);
    let p = operator.dim();
    let k = 3.min(p / 2);
    if k == 0 {
        return;
    }
    // Residuals of 1e-11 ‖H‖ bound the errors of the values; the dense ones add p ε.
    let tol = 1e-11;
    let options = eigs::Options { tol, dense_up_to: 0, seed, ..eigs::Options::new(k, End::Both) };
    let found = eigs(&operator, &options);
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
    let detail = format!("order {p}, {k} at each end, {} products, {}", found.products, found.stop);
    report.at_most("Lanczos extremes = dense ones", subject, error / scale, bound, detail);
}

/// (c, f) ↦ f(the Hessian of cL).
type Scaled<'a> = dyn Fn(f64, &mut dyn FnMut(&dyn LinearOperator)) + 'a;

/// The whole way to the reported numbers on cL: extreme pairs, quadratures and metrics, and dense eigenvalues.
fn scales(report: &mut Report, s: &Subject<'_>, spectrum: &[f64], steps: usize, seed: u64, with: &Scaled<'_>) {
    let p = s.model.len();
    let slq = SlqOptions { probes: 3, steps, seed, ..SlqOptions::default() };
    let options =
        BlockOptions { exact_max: 0, top: 3, bottom: 1, pair_tolerance: 1e-10, slq, ..BlockOptions::default() };
    let keys = ["trace", "lambda_max", "lambda_min", "frobenius", "nuclear", "rank_effective", "participation_ratio"];
    // Each quantity divided by c where it has the unit of curvature.
    let report_of = |c: f64| -> Vec<f64> {
        let mut numbers = vec![f64::NAN; 2 * keys.len()];
        with(c, &mut |a| {
            let Ok(block) = analyze_block("cL", a, None, &options) else { return };
            let values = dense::eigenvalues(p, &to_dense(a)).unwrap_or_default();
            let exact = quantities(&Spectrum::exact(values), &MetricOptions::default());
            let unit = |key: &str| if metric(key).is_some_and(|m| m.unit == Unit::Curvature) { c } else { 1.0 };
            let krylov = keys.iter().map(|key| block.value(key).unwrap_or(f64::NAN) / unit(key));
            let dense =
                keys.iter().map(|key| crate::metrics::get(&exact, key).map_or(f64::NAN, |q| q.value) / unit(key));
            numbers = krylov.chain(dense).collect();
        });
        numbers
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
