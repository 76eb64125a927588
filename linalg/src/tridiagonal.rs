//! Symmetric tridiagonal matrices: all eigenvalues, with the ends of the eigenvectors or all of them.
//!
//! Implicit QL with Wilkinson's shift. What Lanczos needs of T are its eigenvalues and the first (quadrature weights) and
//! last (residuals) components of its eigenvectors; carrying just those two rows through the rotations costs O(m²)
//! instead of O(m³) (Golub & Welsch 1969).
//!
//! # Sources
//! Golub & Welsch, *Calculation of Gauss quadrature rules*, Math. Comp. 23 (1969); Parlett, *The Symmetric Eigenvalue
//! Problem*, ch. 8; LAPACK `dsteqr` for the splitting rule and for choosing the end to work from.

/// A symmetric tridiagonal matrix of order m.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tridiagonal {
    /// The diagonal, m values.
    pub alpha: Vec<f64>,
    /// The off-diagonal, m − 1 values (none for m = 0); `beta[i]` couples i and i + 1.
    pub beta: Vec<f64>,
}

/// Eigenvalues in ascending order, and the first and last component of each unit eigenvector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ritz {
    /// The eigenvalues, ascending.
    pub values: Vec<f64>,
    /// First components; their squares sum to 1.
    pub first: Vec<f64>,
    /// Last components.
    pub last: Vec<f64>,
}

/// The QL iteration gave up, or the matrix held NaN or infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TridiagonalError {
    /// An entry is NaN or infinite; the index counts along the diagonal.
    #[error("tridiagonal matrix: entry at row {0} is NaN or infinite")]
    NonFinite(usize),
    /// More than [`SWEEPS`] sweeps per eigenvalue.
    #[error("tridiagonal matrix: QL did not converge on row {0}")]
    NoConvergence(usize),
}

/// Sweeps allowed per eigenvalue on average. QL with Wilkinson's shift converges cubically and needs fewer than two;
/// EISPACK and LAPACK allow 30.
pub const SWEEPS: usize = 30;

/// What is carried along: the columns of a matrix Z that is multiplied by each rotation from the right.
trait Columns {
    /// z_{i+1} ← s z_i + c z_{i+1}, z_i ← c z_i − s z_{i+1}.
    fn rotate(&mut self, i: usize, c: f64, s: f64);
    /// Reverses the order of columns lo ..= hi.
    fn reverse(&mut self, lo: usize, hi: usize);
}

/// Nothing is carried: eigenvalues only.
struct Nothing;

impl Columns for Nothing {
    fn rotate(&mut self, _: usize, _: f64, _: f64) {}
    fn reverse(&mut self, _: usize, _: usize) {}
}

/// The first and last row of Z.
struct Ends(Vec<[f64; 2]>);

impl Columns for Ends {
    #[inline(always)]
    fn rotate(&mut self, i: usize, c: f64, s: f64) {
        let ([a0, a1], [b0, b1]) = (self.0[i], self.0[i + 1]);
        self.0[i + 1] = [s * a0 + c * b0, s * a1 + c * b1];
        self.0[i] = [c * a0 - s * b0, c * a1 - s * b1];
    }

    fn reverse(&mut self, lo: usize, hi: usize) {
        self.0[lo..=hi].reverse();
    }
}

/// All rows of Z, stored column after column.
struct Full {
    m: usize,
    z: Vec<f64>,
}

impl Columns for Full {
    #[inline]
    fn rotate(&mut self, i: usize, c: f64, s: f64) {
        let (left, right) = self.z[i * self.m..(i + 2) * self.m].split_at_mut(self.m);
        for (a, b) in left.iter_mut().zip(right) {
            (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
        }
    }

    fn reverse(&mut self, lo: usize, hi: usize) {
        let (mut i, mut j) = (lo, hi);
        while i < j {
            let (left, right) = self.z.split_at_mut(j * self.m);
            left[i * self.m..(i + 1) * self.m].swap_with_slice(&mut right[..self.m]);
            i += 1;
            j -= 1;
        }
    }
}

impl Tridiagonal {
    /// Wraps a diagonal and an off-diagonal.
    ///
    /// # Panics
    /// If the off-diagonal is not one shorter than the diagonal (both empty for m = 0).
    #[track_caller]
    pub fn new(alpha: Vec<f64>, beta: Vec<f64>) -> Self {
        assert_eq!(beta.len(), alpha.len().saturating_sub(1), "off-diagonal of an order {} matrix", alpha.len());
        Tridiagonal { alpha, beta }
    }

