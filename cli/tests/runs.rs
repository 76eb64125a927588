//! Whole runs as a user meets them: what they leave, and what they refuse without touching anything.

mod common;

use common::{DIGITS, column, files, fine, json, refusal, repeatable, run_in, same, stderr, stdout, with};
use tempfile::tempdir;

#[test]
fn iris_by_a_config_leaves_a_whole_run_directory() {
    let dir = with(
        "
        [data]
        name = 'iris'
        [model]
        hidden = [8]
        activation = 'softplus'
        [train]
        epochs = 30
        lr = 0.02
        [snapshots]
        epochs = [0, 30]
    ",
    );
    let output = run_in(dir.path(), &["run", "run.toml", "--out", "out"]);
    fine(&output);
    let text = stdout(&output);
    assert!(text.contains("iris: 4-8-3 softplus") && text.trim_end().ends_with("report.html"), "{text}");
    let out = dir.path().join("out");
    let names: Vec<String> = files(&out).into_keys().collect();
    let expected = [
        "config.toml",
        "interlayer.csv",
        "manifest.json",
        "metrics.csv",
        "report.html",
        "result.json",
        "snapshots/000-epoch-00000.safetensors",
        "snapshots/001-epoch-00030.safetensors",
        "spectra/000-fc1.npz",
        "spectra/000-fc2.npz",
        "spectra/001-fc1.npz",
        "spectra/001-fc2.npz",
    ];
    assert_eq!(names, expected);
    assert!(!out.join("parts").exists());
    assert_eq!(json(&out.join("manifest.json"))["status"], "finished");
    let result = json(&out.join("result.json"));
    assert!(result["test"]["accuracy"].as_f64().unwrap() > 0.85, "{}", result["test"]);
    for snapshot in result["snapshots"].as_array().unwrap() {
        let layers = snapshot["layers"].as_array().unwrap();
        assert_eq!(layers.iter().map(|l| l["parameters"].as_u64().unwrap()).collect::<Vec<_>>(), [40, 27]);
        for layer in layers {
            // ‖H‖_F² = Σ λ², tr H = Σ λ: between p λ_min and p λ_max.
            let number = |key: &str| layer[key].as_f64().unwrap_or_else(|| panic!("{key} of {layer}"));
            let p = number("parameters");
            assert!(number("trace") <= p * number("lambda_max") && number("trace") >= p * number("lambda_min"));
            assert!(number("frobenius") >= number("lambda_max").abs().max(number("lambda_min").abs()) * (1.0 - 1e-12));
        }
        assert!((0.0..1.0).contains(&snapshot["phi"]["value"].as_f64().unwrap()), "{}", snapshot["phi"]);
    }
    let csv = std::fs::read_to_string(out.join("metrics.csv")).unwrap();
    let (layers, quantities) = (column(&csv, "layer"), column(&csv, "quantity"));
    for (layer, quantity) in [("*", "test_accuracy"), ("*", "phi"), ("fc1", "lambda_max"), ("fc2", "rank_effective")] {
        let rows = layers.iter().zip(&quantities).filter(|(l, q)| *l == layer && *q == quantity).count();
        assert_eq!(rows, 2, "{layer} {quantity}");
    }
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("<svg") && !report.contains("http://localhost") && report.trim_end().ends_with("</html>"));
}

#[test]
fn the_written_config_repeats_the_run_bit_for_bit() {
    let dir = with(DIGITS);
    fine(&run_in(dir.path(), &["run", "run.toml", "--out", "a", "--set", "train.lr=3e-3", "-q"]));
    // The name of the directory is a part of the config that is written.
    fine(&run_in(dir.path(), &["run", "a/config.toml", "--out", "b", "-q"]));
    let (mut a, mut b) = (repeatable(&dir.path().join("a")), repeatable(&dir.path().join("b")));
    let text = |files: &mut std::collections::BTreeMap<_, _>| {
        String::from_utf8(files.remove("config.toml").unwrap()).unwrap().replace("\"b\"", "\"a\"")
    };
    assert_eq!(text(&mut a), text(&mut b));
    same(&a, &b);
}

