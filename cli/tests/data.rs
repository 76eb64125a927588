//! The user's own data: tables and NumPy files that are trained on, and what is said of those that can't be.

mod common;

use common::{files, fine, json, refusal, run_in, stderr, stdout, with};

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
fn a_table_may_end_its_lines_as_old_macs_did_and_not_in_two_ways() {
    let dir = with("data.csv = 'own.csv'\nmodel.hidden = [3]\ntrain.epochs = 2\nsnapshots.count = 2");
    let rows: Vec<String> = (0..60).map(|i| format!("{},{},{}", i % 7, i * i % 11, ["u", "v"][i % 2])).collect();
    let table = format!("a,b,y\n{}\n", rows.join("\n"));
    let of = |name: &str, table: &str| {
        std::fs::write(dir.path().join("own.csv"), table).unwrap();
        fine(&run_in(dir.path(), &["run", "run.toml", "--out", name, "-q"]));
        std::fs::read(dir.path().join(name).join("metrics.csv")).unwrap()
    };
    let unix = of("unix", &table);
    assert!(of("mac", &table.replace('\n', "\r")) == unix && of("windows", &table.replace('\n', "\r\n")) == unix);
    for (mixed, line) in [("a,b,y\n1,2,u\r3,4,v\n", "line 2"), ("a,b,y\r1,2,u\r3,4,v\n5,6,u\r", "line 3")] {
        std::fs::write(dir.path().join("own.csv"), mixed).unwrap();
        let text = refusal(&run_in(dir.path(), &["run", "run.toml", "--out", "b"]));
        assert!(text.contains(line) && text.contains("hint: some lines end in CR and others in LF"), "{text}");
    }
}

#[test]
fn a_number_of_an_array_that_is_not_finite_is_named_by_file_row_and_column() {
    let dir = with("data = { npy = 'x.npy', npy_targets = 'y.npy' }");
    for bad in [f64::NAN, f64::INFINITY] {
        let x: Vec<u8> = (0..80).flat_map(|i| if i == 15 { bad } else { 0.5 }.to_le_bytes()).collect();
        std::fs::write(dir.path().join("x.npy"), npy("<f8", "40, 2", &x)).unwrap();
        let y: Vec<u8> = (0..40).flat_map(|i: i64| (i % 2).to_le_bytes()).collect();
        std::fs::write(dir.path().join("y.npy"), npy("<i8", "40,", &y)).unwrap();
        let text = refusal(&run_in(dir.path(), &["run", "run.toml", "--out", "a"]));
        let place = format!("error: x.npy, row 7 (from 0), column \"x1\": the value is {bad}\nhint: ");
        assert!(text.starts_with(&place), "{text}");
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
    let said = "targets taken as numbers (regression), as line 7 is the first with a fraction: 1.5; data.task = ";
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
    table(&|i| (i / 2).to_string());
    let output = run_in(dir.path(), &["run", "run.toml", "--out", "four"]);
    fine(&output);
    let said = "(regression), as line 42 brings the 21st different value: 20; ";
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
    table(&|_| "0".into());
    let error = refusal(&run_in(dir.path(), &["run", "run.toml", "--out", "three"]));
    assert!(error.contains("every target is 0"), "{error}");
}
