//! Configs as users write them, and as they get them wrong.

use eigenlens_nets::Activation;

use super::*;
use crate::pipeline::dataset_names;

fn parse(text: &str) -> Result<Config> {
    Config::parse(Some(("run.toml", text)), &[], &dataset_names())
}

fn with(text: &str, sets: &[&str]) -> Result<Config> {
    let overrides: Vec<Override> = sets.iter().map(|s| Override::set(s).unwrap()).collect();
    Config::parse(Some(("run.toml", text)), &overrides, &dataset_names())
}

#[track_caller]
fn refused(result: Result<Config>, error: &str) {
    let got = result.expect_err("the config should be refused").to_string();
    assert_eq!(got, error);
}

#[test]
fn an_empty_config_is_the_built_in_example() {
    let config = parse("").unwrap();
    assert_eq!(config, Config::parse(None, &[], &dataset_names()).unwrap());
    assert_eq!(config.data.source(), DataSource::Builtin("digits".into()));
    assert_eq!(config.model.describe(64, 10), "64-32-32-10 tanh");
    assert_eq!((config.train.epochs, config.train.batch_size, config.precision), (50, 32, Precision::F64));
}

#[test]
fn the_resolved_config_reads_back_to_the_same_value() {
    let long = r#"
        seed = 7
        [data]
        csv = "a b.csv"
        target = "y"
        task = "regression"
        limit = 100
        [[model.layers]]
        type = "linear"
        units = 5
        [[model.layers]]
        type = "activation"
        fn = "leaky-relu(0.2)"
        [[model.layers]]
        type = "linear"
        name = "head"
        bias = false
        init = "normal(0.02)"
        [loss]
        kind = "mse"
        l2 = { lambda = 1e-4, scope = "weights" }
        [train]
        lr = 0.1
        optimizer = { kind = "sgd", momentum = 0.9, nesterov = true }
        schedule = { kind = "warmup-cosine", floor = 0.01 }
        early_stopping = { patience = 3 }
        [snapshots]
        epochs = [0, 3, 50]
        [spectra]
        rows = 64
        part = "validation"
    "#;
    for text in ["", long] {
        let config = parse(text).unwrap();
        let written = config.to_toml();
        let again = parse(&written).unwrap_or_else(|e| panic!("{e}\n{written}"));
        assert_eq!(config, again, "{written}");
        assert_eq!(again.to_toml(), written);
    }
}

#[test]
fn the_resolved_config_says_what_defaults_were_used() {
    let written = parse("[train]\noptimizer = \"sgd\"\nschedule = \"step\"").unwrap().to_toml();
    for line in ["momentum = 0.0", "every = 16", "factor = 0.1", "init = \"xavier-uniform\"", "count = 8"] {
        assert!(written.contains(line), "{line} is not in\n{written}");
    }
}

#[test]
fn an_unknown_key_names_its_section_line_and_nearest_key() {
    refused(
        parse("[train]\nepochs = 3\nlearning = 1\nbatchsize = 3"),
        "error: unknown key `batchsize` in [train], run.toml:4:1\nhint: did you mean `batch_size`?",
    );
    refused(
        parse("trian = 1"),
        "error: unknown key `trian` at the top level, run.toml:1:1\nhint: did you mean `train`?",
    );
    refused(
        parse("[train.optimizer]\nkind = \"sgd\"\nmomentun = 0.9"),
        "error: unknown key `momentun` in [train.optimizer], run.toml:3:1\nhint: did you mean `momentum`?",
    );
}

#[test]
fn an_unknown_name_offers_the_nearest() {
    refused(
        parse("[data]\nname = \"digist\""),
        "error: unknown data set `digist`, run.toml:2:8\nhint: did you mean `digits`?",
    );
    refused(
        parse("[[model.layers]]\ntype = \"linaer\""),
        "error: unknown value `linaer` for `model.layers.type`, run.toml:2:8\nhint: did you mean `linear`?",
    );
    refused(
        parse("[model]\nactivation = \"tahn\""),
        "error: unknown activation `tahn`, run.toml:2:14\nhint: did you mean `tanh`?",
    );
    refused(
        parse("[train]\noptimizer = \"adm\""),
        "error: unknown value `adm` for `train.optimizer`, run.toml:2:13\nhint: did you mean `adam`?",
    );
    refused(
        parse("[model]\ninit = \"he-norml(2)\""),
        "error: unknown initialiser `he-norml`, run.toml:2:8\nhint: did you mean `he-normal`?",
    );
}

