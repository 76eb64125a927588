//! The contract of an operation: four maps, the shapes they act on, and which second derivatives vanish.

use std::fmt::Debug;

use eigenlens_linalg::{Par, Real, Write};

/// Most inputs an op can have; argument lists live on the stack so that products never allocate.
pub const MAX_INPUTS: usize = 8;

/// Most values that a node may have for each sample, and parameters a graph: no memory holds more, and counts below it, times
/// the samples of a data set, don't leave the range of `usize`.
pub const MOST_VALUES: usize = 1 << 40;

/// The product of extents, 1 without any; `usize::MAX` where it is larger.
pub fn volume(dims: &[usize]) -> usize {
    dims.iter().fold(1, |product: usize, &d| product.saturating_mul(d))
}

/// The shape of one operand: `dims` for each sample if `batched`, else for the whole tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Extents, outermost first; a scalar has none.
    pub dims: Vec<usize>,
    /// Whether an implicit leading batch axis comes first.
    pub batched: bool,
}

impl Shape {
    /// A tensor with a leading batch axis.
    pub fn batched(dims: &[usize]) -> Self {
        Shape { dims: dims.to_vec(), batched: true }
    }

    /// A tensor without batch axis: a parameter.
    pub fn fixed(dims: &[usize]) -> Self {
        Shape { dims: dims.to_vec(), batched: false }
    }

    /// Values per sample (batched) or in all (fixed): their [`volume`].
    pub fn size(&self) -> usize {
        volume(&self.dims)
    }

    /// Values for a batch of `n` samples.
    pub fn len(&self, n: usize) -> usize {
        if self.batched { n.saturating_mul(self.size()) } else { self.size() }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dims: Vec<String> = self
            .batched
            .then(|| "batch".to_string())
            .into_iter()
            .chain(self.dims.iter().map(usize::to_string))
            .collect();
        write!(f, "({})", dims.join(", "))
    }
}

/// What every map is told about the call.
#[derive(Clone, Copy, Debug)]
pub struct Cx {
    /// Number of samples n.
    pub batch: usize,
    /// Threads a single map may use; `Par::Seq` inside shards.
    pub par: Par,
}

/// The cached result of evaluating an op: inputs, output and what `eval` saved.
#[derive(Clone, Copy, Debug)]
pub struct Primal<'a, T> {
    /// The inputs, in the op's order.
    pub x: &'a [&'a [T]],
    /// The output.
    pub y: &'a [T],
    /// What `eval` left for the other maps; [`Op::saved_len`] values.
    pub saved: &'a [T],
}

/// K directions of one operand, packed: lane k is `data[k * len .. (k + 1) * len]`, each laid out like the primal.
#[derive(Clone, Copy, Debug)]
pub struct Lanes<'a, T> {
    /// All lanes, one after the other.
    pub data: &'a [T],
    /// K.
    pub lanes: usize,
}

impl<'a, T> Lanes<'a, T> {
    /// `lanes` directions on one slice.
    ///
    /// # Panics
    /// If the slice can't be cut into `lanes` equal parts.
    #[track_caller]
    pub fn new(data: &'a [T], lanes: usize) -> Self {
        assert!(lanes > 0 && data.len().is_multiple_of(lanes), "{} values in {lanes} lanes", data.len());
        Lanes { data, lanes }
    }

    /// Lane k.
    #[inline]
    pub fn lane(&self, k: usize) -> &'a [T] {
        let len = self.data.len() / self.lanes;
        &self.data[k * len..(k + 1) * len]
    }

    /// Lane k of an operand that may have a single one, which then all share.
    #[inline]
    pub fn shared(&self, k: usize) -> &'a [T] {
        self.lane(if self.lanes == 1 { 0 } else { k })
    }
}

/// Where a map puts K cotangents of one input, and whether it overwrites or adds.
#[derive(Debug)]
pub struct Slot<'a, T> {
    /// All lanes, one after the other.
    pub data: &'a mut [T],
    /// K.
    pub lanes: usize,
    /// Overwrite or add.
    pub write: Write,
}

