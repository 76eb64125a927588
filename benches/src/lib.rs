//! Shared by the benches: networks with data, and ratios measured in one run.
//!
//! Machines are noisy, so every claim is a ratio: [`compare`] runs its subjects in turn, round after round, and divides the
//! medians by that of the first. Criterion's own figures are printed beside.

pub mod images;
pub mod workloads;

use std::time::Instant;

use eigenlens_autodiff::Order;
use eigenlens_linalg::{Par, Real, View, Write, gemm};
use eigenlens_nets::init::Init;
use eigenlens_nets::objective::{Cut, Reduction};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec, Objective, Samples};

/// A subject of [`compare`].
pub type Subject<'a> = (&'a str, Box<dyn FnMut() + 'a>);

/// Runs the subjects in turn for some rounds after a warm-up round; returns their median times in seconds.
pub fn medians(rounds: usize, subjects: &mut [Subject<'_>]) -> Vec<f64> {
    let mut times = vec![Vec::with_capacity(rounds); subjects.len()];
    for round in 0..=rounds {
        for ((_, run), times) in subjects.iter_mut().zip(&mut times) {
            let start = Instant::now();
            run();
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    times
        .into_iter()
        .map(|mut t| {
            t.sort_by(f64::total_cmp);
            t[t.len() / 2]
        })
        .collect()
}

/// Prints each subject's median time and its ratio to the first subject's, all measured in turn in this process.
pub fn compare(title: &str, rounds: usize, mut subjects: Vec<Subject<'_>>) -> Vec<f64> {
    let times = medians(rounds, &mut subjects);
    println!("\n{title}");
    for ((name, _), t) in subjects.iter().zip(&times) {
        println!("  {name:<34} {:>10.3} ms   {:>6.2} x", t * 1e3, t / times[0]);
    }
    times
}

/// A tanh MLP for classes.
pub fn network_spec(widths: &[usize]) -> ModelSpec {
    ModelSpec::mlp(widths, Activation::Tanh, Init::LecunNormal, Loss::CrossEntropy)
}

/// A tanh MLP with weights and data that need no file.
pub fn network<T: Real>(widths: &[usize], n: usize) -> (Model<T>, Samples) {
    let model = Model::new(&network_spec(widths)).expect("widths are positive");
    let classes = widths[widths.len() - 1];
    let value = |i: usize| ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0;
    let x = (0..n * widths[0]).map(value).collect();
    let y = (0..n).map(|i| (i % classes) as f64).collect();
    (model, Samples { n, x, y, w: Vec::new() })
}

/// The objective of a network, linearized at its starting point.
pub fn objective<'m, T: Real>(model: &'m Model<T>, samples: &Samples, order: Order) -> Objective<'m, T> {
    let mut objective =
        Objective::new(model, samples, Reduction::Mean, order, Cut::default()).expect("samples fit the network");
    objective.linearize(&model.init(1));
    objective
}

/// Directions with entries of order one, `lanes` columns of length `n`.
pub fn directions(n: usize, lanes: usize) -> Vec<f64> {
    (0..lanes * n).map(|i| ((i * 53 + 5) % 97) as f64 / 48.0 - 1.0).collect()
}

/// The matrix products that a gradient of an MLP consists of, each on the whole batch: the limit of its time.
pub struct GradientGemms<T> {
    shapes: Vec<[usize; 2]>,
    n: usize,
    buffers: Vec<[Vec<T>; 3]>,
    threads: usize,
}

impl<T: Real> GradientGemms<T> {
    /// For an MLP of these widths and a batch of n, on `threads` threads.
    pub fn new(widths: &[usize], n: usize, threads: usize) -> Self {
        let shapes: Vec<[usize; 2]> = widths.windows(2).map(|w| [w[0], w[1]]).collect();
        let buffers =
            shapes.iter().map(|[i, o]| [n * i, o * i, n * o].map(|len| vec![T::from_f64(0.5); len])).collect();
        GradientGemms { shapes, n, buffers, threads }
    }

    /// Runs them: forward X Wᵀ, then W̄ = Ȳᵀ X and, but for the first layer, X̄ = Ȳ W.
    pub fn run(&mut self) {
        let par = if self.threads > 1 { Par::rayon(self.threads) } else { Par::Seq };
        let n = self.n;
        for (l, (&[i, o], [x, w, y])) in self.shapes.iter().zip(&mut self.buffers).enumerate() {
            gemm(y, Write::Set, T::ONE, View::new(x, n, i), View::new(w, o, i).t(), par);
            gemm(w, Write::Set, T::from_f64(1e-3), View::new(y, n, o).t(), View::new(x, n, i), par);
            if l > 0 {
                gemm(x, Write::Set, T::from_f64(1e-3), View::new(y, n, o), View::new(w, o, i), par);
            }
        }
    }

    /// Multiply-adds of one run.
    pub fn multiply_adds(&self) -> f64 {
        let layer = |(l, [i, o]): (usize, &[usize; 2])| (self.n * i * o * if l == 0 { 2 } else { 3 }) as f64;
        self.shapes.iter().enumerate().map(layer).sum()
    }
}
