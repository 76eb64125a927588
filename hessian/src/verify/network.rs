//! Rows on the network itself, whatever its size.

use std::ops::Range;

use eigenlens_autodiff::check::{Maps, Report, check_maps};
use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::{LinearOperator, operator};
use eigenlens_nets::Loss;
use eigenlens_nets::objective::Kind;
use eigenlens_nets::spec::Weighting;

use super::subject::{Merged, Part, Subject};
use super::wiring::Wiring;
use super::{SCALES, distance, dot, norm, worse};
use crate::kronecker;

/// Networks of up to this many parameters have their traces taken exactly: P products.
const EXACT_TRACE: usize = 1500;

/// Values of the M_n of a layer that are still formed: 64 MB.
const CURVATURE_VALUES: usize = 1 << 23;

/// Steps of Lanczos on the network, where nothing but their scaling is checked.
const STEPS: usize = 8;

/// A Ritz value of a few steps depends on the rounding of all of them; half of the digits is what is asked of it. The
/// defect looked for loses all but two or three.
pub(super) const HALF: f64 = 1.5e-8;

pub(super) fn check(report: &mut Report, s: &Subject<'_>, seed: u64, moved: bool) {
    let maps = Maps { loss: &*s.loss, gradient: &*s.gradient, hvp: &*s.hvp, terms: s.samples.n };
    let mut rows = check_maps(s.name, &maps, s.theta, seed).rows;
    if moved {
        rows.iter_mut().for_each(|r| r.detail = format!("beside a kink {}", r.detail));
    }
    report.rows.extend(rows);
    let merged = Merged::new(s.model, s.samples, s.theta, 1.0);
    let probe = |index: u64, n: usize| Distribution::Sphere.probe(seed, index, n);
    batches(report, s, &merged, &probe(0, s.model.len()));
    lanes(report, s, &Distribution::Sphere.probes(seed, 1, 3, s.model.len()));
    gauss_newton(report, s, &merged, &Distribution::Sphere.probes(seed, 4, 4, s.model.len()));
    for index in 0..s.model.layers().len() {
        layer(report, s, &merged, index, &probe(8 + index as u64, s.model.layers()[index].len()));
    }
    loss_curvature(report, s, &merged);
    if s.model.len() <= EXACT_TRACE {
        traces(report, s);
    }
    scales(report, s, &merged, &probe(7, s.model.len()));
}

/// What uneven batches in groups add up to, against all samples at once.
fn batches(report: &mut Report, s: &Subject<'_>, merged: &Merged<'_>, v: &[f64]) {
    if s.model.graph().mixes_samples() {
        let why = "left out: batch norm takes its statistics from all samples at once, which can't be cut".into();
        report.at_most("uneven batches = merged", s.name, 0.0, 0.0, why);
        return;
    }
    let rounding = s.rounding();
    let detail = || format!("{} samples in batches of {}", s.samples.n, super::subject::uneven(s.samples.n));
    // A loss has the rounding of the outputs it is computed from, which can be much larger than itself.
    let outputs = merged.linearization.value(s.model.logits());
    let size = merged.loss.abs() + norm(outputs) / (outputs.len() as f64).sqrt();
    let error = ((s.loss)(s.theta) - merged.loss).abs() / size.max(f64::MIN_POSITIVE);
    report.at_most("loss over batches = merged", s.name, error, rounding, detail());
    // A gradient has that of the sums over samples, whose terms may cancel, and that of θ.
    let at_theta = norm(&merged.product(Kind::Hessian, s.theta)) + norm(&merged.product(Kind::GaussNewton, s.theta));
    let size = merged.gradient_operands() + at_theta;
    let error = distance(&(s.gradient)(s.theta), &merged.gradient) / size.max(f64::MIN_POSITIVE);
    report.at_most("gradient over batches = merged", s.name, error, rounding, detail());
    let (hv, gv) = (merged.product(Kind::Hessian, v), merged.product(Kind::GaussNewton, v));
    let size = (norm(&hv) + norm(&gv)).max(f64::MIN_POSITIVE);
    for (check, kind, want) in
        [("Hv over batches = merged", Kind::Hessian, &hv), ("Gv over batches = merged", Kind::GaussNewton, &gv)]
    {
        let error = distance(&(s.product)(Part::Whole, kind, 1, v), want) / size;
        report.at_most(check, s.name, error, rounding, detail());
    }
}

