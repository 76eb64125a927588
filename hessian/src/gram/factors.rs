//! The block of a dense affine layer as signed columns: B = K S Kᵀ + λ, K with the columns u_{n,r} ⊗ ẑ_n. Its trace, diagonal,
//! norm and products from there.

use std::ops::Range;
use std::sync::Mutex;

use eigenlens_autodiff::{Curvature, NodeId, Plan, Workspace};
use eigenlens_linalg::dense::{self, DenseError};
use eigenlens_linalg::reduce::{axpy, dot};
use eigenlens_linalg::{LinearOperator, Par, Real, View, Write, gemm};
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Model, Objective};
use rayon::prelude::*;

use crate::estimate::pairwise_sum;
use crate::kronecker::{self, Tile, holds, pair};

/// The block of rows of a dense affine layer by its columns; also an operator, whose products touch this layer alone.
///
/// Memory: q · units + N · d values, and 2 N · units more for products. Cost of a product: 2 N units d + 2 q units
/// multiply-adds.
#[derive(Debug)]
pub struct Factors {
    pub(super) tile: Tile,
    /// λ of weights and of biases.
    pub(super) penalty: [f64; 2],
    units: usize,
    /// Values of ẑ.
    d: usize,
    /// (N, d).
    z: Vec<f64>,
    /// (q, units).
    u: Vec<f64>,
    signs: Vec<f64>,
    /// Columns before sample n; N + 1 values.
    starts: Vec<usize>,
    /// A = Z Vᵀ and what becomes of it, (N, units) each.
    buffers: Mutex<[Vec<f64>; 2]>,
}

/// Whether a layer's block is positive semidefinite by structure: it is a Gauss–Newton block, or a block of the Hessian and no
/// op between the layer's output and the network's has a second derivative that matters (the losses themselves are convex).
///
/// # Panics
/// If there is no such layer.
#[track_caller]
pub fn is_convex<T: Real>(model: &Model<T>, index: usize, kind: Kind) -> bool {
    let node = [model.layers()[index].output];
    let bending = |curvature| -> Vec<NodeId> {
        let plan = Plan::new(model.graph(), &node, &[], &node, curvature).expect("a layer's output can be perturbed");
        plan.bending().collect()
    };
    match kind {
        Kind::GaussNewton => true,
        Kind::Hessian => bending(Curvature::Hessian) == bending(Curvature::GaussNewton { head: model.logits() }),
        Kind::Tensor => false,
    }
}

/// Whether the columns come from Jacobians of the network's output, M_n = J_nᵀ ℓ''_n J_n, rather than from M_n itself.
pub(super) fn by_jacobians(convex: bool, units: usize, outputs: usize) -> bool {
    convex && units > outputs
}

/// λ of the weights and of the biases of a layer, where the penalty belongs to the curvature.
pub(super) fn penalty<T: Real>(model: &Model<T>, tile: &Tile, kind: Kind) -> [f64; 2] {
    if !kind.has_penalty() {
        return [0.0; 2];
    }
    let (layer, penalized) = (&model.layers()[tile.layer], model.penalized());
    let at = |place: usize| {
        penalized.iter().filter(|(r, _)| r.contains(&place)).map(|(_, lambda)| lambda).fold(0.0, |a, l| a + l)
    };
    let last = if layer.bias { at(layer.range.end - 1) } else { 0.0 };
    [at(layer.range.start), last]
}

/// The λ that all parameters of a tile have in common.
pub(super) fn shift([weights, biases]: [f64; 2], tile: &Tile) -> Option<f64> {
    match (tile.weight, tile.bias) {
        (true, true) => (weights == biases).then_some(weights),
        (true, false) => Some(weights),
        (false, _) => Some(biases),
    }
}

