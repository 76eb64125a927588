//! Three families that write the four maps for the author of an op.
//!
//! | family | the author writes | second derivative |
//! |---|---|---|
//! | [`Linear`] of a [`LinearMap`] | `apply`, `transpose` | none |
//! | [`Product`] of a [`Bilinear`] | one product and its two contractions | couples the factors |
//! | [`Elementwise`] of a [`Map`] | f, f′, f″ | diagonal |

use std::fmt::Debug;

use eigenlens_linalg::elementwise::{Kernel, update};
use eigenlens_linalg::{Number, Real, Write};
use pulp::Simd;

use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};

/// y = Σ_i A_i x_i, each A_i known by its action and its transpose.
pub trait LinearMap<T: Real>: Debug + Send + Sync {
    /// The op's name.
    fn name(&self) -> &'static str;
    /// The output shape, or what is wrong with the inputs.
    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String>;
    /// y ← A_i x_i, or y ← y + A_i x_i, lane by lane.
    fn apply(&self, cx: &Cx, i: usize, x: Lanes<'_, T>, y: Slot<'_, T>);
    /// x̄_i ← A_iᵀ ȳ, or += , lane by lane.
    fn transpose(&self, cx: &Cx, i: usize, gy: Lanes<'_, T>, gx: Slot<'_, T>);
}

/// The op of a [`LinearMap`].
#[derive(Clone, Copy, Debug)]
pub struct Linear<F>(pub F);

