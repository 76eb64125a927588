//! What does an exact layer block cost from structure, and what by products with unit vectors?

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use eigenlens_autodiff::Order;
use eigenlens_benches::{compare, network, objective};
use eigenlens_hessian::kronecker::assemble;
use eigenlens_hessian::operator::Block;
use eigenlens_linalg::dense::eigenvalues;
use eigenlens_linalg::operator::to_dense;
use eigenlens_nets::objective::Kind;

fn blocks(c: &mut Criterion) {
    let (model, samples) = network::<f64>(&[64, 64, 64, 10], 1797);
    let objective = objective(&model, &samples, Order::Second);
    for (index, layer) in model.layers().iter().enumerate() {
        let times = compare(
            &format!("block of {} ({} parameters), N = 1797, f64", layer.name, layer.len()),
            3,
            vec![
                ("by products with unit vectors", {
                    let objective = &objective;
                    Box::new(move || drop(to_dense(&Block::layer(objective, index, Kind::Hessian))))
                }),
                ("Kronecker assembly", {
                    let objective = &objective;
                    Box::new(move || drop(assemble(objective, index, Kind::Hessian)))
                }),
            ],
        );
        println!("  products / assembly                {:>6.1}", times[0] / times[1]);
    }
    let last = model.layers().len() - 1;
    let block = assemble(&objective, last, Kind::Hessian);
    let mut group = c.benchmark_group("dense_block");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.bench_function("assemble/fc2-4160", |b| b.iter(|| assemble(&objective, 1, Kind::Hessian)));
    group.bench_function("eigenvalues/fc3-650", |b| {
        b.iter(|| eigenvalues(model.layers()[last].len(), &block).expect("the block is finite"));
    });
    group.finish();
}

criterion_group!(benches, blocks);
criterion_main!(benches);
