//! Training, validation and test parts: shuffled by a seed, stratified by class, never overlapping.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::dataset::Dataset;
use super::error::DataError;

/// How much of the rows goes where; the rest is for training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fractions {
    /// Share of all rows for validation (early stopping); 0 for none.
    pub validation: f64,
    /// Share of all rows for testing; 0 for none. Not used where the source fixes its test part.
    pub test: f64,
}

impl Default for Fractions {
    /// 70 % training, 10 % validation, 20 % test.
    fn default() -> Self {
        Self { validation: 0.1, test: 0.2 }
    }
}

/// Row indices of the three parts: disjoint, each in shuffled order, together all rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Rows to train on.
    pub train: Vec<usize>,
    /// Rows to decide on (early stopping); empty if the fraction was 0.
    pub validation: Vec<usize>,
    /// Rows to report on; empty if the fraction was 0 and the source fixes no test part.
    pub test: Vec<usize>,
}

/// Divides the rows of a data set.
///
/// Where the source fixes a test part (`test_start`), exactly those rows are the test part and only the others are
/// divided. Otherwise all rows are. For classification the rows of each class are divided in the same proportions, to
/// within one row, and each class keeps at least one row in the training part. The same data set, fractions and seed
/// give the same split on every machine: the generator is ChaCha8 with one stream per class, so a class does not depend
/// on the others.
///
/// # Errors
/// A fraction that is negative, NaN or leaves nothing for training; a part that was asked for and would be empty.
pub fn split(data: &Dataset, fractions: Fractions, seed: u64) -> Result<Split, DataError> {
    let fail = |problem: String, hint| DataError::Split { name: data.name.clone(), problem, hint };
    let Fractions { validation, test } = fractions;
    let fixed = data.test_start.is_some();
    let share_of_test = if fixed { 0.0 } else { test };
    // Written so that NaN fails too.
    let proper = |f: f64| (0.0..1.0).contains(&f);
    if !(proper(validation) && proper(test) && validation + share_of_test < 1.0) {
        let problem = format!("fractions {validation} for validation and {test} for testing");
        return Err(fail(problem, "both must be at least 0 and together below 1"));
    }
    let pool: Vec<usize> = data.train_part().collect();
    // The validation share is of all rows, but the pool lacks a fixed test part.
    let scale = data.rows as f64 / pool.len() as f64;
    let validation_share = validation * scale;
    if validation_share >= 1.0 {
        let problem = format!("validation fraction {validation} takes all rows outside the fixed test part");
        return Err(fail(problem, "take a smaller validation fraction"));
    }
    let mut parts = Split { train: Vec::new(), validation: Vec::new(), test: data.test_part().collect() };
    let (mut seen, mut tested, mut validated) = (0usize, 0usize, 0usize);
    for (stratum, mut rows) in strata(data, &pool).into_iter().enumerate() {
        shuffle(&mut rows, &mut stream(seed, stratum as u64));
        // Shares are rounded on the running total: the parts get their exact size, each class its share to one row.
        seen += rows.len();
        let spare = rows.len().saturating_sub(1);
        let test_rows = rounded_share(seen, share_of_test).saturating_sub(tested).min(spare);
        let validation_rows = rounded_share(seen, validation_share).saturating_sub(validated).min(spare - test_rows);
        tested += test_rows;
        validated += validation_rows;
        let train = rows.split_off(test_rows + validation_rows);
        let held = rows.split_off(test_rows);
        parts.test.extend(rows);
        parts.validation.extend(held);
        parts.train.extend(train);
    }
    for (name, part, wanted) in [
        ("training", &parts.train, true),
        ("validation", &parts.validation, validation > 0.0),
        ("test", &parts.test, test > 0.0 || fixed),
    ] {
        if wanted && part.is_empty() {
            let problem = format!("the {name} part would be empty with {} rows", data.rows);
            return Err(fail(problem, "take larger fractions, or 0 for no such part, or more rows"));
        }
    }
    // Rows were gathered class by class: mix them, so that batches taken in order are mixed too.
    for (i, part) in [&mut parts.train, &mut parts.validation, &mut parts.test].into_iter().enumerate() {
        shuffle(part, &mut stream(seed, u64::MAX - i as u64));
    }
    Ok(parts)
}

