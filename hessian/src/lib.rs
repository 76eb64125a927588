//! Blockwise Hessians, their spectra and curvature estimators.

pub mod estimate;
pub mod metrics;
pub mod spectrum;