/// Three columns at once against each alone.
fn lanes(report: &mut Report, s: &Subject<'_>, x: &[f64]) {
    let p = s.model.len();
    let together = (s.product)(Part::Whole, Kind::Hessian, 3, x);
    let alone: Vec<f64> = x.chunks_exact(p).flat_map(|x| (s.product)(Part::Whole, Kind::Hessian, 1, x)).collect();
    let error = distance(&together, &alone) / norm(&alone).max(f64::MIN_POSITIVE);
    report.at_most("lanes = single products", s.name, error, s.rounding(), "3 lanes".into());
}

/// vᵀGv ≥ 0, and vᵀGv = Σ w_n (J_n v)ᵀ ℓ″_n (J_n v) from tangents and the closed form of ℓ″.
fn gauss_newton(report: &mut Report, s: &Subject<'_>, merged: &Merged<'_>, probes: &[f64]) {
    let p = s.model.len();
    let (c, outputs) = (classes(s), merged.linearization.value(s.model.logits()));
    let curvatures: Vec<Vec<f64>> = outputs.chunks_exact(c).enumerate().map(|(at, o)| closed_form(s, at, o)).collect();
    let (mut negative, mut error) = (0.0, 0.0);
    for v in probes.chunks_exact(p) {
        let gv = (s.product)(Part::Whole, Kind::GaussNewton, 1, v);
        let (found, size) = (dot(v, &gv), norm(&gv).max(f64::MIN_POSITIVE));
        negative = worse(negative, -found / size);
        let mut want = 0.0;
        for (m, t) in curvatures.iter().zip(merged.push(v).chunks_exact(c)) {
            want += m.chunks_exact(c).zip(t).map(|(m, ti)| ti * dot(m, t)).sum::<f64>();
        }
        for (range, lambda) in s.model.penalized() {
            want += range.map(|i| lambda * v[i] * v[i]).sum::<f64>();
        }
        error = worse(error, (found - want).abs() / size);
    }
    report.at_most("v'Gv is not negative", s.name, negative, s.rounding(), "4 directions".into());
    report.at_most("v'Gv = Σ (Jv)' ℓ'' (Jv)", s.name, error, s.rounding(), "4 directions".into());
}

/// Outputs that the loss puts together: of one position of a sample for cross-entropy.
fn classes(s: &Subject<'_>) -> usize {
    s.model.graph().shape(s.model.logits()).dims.last().copied().unwrap_or(1)
}

/// w_n ∂²ℓ_n/∂o² in closed form for the outputs o of position `at` of all, whose losses a sample averages.
fn closed_form(s: &Subject<'_>, at: usize, o: &[f64]) -> Vec<f64> {
    let c = o.len();
    let positions = s.model.outputs() / c;
    let w = s.samples.weight(at / positions) / (positions * s.samples.n) as f64;
    let mut m = vec![0.0; c * c];
    match s.model.spec().loss {
        Loss::CrossEntropy => {
            // Σ_c a_c of a label with smoothing and class weights.
            let Weighting { smoothing, classes } = &s.model.spec().weighting;
            let of = |c: usize| classes.get(c).copied().unwrap_or(1.0);
            let all = (0..c).map(of).sum::<f64>() * smoothing / c as f64;
            let w = w * ((1.0 - smoothing) * of(s.samples.y[at] as usize) + all);
            let top = o.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let e: Vec<f64> = o.iter().map(|x| (x - top).exp()).collect();
            let sum: f64 = e.iter().sum();
            for i in 0..c {
                // 1 − p as a sum of the others: a difference would lose the digits of a confident output.
                let others: f64 = (0..c).filter(|&k| k != i).map(|k| e[k]).sum();
                for j in 0..c {
                    m[i * c + j] = w * e[i] / sum * if i == j { others / sum } else { -e[j] / sum };
                }
            }
        }
        Loss::Mse => (0..c).for_each(|i| m[i * c + i] = 2.0 * w / c as f64),
        Loss::Bce => (0..c).for_each(|i| {
            let p = 1.0 / (1.0 + (-o[i].abs()).exp());
            m[i * c + i] = w / c as f64 * p * (-o[i].abs()).exp() / (1.0 + (-o[i].abs()).exp());
        }),
    }
    m
}

