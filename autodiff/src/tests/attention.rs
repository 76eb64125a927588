//! Softmax and attention against plain formulas, in all shapes; the mask; faults.

use proptest::prelude::*;

use super::*;
use crate::family::fill_unwritten;
use crate::ops::{Attention, Softmax};

fn qkv(op: &Attention) -> Inputs {
    (0..3).map(|_| (Shape::batched(&[op.tokens, op.features]), Sample::Normal)).collect()
}

/// Attention, entry by entry.
fn plain(op: &Attention, batch: usize, x: &[Vec<f64>]) -> Vec<f64> {
    let (t, d) = (op.tokens, op.features);
    let width = d / op.heads;
    let at = |n: usize, i: usize, f: usize| (n * t + i) * d + f;
    let mut y = vec![0.0; batch * t * d];
    for n in 0..batch {
        for i in 0..t {
            for f in 0..d {
                let head = f / width * width;
                let score = |j: usize| {
                    let dot: f64 = (head..head + width).map(|g| x[0][at(n, i, g)] * x[1][at(n, j, g)]).sum();
                    (dot / (width as f64).sqrt()).exp()
                };
                let keys = 0..if op.causal { i + 1 } else { t };
                let sum: f64 = keys.clone().map(score).sum();
                y[at(n, i, f)] = keys.map(|j| score(j) / sum * x[2][at(n, j, f)]).sum();
            }
        }
    }
    y
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn attention_of_all_shapes(tokens in 1usize..6, heads in 1usize..4, width in 1usize..4, causal: bool,
        batch in 1usize..4, seed in 0u64..99) {
        let op = Attention { tokens, features: heads * width, heads, causal };
        sound(&op, &op, &qkv(&op), batch, seed);
        let x = random(&qkv(&op), batch, seed);
        let want = plain(&op, batch, &x);
        close(&eval::<f64>(&op, batch, &x, want.len()).0, &want, 1e-12);
    }

    #[test]
    fn softmax_of_all_shapes(rows in 1usize..4, features in 2usize..40, batch in 1usize..4, seed in 0u64..99) {
        let op = Softmax { features };
        let inputs = vec![(Shape::batched(&[rows, features]), Sample::Normal)];
        sound(&op, &op, &inputs, batch, seed);
        let x = random(&inputs, batch, seed);
        let exp = |i: usize| x[0][i].exp();
        let sum = |i: usize| (i / features * features..).take(features).map(exp).sum::<f64>();
        let want: Vec<f64> = (0..x[0].len()).map(|i| exp(i) / sum(i)).collect();
        close(&eval::<f64>(&op, batch, &x, want.len()).0, &want, 1e-13);
    }
}

#[test]
fn large_logits_do_not_overflow_and_nan_is_not_hidden() {
    let op = Softmax { features: 3 };
    let x = vec![1e4, 0.0, 1e4, -1e4, -1e4, -1e4, 0.0, f64::NAN, 1.0];
    let (y, _) = eval::<f64>(&op, 3, &[x], 9);
    close(&y[..6], &[0.5, 0.0, 0.5, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0], 1e-14);
    assert!(y[6..].iter().all(|y| y.is_nan()));
}

#[test]
fn a_causal_token_does_not_see_later_ones() {
    let op = Attention { tokens: 4, features: 6, heads: 2, causal: true };
    let mut x = random(&qkv(&op), 1, 5);
    let (before, _) = eval::<f64>(&op, 1, &x, 24);
    // Whatever the last token is, the others stay as they are to the last bit.
    x.iter_mut().for_each(|x| x[18..].iter_mut().for_each(|x| *x += 7.0));
    let (after, _) = eval::<f64>(&op, 1, &x, 24);
    assert_eq!(before[..18], after[..18]);
    assert_ne!(before[18..], after[18..]);
}

#[test]
fn shapes_that_do_not_meet_are_refused() {
    let op = Attention { tokens: 3, features: 4, heads: 3, causal: false };
    assert!(shape(&op, &qkv(&op)).unwrap_err().contains("3 heads"));
    let op = Attention { heads: 2, ..op };
    assert!(shape(&op, &qkv(&Attention { tokens: 5, ..op })).unwrap_err().contains("(batch, 3, 4)"));
    assert!(shape(&Softmax { features: 3 }, &qkv(&op)[..1].to_vec()).unwrap_err().contains("last axis"));
}

/// Attention that forgets a part of its second derivative.
#[derive(Debug)]
enum Mutant {
    /// e ⊙ w: what the softmax bends.
    Softmax,
    /// All of it.
    Everything,
    /// Ṗᵀ ō in v̄̇.
    Values,
}

impl Op<f64> for Mutant {
    fn name(&self) -> &'static str {
        "mutant"
    }
    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        Op::<f64>::output_shape(&SOUND, inputs)
    }
    fn saved_len(&self, x: &[usize], y: usize) -> usize {
        Op::<f64>::saved_len(&SOUND, x, y)
    }
    fn bent_len(&self, x: &[usize], y: usize) -> usize {
        Op::<f64>::bent_len(&SOUND, x, y)
    }
    fn couples(&self, i: usize, j: usize) -> bool {
        Op::<f64>::couples(&SOUND, i, j)
    }
    fn eval(&self, cx: &Cx, x: &[&[f64]], y: &mut [f64], saved: &mut [f64]) {
        SOUND.eval(cx, x, y, saved);
    }
    fn jvp(&self, cx: &Cx, p: Primal<'_, f64>, dx: &[Option<Lanes<'_, f64>>], dy: &mut [f64]) {
        SOUND.jvp(cx, p, dx, dy);
    }
    fn vjp(&self, cx: &Cx, p: Primal<'_, f64>, gy: Lanes<'_, f64>, gx: &mut [Option<Slot<'_, f64>>]) {
        SOUND.vjp(cx, p, gy, gx);
    }
    fn bend(&self, cx: &Cx, p: Primal<'_, f64>, gy: &[f64], bent: &mut [f64]) {
        SOUND.bend(cx, p, gy, bent);
        if matches!(self, Mutant::Softmax) {
            bent.fill(0.0);
        }
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
        let plain = |dgx: &mut [Option<Slot<'_, f64>>]| match dgy {
            Some(dgy) => SOUND.vjp(cx, p, dgy, dgx),
            None => fill_unwritten(dgx),
        };
        match self {
            Mutant::Softmax => SOUND.vjp_jvp(cx, p, cotangent, dx, dgy, dgx),
            Mutant::Everything => plain(dgx),
            Mutant::Values => {
                let values = dgx[2].take();
                SOUND.vjp_jvp(cx, p, cotangent, dx, dgy, dgx);
                plain(&mut [None, None, values]);
            }
        }
    }
}

const SOUND: Attention = Attention { tokens: 3, features: 4, heads: 2, causal: true };

#[test]
fn a_dropped_term_of_the_second_derivative_is_rejected() {
    for mutant in [Mutant::Softmax, Mutant::Everything, Mutant::Values] {
        let report = check_op("mutant", &mutant, &qkv(&SOUND), 2, 7);
        let bad: Vec<_> = report.failures().map(|r| r.check).collect();
        assert!(bad.contains(&"vjp_jvp = differences of vjp"), "{mutant:?}: {bad:?}");
    }
}
