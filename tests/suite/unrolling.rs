//! Shared weights against the unrolled network: H of the shared ones is Σ_{s,t} H̃_st of the copies.

use eigenlens_hessian::coupling::{Unrolling, unrolling};
use eigenlens_hessian::operator::Block;
use eigenlens_linalg::operator::to_dense;
use eigenlens_nets::init::Init;
use eigenlens_nets::objective::Cut;
use eigenlens_nets::{Activation, LayerSpec, Loss, Model, ModelSpec};

use crate::nets::{KINDS, close, largest, linearized, random_samples, random_theta};

/// Uses of the shared layer.
const USES: usize = 3;

/// 4 inputs, a layer of 5 units used `USES` times (by one name or by several) between two others, 3 classes.
fn network(shared: bool) -> Model<f64> {
    let init = Init::XavierNormal { gain: 1.0 };
    let tanh = || LayerSpec::activation(Activation::Tanh);
    let mut layers = vec![LayerSpec::linear("in", 5, true, init), tanh()];
    for t in 0..USES {
        let layer = LayerSpec::linear(&format!("again{t}"), 5, true, init);
        layers.push(if shared && t > 0 { layer.sharing("again0") } else { layer });
        layers.push(tanh());
    }
    layers.push(LayerSpec::linear("out", 3, true, init));
    Model::new(&ModelSpec::new(&[4], layers, Loss::CrossEntropy)).unwrap()
}

#[test]
fn a_shared_block_is_the_sum_over_pairs_of_copies_and_unrolling_loses_the_pairs() {
    let (shared, unrolled) = (network(true), network(false));
    let own = shared.layers()[1].range.clone();
    let copies = &unrolled.layer_blocks()[1..=USES];
    let theta = random_theta(&shared, 5);
    // The copies stand one after the other.
    let wide = [&theta[..own.start], &theta[own.clone()].repeat(USES), &theta[own.end..]].concat();
    let samples = random_samples(shared.spec(), 40, 6);
    let tied = linearized(&shared, &samples, &theta, Cut { rows: Some(16), groups: Some(2) });
    let apart = linearized(&unrolled, &samples, &wide, Cut { rows: Some(16), groups: Some(2) });
    assert!((tied.loss() - apart.loss()).abs() <= 1e-15 * tied.loss().abs());

    let p = own.len();
    let mut gradient = vec![0.0; p];
    for copy in copies {
        gradient.iter_mut().zip(&apart.gradient()[copy.ranges[0].clone()]).for_each(|(g, x)| *g += x);
    }
    let scale = largest(&gradient);
    close("gradient", &tied.gradient()[own], &gradient, 1e-14 * scale);

    for kind in KINDS {
        let block = to_dense(&Block::layer(&tied, 1, kind));
        let full = to_dense(&Block::full(&apart, kind));
        let (mut sum, width) = (vec![0.0; p * p], unrolled.len());
        let (mut diagonal, mut pairs) = (0.0, 0.0);
        for (s, to) in copies.iter().enumerate() {
            for (t, from) in copies.iter().enumerate() {
                for (i, row) in to.ranges[0].clone().enumerate() {
                    for (j, column) in from.ranges[0].clone().enumerate() {
                        sum[i * p + j] += full[row * width + column];
                        *if s == t { &mut diagonal } else { &mut pairs } +=
                            if i == j { full[row * width + column] } else { 0.0 };
                    }
                }
            }
        }
        let scale = largest(&full);
        close("block", &block, &sum, 1e-14 * scale * (USES * USES) as f64);

        let trace: f64 = (0..p).map(|i| block[i * p + i]).sum();
        let size = diagonal.abs() + pairs.abs();
        let found: Unrolling = unrolling(&apart, copies, kind);
        for (what, a, b) in [
            ("tr H", found.assembled, trace),
            ("Σ tr H̃_tt", found.unrolled, diagonal),
            ("bias", found.bias, pairs),
            ("tr H − Σ tr H̃_tt", trace - found.unrolled, found.bias),
        ] {
            assert!((a - b).abs() <= 1e-13 * size, "{kind:?}, {what}: {a} and {b}");
        }
        // A bias that could be dropped would show nothing.
        assert!(found.bias.abs() > 1e-2 * found.unrolled.abs(), "{kind:?}: {found:?}");
    }
}
