//! Networks written and read again have the same curvature, to the last bit.

use std::collections::BTreeMap;

use eigenlens_hessian::layerwise::{LayerwiseOptions, layerwise};
use eigenlens_linalg::Real;
use eigenlens_nets::objective::Cut;
use eigenlens_nets::snapshot::{self, NamedTensor, TensorData};
use eigenlens_nets::{Activation, Loss, Model};
use proptest::prelude::*;

use crate::nets::{any_net, config, linearized, mlp};

fn tensors<T: Real>(model: &Model<T>, theta: &[T], data: impl Fn(&[T]) -> TensorData) -> Vec<NamedTensor> {
    let tensor = |t: &eigenlens_nets::model::Tensor| NamedTensor {
        name: t.name.clone(),
        shape: t.shape.clone(),
        data: data(&theta[t.range.clone()]),
    };
    model.tensors().iter().map(tensor).collect()
}

/// Writes, reads, checks, and gives the flat θ back.
fn round_trip<T: Real>(model: &Model<T>, tensors: &[NamedTensor]) -> Vec<f64> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net.safetensors");
    let metadata = BTreeMap::from([("step".to_string(), "7".to_string())]);
    snapshot::write(&path, tensors, &metadata).unwrap();
    let read = snapshot::read(&path).unwrap();
    assert_eq!(read.metadata, metadata);
    read.check(model.tensors().iter().map(|t| (t.name.as_str(), &t.shape[..]))).unwrap();
    model.tensors().iter().flat_map(|t| read.values(&t.name, &t.shape).unwrap()).collect()
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn snapshots_leave_every_spectrum_unchanged(net in any_net()) {
        let (model, samples, theta) = (net.model::<f64>(), net.samples(), net.theta());
        let back = round_trip(&model, &tensors(&model, &theta, |v| TensorData::F64(v.to_vec())));
        prop_assert_eq!(&back, &theta);
        let spectra = |theta: &[f64]| {
            let objective = linearized(&model, &samples, theta, net.cut);
            format!("{:?}", layerwise(&objective, &model.layer_blocks(), &LayerwiseOptions::default()).unwrap())
        };
        prop_assert_eq!(spectra(&theta), spectra(&back));
    }
}

#[test]
fn single_precision_snapshots_are_read_by_double_precision_analysis_exactly() {
    let net = mlp(&[5, 7, 3], Activation::Tanh, Loss::CrossEntropy, 20);
    let (single, double) = (net.model::<f32>(), net.model::<f64>());
    let theta: Vec<f32> = net.theta().iter().map(|&t| t as f32).collect();
    let back = round_trip(&double, &tensors(&single, &theta, |v| TensorData::F32(v.to_vec())));
    assert!(back.iter().zip(&theta).all(|(a, b)| *a == f64::from(*b)));
    let samples = net.samples();
    let (a, b) =
        (linearized(&double, &samples, &back, Cut::default()), linearized(&single, &samples, &back, Cut::default()));
    assert!((a.loss() - b.loss()).abs() < 1e-5);
}

#[test]
fn snapshots_of_another_network_are_refused() {
    let (net, other) =
        (mlp(&[5, 7, 3], Activation::Tanh, Loss::Mse, 9), mlp(&[5, 6, 3], Activation::Tanh, Loss::Mse, 9));
    let model = net.model::<f64>();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net.safetensors");
    snapshot::write(&path, &tensors(&model, &net.theta(), |v| TensorData::F64(v.to_vec())), &BTreeMap::new()).unwrap();
    let read = snapshot::read(&path).unwrap();
    let other = other.model::<f64>();
    let error = read.check(other.tensors().iter().map(|t| (t.name.as_str(), &t.shape[..]))).unwrap_err().to_string();
    assert!(error.contains("fc1") && error.contains('7') && error.contains('6'), "{error}");
}