/// `count` of the given rows, stratified like [`split`] and in shuffled order; all of them (shuffled) if there are no more.
///
/// # Panics
/// If an index is not below the number of rows.
#[track_caller]
pub fn subsample(data: &Dataset, rows: &[usize], count: usize, seed: u64) -> Vec<usize> {
    let share = if rows.is_empty() { 0.0 } else { count.min(rows.len()) as f64 / rows.len() as f64 };
    let (mut seen, mut taken) = (0, Vec::new());
    for (stratum, mut rows) in strata(data, rows).into_iter().enumerate() {
        shuffle(&mut rows, &mut stream(seed, stratum as u64));
        seen += rows.len();
        let n = rounded_share(seen, share).saturating_sub(taken.len()).min(rows.len());
        taken.extend_from_slice(&rows[..n]);
    }
    shuffle(&mut taken, &mut stream(seed, u64::MAX));
    taken
}

/// A uniformly random order (Fisher and Yates; Durstenfeld 1964), fixed by the generator's state.
pub fn shuffle(rows: &mut [usize], random: &mut ChaCha8Rng) {
    for i in (1..rows.len()).rev() {
        // The high half of a 64 × 64 bit product: uniform on 0..=i to within 2⁻⁶⁴ (i + 1).
        let j = ((u128::from(random.next_u64()) * (i as u128 + 1)) >> 64) as usize;
        rows.swap(i, j);
    }
}

/// The generator of one stream of a seed; streams are independent of each other and of the order of use.
pub fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number);
    random
}

fn rounded_share(rows: usize, share: f64) -> usize {
    (rows as f64 * share).round() as usize
}

/// The rows of each class, or all rows together for regression.
fn strata(data: &Dataset, rows: &[usize]) -> Vec<Vec<usize>> {
    let Some(labels) = data.targets.labels() else {
        return vec![rows.to_vec()];
    };
    let mut strata = vec![Vec::new(); data.outputs()];
    for &r in rows {
        strata[labels[r] as usize].push(r);
    }
    strata
}

#[cfg(test)]
mod tests {
    use super::super::dataset::tests::{classes, values};
    use super::*;
    use proptest::prelude::*;

    use crate::testing::config;

    fn assert_partition(split: &Split, rows: usize) {
        let mut all: Vec<usize> = [&split.train[..], &split.validation, &split.test].concat();
        all.sort_unstable();
        assert_eq!(all, (0..rows).collect::<Vec<_>>());
    }

