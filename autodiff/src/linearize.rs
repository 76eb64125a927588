//! Linearize once, apply often: cached primals and cotangents, and the products they serve without allocating.

use std::ops::Range;

use eigenlens_linalg::{Par, Real, Write};

use crate::graph::{Graph, NodeId};
use crate::op::{Cotangent, Cx, Lanes, MAX_INPUTS, Primal, Slot};
use crate::pieces::{Applied, Cuts};
use crate::plan::{Plan, Pull, pulls};

/// One buffer for each node of a graph, by [`NodeId::index`]; empty where a node has none.
pub type Buffers<T> = Vec<Vec<T>>;

/// Where a linearization is evaluated: which function, and at which θ.
#[derive(Debug)]
pub struct At<'a, T: Real> {
    /// The function.
    pub function: &'a Function<T>,
    /// The flat parameter vector.
    pub theta: &'a [T],
}

impl<T: Real> Clone for At<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Real> Copy for At<'_, T> {}

/// What a product reads and writes at parameters: one buffer per node, each holding several lanes one after the other.
#[derive(Debug)]
pub struct Exchange<'a, T> {
    /// Tangents of the seed parameters.
    pub directions: &'a Buffers<T>,
    /// Derivatives at the target parameters.
    pub out: &'a mut Buffers<T>,
    /// Whether `out` is overwritten or added to.
    pub write: Write,
    /// The first of the workspace's K lanes in these buffers, which may hold more than K.
    pub first: usize,
}

/// How much a [`Linearization`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Values only.
    Value,
    /// Values and the gradient.
    First,
    /// Everything that Hessian products need.
    Second,
}

/// A graph with a chosen output: F(θ) = Σ_n w_n f_n(θ), f_n the output's value for sample n.
///
/// The output must be batched with one value per sample, as a per-sample loss is. Weights w_n are given with each
/// linearization; w_n = 1/N makes F the mean loss over N samples, however they are cut into batches.
#[derive(Debug)]
pub struct Function<T: Real> {
    graph: Graph<T>,
    output: NodeId,
    gradient: Vec<Pull>,
    active: Vec<bool>,
}

impl<T: Real> Function<T> {
    /// Chooses `output` of `graph`.
    ///
    /// # Panics
    /// If the output is not a batched scalar.
    #[track_caller]
    pub fn new(graph: Graph<T>, output: NodeId) -> Self {
        let shape = graph.shape(output);
        assert!(
            shape.batched && shape.size() == 1,
            "output `{}` has shape {shape}, not one value per sample",
            graph.name(output)
        );
        let n = graph.len();
        let mut active = vec![false; n];
        for i in 0..n {
            active[i] = graph.is_param(NodeId(i))
                || graph.op_of(i).is_some_and(|(_, inputs)| inputs.iter().any(|j| active[j.0]));
        }
        let gradient = pulls(&graph, &[output], &vec![false; n], &active, &vec![false; n]);
        Function { graph, output, gradient, active }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph<T> {
        &self.graph
    }

    /// The output node.
    pub fn output(&self) -> NodeId {
        self.output
    }

    /// One buffer per parameter, zeroed, for gradients and for cotangents of `lanes` directions.
    pub fn param_buffers(&self, lanes: usize) -> Buffers<T> {
        let mut buffers: Buffers<T> = (0..self.graph.len()).map(|_| Vec::new()).collect();
        for &p in self.graph.params() {
            buffers[p.0] = vec![T::ZERO; lanes * self.graph.shape(p).size()];
        }
        buffers
    }
}

/// The cached values, and for [`Order::Second`] the cached cotangents, of one batch at one point θ.
///
/// Memory: the values of all nodes once, what ops save, and for second order the cotangents once more.
#[derive(Debug)]
pub struct Linearization<T> {
    batch: usize,
    order: Order,
    par: Par,
    values: Buffers<T>,
    saved: Buffers<T>,
    cotangents: Buffers<T>,
    bent: Buffers<T>,
}

impl<T: Real> Linearization<T> {
    /// Room for a batch of `n` samples; nothing is evaluated yet.
    ///
    /// `par` is what single maps may use: `Par::Seq` for shards that run in parallel.
    pub fn new(f: &Function<T>, n: usize, order: Order, par: Par) -> Self {
        let empty = || (0..f.graph.len()).map(|_| Vec::new()).collect::<Buffers<T>>();
        let mut lin =
            Linearization { batch: 0, order, par, values: empty(), saved: empty(), cotangents: empty(), bent: empty() };
        lin.resize(f, n);
        lin
    }