    /// The order m.
    pub fn order(&self) -> usize {
        self.alpha.len()
    }

    /// The largest absolute row sum ‖T‖_∞, which bounds every |eigenvalue|; 0 for m = 0.
    pub fn norm(&self) -> f64 {
        let off = |i: usize| self.beta.get(i).map_or(0.0, |b| b.abs());
        let row = |i: usize| self.alpha[i].abs() + off(i) + if i > 0 { off(i - 1) } else { 0.0 };
        (0..self.order()).map(row).fold(0.0, f64::max)
    }

    /// All eigenvalues, ascending, each within about 10 m ε ‖T‖. Cost: O(m²).
    ///
    /// # Errors
    /// If an entry is NaN or infinite, or QL exceeds its sweeps.
    pub fn eigenvalues(&self) -> Result<Vec<f64>, TridiagonalError> {
        let mut values = self.ql(&mut Nothing)?;
        values.sort_by(f64::total_cmp);
        Ok(values)
    }

    /// All eigenvalues with the first and last components of the eigenvectors. Cost: O(m²).
    ///
    /// # Errors
    /// As [`eigenvalues`](Self::eigenvalues).
    pub fn ritz(&self) -> Result<Ritz, TridiagonalError> {
        let m = self.order();
        let mut ends = Ends(vec![[0.0; 2]; m]);
        if m > 0 {
            ends.0[0][0] = 1.0;
            ends.0[m - 1][1] = 1.0;
        }
        let values = self.ql(&mut ends)?;
        let order = ascending(&values);
        Ok(Ritz {
            first: order.iter().map(|&i| ends.0[i][0]).collect(),
            last: order.iter().map(|&i| ends.0[i][1]).collect(),
            values: order.iter().map(|&i| values[i]).collect(),
        })
    }

    /// All eigenvalues, ascending, and unit eigenvectors, one after the other (m * m values). Cost: about 3 m³ flops.
    ///
    /// # Errors
    /// As [`eigenvalues`](Self::eigenvalues).
    pub fn eigen(&self) -> Result<(Vec<f64>, Vec<f64>), TridiagonalError> {
        let m = self.order();
        let mut full = Full { m, z: vec![0.0; m * m] };
        for i in 0..m {
            full.z[i * m + i] = 1.0;
        }
        let values = self.ql(&mut full)?;
        let order = ascending(&values);
        let vectors = order.iter().flat_map(|&i| full.z[i * m..(i + 1) * m].iter().copied()).collect();
        Ok((order.iter().map(|&i| values[i]).collect(), vectors))
    }

    /// Refuses NaN and infinity.
    pub(crate) fn check_finite(&self) -> Result<(), TridiagonalError> {
        let m = self.order();
        assert_eq!(self.beta.len(), m.saturating_sub(1), "off-diagonal of an order {m} matrix");
        let bad = |i: &usize| !self.alpha[*i].is_finite() || self.beta.get(*i).is_some_and(|b| !b.is_finite());
        (0..m).find(bad).map_or(Ok(()), |i| Err(TridiagonalError::NonFinite(i)))
    }

    /// The eigenvalues in the order in which the columns of `z` end up.
    fn ql<C: Columns>(&self, z: &mut C) -> Result<Vec<f64>, TridiagonalError> {
        let m = self.order();
        self.check_finite()?;
        // Scaled by a power of two so that no square below overflows: the rounding is the same at every scale.
        let scale = power_of_two(self.alpha.iter().chain(&self.beta).fold(0.0, |s: f64, x| s.max(x.abs())));
        let mut d: Vec<f64> = self.alpha.iter().map(|x| x / scale).collect();
        let mut e: Vec<f64> = self.beta.iter().map(|x| x / scale).collect();

        let mut lo = 0;
        while lo < m {
            let mut hi = lo;
            while hi + 1 < m && !negligible(d[hi], e[hi], d[hi + 1]) {
                hi += 1;
            }
            if hi + 1 < m {
                e[hi] = 0.0;
            }
            unreduced(&mut d, &mut e, lo, hi, z)?;
            lo = hi + 1;
        }
        for x in &mut d {
            *x *= scale;
        }
        Ok(d)
    }
}

/// Indices that sort `values`.
fn ascending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    order
}

