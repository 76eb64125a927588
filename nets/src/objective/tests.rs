//! Shards, lanes, blocks, penalty and threads against plain sums.

use super::*;
use crate::activation::Activation;
use crate::init::Init;
use crate::spec::{LayerKind, LayerSpec, ModelSpec, Penalty, Scope, Statistics, Window};
use eigenlens_autodiff::check::check_function;

/// Samples of a network with short decimals.
fn samples(n: usize, inputs: usize, outputs: usize, loss: Loss) -> Samples {
    let value = |i: usize| ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0;
    let y = match loss {
        Loss::CrossEntropy => (0..n).map(|i| ((i * 7) % outputs) as f64).collect(),
        Loss::Mse => (0..n * outputs).map(|i| value(3 * i + 1)).collect(),
        Loss::Bce => (0..n * outputs).map(|i| f64::from(u8::from(i % 3 == 0))).collect(),
    };
    Samples { n, x: (0..n * inputs).map(value).collect(), y, w: vec![] }
}

fn spec(activation: Activation, loss: Loss) -> ModelSpec {
    ModelSpec::mlp(&[4, 6, 5, 3], activation, Init::XavierNormal { gain: 1.5 }, loss)
}

fn params<T: Real>(model: &Model<T>) -> Vec<NodeId> {
    model.graph().params().to_vec()
}

fn direction(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 53 + seed * 17 + 5) % 97) as f64 / 48.0 - 1.0).collect()
}

fn hvp<T: Real>(o: &Objective<'_, T>, kind: Kind, v: &[f64], lanes: usize) -> Vec<f64> {
    let all = params(o.model());
    let plan = o.plan(&all, &all, kind).unwrap();
    let mut y = vec![0.0; v.len()];
    o.product(&plan, lanes, v, &mut y);
    y
}

fn linearized<'m, T: Real>(model: &'m Model<T>, data: &Samples, cut: Cut) -> Objective<'m, T> {
    let mut o = Objective::new(model, data, Reduction::Mean, Order::Second, cut).unwrap();
    o.linearize_with_gradient(&model.init(3));
    o
}

fn close(a: &[f64], b: &[f64], tol: f64) {
    let scale = a.iter().chain(b).fold(1e-300_f64, |m, x| m.max(x.abs()));
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tol * scale, "entry {i}: {a} and {b} at scale {scale}");
    }
}

#[test]
fn every_activation_and_loss_passes_the_taylor_tests() {
    for activation in Activation::all() {
        for loss in [Loss::CrossEntropy, Loss::Mse, Loss::Bce] {
            let model = Model::<f64>::new(&spec(activation, loss)).unwrap();
            let data = samples(5, 4, 3, loss);
            let inputs = [(model.input(), data.x.clone()), (model.target(), data.y.clone())];
            let report = check_function(
                &format!("{activation} {loss}"),
                model.function(),
                &model.init(3),
                &inputs,
                &[0.2; 5],
                1,
            );
            let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
            assert!(failures.is_empty(), "{}", failures.join("\n"));
        }
    }
}

#[test]
fn shards_and_groups_add_up_to_one_batch() {
    let model = Model::<f64>::new(&spec(Activation::Gelu, Loss::CrossEntropy)).unwrap();
    let data = samples(29, 4, 3, Loss::CrossEntropy);
    let whole = linearized(&model, &data, Cut { rows: Some(29), groups: None });
    // Uneven batches: the last shard has 1 sample, and the mean must still be over all 29.
    let cut = linearized(&model, &data, Cut { rows: Some(4), groups: Some(3) });
    assert_eq!(cut.shards(), 8);
    assert!((whole.loss() - cut.loss()).abs() < 1e-14);
    close(whole.gradient(), cut.gradient(), 1e-14);
    let v = direction(model.len(), 1);
    close(&hvp(&whole, Kind::Hessian, &v, 1), &hvp(&cut, Kind::Hessian, &v, 1), 1e-14);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let spec = ModelSpec::mlp(&[40, 48, 48, 3], Activation::Tanh, Init::LecunNormal, Loss::CrossEntropy);
    let model = Model::<f32>::new(&spec).unwrap();
    let data = samples(500, 40, 3, Loss::CrossEntropy);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let o = linearized(&model, &data, Cut { rows: Some(48), groups: Some(5) });
            let v: Vec<f64> = [1, 2, 3].iter().flat_map(|&s| direction(model.len(), s)).collect();
            (o.loss().to_bits(), o.gradient().to_vec(), hvp(&o, Kind::Hessian, &v, 3))
        })
    };
    let one = run(1);
    for threads in [2, 3, 4] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn lanes_equal_single_products() {
    let model = Model::<f64>::new(&spec(Activation::Silu, Loss::Mse)).unwrap();
    let o = linearized(&model, &samples(13, 4, 3, Loss::Mse), Cut { rows: Some(5), groups: Some(2) });
    let (p, lanes) = (model.len(), 3);
    let v: Vec<f64> = (0..lanes).flat_map(|s| direction(p, s)).collect();
    let together = hvp(&o, Kind::Hessian, &v, lanes);
    for k in 0..lanes {
        close(&together[k * p..(k + 1) * p], &hvp(&o, Kind::Hessian, &v[k * p..(k + 1) * p], 1), 1e-14);
    }
}

