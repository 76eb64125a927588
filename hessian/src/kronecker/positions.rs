//! The exact dense block of an affine map that is applied at S positions: a convolution, a linear layer on tokens.
//!
//! With ẑ_s the patch or token at position s (and 1), and M_n = w_n ∂²ℓ_n/∂a_n² over all outputs at all positions, the entry
//! of the block at (output i, input a) and (output j, input b) is Σ_n Σ_{s,s'} M_n[(i,s),(j,s')] ẑ_{n,s,a} ẑ_{n,s',b}: pairs
//! of different positions belong to it. A lane seeded at (j, s') gives a column of every M_n. Columns of several s' and one
//! j make U = M_nᵀ Ẑ, one row for each (n, s'), and Uᵀ Ẑ adds up the blocks (i, j) for all i ≤ j.

use eigenlens_linalg::{Par, Real, View, Write, gemm};
use eigenlens_nets::Objective;
use eigenlens_nets::objective::Kind;
use rayon::prelude::*;

use super::structure::Positions;
use super::tile::Tile;

/// Values of U that are held at once: they stay in a core's cache.
const HELD: usize = 1 << 17;
/// Values of ẑ, of all samples at all positions, up to which they are gathered only once: 256 MB.
const PATCHES: usize = 1 << 25;
/// What a multiply-add of the small matrices here takes, as multiples of one in a sweep: measured on convolutions of 64
/// positions and 8 channels, whose structure otherwise looked twice as good as it is.
const SLOWER: f64 = 1.7;
/// Groups of shards that are added up side by side, at most.
const GROUPS: f64 = 16.0;

/// Multiply-adds (as of a sweep) and bytes of [`assemble`] without the products above the layer, and the number of these products.
pub fn cost(positions: &Positions, samples: f64, units: f64, d: f64) -> (f64, f64, f64) {
    let (s, pairs) = (positions.count as f64, units * (units + 1.0) / 2.0);
    let patches = (samples * s * d * positions.groups as f64).min(PATCHES as f64);
    let work = SLOWER * samples * s * pairs * d * (s + d);
    let values = units * d * d + 2.0 * HELD as f64 + s * (d * positions.groups as f64 + units * 16.0);
    (work, 8.0 * (GROUPS * values + patches), units * s)
}

/// What one group of shards adds up, and its working memory.
#[derive(Clone, Default)]
struct State {
    /// Blocks (i, j) for i ≤ j, each (d, d).
    sum: Vec<f64>,
    z: Vec<f64>,
    m: Vec<f64>,
    /// Rows of U and of ẑ that wait to be multiplied: a product of few rows would read and write the sum for little.
    u: Vec<f64>,
    right: Vec<f64>,
}

impl State {
    /// Adds the rows that wait: Uᵀ Ẑ.
    fn flush(&mut self, d: usize) {
        let rows = self.right.len() / d;
        if rows > 0 {
            let left = View::new(&self.u, rows, self.u.len() / rows);
            gemm(&mut self.sum, Write::Add, 1.0, left.t(), View::new(&self.right, rows, d), Par::Seq);
        }
        self.u.clear();
        self.right.clear();
    }
}

/// ẑ of all samples of each shard, shape (sample, group, S, d), if that is not too much.
fn patches<T: Real>(
    objective: &Objective<'_, T>,
    tile: &Tile,
    positions: &Positions,
    most: usize,
) -> Option<Vec<Vec<f64>>> {
    let layer = &objective.model().layers()[tile.layer];
    let own = positions.groups * positions.count * tile.z_len(layer);
    if objective.samples() * own > most {
        return None;
    }
    let one = |shard: usize| {
        let lin = objective.shard(shard).0;
        let x = lin.value(layer.input);
        let mut z = vec![0.0; lin.batch() * own];
        for (x, z) in x.chunks_exact(x.len() / lin.batch()).zip(z.chunks_exact_mut(own)) {
            for (g, z) in z.chunks_exact_mut(own / positions.groups).enumerate() {
                positions.gather(layer, tile, g, x, z);
            }
        }
        z
    };
    Some((0..objective.shards()).into_par_iter().map(one).collect())
}

