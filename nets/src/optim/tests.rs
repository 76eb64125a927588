//! Each rule against PyTorch's pseudo-code, and the identities that tie the rules together.

use super::*;

/// Gradient of Σ cᵢ θᵢ² / 2.
const C: [f64; 3] = [1.0, 10.0, 0.1];
/// Too small to matter beside any root, and not 0.
const NO_EPS: f64 = 1e-300;
const START: [f64; 3] = [1.0, -2.0, 0.5];

fn state<T: Real>(optimizer: Optimizer) -> OptimizerState<T> {
    OptimizerState::new(optimizer, 3).unwrap()
}

/// `steps` steps on the quadratic from [`START`].
fn descend<T: Real>(state: &mut OptimizerState<T>, lr: f64, steps: usize) -> Vec<T> {
    descend_from(START.map(T::from_f64).to_vec(), state, lr, steps)
}

fn descend_from<T: Real>(mut theta: Vec<T>, state: &mut OptimizerState<T>, lr: f64, steps: usize) -> Vec<T> {
    for _ in 0..steps {
        let grad: Vec<T> = theta.iter().zip(C).map(|(x, c)| T::from_f64(c) * *x).collect();
        state.step(lr, &mut theta, &grad);
    }
    theta
}

/// A few ε per operation on numbers of size up to 2, six steps of about ten operations: 64 ε · 2.
fn assert_close<T: Real>(theta: &[T], expected: [f64; 3]) {
    for (x, e) in theta.iter().zip(expected) {
        let error = (x.to_f64() - e).abs();
        assert!(error <= 128.0 * T::EPSILON.to_f64(), "{theta:?}, expected {expected:?}");
    }
}

/// Six steps in f64 and in f32 against the numbers of the script below: PyTorch's documented pseudo-code, line by line.
///
/// ```python
/// from math import sqrt
/// C = [1.0, 10.0, 0.1]
/// def run(rule):
///     theta, state = [1.0, -2.0, 0.5], [dict(b=None, m=0.0, v=0.0) for _ in C]
///     for t in range(1, 7):
///         theta = [rule(t, x, c * x, s) for x, c, s in zip(theta, C, state)]
///     return theta
/// def sgd(t, x, g, s, lr=0.05, mu=0.9, nesterov=False, wd=0.01):
///     g = g + wd * x
///     s['b'] = g if s['b'] is None else mu * s['b'] + g
///     return x - lr * (g + mu * s['b'] if nesterov else s['b'])
/// def adam(t, x, g, s, lr=0.1, b1=0.9, b2=0.999, eps=1e-8, wd=0.1, decoupled=False):
///     if decoupled: x = x - lr * wd * x
///     else: g = g + wd * x
///     s['m'] = b1 * s['m'] + (1 - b1) * g
///     s['v'] = b2 * s['v'] + (1 - b2) * g * g
///     return x - lr * (s['m'] / (1 - b1**t)) / (sqrt(s['v'] / (1 - b2**t)) + eps)
/// ```
fn assert_six_steps(optimizer: Optimizer, lr: f64, expected: [f64; 3]) {
    assert_close(&descend(&mut state::<f64>(optimizer), lr, 6), expected);
    assert_close(&descend(&mut state::<f32>(optimizer), lr, 6), expected);
}

#[test]
fn plain_sgd_agrees_with_pytorch() {
    assert_six_steps(Optimizer::Sgd(Sgd::default()), 0.05, [0.735091890625, -0.03125, 0.48518625467813287]);
}

#[test]
fn sgd_with_momentum_and_decay_agrees_with_pytorch() {
    let sgd = Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.01 };
    let expected = [0.24238559364834417, -0.058496794182324896, 0.45186381642625084];
    assert_six_steps(Optimizer::Sgd(sgd), 0.05, expected);
}

#[test]
fn nesterov_agrees_with_pytorch() {
    let sgd = Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01 };
    let expected = [0.15890154587173605, -0.1622412671546808, 0.44116816730959296];
    assert_six_steps(Optimizer::Sgd(sgd), 0.05, expected);
}

#[test]
fn adam_with_coupled_decay_agrees_with_pytorch() {
    let adam = Adam { weight_decay: 0.1, ..Adam::default() };
    assert_six_steps(Optimizer::Adam(adam), 0.1, [0.4142364586211325, -1.4051317289024006, -0.04743147033009942]);
}

#[test]
fn adamw_with_decoupled_decay_agrees_with_pytorch() {
    let adamw = AdamW { weight_decay: 0.1, ..AdamW::default() };
    assert_six_steps(Optimizer::AdamW(adamw), 0.1, [0.37244548340385075, -1.3041474575108054, -0.058191384415105796]);
}

