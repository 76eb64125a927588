//! How spectra differ between the networks of a data set, and how they go over training.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cases::Case;
use super::features::{Feature, Place, QUANTITIES, Quantity, When};
use super::questions::{Effort, Estimated, median};
use crate::study::statistics::{Groups, Unfit};

/// Quantities whose course is kept.
const COURSES: [&str; 6] =
    ["lambda_max", "mean_curvature", "rank_effective", "gini", "negative_mass", "trace_over_lambda_max"];

/// A quantity of one layer over the snapshots, for one capacity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Key of the quantity.
    pub quantity: String,
    /// In words, as it is transformed.
    pub title: String,
    /// `first` or `last`.
    pub layer: String,
    /// The capacity.
    pub capacity: String,
    /// (snapshot, median over data sets).
    pub points: Vec<(usize, Estimated)>,
}

/// The courses of the first and the last layer. A point that fewer than five data sets have is left out.
pub fn courses(cases: &[Case], effort: Effort) -> Vec<Course> {
    let mut out = Vec::new();
    for quantity in QUANTITIES.iter().filter(|q| COURSES.contains(&q.key)) {
        for place in [Place::First, Place::Last] {
            for capacity in capacities(cases) {
                let course = course(cases, quantity, place, &capacity, effort);
                if !course.points.is_empty() {
                    out.push(course);
                }
            }
        }
    }
    out
}

fn course(cases: &[Case], quantity: &Quantity, place: Place, capacity: &str, effort: Effort) -> Course {
    let own: Vec<&Case> = cases.iter().filter(|c| c.experiment.capacity == capacity).collect();
    let snapshots = own.iter().map(|c| c.profile.moments.len()).max().unwrap_or(0);
    let point = |snapshot: usize| {
        let known: Vec<(&str, f64)> = own
            .iter()
            .filter_map(|c| {
                let value = c.profile.moments.get(snapshot)?.feature(quantity, place)?;
                Some((c.experiment.dataset.as_str(), value))
            })
            .collect();
        let values: Vec<f64> = known.iter().map(|k| k.1).collect();
        Some((snapshot, median(&values, &Groups::new(known.iter().map(|k| k.0)), effort).ok()?))
    };
    Course {
        quantity: quantity.key.to_owned(),
        title: quantity.symbol.to_owned(),
        layer: place.name().to_owned(),
        capacity: capacity.to_owned(),
        points: (0..snapshots).filter_map(point).collect(),
    }
}

/// The capacities in the order in which they first occur.
pub fn capacities(cases: &[Case]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for case in cases {
        if !out.contains(&case.experiment.capacity) {
            out.push(case.experiment.capacity.clone());
        }
    }
    out
}

/// A feature of the largest network of a data set less that of its smallest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// Name of the feature.
    pub feature: String,
    /// Data sets.
    pub datasets: usize,
    /// Those in which the larger network has the larger value.
    pub larger: usize,
    /// Median of the differences.
    pub difference: Estimated,
}

/// The contrasts of all features at the end of training.
///
/// # Errors
/// Fewer than five data sets with both networks, for all features.
pub fn contrasts(cases: &[Case], effort: Effort) -> Result<Vec<Contrast>, Unfit> {
    let mut sets: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    cases.iter().for_each(|c| sets.entry(&c.experiment.dataset).or_default().push(c));
    let mut out = Vec::new();
    let mut problem = None;
    for feature in Feature::all(When::End) {
        let difference = |own: &Vec<&Case>| {
            let known: Vec<(usize, f64)> =
                own.iter().filter_map(|c| Some((c.experiment.parameters, c.profile.feature(feature)?))).collect();
            let (small, large) = (known.iter().min_by_key(|k| k.0)?, known.iter().max_by_key(|k| k.0)?);
            (large.0 > small.0).then_some(large.1 - small.1)
        };
        let (names, values): (Vec<&str>, Vec<f64>) =
            sets.iter().filter_map(|(name, own)| Some((*name, difference(own)?))).unzip();
        match median(&values, &Groups::new(&names), effort) {
            Ok(difference) => out.push(Contrast {
                feature: feature.to_string(),
                datasets: values.len(),
                larger: values.iter().filter(|x| **x > 0.0).count(),
                difference,
            }),
            Err(e) => problem = Some(e),
        }
    }
    match problem {
        Some(e) if out.is_empty() => Err(e),
        _ => Ok(out),
    }
}
