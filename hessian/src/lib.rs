//! Blockwise Hessians, their spectra and curvature estimators.

pub mod block;
pub mod density;
pub mod estimate;
pub mod hutchinson;
pub mod metrics;
pub mod slq;
pub mod spectrum;
