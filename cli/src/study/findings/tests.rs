//! Findings on made-up studies in which the truth is known.

use eigenlens_linalg::probes::gaussian;

use super::features::{Feature, Profile, When};
use super::find;
use super::questions::Effort;
use super::testing::study;

/// Among 102 features the least p must be below 0.05/102 for one to be a discovery.
const EFFORT: Effort = Effort { seed: 1, bootstrap: 40, permutations: 2499, refits: 19 };

#[test]
fn features_have_names_that_lead_back_to_them() {
    for f in Feature::all(When::End).into_iter().chain(Feature::all(When::Start)) {
        assert_eq!(Feature::of_name(&f.to_string()), Some(f));
    }
    assert_eq!(Feature::of_name("trace:first"), None);
}

#[test]
fn shares_are_of_the_dimension_and_missing_numbers_are_missing() {
    let tables = study(5, |_, _, _| 0.0);
    let own = tables.rows.iter().filter(|r| r.experiment == "set00-under");
    let profile = Profile::of_rows(own);
    let find = |name: &str| profile.feature(Feature::of_name(name).unwrap());
    let rank = profile.moments[2].layers[0].get("rank_effective").unwrap();
    // A trace of 50 with a mean of 0.5: 100 parameters.
    assert_eq!(find("rank_effective:first:end"), Some(rank / 100.0));
    assert_eq!(find("negative_mass:first:start"), profile.moments[0].layers[0].get("negative_mass"));
    let mut rounded = profile.clone();
    rounded.moments[2].layers[0].quantities.insert("negative_mass".into(), 3e-16);
    assert_eq!(rounded.feature(Feature::of_name("negative_mass:first:end").unwrap()), Some(0.0));
    assert_eq!(Profile::default().feature(Feature::of_name("gini:mean:end").unwrap()), None);
}

#[test]
fn a_planted_association_is_found_beyond_the_controls_and_controls_are_null() {
    let mut tables = study(16, |_, _, signal| 0.1 + 0.03 * signal);
    // An experiment without scores, and one without a feature.
    tables.experiments[4].test_score = None;
    tables.experiments[4].gap_score = None;
    let gone = tables.experiments[7].experiment.clone();
    tables.rows.retain(|r| r.experiment != gone || r.quantity != "gini");
    let found = find(&tables, EFFORT).unwrap();
    assert_eq!((found.experiments, found.used, found.datasets), (48, 46, 16));
    assert_eq!(found.left_out.len(), 2);
    assert!(found.left_out[0].1.contains("no generalisation gap") && found.left_out[1].1.contains("Gini"));

    let [measured, random, permuted] = &found.batteries[..] else { panic!() };
    let planted = measured.gap.iter().find(|a| a.feature == "r_e:first:end").unwrap();
    assert!(
        planted.spearman.value > 0.99 && planted.partial.value > 0.95 && planted.partial_test.q <= 0.05,
        "{planted:?}"
    );
    assert!(planted.mixed > 0.9 && planted.mixed_p < 1e-6);
    let first = measured.predictions.iter().find(|p| p.from.contains("first layer")).unwrap();
    assert!(first.gain.unwrap().low > 0.3 && first.gain_p == Some(0.05), "{first:?}");
    let last = measured.predictions.iter().find(|p| p.from.contains("last layer")).unwrap();
    assert!(last.gain.unwrap().value < 0.2, "{last:?}");
    for null in [random, permuted] {
        assert!(null.discoveries().0 <= 2, "{}: {:?}", null.of, null.discoveries());
        assert!(null.predictions.iter().filter_map(|p| p.gain).all(|g| g.value < 0.2), "{:?}", null.predictions);
    }
    assert_eq!(found.contrasts.len(), 51);
    assert!(found.courses.iter().all(|c| c.points.len() == 3));
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<super::Findings>(&text).unwrap(), found);
}

#[test]
fn too_few_data_sets_are_refused() {
    let mut noise = vec![0.0; 12];
    gaussian(1, 1, &mut noise);
    let error = find(&study(4, |d, k, _| noise[3 * d + k]), EFFORT).unwrap_err().to_string();
    assert!(error.contains("4 data sets"), "{error}");
}
