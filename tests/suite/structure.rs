//! Exact blocks from structure against products at the size of a real analysis, and closed forms.

use eigenlens_hessian::kronecker::assemble;
use eigenlens_hessian::operator::Block;
use eigenlens_linalg::dense;
use eigenlens_linalg::operator::to_dense;
use eigenlens_nets::data::{Scaling, Source, Standardizer, load};
use eigenlens_nets::objective::{Cut, Kind};
use eigenlens_nets::{Activation, LayerKind, LayerSpec, Loss, Model, ModelSpec, Samples};

use crate::nets::{apply, close, largest, linearized, mlp, random_theta};

/// All 1,797 digits, standardised, and a 64-64-64-10 network.
fn digits() -> (Model<f64>, Samples) {
    let data = load(&Source::Builtin("digits".into())).unwrap();
    let rows: Vec<usize> = (0..data.rows).collect();
    let scaled = Standardizer::fit(&data, &rows, Scaling::ZScore, false).unwrap().apply(&data);
    let model = mlp(&[64, 64, 64, 10], Activation::Tanh, Loss::CrossEntropy, 1).model::<f64>();
    let samples = Samples::new(&scaled, Loss::CrossEntropy, 10).unwrap();
    assert_eq!((samples.n, model.len()), (1797, 8970));
    (model, samples)
}

#[test]
fn the_spectrum_of_the_last_digits_layer_by_structure_is_that_by_products() {
    let (model, samples) = digits();
    let objective = linearized(&model, &samples, &random_theta(&model, 1), Cut::default());
    let structured = dense::eigenvalues(650, &assemble(&objective, 2, Kind::Hessian)).unwrap();
    let products = dense::eigenvalues(650, &to_dense(&Block::layer(&objective, 2, Kind::Hessian))).unwrap();
    // 1e-10 of the largest is what is asked for; this is 4,500 ε.
    close("eigenvalues", &structured, &products, 1e-12 * largest(&products));
    assert!(structured[0] >= -1e-13 * largest(&products));
}

#[test]
fn columns_of_the_first_digits_layer_by_structure_are_those_by_products() {
    // 4,160 parameters: all eigenvalues are compared by the example `block_spectrum`.
    let (model, samples) = digits();
    let objective = linearized(&model, &samples, &random_theta(&model, 1), Cut::default());
    let (p, k) = (4160, 24);
    let structured = assemble(&objective, 0, Kind::Hessian);
    let column = |i: usize| i * 173 + 7;
    let mut units = vec![0.0; k * p];
    (0..k).for_each(|i| units[i * p + column(i)] = 1.0);
    let products = apply(&Block::layer(&objective, 0, Kind::Hessian), k, &units);
    let size = largest(&structured);
    for (i, product) in products.chunks_exact(p).enumerate() {
        close(&format!("column {}", column(i)), &structured[column(i) * p..][..p], product, 1e-12 * size);
    }
}

#[test]
fn logistic_regression_has_its_closed_form() {
    // H = E[σ(1 − σ) ẑẑᵀ].
    let net = mlp(&[4, 1], Activation::Identity, Loss::Bce, 25);
    let (model, samples, theta) = (net.model::<f64>(), net.samples(), net.theta());
    let objective = linearized(&model, &samples, &theta, net.cut);
    let mut want = vec![0.0; 25];
    for x in samples.x.chunks_exact(4) {
        let z = [x, &[1.0]].concat();
        let o: f64 = z.iter().zip(&theta).map(|(z, t)| z * t).sum();
        let s = 1.0 / (1.0 + (-o).exp());
        (0..25).for_each(|at| want[at] += s * (1.0 - s) * z[at / 5] * z[at % 5] / 25.0);
    }
    close("H", &to_dense(&Block::full(&objective, Kind::Hessian)), &want, 1e-15);
}

#[test]
fn a_deep_linear_network_has_curvature_between_its_layers() {
    // f = (a b x − y)² of one weight each: H = 2 [[b²x², 2abx² − xy], [·, a²x²]].
    let mut spec =
        eigenlens_nets::ModelSpec::mlp(&[1, 1, 1], Activation::Identity, eigenlens_nets::init::Init::Zeros, Loss::Mse);
    for layer in &mut spec.layers {
        if let eigenlens_nets::LayerKind::Linear { bias, .. } = &mut layer.kind {
            *bias = false;
        }
    }
    let model = Model::<f64>::new(&spec).unwrap();
    let (a, b, x, y) = (0.7, -1.3, 2.0, 0.5);
    let samples = Samples { n: 1, x: vec![x], y: vec![y], w: vec![] };
    let objective = linearized(&model, &samples, &[a, b], Cut::default());
    let off = 2.0 * (2.0 * a * b * x * x - x * y);
    let want = [2.0 * b * b * x * x, off, off, 2.0 * a * a * x * x];
    close("H", &to_dense(&Block::full(&objective, Kind::Hessian)), &want, 1e-14);
    let gauss_newton = [want[0], 2.0 * a * b * x * x, 2.0 * a * b * x * x, want[3]];
    close("G", &to_dense(&Block::full(&objective, Kind::GaussNewton)), &gauss_newton, 1e-14);
}