impl<T: Real, F: LinearMap<T>> Op<T> for Linear<F> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        self.0.output_shape(inputs)
    }

    fn by_sample(&self) -> bool {
        true
    }

    fn couples(&self, _i: usize, _j: usize) -> bool {
        false
    }

    fn eval(&self, cx: &Cx, x: &[&[T]], y: &mut [T], _saved: &mut [T]) {
        for (i, x) in x.iter().enumerate() {
            self.0.apply(cx, i, Lanes::new(x, 1), Slot { data: y, lanes: 1, write: Write::add_if(i > 0) });
        }
    }

    fn jvp(&self, cx: &Cx, _p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let mut write = Write::Set;
        for (i, dx) in dx.iter().enumerate() {
            if let Some(dx) = *dx {
                self.0.apply(cx, i, dx, Slot { data: dy, lanes: dx.lanes, write });
                write = Write::Add;
            }
        }
    }

    fn vjp(&self, cx: &Cx, _p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        for (i, slot) in gx.iter_mut().enumerate() {
            if let Some(slot) = slot.take() {
                self.0.transpose(cx, i, gy, slot);
            }
        }
    }

    fn vjp_jvp(
        &self,
        cx: &Cx,
        p: Primal<'_, T>,
        _cotangent: Cotangent<'_, T>,
        _dx: &[Option<Lanes<'_, T>>],
        dgy: Option<Lanes<'_, T>>,
        dgx: &mut [Option<Slot<'_, T>>],
    ) {
        // A linear map has no curvature: what is left is the transpose, or nothing.
        match dgy {
            Some(dgy) => self.vjp(cx, p, dgy, dgx),
            None => fill_unwritten(dgx),
        }
    }
}

/// Sets every slot that is to be overwritten to zero: for contributions that vanish.
pub fn fill_unwritten<T: Real>(slots: &mut [Option<Slot<'_, T>>]) {
    for slot in slots.iter_mut().flatten().filter(|s| s.write == Write::Set) {
        slot.data.fill(T::ZERO);
    }
}

/// y = B(u, v), linear in each factor. Each map takes lanes on at most one of its operands; the other is shared.
pub trait Bilinear<T: Real>: Debug + Send + Sync {
    /// The op's name.
    fn name(&self) -> &'static str;
    /// The output shape, or what is wrong with the factors.
    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String>;
    /// y ← B(u, v).
    fn product(&self, cx: &Cx, u: Lanes<'_, T>, v: Lanes<'_, T>, y: &mut Slot<'_, T>);
    /// ū ← B(·, v)ᵀ ȳ.
    fn pull_first(&self, cx: &Cx, gy: Lanes<'_, T>, v: Lanes<'_, T>, gu: &mut Slot<'_, T>);
    /// v̄ ← B(u, ·)ᵀ ȳ.
    fn pull_second(&self, cx: &Cx, gy: Lanes<'_, T>, u: Lanes<'_, T>, gv: &mut Slot<'_, T>);
}

/// The op of a [`Bilinear`] map. Its curvature is D[B(·,v)ᵀȳ]·v̇ = B(·,v̇)ᵀȳ: the same contractions with other arguments.
#[derive(Clone, Copy, Debug)]
pub struct Product<F>(pub F);

impl<T: Real, F: Bilinear<T>> Op<T> for Product<F> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        self.0.output_shape(inputs)
    }

    fn couples(&self, i: usize, j: usize) -> bool {
        i != j
    }

    fn eval(&self, cx: &Cx, x: &[&[T]], y: &mut [T], _saved: &mut [T]) {
        let mut slot = Slot { data: y, lanes: 1, write: Write::Set };
        self.0.product(cx, Lanes::new(x[0], 1), Lanes::new(x[1], 1), &mut slot);
    }

    fn jvp(&self, cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let lanes = dx.iter().flatten().next().expect("a tangent is given").lanes;
        let mut slot = Slot { data: dy, lanes, write: Write::Set };
        if let Some(du) = dx[0] {
            self.0.product(cx, du, Lanes::new(p.x[1], 1), &mut slot);
            slot.write = Write::Add;
        }
        if let Some(dv) = dx[1] {
            self.0.product(cx, Lanes::new(p.x[0], 1), dv, &mut slot);
        }
    }

    fn vjp(&self, cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        if let Some(gu) = &mut gx[0] {
            self.0.pull_first(cx, gy, Lanes::new(p.x[1], 1), gu);
        }
        if let Some(gv) = &mut gx[1] {
            self.0.pull_second(cx, gy, Lanes::new(p.x[0], 1), gv);
        }
    }

    fn vjp_jvp(
        &self,
        cx: &Cx,
        p: Primal<'_, T>,
        cotangent: Cotangent<'_, T>,
        dx: &[Option<Lanes<'_, T>>],
        dgy: Option<Lanes<'_, T>>,
        dgx: &mut [Option<Slot<'_, T>>],
    ) {
        let gy = Lanes::new(cotangent.gy, 1);
        let (first, second) = dgx.split_at_mut(1);
        if let Some(slot) = &mut first[0] {
            pull_both(slot, dgy.map(|dgy| (dgy, Lanes::new(p.x[1], 1))), dx[1].map(|dv| (gy, dv)), |gy, v, slot| {
                self.0.pull_first(cx, gy, v, slot)
            });
        }
        if let Some(slot) = &mut second[0] {
            pull_both(slot, dgy.map(|dgy| (dgy, Lanes::new(p.x[0], 1))), dx[0].map(|du| (gy, du)), |gy, u, slot| {
                self.0.pull_second(cx, gy, u, slot)
            });
        }
    }
}

/// The two terms of a bilinear map's tangent of a cotangent: each is there or not, the first written decides.
pub(crate) fn pull_both<'a, T: Real>(
    slot: &mut Slot<'_, T>,
    slope: Option<(Lanes<'a, T>, Lanes<'a, T>)>,
    curvature: Option<(Lanes<'a, T>, Lanes<'a, T>)>,
    pull: impl Fn(Lanes<'a, T>, Lanes<'a, T>, &mut Slot<'_, T>),
) {
    let before = slot.write;
    if slope.is_none() && curvature.is_none() && before == Write::Set {
        slot.data.fill(T::ZERO);
    }
    for (gy, x) in [slope, curvature].into_iter().flatten() {
        pull(gy, x, slot);
        slot.write = Write::Add;
    }
    slot.write = before;
}

/// An elementwise function y = f(x), by its value, slope and curvature on SIMD vectors.
///
/// All three must be branch-free (select, don't branch) and propagate NaN.
pub trait Map: Clone + Copy + Debug + Send + Sync {
    /// The op's name.
    const NAME: &'static str;
    /// Whether f″ is zero everywhere that it exists; curvature terms are then pruned.
    const PIECEWISE_LINEAR: bool = false;
    /// (f(x), f′(x)).
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>);
    /// f″(x), which may use y = f(x) and d = f′(x).
    fn curvature<T: Number, S: Simd>(&self, s: S, x: T::V<S>, y: T::V<S>, d: T::V<S>) -> T::V<S>;
}

/// The op of a [`Map`]. Saves d = f′(x) with the value and c = f″(x) ⊙ ȳ with the cotangent, so that a Hessian product
/// costs two multiply-adds per element: ẏ = d ẋ and x̄̇ = d ȳ̇ + c ẋ.
#[derive(Clone, Copy, Debug)]
pub struct Elementwise<F>(pub F);

struct ValueSlope<'f, F>(&'f F);
impl<T: Number, F: Map> Kernel<T, 1, 2> for ValueSlope<'_, F> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 2]) -> [T::V<S>; 2] {
        let (y, d) = self.0.value_slope::<T, S>(s, x);
        [y, d]
    }
}

struct Bend<'f, F>(&'f F);
impl<T: Number, F: Map> Kernel<T, 4, 1> for Bend<'_, F> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x, y, d, gy]: [T::V<S>; 4], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::mul(s, self.0.curvature::<T, S>(s, x, y, d), gy)]
    }
}

