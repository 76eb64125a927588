//! How curvature couples the functional blocks of a network: blocks of the Hessian in activation space.
//!
//! Perturb the result f_v of block v by the same ε for every sample; H_vw = ∂²L/∂ε_v∂ε_w = (1/N) Σ_n ∂²ℓ_n/∂f_v∂f_w. One
//! direction at v gives H_wv z for all blocks w in one product. Gauss–Newton part G and tensor part T = H − G come from the
//! same directions.
//!
//! | number | formula |
//! |---|---|
//! | resonance R | ‖H_vw‖_F |
//! | coupling C | ‖H_vw‖_F / √(‖H_vv‖_F ‖H_ww‖_F), not clamped |
//! | stable rank D | ‖H_vw‖_F² / ‖H_vw‖₂² |
//! | GN-Gap | ‖T_vw‖_F / ‖G_vw‖_F |
//!
//! Source: Bolshim & Kugaevskikh, arXiv 2604.11639.

use std::collections::VecDeque;

use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::reduce::axpy;
use eigenlens_linalg::{Par, Real, View, Write, dense, gemm};
use eigenlens_nets::Objective;
use eigenlens_nets::model::Functional;
use eigenlens_nets::objective::Kind;

use crate::estimate::Estimate;

mod curves;
mod jacobian;
mod samples;

pub use curves::{CurvePoint, Decay};
pub use jacobian::{Jacobians, jacobians};
pub use samples::geometry_by_sample;

#[cfg(test)]
mod tests;

/// How the blocks are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeometryOptions {
    /// Networks whose blocks have at most this many results in all are done exactly, by unit vectors. Default 1,200.
    pub exact_max: usize,
    /// Rademacher probes per block otherwise. Default 30 (the number of arXiv 2604.11639).
    pub probes: usize,
    /// Directions per pair of blocks for ‖·‖₂ where there are probes; 0 leaves it out. Default 3.
    pub leading: usize,
    /// Seed of the probes.
    pub seed: u64,
}

impl Default for GeometryOptions {
    fn default() -> Self {
        GeometryOptions { exact_max: 1200, probes: 30, leading: 3, seed: 0 }
    }
}

/// Norms of all blocks in activation space. Rows and columns are functional blocks in the order of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// The functional blocks.
    pub blocks: Vec<Functional>,
    /// Blocks between two: 0 for itself, 1 for one that reads the other; `None` if no way leads from one to the other.
    pub distance: Vec<Vec<Option<usize>>>,
    /// R: ‖H_vw‖_F.
    pub hessian: Vec<Vec<Estimate>>,
    /// ‖G_vw‖_F.
    pub gauss_newton: Vec<Vec<Estimate>>,
    /// ‖T_vw‖_F.
    pub tensor: Vec<Vec<Estimate>>,
    /// ‖H_vw‖₂. Of probes a lower bound, by one block power step from their leading directions: close, as these blocks have
    /// few large singular values. `None` where it was left out.
    pub spectral: Option<Vec<Vec<f64>>>,
    /// Whether unit vectors were used: `samples` is 0 and the errors 0.
    pub exact: bool,
    /// Directions pushed through the network, for H and G together.
    pub products: usize,
}

impl Geometry {
    /// C(v, w); `None` where a diagonal block vanishes.
    pub fn coupling(&self, v: usize, w: usize) -> Option<f64> {
        correlation(&self.hessian, v, w)
    }

    /// C(v, w) of the Gauss–Newton parts: at most 1.
    pub fn gauss_newton_coupling(&self, v: usize, w: usize) -> Option<f64> {
        correlation(&self.gauss_newton, v, w)
    }

    /// D(v, w); `None` where the block vanishes, or ‖H_vw‖₂ is not known. Where that is a lower bound, this is an upper one.
    pub fn stable_rank(&self, v: usize, w: usize) -> Option<f64> {
        let norm = self.spectral.as_ref()?[v][w];
        (norm > 0.0).then(|| (self.hessian[v][w].mean / norm).powi(2))
    }

