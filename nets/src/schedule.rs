//! Learning-rate schedules: the rate as a function of the step, with no memory of its own, so that a resumed run goes on
//! where it stopped.

use crate::options::{OptionError, in_range};

/// How the learning rate changes over a run. Steps are optimiser steps, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// base, always.
    Constant,
    /// base · γ^⌊epoch / every⌋, as `torch.optim.lr_scheduler.StepLR`.
    Step {
        /// Epochs between two drops.
        every: u64,
        /// γ in (0, 1].
        gamma: f64,
    },
    /// base · γ^epoch, changing from epoch to epoch, as `ExponentialLR`.
    Exponential {
        /// γ in (0, 1].
        gamma: f64,
    },
    /// min + (base − min) (1 + cos(π step / total)) / 2, changing from step to step, as `CosineAnnealingLR`:
    /// Loshchilov & Hutter 2017, *SGDR: stochastic gradient descent with warm restarts*, eq. 5, with one period.
    Cosine {
        /// Where it ends, at step = total: one step after the last.
        min: f64,
    },
    /// base · (step + 1) / warmup during the first `warmup` steps (Goyal et al. 2017, *Accurate, large minibatch SGD*,
    /// §2.2), so that no step is wasted on a rate of 0; then [`Schedule::Cosine`] over the rest.
    WarmupCosine {
        /// Steps until the base rate is reached.
        warmup: u64,
        /// Where it ends, at step = total.
        min: f64,
    },
}

impl Schedule {
    /// Every name, for listings and suggestions.
    pub const ALL: &'static [&'static str] = &["constant", "step", "exponential", "cosine", "warmup-cosine"];

    /// The stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Schedule::Constant => "constant",
            Schedule::Step { .. } => "step",
            Schedule::Exponential { .. } => "exponential",
            Schedule::Cosine { .. } => "cosine",
            Schedule::WarmupCosine { .. } => "warmup-cosine",
        }
    }

    /// Whether it makes sense with the base rate `base`.
    ///
    /// # Errors
    /// If `base` is not positive, γ not in (0, 1], `every` 0, or `min` not in [0, base].
    pub fn check(&self, base: f64) -> Result<(), OptionError> {
        let of = self.name();
        in_range(base.is_finite() && base > 0.0, "learning rate", "base", base, "finite and positive")?;
        match *self {
            Schedule::Constant => Ok(()),
            Schedule::Step { every, gamma } => {
                in_range(every > 0, of, "every", every as f64, "at least 1 epoch")?;
                in_range(gamma > 0.0 && gamma <= 1.0, of, "gamma", gamma, "in (0, 1]")
            }
            Schedule::Exponential { gamma } => in_range(gamma > 0.0 && gamma <= 1.0, of, "gamma", gamma, "in (0, 1]"),
            Schedule::Cosine { min } | Schedule::WarmupCosine { min, .. } => {
                in_range((0.0..=base).contains(&min), of, "min", min, "between 0 and the base rate")
            }
        }
    }

    /// The learning rate of a step (from 0) in a run of `total_steps`; beyond its end the rate stays where it ended.
    ///
    /// # Panics
    /// If `steps_per_epoch` is 0, or `every` of [`Schedule::Step`] is.
    #[track_caller]
    pub fn lr(&self, base: f64, step: u64, total_steps: u64, steps_per_epoch: u64) -> f64 {
        assert!(steps_per_epoch > 0, "an epoch has at least one step");
        let epoch = step.min(total_steps) / steps_per_epoch;
        match *self {
            Schedule::Constant => base,
            Schedule::Step { every, gamma } => base * gamma.powf((epoch / every) as f64),
            Schedule::Exponential { gamma } => base * gamma.powf(epoch as f64),
            Schedule::Cosine { min } => cosine(base, min, step, total_steps),
            Schedule::WarmupCosine { warmup, .. } if step < warmup => base * ((step + 1) as f64 / warmup as f64),
            Schedule::WarmupCosine { warmup, min } => {
                cosine(base, min, step - warmup, total_steps.saturating_sub(warmup))
            }
        }
    }
}

