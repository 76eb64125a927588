//! The ops, one file each with its rules, their derivation and source, and the table that testers, docs and benches walk.

use eigenlens_linalg::elementwise::{Kernel, update};
use eigenlens_linalg::{Number, Real, Write};
use pulp::Simd;

use crate::family::{Elementwise, Linear, Product};
use crate::normalise::Normalised;
use crate::op::{Op, Shape};
use crate::window::Window;

mod add;
mod add_param;
mod affine;
mod attention;
mod avg_pool2d;
mod batch_norm;
mod batch_norm_eval;
mod bce_with_logits;
mod concat;
mod conv2d;
mod elu;
mod embedding;
mod exp;
mod gelu;
mod gelu_tanh;
mod global_avg_pool2d;
mod group_norm;
mod layer_norm;
mod leaky_relu;
mod log_sum_exp;
mod max_pool2d;
mod mean_over;
mod mse;
mod mul;
mod outer;
mod permute;
mod relu;
mod reshape;
mod rms_norm;
mod scale;
mod scale_by;
mod select;
mod sigmoid;
mod silu;
mod sin;
mod softmax;
mod softmax_cross_entropy;
mod softplus;
mod sum;
mod tanh;

pub use add::Add;
pub use add_param::AddParam;
pub use affine::Affine;
pub use attention::Attention;
pub use avg_pool2d::AvgPool2d;
pub use batch_norm::BatchNorm;
pub use batch_norm_eval::BatchNormEval;
pub use bce_with_logits::BceWithLogits;
pub use concat::Concat;
pub use conv2d::Conv2d;
pub use elu::Elu;
pub use embedding::Embedding;
pub use exp::Exp;
pub use gelu::Gelu;
pub use gelu_tanh::GeluTanh;
pub use global_avg_pool2d::GlobalAvgPool2d;
pub use group_norm::GroupNorm;
pub use layer_norm::LayerNorm;
pub use leaky_relu::LeakyRelu;
pub use log_sum_exp::LogSumExp;
pub use max_pool2d::MaxPool2d;
pub use mean_over::MeanOver;
pub use mse::Mse;
pub use mul::Mul;
pub use outer::Outer;
pub use permute::Permute;
pub use relu::Relu;
pub use reshape::Reshape;
pub use rms_norm::RmsNorm;
pub use scale::Scale;
pub use scale_by::ScaleBy;
pub use select::Select;
pub use sigmoid::Sigmoid;
pub use silu::Silu;
pub use sin::Sin;
pub use softmax::Softmax;
pub use softmax_cross_entropy::SoftmaxCrossEntropy;
pub use softplus::Softplus;
pub use sum::Sum;
pub use tanh::Tanh;

/// How the tester may draw an input of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// Any real numbers of order one.
    Normal,
    /// Of order one but at least this far from zero: away from a kink.
    AwayFromZero(f64),
    /// Integer class labels below this bound.
    Label(usize),
    /// Of order one and all different, so that a maximum is unique.
    Distinct,
    /// Numbers in [0, 1].
    Probability,
}

/// One row of [`cases`]: an op at a shape, for the tester, the docs and the benches.
pub struct Case<T> {
    /// Unique name of the row.
    pub name: &'static str,
    /// The op.
    pub op: fn() -> Box<dyn Op<T>>,
    /// Shapes of the inputs and how to draw them.
    pub inputs: fn() -> Vec<(Shape, Sample)>,
}

fn one(sample: Sample) -> Vec<(Shape, Sample)> {
    vec![(Shape::batched(&[7]), sample)]
}

fn vectors(a: usize, b: usize) -> Vec<(Shape, Sample)> {
    normal(vec![Shape::batched(&[a]), Shape::batched(&[b])])
}

fn same(count: usize, dims: &[usize]) -> Vec<(Shape, Sample)> {
    (0..count).map(|_| (Shape::batched(dims), Sample::Normal)).collect()
}

fn affine(dims: &[usize], bias: bool) -> Vec<(Shape, Sample)> {
    let inputs = *dims.last().expect("an input has a last axis");
    let mut list = vec![(Shape::batched(dims), Sample::Normal), (Shape::fixed(&[4, inputs]), Sample::Normal)];
    if bias {
        list.push((Shape::fixed(&[4]), Sample::Normal));
    }
    list
}

fn conv2d(input: [usize; 3], weight: [usize; 4], bias: bool) -> Vec<(Shape, Sample)> {
    let mut list = vec![(Shape::batched(&input), Sample::Normal), (Shape::fixed(&weight), Sample::Normal)];
    if bias {
        list.push((Shape::fixed(&weight[..1]), Sample::Normal));
    }
    list
}

