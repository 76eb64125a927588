//! Which rows belong to the same data set: resampling, exchange and folds of whole data sets.
//!
//! Draw i of a seed is a function of (seed, i), so that results depend neither on the order of the draws nor on threads.

use std::collections::BTreeMap;

use eigenlens_linalg::probes::uniform;

use super::{Unfit, at_least};

/// Rows by data set. Data sets stand in the order in which they first occur, rows in their own order.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    names: Vec<String>,
    of: Vec<usize>,
    members: Vec<Vec<usize>>,
}

impl Groups {
    /// The groups of rows that carry these names.
    pub fn new<N: AsRef<str>>(of: impl IntoIterator<Item = N>) -> Self {
        let mut index: BTreeMap<String, usize> = BTreeMap::new();
        let (mut names, mut members): (Vec<String>, Vec<Vec<usize>>) = (Vec::new(), Vec::new());
        let mut rows = Vec::new();
        for (row, name) in of.into_iter().enumerate() {
            let name = name.as_ref();
            let group = *index.entry(name.to_owned()).or_insert_with(|| {
                names.push(name.to_owned());
                members.push(Vec::new());
                names.len() - 1
            });
            members[group].push(row);
            rows.push(group);
        }
        Self { names, of: rows, members }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.of.len()
    }

    /// Number of data sets.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Their names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The data set of every row.
    pub fn of(&self) -> &[usize] {
        &self.of
    }

    /// The rows of every data set.
    pub fn members(&self) -> &[Vec<usize>] {
        &self.members
    }

    /// The groups of a selection of rows.
    ///
    /// # Panics
    /// If an index is not a row.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self::new(rows.iter().map(|&i| &self.names[self.of[i]]))
    }

    /// Rows of as many data sets as there are, drawn with replacement: draw `index` of `seed`.
    pub fn resample(&self, seed: u64, index: u64) -> Vec<usize> {
        let mut u = vec![0.0; self.count()];
        uniform(seed, index, &mut u);
        u.iter().flat_map(|&u| self.members[below(u, self.count())].iter().copied()).collect()
    }

    /// An order of the rows in which whole data sets have changed places: the outcome of row `order[i]` goes to row i.
    ///
    /// Only data sets with the same number of rows change places, and their rows keep their order: the k-th row of one
    /// receives the k-th of another. What all data sets have in common in the k-th row (the effect of capacity, where
    /// rows are sorted by it) is thus the same under the null hypothesis and counts neither for nor against it.
    ///
    /// # Sources
    /// Winkler et al., *Multi-level block permutation*, NeuroImage 123 (2015): whole-block exchangeability.
    pub fn exchange(&self, seed: u64, index: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.rows()).collect();
        let mut u = vec![0.0; self.count()];
        uniform(seed, index, &mut u);
        let mut drawn = u.into_iter();
        for class in self.by_size() {
            let mut from = class.clone();
            // Fisher–Yates.
            for last in (1..from.len()).rev() {
                let u = drawn.next().expect("a number per data set");
                from.swap(last, below(u, last + 1));
            }
            for (&to, &from) in class.iter().zip(&from) {
                for (&i, &j) in self.members[to].iter().zip(&self.members[from]) {
                    order[i] = j;
                }
            }
        }
        order
    }

    /// Requires two data sets that can change places.
    ///
    /// # Errors
    /// [`Unfit::NoExchange`].
    pub fn exchangeable(&self) -> Result<(), Unfit> {
        if self.by_size().iter().any(|c| c.len() > 1) { Ok(()) } else { Err(Unfit::NoExchange) }
    }

    fn by_size(&self) -> Vec<Vec<usize>> {
        let mut classes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (group, members) in self.members.iter().enumerate() {
            classes.entry(members.len()).or_default().push(group);
        }
        classes.into_values().collect()
    }

    /// One fold per data set: (rows to fit on, rows held out).
    ///
    /// # Errors
    /// Fewer than three data sets.
    pub fn leave_one_out(&self) -> Result<Vec<Fold>, Unfit> {
        at_least("data sets", self.count(), 3)?;
        Ok((0..self.count()).map(|g| self.fold(|h| h == g)).collect())
    }

    /// `count` folds of whole data sets, dealt out in turn; fewer if there are fewer data sets.
    ///
    /// # Errors
    /// Fewer than three data sets.
    pub fn folds(&self, count: usize) -> Result<Vec<Fold>, Unfit> {
        at_least("data sets", self.count(), 3)?;
        let count = count.clamp(2, self.count());
        Ok((0..count).map(|f| self.fold(|h| h % count == f)).collect())
    }

    fn fold(&self, held: impl Fn(usize) -> bool) -> Fold {
        let (test, train) = (0..self.rows()).partition(|&i| held(self.of[i]));
        Fold { train, test }
    }
}

/// Rows to fit on and rows held out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Rows to fit on.
    pub train: Vec<usize>,
    /// Rows of the held-out data sets.
    pub test: Vec<usize>,
}

/// A whole number below `n` from a uniform one in [0, 1).
fn below(u: f64, n: usize) -> usize {
    ((u * n as f64) as usize).min(n - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Groups {
        Groups::new(["a", "b", "a", "c", "b", "c", "d"])
    }

    #[test]
    fn whole_data_sets_are_drawn() {
        let g = groups();
        let mut seen = vec![0; g.rows()];
        for i in 0..2000 {
            for row in g.resample(1, i) {
                seen[row] += 1;
            }
        }
        // Each data set is drawn 2000 times on average, its rows always together; five standard deviations of
        // √(8000 · 1/4 · 3/4) = 39.
        assert!(seen.iter().all(|n: &i32| (n - 2000).abs() < 195), "{seen:?}");
        assert!(seen[0] == seen[2] && seen[1] == seen[4] && seen[3] == seen[5]);
        assert_eq!(g.resample(1, 5), g.resample(1, 5));
        assert_ne!(g.resample(1, 5), g.resample(2, 5));
    }

    #[test]
    fn data_sets_of_one_size_change_places_evenly_and_the_others_stay() {
        let g = groups();
        let mut seen: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        for i in 0..6000 {
            *seen.entry(g.exchange(3, i)).or_default() += 1;
        }
        // Three data sets of two rows: 3! orders, each 1000 times; five deviations of √(6000 · 1/6 · 5/6) = 29.
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|&n| n.abs_diff(1000) < 145), "{seen:?}");
        assert!(seen.keys().all(|o| o[6] == 6));
        assert!(g.exchangeable().is_ok());
        assert_eq!(Groups::new(["a", "a", "b"]).exchangeable(), Err(Unfit::NoExchange));
    }

    #[test]
    fn folds_hold_out_whole_data_sets_once() {
        let g = groups();
        for folds in [g.leave_one_out().unwrap(), g.folds(2).unwrap(), g.folds(100).unwrap()] {
            let mut held: Vec<usize> = folds.iter().flat_map(|f| f.test.clone()).collect();
            held.sort();
            assert_eq!(held, (0..7).collect::<Vec<_>>());
            for f in folds {
                assert!(f.train.iter().all(|&i| f.test.iter().all(|&j| g.of()[i] != g.of()[j])));
                assert_eq!(f.train.len() + f.test.len(), 7);
            }
        }
        assert!(Groups::new(["a", "b"]).leave_one_out().is_err());
    }
}