impl<T> Slot<'_, T> {
    /// Lane k.
    #[inline]
    pub fn lane(&mut self, k: usize) -> &mut [T] {
        let len = self.data.len() / self.lanes;
        &mut self.data[k * len..(k + 1) * len]
    }
}

/// A differentiable operation y = f(x_1, …, x_m), by its four maps.
///
/// | map | defines | symbols |
/// |---|---|---|
/// | [`eval`](Op::eval) | y = f(x) | primal `x`, `y` |
/// | [`jvp`](Op::jvp) | ẏ = J ẋ | tangents `dx`, `dy` |
/// | [`vjp`](Op::vjp) | x̄ += Jᵀ ȳ | cotangents `gy`, `gx` |
/// | [`vjp_jvp`](Op::vjp_jvp) | x̄̇ += Jᵀ ȳ̇ + D(Jᵀȳ)·ẋ | tangents of cotangents `dgy`, `dgx` |
///
/// A missing tangent (`None`) is zero; a missing slot is not wanted. Maps write all of what they are given, with each
/// slot's own [`Write`]; they allocate nothing. The maps on tangents and cotangents take K lanes that share the primal.
///
/// Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian", applied op by op.
pub trait Op<T: Real>: Debug + Send + Sync {
    /// The op's name in errors and tables.
    fn name(&self) -> &'static str;

    /// The output shape for these inputs, or what is wrong with them.
    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String>;

    /// Values that [`eval`](Op::eval) saves for the other maps, given input and output lengths (batch included).
    fn saved_len(&self, _x: &[usize], _y: usize) -> usize {
        0
    }

    /// Values that [`bend`](Op::bend) saves, given input and output lengths (batch included).
    fn bent_len(&self, _x: &[usize], _y: usize) -> usize {
        0
    }

    /// Whether a cotangent of input i is ever defined (class labels, for one, have none).
    fn differentiable(&self, _i: usize) -> bool {
        true
    }

    /// Whether ∂²f/∂x_i∂x_j can be non-zero. Terms known to vanish are pruned from plans.
    fn couples(&self, i: usize, j: usize) -> bool;

    /// Whether a sample's output depends on other samples (batch norm in train mode).
    fn mixes_samples(&self) -> bool {
        false
    }

    /// Whether the maps may be called for some samples at a time: then outputs, and what is saved and bent, are cut like the
    /// batch, and sums over samples are added up. Long batches go through threads that way; for ops that use
    /// [`Cx::par`] themselves it is not needed.
    fn by_sample(&self) -> bool {
        false
    }

    /// The smallest batch that makes sense: one value has no variance, for instance. The caller asks before it runs.
    fn least_batch(&self, _inputs: &[Shape]) -> usize {
        1
    }

    /// y ← f(x).
    fn eval(&self, cx: &Cx, x: &[&[T]], y: &mut [T], saved: &mut [T]);

    /// ẏ ← Σ_i J_i ẋ_i, in `dy` of K lanes. At least one `dx` is given.
    fn jvp(&self, cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]);

    /// x̄_i ← J_iᵀ ȳ for K cotangents ȳ, for each slot given.
    fn vjp(&self, cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]);

    /// Prepares what [`vjp_jvp`](Op::vjp_jvp) needs of the cotangent, once per linearization: `bent` ← g(x, ȳ).
    fn bend(&self, _cx: &Cx, _p: Primal<'_, T>, _gy: &[T], _bent: &mut [T]) {}

    /// x̄̇_i ← J_iᵀ ȳ̇ + D[J_iᵀ ȳ]·ẋ for K lanes, for each slot given. At least one coupled `dx` is given.
    fn vjp_jvp(
        &self,
        cx: &Cx,
        p: Primal<'_, T>,
        cotangent: Cotangent<'_, T>,
        dx: &[Option<Lanes<'_, T>>],
        dgy: Option<Lanes<'_, T>>,
        dgx: &mut [Option<Slot<'_, T>>],
    );
}

/// The cached cotangent of an op's output and what [`Op::bend`] made of it.
#[derive(Clone, Copy, Debug)]
pub struct Cotangent<'a, T> {
    /// ȳ.
    pub gy: &'a [T],
    /// The result of [`Op::bend`].
    pub bent: &'a [T],
}
