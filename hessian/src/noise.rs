//! Blocks of which nothing but rounding is left.
//!
//! A block can be zero for reasons that no rule of this crate knows: below a norm over single values, or as the bias of the
//! keys of an attention. What the products then give is the rounding of their operands. Its size alone does not tell it from
//! a block: the first one of a deep network may be 1e-14 of the last, and right to ten digits. What tells is what becomes of
//! it when every parameter moves by about its last bit: a number that is right to some digits keeps them, what is rounding
//! changes as a whole.

use eigenlens_autodiff::{At, Exchange, Linearization, NodeId, Order, Workspace};
use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::{Par, Real, Write};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Objective, Part};

use crate::operator::Block;
use crate::per_sample::directions;

/// Rounding errors of a product, as multiples of ε times the largest entry: of sums over many samples.
pub(crate) const NOISE: f64 = 1000.0;

/// How many moves of θ are tried, of which one has to change the block; of few samples and channels, one may leave it.
const MOVES: u64 = 4;
/// The share of a product that has to change: what is left then has not one right digit.
const SHARE: f64 = 0.25;

/// Whether a block that is not symmetric is but the rounding of one that vanishes: small beside the whole matrix, in a product
/// with random signs.
///
/// Cost: one product with the whole matrix.
pub(crate) fn beside_the_whole<T: Real>(
    objective: &Objective<'_, T>,
    own: &Block<'_, '_, T>,
    part: &Part,
    kind: Kind,
) -> bool {
    let mut z = vec![0.0; objective.model().len()];
    Distribution::Rademacher.fill(0, 0, &mut z);
    let largest = |y: &[f64]| y.iter().fold(0.0, |m: f64, y| m.max(y.abs()));
    let (mut whole, mut here) = (vec![0.0; z.len()], vec![0.0; part.len()]);
    Block::full(objective, kind).multiply(1, &z, &mut whole);
    own.multiply(1, &z[..part.len()], &mut here);
    largest(&here) <= NOISE * T::EPSILON.to_f64() * largest(&whole)
}