    /// Changes the batch size; allocates only when it grows beyond what was there before.
    pub fn resize(&mut self, f: &Function<T>, n: usize) {
        if self.batch == n {
            return;
        }
        self.batch = n;
        let g = &f.graph;
        let len = |i: usize| g.nodes[i].shape.len(n);
        for i in 0..g.len() {
            if g.is_param(NodeId(i)) {
                continue;
            }
            self.values[i].resize(len(i), T::ZERO);
            let Some((op, inputs)) = g.op_of(i) else { continue };
            let mut lens = [0; MAX_INPUTS];
            for (l, j) in lens.iter_mut().zip(inputs) {
                *l = len(j.0);
            }
            self.saved[i].resize(op.saved_len(&lens[..inputs.len()], len(i)), T::ZERO);
            if self.order != Order::Value && f.active[i] {
                self.cotangents[i].resize(len(i), T::ZERO);
            }
            if self.order == Order::Second {
                self.bent[i].resize(op.bent_len(&lens[..inputs.len()], len(i)), T::ZERO);
            }
        }
    }

    /// Bytes that a linearization of `n` samples will hold, without making one.
    pub fn bytes_for(f: &Function<T>, n: usize, order: Order) -> f64 {
        let g = &f.graph;
        let len = |i: usize| g.nodes[i].shape.len(n) as f64;
        let node = |i: usize| {
            if g.is_param(NodeId(i)) {
                return 0.0;
            }
            let cotangents = if order != Order::Value && f.active[i] { len(i) } else { 0.0 };
            let Some((op, inputs)) = g.op_of(i) else { return len(i) };
            let lens: Vec<usize> = inputs.iter().map(|j| g.nodes[j.0].shape.len(n)).collect();
            let out = g.nodes[i].shape.len(n);
            let bent = if order == Order::Second { op.bent_len(&lens, out) } else { 0 };
            len(i) + cotangents + (op.saved_len(&lens, out) + bent) as f64
        };
        (0..g.len()).map(node).sum::<f64>() * size_of::<T>() as f64
    }

    /// Number of samples.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        [&self.values, &self.saved, &self.cotangents, &self.bent]
            .iter()
            .flat_map(|b| b.iter())
            .map(|b| b.len() * size_of::<T>())
            .sum()
    }

    /// The buffer of an input or a constant, to be filled before [`Linearization::evaluate`].
    pub fn input_mut(&mut self, id: NodeId) -> &mut [T] {
        &mut self.values[id.0]
    }

    /// The value of a node that is not a parameter.
    pub fn value(&self, id: NodeId) -> &[T] {
        &self.values[id.0]
    }

    /// What the op of a node saved with its value, as the op's file says: batch statistics, for one.
    pub fn saved(&self, id: NodeId) -> &[T] {
        &self.saved[id.0]
    }

    /// The cotangent of a node after [`Linearization::pull`]: ∂F/∂node, for each sample.
    pub fn cotangent(&self, id: NodeId) -> &[T] {
        &self.cotangents[id.0]
    }

    fn cx(&self) -> Cx {
        Cx { batch: self.batch, par: self.par }
    }