#[test]
fn columns_count_characters_not_bytes() {
    refused(
        parse("data = { name = \"größe\", lmit = 3 }"),
        "error: unknown key `lmit` in [data], run.toml:1:26\nhint: did you mean `limit`?",
    );
}

#[test]
fn every_name_of_the_library_is_known_with_its_numbers() {
    for name in eigenlens_nets::Activation::ALL.iter().chain(&["leaky-relu(0.2)", "elu(0.5)"]) {
        assert!(parse(&format!("[model]\nactivation = \"{name}\"")).is_ok(), "{name}");
    }
    for name in eigenlens_nets::init::Init::ALL.iter().chain(&["glorot-normal", "kaiming-uniform", "normal(0.1)"]) {
        assert!(parse(&format!("[model]\ninit = \"{name}\"")).is_ok(), "{name}");
    }
    let hint = "hint: for example tanh, or leaky-relu(0.2) with the slope on the left";
    refused(
        parse("[model]\nactivation = \"tanh(2)\""),
        &format!("error: `model.activation`: activation: tanh takes no number, run.toml:2:14\n{hint}"),
    );
    for (name, text) in [("", ""), ("name = \"act\"\n", " (layer `act`)")] {
        let place = 5 + name.lines().count();
        refused(
            parse(&format!(
                "[[model.layers]]\ntype = \"linear\"\nunits = 3\n[[model.layers]]\n{name}fn = \"leaky-relu(nan)\"\ntype = \"activation\"\n[[model.layers]]\ntype = \"linear\""
            )),
            &format!(
                "error: `model.layers.1.fn`{text}: leaky-relu: slope must be finite, is NaN, run.toml:{place}:6\n{hint}"
            ),
        );
    }
    let hint = "hint: for example he-normal, or normal(0.02) with the standard deviation";
    for number in ["-1", "0"] {
        refused(
            parse(&format!("[model]\ninit = \"normal({number})\"")),
            &format!("error: `model.init`: normal: sd must be finite and positive, is {number}, run.toml:2:8\n{hint}"),
        );
    }
    refused(
        parse("[model]\ninit = \"normal(0.02\""),
        &format!(
            "error: `model.init`: initialiser: 'normal(0.02' is not of the form name or name(number), run.toml:2:8\n{hint}"
        ),
    );
}

#[test]
fn a_wrong_type_names_the_key_and_what_it_takes() {
    refused(
        parse("[train]\nlr = \"fast\""),
        "error: `train.lr`: invalid type: string \"fast\", expected a number, run.toml:2:6\nhint: for example train.lr = 2e-3",
    );
    refused(
        parse("[train]\nepochs = -3"),
        "error: `train.epochs`: invalid value: integer `-3`, expected a whole number, 0 or more, run.toml:2:10\nhint: for example train.epochs = 50",
    );
    refused(
        parse("[[model.layers]]\nunits = 3"),
        "error: `model.layers`: a layer needs a `type`, such as `type = \"linear\"` or `type = \"activation\"`, run.toml:1:1\nhint: for example model.layers = [{ type = \"linear\" }]",
    );
}

#[test]
fn text_that_is_no_toml_is_placed() {
    let error = parse("[train\nlr = 1").unwrap_err().to_string();
    assert!(error.starts_with("error: ") && error.contains("run.toml:1:7"), "{error}");
    assert!(error.contains("\nhint: a line is [section] or key = value"), "{error}");
}

#[test]
fn values_outside_their_range_are_refused_where_they_stand() {
    for (text, key, place) in [
        ("[train]\nbatch_size = 0", "train.batch_size", "2:14"),
        ("[train]\nlr = -0.1", "train.lr", "2:6"),
        ("[train]\nlr = nan", "train.lr", "2:6"),
        ("[train]\nlr = inf", "train.lr", "2:6"),
        ("[data]\ntest = 1.5", "data.test", "2:8"),
        ("[data]\nlimit = 0", "data.limit", "2:9"),
        ("[model]\nhidden = [32, 0]", "model.hidden.1", "2:15"),
        ("[train.optimizer]\nbetas = [0.9, 1.0]", "train.optimizer.betas.1", "2:15"),
        ("[train.schedule]\nkind = \"step\"\nfactor = 0.0", "train.schedule.factor", "3:10"),
        ("[loss]\nl2.lambda = -1.0", "loss.l2.lambda", "2:13"),
        ("[snapshots]\ncount = 1", "snapshots.count", "2:9"),
        ("[spectra]\ntau = 1.0", "spectra.tau", "2:7"),
        ("[spectra]\nslq_probes = 1", "spectra.slq_probes", "2:14"),
        ("[spectra]\ncoupling_probes = 1", "spectra.coupling_probes", "2:19"),
        ("seed = 9223372036854775808", "seed", "1:8"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.starts_with(&format!("error: `{key}` must be ")), "{text}: {error}");
        assert!(error.contains(&format!("run.toml:{place}\nhint: for example ")), "{text}: {error}");
    }
    // What has to be finite says so.
    for key in ["train.lr", "train.optimizer.eps"] {
        for value in ["-1.0", "0.0", "nan", "inf"] {
            let error = with("", &[&format!("{key}={value}")]).expect_err(key);
            assert!(error.what().starts_with(&format!("`{key}` must be a finite number above 0, is ")), "{error}");
        }
    }
    for key in ["memory", "loss.l2.lambda", "train.optimizer.weight_decay"] {
        for value in ["-1.0", "nan", "inf"] {
            let error = with("", &[&format!("{key}={value}")]).expect_err(key);
            assert!(error.what().starts_with(&format!("`{key}` must be a finite number, 0 or more, is ")), "{error}");
        }
    }
}

