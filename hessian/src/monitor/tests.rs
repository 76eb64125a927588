//! Variances and covariances against the dense Hessian; batches that scatter by a known amount; alarms at their rate.

use eigenlens_linalg::operator::to_dense;

use super::*;
use crate::testing::{Case, cases, linearized};

/// ‖H_ℓm‖_F² and Σ_{i in ℓ} H_ii² from the dense matrix.
fn norms(h: &[f64], p: usize, parts: &[Part]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let of = |part: &Part| part.ranges.iter().cloned().flatten().collect::<Vec<usize>>();
    let sums = |l: &Part, m: &Part| of(l).iter().map(|i| of(m).iter().map(|j| h[i * p + j].powi(2)).sum::<f64>()).sum();
    let norms = parts.iter().map(|l| parts.iter().map(|m| sums(l, m)).collect()).collect();
    (norms, parts.iter().map(|l| of(l).iter().map(|i| h[i * (p + 1)].powi(2)).sum()).collect())
}

/// 20,000 probes give variances and covariances a relative error of √((κ − 1)/K) < 2 % for a kurtosis κ < 9; bounds are three of
/// them for the variances and five standard errors for the covariances.
#[test]
fn shared_probes_scatter_and_move_together_as_the_theory_says() {
    for Case { name, model, samples } in cases() {
        let objective = linearized(&model, &samples);
        let parts = model.layer_blocks();
        let h = to_dense(&Block::full(&objective, Kind::Hessian));
        let (norms, diagonals) = norms(&h, model.len(), &parts);
        let found = layer_traces(&objective, &parts, Kind::Hessian, 20_000, 5);
        let p = model.len();
        for (l, part) in parts.iter().enumerate() {
            let exact: f64 = part.ranges.iter().cloned().flatten().map(|i| h[i * (p + 1)]).sum();
            assert!(found.trace(l).deviation(exact) < 4.0, "{name}, {}: {} for {exact}", part.name, found.trace(l));
            let others: f64 = (0..parts.len()).filter(|&m| m != l).map(|m| norms[l][m]).sum();
            let want = 2.0 * (norms[l][l] - diagonals[l]) + others;
            let got = found.variance(l);
            assert!((got / want - 1.0).abs() < 0.06, "{name}, {}: V = {got} for {want}", part.name);
            for m in (0..parts.len()).filter(|&m| m != l) {
                let coupling = found.coupling(l, m);
                assert!(coupling.deviation(norms[l][m]) < 5.0, "{name}, ({l}, {m}): {coupling} for {}", norms[l][m]);
                assert!(coupling.sem < 0.05 * want.max(found.variance(m)), "{name}: the error is small enough to tell");
            }
        }
    }
}

#[test]
fn lanes_and_more_probes_keep_the_first_probes() {
    let Case { model, samples, .. } = cases().remove(0);
    let objective = linearized(&model, &samples);
    let parts = model.layer_blocks();
    let (few, many) = (3, 40);
    let [a, b] = [few, many].map(|k| layer_traces(&objective, &parts, Kind::Hessian, k, 1));
    for (a, b) in a.samples.iter().zip(&b.samples) {
        assert_eq!(a[..], b[..few]);
    }
}

/// Numbers that look random and don't depend on a crate's stream.
fn noise(seed: u64, n: usize) -> Vec<f64> {
    Distribution::Gaussian.probe(seed, 0, n)
}

#[test]
fn the_scatter_of_batches_is_told_from_that_of_probes() {
    // Batches with traces of variance 4, probes of variance 9.
    let (batches, probes) = (4000, 5);
    let of = |b: usize| {
        let centre = 10.0 + 2.0 * noise(7, batches)[b];
        LayerTraces {
            parts: vec!["fc".into()],
            samples: vec![noise(100 + b as u64, probes).iter().map(|z| centre + 3.0 * z).collect()],
        }
    };
    let found = Sampling::of(&(0..batches).map(of).collect::<Vec<_>>(), 0);
    // Standard errors: within 9 √(2 / 16,000) = 0.10, between (4 + 1.8) √(2 / 4,000) = 0.13.
    assert!((found.within - 9.0).abs() < 0.4, "{found:?}");
    assert!((found.between - 4.0).abs() < 0.6, "{found:?}");
    assert!((found.critical_probes().unwrap() - 2.25).abs() < 0.4, "{found:?}");
    let still = |b: usize| LayerTraces { parts: vec!["fc".into()], samples: vec![noise(b as u64, probes)] };
    let found = Sampling::of(&(0..batches).map(still).collect::<Vec<_>>(), 0);
    assert!(found.between.abs() < 0.05, "{found:?}");
}

