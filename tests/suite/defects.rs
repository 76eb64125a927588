//! Whole networks with a seeded mistake in one op, and the tester that must reject them.

use eigenlens_autodiff::check::{Report, check_function};
use eigenlens_autodiff::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};
use eigenlens_autodiff::ops::{Affine, SoftmaxCrossEntropy};
use eigenlens_autodiff::{Function, Graph};
use eigenlens_linalg::probes::Distribution;
use eigenlens_nets::Activation;

/// What is wrong with an op.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Nothing,
    /// The curvature term D[Jᵀȳ]·ẋ has the wrong sign.
    SignOfCurvature,
    /// It is left out.
    NoCurvature,
    /// It is doubled.
    DoubleCurvature,
    /// ẏ is a hundredth too large.
    Tangent,
    /// x̄ is a hundredth too large, in first and second order.
    Adjoint,
}

/// An op with a fault.
#[derive(Debug)]
struct Faulty {
    op: Box<dyn Op<f64>>,
    fault: Fault,
}

impl Op<f64> for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }
    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        self.op.output_shape(inputs)
    }
    fn saved_len(&self, x: &[usize], y: usize) -> usize {
        self.op.saved_len(x, y)
    }
    fn bent_len(&self, x: &[usize], y: usize) -> usize {
        self.op.bent_len(x, y)
    }
    fn differentiable(&self, i: usize) -> bool {
        self.op.differentiable(i)
    }
    fn couples(&self, i: usize, j: usize) -> bool {
        self.op.couples(i, j)
    }
    fn eval(&self, cx: &Cx, x: &[&[f64]], y: &mut [f64], saved: &mut [f64]) {
        self.op.eval(cx, x, y, saved);
    }
    fn bend(&self, cx: &Cx, p: Primal<'_, f64>, gy: &[f64], bent: &mut [f64]) {
        self.op.bend(cx, p, gy, bent);
    }
    fn jvp(&self, cx: &Cx, p: Primal<'_, f64>, dx: &[Option<Lanes<'_, f64>>], dy: &mut [f64]) {
        self.op.jvp(cx, p, dx, dy);
        if self.fault == Fault::Tangent {
            dy.iter_mut().for_each(|y| *y *= 1.01);
        }
    }
    fn vjp(&self, cx: &Cx, p: Primal<'_, f64>, gy: Lanes<'_, f64>, gx: &mut [Option<Slot<'_, f64>>]) {
        let factor = if self.fault == Fault::Adjoint { 1.01 } else { 1.0 };
        let scaled: Vec<f64> = gy.data.iter().map(|g| factor * g).collect();
        self.op.vjp(cx, p, Lanes::new(&scaled, gy.lanes), gx);
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
        // The curvature is linear in the tangent: a factor on one is a factor on the other.
        let factor = match self.fault {
            Fault::SignOfCurvature => -1.0,
            Fault::NoCurvature => 0.0,
            Fault::DoubleCurvature => 2.0,
            _ => 1.0,
        };
        let bent: Vec<Option<Vec<f64>>> =
            dx.iter().map(|d| d.map(|d| d.data.iter().map(|x| factor * x).collect())).collect();
        let dx: Vec<Option<Lanes<'_, f64>>> =
            dx.iter().zip(&bent).map(|(d, b)| d.zip(b.as_ref()).map(|(d, b)| Lanes::new(b, d.lanes))).collect();
        self.op.vjp_jvp(cx, p, cotangent, &dx, dgy, dgx);
    }
}

/// x → affine → activation (with the fault) → affine → cross-entropy.
fn report(activation: Activation, fault: Fault) -> Report {
    let (inputs, hidden, classes, n) = (4, 5, 3, 12);
    let mut g = Graph::new();
    let x = g.input("x", &[inputs]);
    let t = g.input("t", &[]);
    let (w1, b1) = (g.param("w1", &[hidden, inputs]), g.param("b1", &[hidden]));
    let (w2, b2) = (g.param("w2", &[classes, hidden]), g.param("b2", &[classes]));
    let a = g.op("a", Affine::new(inputs, hidden), &[x, w1, b1]).unwrap();
    let h = g.op("h", Faulty { op: activation.op().unwrap(), fault }, &[a]).unwrap();
    let o = g.op("o", Affine::new(hidden, classes), &[h, w2, b2]).unwrap();
    let loss = g.op("loss", SoftmaxCrossEntropy::default(), &[o, t]).unwrap();
    let f = Function::new(g, loss);
    let theta = Distribution::Gaussian.probe(1, 0, f.graph().param_len());
    let data =
        [(x, Distribution::Gaussian.probe(1, 1, n * inputs)), (t, (0..n).map(|i| (i % classes) as f64).collect())];
    check_function("network", &f, &theta, &data, &[1.0 / n as f64; 12], 2)
}

const SMOOTH: [Activation; 6] =
    [Activation::Tanh, Activation::Sigmoid, Activation::Softplus, Activation::Silu, Activation::Gelu, Activation::Sin];

#[test]
fn sound_networks_pass() {
    for activation in SMOOTH {
        let report = report(activation, Fault::Nothing);
        assert!(report.passed(), "{report}");
    }
}

#[test]
fn every_wrong_curvature_of_every_activation_is_rejected() {
    for activation in SMOOTH {
        for fault in [Fault::SignOfCurvature, Fault::NoCurvature, Fault::DoubleCurvature] {
            let report = report(activation, fault);
            // All three leave the Hessian symmetric and linear: only differences and orders can see them.
            let failed: Vec<&str> = report.failures().map(|r| r.check).collect();
            assert!(failed.contains(&"Hv = differences of g"), "{activation}, {fault:?}: {failed:?}");
            assert!(!failed.contains(&"u'Hv = v'Hu"), "{activation}, {fault:?}");
        }
    }
}

#[test]
fn wrong_tangents_break_the_symmetry_and_wrong_adjoints_the_differences() {
    for activation in SMOOTH {
        let failed = |fault| report(activation, fault).failures().map(|r| r.check).collect::<Vec<_>>();
        assert!(failed(Fault::Tangent).contains(&"u'Hv = v'Hu"), "{activation}");
        assert!(failed(Fault::Adjoint).contains(&"Hv = differences of g"), "{activation}");
    }
}

#[test]
fn a_doubled_curvature_of_a_relu_is_no_defect() {
    // It has none.
    assert!(report(Activation::Relu, Fault::DoubleCurvature).passed());
}
