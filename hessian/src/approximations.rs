//! How far a block is from what stands for it elsewhere: one Kronecker product of means, and the Gauss–Newton block.
//!
//! | key | formula |
//! |---|---|
//! | `kronecker_residual` | ‖H − E\[M\] ⊗ E\[ẑẑᵀ\]‖_F / ‖H‖_F, for a dense affine layer with H = Σ_n w_n M_n ⊗ ẑ_nẑ_nᵀ |
//! | `gn_gap` | ‖H − G‖_F / ‖G‖_F |
//!
//! Both without the penalty, which belongs to neither side. A sum of Kronecker products has its norm from pairs of samples,
//! ‖Σ_n A_n ⊗ ẑ_nẑ_nᵀ‖_F² = Σ_{n,m} tr(A_n A_m)(ẑ_nᵀẑ_m)², so that no block is formed: exact where that is affordable. Else
//! both norms come from the same Rademacher probes, E‖Bz‖² = ‖B‖_F², with a jackknife error of their ratio. A layer below
//! which nothing bends has H = G by structure, and a gap of exactly 0.
//!
//! # Sources
//! Wu et al. 2020, *Dissecting Hessian: understanding common structure of Hessian in neural networks*; Martens & Grosse 2015
//! (the factors, there of the Fisher matrix); Bolshim & Kugaevskikh, arXiv 2604.11639 (GN-Gap).

use eigenlens_linalg::probes::Distribution;
use eigenlens_linalg::{LinearOperator, Par, Real, View, Write, gemm};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Model, Objective, Part};
use rayon::prelude::*;

use crate::estimate::{Quantity, jackknife_of_means, pairwise_sum};
use crate::gram::is_convex;
use crate::kronecker::{self, Tile, holds, pair};
use crate::metrics::put;
use crate::operator::Block;

/// How much may be spent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApproximationOptions {
    /// Multiply-adds of the exact norms of a part; beyond them probes are used. Default 10¹⁰, a second or less.
    pub exact_work: f64,
    /// Bytes of the curvatures of all samples that the exact norms need. Default 1 GiB.
    pub exact_bytes: f64,
    /// Rademacher probes otherwise. Default 30. Where they are no fewer than the parameters, unit vectors are used.
    pub probes: usize,
    /// Their seed.
    pub seed: u64,
}

impl Default for ApproximationOptions {
    fn default() -> Self {
        ApproximationOptions { exact_work: 1e10, exact_bytes: (1_u64 << 30) as f64, probes: 30, seed: 0 }
    }
}

/// The quantities of a part, with products used.
///
/// Cost: exact, N² (units²/2 + d) multiply-adds and one lane for each output through the layers above; else two products per
/// probe, three where the factors are wanted.
///
/// # Panics
/// If nothing was linearized with second order, or the part reaches beyond θ.
#[track_caller]
pub fn approximations<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    options: &ApproximationOptions,
) -> (Vec<Quantity>, usize) {
    let model = objective.model();
    let tile = Tile::of(model, part).filter(|t| holds(model, t.layer));
    let flat = tile.as_ref().is_some_and(|t| is_convex(model, t.layer, Kind::Hessian));
    let mut out = Vec::new();
    match &tile {
        Some(tile) if affordable(objective, tile, options) => {
            let sums = Sums::new(objective, tile);
            let h = sums.curvature(objective, tile, Kind::Hessian);
            if let Some(residual) = sums.kronecker_residual(&h) {
                put(&mut out, "kronecker_residual", residual, None);
            }
            let gap = if flat { Some(0.0) } else { sums.gap(&h, &sums.curvature(objective, tile, Kind::GaussNewton)) };
            gap.into_iter().for_each(|gap| put(&mut out, "gn_gap", gap, None));
            (out, 0)
        }
        _ => by_probes(objective, part, tile.as_ref(), flat, options),
    }
}

fn affordable<T: Real>(objective: &Objective<'_, T>, tile: &Tile, options: &ApproximationOptions) -> bool {
    let model = objective.model();
    let (n, units) = (objective.samples() as f64, tile.units.len() as f64);
    let d = tile.z_len(&model.layers()[tile.layer]) as f64;
    let above: f64 = model.layers()[tile.layer + 1..].iter().map(|l| l.work as f64).sum();
    let pairs = units * (units + 1.0) / 2.0;
    n * n * (pairs + d) + 4.0 * n * units * above <= options.exact_work && 24.0 * n * (pairs + d) <= options.exact_bytes
}

