//! `spectra.curvature`: other matrices than the Hessian, from the command line to the files.

mod common;

use eigenlens_hessian::curvature::Curvature;

use common::{fine, json, refusal, run_in, stdout};
use tempfile::{TempDir, tempdir};

/// A directory with the weights of a short training in `trained`.
fn trained() -> TempDir {
    let dir = tempdir().unwrap();
    let set = ["data.name=iris", "model.hidden=[6]", "train.epochs=3", "snapshots.count=2"];
    let mut args = vec!["run", "--out", "trained"];
    args.extend(set.iter().flat_map(|s| ["--set", s]));
    fine(&run_in(dir.path(), &args));
    dir
}

const LAST: &str = "trained/snapshots/001-epoch-00003.safetensors";

fn number(layer: &serde_json::Value, key: &str) -> f64 {
    layer[key]["value"].as_f64().or(layer[key].as_f64()).unwrap_or_else(|| panic!("{key} of {layer}"))
}

#[test]
fn every_curvature_of_a_trained_network_can_be_had_and_says_what_it_is() {
    let dir = trained();
    let mut traces = std::collections::BTreeMap::new();
    for &name in Curvature::NAMES {
        let set = format!("spectra.curvature={name}");
        let args = ["analyze", "trained/config.toml", "--weights", LAST, "--set", &set, "--out", name];
        let plan = stdout(&run_in(dir.path(), &[&args[..], &["--dry-run"]].concat()));
        assert!(plan.contains("fc1") && plan.contains("dense-kronecker"), "{name}: {plan}");
        let output = run_in(dir.path(), &args);
        fine(&output);
        let result = json(&dir.path().join(name).join("result.json"));
        assert_eq!(result["curvature"], name);
        let between = ["hessian", "gauss-newton", "tensor"].contains(&name);
        let snapshot = &result["snapshots"][0];
        let left_out = plan.lines().any(|l| l.starts_with('Φ') && l.ends_with("left out"));
        assert_eq!((snapshot["phi"].is_object(), left_out), (between, !between), "{name}");
        let config = std::fs::read_to_string(dir.path().join(name).join("config.toml")).unwrap();
        assert!(config.contains(&format!("curvature = \"{name}\"")), "{config}");
        let report = std::fs::read_to_string(dir.path().join(name).join("report.html")).unwrap();
        let (title, text) = match name {
            "hessian" => ("Hessian of cross-entropy layer by layer, over", ""),
            "gauss-newton" => ("Gauss–Newton matrix of cross-entropy layer by layer", "Gauss–Newton matrix of"),
            "gradient-covariance" => ("Covariance of the gradients of cross-entropy", "Covariance of the gradients"),
            "local-sum" => ("Local Hessian of φ = sum layer by layer, over", "Local Hessian of φ = sum layer by layer"),
            _ => ("", ""),
        };
        assert!(report.contains(title) && stdout(&output).contains(text), "{name}");
        traces.insert(name, number(&snapshot["layers"][0], "trace"));
    }
    let sum = traces["gauss-newton"] + traces["tensor"];
    assert!((traces["hessian"] - sum).abs() <= 1e-12 * traces["gauss-newton"], "{traces:?}");
    // 6 units: the sum is that of the mean times 6.
    assert!(
        (traces["local-sum"] - 6.0 * traces["local-mean"]).abs() <= 1e-12 * traces["local-sum"].abs(),
        "{traces:?}"
    );
    assert!(traces["gradient-covariance"] < traces["empirical-fisher"], "{traces:?}");
}

#[test]
fn relu_and_a_sum_are_identically_zero() {
    let dir = tempdir().unwrap();
    let set = [
        "data.name=iris",
        "model.hidden=[6]",
        "model.activation=relu",
        "train.epochs=1",
        "spectra.curvature=local-sum",
    ];
    let mut args = vec!["run", "--out", "a"];
    args.extend(set.iter().flat_map(|s| ["--set", s]));
    let plan = stdout(&run_in(dir.path(), &[&args[..], &["--dry-run"]].concat()));
    assert!(plan.contains("identically zero"), "{plan}");
    fine(&run_in(dir.path(), &args));
    let result = json(&dir.path().join("a/result.json"));
    for layer in result["snapshots"][0]["layers"].as_array().unwrap() {
        assert_eq!((layer["route"].as_str(), number(layer, "lambda_max")), (Some("identically zero"), 0.0), "{layer}");
    }
}

#[test]
fn combinations_that_do_not_exist_are_refused_with_what_does() {
    let dir = tempdir().unwrap();
    let error = |set: &[&str]| {
        let mut args = vec!["run", "--set", "data.name=iris", "--out", "b"];
        args.extend(set.iter().flat_map(|s| ["--set", s]));
        let text = refusal(&run_in(dir.path(), &args));
        assert!(!dir.path().join("b").exists());
        text
    };
    let text = error(&["spectra.curvature=local-sum", "spectra.blocks=network"]);
    assert!(text.contains("one functional block") && text.contains("`fc1`"), "{text}");
    assert!(text.contains("hint: take parts of single blocks: spectra.blocks = \"layer\""), "{text}");
    let text = error(&["spectra.curvature=fisher", "loss.class_weights=balanced"]);
    assert!(text.contains("no likelihood") && text.contains("hint: take the Gauss–Newton matrix"), "{text}");
    let text = error(&["spectra.curvature=gaus-newton"]);
    assert!(text.contains("unknown value `gaus-newton`") && text.contains("did you mean `gauss-newton`?"), "{text}");
}

#[test]
fn a_resumption_with_another_curvature_is_of_another_config() {
    let dir = trained();
    let args = ["run", "trained/config.toml", "--set", "spectra.curvature=tensor", "--out", "trained", "--resume"];
    let text = refusal(&run_in(dir.path(), &args));
    assert!(text.contains("config"), "{text}");
}
