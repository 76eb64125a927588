//! A made-up run for tests: three layers at eight snapshots, with spectra of both kinds that look like real ones.

use std::collections::BTreeMap;

use crate::config::Task;
use crate::results::maps::*;
use crate::results::*;
use crate::rundir::RunDir;

/// Numbers in [0, 1) that are the same in every test: the fractional parts of multiples of the golden ratio, scrambled.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        // SplitMix64 (Steele, Lea & Flood 2014).
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Names and parameters of the layers.
const LAYERS: [(&str, &str, usize); 3] =
    [("1", "linear 64→32 + bias", 2080), ("2", "linear 32→32 + bias", 1056), ("3", "linear 32→10 + bias", 330)];

/// The result of the run, and its spectra by file name.
pub fn run() -> (RunResult, BTreeMap<String, Spectrum>) {
    let epochs = [0usize, 1, 2, 4, 8, 15, 27, 50];
    let mut spectra = BTreeMap::new();
    let curve: Vec<CurvePoint> = (0..=50).map(point).collect();
    let snapshots = epochs.iter().enumerate().map(|(i, &epoch)| snapshot(i, epoch, &curve, &mut spectra)).collect();
    let last = curve[50];
    let result = RunResult {
        schema: SCHEMA,
        dataset: DatasetSummary {
            name: "digits".into(),
            task: Task::Classification,
            features: 64,
            outputs: 10,
            train: 1293,
            validation: 145,
            test: 359,
            class_names: vec![],
            origin: Some("UCI 80 (Alpaydin & Kaynak 1998), CC BY 4.0".into()),
        },
        model: ModelSummary { description: "64-32-32-10 tanh".into(), parameters: 3466, loss: "cross-entropy".into() },
        training: Training {
            epochs: 50,
            steps: 2050,
            stop: "all epochs".into(),
            diverged: None,
            best_epoch: Some(31),
            seconds: 1.4,
            curve,
        },
        train: last.train,
        validation: last.validation,
        test: last.test,
        blocks: "layer".to_owned(),
        curvature: "hessian".into(),
        hessian_over: "1293 samples of the training part".into(),
        snapshots,
        notes: vec![],
    };
    (result, spectra)
}

fn point(epoch: usize) -> CurvePoint {
    let e = epoch as f64;
    let mut noise = Numbers(epoch as u64);
    let mut scores = |floor: f64, rate: f64, best: f64| Scores {
        loss: Some(2.35 * (-e / rate).exp().max(floor) * (1.0 + 0.05 * (noise.next() - 0.5)) + 2e-4 * e * floor * 40.0),
        accuracy: Some(best - (best - 0.1) * (-e / (0.6 * rate)).exp() * (1.0 + 0.02 * (noise.next() - 0.5))),
        r2: None,
    };
    CurvePoint {
        epoch,
        step: 41 * epoch as u64,
        lr: 2e-3,
        train: scores(0.0015, 6.0, 1.0),
        validation: Some(scores(0.035, 5.0, 0.972)),
        test: Some(scores(0.045, 5.0, 0.967)),
    }
}

fn snapshot(i: usize, epoch: usize, curve: &[CurvePoint], spectra: &mut BTreeMap<String, Spectrum>) -> Snapshot {
    let age = (1.0 + epoch as f64).ln() / 51f64.ln();
    let layers = (0..3).map(|l| layer(i, l, age, spectra)).collect();
    let point = curve[epoch];
    Snapshot {
        index: i,
        epoch,
        step: point.step,
        file: Some(RunDir::snapshot_file(i, epoch)),
        train: point.train,
        validation: point.validation,
        test: point.test,
        phi: Some(Measured::mean(0.62 - 0.25 * age * age, 0.012, 30)),
        maps: maps(age),
        off_diagonal: Some(OffDiagonal { lower: 1.9 - age, upper: Some(1.93 - age), confidence: 0.99 }),
        stability: Some(Stability {
            sharpness: Measured::bounded(40.0 + 60.0 * age, 1e-4),
            preconditioned: Some(Measured::bounded(6e3 + 14e3 * age, 1e-2)),
            bound: Some(38.0 / 2e-3),
        }),
        layers,
    }
}

