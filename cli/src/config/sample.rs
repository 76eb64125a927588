//! A right value for every option, for the hints of refusals.

/// Every option with a value that it may take, and a remark where the value does not speak for itself. Options of a layer
/// stand under `[model.layers]`, whichever layer they are in.
const SAMPLES: &str = r#"
seed = 1
threads = 0  # one per core
memory = 4.0  # GiB
precision = "f64"
out = "runs/mine"
[data]
name = "digits"
csv = "my.csv"
text = "novel.txt"
context = 32
idx = "images.idx"
idx_labels = "labels.idx"
npy = "x.npy"
npy_targets = "y.npy"
npz = "my.npz"
target = "y"
inputs = "x"
weights = "weight"
parameters = { sigma = 0.1 }
task = "classification"
validation = 0.1
test = 0.2
standardize = "zscore"
limit = 1000
[model]
name = "resnet-8"
width = 16
depth = 2
norm = "batch"
skips = true
heads = 4
patch = 4
kernel = 3
bottleneck = 8
merge = "bilinear"
weights = "run/snapshots/last.safetensors"
input = [1, 8, 8]
hidden = [32, 32]
activation = "tanh"
init = "xavier-uniform"
bias = true
layers = [{ type = "linear" }]
[model.layers]
type = "linear"
name = "head"
inputs = ["fc1"]
shares = "fc1"
units = 32
bias = true
init = "he-normal"
fn = "tanh"
channels = 8
kernel = 3  # or [3, 3]
stride = 1
padding = 1
dilation = 1
groups = 4
eps = 1e-5
momentum = 0.1
statistics = "running"
heads = 4
causal = true
vocabulary = 100
width = 16
length = 16
shape = [16, 4]
axes = [1, 0]
axis = 0
start = 1.0
rate = 0.1
[loss]
kind = "mse"
smoothing = 0.1
class_weights = "balanced"  # or [1.0, 2.0]
l2 = { lambda = 1e-4 }
[loss.l2]
lambda = 1e-4
scope = "all"
[train]
epochs = 50
batch_size = 32
lr = 2e-3
precision = "f32"
optimizer = "adam"
schedule = "cosine"
early_stopping = { patience = 5 }
[train.optimizer]
kind = "sgd"
momentum = 0.9
nesterov = true
betas = [0.9, 0.999]
eps = 1e-8
weight_decay = 0.01
[train.schedule]
kind = "step"
every = 16
factor = 0.1
warmup = 5
floor = 0.01
[train.early_stopping]
patience = 5
min_delta = 0.0
[snapshots]
count = 8
epochs = [0, 1, 10]
[spectra]
curvature = "gauss-newton"
part = "train"
rows = 500
exact_max = 2100
quantities = ["trace", "lambda_max"]
method = "exact"
bottom_pairs = 1
blocks = "layer"
pairs = 10
slq_probes = 10
slq_steps = 60
tau = 1e-3
coupling_probes = 32
only = ["fc*"]
groups = { encoder = ["enc*", "attn.*"] }
[interlayer]
enabled = true
method = "probes"
exact_max = 1200
probes = 30
"#;

/// `for example train.lr = 2e-3`, of a dotted key; places in lists (`model.hidden.1`) count for nothing.
pub fn hint(key: &str) -> Option<String> {
    let parts: Vec<&str> = key.split('.').filter(|part| part.parse::<usize>().is_err()).collect();
    let (option, section) = (parts.last()?, parts[..parts.len() - 1].join("."));
    let mut at = "";
    for line in SAMPLES.lines() {
        if let Some(name) = line.strip_prefix('[') {
            at = name.trim_end_matches(']');
        } else if at == section
            && let Some((name, value)) = line.split_once(" = ")
            && name == *option
        {
            let (value, remark) = value.split_once("  # ").unwrap_or((value, ""));
            let key = if section == "model.layers" { (*option).to_owned() } else { parts.join(".") };
            let remark = if remark.is_empty() { String::new() } else { format!(" ({remark})") };
            return Some(format!("for example {key} = {value}{remark}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Override, source::Source};

    /// The keys that the reader says a section has.
    fn known(section: &str) -> Vec<String> {
        let key = if section.is_empty() { "no_such_key".to_owned() } else { format!("{section}.no_such_key") };
        let text = if section == "model.layers" {
            "model.layers = [{ type = 'linear', no_such_key = 1 }]".to_owned()
        } else {
            format!("{key} = 1")
        };
        let error = toml::from_str::<crate::config::Config>(&text).unwrap_err().to_string();
        let listed = error.split("expected one of ").nth(1).unwrap_or_else(|| error.split("expected ").nth(1).unwrap());
        listed.lines().next().unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_option_has_a_sample_that_its_type_takes() {
        let sections = [
            "",
            "data",
            "model",
            "model.layers",
            "loss",
            "loss.l2",
            "train",
            "train.optimizer",
            "train.schedule",
            "train.early_stopping",
            "snapshots",
            "spectra",
            "interlayer",
        ];
        let mut seen = 0;
        for section in sections {
            for option in known(section) {
                let key = if section.is_empty() { option.clone() } else { format!("{section}.{option}") };
                if sections[1..].contains(&key.as_str()) && hint(&key).is_none() {
                    continue;
                }
                let text = hint(&key).unwrap_or_else(|| panic!("no sample of {key}"));
                let assignment = text.strip_prefix("for example ").unwrap().split(" (").next().unwrap();
                let (_, value) = assignment.split_once(" = ").unwrap();
                let (file, key) = if section == "model.layers" {
                    ("[[model.layers]]\ntype = 'linear'", format!("model.layers.0.{option}"))
                } else {
                    ("", key)
                };
                let set = Override::set(&format!("{key}={value}")).unwrap();
                // `patience` is needed beside any other.
                let patience = Override::set("train.early_stopping.patience=5").unwrap();
                let overrides = if key.ends_with(".min_delta") { vec![patience, set] } else { vec![set] };
                let source = Source::new(Some(("run.toml", file)), &overrides).unwrap();
                source.read::<crate::config::Config>().unwrap_or_else(|e| panic!("{key}: {e}"));
                seen += 1;
            }
        }
        assert_eq!(seen, SAMPLES.lines().filter(|line| line.contains(" = ")).count(), "a sample of no option");
    }

    #[test]
    fn places_in_lists_count_for_nothing() {
        assert_eq!(hint("model.hidden.1").unwrap(), "for example model.hidden = [32, 32]");
        assert_eq!(hint("model.layers.2.eps").unwrap(), "for example eps = 1e-5");
        assert_eq!(hint("threads").unwrap(), "for example threads = 0 (one per core)");
        assert_eq!(hint("no.such"), None);
    }
}
