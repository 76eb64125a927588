//! How dear are curvature products, in gradients? Full Hessian, Gauss–Newton, 8 lanes, all layer blocks.
//!
//! Floors by FLOPs for 784-512-256-10: Hessian 1.33, Gauss–Newton 1.11, all blocks 1.12 gradients.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use eigenlens_autodiff::Order;
use eigenlens_benches::{GradientGemms, compare, directions, network, objective};
use eigenlens_linalg::Real;
use eigenlens_nets::objective::Kind;

const LANES: usize = 8;

fn ratios<T: Real>(c: &mut Criterion, widths: &[usize], n: usize, threads: usize) {
    let (model, samples) = network::<T>(widths, n);
    let theta = model.init(1);
    let mut first = objective(&model, &samples, Order::First);
    let second = objective(&model, &samples, Order::Second);
    let params = model.graph().params();
    let hessian = second.plan(params, params, Kind::Hessian).expect("parameters");
    let gauss_newton = second.plan(params, params, Kind::GaussNewton).expect("parameters");
    let blocks: Vec<_> = model
        .layers()
        .iter()
        .map(|l| (second.plan(&l.params, &l.params, Kind::Hessian).expect("parameters"), l.len()))
        .collect();
    let p = model.len();
    let x = directions(p, LANES);
    let (mut y, mut y_gn, mut y_lanes, mut y_blocks) = (vec![0.0; p], vec![0.0; p], vec![0.0; LANES * p], vec![0.0; p]);
    let mut gemms = GradientGemms::<T>::new(widths, n, threads);
    let title = format!("{} {widths:?}, N = {n}, {threads} threads, {} shards", T::NAME, second.shards());
    let times = compare(
        &title,
        31,
        vec![
            (
                "gradient",
                Box::new(|| {
                    let _loss = first.linearize_with_gradient(&theta);
                }),
            ),
            ("products of the gradient alone", Box::new(|| gemms.run())),
            ("Hessian product", Box::new(|| second.product(&hessian, 1, &x[..p], &mut y))),
            ("Gauss-Newton product", Box::new(|| second.product(&gauss_newton, 1, &x[..p], &mut y_gn))),
            ("8 Hessian products in lanes", Box::new(|| second.product(&hessian, LANES, &x, &mut y_lanes))),
            (
                "one product of every layer block",
                Box::new(|| {
                    for (plan, len) in &blocks {
                        second.product(plan, 1, &x[..*len], &mut y_blocks[..*len]);
                    }
                }),
            ),
        ],
    );
    println!("  gradient / its matrix products     {:>6.2}", times[0] / times[1]);
    println!("  Hessian product / gradient         {:>6.2}", times[2] / times[0]);
    println!("  8 lanes, per lane / one product    {:>6.2}", times[4] / LANES as f64 / times[2]);
    println!("  all blocks / gradient              {:>6.2}", times[5] / times[0]);
    let mut group = c.benchmark_group(format!("hvp/{}/{}", T::NAME, widths.map_join()));
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.bench_function("gradient", |b| b.iter(|| first.linearize_with_gradient(&theta)));
    group.bench_function("hessian", |b| b.iter(|| second.product(&hessian, 1, &x[..p], &mut y)));
    group.bench_function("hessian-8-lanes", |b| b.iter(|| second.product(&hessian, LANES, &x, &mut y_lanes)));
    for (layer, (plan, len)) in model.layers().iter().zip(&blocks) {
        group.bench_function(format!("block-{}", layer.name), |b| {
            b.iter(|| second.product(plan, 1, &x[..*len], &mut y_blocks[..*len]));
        });
    }
    group.finish();
}

trait MapJoin {
    fn map_join(&self) -> String;
}

impl MapJoin for [usize] {
    fn map_join(&self) -> String {
        self.iter().map(usize::to_string).collect::<Vec<_>>().join("-")
    }
}

fn hvp(c: &mut Criterion) {
    let threads = rayon::current_num_threads();
    ratios::<f32>(c, &[784, 512, 256, 10], 1024, threads);
    ratios::<f64>(c, &[784, 512, 256, 10], 1024, threads);
    ratios::<f64>(c, &[64, 64, 64, 10], 1797, threads);
    ratios::<f32>(c, &[64, 64, 64, 10], 1797, threads);
    ratios::<f64>(c, &[4, 8, 8, 3], 150, threads);
}

criterion_group!(benches, hvp);
criterion_main!(benches);
