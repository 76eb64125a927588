//! What XTrace and XDiag share: probes Ω, an orthonormal basis Q of A Ω, and what is left of Q without one probe.

use eigenlens_linalg::probes::rademacher;
use eigenlens_linalg::range::Range;
use eigenlens_linalg::reduce::norm2;
use eigenlens_linalg::{LinearOperator, Par, View, Write, gemm};

use super::triangular::inverse;
use super::{EstimatorError, Products, spherical, symmetric};

/// How the probes are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draw {
    /// Uniform on the sphere of radius √n.
    Sphere,
    /// Random signs.
    Signs,
}

/// m probes ω_i, A ω_i = Qᵀ c_i, and A Q.
pub(super) struct Sketch<'a> {
    pub n: usize,
    draw: Draw,
    seed: u64,
    products: Products<'a>,
    /// The probes, (m, n).
    pub omega: Vec<f64>,
    pub range: Range,
    /// A q_p, (r, n), if they are kept.
    pub images: Option<Vec<f64>>,
    /// Row p holds q_pᵀ A q_q for all q: (r, r), symmetric.
    pub h: Vec<Vec<f64>>,
}

impl<'a> Sketch<'a> {
    pub fn new(a: &'a dyn LinearOperator, draw: Draw, seed: u64, lanes: Option<usize>, keep_images: bool) -> Self {
        let n = a.dim();
        Sketch {
            n,
            draw,
            seed,
            products: Products::new(a, lanes),
            omega: Vec::new(),
            range: Range::new(n),
            images: keep_images.then(Vec::new),
            h: Vec::new(),
        }
    }

    /// m.
    pub fn probes(&self) -> usize {
        self.omega.len() / self.n
    }

    pub fn products(&self) -> usize {
        self.products.made
    }

    /// Whether Q holds the range of A, so that there is nothing outside: it is everything, or a probe added nothing.
    pub fn exhausted(&self) -> bool {
        self.range.rank() == self.n || self.range.rank() < self.probes()
    }

    /// Takes further probes, until there are m, with two products each.
    pub fn grow(&mut self, m: usize) -> Result<(), EstimatorError> {
        let (n, old, before) = (self.n, self.probes(), self.range.rank());
        let fresh = match self.draw {
            Draw::Sphere => spherical(self.seed, old, m - old, n),
            Draw::Signs => {
                let mut x = vec![0.0; (m - old) * n];
                for (i, x) in x.chunks_exact_mut(n).enumerate() {
                    rademacher(self.seed, (old + i) as u64, x);
                }
                x
            }
        };
        for y in self.products.of(&fresh)?.chunks_exact(n) {
            self.range.push(y);
        }
        self.omega.extend(fresh);
        let z = self.products.of(&self.range.rows()[before * n..])?;
        self.extend_projection(before, &z)?;
        if let Some(images) = &mut self.images {
            images.extend(z);
        }
        Ok(())
    }

    /// H for rows from `before` on, whose images are z. Both halves of the new corner are there, so that the operator's
    /// symmetry shows.
    fn extend_projection(&mut self, before: usize, z: &[f64]) -> Result<(), EstimatorError> {
        let (n, r) = (self.n, self.range.rank());
        let fresh = r - before;
        let mut columns = vec![0.0; fresh * r];
        gemm(&mut columns, Write::Set, 1.0, View::new(z, fresh, n), View::new(self.range.rows(), r, n).t(), Par::Seq);
        let (mut largest, mut difference) = (0.0f64, 0.0f64);
        self.h.iter_mut().for_each(|row| row.resize(r, 0.0));
        self.h.resize(r, vec![0.0; r]);
        for p in 0..fresh {
            for q in 0..r {
                let value = columns[p * r + q];
                let other = if q >= before { columns[(q - before) * r + before + p] } else { value };
                largest = largest.max(value.abs());
                difference = difference.max((value - other).abs());
                let mean = 0.5 * (value + other);
                (self.h[before + p][q], self.h[q][before + p]) = (mean, mean);
            }
        }
        symmetric(difference, largest)
    }