#[test]
fn plain_sgd_contracts_each_coordinate_by_its_own_factor() {
    let theta = descend::<f64>(&mut state(Optimizer::Sgd(Sgd::default())), 0.15, 40);
    for ((x, x0), c) in theta.iter().zip(START).zip(C) {
        let exact = x0 * (1.0 - 0.15 * c).powi(40);
        assert!((x - exact).abs() <= 80.0 * f64::EPSILON * exact.abs(), "{x}, exactly {exact}");
    }
}

#[test]
fn sgd_diverges_exactly_beyond_two_over_the_curvature() {
    let end = |lr| descend::<f64>(&mut state(Optimizer::Sgd(Sgd::default())), lr, 200)[1].abs();
    assert!(end(0.199) < 2.0 && end(0.201) > 2.0, "lr 2/10 is the edge of stability of curvature 10");
}

#[test]
fn every_rule_reaches_the_minimum_of_a_quadratic() {
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    let nesterov = Sgd { nesterov: true, ..momentum };
    let adamw = AdamW { weight_decay: 0.0, ..AdamW::default() };
    let rules =
        [Optimizer::Sgd(momentum), Optimizer::Sgd(nesterov), Optimizer::Adam(Adam::default()), Optimizer::AdamW(adamw)];
    for rule in rules {
        let theta = descend::<f64>(&mut state(rule), 0.05, 3000);
        assert!(theta.iter().all(|x| x.abs() < 1e-5), "{rule:?}: {theta:?}");
    }
}

#[test]
fn coupled_decay_moves_the_minimum_and_none_does_not() {
    // Minimum of c θ²/2 - θ + λ θ²/2 is 1 / (c + λ).
    let run = |weight_decay| {
        let mut state = OptimizerState::new(Optimizer::Sgd(Sgd { weight_decay, ..Sgd::default() }), 1).unwrap();
        let mut theta = [0.0_f64];
        for _ in 0..400 {
            let grad = [2.0 * theta[0] - 1.0];
            state.step(0.2, &mut theta, &grad);
        }
        theta[0]
    };
    assert!((run(0.0) - 0.5).abs() < 4.0 * f64::EPSILON);
    assert!((run(3.0) - 0.2).abs() < 4.0 * f64::EPSILON);
}

#[test]
fn bias_correction_makes_the_first_step_lr_times_the_sign() {
    let rule = Optimizer::Adam(Adam { eps: NO_EPS, ..Adam::default() });
    let mut theta = [0.0_f64; 3];
    state(rule).step(0.01, &mut theta, &[1e-9, -3.0, 1e9]);
    for (x, sign) in theta.iter().zip([1.0, -1.0, 1.0]) {
        assert!((x + 0.01 * sign).abs() < 8.0 * f64::EPSILON * 0.01, "{x}");
    }
}

#[test]
fn under_a_constant_gradient_every_adam_step_has_length_lr() {
    let rule = Optimizer::Adam(Adam { eps: NO_EPS, ..Adam::default() });
    let (mut state, mut theta) = (state(rule), [0.0_f64; 3]);
    for t in 1..=500 {
        state.step(0.01, &mut theta, &[0.3, -0.3, 20.0]);
        for (x, sign) in theta.iter().zip([1.0, -1.0, 1.0]) {
            assert!((x + 0.01 * f64::from(t) * sign).abs() < 1e-12 * f64::from(t), "step {t}: {x}");
        }
    }
}

#[test]
fn adam_ignores_the_scale_of_the_loss_when_eps_is_negligible() {
    let run = |scale: f64| {
        let mut state = state(Optimizer::Adam(Adam { eps: NO_EPS, ..Adam::default() }));
        let mut theta = START.to_vec();
        for _ in 0..20 {
            let grad: Vec<f64> = theta.iter().zip(C).map(|(x, c)| scale * c * x).collect();
            state.step(0.1, &mut theta, &grad);
        }
        theta
    };
    // A power of two scales m, v and their quotient without rounding.
    assert_eq!(run(1.0), run(1024.0));
}

#[test]
fn eps_is_added_after_the_bias_correction() {
    // First step: lr g / (|g| + ε), not lr g / (|g| + ε / √(1 - β₂)).
    let (g, eps) = (1e-3, 1e-3);
    let mut theta = [0.0_f64; 3];
    state(Optimizer::Adam(Adam { eps, ..Adam::default() })).step(0.1, &mut theta, &[g; 3]);
    assert!((theta[0] + 0.05).abs() < 16.0 * f64::EPSILON, "{}", theta[0]);
}

#[test]
fn adamw_without_decay_is_adam_without_decay() {
    let adam = descend::<f64>(&mut state(Optimizer::Adam(Adam::default())), 0.1, 10);
    let adamw = AdamW { weight_decay: 0.0, ..AdamW::default() };
    assert_eq!(descend::<f64>(&mut state(Optimizer::AdamW(adamw)), 0.1, 10), adam);
}

