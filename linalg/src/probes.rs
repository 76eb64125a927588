//! Random start vectors and probes that depend on (seed, index) alone.
//!
//! Probe i of a seed is drawn from stream i of a ChaCha8 generator keyed by the seed. So it does not depend on the order
//! in which probes are drawn, on threads, or on a run that was interrupted and resumed, and two runs that ask for
//! different numbers of probes share the ones they have in common.

use rand::distr::Distribution as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::reduce::norm2;

/// How the entries of a probe are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Independent signs ±1: E z zᵀ = I and ‖z‖² = n exactly. The smallest variance for traces (Hutchinson 1990).
    Rademacher,
    /// Independent standard normal entries: E z zᵀ = I, rotation invariant.
    Gaussian,
    /// Uniform on the unit sphere: E z zᵀ = I / n.
    Sphere,
}

impl Distribution {
    /// Fills `out` with probe `index` of `seed`.
    pub fn fill(self, seed: u64, index: u64, out: &mut [f64]) {
        match self {
            Distribution::Rademacher => rademacher(seed, index, out),
            Distribution::Gaussian => gaussian(seed, index, out),
            Distribution::Sphere => sphere(seed, index, out),
        }
    }

    /// Probe `index` of `seed` with n entries.
    pub fn probe(self, seed: u64, index: u64, n: usize) -> Vec<f64> {
        let mut out = vec![0.0; n];
        self.fill(seed, index, &mut out);
        out
    }

    /// Probes `first .. first + count` of `seed`, one after the other: `count * n` values.
    pub fn probes(self, seed: u64, first: u64, count: usize, n: usize) -> Vec<f64> {
        let mut out = vec![0.0; count * n];
        for (i, probe) in out.chunks_exact_mut(n.max(1)).enumerate() {
            self.fill(seed, first + i as u64, probe);
        }
        out
    }
}

/// The generator behind probe `index` of `seed`.
fn generator(seed: u64, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    rng
}

/// Fills `out` with independent signs ±1; entry i is bit i of the stream, so a longer probe begins with the shorter one.
pub fn rademacher(seed: u64, index: u64, out: &mut [f64]) {
    let mut rng = generator(seed, index);
    for chunk in out.chunks_mut(64) {
        let mut bits = rng.next_u64();
        for x in chunk {
            *x = if bits & 1 == 1 { 1.0 } else { -1.0 };
            bits >>= 1;
        }
    }
}

/// Fills `out` with independent standard normal values.
pub fn gaussian(seed: u64, index: u64, out: &mut [f64]) {
    let mut rng = generator(seed, index);
    for x in out {
        *x = StandardNormal.sample(&mut rng);
    }
}

/// Fills `out` with independent numbers, uniform in [0, 1): multiples of 2⁻⁵³.
pub fn uniform(seed: u64, index: u64, out: &mut [f64]) {
    let mut rng = generator(seed, index);
    for x in out {
        *x = (rng.next_u64() >> 11) as f64 * (f64::EPSILON / 2.0);
    }
}

/// Fills `out` with a vector that is uniform on the unit sphere (a normalised Gaussian: Muller 1959).
pub fn sphere(seed: u64, index: u64, out: &mut [f64]) {
    gaussian(seed, index, out);
    let norm = norm2(out);
    for x in out {
        *x /= norm;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Distribution; 3] = [Distribution::Rademacher, Distribution::Gaussian, Distribution::Sphere];

    #[test]
    fn a_probe_depends_on_seed_and_index_only() {
        for d in ALL {
            let together = d.probes(7, 0, 5, 100);
            for i in (0..5).rev() {
                assert_eq!(d.probe(7, i as u64, 100), together[i * 100..(i + 1) * 100], "{d:?} {i}");
            }
            assert_eq!(d.probes(7, 3, 2, 100), together[300..], "{d:?}");
        }
    }

    #[test]
    fn seeds_and_indices_give_different_probes() {
        for d in ALL {
            let (a, b, c) = (d.probe(1, 0, 64), d.probe(1, 1, 64), d.probe(2, 0, 64));
            assert!(a != b && a != c && b != c, "{d:?}");
        }
    }

    #[test]
    fn rademacher_entries_are_signs_and_prefixes_agree() {
        let long = Distribution::Rademacher.probe(3, 9, 130);
        assert!(long.iter().all(|x| x.abs() == 1.0));
        assert_eq!(Distribution::Rademacher.probe(3, 9, 70), long[..70]);
    }

    #[test]
    fn sphere_probes_have_unit_length() {
        for n in [1, 2, 1000] {
            let x = Distribution::Sphere.probe(5, 2, n);
            let norm = norm2(&x);
            assert!((norm - 1.0).abs() < 4.0 * f64::EPSILON, "n = {n}: {norm}");
        }
    }

    #[test]
    fn empty_probes_are_fine() {
        for d in ALL {
            assert!(d.probe(1, 1, 0).is_empty() && d.probes(1, 1, 3, 0).is_empty());
        }
    }

    /// Mean 0 ± 1/√N and mean square 1 ± √2/√N: five standard errors, so a false alarm has probability below 1e-5
    /// (and the seed is fixed).
    #[test]
    fn moments_are_those_of_the_distribution() {
        let n = 100_000;
        let five = 5.0 / (n as f64).sqrt();
        for d in [Distribution::Rademacher, Distribution::Gaussian] {
            let x = d.probe(11, 4, n);
            let mean = x.iter().sum::<f64>() / n as f64;
            let square = x.iter().map(|x| x * x).sum::<f64>() / n as f64;
            assert!(mean.abs() < five, "{d:?}: {mean}");
            assert!((square - 1.0).abs() < five * 2f64.sqrt(), "{d:?}: {square}");
        }
    }

    /// Mean ½ and variance 1/12, within five standard errors; the longer list begins with the shorter.
    #[test]
    fn uniform_numbers_fill_the_interval_evenly() {
        let n = 100_000;
        let (mut x, mut y) = (vec![0.0; n], vec![0.0; 10]);
        uniform(11, 4, &mut x);
        uniform(11, 4, &mut y);
        assert_eq!(x[..10], y);
        assert!(x.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = x.iter().sum::<f64>() / n as f64;
        let variance = x.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>() / n as f64;
        let root = (n as f64).sqrt();
        assert!((mean - 0.5).abs() < 5.0 / 12f64.sqrt() / root, "{mean}");
        assert!((variance - 1.0 / 12.0).abs() < 5.0 / 180f64.sqrt() / root, "{variance}");
    }

    /// Neighbouring streams must not be correlated: the inner product of two probes is 0 ± √N.
    #[test]
    fn neighbouring_probes_are_uncorrelated() {
        let n = 100_000;
        for d in [Distribution::Rademacher, Distribution::Gaussian] {
            let (a, b) = (d.probe(1, 0, n), d.probe(1, 1, n));
            let dot: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert!(dot.abs() < 5.0 * (n as f64).sqrt(), "{d:?}: {dot}");
        }
    }
}
