//! The exact dense block of an affine layer from its structure: (1/N) Σ_n M_n ⊗ ẑ_n ẑ_nᵀ, without p Hessian products.
//!
//! For a layer a = W z + b with ẑ = (z, 1), the loss block is exactly Σ_n w_n ∂²ℓ_n/∂a_n² ⊗ ẑ_n ẑ_nᵀ. The curvatures
//! M_n of all samples come from `out` products seeded at a, each touching only the layers above; the sum over samples is
//! one matrix product of the pairs i ≤ j of M with the pairs a ≤ b of ẑ ẑᵀ. Where the map is applied at several positions,
//! as by a convolution or on tokens, the sum is over pairs of positions, too (`positions`). Which layers have such a structure
//! says `structure`; which of their parameters are wanted, a [`Tile`].

use std::ops::Range;

use eigenlens_autodiff::Plan;
use eigenlens_linalg::{Par, Real, View, Write, gemm};
use eigenlens_nets::model::Layer;
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Model, Objective, Part};
use rayon::prelude::*;

use crate::local;

mod positions;
mod structure;
mod tile;

pub use structure::{Positions, Structure, structure};
pub use tile::Tile;

/// What an exact dense block costs by either route, in multiply-adds, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// By assembly from structure; infinite where there is no such structure.
    pub kronecker: f64,
    /// By p products with unit vectors.
    pub products: f64,
    /// Bytes at the peak of the cheaper one, the block included.
    pub bytes: f64,
}

impl Estimate {
    /// For a part of the objective's network.
    pub fn new<T: Real>(objective: &Objective<'_, T>, part: &Part) -> Self {
        Estimate::of(objective.model(), objective.samples(), part)
    }

    /// For a part of a network on so many samples.
    pub fn of<T: Real>(model: &Model<T>, samples: usize, part: &Part) -> Self {
        let (layers, n) = (model.layers(), samples as f64);
        let above = |from: usize| layers[from..].iter().map(|l| l.work as f64).sum::<f64>() * n;
        let p = part.len() as f64;
        let start = part.ranges.first().map_or(0, |r| r.start);
        let lowest = layers.partition_point(|l| l.range.end <= start);
        let products = 2.0 * p * above(lowest);
        let of_tile = |tile: Tile| structure(model, tile.layer).map(|s| (tile, s));
        match Tile::of(model, part).and_then(of_tile) {
            None => Estimate { kronecker: f64::INFINITY, products, bytes: 8.0 * p * p },
            Some((tile, Structure::Positions(positions))) => {
                let (d, units) = (tile.z_len(&layers[tile.layer]) as f64, tile.units.len() as f64);
                let (work, bytes, lanes) = positions::cost(&positions, n, units, d);
                let kronecker = 2.0 * lanes * above(tile.layer + 1) + work;
                let bytes = 8.0 * p * p + if kronecker <= products { bytes } else { 0.0 };
                Estimate { kronecker, products, bytes }
            }
            Some((tile, Structure::Dense)) => {
                let (d, units) = (tile.z_len(&layers[tile.layer]) as f64, tile.units.len() as f64);
                let (pairs_m, pairs_z) = (units * (units + 1.0) / 2.0, d * (d + 1.0) / 2.0);
                let chunk = (CHUNK as f64).min(n);
                Estimate {
                    kronecker: 2.0 * units * above(tile.layer + 1) + n * pairs_m * pairs_z,
                    products,
                    bytes: 8.0 * (n * pairs_m + chunk * (pairs_z + pairs_m) + pairs_m * pairs_z + p * p),
                }
            }
        }
    }
}

/// Whether the block of layer `index` is a sum over samples of Kronecker products: [`Structure::Dense`].
///
/// # Panics
/// If there is no such layer.
#[track_caller]
pub fn holds<T: Real>(model: &Model<T>, index: usize) -> bool {
    structure(model, index) == Some(Structure::Dense)
}

/// Samples whose pairs are formed at once: enough for an efficient product, few enough for memory.
const CHUNK: usize = 512;

/// Place of the pair i ≤ j among the pairs of 0..n, ordered by i.
pub(crate) fn pair(n: usize, i: usize, j: usize) -> usize {
    i * (2 * n - i + 1) / 2 + (j - i)
}

