//! The same bits for any number of threads, of everything that is computed.

use eigenlens_hessian::block::BlockOptions;
use eigenlens_hessian::coupling::{CouplingOptions, coupling};
use eigenlens_hessian::curvature::Curvature;
use eigenlens_hessian::hutchinson::{HutchinsonOptions, hutchinson};
use eigenlens_hessian::kronecker::{assemble, output_curvature};
use eigenlens_hessian::layerwise::{LayerwiseOptions, layerwise};
use eigenlens_hessian::operator::Block;
use eigenlens_hessian::slq::{SlqOptions, slq};
use eigenlens_hessian::verify::{VerifyOptions, verify};
use eigenlens_linalg::eigs::{End, Options, eigs};
use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::{LinearOperator, Par, Real, View, Write, dense, gemm};
use eigenlens_nets::model::State;
use eigenlens_nets::objective::{Cut, Kind};
use eigenlens_nets::optim::{Adam, Optimizer};
use eigenlens_nets::schedule::Schedule;
use eigenlens_nets::spec::{LayerKind, Statistics};
use eigenlens_nets::train::{Evaluator, Next, TrainOptions, train};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec, Objective, zoo};

use crate::nets::{Net, apply, linearized, mlp};

/// Large enough that shards run in parallel (a million multiply-adds), in seven shards and three groups.
fn net() -> Net {
    Net {
        cut: Cut { rows: Some(96), groups: Some(3) },
        ..mlp(&[30, 40, 36, 5], Activation::Tanh, Loss::CrossEntropy, 600)
    }
}

/// f on 1, 2, 3 and 5 threads; results are compared through their debug text, which shows every bit of an f64.
fn same<R: std::fmt::Debug + Send>(f: impl Fn() -> R + Sync) {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| format!("{:?}", f()))
    };
    let one = run(1);
    for threads in [2, 3, 5] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

