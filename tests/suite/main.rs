//! Cross-crate tests.

mod allocation;
mod defects;
mod golden;
mod golden_arch;
mod golden_data;
mod krylov_edges;
mod nets;
mod operators;
mod peers;
mod random_nets;
mod snapshots;
mod spectra;
mod structure;
mod threads;
mod tidy;
mod unrolling;
mod verified;
mod wide;
mod zoo;
