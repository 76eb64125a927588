//! Dense kernels and Krylov methods: what eigenlens needs of linear algebra and faer does not give as it is.
//!
//! | module | what |
//! |---|---|
//! | [`real`] | the scalar types f32 and f64 |
//! | [`mod@gemm`] | matrix products through faer, on row-major views |
//! | [`shifted`] | products with a matrix of overlapping rows, as the patches of an image are |
//! | [`interleaved`] | correlations of images that stand side by side in the lanes of vectors |
//! | [`simd`], [`elementwise`] | vector arithmetic and functions (exp, tanh, …) and the one driver that runs them over slices |
//! | [`reduce`] | dot, norms, axpy, column sums, with a fixed order of summation |
//! | [`operator`], [`stop`] | symmetric operators on k columns; why an iteration ended |
//! | [`lanczos`], [`tridiagonal`], [`quadrature`] | Lanczos tridiagonalisation, what a random start can miss, and the Gauss quadrature it gives |
//! | [`eigs`] | a few eigenpairs at either end (thick-restart Lanczos) |
//! | [`range`] | an orthonormal basis of products, grown column by column |
//! | [`dense`] | all eigenvalues of a dense symmetric matrix |
//! | [`two_stage`] | its reduction to tridiagonal form by way of a band, at the speed of matrix products, and bisection |
//! | [`probes`] | counter-based random vectors |
//! | [`parallel`] | the pieces of a slice on several threads |
//! | [`scratch`] | buffers that kernels of one thread use again and again |
//!
//! This crate knows no derivatives. It never prints, reads the environment, or touches a clock or a global random state.

pub mod dense;
pub mod eigs;
pub mod elementwise;
pub mod gemm;
pub mod interleaved;
pub mod lanczos;
pub mod operator;
pub mod parallel;
pub mod probes;
pub mod quadrature;
pub mod range;
pub mod real;
pub mod reduce;
pub mod scratch;
pub mod shifted;
pub mod simd;
pub mod stop;
#[cfg(test)]
mod testing;
pub mod tridiagonal;
pub mod two_stage;

pub use gemm::{Par, View, Write, gemm, gemm_strided};
pub use operator::LinearOperator;
pub use real::{Number, Real};
pub use stop::Stop;
