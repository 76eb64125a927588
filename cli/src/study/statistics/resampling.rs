//! Intervals and p-values that take the data set as the unit: bootstrap and permutation.
//!
//! Replicate i depends on (seed, i) alone and replicates are gathered in order, so that the bits are the same for any
//! number of threads.

use rayon::prelude::*;

use super::{Groups, Unfit, at_least};

/// Two numbers closer than this, relatively, count as equal when a permuted statistic is compared with the observed one:
/// the order of a sum may differ.
const TIE: f64 = 1e-12;

/// A number with the interval from resampled data sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The statistic of all rows.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Replicates in which the statistic exists.
    pub replicates: usize,
    /// Replicates in which it does not (a column was constant there, say).
    pub undefined: usize,
}

/// The percentile interval of a statistic over resampled data sets.
///
/// `statistic` gets the rows of a replicate; those of a data set drawn twice occur twice.
///
/// Cost: `count` evaluations, on all threads.
///
/// # Errors
/// Fewer than five data sets; a statistic that doesn't exist for all rows, or for more than half of the replicates.
/// # Panics
/// If the level is not strictly between 0 and 1.
/// # Sources
/// Efron & Tibshirani, *An Introduction to the Bootstrap*, ch. 13; Davison & Hinkley §3.8 on resampling clusters whole.
pub fn bootstrap(
    groups: &Groups,
    seed: u64,
    count: usize,
    level: f64,
    statistic: impl Fn(&[usize]) -> Result<f64, Unfit> + Sync,
) -> Result<Interval, Unfit> {
    assert!(level > 0.0 && level < 1.0, "a level of {level}");
    at_least("data sets", groups.count(), 5)?;
    let all: Vec<usize> = (0..groups.rows()).collect();
    let estimate = statistic(&all)?;
    let drawn: Vec<Option<f64>> = (0..count as u64)
        .into_par_iter()
        .map(|i| statistic(&groups.resample(seed, i)).ok().filter(|x| x.is_finite()))
        .collect();
    let mut values: Vec<f64> = drawn.into_iter().flatten().collect();
    at_least("bootstrap replicates in which the statistic exists", values.len(), (count / 2).max(1))?;
    values.sort_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - level);
    Ok(Interval {
        estimate,
        low: quantile(&values, tail),
        high: quantile(&values, 1.0 - tail),
        replicates: values.len(),
        undefined: count - values.len(),
    })
}

/// The quantile of sorted values, linear between neighbours.
///
/// # Panics
/// If there are none.
/// # Sources
/// Hyndman & Fan (1996), definition 7.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let low = at.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (at - low as f64) * (sorted[high] - sorted[low])
}

/// What a permutation test found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Permutation {
    /// The observed statistic.
    pub observed: f64,
    /// (1 + number of permutations with a statistic at least as large) / (1 + permutations): never 0.
    pub p: f64,
    /// Permutations drawn.
    pub count: usize,
}

/// The p-value of a statistic whose large values speak against the null hypothesis, from outcomes that change places by
/// whole data set ([`Groups::exchange`]).
///
/// `statistic` gets an order: the outcome of row `order[i]` goes to row i. For two-sided tests give it an absolute value.
///
/// Cost: `count` + 1 evaluations, on all threads.
///
/// # Errors
/// No two data sets of the same size; a statistic that doesn't exist.
/// # Sources
/// Phipson & Smyth (2010) on p = (1 + b)/(1 + m).
pub fn permutation(
    groups: &Groups,
    seed: u64,
    count: usize,
    statistic: impl Fn(&[usize]) -> Result<f64, Unfit> + Sync,
) -> Result<Permutation, Unfit> {
    groups.exchangeable()?;
    let all: Vec<usize> = (0..groups.rows()).collect();
    let observed = statistic(&all)?;
    let permuted: Vec<f64> =
        (0..count as u64).into_par_iter().map(|i| statistic(&groups.exchange(seed, i))).collect::<Result<_, _>>()?;
    Ok(Permutation { observed, p: p_value(observed, &permuted), count })
}

/// (1 + number of values at least as large as `observed`) / (1 + number of values).
pub fn p_value(observed: f64, permuted: &[f64]) -> f64 {
    let as_large = permuted.iter().filter(|&&x| x >= observed - TIE * observed.abs()).count();
    (1 + as_large) as f64 / (1 + permuted.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use eigenlens_linalg::probes::Distribution;

    #[test]
    fn quantiles_by_hand() {
        let x = [1.0, 2.0, 4.0, 8.0];
        assert_eq!([0.0, 0.5, 0.25, 1.0].map(|q| quantile(&x, q)), [1.0, 3.0, 1.75, 8.0]);
        assert_eq!(quantile(&[7.0], 0.3), 7.0);
    }

    /// Rows of a data set that are copies carry no more information than one: the interval of the mean must be that of the
    /// data sets. Resampling rows would give one that is √5 times too narrow.
    #[test]
    fn copies_of_a_row_do_not_narrow_the_interval() {
        let (sets, copies) = (40, 5);
        let base = Distribution::Gaussian.probe(3, 0, sets);
        let rows: Vec<f64> = base.iter().flat_map(|x| vec![*x; copies]).collect();
        let groups = Groups::new((0..sets * copies).map(|i| (i / copies).to_string()));
        let mean = |rows: &[f64], index: &[usize]| Ok(index.iter().map(|&i| rows[i]).sum::<f64>() / index.len() as f64);
        let found = bootstrap(&groups, 1, 2000, 0.95, |index| mean(&rows, index)).unwrap();
        let deviation = (base.iter().map(|x| (x - found.estimate).powi(2)).sum::<f64>() / sets as f64).sqrt();
        let half = 1.96 * deviation / (sets as f64).sqrt();
        let width = found.high - found.low;
        assert!((width / (2.0 * half) - 1.0).abs() < 0.1, "{width} {}", 2.0 * half);
        let single = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bootstrap(&groups, 1, 200, 0.9, |index| mean(&rows, index)).unwrap())
        };
        assert_eq!(single(1), single(3));
    }

    #[test]
    fn undefined_replicates_are_counted_and_too_many_are_an_error() {
        let groups = Groups::new((0..6).map(|i| i.to_string()));
        let some = |index: &[usize]| {
            if index.contains(&0) { Ok(1.0) } else { super::super::at_least("rows", 0, 1).map(|()| 0.0) }
        };
        let found = bootstrap(&groups, 1, 1000, 0.9, some).unwrap();
        // A data set is missing with probability (5/6)^6 = 0.335.
        assert!(found.undefined.abs_diff(335) < 75 && found.replicates + found.undefined == 1000, "{found:?}");
        assert!(bootstrap(&Groups::new(["a", "b"]), 1, 10, 0.9, some).is_err());
    }

    #[test]
    fn a_p_value_is_never_zero_and_ties_count() {
        assert_eq!(p_value(1.0, &[0.5; 9]), 0.1);
        assert_eq!(p_value(1.0, &[1.0 - 1e-15; 9]), 1.0);
    }
}