    /// GN-Gap(v, w); `None` where the Gauss–Newton part vanishes.
    pub fn gap(&self, v: usize, w: usize) -> Option<f64> {
        let g = self.gauss_newton[v][w].mean;
        (g > 0.0).then(|| self.tensor[v][w].mean / g)
    }

    /// How far R of probes is from R of unit vectors, over all pairs. `None` if no pair has an error.
    ///
    /// # Panics
    /// If the two are not of the same blocks.
    #[track_caller]
    pub fn discrepancy(&self, exact: &Geometry) -> Option<Discrepancy> {
        let all = || self.hessian.iter().flatten().zip(exact.hessian.iter().flatten());
        assert_eq!(self.blocks.len(), exact.blocks.len(), "two geometries of different blocks");
        let relative = all().filter(|(_, truth)| truth.mean > 0.0).map(|(e, truth)| (e.mean / truth.mean - 1.0).abs());
        // Errors of rounding size say that nothing varies.
        let sure = |e: &Estimate| e.sem > 1e-12 * e.mean;
        let squares: Vec<f64> = all().filter(|(e, _)| sure(e)).map(|(e, t)| e.deviation(t.mean).powi(2)).collect();
        let pairs = squares.len();
        (pairs > 0).then(|| Discrepancy {
            relative: relative.fold(0.0, f64::max),
            deviation: (squares.iter().sum::<f64>() / pairs as f64).sqrt(),
            pairs,
        })
    }
}

/// How far estimates of R are from the exact values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Discrepancy {
    /// The largest relative error of a pair.
    pub relative: f64,
    /// Root mean square of the errors in standard errors: about 1 if these are right (the pairs share their probes).
    pub deviation: f64,
    /// Pairs with a standard error.
    pub pairs: usize,
}

fn correlation(norms: &[Vec<Estimate>], v: usize, w: usize) -> Option<f64> {
    let scale = (norms[v][v].mean * norms[w][w].mean).sqrt();
    (scale > 0.0).then(|| norms[v][w].mean / scale)
}