    /// Evaluates every node at θ. Returns Σ_n w_n f_n, added in double precision.
    ///
    /// # Panics
    /// If θ or the weights have the wrong length.
    #[track_caller]
    pub fn evaluate(&mut self, at: At<'_, T>, weights: &[T]) -> f64 {
        let At { function: f, theta } = at;
        let g = &f.graph;
        assert_eq!(theta.len(), g.param_len(), "length of θ");
        assert_eq!(weights.len(), self.batch, "one weight for each sample");
        let cx = self.cx();
        for i in 0..g.len() {
            let Some((_, inputs)) = g.op_of(i) else { continue };
            let (earlier, rest) = self.values.split_at_mut(i);
            let x = gather(g, theta, earlier, inputs);
            applied(g, i, cx).eval(&x[..inputs.len()], &mut rest[0], &mut self.saved[i]);
        }
        self.values[f.output.0].iter().zip(weights).map(|(f, w)| f.to_f64() * w.to_f64()).sum()
    }

    /// One reverse sweep after [`Linearization::evaluate`]: fills the cotangents, and the gradient if it is asked for.
    /// With [`Order::Second`] also prepares the products.
    ///
    /// # Panics
    /// If the weights have the wrong length or the order is `Value`.
    #[track_caller]
    pub fn pull(&mut self, at: At<'_, T>, weights: &[T], mut gradient: Option<(&mut Buffers<T>, Write)>) {
        let At { function: f, theta } = at;
        assert_eq!(weights.len(), self.batch, "one weight for each sample");
        assert!(self.order != Order::Value, "a linearization of order Value has no cotangents");
        let g = &f.graph;
        let cx = self.cx();
        self.cotangents[f.output.0].copy_from_slice(weights);
        let mut bent_node = usize::MAX;
        for pull in &f.gradient {
            let (_, inputs) = g.op_of(pull.node).expect("pull-backs are of ops");
            let op = applied(g, pull.node, cx);
            let x = gather(g, theta, &self.values, inputs);
            let primal = Primal { x: &x[..inputs.len()], y: &self.values[pull.node], saved: &self.saved[pull.node] };
            let gy = std::mem::take(&mut self.cotangents[pull.node]);
            if self.order == Order::Second && bent_node != pull.node {
                op.bend(primal, &gy, &mut self.bent[pull.node]);
                bent_node = pull.node;
            }
            with_slots(
                g,
                pull,
                inputs,
                0..1,
                &mut self.cotangents,
                gradient.as_mut().map(|(b, w)| (&mut **b, *w)),
                |slots| {
                    op.vjp(primal, Lanes::new(&gy, 1), slots);
                },
            );
            self.cotangents[pull.node] = gy;
        }
    }

    /// Applies a plan to K directions.
    ///
    /// Tangents of seed parameters and derivatives at target parameters go through `io`; tangents of seed activations and
    /// cotangents of sources are put into `ws` before, derivatives at target activations are read from it afterwards.
    /// K is the number of lanes that `ws` was fitted for.
    ///
    /// Cost for the full Hessian of a chain of affine layers with cached primal: 2 c_1 + 6 Σ_{l>1} c_l multiply-adds
    /// per lane, c_l = batch · in · out; for layer l alone 2 Σ_{m≥l} c_m. Allocates nothing.
    ///
    /// # Panics
    /// If a buffer has the wrong length, or the plan bends and the order is not `Second`.
    #[track_caller]
    pub fn product(&self, at: At<'_, T>, plan: &Plan, ws: &mut Workspace<T>, io: Exchange<'_, T>) {
        let At { function: f, theta } = at;
        let Exchange { directions, out, write, first } = io;
        let g = &f.graph;
        let cx = self.cx();
        let lanes = ws.lanes;
        assert_eq!(ws.batch, self.batch, "workspace and linearization are for different batches");
        for &i in &plan.pushes {
            let (_, inputs) = g.op_of(i).expect("tangents are pushed through ops");
            let x = gather(g, theta, &self.values, inputs);
            let primal = Primal { x: &x[..inputs.len()], y: &self.values[i], saved: &self.saved[i] };
            let mut dy = std::mem::take(&mut ws.tangents[i]);
            let dx = tangents(g, plan, inputs, first..first + lanes, directions, &ws.tangents);
            applied(g, i, cx).jvp(primal, &dx[..inputs.len()], &mut dy);
            ws.tangents[i] = dy;
        }
        for pull in &plan.pulls {
            let i = pull.node;
            let (_, inputs) = g.op_of(i).expect("pull-backs are of ops");
            let op = applied(g, i, cx);
            let x = gather(g, theta, &self.values, inputs);
            let primal = Primal { x: &x[..inputs.len()], y: &self.values[i], saved: &self.saved[i] };
            let own = std::mem::take(&mut ws.cotangents[i]);
            let dgy = pull.from_output.then(|| Lanes::new(&own, lanes));
            let tangent_buffers = &ws.tangents;
            with_slots(g, pull, inputs, first..first + lanes, &mut ws.cotangents, Some((&mut *out, write)), |slots| {
                if pull.bends {
                    assert!(self.order == Order::Second, "Hessian products need a linearization of order Second");
                    let dx = tangents(g, plan, inputs, first..first + lanes, directions, tangent_buffers);
                    let cotangent = Cotangent { gy: &self.cotangents[i], bent: &self.bent[i] };
                    op.vjp_jvp(primal, cotangent, &dx[..inputs.len()], dgy, slots);
                } else {
                    op.vjp(primal, dgy.expect("a pull-back has a cotangent or bends"), slots);
                }
            });
            ws.cotangents[i] = own;
        }
        for t in &plan.zero {
            if !g.is_param(*t) {
                ws.cotangents[t.0].fill(T::ZERO);
            } else if write == Write::Set {
                let size = g.shape(*t).size();
                out[t.0][first * size..(first + lanes) * size].fill(T::ZERO);
            }
        }
    }
}

