//! Whole runs as a user meets them: what they leave, and what they refuse without touching anything.

mod common;

use std::path::Path;

use common::{files, fine, json, refusal, repeatable, run_in, same, stderr, stdout};
use tempfile::{TempDir, tempdir};

/// A run of a blink: digits in a small network.
const DIGITS: &str = r#"
    [data]
    name = "digits"
    limit = 300
    [model]
    hidden = [12]
    [train]
    epochs = 2
"#;

/// A fresh directory with a config in it.
fn with(config: &str) -> TempDir {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("run.toml"), config).unwrap();
    dir
}

/// What stands in a CSV column of `metrics.csv`.
fn column(csv: &str, name: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let at = reader.headers().unwrap().iter().position(|h| h == name).unwrap();
    reader.records().map(|r| r.unwrap()[at].to_owned()).collect()
}

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
fn an_existing_directory_is_refused_and_stays_as_it_is() {
    let dir = with(DIGITS);
    fine(&run_in(dir.path(), &["run", "run.toml", "--out", "done", "-q"]));
    std::fs::create_dir(dir.path().join("mine")).unwrap();
    std::fs::write(dir.path().join("mine/notes.txt"), "mine").unwrap();
    let before = files(dir.path());
    for (args, what) in [
        (&["--out", "done"][..], "the directory holds a finished run of this config"),
        (&["--out", "done", "--seed", "2"], "the directory holds a run of another config"),
        (&["--out", "done", "--resume"], "the run there is finished"),
        (&["--out", "done", "--resume", "--seed", "2"], "the run there has another config (seed = 1 there, 2 here)"),
        (&["--out", "mine"], "the directory exists and is not a run directory"),
        (&["--out", "mine", "--resume"], "it is not a run directory"),
        (&["--out", "none", "--resume"], "there is nothing to resume"),
        (&["--out", "run.toml"], "it exists and is not a directory"),
        (&["--out", "run.toml/x"], "cannot create the run directory"),
    ] {
        let text = refusal(&run_in(dir.path(), &[&["run", "run.toml", "-q"], args].concat()));
        assert!(text.starts_with(&format!("error: {what}")), "{args:?}: {text}");
        assert!(text.contains("\nhint: "), "{args:?}: {text}");
        same(&files(dir.path()), &before);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_place_that_takes_no_files_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = with(DIGITS);
    let locked = dir.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o555)).unwrap();
    // The administrator may write there all the same; nobody may in a directory of the kernel's.
    let anybody_may = std::fs::write(locked.join("x"), "").is_ok();
    let place = if anybody_may { Path::new("/sys/kernel").to_owned() } else { locked.clone() };
    let text = refusal(&run_in(dir.path(), &["run", "run.toml", "-q", "--out", place.join("a").to_str().unwrap()]));
    assert!(text.starts_with("error: cannot create the run directory: "), "{text}");
    assert!(text.contains("hint: choose a place that you may write to"), "{text}");
    assert_eq!(std::fs::read_dir(&locked).unwrap().count(), usize::from(anybody_may));
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
fn a_table_with_a_flaw_names_file_line_and_column_and_leaves_nothing() {
    for (table, place, problem) in [
        ("a,b,target\n1,2,x\n3,y\n", "own.csv, line 3", "2 fields, and the header has 3"),
        ("a,b,target\n1,2,x\n3,4,y,5\n", "own.csv, line 3", "4 fields"),
        ("a,b,target\n1,2,x\n3,four,y\n", "own.csv, line 3, column \"b\"", "\"four\" is not a number"),
        ("a,b,target\n1,2,x\n3,inf,y\n", "own.csv, line 3, column \"b\"", "inf"),
        ("", "own.csv", "the file is empty"),
    ] {
        let dir = with("data.csv = 'own.csv'");
        std::fs::write(dir.path().join("own.csv"), table).unwrap();
        let text = refusal(&run_in(dir.path(), &["run", "run.toml", "--out", "a"]));
        assert!(text.contains(place) && text.contains(problem) && text.contains("\nhint: "), "{text}");
        assert_eq!(files(dir.path()).len(), 2, "{table}");
    }
    let dir = with("data.csv = 'none.csv'");
    let text = refusal(&run_in(dir.path(), &["run", "run.toml", "--out", "a"]));
    assert!(text.contains("none.csv") && text.contains("hint: check the path"), "{text}");
}

