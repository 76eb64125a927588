//! .

pub mod data;
mod half;
pub mod init;
pub mod optim;
pub mod options;
pub mod schedule;
pub mod stopping;
