//! Up to which curvature a rule is stable, and the metric in which it sees it.
//!
//! On a quadratic with Hessian H, a rule with step size η converges while λ_max(P⁻¹H) stays below
//!
//! | rule | bound | P |
//! |---|---|---|
//! | SGD | 2 / η | I |
//! | heavy ball, momentum μ | (2 + 2μ) / η | I |
//! | Nesterov | (2 + 2μ) / (η (1 + 2μ)) | I |
//! | Adam, AdamW | (2 + 2β₁) / (η (1 − β₁)): 38/η for β₁ = 0.9 | (1 − β₁ᵗ) diag(√(v / (1 − β₂ᵗ)) + ε) |
//!
//! For full batches and, with Adam, for a P that changes slowly. In PyTorch's form, where η multiplies the velocity; weight decay
//! that is part of the gradient adds to H, decoupled decay (a factor 1 − ηλ) is left out.
//!
//! # Sources
//! Polyak 1964; Cohen et al. 2021, *Gradient descent on neural networks typically occurs at the edge of stability*, appendix B;
//! Cohen et al. 2022, *Adaptive gradient methods at the edge of stability*, arXiv 2207.14484, §2 and 3.

use eigenlens_linalg::Real;

use super::{Adam, AdamW, Optimizer, OptimizerState, Sgd};

impl Optimizer {
    /// The largest λ_max(P⁻¹H) at which the rule is stable with a step size; infinite for a step size of 0.
    pub fn stability_bound(&self, lr: f64) -> f64 {
        match *self {
            Optimizer::Sgd(Sgd { momentum, nesterov: true, .. }) => {
                (2.0 + 2.0 * momentum) / (lr * (1.0 + 2.0 * momentum))
            }
            Optimizer::Sgd(Sgd { momentum, .. }) => (2.0 + 2.0 * momentum) / lr,
            Optimizer::Adam(Adam { beta1, .. }) | Optimizer::AdamW(AdamW { beta1, .. }) => {
                (2.0 + 2.0 * beta1) / (lr * (1.0 - beta1))
            }
        }
    }
}

impl<T: Real> OptimizerState<T> {
    /// The diagonal of P after the steps so far. `None` for SGD, whose P is I, and before Adam's first step.
    pub fn preconditioner(&self) -> Option<Vec<f64>> {
        let (Optimizer::Adam(Adam { beta1, beta2, eps, .. }) | Optimizer::AdamW(AdamW { beta1, beta2, eps, .. })) =
            self.optimizer
        else {
            return None;
        };
        let [_, v] = &self.memory[..] else { return None };
        let t = self.steps as f64;
        let (mean, square) = (1.0 - beta1.powf(t), 1.0 - beta2.powf(t));
        (self.steps > 0).then(|| v.iter().map(|v| mean * ((v.to_f64() / square).sqrt() + eps)).collect())
    }

    /// λ of the weight decay that is part of the gradient, for each parameter: the diagonal that it adds to the Hessian.
    pub fn decay(&self) -> Vec<f64> {
        let coupled = !matches!(self.optimizer, Optimizer::AdamW(_));
        let of = |(range, decay): &(std::ops::Range<usize>, f64)| {
            std::iter::repeat_n(if coupled { *decay } else { 0.0 }, range.len())
        };
        self.pieces.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// |x| after many steps on ½ h x² from 1.
    fn after(optimizer: Optimizer, lr: f64, h: f64) -> f64 {
        let mut state = OptimizerState::<f64>::new(optimizer, 1).unwrap();
        let mut x = [1.0];
        for _ in 0..3000 {
            let g = [h * x[0]];
            state.step(lr, &mut x, &g);
        }
        x[0].abs()
    }

    #[test]
    fn sgd_converges_below_its_bound_and_diverges_above() {
        for (momentum, nesterov) in [(0.0, false), (0.5, false), (0.9, false), (0.5, true), (0.9, true)] {
            let rule = Optimizer::Sgd(Sgd { momentum, nesterov, weight_decay: 0.0 });
            let lr = 0.1;
            let bound = rule.stability_bound(lr);
            assert!(after(rule, lr, 0.98 * bound) < 1e-6, "{rule:?}");
            assert!(after(rule, lr, 1.02 * bound) > 1e6, "{rule:?}");
            // Decay that is part of the gradient counts as curvature.
            let decayed = Optimizer::Sgd(Sgd { momentum, nesterov, weight_decay: 0.04 * bound });
            assert!(after(decayed, lr, 0.98 * bound) > 1e6, "{rule:?}");
            assert_eq!(OptimizerState::<f64>::new(decayed, 2).unwrap().decay(), [0.04 * bound; 2]);
        }
    }

    #[test]
    fn adam_has_38_over_eta_in_its_own_metric() {
        let rule = Optimizer::Adam(Adam::default());
        assert!((rule.stability_bound(0.1) - 380.0).abs() < 1e-9);
        assert!((Optimizer::AdamW(AdamW::default()).stability_bound(1e-3) - 38e3).abs() < 1e-6);
        // With a frozen P, Adam is heavy ball with averaged gradients.
        for (factor, stable) in [(0.98, true), (1.02, false)] {
            let (beta1, lr, p) = (0.9, 0.1, 2.5);
            let h = factor * rule.stability_bound(lr) * p;
            let (mut x, mut m) = (1.0_f64, 0.0);
            for _ in 0..5000 {
                m = beta1 * m + (1.0 - beta1) * h * x;
                x -= lr * m / p;
            }
            assert_eq!(x.abs() < 1e-6, stable, "{factor}: {x:e}");
        }
    }

    #[test]
    fn the_metric_is_what_a_step_divides_by() {
        // Without memory of the mean a step is lr g / P.
        let rule = Optimizer::Adam(Adam { beta1: 0.0, beta2: 0.9, eps: 1e-3, weight_decay: 0.0 });
        let mut state = OptimizerState::<f64>::new(rule, 3).unwrap();
        assert_eq!(state.preconditioner(), None, "no step yet");
        let mut x = [1.0, 2.0, 3.0];
        for t in 1..5 {
            let g = [0.5 / f64::from(t), -2.0, 0.0];
            let before = x;
            state.step(0.1, &mut x, &g);
            let p = state.preconditioner().unwrap();
            for i in 0..3 {
                assert!((before[i] - x[i] - 0.1 * g[i] / p[i]).abs() < 1e-15, "{t}, {i}");
            }
        }
        // With it, the correction of the mean belongs to P, too: the first step is lr sign(g) for ε = 0.
        let mut state = OptimizerState::<f64>::new(Optimizer::Adam(Adam::default()), 1).unwrap();
        let mut x = [0.0];
        state.step(0.1, &mut x, &[4.0]);
        let p = state.preconditioner().unwrap()[0];
        assert!((x[0] + 0.1 * 0.1 * 4.0 / p).abs() < 1e-9, "m = (1 − β₁) g");
        let sgd = OptimizerState::<f64>::new(Optimizer::Sgd(Sgd::default()), 1).unwrap();
        assert_eq!(sgd.preconditioner(), None);
    }
}
