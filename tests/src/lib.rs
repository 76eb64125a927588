//! Cross-crate tests; see `suite/main.rs` (the single test binary).
