//! How near do convolutions come to the rate of matrix products? GFLOP/s of each map, one thread, and its share of the
//! rate of a 256³ product measured in turn with it.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use eigenlens_autodiff::op::{Cotangent, Cx, Lanes, Op, Primal, Slot};
use eigenlens_autodiff::ops::Conv2d;
use eigenlens_autodiff::{Shape, Window};
use eigenlens_benches::{Subject, medians};
use eigenlens_linalg::{Par, Real, View, Write, gemm};

/// (name, input, outputs, kernel, stride, padding, groups, batch)
type Layer = (&'static str, [usize; 3], usize, usize, usize, usize, usize, usize);

const LAYERS: &[Layer] = &[
    ("5x5 of 8 images", [1, 28, 28], 8, 5, 1, 0, 1, 8),
    ("LeNet-5, first", [1, 28, 28], 6, 5, 1, 2, 1, 256),
    ("LeNet-5, second", [6, 14, 14], 16, 5, 1, 0, 1, 256),
    ("LeNet-5, third", [16, 5, 5], 120, 5, 1, 0, 1, 256),
    ("ResNet-20, stem", [3, 32, 32], 16, 3, 1, 1, 1, 64),
    ("ResNet-20, 16 channels", [16, 32, 32], 16, 3, 1, 1, 1, 64),
    ("ResNet-20, 16 to 32", [16, 32, 32], 32, 3, 2, 1, 1, 64),
    ("ResNet-20, 32 channels", [32, 16, 16], 32, 3, 1, 1, 1, 64),
    ("ResNet-20, 64 channels", [64, 8, 8], 64, 3, 1, 1, 1, 64),
    ("1x1, 64 channels", [64, 16, 16], 64, 1, 1, 0, 1, 64),
    ("depthwise, 32 channels", [32, 16, 16], 32, 3, 1, 1, 32, 64),
];

const LANES: usize = 8;

fn values<T: Real>(len: usize, seed: usize) -> Vec<T> {
    (0..len).map(|i| T::from_f64(((i * 37 + seed) % 101) as f64 / 50.0 - 1.0)).collect()
}

/// A layer at a point, with directions in lanes and room for every result.
struct Probe<T> {
    op: Conv2d,
    cx: Cx,
    x: Vec<T>,
    w: Vec<T>,
    gy: Vec<T>,
    dx: Vec<T>,
    dw: Vec<T>,
    dgy: Vec<T>,
}

impl<T: Real> Probe<T> {
    fn new(&(_, input, outputs, kernel, stride, padding, groups, batch): &Layer) -> (Self, f64) {
        let window = Window::square(kernel).stride(stride).padding(padding);
        let op = Conv2d::new(input, outputs, window).groups(groups);
        let [x, w] = [Shape::batched(&input), Shape::fixed(&op.weight_dims())];
        let y = Op::<T>::output_shape(&op, &[x.clone(), w.clone()]).expect("the shapes meet");
        let flops = 2.0 * (w.size() * y.dims[1] * y.dims[2] * batch) as f64;
        let [x, w, y] = [x.len(batch), w.len(batch), y.len(batch)];
        let probe = Probe {
            op,
            cx: Cx { batch, par: Par::Seq },
            x: values(x, 1),
            w: values(w, 2),
            gy: values(y, 3),
            dx: values(LANES * x, 4),
            dw: values(LANES * w, 5),
            dgy: values(LANES * y, 6),
        };
        (probe, flops)
    }

    fn eval(&self, y: &mut [T]) {
        self.op.eval(&self.cx, &[&self.x, &self.w], y, &mut []);
    }

    fn vjp(&self, gx: Option<&mut [T]>, gw: Option<&mut [T]>) {
        let slots = &mut [gx, gw].map(|slot| slot.map(|data| Slot { data, lanes: 1, write: Write::Set }));
        let primal = Primal { x: &[&self.x, &self.w], y: &self.gy, saved: &[] };
        self.op.vjp(&self.cx, primal, Lanes::new(&self.gy, 1), slots);
    }

    fn part<'a>(v: &'a [T], lanes: usize) -> Option<Lanes<'a, T>> {
        Some(Lanes::new(&v[..v.len() / LANES * lanes], lanes))
    }

    fn jvp(&self, lanes: usize, dy: &mut [T]) {
        let primal = Primal { x: &[&self.x, &self.w], y: &self.gy, saved: &[] };
        let dy = &mut dy[..self.gy.len() * lanes];
        self.op.jvp(&self.cx, primal, &[Self::part(&self.dx, lanes), Self::part(&self.dw, lanes)], dy);
    }

    fn vjp_jvp(&self, lanes: usize, gx: &mut [T], gw: &mut [T]) {
        let slots = &mut [(gx, self.x.len()), (gw, self.w.len())]
            .map(|(data, len)| Some(Slot { data: &mut data[..len * lanes], lanes, write: Write::Set }));
        let primal = Primal { x: &[&self.x, &self.w], y: &self.gy, saved: &[] };
        let cotangent = Cotangent { gy: &self.gy, bent: &[] };
        let dx = [Self::part(&self.dx, lanes), Self::part(&self.dw, lanes)];
        self.op.vjp_jvp(&self.cx, primal, cotangent, &dx, Self::part(&self.dgy, lanes), slots);
    }
}

