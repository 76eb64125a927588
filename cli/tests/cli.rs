//! The program as a user meets it: help, errors, exit codes, streams.

mod common;

use std::path::Path;

use common::{eigenlens, run, stderr, stdout};

/// Runs what must be refused before anything is said.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let output = run(args);
    let text = common::refusal(&output);
    assert_eq!(text, stderr(&output), "{args:?}");
    text
}

fn config(dir: &Path, text: &str) -> String {
    let path = dir.join("run.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn bare_eigenlens_prints_help_that_begins_with_run() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).starts_with("eigenlens run "), "{}", stdout(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn every_command_has_help() {
    for command in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["data", "--help"],
        &["data", "list", "--help"],
        &["data", "show", "--help"],
        &["data", "export", "--help"],
        &["report", "--help"],
        &["completions", "--help"],
    ] {
        let output = run(command);
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        assert!(stdout(&output).contains("Usage: eigenlens"), "{command:?}");
    }
}

#[test]
fn help_documents_the_exit_codes_and_gives_examples() {
    let help = stdout(&run(&["--help"]));
    for text in ["Exit codes:", "  0  ", "  1  ", "  2  ", "NO_COLOR"] {
        assert!(help.contains(text), "{text}");
    }
    assert!(stdout(&run(&["run", "--help"])).contains("Examples:"));
    assert!(stdout(&run(&["check", "--help"])).contains("Examples:"));
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(stdout(&run(&["--version"])), format!("eigenlens {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn misspelt_commands_and_flags_are_recognised() {
    assert!(refused(&["rnu"]).contains("hint: did you mean `run`?"));
    assert!(refused(&["run", "--sed", "1"]).contains("`--seed`"));
    assert!(refused(&["data", "lst"]).contains("`list`"));
}

#[test]
fn impossible_values_are_refused() {
    refused(&["run", "--seed", "-1"]);
    refused(&["run", "--seed", "99999999999999999999"]);
    refused(&["run", "--threads", "many"]);
    refused(&["run", "--precision", "f16"]);
    refused(&["run", "--format", "xml"]);
    refused(&["completions", "tcsh"]);
    refused(&["report"]);
    refused(&["run", "-q", "-v"]);
}

#[test]
fn a_number_of_a_flag_is_refused_with_what_it_may_be() {
    for flag in [&["--threads", "-1"][..], &["--threads=-1"], &["--threads", "many"], &["--set", "threads=-1"]] {
        let text = refused(&[&["run"], flag].concat());
        assert!(text.contains("`threads`: ") && text.contains("expected a whole number, 0 or more"), "{text}");
        assert!(text.ends_with("\nhint: for example threads = 0 (one per core)\n"), "{text}");
    }
    let text = refused(&["run", "--seed", "-3"]);
    assert!(text.contains("integer `-3`, expected a whole number, 0 or more, --seed -3\nhint: "), "{text}");
    let text = refused(&["run", "--memory", "-1.5"]);
    assert!(text.contains("`memory` must be a finite number, 0 or more, is -1.5, --memory -1.5\nhint: "), "{text}");
}

#[test]
fn an_unknown_key_of_a_config_is_placed_and_the_nearest_offered() {
    let dir = tempfile::tempdir().unwrap();
    let path = config(dir.path(), "seed = 1\n\n[train]\nbatchsize = 3\n");
    let text = refused(&["run", &path]);
    assert_eq!(
        text,
        format!("error: unknown key `batchsize` in [train], {path}:4:1\nhint: did you mean `batch_size`?\n")
    );
}

#[test]
fn an_unknown_data_set_offers_the_nearest() {
    let text = refused(&["run", "--set", "data.name=digist"]);
    assert_eq!(text, "error: unknown data set `digist`, --set data.name=digist\nhint: did you mean `digits`?\n");
    assert!(refused(&["data", "show", "digist"]).contains("`digits`"));
    assert!(refused(&["data", "export", "irsi"]).contains("`iris`"));
}

#[test]
fn bad_configs_are_refused_by_run_and_check() {
    let dir = tempfile::tempdir().unwrap();
    for text in [
        "[train]\nbatch_size = 0\n",
        "[train]\nlr = nan\n",
        "[[model.layers]]\ntype = \"dense\"\n",
        "[model]\nactivation = \"swish\"\n",
        "not toml",
        "[train\n",
    ] {
        let path = config(dir.path(), text);
        refused(&["run", &path]);
        refused(&["check", &path]);
    }
    refused(&["run", "/no/such/config.toml"]);
    std::fs::remove_file(dir.path().join("run.toml")).unwrap();
    let text = refused(&["run", &dir.path().display().to_string()]);
    assert!(
        text.starts_with("error: the config is a directory, ") && text.ends_with("hint: give a TOML file\n"),
        "{text}"
    );
    refused(&["run", "--set", "train.lr"]);
}

#[test]
fn a_config_that_is_not_text_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.toml");
    std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    assert!(refused(&["run", &path.display().to_string()]).contains("not UTF-8"));
}

#[test]
fn refusals_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let output = eigenlens(&["run", "--set", "train.lr=-1", "--out", "a/b"]).current_dir(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn completions_are_for_the_shell_asked_for() {
    for (shell, mark) in [
        ("bash", "_eigenlens()"),
        ("zsh", "#compdef eigenlens"),
        ("fish", "complete -c eigenlens"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains(mark), "{shell}");
    }
}

#[test]
fn report_needs_a_run_directory() {
    let dir = tempfile::tempdir().unwrap();
    assert!(refused(&["report", &dir.path().display().to_string()]).contains("not a run directory"));
    assert!(refused(&["report", "/no/such/dir"]).contains("no such directory"));
}

#[test]
fn errors_have_no_colour_where_nobody_sees_it() {
    assert!(!refused(&["rnu"]).contains('\x1b'));
}

#[cfg(unix)]
#[test]
fn a_reader_that_stops_early_is_no_error() {
    // The reader closes its end before the program writes.
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("eigenlens"))
        .args(["completions", "zsh"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin("eigenlens"))
        .arg("--help")
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("error: cannot write to standard output"));
}
