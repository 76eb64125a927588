//! Runs that are killed and taken up again end with the files of a run that was not.
#![cfg(unix)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{fine, json, refusal, repeatable, run_in, same};

/// A network whose first layer goes the way of large ones (Lanczos and quadrature) and whose others are exact: 2 snapshots
/// of 3 layers would do, more give more moments.
const CONFIG: &str = r#"
    out = "run"
    [data]
    name = "digits"
    limit = 400
    [model]
    hidden = [16, 12]
    [train]
    epochs = 3
    [snapshots]
    epochs = [0, 1, 2, 3]
    [spectra]
    exact_max = 300
    slq_steps = 40
    [interlayer]
    enabled = true
"#;
const SPECTRA: u64 = 12;

fn start(base: &Path) -> Child {
    std::fs::write(base.join("run.toml"), CONFIG).unwrap();
    Command::new(assert_cmd::cargo::cargo_bin("eigenlens"))
        .args(["run", "run.toml", "-q"])
        .current_dir(base)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whole files of one kind in a folder; a temporary one that is still written to is none.
fn entries(folder: PathBuf, kind: &str) -> usize {
    let whole = |e: &std::fs::DirEntry| {
        let name = e.file_name().to_string_lossy().into_owned();
        name.ends_with(kind) && !name.starts_with('.')
    };
    std::fs::read_dir(folder).map_or(0, |entries| entries.flatten().filter(whole).count())
}

/// Starts a run and kills it as soon as `now` is true of its directory. On a busy machine the moment may be missed; then
/// once more.
fn killed(base: &Path, now: impl Fn(&Path) -> bool) -> PathBuf {
    let run = base.join("run");
    for _ in 0..10 {
        let (mut child, since) = (start(base), Instant::now());
        while !now(&run) && child.try_wait().unwrap().is_none() {
            assert!(since.elapsed() < Duration::from_secs(60), "the moment never came");
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if json(&run.join("manifest.json"))["status"] == "running" {
            return run;
        }
        std::fs::remove_dir_all(&run).unwrap();
    }
    panic!("every run ended before the moment to kill it");
}

/// Killed when `parts` parts were kept.
fn killed_after(base: &Path, parts: usize) -> PathBuf {
    killed(base, |run| entries(run.join("parts"), ".json") >= parts)
}

fn resume(base: &Path) -> u64 {
    fine(&run_in(base, &["run", "run.toml", "--resume"]));
    let manifest = json(&base.join("run/manifest.json"));
    assert_eq!((&manifest["status"], manifest["resumed"].as_array().map(Vec::len)), (&"finished".into(), Some(1)));
    manifest["reused"].as_u64().unwrap()
}

fn uninterrupted() -> std::collections::BTreeMap<String, Vec<u8>> {
    let base = tempfile::tempdir().unwrap();
    let status = start(base.path()).wait().unwrap();
    assert!(status.success());
    assert!(json(&base.path().join("run/manifest.json"))["reused"].is_null());
    repeatable(&base.path().join("run"))
}

#[test]
fn a_run_killed_at_any_moment_and_resumed_leaves_what_an_uninterrupted_one_leaves() {
    let whole = uninterrupted();
    let begun = |run: &Path| run.join("manifest.json").exists();
    let trained = |run: &Path| entries(run.join("snapshots"), ".safetensors") > 0;
    for moment in 0..5 {
        let base = tempfile::tempdir().unwrap();
        let least = match moment {
            0 => (killed(base.path(), begun), 0).1,
            1 => (killed(base.path(), trained), 0).1,
            // Of every six parts three are spectra, one the curvature between them, one that between results, one the sharpness.
            2 => (killed_after(base.path(), 1), 1).1,
            3 => (killed_after(base.path(), 7), 4).1,
            _ => (killed_after(base.path(), 15), 9).1,
        };
        let reused = resume(base.path());
        assert!((least..=SPECTRA).contains(&reused), "moment {moment}: {reused} spectra were reused");
        same(&repeatable(&base.path().join("run")), &whole);
    }
}

#[test]
fn damaged_and_foreign_parts_are_computed_again() {
    let whole = uninterrupted();
    let base = tempfile::tempdir().unwrap();
    let run = killed_after(base.path(), 9);
    let finished =
        (0..SPECTRA).filter(|i| run.join(format!("parts/{:03}-layer-{}.json", i / 3, i % 3)).exists()).count();
    // A bit of a spectrum.
    let spectrum = run.join("spectra/000-fc1.npz");
    let mut bytes = std::fs::read(&spectrum).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&spectrum, bytes).unwrap();
    // A digit of a number.
    let part = run.join("parts/000-layer-1.json");
    let text = std::fs::read_to_string(&part).unwrap();
    let at = text.find("\"trace\": ").unwrap() + "\"trace\": ".len();
    let digit = text[at..].find(|c: char| ('1'..='8').contains(&c)).unwrap() + at;
    let mut bytes = text.into_bytes();
    bytes[digit] += 1;
    std::fs::write(&part, bytes).unwrap();
    // The same layer at another moment: whole, but not of these weights.
    for (of, to) in
        [("parts/001-layer-2.json", "parts/000-layer-2.json"), ("spectra/001-fc3.npz", "spectra/000-fc3.npz")]
    {
        std::fs::copy(run.join(of), run.join(to)).unwrap();
    }
    assert_eq!(resume(base.path()), finished as u64 - 3);
    same(&repeatable(&base.path().join("run")), &whole);
}

#[test]
fn what_is_finished_already_is_not_computed_again() {
    let base = tempfile::tempdir().unwrap();
    let run = killed_after(base.path(), 14);
    let stamp = |i: usize| run.join(format!("spectra/{i:03}-fc1.npz")).metadata().unwrap().modified().unwrap();
    let before: Vec<_> = (0..3).map(stamp).collect();
    let output = run_in(base.path(), &["run", "run.toml", "--resume"]);
    fine(&output);
    assert!(
        common::stderr(&output).contains(" of 12 layer spectra were finished before"),
        "{}",
        common::stderr(&output)
    );
    assert_eq!((0..3).map(stamp).collect::<Vec<_>>(), before);
}

#[test]
fn two_programs_do_not_work_in_one_directory() {
    let base = tempfile::tempdir().unwrap();
    let mut child = start(base.path());
    let since = Instant::now();
    while !base.path().join("run/parts/lock").exists() {
        assert!(since.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    let text = refusal(&run_in(base.path(), &["run", "run.toml", "--resume", "-q"]));
    assert!(text.contains("another program is at work in the directory"), "{text}");
    assert!(child.wait().unwrap().success());
    let text = refusal(&run_in(base.path(), &["run", "run.toml", "--resume", "-q"]));
    assert!(text.contains("the run there is finished"), "{text}");
}

/// Training that takes for ever, on a file.
fn endless(base: &Path) -> (Child, PathBuf) {
    let table: String = (0..60).map(|i| format!("{},{},{}\n", i % 7, i % 11, i % 2)).collect();
    std::fs::write(base.join("own.csv"), format!("a,b,target\n{table}")).unwrap();
    let config =
        "out = 'run'\ndata.csv = 'own.csv'\ntrain.epochs = 10000000\nsnapshots.epochs = [0, 3]\nmodel.hidden = [3]";
    std::fs::write(base.join("run.toml"), config).unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("eigenlens"));
    command.args(["run", "run.toml", "-q"]).current_dir(base).stdout(Stdio::null()).stderr(Stdio::null());
    (command.spawn().unwrap(), base.join("run"))
}

#[test]
fn snapshots_are_written_at_their_epoch_and_other_data_are_not_gone_on_with() {
    let base = tempfile::tempdir().unwrap();
    let (mut child, run) = endless(base.path());
    let since = Instant::now();
    while entries(run.join("snapshots"), ".safetensors") < 2 && since.elapsed() < Duration::from_secs(60) {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(run.join("snapshots/001-epoch-00003.safetensors").is_file());
    // One number of the file.
    let table = std::fs::read_to_string(base.path().join("own.csv")).unwrap();
    std::fs::write(base.path().join("own.csv"), table.replacen("3,3,1", "3,4,1", 1)).unwrap();
    let text = refusal(&run_in(base.path(), &["run", "run.toml", "--resume", "-q"]));
    assert!(text.contains("the data have changed since the run began"), "{text}");
    assert!(json(&run.join("manifest.json"))["resumed"].is_null(), "nothing was changed");
}