/// out ← a b, or out ← out + a b.
pub(crate) struct Times(pub(crate) Write);
impl<T: Number> Kernel<T, 2, 1> for Times {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [a, b]: [T::V<S>; 2], [old]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        match self.0 {
            Write::Set => [T::mul(s, a, b)],
            Write::Add => [T::fma(s, a, b, old)],
        }
    }
}

/// out ← a b + c d, or out ← out + a b + c d.
struct TwoTimes(Write);
impl<T: Number> Kernel<T, 4, 1> for TwoTimes {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [a, b, c, d]: [T::V<S>; 4], [old]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        match self.0 {
            Write::Set => [T::fma(s, c, d, T::mul(s, a, b))],
            Write::Add => [T::fma(s, c, d, T::fma(s, a, b, old))],
        }
    }
}

/// Lane by lane out ← a b (or +=) with b shared by all lanes.
pub(crate) fn times_shared<T: Real>(a: Lanes<'_, T>, b: &[T], out: &mut Slot<'_, T>) {
    let write = out.write;
    for k in 0..a.lanes {
        update(&Times(write), [a.lane(k), b], [out.lane(k)]);
    }
}

impl<T: Real, F: Map> Op<T> for Elementwise<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match inputs {
            [x] => Ok(x.clone()),
            _ => Err(format!("takes one input, got {}", inputs.len())),
        }
    }

    fn saved_len(&self, _x: &[usize], y: usize) -> usize {
        y
    }

    fn bent_len(&self, _x: &[usize], y: usize) -> usize {
        if F::PIECEWISE_LINEAR { 0 } else { y }
    }

    fn by_sample(&self) -> bool {
        true
    }

    fn couples(&self, _i: usize, _j: usize) -> bool {
        !F::PIECEWISE_LINEAR
    }

    fn eval(&self, _cx: &Cx, x: &[&[T]], y: &mut [T], saved: &mut [T]) {
        update(&ValueSlope(&self.0), [x[0]], [y, saved]);
    }

    fn jvp(&self, _cx: &Cx, p: Primal<'_, T>, dx: &[Option<Lanes<'_, T>>], dy: &mut [T]) {
        let dx = dx[0].expect("a tangent is given");
        times_shared(dx, p.saved, &mut Slot { data: dy, lanes: dx.lanes, write: Write::Set });
    }

    fn vjp(&self, _cx: &Cx, p: Primal<'_, T>, gy: Lanes<'_, T>, gx: &mut [Option<Slot<'_, T>>]) {
        if let Some(slot) = &mut gx[0] {
            times_shared(gy, p.saved, slot);
        }
    }

    fn bend(&self, _cx: &Cx, p: Primal<'_, T>, gy: &[T], bent: &mut [T]) {
        if !F::PIECEWISE_LINEAR {
            update(&Bend(&self.0), [p.x[0], p.y, p.saved, gy], [bent]);
        }
    }

    fn vjp_jvp(
        &self,
        cx: &Cx,
        p: Primal<'_, T>,
        cotangent: Cotangent<'_, T>,
        dx: &[Option<Lanes<'_, T>>],
        dgy: Option<Lanes<'_, T>>,
        dgx: &mut [Option<Slot<'_, T>>],
    ) {
        let curved = if F::PIECEWISE_LINEAR { None } else { dx[0] };
        match (curved, dgy) {
            (None, None) => fill_unwritten(dgx),
            (None, Some(dgy)) => self.vjp(cx, p, dgy, dgx),
            (Some(dx), None) => {
                if let Some(slot) = &mut dgx[0] {
                    times_shared(dx, cotangent.bent, slot);
                }
            }
            (Some(dx), Some(dgy)) => {
                if let Some(slot) = &mut dgx[0] {
                    for k in 0..dx.lanes {
                        let write = slot.write;
                        update(&TwoTimes(write), [dgy.lane(k), p.saved, dx.lane(k), cotangent.bent], [slot.lane(k)]);
                    }
                }
            }
        }
    }
}
