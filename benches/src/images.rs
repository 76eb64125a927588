//! Image networks for the benches, and the useful work of a gradient and of a Hessian product of them.

use eigenlens_linalg::Real;
use eigenlens_nets::spec::Statistics;
use eigenlens_nets::zoo::{Family, Norm, Options, Task};
use eigenlens_nets::{LayerKind, Loss, Model, ModelSpec, Samples};

/// A network that has a name, for 10 classes.
pub fn named(family: Family, options: &Options, input: [usize; 3]) -> ModelSpec {
    let task = Task { input: input.to_vec(), vocabulary: None, outputs: 10 };
    ModelSpec::new(&input, family.layers(options, &task).expect("options of the family"), Loss::CrossEntropy)
}

/// LeNet-5 on 28 × 28 images: tanh, average pools, 61 706 parameters.
pub fn lenet5() -> ModelSpec {
    named(Family::LeNet5, &Options::default(), [1, 28, 28])
}

/// ResNet-20 on 3 × 32 × 32 images, with batch norm by these statistics or without norm.
pub fn resnet20(norm: Option<Statistics>) -> ModelSpec {
    let kind = if norm.is_some() { Norm::Batch } else { Norm::None };
    let options = Options { norm: Some(kind), ..Options::default() };
    let mut spec = named(Family::ResNetSmall(3), &options, [3, 32, 32]);
    for layer in &mut spec.layers {
        if let (LayerKind::BatchNorm { statistics, .. }, Some(wanted)) = (&mut layer.kind, norm) {
            *statistics = wanted;
        }
    }
    spec
}

/// The model of a spec and `n` samples with values of order one.
pub fn with_samples<T: Real>(spec: &ModelSpec, n: usize) -> (Model<T>, Samples) {
    let model = Model::new(spec).expect("the network is sound");
    let classes = model.classes();
    let x = (0..n * model.features()).map(|i| ((i * 37 + i / 101 * 13 + 11) % 101) as f64 / 50.0 - 1.0).collect();
    let y = (0..n).map(|i| (i % classes) as f64).collect();
    (model, Samples { n, x, y, w: Vec::new() })
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