/// Tangent and cotangent buffers of one sweep, reused from product to product.
#[derive(Debug)]
pub struct Workspace<T> {
    batch: usize,
    lanes: usize,
    tangents: Buffers<T>,
    cotangents: Buffers<T>,
}

impl<T: Real> Workspace<T> {
    /// No room yet; see [`Workspace::fit`].
    pub fn new() -> Self {
        Workspace { batch: 0, lanes: 1, tangents: Vec::new(), cotangents: Vec::new() }
    }

    /// Makes room for a plan on `batch` samples and K = `lanes` directions; allocates only when something grows.
    ///
    /// # Panics
    /// If `lanes` is 0.
    #[track_caller]
    pub fn fit(&mut self, f: &Function<T>, plan: &Plan, batch: usize, lanes: usize) {
        assert!(lanes > 0, "at least one lane");
        let g = &f.graph;
        (self.batch, self.lanes) = (batch, lanes);
        self.tangents.resize_with(g.len(), Vec::new);
        self.cotangents.resize_with(g.len(), Vec::new);
        for i in 0..g.len() {
            let len = lanes * g.nodes[i].shape.len(batch);
            if plan.tangent[i] && !g.is_param(NodeId(i)) {
                self.tangents[i].resize(len, T::ZERO);
            }
            if plan.cotangent[i] {
                self.cotangents[i].resize(len, T::ZERO);
            }
        }
    }

    /// K.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// The tangent of an activation, shape (lane, batch, feature): to be filled if it is a seed, to be read otherwise.
    pub fn tangent(&self, id: NodeId) -> &[T] {
        &self.tangents[id.0]
    }

    /// As [`Workspace::tangent`], to fill a seed.
    pub fn tangent_mut(&mut self, id: NodeId) -> &mut [T] {
        &mut self.tangents[id.0]
    }

    /// The cotangent read at an activation that is a target, shape (lane, batch, feature).
    pub fn cotangent(&self, id: NodeId) -> &[T] {
        &self.cotangents[id.0]
    }

    /// As [`Workspace::cotangent`], to fill a source.
    pub fn cotangent_mut(&mut self, id: NodeId) -> &mut [T] {
        &mut self.cotangents[id.0]
    }

    /// Tangent and cotangent of an activation that has both, to make one of the other.
    pub fn tangent_and_cotangent(&mut self, id: NodeId) -> (&[T], &mut [T]) {
        (&self.tangents[id.0], &mut self.cotangents[id.0])
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.tangents.iter().chain(&self.cotangents).map(|b| b.capacity() * size_of::<T>()).sum()
    }
}

impl<T: Real> Default for Workspace<T> {
    fn default() -> Self {
        Workspace::new()
    }
}

