//! Which matrix is taken of a network, by name, and its block of a part of θ.
//!
//! | name | matrix |
//! |---|---|
//! | `hessian` | H = ∂²L/∂θ² |
//! | `gauss-newton` | G = (1/N) Σ Jᵀ (∂²ℓ/∂o²) J |
//! | `tensor` | T = H − G |
//! | `fisher` | an estimate of the Fisher matrix, one label drawn for each sample ([`fisher`]) |
//! | `empirical-fisher` | (1/N) Σ g gᵀ, given labels |
//! | `gradient-covariance` | (1/N) Σ (g − ḡ)(g − ḡ)ᵀ |
//! | `local-sum`, `local-mean`, `local-half-norm`, `local-logsumexp` | the local Hessian LH^φ of a functional block ([`local`](crate::local)) |

use eigenlens_linalg::Real;
use eigenlens_nets::model::Head;
use eigenlens_nets::objective::Kind;
use eigenlens_nets::{Model, Objective, Part};

use crate::block::{BlockError, BlockOptions, BlockReport};
use crate::fisher::{self, FisherError, Moment};
use crate::layerwise::{self, Choice};
use crate::local::{Local, LocalError};

/// A matrix of second order, of a network at a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Curvature {
    /// The Hessian of the loss.
    #[default]
    Hessian,
    /// Its Gauss–Newton part.
    GaussNewton,
    /// What is left of it.
    Tensor,
    /// The Fisher matrix, estimated from one drawn label for each sample.
    Fisher,
    /// The empirical Fisher matrix.
    EmpiricalFisher,
    /// The covariance of the gradients.
    GradientCovariance,
    /// The local Hessian of a functional block.
    Local(Head),
}

