//! Cross-crate tests.

mod allocation;
mod golden;
mod golden_data;
mod krylov_edges;
mod nets;
mod operators;
mod random_nets;
mod snapshots;
mod spectra;
mod threads;
