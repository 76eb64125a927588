//! The checks of a single op.

use eigenlens_linalg::{Par, Write};
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Report;
use super::taylor::difference_error;
use crate::op::{Cotangent, Cx, Lanes, MAX_INPUTS, Op, Primal, Shape, Slot};
use crate::ops::Sample;
use crate::pieces::{Applied, Cuts};

/// Random values with two decimals, so that a failure can be read and repeated by hand.
pub fn draw(rng: &mut ChaCha8Rng, sample: Sample, len: usize) -> Vec<f64> {
    if sample == Sample::Distinct {
        let mut ramp: Vec<f64> = (0..len).map(|i| (i as f64 - len as f64 / 2.0) / 25.0).collect();
        (1..len).rev().for_each(|i| ramp.swap(i, rng.random_range(0..=i)));
        return ramp;
    }
    (0..len)
        .map(|_| match sample {
            Sample::Normal => f64::from(rng.random_range(-150..=150)) / 100.0,
            Sample::AwayFromZero(gap) => {
                let x = f64::from(rng.random_range(1..=130)) / 100.0 + gap;
                if rng.random_range(0..2) == 0 { x } else { -x }
            }
            Sample::Distinct => unreachable!("drawn above"),
            Sample::Label(classes) => rng.random_range(0..classes) as f64,
            Sample::Probability => f64::from(rng.random_range(0..=100)) / 100.0,
        })
        .collect()
}

type Vectors = Vec<Vec<f64>>;

/// An op at a point, with each map as a plain function of vectors.
struct Probe<'o> {
    op: Applied<'o, f64>,
    x: Vectors,
    out_len: usize,
}

/// A linearized op: what `eval` and `bend` cached at (x, ȳ).
struct At {
    x: Vectors,
    y: Vec<f64>,
    saved: Vec<f64>,
    gy: Vec<f64>,
    bent: Vec<f64>,
}

impl Probe<'_> {
    fn lens(&self) -> Vec<usize> {
        self.x.iter().map(Vec::len).collect()
    }

    fn moved(&self, t: f64, dx: &[Option<Vec<f64>>]) -> Vectors {
        let step = |(x, d): (&Vec<f64>, &Option<Vec<f64>>)| match d {
            Some(d) => x.iter().zip(d).map(|(x, d)| x + t * d).collect(),
            None => x.clone(),
        };
        self.x.iter().zip(dx).map(step).collect()
    }

    fn at(&self, x: Vectors, gy: Vec<f64>) -> At {
        let mut y = vec![0.0; self.out_len];
        let mut saved = vec![0.0; self.op.op.saved_len(&self.lens(), self.out_len)];
        let mut bent = vec![0.0; self.op.op.bent_len(&self.lens(), self.out_len)];
        let slices: Vec<&[f64]> = x.iter().map(Vec::as_slice).collect();
        self.op.eval(&slices, &mut y, &mut saved);
        let primal = Primal { x: &slices, y: &y, saved: &saved };
        if !gy.is_empty() {
            self.op.bend(primal, &gy, &mut bent);
        }
        At { x, y, saved, gy, bent }
    }

    fn with<R>(&self, at: &At, call: impl FnOnce(Primal<'_, f64>) -> R) -> R {
        let slices: Vec<&[f64]> = at.x.iter().map(Vec::as_slice).collect();
        call(Primal { x: &slices, y: &at.y, saved: &at.saved })
    }

    fn jvp(&self, at: &At, lanes: usize, dx: &[Option<Vec<f64>>]) -> Vec<f64> {
        let mut dy = vec![f64::NAN; lanes * self.out_len];
        let dx: Vec<_> = dx.iter().map(|d| d.as_ref().map(|d| Lanes::new(d, lanes))).collect();
        self.with(at, |p| self.op.jvp(p, &dx, &mut dy));
        dy
    }

    fn slots(&self, wanted: &[bool], lanes: usize, start: f64) -> Vectors {
        self.x.iter().zip(wanted).map(|(x, &w)| if w { vec![start; lanes * x.len()] } else { Vec::new() }).collect()
    }

    fn vjp(&self, at: &At, lanes: usize, gy: &[f64], wanted: &[bool], start: f64, write: Write) -> Vectors {
        let mut gx = self.slots(wanted, lanes, start);
        let mut slots: Vec<_> =
            gx.iter_mut().zip(wanted).map(|(g, &w)| w.then_some(Slot { data: g, lanes, write })).collect();
        self.with(at, |p| self.op.vjp(p, Lanes::new(gy, lanes), &mut slots));
        gx
    }

    #[allow(clippy::too_many_arguments)]
    fn vjp_jvp(
        &self,
        at: &At,
        lanes: usize,
        dx: &[Option<Vec<f64>>],
        dgy: Option<&[f64]>,
        wanted: &[bool],
        start: f64,
        write: Write,
    ) -> Vectors {
        let mut gx = self.slots(wanted, lanes, start);
        let mut slots: Vec<_> =
            gx.iter_mut().zip(wanted).map(|(g, &w)| w.then_some(Slot { data: g, lanes, write })).collect();
        let dx: Vec<_> = dx.iter().map(|d| d.as_ref().map(|d| Lanes::new(d, lanes))).collect();
        let cotangent = Cotangent { gy: &at.gy, bent: &at.bent };
        self.with(at, |p| {
            self.op.vjp_jvp(p, cotangent, &dx, dgy.map(|d| Lanes::new(d, lanes)), &mut slots);
        });
        gx
    }
}