#[test]
fn blocks_are_the_blocks_of_the_full_product() {
    let model = Model::<f64>::new(&spec(Activation::Softplus, Loss::CrossEntropy)).unwrap();
    let o = linearized(&model, &samples(11, 4, 3, Loss::CrossEntropy), Cut::default());
    for from in model.layers() {
        let v = direction(from.len(), 4);
        let mut padded = vec![0.0; model.len()];
        padded[from.range.clone()].copy_from_slice(&v);
        let full = hvp(&o, Kind::Hessian, &padded, 1);
        for to in model.layers() {
            let plan = o.plan(&from.params, &to.params, Kind::Hessian).unwrap();
            let mut y = vec![f64::NAN; to.len()];
            o.product(&plan, 1, &v, &mut y);
            close(&y, &full[to.range.clone()], 1e-13);
        }
    }
}

#[test]
fn the_gauss_newton_product_is_positive_and_the_hessian_of_a_linear_net_s_last_layer() {
    let model = Model::<f64>::new(&spec(Activation::Tanh, Loss::CrossEntropy)).unwrap();
    let o = linearized(&model, &samples(17, 4, 3, Loss::CrossEntropy), Cut::default());
    for seed in 0..5 {
        let v = direction(model.len(), seed);
        let g = hvp(&o, Kind::GaussNewton, &v, 1);
        assert!(g.iter().zip(&v).map(|(g, v)| g * v).sum::<f64>() >= -1e-15);
    }
    // Logits are linear in the last layer, so its block has no residual part for any activation.
    let last = model.layers().last().unwrap();
    let v = direction(last.len(), 9);
    let mut both = Vec::new();
    for kind in [Kind::Hessian, Kind::GaussNewton] {
        let mut y = vec![0.0; last.len()];
        o.product(&o.plan(&last.params, &last.params, kind).unwrap(), 1, &v, &mut y);
        both.push(y);
    }
    close(&both[0], &both[1], 1e-14);
}

#[test]
fn hidden_blocks_of_smooth_nets_are_not_gauss_newton_and_those_of_relu_nets_are() {
    for (activation, equal) in [(Activation::Relu, true), (Activation::Tanh, false)] {
        let model = Model::<f64>::new(&spec(activation, Loss::CrossEntropy)).unwrap();
        let o = linearized(&model, &samples(17, 4, 3, Loss::CrossEntropy), Cut::default());
        let first = &model.layers()[0];
        let v = direction(first.len(), 2);
        let product = |kind| {
            let mut y = vec![0.0; first.len()];
            o.product(&o.plan(&first.params, &first.params, kind).unwrap(), 1, &v, &mut y);
            y
        };
        let (h, g) = (product(Kind::Hessian), product(Kind::GaussNewton));
        let gap: f64 = h.iter().zip(&g).map(|(h, g)| (h - g).abs()).sum();
        assert_eq!(gap < 1e-13, equal, "{activation}: {gap}");
    }
}

