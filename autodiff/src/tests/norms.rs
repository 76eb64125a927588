//! Normalisations: all groupings against plain formulas, no variance, single precision, faults.

use proptest::prelude::*;

use super::*;
use crate::graph::Graph;
use crate::normalise::Normalised;
use crate::ops::{BatchNorm, BatchNormEval, GroupNorm, LayerNorm, RmsNorm};

fn inputs(dims: &[usize], channels: usize, params: usize) -> Inputs {
    let entries = (Shape::fixed(&[channels]), Sample::Normal);
    [vec![(Shape::batched(dims), Sample::Normal)], vec![entries; params]].concat()
}

/// y for values whose group and channel are told by index, the plain way.
fn plain(
    x: &[Vec<f64>],
    eps: f64,
    centred: bool,
    group: impl Fn(usize) -> usize,
    channel: impl Fn(usize) -> usize,
) -> Vec<f64> {
    let value = |i: usize| {
        let members: Vec<f64> = (0..x[0].len()).filter(|&j| group(j) == group(i)).map(|j| x[0][j]).collect();
        let m = members.len() as f64;
        let mean = if centred { members.iter().sum::<f64>() / m } else { 0.0 };
        let variance = members.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / m;
        let normal = (x[0][i] - mean) / (variance + eps).sqrt();
        x.get(1).map_or(1.0, |w| w[channel(i)]) * normal + x.get(2).map_or(0.0, |b| b[channel(i)])
    };
    (0..x[0].len()).map(value).collect()
}

/// An ε that leaves the tester's differences their digits even where few values happen to be nearly equal.
const EPS: f64 = 0.05;

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn rows_of_features(tokens in 1usize..4, features in 1usize..20, params in 0usize..=3, batch in 1usize..4, seed in 0u64..99) {
        let dims: &[usize] = if tokens == 1 { &[features] } else { &[tokens, features] };
        let rms = params == 3;
        // One value alone is normalised to 0: nothing is left to measure errors by.
        prop_assume!(features > 1 || params >= 2);
        let params = if rms { 1 } else { params };
        let inputs = inputs(dims, features, params);
        let x = random(&inputs, batch, seed);
        let want = plain(&x, EPS, !rms, |i| i / features, |i| i % features);
        if rms {
            let op = Normalised(RmsNorm { features, eps: EPS });
            sound(&op, &op, &inputs, batch, seed);
            close(&eval::<f64>(&op, batch, &x, want.len()).0, &want, 1e-12);
        } else {
            let op = Normalised(LayerNorm { features, eps: EPS });
            sound(&op, &op, &inputs, batch, seed);
            close(&eval::<f64>(&op, batch, &x, want.len()).0, &want, 1e-12);
        }
    }

    #[test]
    fn groups_of_channels(groups in 1usize..4, each in 1usize..4, h in 1usize..4, w in 1usize..4, params in 0usize..=2,
        batch in 1usize..4, seed in 0u64..99) {
        let (channels, spatial) = (groups * each, h * w);
        prop_assume!(each * spatial > 1 || params == 2);
        let inputs = inputs(&[channels, h, w], channels, params);
        let op = Normalised(GroupNorm { channels, spatial, groups, eps: EPS });
        sound(&op, &op, &inputs, batch, seed);
        let x = random(&inputs, batch, seed);
        let want = plain(&x, EPS, true, |i| i / (each * spatial), |i| i / spatial % channels);
        close(&eval::<f64>(&op, batch, &x, want.len()).0, &want, 1e-12);
    }

    #[test]
    fn channels_of_a_batch(channels in 1usize..6, h in 0usize..4, w in 1usize..4, params in 0usize..=2, batch in 1usize..7,
        seed in 0u64..99) {
        let dims: &[usize] = if h == 0 { &[channels] } else { &[channels, h, w] };
        let spatial = if h == 0 { 1 } else { h * w };
        prop_assume!(batch * spatial > 1 || params == 2);
        let inputs = inputs(dims, channels, params);
        let op = BatchNorm { channels, eps: EPS };
        sound(&op, &op, &inputs, batch, seed);
        let x = random(&inputs, batch, seed);
        let channel = |i: usize| i / spatial % channels;
        let want = plain(&x, EPS, true, channel, channel);
        let (y, saved) = eval::<f64>(&op, batch, &x, want.len());
        close(&y, &want, 1e-12);
        // What a trainer reads.
        let m = (batch * spatial) as f64;
        for c in 0..channels {
            let members: Vec<f64> = (0..x[0].len()).filter(|&i| channel(i) == c).map(|i| x[0][i]).collect();
            let mean = members.iter().sum::<f64>() / m;
            let variance = members.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / m;
            close(&[saved[c], saved[channels + c]], &[mean, variance], 1e-12);
        }
    }

    #[test]
    fn given_statistics(channels in 1usize..20, h in 0usize..4, w in 1usize..4, batch in 1usize..4, seed in 0u64..99) {
        let dims: &[usize] = if h == 0 { &[channels] } else { &[channels, h, w] };
        let spatial = if h == 0 { 1 } else { h * w };
        let mut inputs = inputs(dims, channels, 3);
        inputs.push((Shape::fixed(&[channels]), Sample::Probability));
        let op = BatchNormEval { eps: EPS };
        sound(&op, &op, &inputs, batch, seed);
        let x = random(&inputs, batch, seed);
        let value = |i: usize| {
            let c = i / spatial % channels;
            (x[0][i] - x[3][c]) / (x[4][c] + EPS).sqrt() * x[1][c] + x[2][c]
        };
        let want: Vec<f64> = (0..x[0].len()).map(value).collect();
        close(&eval::<f64>(&op, batch, &x, want.len()).0, &want, 1e-12);
    }
}