/// The power of two just below x (1 for zero), within the normal range.
pub(crate) fn power_of_two(x: f64) -> f64 {
    let exponent = x.to_bits() & 0x7ff0_0000_0000_0000;
    // Zero and subnormal numbers have no exponent of their own; the largest would overflow when we multiply back.
    if x == 0.0 { 1.0 } else { f64::from_bits(exponent).max(f64::MIN_POSITIVE) }
}

/// Whether an off-diagonal entry may be set to zero: e² ≤ ε² |d_i d_{i+1}|, relative to its neighbours so that the small
/// end of a graded matrix keeps its digits. The constant serves zero diagonals (entries are at most 2 after scaling).
fn negligible(left: f64, e: f64, right: f64) -> bool {
    const EPS2: f64 = f64::EPSILON * f64::EPSILON / 4.0;
    e * e <= EPS2 * left.abs() * right.abs() + f64::MIN_POSITIVE
}

/// Diagonalises the block lo ..= hi whose off-diagonal entries are not negligible.
fn unreduced<C: Columns>(
    d: &mut [f64],
    e: &mut [f64],
    lo: usize,
    hi: usize,
    z: &mut C,
) -> Result<(), TridiagonalError> {
    // QL finds the eigenvalues at the top first and keeps the small end of a matrix that grows downwards; one that grows
    // upwards is turned over (which is a permutation, hence exact).
    if d[hi].abs() < d[lo].abs() {
        d[lo..=hi].reverse();
        e[lo..hi].reverse();
        z.reverse(lo, hi);
    }
    let mut sweeps = SWEEPS * (hi - lo + 1);
    for l in lo..=hi {
        loop {
            let mut end = l;
            while end < hi && !negligible(d[end], e[end], d[end + 1]) {
                end += 1;
            }
            if end < hi {
                e[end] = 0.0;
            }
            if end == l {
                break;
            }
            if sweeps == 0 {
                return Err(TridiagonalError::NoConvergence(l));
            }
            sweeps -= 1;
            sweep(d, e, l, end, z);
        }
    }
    Ok(())
}

/// One implicit QL sweep over rows l ..= end, from the bottom up, shifted by the eigenvalue of the leading 2 x 2 block
/// that is nearer to d_l.
fn sweep<C: Columns>(d: &mut [f64], e: &mut [f64], l: usize, end: usize, z: &mut C) {
    let half = (d[l + 1] - d[l]) / (2.0 * e[l]);
    let root = half.hypot(1.0);
    let mut g = d[end] - d[l] + e[l] / (half + root.copysign(half));
    let (mut c, mut s, mut p) = (1.0, 1.0, 0.0);
    for i in (l..end).rev() {
        let f = s * e[i];
        let b = c * e[i];
        let r;
        (c, s, r) = rotation(g, f);
        if i + 1 < end {
            e[i + 1] = r;
        }
        g = d[i + 1] - p;
        let t = (d[i] - g) * s + 2.0 * c * b;
        p = s * t;
        d[i + 1] = g + p;
        g = c * t - b;
        z.rotate(i, c, s);
    }
    d[l] -= p;
    e[l] = g;
}

/// c, s, r with c g + s f = r, c f − s g = 0, c² + s² = 1.
#[inline(always)]
fn rotation(g: f64, f: f64) -> (f64, f64, f64) {
    if f == 0.0 {
        return (1.0, 0.0, g);
    }
    let square = g * g + f * f;
    // Entries are at most about 2, so squares don't overflow; if they vanish, take the slow and safe root.
    let r = if square > 1e-280 { square.sqrt() } else { g.hypot(f) };
    (g / r, f / r, r)
}

#[cfg(test)]
mod tests;
