//! Training is deterministic, learns real data, stops early and reports divergence.

use super::*;
use crate::activation::Activation;
use crate::data::{self, Fractions, Scaling, Source, Standardizer, split};
use crate::init::{Fan, Init};
use crate::optim::{Adam, Sgd};
use crate::spec::{LayerKind, LayerSpec, ModelSpec, Statistics, Window};

fn adam(lr: f64, epochs: u64, batch_size: usize) -> TrainOptions {
    TrainOptions {
        optimizer: Optimizer::Adam(Adam::default()),
        lr,
        schedule: Schedule::Constant,
        epochs,
        batch_size,
        seed: 1,
        decay_biases: true,
        stopping: None,
    }
}

/// (train, validation, test) of a built-in set, standardised on the training part.
fn parts(name: &str, loss: Loss, outputs: usize) -> [Samples; 3] {
    let data = data::load(&Source::Builtin(name.into())).unwrap();
    let split = split(&data, Fractions::default(), 0).unwrap();
    let scale = Standardizer::fit(&data, &split.train, Scaling::ZScore, loss == Loss::Mse).unwrap();
    [&split.train, &split.validation, &split.test]
        .map(|rows| Samples::new(&scale.apply(&data.subset(rows)), loss, outputs).unwrap())
}

#[test]
fn iris_is_learned() {
    let spec = ModelSpec::mlp(&[4, 16, 3], Activation::Tanh, Init::XavierUniform { gain: 1.0 }, Loss::CrossEntropy);
    let model = Model::<f32>::new(&spec).unwrap();
    let [train_part, validation, test] = parts("iris", Loss::CrossEntropy, 3);
    let result =
        train(&model, model.start(0), &train_part, Some(&validation), &adam(1e-2, 40, 16), |_, _| Next::Continue);
    let result = result.unwrap();
    assert_eq!((result.end, result.history.len()), (End::Finished, 41));
    assert!(Evaluator::new(&model, &test).unwrap().score(&result.state).accuracy.unwrap() >= 0.9);
}

#[test]
fn diabetes_is_regressed_better_than_by_a_constant() {
    let spec = ModelSpec::mlp(&[10, 8, 1], Activation::Softplus, Init::LecunNormal, Loss::Mse);
    let model = Model::<f64>::new(&spec).unwrap();
    let [train_part, _, test] = parts("diabetes", Loss::Mse, 1);
    let result = train(&model, model.start(0), &train_part, None, &adam(1e-2, 40, 32), |_, _| Next::Continue).unwrap();
    let score = Evaluator::new(&model, &test).unwrap().score(&result.state);
    assert!(score.r2.unwrap() > 0.3, "{score:?}");
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_does_not() {
    let spec = ModelSpec::mlp(&[4, 8, 3], Activation::Relu, Init::Pytorch, Loss::CrossEntropy);
    let model = Model::<f64>::new(&spec).unwrap();
    let [part, ..] = parts("iris", Loss::CrossEntropy, 3);
    let run = |seed| {
        let options = TrainOptions { seed, ..adam(1e-2, 3, 7) };
        train(&model, model.start(0), &part, None, &options, |_, _| Next::Continue).unwrap().state.theta
    };
    assert!(run(1) == run(1));
    assert!(run(1) != run(2));
}

#[test]
fn threads_do_not_change_the_bits_of_training() {
    let spec = ModelSpec::mlp(&[64, 512, 256, 10], Activation::Tanh, Init::LecunNormal, Loss::CrossEntropy);
    let model = Model::<f32>::new(&spec).unwrap();
    let [part, ..] = parts("digits", Loss::CrossEntropy, 10);
    assert!(128 * model.multiply_adds() >= PARALLEL_WORK, "the test must reach the parallel products");
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            train(&model, model.start(0), &part, None, &adam(1e-3, 1, 128), |_, _| Next::Continue).unwrap().state.theta
        })
    };
    assert!(run(1) == run(2));
}

