//! Studies: many experiments, and what they say together.

pub mod conclude;
pub mod diagnosis;
pub mod findings;
pub mod report;
pub mod statistics;
pub mod tables;
