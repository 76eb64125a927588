//! What the checks look at, and the plain reference beside it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use eigenlens_autodiff::check::Product;
use eigenlens_autodiff::{At, Curvature, Exchange, Linearization, Order, Plan, Workspace};
use eigenlens_linalg::lanczos::{Options, lanczos};
use eigenlens_linalg::{LinearOperator, Par, Stop, Write};
use eigenlens_nets::LayerKind;
use eigenlens_nets::model::Layer;
use eigenlens_nets::objective::{Cut, Kind, Reduction, SampleError};
use eigenlens_nets::{Model, Objective, Samples};

use super::wiring::Wiring;
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
    /// with a factor of 4 for the spread of random errors. A layer with several rows (pixels, tokens) sums over them too,
    /// and so does each of its uses.
    pub fn rounding(&self) -> f64 {
        let wiring = Wiring::new(self.model);
        let terms = |l: &Layer| (l.inputs as f64 + 1.0) * rows(self.model, l);
        let widths: f64 = self.model.layers().iter().map(|l| wiring.uses(l).len() as f64 * terms(l).sqrt()).sum();
        16.0 * f64::EPSILON * (self.samples.n as f64).sqrt() * widths
    }
}

/// Rows of a layer's result for each sample: pixels, tokens.
fn rows(model: &Model<f64>, layer: &Layer) -> f64 {
    (model.graph().shape(layer.output).size() / layer.outputs).max(1) as f64
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
        let weights: Vec<f64> = (0..samples.n).map(|i| factor / samples.n as f64 * samples.weight(i)).collect();
        let mut lin = Linearization::new(f, samples.n, Order::Second, Par::Seq);
        lin.input_mut(model.input()).copy_from_slice(&samples.x);
        lin.input_mut(model.target()).copy_from_slice(&samples.y);
        for (buffer, values) in model.buffers().iter().zip(model.start_buffers()) {
            lin.input_mut(buffer.node).copy_from_slice(&values);
        }
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

    /// Σ_ℓ Σ_n ‖∂ℓ_n/∂a_ℓ‖ ‖ẑ_ℓ‖ over all uses, the sizes of what is added up in the gradient, and that of the penalty's.
    ///
    /// ẑ is all that a layer's parameters are multiplied with for a sample: z and a one for each row, an input as often
    /// as a kernel passes it; for norms, tables and factors as many values as they give, of the size of z or one.
    pub fn gradient_operands(&self) -> f64 {
        let (graph, wiring) = (self.model.graph(), Wiring::new(self.model));
        let mut size: f64 = self.model.penalized().into_iter().map(|(r, l)| l * super::norm(&self.theta[r])).sum();
        for layer in self.model.layers() {
            for (input, output) in wiring.uses(layer) {
                let (width, results) = (graph.shape(input).size(), graph.shape(output).size());
                let rows = rows(self.model, layer);
                let reused = (rows * layer.inputs as f64 / width as f64).max(1.0).sqrt();
                let weighted = |z: &[f64]| match wiring.kind(layer) {
                    LayerKind::Linear { .. }
                    | LayerKind::Bilinear { .. }
                    | LayerKind::Conv2d { .. }
                    | LayerKind::Attention { .. } => reused * super::norm(z) + rows.sqrt(),
                    // Indices, and a table that is added: rows of zeros and a single one.
                    LayerKind::Embedding { .. } | LayerKind::Positional { .. } => (results as f64).sqrt(),
                    _ => super::norm(z) + (results as f64).sqrt(),
                };
                let cotangents = self.linearization.cotangent(output).chunks_exact(results);
                let inputs = self.linearization.value(input).chunks_exact(width);
                size += cotangents.zip(inputs).map(|(g, z)| super::norm(g) * weighted(z)).sum::<f64>();
            }
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