#[test]
fn the_penalty_is_in_loss_gradient_hessian_and_gauss_newton() {
    let mut with = spec(Activation::Sigmoid, Loss::Bce);
    let without = Model::<f64>::new(&with).unwrap();
    with.penalty = Some(Penalty { lambda: 0.25, scope: Scope::Weights });
    let model = Model::<f64>::new(&with).unwrap();
    let data = samples(9, 4, 3, Loss::Bce);
    let (a, b) = (linearized(&model, &data, Cut::default()), linearized(&without, &data, Cut::default()));
    let theta = model.init(3);
    let mask: Vec<f64> = {
        let mut m = vec![0.0; model.len()];
        model.weight_ranges().into_iter().for_each(|r| m[r].fill(0.25));
        m
    };
    let square: f64 = theta.iter().zip(&mask).map(|(t, m)| 0.5 * m * t * t).sum();
    assert!((a.loss() - b.loss() - square).abs() < 1e-14);
    let want: Vec<f64> = b.gradient().iter().zip(&theta).zip(&mask).map(|((g, t), m)| g + m * t).collect();
    close(a.gradient(), &want, 1e-14);
    let v = direction(model.len(), 6);
    for kind in [Kind::Hessian, Kind::GaussNewton] {
        let want: Vec<f64> = hvp(&b, kind, &v, 1).iter().zip(&v).zip(&mask).map(|((h, v), m)| h + m * v).collect();
        close(&hvp(&a, kind, &v, 1), &want, 1e-14);
        // A block from the second layer to itself has its own share only, one between layers none.
        let (l1, l2) = (&model.layers()[0], &model.layers()[1]);
        let mut cross = vec![0.0; l2.len()];
        a.product(&a.plan(&l1.params, &l2.params, kind).unwrap(), 1, &v[l1.range.clone()], &mut cross);
        let mut plain = vec![0.0; l2.len()];
        b.product(&b.plan(&l1.params, &l2.params, kind).unwrap(), 1, &v[l1.range.clone()], &mut plain);
        close(&cross, &plain, 1e-15);
    }
}

#[test]
fn f32_agrees_with_f64_to_its_precision() {
    let spec = spec(Activation::Elu { alpha: 1.0 }, Loss::CrossEntropy);
    let (m32, m64) = (Model::<f32>::new(&spec).unwrap(), Model::<f64>::new(&spec).unwrap());
    let data = samples(33, 4, 3, Loss::CrossEntropy);
    let (a, b) = (linearized(&m32, &data, Cut::default()), linearized(&m64, &data, Cut::default()));
    close(a.gradient(), b.gradient(), 1e-5);
    let v = direction(m64.len(), 1);
    close(&hvp(&a, Kind::Hessian, &v, 1), &hvp(&b, Kind::Hessian, &v, 1), 1e-5);
}

#[test]
fn activation_sweeps_give_per_sample_curvature() {
    // For the last layer's output, ∂²ℓ/∂o² = diag p − ppᵀ, whose rows sum to 0.
    let model = Model::<f64>::new(&spec(Activation::Tanh, Loss::CrossEntropy)).unwrap();
    let o = linearized(&model, &samples(10, 4, 3, Loss::CrossEntropy), Cut { rows: Some(4), groups: Some(2) });
    let node = model.logits();
    let plan = Plan::hessian(model.graph(), &[node], &[node]).unwrap();
    let rows =
        o.sweep_activations(&plan, 1, |_, ws| ws.tangent_mut(node).fill(1.0), |_, ws| ws.cotangent(node).to_vec());
    assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [12, 12, 6]);
    assert!(rows.concat().iter().all(|x| x.abs() < 1e-16));
}

#[test]
fn unfit_samples_are_refused_with_what_to_do() {
    let model = Model::<f64>::new(&spec(Activation::Tanh, Loss::CrossEntropy)).unwrap();
    let good = samples(4, 4, 3, Loss::CrossEntropy);
    let refuse = |s: Samples| s.check(&model).unwrap_err().to_string();
    assert!(refuse(Samples { n: 0, x: vec![], y: vec![], w: vec![] }).contains("no samples"));
    assert!(refuse(samples(4, 5, 3, Loss::CrossEntropy)).contains("set the network's input width to 5"));
    assert!(refuse(Samples { y: vec![0.0, 1.0, 3.0, 0.0], ..good.clone() }).contains("sample 2 has the label 3"));
    let mut nan = good.clone();
    nan.x[5] = f64::NAN;
    assert!(refuse(nan).contains("sample 1"));
    assert!(refuse(Samples { y: vec![0.0; 8], ..good }).contains("2 target values"));
}