/// w_n ∂²ℓ_n/∂a_n² for every sample n, as the pairs i ≤ j of outputs: shape (N, out (out + 1)/2).
///
/// Cost: `out` products that touch only the layers above this one.
///
/// # Panics
/// If nothing was linearized with second order, or there is no such layer.
#[track_caller]
pub fn output_curvature<T: Real>(objective: &Objective<'_, T>, index: usize, kind: Kind) -> Vec<f64> {
    curvature_between(objective, index, &(0..objective.model().layers()[index].outputs), kind)
}

/// The pairs of these outputs of [`output_curvature`]; in closed form where there is one.
pub(crate) fn curvature_between<T: Real>(
    objective: &Objective<'_, T>,
    index: usize,
    units: &Range<usize>,
    kind: Kind,
) -> Vec<f64> {
    if let Some(m) = local::closed_form(objective, index, units, kind) {
        return m;
    }
    let model = objective.model();
    let layer = &model.layers()[index];
    let (node, out, count) = (layer.output, layer.outputs, units.len());
    let plan: Plan = objective.plan(&[node], &[node], kind).expect("a layer's output can be perturbed");
    let pairs = count * (count + 1) / 2;
    let mut m = vec![0.0; objective.samples() * pairs];
    let lanes_at_once = objective.lane_window(objective.shard(0).0.batch()).min(count);
    for first in (0..count).step_by(lanes_at_once) {
        let lanes = lanes_at_once.min(count - first);
        let lists = objective.sweep_activations(
            &plan,
            lanes,
            |_, ws| {
                let rows = ws.tangent(node).len() / lanes / out;
                let tangent = ws.tangent_mut(node);
                tangent.fill(T::ZERO);
                for k in 0..lanes {
                    tangent[k * rows * out..(k + 1) * rows * out]
                        .iter_mut()
                        .skip(units.start + first + k)
                        .step_by(out)
                        .for_each(|x| *x = T::ONE);
                }
            },
            |_, ws| {
                // Column j of M_n is lane j; only i ≤ j is kept.
                let rows = ws.cotangent(node).len() / lanes / out;
                let mut kept = Vec::with_capacity(rows * lanes * count);
                for sample in ws.cotangent(node).chunks_exact(out) {
                    kept.extend(sample[units.clone()].iter().map(|x| x.to_f64()));
                }
                kept
            },
        );
        let mut start = 0;
        for list in &lists {
            let rows = list.len() / lanes / count;
            for (k, lane) in list.chunks_exact(rows * count).enumerate() {
                let j = first + k;
                for (n, column) in lane.chunks_exact(count).enumerate() {
                    let sample = &mut m[(start + n) * pairs..(start + n + 1) * pairs];
                    for (i, &x) in column[..=j].iter().enumerate() {
                        sample[pair(count, i, j)] = x;
                    }
                }
            }
            start += rows;
        }
    }
    m
}

/// The dense block of layer `index`, p × p, in the order of θ (weight row-major, then bias); penalty included.
///
/// Exact up to rounding, and exactly symmetric. Cost and memory: see [`Estimate`].
///
/// # Panics
/// As [`output_curvature`], or if the block has no [`structure`].
#[track_caller]
pub fn assemble<T: Real>(objective: &Objective<'_, T>, index: usize, kind: Kind) -> Vec<f64> {
    assemble_tile(objective, &Tile::layer(objective.model(), index), kind)
}

/// The dense block of some rows of a layer: of Σ_n w_n M_n ⊗ ẑ_n ẑ_nᵀ, the M_n between their outputs and the ẑ they have.
///
/// As [`assemble`].
///
/// # Panics
/// As [`assemble`].
#[track_caller]
pub fn assemble_tile<T: Real>(objective: &Objective<'_, T>, tile: &Tile, kind: Kind) -> Vec<f64> {
    let model = objective.model();
    let layer = &model.layers()[tile.layer];
    let mut block = match structure(model, tile.layer) {
        Some(Structure::Dense) => assemble_dense(objective, tile, kind),
        Some(Structure::Positions(positions)) => positions::assemble(objective, tile, &positions, kind),
        None => panic!("the block of `{}` is no sum of Kronecker products", layer.name),
    };
    if kind.has_penalty() {
        add_penalty(model, &tile.ranges(layer), &mut block);
    }
    block
}

