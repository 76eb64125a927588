//! Products with the linearized shards: between parameters, between activations, and through a map in between.

use eigenlens_autodiff::{Buffers, Curvature, Exchange, NodeId, Plan, Workspace};
use eigenlens_linalg::{Real, Write};
use rayon::prelude::*;

use super::{Group, Objective, Products, copy};
use crate::model::Model;

impl<T: Real> Objective<'_, T> {
    /// Applies a plan between parameters to K columns: y ← B x.
    ///
    /// A column of x is the plan's seed parameters one after the other, a column of y its targets; columns are contiguous.
    /// The penalty is included, but for the tensor part. Shards are added up in f64.
    ///
    /// # Panics
    /// If the lengths don't fit, or nothing was linearized with [`Order::Second`](eigenlens_autodiff::Order::Second).
    #[track_caller]
    pub fn product(&self, plan: &Plan, lanes: usize, x: &[f64], y: &mut [f64]) {
        self.through(plan.seeds(), plan.targets(), lanes, x, y, |shard, lanes, ws, io| {
            let lin = &self.shards[shard];
            ws.fit(self.model.function(), plan, lin.batch(), lanes);
            lin.product(self.at(), plan, ws, io);
        });
        if !matches!(plan.curvature(), Curvature::Tensor { .. }) {
            self.add_penalty(plan, lanes, x, y);
        }
    }

    /// y ← Σ_shards Jᵀ m(J x): K columns x at the seed parameters of `push` become tangents, `middle` makes cotangents at the
    /// sources of `pull` of them, and y is what these give at its target parameters.
    ///
    /// `middle` is told the shard and the first of the workspace's lanes among the K. Columns as in [`Objective::product`];
    /// without the penalty. Cost: that of a Gauss–Newton product.
    ///
    /// # Panics
    /// If the lengths don't fit, or nothing was linearized.
    #[track_caller]
    pub fn sandwich(
        &self,
        [push, pull]: [&Plan; 2],
        lanes: usize,
        x: &[f64],
        y: &mut [f64],
        middle: impl Fn(usize, usize, &mut Workspace<T>) + Sync,
    ) {
        self.through(push.seeds(), pull.targets(), lanes, x, y, |shard, lanes, ws, io| {
            let (lin, first) = (&self.shards[shard], io.first);
            ws.fit(self.model.function(), push, lin.batch(), lanes);
            lin.product(self.at(), push, ws, Exchange { out: &mut *io.out, ..io });
            ws.fit(self.model.function(), pull, lin.batch(), lanes);
            middle(shard, first, ws);
            lin.product(self.at(), pull, ws, io);
        });
    }

    /// y ← Σ_shards of what `each` gives of x: it is told the shard and the lanes of the exchange, of which there may be fewer
    /// than K.
    #[track_caller]
    fn through(
        &self,
        seeds: &[NodeId],
        targets: &[NodeId],
        lanes: usize,
        x: &[f64],
        y: &mut [f64],
        each: impl Fn(usize, usize, &mut Workspace<T>, Exchange<'_, T>) + Sync,
    ) {
        let model = self.model;
        let (rows_in, rows_out) = (self.width(seeds), self.width(targets));
        assert_eq!(
            (x.len(), y.len()),
            (lanes * rows_in, lanes * rows_out),
            "{lanes} columns of {rows_in} and {rows_out}"
        );
        let parallel = self.parallel(lanes);
        let mut products = self.products.lock().expect("no product panicked");
        let Products { directions, groups } = &mut *products;
        fit_params(model, directions, seeds, lanes);
        let mut at = 0;
        for &p in seeds {
            let len = model.graph().shape(p).size();
            for (k, lane) in directions[p.index()].chunks_exact_mut(len.max(1)).enumerate() {
                copy(&x[k * rows_in + at..][..len], lane);
            }
            at += len;
        }
        let directions = &*directions;
        let run = |group: &mut Group<T>| {
            fit_params(model, &mut group.out, targets, lanes);
            for (i, shard) in group.shards.clone().enumerate() {
                let window = self.lane_window(self.shards[shard].batch());
                for first in (0..lanes).step_by(window) {
                    let io = Exchange { directions, out: &mut group.out, write: Write::add_if(i > 0), first };
                    each(shard, window.min(lanes - first), &mut group.workspace, io);
                }
            }
        };
        if parallel {
            groups.par_iter_mut().for_each(run);
        } else {
            groups.iter_mut().for_each(run);
        }
        add_groups(model, targets, lanes, groups, y, parallel);
    }

    fn width(&self, params: &[NodeId]) -> usize {
        params.iter().map(|&p| self.model.graph().shape(p).size()).sum()
    }

    fn add_penalty(&self, plan: &Plan, lanes: usize, x: &[f64], y: &mut [f64]) {
        let graph = self.model.graph();
        let (rows_in, rows_out) = (self.width(plan.seeds()), self.width(plan.targets()));
        for (range, lambda) in &self.penalized {
            let place = |list: &[NodeId]| {
                let mut at = 0;
                list.iter().find_map(|&p| {
                    let found = (graph.param_range(p) == *range).then_some(at);
                    at += graph.shape(p).size();
                    found
                })
            };
            if let (Some(from), Some(to)) = (place(plan.seeds()), place(plan.targets())) {
                for k in 0..lanes {
                    let x = &x[k * rows_in + from..][..range.len()];
                    let y = &mut y[k * rows_out + to..][..range.len()];
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += lambda * x);
                }
            }
        }
    }

    /// Sweeps a plan between activations over all shards, in order within each group and groups in parallel.
    ///
    /// For each shard `fill` puts tangents into the workspace before, `read` takes what it needs after and returns it;
    /// the results come in the order of the shards.
    pub fn sweep_activations<R: Send>(
        &self,
        plan: &Plan,
        lanes: usize,
        fill: impl Fn(usize, &mut Workspace<T>) + Sync,
        read: impl Fn(usize, &Workspace<T>) -> R + Sync,
    ) -> Vec<R> {
        let mut lists: Vec<Vec<R>> = (0..self.groups()).map(|_| Vec::new()).collect();
        self.fold_activations(plan, lanes, &mut lists, fill, |s, ws, list| list.push(read(s, ws)));
        lists.into_iter().flatten().collect()
    }

    /// Groups of shards, each of which is added up by itself.
    pub fn groups(&self) -> usize {
        self.products.lock().expect("no product panicked").groups.len()
    }

    /// As [`Objective::sweep_activations`], but `read` adds to the state of the shard's group instead of returning.
    ///
    /// # Panics
    /// If there isn't one state for each of the [`Objective::groups`].
    #[track_caller]
    pub fn fold_activations<A: Send>(
        &self,
        plan: &Plan,
        lanes: usize,
        states: &mut [A],
        fill: impl Fn(usize, &mut Workspace<T>) + Sync,
        read: impl Fn(usize, &Workspace<T>, &mut A) + Sync,
    ) {
        let model = self.model;
        let mut products = self.products.lock().expect("no product panicked");
        assert_eq!(states.len(), products.groups.len(), "one state for each group of shards");
        let run = |(group, state): (&mut Group<T>, &mut A)| {
            let none = Vec::new();
            for s in group.shards.clone() {
                let lin = &self.shards[s];
                group.workspace.fit(model.function(), plan, lin.batch(), lanes);
                fill(s, &mut group.workspace);
                fit_params(model, &mut group.out, plan.targets(), lanes);
                let io = Exchange { directions: &none, out: &mut group.out, write: Write::Set, first: 0 };
                lin.product(self.at(), plan, &mut group.workspace, io);
                read(s, &group.workspace, state);
            }
        };
        if self.parallel(lanes) {
            products.groups.par_iter_mut().zip(states).for_each(run);
        } else {
            products.groups.iter_mut().zip(states).for_each(run);
        }
    }
}

