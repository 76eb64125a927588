//! What does stochastic Lanczos quadrature of a layer cost beyond its products?

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use eigenlens_autodiff::Order;
use eigenlens_benches::{compare, directions, network, objective};
use eigenlens_hessian::operator::Block;
use eigenlens_hessian::slq::{SlqOptions, slq};
use eigenlens_linalg::LinearOperator;
use eigenlens_nets::objective::Kind;

fn quadrature(c: &mut Criterion) {
    let (model, samples) = network::<f64>(&[64, 64, 64, 10], 1797);
    let objective = objective(&model, &samples, Order::Second);
    let options = SlqOptions { probes: 4, steps: 40, ..SlqOptions::default() };
    let block = Block::layer(&objective, 0, Kind::Hessian);
    let n = block.dim();
    let x = directions(n, options.probes);
    let mut y = vec![0.0; x.len()];
    let times = compare(
        "layer fc1 of 64-64-64-10, N = 1797, f64: 4 probes, 40 steps",
        5,
        vec![
            (
                "the 160 products alone",
                Box::new(|| {
                    for _ in 0..options.steps {
                        block.apply(options.probes, &x, &mut y);
                    }
                }),
            ),
            ("quadrature", Box::new(|| drop(slq(&block, &options).expect("the block is finite")))),
        ],
    );
    println!("  quadrature / its products          {:>6.2}", times[1] / times[0]);
    let mut group = c.benchmark_group("lanczos");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.bench_function("slq/fc1-4160", |b| b.iter(|| slq(&block, &options).expect("the block is finite")));
    group.finish();
}

criterion_group!(benches, quadrature);
criterion_main!(benches);
