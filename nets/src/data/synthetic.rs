//! Data made by a formula and a seed: controls whose structure is known.
//!
//! | file | content |
//! |---|---|
//! | this one | names, parameters with their ranges, the way to a [`Dataset`] |
//! | `generators` | the formulas |
//! | `random` | the stream of random numbers |
//!
//! What a parameter is if nothing is said stands in the manifest (`data/datasets.toml`), beside the reference scores.

mod generators;
mod random;

use std::collections::BTreeMap;

use self::generators::{GENERATORS, Rows};
use super::builtin::Info;
use super::dataset::{Dataset, MAX_VALUES, Targets};
use super::error::DataError;
use crate::options::nearest;

/// What a parameter may be.
enum Range {
    /// A whole number between these.
    Whole(u64, u64),
    /// Any number between these.
    Number(f64, f64),
}

/// Largest number that a parameter without a natural end may be.
const LARGE: f64 = 1e6;

/// Every parameter of the generators, by name.
const RANGES: &[(&str, Range)] = &[
    ("n", Range::Whole(4, 1_000_000)),
    ("d", Range::Whole(1, 10_000)),
    ("k", Range::Whole(1, 1000)),
    ("m", Range::Whole(1, 1000)),
    ("hidden", Range::Whole(1, 10_000)),
    ("informative", Range::Whole(1, 16)),
    ("redundant", Range::Whole(0, 1000)),
    ("classes", Range::Whole(2, 1000)),
    ("clusters", Range::Whole(1, 1000)),
    ("sigma", Range::Number(0.0, LARGE)),
    ("factor", Range::Number(0.0, 1.0)),
    ("turns", Range::Number(0.0, 1000.0)),
    ("box", Range::Number(0.0, LARGE)),
    ("sep", Range::Number(0.0, LARGE)),
    ("flip", Range::Number(0.0, 1.0)),
    // Beyond 2⁵³ not every whole number is an f64.
    ("seed", Range::Whole(0, 1 << 53)),
];

/// The parameters of one generator, all of them, in range.
pub struct Arguments<'a> {
    name: &'a str,
    values: BTreeMap<&'a str, f64>,
}

impl<'a> Arguments<'a> {
    fn new(info: &'a Info, given: &BTreeMap<String, f64>) -> Result<Self, DataError> {
        let mut values: BTreeMap<&str, f64> = info.parameters.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let refuse = |problem, hint| Err(DataError::format(&format!("parameters of {}", info.name), problem, hint));
        for (key, &value) in given {
            let Some(slot) = values.get_mut(key.as_str()) else {
                let known: Vec<&str> = values.keys().copied().collect();
                let hint = match nearest(key, known.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("there are {}", known.join(", ")),
                };
                return refuse(format!("there is no parameter {key:?}"), hint);
            };
            let range = RANGES.iter().find(|(name, _)| name == key).map(|(_, range)| range);
            let (fits, must) = match range {
                Some(&Range::Whole(a, b)) => (
                    value.fract() == 0.0 && (a as f64..=b as f64).contains(&value),
                    format!("a whole number from {a} to {b}"),
                ),
                Some(&Range::Number(a, b)) => ((a..=b).contains(&value), format!("a number from {a} to {b}")),
                None => (false, "left out".to_owned()),
            };
            if !fits {
                return refuse(format!("{key} = {value} is out of range"), format!("it must be {must}"));
            }
            *slot = value;
        }
        Ok(Self { name: &info.name, values })
    }

    /// A parameter that is any number.
    fn number(&self, key: &str) -> f64 {
        self.values[key]
    }

    /// A parameter that is a whole number.
    fn count(&self, key: &str) -> usize {
        self.values[key] as usize
    }

    /// Refuses parameters that don't go together.
    fn require(&self, fits: bool, must: &str) -> Result<(), DataError> {
        if fits {
            return Ok(());
        }
        let problem = format!("the parameters don't go together: {must} is needed");
        Err(DataError::format(&format!("parameters of {}", self.name), problem, "change one of them"))
    }
}

