//! Every op passes, every mutant is rejected.

use eigenlens_linalg::Number;
use pulp::Simd;

use super::*;
use crate::family::{Elementwise, Linear, LinearMap, Map, fill_unwritten};
use crate::ops::{Affine, AvgPool2d, Conv2d, GlobalAvgPool2d, MaxPool2d, SoftmaxCrossEntropy, cases};
use crate::window::Window;

#[test]
fn every_case_passes_at_several_batches_and_seeds() {
    for case in cases::<f64>() {
        for (batch, seed) in [(1, 1), (4, 2), (5, 3)] {
            let report = check_op(case.name, (case.op)().as_ref(), &(case.inputs)(), batch, seed);
            let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
            assert!(failures.is_empty(), "{}", failures.join("\n"));
        }
    }
}

#[test]
fn case_names_are_unique() {
    let mut names: Vec<_> = cases::<f64>().iter().map(|c| c.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// tanh with the wrong sign of f″: still symmetric.
#[derive(Clone, Copy, Debug)]
struct WrongSign;
impl Map for WrongSign {
    const NAME: &'static str = "mutant";
    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        crate::ops::Tanh.value_slope::<T, S>(s, x)
    }
    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, x: T::V<S>, y: T::V<S>, d: T::V<S>) -> T::V<S> {
        T::neg(s, crate::ops::Tanh.curvature::<T, S>(s, x, y, d))
    }
}

/// softplus whose f″ is left out.
#[derive(Clone, Copy, Debug)]
struct NoCurvature;
impl Map for NoCurvature {
    const NAME: &'static str = "mutant";
    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        crate::ops::Softplus.value_slope::<T, S>(s, x)
    }
    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, _x: T::V<S>, _y: T::V<S>, _d: T::V<S>) -> T::V<S> {
        T::splat(s, T::ZERO)
    }
}

/// sigmoid with a slope wrong by one part in a million.
#[derive(Clone, Copy, Debug)]
struct WrongSlope;
impl Map for WrongSlope {
    const NAME: &'static str = "mutant";
    #[inline(always)]
    fn value_slope<T: Number, S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let (y, d) = crate::ops::Sigmoid.value_slope::<T, S>(s, x);
        (y, T::mul(s, d, T::splat(s, T::from_f64(1.0 + 1e-6))))
    }
    #[inline(always)]
    fn curvature<T: Number, S: Simd>(&self, s: S, x: T::V<S>, y: T::V<S>, d: T::V<S>) -> T::V<S> {
        crate::ops::Sigmoid.curvature::<T, S>(s, x, y, d)
    }
}

/// What a mutant does to a sound op's maps.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Leaves the curvature term ȳ Ẇ out of the tangent of x̄.
    DropsCurvature,
    /// Scales the adjoint.
    ScalesAdjoint,
    /// Overwrites where it should add.
    IgnoresWrite,
    /// Uses the first lane for all.
    MixesLanes,
    /// Denies a coupling that exists.
    DeniesCoupling,
}

#[derive(Debug)]
struct Mutant<O>(O, Fault);

