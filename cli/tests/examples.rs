//! The configs in `examples/`, shortened: each trains, and has a spectrum for every layer.

mod common;

use std::path::Path;

use common::{fine, json, run_in};
use tempfile::tempdir;

#[test]
fn every_example_runs() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let dir = tempdir().unwrap();
        let mut args = vec!["run", path.to_str().unwrap(), "--out", "out"];
        // Little data, one epoch, and no exact spectrum of large layers.
        let short = [
            "data.limit=100",
            "train.epochs=1",
            "snapshots.count=2",
            "spectra.exact_max=200",
            "spectra.slq_steps=10",
            "spectra.slq_probes=2",
            "spectra.pairs=2",
            "spectra.coupling_probes=2",
        ];
        args.extend(short.iter().flat_map(|s| ["--set", s]));
        fine(&run_in(dir.path(), &args));
        let result = json(&dir.path().join("out/result.json"));
        let layers = result["snapshots"][0]["layers"].as_array().unwrap();
        assert!(layers.len() >= 3 && layers.iter().all(|l| l["lambda_max"].is_number()), "{}", path.display());
        count += 1;
    }
    assert!(count >= 3);
}
