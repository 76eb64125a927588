//! Tests of ops beyond their rows in the table: all shapes, plain references, single precision, faults.

mod attention;
mod losses;
mod norms;
mod shapes;

use eigenlens_linalg::{Par, Real, Write};
use proptest::prelude::ProptestConfig;
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::check::{check_op, draw};
use crate::op::{Cotangent, Cx, Lanes, Op, Primal, Shape, Slot};
use crate::ops::Sample;

type Inputs = Vec<(Shape, Sample)>;

/// The same random shapes each time.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(806_113_402),
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    }
}

/// Every identity holds in f64, and f32 gives the same up to its rounding.
#[track_caller]
fn sound(op: &dyn Op<f64>, single: &dyn Op<f32>, inputs: &Inputs, batch: usize, seed: u64) {
    let report = check_op(op.name(), op, inputs, batch, seed);
    let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{inputs:?}\n{}", failures.join("\n"));
    let (double, single) = (maps(op, inputs, batch, seed), maps(single, inputs, batch, seed));
    for ((name, a), (_, b)) in double.iter().zip(&single) {
        let size = a.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
        let error = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |m: f64, e| if e <= m { m } else { e });
        assert!(error <= 2e-4 * size, "{} {name} of {inputs:?}: f32 is off by {error:e} at size {size:e}", op.name());
    }
}

/// The value of an op on given inputs, and what it saved.
fn eval<T: Real>(op: &dyn Op<T>, batch: usize, x: &[Vec<T>], out: usize) -> (Vec<T>, Vec<T>) {
    let slices: Vec<&[T]> = x.iter().map(Vec::as_slice).collect();
    let lens: Vec<usize> = x.iter().map(Vec::len).collect();
    let (mut y, mut saved) = (vec![T::ZERO; out], vec![T::ZERO; op.saved_len(&lens, out)]);
    op.eval(&Cx { batch, par: Par::Seq }, &slices, &mut y, &mut saved);
    (y, saved)
}

fn random(inputs: &Inputs, batch: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    inputs.iter().map(|(s, how)| draw(&mut rng, *how, s.len(batch))).collect()
}

fn shape(op: &dyn Op<f64>, inputs: &Inputs) -> Result<Shape, String> {
    op.output_shape(&inputs.iter().map(|(s, _)| s.clone()).collect::<Vec<_>>())
}

#[track_caller]
fn close(a: &[f64], b: &[f64], bound: f64) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= bound * b.abs().max(1.0), "entry {i}: {a} is not {b}");
    }
}

/// What every map gives, two lanes each, at a random point; the same numbers for both precisions.
fn maps<T: Real>(op: &dyn Op<T>, inputs: &Inputs, batch: usize, seed: u64) -> Vec<(&'static str, Vec<f64>)> {
    const LANES: usize = 2;
    let shapes: Vec<Shape> = inputs.iter().map(|(s, _)| s.clone()).collect();
    let out = op.output_shape(&shapes).expect("the shapes fit").len(batch);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let round = |v: Vec<f64>| v.into_iter().map(T::from_f64).collect::<Vec<T>>();
    let x: Vec<Vec<T>> = inputs.iter().map(|(s, how)| round(draw(&mut rng, *how, s.len(batch)))).collect();
    let mut normal = |len: usize| round(draw(&mut rng, Sample::Normal, len));
    let tangents: Vec<Vec<T>> = x.iter().map(|x| normal(LANES * x.len())).collect();
    let (gy, dgy) = (normal(out), normal(LANES * out));
    let cx = Cx { batch, par: Par::Seq };
    let (y, saved) = eval(op, batch, &x, out);
    let slices: Vec<&[T]> = x.iter().map(Vec::as_slice).collect();
    let lens: Vec<usize> = x.iter().map(Vec::len).collect();
    let p = Primal { x: &slices, y: &y, saved: &saved };
    let mut bent = vec![T::ZERO; op.bent_len(&lens, out)];
    op.bend(&cx, p, &gy, &mut bent);
    let able = |i: usize| op.differentiable(i);
    let dx: Vec<_> = tangents.iter().enumerate().map(|(i, d)| able(i).then(|| Lanes::new(d, LANES))).collect();
    let mut dy = vec![T::ZERO; LANES * out];
    op.jvp(&cx, p, &dx, &mut dy);
    let pull = |bends: bool| {
        let mut gx: Vec<Vec<T>> = x.iter().map(|x| vec![T::ZERO; LANES * x.len()]).collect();
        let mut slots: Vec<_> = gx
            .iter_mut()
            .enumerate()
            .map(|(i, data)| able(i).then_some(Slot { data, lanes: LANES, write: Write::Set }))
            .collect();
        if bends {
            let cotangent = Cotangent { gy: &gy, bent: &bent };
            op.vjp_jvp(&cx, p, cotangent, &dx, Some(Lanes::new(&dgy, LANES)), &mut slots);
        } else {
            op.vjp(&cx, p, Lanes::new(&dgy, LANES), &mut slots);
        }
        gx.concat()
    };
    let wide = |v: Vec<T>| v.into_iter().map(T::to_f64).collect::<Vec<f64>>();
    vec![("eval", wide(y.clone())), ("jvp", wide(dy)), ("vjp", wide(pull(false))), ("vjp_jvp", wide(pull(true)))]
}