fn series(seed: u64, steps: usize, shift: f64, onset: usize) -> Vec<f64> {
    let drift = |t: usize| 3.0 + t as f64 / 20.0 + if t >= onset { shift } else { 0.0 };
    noise(seed, steps).iter().enumerate().map(|(t, z)| (drift(t) + 0.3 * z).sinh()).collect()
}

#[test]
fn alarms_are_as_rare_as_promised_on_healthy_runs_and_quick_on_others() {
    let (steps, rate) = (60, 0.05);
    let mut falsely = 0;
    let mut runs = 0;
    for repetition in 0..30 {
        let healthy: Vec<Vec<f64>> = (0..60).map(|i| series(1000 * repetition + i, steps, 0.0, 0)).collect();
        let baseline = Baseline::healthy(&healthy, 0.5, rate).unwrap();
        let fresh: Vec<Vec<f64>> = (0..50).map(|i| series(1000 * repetition + 500 + i, steps, 0.0, 0)).collect();
        let found = Detection::of(&baseline, &fresh, 0);
        (falsely, runs) = (falsely + found.alarms, runs + found.runs);
        // Two standard deviations up or down from step 20 on.
        for shift in [0.6, -0.6] {
            let faulty: Vec<Vec<f64>> =
                (0..20).map(|i| series(1000 * repetition + 700 + i, steps, shift, 20)).collect();
            let found = Detection::of(&baseline, &faulty, 20);
            assert!(found.alarms >= 18, "{found:?}");
            assert!(found.delays.iter().all(|&d| d < 20), "{found:?}");
        }
    }
    // 1,500 runs that share thirty thresholds: the standard error of the rate is about 0.01.
    let share = f64::from(falsely as u32) / f64::from(runs as u32);
    assert!((0.02..=0.08).contains(&share), "{share}");
}

#[test]
fn a_fault_has_its_side_and_nan_is_an_alarm() {
    let healthy: Vec<Vec<f64>> = (0..40).map(|i| series(i, 30, 0.0, 0)).collect();
    let baseline = Baseline::healthy(&healthy, 0.5, 0.05).unwrap();
    let side = |shift| Cusum::first_alarm(&baseline, &series(99, 30, shift, 10)).map(|a| a.side);
    assert_eq!((side(1.5), side(-1.5)), (Some(Side::Above), Some(Side::Below)));
    let mut run = series(98, 30, 0.0, 0);
    run[4] = f64::NAN;
    assert_eq!(Cusum::first_alarm(&baseline, &run), Some(Alarm { step: 4, side: Side::Above }));
    assert_eq!(Cusum::first_alarm(&baseline, &series(98, 30, 0.0, 0)), None);
    // Beyond the end of the baseline its last step counts: what goes on rising gets there.
    let late = Cusum::first_alarm(&baseline, &series(98, 60, 0.0, 0)).expect("an alarm");
    assert!(late.step >= 30 && late.side == Side::Above, "{late:?}");
}

#[test]
fn baselines_that_promise_nothing_are_refused_or_never_alarm() {
    let refuse = |runs: &[Vec<f64>], what: &str| {
        let e = Baseline::healthy(runs, 0.5, 0.05).unwrap_err();
        assert!(e.contains(what), "{e}");
    };
    refuse(&[vec![1.0], vec![2.0]], "three at least");
    refuse(&[vec![1.0], vec![2.0], vec![]], "run 2 has 0 values");
    refuse(&[vec![], vec![], vec![]], "run 0 has 0 values");
    refuse(&[vec![1.0], vec![f64::NAN], vec![2.0]], "run 1 is not finite at step 0");
    refuse(&[vec![1.0, 2.0], vec![2.0, 2.0], vec![3.0, 2.0]], "same value at step 1");
    // Four runs can't promise 5 %.
    let few: Vec<Vec<f64>> = (0..4).map(|i| series(i, 5, 0.0, 0)).collect();
    assert_eq!(Baseline::healthy(&few, 0.5, 0.05).unwrap().threshold(), f64::INFINITY);
}

#[test]
fn the_interval_of_a_rate_is_wilsons() {
    // 8 of 10: the roots of (p̂ − p)² = z² p (1 − p) / n.
    let z = 1.96;
    for (hits, trials) in [(8, 10), (0, 5), (5, 5), (179, 180)] {
        let p = hits as f64 / trials as f64;
        for edge in wilson(hits, trials, z) {
            let error = (p - edge).powi(2) - z * z * edge * (1.0 - edge) / trials as f64;
            assert!(error.abs() < 1e-14, "{hits} of {trials}: {edge}");
        }
    }
    assert_eq!(wilson(0, 0, z), [0.0, 1.0]);
}
