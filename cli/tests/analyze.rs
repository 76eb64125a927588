//! `analyze`: the spectra of given weights, without training.

mod common;

use common::{files, fine, json, refusal, run_in, stdout};
use tempfile::{TempDir, tempdir};

/// A directory with a short run in `trained`.
fn trained() -> TempDir {
    let dir = tempdir().unwrap();
    let set = ["data.name=iris", "model.hidden=[6]", "train.epochs=3", "snapshots.count=2"];
    let mut args = vec!["run", "--out", "trained"];
    args.extend(set.iter().flat_map(|s| ["--set", s]));
    fine(&run_in(dir.path(), &args));
    dir
}

const LAST: &str = "trained/snapshots/001-epoch-00003.safetensors";

#[test]
fn a_snapshot_has_the_spectra_that_the_run_saw() {
    let dir = trained();
    fine(&run_in(dir.path(), &["analyze", "trained/config.toml", "--weights", LAST, "--out", "a"]));
    let [run, own] = ["trained", "a"].map(|d| json(&dir.path().join(d).join("result.json")));
    let (run, own) = (&run["snapshots"][1], &own["snapshots"][0]);
    for (l, layer) in run["layers"].as_array().unwrap().iter().enumerate() {
        for key in ["name", "lambda_max", "lambda_min", "trace", "frobenius"] {
            assert_eq!(layer[key], own["layers"][l][key], "{key}");
        }
    }
    // The scores are computed in the precision of training, the curvature in its own.
    assert_eq!((&run["phi"], &run["test"]["accuracy"]), (&own["phi"], &own["test"]["accuracy"]));
    assert!(files(&dir.path().join("a")).contains_key("report.html"));
}

#[test]
fn only_the_layers_asked_for_are_done() {
    let dir = trained();
    let text = stdout(&run_in(
        dir.path(),
        &["analyze", "trained/config.toml", "--weights", LAST, "--layer", "fc2", "--out", "a", "--format", "csv"],
    ));
    assert!(text.contains("fc2") && !text.contains("fc1"), "{text}");
    let error = refusal(&run_in(dir.path(), &["analyze", "trained/config.toml", "--layer", "conv*", "--out", "b"]));
    assert!(error.contains("`conv*` is the name of no block") && error.contains("the blocks are fc1, fc2"), "{error}");
    assert!(!dir.path().join("b").exists());
}

#[test]
fn weights_of_another_network_or_none_are_refused_by_tensor() {
    let dir = trained();
    let error = |args: &[&str]| {
        let all = [&["analyze", "trained/config.toml", "--out", "b"], args].concat();
        let text = refusal(&run_in(dir.path(), &all));
        assert!(!dir.path().join("b").exists());
        text
    };
    let text = error(&["--weights", LAST, "--set", "model.hidden=[6, 6]"]);
    assert!(text.contains("fc3.weight"), "{text}");
    let text = error(&["--weights", LAST, "--set", "model.hidden=[7]"]);
    assert!(text.contains("fc1.weight") && text.contains("[7, 4]"), "{text}");
    let text = error(&["--weights", "nowhere.safetensors"]);
    assert!(text.contains("nowhere.safetensors"), "{text}");
    let whole = std::fs::read(dir.path().join(LAST)).unwrap();
    std::fs::write(dir.path().join("cut.safetensors"), &whole[..whole.len() - 9]).unwrap();
    assert!(error(&["--weights", "cut.safetensors"]).contains("damaged or no safetensors file"));
}
