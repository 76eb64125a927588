//! What the checks look at, and the plain reference beside it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use eigenlens_autodiff::check::Product;
use eigenlens_autodiff::{At, Curvature, Exchange, Linearization, Order, Plan, Workspace};
use eigenlens_linalg::lanczos::{Options, lanczos};
use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::{LinearOperator, Par, Stop, Write};
use eigenlens_nets::LayerKind;
use eigenlens_nets::model::Layer;
use eigenlens_nets::objective::{Cut, Kind, Reduction, SampleError};
use eigenlens_nets::{Activation, Model, Objective, Samples};

use crate::kronecker;
use crate::operator::Block;

/// Which part of the curvature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All parameters.
    Whole,
    /// The diagonal block of one layer.
    Layer(usize),
}

/// A Lanczos run, as far as it is checked.
pub(super) struct Run {
    pub stop: Stop,
    pub steps: usize,
    /// Ritz values, ascending.
    pub nodes: Vec<f64>,
    /// Their quadrature weights.
    pub weights: Vec<f64>,
}

type Value<'a> = dyn Fn(&[f64]) -> f64 + 'a;
type Gradient<'a> = dyn Fn(&[f64]) -> Vec<f64> + 'a;
pub(super) type Products<'a> = dyn Fn(Part, Kind, usize, &[f64]) -> Vec<f64> + Send + Sync + 'a;
type Assembly<'a> = dyn Fn(usize, Kind) -> Vec<f64> + 'a;
type Lanczos<'a> = dyn Fn(&dyn LinearOperator, &[f64], usize) -> Run + 'a;

/// A network at a point, by everything that the library computes of it. Each is a closure, so that a test can put a
/// defective one in its place.
pub(super) struct Subject<'a> {
    pub name: &'static str,
    pub model: &'a Model<f64>,
    pub samples: &'a Samples,
    pub theta: &'a [f64],
    /// L(θ).
    pub loss: Box<Value<'a>>,
    /// ∂L(θ).
    pub gradient: Box<Gradient<'a>>,
    /// ∂²L(θ) v, at any θ.
    pub hvp: Box<Product<'a>>,
    /// B X for k columns, at the subject's θ.
    pub product: Box<Products<'a>>,
    /// w_n ∂²ℓ_n/∂a_n² of a layer, as pairs.
    pub curvature: Box<Assembly<'a>>,
    /// A layer's dense block from its structure.
    pub assemble: Box<Assembly<'a>>,
    /// Lanczos from a start vector, at most so many steps.
    pub lanczos: Box<Lanczos<'a>>,
}

/// Batches of unequal size: the largest number of rows up to 7 that leaves a remainder.
pub(super) fn uneven(n: usize) -> usize {
    (2..=7).rev().find(|&rows| rows < n && !n.is_multiple_of(rows)).unwrap_or(1)
}

impl<'a> Subject<'a> {
    /// The library's own, over uneven batches in three groups.
    pub fn new(
        name: &'static str,
        model: &'a Model<f64>,
        samples: &'a Samples,
        theta: &'a [f64],
    ) -> Result<Self, SampleError> {
        let cut = Cut { rows: Some(uneven(samples.n)), groups: Some(3) };
        let objective = || {
            let mut objective = Objective::new(model, samples, Reduction::Mean, Order::Second, cut)?;
            objective.linearize_with_gradient(theta);
            Ok(objective)
        };
        let (fixed, moving) = (Arc::new(objective()?), Rc::new(RefCell::new(objective()?)));
        let (first, second, third) = (fixed.clone(), fixed.clone(), fixed);
        let (a, b, c) = (moving.clone(), moving.clone(), moving);
        Ok(Subject {
            name,
            model,
            samples,
            theta,
            loss: Box::new(move |theta| {
                let mut o = a.borrow_mut();
                go_to(&mut o, theta);
                o.loss()
            }),
            gradient: Box::new(move |theta| {
                let mut o = b.borrow_mut();
                go_to(&mut o, theta);
                o.gradient().to_vec()
            }),
            hvp: Box::new(move |theta, v| {
                let mut o = c.borrow_mut();
                go_to(&mut o, theta);
                let mut y = vec![f64::NAN; v.len()];
                Block::full(&o, Kind::Hessian).multiply(1, v, &mut y);
                y
            }),
            product: Box::new(move |part, kind, k, x| {
                let block = match part {
                    Part::Whole => Block::full(&first, kind),
                    Part::Layer(index) => Block::layer(&first, index, kind),
                };
                let mut y = vec![f64::NAN; x.len()];
                block.multiply(k, x, &mut y);
                y
            }),
            curvature: Box::new(move |index, kind| kronecker::output_curvature(&second, index, kind)),
            assemble: Box::new(move |index, kind| kronecker::assemble(&third, index, kind)),
            lanczos: Box::new(|a, start, steps| {
                let run = lanczos(a, start, &Options::steps(steps));
                let rule = run.quadrature().unwrap_or_default();
                Run { stop: run.stop(), steps: run.steps(), nodes: rule.nodes, weights: rule.weights }
            }),
        })
    }