/// From `base` at step 0 to `min` at `total` along half a period of the cosine; `min` beyond, and for an empty run `base`.
fn cosine(base: f64, min: f64, step: u64, total: u64) -> f64 {
    if step == 0 {
        return base;
    }
    if step >= total {
        return min;
    }
    min + (base - min) * 0.5 * (1.0 + (std::f64::consts::PI * (step as f64 / total as f64)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: f64 = 0.1;

    fn rates(schedule: Schedule, total: u64, per_epoch: u64) -> Vec<f64> {
        (0..total).map(|step| schedule.lr(BASE, step, total, per_epoch)).collect()
    }

    fn assert_falling(rates: &[f64]) {
        assert!(rates.windows(2).all(|w| w[1] <= w[0]), "{rates:?}");
    }

    #[test]
    fn constant_never_moves() {
        assert!(rates(Schedule::Constant, 20, 3).iter().all(|lr| *lr == BASE));
    }

    #[test]
    fn step_drops_at_its_epochs_and_nowhere_else() {
        let rates = rates(Schedule::Step { every: 2, gamma: 0.5 }, 18, 3);
        for (step, lr) in rates.iter().enumerate() {
            assert_eq!(*lr, [BASE, BASE / 2.0, BASE / 4.0][step / 6], "step {step}");
        }
    }

    #[test]
    fn exponential_multiplies_once_per_epoch() {
        let rates = rates(Schedule::Exponential { gamma: 0.9 }, 12, 4);
        assert_eq!(rates[0], BASE);
        assert_eq!(rates[3], BASE);
        for epoch in 1..3 {
            let ratio = rates[4 * epoch] / rates[4 * epoch - 1];
            assert!((ratio - 0.9).abs() < 4.0 * f64::EPSILON, "{ratio}");
        }
        assert_falling(&rates);
    }

    #[test]
    fn cosine_goes_from_base_through_the_middle_to_min() {
        let schedule = Schedule::Cosine { min: 0.02 };
        assert_eq!(schedule.lr(BASE, 0, 100, 10), BASE);
        assert!((schedule.lr(BASE, 50, 100, 10) - 0.06).abs() < 4.0 * f64::EPSILON);
        assert_eq!(schedule.lr(BASE, 100, 100, 10), 0.02);
        assert_falling(&rates(schedule, 100, 10));
        assert!(rates(schedule, 100, 10)[99] > 0.02, "the last step still moves");
    }

    #[test]
    fn cosine_is_point_symmetric_about_its_middle() {
        let rates = rates(Schedule::Cosine { min: 0.0 }, 40, 1);
        for k in 1..20 {
            assert!((rates[20 - k] + rates[20 + k] - BASE).abs() < 8.0 * f64::EPSILON);
        }
    }

    #[test]
    fn beyond_the_end_the_rate_stays() {
        for schedule in
            [Schedule::Cosine { min: 0.01 }, Schedule::WarmupCosine { warmup: 3, min: 0.01 }, Schedule::Constant]
        {
            assert_eq!(schedule.lr(BASE, 10, 10, 2), schedule.lr(BASE, 1000, 10, 2), "{schedule:?}");
        }
        let step = Schedule::Step { every: 1, gamma: 0.5 };
        assert_eq!(step.lr(BASE, 10, 10, 2), step.lr(BASE, 1000, 10, 2));
    }

    #[test]
    fn warmup_rises_from_its_first_step_to_base_and_then_falls() {
        let rates = rates(Schedule::WarmupCosine { warmup: 5, min: 0.0 }, 50, 10);
        assert_eq!(rates[0], BASE * 0.2);
        assert_eq!(rates[4], BASE);
        assert_eq!(rates[5], BASE, "the cosine starts at base");
        assert!(rates[..5].windows(2).all(|w| w[1] > w[0]));
        assert_falling(&rates[5..]);
    }

    #[test]
    fn warmup_of_zero_is_the_cosine() {
        let plain = rates(Schedule::Cosine { min: 0.03 }, 30, 7);
        assert_eq!(rates(Schedule::WarmupCosine { warmup: 0, min: 0.03 }, 30, 7), plain);
    }

    #[test]
    fn a_run_shorter_than_its_warmup_never_reaches_base() {
        let rates = rates(Schedule::WarmupCosine { warmup: 10, min: 0.0 }, 4, 1);
        assert_eq!(rates, [0.1, 0.2, 0.3, 0.4].map(|share| BASE * share));
    }

    #[test]
    fn options_out_of_range_are_refused_by_name() {
        let message = |schedule: Schedule, base| schedule.check(base).unwrap_err().to_string();
        assert_eq!(message(Schedule::Constant, -1.0), "learning rate: base must be finite and positive, is -1");
        assert_eq!(
            message(Schedule::Step { every: 0, gamma: 0.5 }, BASE),
            "step: every must be at least 1 epoch, is 0"
        );
        assert_eq!(
            message(Schedule::Exponential { gamma: f64::NAN }, BASE),
            "exponential: gamma must be in (0, 1], is NaN"
        );
        assert_eq!(
            message(Schedule::Cosine { min: 0.2 }, BASE),
            "cosine: min must be between 0 and the base rate, is 0.2"
        );
        assert_eq!(Schedule::WarmupCosine { warmup: 3, min: BASE }.check(BASE), Ok(()));
    }
}