#[test]
fn one_thread_and_two_give_the_same_bits() {
    // A layer of each kind: exact, and Lanczos with quadrature.
    let dir = with(&format!("out = 'run'\n{DIGITS}[spectra]\nexact_max = 500\n"));
    let of = |threads: &str| {
        fine(&run_in(dir.path(), &["run", "run.toml", "--threads", threads, "-q"]));
        let mut files = repeatable(&dir.path().join("run"));
        let manifest = json(&dir.path().join("run/manifest.json"));
        assert_eq!(manifest["threads"].to_string(), threads);
        std::fs::remove_dir_all(dir.path().join("run")).unwrap();
        // It says how many threads.
        files.remove("config.toml").unwrap();
        files
    };
    let one = of("1");
    assert!(one.len() > 10, "{:?}", one.keys());
    same(&one, &of("2"));
    same(&one, &of("3"));
}

#[test]
fn json_and_csv_on_standard_output_are_the_files() {
    let dir = with(DIGITS);
    let output = run_in(dir.path(), &["run", "run.toml", "--out", "a", "--format", "json"]);
    fine(&output);
    let printed: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(printed["snapshots"], json(&dir.path().join("a/result.json"))["snapshots"]);
    assert!(stderr(&output).contains("report  "), "{}", stderr(&output));
    let output = run_in(dir.path(), &["run", "run.toml", "--out", "b", "--format", "csv", "-q"]);
    fine(&output);
    assert_eq!(stdout(&output), std::fs::read_to_string(dir.path().join("b/metrics.csv")).unwrap());
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_dry_run_says_what_would_be_computed_and_writes_nothing() {
    let dir = with(DIGITS);
    let output = run_in(dir.path(), &["run", "run.toml", "--dry-run"]);
    fine(&output);
    let text = stdout(&output);
    assert!(text.contains("fc1") && text.contains("780") && text.contains("Nothing was written."), "{text}");
    let output = run_in(dir.path(), &["run", "run.toml", "--dry-run", "--format", "json"]);
    fine(&output);
    let plan: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&plan["layers"][0]["parameters"], &plan["snapshots"]), (&780.into(), &serde_json::json!([0, 1, 2])));
    // Of both routes: seconds that are some, and not years.
    let output = run_in(
        dir.path(),
        &["run", "run.toml", "--dry-run", "--format", "csv", "-q", "--set", "spectra.exact_max=500"],
    );
    fine(&output);
    let text = stdout(&output);
    assert_eq!(column(&text, "stage"), ["quadrature", "pairs", "assembly", "eigenvalues"]);
    assert_eq!(column(&text, "route"), ["krylov", "krylov", "dense-kronecker", "dense-kronecker"]);
    for name in ["seconds", "bytes", "flops"] {
        let numbers: Vec<f64> = column(&text, name).iter().map(|x| x.parse().unwrap()).collect();
        assert!(
            numbers.iter().all(|x| *x > 0.0) && (name != "seconds" || numbers.iter().all(|x| *x < 600.0)),
            "{text}"
        );
    }
    assert_eq!(files(dir.path()).len(), 1);
}

#[test]
fn outliers_are_counted_where_the_spectrum_is_not_exact() {
    let dir = with(DIGITS);
    fine(&run_in(dir.path(), &["run", "run.toml", "--out", "out", "--set", "spectra.exact_max=100"]));
    let csv = std::fs::read_to_string(dir.path().join("out/metrics.csv")).unwrap();
    assert!(column(&csv, "quantity").iter().any(|q| q == "outliers"), "{csv}");
}

#[test]
fn a_learning_rate_that_diverges_keeps_what_was_finished() {
    let dir = with(DIGITS);
    let diverging = ["run", "run.toml", "--out", "a", "--set", "train.optimizer=sgd", "--set", "train.lr=1e200"];
    let text = refusal(&run_in(dir.path(), &diverging));
    assert!(text.starts_with("error: training diverged at step ") && text.contains("`fc"), "{text}");
    assert!(text.contains("\nhint: lower the learning rate"), "{text}");
    let out = dir.path().join("a");
    let manifest = json(&out.join("manifest.json"));
    assert_eq!(manifest["status"], "failed");
    assert!(manifest["reason"].as_str().unwrap().starts_with("training diverged at step "));
    // The starting point was fine, and everything about it is there.
    let result = json(&out.join("result.json"));
    assert_eq!(result["snapshots"].as_array().unwrap().len(), 1);
    for file in ["snapshots/000-epoch-00000.safetensors", "spectra/000-fc1.npz", "metrics.csv", "report.html"] {
        assert!(out.join(file).is_file(), "{file}");
    }
}