#[test]
fn options_of_another_kind_are_refused() {
    for (text, option) in [
        ("[train.optimizer]\nmomentum = 0.9", "momentum"),
        ("[train.optimizer]\nkind = \"sgd\"\nbetas = [0.9, 0.99]", "betas"),
        ("[train.schedule]\nkind = \"cosine\"\nwarmup = 3", "warmup"),
        ("[[model.layers]]\ntype = \"linear\"\nfn = \"tanh\"", "fn"),
        ("[model]\nhidden = [3]\nlayers = [{ type = \"linear\" }]", "hidden"),
        ("[data]\ntarget = \"y\"", "target"),
        ("[snapshots]\ncount = 3\nepochs = [0]", "count"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.what().starts_with(&format!("`{option}` has no meaning for ")), "{text}: {error}");
        assert!(error.remedy().is_some(), "{text}");
    }
}

#[test]
fn models_that_cannot_be_built_are_refused() {
    for (text, what) in [
        ("[model]\nlayers = []", "the model has no linear layer"),
        ("[[model.layers]]\ntype = \"activation\"\nfn = \"tanh\"", "the model has no linear layer"),
        (
            "[model]\nlayers = [{ type = \"linear\" }, { type = \"activation\", fn = \"tanh\" }]",
            "the model ends in an activation",
        ),
        ("[model]\nlayers = [{ type = \"linear\" }, { type = \"linear\" }]", "linear layer 0 has no `units`"),
        ("[model]\nlayers = [{ type = \"activation\" }, { type = \"linear\" }]", "activation layer 0 has no `fn`"),
        (
            "[model]\nlayers = [{ type = \"linear\", units = 2, name = \"a\" }, { type = \"linear\", name = \"a\" }]",
            "the layer name `a` is taken",
        ),
        (
            "[model]\nlayers = [{ type = \"linear\", name = \"../a\" }]",
            "the layer name `../a` has to be of letters, digits, `_`, `-` and `.`",
        ),
    ] {
        assert_eq!(parse(text).expect_err(text).what(), what);
    }
}

#[test]
fn sources_of_samples_exclude_each_other() {
    let error = parse("[data]\nname = \"iris\"\ncsv = \"a.csv\"").unwrap_err();
    assert_eq!(error.what(), "both `data.name` and `data.csv` are given");
    let error = parse("[data]\nidx = \"a\"").unwrap_err();
    assert_eq!(error.what(), "`data.idx` is given without `data.idx_labels`");
}

#[test]
fn nothing_left_to_train_on_is_refused() {
    let error = parse("[data]\nvalidation = 0.5\ntest = 0.5").unwrap_err();
    assert!(error.what().ends_with("nothing is left to train on"), "{error}");
    assert!(parse("[train]\nearly_stopping = { patience = 2 }\n[data]\nvalidation = 0.0").is_err());
}

#[test]
fn a_loss_that_does_not_fit_the_task_is_refused() {
    assert!(parse("[data]\ntask = \"regression\"\n[loss]\nkind = \"cross-entropy\"").is_err());
    assert!(parse("[data]\ntask = \"regression\"\n[loss]\nkind = \"mse\"").is_ok());
}

#[test]
fn an_override_wins_over_the_file() {
    let config = with("[train]\nepochs = 3\nlr = 0.5", &["train.epochs=9", "data.name=iris", "seed=4"]).unwrap();
    assert_eq!((config.train.epochs, config.train.lr, config.seed), (9, 0.5, 4));
    assert_eq!(config.data.name.as_deref(), Some("iris"));
}

