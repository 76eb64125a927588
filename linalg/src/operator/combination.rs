//! Linear combinations of operators: scaled, negated, shifted, damped, summed, subtracted.

use std::sync::Mutex;

use super::LinearOperator;

/// Σ c_i A_i + s I, by the products of the A_i.
///
/// Memory: the columns of one product more if there are several terms.
///
/// ```
/// use eigenlens_linalg::LinearOperator;
/// use eigenlens_linalg::operator::{Combination, DenseOperator};
///
/// let (h, g) = (DenseOperator::diagonal(&[3.0, 1.0]), DenseOperator::diagonal(&[2.0, 2.0]));
/// let mut y = [0.0; 2];
/// Combination::difference(&h, &g).apply(1, &[1.0, 1.0], &mut y);
/// assert_eq!(y, [1.0, -1.0]);
/// Combination::shifted(&h, 0.5).apply(1, &[1.0, 1.0], &mut y);
/// assert_eq!(y, [3.5, 1.5]);
/// ```
pub struct Combination<'a> {
    terms: Vec<(f64, &'a dyn LinearOperator)>,
    shift: f64,
    buffer: Mutex<Vec<f64>>,
}

impl<'a> Combination<'a> {
    /// Σ c_i A_i + shift · I.
    ///
    /// # Panics
    /// If there are no terms or their dimensions differ.
    #[track_caller]
    pub fn new(terms: Vec<(f64, &'a dyn LinearOperator)>, shift: f64) -> Self {
        assert!(!terms.is_empty(), "a combination of no operators has no dimension");
        let n = terms[0].1.dim();
        assert!(terms.iter().all(|(_, a)| a.dim() == n), "operators of different dimensions");
        Combination { terms, shift, buffer: Mutex::new(Vec::new()) }
    }

    /// c A.
    pub fn scaled(c: f64, a: &'a dyn LinearOperator) -> Self {
        Combination::new(vec![(c, a)], 0.0)
    }

    /// −A.
    pub fn negated(a: &'a dyn LinearOperator) -> Self {
        Combination::scaled(-1.0, a)
    }

    /// A + s I: damped for s > 0.
    pub fn shifted(a: &'a dyn LinearOperator, s: f64) -> Self {
        Combination::new(vec![(1.0, a)], s)
    }

    /// Σ A_i.
    ///
    /// # Panics
    /// As [`Combination::new`].
    #[track_caller]
    pub fn sum(terms: &[&'a dyn LinearOperator]) -> Self {
        Combination::new(terms.iter().map(|a| (1.0, *a)).collect(), 0.0)
    }

    /// A − B.
    ///
    /// # Panics
    /// If their dimensions differ.
    #[track_caller]
    pub fn difference(a: &'a dyn LinearOperator, b: &'a dyn LinearOperator) -> Self {
        Combination::new(vec![(1.0, a), (-1.0, b)], 0.0)
    }
}

impl LinearOperator for Combination<'_> {
    fn dim(&self) -> usize {
        self.terms[0].1.dim()
    }

    fn apply(&self, k: usize, x: &[f64], y: &mut [f64]) {
        let (&(c, first), rest) = self.terms.split_first().expect("there is a term");
        first.apply(k, x, y);
        y.iter_mut().zip(x).for_each(|(y, x)| *y = c * *y + self.shift * x);
        if rest.is_empty() {
            return;
        }
        let mut buffer = self.buffer.lock().expect("no product panicked");
        buffer.resize(y.len(), 0.0);
        for (c, a) in rest {
            a.apply(k, x, &mut buffer);
            y.iter_mut().zip(buffer.iter()).for_each(|(y, b)| *y += c * b);
        }
    }

    fn lanes(&self) -> usize {
        self.terms.iter().map(|(_, a)| a.lanes()).min().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{DenseOperator, to_dense};

    fn pair() -> (DenseOperator, DenseOperator) {
        let a = DenseOperator::new(3, vec![2.0, 1.0, 0.0, 1.0, 3.0, -1.0, 0.0, -1.0, 4.0]);
        let b = DenseOperator::new(3, vec![0.0, 1.0, 5.0, 1.0, 0.0, 2.0, 5.0, 2.0, 8.0]);
        (a, b)
    }

    /// Small whole numbers: every result is exact.
    fn entries(a: &DenseOperator, b: &DenseOperator, of: impl Fn(f64, f64, f64) -> f64) -> Vec<f64> {
        let identity = |i: usize| f64::from(u8::from(i.is_multiple_of(4)));
        let both = a.entries().iter().zip(b.entries()).enumerate();
        both.map(|(i, (&a, &b))| of(a, b, identity(i))).collect()
    }

    #[test]
    fn combinations_are_those_of_the_matrices() {
        let (a, b) = pair();
        assert_eq!(to_dense(&Combination::scaled(-2.5, &a)), entries(&a, &b, |a, _, _| -2.5 * a));
        assert_eq!(to_dense(&Combination::negated(&a)), entries(&a, &b, |a, _, _| -a));
        assert_eq!(to_dense(&Combination::shifted(&a, 0.5)), entries(&a, &b, |a, _, i| a + 0.5 * i));
        assert_eq!(to_dense(&Combination::sum(&[&a, &b, &a])), entries(&a, &b, |a, b, _| 2.0 * a + b));
        assert_eq!(to_dense(&Combination::difference(&a, &b)), entries(&a, &b, |a, b, _| a - b));
        let c = Combination::new(vec![(2.0, &a), (-3.0, &b)], 4.0);
        assert_eq!(to_dense(&c), entries(&a, &b, |a, b, i| 2.0 * a - 3.0 * b + 4.0 * i));
    }

    #[test]
    fn combinations_nest() {
        let (a, b) = pair();
        let difference = Combination::difference(&a, &b);
        let twice = Combination::scaled(2.0, &difference);
        assert_eq!(to_dense(&twice), entries(&a, &b, |a, b, _| 2.0 * (a - b)));
    }

    #[test]
    #[should_panic(expected = "different dimensions")]
    fn operators_of_different_dimensions_have_no_sum() {
        Combination::sum(&[&pair().0, &DenseOperator::diagonal(&[1.0])]);
    }
}
