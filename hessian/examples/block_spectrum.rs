//! The exact block of every layer of a 64-64-64-10 network on all 1,797 digits, by structure and by lane-batched products:
//! times of both, agreement of the entries and of all eigenvalues.
//!
//! `cargo run --release -p eigenlens-hessian --example block_spectrum`

use std::time::Instant;

use eigenlens_autodiff::Order;
use eigenlens_hessian::kronecker::assemble;
use eigenlens_hessian::operator::Block;
use eigenlens_linalg::{dense, operator};
use eigenlens_nets::data::{Scaling, Source, Standardizer, load};
use eigenlens_nets::init::Init;
use eigenlens_nets::objective::{Cut, Kind, Reduction};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec, Objective, Samples};

/// f, and the seconds it took.
fn timed<R>(f: impl FnOnce() -> R) -> (R, f64) {
    let start = Instant::now();
    let result = f();
    (result, start.elapsed().as_secs_f64())
}

/// max |a − b| / max |b|.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    let size = b.iter().fold(f64::MIN_POSITIVE, |m, x| m.max(x.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / size
}

fn main() {
    let data = load(&Source::Builtin("digits".into())).expect("the set is built in");
    let rows: Vec<usize> = (0..data.rows).collect();
    let data = Standardizer::fit(&data, &rows, Scaling::ZScore, false).expect("finite columns").apply(&data);
    let spec = ModelSpec::mlp(&[64, 64, 64, 10], Activation::Tanh, Init::LecunNormal, Loss::CrossEntropy);
    let model = Model::<f64>::new(&spec).expect("a valid network");
    let samples = Samples::new(&data, Loss::CrossEntropy, 10).expect("labels");
    let cut = Cut::default();
    let mut objective =
        Objective::new(&model, &samples, Reduction::Mean, Order::Second, cut).expect("samples that fit");
    objective.linearize(&model.init(0));
    println!("{} samples, {} parameters, {} threads", samples.n, model.len(), rayon::current_num_threads());
    println!("layer      p   structure   products   ratio   entries   eigenvalues");
    let (mut by_structure, mut by_products) = (0.0, 0.0);
    for (index, layer) in model.layers().iter().enumerate() {
        let (structured, fast) = timed(|| assemble(&objective, index, Kind::Hessian));
        let (products, slow) = timed(|| operator::to_dense(&Block::layer(&objective, index, Kind::Hessian)));
        let entries = difference(&structured, &products);
        let eigenvalues = |a: &[f64]| dense::eigenvalues(layer.len(), a).expect("a finite symmetric matrix");
        let (values, seconds) = timed(|| eigenvalues(&structured));
        let agreement = difference(&values, &eigenvalues(&products));
        println!(
            "{:<6} {:>5} {fast:>9.3} s {slow:>8.3} s {:>7.3} {entries:>9.1e} {agreement:>13.1e}  ({seconds:.2} s for all eigenvalues)",
            layer.name,
            layer.len(),
            fast / slow,
        );
        assert!(agreement <= 1e-10, "the spectra differ");
        by_structure += fast;
        by_products += slow;
    }
    println!("all blocks: {by_structure:.3} s and {by_products:.3} s, ratio {:.3}", by_structure / by_products);
}
