//! Early stopping: when the validation loss has stopped falling, and which epoch was the best.

use crate::options::{OptionError, in_range};

/// The lowest validation loss so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// Its epoch.
    pub epoch: u64,
    /// Its value.
    pub value: f64,
}

/// What an observed loss means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// The new best: keep these parameters.
    Improved,
    /// No improvement for so many epochs in a row, fewer than the patience.
    Wait {
        /// Epochs since the best.
        epochs: u64,
    },
    /// No improvement for as many epochs as the patience: stop and go back to the best.
    Stop {
        /// What to go back to; `None` if no loss was ever finite.
        best: Option<Best>,
    },
    /// The loss is NaN or infinite (either sign): never an improvement, and nothing to wait for.
    NonFinite {
        /// The loss.
        value: f64,
    },
}

/// Stops when the loss has not fallen below the best by more than `min_delta` for `patience` epochs in a row.
///
/// The best, not the previous epoch, is what an epoch is measured against: a slow but steady fall adds up and counts
/// once it exceeds `min_delta`. Prechelt 1998, *Early stopping – but when?*, criterion UP, with the comparison of Keras'
/// and Lightning's `EarlyStopping`.
///
/// The fields are all there is to save for a resumed run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EarlyStopping {
    /// Epochs without improvement after which to stop, at least 1.
    pub patience: u64,
    /// By how much a loss must fall below the best to be an improvement, at least 0.
    pub min_delta: f64,
    /// The best so far.
    pub best: Option<Best>,
    /// Epochs since the best.
    pub waited: u64,
}

impl EarlyStopping {
    /// Before the first epoch.
    ///
    /// # Errors
    /// If `patience` is 0 or `min_delta` negative or not finite.
    pub fn new(patience: u64, min_delta: f64) -> Result<Self, OptionError> {
        in_range(patience > 0, "early stopping", "patience", patience as f64, "at least 1 epoch")?;
        let ok = min_delta.is_finite() && min_delta >= 0.0;
        in_range(ok, "early stopping", "min_delta", min_delta, "finite and not negative")?;
        Ok(EarlyStopping { patience, min_delta, best: None, waited: 0 })
    }

    /// Takes note of an epoch's validation loss.
    pub fn observe(&mut self, epoch: u64, value: f64) -> Decision {
        if value.is_finite() && self.best.is_none_or(|best| value < best.value - self.min_delta) {
            self.best = Some(Best { epoch, value });
            self.waited = 0;
            return Decision::Improved;
        }
        self.waited += 1;
        if !value.is_finite() {
            Decision::NonFinite { value }
        } else if self.waited >= self.patience {
            Decision::Stop { best: self.best }
        } else {
            Decision::Wait { epochs: self.waited }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe_all(stopping: &mut EarlyStopping, losses: &[f64]) -> Vec<Decision> {
        losses.iter().enumerate().map(|(epoch, loss)| stopping.observe(epoch as u64, *loss)).collect()
    }

    #[test]
    fn the_best_epoch_is_kept_and_patience_counts_from_it() {
        let mut stopping = EarlyStopping::new(2, 0.0).unwrap();
        let best = Some(Best { epoch: 1, value: 0.5 });
        assert_eq!(
            observe_all(&mut stopping, &[1.0, 0.5, 0.6, 0.7]),
            [Decision::Improved, Decision::Improved, Decision::Wait { epochs: 1 }, Decision::Stop { best }]
        );
    }

    #[test]
    fn an_improvement_starts_the_patience_anew() {
        let mut stopping = EarlyStopping::new(2, 0.0).unwrap();
        let decisions = observe_all(&mut stopping, &[1.0, 1.1, 0.9, 1.0, 0.8]);
        assert!(!decisions.iter().any(|d| matches!(d, Decision::Stop { .. })), "{decisions:?}");
        assert_eq!(stopping.waited, 0);
    }

    #[test]
    fn an_equal_loss_is_no_improvement() {
        let mut stopping = EarlyStopping::new(5, 0.0).unwrap();
        assert_eq!(observe_all(&mut stopping, &[1.0, 1.0])[1], Decision::Wait { epochs: 1 });
        assert_eq!(stopping.best, Some(Best { epoch: 0, value: 1.0 }));
    }

    #[test]
    fn a_slow_fall_adds_up_to_an_improvement() {
        let mut stopping = EarlyStopping::new(10, 0.25).unwrap();
        let decisions = observe_all(&mut stopping, &[1.0, 0.9, 0.8, 0.7]);
        assert_eq!(decisions[1], Decision::Wait { epochs: 1 });
        assert_eq!(decisions[2], Decision::Wait { epochs: 2 });
        assert_eq!(decisions[3], Decision::Improved);
    }

    #[test]
    fn a_fall_of_exactly_min_delta_is_not_enough() {
        let mut stopping = EarlyStopping::new(3, 0.25).unwrap();
        assert_eq!(observe_all(&mut stopping, &[1.0, 0.75])[1], Decision::Wait { epochs: 1 });
    }

    #[test]
    fn non_finite_losses_are_reported_and_never_the_best() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut stopping = EarlyStopping::new(1, 0.0).unwrap();
            let first = stopping.observe(0, value);
            assert!(matches!(first, Decision::NonFinite { value: v } if v.to_bits() == value.to_bits()));
            assert_eq!(stopping.best, None);
            assert_eq!(stopping.observe(1, 3.0), Decision::Improved, "a finite loss after it is still a best");
            assert!(matches!(stopping.observe(2, value), Decision::NonFinite { .. }));
            assert_eq!(stopping.best, Some(Best { epoch: 1, value: 3.0 }));
        }
    }

    #[test]
    fn a_non_finite_epoch_uses_up_patience() {
        let mut stopping = EarlyStopping::new(2, 0.0).unwrap();
        let decisions = observe_all(&mut stopping, &[1.0, f64::NAN, 2.0]);
        assert_eq!(decisions[2], Decision::Stop { best: Some(Best { epoch: 0, value: 1.0 }) });
    }

    #[test]
    fn a_copy_of_the_fields_resumes_where_it_was() {
        let losses = [1.0, 0.5, 0.6, 0.55, 0.7, 0.4];
        let mut whole = EarlyStopping::new(3, 0.01).unwrap();
        let decisions = observe_all(&mut whole, &losses);
        let mut first = EarlyStopping::new(3, 0.01).unwrap();
        observe_all(&mut first, &losses[..3]);
        let mut resumed = EarlyStopping { ..first };
        let rest: Vec<_> = (3..6).map(|epoch| resumed.observe(epoch, losses[epoch as usize])).collect();
        assert_eq!(rest, decisions[3..]);
        assert_eq!(resumed, whole);
    }

    #[test]
    fn senseless_options_are_refused() {
        assert!(EarlyStopping::new(0, 0.0).is_err());
        assert!(EarlyStopping::new(1, -1e-9).is_err());
        assert!(EarlyStopping::new(1, f64::NAN).is_err());
    }
}