/// [`assemble_tile`] of [`Structure::Dense`], without the penalty.
fn assemble_dense<T: Real>(objective: &Objective<'_, T>, tile: &Tile, kind: Kind) -> Vec<f64> {
    assemble_of(objective, tile, &curvature_between(objective, tile.layer, &tile.units, kind))
}

/// Σ_n M_n ⊗ ẑ_n ẑ_nᵀ in the order of θ, of a tile of [`Structure::Dense`], for M_n of shape (N, pairs of its outputs).
pub(crate) fn assemble_of<T: Real>(objective: &Objective<'_, T>, tile: &Tile, m: &[f64]) -> Vec<f64> {
    let layer = &objective.model().layers()[tile.layer];
    let (d, units, n) = (tile.z_len(layer), tile.units.len(), objective.samples());
    let (pairs_m, pairs_z) = (units * (units + 1) / 2, d * (d + 1) / 2);
    let z = inputs(objective, tile);
    let mut sum = vec![0.0; pairs_m * pairs_z];
    let mut zz = vec![0.0; CHUNK.min(n) * pairs_z];
    for start in (0..n).step_by(CHUNK) {
        let rows = CHUNK.min(n - start);
        let zz = &mut zz[..rows * pairs_z];
        zz.par_chunks_mut(pairs_z).zip(z[start * d..].par_chunks(d)).for_each(|(zz, z)| outer_pairs(z, zz));
        let m = View::new(&m[start * pairs_m..(start + rows) * pairs_m], rows, pairs_m);
        let threads = Par::rayon(rayon::current_num_threads());
        gemm(&mut sum, Write::add_if(start > 0), 1.0, m.t(), View::new(zz, rows, pairs_z), threads);
    }
    let p = tile.len(layer);
    let mut block = vec![0.0; p * p];
    scatter(layer, tile, &sum, &mut block);
    block
}

/// Adds the second derivatives of the penalty to the dense block of some ranges of θ.
fn add_penalty<T: Real>(model: &Model<T>, ranges: &[Range<usize>], block: &mut [f64]) {
    let p: usize = ranges.iter().map(ExactSizeIterator::len).sum();
    for (covered, lambda) in model.penalized() {
        for (at, _) in ranges.iter().cloned().flatten().enumerate().filter(|(_, i)| covered.contains(i)) {
            block[at * p + at] += lambda;
        }
    }
}

/// ẑ of every sample, shape (N, d).
pub(crate) fn inputs<T: Real>(objective: &Objective<'_, T>, tile: &Tile) -> Vec<f64> {
    let layer = &objective.model().layers()[tile.layer];
    let mut z = Vec::with_capacity(objective.samples() * tile.z_len(layer));
    for s in 0..objective.shards() {
        for row in objective.shard(s).0.value(layer.input).chunks_exact(layer.inputs) {
            if tile.weight {
                z.extend(row.iter().map(|x| x.to_f64()));
            }
            if tile.bias {
                z.push(1.0);
            }
        }
    }
    z
}

/// z_a z_b for a ≤ b.
fn outer_pairs(z: &[f64], out: &mut [f64]) {
    let mut rest = out;
    for a in 0..z.len() {
        let (row, later) = rest.split_at_mut(z.len() - a);
        row.iter_mut().zip(&z[a..]).for_each(|(o, zb)| *o = z[a] * zb);
        rest = later;
    }
}