/// A network of every kind of layer on sequences, and one on images: what is not in the golden cases.
fn zoo() -> Vec<(ModelSpec, usize)> {
    let small = |name: &str, kind: LayerKind| LayerSpec { init: Some(Init::LecunNormal), ..LayerSpec::new(name, kind) };
    let linear = |name: &str, units: usize| LayerSpec::linear(name, units, true, Init::LecunNormal);
    let tokens = vec![
        small("table", LayerKind::Embedding { vocabulary: 7, width: 4 }),
        small("places", LayerKind::Positional { length: 5 }),
        LayerSpec::new("rms", LayerKind::RmsNorm { eps: 1e-2 }),
        small("attn", LayerKind::Attention { heads: 2, causal: true }),
        LayerSpec::new("gain", LayerKind::ScaleBy { start: 0.7 }),
        LayerSpec::new("skip", LayerKind::Add).reading(&["gain", "places"]),
        linear("up", 4),
        LayerSpec::activation(Activation::Silu),
        linear("again", 4).sharing("up"),
        LayerSpec::new("gate", LayerKind::Mul).reading(&["again", "skip"]),
        LayerSpec::new("both", LayerKind::Concat { axis: 1 }).reading(&["gate", "skip"]),
        LayerSpec::new("shares", LayerKind::Softmax),
        LayerSpec::new("mean", LayerKind::MeanTokens),
        linear("head", 3),
    ];
    let window = Window::square(3).padding(1);
    let conv = |name: &str, channels, groups| small(name, LayerKind::Conv2d { channels, window, groups, bias: true });
    let statistics = Statistics::Batch;
    let images = vec![
        conv("conv", 4, 1),
        LayerSpec::new("group", LayerKind::GroupNorm { groups: 2, eps: 1e-2 }),
        LayerSpec::activation(Activation::Tanh),
        conv("depthwise", 4, 4),
        LayerSpec::new("batch", LayerKind::BatchNorm { eps: 1e-2, momentum: 0.1, statistics }),
        LayerSpec::activation(Activation::Gelu),
        LayerSpec::new("max", LayerKind::MaxPool2d(Window::square(2).stride(2))),
        LayerSpec::new("rows", LayerKind::Permute(vec![1, 2, 0])),
        LayerSpec::new("back", LayerKind::Permute(vec![2, 0, 1])),
        LayerSpec::new("global", LayerKind::GlobalAvgPool2d),
        linear("head", 3),
    ];
    let spec = |input: &[usize], layers| ModelSpec::new(input, layers, Loss::CrossEntropy);
    vec![(spec(&[5], tokens), 5), (spec(&[2, 4, 4], images), 32)]
}

#[test]
fn products_of_every_kind_of_layer_are_differences_of_gradients() {
    for (spec, features) in zoo() {
        let model = Model::<f64>::new(&spec).unwrap();
        let n = 6;
        let index = features == 5;
        let x = |i: usize| if index { ((i * 5 + i / 3) % 7) as f64 } else { ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0 };
        let samples = Samples {
            n,
            x: (0..n * features).map(x).collect(),
            y: (0..n).map(|i| (i % 3) as f64).collect(),
            w: vec![],
        };
        let mut objective =
            Objective::new(&model, &samples, Reduction::Mean, Order::Second, Cut { rows: Some(4), groups: Some(2) })
                .unwrap();
        // Not the starting point, where norms and biases are ones and zeros.
        let theta: Vec<f64> =
            model.init(1).iter().enumerate().map(|(i, t)| t + 0.1 * ((i * 29 % 17) as f64 / 8.0 - 1.0)).collect();
        let v: Vec<f64> = (0..model.len()).map(|i| ((i * 53 + 5) % 97) as f64 / 48.0 - 1.0).collect();
        let mut gradient = |t: f64| {
            let moved: Vec<f64> = theta.iter().zip(&v).map(|(a, b)| a + t * b).collect();
            objective.linearize_with_gradient(&moved);
            objective.gradient().to_vec()
        };
        // Richardson on central differences: the error is of order t⁴ and ε / t.
        let central = |a: Vec<f64>, b: Vec<f64>, t: f64| -> Vec<f64> {
            a.iter().zip(&b).map(|(a, b)| (a - b) / (2.0 * t)).collect()
        };
        let t = 1e-3;
        let (coarse, fine) =
            (central(gradient(t), gradient(-t), t), central(gradient(t / 2.0), gradient(-t / 2.0), t / 2.0));
        gradient(0.0);
        let mut hv = vec![0.0; model.len()];
        let params = model.graph().params();
        objective.product(&objective.plan(params, params, Kind::Hessian).unwrap(), 1, &v, &mut hv);
        let size = hv.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        assert!(size > 1e-3);
        let hv = &hv;
        for (layer, i) in model.layers().iter().flat_map(|l| l.range.clone().map(move |i| (l, i))) {
            let h = hv[i];
            let difference = (4.0 * fine[i] - coarse[i]) / 3.0;
            assert!((difference - h).abs() < 1e-8 * size, "{} {i}: {difference} and {h}", layer.name);
        }
    }
}

