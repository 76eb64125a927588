//! Runs whose blocks are not layers: what they are called, where their files are, that they add up, and what is refused.

mod common;

use std::path::Path;

use common::{files, fine, json, refusal, repeatable, run_in, stderr, stdout};
use tempfile::{TempDir, tempdir};

/// Tokens through an attention of two heads.
const TOKENS: &str = r#"
    [data]
    name = "digits"
    limit = 60
    [model]
    input = [16, 4]
    [[model.layers]]
    type = "attention"
    name = "attn"
    heads = 2
    [[model.layers]]
    type = "layer-norm"
    name = "norm"
    [[model.layers]]
    type = "mean-tokens"
    [[model.layers]]
    type = "linear"
    name = "out"
    [train]
    epochs = 1
    [snapshots]
    epochs = [1]
"#;

fn with(more: &str) -> TempDir {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("run.toml"), format!("{TOKENS}{more}")).unwrap();
    dir
}

/// The blocks of the last snapshot: names and traces.
fn blocks(out: &Path) -> (Vec<String>, f64) {
    let result = json(&out.join("result.json"));
    let layers = result["snapshots"].as_array().unwrap().last().unwrap()["layers"].as_array().unwrap().clone();
    for layer in &layers {
        assert!(out.join(layer["spectrum"].as_str().unwrap()).is_file(), "{layer}");
    }
    let names = layers.iter().map(|l| l["name"].as_str().unwrap().to_owned()).collect();
    (names, layers.iter().map(|l| l["trace"].as_f64().unwrap()).sum())
}

#[test]
fn blocks_of_every_kind_are_named_and_add_up() {
    let dir = with("[spectra]\nrows = 40\n");
    let mut traces = Vec::new();
    let wanted: [(&str, &[&str], usize, &str); 5] = [
        ("layer", &["attn.q", "attn.k", "attn.v", "attn.o", "norm", "out"], 6, "layer by layer"),
        ("tensor", &["attn.q.weight", "attn.q.bias", "norm.weight"], 12, "tensor by tensor"),
        ("network", &["network"], 1, "of the whole network"),
        ("head", &["attn.head0", "attn.head1", "attn.o.bias", "norm", "out"], 5, "head by head"),
        ("neuron", &["attn.q[0]", "norm[3]", "out[9]"], 4 * 4 + 4 + 10, "neuron by neuron"),
    ];
    for (kind, names, count, words) in wanted {
        let set = format!("spectra.blocks={kind}");
        fine(&run_in(dir.path(), &["run", "run.toml", "--out", kind, "--set", &set]));
        let out = dir.path().join(kind);
        let (found, trace) = blocks(&out);
        assert_eq!(found.len(), count, "{kind}: {found:?}");
        assert!(names.iter().all(|n| found.iter().any(|f| f == n)), "{kind}: {found:?}");
        assert_eq!(files(&out).keys().filter(|f| f.starts_with("spectra/")).count(), count, "{kind}");
        let result = json(&out.join("result.json"));
        assert_eq!(result["blocks"], kind);
        let phi = result["snapshots"][0]["phi"]["value"].as_f64().unwrap();
        assert_eq!(phi == 0.0, kind == "network", "{kind}: {phi}");
        assert!(std::fs::read_to_string(out.join("report.html")).unwrap().contains(words), "{kind}");
        traces.push(trace);
    }
    assert!(traces.iter().all(|t| (t - traces[0]).abs() <= 1e-9 * traces[0].abs()), "{traces:?}");
}

#[test]
fn groups_take_names_and_leave_the_rest_to_the_layers() {
    let dir = with("[spectra]\nrows = 40\n[spectra.groups]\nmixing = ['attn.*']\nends = ['norm', 'out.bias']\n");
    let output = run_in(dir.path(), &["run", "run.toml", "--out", "a"]);
    fine(&output);
    assert!(stdout(&output).contains("Blocks after epoch 1"), "{}", stdout(&output));
    assert_eq!(blocks(&dir.path().join("a")).0, ["mixing", "ends", "out"]);
    // The resolved config repeats the run.
    fine(&run_in(dir.path(), &["run", "a/config.toml", "--out", "b"]));
    let [mut a, mut b] = ["a", "b"].map(|run| repeatable(&dir.path().join(run)));
    assert!(a.remove("config.toml").is_some() && b.remove("config.toml").is_some());
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    assert!(a == b);
    let plan = stdout(&run_in(dir.path(), &["run", "run.toml", "--dry-run"]));
    assert!(["mixing", "8 tensors", "ends", "the rest of linear"].iter().all(|w| plan.contains(w)), "{plan}");
}

#[test]
fn spectra_of_blocks_are_taken_over_by_a_resumption() {
    let dir = with("[spectra]\nrows = 40\nblocks = 'head'\n");
    let run = |args: &[&str]| run_in(dir.path(), &[&["run", "run.toml", "--out", "out"], args].concat());
    fine(&run(&[]));
    let out = dir.path().join("out");
    let whole = repeatable(&out);
    // As if it had been interrupted, with nothing kept.
    let manifest = std::fs::read_to_string(out.join("manifest.json")).unwrap();
    std::fs::write(out.join("manifest.json"), manifest.replace("\"finished\"", "\"running\"")).unwrap();
    fine(&run(&["--resume"]));
    assert!(repeatable(&out) == whole);
}

#[test]
fn what_makes_no_blocks_is_refused_before_there_is_a_directory() {
    let cases = [
        ("[spectra]\nblocks = 'neurons'\n", "unknown value `neurons` for `spectra.blocks`", "did you mean `neuron`?"),
        ("[spectra.groups]\na = ['atn.*']\n", "`atn.*` of group `a` is the name of no layer", "did you mean `attn.q`?"),
        ("[spectra.groups]\na = ['out']\nb = ['*.bias']\n", "`out.bias` is in the groups `a` and `b`", "only one"),
        ("[spectra.groups]\nout = ['out.bias']\n", "two blocks would be called `out`", "another name"),
        ("[spectra.groups]\na = []\n", "group `a` has no names", "list names"),
        ("[spectra.groups]\n'a b' = ['out']\n", "the group name `a b`", "file names"),
        ("[spectra]\nblocks = 'head'\n[spectra.groups]\na = ['out']\n", "both `spectra.blocks`", "keep one"),
    ];
    for (more, what, hint) in cases {
        let dir = with(more);
        let text = refusal(&run_in(dir.path(), &["run", "run.toml", "--out", "out"]));
        let (first, second) = text.split_once('\n').unwrap_or((&text, ""));
        assert!(first.contains(what) && second.contains(hint), "{more}: {text}");
        assert!(!dir.path().join("out").exists(), "{more}");
        let plan = run_in(dir.path(), &["run", "run.toml", "--dry-run"]);
        assert!(stderr(&plan).contains(what), "{more}");
    }
}