/// x of extents `dims` and the first `params` of weight and bias.
fn norm(dims: &[usize], channels: usize, params: usize) -> Vec<(Shape, Sample)> {
    let entries = (Shape::fixed(&[channels]), Sample::Normal);
    [vec![(Shape::batched(dims), Sample::Normal)], vec![entries; params]].concat()
}

fn norm_eval(dims: &[usize]) -> Vec<(Shape, Sample)> {
    let variance = (Shape::fixed(&[dims[0]]), Sample::Probability);
    [norm(dims, dims[0], 3), vec![variance]].concat()
}

fn batch_norm() -> BatchNorm {
    // The tester's batches are small, and a large slope would leave its differences no digits.
    BatchNorm { channels: 3, eps: 0.1 }
}

fn normal(shapes: Vec<Shape>) -> Vec<(Shape, Sample)> {
    shapes.into_iter().map(|s| (s, Sample::Normal)).collect()
}

fn with_param(dims: &[usize], param: &[usize]) -> Vec<(Shape, Sample)> {
    normal(vec![Shape::batched(dims), Shape::fixed(param)])
}

/// The second input is a parameter.
fn concat() -> Vec<Shape> {
    vec![Shape::batched(&[2, 3]), Shape::fixed(&[2, 1]), Shape::batched(&[2, 2])]
}

fn attention(heads: usize, causal: bool) -> Attention {
    Attention { tokens: 3, features: 4, heads, causal }
}

