//! Blockwise Hessians of networks, their spectra, and estimators that state their errors.
//!
//! | module | what |
//! |---|---|
//! | [`curvature`] | which matrix is taken, by name |
//! | [`operator`] | blocks of the Hessian and the Gauss–Newton matrix as operators |
//! | [`fisher`] | Fisher matrix, empirical Fisher matrix and covariance of the gradients as operators |
//! | [`kronecker`] | exact dense blocks of linear layers from structure |
//! | [`gram`] | exact spectra of wide linear layers from a matrix of the order of their rank |
//! | [`local`] | local Hessians of functional blocks, their input frozen |
//! | [`coupling`] | norms between layers and the share Φ that blocks leave out |
//! | [`geometry`] | the same between the results of functional blocks, in activation space |
//! | [`layerwise`] | all of it for every layer at one point |
//! | [`block`] | one operator to its report: exact, or Lanczos and quadrature |
//! | [`gradient_coupling`](mod@gradient_coupling) | the gradient in the eigenspaces of a block |
//! | [`approximations`](mod@approximations) | the distance of a block from one Kronecker product and from its Gauss–Newton block |
//! | [`activation_bend`](mod@activation_bend), [`weights_spectrum`] | the activation behind a layer; its weights as matrices |
//! | [`overlap`](mod@overlap), [`sharpness`](mod@sharpness) | leading spaces from point to point; λ_max against an optimiser's bound |
//! | [`class_structure`](mod@class_structure) | the Gauss–Newton block of a classifier by class and cross-class means |
//! | [`per_sample`] | which samples own an eigenvalue, and its error from the finite sample |
//! | [`monitor`] | traces of all layers from shared probes, and alarms when a series leaves what healthy runs do |
//! | [`wanted`](mod@wanted) | a block of which only some quantities are asked for |
//! | [`spectrum`], [`metrics`], [`density`] | spectra and what is read off them |
//! | [`heterogeneity`](mod@heterogeneity) | distances between the spectra of blocks |
//! | [`slq`], [`hutchinson`], [`estimate`] | stochastic estimates with standard errors |
//! | [`estimators`], [`student`] | traces and diagonals beyond Hutchinson's; intervals from few samples |
//! | `noise` | blocks of which nothing but rounding is left |
//! | [`verify`](mod@verify) | the user's own network, checked at run time |
//!
//! Only `curvature`, `operator`, `fisher`, `kronecker`, `gram`, `coupling`, `geometry`, `layerwise`, `local`, `wanted`,
//! `approximations`, `activation_bend`, `weights_spectrum`, `class_structure`, `sharpness`, `per_sample`, `monitor`, `noise` and
//! `verify` know what a network is.

pub mod activation_bend;
pub mod approximations;
pub mod block;
pub mod class_structure;
pub mod coupling;
pub mod curvature;
pub mod density;
pub mod estimate;
pub mod estimators;
pub mod fisher;
pub mod geometry;
pub mod gradient_coupling;
pub mod gram;
pub mod heterogeneity;
pub mod hutchinson;
pub mod kronecker;
pub mod layerwise;
pub mod local;
pub mod metrics;
pub mod monitor;
mod noise;
pub mod operator;
pub mod overlap;
pub mod per_sample;
pub mod sharpness;
pub mod slq;
pub mod spectrum;
pub mod student;
pub mod verify;
pub mod wanted;
pub mod weights_spectrum;

#[cfg(test)]
mod testing;
