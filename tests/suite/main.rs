//! Cross-crate tests.

mod golden_data;