impl Factors {
    /// The columns of the block of some rows of a layer.
    ///
    /// Eigenvalues of M_n (or of the loss, where it is convex) that are zero to rounding are dropped: |μ| ≤ 16 c ε |μ|_max, ε of
    /// the objective's numbers and c the order. Where structure proves the block positive, so are negative ones.
    ///
    /// Cost: one lane for each of its outputs through the layers above, and small eigenproblems for each sample; see
    /// [`Estimate`](super::Estimate).
    ///
    /// # Errors
    /// NaN or infinity.
    /// # Panics
    /// If nothing was linearized with second order, or the layer has no such structure ([`holds`]).
    #[track_caller]
    pub fn new<T: Real>(objective: &Objective<'_, T>, tile: &Tile, kind: Kind) -> Result<Self, DenseError> {
        let model = objective.model();
        let layer = &model.layers()[tile.layer];
        assert!(holds(model, tile.layer), "the block of `{}` is no sum of Kronecker products", layer.name);
        let convex = is_convex(model, tile.layer, kind);
        let (units, outputs) = (tile.units.len(), model.outputs());
        let epsilon = T::EPSILON.to_f64();
        let columns: Vec<Columns> = if by_jacobians(convex, units, outputs) {
            let loss = losses(objective);
            let j = jacobians(objective, layer.output, layer.outputs, &tile.units);
            let each = (loss.par_chunks_exact(outputs * outputs), j.par_chunks_exact(units * outputs));
            each.into_par_iter()
                .map(|(loss, j)| Ok(roots(outputs, loss, convex, epsilon)?.through(j, units)))
                .collect::<Result<_, _>>()?
        } else {
            let pairs = units * (units + 1) / 2;
            kronecker::curvature_between(objective, tile.layer, &tile.units, kind)
                .par_chunks_exact(pairs)
                .map(|m| {
                    let entry = |k: usize| m[pair(units, (k / units).min(k % units), (k / units).max(k % units))];
                    roots(units, &(0..units * units).map(entry).collect::<Vec<_>>(), convex, epsilon)
                })
                .collect::<Result<_, _>>()?
        };
        let z = kronecker::inputs(objective, tile);
        Ok(Self::from_columns(tile.clone(), tile.z_len(layer), penalty(model, tile, kind), z, columns))
    }

    pub(crate) fn from_columns(tile: Tile, d: usize, penalty: [f64; 2], z: Vec<f64>, columns: Vec<Columns>) -> Self {
        let mut factors = Factors {
            units: tile.units.len(),
            tile,
            penalty,
            d,
            z,
            u: Vec::new(),
            signs: Vec::new(),
            starts: vec![0],
            buffers: Mutex::default(),
        };
        for sample in columns {
            factors.u.extend(sample.u);
            factors.signs.extend(sample.signs);
            factors.starts.push(factors.signs.len());
        }
        factors
    }

    /// q = Σ rank M_n, the number of columns.
    pub fn order(&self) -> usize {
        self.signs.len()
    }

    /// The sign of each column.
    pub fn signs(&self) -> &[f64] {
        &self.signs
    }

    /// Whether all signs are +1.
    pub fn is_positive(&self) -> bool {
        self.signs.iter().all(|&s| s > 0.0)
    }

    fn samples(&self) -> usize {
        self.starts.len() - 1
    }

    fn columns(&self, n: usize) -> Range<usize> {
        self.starts[n]..self.starts[n + 1]
    }

    fn row(&self, n: usize) -> &[f64] {
        &self.z[n * self.d..(n + 1) * self.d]
    }

    /// Parameters that are weights.
    fn weights(&self) -> usize {
        self.units * (self.d - usize::from(self.tile.bias))
    }

    /// tr B = Σ s |u|² |ẑ|², and the penalty's.
    pub fn trace(&self) -> f64 {
        let [of_weights, of_biases] = self.traces();
        let penalty = self.penalty[0] * self.weights() as f64 + self.penalty[1] * self.biases() as f64;
        of_weights + of_biases + penalty
    }

    fn biases(&self) -> usize {
        if self.tile.bias { self.units } else { 0 }
    }

