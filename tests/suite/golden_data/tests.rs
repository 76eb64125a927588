//! The golden files agree with each other and with a network written out in a few lines here, so that a failure of the
//! engine against them is the engine's.
//!
//! Tolerances: the files were written by programs that sum in another order, so each sum of n terms may differ by about
//! √n ε of the sum of magnitudes; 1e-12 of that size (the README's figure) leaves two decades.

use super::*;

const RELATIVE: f64 = 1e-12;

fn cases() -> impl Iterator<Item = Case> {
    CASES.into_iter().map(load)
}

/// The cases that are chains of linear layers and activations: the network below is written for those.
fn mlps() -> impl Iterator<Item = Case> {
    cases().filter(|case| case.name.contains("_mlp_"))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[track_caller]
fn assert_near(a: f64, b: f64, size: f64, what: &str) {
    assert!((a - b).abs() <= RELATIVE * size, "{what}: {a} and {b} differ by {:e}, size {size:e}", (a - b).abs());
}

/// The network at `theta`, op by op, one sample at a time.
fn forward(case: &Case, theta: &[f64], x: &[f64]) -> Vec<f64> {
    let mut a = x.to_vec();
    let mut layers = case.parameters.chunks_exact(2);
    for op in &case.ops {
        a = match text(&op["op"]) {
            "linear" => {
                let (inputs, outputs) = (size(&op["in"]), size(&op["out"]));
                let [weight, bias] = layers.next().unwrap() else { unreachable!() };
                let weight = Matrix { rows: outputs, cols: inputs, data: theta[weight.range.clone()].to_vec() };
                weight.times(&a).iter().zip(&theta[bias.range.clone()]).map(|(wx, b)| wx + b).collect()
            }
            _ => a.iter().map(|a| activation(text(&op["fn"]), *a)).collect(),
        };
    }
    a
}

fn activation(name: &str, a: f64) -> f64 {
    match name {
        "tanh" => a.tanh(),
        "relu" => a.max(0.0),
        "sigmoid" => 1.0 / (1.0 + (-a).exp()),
        "softplus" => a.max(0.0) + (-a.abs()).exp().ln_1p(),
        other => panic!("an activation '{other}' that this test does not know"),
    }
}

fn loss(case: &Case, theta: &[f64]) -> f64 {
    let n = case.x.rows;
    let of_sample = |i: usize| {
        let out = forward(case, theta, case.x.row(i));
        match (&case.y, case.loss.kind) {
            (Labels::Classes(y), _) => {
                let largest = out.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                largest + out.iter().map(|o| (o - largest).exp()).sum::<f64>().ln() - out[y[i]]
            }
            (Labels::Values(y), LossKind::BceWithLogits) => activation("softplus", out[0]) - y[i] * out[0],
            (Labels::Values(y), _) => (out[0] - y[i]).powi(2),
        }
    };
    let weights = case.parameters.iter().filter(|p| p.name.ends_with(".weight")).flat_map(|p| &theta[p.range.clone()]);
    let l2 = 0.5 * case.loss.l2 * weights.map(|w| w * w).sum::<f64>();
    (0..n).map(of_sample).sum::<f64>() / n as f64 + l2
}

#[test]
fn offsets_are_contiguous_and_cover_the_parameters() {
    for case in cases() {
        let mut end = 0;
        for p in &case.parameters {
            assert_eq!(p.range.start, end, "{}: {}", case.name, p.name);
            assert_eq!(p.range.len(), p.shape.iter().product::<usize>(), "{}: {}", case.name, p.name);
            end = p.range.end;
        }
        assert_eq!(end, case.theta.len(), "{}", case.name);
    }
}

#[test]
fn each_layer_is_the_weight_and_bias_of_its_op() {
    for case in mlps() {
        let linear = case.ops.iter().filter(|op| text(&op["op"]) == "linear");
        let linear = linear.map(|op| (text(&op["name"]), size(&op["in"]), size(&op["out"])));
        let linear: Vec<_> = linear.collect();
        assert_eq!((linear.len(), 2 * linear.len()), (case.layers.len(), case.parameters.len()));
        for ((layer, tensors), (name, inputs, outputs)) in case.layers.iter().zip(case.parameters.chunks(2)).zip(linear)
        {
            assert_eq!(layer.name, name);
            assert_eq!((&tensors[0].name, &tensors[1].name), (&format!("{name}.weight"), &format!("{name}.bias")));
            assert_eq!((&tensors[0].shape[..], &tensors[1].shape[..]), (&[outputs, inputs][..], &[outputs][..]));
            assert_eq!(layer.range, tensors[0].range.start..tensors[1].range.end);
        }
    }
}

#[test]
fn shapes_agree() {
    for case in cases() {
        let (n, p) = (case.x.rows, case.theta.len());
        let labels = match &case.y {
            Labels::Classes(y) => y.len(),
            Labels::Values(y) => y.len(),
        };
        assert_eq!((labels, case.outputs.rows), (n, n), "{}", case.name);
        assert_eq!((case.grad.len(), case.hessian_eigs.len(), case.ggn_eigs.len()), (p, p, p), "{}", case.name);
        for products in [&case.vectors, &case.hvp, &case.ggnvp] {
            assert_eq!((products.rows, products.cols), (4, p), "{}", case.name);
        }
        for layer in &case.layers {
            let n = layer.range.len();
            assert_eq!((layer.eigs.len(), layer.ggn_eigs.len()), (n, n), "{}: {}", case.name, layer.name);
            assert!(layer.block.is_some() != layer.sample.is_some(), "{}: {}", case.name, layer.name);
            if let Some(block) = &layer.block {
                assert_eq!((block.rows, block.cols), (n, n));
            }
            if let Some(sample) = &layer.sample {
                assert_eq!((sample.indices.len(), sample.rows.rows, sample.rows.cols), (16, 16, n));
                assert_eq!((sample.diagonal.len(), sample.products.rows, sample.products.cols), (n, 4, n));
            }
        }
    }
}

#[test]
fn a_forward_pass_by_hand_gives_the_outputs_and_the_loss() {
    for case in mlps() {
        let size = case.outputs.data.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
        for i in 0..case.x.rows {
            for (a, b) in forward(&case, &case.theta, case.x.row(i)).iter().zip(case.outputs.row(i)) {
                assert_near(*a, *b, size, case.name);
            }
        }
        assert_near(loss(&case, &case.theta), case.loss_value, 1.0, case.name);
    }
}

#[test]
fn the_gradient_is_the_slope_of_the_loss_by_hand() {
    for case in mlps() {
        // Small enough that no ReLU of the relu case flips along the first direction.
        let (v, h) = (case.vectors.row(0), 1e-6);
        let at = |h: f64| loss(&case, &case.theta.iter().zip(v).map(|(t, v)| t + h * v).collect::<Vec<_>>());
        let slope = (at(h) - at(-h)) / (2.0 * h);
        // Truncation h²/6 of the third derivative, and rounding ε / h = 2e-10 of the loss.
        let (exact, size) = (dot(&case.grad, v), norm(&case.grad) * norm(v));
        assert!((slope - exact).abs() < 1e-7 * size, "{}: {slope} and {exact}", case.name);
        assert_near(norm(&case.grad), case.grad_norm, case.grad_norm, case.name);
    }
}

#[test]
fn hessians_are_symmetric_and_give_the_stored_products() {
    for case in cases() {
        let Some(hessian) = &case.hessian else { continue };
        for i in 0..hessian.rows {
            for j in 0..i {
                assert_eq!(hessian.row(i)[j].to_bits(), hessian.row(j)[i].to_bits(), "{} at ({i}, {j})", case.name);
            }
        }
        for k in 0..4 {
            let v = case.vectors.row(k);
            for (a, b) in hessian.times(v).iter().zip(case.hvp.row(k)) {
                assert_near(*a, *b, case.frobenius * norm(v), case.name);
            }
        }
    }
}

#[test]
fn eigenvalues_ascend_and_their_sums_are_the_traces_and_norms() {
    for case in cases() {
        let whole = [
            ("H", &case.hessian_eigs, case.trace, case.frobenius),
            ("G", &case.ggn_eigs, case.ggn_trace, case.ggn_frobenius),
        ];
        let blocks = case.layers.iter().flat_map(|l| {
            [("H block", &l.eigs, l.trace, l.frobenius), ("G block", &l.ggn_eigs, l.ggn_trace, l.ggn_frobenius)]
        });
        for (what, eigs, trace, frobenius) in whole.into_iter().chain(blocks) {
            assert!(eigs.is_sorted(), "{}: {what}", case.name);
            // A sum of n eigenvalues, each good to about ε ‖·‖.
            assert_near(eigs.iter().sum(), trace, frobenius * (eigs.len() as f64).sqrt(), case.name);
            assert_near(norm(eigs), frobenius, frobenius, case.name);
        }
        for layer in &case.layers {
            let (first, last) = (layer.eigs[0], layer.eigs[layer.eigs.len() - 1]);
            assert_near(first, layer.lambda_min, layer.frobenius, case.name);
            assert_near(last, layer.lambda_max, layer.frobenius, case.name);
            assert_near(layer.ggn_eigs[layer.ggn_eigs.len() - 1], layer.ggn_lambda_max, layer.frobenius, case.name);
        }
    }
}

#[test]
fn gauss_newton_is_positive_semidefinite_and_carries_the_l2_term() {
    for case in cases() {
        let last = case.ggn_eigs[case.ggn_eigs.len() - 1];
        assert!(case.ggn_eigs[0] >= -RELATIVE * last, "{}: {}", case.name, case.ggn_eigs[0]);
        for k in 0..4 {
            let (v, gv) = (case.vectors.row(k), case.ggnvp.row(k));
            let weights = case.parameters.iter().filter(|p| p.name.ends_with(".weight"));
            let l2: f64 = weights.map(|p| dot(&v[p.range.clone()], &v[p.range.clone()])).sum::<f64>();
            assert!(dot(v, gv) >= case.loss.l2 * l2 - RELATIVE * last * dot(v, v), "{}", case.name);
        }
    }
}

#[test]
fn block_norms_tile_the_hessian() {
    for case in cases() {
        for (norms, frobenius) in [(&case.block_norms, case.frobenius), (&case.ggn_block_norms, case.ggn_frobenius)] {
            assert_eq!(norms.rows, case.layers.len());
            assert_near(norm(&norms.data), frobenius, frobenius, case.name);
        }
        let mut on_diagonal = 0.0;
        for (i, layer) in case.layers.iter().enumerate() {
            assert_near(case.block_norms.row(i)[i], layer.frobenius, layer.frobenius, case.name);
            assert_near(case.ggn_block_norms.row(i)[i], layer.ggn_frobenius, layer.ggn_frobenius, case.name);
            on_diagonal += layer.frobenius.powi(2);
        }
        assert_near(on_diagonal / case.frobenius.powi(2), case.diagonal_share, 1.0, case.name);
    }
}

#[test]
fn sampled_rows_agree_with_the_diagonal_and_the_products() {
    let case = load("digits_mlp_relu_ce");
    assert_eq!(case.layers.iter().filter(|l| l.sample.is_some()).count(), 2);
    for layer in &case.layers {
        let Some(sample) = &layer.sample else { continue };
        assert_near(sample.diagonal.iter().sum(), layer.trace, layer.trace, &layer.name);
        for (r, &i) in sample.indices.iter().enumerate() {
            assert_near(sample.rows.row(r)[i], sample.diagonal[i], layer.frobenius, &layer.name);
            for k in 0..4 {
                let v = &case.vectors.row(k)[layer.range.clone()];
                assert_near(
                    dot(sample.rows.row(r), v),
                    sample.products.row(k)[i],
                    layer.frobenius * norm(v),
                    &layer.name,
                );
            }
        }
    }
}

#[test]
fn lanczos_begins_with_the_rayleigh_quotient_and_the_residual() {
    for case in cases() {
        let whole = (0..case.theta.len(), &case.lanczos, case.hessian.clone());
        let blocks = case.layers.iter().map(|l| (l.range.clone(), &l.lanczos, l.block.clone()));
        for (range, lanczos, matrix) in blocks.chain([whole]) {
            assert_eq!(lanczos.alpha.len(), lanczos.beta.len(), "{}", case.name);
            let v = &case.vectors.row(0)[range];
            let q: Vec<f64> = v.iter().map(|x| x / norm(v)).collect();
            let Some(matrix) = matrix else { continue };
            let aq = matrix.times(&q);
            let alpha = dot(&q, &aq);
            let residual: Vec<f64> = aq.iter().zip(&q).map(|(a, q)| a - alpha * q).collect();
            assert_near(alpha, lanczos.alpha[0], case.frobenius, case.name);
            assert_near(norm(&residual), lanczos.beta[0], case.frobenius, case.name);
        }
    }
}

#[test]
fn the_third_direction_lives_on_the_first_layer() {
    for case in cases() {
        let v = case.vectors.row(2);
        let end = case.layers[0].range.end;
        assert!(v[..end].iter().all(|x| *x != 0.0) && v[end..].iter().all(|x| *x == 0.0), "{}", case.name);
    }
}

#[test]
#[should_panic(expected = "no_such_case/arch.json")]
fn a_missing_file_is_named() {
    load("no_such_case");
}