#[test]
fn divergence_names_step_and_layer_and_keeps_finite_parameters() {
    let spec = ModelSpec::mlp(&[10, 8, 1], Activation::Identity, Init::Pytorch, Loss::Mse);
    let model = Model::<f32>::new(&spec).unwrap();
    let [part, ..] = parts("diabetes", Loss::Mse, 1);
    let options = TrainOptions { optimizer: Optimizer::Sgd(Sgd::default()), ..adam(1e3, 50, 32) };
    let result = train(&model, model.start(0), &part, None, &options, |_, _| Next::Continue).unwrap();
    let End::Diverged(d) = &result.end else { panic!("{:?}", result.end) };
    assert!(d.step > 0 && ["fc1", "fc2", "loss"].contains(&d.layer.as_str()), "{d}");
    assert!(result.state.theta.iter().all(|x| x.is_finite()));
    assert!(d.to_string().contains("lower the learning rate"));
}

#[test]
fn early_stopping_returns_the_best_parameters() {
    let spec = ModelSpec::mlp(&[10, 64, 64, 1], Activation::Tanh, Init::LecunNormal, Loss::Mse);
    let model = Model::<f64>::new(&spec).unwrap();
    let [part, validation, _] = parts("diabetes", Loss::Mse, 1);
    let stopping = Some(EarlyStopping::new(5, 0.0).unwrap());
    let options = TrainOptions { stopping, ..adam(1e-2, 500, 16) };
    let result = train(&model, model.start(0), &part, Some(&validation), &options, |_, _| Next::Continue).unwrap();
    let End::Stopped { best } = result.end else { panic!("{:?}", result.end) };
    let lowest = result.history.iter().map(|e| e.validation.unwrap().loss).fold(f64::INFINITY, f64::min);
    assert_eq!(result.history[best as usize].validation.unwrap().loss, lowest);
    assert_eq!(Evaluator::new(&model, &validation).unwrap().score(&result.state).loss, lowest);
    let error = train(&model, model.start(0), &part, None, &options, |_, _| Next::Continue).unwrap_err();
    assert_eq!(error, TrainError::NoValidation);
}

#[test]
fn full_batch_descent_on_a_linear_net_takes_the_gradient_step() {
    let spec = ModelSpec::mlp(&[4, 3], Activation::Identity, Init::LecunNormal, Loss::CrossEntropy);
    let model = Model::<f64>::new(&spec).unwrap();
    let [part, ..] = parts("iris", Loss::CrossEntropy, 3);
    let theta = model.init(5);
    let mut objective = Objective::new(&model, &part, Reduction::Mean, Order::First, Cut::default()).unwrap();
    objective.linearize_with_gradient(&theta);
    let options = TrainOptions { optimizer: Optimizer::Sgd(Sgd::default()), ..adam(0.1, 1, usize::MAX) };
    let stepped = train(&model, model.start(5), &part, None, &options, |_, _| Next::Continue).unwrap().state.theta;
    for ((s, t), g) in stepped.iter().zip(&theta).zip(objective.gradient()) {
        assert!((s - (t - 0.1 * g)).abs() < 1e-14);
    }
}

#[test]
fn an_empty_batch_and_a_bad_rate_are_refused() {
    let spec = ModelSpec::mlp(&[4, 3], Activation::Identity, Init::LecunNormal, Loss::CrossEntropy);
    let model = Model::<f64>::new(&spec).unwrap();
    let [part, ..] = parts("iris", Loss::CrossEntropy, 3);
    let go = |options: &TrainOptions| train(&model, model.start(0), &part, None, options, |_, _| Next::Continue);
    assert_eq!(go(&adam(0.1, 1, 0)).unwrap_err(), TrainError::EmptyBatch);
    assert!(matches!(go(&adam(-0.1, 1, 8)), Err(TrainError::Option(_))));
}