/// The block of a tile without the penalty, p × p in the order of θ; exactly symmetric.
pub fn assemble<T: Real>(objective: &Objective<'_, T>, tile: &Tile, positions: &Positions, kind: Kind) -> Vec<f64> {
    assemble_within(objective, tile, positions, kind, PATCHES)
}

/// [`assemble`], with at most so many values of ẑ gathered only once.
fn assemble_within<T: Real>(
    objective: &Objective<'_, T>,
    tile: &Tile,
    positions: &Positions,
    kind: Kind,
    most: usize,
) -> Vec<f64> {
    let layer = &objective.model().layers()[tile.layer];
    let (node, d, p, s) = (layer.output, tile.z_len(layer), tile.len(layer), positions.count);
    let width = layer.outputs * s;
    let plan = objective.plan(&[node], &[node], kind).expect("a layer's output can be perturbed");
    let mut block = vec![0.0; p * p];
    let mut states = vec![State::default(); objective.groups()];
    let lanes_at_once = objective.lane_window(objective.shard(0).0.batch()).min(s);
    let patches = patches(objective, tile, positions, most);
    for j in 0..tile.units.len() {
        for state in &mut states {
            state.sum.clear();
            state.sum.resize((j + 1) * d * d, 0.0);
        }
        for first in (0..s).step_by(lanes_at_once) {
            let lanes = lanes_at_once.min(s - first);
            objective.fold_activations(
                &plan,
                lanes,
                &mut states,
                |_, ws| {
                    let tangent = ws.tangent_mut(node);
                    tangent.fill(T::ZERO);
                    let rows = tangent.len() / lanes / width;
                    for (k, lane) in tangent.chunks_exact_mut(rows * width).enumerate() {
                        let at = positions.place(layer, tile.units.start + j, first + k);
                        lane.iter_mut().skip(at).step_by(width).for_each(|x| *x = T::ONE);
                    }
                },
                |shard, ws, state| {
                    let x = objective.shard(shard).0.value(layer.input);
                    let patches = patches.as_ref().map(|p| &p[shard][..]);
                    add(state, Columns { tile, positions, layer, j, first, lanes }, x, patches, ws.cotangent(node));
                },
            );
        }
        states.iter_mut().for_each(|state| state.flush(d));
        let (one, others) = states.split_first_mut().expect("there is a group");
        others.iter().for_each(|o| one.sum.iter_mut().zip(&o.sum).for_each(|(s, o)| *s += o));
        for (i, own) in one.sum.chunks_exact(d * d).enumerate() {
            for a in 0..d {
                // On the diagonal, one triangle is the mirror of the other but for rounding.
                for b in if i == j { a } else { 0 }..d {
                    let (row, column) = (tile.place(layer, i, a), tile.place(layer, j, b));
                    block[row * p + column] = own[a * d + b];
                    block[column * p + row] = own[a * d + b];
                }
            }
        }
    }
    block
}

/// Which columns of M are at hand: those of output j at `lanes` positions from `first` on.
#[derive(Clone, Copy)]
struct Columns<'a> {
    tile: &'a Tile,
    positions: &'a Positions,
    layer: &'a eigenlens_nets::model::Layer,
    j: usize,
    first: usize,
    lanes: usize,
}

