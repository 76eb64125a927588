//! The checks of a whole network: orders of Taylor remainders, symmetry, linearity.

use eigenlens_linalg::{Par, Write};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::taylor::{difference_bound, difference_error, slope};
use super::{Report, draw};
use crate::graph::NodeId;
use crate::linearize::{At, Buffers, Exchange, Function, Linearization, Order, Workspace};
use crate::ops::Sample;
use crate::plan::Plan;

/// A function with its data, as plain maps of θ.
struct Network<'f> {
    f: &'f Function<f64>,
    inputs: &'f [(NodeId, Vec<f64>)],
    weights: &'f [f64],
}

impl Network<'_> {
    fn linearized(&self, theta: &[f64], order: Order) -> (Linearization<f64>, f64) {
        let mut lin = Linearization::new(self.f, self.weights.len(), order, Par::Seq);
        for (id, data) in self.inputs {
            lin.input_mut(*id).copy_from_slice(data);
        }
        let loss = lin.evaluate(At { function: self.f, theta }, self.weights);
        (lin, loss)
    }

    fn loss(&self, theta: &[f64]) -> f64 {
        self.linearized(theta, Order::Value).1
    }

    fn flat(&self, buffers: &Buffers<f64>) -> Vec<f64> {
        self.f.graph().params().iter().flat_map(|p| buffers[p.index()].iter().copied()).collect()
    }

    fn buffers(&self, flat: &[f64]) -> Buffers<f64> {
        let mut buffers = self.f.param_buffers(1);
        for &p in self.f.graph().params() {
            buffers[p.index()].copy_from_slice(&flat[self.f.graph().param_range(p)]);
        }
        buffers
    }

    fn gradient(&self, theta: &[f64]) -> Vec<f64> {
        let (mut lin, _) = self.linearized(theta, Order::First);
        let mut gradient = self.f.param_buffers(1);
        lin.pull(At { function: self.f, theta }, self.weights, Some((&mut gradient, Write::Set)));
        self.flat(&gradient)
    }

    fn hvp(&self, theta: &[f64], v: &[f64]) -> Vec<f64> {
        let (mut lin, _) = self.linearized(theta, Order::Second);
        lin.pull(At { function: self.f, theta }, self.weights, None);
        let params = self.f.graph().params();
        let plan = Plan::hessian(self.f.graph(), params, params).expect("parameters are not nested");
        let mut ws = Workspace::new();
        ws.fit(self.f, &plan, self.weights.len(), 1);
        let mut out = self.f.param_buffers(1);
        let io = Exchange { directions: &self.buffers(v), out: &mut out, write: Write::Set, first: 0 };
        lin.product(At { function: self.f, theta }, &plan, &mut ws, io);
        self.flat(&out)
    }
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn along(theta: &[f64], t: f64, v: &[f64]) -> Vec<f64> {
    theta.iter().zip(v).map(|(x, d)| x + t * d).collect()
}

/// Checks loss, gradient and Hessian product of a network at θ on given data.
///
/// `inputs` fills each input node of the graph; `weights` are the w_n of [`Function`]. The directions are random, of norm
/// 1, from `seed`. Rows: the Taylor remainders of the loss fall with orders 2 and 3, that of the gradient with order 2;
/// the product agrees with fourth-order differences of the gradient, is symmetric and linear.
pub fn check_function(
    name: &str,
    f: &Function<f64>,
    theta: &[f64],
    inputs: &[(NodeId, Vec<f64>)],
    weights: &[f64],
    seed: u64,
) -> Report {
    let net = Network { f, inputs, weights };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut direction = || {
        let mut v = draw(&mut rng, Sample::Normal, theta.len());
        let n = norm(&v).max(f64::MIN_POSITIVE);
        v.iter_mut().for_each(|x| *x /= n);
        v
    };
    let (v, u) = (direction(), direction());
    let loss = net.loss(theta);
    let gradient = net.gradient(theta);
    let (hv, hu) = (net.hvp(theta, &v), net.hvp(theta, &u));
    let (gv, vhv) = (dot(&gradient, &v), dot(&v, &hv));
    let detail = |extra: String| format!("(seed {seed}) {extra}");
    let mut report = Report::default();

    // Rounding of a loss is a few ε times the sum of its terms' magnitudes, of a gradient likewise.
    let terms = weights.len() as f64;
    let loss_floor = 4.0 * f64::EPSILON * (loss.abs() + gv.abs()) * terms.sqrt().max(4.0);
    let grad_floor = 4.0 * f64::EPSILON * (norm(&gradient) + norm(&hv)) * (theta.len() as f64).sqrt().max(8.0);

    let first = slope(0.25, 24, loss_floor, |h| (net.loss(&along(theta, h, &v)) - loss - h * gv).abs());
    report.at_least("order of F(θ+hv) - F - h g'v", name, first.order, 1.8, detail(first.describe()));
    let second =
        slope(0.25, 24, loss_floor, |h| (net.loss(&along(theta, h, &v)) - loss - h * gv - 0.5 * h * h * vhv).abs());
    report.at_least("order of F(θ+hv) - F - h g'v - ½h² v'Hv", name, second.order, 2.7, detail(second.describe()));
    let third = slope(0.25, 24, grad_floor, |h| {
        let moved = net.gradient(&along(theta, h, &v));
        norm(&moved.iter().zip(&gradient).zip(&hv).map(|((m, g), h0)| m - g - h * h0).collect::<Vec<_>>())
    });
    report.at_least("order of g(θ+hv) - g - h Hv", name, third.order, 1.8, detail(third.describe()));

    let scale = norm(&gradient).max(norm(&hv)).max(f64::MIN_POSITIVE);
    let (error, ladder) = difference_error(scale, &hv, |t| net.gradient(&along(theta, t, &v)));
    report.at_most("Hv = differences of g", name, error, difference_bound(), detail(ladder.describe()));

    let rounding = 16.0 * f64::EPSILON * (theta.len() as f64).sqrt() * terms.sqrt();
    let size = norm(&hv).max(norm(&hu)).max(f64::MIN_POSITIVE);
    report.at_most("u'Hv = v'Hu", name, (dot(&u, &hv) - dot(&v, &hu)).abs() / size, rounding, detail(String::new()));
    let mixed: Vec<f64> = v.iter().zip(&u).map(|(v, u)| 2.0 * v - 3.0 * u).collect();
    let h_mixed = net.hvp(theta, &mixed);
    let error = norm(&h_mixed.iter().zip(&hv).zip(&hu).map(|((m, v), u)| m - 2.0 * v + 3.0 * u).collect::<Vec<_>>());
    report.at_most("H(2v - 3u) = 2Hv - 3Hu", name, error / size, rounding, detail(String::new()));
    report
}