/// M_n at the outputs against the closed form, where the outputs are those of a linear layer.
fn loss_curvature(report: &mut Report, s: &Subject<'_>, merged: &Merged<'_>) {
    let c = s.model.outputs();
    let ends = |&i: &usize| s.model.layers()[i].output == s.model.logits() && kronecker::holds(s.model, i);
    let Some(last) = (0..s.model.layers().len()).find(ends) else { return };
    if s.samples.n * c * (c + 1) / 2 > CURVATURE_VALUES {
        return;
    }
    let m = (s.curvature)(last, Kind::Hessian);
    let mut want = Vec::with_capacity(m.len());
    for (at, o) in merged.linearization.value(s.model.logits()).chunks_exact(c).enumerate() {
        let closed = closed_form(s, at, o);
        for i in 0..c {
            want.extend_from_slice(&closed[i * c + i..(i + 1) * c]);
        }
    }
    let error = distance(&m, &want) / norm(&want).max(f64::MIN_POSITIVE);
    report.at_most("∂²ℓ/∂o² = its closed form", s.name, error, s.rounding(), s.model.spec().loss.to_string());
}

/// One layer's block: part of the whole, made of its structure where it has one, and equal to its Gauss–Newton block where
/// nothing above it bends.
fn layer(report: &mut Report, s: &Subject<'_>, merged: &Merged<'_>, index: usize, v: &[f64]) {
    let layer = &s.model.layers()[index];
    let mut padded = vec![0.0; s.model.len()];
    padded[layer.range.clone()].copy_from_slice(v);
    let kinds = [Kind::Hessian, Kind::GaussNewton];
    let blocks = kinds.map(|kind| (s.product)(Part::Layer(index), kind, 1, v));
    let mut rows = Vec::new();
    let mut error = 0.0;
    for (kind, block) in kinds.iter().zip(&blocks) {
        let full = (s.product)(Part::Whole, *kind, 1, &padded);
        error = worse(error, distance(block, &full[layer.range.clone()]));
    }
    rows.push(("block product = block of the whole", error, "H and G"));
    let pairs = layer.outputs * (layer.outputs + 1) / 2;
    if kronecker::holds(s.model, index) && s.samples.n * pairs <= CURVATURE_VALUES {
        let mut error = 0.0;
        for (kind, block) in kinds.iter().zip(&blocks) {
            let structured = structured_product(s, merged, index, *kind, v);
            error = worse(error, distance(block, &structured));
        }
        rows.push(("block product = Σ M ⊗ zz'", error, "H and G"));
    }
    if Wiring::new(s.model).straight_above(layer) {
        rows.push(("H block = G block", distance(&blocks[0], &blocks[1]), "nothing above it bends"));
    }
    let rounding = s.rounding();
    let mut size = (norm(&blocks[0]) + norm(&blocks[1])).max(f64::MIN_POSITIVE);
    // False for NaN, which stays one.
    if !rows.iter().all(|(_, error, _)| *error <= rounding * size) {
        size += conditioning(s, &layer.range, v) / rounding;
    }
    for (check, error, detail) in rows {
        report.at_most(check, &layer.name, error / size, rounding, detail.into());
    }
}

/// The rounding of products with a block beyond that of their sums, for a direction of length 1: what becomes of them when θ
/// moves by its last bits, and ε of a product with the whole matrix. A norm over two values, which keeps 1e-5 of a tangent, has
/// much of it, and a block that vanishes is nothing else.
///
/// By the plain pass alone, so that no defect of the subject widens it. Cost: four linearizations, so it is asked for only
/// where a row would fail without it.
pub(super) fn conditioning(s: &Subject<'_>, range: &Range<usize>, v: &[f64]) -> f64 {
    /// Moves of θ.
    const MOVES: u64 = 3;
    let mut padded = vec![0.0; s.model.len()];
    padded[range.clone()].copy_from_slice(v);
    let kinds = [Kind::Hessian, Kind::GaussNewton];
    let merged = Merged::new(s.model, s.samples, s.theta, 1.0);
    let of = |m: &Merged<'_>| kinds.map(|kind| m.product(kind, &padded)[range.clone()].to_vec());
    let here = of(&merged);
    let mut moved_by = 0.0;
    for index in 0..MOVES {
        let mut signs = vec![0.0; s.theta.len()];
        Distribution::Rademacher.fill(0, index, &mut signs);
        let theta: Vec<f64> = s.theta.iter().zip(&signs).map(|(x, s)| x * (1.0 + f64::EPSILON * s)).collect();
        let there = of(&Merged::new(s.model, s.samples, &theta, 1.0));
        moved_by = here.iter().zip(&there).fold(moved_by, |m, (a, b)| worse(m, distance(a, b)));
    }
    let all = Distribution::Sphere.probe(0, MOVES, s.model.len());
    let whole: f64 = kinds.iter().map(|kind| norm(&merged.product(*kind, &all))).sum();
    // A function that is all rounding must not pass for one that is zero.
    (8.0 * moved_by).min(f64::EPSILON.sqrt() * whole) + f64::EPSILON * whole
}