#[test]
fn labels_are_held_against_the_classes_of_a_position() {
    // Four positions of three classes: twelve outputs, but no label beyond 2.
    let layers = vec![LayerSpec::linear("head", 3, true, Init::LecunNormal)];
    let spec = ModelSpec::new(&[4, 2], layers, Loss::CrossEntropy);
    let model = Model::<f64>::new(&spec).unwrap();
    let mut samples = Samples { n: 2, x: vec![0.5; 16], y: vec![0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0], w: vec![] };
    samples.check(&model).unwrap();
    samples.y[6] = 3.0;
    assert_eq!(samples.check(&model), Err(SampleError::Label { row: 1, label: 3.0, classes: 3 }));
}

#[test]
fn one_sample_has_no_batch_statistics() {
    let statistics = Statistics::Batch;
    let layers = vec![
        LayerSpec::linear("fc", 3, true, Init::LecunNormal),
        LayerSpec::new("bn", LayerKind::BatchNorm { eps: 1e-5, momentum: 0.1, statistics }),
    ];
    let spec = ModelSpec::new(&[2], layers, Loss::Mse);
    let model = Model::<f64>::new(&spec).unwrap();
    let samples = Samples { n: 1, x: vec![0.5; 2], y: vec![0.0; 3], w: vec![] };
    let error =
        Objective::new(&model, &samples, Reduction::Mean, Order::Second, Cut::default()).map(|_| ()).unwrap_err();
    assert_eq!(error, SampleError::TooFew { layer: "bn".into(), least: 2, samples: 1 });
}

#[test]
fn a_sample_of_weight_two_is_a_sample_twice() {
    let spec = spec(Activation::Tanh, Loss::CrossEntropy);
    let model = Model::<f64>::new(&spec).unwrap();
    let once = samples(5, model.features(), model.classes(), Loss::CrossEntropy);
    let (features, targets) = (model.features(), model.target_size());
    let rows = [0, 1, 1, 2, 3, 3, 3, 4];
    let pick = |from: &[f64], width: usize| -> Vec<f64> {
        rows.iter().flat_map(|r| from[r * width..][..width].to_vec()).collect()
    };
    let repeated = Samples { n: 8, x: pick(&once.x, features), y: pick(&once.y, targets), w: vec![] };
    // Weights of mean 1 in the proportions 1 : 2 : 1 : 3 : 1.
    let weighted = Samples { w: [1.0, 2.0, 1.0, 3.0, 1.0].map(|w| w * 5.0 / 8.0).to_vec(), ..once };
    let theta = model.init(3);
    let run = |samples: &Samples| {
        let mut o = Objective::new(&model, samples, Reduction::Mean, Order::Second, Cut::default()).unwrap();
        let loss = o.linearize_with_gradient(&theta);
        let params = model.graph().params();
        let plan = o.plan(params, params, Kind::Hessian).unwrap();
        let x: Vec<f64> = (0..model.len()).map(|i| (i as f64).sin()).collect();
        let mut y = vec![0.0; model.len()];
        o.product(&plan, 1, &x, &mut y);
        [vec![loss], o.gradient().to_vec(), y].concat()
    };
    let (a, b) = (run(&weighted), run(&repeated));
    let size = b.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-14 * size), "{a:?} {b:?}");
    let refuse = |w: Vec<f64>| Samples { w, ..weighted.clone() }.check(&model).unwrap_err().to_string();
    assert!(refuse(vec![1.0; 4]).contains("weights are finite and not negative, one per sample"));
    assert!(refuse(vec![1.0, -1.0, 1.0, 1.0, 1.0]).contains("sample 1 of 5 has the weight -1"));
}

#[test]
fn an_index_beyond_the_table_of_an_embedding_is_refused_by_name() {
    let layers = vec![
        LayerSpec::new("table", LayerKind::Embedding { vocabulary: 3, width: 2 }),
        LayerSpec::new("", LayerKind::Flatten),
        LayerSpec::linear("out", 2, true, Init::Pytorch),
    ];
    let model = Model::<f64>::new(&ModelSpec::new(&[2], layers, Loss::CrossEntropy)).unwrap();
    let samples = |x: f64| Samples { n: 1, x: vec![0.0, x], y: vec![1.0], w: vec![] };
    assert!(samples(2.0).check(&model).is_ok());
    for x in [3.0, -1.0, 0.5] {
        let text = samples(x).check(&model).unwrap_err().to_string();
        assert!(text.contains(&format!("sample 0 has the value {x}, and `table` reads indices below 3")), "{text}");
    }
}