fn flat(v: &[Vec<f64>]) -> Vec<f64> {
    v.concat()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn magnitude(v: &[f64]) -> f64 {
    v.iter().fold(0.0, |m: f64, x| if x.is_nan() { f64::NAN } else { m.max(x.abs()) })
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |m: f64, d| if d.is_nan() || d > m { d } else { m })
}

fn some(v: &[Vec<f64>], differentiable: &[bool]) -> Vec<Option<Vec<f64>>> {
    v.iter().zip(differentiable).map(|(v, &d)| d.then(|| v.clone())).collect()
}

/// Runs every check on one op at a random point with `batch` samples.
///
/// # Panics
/// If the op refuses the shapes.
pub fn check_op(name: &str, op: &dyn Op<f64>, inputs: &[(Shape, Sample)], batch: usize, seed: u64) -> Report {
    let shapes: Vec<Shape> = inputs.iter().map(|(s, _)| s.clone()).collect();
    let out = op.output_shape(&shapes).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let x: Vectors = inputs.iter().map(|(s, how)| draw(&mut rng, *how, s.len(batch))).collect();
    let mut batched = [false; MAX_INPUTS];
    batched.iter_mut().zip(&shapes).for_each(|(b, s)| *b = s.batched);
    let applied = Applied { op, cx: Cx { batch, par: Par::Seq }, batched, cuts: Cuts::USUAL };
    let probe = Probe { op: applied, x, out_len: out.len(batch) };
    let m = shapes.len();
    let able: Vec<bool> = (0..m).map(|i| op.differentiable(i)).collect();
    let fresh =
        |rng: &mut ChaCha8Rng| -> Vectors { shapes.iter().map(|s| draw(rng, Sample::Normal, s.len(batch))).collect() };
    let (v, u) = (fresh(&mut rng), fresh(&mut rng));
    let gy = draw(&mut rng, Sample::Normal, probe.out_len);
    let dgy = draw(&mut rng, Sample::Normal, probe.out_len);
    let at = probe.at(probe.x.clone(), gy.clone());
    let dx = some(&v, &able);
    let detail = |extra: String| format!("(seed {seed}, batch {batch}) {extra}");
    let mut report = Report::default();
    // Every comparison of sums below has at most this many terms of order one.
    let terms = (probe.out_len + probe.lens().iter().sum::<usize>()) as f64;
    let rounding = 8.0 * f64::EPSILON * terms;

    let dy = probe.jvp(&at, 1, &dx);
    let scale = magnitude(&dy).max(magnitude(&at.y));
    let (error, ladder) = difference_error(scale, &dy, |t| probe.at(probe.moved(t, &dx), Vec::new()).y);
    report.at_most("jvp = differences of eval", name, error, ladder.bound(), detail(ladder.describe()));

    let gx = probe.vjp(&at, 1, &gy, &able, f64::NAN, Write::Set);
    let v_able: Vectors = v.iter().zip(&able).map(|(v, &d)| if d { v.clone() } else { Vec::new() }).collect();
    let (left, right) = (dot(&gy, &dy), dot(&flat(&gx), &flat(&v_able)));
    let size: f64 = gy.iter().zip(&dy).map(|(a, b)| (a * b).abs()).sum::<f64>().max(1.0);
    report.at_most("<w, Jv> = <J'w, v>", name, (left - right).abs() / size, rounding, detail(String::new()));

    let coupled_any = (0..m).any(|i| (0..m).any(|j| able[i] && able[j] && op.couples(i, j)));
    let both = probe.vjp_jvp(&at, 1, &dx, Some(&dgy), &able, f64::NAN, Write::Set);
    let moved_vjp = |t: f64| {
        let moved_gy: Vec<f64> = gy.iter().zip(&dgy).map(|(g, d)| g + t * d).collect();
        flat(&probe.vjp(&probe.at(probe.moved(t, &dx), Vec::new()), 1, &moved_gy, &able, f64::NAN, Write::Set))
    };
    let scale = magnitude(&flat(&both)).max(magnitude(&flat(&gx)));
    let (error, ladder) = difference_error(scale, &flat(&both), moved_vjp);
    report.at_most("vjp_jvp = differences of vjp", name, error, ladder.bound(), detail(ladder.describe()));

    let bend_v = probe.vjp_jvp(&at, 1, &dx, None, &able, f64::NAN, Write::Set);
    let bend_u = probe.vjp_jvp(&at, 1, &some(&u, &able), None, &able, f64::NAN, Write::Set);
    let u_able: Vectors = u.iter().zip(&able).map(|(u, &d)| if d { u.clone() } else { Vec::new() }).collect();
    let asymmetry = (dot(&flat(&u_able), &flat(&bend_v)) - dot(&flat(&v_able), &flat(&bend_u))).abs();
    let size = magnitude(&flat(&bend_v)).max(1.0);
    report.at_most("u'Dv = v'Du", name, asymmetry / size, rounding, detail(String::new()));

    let zeros: Vectors = v.iter().map(|v| vec![0.0; v.len()]).collect();
    let still = probe.vjp_jvp(&at, 1, &some(&zeros, &able), Some(&dgy), &able, f64::NAN, Write::Set);
    let plain = probe.vjp(&at, 1, &dgy, &able, f64::NAN, Write::Set);
    let size = magnitude(&flat(&plain)).max(1.0);
    let error = distance(&flat(&still), &flat(&plain)) / size;
    report.at_most("vjp_jvp(dx = 0) = vjp(dgy)", name, error, rounding, detail(String::new()));

    // Lanes: three directions at once against each alone.
    let three = |a: &[f64], b: &[f64]| -> Vec<f64> {
        a.iter().chain(b).copied().chain(a.iter().zip(b).map(|(a, b)| a - 0.5 * b)).collect()
    };
    let dx3: Vec<Option<Vec<f64>>> = v.iter().zip(&u).zip(&able).map(|((v, u), &d)| d.then(|| three(v, u))).collect();
    let lane = |k: usize| -> Vec<Option<Vec<f64>>> {
        dx3.iter().map(|d| d.as_ref().map(|d| Lanes::new(d, 3).lane(k).to_vec())).collect()
    };
    let dgy3 = three(&dgy, &gy);
    let (dy3, both3, gx3) = (
        probe.jvp(&at, 3, &dx3),
        probe.vjp_jvp(&at, 3, &dx3, Some(&dgy3), &able, f64::NAN, Write::Set),
        probe.vjp(&at, 3, &dgy3, &able, f64::NAN, Write::Set),
    );
    let mut error: f64 = 0.0;
    for k in 0..3 {
        let own_dgy = Lanes::new(&dgy3, 3).lane(k);
        let alone = probe.vjp_jvp(&at, 1, &lane(k), Some(own_dgy), &able, f64::NAN, Write::Set);
        let alone_vjp = probe.vjp(&at, 1, own_dgy, &able, f64::NAN, Write::Set);
        let mut worst = distance(Lanes::new(&dy3, 3).lane(k), &probe.jvp(&at, 1, &lane(k)));
        for i in (0..m).filter(|&i| able[i]) {
            worst = worst.max(distance(Lanes::new(&both3[i], 3).lane(k), &alone[i]));
            worst = worst.max(distance(Lanes::new(&gx3[i], 3).lane(k), &alone_vjp[i]));
        }
        error = if worst.is_nan() { f64::NAN } else { error.max(worst) };
    }
    let size = magnitude(&flat(&both3)).max(1.0);
    report.at_most("lanes are independent", name, error / size, rounding, detail(String::new()));

    // The same sample by sample: outputs are cut, sums over samples add up.
    if op.by_sample() && out.batched {
        let cx = Cx { batch, par: Par::rayon(2) };
        let cuts = Cuts { grain: 1, least: 0 };
        let cut = Probe { op: Applied { cx, cuts, ..applied }, x: probe.x.clone(), out_len: probe.out_len };
        let here = cut.at(cut.x.clone(), gy.clone());
        let both = cut.vjp_jvp(&here, 3, &dx3, Some(&dgy3), &able, 0.0, Write::Add);
        let gx = cut.vjp(&here, 3, &dgy3, &able, f64::NAN, Write::Set);
        let error = [
            distance(&here.y, &at.y) / magnitude(&at.y).max(1.0),
            distance(&cut.jvp(&here, 3, &dx3), &dy3) / magnitude(&dy3).max(1.0),
            distance(&flat(&gx), &flat(&gx3)) / magnitude(&flat(&gx3)).max(1.0),
            distance(&flat(&both), &flat(&both3)) / magnitude(&flat(&both3)).max(1.0),
        ];
        report.at_most("pieces make up the batch", name, magnitude(&error), rounding, detail(String::new()));
    }

    // Slots: adding to 2 gives 2 more; a slot alone gives what it gives among the others.
    let added = probe.vjp_jvp(&at, 1, &dx, Some(&dgy), &able, 2.0, Write::Add);
    let mut error = distance(&flat(&added), &flat(&both).iter().map(|x| x + 2.0).collect::<Vec<_>>());
    let added = probe.vjp(&at, 1, &gy, &able, 2.0, Write::Add);
    error = error.max(distance(&flat(&added), &flat(&gx).iter().map(|x| x + 2.0).collect::<Vec<_>>()));
    for i in (0..m).filter(|&i| able[i]) {
        let only: Vec<bool> = (0..m).map(|j| j == i).collect();
        let alone = probe.vjp_jvp(&at, 1, &dx, Some(&dgy), &only, f64::NAN, Write::Set);
        error = error.max(distance(&alone[i], &both[i]));
        error = error.max(distance(&probe.vjp(&at, 1, &gy, &only, f64::NAN, Write::Set)[i], &gx[i]));
    }
    report.at_most("slots add and stand alone", name, error / size, rounding, detail(String::new()));

    // Pruning: a pair that the op calls uncoupled contributes nothing, and a missing tangent is a zero tangent.
    let mut error: f64 = 0.0;
    for j in (0..m).filter(|&j| able[j]) {
        let single: Vec<Option<Vec<f64>>> = (0..m).map(|i| (i == j).then(|| v[i].clone())).collect();
        let padded: Vec<Option<Vec<f64>>> =
            (0..m).map(|i| able[i].then(|| if i == j { v[i].clone() } else { zeros[i].clone() })).collect();
        error = error.max(distance(&probe.jvp(&at, 1, &single), &probe.jvp(&at, 1, &padded)));
        let bent = probe.vjp_jvp(&at, 1, &single, None, &able, f64::NAN, Write::Set);
        let full = probe.vjp_jvp(&at, 1, &padded, None, &able, f64::NAN, Write::Set);
        error = error.max(distance(&flat(&bent), &flat(&full)));
        for i in (0..m).filter(|&i| able[i] && !op.couples(i, j)) {
            error = error.max(magnitude(&bent[i]));
        }
    }
    report.at_most("pruned terms vanish", name, error / size, rounding, detail(format!("coupled: {coupled_any}")));

    // NaN in an entry that the output depends on (a row of a table need not be) must be seen.
    for i in (0..m).filter(|&i| able[i] && !probe.x[i].is_empty()) {
        let with = |entry: usize, value: f64| {
            let mut x = probe.x.clone();
            x[i][entry] = value;
            probe.at(x, Vec::new()).y
        };
        let matters = |&e: &usize| [-1e3, 1e3].iter().any(|step| with(e, probe.x[i][e] + step) != at.y);
        let entry = (0..probe.x[i].len()).find(matters).unwrap_or(0);
        let seen = with(entry, f64::NAN).iter().any(|y| y.is_nan());
        let value = if seen { 0.0 } else { 1.0 };
        report.at_most("NaN is not swallowed", name, value, 0.0, detail(format!("input {i}")));
    }
    report
}

#[cfg(test)]
mod tests;