    /// What is left when only lengths and angles inside Q count.
    pub fn reduced(&self) -> Reduced {
        let (n, m, r) = (self.n, self.probes(), self.range.rank());
        let mut inside = vec![0.0; m * r];
        let rows = View::new(self.range.rows(), r, n);
        gemm(&mut inside, Write::Set, 1.0, View::new(&self.omega, m, n), rows.t(), Par::Seq);
        Reduced::new(n, &self.range, self.h.concat(), inside)
    }
}

/// m probes ω_i and their images in coordinates of Q.
pub(super) struct Reduced {
    pub n: usize,
    /// Dimension of Q.
    pub r: usize,
    /// A ω_i = Qᵀ c_i: the c_i, each of length r.
    pub images: Vec<Vec<f64>>,
    /// The images that added a row to Q.
    added: Vec<usize>,
    /// Q A Qᵀ, (r, r).
    h: Vec<f64>,
    /// Q ω_i, one after the other: (m, r).
    pub inside: Vec<f64>,
}

impl Reduced {
    fn new(n: usize, range: &Range, h: Vec<f64>, inside: Vec<f64>) -> Self {
        let r = range.rank();
        let image = |i: usize| (0..r).map(|p| range.coefficient(p, i)).collect();
        let images = (0..range.columns()).map(image).collect();
        Reduced { n, r, images, added: range.added().to_vec(), h, inside }
    }

    /// Without probe i: Q becomes an orthonormal basis of the other images, all inside the old one.
    pub fn without(&self, i: usize) -> Reduced {
        let r = self.r;
        let mut inside = self.inside.clone();
        inside.drain(i * r..(i + 1) * r);
        let mut images = self.images.clone();
        images.remove(i);
        if r == 0 {
            return Reduced { n: self.n, r, images, added: Vec::new(), h: Vec::new(), inside };
        }
        let mut range = Range::new(r);
        images.iter().for_each(|c| {
            range.push(c);
        });
        let (k, m) = (range.rank(), images.len());
        let rows = View::new(range.rows(), k, r);
        let (mut half, mut h, mut turned) = (vec![0.0; k * r], vec![0.0; k * k], vec![0.0; m * k]);
        gemm(&mut half, Write::Set, 1.0, rows, View::new(&self.h, r, r), Par::Seq);
        gemm(&mut h, Write::Set, 1.0, View::new(&half, k, r), rows.t(), Par::Seq);
        gemm(&mut turned, Write::Set, 1.0, View::new(&inside, m, r), rows.t(), Par::Seq);
        Reduced::new(self.n, &range, h, turned)
    }

    /// For each probe the unit direction in Q, by its coordinates, that the others alone do not span; `None` if they span
    /// all of Q.
    ///
    /// With C the triangle of the images that added a row, row p of C⁻¹ is orthogonal to all of them but the p-th. An
    /// image that added nothing, C x, takes the place of image p unless x_p = 0.
    pub fn lost_directions(&self) -> Vec<Option<Vec<f64>>> {
        let (r, added) = (self.r, &self.added);
        let triangle: Vec<f64> = (0..r * r).map(|k| self.images[added[k % r]][k / r]).collect();
        let inverse = inverse(r, &triangle);
        let row = |p: usize| &inverse[p * r..(p + 1) * r];
        let spare: Vec<&[f64]> =
            (0..self.images.len()).filter(|i| added.binary_search(i).is_err()).map(|i| &self.images[i][..]).collect();
        let mut lost = vec![None; self.images.len()];
        for (p, &i) in added.iter().enumerate() {
            let replaced = spare.iter().any(|c| product(row(p), c).abs() > f64::EPSILON.sqrt());
            if !replaced {
                let length = norm2(row(p));
                lost[i] = Some(row(p).iter().map(|x| x / length).collect());
            }
        }
        lost
    }

    /// tr QᵀAQ.
    pub fn trace(&self) -> f64 {
        (0..self.r).map(|p| self.h[p * self.r + p]).sum()
    }

    /// Q A Qᵀ x.
    pub fn times_h(&self, x: &[f64]) -> Vec<f64> {
        self.h.chunks_exact(self.r.max(1)).map(|row| product(row, x)).collect()
    }
}

/// The inner product of two short vectors.
pub(super) fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
