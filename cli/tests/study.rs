//! Studies: the tables they leave, what they refuse, and that a killed one ends as if nothing had happened.
#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{column, files, fine, json, refusal, run_in, same, stderr, stdout};

/// Two data sets, one of them generated, two networks each, one of them with layers of two parameters.
const SUITE: &str = "
    datasets = ['iris', 'two-moons']
    hidden = [[6, 5], [1, 1]]
    epochs = 4
    snapshots = 3
";

fn with(suite: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), suite).unwrap();
    dir
}

/// What a repetition has to repeat bit for bit: the tables, and weights and spectra of every experiment.
fn repeatable(study: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = files(study);
    let timed = ["manifest.json", "report.html", "result.json", "study.json", "config.toml", "lock"];
    all.retain(|name, _| !timed.iter().any(|t| name.ends_with(t)));
    assert!(all.contains_key("results.csv") && all.contains_key("experiments.csv"), "{:?}", all.keys());
    all
}

fn study(dir: &Path, more: &[&str]) -> std::process::Output {
    run_in(dir, &[&["study", "--suite", "mine.toml", "--out", "s"], more].concat())
}

#[test]
fn a_study_leaves_a_run_for_each_experiment_and_tables_of_all_numbers() {
    let dir = with(SUITE);
    let output = study(dir.path(), &["--threads", "3"]);
    fine(&output);
    assert!(stdout(&output).contains("4 experiments, 4 finished, 0 diverged, 0 failed"), "{}", stdout(&output));
    let s = dir.path().join("s");
    let text = |file: &str| std::fs::read_to_string(s.join(file)).unwrap();
    let experiments = text("experiments.csv");
    assert_eq!(column(&experiments, "experiment"), ["iris-6-5", "iris-1-1", "two-moons-6-5", "two-moons-1-1"]);
    assert_eq!(column(&experiments, "parameters"), ["83", "13", "65", "9"]);
    assert_eq!(column(&experiments, "exact_layers"), ["3"; 4]);
    assert_eq!(column(&experiments, "optimizer"), ["sgd", "adam", "adam", "adamw"]);
    // Every number of a run stands in the table, as it does in the run.
    let results = text("results.csv");
    let of_iris = column(&results, "experiment").iter().filter(|e| *e == "iris-6-5").count();
    let own = text("experiments/iris-6-5/metrics.csv");
    assert_eq!(of_iris, column(&own, "value").len());
    assert_eq!(column(&results, "value")[..of_iris], column(&own, "value")[..]);
    assert_eq!(json(&s.join("summary.json"))["finished"], 4);
    assert!(json(&s.join("study.json"))["ended"].is_string());
    // Once more: nothing is left to do. On one thread: nothing is different.
    let again = study(dir.path(), &["--format", "json"]);
    fine(&again);
    assert!(stderr(&again).contains("4 of 4 experiments were finished before"), "{}", stderr(&again));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout(&again)).unwrap(), json(&s.join("summary.json")));
    let other = with(SUITE);
    fine(&study(other.path(), &["--threads", "1", "-q"]));
    same(&repeatable(&s), &repeatable(&other.path().join("s")));
}

#[test]
fn a_training_that_diverges_is_a_result_with_its_reason() {
    let dir = with("datasets = ['iris']\nhidden = [[4]]\nactivation = 'relu'\ninits = ['normal(1e30)']\nepochs = 2");
    let output = study(dir.path(), &[]);
    fine(&output);
    assert!(stdout(&output).contains("0 finished, 1 diverged"), "{}", stdout(&output));
    let experiments = std::fs::read_to_string(dir.path().join("s/experiments.csv")).unwrap();
    assert_eq!(column(&experiments, "status"), ["diverged"]);
    assert!(column(&experiments, "reason")[0].len() > 10 && column(&experiments, "test_score")[0].is_empty());
    let again = study(dir.path(), &[]);
    assert!(stderr(&again).contains("1 of 1 experiments were finished before"), "{}", stderr(&again));
}

#[test]
fn what_is_no_study_of_this_suite_is_refused_and_left_alone() {
    let dir = with(SUITE);
    let s = dir.path().join("s");
    std::fs::create_dir(&s).unwrap();
    std::fs::write(s.join("thesis.tex"), "all of it").unwrap();
    let text = refusal(&study(dir.path(), &[]));
    assert!(text.contains("not that of a study") && text.contains("--out DIR"), "{text}");
    assert_eq!(files(&s).len(), 1);
    std::fs::remove_dir_all(&s).unwrap();
    std::fs::write(dir.path().join("mine.toml"), "datasets = ['iris']\nhidden = [[3]]\nepochs = 1\nsnapshots = 2")
        .unwrap();
    fine(&study(dir.path(), &["-q"]));
    let before = files(&s);
    std::fs::write(dir.path().join("mine.toml"), "datasets = ['iris']\nhidden = [[4]]\nepochs = 1\nsnapshots = 2")
        .unwrap();
    let text = refusal(&study(dir.path(), &[]));
    assert!(text.contains("another suite (hidden = [[3]] there, hidden = [[4]] here)"), "{text}");
    same(&before, &files(&s));
    // A directory of another version.
    let manifest = std::fs::read_to_string(s.join("study.json")).unwrap();
    let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(manifest.contains(&version));
    std::fs::write(s.join("study.json"), manifest.replace(&version, "\"version\": \"0.0.1\"")).unwrap();
    std::fs::copy(s.join("study.toml"), dir.path().join("mine.toml")).unwrap();
    let text = refusal(&study(dir.path(), &[]));
    assert!(text.contains("begun by version 0.0.1"), "{text}");
    std::fs::write(s.join("study.json"), manifest).unwrap();
    // A file of an experiment that was tampered with.
    let config = s.join("experiments/iris-3/config.toml");
    let own = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, own.replace("epochs = 1", "epochs = 9")).unwrap();
    let text = refusal(&study(dir.path(), &[]));
    assert!(text.contains("iris-3"), "{text}");
}

