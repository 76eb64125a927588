//! What does the machine give for the products that networks are made of? GFLOP/s by shape, one thread.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use eigenlens_linalg::{Par, Real, View, Write, gemm};
use std::time::Duration;

/// (rows, inner, columns, whether the left operand is transposed): X Wᵀ forward, Ȳᵀ X backward, small and thin.
const SHAPES: &[(usize, usize, usize, bool)] = &[
    (64, 64, 64, false),
    (128, 784, 512, false),
    (1024, 784, 512, false),
    (512, 1024, 784, true),
    (512, 128, 784, true),
    (1797, 64, 64, false),
    (1024, 256, 10, false),
    (8, 8, 8, false),
];

fn shapes<T: Real>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("gemm/{}", T::NAME));
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600));
    for &(m, k, n, transposed) in SHAPES {
        let (a, b) = (vec![T::from_f64(0.5); m * k], vec![T::from_f64(0.25); k * n]);
        let mut dst = vec![T::ZERO; m * n];
        let left = if transposed { View::new(&a, k, m).t() } else { View::new(&a, m, k) };
        group.throughput(Throughput::Elements((2 * m * k * n) as u64));
        let name = format!("{m}x{k}x{n}{}", if transposed { "-transposed" } else { "" });
        group.bench_function(name, |bench| {
            bench.iter(|| gemm(&mut dst, Write::Set, T::ONE, left, View::new(&b, k, n), Par::Seq));
        });
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    shapes::<f32>(c);
    shapes::<f64>(c);
}

criterion_group!(benches, all);
criterion_main!(benches);