    /// Of weights and biases, without the penalty.
    fn traces(&self) -> [f64; 2] {
        let m = |n: usize| -> f64 { self.columns(n).map(|a| self.signs[a] * dot(self.u(a), self.u(a))).sum() };
        let width = self.d - usize::from(self.tile.bias);
        let squares = |n: usize| dot(&self.row(n)[..width], &self.row(n)[..width]);
        let bias = f64::from(u8::from(self.tile.bias));
        [pairwise_sum(self.samples(), |n| m(n) * squares(n)), bias * pairwise_sum(self.samples(), m)]
    }

    fn u(&self, column: usize) -> &[f64] {
        &self.u[column * self.units..(column + 1) * self.units]
    }

    /// The diagonal of B in the order of θ. Cost: N units d multiply-adds.
    pub fn diagonal(&self) -> Vec<f64> {
        let (n, units, d) = (self.samples(), self.units, self.d);
        let mut m = vec![0.0; n * units];
        for (s, m) in m.chunks_exact_mut(units).enumerate() {
            for a in self.columns(s) {
                m.iter_mut().zip(self.u(a)).for_each(|(m, u)| *m += self.signs[a] * u * u);
            }
        }
        let squares: Vec<f64> = self.z.iter().map(|z| z * z).collect();
        let mut sums = vec![0.0; units * d];
        gemm(&mut sums, Write::Set, 1.0, View::new(&m, n, units).t(), View::new(&squares, n, d), threads());
        let mut diagonal = vec![0.0; units * d];
        let width = d - usize::from(self.tile.bias);
        let (weights, biases) = diagonal.split_at_mut(units * width);
        for (i, row) in sums.chunks_exact(d).enumerate() {
            weights[i * width..(i + 1) * width].copy_from_slice(&row[..width]);
            biases.get_mut(i).into_iter().for_each(|b| *b = row[width]);
        }
        weights.iter_mut().for_each(|x| *x += self.penalty[0]);
        biases.iter_mut().for_each(|x| *x += self.penalty[1]);
        diagonal
    }

    /// ‖B‖_F² = Σ_{n,m} tr(M_n M_m) (ẑ_nᵀẑ_m)², and the penalty's: exact, without probes, and without the Gram matrix whole.
    ///
    /// Cost: q² units + q N d multiply-adds; 256 rows of the Gram matrix at a time.
    pub fn frobenius_squared(&self) -> f64 {
        const ROWS: usize = 256;
        let q = self.order();
        let mut block = vec![0.0; ROWS.min(q) * q];
        let mut sums = Vec::with_capacity(q);
        for first in (0..q).step_by(ROWS) {
            let rows = ROWS.min(q - first);
            self.gram_rows(first, &mut block[..rows * q]);
            let each = block[..rows * q].par_chunks_exact(q).enumerate().map(|(i, row)| {
                let signed = |b: usize| self.signs[b] * row[b] * row[b];
                self.signs[first + i] * pairwise_sum(q, signed)
            });
            sums.extend(each.collect::<Vec<_>>());
        }
        // ‖B₀ + Λ‖² = ‖B₀‖² + 2 tr(Λ B₀) + ‖Λ‖².
        let counts = [self.weights(), self.biases()];
        let parts = self.penalty.iter().zip(self.traces()).zip(counts);
        pairwise_sum(q, |a| sums[a])
            + parts.map(|((l, trace), count)| 2.0 * l * trace + l * l * count as f64).sum::<f64>()
    }

    /// The Gram matrix KᵀK, q × q.
    pub fn gram(&self) -> Vec<f64> {
        let q = self.order();
        let mut gram = vec![0.0; q * q];
        self.gram_rows(0, &mut gram);
        gram
    }