/// Maps between the layers, in which what is far apart is coupled less, and less so with age.
fn maps(age: f64) -> Maps {
    let names = || LAYERS.map(|l| l.0.to_owned()).to_vec();
    let fall = |v: usize, w: usize| (-(0.2 + age) * v.abs_diff(w) as f64).exp();
    let size = |v: usize| 10f64.powf(-0.4 * v as f64 * age);
    let scale = |v: usize, w: usize| (size(v) * size(w)).sqrt();
    let full =
        |f: &dyn Fn(usize, usize) -> f64| -> Matrix { (0..3).map(|v| (0..3).map(|w| f(v, w)).collect()).collect() };
    let partial = |f: &dyn Fn(usize, usize) -> f64| -> Partial {
        full(f).into_iter().map(|row| row.into_iter().map(Some).collect()).collect()
    };
    let block = |v: usize| BlockRow {
        name: LAYERS[v].0.to_owned(),
        end: format!("tanh@{}", v + 1),
        resonance: Measured::exact(size(v)),
        gap: (v > 0).then_some(0.1 * age),
        rho: (v > 0).then(|| Measured::mean(1.1, 0.02, 64)),
    };
    let at = |distance: usize| Curve {
        distance,
        pairs: 2 * (3 - distance),
        resonance: scale(0, distance) * fall(0, distance),
        coupling: Some(fall(0, distance)),
        stable_rank: Some(1.5 + distance as f64),
        gap: Some(0.1 * age),
    };
    let off = |x: f64| move |v: usize, w: usize| if v == w { 0.0 } else { x * v.abs_diff(w) as f64 };
    Maps {
        parameters: Some(Parameters {
            blocks: names(),
            exact: false,
            products: 90,
            resonance: full(&|v, w| 3.0 * scale(v, w) * fall(v, w)),
            resonance_error: Some(full(&|v, w| 0.05 * scale(v, w))),
            coupling: partial(&fall),
            share: partial(&|v, w| 0.1 + 0.01 * (v * w) as f64),
        }),
        activations: Some(Interlayer {
            exact: true,
            products: 148,
            seconds: 0.1,
            discrepancy: Some(Discrepancy { probes: 30, relative: 0.11, deviation: 1.04, pairs: 9 }),
            blocks: (0..3).map(block).collect(),
            curve: (0..3).map(at).collect(),
            decay: Some(Decay { a: 0.1, b: 0.2 + age, r_squared: Some(1.0) }),
            coupling_decay: Some(Decay { a: 0.0, b: 0.2 + age, r_squared: Some(1.0) }),
            lyapunov: Some(Measured::mean(0.1, 0.01, 64)),
            distance: (0..3).map(|v: usize| (0..3).map(|w| Some(v.abs_diff(w))).collect()).collect(),
            resonance: full(&|v, w| scale(v, w) * fall(v, w)),
            resonance_error: None,
            coupling: partial(&fall),
            stable_rank: Some(partial(&|v, w| 1.5 + v.abs_diff(w) as f64)),
            gap: (0..3).map(|v| (0..3).map(|w| (v + w > 0).then_some(0.1 * age)).collect()).collect(),
        }),
        spectra: Some(Heterogeneity {
            blocks: names(),
            jensen_shannon: partial(&off(0.1)),
            jensen_shannon_error: Some(partial(&off(0.01))),
            wasserstein: partial(&off(0.03)),
            wasserstein_error: Some(partial(&off(0.002))),
        }),
    }
}

