//! The networks on which eigenlens is compared with other programs, and what is timed on them.

use eigenlens_autodiff::{Order, Plan};
use eigenlens_hessian::kronecker::assemble;
use eigenlens_hessian::operator::Block;
use eigenlens_hessian::slq::{SlqOptions, slq};
use eigenlens_linalg::Real;
use eigenlens_linalg::dense::eigenvalues;
use eigenlens_linalg::eigs::{Options as Pairs, eigs};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::zoo::{Family, Norm, Options};
use eigenlens_nets::{Model, ModelSpec, Objective, Samples};

use crate::images::{lenet5, named, with_samples};
use crate::{directions, network_spec, objective};

/// Directions taken together.
pub const LANES: usize = 8;

/// A workload: its name, its network, and how many samples it has.
pub struct Workload {
    /// Its name in the tables.
    pub name: &'static str,
    spec: fn() -> ModelSpec,
    /// Number of samples.
    pub samples: usize,
}

/// All workloads.
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "iris", spec: || network_spec(&[4, 8, 8, 3]), samples: 150 },
    Workload { name: "digits", spec: || network_spec(&[64, 64, 64, 10]), samples: 1797 },
    Workload { name: "mlp", spec: || network_spec(&[784, 512, 256, 10]), samples: 1024 },
    Workload { name: "lenet", spec: lenet5, samples: 256 },
    Workload { name: "resnet8", spec: resnet8, samples: 64 },
    Workload { name: "transformer", spec: transformer, samples: 64 },
];

/// ResNet-8 on 3 × 32 × 32 images, without norm.
fn resnet8() -> ModelSpec {
    named(Family::ResNetSmall(1), &Options { norm: Some(Norm::None), ..Options::default() }, [3, 32, 32])
}

/// One block of a vision transformer on 1 × 28 × 28 images: 16 tokens of 64 features, 4 heads.
fn transformer() -> ModelSpec {
    let options = Options { width: Some(64), depth: Some(1), heads: Some(4), patch: Some(7), ..Options::default() };
    named(Family::Vit, &options, [1, 28, 28])
}

/// What can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Loss and gradient at a point, from scratch.
    Gradient,
    /// A Hessian product with everything at the point kept.
    Product,
    /// As many as [`LANES`] Hessian products at once.
    Lanes,
    /// A Gauss–Newton product.
    GaussNewton,
    /// A product with the block of each layer.
    Blocks,
    /// Stochastic Lanczos quadrature of every layer: 10 probes of 80 steps.
    Quadrature,
    /// The dense block of a layer.
    Dense(usize),
    /// All eigenvalues of the dense block of a layer.
    Values(usize),
    /// The five largest eigenvalues of a layer's block.
    Top(usize),
}

impl Task {
    /// From its name: `gradient`, `product`, `lanes`, `gauss-newton`, `blocks`, `quadrature`, `dense:1`, `values:1`, `top:1`.
    pub fn of_name(name: &str) -> Option<Task> {
        let (kind, layer) = name.split_once(':').unwrap_or((name, "0"));
        let layer = layer.parse().ok()?;
        Some(match kind {
            "gradient" => Task::Gradient,
            "product" => Task::Product,
            "lanes" => Task::Lanes,
            "gauss-newton" => Task::GaussNewton,
            "blocks" => Task::Blocks,
            "quadrature" => Task::Quadrature,
            "dense" => Task::Dense(layer),
            "values" => Task::Values(layer),
            "top" => Task::Top(layer),
            _ => return None,
        })
    }
}

/// A workload's model and data in one precision.
pub struct Stage<T: Real> {
    /// The network.
    pub model: Model<T>,
    /// Its data.
    pub samples: Samples,
}

impl<T: Real> Stage<T> {
    /// With the weights and data that every run of this workload has.
    pub fn new(workload: &Workload) -> Self {
        let (model, samples) = with_samples(&(workload.spec)(), workload.samples);
        Stage { model, samples }
    }

    /// The parameters at which everything is timed.
    pub fn theta(&self) -> Vec<T> {
        self.model.init(1)
    }

    /// Ready to run tasks.
    pub fn ready(&self) -> Ready<'_, T> {
        let first = objective(&self.model, &self.samples, Order::First);
        let second = objective(&self.model, &self.samples, Order::Second);
        let params = self.model.graph().params();
        let plan = |kind| second.plan(params, params, kind).expect("parameters");
        let (hessian, gauss_newton) = (plan(Kind::Hessian), plan(Kind::GaussNewton));
        let blocks = self
            .model
            .layers()
            .iter()
            .map(|l| (second.plan(&l.params, &l.params, Kind::Hessian).expect("parameters"), l.len()))
            .collect();
        let x = directions(self.model.len(), LANES);
        let y = vec![0.0; x.len()];
        Ready { theta: self.theta(), first, second, hessian, gauss_newton, blocks, x, y }
    }
}

/// A workload with its linearizations and plans.
pub struct Ready<'m, T: Real> {
    theta: Vec<T>,
    first: Objective<'m, T>,
    second: Objective<'m, T>,
    hessian: Plan,
    gauss_newton: Plan,
    blocks: Vec<(Plan, usize)>,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl<T: Real> Ready<'_, T> {
    /// The directions of the products, one lane after the other.
    pub fn directions(&self) -> &[f64] {
        &self.x
    }

    /// Runs a task and returns what came out: a gradient, products, a matrix, eigenvalues, or nodes and weights.
    pub fn run(&mut self, task: Task) -> Vec<f64> {
        self.repeat(task);
        let p = self.theta.len();
        match task {
            Task::Gradient => self.first.gradient().to_vec(),
            Task::Product | Task::GaussNewton | Task::Blocks => self.y[..p].to_vec(),
            Task::Lanes => self.y.clone(),
            _ => self.heavy(task),
        }
    }

    /// Runs a task for its time; allocates nothing in products.
    pub fn repeat(&mut self, task: Task) {
        let p = self.theta.len();
        match task {
            Task::Gradient => {
                let _loss = self.first.linearize_with_gradient(&self.theta);
            }
            Task::Product => self.second.product(&self.hessian, 1, &self.x[..p], &mut self.y[..p]),
            Task::Lanes => self.second.product(&self.hessian, LANES, &self.x, &mut self.y),
            Task::GaussNewton => self.second.product(&self.gauss_newton, 1, &self.x[..p], &mut self.y[..p]),
            Task::Blocks => {
                let mut at = 0;
                for (plan, len) in &self.blocks {
                    self.second.product(plan, 1, &self.x[at..at + len], &mut self.y[at..at + len]);
                    at += len;
                }
            }
            _ => drop(self.heavy(task)),
        }
    }

    fn heavy(&self, task: Task) -> Vec<f64> {
        let block = |layer| Block::layer(&self.second, layer, Kind::Hessian);
        match task {
            Task::Quadrature => {
                let one = |layer| {
                    let found = slq(&block(layer), &SlqOptions::default()).expect("the block is finite");
                    [found.moment(1).mean, found.moment(2).mean]
                };
                (0..self.blocks.len()).flat_map(one).collect()
            }
            Task::Dense(layer) => assemble(&self.second, layer, Kind::Hessian),
            Task::Values(layer) => {
                let matrix = assemble(&self.second, layer, Kind::Hessian);
                eigenvalues(self.blocks[layer].1, &matrix).expect("the block is finite")
            }
            Task::Top(layer) => eigs(&block(layer), &Pairs { tol: 1e-6, ..Pairs::ends(5, 0) }).values,
            _ => unreachable!("a product"),
        }
    }
}