#[test]
fn the_observer_can_stop_a_run() {
    let spec = ModelSpec::mlp(&[4, 3], Activation::Identity, Init::LecunNormal, Loss::CrossEntropy);
    let model = Model::<f64>::new(&spec).unwrap();
    let [part, ..] = parts("iris", Loss::CrossEntropy, 3);
    let next = |e: &Epoch, _: &State<f64>| if e.epoch == 2 { Next::Stop } else { Next::Continue };
    let result = train(&model, model.start(0), &part, None, &adam(0.1, 9, 8), next).unwrap();
    assert_eq!((result.end, result.history.len()), (End::Interrupted, 3));
}

#[test]
fn dropout_trains_with_masks_and_is_the_identity_in_analysis() {
    let [part, _, _] = parts("iris", Loss::CrossEntropy, 3);
    let mut spec = ModelSpec::mlp(&[4, 32, 3], Activation::Tanh, Init::XavierUniform { gain: 1.0 }, Loss::CrossEntropy);
    let plain = Model::<f64>::new(&spec).unwrap();
    spec.layers.insert(2, LayerSpec::new("drop", LayerKind::Dropout { rate: 0.5 }));
    let model = Model::<f64>::new(&spec).unwrap();
    let score = |m: &Model<f64>| Evaluator::new(m, &part).unwrap().score(&model.start(1));
    assert_eq!(score(&model), score(&plain));
    let go = |m: &Model<f64>| train(m, m.start(1), &part, None, &adam(1e-2, 30, 16), |_, _| Next::Continue).unwrap();
    let (with, again, without) = (go(&model), go(&model), go(&plain));
    assert_eq!(with, again);
    assert!(with.history[1] != without.history[1]);
    assert!(with.history[30].train.accuracy.unwrap() > 0.9, "{:?}", with.history[30]);
    // Half of the values are dropped, the others doubled: the mean stays.
    let mut trainer = Trainer::new(&model, &part, model.start(1), adam(1e-2, 1, part.n)).unwrap();
    trainer.run_epoch().unwrap();
    let mask = trainer.lin.value(model.training().unwrap().masks[0].0);
    let kept = mask.iter().filter(|&&m| m == 2.0).count() as f64 / mask.len() as f64;
    // Some 3,000 coins: a standard deviation below 0.01.
    assert!(mask.iter().all(|&m| m == 0.0 || m == 2.0) && (kept - 0.5).abs() < 0.03, "{kept}");
}

/// A small residual network with batch norm on 8 × 8 images.
fn resnet(statistics: Statistics) -> ModelSpec {
    let conv = |name: &str| {
        let window = Window::square(3).padding(1);
        let kind = LayerKind::Conv2d { channels: 6, window, groups: 1, bias: false };
        LayerSpec { init: Some(Init::HeNormal { fan: Fan::In, gain: 2f64.sqrt() }), ..LayerSpec::new(name, kind) }
    };
    let norm = |name: &str| LayerSpec::new(name, LayerKind::BatchNorm { eps: 1e-5, momentum: 0.1, statistics });
    let relu = || LayerSpec::activation(Activation::Relu);
    let layers = vec![
        conv("conv0"),
        norm("bn0"),
        LayerSpec { name: "stem".into(), ..relu() },
        conv("conv1"),
        norm("bn1"),
        LayerSpec::new("sum", LayerKind::Add).reading(&["bn1", "stem"]),
        relu(),
        LayerSpec::new("pool", LayerKind::AvgPool2d(Window::square(2).stride(2))),
        LayerSpec::new("flat", LayerKind::Flatten),
        LayerSpec::linear("head", 10, true, Init::LecunNormal),
    ];
    ModelSpec::new(&[1, 8, 8], layers, Loss::CrossEntropy)
}

