//! The library behind the program `eigenlens`: arguments, configs, run directories, results, tables and the report.
//!
//! Nothing here knows how a derivative is taken; the crates below do.

pub mod args;
pub mod commands;
pub mod config;
pub mod error;
#[cfg(test)]
mod example;
pub mod files;
pub mod interlayer;
pub mod machine;
pub mod models;
pub mod numbers;
pub mod output;
pub mod pipeline;
pub mod progress;
pub mod quantities;
pub mod report;
pub mod results;
pub mod rundir;
pub mod selection;
pub mod show;
pub mod study;
pub mod table;