#[test]
fn groups_without_variance_stay_finite() {
    // A row that is constant, and one whose values are large and alike: ε stands in for the variance.
    let op = Normalised(LayerNorm { features: 4, eps: 1e-5 });
    let x = vec![vec![3.0, 3.0, 3.0, 3.0, 1e6, 1e6, 1e6, 1e6], vec![2.0; 4], vec![0.5, -1.0, 0.0, 2.0]];
    let (y, saved) = eval::<f64>(&op, 2, &x, 8);
    assert_eq!(y, [x[2].clone(), x[2].clone()].concat());
    let slices: Vec<&[f64]> = x.iter().map(Vec::as_slice).collect();
    let p = Primal { x: &slices, y: &y, saved: &saved };
    let cx = Cx { batch: 2, par: Par::Seq };
    let (gy, mut bent, mut out) = ([1.0, -2.0, 0.5, 0.0, 1.0, 1.0, 3.0, 0.1], [0.0; 10], [f64::NAN; 8]);
    op.bend(&cx, p, &gy, &mut bent);
    let mut slots = [Some(Slot { data: &mut out, lanes: 1, write: Write::Set }), None, None];
    let dx = [Some(Lanes::new(&gy, 1)), None, None];
    op.vjp_jvp(&cx, p, Cotangent { gy: &gy, bent: &bent }, &dx, Some(Lanes::new(&gy, 1)), &mut slots);
    assert!(out.iter().all(|x| x.is_finite()), "{out:?}");
}

#[test]
fn no_samples_are_no_panic() {
    let op = BatchNorm { channels: 2, eps: EPS };
    let x = vec![vec![], vec![1.0; 2], vec![0.0; 2]];
    let (y, saved) = eval::<f64>(&op, 0, &x, 0);
    let slices: Vec<&[f64]> = x.iter().map(Vec::as_slice).collect();
    let mut out = [f64::NAN; 2];
    let slot = Slot { data: &mut out, lanes: 1, write: Write::Set };
    let p = Primal { x: &slices, y: &y, saved: &saved };
    op.vjp(&Cx { batch: 0, par: Par::Seq }, p, Lanes::new(&[], 1), &mut [None, Some(slot), None]);
    assert_eq!(out, [0.0; 2]);
}

#[test]
fn a_large_mean_does_not_drown_the_variance() {
    let features = 64;
    let op = Normalised(LayerNorm { features, eps: 1e-5 });
    let small: Vec<f64> = (0..features).map(|i| ((i * 37 + 11) % 64) as f64 / 32.0 - 1.0).collect();
    let shifted: Vec<f32> = small.iter().map(|x| (x + 1000.0) as f32).collect();
    let (y, _) = eval::<f32>(&op, 1, std::slice::from_ref(&shifted), features);
    let exact: Vec<f64> = shifted.iter().map(|&x| f64::from(x)).collect();
    let (want, _) = eval::<f64>(&op, 1, &[exact], features);
    let y: Vec<f64> = y.into_iter().map(f64::from).collect();
    close(&y, &want, 1e-4);
}

#[test]
fn shapes_that_do_not_meet_are_refused() {
    let layer = Normalised(LayerNorm { features: 4, eps: 1e-5 });
    assert!(shape(&layer, &inputs(&[5], 4, 2)).unwrap_err().contains("last axis"));
    assert!(shape(&layer, &inputs(&[4], 5, 2)).unwrap_err().contains("weight and bias"));
    assert!(shape(&layer, &inputs(&[4], 4, 3)).unwrap_err().contains("at most 3"));
    let rms = Normalised(RmsNorm { features: 4, eps: 1e-5 });
    assert!(shape(&rms, &inputs(&[4], 4, 2)).unwrap_err().contains("at most 2"));
    let group = Normalised(GroupNorm { channels: 4, spatial: 9, groups: 3, eps: 1e-5 });
    assert!(shape(&group, &inputs(&[4, 3, 3], 4, 2)).unwrap_err().contains("can't form 3 groups"));
    for eps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(shape(&Normalised(LayerNorm { features: 4, eps }), &inputs(&[4], 4, 2)).is_err());
        assert!(shape(&BatchNormEval { eps }, &inputs(&[4], 4, 4)).is_err());
    }
    assert!(shape(&BatchNormEval { eps: 1e-5 }, &inputs(&[4], 3, 4)).is_err());
}