    /// A part of the curvature as an operator.
    pub fn operator(&self, part: Part, kind: Kind) -> Operator<'_, 'a> {
        let dim = match part {
            Part::Whole => self.model.len(),
            Part::Layer(index) => self.model.layers()[index].len(),
        };
        Operator { subject: &*self.product, part, kind, dim }
    }

    /// What the rounding of sums may cost, relative to the size of the operands: a sum of m terms loses about ε √m; each
    /// layer sums over its inputs in each sweep, and the loss over samples. 16 covers the four sweeps of a product, each
    /// with a factor of 4 for the spread of random errors.
    pub fn rounding(&self) -> f64 {
        let widths: f64 = self.model.layers().iter().map(|l| (l.inputs as f64 + 1.0).sqrt()).sum();
        16.0 * f64::EPSILON * (self.samples.n as f64).sqrt() * widths
    }
}

fn go_to(objective: &mut Objective<'_, f64>, theta: &[f64]) {
    if objective.theta() != theta {
        objective.linearize_with_gradient(theta);
    }
}

/// A part of a subject's curvature, as an operator.
pub(super) struct Operator<'s, 'a> {
    subject: &'s Products<'a>,
    part: Part,
    kind: Kind,
    dim: usize,
}

impl LinearOperator for Operator<'_, '_> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        y.copy_from_slice(&(self.subject)(self.part, self.kind, k, x));
    }

    fn lanes(&self) -> usize {
        8
    }
}

/// cL of a network in the plainest way: one linearization of all samples at once, one column at a time, the penalty added
/// by hand. Also the operator of its Hessian.
pub(super) struct Merged<'a> {
    model: &'a Model<f64>,
    theta: &'a [f64],
    factor: f64,
    pub linearization: Linearization<f64>,
    pub loss: f64,
    pub gradient: Vec<f64>,
    plans: [Plan; 2],
}

impl<'a> Merged<'a> {
    /// For L multiplied by `factor`.
    pub fn new(model: &'a Model<f64>, samples: &Samples, theta: &'a [f64], factor: f64) -> Self {
        let f = model.function();
        let at = At { function: f, theta };
        let weights = vec![factor / samples.n as f64; samples.n];
        let mut lin = Linearization::new(f, samples.n, Order::Second, Par::Seq);
        lin.input_mut(model.input()).copy_from_slice(&samples.x);
        lin.input_mut(model.target()).copy_from_slice(&samples.y);
        let mut loss = lin.evaluate(at, &weights);
        let mut buffers = f.param_buffers(1);
        lin.pull(at, &weights, Some((&mut buffers, Write::Set)));
        let mut gradient: Vec<f64> =
            f.graph().params().iter().flat_map(|p| buffers[p.index()].iter().copied()).collect();
        for (range, lambda) in model.penalized() {
            for i in range {
                loss += 0.5 * factor * lambda * theta[i] * theta[i];
                gradient[i] += factor * lambda * theta[i];
            }
        }
        let params = f.graph().params();
        let plan = |c| Plan::new(f.graph(), params, &[], params, c).expect("parameters are not nested");
        let plans = [plan(Curvature::Hessian), plan(Curvature::GaussNewton { head: model.logits() })];
        Merged { model, theta, factor, linearization: lin, loss, gradient, plans }
    }

    /// H v or G v.
    pub fn product(&self, kind: Kind, v: &[f64]) -> Vec<f64> {
        let f = self.model.function();
        let plan = &self.plans[usize::from(kind == Kind::GaussNewton)];
        let (directions, mut out) = (self.directions(v), f.param_buffers(1));
        let mut ws = Workspace::new();
        ws.fit(f, plan, self.linearization.batch(), 1);
        let io = Exchange { directions: &directions, out: &mut out, write: Write::Set, first: 0 };
        self.linearization.product(At { function: f, theta: self.theta }, plan, &mut ws, io);
        let mut y: Vec<f64> = f.graph().params().iter().flat_map(|p| out[p.index()].iter().copied()).collect();
        for (range, lambda) in self.model.penalized() {
            range.for_each(|i| y[i] += self.factor * lambda * v[i]);
        }
        y
    }

    /// Σ_ℓ Σ_n ‖∂ℓ_n/∂a_ℓ‖ ‖ẑ_ℓ‖, the sizes of what is added up in the gradient, and that of the penalty's.
    pub fn gradient_operands(&self) -> f64 {
        let mut size: f64 = self.model.penalized().into_iter().map(|(r, l)| l * super::norm(&self.theta[r])).sum();
        for layer in self.model.layers() {
            let rows = self.linearization.cotangent(layer.output).chunks_exact(layer.outputs);
            let z = self.linearization.value(layer.input).chunks_exact(layer.inputs);
            size += rows.zip(z).map(|(g, z)| super::norm(g) * (super::norm(z) + 1.0)).sum::<f64>();
        }
        size
    }

