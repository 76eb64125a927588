//! Exact spectra of layers whose dense block nobody could hold.

use eigenlens_hessian::block::{BlockOptions, Route};
use eigenlens_hessian::gram::Factors;
use eigenlens_hessian::kronecker::Tile;
use eigenlens_hessian::layerwise::block;
use eigenlens_hessian::operator::Block;
use eigenlens_hessian::spectrum::{Repeated, Spectrum};
use eigenlens_linalg::Stop;
use eigenlens_linalg::eigs::{End, Options, eigs};
use eigenlens_nets::data::{Source, load};
use eigenlens_nets::init::{Fan, Init};
use eigenlens_nets::objective::{Cut, Kind};
use eigenlens_nets::{Activation, Loss, Model, ModelSpec, Samples};

use crate::nets::linearized;

/// The first layer of 784-512-10 on 500 images of MNIST, against Lanczos, the exact trace and the exact norm.
#[test]
fn all_4500_eigenvalues_of_a_layer_of_401_920_parameters() {
    let n = 500;
    let data = load(&Source::Builtin("mnist".into())).unwrap();
    let all = Samples::new(&data, Loss::CrossEntropy, 10).unwrap();
    let x = all.x[..n * 784].iter().map(|x| x / 255.0).collect();
    let samples = Samples { n, x, y: all.y[..n].to_vec(), w: Vec::new() };
    let spec = ModelSpec::mlp(
        &[784, 512, 10],
        Activation::Relu,
        Init::HeNormal { fan: Fan::In, gain: std::f64::consts::SQRT_2 },
        Loss::CrossEntropy,
    );
    let model = Model::<f64>::new(&spec).unwrap();
    let objective = linearized(&model, &samples, &model.init(0), Cut::default());
    let part = &model.layer_blocks()[0];
    let rank = 9 * n;
    let options = BlockOptions { exact_max: rank, ..BlockOptions::default() };
    let report = block(&objective, part, Kind::Hessian, &options).unwrap();
    assert_eq!((report.route, report.parameters), (Route::Gram, 401_920));
    let Spectrum::Exact { eigenvalues, repeated } = &report.spectrum else { panic!("not exact") };
    assert_eq!(eigenvalues.len(), rank);
    assert_eq!(*repeated, Repeated { value: 0.0, count: 401_920 - rank });
    // All of them are above the rounding: N (C − 1) is the rank.
    let top = eigenvalues[rank - 1];
    assert!(eigenvalues[0] > 1e-12 * top, "the smallest is {:e} of the largest", eigenvalues[0] / top);
    let lanczos = eigs(&Block::part(&objective, part, Kind::Hessian), &Options::new(5, End::Largest));
    assert_eq!(lanczos.stop, Stop::Converged);
    for (k, value) in lanczos.values.iter().enumerate() {
        let own = report.spectrum.largest(k).unwrap().value;
        assert!((own - value).abs() <= 1e-8 * value, "λ_{k}: {own:e} and {value:e}");
    }
    let factors = Factors::new(&objective, &Tile::layer(&model, 0), Kind::Hessian).unwrap();
    let (trace, norm) = (factors.trace(), factors.frobenius_squared().sqrt());
    assert!((report.value("trace").unwrap() - trace).abs() <= 1e-12 * trace);
    assert!((report.value("frobenius").unwrap() - norm).abs() <= 1e-12 * norm);
    assert_eq!(report.value("negative_count"), Some(0.0));
}