    /// So many whole rows of the Gram matrix from row `first` on.
    fn gram_rows(&self, first: usize, out: &mut [f64]) {
        let (q, units, samples) = (self.order(), self.units, self.samples());
        if q == 0 {
            return;
        }
        let rows = out.len() / q;
        let all = View::new(&self.u, q, units);
        let some = View::new(&self.u[first * units..(first + rows) * units], rows, units);
        gemm(out, Write::Set, 1.0, some, all.t(), threads());
        // ẑ_n · ẑ_m for the samples of these rows.
        let owner = |a: usize| self.starts.partition_point(|&s| s <= a) - 1;
        let (from, to) = (owner(first), owner(first + rows - 1) + 1);
        let mut zz = vec![0.0; (to - from) * samples];
        let some = View::new(&self.z[from * self.d..to * self.d], to - from, self.d);
        gemm(&mut zz, Write::Set, 1.0, some, View::new(&self.z, samples, self.d).t(), threads());
        out.par_chunks_exact_mut(q).enumerate().for_each(|(i, row)| {
            let zz = &zz[(owner(first + i) - from) * samples..][..samples];
            for (m, zz) in zz.iter().enumerate() {
                row[self.columns(m)].iter_mut().for_each(|x| *x *= zz);
            }
        });
    }

    /// The unit vector along K c in the order of θ, and ‖Bv − value · v‖ by a product from structure.
    ///
    /// # Panics
    /// If there are not q coefficients.
    #[track_caller]
    pub fn pair(&self, value: f64, c: &[f64]) -> (Vec<f64>, f64) {
        assert_eq!(c.len(), self.order(), "one coefficient for each column");
        let mut rows = vec![0.0; self.samples() * self.units];
        for (n, row) in rows.chunks_exact_mut(self.units).enumerate() {
            self.columns(n).for_each(|a| axpy(c[a], self.u(a), row));
        }
        let mut v = vec![0.0; self.dim()];
        self.spread(&rows, &mut v);
        let norm = dot(&v, &v).sqrt();
        v.iter_mut().for_each(|x| *x /= norm);
        let mut residual = vec![0.0; v.len()];
        self.apply(1, &v, &mut residual);
        axpy(-value, &v, &mut residual);
        (v, dot(&residual, &residual).sqrt())
    }

    /// Σ_n rows_n ⊗ ẑ_n in the order of θ.
    fn spread(&self, rows: &[f64], out: &mut [f64]) {
        let (n, units, d) = (self.samples(), self.units, self.d);
        let width = d - usize::from(self.tile.bias);
        let (weights, biases) = out.split_at_mut(units * width);
        if width > 0 {
            let z = View::strided(&self.z, n, width, d);
            gemm(weights, Write::Set, 1.0, View::new(rows, n, units).t(), z, threads());
        }
        biases.fill(0.0);
        if self.tile.bias {
            rows.chunks_exact(units).for_each(|row| axpy(1.0, row, biases));
        }
    }
}

impl LinearOperator for Factors {
    fn dim(&self) -> usize {
        self.units * self.d
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        let (p, n, units, d) = (self.dim(), self.samples(), self.units, self.d);
        assert_eq!((x.len(), y.len()), (k * p, k * p), "{k} columns of {p}");
        let width = d - usize::from(self.tile.bias);
        let mut buffers = self.buffers.lock().expect("no product panicked");
        let [a, b] = &mut *buffers;
        a.resize(n * units, 0.0);
        b.resize(n * units, 0.0);
        for (x, y) in x.chunks_exact(p.max(1)).zip(y.chunks_exact_mut(p.max(1))) {
            let (weights, biases) = x.split_at(units * width);
            if width > 0 {
                let z = View::strided(&self.z, n, width, d);
                gemm(a, Write::Set, 1.0, z, View::new(weights, units, width).t(), threads());
            } else {
                a.fill(0.0);
            }
            b.par_chunks_exact_mut(units).zip(a.par_chunks_exact_mut(units)).enumerate().for_each(|(s, (b, a))| {
                if self.tile.bias {
                    axpy(1.0, biases, a);
                }
                b.fill(0.0);
                self.columns(s).for_each(|c| axpy(self.signs[c] * dot(self.u(c), a), self.u(c), b));
            });
            self.spread(b, y);
            let (of_weights, of_biases) = y.split_at_mut(units * width);
            axpy(self.penalty[0], weights, of_weights);
            axpy(self.penalty[1], biases, of_biases);
        }
    }