/// Adds what a shard gives: its inputs x, their ẑ if they were gathered before, and the columns m of shape (lane, sample,
/// output and position).
fn add<T: Real>(state: &mut State, columns: Columns<'_>, x: &[T], patches: Option<&[f64]>, m: &[T]) {
    let Columns { tile, positions, layer, j, first, lanes } = columns;
    let (d, s, count) = (tile.z_len(layer), positions.count, j + 1);
    let width = layer.outputs * s;
    let rows = m.len() / lanes / width;
    let group = |i: usize| positions.group(layer, tile.units.start + i);
    let (lowest, highest) = (group(0), group(j));
    state.m.resize(lanes * count * s, 0.0);
    for (n, x) in x.chunks_exact(x.len() / rows).enumerate() {
        if state.u.len() + lanes * count * d > HELD {
            state.flush(d);
        }
        let State { z, m: packed, u, right, .. } = &mut *state;
        let z = match patches {
            Some(all) => &all[n * positions.groups * s * d..][lowest * s * d..(highest + 1) * s * d],
            None => {
                z.resize((highest + 1 - lowest) * s * d, 0.0);
                for (g, z) in z.chunks_exact_mut(s * d).enumerate() {
                    positions.gather(layer, tile, lowest + g, x, z);
                }
                z
            }
        };
        for (row, out) in packed.chunks_exact_mut(s).enumerate() {
            let (lane, i) = (row / count, row % count);
            let sample = &m[(lane * rows + n) * width..][..width];
            let at = |t: usize| sample[positions.place(layer, tile.units.start + i, t)].to_f64();
            out.iter_mut().enumerate().for_each(|(t, out)| *out = at(t));
        }
        let start = u.len();
        u.resize(start + lanes * count * d, 0.0);
        let u = &mut u[start..];
        if lowest == highest {
            gemm(u, Write::Set, 1.0, View::new(packed, lanes * count, s), View::new(z, s, d), Par::Seq);
        } else {
            // Neighbours in one group see the same ẑ.
            for lane in 0..lanes {
                let mut from = 0;
                while from < count {
                    let to = (from..count).find(|&i| group(i) != group(from)).unwrap_or(count);
                    let (begin, end) = (lane * count + from, lane * count + to);
                    let packed = View::new(&packed[begin * s..end * s], to - from, s);
                    let z = View::new(&z[(group(from) - lowest) * s * d..][..s * d], s, d);
                    gemm(&mut u[begin * d..end * d], Write::Set, 1.0, packed, z, Par::Seq);
                    from = to;
                }
            }
        }
        right.extend_from_slice(&z[((highest - lowest) * s + first) * d..][..lanes * d]);
    }
}

#[cfg(test)]
mod tests {
    use crate::kronecker::{Estimate, Structure, Tile, assemble_tile, structure};
    use crate::operator::Block;
    use crate::testing::{linearized, mixed, samples};
    use eigenlens_linalg::operator::to_dense;
    use eigenlens_nets::init::Init;
    use eigenlens_nets::objective::Kind;
    use eigenlens_nets::spec::{LayerKind, LayerSpec, Loss, ModelSpec, Statistics, Window};
    use eigenlens_nets::{Activation, Grouping, Model, Samples};

    /// Convolutions of every sort, and at the end, if asked for, a norm over the batch.
    fn convolutions(norm: bool) -> (Model<f64>, Samples) {
        let conv = |name: &str, channels, window, groups, bias| {
            LayerSpec::new(name, LayerKind::Conv2d { channels, window, groups, bias })
        };
        let tanh = || LayerSpec::activation(Activation::Tanh);
        let odd = Window { kernel: [3, 2], stride: [1, 2], padding: [1, 0], dilation: [2, 1] };
        let mut layers = vec![
            conv("plain", 4, Window::square(3).padding(1), 1, true),
            tanh(),
            conv("depthwise", 4, Window::square(3).padding(1), 4, true),
            tanh(),
            conv("grouped", 6, odd, 2, false),
            tanh(),
            conv("strided", 3, Window::square(2).stride(2), 1, true),
        ];
        if norm {
            let statistics = Statistics::Batch;
            layers.push(LayerSpec::new("norm", LayerKind::BatchNorm { eps: 1e-5, momentum: 0.1, statistics }));
        }
        layers.extend([
            tanh(),
            LayerSpec::new("", LayerKind::Flatten),
            LayerSpec::linear("out", 3, true, Init::Pytorch),
        ]);
        (
            Model::new(&ModelSpec::new(&[2, 6, 5], layers, Loss::CrossEntropy)).unwrap(),
            samples(23, 60, 3, Loss::CrossEntropy),
        )
    }

