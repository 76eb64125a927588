//! Does the trace of a layer's Hessian see faults of training earlier than the loss or the gradient? Digits, 64-32-32-10: alarms
//! are calibrated on healthy runs, then healthy and faulty runs are watched. What this prints stands in docs/monitoring.md.
//!
//! `cargo run --release -p eigenlens-hessian --example monitor -- [runs]`

use eigenlens_autodiff::Order;
use eigenlens_hessian::monitor::{Baseline, Detection, LayerTraces, Sampling, layer_traces};
use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::data::{Scaling, Source, Standardizer, load, subsample};
use eigenlens_nets::init::Init;
use eigenlens_nets::model::State;
use eigenlens_nets::objective::{Cut, Kind, Reduction};
use eigenlens_nets::optim::{Adam, Optimizer};
use eigenlens_nets::schedule::Schedule;
use eigenlens_nets::train::{TrainOptions, Trainer};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec, Objective, Samples};

/// Epochs of a run, and the one after which a fault begins.
const EPOCHS: usize = 24;
const ONSET: usize = 12;
/// Probes at each epoch, on a batch of so many samples.
const PROBES: usize = 5;
const BATCH: usize = 256;
/// Slack of the sums, and the share of healthy runs that may raise an alarm.
const SLACK: f64 = 0.5;
const RATE: f64 = 0.05;

/// What goes wrong.
#[derive(Clone, Copy)]
enum Fault {
    None,
    /// A learning rate so many times as large.
    Rate(f64),
    /// A share of the labels becomes random.
    Labels(f64),
}

/// Series of numbers, one of each kind for each run.
const SERIES: [&str; 6] = ["trace fc1", "trace fc2", "trace fc3", "trace, any", "loss", "gradient norm"];

fn uniform(seed: u64, n: usize) -> Vec<f64> {
    // Φ of a Gaussian is uniform; a coarse one will do to pick samples.
    Distribution::Gaussian.probe(seed, 1, n).iter().map(|z| 1.0 / (1.0 + (-1.702 * z).exp())).collect()
}

/// The series of one run, all but the fourth.
fn run(model: &Model<f64>, samples: &Samples, fault: Fault, seed: u64) -> Vec<Vec<f64>> {
    let options = |factor: f64| TrainOptions {
        optimizer: Optimizer::Adam(Adam::default()),
        lr: 1e-3 * factor,
        schedule: Schedule::Constant,
        epochs: EPOCHS as u64,
        batch_size: 32,
        seed,
        decay_biases: true,
        stopping: None,
    };
    let mut spoiled = samples.clone();
    if let Fault::Labels(share) = fault {
        let (hit, class) = (uniform(seed, samples.n), uniform(seed + 1_000_000, samples.n));
        for (y, (hit, class)) in spoiled.y.iter_mut().zip(hit.iter().zip(&class)) {
            if *hit < share {
                *y = (10.0 * class).floor().min(9.0);
            }
        }
    }
    let factor = if let Fault::Rate(factor) = fault { factor } else { 1.0 };
    let mut series = vec![Vec::new(); 5];
    let mut point: State<f64> = model.start(seed);
    for (data, factor, epochs) in [(samples, 1.0, ONSET), (&spoiled, factor, EPOCHS - ONSET)] {
        let mut trainer = Trainer::new(model, data, point, options(factor)).expect("samples that fit");
        for epoch in 0..epochs {
            let healthy = trainer.run_epoch().is_ok();
            let at = seed + epoch as u64;
            let batch = batch(data, at);
            let mut here = Objective::new(model, &batch, Reduction::Mean, Order::Second, Cut::default())
                .expect("samples that fit");
            let loss = here.linearize_with_gradient(&trainer.point().theta);
            let traces = layer_traces(&here, &model.layer_blocks(), Kind::Hessian, PROBES, at);
            let norm = here.gradient().iter().map(|g| g * g).sum::<f64>().sqrt();
            let numbers = (0..3).map(|l| traces.trace(l).mean).chain([loss, norm]);
            for (series, number) in series.iter_mut().zip(numbers) {
                series.push(if healthy { number } else { f64::NAN });
            }
        }
        point = trainer.point().clone();
    }
    series
}

/// Some samples, others for each seed.
fn batch(samples: &Samples, seed: u64) -> Samples {
    let features = samples.x.len() / samples.n;
    let rows: Vec<usize> =
        uniform(seed + 77, BATCH).iter().map(|u| ((u * samples.n as f64) as usize).min(samples.n - 1)).collect();
    Samples {
        n: BATCH,
        x: rows.iter().flat_map(|&i| &samples.x[i * features..(i + 1) * features]).copied().collect(),
        y: rows.iter().map(|&i| samples.y[i]).collect(),
        w: Vec::new(),
    }
}

/// Many runs, as series of each kind: `[kind][run]`.
fn many(model: &Model<f64>, samples: &Samples, fault: Fault, first: u64, runs: usize) -> Vec<Vec<Vec<f64>>> {
    let mut kinds = vec![Vec::new(); 5];
    for i in 0..runs as u64 {
        for (kind, series) in kinds.iter_mut().zip(run(model, samples, fault, 10_000 * (first + i))) {
            kind.push(series);
        }
    }
    kinds
}

