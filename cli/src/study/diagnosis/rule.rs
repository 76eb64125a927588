//! The form of a learned rule, as it is stored and applied.

use serde::{Deserialize, Serialize};

use super::labels::Condition;
use crate::error::{Failure, Result};
use crate::study::findings::features::{Feature, Profile};
use crate::study::findings::questions::Estimated;
use crate::study::statistics::scores::Confusion;

/// Version of the form; a change that breaks readers raises it.
pub const SCHEMA: u32 = 1;

/// How a decision is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Decision {
    /// Yes if a feature lies on one side of a threshold.
    Threshold {
        /// Name of the feature.
        feature: String,
        /// Yes above it (else below).
        above: bool,
        /// The threshold.
        at: f64,
    },
    /// Yes if a weighted sum of standardised features is above 0.
    Logistic {
        /// The constant.
        intercept: f64,
        /// The terms.
        terms: Vec<Term>,
    },
}

/// A term of a logistic rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// Name of the feature.
    pub feature: String,
    /// Its mean in the study.
    pub mean: f64,
    /// Its standard deviation there.
    pub deviation: f64,
    /// The weight.
    pub weight: f64,
}

impl Decision {
    /// The evidence for yes, above 0, or for no, below; none if a feature is not known. A logistic rule's is the log of odds.
    pub fn evidence(&self, value: impl Fn(&str) -> Option<f64>) -> Option<f64> {
        match self {
            Decision::Threshold { feature, above, at } => {
                let over = value(feature)? - at;
                Some(if *above { over } else { -over })
            }
            Decision::Logistic { intercept, terms } => terms
                .iter()
                .try_fold(*intercept, |sum, t| Some(sum + t.weight * (value(&t.feature)? - t.mean) / t.deviation)),
        }
    }
}

/// Counts of decisions on held-out data sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Said yes, is yes.
    pub true_positive: usize,
    /// Said yes, is no.
    pub false_positive: usize,
    /// Said no, is no.
    pub true_negative: usize,
    /// Said no, is yes.
    pub false_negative: usize,
}

impl From<Confusion> for Counts {
    fn from(c: Confusion) -> Self {
        Self {
            true_positive: c.true_positive,
            false_positive: c.false_positive,
            true_negative: c.true_negative,
            false_negative: c.false_negative,
        }
    }
}

impl Counts {
    /// Cases in all.
    pub fn total(self) -> usize {
        self.true_positive + self.false_positive + self.true_negative + self.false_negative
    }

    /// Share of wrong decisions.
    pub fn error(self) -> f64 {
        (self.false_positive + self.false_negative) as f64 / self.total().max(1) as f64
    }

    /// Of those said to be (or not), the share that is not (or is): how often such an answer is wrong.
    pub fn wrong_when(self, yes: bool) -> Option<(usize, usize)> {
        let (wrong, all) = if yes {
            (self.false_positive, self.false_positive + self.true_positive)
        } else {
            (self.false_negative, self.false_negative + self.true_negative)
        };
        (all > 0).then_some((wrong, all))
    }
}

/// How a procedure does on data sets that it has not seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// What it was given: `spectra`, `baselines`, `spectra and baselines`, `random features`, ….
    pub from: String,
    /// `threshold`, `logistic`, or in how many folds it was which.
    pub form: String,
    /// Decisions, leave-one-data-set-out.
    pub counts: Counts,
    /// Mean of the shares found among yes and among no: ½ is guessing.
    pub balanced_accuracy: Estimated,
    /// Area under the ROC curve of the evidence, where all folds chose logistic rules.
    pub auc: Option<f64>,
}

/// A learned rule with what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Key of the condition.
    pub condition: String,
    /// Its definition, in words.
    pub definition: String,
    /// How it decides.
    pub decision: Decision,
    /// Experiments behind it.
    pub experiments: usize,
    /// Their data sets.
    pub datasets: usize,
    /// Experiments that have the condition.
    pub positive: usize,
    /// The rule's own validation.
    pub validation: Validation,
    /// The same procedures with other inputs.
    pub others: Vec<Validation>,
    /// Balanced accuracy of spectra less that of the baselines (½ where they are below).
    pub advantage: Estimated,
    /// Balanced accuracy of spectra and baselines together less that of the baselines.
    pub addition: Estimated,
    /// What follows from that, in a sentence.
    pub verdict: String,
}

/// All learned rules of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The study, in words.
    pub study: String,
    /// The rules.
    pub rules: Vec<Rule>,
}

impl Rules {
    /// The rules that come with the program, from the study in `docs/study.md`.
    ///
    /// # Errors
    /// Never, as a test reads them.
    pub fn built_in() -> Result<Self> {
        Self::from_json(include_str!("rules.json"), "the built-in rules")
    }

    /// Reads the text of a `rules.json`; `name` is what to call it in errors.
    ///
    /// # Errors
    /// If it isn't one, is of another schema, or names features that this version doesn't know.
    pub fn from_json(text: &str, name: &str) -> Result<Self> {
        let again = "let `eigenlens study` write it anew with this version";
        let rules: Self = serde_json::from_str(text)
            .map_err(|e| Failure::new(format!("the rules can't be read: {e}")).at(name).hint(again))?;
        if rules.schema != SCHEMA {
            return Err(Failure::new(format!("the rules have schema {}, this version reads {SCHEMA}", rules.schema))
                .at(name)
                .hint(again));
        }
        let unknown = rules.rules.iter().flat_map(|r| r.decision.features()).find(|f| Feature::of_name(f).is_none());
        match unknown {
            Some(f) => Err(Failure::new(format!("a rule uses the unknown feature `{f}`")).at(name).hint(again)),
            None => Ok(rules),
        }
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data have a JSON form") + "\n"
    }
}

impl Decision {
    /// Names of the features.
    pub fn features(&self) -> Vec<&str> {
        match self {
            Decision::Threshold { feature, .. } => vec![feature],
            Decision::Logistic { terms, .. } => terms.iter().map(|t| t.feature.as_str()).collect(),
        }
    }
}

impl Rule {
    /// The condition, if this version knows it.
    pub fn condition(&self) -> Option<Condition> {
        Condition::ALL.into_iter().find(|c| c.key() == self.condition)
    }

    /// The evidence of a run: above 0 for yes.
    pub fn evidence(&self, profile: &Profile) -> Option<f64> {
        self.decision.evidence(|name| profile.feature(Feature::of_name(name)?))
    }
}
