//! `interlayer`: curvature between functional blocks.

mod common;

use common::{column, fine, json as file, refusal, run_in, stdout};
use tempfile::tempdir;

fn printed(set: &[&str]) -> serde_json::Value {
    let dir = tempdir().unwrap();
    let mut args = vec!["interlayer", "--format", "json"];
    args.extend(set.iter().flat_map(|s| ["--set", s]));
    let output = run_in(dir.path(), &args);
    fine(&output);
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn skip_connections_keep_distant_blocks_coupled() {
    let base = ["model.name=residual-mlp", "model.width=16", "model.depth=12", "spectra.rows=100"];
    let far = |skips: &str| {
        let found = printed(&[&base[..], &[skips]].concat());
        assert_eq!((&found["exact"], found["blocks"].as_array().unwrap().len()), (&true.into(), 14));
        found["curve"][11]["coupling"].as_f64().unwrap()
    };
    let (with, without) = (far("model.skips=true"), far("model.skips=false"));
    // 0.86 and 0.45 as measured.
    assert!(with > 0.8 && without < 0.6, "{with} with skips, {without} without");
}

#[test]
fn tables_name_what_is_perturbed_and_fit_the_terminal() {
    let dir = tempdir().unwrap();
    let text = stdout(&run_in(dir.path(), &["interlayer", "--set", "data.name=iris", "--set", "model.hidden=[4, 4]"]));
    for word in ["fc1", "tanh@1", "GN-Gap", "By distance:", "log R", "Lyapunov"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    let csv = stdout(&run_in(
        dir.path(),
        &["interlayer", "--set", "data.name=iris", "--set", "model.hidden=[4, 4]", "--format", "csv"],
    ));
    assert_eq!(csv.lines().count(), 1 + 9);
}

#[test]
fn weights_that_are_not_there_are_refused() {
    let dir = tempdir().unwrap();
    assert!(refusal(&run_in(dir.path(), &["interlayer", "--weights", "no.safetensors"])).contains("no.safetensors"));
}

/// A run of a blink with the maps.
const SET: [&str; 7] = [
    "data.name=iris",
    "model.hidden=[5, 4]",
    "train.epochs=2",
    "snapshots.count=2",
    "spectra.exact_max=20",
    "spectra.slq_steps=10",
    "interlayer.enabled=true",
];

#[test]
fn a_run_keeps_the_maps_of_every_snapshot() {
    let dir = tempdir().unwrap();
    let mut args = vec!["run", "--out", "a"];
    args.extend(SET.iter().flat_map(|s| ["--set", s]));
    fine(&run_in(dir.path(), &args));
    let result = file(&dir.path().join("a/result.json"));
    let maps = |s: usize| &result["snapshots"][s]["maps"];
    for s in 0..2 {
        let (own, between) = (&maps(s)["parameters"], &maps(s)["activations"]);
        assert_eq!((own["exact"].as_bool(), between["exact"].as_bool()), (Some(true), Some(true)));
        // The shares add up to 1, those off the diagonal to Φ.
        let share = |l: usize, m: usize| own["share"][l][m].as_f64().unwrap();
        let (all, own): (f64, f64) = (0..9)
            .map(|i| share(i / 3, i % 3))
            .zip((0..3).map(|l| share(l, l)).chain([0.0; 6]))
            .fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        let phi = result["snapshots"][s]["phi"]["value"].as_f64().unwrap();
        assert!((all - 1.0).abs() < 1e-12 && (1.0 - own - phi).abs() < 1e-12, "{all}, {own}, {phi}");
        assert!(between["discrepancy"]["deviation"].as_f64().unwrap() < 4.0, "{}", between["discrepancy"]);
        let spectra = &maps(s)["spectra"];
        let js = |l: usize, m: usize| spectra["jensen_shannon"][l][m].as_f64().unwrap();
        assert!(js(0, 0) == 0.0 && js(0, 1) == js(1, 0) && js(0, 1) > 0.0 && js(0, 1) < std::f64::consts::LN_2);
    }
    let csv = std::fs::read_to_string(dir.path().join("a/interlayer.csv")).unwrap();
    let spaces = column(&csv, "space");
    for space in ["parameters", "activations", "spectra"] {
        assert_eq!(spaces.iter().filter(|s| *s == space).count(), 2 * 9, "{space}");
    }
    // The command of the same name sees the same at the same weights.
    let last = "a/snapshots/001-epoch-00002.safetensors";
    let text = stdout(&run_in(dir.path(), &["interlayer", "a/config.toml", "--weights", last, "--format", "json"]));
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in ["resonance", "coupling", "stable_rank", "gap", "decay", "lyapunov"] {
        assert_eq!(found[key], maps(1)["activations"][key], "{key}");
    }
}

#[test]
fn how_the_norms_are_found_can_be_chosen_and_is_refused_if_unknown() {
    let base = ["data.name=iris", "model.hidden=[5, 4]"];
    let found = |method: &str| printed(&[&base[..], &[&format!("interlayer.method={method}")]].concat());
    let (auto, exact, probes) = (found("auto"), found("exact"), found("probes"));
    assert_eq!((&auto["resonance"], &exact["discrepancy"]), (&exact["resonance"], &serde_json::Value::Null));
    assert!(auto["discrepancy"]["pairs"].as_u64() == Some(9) && probes["exact"] == false, "{auto}");
    let error = |v: usize, w: usize| probes["resonance_error"][v][w].as_f64().unwrap();
    let r = |of: &serde_json::Value, v: usize, w: usize| of["resonance"][v][w].as_f64().unwrap();
    for (v, w) in (0..9).map(|i| (i / 3, i % 3)) {
        assert!((r(&probes, v, w) - r(&exact, v, w)).abs() <= 5.0 * error(v, w) + 1e-12 * r(&exact, v, w));
    }
    let dir = tempdir().unwrap();
    let refused = |set: &str| refusal(&run_in(dir.path(), &["interlayer", "--set", set]));
    assert!(refused("interlayer.method=exat").contains("`exact`"), "{}", refused("interlayer.method=exat"));
    assert!(refused("interlayer.probes=1").contains("at least 2"));
    assert!(refused("interlayer.probs=9").contains("`probes`"));
}