    fn check(model: &Model<f64>, samples: &Samples, groupings: &[Grouping]) -> usize {
        let objective = linearized(model, samples);
        let mut seen = 0;
        for kind in [Kind::Hessian, Kind::GaussNewton] {
            let whole = to_dense(&Block::full(&objective, kind)).into_iter().fold(0.0_f64, |m, x| m.max(x.abs()));
            for part in groupings.iter().flat_map(|g| model.blocks(g).unwrap()) {
                let Some(tile) = Tile::of(model, &part).filter(|t| structure(model, t.layer).is_some()) else {
                    assert_eq!(Estimate::new(&objective, &part).kronecker, f64::INFINITY, "{}", part.name);
                    continue;
                };
                let block = assemble_tile(&objective, &tile, kind);
                let products = to_dense(&Block::part(&objective, &part, kind));
                // The blocks of key biases are 0 but for the rounding of others.
                let scale = products.iter().fold(1e-3 * whole, |m, x| m.max(x.abs()));
                let worst = block.iter().zip(&products).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(worst <= 1e-12 * scale, "{}, {kind:?}: {worst:e} of {scale:e}", part.name);
                let p = part.len();
                assert!((0..p).all(|i| (0..i).all(|j| block[i * p + j] == block[j * p + i])), "{}", part.name);
                assert!(Estimate::new(&objective, &part).kronecker.is_finite());
                seen += usize::from(matches!(structure(model, tile.layer), Some(Structure::Positions(_))));
            }
        }
        seen
    }

    #[test]
    fn blocks_of_convolutions_equal_blocks_from_products() {
        let (model, samples) = convolutions(false);
        let groupings = [Grouping::Layer, Grouping::Neuron, Grouping::Tensor];
        // Four convolutions, their 17 channels, their 7 tensors; H and G.
        assert_eq!(check(&model, &samples, &groupings), 2 * (4 + 17 + 7));
    }

    #[test]
    fn blocks_of_layers_on_tokens_equal_blocks_from_products() {
        let (model, samples) = mixed();
        // A convolution and four projections; the layer that is used twice and the norm have no structure.
        assert_eq!(check(&model, &samples, &[Grouping::Layer]), 2 * 5);
        assert!(check(&model, &samples, &[Grouping::Neuron, Grouping::Tensor]) > 0);
        assert!(model.layers().iter().any(|l| l.name == "mix"));
    }

    #[test]
    fn below_a_norm_over_the_batch_there_is_no_structure() {
        let (model, _) = convolutions(true);
        let found: Vec<_> = (0..model.layers().len()).map(|i| structure(&model, i).is_some()).collect();
        assert_eq!(found, [false, false, false, false, false, true]);
    }

    #[test]
    fn patches_gathered_again_and_again_give_the_same_bits() {
        let (model, samples) = convolutions(false);
        let objective = linearized(&model, &samples);
        for index in 0..4 {
            let Some(Structure::Positions(positions)) = structure(&model, index) else { panic!("a convolution") };
            let tile = Tile::layer(&model, index);
            let run = |most| super::assemble_within(&objective, &tile, &positions, Kind::Hessian, most);
            assert!(run(0) == run(usize::MAX), "{index}");
        }
    }

    #[test]
    fn blocks_are_the_same_bits_for_any_number_of_threads() {
        let (model, samples) = convolutions(false);
        let objective = linearized(&model, &samples);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| assemble_tile(&objective, &Tile::layer(&model, 2), Kind::Hessian))
        };
        assert!(run(1) == run(2));
    }
}