#[test]
fn the_users_own_table_is_trained_on() {
    // Two numbers, and whether the first is the larger.
    let mut table = "first,second,larger\n".to_owned();
    for i in 0..120 {
        let (a, b) = ((i * 37 % 101) as f64 / 10.0, (i * 53 % 89) as f64 / 10.0);
        table += &format!("{a},{b},{}\n", if a > b { "first" } else { "second" });
    }
    let dir = with(
        "
        data = { csv = 'own.csv', target = 'larger' }
        model.hidden = [6]
        train = { epochs = 60, lr = 0.02, batch_size = 16 }
        snapshots.count = 3
    ",
    );
    std::fs::write(dir.path().join("own.csv"), table).unwrap();
    fine(&run_in(dir.path(), &["run", "run.toml", "--out", "a", "-q"]));
    let result = json(&dir.path().join("a/result.json"));
    assert!(result["test"]["accuracy"].as_f64().unwrap() > 0.85, "{}", result["test"]);
    assert_eq!(result["dataset"]["class_names"], serde_json::json!(["first", "second"]));
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
    assert_eq!(column(&text, "route"), ["krylov", "dense-kronecker"]);
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
fn the_report_can_be_written_again() {
    let dir = with(DIGITS);
    fine(&run_in(dir.path(), &["run", "run.toml", "--out", "a", "-q"]));
    let report = dir.path().join("a/report.html");
    let first = std::fs::read(&report).unwrap();
    std::fs::remove_file(&report).unwrap();
    fine(&run_in(dir.path(), &["report", "a"]));
    assert!(std::fs::read(&report).unwrap() == first, "the same report");
    // A spectrum that is damaged is not drawn.
    let spectrum = dir.path().join("a/spectra/000-fc1.npz");
    let mut bytes = std::fs::read(&spectrum).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&spectrum, bytes).unwrap();
    let text = refusal(&run_in(dir.path(), &["report", "a"]));
    assert!(text.contains("000-fc1.npz") && text.contains("checksum"), "{text}");
    assert!(std::fs::read(&report).unwrap() == first, "it stays as it was");
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

/// A NumPy file of version 1.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

#[test]
fn two_numpy_files_are_trained_on() {
    let dir = with("data = { npy = 'x.npy', npy_targets = 'y.npy' }\nmodel.hidden = [3]\ntrain.epochs = 2");
    let x: Vec<u8> = (0..80).flat_map(|i| f64::from(i * 37 % 101).to_le_bytes()).collect();
    std::fs::write(dir.path().join("x.npy"), npy("<f8", "40, 2", &x)).unwrap();
    let labels =
        |stray: i64| -> Vec<u8> { (0..40).flat_map(|i| if i == 5 { stray } else { i % 2 }.to_le_bytes()).collect() };
    std::fs::write(dir.path().join("y.npy"), npy("<i8", "40,", &labels(1))).unwrap();
    let output = run_in(dir.path(), &["run", "run.toml", "--out", "a"]);
    fine(&output);
    assert!(stderr(&output).contains("2 classes (rows): 0 (20), 1 (20)\n"), "{}", stderr(&output));
    assert_eq!(json(&dir.path().join("a/result.json"))["dataset"]["outputs"], 2);
    std::fs::write(dir.path().join("y.npy"), npy("<i8", "40,", &labels(-1))).unwrap();
    let text = refusal(&run_in(dir.path(), &["run", "run.toml", "--out", "b"]));
    assert!(text.contains("y.npy") && text.contains("row 5") && text.contains("class label -1"), "{text}");
    let text = refusal(&run_in(dir.path(), &["run", "--set", "data.npy=x.npy", "--out", "b"]));
    assert!(text.contains("`data.npy` is given without `data.npy_targets`"), "{text}");
    assert!(!dir.path().join("b").exists());
}

#[test]
fn a_regression_whose_test_part_has_no_variance_is_still_a_regression() {
    let dir = with("data.csv = 'own.csv'\ndata.task = 'regression'\nmodel.hidden = [3]\ntrain.epochs = 1");
    // One row in a hundred differs, and with this seed it is not in the training part.
    let of = |odd: usize| -> String {
        let rows: String = (0..20).map(|i| format!("{},{}\n", i % 7, if i == odd { 1 } else { 0 })).collect();
        format!("a,target\n{rows}")
    };
    for odd in 0..20 {
        std::fs::write(dir.path().join("own.csv"), of(odd)).unwrap();
        let output = run_in(dir.path(), &["run", "run.toml", "--out", &odd.to_string(), "-q"]);
        fine(&output);
        assert!(stdout(&output).contains("test R²"), "{}", stdout(&output));
    }
}

#[test]
fn a_damaged_or_foreign_run_directory_gets_no_report() {
    let dir = with(DIGITS);
    fine(&run_in(dir.path(), &["run", "run.toml", "--out", "a", "-q"]));
    let (config, result) = (dir.path().join("a/config.toml"), dir.path().join("a/result.json"));
    let whole = std::fs::read_to_string(&config).unwrap();
    // In the middle of a word, and between two sections.
    for end in [whole.find("epochs").unwrap() + 3, whole.find("[train").unwrap()] {
        std::fs::write(&config, &whole[..end]).unwrap();
        let text = refusal(&run_in(dir.path(), &["report", "a"]));
        assert!(text.contains("config.toml"), "{text}");
    }
    std::fs::write(&config, &whole).unwrap();
    let numbers = std::fs::read_to_string(&result).unwrap();
    std::fs::copy(dir.path().join("a/spectra/000-fc1.npz"), dir.path().join("outside.npz")).unwrap();
    let absolute = dir.path().join("outside.npz").display().to_string();
    for path in ["../outside.npz", "spectra/../../outside.npz", &absolute] {
        std::fs::write(&result, numbers.replace("spectra/000-fc1.npz", path)).unwrap();
        let text = refusal(&run_in(dir.path(), &["report", "a"]));
        assert!(text.contains("outside of the run directory"), "{text}");
    }
}

#[test]
fn a_senseless_number_of_threads_is_refused() {
    let dir = tempdir().unwrap();
    let error = refusal(&run_in(dir.path(), &["run", "--dry-run", "--threads", "100000"]));
    assert!(error.contains("`threads` must be at most"), "{error}");
}

#[test]
fn outliers_are_counted_where_the_spectrum_is_not_exact() {
    let dir = with(DIGITS);
    fine(&run_in(dir.path(), &["run", "run.toml", "--out", "out", "--set", "spectra.exact_max=100"]));
    let csv = std::fs::read_to_string(dir.path().join("out/metrics.csv")).unwrap();
    assert!(column(&csv, "quantity").iter().any(|q| q == "outliers"), "{csv}");
}

/// A report that can't be written: its place is taken by a directory.
#[test]
fn a_run_without_its_report_is_not_called_finished() {
    let dir = with(DIGITS);
    let args = ["run", "run.toml", "--out", "out"];
    fine(&run_in(dir.path(), &args));
    let manifest = dir.path().join("out/manifest.json");
    let unfinished = std::fs::read_to_string(&manifest).unwrap().replace("\"finished\"", "\"running\"");
    std::fs::write(&manifest, unfinished).unwrap();
    let report = dir.path().join("out/report.html");
    std::fs::remove_file(&report).unwrap();
    std::fs::create_dir(&report).unwrap();
    std::fs::write(report.join("x"), "").unwrap();
    let error = refusal(&run_in(dir.path(), &["run", "out/config.toml", "--resume"]));
    assert!(error.contains("report.html"), "{error}");
    assert_eq!(json(&manifest)["status"], "failed");
}

#[test]
fn what_odd_labels_are_taken_for_is_said_aloud() {
    let dir = with("[data]\ncsv = \"own.csv\"\n[model]\nhidden = [3]\n[train]\nepochs = 1\n");
    let table = |label: &dyn Fn(usize) -> String| {
        let rows: Vec<String> = (0..60).map(|i| format!("{},{},{}", i % 7, i * i % 11, label(i))).collect();
        std::fs::write(dir.path().join("own.csv"), format!("a,b,y\n{}\n", rows.join("\n"))).unwrap();
    };
    table(&|i| if i == 5 { "7".into() } else { (i % 3).to_string() });
    let output = run_in(dir.path(), &["run", "run.toml", "--out", "one"]);
    fine(&output);
    assert!(stderr(&output).contains("4 classes (rows): 0 (20), 1 (20), 2 (19), 7 (1)"), "{}", stderr(&output));
    table(&|i| if i == 5 { "1.5".into() } else { (i % 3).to_string() });
    let output = run_in(dir.path(), &["run", "run.toml", "--out", "two"]);
    fine(&output);
    assert!(stderr(&output).contains("taken as numbers (regression)"), "{}", stderr(&output));
    table(&|_| "0".into());
    let error = refusal(&run_in(dir.path(), &["run", "run.toml", "--out", "three"]));
    assert!(error.contains("every target is 0"), "{error}");
}
