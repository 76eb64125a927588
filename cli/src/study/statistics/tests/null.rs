//! Negative controls come out null at the stated rate, and what ignores the data sets does not.

use eigenlens_linalg::probes::gaussian;

use super::super::controls::{permuted_outcome, random_features};
use super::super::correlation::spearman;
use super::super::resampling::permutation;
use super::super::{Groups, Table, cca, mixed, ridge};

/// Repetitions with their own seeds.
const REPETITIONS: u64 = 200;
/// Permutations in each: 1/200 is the least p, and P(p ≤ 0.05) is exactly 0.05 under the null hypothesis.
const PERMUTATIONS: usize = 199;

/// 24 data sets of three rows.
fn groups() -> Groups {
    Groups::new((0..72).map(|i| (i / 3).to_string()))
}

/// An outcome that is nearly the same within a data set.
fn clustered(groups: &Groups, seed: u64) -> Vec<f64> {
    let (mut between, mut within) = (vec![0.0; groups.count()], vec![0.0; groups.rows()]);
    gaussian(seed, 1000, &mut between);
    gaussian(seed, 1001, &mut within);
    within.iter().zip(groups.of()).map(|(w, &g)| between[g] + 0.3 * w).collect()
}

/// Whether `found` of the repetitions is compatible with a rate of 5 %: within three standard errors, √(200 · 0.05 · 0.95).
fn at_five_percent(found: usize) -> bool {
    let n = REPETITIONS as f64;
    (found as f64 - 0.05 * n).abs() <= 3.0 * (n * 0.05 * 0.95).sqrt()
}

fn template(columns: usize) -> Table {
    Table::new((0..columns).map(|j| (format!("x{j}"), vec![0.0; 72]))).unwrap()
}

#[test]
fn correlations_of_random_features_are_significant_at_the_stated_rate() {
    let groups = groups();
    let (mut permuted, mut naive) = (0, 0);
    for seed in 0..REPETITIONS {
        let x = random_features(&template(1), &groups, seed);
        let y = clustered(&groups, seed);
        let x = ("x", x.columns()[0].as_slice());
        let of = |y: &[f64]| spearman(x, ("y", y)).map(|c| c.r.abs());
        let p = permutation(&groups, seed, PERMUTATIONS, |order| of(&order.iter().map(|&i| y[i]).collect::<Vec<_>>()));
        permuted += usize::from(p.unwrap().p <= 0.05);
        naive += usize::from(spearman(x, ("y", &y)).unwrap().p <= 0.05);
    }
    assert!(at_five_percent(permuted), "{permuted} of {REPETITIONS}");
    // Rows taken for independent find something in nothing much too often: this is why data sets are permuted.
    assert!(naive > permuted && !at_five_percent(naive), "{naive} of {REPETITIONS}");
}

#[test]
fn canonical_correlations_of_permuted_outcomes_are_significant_at_the_stated_rate() {
    let groups = groups();
    let x = random_features(&template(12), &groups, 5);
    // An outcome that x does predict; only its permutation is null.
    let y0: Vec<f64> = clustered(&groups, 6).iter().zip(&x.columns()[0]).map(|(e, x)| x + 0.2 * e).collect();
    let ridge = cca::Ridge { left: 0.1, right: 0.1 };
    let outcome = |y: Vec<f64>| Table::new([("y", y.clone()), ("z", y.iter().map(|y| y * y).collect())]).unwrap();
    let real = cca::permuted(&x, &outcome(y0.clone()), ridge, &groups, 1, PERMUTATIONS).unwrap();
    assert_eq!((real.wilks_p, real.first_p), (0.005, 0.005));
    let mut found = (0, 0);
    for seed in 0..REPETITIONS {
        let y = outcome(permuted_outcome(&y0, &groups, 77, seed));
        let p = cca::permuted(&x, &y, ridge, &groups, seed, PERMUTATIONS).unwrap();
        found.0 += usize::from(p.wilks_p <= 0.05);
        found.1 += usize::from(p.first_p <= 0.05);
    }
    assert!(at_five_percent(found.0) && at_five_percent(found.1), "{found:?} of {REPETITIONS}");
}

#[test]
fn held_out_data_sets_are_not_predicted_from_random_features() {
    let groups = groups();
    let (mut better, mut mixed_found) = (0, 0);
    for seed in 0..40 {
        let x = random_features(&template(8), &groups, 300 + seed);
        let y = clustered(&groups, 300 + seed);
        let found = ridge::Plan::new(&x, &groups).unwrap().predict(("y", &y)).unwrap();
        let skill = super::super::scores::skill(&y, &found.predicted, &found.mean).unwrap();
        better += usize::from(skill > 0.1);
        let model = mixed::fit(&x, ("y", &y), &groups).unwrap();
        mixed_found += usize::from(model.coefficients[1].p <= 0.05);
        let (u, v) =
            cca::held_out(&x, &Table::new([("y", y)]).unwrap(), cca::Ridge { left: 0.1, right: 0.1 }, &groups).unwrap();
        assert!(super::super::correlation::pearson(("u", &u), ("v", &v)).unwrap().r < 0.6);
    }
    assert!(better <= 2, "{better} of 40 beat the mean by a tenth");
    // 40 tests at 5 %: 2 ± 1.4.
    assert!(mixed_found <= 6, "{mixed_found} of 40");
}

#[test]
fn a_signal_is_found_on_held_out_data_sets() {
    let groups = groups();
    let x = random_features(&template(8), &groups, 1);
    let y: Vec<f64> = clustered(&groups, 2).iter().zip(&x.columns()[3]).map(|(e, x)| 2.0 * x + 0.3 * e).collect();
    let found = ridge::Plan::new(&x, &groups).unwrap().predict(("y", &y)).unwrap();
    assert!(super::super::scores::skill(&y, &found.predicted, &found.mean).unwrap() > 0.8);
    let right = Table::new([("y", y.clone())]).unwrap();
    let ridge = cca::Ridge { left: 0.1, right: 0.1 };
    let (u, v) = cca::held_out(&x, &right, ridge, &groups).unwrap();
    assert!(super::super::correlation::pearson(("u", &u), ("v", &v)).unwrap().r > 0.85);
    let labels: Vec<bool> = y.iter().map(|y| *y > 0.0).collect();
    let p = super::super::logistic::held_out(&x, &labels, 1.0, &groups).unwrap();
    assert!(super::super::scores::auc(&labels, &p).unwrap() > 0.9);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one.install(|| cca::held_out(&x, &right, ridge, &groups)), Ok((u, v)));
}