#[test]
fn suites_that_cannot_be_are_refused_with_their_place() {
    let dir = with("datasets = ['iris']\nsteps = 5\nepochs = 3");
    let text = refusal(&study(dir.path(), &[]));
    assert!(text.contains("mine.toml:3:10") && text.contains("contradict"), "{text}");
    let text = refusal(&run_in(dir.path(), &["study", "--suite", "smal"]));
    assert!(text.contains("did you mean `small`?"), "{text}");
    let text = refusal(&run_in(dir.path(), &["study", "--suite", "none.toml"]));
    assert!(text.contains("none.toml"), "{text}");
    assert_eq!(files(dir.path()).len(), 1, "nothing was written");
    let output = run_in(dir.path(), &["study", "--suite", "paper", "--dry-run", "--format", "csv"]);
    fine(&output);
    assert_eq!(stdout(&output).lines().count(), 112);
    assert_eq!(files(dir.path()).len(), 1, "nothing was written");
}

#[test]
fn a_full_disk_stops_a_study_that_can_be_gone_on_with() {
    let dir = with(SUITE);
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"", "40"])
        .arg(assert_cmd::cargo::cargo_bin("eigenlens"))
        .args(["study", "--suite", "mine.toml", "--out", "s", "-q"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = refusal(&output);
    assert!(text.starts_with("error: cannot write the ") && text.contains("experiments/"), "{text}");
    assert!(!dir.path().join("s/results.csv").exists());
    fine(&study(dir.path(), &["-q"]));
    let other = with(SUITE);
    fine(&study(other.path(), &["-q"]));
    same(&repeatable(&dir.path().join("s")), &repeatable(&other.path().join("s")));
}

fn start(dir: &Path, suite: &str) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin("eigenlens"))
        .args(["study", "--suite", suite, "--out", "s", "-q"])
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills a study so many times, at moments spread at random over the time that an undisturbed one took, and lets it end; what
/// it leaves must be what the undisturbed one left.
fn killed(suite: &str, text: Option<&str>, kills: u64) {
    let (calm, disturbed) = (with(text.unwrap_or("")), with(text.unwrap_or("")));
    let since = Instant::now();
    assert!(start(calm.path(), suite).wait().unwrap().success());
    let took = since.elapsed();
    let (mut state, mut hits) = (1u64, 0);
    for _ in 0..kills {
        // A linear congruential generator (Knuth's MMIX): moments that differ, the same in every test.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (state >> 11) as f64 / (1u64 << 53) as f64;
        let mut child = start(disturbed.path(), suite);
        // What is left grows shorter with every resumption.
        std::thread::sleep(took.mul_f64(share * 2.0 / kills as f64));
        hits += u64::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(start(disturbed.path(), suite).wait().unwrap().success());
    assert!(hits > kills / 2, "only {hits} of {kills} kills hit a study at work");
    same(&repeatable(&calm.path().join("s")), &repeatable(&disturbed.path().join("s")));
    let experiments = disturbed.path().join("s/experiments");
    let strange = |e: &std::fs::DirEntry| e.file_name().to_string_lossy().starts_with('.');
    assert_eq!(std::fs::read_dir(experiments).unwrap().flatten().filter(strange).count(), 0);
}

#[test]
fn a_study_killed_at_random_moments_ends_with_the_bits_of_one_that_was_not() {
    // Longer than the start of the program, so that kills meet it at work.
    killed("mine.toml", Some("datasets = ['iris', 'wine', 'xor']\nhidden = [[20, 20]]\nepochs = 20"), 4);
}

#[test]
#[ignore = "about two minutes: the small suite, killed twenty times"]
fn the_small_suite_killed_twenty_times_ends_with_the_bits_of_one_that_was_not() {
    killed("small", None, 20);
}

#[test]
fn two_programs_do_not_share_a_study() {
    let dir = with("datasets = ['digits']\nhidden = [[30, 30]]\nepochs = 20");
    let mut first = start(dir.path(), "mine.toml");
    let since = Instant::now();
    while !dir.path().join("s/lock").exists() && since.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let text = refusal(&study(dir.path(), &[]));
    assert!(text.contains("another program is at work"), "{text}");
    first.kill().unwrap();
    first.wait().unwrap();
}