impl<O: Op<f64>> Op<f64> for Mutant<O> {
    fn name(&self) -> &'static str {
        "mutant"
    }
    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        self.0.output_shape(inputs)
    }
    fn saved_len(&self, x: &[usize], y: usize) -> usize {
        self.0.saved_len(x, y)
    }
    fn differentiable(&self, i: usize) -> bool {
        self.0.differentiable(i)
    }
    fn couples(&self, i: usize, j: usize) -> bool {
        !matches!(self.1, Fault::DeniesCoupling) && self.0.couples(i, j)
    }
    fn eval(&self, cx: &Cx, x: &[&[f64]], y: &mut [f64], saved: &mut [f64]) {
        self.0.eval(cx, x, y, saved);
    }
    fn jvp(&self, cx: &Cx, p: Primal<'_, f64>, dx: &[Option<Lanes<'_, f64>>], dy: &mut [f64]) {
        self.0.jvp(cx, p, dx, dy);
        if matches!(self.1, Fault::MixesLanes) {
            let lanes = dx.iter().flatten().next().expect("a tangent is given").lanes;
            let len = dy.len() / lanes;
            for k in 1..lanes {
                dy.copy_within(..len, k * len);
            }
        }
    }
    fn vjp(&self, cx: &Cx, p: Primal<'_, f64>, gy: Lanes<'_, f64>, gx: &mut [Option<Slot<'_, f64>>]) {
        if matches!(self.1, Fault::IgnoresWrite) {
            gx.iter_mut().flatten().for_each(|s| s.write = Write::Set);
        }
        let scale = if matches!(self.1, Fault::ScalesAdjoint) { 2.0 } else { 1.0 };
        let scaled: Vec<f64> = gy.data.iter().map(|g| scale * g).collect();
        self.0.vjp(cx, p, Lanes::new(&scaled, gy.lanes), gx);
    }
    fn vjp_jvp(
        &self,
        cx: &Cx,
        p: Primal<'_, f64>,
        cotangent: Cotangent<'_, f64>,
        dx: &[Option<Lanes<'_, f64>>],
        dgy: Option<Lanes<'_, f64>>,
        dgx: &mut [Option<Slot<'_, f64>>],
    ) {
        if matches!(self.1, Fault::DropsCurvature) {
            match dgy {
                Some(dgy) => self.0.vjp(cx, p, dgy, dgx),
                None => fill_unwritten(dgx),
            }
        } else {
            self.0.vjp_jvp(cx, p, cotangent, dx, dgy, dgx);
        }
    }
}

fn normal(count: usize) -> Vec<(Shape, Sample)> {
    (0..count).map(|_| (Shape::batched(&[6]), Sample::Normal)).collect()
}

fn failed(op: &dyn Op<f64>, inputs: &[(Shape, Sample)]) -> Vec<&'static str> {
    check_op("mutant", op, inputs, 3, 7).failures().map(|r| r.check).collect()
}

fn affine_inputs() -> Vec<(Shape, Sample)> {
    vec![
        (Shape::batched(&[3]), Sample::Normal),
        (Shape::fixed(&[2, 3]), Sample::Normal),
        (Shape::fixed(&[2]), Sample::Normal),
    ]
}

#[test]
fn a_wrong_sign_of_curvature_is_seen_by_differences_only() {
    assert_eq!(failed(&Elementwise(WrongSign), &normal(1)), ["vjp_jvp = differences of vjp"]);
}

#[test]
fn a_missing_curvature_is_seen_by_differences_only() {
    assert_eq!(failed(&Elementwise(NoCurvature), &normal(1)), ["vjp_jvp = differences of vjp"]);
}

#[test]
fn a_slope_wrong_by_a_millionth_is_rejected() {
    assert!(failed(&Elementwise(WrongSlope), &normal(1)).contains(&"jvp = differences of eval"));
}

#[test]
fn a_dropped_curvature_term_of_a_layer_is_rejected() {
    let bad = failed(&Mutant(Affine::new(3, 2), Fault::DropsCurvature), &affine_inputs());
    assert_eq!(bad, ["vjp_jvp = differences of vjp"]);
}

#[test]
fn a_dropped_curvature_of_the_loss_is_rejected() {
    let inputs = vec![(Shape::batched(&[4]), Sample::Normal), (Shape::batched(&[]), Sample::Label(4))];
    let bad = failed(&Mutant(SoftmaxCrossEntropy::default(), Fault::DropsCurvature), &inputs);
    assert_eq!(bad, ["vjp_jvp = differences of vjp"]);
}

#[test]
fn a_scaled_adjoint_is_rejected() {
    let bad = failed(&Mutant(Affine::new(3, 2), Fault::ScalesAdjoint), &affine_inputs());
    assert!(bad.contains(&"<w, Jv> = <J'w, v>"), "{bad:?}");
}

#[test]
fn a_slot_that_overwrites_instead_of_adding_is_rejected() {
    let bad = failed(&Mutant(Affine::new(3, 2), Fault::IgnoresWrite), &affine_inputs());
    assert_eq!(bad, ["slots add and stand alone"]);
}

#[test]
fn lanes_that_leak_are_rejected() {
    let bad = failed(&Mutant(Affine::new(3, 2), Fault::MixesLanes), &affine_inputs());
    assert_eq!(bad, ["lanes are independent"]);
}

#[test]
fn a_denied_coupling_is_rejected() {
    let bad = failed(&Mutant(Affine::new(3, 2), Fault::DeniesCoupling), &affine_inputs());
    assert_eq!(bad, ["pruned terms vanish"]);
}

/// The samples in reverse order: linear, but not sample by sample, as its family promises.
#[derive(Debug)]
struct Backwards;
impl LinearMap<f64> for Backwards {
    fn name(&self) -> &'static str {
        "mutant"
    }
    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        Ok(inputs[0].clone())
    }
    fn apply(&self, cx: &Cx, _i: usize, x: Lanes<'_, f64>, mut y: Slot<'_, f64>) {
        for k in 0..x.lanes {
            let each = x.lane(k).len() / cx.batch;
            let rows = x.lane(k).chunks_exact(each).rev();
            let write = y.write;
            for (y, x) in y.lane(k).chunks_exact_mut(each).zip(rows) {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = if write == Write::Add { *y + x } else { x });
            }
        }
    }
    fn transpose(&self, cx: &Cx, i: usize, gy: Lanes<'_, f64>, gx: Slot<'_, f64>) {
        self.apply(cx, i, gy, gx);
    }
}