/// Every op with shapes to try it on. A new op adds a row here and is then tested, documented and benched.
pub fn cases<T: Real>() -> Vec<Case<T>> {
    vec![
        Case { name: "add", op: || Box::new(Linear(Add)), inputs: || same(3, &[2, 3]) },
        Case { name: "affine", op: || Box::new(Affine::new(3, 4)), inputs: || affine(&[3], true) },
        Case { name: "affine-no-bias", op: || Box::new(Affine::new(3, 4)), inputs: || affine(&[3], false) },
        Case { name: "affine-tokens", op: || Box::new(Affine::new(3, 4)), inputs: || affine(&[2, 3], true) },
        Case { name: "batch-norm", op: || Box::new(batch_norm()), inputs: || norm(&[3], 3, 2) },
        Case { name: "batch-norm-image", op: || Box::new(batch_norm()), inputs: || norm(&[3, 2, 2], 3, 2) },
        // One value per channel has nothing but its shift: a batch of one needs an image.
        Case { name: "batch-norm-plain", op: || Box::new(batch_norm()), inputs: || norm(&[3, 2, 2], 3, 0) },
        Case { name: "batch-norm-eval", op: || Box::new(BatchNormEval { eps: 0.1 }), inputs: || norm_eval(&[3]) },
        Case {
            name: "batch-norm-eval-image",
            op: || Box::new(BatchNormEval { eps: 0.1 }),
            inputs: || norm_eval(&[3, 2, 2]),
        },
        Case {
            name: "avg-pool2d",
            op: || Box::new(Linear(AvgPool2d::new([2, 5, 4], Window::square(3).stride(2).padding(1)))),
            inputs: || same(1, &[2, 5, 4]),
        },
        Case {
            name: "avg-pool2d-dilated",
            op: || Box::new(Linear(AvgPool2d::new([2, 5, 4], Window::square(2).dilation(2).padding(1)))),
            inputs: || same(1, &[2, 5, 4]),
        },
        Case {
            name: "bce-with-logits",
            op: || Box::new(BceWithLogits),
            inputs: || vec![(Shape::batched(&[3]), Sample::Normal), (Shape::batched(&[3]), Sample::Probability)],
        },
        Case {
            name: "conv2d",
            op: || Box::new(Conv2d::new([2, 5, 4], 3, Window::square(3).padding(1))),
            inputs: || conv2d([2, 5, 4], [3, 2, 3, 3], true),
        },
        Case {
            name: "conv2d-depthwise",
            op: || Box::new(Conv2d::new([3, 5, 4], 6, Window::square(3).padding(1)).groups(3)),
            inputs: || conv2d([3, 5, 4], [6, 1, 3, 3], true),
        },
        Case {
            name: "conv2d-grouped",
            op: || Box::new(Conv2d::new([4, 5, 4], 6, Window::square(2).dilation(2)).groups(2)),
            inputs: || conv2d([4, 5, 4], [6, 2, 2, 2], false),
        },
        Case {
            name: "conv2d-pointwise",
            op: || Box::new(Conv2d::new([3, 17, 16], 2, Window::square(1))),
            inputs: || conv2d([3, 17, 16], [2, 3, 1, 1], true),
        },
        Case {
            name: "conv2d-strided",
            op: || Box::new(Conv2d::new([2, 6, 5], 3, Window::square(3).stride(2).padding(1))),
            inputs: || conv2d([2, 6, 5], [3, 2, 3, 3], true),
        },
        Case { name: "elu", op: || Box::new(Elementwise(Elu::default())), inputs: || one(Sample::AwayFromZero(0.2)) },
        Case { name: "exp", op: || Box::new(Elementwise(Exp)), inputs: || one(Sample::Normal) },
        Case { name: "gelu", op: || Box::new(Elementwise(Gelu)), inputs: || one(Sample::Normal) },
        Case { name: "gelu-tanh", op: || Box::new(Elementwise(GeluTanh)), inputs: || one(Sample::Normal) },
        Case { name: "global-avg-pool2d", op: || Box::new(Linear(GlobalAvgPool2d)), inputs: || same(1, &[3, 2, 4]) },
        Case {
            name: "group-norm",
            op: || Box::new(Normalised(GroupNorm { channels: 4, spatial: 6, groups: 2, eps: 1e-2 })),
            inputs: || norm(&[4, 2, 3], 4, 2),
        },
        Case {
            name: "group-norm-plain",
            op: || Box::new(Normalised(GroupNorm { channels: 4, spatial: 6, groups: 2, eps: 1e-2 })),
            inputs: || norm(&[4, 2, 3], 4, 0),
        },
        Case {
            name: "layer-norm",
            op: || Box::new(Normalised(LayerNorm { features: 5, eps: 1e-2 })),
            inputs: || norm(&[5], 5, 2),
        },
        Case {
            name: "layer-norm-tokens",
            op: || Box::new(Normalised(LayerNorm { features: 5, eps: 1e-2 })),
            inputs: || norm(&[3, 5], 5, 2),
        },
        Case {
            name: "layer-norm-plain",
            op: || Box::new(Normalised(LayerNorm { features: 5, eps: 1e-2 })),
            inputs: || norm(&[5], 5, 0),
        },
        Case {
            name: "leaky-relu",
            op: || Box::new(Elementwise(LeakyRelu::default())),
            inputs: || one(Sample::AwayFromZero(0.2)),
        },
        Case { name: "log-sum-exp", op: || Box::new(LogSumExp), inputs: || same(1, &[2, 3]) },
        Case {
            name: "max-pool2d",
            op: || Box::new(MaxPool2d::new([2, 4, 6], Window::square(2).stride(2))),
            inputs: || vec![(Shape::batched(&[2, 4, 6]), Sample::Distinct)],
        },
        Case {
            name: "max-pool2d-overlapping",
            op: || Box::new(MaxPool2d::new([2, 5, 4], Window::square(3).stride(2).padding(1))),
            inputs: || vec![(Shape::batched(&[2, 5, 4]), Sample::Distinct)],
        },
        Case {
            name: "max-pool2d-dilated",
            op: || Box::new(MaxPool2d::new([2, 5, 4], Window::square(2).dilation(2).padding(1))),
            inputs: || vec![(Shape::batched(&[2, 5, 4]), Sample::Distinct)],
        },
        Case { name: "mean", op: || Box::new(Linear(Sum::mean())), inputs: || same(1, &[2, 3]) },
        Case { name: "mse", op: || Box::new(Mse), inputs: || same(2, &[3]) },
        Case { name: "mul", op: || Box::new(Product(Mul)), inputs: || same(2, &[5]) },
        Case { name: "outer", op: || Box::new(Product(Outer { a: 3, b: 2 })), inputs: || vectors(3, 2) },
        Case { name: "relu", op: || Box::new(Elementwise(Relu)), inputs: || one(Sample::AwayFromZero(0.2)) },
        Case { name: "reshape", op: || Box::new(Linear(Reshape(vec![3, 2]))), inputs: || same(1, &[6]) },
        Case {
            name: "rms-norm",
            op: || Box::new(Normalised(RmsNorm { features: 5, eps: 1e-2 })),
            inputs: || norm(&[2, 5], 5, 1),
        },
        Case { name: "scale", op: || Box::new(Linear(Scale(-1.5))), inputs: || same(1, &[4]) },
        Case { name: "sigmoid", op: || Box::new(Elementwise(Sigmoid)), inputs: || one(Sample::Normal) },
        Case { name: "silu", op: || Box::new(Elementwise(Silu)), inputs: || one(Sample::Normal) },
        Case { name: "sin", op: || Box::new(Elementwise(Sin)), inputs: || one(Sample::Normal) },
        Case {
            name: "softmax-cross-entropy",
            op: || Box::new(SoftmaxCrossEntropy::default()),
            inputs: || vec![(Shape::batched(&[5]), Sample::Normal), (Shape::batched(&[]), Sample::Label(5))],
        },
        Case {
            name: "softmax-cross-entropy-smoothed",
            op: || Box::new(SoftmaxCrossEntropy::default().with_smoothing(0.1)),
            inputs: || vec![(Shape::batched(&[5]), Sample::Normal), (Shape::batched(&[]), Sample::Label(5))],
        },
        Case {
            name: "softmax-cross-entropy-tokens",
            op: || Box::new(SoftmaxCrossEntropy::default().with_smoothing(0.2).with_weights(&[0.5, 2.0, 1.5, 0.0])),
            inputs: || vec![(Shape::batched(&[3, 4]), Sample::Normal), (Shape::batched(&[3]), Sample::Label(4))],
        },
        Case { name: "softplus", op: || Box::new(Elementwise(Softplus)), inputs: || one(Sample::Normal) },
        Case { name: "add-param", op: || Box::new(Linear(AddParam)), inputs: || with_param(&[3, 4], &[3, 4]) },
        Case { name: "add-param-last", op: || Box::new(Linear(AddParam)), inputs: || with_param(&[3, 4], &[4]) },
        Case { name: "attention", op: || Box::new(attention(1, false)), inputs: || same(3, &[3, 4]) },
        Case { name: "attention-causal-heads", op: || Box::new(attention(2, true)), inputs: || same(3, &[3, 4]) },
        Case { name: "concat", op: || Box::new(Concat::new(1, &concat())), inputs: || normal(concat()) },
        Case {
            name: "embedding",
            op: || Box::new(Embedding { vocabulary: 5, features: 3 }),
            inputs: || vec![(Shape::batched(&[4]), Sample::Label(5)), (Shape::fixed(&[5, 3]), Sample::Normal)],
        },
        Case { name: "mean-over", op: || Box::new(Linear(MeanOver::new(&[3, 4], 0..1))), inputs: || same(1, &[3, 4]) },
        Case {
            name: "mean-over-image",
            op: || Box::new(Linear(MeanOver::new(&[3, 2, 2], 1..3))),
            inputs: || same(1, &[3, 2, 2]),
        },
        Case {
            name: "permute",
            op: || Box::new(Linear(Permute::new(&[2, 3, 4], &[2, 0, 1]))),
            inputs: || same(1, &[2, 3, 4]),
        },
        Case { name: "scale-by", op: || Box::new(Product(ScaleBy)), inputs: || with_param(&[4], &[]) },
        Case { name: "select", op: || Box::new(Linear(Select::index(&[3, 4], 0, 1))), inputs: || same(1, &[3, 4]) },
        Case {
            name: "select-range",
            op: || Box::new(Linear(Select::range(&[3, 4], 1, 1..3))),
            inputs: || same(1, &[3, 4]),
        },
        Case { name: "softmax", op: || Box::new(Softmax { features: 4 }), inputs: || same(1, &[2, 4]) },
        Case { name: "sum", op: || Box::new(Linear(Sum::total())), inputs: || same(1, &[4]) },
        Case { name: "tanh", op: || Box::new(Elementwise(Tanh)), inputs: || one(Sample::Normal) },
    ]
}

/// out ← alpha a, or out ← out + alpha a.
struct ScaledCopy<T>(T, Write);
impl<T: Number> Kernel<T, 1, 1> for ScaledCopy<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [a]: [T::V<S>; 1], [old]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let alpha = T::splat(s, self.0);
        match self.1 {
            Write::Set => [T::mul(s, alpha, a)],
            Write::Add => [T::fma(s, alpha, a, old)],
        }
    }
}

/// out ← alpha a, or out ← out + alpha a.
pub(crate) fn copy_or_add<T: Real>(alpha: T, a: &[T], out: &mut [T], write: Write) {
    if alpha == T::ONE && write == Write::Set {
        out.copy_from_slice(a);
    } else {
        update(&ScaledCopy(alpha, write), [a], [out]);
    }
}