#[test]
fn decoupled_decay_shrinks_without_a_gradient_and_coupled_decay_enters_the_moments() {
    let mut theta = START;
    state(Optimizer::AdamW(AdamW { weight_decay: 0.5, ..AdamW::default() })).step(0.1, &mut theta, &[0.0; 3]);
    assert_eq!(theta, START.map(|x| (1.0 - 0.1 * 0.5) * x));
    let mut theta = START;
    state(Optimizer::Adam(Adam { weight_decay: 0.5, eps: NO_EPS, ..Adam::default() })).step(0.1, &mut theta, &[0.0; 3]);
    for (x, x0) in theta.iter().zip(START) {
        assert!((x - (x0 - 0.1 * x0.signum())).abs() < 8.0 * f64::EPSILON, "normalised away: {x} from {x0}");
    }
}

#[test]
fn momentum_of_zero_is_plain_sgd() {
    let plain = descend::<f64>(&mut state(Optimizer::Sgd(Sgd { weight_decay: 0.1, ..Sgd::default() })), 0.05, 5);
    let tiny = Sgd { momentum: f64::MIN_POSITIVE, weight_decay: 0.1, ..Sgd::default() };
    assert_eq!(descend::<f64>(&mut state(Optimizer::Sgd(tiny)), 0.05, 5), plain);
}

const ALL_RULES: [Optimizer; 4] = [
    Optimizer::Sgd(Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.3 }),
    Optimizer::Sgd(Sgd { momentum: 0.8, nesterov: true, weight_decay: 0.3 }),
    Optimizer::Adam(Adam { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.3 }),
    Optimizer::AdamW(AdamW { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.3 }),
];

#[test]
fn decay_acts_on_the_given_ranges_only() {
    for rule in ALL_RULES {
        let (n, ranges) = (300, [3..70, 70..71, 200..290]);
        let theta: Vec<f64> = (0..n).map(|i| f64::from(i % 17) - 8.0).collect();
        let grad: Vec<f64> = (0..n).map(|i| f64::from(i % 5) - 2.0).collect();
        let run = |state: OptimizerState<f64>| {
            let (mut state, mut theta) = (state, theta.clone());
            (0..3).for_each(|_| state.step(0.1, &mut theta, &grad));
            theta
        };
        let undecayed = run(OptimizerState::new(rule, n as usize).unwrap().decay_only(&[]));
        let decayed = run(OptimizerState::new(rule, n as usize).unwrap());
        let masked = run(OptimizerState::new(rule, n as usize).unwrap().decay_only(&ranges));
        for i in 0..n as usize {
            let expected = if ranges.iter().any(|r| r.contains(&i)) { &decayed } else { &undecayed };
            assert_eq!(masked[i].to_bits(), expected[i].to_bits(), "{rule:?} at {i}: same bits in any piece");
        }
        assert_ne!(decayed, undecayed);
    }
}

#[test]
#[should_panic(expected = "range 1..3 after 2 among 3 parameters")]
fn overlapping_decay_ranges_are_refused() {
    let _ = state::<f64>(ALL_RULES[0]).decay_only(&[0..2, 1..3]);
}

#[test]
fn a_resumed_state_takes_the_same_steps() {
    for rule in ALL_RULES {
        let mut whole = state::<f32>(rule);
        let expected = descend(&mut whole, 0.05, 9);
        let mut first = state(rule);
        let theta = descend(&mut first, 0.05, 4);
        let saved: Vec<(&str, &[f32])> = first.vectors().collect();
        let mut second = state(rule);
        second.restore(first.steps(), &saved).unwrap();
        assert_eq!(descend_from(theta, &mut second, 0.05, 5), expected, "{rule:?}");
        assert_eq!(second.steps(), 9);
    }
}

#[test]
fn a_foreign_state_is_refused_and_changes_nothing() {
    let mut adam = state::<f64>(ALL_RULES[2]);
    descend(&mut adam, 0.1, 2);
    let before: Vec<Vec<f64>> = adam.vectors().map(|(_, v)| v.to_vec()).collect();
    let zeros = [0.0; 3];
    let message =
        |adam: &mut OptimizerState<f64>, vectors: &[(&str, &[f64])]| adam.restore(7, vectors).unwrap_err().to_string();
    assert_eq!(
        message(&mut adam, &[("momentum_buffer", &zeros)]),
        "the saved optimiser state has a 'momentum_buffer' that this optimiser does not use"
    );
    assert_eq!(
        message(&mut adam, &[("exp_avg", &zeros)]),
        "the saved optimiser state has no 'exp_avg_sq': it was saved by another optimiser"
    );
    assert_eq!(
        message(&mut adam, &[("exp_avg", &zeros), ("exp_avg_sq", &zeros[..2])]),
        "'exp_avg_sq' in the saved optimiser state has 2 values for 3 parameters"
    );
    assert_eq!(adam.steps(), 2);
    assert!(adam.vectors().map(|(_, v)| v).eq(before.iter().map(Vec::as_slice)));
}

