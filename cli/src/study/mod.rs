//! Studies: many experiments, and what they say together.

pub mod statistics;
