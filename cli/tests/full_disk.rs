//! A disk that takes no more in the middle of a run: what stands there is whole, and a resumption finishes the run.
//!
//! The system's limit on the size of a file stands for the disk: it works for everybody, the administrator included.
#![cfg(unix)]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{DIGITS, files, fine, json, refusal, repeatable, run_in, same, with};

/// The run, with no file larger than some blocks (of 512 bytes or of 1024, as the shell has it).
fn limited(dir: &Path, blocks: &str) -> Output {
    Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"", blocks])
        .arg(assert_cmd::cargo::cargo_bin("eigenlens"))
        .args(["run", "run.toml", "--out", "run", "-q"])
        .current_dir(dir)
        .output()
        .unwrap()
}

#[test]
fn a_run_that_the_disk_stops_leaves_whole_files_and_can_be_gone_on_with() {
    let dir = with(DIGITS);
    fine(&run_in(dir.path(), &["run", "run.toml", "--out", "run", "-q"]));
    let whole = repeatable(&dir.path().join("run"));
    let mut stopped_at = Vec::new();
    for blocks in
        ["0", "1", "2", "4", "8", "12", "16", "32", "48", "64", "96", "128", "256", "384", "512", "768", "1024"]
    {
        let dir = with(DIGITS);
        let output = limited(dir.path(), blocks);
        if output.status.success() {
            // A limit above the largest file.
            break;
        }
        let text = refusal(&output);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("error: cannot write the "), "{blocks}: {text}");
        assert!(lines[0].contains(": file too large, "), "{blocks}: {text}");
        assert!(lines[1].starts_with("hint: raise the limit on the size of files"), "{blocks}: {text}");
        let stopped = lines[0].rsplit(", ").next().unwrap().to_owned();
        let run = dir.path().join("run");
        if !run.exists() {
            // Not even the config: then nothing is there at all.
            assert_eq!(files(dir.path()).keys().collect::<Vec<_>>(), ["run.toml"], "{blocks}");
            stopped_at.push("config".to_owned());
            continue;
        }
        assert!(!dir.path().join(&stopped).exists(), "{stopped} is half there");
        for (name, bytes) in files(&run) {
            assert!(!name.contains(".eigenlens-"), "{blocks}: {name} was left");
            // What else there is has its final content, but for the parts, which go in the end.
            if !["manifest.json", "result.json"].contains(&name.as_str()) && !name.starts_with("parts/") {
                assert!(whole[&name] == bytes, "{blocks}: {name}");
            }
        }
        let manifest = json(&run.join("manifest.json"));
        assert_eq!(manifest["status"], "failed", "{blocks}");
        assert!(manifest["reason"].as_str().unwrap().contains("file too large"), "{blocks}: {manifest}");
        fine(&run_in(dir.path(), &["run", "run.toml", "--out", "run", "--resume", "-q"]));
        same(&repeatable(&run), &whole);
        stopped_at.push(stopped.trim_start_matches("./run/").split('/').next().unwrap().to_owned());
    }
    // Before the beginning, in training, in the analysis and at the end.
    for place in ["config", "snapshots", "spectra", "report.html"] {
        assert!(stopped_at.iter().any(|at| at == place), "{place} is not among {stopped_at:?}");
    }
}
