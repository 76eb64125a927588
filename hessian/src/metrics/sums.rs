//! The sums over a spectrum and the ordered distribution of |λ| that the quantities are functions of.

use eigenlens_linalg::Stop;

use crate::estimate::{Estimate, jackknife, jackknife_of_means, pairwise_sum};
use crate::spectrum::{Pair, Probe};

/// Positions in the list of sums. All are sums over x = λ/scale with multiplicity m (1, or p ω for a quadrature).
pub(super) mod at {
    /// Σ m x
    pub const TRACE: usize = 0;
    /// Σ m |x|
    pub const NUCLEAR: usize = 1;
    /// Σ m x²
    pub const SQUARES: usize = 2;
    /// Σ m |x| ln|x|
    pub const LOGS: usize = 3;
    /// Σ_{x<0} m |x|
    pub const NEGATIVE_MASS: usize = 4;
    /// #{|x| > τ|x|_max}
    pub const RANK: usize = 5;
    /// #{x < −τ|x|_max}
    pub const NEGATIVE_COUNT: usize = 6;
    /// Σ_{x<0} m √|x|
    pub const NEGATIVE_ROOTS: usize = 7;
    /// Σ_{x>0} m √x
    pub const POSITIVE_ROOTS: usize = 8;
    /// Σ m (x − c), and the next three the powers 2 to 4; c is one centre for all probes.
    pub const CENTRED: usize = 9;
    /// How many.
    pub const LEN: usize = 13;
}

/// 2^⌊log₂ x⌋ for a normal x > 0; the smallest normal number for a subnormal x; 1 for 0.
pub(super) fn power_of_two_below(x: f64) -> f64 {
    const EXPONENT: u64 = 0x7ff0_0000_0000_0000;
    if x == 0.0 { 1.0 } else { f64::from_bits(x.to_bits() & EXPONENT).max(f64::MIN_POSITIVE) }
}

/// The sums of every probe: `values[j][i]` is sum j of probe i. An exact spectrum is one "probe" without error.
pub(super) struct Columns {
    pub exact: bool,
    /// Quadrature error of `RANK`, a bound averaged over the probes.
    pub rank_error: f64,
    /// Quadrature error of `NEGATIVE_COUNT`, likewise.
    pub negative_error: f64,
    /// What a side of zero without any node may hold of `NUCLEAR`, likewise.
    pub hinge_error: f64,
    values: Vec<Vec<f64>>,
    /// The degree up to which all rules are exact.
    degree: usize,
    /// The mean sums by each variant of the rules; `None` where there are none.
    variants: Option<Vec<Vec<f64>>>,
}

/// A bound of ∫ |λ| dμ over the side of zero where a rule has no node: the weight of the outermost node, which bounds the
/// measure beyond it (Chebyshev–Markov–Stieltjes), times how far the spectrum reaches there. Where the end of the spectrum
/// is unknown, the distance of that node from zero stands for it. 0 if there are nodes on both sides.
fn unseen_side(q: &Probe, [smallest, largest]: [Option<Pair>; 2]) -> f64 {
    let (first, last) = (q.nodes[0], q.nodes[q.nodes.len() - 1]);
    if q.stop == Stop::Invariant {
        0.0
    } else if first > 0.0 {
        q.weights[0] * smallest.map_or(first, |z| (z.residual - z.value).max(0.0))
    } else if last < 0.0 {
        q.weights[q.nodes.len() - 1] * largest.map_or(-last, |a| (a.value + a.residual).max(0.0))
    } else {
        0.0
    }
}

/// Two other sets of rules, which differ from the given ones by about as much as these differ from the truth: those of half
/// the steps, and those with the nodes on both sides of zero moved there, since the rules don't tell what lies between. `None`
/// for a rule of one step, whose steps can't be halved.
///
/// Either alone fails somewhere: halving, where convergence stagnates because the eigenvalues crowd at zero over many
/// decades; moving, where the nearest nodes happen to lie at zero already. An exact rule is its own variant.
pub(super) fn variants(probes: &[Probe]) -> Option<[Vec<Probe>; 2]> {
    let halved = probes.iter().map(|q| q.truncated(q.nodes.len() / 2)).collect::<Option<_>>()?;
    let moved = probes.iter().map(|q| {
        let mut q = q.clone();
        if q.stop != Stop::Invariant {
            let above = q.nodes.partition_point(|&x| x <= 0.0);
            for near in [above.wrapping_sub(1), above] {
                q.nodes.get_mut(near).into_iter().for_each(|x| *x = 0.0);
            }
        }
        q
    });
    Some([halved, moved.collect()])
}

