//! `eigenlens diagnose` on a run, and what it refuses.

mod common;

use common::{fine, refusal, run_in, stdout, with};

const IRIS: &str = "
    [data]
    name = 'iris'
    [model]
    hidden = [8]
    [train]
    epochs = 5
    [snapshots]
    epochs = [0, 5]
";

#[test]
fn a_run_is_diagnosed_in_every_form() {
    let dir = with(IRIS);
    fine(&run_in(dir.path(), &["run", "run.toml", "--out", "out"]));
    let text = run_in(dir.path(), &["diagnose", "out"]);
    fine(&text);
    let text = stdout(&text);
    assert!(text.starts_with("iris: 4-8-3 tanh, after epoch 5"), "{text}");
    let json = run_in(dir.path(), &["diagnose", "out", "--format", "json"]);
    fine(&json);
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    for answer in json["answers"].as_array().unwrap() {
        assert!(answer["evidence"].as_array().is_some_and(|e| !e.is_empty()), "{answer}");
        if answer["kind"] == "learned" {
            let sure = answer["reliability"].to_string();
            assert!(answer["answer"] == "unknown" || sure.contains("had not seen"), "{answer}");
        }
    }
    let csv = stdout(&run_in(dir.path(), &["diagnose", "out", "--format", "csv"]));
    assert_eq!(csv.lines().next(), Some("rule,kind,layer,answer,evidence"));
    assert_eq!(csv.lines().count(), 1 + json["answers"].as_array().unwrap().len());
}

#[test]
fn other_blocks_and_other_directories_are_refused() {
    let dir = with(IRIS);
    assert!(refusal(&run_in(dir.path(), &["diagnose", "nowhere"])).contains("no such directory"));
    fine(&run_in(dir.path(), &["run", "run.toml", "--out", "out", "--set", "spectra.blocks='network'"]));
    let text = refusal(&run_in(dir.path(), &["diagnose", "out"]));
    assert!(text.contains("layer by layer") && text.contains("spectra.blocks"), "{text}");
    let rules = refusal(&run_in(dir.path(), &["diagnose", "out", "--rules", "run.toml"]));
    assert!(rules.contains("rules can't be read") && rules.contains("run.toml"), "{rules}");
}