/// Makes the data set of a generator, with the parameters given and the manifest's for the others. Cost: one pass over the
/// values, and for the teachers one of the network per row.
///
/// # Errors
/// A parameter that the generator does not have or that is out of its range; parameters that don't go together; more values
/// than [`MAX_VALUES`].
pub fn generate(info: &Info, given: &BTreeMap<String, f64>) -> Result<Dataset, DataError> {
    let arguments = Arguments::new(info, given)?;
    let (n, d) = (
        info.parameter("n").map_or(1, |_| arguments.count("n")),
        info.parameter("d").map_or(21, |_| arguments.count("d")),
    );
    arguments.require(n.saturating_mul(d) <= MAX_VALUES, &format!("n times d of at most {MAX_VALUES}"))?;
    let (_, make) =
        GENERATORS.iter().find(|(name, _)| *name == info.name || Some(*name) == info.alias.as_deref()).ok_or_else(
            || DataError::format(&info.name, "there is no such generator", "this build is wrong: report it as a bug"),
        )?;
    let Rows { x, y } = make(&arguments)?;
    let rows = x.len();
    let features = x.first().map_or(0, Vec::len);
    let names = |count: usize, letter: &str| (0..count).map(|i| format!("{letter}{i}")).collect::<Vec<_>>();
    let targets = match info.task {
        super::Task::Classification => {
            let classes = y.iter().fold(1.0f64, |most, &c| most.max(c)) as usize + 1;
            Targets::Classes {
                labels: y.iter().map(|&c| c as u32).collect(),
                names: (0..classes).map(|c| c.to_string()).collect(),
            }
        }
        super::Task::Regression => Targets::Values { values: y, outputs: 1, names: vec!["target".to_owned()] },
    };
    let set = Dataset {
        name: info.name.clone(),
        x: x.into_iter().flatten().collect(),
        rows,
        features,
        feature_names: names(features, "x"),
        input_shape: vec![features],
        targets,
        test_start: None,
        max_value: None,
        vocabulary: None,
        weights: None,
    };
    set.validate()?;
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::super::builtin;
    use super::*;
    use serde_json::Value;

    /// Rows, means and counts of the reference program, `synthetic.py` in the package of the data sets: SplitMix64 with seed 0,
    /// 12 digits per value and 9 per mean.
    const GOLDEN: &str = include_str!("fixtures/synthetic.json");

    fn make(name: &str, given: &[(&str, f64)]) -> Result<Dataset, DataError> {
        let given = given.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        generate(builtin::info(name).unwrap(), &given)
    }

    /// Equal to so many digits; the largest value of a sum that cancels is at most about 10 here.
    fn close(found: f64, want: f64, digits: i32) -> bool {
        (found - want).abs() <= 10f64.powi(-digits) * want.abs().max(1.0)
    }

    #[test]
    fn every_generator_makes_the_rows_of_the_reference() {
        let golden: Vec<Value> = serde_json::from_str(GOLDEN).unwrap();
        assert_eq!(golden.len(), GENERATORS.len());
        for entry in &golden {
            let name = entry["name"].as_str().unwrap();
            let set = make(name, &[]).unwrap();
            let info = builtin::info(name).unwrap();
            for (key, value) in entry["parameters"].as_object().unwrap() {
                assert_eq!(info.parameter(key), value.as_f64(), "{name} {key}");
            }
            assert_eq!(set.rows as u64, entry["rows"].as_u64().unwrap(), "{name}");
            assert_eq!(set.features as u64, entry["features"].as_u64().unwrap(), "{name}");
            let target = |row: usize| match &set.targets {
                Targets::Values { values, .. } => values[row],
                other => f64::from(other.labels().unwrap()[row]),
            };
            let first = entry["first_rows"].as_array().unwrap();
            for (row, want) in [(0, &first[0]), (1, &first[1]), (set.rows - 1, &entry["last_row"])] {
                let want: Vec<f64> = want.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
                let found = [set.row(row), &[target(row)]].concat();
                assert_eq!(found.len(), want.len(), "{name}");
                for (f, w) in found.iter().zip(&want) {
                    assert!(close(*f, *w, 11), "{name}, row {row}: {found:?}, not {want:?}");
                }
            }
            for (j, want) in entry["column_means"].as_array().unwrap().iter().enumerate() {
                let mean = (0..set.rows).map(|i| set.row(i)[j]).sum::<f64>() / set.rows as f64;
                assert!(close(mean, want.as_f64().unwrap(), 7), "{name}, column {j}: {mean}");
            }
            match &set.targets {
                Targets::Values { values, .. } => {
                    let mean = values.iter().sum::<f64>() / values.len() as f64;
                    assert!(close(mean, entry["target_mean"].as_f64().unwrap(), 7), "{name}: {mean}");
                }
                _ => {
                    let want: Vec<u64> =
                        entry["class_counts"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
                    let found: Vec<u64> = set.class_counts().iter().map(|&c| c as u64).collect();
                    assert_eq!(found, want, "{name}");
                }
            }
        }
    }

    #[test]
    fn parameters_change_the_data_and_the_seed_the_numbers() {
        let set = make("xor", &[("n", 50.0), ("d", 5.0)]).unwrap();
        assert_eq!((set.rows, set.features), (50, 5));
        let other = make("xor", &[("n", 50.0), ("d", 5.0), ("seed", 1.0)]).unwrap();
        assert_ne!(set.x, other.x);
        assert_eq!(make("xor", &[("n", 50.0), ("d", 5.0)]).unwrap(), set);
        // With certainty every label is the other one.
        let noisy = make("xor", &[("flip", 1.0)]).unwrap();
        let wrong = (0..noisy.rows)
            .filter(|&i| (noisy.row(i)[0] * noisy.row(i)[1] < 0.0) != (noisy.targets.labels().unwrap()[i] == 1));
        assert_eq!(wrong.count(), noisy.rows);
    }

    #[test]
    fn a_noiseless_teacher_is_a_network_that_can_be_matched() {
        let set = make("teacher-regression", &[("n", 20.0), ("hidden", 1.0), ("d", 1.0)]).unwrap();
        // One tanh of one number: monotone in x, so that the order of the targets is that of the inputs or its reverse.
        let mut rows: Vec<(f64, f64)> =
            set.x.iter().copied().zip(set.targets.values().unwrap().iter().copied()).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let up = rows.windows(2).all(|w| w[0].1 <= w[1].1);
        let down = rows.windows(2).all(|w| w[0].1 >= w[1].1);
        assert!(up || down, "{rows:?}");
    }

    #[test]
    fn wrong_parameters_are_refused_with_what_they_may_be() {
        for (name, given, problem) in [
            ("two-moons", ("sgima", 0.1), "did you mean \"sigma\"?"),
            ("two-moons", ("flip", 0.1), "there are n, seed, sigma"),
            ("two-moons", ("n", 10.5), "a whole number from 4"),
            ("two-moons", ("sigma", f64::NAN), "a number from 0"),
            ("two-moons", ("sigma", -1.0), "a number from 0"),
            ("xor", ("d", 1.0), "d of at least 2"),
            ("parity", ("k", 11.0), "k of at most d"),
            ("friedman1", ("d", 4.0), "d of at least 5"),
            ("hypercube", ("clusters", 17.0), "vertices"),
            ("hypercube", ("d", 6.0), "informative + redundant"),
            ("spirals", ("k", 1000.0), "2 points"),
        ] {
            let mut given = vec![given];
            if name == "spirals" {
                given.push(("n", 1500.0));
            }
            let text = make(name, &given).unwrap_err().to_string();
            assert!(text.contains(problem) && text.starts_with(&format!("parameters of {name}")), "{text}");
        }
        let text = make("gauss_random_labels", &[("n", 1e6), ("d", 1e4)]).unwrap_err().to_string();
        assert!(text.contains("n times d"), "{text}");
    }
}
