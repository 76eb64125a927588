//! Networks, their data and their training.
//!
//! | module | what |
//! |---|---|
//! | [`data`] | built-in and user data sets, splits, standardisation |
//! | [`activation`], [`model`] | layers and losses, and the graphs they become |
//! | [`zoo`] | networks by name |
//! | [`blocks`] | how θ is cut into blocks: layers, tensors, heads, units, groups by name |
//! | [`objective`] | the mean loss over a data set: value, gradient and curvature products, in shards |
//! | [`init`], [`optim`], [`schedule`], [`stopping`] | how training starts, steps, slows down and ends |
//! | [`train`] | mini-batch training, evaluation, divergence |
//! | [`snapshot`] | weights in safetensors, written atomically |
//! | [`options`] | errors of options by name and number |

pub mod activation;
pub mod blocks;
pub mod data;
mod half;
pub mod init;
pub mod model;
pub mod objective;
pub mod optim;
pub mod options;
pub mod schedule;
pub mod snapshot;
pub mod spec;
pub mod stopping;
#[cfg(test)]
mod testing;
pub mod train;
pub mod zoo;

pub use activation::Activation;
pub use blocks::{Grouping, Part};
pub use model::Model;
pub use objective::{Objective, Samples};
pub use spec::{LayerKind, LayerSpec, Loss, ModelSpec};
