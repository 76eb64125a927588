//! Run directories: where they may be, and what is refused of one that is there.

mod common;

use std::path::Path;

use common::{DIGITS, files, fine, json, refusal, run_in, same, with};

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
        (&["--out", "run.toml/x"], "a part of the path is a file, ./run.toml\nhint: choose another directory"),
        (&["--out", "run.toml/x/y"], "a part of the path is a file, ./run.toml\nhint: choose another directory"),
    ] {
        let text = refusal(&run_in(dir.path(), &[&["run", "run.toml", "-q"], args].concat()));
        assert!(text.starts_with(&format!("error: {what}")), "{args:?}: {text}");
        assert!(text.contains("\nhint: "), "{args:?}: {text}");
        same(&files(dir.path()), &before);
    }
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_to_nothing_is_called_one() {
    let dir = with(DIGITS);
    std::os::unix::fs::symlink("nothing", dir.path().join("link")).unwrap();
    for out in ["link", "link/x"] {
        let text = refusal(&run_in(dir.path(), &["run", "run.toml", "-q", "--out", out]));
        let expected =
            "error: it is a symbolic link to nothing, ./link\nhint: choose another directory with --out DIR\n";
        assert_eq!(text, expected);
    }
    // One that leads to an empty directory is as good as that.
    std::fs::create_dir(dir.path().join("nothing")).unwrap();
    fine(&run_in(dir.path(), &["run", "run.toml", "-q", "--out", "link/x"]));
    assert!(dir.path().join("nothing/x/report.html").is_file());
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
