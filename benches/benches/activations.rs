//! What does an element cost in each op: value with slope, and the two terms of a Hessian product?

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use eigenlens_autodiff::op::{Cotangent, Cx, Lanes, Primal, Slot};
use eigenlens_autodiff::ops::cases;
use eigenlens_linalg::{Par, Real, Write};

const ELEMENTS: usize = 1 << 13;

fn ops<T: Real>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("elementwise/{}", T::NAME));
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(300));
    group.throughput(Throughput::Elements(ELEMENTS as u64));
    let x: Vec<T> = (0..ELEMENTS).map(|i| T::from_f64((i % 401) as f64 / 100.0 - 2.0)).collect();
    let cx = Cx { batch: ELEMENTS, par: Par::Seq };
    for case in cases::<T>() {
        // Elementwise ops are those with one batched input that save one slope per element.
        let op = (case.op)();
        let elementwise = (case.inputs)().len() == 1 && op.saved_len(&[ELEMENTS], ELEMENTS) == ELEMENTS;
        if !elementwise {
            continue;
        }
        let (mut y, mut saved) = (vec![T::ZERO; ELEMENTS], vec![T::ZERO; ELEMENTS]);
        let mut bent = vec![T::ZERO; op.bent_len(&[ELEMENTS], ELEMENTS)];
        let mut out = vec![T::ZERO; ELEMENTS];
        group.bench_function(format!("{}/eval", case.name), |b| b.iter(|| op.eval(&cx, &[&x], &mut y, &mut saved)));
        let primal = Primal { x: &[&x], y: &y, saved: &saved };
        op.bend(&cx, primal, &x, &mut bent);
        group.bench_function(format!("{}/vjp_jvp", case.name), |b| {
            b.iter(|| {
                let cotangent = Cotangent { gy: &x, bent: &bent };
                let mut slot = [Some(Slot { data: &mut out, lanes: 1, write: Write::Set })];
                op.vjp_jvp(&cx, primal, cotangent, &[Some(Lanes::new(&x, 1))], Some(Lanes::new(&x, 1)), &mut slot);
            });
        });
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    ops::<f32>(c);
    ops::<f64>(c);
}

criterion_group!(benches, all);
criterion_main!(benches);