/// Whether a block whose largest eigenvalue or norm is `size` is nothing but rounding: whether all of a product with it changes
/// when θ moves by its last bits. It is zero then, as far as can be known.
///
/// Only a block of less than √ε of the loss is looked at. Cost: at most five linearizations of the first shard and a product
/// with each.
pub(crate) fn is_rounding<T: Real>(objective: &Objective<'_, T>, part: &Part, kind: Kind, size: f64) -> bool {
    let epsilon = T::EPSILON.to_f64();
    let small = size > 0.0 && size <= epsilon.sqrt() * objective.loss().abs();
    let overlaps = |r: &std::ops::Range<usize>| part.ranges.iter().any(|own| own.start < r.end && r.start < own.end);
    // A penalty is part of the block, and no rounding.
    let penalized = kind.has_penalty() && objective.model().penalized().iter().any(|(r, l)| *l > 0.0 && overlaps(r));
    if !small || penalized {
        return false;
    }
    let here = on_the_first_shard(objective, part, kind, objective.theta());
    let length = norm(&here);
    length > 0.0
        && (0..MOVES).any(|index| {
            let mut signs = vec![0.0; objective.theta().len()];
            Distribution::Rademacher.fill(0, 1 + index, &mut signs);
            let moved: Vec<T> =
                objective.theta().iter().zip(&signs).map(|(x, s)| *x * T::from_f64(1.0 + epsilon * s)).collect();
            let there = on_the_first_shard(objective, part, kind, &moved);
            let change: Vec<f64> = there.iter().zip(&here).map(|(a, b)| a - b).collect();
            norm(&change) >= SHARE * length
        })
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// A product with the block of the first shard at these parameters, in a random direction.
fn on_the_first_shard<T: Real>(objective: &Objective<'_, T>, part: &Part, kind: Kind, theta: &[T]) -> Vec<f64> {
    let (model, (shard, weights)) = (objective.model(), objective.shard(0));
    let (nodes, directions) = directions(model, part, &Distribution::Sphere.probe(0, 0, part.len()));
    let plan = objective.plan(&nodes, &nodes, kind).expect("parameters can always be perturbed");
    let at = At { function: model.function(), theta };
    let mut lin = Linearization::new(model.function(), shard.batch(), Order::Second, Par::Seq);
    let buffers = model.buffers().iter().map(|b| b.node);
    for node in [model.input(), model.target()].into_iter().chain(buffers) {
        lin.input_mut(node).copy_from_slice(shard.value(node));
    }
    lin.evaluate(at, weights);
    lin.pull(at, weights, None);
    let (mut ws, mut out) = (Workspace::new(), model.function().param_buffers(1));
    ws.fit(model.function(), &plan, shard.batch(), 1);
    lin.product(at, &plan, &mut ws, Exchange { directions: &directions, out: &mut out, write: Write::Set, first: 0 });
    let entries = |node: &NodeId| {
        let (tensor, values) = (model.graph().param_range(*node), &out[node.index()]);
        let own = part.ranges.iter().map(move |r| r.start.max(tensor.start)..r.end.min(tensor.end).max(tensor.start));
        let first = model.graph().param_range(*node).start;
        own.flat_map(|r| r.clone().map(|i| values[i - first].to_f64()).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    nodes.iter().flat_map(entries).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockOptions;
    use crate::layerwise::block;
    use crate::testing::{linearized, samples};
    use crate::wanted::{Wanted, wanted};
    use eigenlens_nets::init::Init;
    use eigenlens_nets::spec::{LayerKind, LayerSpec, Penalty, Scope, Window};
    use eigenlens_nets::{Activation, Loss, Model, ModelSpec};

    fn conv(name: &str, channels: usize, kernel: usize) -> LayerSpec {
        let kind = LayerKind::Conv2d { channels, window: Window::square(kernel), groups: 1, bias: true };
        LayerSpec { init: Some(Init::XavierNormal { gain: 1.0 }), ..LayerSpec::new(name, kind) }
    }

    /// Every channel is one value, and a group of its own: nothing below the norm has an effect.
    fn blind() -> ModelSpec {
        let layers = vec![
            conv("first", 3, 4),
            LayerSpec::activation(Activation::Tanh),
            conv("second", 5, 1),
            LayerSpec::new("norm", LayerKind::GroupNorm { groups: 5, eps: 1e-5 }),
            LayerSpec::new("", LayerKind::Flatten),
            LayerSpec::linear("head", 3, true, Init::XavierNormal { gain: 1.0 }),
        ];
        ModelSpec::new(&[1, 4, 4], layers, Loss::CrossEntropy)
    }

    #[test]
    fn what_a_norm_of_single_values_hides_is_zero() {
        let (mut spec, data) = (blind(), samples(40, 16, 3, Loss::CrossEntropy));
        let options = BlockOptions::default();
        let sums = Wanted { sums: true, ends: false, density: false };
        for lambda in [0.0, 1e-9] {
            spec.penalty = (lambda > 0.0).then_some(Penalty { lambda, scope: Scope::All });
            let model = Model::<f64>::new(&spec).unwrap();
            for seed in 0..4 {
                let mut objective = linearized(&model, &data);
                objective.linearize_with_gradient(&model.init(seed));
                for part in &model.layer_blocks()[..2] {
                    let report = block(&objective, part, Kind::Hessian, &options).unwrap();
                    let rough = wanted(&objective, part, Kind::Hessian, &options, sums).unwrap();
                    let size = report.spectrum.magnitude();
                    let trace = rough.value("trace").unwrap();
                    if lambda == 0.0 {
                        assert_eq!((size, trace), (0.0, 0.0), "{} at seed {seed}", part.name);
                    } else {
                        assert!((size - lambda).abs() <= 1e-3 * lambda, "{}: {size:e}", part.name);
                    }
                }
                assert!(
                    block(&objective, &model.layer_blocks()[3], Kind::Hessian, &options).unwrap().spectrum.magnitude()
                        > 1e-3
                );
            }
        }
    }

    #[test]
    fn a_block_that_is_small_and_right_stays() {
        // Every layer scales by 1e-4, so that the first block is beneath ε beside the last.
        let widths = [4, 3, 3, 3, 3];
        let model = Model::<f64>::new(&ModelSpec::mlp(
            &widths,
            Activation::Tanh,
            Init::Normal { sd: 1e-4 },
            Loss::CrossEntropy,
        ))
        .unwrap();
        let mut objective = linearized(&model, &samples(40, 4, 3, Loss::CrossEntropy));
        objective.linearize_with_gradient(&model.init(1));
        let magnitude = |i: usize| {
            let part = &model.layer_blocks()[i];
            block(&objective, part, Kind::Hessian, &BlockOptions::default()).unwrap().spectrum.magnitude()
        };
        let (first, last) = (magnitude(0), magnitude(3));
        assert!(first > 0.0 && first < 1e-14 * last, "{first:e} and {last:e}");
    }
}
