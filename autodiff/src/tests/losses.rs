//! The cross-entropy with smoothing, class weights and several positions against its definition.

use proptest::prelude::*;

use super::*;
use crate::ops::SoftmaxCrossEntropy;

fn inputs(positions: Option<usize>, classes: usize) -> Inputs {
    let dims = positions.into_iter().collect::<Vec<_>>();
    let logits = [&dims[..], &[classes]].concat();
    vec![(Shape::batched(&logits), Sample::Normal), (Shape::batched(&dims), Sample::Label(classes))]
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn all_kinds_of_targets(positions in proptest::option::of(1usize..5), classes in 1usize..9, smoothing in 0usize..5,
        weighted: bool, batch in 1usize..5, seed in 0u64..99) {
        let smoothing = smoothing as f64 / 4.0;
        let weights: Vec<f64> = (0..classes).map(|c| ((c * 5 + 2) % 4) as f64 / 2.0).collect();
        let mut op = SoftmaxCrossEntropy::default().with_smoothing(smoothing);
        if weighted {
            op = op.with_weights(&weights);
        }
        let inputs = inputs(positions, classes);
        let x = random(&inputs, batch, seed);
        let each = positions.unwrap_or(1);
        let weight = |c: usize| if weighted { weights[c] } else { 1.0 };
        let mut want = vec![0.0; batch];
        for (row, (logits, &label)) in x[0].chunks_exact(classes).zip(&x[1]).enumerate() {
            let log_sum = logits.iter().map(|o| o.exp()).sum::<f64>().ln();
            for (c, logit) in logits.iter().enumerate() {
                let hot = if c == label as usize { 1.0 } else { 0.0 };
                let target = (1.0 - smoothing) * hot + smoothing / classes as f64;
                want[row / each] += weight(c) * target * (log_sum - logit) / each as f64;
            }
        }
        close(&eval::<f64>(&op, batch, &x, batch).0, &want, 1e-13);
        // A loss that is 0 everywhere leaves nothing to measure errors by.
        prop_assume!(classes > 1 && (!weighted || x[1].iter().any(|&t| weight(t as usize) > 0.0)));
        prop_assume!(smoothing < 1.0 || !weighted || weights.iter().any(|&w| w > 0.0));
        sound(&op, &op, &inputs, batch, seed);
    }
}

#[test]
fn a_sure_right_answer_costs_nothing_and_a_sure_wrong_one_its_margin() {
    let op = SoftmaxCrossEntropy::default();
    let x = vec![vec![1e4, 0.0, 0.0, 0.0, 1e4, 0.0], vec![0.0, 2.0]];
    assert_eq!(eval::<f64>(&op, 2, &x, 2).0, [0.0, 1e4]);
    assert_eq!(eval::<f32>(&op, 2, &[vec![1e4; 6], vec![0.0, 2.0]], 2).0, [3f32.ln(); 2]);
}

#[test]
fn a_label_that_is_no_class_gives_nan_in_every_map_and_no_panic() {
    let op = SoftmaxCrossEntropy::default().with_smoothing(0.1);
    for label in [-1.0, 3.0, 0.5, f64::NAN, f64::INFINITY, 1e300] {
        let x = vec![vec![0.0; 6], vec![label, 1.0]];
        let (y, saved) = eval::<f64>(&op, 2, &x, 2);
        assert!(y[0].is_nan() && y[1].is_finite(), "{y:?}");
        let slices: Vec<&[f64]> = x.iter().map(Vec::as_slice).collect();
        let mut out = [0.0; 6];
        let slot = Slot { data: &mut out, lanes: 1, write: Write::Set };
        let p = Primal { x: &slices, y: &y, saved: &saved };
        op.vjp(&Cx { batch: 2, par: Par::Seq }, p, Lanes::new(&[1.0; 2], 1), &mut [Some(slot), None]);
        assert!(out[..3].iter().all(|x| x.is_nan()) && out[3..].iter().all(|x| x.is_finite()), "{out:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let op = SoftmaxCrossEntropy::default();
    let refused = |op: &SoftmaxCrossEntropy, inputs: &Inputs, why: &str| {
        let reason = shape(op, inputs).unwrap_err();
        assert!(reason.contains(why), "{reason}");
    };
    refused(&op, &[inputs(None, 3)[0].clone(), inputs(Some(2), 3)[1].clone()].to_vec(), "takes logits");
    refused(&op.clone().with_weights(&[1.0; 4]), &inputs(None, 3), "4 class weights for 3 classes");
    refused(&op.clone().with_weights(&[1.0, -1.0]), &inputs(None, 2), "class weight is -1");
    refused(&op.clone().with_weights(&[1.0, f64::NAN]), &inputs(None, 2), "class weight is NaN");
    for bad in [-0.1, 1.1, f64::NAN] {
        refused(&op.clone().with_smoothing(bad), &inputs(None, 2), "label smoothing");
    }
}
