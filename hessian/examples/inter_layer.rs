//! How curvature couples the layers of networks of width 64 on MNIST, five seeds each: with and without skip connections,
//! smooth and piecewise-linear activations, with and without layer norm, behind a bottleneck. The kinds of numbers that
//! Bolshim & Kugaevskikh (arXiv 2604.11639) publish for CIFAR-10; what this prints stands in docs/inter-layer.md.
//!
//! `cargo run --release -p eigenlens-hessian --example inter_layer -- [samples]`

use eigenlens_autodiff::Order;
use eigenlens_hessian::estimate::Estimate;
use eigenlens_hessian::geometry::{Geometry, GeometryOptions, geometry, geometry_by_sample};
use eigenlens_nets::data::{Scaling, Source, Standardizer, load, subsample};
use eigenlens_nets::init::Init;
use eigenlens_nets::objective::{Cut, Reduction};
use eigenlens_nets::zoo::{Family, Norm, Options, Task};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec, Objective, Samples};

const SEEDS: u64 = 5;

/// Mean and standard deviation over the seeds; how many there are, if a number is not defined for all.
fn show(values: &[f64]) -> String {
    let values: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    let of = if values.len() < SEEDS as usize { format!(" ({} of {SEEDS})", values.len()) } else { String::new() };
    format!("{mean:.4} ± {deviation:.4}{of}")
}

/// How the samples are shifted.
#[derive(Clone, Copy)]
enum Shift {
    Together,
    EachByItself,
}

/// The geometry of a network for each seed, at its start.
fn at_init(samples: &Samples, shift: Shift, family: Family, options: Options) -> Vec<Geometry> {
    let task = Task { input: vec![784], vocabulary: None, outputs: 10 };
    let layers = family.layers(&options, &task).expect("options of the family");
    let model = Model::<f64>::new(&ModelSpec::new(&[784], layers, Loss::CrossEntropy)).expect("layers that fit");
    let mut objective =
        Objective::new(&model, samples, Reduction::Mean, Order::Second, Cut::default()).expect("samples that fit");
    let one = |seed| {
        objective.linearize(&model.init(seed));
        let options = GeometryOptions { seed, ..Default::default() };
        match shift {
            Shift::Together => geometry(&objective, &options),
            Shift::EachByItself => geometry_by_sample(&objective, &options),
        }
    };
    (0..SEEDS).map(one).collect()
}

/// What `number` reads off each geometry.
fn over(found: &[Geometry], number: impl Fn(&Geometry) -> f64) -> Vec<f64> {
    found.iter().map(number).collect()
}

/// Mean of a curve at one distance.
fn at(found: &Geometry, distance: usize, number: impl Fn(&Geometry, usize, usize) -> Option<f64>) -> f64 {
    let curve = found.curve(|v, w| number(found, v, w));
    curve.iter().find(|p| p.distance == distance).map_or(f64::NAN, |p| p.mean)
}

/// ‖T‖_F / ‖G‖_F of all blocks together.
fn total_gap(found: &Geometry) -> f64 {
    let sum = |part: &[Vec<Estimate>]| part.iter().flatten().map(|e| e.mean * e.mean).sum::<f64>().sqrt();
    sum(&found.tensor) / sum(&found.gauss_newton)
}

fn row(name: &str, cells: &[String]) {
    println!("   {name:<10}{}", cells.iter().map(|c| format!("{c:>26}")).collect::<String>());
}

fn main() {
    let n = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(512);
    let data = load(&Source::Builtin("mnist".into())).expect("the set is built in");
    let train: Vec<usize> = data.train_part().collect();
    let scaled = Standardizer::fit(&data, &train, Scaling::ZScore, false).expect("finite data").apply(&data);
    let chosen = scaled.subset(&subsample(&scaled, &train, n, 0));
    let samples = Samples::new(&chosen, Loss::CrossEntropy, 10).expect("labels");
    let init = |name: &str| name.parse::<Init>().expect("an init");
    let with = |activation, start: &str| Options {
        width: Some(64),
        activation: Some(activation),
        init: Some(init(start)),
        ..Default::default()
    };
    println!("{n} images, means and standard deviations over {SEEDS} seeds, at init, width 64");

    println!("\n1. ReLU, 12 layers; all samples shifted together. C: mean coupling at distance 11; log R = a - b d");
    row("", &["C, he-normal", "b", "C, pytorch", "b"].map(String::from));
    for (name, skips) in [("plain", false), ("residual", true)] {
        let cells = ["he-normal", "pytorch"].map(|start| {
            let options = Options { depth: Some(12), skips: Some(skips), ..with(Activation::Relu, start) };
            let found = at_init(&samples, Shift::Together, Family::ResidualMlp, options);
            let decay = over(&found, |g| g.decay().map_or(f64::NAN, |d| d.b));
            [show(&over(&found, |g| at(g, 11, Geometry::coupling))), show(&decay)]
        });
        row(name, &cells.concat());
    }

    println!("\n2. 6 layers without skips, pytorch's init. GN-Gap of all blocks together");
    println!("   {:<10}{:>52}{:>52}", "", "each sample shifted by itself", "all samples shifted together");
    row("", &["no norm", "layer norm", "no norm", "layer norm"].map(String::from));
    for activation in [Activation::Relu, Activation::Softplus, Activation::Silu, Activation::Gelu] {
        let cells = [Shift::EachByItself, Shift::Together].map(|shift| {
            [Norm::None, Norm::Layer].map(|norm| {
                let options =
                    Options { depth: Some(6), skips: Some(false), norm: Some(norm), ..with(activation, "pytorch") };
                show(&over(&at_init(&samples, shift, Family::ResidualMlp, options), total_gap))
            })
        });
        row(activation.name(), &cells.concat());
    }

    println!("\n3. ReLU, 7 layers with d_u units in the middle one. Mean D of the blocks farthest apart (distance 6)");
    row("d_u", &["xavier-normal", "he-normal"].map(String::from));
    for units in [1, 2, 4, 8, 16, 32, 64] {
        let cells = ["xavier-normal", "he-normal"].map(|start| {
            let options = Options { depth: Some(7), bottleneck: Some(units), ..with(Activation::Relu, start) };
            let found = at_init(&samples, Shift::Together, Family::BottleneckMlp, options);
            show(&over(&found, |g| at(g, 6, Geometry::stable_rank)))
        });
        row(&units.to_string(), &cells);
    }
}
