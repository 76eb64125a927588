//! The same maps where every sample is shifted by itself: what an average over samples cancels, stays.

use eigenlens_linalg::Real;
use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::Objective;
use eigenlens_nets::model::Functional;
use eigenlens_nets::objective::Kind;

use super::{Geometry, GeometryOptions, distances, norm, put};

/// Values of one sweep that are kept for the difference of two curvatures, at most: 128 MB.
const KEPT: usize = 1 << 24;

/// Norms of the blocks H_{n,vw} = N ∂²L/∂f_{n,v} ∂f_{n,w} of single samples, as root mean squares over the samples; C, GN-Gap
/// and the curves come from these.
///
/// This is what automatic differentiation by the activations of a whole batch sees. In [`geometry`](super::geometry) all
/// samples are shifted alike, so that terms which change sign from sample to sample cancel: T does, as the mean of ∂ℓ_n/∂o
/// is small wherever the network is right on average. At a start with PyTorch's weights the GN-Gaps of this function are those
/// that arXiv 2604.11639 gives, to about a tenth.
///
/// D is not defined here (`spectral` is `None`). A probe is the same for all samples; its error is that of the mean over the
/// samples.
///
/// Cost: as [`geometry`](super::geometry) without `leading`. Memory: two times 128 MB, or N · results if that is more.
///
/// # Panics
/// If nothing was linearized with second order, or samples see each other (batch norm with the statistics of the batch).
#[track_caller]
pub fn geometry_by_sample<T: Real>(objective: &Objective<'_, T>, options: &GeometryOptions) -> Geometry {
    let (model, n) = (objective.model(), objective.samples());
    assert!(!model.graph().mixes_samples(), "blocks of single samples, where samples see each other");
    let blocks = model.functional().to_vec();
    let widths: Vec<usize> = blocks.iter().map(|b| model.graph().shape(b.node).size()).collect();
    let total: usize = widths.iter().sum();
    let exact = total <= options.exact_max;
    let most = (KEPT / (n * total).max(1)).max(1);
    let mut squares = vec![vec![vec![Vec::new(); blocks.len()]; blocks.len()]; 3];
    let mut products = 0;
    for (v, &width) in widths.iter().enumerate() {
        let columns = if exact { width } else { options.probes };
        for first in (0..columns).step_by(most) {
            let lanes = most.min(columns - first);
            let mut x = vec![0.0; lanes * width];
            for (k, x) in x.chunks_exact_mut(width).enumerate() {
                if exact {
                    x[first + k] = 1.0;
                } else {
                    Distribution::Rademacher.fill(options.seed, (v * options.probes + first + k) as u64, x);
                }
            }
            products += 2 * lanes;
            let [h, g] = [Kind::Hessian, Kind::GaussNewton].map(|kind| rows(objective, &blocks, &widths, v, kind, &x));
            add(&mut squares, v, &widths, (n, lanes), (&h, &g));
        }
    }
    let norms =
        |list: &Vec<Vec<Vec<f64>>>| list.iter().map(|row| row.iter().map(|s| norm(s, exact)).collect()).collect();
    let [hessian, gauss_newton, tensor] = [0, 1, 2].map(|i| norms(&squares[i]));
    let distance = distances(&blocks);
    Geometry { blocks, distance, hessian, gauss_newton, tensor, spectral: None, exact, products }
}

/// N Σ_n ‖·‖² of each lane's rows: the mean over samples of what N times the second derivatives of L gives.
fn add(
    squares: &mut [Vec<Vec<Vec<f64>>>],
    v: usize,
    widths: &[usize],
    (n, lanes): (usize, usize),
    (h, g): (&[Vec<f64>], &[Vec<f64>]),
) {
    let total: usize = widths.iter().sum();
    for k in 0..lanes {
        let mut at = 0;
        for (w, &width) in widths.iter().enumerate() {
            let mut sums = [0.0; 3];
            for (h, g) in h.iter().zip(g) {
                // A shard: lanes of samples of results.
                let lane = h.len() / lanes;
                let own = k * lane..(k + 1) * lane;
                for (h, g) in h[own.clone()].chunks_exact(total).zip(g[own].chunks_exact(total)) {
                    for (h, g) in h[at..at + width].iter().zip(&g[at..at + width]) {
                        let values = [*h, *g, h - g];
                        sums.iter_mut().zip(values).for_each(|(s, x)| *s += x * x);
                    }
                }
            }
            squares.iter_mut().zip(sums).for_each(|(list, sum)| list[v][w].push(n as f64 * sum));
            at += width;
        }
    }
}

/// What each column at block v gives at all blocks, for each sample: for each shard (lanes, samples, Σ widths).
fn rows<T: Real>(
    objective: &Objective<'_, T>,
    blocks: &[Functional],
    widths: &[usize],
    v: usize,
    kind: Kind,
    x: &[f64],
) -> Vec<Vec<f64>> {
    let (node, width, total) = (blocks[v].node, widths[v], widths.iter().sum::<usize>());
    let targets: Vec<_> = blocks.iter().map(|b| b.node).collect();
    let plan = objective.plan(&[node], &targets, kind).expect("one result can be perturbed");
    let lanes = x.len() / width;
    objective.sweep_activations(
        &plan,
        lanes,
        |_, ws| put(ws.tangent_mut(node), x, width),
        |shard, ws| {
            let samples = objective.shard(shard).0.batch();
            let mut rows = vec![0.0; lanes * samples * total];
            let mut at = 0;
            for (&node, &width) in targets.iter().zip(widths) {
                for (row, values) in rows.chunks_exact_mut(total).zip(ws.cotangent(node).chunks_exact(width)) {
                    row[at..at + width].iter_mut().zip(values).for_each(|(r, x)| *r = x.to_f64());
                }
                at += width;
            }
            rows
        },
    )
}
