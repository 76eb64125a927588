//! Placeholder: being written.
/// Placeholder.
pub trait Vectors: Sized + Copy {}
impl Vectors for f32 {}
impl Vectors for f64 {}