/// Σ_n M_n V ẑ_n ẑ_nᵀ with M_n of the subject.
fn structured_product(s: &Subject<'_>, merged: &Merged<'_>, index: usize, kind: Kind, v: &[f64]) -> Vec<f64> {
    let layer = &s.model.layers()[index];
    let (width, out) = (layer.inputs, layer.outputs);
    let m = (s.curvature)(index, kind);
    let z = merged.linearization.value(layer.input);
    let mut y = vec![0.0; v.len()];
    let pairs = out * (out + 1) / 2;
    for (n, z) in z.chunks_exact(width).enumerate() {
        let bias = |i: usize| if layer.bias { v[out * width + i] } else { 0.0 };
        let u: Vec<f64> = (0..out).map(|i| dot(&v[i * width..][..width], z) + bias(i)).collect();
        let mut mu = vec![0.0; out];
        let mut entries = m[n * pairs..][..pairs].iter();
        for i in 0..out {
            for j in i..out {
                let x = entries.next().expect("one entry for each pair");
                mu[i] += x * u[j];
                if j > i {
                    mu[j] += x * u[i];
                }
            }
        }
        for (i, mu) in mu.iter().enumerate() {
            y[i * width..][..width].iter_mut().zip(z).for_each(|(y, z)| *y += mu * z);
            if layer.bias {
                y[out * width + i] += mu;
            }
        }
    }
    for (range, lambda) in s.model.penalized() {
        for i in range.start.max(layer.range.start)..range.end.min(layer.range.end) {
            y[i - layer.range.start] += lambda * v[i - layer.range.start];
        }
    }
    y
}

/// Σ_ℓ tr H_ℓℓ = tr H, with all unit vectors.
pub(super) fn traces(report: &mut Report, s: &Subject<'_>) {
    let diagonal = |a: &dyn LinearOperator| -> Vec<f64> {
        let (n, dense) = (a.dim(), operator::to_dense(a));
        (0..n).map(|i| dense[i * n + i]).collect()
    };
    let whole = diagonal(&s.operator(Part::Whole, Kind::Hessian));
    let layers: Vec<f64> = (0..s.model.layers().len())
        .flat_map(|index| diagonal(&s.operator(Part::Layer(index), Kind::Hessian)))
        .collect();
    let size = whole.iter().map(|x| x.abs()).sum::<f64>().max(f64::MIN_POSITIVE);
    let error = (whole.iter().sum::<f64>() - layers.iter().sum::<f64>()).abs() / size;
    report.at_most("Σ tr H_ll = tr H", s.name, error, s.rounding(), format!("{} unit vectors", whole.len()));
}

/// Lanczos on cL: Ritz values and moments are c times those of L.
fn scales(report: &mut Report, s: &Subject<'_>, merged: &Merged<'_>, start: &[f64]) {
    let summary = |factor: f64, a: &dyn LinearOperator| -> [f64; 4] {
        let run = (s.lanczos)(a, start, STEPS);
        let moment = |k: i32| run.nodes.iter().zip(&run.weights).map(|(x, w)| w * (x / factor).powi(k)).sum::<f64>();
        let end = |x: Option<&f64>| x.map_or(f64::NAN, |x| x / factor);
        [end(run.nodes.first()), end(run.nodes.last()), moment(1), moment(2).sqrt()]
    };
    let base = summary(1.0, merged);
    let size = base.iter().fold(f64::MIN_POSITIVE, |m: f64, x| m.max(x.abs()));
    let mut error = 0.0;
    for c in SCALES {
        let scaled = summary(c, &Merged::new(s.model, s.samples, s.theta, c));
        error = scaled.iter().zip(&base).fold(error, |e, (a, b)| worse(e, (a - b).abs() / size));
    }
    let detail = format!("Ritz values and moments of {STEPS} steps, c = 1e-7 … 1e7");
    report.at_most("H(cL) = c H", s.name, error, HALF, detail);
}
