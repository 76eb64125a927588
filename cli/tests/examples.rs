//! The configs in `examples/`, shortened: each trains, and has a spectrum for every layer.

mod common;

use std::path::Path;

use common::{fine, json, refusal, run_in};
use tempfile::tempdir;

#[test]
fn every_example_runs() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let dir = tempdir().unwrap();
        let mut args = vec!["run", path.to_str().unwrap(), "--out", "out"];
        // Little data, one epoch, and no exact spectrum of large layers.
        let short = [
            "data.limit=100",
            "train.epochs=1",
            "snapshots.count=2",
            "spectra.exact_max=100",
            "spectra.rows=50",
            "spectra.slq_steps=10",
            "spectra.slq_probes=2",
            "spectra.pairs=2",
            "spectra.coupling_probes=2",
        ];
        args.extend(short.iter().flat_map(|s| ["--set", s]));
        if path.ends_with("large-mlp.toml") {
            // Its size is the point of the example, not of this test.
            args.extend(["--set", "model.hidden=[24, 24]"]);
        }
        fine(&run_in(dir.path(), &args));
        let result = json(&dir.path().join("out/result.json"));
        let layers = result["snapshots"][0]["layers"].as_array().unwrap();
        assert!(layers.len() >= 3 && layers.iter().all(|l| l["lambda_max"].is_number()), "{}", path.display());
        count += 1;
    }
    assert!(count >= 3);
}

#[test]
fn a_named_network_is_written_back_complete_and_runs_again() {
    let dir = tempdir().unwrap();
    let set = ["data.name=iris", "model.name=residual-mlp", "model.width=4", "model.depth=2", "train.epochs=1"];
    let mut args = vec!["run", "--out", "a"];
    args.extend(set.iter().flat_map(|s| ["--set", s]));
    fine(&run_in(dir.path(), &args));
    let config = std::fs::read_to_string(dir.path().join("a/config.toml")).unwrap();
    for line in ["name = \"residual-mlp\"", "width = 4", "activation = \"relu\"", "norm = \"none\"", "skips = true"] {
        assert!(config.contains(line), "{line} in {config}");
    }
    fine(&run_in(dir.path(), &["run", "a/config.toml", "--out", "b"]));
    let metrics = |run: &str| std::fs::read(dir.path().join(run).join("metrics.csv")).unwrap();
    assert!(metrics("a") == metrics("b"));
}

#[test]
fn a_network_that_does_not_fit_is_refused_by_its_option() {
    let dir = tempdir().unwrap();
    let refused = |set: &[&str]| {
        let mut args = vec!["run", "--out", "out"];
        args.extend(set.iter().flat_map(|s| ["--set", s]));
        refusal(&run_in(dir.path(), &args))
    };
    for (set, what, hint) in [
        (&["model.name=resnet-9"][..], "unknown network `resnet-9`", "resnet-"),
        (&["model.name=mlp", "model.heads=2"], "`mlp` has no option `heads`", "width, depth"),
        (&["model.width=8"], "`width` has no meaning for a model without `name`", "model.name"),
        (&["model.name=lenet-5"], "needs images of at least 12 × 12 pixels, these have 8 × 8", "make it smaller"),
        (
            &["model.name=vit", "data.name=iris"],
            "takes images (channels, rows, columns), and a sample is [4]",
            "model.input",
        ),
        (&["model.name=decoder"], "takes sequences of indices", "data.text"),
        (&["loss.class_weights=[1.0, 2.0]"], "has 2 factors, the data have 10 classes", "one factor for each class"),
        (&["loss.smoothing=1.5"], "`loss.smoothing` must be from 0 to below 1, is 1.5", "0.1"),
        (&["data.name=iris", "data.weights=nobody"], "no column", "columns"),
    ] {
        let text = refused(set);
        assert!(text.contains(what) && text.contains(hint), "{set:?}: {text}");
        assert!(!dir.path().join("out").exists());
    }
}

#[test]
fn a_text_of_ones_own_is_learned_character_by_character() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("my.txt"), "the cat sat on the mat. ".repeat(40)).unwrap();
    let set = [
        "data.text=my.txt",
        "data.context=8",
        "model.name=decoder",
        "model.width=8",
        "model.depth=1",
        "model.heads=2",
        "train.epochs=3",
        "train.lr=0.01",
        "snapshots.count=2",
        "spectra.exact_max=300",
        "spectra.rows=20",
    ];
    let mut args = vec!["run", "--out", "out"];
    args.extend(set.iter().flat_map(|s| ["--set", s]));
    fine(&run_in(dir.path(), &args));
    let result = json(&dir.path().join("out/result.json"));
    assert_eq!(result["dataset"]["outputs"], 11);
    let loss = |s: usize| result["snapshots"][s]["train"]["loss"].as_f64().unwrap();
    assert!(loss(1) < loss(0), "{} then {}", loss(0), loss(1));
}

#[test]
fn the_networks_are_listed() {
    let dir = tempdir().unwrap();
    let text = String::from_utf8(run_in(dir.path(), &["models"]).stdout).unwrap();
    for name in ["residual-mlp", "lenet-5", "resnet-20", "decoder"] {
        assert!(text.contains(name), "{text}");
    }
}