#[test]
fn an_override_takes_any_toml_value_and_else_a_string() {
    let config = with(
        "",
        &[
            "model.hidden=[8, 4]",
            "model.activation=relu",
            "train.optimizer={kind=\"sgd\", momentum=0.5}",
            "data.csv=a b.csv",
        ],
    )
    .unwrap();
    assert_eq!(config.model.describe(3, 2), "3-8-4-2 relu");
    assert_eq!(config.model.init.as_deref(), Some("he-normal"));
    assert_eq!(config.train.optimizer.momentum, Some(0.5));
    assert_eq!(config.data.source(), DataSource::Csv("a b.csv".into()));
}

#[test]
fn an_override_reaches_into_lists_and_short_forms() {
    let text = "[[model.layers]]\ntype = \"linear\"\nunits = 3\n[[model.layers]]\ntype = \"linear\"\n[train]\noptimizer = \"sgd\"";
    let config = with(text, &["model.layers.0.units=7", "train.optimizer.momentum=0.9"]).unwrap();
    assert_eq!(config.model.describe(2, 1), "2-7-1");
    assert_eq!((config.train.optimizer.kind, config.train.optimizer.momentum), (OptimizerKind::Sgd, Some(0.9)));
}

#[test]
fn errors_of_an_override_name_the_flag() {
    refused(
        with("[train]\nlr = 1", &["train.lr=abc"]),
        "error: `train.lr`: invalid type: string \"abc\", expected a number, --set train.lr=abc\nhint: for example train.lr = 2e-3",
    );
    refused(
        with("", &["train.epochs=5", "train.bach_size=5"]),
        "error: unknown key `bach_size` in [train], --set train.bach_size=5\nhint: did you mean `batch_size`?",
    );
    refused(
        with("[train]\nbatch_size = 4", &["train.batch_size=0"]),
        "error: `train.batch_size` must be at least 1, is 0, --set train.batch_size=0\nhint: for example train.batch_size = 32",
    );
    refused(
        with("", &["model.hidden=[4, 0, 4]"]),
        "error: `model.hidden.1` must be at least 1, is 0, --set model.hidden=[4, 0, 4]\nhint: for example model.hidden = [32, 32]",
    );
    refused(
        with("seed = 3", &["seed.x=1"]),
        "error: `seed` is a single value, not a section, --set seed.x=1\nhint: set it as a whole: --set seed=VALUE",
    );
    assert!(with("[model]\nlayers = [{ type = \"linear\" }]", &["model.layers.5.units=1"]).is_err());
}

#[test]
fn an_override_that_ends_too_soon_names_its_key() {
    refused(
        with("", &["model.hidden=[3"]),
        "error: the value of `model.hidden` is not whole: unclosed array, expected `]`, --set model.hidden=[3\n\
         hint: for example model.hidden = [32, 32]; quote it for the shell: --set 'KEY=VALUE'",
    );
    for value in ["data.name=\"iris", "train.optimizer={kind=\"sgd\"", "data.csv='a", "no.such=[1"] {
        let error = with("", &[value]).expect_err(value);
        let key = value.split('=').next().unwrap();
        assert!(error.what().starts_with(&format!("the value of `{key}` is not whole: ")), "{error}");
        assert!(error.remedy().is_some() && error.to_string().lines().count() == 2, "{error}");
    }
    // A name that only ends like a list is a name.
    assert_eq!(with("", &["data.csv=a]"]).unwrap().data.source(), DataSource::Csv("a]".into()));
}

#[test]
fn an_override_without_a_value_is_refused() {
    assert!(Override::set("train.lr").is_err());
    assert!(Override::set("=3").is_err());
    assert_eq!(Override::set("a.b=c=d").unwrap().value, "c=d");
}

#[test]
fn an_override_of_one_exclusive_key_replaces_the_other() {
    let resolved = parse("").unwrap().to_toml();
    let config = with(&resolved, &["snapshots.epochs=[0, 5]"]).unwrap();
    assert_eq!(config.snapshots, Snapshots { count: None, epochs: Some(vec![0, 5]) });
    let config = with(&resolved, &["model.layers=[{type=\"linear\"}]"]).unwrap();
    assert_eq!(config.model.describe(4, 3), "4-3");
    let config = with("[data]\ncsv = \"a.csv\"\ntarget = \"y\"", &["data.name=wine"]).unwrap();
    assert_eq!(config.data.source(), DataSource::Builtin("wine".into()));
    let config = with("[data]\nname = \"wine\"", &["data.target=y", "data.csv=a.csv"]).unwrap();
    assert_eq!((config.data.name, config.data.target.as_deref()), (None, Some("y")));
}