#[test]
fn a_residual_network_with_batch_norm_learns_and_keeps_running_averages() {
    let [part, validation, _] = parts("digits", Loss::CrossEntropy, 10);
    let model = Model::<f32>::new(&resnet(Statistics::Running)).unwrap();
    let result = train(&model, model.start(1), &part, Some(&validation), &adam(5e-3, 8, 32), |_, _| Next::Continue);
    let result = result.unwrap();
    let last = result.history.last().unwrap();
    assert!(last.validation.unwrap().accuracy.unwrap() > 0.93, "{last:?}");
    // The running averages are near the batch statistics of all training samples.
    let whole = Model::<f64>::new(&resnet(Statistics::Batch)).unwrap();
    assert!(whole.buffers().is_empty() && whole.graph().mixes_samples());
    let theta: Vec<f64> = result.state.theta.iter().map(|&x| f64::from(x)).collect();
    let mut objective = Objective::new(&whole, &part, Reduction::Mean, Order::Value, Cut::default()).unwrap();
    objective.linearize(&theta);
    let saved = objective.shard(0).0.saved(whole.graph().find("bn0").unwrap());
    for (which, name) in ["running_mean", "running_var"].into_iter().enumerate() {
        let at = model.buffers().iter().position(|b| b.name == format!("bn0.{name}")).unwrap();
        for (running, batch) in result.state.buffers[at].iter().zip(&saved[6 * which..]) {
            let size = saved[6..12].iter().fold(0.0f64, |m, v| m.max(*v)).sqrt();
            assert!((running - batch).abs() < 0.2 * size.max(size * size), "{name}: {running} and {batch}");
        }
    }
}

#[test]
fn a_batch_of_one_value_per_channel_is_refused() {
    let [part, _, _] = parts("iris", Loss::CrossEntropy, 3);
    let mut spec = ModelSpec::mlp(&[4, 6, 3], Activation::Tanh, Init::LecunNormal, Loss::CrossEntropy);
    let statistics = Statistics::Running;
    spec.layers.insert(1, LayerSpec::new("bn", LayerKind::BatchNorm { eps: 1e-5, momentum: 0.1, statistics }));
    let model = Model::<f64>::new(&spec).unwrap();
    let batch = part.n - 1;
    let error = Trainer::new(&model, &part, model.start(0), adam(0.1, 1, batch)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("`bn`") && error.contains("one value per channel"), "{error}");
}

#[test]
fn the_accuracy_of_sequences_is_that_of_their_positions() {
    let layers = vec![LayerSpec::linear("head", 3, false, Init::Zeros)];
    let spec = ModelSpec::new(&[4, 2], layers, Loss::CrossEntropy);
    let model = Model::<f64>::new(&spec).unwrap();
    // The largest logit is that of class 2 where x is positive, of class 0 where it is negative.
    let mut state = model.start(0);
    state.theta.copy_from_slice(&[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let x = [1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, -1.0].iter().flat_map(|&v| [v, 0.3]).collect();
    let samples = Samples { n: 2, x, y: vec![2.0, 0.0, 2.0, 1.0, 2.0, 2.0, 0.0, 1.0], w: vec![] };
    assert_eq!(Evaluator::new(&model, &samples).unwrap().score(&state).accuracy, Some(0.75));
}

#[test]
fn a_batch_of_one_is_refused_where_samples_see_each_other() {
    let statistics = Statistics::Running;
    let layers = vec![
        LayerSpec::linear("fc", 3, true, Init::LecunNormal),
        LayerSpec::new("bn", LayerKind::BatchNorm { eps: 1e-5, momentum: 0.1, statistics }),
    ];
    let model = Model::<f64>::new(&ModelSpec::new(&[2], layers, Loss::Mse)).unwrap();
    for (samples, batch_size, smallest) in [(9, 4, 1), (9, 1, 1), (1, 32, 1), (9, 8, 1)] {
        let single = TrainError::SingleSample { layer: "bn".into(), batch: smallest, samples };
        assert_eq!(check_batches(&model, samples, batch_size), Err(single), "{samples} by {batch_size}");
    }
    for (samples, batch_size) in [(9, 3), (9, 9), (9, 32), (10, 4), (2, 32)] {
        check_batches(&model, samples, batch_size).unwrap();
    }
    assert_eq!(check_batches(&model, 9, 0), Err(TrainError::EmptyBatch));
}