/// Norms of all blocks between functional blocks, at the point where `objective` was linearized. The penalty is no function
/// of the results and has no part in it.
///
/// Cost: two products per direction, of which there are as many as results when exact, else `probes` for each block, and
/// one for each of `leading` directions per pair; a direction at v is pushed through the blocks after v and pulled back
/// through all. Memory: directions of a block times results; two matrices of results by results when exact.
///
/// # Panics
/// If nothing was linearized with second order.
pub fn geometry<T: Real>(objective: &Objective<'_, T>, options: &GeometryOptions) -> Geometry {
    let model = objective.model();
    let blocks = model.functional().to_vec();
    let widths: Vec<usize> = blocks.iter().map(|b| model.graph().shape(b.node).size()).collect();
    let exact = widths.iter().sum::<usize>() <= options.exact_max;
    let count = blocks.len();
    // Squared norms of what each direction gives: [part][v][w][direction].
    let mut squares = vec![vec![vec![Vec::new(); count]; count]; 3];
    let total: usize = widths.iter().sum();
    let mut spectral = (exact || options.leading > 0).then(|| vec![vec![0.0; count]; count]);
    // Where the blocks are not known: the leading directions of H_wv z at w, for each v.
    let mut leading = vec![Vec::new(); count];
    let mut products = 0;
    for (v, &width) in widths.iter().enumerate() {
        let columns = if exact { width } else { options.probes };
        let mut x = vec![0.0; columns * width];
        for (k, x) in x.chunks_exact_mut(width).enumerate() {
            if exact {
                x[k] = 1.0;
            } else {
                // Each block has its own probes.
                Distribution::Rademacher.fill(options.seed, (v * options.probes + k) as u64, x);
            }
        }
        let [h, g] = [Kind::Hessian, Kind::GaussNewton].map(|kind| responses(objective, &blocks, &widths, v, kind, &x));
        products += 2 * columns;
        let mut at = 0;
        for (w, &other) in widths.iter().enumerate() {
            let part = |of: &[f64], k: usize| of[k * total + at..][..other].to_vec();
            for k in 0..columns {
                let (h, g) = (part(&h, k), part(&g, k));
                let square = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>();
                let t: Vec<f64> = h.iter().zip(&g).map(|(h, g)| h - g).collect();
                for (list, values) in squares.iter_mut().zip([&h, &g, &t]) {
                    list[v][w].push(square(values));
                }
            }
            if let Some(spectral) = &mut spectral {
                let rows: Vec<f64> = (0..columns).flat_map(|k| part(&h, k)).collect();
                if exact {
                    spectral[v][w] = spectral_norm(&rows, columns, other);
                } else {
                    leading[w].push(directions(&rows, columns, other, options.leading));
                }
            }
            at += other;
        }
    }
    if let Some(spectral) = spectral.as_mut().filter(|_| !exact) {
        for (w, towards) in leading.iter().enumerate() {
            let x = towards.concat();
            products += x.len() / widths[w];
            let y = responses(objective, &blocks, &widths, w, Kind::Hessian, &x);
            let (mut first, mut at) = (0, 0);
            for (v, &width) in widths.iter().enumerate() {
                let columns = towards[v].len() / widths[w];
                let rows: Vec<f64> =
                    (first..first + columns).flat_map(|k| &y[k * total + at..][..width]).copied().collect();
                // ‖Qᵀ H_wv‖₂ of orthonormal Q; H_vw is its transpose.
                spectral[v][w] = if columns == 0 { 0.0 } else { spectral_norm(&rows, columns, width) };
                (first, at) = (first + columns, at + width);
            }
        }
    }
    let norms = |list: &Vec<Vec<Vec<f64>>>| -> Vec<Vec<Estimate>> {
        list.iter().map(|row| row.iter().map(|s| norm(s, exact)).collect()).collect()
    };
    let [hessian, gauss_newton, tensor] = [0, 1, 2].map(|i| norms(&squares[i]));
    let distance = distances(&blocks);
    Geometry { blocks, distance, hessian, gauss_newton, tensor, spectral, exact, products }
}

/// ‖·‖_F from ‖H e_k‖² of all unit vectors, or E‖H z‖² of probes.
fn norm(squares: &[f64], exact: bool) -> Estimate {
    if exact {
        return Estimate { mean: squares.iter().sum::<f64>().sqrt(), sem: 0.0, samples: 0 };
    }
    let Estimate { mean, sem, samples } = Estimate::from_samples(squares);
    let root = mean.sqrt();
    // δ√s = δs / 2√s.
    Estimate { mean: root, sem: if root > 0.0 { sem / (2.0 * root) } else { 0.0 }, samples }
}

/// ‖B‖₂ of a matrix (rows, columns) from the largest eigenvalue of its smaller Gram matrix: accurate to ε ‖B‖₂.
pub(crate) fn spectral_norm(b: &[f64], rows: usize, columns: usize) -> f64 {
    let n = rows.min(columns);
    let mut gram = vec![0.0; n * n];
    let b = View::new(b, rows, columns);
    let (left, right) = if rows <= columns { (b, b.t()) } else { (b.t(), b) };
    gemm(&mut gram, Write::Set, 1.0, left, right, Par::Seq);
    dense::eigenvalues(n, &gram).ok().and_then(|e| e.last().copied()).map_or(f64::NAN, |e| e.max(0.0).sqrt())
}

