//! How dear is a Hessian product of an image network, in gradients and in matrix products of the machine?
//!
//! The share of the machine is counted in useful FLOPs (products with weights alone, none of what padding, pools, norms and
//! activations take) against products at full speed on the same number of threads, measured in turn with the subjects and
//! for about as long: on a shared machine, short runs are interrupted less than long ones.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use eigenlens_autodiff::Order;
use eigenlens_benches::images::{lenet5, resnet20, useful_flops, with_samples};
use eigenlens_benches::{compare, directions, objective};
use eigenlens_linalg::{Par, Real, View, Write, gemm};
use eigenlens_nets::ModelSpec;
use eigenlens_nets::objective::Kind;
use eigenlens_nets::spec::Statistics;

/// Order of the product that stands for the machine, one for each thread.
const ORDER: usize = 512;

/// One product of [`ORDER`] on each thread.
fn peak<T: Real>(a: &[T], out: &mut [Vec<T>]) {
    let view = View::new(a, ORDER, ORDER);
    let one = |out: &mut Vec<T>| gemm(out, Write::Set, T::ONE, view, view.t(), Par::Seq);
    match out {
        [out] => one(out),
        _ => rayon::scope(|scope| out.iter_mut().for_each(|out| scope.spawn(move |_| one(out)))),
    }
}

fn network<T: Real>(c: &mut Criterion, name: &str, spec: &ModelSpec, n: usize) {
    let threads = rayon::current_num_threads();
    let (model, samples) = with_samples::<T>(spec, n);
    let theta = model.init(1);
    let mut first = objective(&model, &samples, Order::First);
    let second = objective(&model, &samples, Order::Second);
    let params = model.graph().params();
    let plan = second.plan(params, params, Kind::Hessian).expect("parameters");
    let p = model.len();
    let (x, mut y) = (directions(p, 1), vec![0.0; p]);
    let a: Vec<T> = directions(ORDER * ORDER, 1).into_iter().map(T::from_f64).collect();
    let mut out = vec![vec![T::ZERO; ORDER * ORDER]; threads];
    let (gradient, product) = useful_flops(&model);
    let one = 2.0 * (ORDER as f64).powi(3);
    let repeats = (n as f64 * gradient / one / threads as f64).ceil().max(1.0);
    let title = format!("{} {name}, N = {n}, {threads} threads, {} shards", T::NAME, second.shards());
    let times = compare(
        &title,
        if name == "LeNet-5" { 31 } else { 9 },
        vec![
            (
                "gradient",
                Box::new(|| {
                    let _loss = first.linearize_with_gradient(&theta);
                }),
            ),
            ("Hessian product", Box::new(|| second.product(&plan, 1, &x, &mut y))),
            ("products of order 512", Box::new(|| (0..repeats as usize).for_each(|_| peak(&a, &mut out)))),
        ],
    );
    let machine = threads as f64 * repeats * one / times[2];
    let share = |flops: f64, time: f64| 100.0 * n as f64 * flops / time / machine;
    println!("  machine, GFLOP/s                   {:>6.1}", machine / 1e9);
    println!("  Hessian product / gradient         {:>6.2}", times[1] / times[0]);
    println!("  gradient, share of the machine     {:>6.1} %", share(gradient, times[0]));
    println!("  Hessian product, share             {:>6.1} %", share(product, times[1]));
    let mut group = c.benchmark_group(format!("zoo/{}/{name}", T::NAME));
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.bench_function("gradient", |b| b.iter(|| first.linearize_with_gradient(&theta)));
    group.bench_function("hessian", |b| b.iter(|| second.product(&plan, 1, &x, &mut y)));
    group.finish();
}

fn networks<T: Real>(c: &mut Criterion) {
    network::<T>(c, "LeNet-5", &lenet5(), 256);
    network::<T>(c, "ResNet-20 without norm", &resnet20(None), 64);
    network::<T>(c, "ResNet-20, running averages", &resnet20(Some(Statistics::Running)), 64);
    network::<T>(c, "ResNet-20, batch statistics", &resnet20(Some(Statistics::Batch)), 64);
}

fn zoo(c: &mut Criterion) {
    networks::<f32>(c);
    networks::<f64>(c);
}

criterion_group!(benches, zoo);
criterion_main!(benches);