#[test]
fn unknown_names_offer_the_nearest_and_leave_nothing() {
    for (config, error, hint) in [
        ("[train]\nepoch = 3", "unknown key `epoch` in [train], run.toml:2:1", "did you mean `epochs`?"),
        ("[data]\nname = 'brest_cancer'", "unknown data set `brest_cancer`", "did you mean `breast_cancer`?"),
        ("[model]\nactivation = 'sigmiod'", "unknown activation `sigmiod`", "did you mean `sigmoid`?"),
        ("[model]\ninit = 'he_normal'", "unknown initialiser `he_normal`", "did you mean `he-normal`?"),
        ("[train]\noptimizer = 'adma'", "unknown value `adma`", "did you mean `adam`?"),
    ] {
        let dir = with(config);
        let text = refusal(&run_in(dir.path(), &["run", "run.toml", "--out", "a"]));
        assert!(text.contains(error) && text.contains(hint), "{text}");
        assert_eq!(files(dir.path()).len(), 1);
    }
}

#[test]
fn a_senseless_number_of_threads_is_refused() {
    let dir = tempdir().unwrap();
    let error = refusal(&run_in(dir.path(), &["run", "--dry-run", "--threads", "100000"]));
    assert!(error.contains("`threads` must be at most"), "{error}");
}

#[test]
fn what_does_not_fit_the_memory_is_refused_before_there_is_a_directory() {
    let dir = tempdir().unwrap();
    for (settings, hint) in [
        (&["model.hidden=[1000000,1000000]"][..], "narrower"),
        (&["data.name=mnist", "model.hidden=[512]", "spectra.exact_max=1000000"][..], "spectra.exact_max"),
    ] {
        for dry in [true, false] {
            let mut args = vec!["run", "--out", "big", "--memory", "4"];
            args.extend(dry.then_some("--dry-run"));
            args.extend(settings.iter().flat_map(|s| ["--set", s]));
            let error = refusal(&run_in(dir.path(), &args));
            assert!(error.contains("GiB") && error.contains(hint), "{error}");
            assert!(files(dir.path()).is_empty());
        }
    }
}

#[test]
fn a_start_that_is_not_finite_is_not_blamed_on_the_learning_rate() {
    for (setting, of) in [
        ("model.init=normal(1e200)", "`fc1`"),
        // The loss is computed in f64 and finite, its gradient in f32 isn't.
        ("loss.l2.lambda=1e300", "the gradient by `fc1.weight`"),
    ] {
        let dir = with(DIGITS);
        let text = refusal(&run_in(dir.path(), &["run", "run.toml", "--out", "a", "--set", setting]));
        assert!(text.starts_with("error: training cannot begin: at the starting weights"), "{text}");
        assert!(text.contains(&format!("not finite are those of {of}, ")), "{text}");
        assert!(text.contains("\nhint: take smaller starting weights or a smaller l2 penalty"), "{text}");
        assert_eq!(json(&dir.path().join("a/manifest.json"))["status"], "failed");
    }
}

#[test]
fn a_share_of_the_test_part_that_is_not_used_is_said_aloud() {
    let dir = with(DIGITS);
    let note = "data.test = 0.3 is not used: digits brings its own test part of 359 rows\n";
    let said = |set: &str| stderr(&run_in(dir.path(), &["run", "run.toml", "--set", "train.epochs=1", "--set", set]));
    assert!(said("data.test=0.3").contains(note));
    assert!(!said("seed=2").contains("data.test"));
    // Iris has none of its own.
    assert!(!said("data={ name = 'iris', test = 0.3 }").contains("data.test"));
}