fn show(found: &Detection) -> String {
    let (rate, [low, high]) = found.rate();
    let mut delays = found.delays.clone();
    delays.sort_unstable();
    let delay = delays.get(delays.len() / 2).map_or(String::new(), |d| format!(", after {d}"));
    format!("{:3.0} % ({:.0}-{:.0}){delay}", 100.0 * rate, 100.0 * low, 100.0 * high)
}

/// An alarm of any of several series, each with its share of the rate.
fn any(baselines: &[Baseline], kinds: &[Vec<Vec<f64>>], onset: usize) -> Detection {
    let each: Vec<Vec<Option<usize>>> = baselines
        .iter()
        .zip(kinds)
        .map(|(b, runs)| {
            let alarm = |run: &Vec<f64>| eigenlens_hessian::monitor::Cusum::first_alarm(b, run).map(|a| a.step);
            runs.iter().map(alarm).collect()
        })
        .collect();
    let runs = kinds[0].len();
    let first = |i: usize| each.iter().filter_map(|alarms| alarms[i]).min();
    let delays: Vec<usize> = (0..runs).filter_map(|i| first(i)?.checked_sub(onset)).collect();
    Detection { alarms: delays.len(), runs, delays }
}

fn main() {
    let runs: usize = std::env::args().nth(1).map_or(80, |n| n.parse().expect("a number of runs"));
    let data = load(&Source::Builtin("digits".into())).expect("the set is built in");
    let rows: Vec<usize> = data.train_part().collect();
    let scaled = Standardizer::fit(&data, &rows, Scaling::ZScore, false).expect("finite data").apply(&data);
    let chosen = scaled.subset(&subsample(&scaled, &rows, 1200, 0));
    let samples = Samples::new(&chosen, Loss::CrossEntropy, 10).expect("labels");
    let spec = ModelSpec::mlp(&[64, 32, 32, 10], Activation::Tanh, Init::LecunNormal, Loss::CrossEntropy);
    let model = Model::<f64>::new(&spec).expect("layers that fit");

    let healthy = many(&model, &samples, Fault::None, 0, runs);
    let baseline = |kind: usize, rate: f64| Baseline::healthy(&healthy[kind], SLACK, rate).expect("healthy runs");
    let alone: Vec<Baseline> = (0..5).map(|kind| baseline(kind, RATE)).collect();
    let shared: Vec<Baseline> = (0..3).map(|kind| baseline(kind, RATE / 3.0)).collect();
    println!(
        "{runs} healthy runs to calibrate, {runs} of each kind to watch; alarms at {RATE} of healthy runs, slack {SLACK}."
    );
    println!("Share of runs with an alarm (95 % interval), median epochs from the fault to the alarm.\n");
    println!("| fault after epoch {ONSET} | {} |", SERIES.join(" | "));
    println!("|---|{}", "---|".repeat(SERIES.len()));
    let faults = [
        ("none", Fault::None),
        ("2 x learning rate", Fault::Rate(2.0)),
        ("4 x learning rate", Fault::Rate(4.0)),
        ("5 % random labels", Fault::Labels(0.05)),
        ("20 % random labels", Fault::Labels(0.2)),
    ];
    for (i, (name, fault)) in faults.into_iter().enumerate() {
        let watched = many(&model, &samples, fault, (1000 * (i + 1)) as u64, runs);
        let onset = if i == 0 { 0 } else { ONSET };
        let mut cells: Vec<String> =
            (0..5).map(|kind| show(&Detection::of(&alone[kind], &watched[kind], onset))).collect();
        cells.insert(3, show(&any(&shared, &watched[..3], onset)));
        println!("| {name} | {} |", cells.join(" | "));
    }

    // Where the scatter comes from, at the end of the first healthy run.
    let mut trainer = Trainer::new(
        &model,
        &samples,
        model.start(0),
        TrainOptions {
            optimizer: Optimizer::Adam(Adam::default()),
            lr: 1e-3,
            schedule: Schedule::Constant,
            epochs: EPOCHS as u64,
            batch_size: 32,
            seed: 0,
            decay_biases: true,
            stopping: None,
        },
    )
    .expect("samples that fit");
    for _ in 0..EPOCHS {
        trainer.run_epoch().expect("a healthy run");
    }
    let traces: Vec<LayerTraces> = (0..40)
        .map(|b| {
            let batch = batch(&samples, 5_000_000 + b);
            let mut here = Objective::new(&model, &batch, Reduction::Mean, Order::Second, Cut::default())
                .expect("samples that fit");
            here.linearize(&trainer.point().theta);
            layer_traces(&here, &model.layer_blocks(), Kind::Hessian, 20, 6_000_000 + b)
        })
        .collect();
    println!("\nBatches of {BATCH} after {EPOCHS} epochs, 40 batches of 20 probes:");
    for (l, part) in traces[0].parts.iter().enumerate() {
        let found = Sampling::of(&traces, l);
        let critical = found.critical_probes().map_or("-".to_string(), |k| format!("{k:.1}"));
        println!(
            "  {part}: variance of a probe {:.3}, of the trace over batches {:.3}, critical number of probes {critical}",
            found.within, found.between
        );
    }
}