impl Columns {
    /// `atoms` are λ and how often, ascending.
    pub fn exact(atoms: &[Atom], scale: f64, tau: f64) -> Self {
        let n = atoms.len();
        let x: Vec<f64> = atoms.iter().map(|a| a.0 / scale).collect();
        let threshold = tau * x[0].abs().max(x[n - 1].abs());
        let sum = |f: &dyn Fn(usize) -> f64| pairwise_sum(n, f);
        let centre = sum(&|i| atoms[i].1 * x[i]) / sum(&|i| atoms[i].1);
        let row = sums(&x, &|i| atoms[i].1, threshold, centre);
        let values = row.map(|s| vec![s]).to_vec();
        Columns {
            exact: true,
            rank_error: 0.0,
            negative_error: 0.0,
            hinge_error: 0.0,
            values,
            degree: usize::MAX,
            variants: None,
        }
    }

    pub fn of_probes(
        dim: usize,
        probes: &[Probe],
        variants: Option<&[Vec<Probe>]>,
        ends: [Option<Pair>; 2],
        (magnitude, scale, tau): (f64, f64, f64),
    ) -> Self {
        let (p, n) = (dim as f64, probes.len() as f64);
        let threshold = tau * (magnitude / scale);
        let mean_of = |f: &dyn Fn(&Probe) -> f64| pairwise_sum(probes.len(), |i| f(&probes[i])) / n;
        let centre = mean_of(&|q| q.integrate(|l| l / scale));
        let columns = |probes: &[Probe]| {
            let mut values = vec![Vec::new(); at::LEN];
            for q in probes {
                let x: Vec<f64> = q.nodes.iter().map(|l| l / scale).collect();
                let row = sums(&x, &|j| p * q.weights[j], threshold, centre);
                values.iter_mut().zip(row).for_each(|(column, s)| column.push(s));
            }
            values
        };
        let below = |q: &Probe| p * q.cdf_error(-tau * magnitude);
        let above = |q: &Probe| p * q.cdf_error(tau * magnitude);
        Columns {
            exact: false,
            rank_error: mean_of(&|q| below(q) + above(q)),
            negative_error: mean_of(&below),
            hinge_error: mean_of(&|q| p * unseen_side(q, ends)) / scale,
            values: columns(probes),
            degree: probes.iter().map(Probe::degree).min().unwrap_or(0),
            variants: variants.map(|sets| sets.iter().map(|probes| means(&columns(probes))).collect()),
        }
    }

    /// How far f(mean sums), a function of integrals of polynomials of the given degree at most (`usize::MAX` if they
    /// are none), may be off because the rules have few nodes: the most that it changes with the [`variants`] of the
    /// rules. 0 up to the degree to which the rules are exact; NaN if there are no variants.
    pub fn quadrature_error(&self, degree: usize, f: impl Fn(&[f64]) -> f64) -> f64 {
        if degree <= self.degree {
            return 0.0;
        }
        largest_change(f(&self.means()), self.variants.as_ref().map(|v| v.iter().map(|sums| f(sums))))
    }

    /// The sums averaged over the probes; of an exact spectrum the sums themselves.
    pub fn means(&self) -> Vec<f64> {
        means(&self.values)
    }

    /// f(mean sums) with its jackknife error over the probes.
    pub fn jackknife(&self, f: impl Fn(&[f64]) -> f64) -> Estimate {
        jackknife_of_means(&self.values.iter().map(Vec::as_slice).collect::<Vec<_>>(), f)
    }
}

/// max |x − value| over the variants x; NaN if there are none.
pub(super) fn largest_change(value: f64, variants: Option<impl Iterator<Item = f64>>) -> f64 {
    let larger = |a: f64, b: f64| if a.is_nan() || a > b { a } else { b };
    variants.map_or(f64::NAN, |v| v.map(|x| (x - value).abs()).fold(0.0, larger))
}

fn means(columns: &[Vec<f64>]) -> Vec<f64> {
    columns.iter().map(|c| pairwise_sum(c.len(), |i| c[i]) / c.len() as f64).collect()
}

/// One row of sums. `x` ascends; multiplicity m(i).
fn sums(x: &[f64], m: &dyn Fn(usize) -> f64, threshold: f64, centre: f64) -> [f64; at::LEN] {
    let add = |f: &dyn Fn(f64) -> f64| pairwise_sum(x.len(), |i| m(i) * f(x[i]));
    let root = |sign: f64| pairwise_sum(x.len(), |i| m(i) * (sign * x[i]).max(0.0).sqrt());
    let mut row = [0.0; at::LEN];
    row[at::TRACE] = add(&|x| x);
    row[at::NUCLEAR] = add(&f64::abs);
    row[at::SQUARES] = add(&|x| x * x);
    row[at::LOGS] = add(&|x| if x == 0.0 { 0.0 } else { x.abs() * x.abs().ln() });
    row[at::NEGATIVE_MASS] = add(&|x| (-x).max(0.0));
    row[at::RANK] = add(&|x| f64::from(u8::from(x.abs() > threshold)));
    row[at::NEGATIVE_COUNT] = add(&|x| f64::from(u8::from(x < -threshold)));
    row[at::NEGATIVE_ROOTS] = root(-1.0);
    row[at::POSITIVE_ROOTS] = root(1.0);
    for k in 0..4 {
        row[at::CENTRED + k] = add(&|x| (x - centre).powi(k as i32 + 1));
    }
    row
}

