//! eigenlens
fn main() {}