#[test]
fn the_hash_names_the_numbers_and_nothing_else() {
    let config = parse("").unwrap();
    let other = with("", &["out=x", "threads=7"]).unwrap();
    assert_eq!(config.hash8(), other.hash8());
    assert_ne!(config.hash8(), with("", &["seed=2"]).unwrap().hash8());
    assert_eq!(config.hash8().len(), 8);
}

#[test]
fn a_missing_config_file_says_so() {
    let error = Config::load(Some(Path::new("/no/such.toml")), &[], &dataset_names()).unwrap_err().to_string();
    assert!(error.starts_with("error: cannot read the config: no such file or directory, /no/such.toml"), "{error}");
}

#[test]
fn a_directory_for_a_config_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let of = || Config::load(Some(dir.path()), &[], &dataset_names()).unwrap_err();
    assert_eq!((of().what(), of().remedy()), ("the config is a directory", Some("give a TOML file")));
    let inside = dir.path().join("config.toml");
    std::fs::write(&inside, "").unwrap();
    assert_eq!(of().remedy().unwrap(), format!("did you mean {}?", inside.display()));
}

#[test]
fn a_config_with_windows_line_ends_and_a_mark_at_its_start_is_read() {
    let config = parse("\u{feff}[train]\r\nepochs = 4\r\n").unwrap();
    assert_eq!(config.train.epochs, 4);
}

#[test]
fn every_type_of_layer_is_read_and_written_by_its_name() {
    for name in LayerKind::ALL {
        let layer: Layer = toml::from_str(&format!("type = \"{name}\"")).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(layer.kind.name(), *name);
        assert_eq!(toml::to_string(&layer).unwrap(), format!("type = \"{name}\"\n"));
    }
}

#[test]
fn a_resolved_layer_says_all_that_its_type_takes() {
    let layers = |text: &str| parse(text).unwrap().model.layers.unwrap();
    let text = "[[model.layers]]\ntype = \"conv2d\"\nchannels = 2\nkernel = 3\n[[model.layers]]\ntype = \"batch-norm\"\n\
                [[model.layers]]\ntype = \"max-pool2d\"\nkernel = 2\n[[model.layers]]\ntype = \"activation\"\nfn = \"relu\"\n\
                [[model.layers]]\ntype = \"linear\"\n[[model.layers]]\ntype = \"linear\"\nshares = \"fc1\"";
    let text = text.replacen("type = \"linear\"", "type = \"linear\"\nunits = 4", 1);
    let filled = layers(&text);
    let names: Vec<Option<&str>> = filled.iter().map(|l| l.name.as_deref()).collect();
    assert_eq!(names, [Some("conv2d-1"), Some("batch-norm-1"), None, None, Some("fc1"), Some("fc2")]);
    let conv = &filled[0];
    assert_eq!((conv.stride, conv.padding, conv.groups), (Some(Pair::Both(1)), Some(Pair::Both(0)), Some(1)));
    assert_eq!((filled[1].eps, filled[1].momentum, filled[2].stride), (Some(1e-5), Some(0.1), Some(Pair::Both(2))));
    // The activation behind the norm and the pool decides; what is shared starts elsewhere.
    assert_eq!((conv.init.as_deref(), filled[5].init.as_deref()), (Some("he-normal"), None));
}

#[test]
fn a_layer_starts_by_the_function_of_the_layer_that_reads_it() {
    let text = "[[model.layers]]\ntype = \"linear\"\nname = \"a\"\nunits = 4\n\
                [[model.layers]]\ntype = \"linear\"\nname = \"b\"\nunits = 4\ninputs = [\"input\"]\n\
                [[model.layers]]\ntype = \"activation\"\nfn = \"relu\"\nname = \"r\"\ninputs = [\"a\"]\n\
                [[model.layers]]\ntype = \"add\"\nname = \"s\"\ninputs = [\"r\", \"b\"]\n[[model.layers]]\ntype = \"linear\"";
    let layers = parse(text).unwrap().model.layers.unwrap();
    let inits: Vec<Option<&str>> = layers.iter().map(|l| l.init.as_deref()).collect();
    let plain = Activation::Identity.default_init().to_string();
    assert_eq!(inits, [Some("he-normal"), Some(plain.as_str()), None, None, Some(plain.as_str())]);
}
