//! The checks of a graph with data: those of [`check_maps`] on what its linearizations compute.

use eigenlens_linalg::{Par, Write};

use super::{Maps, Report, check_maps};
use crate::graph::NodeId;
use crate::linearize::{At, Buffers, Exchange, Function, Linearization, Order, Workspace};
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

/// Checks loss, gradient and Hessian product of a graph at θ on given data.
///
/// `inputs` fills each input node of the graph; `weights` are the w_n of [`Function`]. Rows: see [`check_maps`].
pub fn check_function(
    name: &str,
    f: &Function<f64>,
    theta: &[f64],
    inputs: &[(NodeId, Vec<f64>)],
    weights: &[f64],
    seed: u64,
) -> Report {
    let net = Network { f, inputs, weights };
    let maps = Maps {
        loss: &|theta| net.loss(theta),
        gradient: &|theta| net.gradient(theta),
        hvp: &|theta, v| net.hvp(theta, v),
        terms: weights.len(),
    };
    check_maps(name, &maps, theta, seed)
}
