//! The whole page, from made-up results.

use super::*;
use crate::config::Config;
use crate::example;

fn manifest() -> Manifest {
    let config = Config::parse(None, &[], &["digits"]).unwrap();
    let mut manifest = Manifest::begin(&config, &["eigenlens".into(), "run".into(), "<b>".into()]);
    manifest.ended = Some(manifest.started.clone());
    manifest.seconds = Some(21.3);
    manifest
}

fn page(result: &RunResult, spectra: &BTreeMap<String, Spectrum>) -> String {
    render(&Input { result, spectra, manifest: &manifest(), config: "seed = 1\n", tau: 1e-6 }).unwrap()
}

/// For looking at pages: EIGENLENS_EXAMPLE names a directory that receives them.
fn show(name: &str, html: &str) {
    if let Some(dir) = std::env::var_os("EIGENLENS_EXAMPLE") {
        std::fs::write(std::path::Path::new(&dir).join(name), html).unwrap();
    }
}

#[test]
fn the_page_loads_nothing_and_has_every_picture() {
    let (result, spectra) = example::run();
    let html = page(&result, &spectra);
    for outside in ["http:", "https:", "src=", "<script", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    // Two curves of training, five quantities, Φ and the edge of stability, three layers; a map of every quantity over time, and at two moments three of
    // parameters, four of activations, two of spectra; four curves by distance.
    let quantities =
        crate::quantities::SHOWN.iter().filter(|s| result.snapshots[0].layers.iter().any(|l| l.get(s.key).is_some()));
    let pictures = 2 + 7 + 3 + quantities.count() + 2 * (3 + 4 + 2) + 4;
    assert_eq!(html.matches("<svg ").count(), pictures);
    assert_eq!(html.matches("</svg>").count(), pictures);
    for words in
        ["Curvature between blocks of parameters", "no root taken", "within 11 %", "b = 0.2", "layer 1 – layer 3: "]
    {
        assert!(html.contains(words), "{words}");
    }
    assert!(!html.contains("NaN") && html.len() < 1_500_000, "{} bytes", html.len());
    assert!(html.contains("run &lt;b&gt;"), "the command line is text");
}

#[test]
fn a_run_that_has_just_begun_has_a_page_too() {
    let (mut result, spectra) = example::run();
    result.snapshots.clear();
    result.training.curve.clear();
    result.test = None;
    let html = page(&result, &spectra);
    assert!(html.contains("How to read this") && !html.contains("<svg "));
}

#[test]
fn a_missing_spectrum_leaves_out_its_row_only() {
    let (result, mut spectra) = example::run();
    let whole = page(&result, &spectra);
    spectra.remove(&crate::rundir::RunDir::spectrum_file(3, "2"));
    let html = page(&result, &spectra);
    assert_eq!(html.matches("<svg ").count(), whole.matches("<svg ").count());
    assert!(html.len() < whole.len());
}

#[test]
fn twenty_layers_of_a_regression_are_drawn() {
    let (mut result, spectra) = example::run();
    for snapshot in &mut result.snapshots {
        let first = snapshot.layers[0].clone();
        let scaled = |k: i32| {
            let mut layer = crate::results::LayerResult { name: k.to_string(), ..first.clone() };
            layer.quantities.values_mut().for_each(|q| q.value *= 1.25f64.powi(k));
            layer
        };
        snapshot.layers = (1..=20).map(scaled).collect();
        snapshot.test = None;
    }
    for point in &mut result.training.curve {
        point.train.r2 = point.train.accuracy.take();
    }
    let html = page(&result, &spectra);
    assert!(html.contains("R²") && html.contains("layer 20"));
    show("many.html", &html);
}

#[test]
fn names_from_outside_stay_text() {
    let (mut result, spectra) = example::run();
    const NAME: &str = "<script>alert('x')</script>&\"";
    for snapshot in &mut result.snapshots {
        snapshot.layers[0].name = NAME.to_owned();
        snapshot.layers[0].kind = NAME.to_owned();
        snapshot.layers[0].route = NAME.to_owned();
    }
    (result.dataset.name, result.model.description, result.hessian_over) = (NAME.into(), NAME.into(), NAME.into());
    result.notes = vec![NAME.into()];
    let html = page(&result, &spectra);
    assert!(!html.contains("<script"), "{}", &html[html.find("<script").unwrap()..][..200]);
    assert!(html.contains("&lt;script&gt;"));
}

#[test]
fn a_run_directory_gets_its_report() {
    let base = tempfile::tempdir().unwrap();
    let (result, spectra) = example::run();
    let config = Config::parse(None, &[], &["digits"]).unwrap();
    let mut run = RunDir::create(&config, None, &["eigenlens".into(), "run".into()], base.path()).unwrap();
    assert_eq!(write(&run).unwrap_err().what(), "the run has no result yet");
    run.write(RESULT, result.to_json().as_bytes()).unwrap();
    for (name, spectrum) in &spectra {
        run.write(name, &spectrum.to_npz()).unwrap();
    }
    run.finish(|_| Ok(())).unwrap();
    let path = write(&RunDir::open(run.path()).unwrap()).unwrap();
    let html = std::fs::read_to_string(&path).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
    show(REPORT, &html);
    run.write(&RunDir::spectrum_file(0, "1"), b"PK").unwrap();
    let error = write(&run).unwrap_err();
    assert!(error.what().starts_with("the spectrum can't be read"), "{error}");
}

#[test]
fn a_result_that_points_out_of_its_directory_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let (mut result, _) = example::run();
    for outside in ["../../x.npz", "/etc/passwd"] {
        result.snapshots[0].layers[0].spectrum = Some(outside.to_owned());
        let config = Config::parse(None, &[], &["digits"]).unwrap();
        let run = RunDir::create(&config, None, &["eigenlens".into(), "run".into()], base.path()).unwrap();
        run.write(RESULT, result.to_json().as_bytes()).unwrap();
        let error = write(&run).unwrap_err();
        assert!(error.what().contains("outside of the run directory"), "{error}");
    }
}