fn layer(i: usize, l: usize, age: f64, spectra: &mut BTreeMap<String, Spectrum>) -> LayerResult {
    let (name, kind, p) = LAYERS[l];
    let mut noise = Numbers((100 * i + l) as u64);
    let negative = 0.45 * (1.0 - age) + 0.12;
    let scale = 10f64.powf(0.3 * l as f64 - 1.2 * age * age);
    let mut values: Vec<f64> = (0..p)
        .map(|k| {
            if k < 9 {
                return scale * (2.5 - 0.25 * k as f64) * (0.8 + 0.4 * noise.next());
            }
            let size = scale * 10f64.powf(-6.5 + 5.5 * (1.0 - (1.0 - noise.next()).sqrt() * 0.9));
            if noise.next() < negative { -0.4 * size } else { size }
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let exact = l < 2;
    let (nuclear, squares) = values.iter().fold((0.0, 0.0), |(n, s), x| (n + x.abs(), s + x * x));
    let entropy: f64 = values.iter().map(|x| x.abs() / nuclear).map(|a| -a * a.ln()).sum();
    let mass = values.iter().filter(|x| **x < 0.0).map(|x| -x).sum::<f64>() / nuclear;
    let below = values.iter().filter(|x| **x < -1e-6 * values[p - 1]).count() as f64;
    let with = |value: f64, relative: f64| {
        if exact { Measured::exact(value) } else { Measured::mean(value, relative * value.abs(), 10) }
    };
    let end = |value: f64| if exact { Measured::exact(value) } else { Measured::bounded(value, 1e-9) };
    let trace: f64 = values.iter().sum();
    let mut quantities = vec![
        ("lambda_max", end(values[p - 1])),
        ("lambda_min", end(values[0])),
        ("gap_1", end(values[p - 1] - values[p - 2])),
        ("trace", with(trace, 0.03)),
        ("mean_curvature", with(trace / p as f64, 0.03)),
        ("frobenius", with(squares.sqrt(), 0.02)),
        ("nuclear", with(nuclear, 0.03)),
        ("rank_effective", with(entropy.exp(), 0.06)),
        ("negative_count", with(below, 0.05)),
        ("negative_mass", with(mass, 0.15)),
    ];
    if exact {
        let smallest = values.iter().map(|x| x.abs()).filter(|x| *x > 1e-6 * values[p - 1]).fold(f64::MAX, f64::min);
        quantities.push(("condition", Measured::exact(values[p - 1] / smallest)));
    }
    let quantities = quantities.into_iter().map(|(key, m)| (key.to_owned(), m));
    let route = if exact { "exact (Kronecker assembly)" } else { "Lanczos + SLQ" };
    let mut result = LayerResult::new(name, kind, p, route, quantities);
    let file = RunDir::spectrum_file(i, name);
    spectra.insert(file.clone(), if exact { Spectrum::exact(values) } else { quadrature(&values, &mut noise) });
    result.spectrum = Some(file);
    result.products = if exact { 0 } else { 824 };
    result
}

/// Quadratures as SLQ would give them: ends resolved, the bulk in lumps, weights that scatter.
fn quadrature(values: &[f64], noise: &mut Numbers) -> Spectrum {
    let p = values.len();
    let pair = |x: f64| Pair { value: x, residual: 1e-9 };
    let probes = (0..10)
        .map(|_| {
            let (mut nodes, mut weights) = (Vec::new(), Vec::new());
            for (k, chunk) in values.chunks(8).enumerate() {
                let mean = chunk.iter().sum::<f64>() / chunk.len() as f64;
                nodes.push(mean * (1.0 + 1e-3 * k as f64 * (noise.next() - 0.5)));
                weights.push(chunk.len() as f64 / p as f64 * (0.4 + 1.2 * noise.next()));
            }
            let total: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|w| *w /= total);
            Probe { nodes, weights }
        })
        .collect();
    Spectrum::Quadrature {
        dim: p,
        probes,
        top: values.iter().rev().take(10).map(|&x| pair(x)).collect(),
        bottom: values.iter().take(10).map(|&x| pair(x)).collect(),
        cdf: None,
    }
}
