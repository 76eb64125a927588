//! What is written is what is read, and nothing that is not a number gets through.

use eigenlens_nets::data::npz;

use super::*;
use crate::example;

#[test]
fn a_result_comes_back_from_its_json() {
    let (result, _) = example::run();
    let text = result.to_json();
    let again = RunResult::from_json(&text, "result.json").unwrap().to_json();
    same("", &serde_json::from_str(&text).unwrap(), &serde_json::from_str(&again).unwrap());
}

/// Equal but for the last bit of a number, which serde_json's reader doesn't promise.
fn same(path: &str, a: &serde_json::Value, b: &serde_json::Value) {
    use serde_json::Value::*;
    match (a, b) {
        (Object(a), Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{path}: {:?} {:?}", a.keys(), b.keys());
            a.iter().for_each(|(key, value)| same(&format!("{path}.{key}"), value, &b[key]));
        }
        (Array(a), Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| same(&format!("{path}[{i}]"), a, b));
        }
        (Number(x), Number(y)) => {
            let (x, y) = (x.as_f64().unwrap(), y.as_f64().unwrap());
            assert!((x - y).abs() <= 4.0 * f64::EPSILON * x.abs(), "{path}: {x} {y}");
        }
        _ => assert_eq!(a, b, "{path}"),
    }
}

#[test]
fn the_json_has_what_readers_rely_on() {
    let (result, _) = example::run();
    let json: serde_json::Value = serde_json::from_str(&result.to_json()).unwrap();
    assert!(json["test"]["accuracy"].as_f64().is_some());
    for snapshot in json["snapshots"].as_array().unwrap() {
        for layer in snapshot["layers"].as_array().unwrap() {
            assert!(layer["name"].is_string() && layer["parameters"].as_u64().is_some());
            for key in ["lambda_max", "lambda_min", "trace", "frobenius"] {
                assert!(layer[key].as_f64().is_some(), "{key}");
            }
        }
    }
}

#[test]
fn what_is_not_finite_is_absent_and_named() {
    let (mut result, _) = example::run();
    // In maps a null says that a pair has no such number.
    result.snapshots.iter_mut().for_each(|s| s.maps = Maps::default());
    result.snapshots[1].phi = Some(Measured::mean(f64::NAN, f64::NAN, 1));
    result.training.curve[2].train.loss = Some(f64::INFINITY);
    result.snapshots[0].layers[1] = LayerResult::new(
        "2",
        "linear",
        3,
        "exact",
        [("trace".to_owned(), Measured::exact(f64::NAN)), ("lambda_max".to_owned(), Measured::bounded(1.0, f64::NAN))],
    );
    let text = result.to_json();
    assert!(!text.contains("null"), "{text}");
    let back = RunResult::from_json(&text, "result.json").unwrap();
    assert_eq!(back.snapshots[1].phi, None);
    assert_eq!(back.snapshots[0].layers[1].notes, ["trace is not finite and left out"]);
    for path in ["snapshots[1].phi", "training.curve[2].train.loss"] {
        assert!(back.notes.iter().any(|n| n.starts_with(path)), "{path} in {:?}", back.notes);
    }
    assert!(!metrics_csv(&result).to_lowercase().contains("nan"));
}

#[test]
fn other_schemas_and_other_files_are_refused() {
    let read = |text| RunResult::from_json(text, "x.json").unwrap_err().what().to_owned();
    assert_eq!(read("{\"schema\": 99}"), "the result has schema 99, this version reads 1");
    assert_eq!(read("{}"), "it is not the result of a run");
    assert!(read("{").starts_with("the result is damaged: "));
    assert!(read("{\"schema\": 1}").starts_with("the result can't be read: "));
}