/// Puts entry ((i, j), (a, b)) of the sum of pairs where θ has (neuron i, input a) and (neuron j, input b), and its mirrors.
fn scatter(layer: &Layer, tile: &Tile, sum: &[f64], block: &mut [f64]) {
    let (d, units, p) = (tile.z_len(layer), tile.units.len(), tile.len(layer));
    let pairs_z = d * (d + 1) / 2;
    let width = d - usize::from(tile.bias);
    // Row (i, a) of the block takes for each neuron j the row a of a symmetric d × d matrix: disjoint rows run in parallel.
    block.par_chunks_mut(p).enumerate().for_each(|(row, line)| {
        let (i, a) = if row < units * width { (row / width, row % width) } else { (row - units * width, width) };
        for j in 0..units {
            let own = &sum[pair(units, i.min(j), i.max(j)) * pairs_z..][..pairs_z];
            for b in 0..a {
                line[tile.place(layer, j, b)] = own[pair(d, b, a)];
            }
            let own = &own[pair(d, a, a)..][..d - a];
            for (b, &x) in (a..d).zip(own) {
                line[tile.place(layer, j, b)] = x;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::Block;
    use crate::testing::{Case, cases};
    use eigenlens_linalg::operator::to_dense;
    use eigenlens_nets::Grouping;

    #[test]
    fn pairs_count_the_upper_triangle() {
        let mut next = 0;
        for i in 0..5 {
            for j in i..5 {
                assert_eq!(pair(5, i, j), next);
                next += 1;
            }
        }
    }

    #[test]
    fn assembled_blocks_equal_blocks_from_products() {
        for Case { name, model, samples } in cases() {
            let objective = crate::testing::linearized(&model, &samples);
            for kind in [Kind::Hessian, Kind::GaussNewton, Kind::Tensor] {
                for index in 0..model.layers().len() {
                    let block = assemble(&objective, index, kind);
                    let products = to_dense(&Block::layer(&objective, index, kind));
                    let scale = products.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
                    let worst = block.iter().zip(&products).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(worst <= 1e-12 * scale, "{name}, layer {index}, {kind:?}: {worst:e} of {scale:e}");
                }
            }
        }
    }

    #[test]
    fn assembled_tiles_equal_blocks_from_products() {
        for Case { name, model, samples } in cases() {
            let objective = crate::testing::linearized(&model, &samples);
            for grouping in [Grouping::Tensor, Grouping::Neuron] {
                for part in model.blocks(&grouping).unwrap() {
                    let tile = Tile::of(&model, &part).unwrap();
                    let block = assemble_tile(&objective, &tile, Kind::Hessian);
                    let products = to_dense(&Block::part(&objective, &part, Kind::Hessian));
                    let scale = products.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
                    let worst = block.iter().zip(&products).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(worst <= 1e-12 * scale, "{name}, {}: {worst:e} of {scale:e}", part.name);
                }
            }
        }
    }

    #[test]
    fn assembled_blocks_are_exactly_symmetric() {
        for Case { name, model, samples } in cases() {
            let objective = crate::testing::linearized(&model, &samples);
            for (index, layer) in model.layers().iter().enumerate() {
                let (p, block) = (layer.len(), assemble(&objective, index, Kind::Hessian));
                assert!((0..p).all(|i| (0..i).all(|j| block[i * p + j] == block[j * p + i])), "{name}, layer {index}");
            }
        }
    }

    #[test]
    fn blocks_are_the_same_bits_for_any_number_of_threads() {
        let Case { model, samples, .. } = cases().swap_remove(0);
        let objective = crate::testing::linearized(&model, &samples);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| assemble(&objective, 0, Kind::Hessian))
        };
        assert!(run(1) == run(2));
    }

    #[test]
    fn the_last_layer_of_cross_entropy_has_the_closed_form() {
        let Case { model, samples, .. } = cases().swap_remove(0);
        let objective = crate::testing::linearized(&model, &samples);
        let last = model.layers().len() - 1;
        let m = output_curvature(&objective, last, Kind::Hessian);
        let (c, mut n) = (model.outputs(), 0);
        for s in 0..objective.shards() {
            let (lin, w) = objective.shard(s);
            for (o, w) in lin.value(model.logits()).chunks_exact(c).zip(w) {
                let sum: f64 = o.iter().map(|x| x.exp()).sum();
                let p: Vec<f64> = o.iter().map(|x| x.exp() / sum).collect();
                for i in 0..c {
                    for j in i..c {
                        let want = w * (if i == j { p[i] } else { 0.0 } - p[i] * p[j]);
                        assert!((m[n * c * (c + 1) / 2 + pair(c, i, j)] - want).abs() < 1e-16);
                    }
                }
                n += 1;
            }
        }
    }
}