fn on<T: Real, R: std::fmt::Debug + Send>(net: &Net, f: impl Fn(&Objective<'_, T>) -> R + Sync) {
    let (model, samples, theta) = (net.model::<T>(), net.samples(), net.theta());
    same(|| f(&linearized(&model, &samples, &theta, net.cut)));
}

#[test]
fn loss_and_gradient() {
    on::<f64, _>(&net(), |o| (o.loss(), o.gradient().to_vec()));
    on::<f32, _>(&net(), |o| (o.loss(), o.gradient().to_vec()));
}

#[test]
fn every_curvature() {
    // The first layer has 1,240 parameters: more than samples, so that gradients have a Gram matrix; the others are dense.
    let options = BlockOptions {
        exact_max: 700,
        top: 2,
        slq: SlqOptions { probes: 2, steps: 8, ..SlqOptions::default() },
        ..BlockOptions::default()
    };
    for name in Curvature::NAMES {
        let curvature = Curvature::of_name(name).unwrap();
        on::<f64, _>(&net(), |o| {
            let parts = o.model().layer_blocks();
            [&parts[0], &parts[2]].map(|part| curvature.block(o, part, 5, &options).unwrap())
        });
    }
}

#[test]
fn the_default_cut() {
    let net = Net { cut: Cut::default(), n: 3000, ..net() };
    on::<f64, _>(&net, |o| (o.shards(), o.loss(), o.gradient().to_vec()));
}

#[test]
fn products_of_any_number_of_lanes() {
    let x = Distribution::Gaussian.probe(1, 0, 17 * net().model::<f64>().len());
    for kind in crate::nets::KINDS {
        on::<f64, _>(&net(), |o| {
            let a = Block::full(o, kind);
            [1, 2, 17].map(|k| apply(&a, k, &x[..k * a.dim()]))
        });
    }
    on::<f32, _>(&net(), |o| apply(&Block::full(o, Kind::Hessian), 3, &x[..3 * net().model::<f64>().len()]));
}

/// Statistics of the batch couple the samples: one shard, whose maps themselves run on several threads.
#[test]
fn statistics_of_the_batch() {
    let options = zoo::Options { width: Some(8), ..zoo::Options::default() };
    let task = zoo::Task { input: vec![3, 16, 16], vocabulary: None, outputs: 4 };
    let mut layers = zoo::Family::ResNetSmall(1).layers(&options, &task).unwrap();
    let mut norms = 0;
    for layer in &mut layers {
        if let LayerKind::BatchNorm { statistics, .. } = &mut layer.kind {
            *statistics = Statistics::Batch;
            norms += 1;
        }
    }
    assert!(norms > 1);
    let spec = ModelSpec::new(&task.input, layers, Loss::CrossEntropy);
    let net = Net { spec, n: 37, cut: Cut::default(), seed: 7 };
    fn products<T: Real>(o: &Objective<'_, T>, p: usize) -> (usize, f64, u64, Vec<u64>) {
        let x = Distribution::Gaussian.probe(1, 0, 3 * p);
        let a = Block::full(o, Kind::Hessian);
        let sums = [1, 3].map(|k| checksum(&apply(&a, k, &x[..k * p])));
        (o.shards(), o.loss(), checksum(o.gradient()), sums.to_vec())
    }
    let p = net.model::<f64>().len();
    on::<f64, _>(&net, |o| products(o, p));
    on::<f32, _>(&net, |o| products(o, p));
}

#[test]
fn products_of_blocks() {
    on::<f64, _>(&net(), |o| {
        (0..3)
            .map(|i| Block::layer(o, i, Kind::Hessian))
            .map(|a| apply(&a, 2, &vec![0.5; 2 * a.dim()]))
            .collect::<Vec<_>>()
    });
}

#[test]
fn kronecker_blocks_and_curvatures_of_outputs() {
    let net = Net { n: 600, ..net() };
    on::<f64, _>(&net, |o| (assemble(o, 2, Kind::Hessian), output_curvature(o, 1, Kind::GaussNewton)));
    on::<f64, _>(&net, |o| checksum(&assemble(o, 1, Kind::Hessian)));
}

/// All bits of a large array in one number.
fn checksum(a: &[f64]) -> u64 {
    a.iter().fold(17, |sum: u64, x| sum.rotate_left(5) ^ x.to_bits())
}

#[test]
fn quadratures_traces_and_extreme_pairs() {
    on::<f64, _>(&net(), |o| {
        let a = Block::layer(o, 1, Kind::Hessian);
        let slq = slq(&a, &SlqOptions { probes: 5, steps: 20, ..SlqOptions::default() }).unwrap();
        let trace = hutchinson(&a, &HutchinsonOptions { probes: 20, diagonal: true, ..Default::default() });
        (slq, checksum(&trace.diagonal.unwrap().mean), trace.trace)
    });
    on::<f64, _>(&net(), |o| {
        let found = eigs(&Block::full(o, Kind::Hessian), &Options { tol: 1e-6, ..Options::new(3, End::Both) });
        (found.values, found.residuals, checksum(&found.vectors), found.products)
    });
}

#[test]
fn dense_eigenvalues_and_vectors() {
    // Beyond the order from which faer works in parallel.
    let n = 420;
    let d = Distribution::Gaussian.probe(4, 0, n * n);
    let a: Vec<f64> = (0..n * n).map(|at| d[at] + d[at % n * n + at / n]).collect();
    same(|| {
        let e = dense::eigen(n, &a).unwrap();
        (dense::eigenvalues(n, &a).unwrap(), e.values, checksum(&e.vectors))
    });
}

#[test]
fn couplings_and_whole_reports() {
    let net =
        Net { cut: Cut { rows: Some(30), groups: Some(4) }, ..mlp(&[12, 14, 6], Activation::Silu, Loss::Mse, 400) };
    on::<f64, _>(&net, |o| {
        coupling(
            o,
            &o.model().layer_blocks(),
            Kind::Hessian,
            &CouplingOptions { exact_max: 0, probes: 20, seed: 1, ..CouplingOptions::default() },
        )
    });
    on::<f64, _>(&net, |o| {
        let all = layerwise(o, &o.model().layer_blocks(), &LayerwiseOptions::default()).unwrap();
        (all.blocks, all.coupling)
    });
    on::<f64, _>(&net, |o| {
        let block = BlockOptions { exact_max: 0, top: 4, ..BlockOptions::default() };
        layerwise(o, &o.model().layer_blocks(), &LayerwiseOptions { block, ..LayerwiseOptions::default() })
            .unwrap()
            .blocks
    });
}

#[test]
fn large_products_of_matrices() {
    // One product that is itself split between threads.
    let (m, k, n) = (300, 400, 260);
    let (a, b) = (Distribution::Gaussian.probe(1, 0, m * k), Distribution::Gaussian.probe(1, 1, k * n));
    let run = |par| {
        let mut c = vec![0.0; m * n];
        gemm(&mut c, Write::Set, 1.0, View::new(&a, m, k), View::new(&b, k, n), par);
        checksum(&c)
    };
    let one = run(Par::Seq);
    same(|| run(Par::rayon(rayon::current_num_threads())));
    assert!((2..5).all(|threads| run(Par::rayon(threads)) == one));
}

#[test]
fn training_with_products_split_between_threads() {
    // 256 samples times 64·256 + 256·256 + 2,560 multiply-adds: a batch that is worth several threads.
    let net = mlp(&[64, 256, 256, 10], Activation::Relu, Loss::CrossEntropy, 512);
    let (model, samples): (Model<f32>, _) = (net.model(), net.samples());
    let theta: Vec<f32> = net.theta().iter().map(|&t| t as f32).collect();
    let options = TrainOptions {
        optimizer: Optimizer::Adam(Adam::default()),
        lr: 1e-3,
        schedule: Schedule::Constant,
        epochs: 1,
        batch_size: 256,
        seed: 3,
        decay_biases: false,
        stopping: None,
    };
    let start = State { theta, buffers: Vec::new() };
    same(|| {
        let trained = train(&model, start.clone(), &samples, None, &options, |_, _| Next::Continue).unwrap();
        let score = Evaluator::new(&model, &samples).unwrap().score(&trained.state);
        (
            trained.state.theta.iter().fold(0u64, |s, x| s.rotate_left(5) ^ u64::from(x.to_bits())),
            trained.history,
            score,
        )
    });
}

#[test]
fn the_report_of_verify() {
    let net = mlp(&[20, 30, 4], Activation::Gelu, Loss::Bce, 60);
    let (model, samples, theta) = (net.model::<f64>(), net.samples(), net.theta());
    same(|| verify(&model, &theta, &samples, &VerifyOptions::default()).unwrap());
}
