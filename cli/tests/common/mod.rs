//! What the tests of the program share: starting it, and looking at what it left.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use tempfile::{TempDir, tempdir};

/// The program with arguments.
pub fn eigenlens(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("eigenlens").expect("the program is built");
    command.args(args).env_remove("COLUMNS").env_remove("NO_COLOR");
    command
}

/// Runs the program.
pub fn run(args: &[&str]) -> Output {
    eigenlens(args).output().expect("the program starts")
}

/// Runs the program in a directory.
pub fn run_in(dir: &Path, args: &[&str]) -> Output {
    eigenlens(args).current_dir(dir).output().expect("the program starts")
}

/// Standard output.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts that the program succeeded.
#[track_caller]
pub fn fine(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
}

/// Asserts what a refusal looks like, whatever was said before: exit code 2, nothing on standard output, in the end one
/// error line and at most one hint. Returns these.
#[track_caller]
pub fn refusal(output: &Output) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(stdout(output), "", "{text}");
    let at = text.find("error: ").unwrap_or_else(|| panic!("no error line: {text}"));
    let lines: Vec<&str> = text[at..].lines().collect();
    assert!(lines.len() == 1 || lines.len() == 2 && lines[1].starts_with("hint: "), "{text}");
    text[at..].to_owned()
}

/// All files under a directory, by their path relative to it, with `/`.
pub fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// The files of a run directory that a repetition has to repeat bit for bit: all but the manifest, the report (which quotes
/// it), and the lines of the result that say how long something took.
pub fn repeatable(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = files(run);
    assert!(files.remove("manifest.json").is_some() && files.remove("report.html").is_some(), "{:?}", files.keys());
    let result = files.get_mut("result.json").expect("a result");
    let timeless = |line: &&str| !line.trim_start().starts_with("\"seconds");
    *result = String::from_utf8(result.clone()).unwrap().lines().filter(timeless).collect::<String>().into_bytes();
    files
}

/// Asserts that two sets of files are the same, and names the first that differs.
#[track_caller]
pub fn same(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, bytes) in a {
        assert!(bytes == &b[name], "{name} differs");
    }
}

/// A JSON file.
pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A run of a blink: digits in a small network.
pub const DIGITS: &str = r#"
    [data]
    name = "digits"
    limit = 300
    [model]
    hidden = [12]
    [train]
    epochs = 2
"#;

/// A fresh directory with a config in it.
pub fn with(config: &str) -> TempDir {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("run.toml"), config).unwrap();
    dir
}

/// What stands in a CSV column of `metrics.csv`.
pub fn column(csv: &str, name: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let at = reader.headers().unwrap().iter().position(|h| h == name).unwrap();
    reader.records().map(|r| r.unwrap()[at].to_owned()).collect()
}