/// Skewness m₃/m₂^{3/2} and kurtosis m₄/m₂² from the sums of powers about a common centre. NaN where the standard
/// deviation is at most p ε |λ|_max, the error of the eigenvalues themselves (|x|_max is between 1 and 2).
pub(super) fn skewness_and_kurtosis(s: &[f64], p: f64) -> (f64, f64) {
    let [a, b, c, d] = [0, 1, 2, 3].map(|k| s[at::CENTRED + k] / p);
    let variance = b - a * a;
    if p < 2.0 || variance.max(0.0).sqrt() <= 2.0 * p * f64::EPSILON {
        return (f64::NAN, f64::NAN);
    }
    let third = c - 3.0 * a * b + 2.0 * a.powi(3);
    let fourth = d - 4.0 * a * c + 6.0 * a * a * b - 3.0 * a.powi(4);
    (third / variance.powf(1.5), fourth / (variance * variance))
}

/// |λ|/scale and its multiplicity.
pub(super) type Atom = (f64, f64);

/// The distribution of |λ|, ascending, pooled over the probes.
pub(super) struct Magnitudes {
    /// |λ|, multiplicity within its probe, probe.
    atoms: Vec<(f64, f64, usize)>,
    /// Their number; `None` for an exact spectrum.
    probes: Option<usize>,
}

impl Magnitudes {
    pub fn exact(atoms: &[Atom], scale: f64) -> Self {
        Self::sorted(atoms.iter().map(|(l, m)| ((l / scale).abs(), *m, 0)).collect(), None)
    }

    pub fn of_probes(dim: usize, probes: &[Probe], scale: f64) -> Self {
        let p = dim as f64;
        let atoms = probes
            .iter()
            .enumerate()
            .flat_map(|(i, q)| q.nodes.iter().zip(&q.weights).map(move |(l, w)| ((l / scale).abs(), p * w, i)));
        Self::sorted(atoms.collect(), Some(probes.len()))
    }

    fn sorted(mut atoms: Vec<(f64, f64, usize)>, probes: Option<usize>) -> Self {
        atoms.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
        Magnitudes { atoms, probes }
    }

    /// Whether these are all eigenvalues.
    pub fn is_exact(&self) -> bool {
        self.probes.is_none()
    }

    /// f of the pooled distribution, of all probes but one, with its jackknife error; no error for an exact spectrum.
    pub fn evaluate(&self, f: impl Fn(&[Atom]) -> f64) -> (f64, Option<Estimate>) {
        match self.probes {
            None => (f(&self.pooled(1, None)), None),
            Some(n) => {
                let e = jackknife(n, |skip| f(&self.pooled(n, skip)));
                (e.mean, Some(e))
            }
        }
    }

    /// (|x|, multiplicity), ascending, averaged over the probes without one of them.
    fn pooled(&self, probes: usize, skip: Option<usize>) -> Vec<Atom> {
        let count = (probes - usize::from(skip.is_some())) as f64;
        self.atoms.iter().filter(|a| Some(a.2) != skip).map(|a| (a.0, a.1 / count)).collect()
    }
}

/// The number k of largest |λ| that hold the given share of Σ|λ|; for an atom of multiplicity m > 1 or a fractional one, the
/// part of it that is needed. 0 for the zero spectrum.
///
/// `atoms` ascend. The share may be missed by 1e-12, so that ties are decided by the spectrum and not by rounding.
pub(super) fn energy_rank(atoms: &[Atom], share: f64) -> f64 {
    let target = share * (1.0 - 1e-12) * pairwise_sum(atoms.len(), |i| atoms[i].0 * atoms[i].1);
    let (mut count, mut sum) = (0.0, 0.0);
    for &(x, m) in atoms.iter().rev() {
        if sum >= target {
            break;
        }
        let part = if sum + x * m >= target { (target - sum) / x } else { m };
        (count, sum) = (count + part, sum + x * m);
    }
    count
}

/// Gini coefficient Σ m x (2M + m − P) / (P Σ m x), M the multiplicity below x and P the whole. NaN for the zero spectrum.
pub(super) fn gini(atoms: &[Atom]) -> f64 {
    let whole = pairwise_sum(atoms.len(), |i| atoms[i].1);
    let mut below = 0.0;
    let terms: Vec<f64> = atoms
        .iter()
        .map(|&(x, m)| {
            let rank = 2.0 * below + m - whole;
            below += m;
            m * x * rank
        })
        .collect();
    pairwise_sum(atoms.len(), |i| terms[i]) / (whole * pairwise_sum(atoms.len(), |i| atoms[i].0 * atoms[i].1))
}