/// What the norms of sums of Kronecker products over samples need.
struct Sums {
    units: usize,
    d: usize,
    n: usize,
    /// (N, d).
    z: Vec<f64>,
    /// Weights of the samples, Σ = 1.
    shares: Vec<f64>,
}

impl Sums {
    fn new<T: Real>(objective: &Objective<'_, T>, tile: &Tile) -> Self {
        let d = tile.z_len(&objective.model().layers()[tile.layer]);
        let z = kronecker::inputs(objective, tile);
        Sums { units: tile.units.len(), d, n: objective.samples(), z, shares: shares(objective) }
    }

    /// w_n M_n as pairs i ≤ j, the unequal ones times √2: tr(M_n M_m) is then a dot product. (N, pairs).
    fn curvature<T: Real>(&self, objective: &Objective<'_, T>, tile: &Tile, kind: Kind) -> Vec<f64> {
        let mut m = kronecker::curvature_between(objective, tile.layer, &tile.units, kind);
        let pairs = self.pairs();
        for i in 0..self.units {
            for j in i + 1..self.units {
                let at = pair(self.units, i, j);
                m.iter_mut().skip(at).step_by(pairs).for_each(|x| *x *= std::f64::consts::SQRT_2);
            }
        }
        m
    }

    fn pairs(&self) -> usize {
        self.units * (self.units + 1) / 2
    }

    /// ‖Σ_n A_n ⊗ ẑ_nẑ_nᵀ‖_F².
    fn square(&self, a: &[f64]) -> f64 {
        const ROWS: usize = 128;
        let (n, pairs) = (self.n, self.pairs());
        let (all, z) = (View::new(a, n, pairs), View::new(&self.z, n, self.d));
        let blocks: Vec<usize> = (0..n).step_by(ROWS).collect();
        let sums: Vec<f64> = blocks
            .par_iter()
            .map(|&first| {
                let rows = ROWS.min(n - first);
                let (mut traces, mut products) = (vec![0.0; rows * n], vec![0.0; rows * n]);
                let some = View::new(&a[first * pairs..(first + rows) * pairs], rows, pairs);
                gemm(&mut traces, Write::Set, 1.0, some, all.t(), Par::Seq);
                let some = View::new(&self.z[first * self.d..(first + rows) * self.d], rows, self.d);
                gemm(&mut products, Write::Set, 1.0, some, z.t(), Par::Seq);
                pairwise_sum(rows * n, |k| traces[k] * products[k] * products[k])
            })
            .collect();
        pairwise_sum(sums.len(), |i| sums[i])
    }

    /// E[M] as pairs like those of `a`, and E[ẑẑᵀ].
    fn means(&self, a: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut m = vec![0.0; self.pairs()];
        a.chunks_exact(self.pairs()).for_each(|a| m.iter_mut().zip(a).for_each(|(m, a)| *m += a));
        let weighted: Vec<f64> =
            self.z.chunks_exact(self.d).zip(&self.shares).flat_map(|(z, w)| z.iter().map(move |z| z * w)).collect();
        let mut second = vec![0.0; self.d * self.d];
        let (left, right) = (View::new(&weighted, self.n, self.d), View::new(&self.z, self.n, self.d));
        gemm(&mut second, Write::Set, 1.0, left.t(), right, Par::Seq);
        (m, second)
    }

    /// ‖H − A ⊗ B‖_F / ‖H‖_F with A = E[M], B = E[ẑẑᵀ]; `None` for H = 0.
    ///
    /// H − A ⊗ B is a sum of Kronecker products, too, but for one more term; written out, ‖H‖² − 2⟨H, A ⊗ B⟩ + ‖A‖²‖B‖².
    /// The difference has an error of a few ε ‖H‖², so that a residual below 10⁻⁷ is only known to be that small.
    fn kronecker_residual(&self, h: &[f64]) -> Option<f64> {
        let (a, b) = self.means(h);
        let square = self.square(h);
        let mut zb = vec![0.0; self.n * self.d];
        let z = View::new(&self.z, self.n, self.d);
        gemm(&mut zb, Write::Set, 1.0, z, View::new(&b, self.d, self.d), Par::Seq);
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let (pairs, d) = (self.pairs(), self.d);
        let cross = pairwise_sum(self.n, |n| {
            dot(&h[n * pairs..(n + 1) * pairs], &a) * dot(&zb[n * d..(n + 1) * d], &self.z[n * d..(n + 1) * d])
        });
        let rest = square - 2.0 * cross + dot(&a, &a) * dot(&b, &b);
        (square > 0.0).then(|| (rest.max(0.0) / square).sqrt())
    }

