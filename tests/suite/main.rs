//! Cross-crate tests.

mod golden;
mod golden_data;