#[test]
fn a_graph_tells_how_large_a_batch_must_be() {
    let build = |dims: &[usize]| {
        let mut g = Graph::<f64>::new();
        let x = g.input("x", dims);
        let (w, b) = (g.param("w", &[3]), g.param("b", &[3]));
        let bn = g.op("bn", BatchNorm { channels: 3, eps: 1e-5 }, &[x, w, b]).unwrap();
        assert!(g.mixes_samples());
        (g.least_batch(), bn)
    };
    let (least, bn) = build(&[3]);
    assert_eq!(least, Some((bn, 2)));
    assert_eq!(build(&[3, 1, 1]).0, Some((bn, 2)));
    assert_eq!(build(&[3, 2, 1]).0, None);
}

/// Which term of the second derivative a mutant leaves out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dropped {
    /// s x̂˙.
    Slope,
    /// ⟨x̂ ẋ⟩ x̄ + ⟨x̄ ẋ⟩ x̂.
    Pair,
    /// x̂˙ ⊙ ȳ, in γ̄̇.
    Gain,
}

#[derive(Debug)]
struct Mutant<O>(O, Dropped);

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
    fn bent_len(&self, x: &[usize], y: usize) -> usize {
        self.0.bent_len(x, y)
    }
    fn couples(&self, i: usize, j: usize) -> bool {
        self.0.couples(i, j)
    }
    fn eval(&self, cx: &Cx, x: &[&[f64]], y: &mut [f64], saved: &mut [f64]) {
        self.0.eval(cx, x, y, saved);
    }
    fn jvp(&self, cx: &Cx, p: Primal<'_, f64>, dx: &[Option<Lanes<'_, f64>>], dy: &mut [f64]) {
        self.0.jvp(cx, p, dx, dy);
    }
    fn vjp(&self, cx: &Cx, p: Primal<'_, f64>, gy: Lanes<'_, f64>, gx: &mut [Option<Slot<'_, f64>>]) {
        self.0.vjp(cx, p, gy, gx);
    }
    fn bend(&self, cx: &Cx, p: Primal<'_, f64>, gy: &[f64], bent: &mut [f64]) {
        self.0.bend(cx, p, gy, bent);
        // s of each row and x̄; of batch norm ⟨ȳ⟩ and ⟨x̂ ȳ⟩ of each channel.
        let groups = bent.len().checked_sub(p.y.len()).filter(|&n| n > 0).unwrap_or(bent.len() / 2);
        match self.1 {
            Dropped::Slope => bent[..groups].fill(0.0),
            Dropped::Pair => bent[groups..].fill(0.0),
            Dropped::Gain => {}
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
        if self.1 == Dropped::Gain {
            let (first, rest) = dgx.split_at_mut(1);
            self.0.vjp_jvp(cx, p, cotangent, dx, dgy, &mut [first[0].take(), None, None]);
            let [gain, bias] = rest else { unreachable!("three inputs") };
            let mut slots = [None, gain.take(), bias.take()];
            match dgy {
                Some(dgy) => self.0.vjp(cx, p, dgy, &mut slots),
                None => crate::family::fill_unwritten(&mut slots),
            }
        } else {
            self.0.vjp_jvp(cx, p, cotangent, dx, dgy, dgx);
        }
    }
}

#[test]
fn a_dropped_term_of_the_second_derivative_is_rejected() {
    for dropped in [Dropped::Slope, Dropped::Pair, Dropped::Gain] {
        let failed = |op: &dyn Op<f64>, inputs: &Inputs| -> Vec<&'static str> {
            check_op("mutant", op, inputs, 3, 7).failures().map(|r| r.check).collect()
        };
        let layer = Mutant(Normalised(LayerNorm { features: 5, eps: EPS }), dropped);
        let batch = Mutant(BatchNorm { channels: 2, eps: EPS }, dropped);
        for bad in [failed(&layer, &inputs(&[5], 5, 2)), failed(&batch, &inputs(&[2, 2, 1], 2, 2))] {
            assert!(bad.contains(&"vjp_jvp = differences of vjp"), "{dropped:?}: {bad:?}");
        }
    }
}