#[test]
fn the_csv_has_a_row_for_each_snapshot_layer_and_quantity() {
    let (result, _) = example::run();
    let text = metrics_csv(&result);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("snapshot,epoch,step,layer,quantity,value,standard_error,residual,data_error"));
    let quantities: usize = result.snapshots.iter().flat_map(|s| &s.layers).map(|l| l.quantities.len()).sum();
    let of_layers = lines.clone().filter(|l| l.split(',').nth(3) != Some("*")).count();
    assert_eq!(of_layers, quantities);
    let phi: Vec<&str> = lines.filter(|l| l.contains(",phi,")).collect();
    assert_eq!(phi.len(), result.snapshots.len());
    assert!(phi[0].starts_with("0,0,0,*,phi,0."), "{}", phi[0]);
}

#[test]
fn spectra_come_back_from_their_files() {
    let (_, spectra) = example::run();
    let kinds = spectra.values().map(|s| matches!(s, Spectrum::Exact { .. }));
    assert!(kinds.clone().any(|exact| exact) && kinds.clone().any(|exact| !exact), "both kinds are tried");
    for (name, spectrum) in &spectra {
        assert_eq!(&Spectrum::from_npz(&spectrum.to_npz(), name).unwrap(), spectrum);
    }
}

#[test]
fn repeated_eigenvalues_are_kept_as_one() {
    let spectrum = Spectrum::Exact { values: vec![0.5, 2.0], repeated: (0.0, 400_000) };
    let bytes = spectrum.to_npz();
    assert!(bytes.len() < 2000, "{} bytes", bytes.len());
    assert_eq!((Spectrum::from_npz(&bytes, "x").unwrap(), spectrum.dim()), (spectrum.clone(), 400_002));
    assert_eq!(spectrum.known(), [0.5, 2.0, 0.0]);
    let column = npz::Column::F64;
    for (dim, repeated) in [(&[1.0][..], &[0.0][..]), (&[3.5], &[0.0]), (&[3.0], &[]), (&[], &[0.0])] {
        let bytes =
            npz::write(&[("dim", column(dim)), ("eigenvalues", column(&[1.0, 2.0])), ("repeated", column(repeated))]);
        assert!(Spectrum::from_npz(&bytes, "x").is_err(), "{dim:?} {repeated:?}");
    }
}

#[test]
fn probes_may_differ_in_length() {
    let spectrum = Spectrum::Quadrature {
        dim: 9,
        probes: vec![
            Probe { nodes: vec![1.0], weights: vec![1.0] },
            Probe { nodes: vec![0.0, 2.0], weights: vec![0.5, 0.5] },
        ],
        top: vec![Pair { value: 2.0, residual: 1e-9 }],
        bottom: vec![],
        cdf: Some(Cdf {
            at: vec![0.0, 1.0],
            mean: vec![0.25, 0.75],
            enclosure: (vec![0.25, 0.5], vec![0.25, 1.0]),
            band: (vec![0.0, 0.1], vec![0.5, 1.0]),
            level: 0.95,
        }),
    };
    assert_eq!(Spectrum::from_npz(&spectrum.to_npz(), "x").unwrap(), spectrum);
}

/// Files of earlier versions have no distribution function; files with half of one are damaged.
#[test]
fn a_distribution_function_may_be_absent_but_not_in_part() {
    let (one, none) = ([1.0], []);
    let column = npz::Column::F64;
    let mut columns =
        vec![("dim", column(&one)), ("nodes", column(&one)), ("weights", column(&one)), ("probe", column(&one))];
    columns.extend(["top", "top_residuals", "bottom", "bottom_residuals"].map(|name| (name, column(&none))));
    let Spectrum::Quadrature { cdf, .. } = Spectrum::from_npz(&npz::write(&columns), "x").unwrap() else { panic!() };
    assert!(cdf.is_none());
    columns.push(("cdf_at", column(&one)));
    let error = Spectrum::from_npz(&npz::write(&columns), "x").unwrap_err().to_string();
    assert!(error.contains("the array cdf is missing"), "{error}");
}

#[test]
fn arrays_that_do_not_fit_together_are_refused() {
    let bytes = npz::write(&[("nodes", npz::Column::F64(&[1.0]))]);
    let error = Spectrum::from_npz(&bytes, "a.npz").unwrap_err().to_string();
    assert_eq!(error, "error: the spectrum can't be read: the array weights is missing, a.npz");
}
