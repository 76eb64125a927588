//! Image networks for the benches, and the useful work of a gradient and of a Hessian product of them.

use eigenlens_linalg::Real;
use eigenlens_nets::spec::{Statistics, Window};
use eigenlens_nets::{Activation, LayerKind, LayerSpec, Loss, Model, ModelSpec, Samples};

/// Which normalisation stands after each convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// None.
    Plain,
    /// Batch norm with these statistics.
    Batch(Statistics),
}

fn conv(name: &str, channels: usize, window: Window, bias: bool) -> LayerSpec {
    LayerSpec::new(name, LayerKind::Conv2d { channels, window, groups: 1, bias })
}

fn linear(name: &str, units: usize) -> LayerSpec {
    LayerSpec::new(name, LayerKind::Linear { units, bias: true })
}

/// LeNet-5 on 28 × 28 images: tanh, average pools, 61 706 parameters (LeCun et al. 1998, with dense tables of channels).
pub fn lenet5() -> ModelSpec {
    let halves = || LayerSpec::new("", LayerKind::AvgPool2d(Window::square(2).stride(2)));
    let tanh = || LayerSpec::activation(Activation::Tanh);
    let layers = vec![
        conv("conv1", 6, Window::square(5).padding(2), true),
        tanh(),
        halves(),
        conv("conv2", 16, Window::square(5), true),
        tanh(),
        halves(),
        LayerSpec::new("", LayerKind::Flatten),
        linear("fc1", 120),
        tanh(),
        linear("fc2", 84),
        tanh(),
        linear("fc3", 10),
    ];
    ModelSpec { input: vec![1, 28, 28], layers, loss: Loss::CrossEntropy, penalty: None }
}

/// ResNet-20 on 3 × 32 × 32 images: a stem and three stages of three blocks with 16, 32 and 64 channels; a projection on
/// the skip connection where a stage halves the image (He et al. 2015, section 4.2, with their option B).
pub fn resnet20(norm: Norm) -> ModelSpec {
    let mut layers = Vec::new();
    let add_conv = |layers: &mut Vec<LayerSpec>, name: &str, from: Option<&str>, channels, window| -> String {
        let layer = conv(name, channels, window, norm == Norm::Plain);
        layers.push(match from {
            Some(from) => layer.reading(&[from]),
            None => layer,
        });
        let Norm::Batch(statistics) = norm else { return name.to_string() };
        let name = format!("{name}.norm");
        layers.push(LayerSpec::new(&name, LayerKind::BatchNorm { eps: 1e-5, momentum: 0.1, statistics }));
        name
    };
    let relu = |layers: &mut Vec<LayerSpec>, name: &str| {
        layers.push(LayerSpec::new(name, LayerKind::Activation(Activation::Relu)));
    };
    let same = Window::square(3).padding(1);
    add_conv(&mut layers, "stem", None, 16, same);
    relu(&mut layers, "stem.relu");
    let mut before = "stem.relu".to_string();
    for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..3 {
            let name = |part: &str| format!("{}.{}.{part}", stage + 1, block + 1);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            add_conv(&mut layers, &name("a"), Some(&before), channels, same.stride(stride));
            relu(&mut layers, &name("a.relu"));
            let main = add_conv(&mut layers, &name("b"), None, channels, same);
            let skip = match stride {
                1 => before,
                _ => add_conv(&mut layers, &name("skip"), Some(&before), channels, Window::square(1).stride(2)),
            };
            layers.push(LayerSpec::new(&name("sum"), LayerKind::Add).reading(&[&main, &skip]));
            relu(&mut layers, &name("relu"));
            before = name("relu");
        }
    }
    layers.push(LayerSpec::new("", LayerKind::GlobalAvgPool2d));
    layers.push(linear("fc", 10));
    ModelSpec { input: vec![3, 32, 32], layers, loss: Loss::CrossEntropy, penalty: None }
}

/// The model of a spec and `n` samples with values of order one.
pub fn with_samples<T: Real>(spec: &ModelSpec, n: usize) -> (Model<T>, Samples) {
    let model = Model::new(spec).expect("the network is sound");
    let classes = model.classes();
    let x = (0..n * model.features()).map(|i| ((i * 37 + i / 101 * 13 + 11) % 101) as f64 / 50.0 - 1.0).collect();
    let y = (0..n).map(|i| (i % classes) as f64).collect();
    (model, Samples { n, x, y })
}

/// FLOPs of one sample's (gradient, Hessian product with cached primal), products of weights alone: with c_l those of
/// layer l, 2 c_1 + 3 Σ_{l>1} c_l and 2 c_1 + 6 Σ_{l>1} c_l.
pub fn useful_flops<T: Real>(model: &Model<T>) -> (f64, f64) {
    let (mut gradient, mut product) = (0.0, 0.0);
    // Norms have no matrix.
    for layer in model.layers().iter().filter(|l| model.graph().shape(l.params[0]).dims.len() > 1) {
        let c = 2.0 * layer.work as f64;
        let first = layer.input == model.input();
        gradient += if first { 2.0 * c } else { 3.0 * c };
        product += if first { 2.0 * c } else { 6.0 * c };
    }
    (gradient, product)
}
