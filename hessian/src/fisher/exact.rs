//! The spectrum of a second moment of gradients: dense where the part is small, from the Gram matrix of the gradients where
//! there are fewer of them than parameters, else by Krylov methods.

use std::sync::Mutex;

use eigenlens_autodiff::{Curvature, Plan};
use eigenlens_linalg::reduce::{axpy, dot};
use eigenlens_linalg::{LinearOperator, Real, dense};
use eigenlens_nets::{Model, Objective, Part};

use super::{Fisher, LabelError, Moment};
use crate::block::{BlockError, BlockOptions, BlockReport, Route, analyze_block};
use crate::gram::{self, Columns, Factors};
use crate::kronecker::{self, Tile, holds, pair};
use crate::layerwise::Choice;
use crate::spectrum::{Repeated, Spectrum};

/// Why there is no spectrum.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FisherError {
    /// No labels.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// NaN or infinity.
    #[error(transparent)]
    Block(#[from] BlockError),
}

/// The route that [`block`] takes, and what it costs: as [`Choice::of`].
pub fn choose<T: Real>(
    model: &Model<T>,
    samples: usize,
    part: &Part,
    moment: Moment,
    options: &BlockOptions,
) -> Choice {
    let mut estimate = kronecker::Estimate::of(model, samples, part);
    let tile = Tile::of(model, part).filter(|tile| holds(model, tile.layer));
    let (n, q, p) = (samples as f64, samples * moment.draws(), part.len() as f64);
    let above: f64 = model.layers().iter().map(|l| l.work as f64).sum();
    if tile.is_none() {
        estimate = kronecker::Estimate { kronecker: f64::INFINITY, bytes: 8.0 * p * p, ..estimate };
    }
    let order = q as f64;
    let (columns, values) = match &tile {
        Some(tile) => {
            let (units, d) = (tile.units.len() as f64, tile.z_len(&model.layers()[tile.layer]) as f64);
            (order * (above + units * order) + n * n * d, order * units + n * (d + n))
        }
        // Each gradient back, and its product with all others forth.
        None => (2.0 * order * n * above, 16.0 * p),
    };
    let gram = (q < part.len()).then_some(gram::Estimate {
        order: q,
        convex: true,
        work: columns,
        eigenvalues: 2.0 / 3.0 * order.powi(3),
        bytes: 8.0 * (values + 2.0 * order * order),
    });
    Choice::from_costs(part.len(), estimate, gram, options)
}

/// The spectrum and the quantities of a second moment of gradients with respect to a part of θ.
///
/// # Errors
/// Labels that can't be drawn; NaN or infinity, by the name of the part.
/// # Panics
/// As [`Fisher::new`].
#[track_caller]
pub fn block<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    moment: Moment,
    options: &BlockOptions,
) -> Result<BlockReport, FisherError> {
    let fisher = Fisher::new(objective, part, moment)?;
    let tile = Tile::of(objective.model(), part).filter(|tile| holds(objective.model(), tile.layer));
    match (choose(objective.model(), objective.samples(), part, moment, options).route, tile) {
        (Route::Gram, tile) => {
            let values = fisher.gram_eigenvalues(tile.as_ref());
            let values = values.map_err(|source| BlockError::Dense { block: part.name.clone(), source })?;
            let repeated = Repeated { value: 0.0, count: part.len() - values.len() };
            let spectrum = Spectrum::exact_with(values, repeated);
            Ok(BlockReport::of_spectrum(&part.name, Route::Gram, spectrum, &options.metrics))
        }
        (Route::DenseKronecker, Some(tile)) => {
            Ok(analyze_block(&part.name, &fisher, Some(fisher.assemble(&tile)), options)?)
        }
        _ => Ok(analyze_block(&part.name, &fisher, None, options)?),
    }
}

impl<T: Real> Fisher<'_, '_, T> {
    /// √(w_n/D) ∂ℓ_nd/∂a of all samples and draws at the output a of the tile's layer: the gradient is that ⊗ ẑ_n.
    fn columns(&self, tile: &Tile) -> Vec<Columns> {
        let (model, draws, c) = (self.objective.model(), self.moment.draws(), self.outputs());
        let (head, layer) = (model.logits(), &model.layers()[tile.layer]);
        let plan = Plan::new(model.graph(), &[], &[head], &[layer.output], Curvature::None);
        let plan = plan.expect("the output is no parameter");
        let lists = self.objective.sweep_activations(
            &plan,
            draws,
            |shard, ws| {
                let weights = self.objective.shard(shard).1;
                for (at, row) in ws.cotangent_mut(head).chunks_exact_mut(c).enumerate() {
                    let (draw, n) = (at / weights.len(), at % weights.len());
                    let root = (weights[n].to_f64() / draws as f64).sqrt();
                    let score = &self.scores(self.starts[shard] + n)[draw * c..][..c];
                    row.iter_mut().zip(score).for_each(|(x, r)| *x = T::from_f64(root * r));
                }
            },
            |shard, ws| {
                let rows = self.objective.shard(shard).0.batch();
                let values = ws.cotangent(layer.output);
                let of = |n: usize, draw: usize| {
                    let row = &values[(draw * rows + n) * layer.outputs..][..layer.outputs];
                    row[tile.units.clone()].iter().map(|x| x.to_f64()).collect::<Vec<_>>()
                };
                let sample = |n| Columns { u: (0..draws).flat_map(|d| of(n, d)).collect(), signs: vec![1.0; draws] };
                (0..rows).map(sample).collect::<Vec<_>>()
            },
        );
        lists.into_iter().flatten().collect()
    }

