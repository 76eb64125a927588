//! The stream of random numbers of the generators: SplitMix64 and the normal numbers of Box and Muller.
//!
//! It is the stream of the reference program behind the golden rows, so that the generators can be checked number by number.
//! Everything else in this crate draws from ChaCha8.

use std::f64::consts::TAU;

/// SplitMix64 (Steele, Lea & Flood 2014): a counter through a mixing function.
pub struct Random {
    state: u64,
    /// The sine of the last pair of normal numbers.
    spare: Option<f64>,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { state: seed, spare: None }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = self.state;
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform on [0, 1): the top 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * 2f64.powi(-53)
    }

    /// Uniform on [a, b).
    pub fn between(&mut self, a: f64, b: f64) -> f64 {
        a + (b - a) * self.unit()
    }

    /// Uniform on 0, …, n − 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// +1 or −1, each with probability ½.
    pub fn sign(&mut self) -> f64 {
        if self.next() >> 63 == 0 { 1.0 } else { -1.0 }
    }

    /// Standard normal (Box & Muller 1958), the cosine of a pair first.
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (u1, u2) = (1.0 - self.unit(), self.unit());
        let r = (-2.0 * u1.ln()).sqrt();
        self.spare = Some(r * (TAU * u2).sin());
        r * (TAU * u2).cos()
    }

    /// So many standard normal numbers.
    pub fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_published_generator() {
        // Vigna's splitmix64.c started at 1234567.
        let mut random = Random::new(1_234_567);
        let found: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(found, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::new(5);
        let n = 20_000;
        let normals = random.normals(n);
        let (mean, square) = normals.iter().fold((0.0, 0.0), |(m, s), x| (m + x, s + x * x));
        let root = (n as f64).sqrt();
        // Standard errors 1/√n and √(2/n); four of them.
        assert!((mean / n as f64).abs() < 4.0 / root && (square / n as f64 - 1.0).abs() < 4.0 * 2f64.sqrt() / root);
        let units = (0..n).map(|_| random.unit()).sum::<f64>() / n as f64;
        assert!((units - 0.5).abs() < 4.0 / (12f64.sqrt() * root));
        let signs = (0..n).map(|_| random.sign()).sum::<f64>() / n as f64;
        assert!(signs.abs() < 4.0 / root);
    }
}
