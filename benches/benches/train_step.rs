//! How many optimiser steps per second does a small network make?

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use eigenlens_benches::network;
use eigenlens_linalg::Real;
use eigenlens_nets::optim::{Adam, Optimizer};
use eigenlens_nets::schedule::Schedule;
use eigenlens_nets::train::{TrainOptions, Trainer};

fn steps<T: Real>(c: &mut Criterion, widths: &[usize], batch_size: usize) {
    let (model, samples) = network::<T>(widths, 32 * batch_size);
    let options = TrainOptions {
        optimizer: Optimizer::Adam(Adam::default()),
        lr: 1e-3,
        schedule: Schedule::Constant,
        epochs: u64::MAX / 1024,
        batch_size,
        seed: 0,
        decay_biases: true,
        stopping: None,
    };
    let mut trainer = Trainer::new(&model, &samples, model.start(0), options).expect("samples fit the network");
    let mut group = c.benchmark_group(format!("train_step/{}/{widths:?}", T::NAME));
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(trainer.steps_per_epoch()));
    group.bench_function("epoch of 32 steps", |b| b.iter(|| trainer.run_epoch().expect("the loss stays finite")));
    group.finish();
}

fn all(c: &mut Criterion) {
    steps::<f32>(c, &[13, 16, 8, 2], 32);
    steps::<f32>(c, &[64, 32, 32, 10], 32);
}

criterion_group!(benches, all);
criterion_main!(benches);