/// At most k orthonormal directions, one after the other, along which the rows of a matrix (rows, width) are longest: its
/// leading right singular vectors. None of a matrix that vanishes or is not finite.
fn directions(b: &[f64], rows: usize, width: usize, k: usize) -> Vec<f64> {
    let mut gram = vec![0.0; rows * rows];
    let view = View::new(b, rows, width);
    gemm(&mut gram, Write::Set, 1.0, view, view.t(), Par::Seq);
    let Ok(eigen) = dense::eigen(rows, &gram) else { return Vec::new() };
    let largest = eigen.values.last().copied().unwrap_or(0.0);
    let mut found = Vec::new();
    // Half of the digits of a singular value are lost in the Gram matrix: smaller ones have no direction of their own.
    let resolved = |value: f64| value > 1e-12 * largest;
    for i in (rows.saturating_sub(k)..rows).rev().filter(|&i| resolved(eigen.values[i])) {
        let mut direction = vec![0.0; width];
        for (c, row) in eigen.vector(i).iter().zip(b.chunks_exact(width)) {
            axpy(*c, row, &mut direction);
        }
        let length = eigen.values[i].sqrt();
        direction.iter_mut().for_each(|x| *x /= length);
        found.extend(direction);
    }
    found
}

/// H_wv x (or G_wv x) for all blocks w and each column x at block v: shape (columns, Σ widths).
fn responses<T: Real>(
    objective: &Objective<'_, T>,
    blocks: &[Functional],
    widths: &[usize],
    v: usize,
    kind: Kind,
    x: &[f64],
) -> Vec<f64> {
    let (node, width, total) = (blocks[v].node, widths[v], widths.iter().sum::<usize>());
    let targets: Vec<_> = blocks.iter().map(|b| b.node).collect();
    let plan = objective.plan(&[node], &targets, kind).expect("one result can be perturbed");
    let columns = x.len() / width;
    let window = objective.lane_window(objective.shard(0).0.batch());
    let mut y = vec![0.0; columns * total];
    for first in (0..columns).step_by(window) {
        let lanes = window.min(columns - first);
        let sums = objective.sweep_activations(
            &plan,
            lanes,
            |_, ws| put(ws.tangent_mut(node), &x[first * width..(first + lanes) * width], width),
            |_, ws| {
                let mut sums = vec![0.0; lanes * total];
                let mut at = 0;
                for (&node, &width) in targets.iter().zip(widths) {
                    let cotangent = ws.cotangent(node);
                    for (k, lane) in cotangent.chunks_exact(cotangent.len() / lanes).enumerate() {
                        let sum = &mut sums[k * total + at..][..width];
                        for row in lane.chunks_exact(width) {
                            sum.iter_mut().zip(row).for_each(|(s, x)| *s += x.to_f64());
                        }
                    }
                    at += width;
                }
                sums
            },
        );
        let y = &mut y[first * total..][..lanes * total];
        for sum in &sums {
            y.iter_mut().zip(sum).for_each(|(y, s)| *y += s);
        }
    }
    y
}

/// Each column of `x` as the tangent of every sample: (columns, width) into (columns, samples, width).
fn put<T: Real>(tangent: &mut [T], x: &[f64], width: usize) {
    let lane = tangent.len() * width / x.len();
    for (lane, x) in tangent.chunks_exact_mut(lane).zip(x.chunks_exact(width)) {
        for row in lane.chunks_exact_mut(width) {
            row.iter_mut().zip(x).for_each(|(t, &x)| *t = T::from_f64(x));
        }
    }
}

/// Blocks between each two, along what they read in either direction.
fn distances(blocks: &[Functional]) -> Vec<Vec<Option<usize>>> {
    let mut near = vec![Vec::new(); blocks.len()];
    for (w, block) in blocks.iter().enumerate() {
        for &v in &block.reads {
            near[v].push(w);
            near[w].push(v);
        }
    }
    let from = |v: usize| {
        let mut distance = vec![None; blocks.len()];
        distance[v] = Some(0);
        let mut queue = VecDeque::from([v]);
        while let Some(u) = queue.pop_front() {
            for &w in &near[u] {
                if distance[w].is_none() {
                    distance[w] = distance[u].map(|d| d + 1);
                    queue.push_back(w);
                }
            }
        }
        distance
    };
    (0..blocks.len()).map(from).collect()
}
