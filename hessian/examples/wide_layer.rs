//! All eigenvalues of the first layer of a 784-512-10 ReLU network, 401,920 parameters, on 500 images of MNIST: time and memory,
//! and agreement with Lanczos, trace and Frobenius norm.
//!
//! `cargo run --release -p eigenlens-hessian --example wide_layer -- [samples]`

use std::time::Instant;

use eigenlens_autodiff::Order;
use eigenlens_hessian::gram::{Estimate, Factors};
use eigenlens_hessian::kronecker::Tile;
use eigenlens_hessian::operator::Block;
use eigenlens_hessian::spectrum::Spectrum;
use eigenlens_linalg::LinearOperator;
use eigenlens_linalg::eigs::{End, Options, eigs};
use eigenlens_nets::data::{Source, load};
use eigenlens_nets::init::{Fan, Init};
use eigenlens_nets::objective::{Cut, Kind, Reduction};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec, Objective, Samples};

/// Says what a step took, and returns its result.
fn step<R>(what: &str, f: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = f();
    println!("{what:<46} {:>8.2} s   peak {}", start.elapsed().as_secs_f64(), peak());
    result
}

/// The most memory that this process has held, where the system tells.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.map_or("unknown".to_string(), |k| format!("{:.0} MB", k / 1024.0))
}

fn main() {
    let n = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(500);
    let data = step("reading MNIST", || load(&Source::Builtin("mnist".into())).expect("the set is built in"));
    let all = Samples::new(&data, Loss::CrossEntropy, 10).expect("labels");
    let x = all.x[..n * 784].iter().map(|x| x / 255.0).collect();
    let samples = Samples { n, x, y: all.y[..n].to_vec(), w: Vec::new() };
    let spec = ModelSpec::mlp(
        &[784, 512, 10],
        Activation::Relu,
        Init::HeNormal { fan: Fan::In, gain: std::f64::consts::SQRT_2 },
        Loss::CrossEntropy,
    );
    let model = Model::<f64>::new(&spec).expect("a valid network");
    let mut objective =
        Objective::new(&model, &samples, Reduction::Mean, Order::Second, Cut::default()).expect("samples that fit");
    objective.linearize(&model.init(0));
    let (part, tile) = (&model.layer_blocks()[0], Tile::layer(&model, 0));
    let estimate = Estimate::of(&model, n, part, Kind::Hessian).expect("an affine layer");
    println!(
        "{} parameters, {n} samples: a matrix of order {}, {:.0} GFLOP, {:.0} MB expected",
        part.len(),
        estimate.order,
        2e-9 * (estimate.work + estimate.eigenvalues),
        estimate.bytes / 1048576.0
    );
    let factors = step("columns", || Factors::new(&objective, &tile, Kind::Hessian).expect("finite numbers"));
    let found = step("all eigenvalues", || factors.spectrum().expect("one penalty"));
    let Spectrum::Exact { eigenvalues, repeated } = &found.spectrum else { unreachable!("the route is exact") };
    println!("{} eigenvalues and {} times {}", eigenvalues.len(), repeated.count, repeated.value);
    let squares = step("Frobenius norm from columns", || factors.frobenius_squared());
    let block = Block::layer(&objective, 0, Kind::Hessian);
    let lanczos = step("the largest 5 by Lanczos on Hessian products", || eigs(&block, &Options::new(5, End::Largest)));
    for (k, (value, residual)) in lanczos.values.iter().zip(&lanczos.residuals).enumerate() {
        let own = found.spectrum.largest(k).expect("so many").value;
        println!("λ_{} = {own:.12e}, by Lanczos off by {:.1e} (residual {residual:.1e})", k + 1, value / own - 1.0);
    }
    let trace: f64 = eigenvalues.iter().sum();
    println!("trace {:.12e}, off by {:.1e}", factors.trace(), trace / factors.trace() - 1.0);
    let norm = eigenvalues.iter().map(|x| x * x).sum::<f64>();
    println!("Frobenius norm {:.12e}, off by {:.1e}", squares.sqrt(), (norm / squares).sqrt() - 1.0);
    println!("smallest of the {}: {:.3e}; error bound {:.1e}", eigenvalues.len(), eigenvalues[0], found.bound);
    let x = vec![1.0; part.len()];
    let mut y = vec![0.0; part.len()];
    step("a product by columns", || factors.apply(1, &x, &mut y));
    step("a product by sweeps", || block.apply(1, &x, &mut y));
}
