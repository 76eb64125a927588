//! What is known of pairs of blocks, as matrices: rows and columns in the order of the blocks. A null says that a number is
//! not defined for a pair.

use serde::{Deserialize, Serialize};

use super::Measured;

/// Numbers of all pairs.
pub type Matrix = Vec<Vec<f64>>;
/// Numbers of all pairs for which there is one.
pub type Partial = Vec<Vec<Option<f64>>>;

/// All maps of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Maps {
    /// Between blocks of parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Parameters>,
    /// Between the results of functional blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activations: Option<Interlayer>,
    /// Between the spectra of blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectra: Option<Heterogeneity>,
}

impl Maps {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_none() && self.activations.is_none() && self.spectra.is_none()
    }
}

/// Norms of the blocks H_ℓm = ∂²L/∂θ_ℓ∂θ_m.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// The blocks.
    pub blocks: Vec<String>,
    /// Whether by all unit vectors, without estimates.
    pub exact: bool,
    /// Products with the Hessian.
    pub products: usize,
    /// R: ‖H_ℓm‖_F.
    pub resonance: Matrix,
    /// Standard errors of R, if it is estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resonance_error: Option<Matrix>,
    /// C: R over the geometric mean of the two blocks' own.
    pub coupling: Partial,
    /// ‖H_ℓm‖_F² / ‖H‖_F²: all shares add up to 1, those off the diagonal to Φ.
    pub share: Partial,
}

/// A functional block by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockRow {
    /// Its layer with weights.
    pub name: String,
    /// The layer that it ends with, whose result is perturbed.
    pub end: String,
    /// ‖H_vv‖_F.
    pub resonance: Measured,
    /// ‖T_vv‖_F / ‖G_vv‖_F.
    pub gap: Option<f64>,
    /// ‖∂f_v/∂f_u‖₂ of the block u that it reads, mean over samples.
    pub rho: Option<Measured>,
}

/// Means over all pairs at one distance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Blocks between two.
    pub distance: usize,
    /// Ordered pairs.
    pub pairs: usize,
    /// R̄.
    pub resonance: f64,
    /// C̄.
    pub coupling: Option<f64>,
    /// D̄.
    pub stable_rank: Option<f64>,
    /// Mean GN-Gap.
    pub gap: Option<f64>,
}

/// log y = a − b d from distance 1 on, by least squares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decay {
    /// a.
    pub a: f64,
    /// b.
    pub b: f64,
    /// Share of the variance explained, where there is any.
    pub r_squared: Option<f64>,
}

/// How far an estimate of R by probes is from the exact R.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Discrepancy {
    /// Probes per block.
    pub probes: usize,
    /// The largest relative error of a pair.
    pub relative: f64,
    /// Root mean square of the errors in standard errors.
    pub deviation: f64,
    /// Pairs.
    pub pairs: usize,
}

/// Norms of the blocks ∂²L/∂f_v∂f_w between the results of functional blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interlayer {
    /// Whether by all unit vectors, without estimates.
    pub exact: bool,
    /// Directions used.
    pub products: usize,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Estimates compared with the exact numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discrepancy: Option<Discrepancy>,
    /// The functional blocks.
    pub blocks: Vec<BlockRow>,
    /// Means by distance.
    pub curve: Vec<Curve>,
    /// How fast R̄ falls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay: Option<Decay>,
    /// How fast C̄ falls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupling_decay: Option<Decay>,
    /// λ₁ per block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lyapunov: Option<Measured>,
    /// Distances of blocks.
    pub distance: Vec<Vec<Option<usize>>>,
    /// R.
    pub resonance: Matrix,
    /// Standard errors of R, if it is estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resonance_error: Option<Matrix>,
    /// C.
    pub coupling: Partial,
    /// D; where R is estimated, an upper estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_rank: Option<Partial>,
    /// GN-Gap.
    pub gap: Partial,
}

/// Distances between the spectra of blocks, each divided by its largest |λ|.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heterogeneity {
    /// The blocks.
    pub blocks: Vec<String>,
    /// Jensen–Shannon divergences: natural logarithm, no root taken.
    pub jensen_shannon: Partial,
    /// Their standard errors, where spectra are estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jensen_shannon_error: Option<Partial>,
    /// Wasserstein-1 distances.
    pub wasserstein: Partial,
    /// Their standard errors, where spectra are estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasserstein_error: Option<Partial>,
}
