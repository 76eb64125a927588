//! `interlayer`: curvature between functional blocks.

mod common;

use common::{fine, refusal, run_in, stdout};
use tempfile::tempdir;

fn json(set: &[&str]) -> serde_json::Value {
    let dir = tempdir().unwrap();
    let mut args = vec!["interlayer", "--format", "json"];
    args.extend(set.iter().flat_map(|s| ["--set", s]));
    let output = run_in(dir.path(), &args);
    fine(&output);
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn skip_connections_keep_distant_blocks_coupled() {
    let base = ["model.name=residual-mlp", "model.width=16", "model.depth=12", "spectra.rows=100"];
    let far = |skips: &str| {
        let found = json(&[&base[..], &[skips]].concat());
        assert_eq!((&found["exact"], found["blocks"].as_array().unwrap().len()), (&true.into(), 14));
        found["curve"][11]["coupling"].as_f64().unwrap()
    };
    let (with, without) = (far("model.skips=true"), far("model.skips=false"));
    // 0.86 and 0.45 as measured.
    assert!(with > 0.8 && without < 0.6, "{with} with skips, {without} without");
}

#[test]
fn tables_name_what_is_perturbed_and_fit_the_terminal() {
    let dir = tempdir().unwrap();
    let text = stdout(&run_in(dir.path(), &["interlayer", "--set", "data.name=iris", "--set", "model.hidden=[4, 4]"]));
    for word in ["fc1", "tanh@1", "GN-Gap", "By distance:", "log R", "Lyapunov"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    let csv = stdout(&run_in(
        dir.path(),
        &["interlayer", "--set", "data.name=iris", "--set", "model.hidden=[4, 4]", "--format", "csv"],
    ));
    assert_eq!(csv.lines().count(), 1 + 9);
}

#[test]
fn weights_that_are_not_there_are_refused() {
    let dir = tempdir().unwrap();
    assert!(refusal(&run_in(dir.path(), &["interlayer", "--weights", "no.safetensors"])).contains("no.safetensors"));
}