#[test]
fn a_nan_or_infinity_in_the_gradient_reaches_its_parameter_and_no_other() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for rule in ALL_RULES {
            // At every place, so that a tail of a vector loop is not missed.
            for place in 0..19 {
                let mut state = OptimizerState::new(rule, 19).unwrap();
                let (mut theta, mut grad) = ([0.5; 19], [0.1; 19]);
                grad[place] = bad;
                state.step(0.1, &mut theta, &grad);
                assert!(!theta[place].is_finite(), "{rule:?}: {bad} at {place} was swallowed: {}", theta[place]);
                assert_eq!(theta.iter().filter(|x| x.is_finite()).count(), 18);
            }
        }
    }
}

#[test]
fn the_first_non_finite_value_in_the_state_is_named() {
    let mut adam = state::<f32>(ALL_RULES[2]);
    let mut theta = [0.0_f32; 3];
    adam.step(0.1, &mut theta, &[1.0, 1.0, 1.0]);
    assert_eq!(adam.first_non_finite(), None);
    // A finite gradient whose square overflows f32 is visible here even though the parameter stays finite.
    adam.step(0.1, &mut theta, &[1.0, 1e30, 1.0]);
    assert!(theta.iter().all(|x| x.is_finite()));
    assert_eq!(adam.first_non_finite(), Some(("exp_avg_sq", 1)));
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let message = |optimizer: Optimizer| optimizer.check().unwrap_err().to_string();
    let sgd = Sgd::default();
    assert_eq!(message(Optimizer::Sgd(Sgd { momentum: 1.0, ..sgd })), "sgd: momentum must be in [0, 1), is 1");
    assert_eq!(
        message(Optimizer::Sgd(Sgd { nesterov: true, ..sgd })),
        "sgd: nesterov needs a momentum: set momentum = 0.9 or nesterov = false"
    );
    let adam = Adam { beta2: f64::NAN, ..Adam::default() };
    assert_eq!(message(Optimizer::Adam(adam)), "adam: beta2 must be in [0, 1), is NaN");
    let adamw = AdamW { weight_decay: -0.1, ..AdamW::default() };
    assert_eq!(message(Optimizer::AdamW(adamw)), "adamw: weight_decay must be finite and not negative, is -0.1");
    assert!(OptimizerState::<f32>::new(Optimizer::AdamW(adamw), 3).is_err());
}

#[test]
fn a_gradient_of_exactly_zero_leaves_its_parameter_alone() {
    for rule in [Optimizer::Adam(Adam::default()), Optimizer::AdamW(AdamW { weight_decay: 0.0, ..AdamW::default() })] {
        let mut theta = START;
        (0..5).for_each(|_| state(rule).step(0.1, &mut theta, &[0.0; 3]));
        assert_eq!(theta, START);
    }
}

#[test]
fn an_eps_that_rounds_to_zero_is_refused() {
    let rule = |eps| Optimizer::Adam(Adam { eps, ..Adam::default() });
    assert!(OptimizerState::<f64>::new(rule(1e-60), 1).is_ok());
    let error = OptimizerState::<f32>::new(rule(1e-60), 1).unwrap_err().to_string();
    assert!(error.starts_with("adam: eps must be more than 0 in this precision"), "{error}");
    assert!(OptimizerState::<f64>::new(rule(0.0), 1).is_err());
}

#[test]
fn names_read_back_and_typing_errors_find_the_nearest() {
    for name in Optimizer::ALL {
        assert_eq!(name.parse::<Optimizer>().unwrap().to_string(), *name);
    }
    let error = "adamm".parse::<Optimizer>().unwrap_err();
    assert!(error.to_string().starts_with("unknown optimiser 'adamm': did you mean 'adam"), "{error}");
}

#[test]
#[should_panic(expected = "a gradient for 3 parameters")]
fn a_gradient_of_another_length_is_refused() {
    state::<f64>(ALL_RULES[0]).step(0.1, &mut [0.0; 3], &[0.0; 2]);
}

#[test]
fn no_parameters_are_no_trouble() {
    for rule in ALL_RULES {
        let mut state = OptimizerState::<f32>::new(rule, 0).unwrap();
        state.step(0.1, &mut [], &[]);
        assert_eq!((state.steps(), state.first_non_finite()), (1, None));
    }
}