    fn directions(&self, v: &[f64]) -> Vec<Vec<f64>> {
        let graph = self.model.graph();
        let mut directions = self.model.function().param_buffers(1);
        for &p in graph.params() {
            directions[p.index()].copy_from_slice(&v[graph.param_range(p)]);
        }
        directions
    }

    /// J v of every sample, J the Jacobian of the network's output: shape (N, outputs).
    pub fn push(&self, v: &[f64]) -> Vec<f64> {
        let f = self.model.function();
        let plan =
            Plan::new(f.graph(), f.graph().params(), &[], &[], Curvature::None).expect("parameters are not nested");
        let (directions, mut out) = (self.directions(v), f.param_buffers(1));
        let mut ws = Workspace::new();
        ws.fit(f, &plan, self.linearization.batch(), 1);
        let io = Exchange { directions: &directions, out: &mut out, write: Write::Set, first: 0 };
        self.linearization.product(At { function: f, theta: self.theta }, &plan, &mut ws, io);
        ws.tangent(self.model.logits()).to_vec()
    }
}

impl LinearOperator for Merged<'_> {
    fn dim(&self) -> usize {
        self.model.len()
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        let n = self.dim();
        for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)).take(k) {
            y.copy_from_slice(&self.product(Kind::Hessian, x));
        }
    }
}

/// Arguments of activations with kinks in all samples together, above which fewer samples are taken (but 8).
const KINKS: usize = 8192;

/// At most `rows` samples, evenly spread; fewer of a wide network with kinks, where the Taylor remainder of third order
/// would drown in rounding before it is free of them.
pub(super) fn spread(model: &Model<f64>, samples: &Samples, rows: usize) -> Samples {
    let kinks: usize = kinked(model).map(|l| l.outputs).sum();
    let n = rows.min((KINKS / kinks.max(1)).max(8)).clamp(1, samples.n);
    let (features, targets) = (model.features(), model.target_size());
    let pick = |from: &[f64], width: usize| -> Vec<f64> {
        (0..n).flat_map(|i| from[i * samples.n / n * width..][..width].iter().copied()).collect()
    };
    Samples { n, x: pick(&samples.x, features), y: pick(&samples.y, targets) }
}

/// Where the network is checked.
pub(super) struct Point {
    pub theta: Vec<f64>,
    /// Whether that is not the point asked for, because of kinks.
    pub moved: bool,
}

/// How often a point away from kinks is looked for. One in five random points is refused, so that all are is unheard of.
const TRIALS: u64 = 12;

/// θ itself, or a point nearby if some sample lies on a kink or unusually close to one: the Taylor remainders, which are
/// followed over four orders of magnitude, would then jump at every step.
pub(super) fn off_kinks(model: &Model<f64>, theta: &[f64], samples: &Samples, seed: u64) -> Result<Point, SampleError> {
    let mut objective = Objective::new(model, samples, Reduction::Mean, Order::Value, Cut::default())?;
    // A hundredth of the typical entry in every direction: far from the kinks, near in every other respect.
    let typical = (super::norm(theta) / (theta.len() as f64).sqrt()).max(1e-2);
    for trial in 0..TRIALS {
        let mut point = theta.to_vec();
        if trial > 0 {
            let noise = Distribution::Gaussian.probe(seed, u64::MAX - 1 - trial, theta.len());
            point.iter_mut().zip(&noise).for_each(|(t, z)| *t += 1e-2 * typical * z);
        }
        objective.linearize(&point);
        if !near_kink(&objective) {
            return Ok(Point { theta: point, moved: trial > 0 });
        }
    }
    Ok(Point { theta: theta.to_vec(), moved: false })
}

/// Whether the argument of a piecewise activation, over its root mean square, is closer to 0 than 0.25 of what the nearest
/// of as many normal numbers typically is, √(π/2) / count.
fn near_kink(objective: &Objective<'_, f64>) -> bool {
    let (mut nearest, mut count) = (f64::INFINITY, 0);
    for layer in kinked(objective.model()) {
        let values = || (0..objective.shards()).flat_map(|s| objective.shard(s).0.value(layer.output));
        let size = (values().map(|a| a * a).sum::<f64>() / values().count() as f64).sqrt();
        nearest = values().fold(nearest, |m, a| m.min(if size > 0.0 { a.abs() / size } else { 0.0 }));
        count += values().count();
    }
    nearest < 0.25 * (std::f64::consts::PI / 2.0).sqrt() / count.max(1) as f64
}

/// The layers that are followed by an activation with a kink. ELU has its own in the second derivative.
fn kinked(model: &Model<f64>) -> impl Iterator<Item = &Layer> {
    let followed: Vec<&String> = (model.spec().layers.windows(2))
        .filter(|pair| {
            let kinked = Activation::has_kink;
            matches!(&pair[1].kind, LayerKind::Activation(a) if kinked(a)) && !pair[0].name.is_empty()
        })
        .map(|pair| &pair[0].name)
        .collect();
    model.layers().iter().filter(move |l| followed.contains(&&l.name))
}