    fn lanes(&self) -> usize {
        1
    }
}

fn threads() -> Par {
    Par::rayon(rayon::current_num_threads())
}

/// The columns of one sample: w M = Σ s u uᵀ.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Columns {
    /// One after the other.
    pub u: Vec<f64>,
    pub signs: Vec<f64>,
}

impl Columns {
    /// Those of J w M Jᵀ, J of shape (units, c).
    fn through(&self, j: &[f64], units: usize) -> Columns {
        let c = j.len() / units;
        let u = self.u.chunks_exact(c).flat_map(|a| j.chunks_exact(c).map(move |j| dot(j, a))).collect();
        Columns { u, signs: self.signs.clone() }
    }
}

/// Eigenvectors times roots of eigenvalues of a symmetric matrix of order c, without those that are zero to rounding.
fn roots(c: usize, entries: &[f64], convex: bool, epsilon: f64) -> Result<Columns, DenseError> {
    let eigen = dense::eigen(c, entries)?;
    let floor = 16.0 * c as f64 * epsilon * eigen.values.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let mut columns = Columns::default();
    for (i, &value) in eigen.values.iter().enumerate() {
        if value > floor || (value < -floor && !convex) {
            let root = value.abs().sqrt();
            columns.u.extend(eigen.vector(i).iter().map(|x| x * root));
            columns.signs.push(value.signum());
        }
    }
    Ok(columns)
}

/// w_n ∂²ℓ_n/∂o_n² at the network's output, (N, c, c).
fn losses<T: Real>(objective: &Objective<'_, T>) -> Vec<f64> {
    let (node, c) = (objective.model().logits(), objective.model().outputs());
    let plan = objective.plan(&[node], &[node], Kind::Hessian).expect("the network's output can be perturbed");
    columns_of(objective, &plan, node, c, &(0..c), c, |ws| ws.cotangent(node))
}

/// ∂o_n/∂a_n for some units of a node, (N, units, c).
fn jacobians<T: Real>(objective: &Objective<'_, T>, node: NodeId, size: usize, units: &Range<usize>) -> Vec<f64> {
    let (head, c) = (objective.model().logits(), objective.model().outputs());
    let plan = objective.plan(&[node], &[node], Kind::GaussNewton).expect("a layer's output can be perturbed");
    columns_of(objective, &plan, node, size, units, c, |ws| ws.tangent(head))
}

/// What `read` gives of each sample, `len` values, when one unit of `node` is perturbed: shape (N, units, len).
fn columns_of<T: Real>(
    objective: &Objective<'_, T>,
    plan: &Plan,
    node: NodeId,
    size: usize,
    units: &Range<usize>,
    len: usize,
    read: impl Fn(&Workspace<T>) -> &[T] + Sync,
) -> Vec<f64> {
    let count = units.len();
    let mut out = vec![0.0; objective.samples() * count * len];
    let at_once = objective.lane_window(objective.shard(0).0.batch()).min(count);
    for first in (0..count).step_by(at_once) {
        let lanes = at_once.min(count - first);
        let lists = objective.sweep_activations(
            plan,
            lanes,
            |_, ws| {
                let tangent = ws.tangent_mut(node);
                tangent.fill(T::ZERO);
                let per_lane = tangent.len() / lanes;
                for (k, lane) in tangent.chunks_exact_mut(per_lane).enumerate() {
                    lane.iter_mut().skip(units.start + first + k).step_by(size).for_each(|x| *x = T::ONE);
                }
            },
            |_, ws| read(ws).iter().map(|x| x.to_f64()).collect::<Vec<_>>(),
        );
        let mut start = 0;
        for list in &lists {
            let rows = list.len() / lanes / len;
            for (k, lane) in list.chunks_exact(rows * len).enumerate() {
                for (n, values) in lane.chunks_exact(len).enumerate() {
                    out[((start + n) * count + first + k) * len..][..len].copy_from_slice(values);
                }
            }
            start += rows;
        }
    }
    out
}