    /// ‖H − G‖_F / ‖G‖_F; `None` for G = 0.
    fn gap(&self, h: &[f64], g: &[f64]) -> Option<f64> {
        let t: Vec<f64> = h.iter().zip(g).map(|(h, g)| h - g).collect();
        let square = self.square(g);
        (square > 0.0).then(|| (self.square(&t).max(0.0) / square).sqrt())
    }
}

/// The samples' weights, Σ = 1.
fn shares<T: Real>(objective: &Objective<'_, T>) -> Vec<f64> {
    let w: Vec<f64> = (0..objective.shards()).flat_map(|s| objective.shard(s).1).map(|w| w.to_f64()).collect();
    let total: f64 = w.iter().sum();
    w.iter().map(|w| w / total).collect()
}

/// E[M] and E[ẑẑᵀ] as whole matrices, without the M_n of single samples.
struct Factors {
    units: usize,
    width: usize,
    bias: bool,
    /// (units, units).
    a: Vec<f64>,
    /// (d, d).
    b: Vec<f64>,
}

impl Factors {
    fn new<T: Real>(objective: &Objective<'_, T>, tile: &Tile) -> Self {
        let model = objective.model();
        let layer = &model.layers()[tile.layer];
        let (units, out, d) = (tile.units.len(), layer.outputs, tile.z_len(layer));
        let node = layer.output;
        let plan = objective.plan(&[node], &[node], Kind::Hessian).expect("a layer's output can be perturbed");
        let mut a = vec![0.0; units * units];
        let at_once = objective.lane_window(objective.shard(0).0.batch()).min(units);
        for first in (0..units).step_by(at_once) {
            let lanes = at_once.min(units - first);
            let lists = objective.sweep_activations(
                &plan,
                lanes,
                |_, ws| {
                    let tangent = ws.tangent_mut(node);
                    tangent.fill(T::ZERO);
                    let lane = tangent.len() / lanes;
                    for (k, lane) in tangent.chunks_exact_mut(lane).enumerate() {
                        lane.iter_mut().skip(tile.units.start + first + k).step_by(out).for_each(|x| *x = T::ONE);
                    }
                },
                |_, ws| {
                    let cotangent = ws.cotangent(node);
                    let mut sums = vec![0.0; lanes * units];
                    for (lane, sums) in
                        cotangent.chunks_exact(cotangent.len() / lanes).zip(sums.chunks_exact_mut(units))
                    {
                        for row in lane.chunks_exact(out) {
                            sums.iter_mut().zip(&row[tile.units.clone()]).for_each(|(s, x)| *s += x.to_f64());
                        }
                    }
                    sums
                },
            );
            for list in &lists {
                a[first * units..].iter_mut().zip(list).for_each(|(a, x)| *a += x);
            }
        }
        let z = kronecker::inputs(objective, tile);
        let n = objective.samples();
        let weighted: Vec<f64> =
            z.chunks_exact(d).zip(shares(objective)).flat_map(|(z, w)| z.iter().map(move |z| z * w)).collect();
        let mut b = vec![0.0; d * d];
        let par = Par::rayon(rayon::current_num_threads());
        gemm(&mut b, Write::Set, 1.0, View::new(&weighted, n, d).t(), View::new(&z, n, d), par);
        Factors { units, width: d - usize::from(tile.bias), bias: tile.bias, a, b }
    }