    /// The dense matrix of a tile from structure: Σ_n M_n ⊗ ẑ_n ẑ_nᵀ with M_n = Σ u uᵀ over the columns of the sample.
    fn assemble(&self, tile: &Tile) -> Vec<f64> {
        let units = tile.units.len();
        let pairs = units * (units + 1) / 2;
        let mut m = vec![0.0; self.objective.samples() * pairs];
        for (columns, m) in self.columns(tile).iter().zip(m.chunks_exact_mut(pairs)) {
            for u in columns.u.chunks_exact(units) {
                for i in 0..units {
                    (i..units).for_each(|j| m[pair(units, i, j)] += u[i] * u[j]);
                }
            }
        }
        let mut block = kronecker::assemble_of(self.objective, tile, &m);
        if let Some(mean) = &self.mean {
            let total = self.total();
            for (row, g) in block.chunks_exact_mut(mean.len()).zip(mean) {
                axpy(-total * g, mean, row);
            }
        }
        block
    }

    /// The eigenvalues of AᵀA, A the gradients times √(w_n/D) one beside the other, which are those of the moment A Aᵀ but
    /// for zeros.
    fn gram_eigenvalues(&self, tile: Option<&Tile>) -> Result<Vec<f64>, dense::DenseError> {
        let q = self.objective.samples() * self.moment.draws();
        let mut gram = match tile {
            Some(tile) => {
                let layer = &self.objective.model().layers()[tile.layer];
                let z = kronecker::inputs(self.objective, tile);
                Factors::from_columns(tile.clone(), tile.z_len(layer), [0.0; 2], z, self.columns(tile)).gram()
            }
            None => self.gram_by_products(),
        };
        if self.mean.is_some() {
            // Off the mean: P K P with P = 1 − q qᵀ, q_n = √(w_n/W).
            let total = self.total();
            let roots: Vec<f64> = self.weights().iter().map(|w| (w / total).sqrt()).collect();
            let along: Vec<f64> = gram.chunks_exact(q).map(|row| dot(row, &roots)).collect();
            let both = dot(&along, &roots);
            for ((row, &r), &a) in gram.chunks_exact_mut(q).zip(&roots).zip(&along) {
                axpy(-r, &along, row);
                axpy(r * both - a, &roots, row);
            }
        }
        dense::eigenvalues(q, &gram)
    }

    /// w_n of all samples.
    fn weights(&self) -> Vec<f64> {
        (0..self.objective.shards()).flat_map(|s| self.objective.shard(s).1.iter().map(|w| w.to_f64())).collect()
    }

    /// AᵀA: some gradients at a time, each sent through the network again.
    fn gram_by_products(&self) -> Vec<f64> {
        let model = self.objective.model();
        let (p, c, draws, head) = (self.dim(), self.outputs(), self.moment.draws(), model.logits());
        let weights = self.weights();
        let q = weights.len() * draws;
        let root = |n: usize| (weights[n] / draws as f64).sqrt();
        let nothing = Plan::new(model.graph(), &[], &[], &[], Curvature::None).expect("nothing is perturbed");
        let [push, pull] = &self.plans;
        let mut gram = vec![0.0; q * q];
        let mut gradients = vec![0.0; self.lanes.min(q) * p];
        for first in (0..q).step_by(self.lanes) {
            let lanes = self.lanes.min(q - first);
            let gradients = &mut gradients[..lanes * p];
            self.through([&nothing, pull], lanes, &[], gradients, |shard, lane, ws| {
                let (rows, here) = (self.objective.shard(shard).0.batch(), ws.lanes());
                let cotangent = ws.cotangent_mut(head);
                cotangent.fill(T::ZERO);
                for k in 0..here {
                    let (sample, draw) = ((first + lane + k) / draws, (first + lane + k) % draws);
                    if (self.starts[shard]..self.starts[shard + 1]).contains(&sample) {
                        let row = &mut cotangent[(k * rows + sample - self.starts[shard]) * c..][..c];
                        let score = &self.scores(sample)[draw * c..][..c];
                        row.iter_mut().zip(score).for_each(|(x, r)| *x = T::from_f64(root(sample) * r));
                    }
                }
            });
            let rows_of_gram = Mutex::new(&mut gram[first * q..(first + lanes) * q]);
            self.through([push, &nothing], lanes, gradients, &mut [], |shard, lane, ws| {
                let (rows, here) = (self.objective.shard(shard).0.batch(), ws.lanes());
                let mut gram = rows_of_gram.lock().expect("no product panicked");
                for (at, tangent) in ws.tangent(head).chunks_exact(c).enumerate().take(here * rows) {
                    let (k, sample) = (lane + at / rows, self.starts[shard] + at % rows);
                    for (draw, score) in self.scores(sample).chunks_exact(c).enumerate() {
                        let slope: f64 = score.iter().zip(tangent).map(|(r, t)| r * t.to_f64()).sum();
                        gram[k * q + sample * draws + draw] = root(sample) * slope;
                    }
                }
            });
        }
        gram
    }
}
