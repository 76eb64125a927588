//! Negative controls: inputs that can't say anything, through the same functions as the real ones.
//!
//! Random features take the place of the measured ones; permuted outcomes take the place of the observed ones. Whatever a
//! method finds in them is what it finds in nothing.

use eigenlens_linalg::probes::gaussian;

use super::Groups;
use super::table::{Table, take};

/// A table of the same shape, with the same names, of standard normal numbers: half of the variance between data sets, half
/// within, so that rows of a data set are alike as they are in a study.
pub fn random_features(like: &Table, groups: &Groups, seed: u64) -> Table {
    let half = 0.5f64.sqrt();
    let column = |j: usize| {
        let (mut between, mut within) = (vec![0.0; groups.count()], vec![0.0; groups.rows()]);
        gaussian(seed, 2 * j as u64, &mut between);
        gaussian(seed, 2 * j as u64 + 1, &mut within);
        within.iter().zip(groups.of()).map(|(w, &g)| half * (w + between[g])).collect()
    };
    let columns: Vec<Vec<f64>> = (0..like.width()).map(column).collect();
    Table::new(like.names().iter().cloned().zip(columns)).expect("columns of the same length")
}

/// The outcome with whole data sets exchanged: draw `index` of `seed`.
pub fn permuted_outcome(y: &[f64], groups: &Groups, seed: u64, index: u64) -> Vec<f64> {
    take(y, &groups.exchange(seed, index))
}