    /// (A ⊗ B) x in the order of θ: A X B with the rows of X the weights of each output and its bias.
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let (units, width, d) = (self.units, self.width, self.width + usize::from(self.bias));
        let (weights, biases) = x.split_at(units * width);
        let mut rows = vec![0.0; units * d];
        for (i, row) in rows.chunks_exact_mut(d).enumerate() {
            row[..width].copy_from_slice(&weights[i * width..(i + 1) * width]);
            row[width..].copy_from_slice(if self.bias { &biases[i..=i] } else { &[] });
        }
        let (mut ax, mut axb) = (vec![0.0; units * d], vec![0.0; units * d]);
        let par = Par::rayon(rayon::current_num_threads());
        gemm(&mut ax, Write::Set, 1.0, View::new(&self.a, units, units), View::new(&rows, units, d), par);
        gemm(&mut axb, Write::Set, 1.0, View::new(&ax, units, d), View::new(&self.b, d, d), par);
        let of_weights = axb.chunks_exact(d).flat_map(|row| &row[..width]);
        of_weights.chain(axb.chunks_exact(d).flat_map(|row| &row[width..])).copied().collect()
    }
}

/// λ of each parameter of a part.
pub(crate) fn penalty<T: Real>(model: &Model<T>, part: &Part) -> Vec<f64> {
    let penalized = model.penalized();
    // An empty sum is −0.
    let of = |i: usize| penalized.iter().filter(|(r, _)| r.contains(&i)).map(|(_, l)| l).sum::<f64>() + 0.0;
    part.ranges.iter().cloned().flatten().map(of).collect()
}

fn by_probes<T: Real>(
    objective: &Objective<'_, T>,
    part: &Part,
    tile: Option<&Tile>,
    flat: bool,
    options: &ApproximationOptions,
) -> (Vec<Quantity>, usize) {
    let p = part.len();
    let penalty = penalty(objective.model(), part);
    let exact = p <= options.probes;
    let columns = if exact { p } else { options.probes };
    let factors = tile.map(|tile| Factors::new(objective, tile));
    let h = Block::part(objective, part, Kind::Hessian);
    let g = (!flat).then(|| Block::part(objective, part, Kind::GaussNewton));
    // ‖Hz‖², ‖(H − A ⊗ B)z‖², ‖Gz‖², ‖(H − G)z‖² of each column.
    let mut squares = [const { Vec::new() }; 4];
    let lanes = h.lanes().min(columns);
    let mut x = vec![0.0; lanes * p];
    let (mut hx, mut gx) = (x.clone(), x.clone());
    for first in (0..columns).step_by(lanes) {
        let k = lanes.min(columns - first);
        for (i, x) in x.chunks_exact_mut(p).take(k).enumerate() {
            if exact {
                x.fill(0.0);
                x[first + i] = 1.0;
            } else {
                Distribution::Rademacher.fill(options.seed, (first + i) as u64, x);
            }
        }
        h.apply(k, &x[..k * p], &mut hx[..k * p]);
        if let Some(g) = &g {
            g.apply(k, &x[..k * p], &mut gx[..k * p]);
        }
        for ((x, hx), gx) in x.chunks_exact(p).zip(hx.chunks_exact(p)).zip(gx.chunks_exact(p)).take(k) {
            let of_loss = |y: &[f64]| -> Vec<f64> { (0..p).map(|i| y[i] - penalty[i] * x[i]).collect() };
            let distance = |a: &[f64], b: &[f64]| pairwise_sum(p, |i| (a[i] - b[i]).powi(2));
            let norm = |a: &[f64]| pairwise_sum(p, |i| a[i] * a[i]);
            let own = of_loss(hx);
            if let Some(factors) = &factors {
                squares[0].push(norm(&own));
                squares[1].push(distance(&own, &factors.apply(x)));
            }
            if g.is_some() {
                let other = of_loss(gx);
                squares[2].push(norm(&other));
                squares[3].push(distance(&own, &other));
            }
        }
    }
    let mut out = Vec::new();
    let mut ratio = |name, below: &[f64], above: &[f64]| {
        let value = |m: &[f64]| (m[1] / m[0]).sqrt();
        let found = jackknife_of_means(&[below, above], value);
        put(&mut out, name, found.mean, (!exact).then(|| found.uncertainty()));
    };
    if factors.is_some() {
        ratio("kronecker_residual", &squares[0], &squares[1]);
    }
    if g.is_some() {
        ratio("gn_gap", &squares[2], &squares[3]);
    } else {
        put(&mut out, "gn_gap", 0.0, None);
    }
    (out, columns * (1 + usize::from(!flat)))
}

#[cfg(test)]
mod tests;