/// Why a block has no report.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CurvatureError {
    /// NaN or infinity, by the name of the part.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// No labels can be drawn.
    #[error(transparent)]
    Fisher(#[from] FisherError),
    /// The part is not of one functional block.
    #[error(transparent)]
    Local(#[from] LocalError),
}

impl Curvature {
    /// Every name, for listings and suggestions.
    pub const NAMES: &'static [&'static str] = &[
        "hessian",
        "gauss-newton",
        "tensor",
        "fisher",
        "empirical-fisher",
        "gradient-covariance",
        "local-sum",
        "local-mean",
        "local-half-norm",
        "local-logsumexp",
    ];

    const ALL: [Curvature; 10] = [
        Curvature::Hessian,
        Curvature::GaussNewton,
        Curvature::Tensor,
        Curvature::Fisher,
        Curvature::EmpiricalFisher,
        Curvature::GradientCovariance,
        Curvature::Local(Head::Sum),
        Curvature::Local(Head::Mean),
        Curvature::Local(Head::HalfNorm),
        Curvature::Local(Head::LogSumExp),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        let place = Curvature::ALL.iter().position(|c| *c == self);
        place.map_or("", |place| Curvature::NAMES[place])
    }

    /// The one of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Curvature::NAMES.iter().position(|n| *n == name).map(|place| Curvature::ALL[place])
    }

    /// What it is called in a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Curvature::Hessian => "Hessian",
            Curvature::GaussNewton => "Gauss–Newton matrix",
            Curvature::Tensor => "tensor part H − G of the Hessian",
            Curvature::Fisher => "Fisher matrix (one label drawn for each sample)",
            Curvature::EmpiricalFisher => "empirical Fisher matrix",
            Curvature::GradientCovariance => "covariance of the gradients",
            Curvature::Local(Head::Sum) => "local Hessian of φ = sum",
            Curvature::Local(Head::Mean) => "local Hessian of φ = mean",
            Curvature::Local(Head::HalfNorm) => "local Hessian of φ = ½‖u‖²",
            Curvature::Local(Head::LogSumExp) => "local Hessian of φ = log Σ exp",
        }
    }

    /// The kind of product that gives its blocks between parts, and with them Φ; `None` where there are none (local Hessians)
    /// or no such products (moments of gradients).
    pub fn kind(self) -> Option<Kind> {
        match self {
            Curvature::Hessian => Some(Kind::Hessian),
            Curvature::GaussNewton => Some(Kind::GaussNewton),
            Curvature::Tensor => Some(Kind::Tensor),
            _ => None,
        }
    }

    /// The moment of gradients that it is; labels are drawn with this seed.
    pub fn moment(self, seed: u64) -> Option<Moment> {
        match self {
            Curvature::Fisher => Some(Moment::Drawn { seed, draws: 1 }),
            Curvature::EmpiricalFisher => Some(Moment::Given),
            Curvature::GradientCovariance => Some(Moment::Centred),
            _ => None,
        }
    }

    /// Whether it is positive semidefinite for every network.
    pub fn is_positive(self) -> bool {
        self == Curvature::GaussNewton || self.moment(0).is_some()
    }

    /// The route that [`Curvature::block`] takes for a part of a network on so many samples.
    ///
    /// # Errors
    /// A part that has no local Hessian, where that is asked for; a loss that is no likelihood.
    pub fn choose<T: Real>(
        self,
        model: &Model<T>,
        samples: usize,
        part: &Part,
        options: &BlockOptions,
    ) -> Result<Choice, CurvatureError> {
        Ok(match (self, self.moment(0)) {
            (Curvature::Local(head), _) => Local::new(model, part, head)?.choose(samples, options),
            (_, Some(moment)) => {
                moment.check(model).map_err(FisherError::from)?;
                fisher::choose(model, samples, part, moment, options)
            }
            (_, None) => Choice::of(model, samples, part, self.kind().unwrap_or(Kind::Hessian), options),
        })
    }

    /// The block of a part of θ, at the point where the objective was linearized; drawn labels are those of a seed.
    ///
    /// # Errors
    /// NaN or infinity; a part that has no local Hessian; a loss that is no likelihood.
    /// # Panics
    /// If nothing was linearized with second order, or the part reaches beyond θ.
    #[track_caller]
    pub fn block<T: Real>(
        self,
        objective: &Objective<'_, T>,
        part: &Part,
        seed: u64,
        options: &BlockOptions,
    ) -> Result<BlockReport, CurvatureError> {
        Ok(match (self, self.moment(seed)) {
            (Curvature::Local(head), _) => Local::new(objective.model(), part, head)?.block(objective, options)?,
            (_, Some(moment)) => fisher::block(objective, part, moment, options)?,
            (_, None) => layerwise::block(objective, part, self.kind().unwrap_or(Kind::Hessian), options)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Route;
    use crate::testing::{cases, linearized};

    #[test]
    fn names_lead_to_what_they_name() {
        assert_eq!(Curvature::ALL.len(), Curvature::NAMES.len());
        for curvature in Curvature::ALL {
            assert_eq!(Curvature::of_name(curvature.name()), Some(curvature));
            if let Curvature::Local(head) = curvature {
                assert_eq!(curvature.name(), format!("local-{head}"));
            }
        }
        assert_eq!(Curvature::of_name("hesian"), None);
    }

    #[test]
    fn every_curvature_has_the_route_that_was_chosen() {
        for case in cases() {
            let objective = linearized(&case.model, &case.samples);
            for curvature in Curvature::ALL {
                for part in case.model.layer_blocks() {
                    for exact_max in [0, 23, 2100] {
                        let options = BlockOptions { exact_max, top: 1, ..BlockOptions::default() };
                        let choice = curvature.choose(&case.model, case.samples.n, &part, &options).unwrap();
                        let report = curvature.block(&objective, &part, 1, &options).unwrap();
                        // A Gram matrix of mixed signs may turn out to lose too many digits.
                        let fallback = choice.route == Route::Gram && report.route == Route::Krylov;
                        let name = format!("{}, {}, {}", case.name, part.name, curvature.name());
                        assert!(report.route == choice.route || fallback, "{name}: {:?}", choice.route);
                        let (least, most) = (report.value("lambda_min").unwrap(), report.value("lambda_max").unwrap());
                        assert!(!curvature.is_positive() || least >= -1e-7 * most, "{name}: {least:e}");
                    }
                }
            }
        }
    }
}