fn layers<T: Real>(c: &mut Criterion) {
    let (a, b) = (values::<T>(1 << 16, 1), values::<T>(1 << 16, 2));
    println!("\n{}, GFLOP/s and per cent of a 256³ product", T::NAME);
    let names = ["eval", "jvp", "vjp to x", "vjp to W", "vjp_jvp", "in 8 lanes"];
    println!("  {:<24}{}", "", names.map(|name| format!("{name:>14}")).concat());
    let mut group = c.benchmark_group(format!("conv/{}", T::NAME));
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(300));
    for layer in LAYERS {
        let (probe, flops) = Probe::<T>::new(layer);
        let zeros = |len: usize| vec![T::ZERO; len];
        let (mut product, mut y, mut dy) = (zeros(1 << 16), zeros(probe.gy.len()), zeros(probe.dgy.len()));
        let (mut gx, mut gw) = (zeros(probe.x.len()), zeros(probe.w.len()));
        let (mut dgx, mut dgw) = (zeros(probe.x.len()), zeros(probe.w.len()));
        let (mut dgx8, mut dgw8) = (zeros(probe.dx.len()), zeros(probe.dw.len()));
        let (left, right) = (View::new(&a, 256, 256), View::new(&b, 256, 256));
        let mut subjects: Vec<Subject<'_>> = vec![
            ("peak", Box::new(|| gemm(&mut product, Write::Set, T::ONE, left, right, Par::Seq))),
            ("eval", Box::new(|| probe.eval(&mut y))),
            ("jvp", Box::new(|| probe.jvp(1, &mut dy))),
            ("vjp to x", Box::new(|| probe.vjp(Some(&mut gx), None))),
            ("vjp to W", Box::new(|| probe.vjp(None, Some(&mut gw)))),
            ("vjp_jvp", Box::new(|| probe.vjp_jvp(1, &mut dgx, &mut dgw))),
            ("vjp_jvp-8", Box::new(|| probe.vjp_jvp(LANES, &mut dgx8, &mut dgw8))),
        ];
        let times = medians(15, &mut subjects);
        let peak = 2.0 * 256f64.powi(3) / times[0] / 1e9;
        print!("  {:<24}", layer.0);
        // The maps in products of the size of `eval`.
        for (time, products) in times[1..].iter().zip([1.0, 2.0, 1.0, 1.0, 4.0, 4.0 * LANES as f64]) {
            let rate = products * flops / time / 1e9;
            print!(" {rate:>7.1} {:>3.0} %", 100.0 * rate / peak);
        }
        println!();
        for (name, run) in subjects.iter_mut().skip(1) {
            group.bench_function(format!("{}/{name}", layer.0), |b| b.iter(&mut *run));
        }
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    layers::<f32>(c);
    layers::<f64>(c);
}

criterion_group!(benches, all);
criterion_main!(benches);
