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

/// Analyses the last snapshot of a run with more arguments, and returns the only snapshot of the result.
fn analysed(dir: &TempDir, out: &str, more: &[&str]) -> serde_json::Value {
    let base = ["analyze", "trained/config.toml", "--weights", LAST, "--out", out];
    fine(&run_in(dir.path(), &[&base, more].concat()));
    json(&dir.path().join(out).join("result.json"))["snapshots"][0].clone()
}

#[test]
fn only_the_quantities_asked_for_are_computed() {
    let dir = trained();
    let keys = |layer: &serde_json::Value| -> Vec<String> {
        layer["quantities"].as_object().unwrap().keys().cloned().collect()
    };
    let all = analysed(&dir, "all", &[]);
    // No eigenvalues and no file of them; as exact as with them.
    let sums = analysed(&dir, "sums", &["--quantities", "trace,frobenius"]);
    assert!(sums["phi"].is_null() && sums["maps"].is_null());
    for (own, with) in sums["layers"].as_array().unwrap().iter().zip(all["layers"].as_array().unwrap()) {
        assert_eq!(keys(own), ["frobenius", "trace"]);
        assert!(own["spectrum"].is_null() && own["lambda_max"].is_null());
        for key in ["trace", "frobenius"] {
            let (a, b) = (own[key].as_f64().unwrap(), with[key].as_f64().unwrap());
            assert!((a - b).abs() <= 1e-11 * b.abs(), "{key}: {a} and {b}");
            assert!(own["quantities"][key]["standard_error"].is_null());
        }
        assert!(own["cost"]["flops"].as_f64().unwrap() < with["cost"]["flops"].as_f64().unwrap());
    }
    assert!(!files(&dir.path().join("sums")).keys().any(|f| f.ends_with(".npz")));
    // By probes where no block is exact; pairs alone; both.
    let probes = analysed(&dir, "probes", &["--quantities", "trace", "--slq", "--set", "spectra.slq_probes=3"]);
    for layer in probes["layers"].as_array().unwrap() {
        let exact = layer["route"] == "gram";
        assert!(exact || layer["route"] == "hutchinson" && layer["quantities"]["trace"]["standard_error"].is_number());
    }
    let ends = analysed(&dir, "ends", &["--quantities", "lambda_max,gap_1", "--slq"]);
    for (own, with) in ends["layers"].as_array().unwrap().iter().zip(all["layers"].as_array().unwrap()) {
        assert_eq!(
            (keys(own), own["route"].as_str()),
            (vec!["gap_1".to_owned(), "lambda_max".to_owned()], Some("krylov"))
        );
        let (a, b) = (own["lambda_max"].as_f64().unwrap(), with["lambda_max"].as_f64().unwrap());
        assert!((a - b).abs() <= 1e-7 * b.abs(), "{a} and {b}");
    }
    assert!(analysed(&dir, "phi", &["--quantities", "phi"])["phi"]["value"].is_number());
}

#[test]
fn how_blocks_are_done_can_be_forced() {
    let dir = trained();
    let routes = |out: &str, more: &[&str]| -> Vec<String> {
        let layers = analysed(&dir, out, more)["layers"].as_array().unwrap().clone();
        layers.iter().map(|l| l["route"].as_str().unwrap().to_owned()).collect()
    };
    let small = ["--set", "spectra.exact_max=10"];
    assert!(routes("a", &[&small[..], &["--exact"]].concat()).iter().all(|r| r.starts_with("dense")));
    assert_eq!(routes("b", &["--slq"]), ["krylov", "krylov"]);
    assert!(routes("c", &["--auto"]).iter().all(|r| r.starts_with("dense")));
    let error = refusal(&run_in(dir.path(), &["analyze", "trained/config.toml", "--exact", "--slq"]));
    assert!(error.contains("--slq"), "{error}");
}

#[test]
fn what_was_predicted_stands_beside_what_it_took() {
    let dir = trained();
    let snapshot = analysed(&dir, "a", &[]);
    for layer in snapshot["layers"].as_array().unwrap() {
        let cost = &layer["cost"];
        assert!(cost["seconds_predicted"].as_f64().unwrap() > 0.0 && cost["bytes"].as_u64().unwrap() > 0, "{cost}");
    }
    let memory = json(&dir.path().join("a/manifest.json"))["memory"].clone();
    assert!(memory["planned"].as_u64().unwrap() > 0);
    #[cfg(target_os = "linux")]
    assert!(memory["peak"].as_u64().unwrap() > 1 << 20, "{memory}");
    let base = ["analyze", "trained/config.toml", "--weights", LAST, "--dry-run", "--slq"];
    let plan = stdout(&run_in(dir.path(), &base));
    for word in ["quadrature", "pairs", "extreme eigenvalues", "krylov"] {
        assert!(plan.contains(word), "{word} in {plan}");
    }
    let sums = stdout(&run_in(dir.path(), &[&base[..5], &["--quantities", "trace"]].concat()));
    assert!(sums.contains("assembly") && !sums.contains("eigenvalues"), "{sums}");
}

#[test]
fn bad_requests_say_what_is_possible() {
    let dir = trained();
    let refused = |more: &[&str]| {
        let text = refusal(&run_in(dir.path(), &[&["analyze", "trained/config.toml", "--out", "b"], more].concat()));
        assert!(!dir.path().join("b").exists());
        text
    };
    let text = refused(&["--quantities", "trace,lamda_max"]);
    assert!(text.contains("unknown quantity `lamda_max`") && text.contains("did you mean `lambda_max`?"), "{text}");
    let text = refused(&["--quantities", "condition", "--slq"]);
    assert!(text.contains("no block gets them: the smallest, `fc2`, has 21 parameters"), "{text}");
    let wide = ["--exact", "--memory", "0.05", "--set", "model.hidden=[400]"];
    let text = refused(&wide);
    assert!(text.contains("of `fc1`") && text.contains("a block of ") && text.contains("--auto or --slq"), "{text}");
}

#[test]
fn a_curvature_that_overflows_names_the_layer_and_keeps_what_was_finished() {
    let dir = tempdir().unwrap();
    // The loss is computed in f64 and is finite; products with the first block square the inputs, in f32.
    let rows: String = (0..40).map(|i| format!("{}e25,{}\n", i + 1, i % 7)).collect();
    std::fs::write(dir.path().join("big.csv"), format!("x,y\n{rows}")).unwrap();
    let config = "precision = \"f32\"\n[data]\ncsv = \"big.csv\"\ntask = \"regression\"\nstandardize = \"none\"\n\
                  [model]\nhidden = [4]\nactivation = \"relu\"\n";
    std::fs::write(dir.path().join("big.toml"), config).unwrap();
    let text = refusal(&run_in(dir.path(), &["analyze", "big.toml", "--out", "big", "--slq"]));
    assert!(text.contains("fc1") && text.contains("NaN or infinity") && text.contains("hint: "), "{text}");
    let manifest = json(&dir.path().join("big/manifest.json"));
    assert!(manifest["status"] == "failed" && manifest["reason"].as_str().unwrap().contains("fc1"), "{manifest}");
    assert!(files(&dir.path().join("big")).keys().any(|f| f.ends_with(".safetensors")));
}
