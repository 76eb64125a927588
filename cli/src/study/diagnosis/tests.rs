//! Rules on made-up studies in which the truth is known, and on made-up runs.

use eigenlens_linalg::probes::{gaussian, uniform};

use super::direct::direct;
use super::labels::Condition;
use super::learn::learn;
use super::rule::{Decision, Rules};
use crate::study::findings::features::{Layer, Moment, Profile};
use crate::study::findings::questions::Effort;
use crate::study::findings::testing::study;

const EFFORT: Effort = Effort { seed: 1, bootstrap: 200, permutations: 99, refits: 19 };

/// A layer with these quantities.
fn layer(name: &str, quantities: &[(&str, f64)]) -> Layer {
    Layer { name: name.to_owned(), quantities: quantities.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect() }
}

#[test]
fn labels_are_what_their_definitions_say() {
    let mut tables = study(6, |_, _, _| 0.0);
    let score = |t: &mut crate::study::tables::Experiment, train: f64, test: f64| {
        (t.train_score, t.test_score) = (Some(train), Some(test));
    };
    let capacities = [(0.7, 0.69), (0.9, 0.85), (1.0, 0.88)];
    for (e, (train, test)) in tables.experiments.iter_mut().zip(capacities) {
        score(e, train, test);
    }
    tables.experiments[3].test_score = None;
    let all: Vec<_> = tables.experiments.iter().collect();
    let of = |c: Condition| c.labels(&all)[..4].to_vec();
    assert_eq!(of(Condition::Overfitted), [Some(false), Some(false), Some(true), None]);
    assert_eq!(of(Condition::Underparameterised)[..3], [Some(true), Some(true), Some(false)]);
}

#[test]
fn a_rule_that_exists_is_found_and_one_that_does_not_is_not_invented() {
    // The gap is above 0.1 where the first layer's r_e is above its middle, whatever the size of the network.
    let (rules, skipped) = learn(&study(20, |_, _, signal| 0.1 + 0.05 * signal), "a made-up study", EFFORT).unwrap();
    let rule = rules.rules.iter().find(|r| r.condition == "over-fitted").unwrap();
    assert!(rule.validation.balanced_accuracy.low > 0.8, "{:?} {skipped:?}", rule.validation);
    assert!(rule.advantage.low > 0.0 && rule.verdict.contains("decide better"), "{}", rule.verdict);
    match &rule.decision {
        Decision::Threshold { feature, above, .. } => assert!(feature == "r_e:first:end" && *above, "{feature}"),
        Decision::Logistic { terms, .. } => assert!(terms.iter().any(|t| t.feature == "r_e:first:end")),
    }
    for null in rule.others.iter().filter(|o| o.from.contains("random") || o.from.contains("exchanged")) {
        let b = null.balanced_accuracy;
        assert!(b.low < 0.55 && b.value < 0.7, "{null:?}");
    }
    let again = Rules::from_json(&rules.to_json(), "rules").unwrap();
    assert_eq!(again, rules);

    // Nothing in the spectra knows of the gap.
    let mut noise = vec![0.0; 60];
    gaussian(9, 0, &mut noise);
    let (rules, _) = learn(&study(20, |d, k, _| 0.1 + 0.05 * noise[3 * d + k]), "noise", EFFORT).unwrap();
    let rule = rules.rules.iter().find(|r| r.condition == "over-fitted").unwrap();
    assert!(rule.validation.balanced_accuracy.low < 0.55, "{:?}", rule.validation);
    assert!(!rule.verdict.contains("better than training loss"), "{}", rule.verdict);
}

#[test]
fn the_bits_do_not_depend_on_threads() {
    let mut u = vec![0.0; 60];
    uniform(3, 0, &mut u);
    let tables = study(12, |d, k, _| 0.2 * u[3 * d + k]);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| learn(&tables, "s", EFFORT).unwrap())
    };
    assert_eq!(on(1).0.to_json(), on(3).0.to_json());
}

#[test]
fn direct_rules_find_what_is_there() {
    let healthy =
        [("trace", 10.0), ("mean_curvature", 0.1), ("lambda_max", 4.0), ("frobenius", 5.0), ("rank_numerical", 60.0)];
    let moment = |epoch: usize, layers: Vec<Layer>, share: f64| Moment {
        epoch,
        layers,
        network: [("stability_share".to_owned(), share)].into_iter().collect(),
    };
    let fine = moment(3, vec![layer("a", &healthy), layer("b", &healthy)], 0.4);
    // Before training nothing is stepped.
    let start = moment(0, vec![layer("a", &healthy)], 7.0);
    assert_eq!(direct(&Profile { moments: vec![start.clone(), fine.clone()] }), []);
    assert_eq!(direct(&Profile::default()), []);
    let mut ill = fine;
    ill.network.insert("stability_share".into(), 1.3);
    ill.layers.push(layer("zero", &[("frobenius", 0.0), ("lambda_max", 0.0)]));
    ill.layers.push(layer("flat", &[("frobenius", 1e-9), ("lambda_max", 1e-9)]));
    ill.layers.push(layer("relu", &[("frobenius", 1.0), ("lambda_max", 1.0), ("dead_units", 0.75)]));
    let full = [("trace", 10.0), ("mean_curvature", 0.1), ("rank_numerical", 100.0), ("lambda_max", 1.0)];
    ill.layers.push(layer("full", &full));
    ill.layers
        .push(layer("roomy", &[("trace", 1.0), ("mean_curvature", 0.1), ("rank_numerical", 1.0), ("lambda_max", 1.0)]));
    let found = direct(&Profile { moments: vec![start, ill] });
    let names: Vec<_> = found.iter().map(|f| (f.name, f.layer.as_deref())).collect();
    assert_eq!(
        names,
        [
            ("dead layer", Some("zero")),
            ("dead units", Some("relu")),
            ("saturated layer", Some("flat")),
            ("bottleneck", Some("full")),
            ("unstable steps", None)
        ]
    );
}

#[test]
fn the_built_in_rules_can_be_read_and_others_are_refused_with_a_reason() {
    Rules::built_in().unwrap();
    for (text, why) in [("{", "can't be read"), (r#"{"schema":99,"study":"","rules":[]}"#, "schema 99")] {
        let error = Rules::from_json(text, "r.json").unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("r.json") && error.contains("hint"), "{error}");
    }
}