#[test]
fn samples_that_see_each_other_are_rejected_where_pieces_are_promised() {
    assert_eq!(failed(&Linear(Backwards), &normal(1)), ["pieces make up the batch"]);
}

#[test]
fn faults_of_a_convolution_are_rejected() {
    let inputs = vec![
        (Shape::batched(&[2, 4, 4]), Sample::Normal),
        (Shape::fixed(&[3, 2, 3, 3]), Sample::Normal),
        (Shape::fixed(&[3]), Sample::Normal),
    ];
    let conv = Conv2d::new([2, 4, 4], 3, Window::square(3).padding(1));
    for (fault, check) in [
        (Fault::DropsCurvature, "vjp_jvp = differences of vjp"),
        (Fault::ScalesAdjoint, "<w, Jv> = <J'w, v>"),
        (Fault::IgnoresWrite, "slots add and stand alone"),
        (Fault::MixesLanes, "lanes are independent"),
        (Fault::DeniesCoupling, "pruned terms vanish"),
    ] {
        let bad = failed(&Mutant(conv, fault), &inputs);
        assert!(bad.contains(&check), "{fault:?}: {bad:?}");
    }
}

#[test]
fn faults_of_pools_are_rejected() {
    let inputs = vec![(Shape::batched(&[2, 4, 4]), Sample::Distinct)];
    let window = Window::square(2).stride(2);
    for (fault, check) in [
        (Fault::ScalesAdjoint, "<w, Jv> = <J'w, v>"),
        (Fault::IgnoresWrite, "slots add and stand alone"),
        (Fault::MixesLanes, "lanes are independent"),
    ] {
        for bad in [
            failed(&Mutant(MaxPool2d::new([2, 4, 4], window), fault), &inputs),
            failed(&Mutant(Linear(AvgPool2d::new([2, 4, 4], window)), fault), &inputs),
            failed(&Mutant(Linear(GlobalAvgPool2d), fault), &inputs),
        ] {
            assert!(bad.contains(&check), "{fault:?}: {bad:?}");
        }
    }
}