#[test]
fn relu_networks_have_negative_curvature_only_between_layers() {
    let net = mlp(&[6, 8, 7, 4], Activation::Relu, Loss::CrossEntropy, 40);
    let (model, samples) = (net.model::<f64>(), net.samples());
    let objective = linearized(&model, &samples, &net.theta(), net.cut);
    let whole = dense::eigenvalues(model.len(), &to_dense(&Block::full(&objective, Kind::Hessian))).unwrap();
    assert!(whole[0] < -1e-3 * whole.last().unwrap(), "the whole Hessian is indefinite: {}", whole[0]);
    let [h, g] = crate::nets::dense(&objective);
    let trace = |a: &[f64]| (0..model.len()).map(|i| a[i * model.len() + i]).sum::<f64>();
    assert!((trace(&h) - trace(&g)).abs() <= 1e-13 * trace(&g), "tr H = tr G");
    for (index, layer) in model.layers().iter().enumerate() {
        let values = dense::eigenvalues(layer.len(), &assemble(&objective, index, Kind::Hessian)).unwrap();
        assert!(values[0] >= -1e-13 * values.last().unwrap(), "{}: {}", layer.name, values[0]);
    }
}

/// Layer blocks of H and G of a 64-8-8-10 network of ReLUs on 300 real digits, with or without layer norms.
fn on_digits(norms: bool) -> (Model<f64>, Samples) {
    let linear = |name: &str, units| LayerSpec::linear(name, units, true, "he-normal".parse().unwrap());
    let mut layers = Vec::new();
    for name in ["fc1", "fc2"] {
        layers.push(linear(name, 8));
        if norms {
            layers.push(LayerSpec::new(&format!("{name}-norm"), LayerKind::LayerNorm { eps: 1e-5 }));
        }
        layers.push(LayerSpec::activation(Activation::Relu));
    }
    layers.push(linear("out", 10));
    let data = load(&Source::Builtin("digits".into())).unwrap();
    let rows: Vec<usize> = (0..data.rows).collect();
    let scaled = Standardizer::fit(&data, &rows, Scaling::ZScore, false).unwrap().apply(&data);
    let all = Samples::new(&scaled, Loss::CrossEntropy, 10).unwrap();
    let n = 300;
    let samples = Samples { n, x: all.x[..n * 64].to_vec(), y: all.y[..n].to_vec(), w: vec![] };
    (Model::new(&ModelSpec::new(&[64], layers, Loss::CrossEntropy)).unwrap(), samples)
}

#[test]
fn on_real_data_relu_blocks_are_gauss_newton_blocks_and_layer_norm_ends_that() {
    let (model, samples) = on_digits(false);
    let objective = linearized(&model, &samples, &model.init(1), Cut::default());
    for index in 0..model.layers().len() {
        let [h, g] = [Kind::Hessian, Kind::GaussNewton].map(|k| to_dense(&Block::layer(&objective, index, k)));
        let name = &model.layers()[index].name;
        close(name, &h, &g, 1e-13 * largest(&g));
        let values = dense::eigenvalues(model.layers()[index].len(), &h).unwrap();
        let (least, most) = (values[0], values.last().unwrap());
        assert!(least >= -1e-12 * most, "{name}: {least} and {most}");
    }
    let whole = dense::eigenvalues(model.len(), &to_dense(&Block::full(&objective, Kind::Hessian))).unwrap();
    assert!(whole[0] < -1e-2 * whole.last().unwrap(), "the whole Hessian is indefinite: {}", whole[0]);

    let (model, samples) = on_digits(true);
    let objective = linearized(&model, &samples, &model.init(1), Cut::default());
    let norm = |a: &[f64]| a.iter().map(|a| a * a).sum::<f64>().sqrt();
    for (index, layer) in model.layers().iter().enumerate().filter(|(_, l)| ["fc1", "fc2"].contains(&l.name.as_str())) {
        let [h, g] = [Kind::Hessian, Kind::GaussNewton].map(|k| to_dense(&Block::layer(&objective, index, k)));
        let gap = norm(&h.iter().zip(&g).map(|(h, g)| h - g).collect::<Vec<_>>()) / norm(&g);
        println!("{}: ‖H − G‖/‖G‖ = {gap:.3} with layer norm", layer.name);
        assert!(gap > 0.05, "{}: {gap}", layer.name);
    }
}
