//! Networks that can't be: what is said of them, where, and that it is said before anything is written.

mod common;

use common::{refusal, run_in, with};

/// A config of one epoch on `digits` with these sections besides.
fn config(rest: &str) -> String {
    format!("[data]\nname = 'digits'\n{rest}\n[train]\nepochs = 1\nbatch_size = 64\n")
}

/// What the program says of a config, with nothing left behind.
#[track_caller]
fn refused(text: &str) -> String {
    let dir = with(text);
    let said = refusal(&run_in(dir.path(), &["run", "run.toml", "--out", "out"]));
    assert!(!dir.path().join("out").exists(), "{said}");
    said
}

#[test]
fn layers_that_can_not_be_name_themselves_and_their_line() {
    let image = "[model]\ninput = [1, 8, 8]\n";
    let head = "[[model.layers]]\ntype = 'flatten'\n[[model.layers]]\ntype = 'linear'\n";
    let layer = |text: &str| config(&format!("{image}[[model.layers]]\n{text}\n{head}"));
    for (text, what) in [
        ("type = 'conv2d'\nchannels = 2\nkernel = 3\npadding = 9223372036854775807", "`conv2d-1`"),
        ("type = 'conv2d'\nname = 'a'\nchannels = 2\nkernel = 5\ndilation = 4611686018427387904", "`a`"),
        ("type = 'conv2d'\nname = 'a'\nchannels = 9223372036854775807\nkernel = 3", "`a.weight`"),
        ("type = 'conv2d'\nname = 'a'\nchannels = 2\nkernel = 9", "`a`"),
        ("type = 'avg-pool2d'\nname = 'p'\nkernel = 4294967296\npadding = 4611686018427387904", "`p`"),
        ("type = 'max-pool2d'\nname = 'p'\nkernel = 2\npadding = 2", "`p`"),
        ("type = 'reshape'\nname = 'r'\nshape = [4294967296, 4294967296, 64]", "`r`"),
        (
            "type = 'attention'\nname = 'p'\nheads = 2",
            "`p`: attention takes (tokens, features), and `input` gives [1, 8, 8]",
        ),
        ("type = 'embedding'\nname = 'e'\nvocabulary = 4611686018427387904\nwidth = 4", "`e.weight`"),
    ] {
        let said = refused(&layer(text));
        assert!(said.contains(what) && said.contains(", run.toml:5:1\nhint: "), "{text}\n{said}");
    }
    let said = refused(&layer("type = 'conv2d'\nchannels = 2\nkernel = 3\npadding = 'same'"));
    let must = "expected a whole number, 0 or more, or [rows, columns], run.toml:9:11\nhint: for example padding = 1";
    assert!(said.contains("`model.layers.padding`: invalid type: string \"same\"") && said.contains(must), "{said}");
    let said = refused(&layer("type = 'conv2d'\nchannels = 2\nkernel = [3, 3, 3]"));
    assert!(said.contains("invalid length 3, expected a whole number") && said.contains("run.toml:8:10"), "{said}");
    let said = refused(&layer("type = 'conv2d'\nchannels = 2\nkernel = -3"));
    assert!(said.contains("invalid value: integer `-3`, expected a whole number"), "{said}");
}

#[test]
fn options_that_would_be_ignored_are_refused() {
    let two = |second: &str| {
        config(&format!("[[model.layers]]\ntype = 'linear'\nname = 'a'\nunits = 64\n[[model.layers]]\n{second}"))
    };
    for (text, what, place) in [
        (
            "type = 'linear'\nunits = 64\nshares = 'a'\ninit = 'zeros'\n[[model.layers]]\ntype = 'linear'",
            "`init`",
            "11:8",
        ),
        ("type = 'linear'\ninputs = []", "`model.layers.1.inputs` is empty", "9:10"),
    ] {
        let said = refused(&two(text));
        assert!(said.contains(what) && said.contains(&format!("run.toml:{place}\nhint: ")), "{said}");
    }
    let name = "x".repeat(300);
    let said = refused(&two(&format!("type = 'linear'\nname = '{name}'")));
    assert!(said.contains("has 300 characters, at most 100 are possible, run.toml:9:8\nhint: "), "{said}");
}

#[test]
fn sizes_of_named_networks_have_bounds() {
    for (option, value) in [("depth", "1000000000"), ("width", "4611686018427387904")] {
        let said = refused(&config(&format!("[model]\nname = 'mlp'\n{option} = {value}")));
        assert!(said.contains(&format!("`{option}` must be from 1 to ")) && said.contains("run.toml:5:"), "{said}");
    }
    let said = refused(&config("[model]\nname = 'vit'\ninput = [1, 8, 8]\npatch = 3"));
    assert!(said.contains("must divide the image's 8 × 8 pixels") && said.contains("run.toml:6:9\nhint: "), "{said}");
    let said = refused(&config("[model]\ninput = [9223372036854775807, 2]\nname = 'lenet-5'"));
    assert!(said.contains("a sample has 64 features, run.toml:4:9\nhint: "), "{said}");
}

#[test]
fn batch_norm_of_single_samples_is_refused_before_work_begins() {
    let norm = |statistics: &str, rest: &str| {
        let layers = format!(
            "[[model.layers]]\ntype = 'linear'\nunits = 8\n[[model.layers]]\ntype = 'batch-norm'\nname = 'bn'\n\
             statistics = '{statistics}'\n[[model.layers]]\ntype = 'linear'\n"
        );
        format!("[data]\nname = 'digits'\n{layers}[train]\nepochs = 1\n{rest}")
    };
    let said = refused(&norm("running", "batch_size = 1"));
    assert!(said.contains("layer `bn` normalises over the batch") && said.contains("run.toml:14:14\nhint: "), "{said}");
    // 1258 training samples leave one.
    let said = refused(&norm("running", "batch_size = 419"));
    assert!(said.contains("a batch of 1 has one value per channel") && said.contains("of the 1258 samples"), "{said}");
    let said = refused(&norm("batch", "batch_size = 64\n[spectra]\nrows = 1"));
    assert!(
        said.contains("layer `bn` normalises over the samples and needs at least 2, there are 1\nhint: "),
        "{said}"
    );
}

#[test]
fn weights_of_classes_say_what_they_can_be() {
    let weights = |value: &str| refused(&config(&format!("[loss]\nclass_weights = {value}")));
    let said = weights("'balancd'");
    assert!(
        said.contains("unknown value `balancd` for `loss.class_weights`, run.toml:4:17\nhint: did you mean"),
        "{said}"
    );
    let said = weights("3");
    assert!(
        said.contains("expected \"balanced\", or a list of one number for each class, run.toml:4:17\nhint: "),
        "{said}"
    );
    let said = weights("[1.0, 2.0]");
    assert!(said.contains("has 2 factors, the data have 10 classes, run.toml:4:17\nhint: "), "{said}");
}