/// The op of a node, to be called with `cx`.
fn applied<T: Real>(g: &Graph<T>, node: usize, cx: Cx) -> Applied<'_, T> {
    let (op, inputs) = g.op_of(node).expect("only ops are applied");
    let mut batched = [false; MAX_INPUTS];
    batched.iter_mut().zip(inputs).for_each(|(b, &j)| *b = g.shape(j).batched);
    // What is the same for all samples is computed once.
    let cx = if g.nodes[node].shape.batched { cx } else { Cx { par: Par::Seq, ..cx } };
    Applied { op, cx, batched, cuts: Cuts::USUAL }
}

fn gather<'a, T: Real>(g: &Graph<T>, theta: &'a [T], values: &'a [Vec<T>], inputs: &[NodeId]) -> [&'a [T]; MAX_INPUTS] {
    let mut x: [&[T]; MAX_INPUTS] = [&[]; MAX_INPUTS];
    for (x, &j) in x.iter_mut().zip(inputs) {
        *x = g.value(j, theta, values);
    }
    x
}

fn tangents<'a, T: Real>(
    g: &Graph<T>,
    plan: &Plan,
    inputs: &[NodeId],
    lanes: Range<usize>,
    directions: &'a Buffers<T>,
    buffers: &'a Buffers<T>,
) -> [Option<Lanes<'a, T>>; MAX_INPUTS] {
    let mut dx = [None; MAX_INPUTS];
    for (dx, &j) in dx.iter_mut().zip(inputs) {
        if plan.tangent[j.0] {
            let source = if g.is_param(j) { window(g, j, &lanes, &directions[j.0]) } else { &buffers[j.0] };
            *dx = Some(Lanes::new(source, lanes.len()));
        }
    }
    dx
}

/// These lanes of a parameter's buffer.
fn window<'a, T: Real>(g: &Graph<T>, id: NodeId, lanes: &Range<usize>, buffer: &'a [T]) -> &'a [T] {
    let size = g.shape(id).size();
    &buffer[lanes.start * size..lanes.end * size]
}

/// Lends the buffers that a pull-back writes as slots. Buffers are moved out and back: no allocation, no aliasing.
fn with_slots<T: Real>(
    g: &Graph<T>,
    pull: &Pull,
    inputs: &[NodeId],
    lanes: Range<usize>,
    activations: &mut Buffers<T>,
    mut params: Option<(&mut Buffers<T>, Write)>,
    call: impl FnOnce(&mut [Option<Slot<'_, T>>]),
) {
    let mut lent: [Vec<T>; MAX_INPUTS] = Default::default();
    let mut writes = [None; MAX_INPUTS];
    for (p, &j) in inputs.iter().enumerate() {
        let Some(first) = pull.slots[p] else { continue };
        if !g.is_param(j) {
            lent[p] = std::mem::take(&mut activations[j.0]);
            writes[p] = Some(first);
        } else if let Some((buffers, write)) = &mut params {
            lent[p] = std::mem::take(&mut buffers[j.0]);
            writes[p] = Some(if *write == Write::Add { Write::Add } else { first });
        }
    }
    let mut slots: [Option<Slot<'_, T>>; MAX_INPUTS] = [const { None }; MAX_INPUTS];
    for (((slot, buffer), write), &j) in slots.iter_mut().zip(&mut lent).zip(writes).zip(inputs) {
        let size = g.shape(j).size();
        let range = if g.is_param(j) { lanes.start * size..lanes.end * size } else { 0..buffer.len() };
        *slot = write.map(|write| Slot { data: &mut buffer[range], lanes: lanes.len(), write });
    }
    if writes.iter().any(Option::is_some) {
        call(&mut slots[..inputs.len()]);
    }
    for (p, &j) in inputs.iter().enumerate() {
        if writes[p].is_none() {
            continue;
        }
        let buffer = std::mem::take(&mut lent[p]);
        if g.is_param(j) {
            params.as_mut().expect("was lent").0[j.0] = buffer;
        } else {
            activations[j.0] = buffer;
        }
    }
}