pub(super) fn fit_params<T: Real>(model: &Model<T>, buffers: &mut Buffers<T>, params: &[NodeId], lanes: usize) {
    buffers.resize_with(model.graph().len(), Vec::new);
    for &p in params {
        buffers[p.index()].resize(lanes * model.graph().shape(p).size(), T::ZERO);
    }
}

/// y ← Σ_groups out, in the order of the groups and in f64; lanes of one parameter are contiguous in `out`.
pub(super) fn add_groups<T: Real>(
    model: &Model<T>,
    params: &[NodeId],
    lanes: usize,
    groups: &[Group<T>],
    y: &mut [f64],
    parallel: bool,
) {
    const PIECE: usize = 1 << 14;
    let rows = y.len() / lanes.max(1);
    for (k, mut column) in y.chunks_exact_mut(rows.max(1)).enumerate() {
        for &p in params {
            let len = model.graph().shape(p).size();
            let (part, rest) = column.split_at_mut(len);
            column = rest;
            let add = |(i, part): (usize, &mut [f64])| {
                let range = k * len + i * PIECE..k * len + i * PIECE + part.len();
                for (g, group) in groups.iter().enumerate() {
                    let out = part.iter_mut().zip(&group.out[p.index()][range.clone()]);
                    if g == 0 {
                        out.for_each(|(y, x)| *y = x.to_f64());
                    } else {
                        out.for_each(|(y, x)| *y += x.to_f64());
                    }
                }
            };
            if parallel && len > 2 * PIECE {
                part.par_chunks_mut(PIECE).enumerate().for_each(add);
            } else {
                part.chunks_mut(PIECE).enumerate().for_each(add);
            }
        }
    }
}
