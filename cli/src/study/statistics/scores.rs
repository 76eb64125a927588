//! How good predictions are.

use eigenlens_hessian::monitor::{Z95, wilson as interval};

use super::correlation::ranks;
use super::{Unfit, at_least, finite, same_rows};

/// 1 − Σ (y − ŷ)² / Σ (y − b)² with b the baseline's predictions: positive where ŷ is better than they are.
///
/// # Errors
/// Different lengths, none, values that are not finite, a baseline without error.
pub fn skill(y: &[f64], predicted: &[f64], baseline: &[f64]) -> Result<f64, Unfit> {
    same_rows(y.len(), predicted.len())?;
    same_rows(y.len(), baseline.len())?;
    at_least("rows", y.len(), 1)?;
    [("outcome", y), ("prediction", predicted), ("baseline", baseline)].iter().try_for_each(|(n, c)| finite(n, c))?;
    let squares = |p: &[f64]| y.iter().zip(p).map(|(y, p)| (y - p) * (y - p)).sum::<f64>();
    let reference = squares(baseline);
    if reference == 0.0 {
        return Err(Unfit::Constant { column: "outcome minus baseline".into() });
    }
    Ok(1.0 - squares(predicted) / reference)
}

/// Counts of a two-class decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Said yes, is yes.
    pub true_positive: usize,
    /// Said yes, is no.
    pub false_positive: usize,
    /// Said no, is no.
    pub true_negative: usize,
    /// Said no, is yes.
    pub false_negative: usize,
}

impl Confusion {
    /// The counts of (truth, decision).
    pub fn of(pairs: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut c = Self::default();
        for pair in pairs {
            match pair {
                (true, true) => c.true_positive += 1,
                (false, true) => c.false_positive += 1,
                (false, false) => c.true_negative += 1,
                (true, false) => c.false_negative += 1,
            }
        }
        c
    }

    /// Cases in all.
    pub fn total(self) -> usize {
        self.true_positive + self.false_positive + self.true_negative + self.false_negative
    }

    /// Wrong decisions.
    pub fn wrong(self) -> usize {
        self.false_positive + self.false_negative
    }

    /// Mean of the shares found among yes and among no; none without both classes. ½ is what guessing gives.
    pub fn balanced(self) -> Option<f64> {
        let yes = self.true_positive + self.false_negative;
        let no = self.true_negative + self.false_positive;
        let share = |part: usize, whole: usize| part as f64 / whole as f64;
        (yes > 0 && no > 0).then(|| 0.5 * (share(self.true_positive, yes) + share(self.true_negative, no)))
    }
}

/// The share of pairs (yes, no) in which yes has the larger score, ties counting half: area under the ROC curve.
///
/// # Errors
/// Different lengths, scores that are not finite, only one class.
/// # Sources
/// Hanley & McNeil (1982): the Mann–Whitney statistic.
pub fn auc(truth: &[bool], scores: &[f64]) -> Result<f64, Unfit> {
    same_rows(truth.len(), scores.len())?;
    let ranks = ranks("score", scores)?;
    let yes = truth.iter().filter(|t| **t).count();
    let no = truth.len() - yes;
    if yes == 0 || no == 0 {
        return Err(Unfit::Classes);
    }
    let sum: f64 = ranks.iter().zip(truth).filter(|(_, t)| **t).map(|(r, _)| r).sum();
    let yes = yes as f64;
    Ok((sum - 0.5 * yes * (yes + 1.0)) / (yes * no as f64))
}

/// Wilson's interval of 95 % for a share: `part` of `whole`.
///
/// # Panics
/// If `whole` is 0.
/// # Sources
/// Wilson (1927).
pub fn wilson(part: usize, whole: usize) -> (f64, f64) {
    assert!(whole > 0, "a share of nothing");
    let [low, high] = interval(part, whole, Z95);
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let y = [1.0, 2.0, 4.0];
        assert_eq!(skill(&y, &y, &[0.0; 3]), Ok(1.0));
        assert_eq!(skill(&y, &[0.0; 3], &[0.0; 3]), Ok(0.0));
        assert!(skill(&y, &[0.0; 3], &y).is_err());
        let truth = [true, false, true, false];
        assert_eq!(auc(&truth, &[0.9, 0.1, 0.4, 0.4]), Ok(0.875));
        assert_eq!(auc(&[true; 2], &[0.1, 0.2]), Err(Unfit::Classes));
        let c = Confusion::of(truth.into_iter().zip([true, true, true, false]));
        assert_eq!((c.total(), c.wrong(), c.balanced()), (4, 1, Some(0.75)));
        let (low, high) = wilson(0, 10);
        assert!(low == 0.0 && (high - 0.2775).abs() < 1e-4);
    }
}