    #[test]
    fn parts_have_their_exact_size_and_every_class_its_share() {
        let set = classes(300, 2, 3);
        let parts = split(&set, Fractions { validation: 0.1, test: 0.2 }, 7).unwrap();
        assert_partition(&parts, 300);
        assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (210, 30, 60));
        assert_eq!(set.subset(&parts.train).class_counts(), [70, 70, 70]);
        assert_eq!(set.subset(&parts.test).class_counts(), [20, 20, 20]);
    }

    #[test]
    fn seed_fixes_the_split_and_another_seed_changes_it() {
        let set = classes(60, 2, 3);
        let f = Fractions::default();
        assert_eq!(split(&set, f, 1).unwrap(), split(&set, f, 1).unwrap());
        assert_ne!(split(&set, f, 1).unwrap().test, split(&set, f, 2).unwrap().test);
    }

    #[test]
    fn split_is_the_same_on_every_machine_and_version() {
        // A golden case: if this changes, results of the same configuration change.
        let parts = split(&values(10, 1), Fractions { validation: 0.2, test: 0.3 }, 0).unwrap();
        assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (5, 2, 3));
        assert_eq!([&parts.train[..], &parts.validation, &parts.test].concat(), GOLDEN);
    }

    const GOLDEN: [usize; 10] = [5, 0, 7, 4, 9, 2, 3, 8, 6, 1];

    #[test]
    fn fixed_test_part_is_the_test_part() {
        let set = Dataset { test_start: Some(80), ..classes(100, 2, 2) };
        let parts = split(&set, Fractions { validation: 0.1, test: 0.5 }, 3).unwrap();
        assert_partition(&parts, 100);
        let mut test = parts.test.clone();
        test.sort_unstable();
        assert_eq!(test, (80..100).collect::<Vec<_>>());
        assert_eq!(parts.validation.len(), 10, "a tenth of all rows");
    }

    #[test]
    fn a_part_that_would_be_empty_is_an_error() {
        let few = classes(6, 2, 2);
        let text = split(&few, Fractions { validation: 0.01, test: 0.2 }, 0).unwrap_err().to_string();
        assert!(text.contains("validation part would be empty"), "{text}");
        let text = split(&classes(2, 2, 2), Fractions { validation: 0.0, test: 0.5 }, 0).unwrap_err().to_string();
        assert!(text.contains("test part would be empty"), "{text}");
        let none = split(&few, Fractions { validation: 0.0, test: 0.0 }, 0).unwrap();
        assert_eq!((none.train.len(), none.validation.len(), none.test.len()), (6, 0, 0), "0 asks for no part");
    }

    #[test]
    fn senseless_fractions_are_errors() {
        let set = classes(20, 2, 2);
        for (validation, test) in [(-0.1, 0.2), (0.5, 0.5), (f64::NAN, 0.1), (0.1, f64::NAN), (1.0, 0.0), (0.0, 1.5)] {
            assert!(split(&set, Fractions { validation, test }, 0).is_err(), "{validation} {test}");
        }
        let fixed = Dataset { test_start: Some(5), ..classes(20, 2, 2) };
        let text = split(&fixed, Fractions { validation: 0.5, test: 0.0 }, 0).unwrap_err().to_string();
        assert!(text.contains("outside the fixed test part"), "{text}");
    }

    #[test]
    fn a_class_of_one_row_stays_in_training() {
        let mut set = classes(21, 2, 2);
        if let super::super::Targets::Classes { labels, names } = &mut set.targets {
            names.push("rare".into());
            labels[20] = 2;
        }
        for seed in 0..20 {
            let parts = split(&set, Fractions { validation: 0.2, test: 0.4 }, seed).unwrap();
            assert!(parts.train.contains(&20));
        }
    }

    #[test]
    fn training_rows_come_mixed() {
        let parts = split(&classes(100, 1, 2), Fractions::default(), 5).unwrap();
        let changes = parts.train.windows(2).filter(|w| w[0] % 2 != w[1] % 2).count();
        assert!(changes > 15, "classes alternate, not in blocks: {changes}");
    }

    #[test]
    fn subsample_is_stratified_and_of_the_size_asked() {
        let set = classes(300, 1, 3);
        let all: Vec<usize> = (0..300).collect();
        let part = subsample(&set, &all, 30, 1);
        assert_eq!(set.subset(&part).class_counts(), [10, 10, 10]);
        assert_eq!(subsample(&set, &all, 1000, 1).len(), 300);
        assert!(subsample(&set, &[], 10, 1).is_empty());
    }

    #[test]
    fn shuffle_is_uniform() {
        // χ² of 6 orders over 6000 shuffles, 5 degrees of freedom: above 20.5 with probability 0.001; seed fixed.
        let mut counts = std::collections::HashMap::new();
        let mut random = stream(11, 0);
        for _ in 0..6000 {
            let mut rows = vec![0, 1, 2];
            shuffle(&mut rows, &mut random);
            *counts.entry(rows).or_insert(0) += 1;
        }
        let chi2: f64 = counts.values().map(|&c| f64::from(c - 1000i32).powi(2) / 1000.0).sum();
        assert!(counts.len() == 6 && chi2 < 20.5, "{chi2}");
    }

    proptest! {
        #![proptest_config(config(64))]
        #[test]
        fn any_split_is_a_partition(n in 2usize..80, k in 2usize..5, v in 0.0..0.6, t in 0.0..0.6, seed: u64, fixed: bool) {
            let mut set = classes(n, 1, k);
            set.test_start = (fixed && n > 4).then_some(n / 2);
            if let Ok(parts) = split(&set, Fractions { validation: v, test: t }, seed) {
                assert_partition(&parts, n);
                prop_assert!(!parts.train.is_empty());
            }
        }
    }
}
