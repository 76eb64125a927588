//! Weights and running averages from a safetensors file.

use std::path::Path;

use eigenlens_linalg::Real;
use eigenlens_nets::Model;
use eigenlens_nets::model::{Buffer, State};
use eigenlens_nets::snapshot::{self, SnapshotError};

use super::setup::failure;
use crate::config::Config;
use crate::error::Result;

/// What a data-parallel PyTorch module puts before every name.
const PREFIX: &str = "module.";

/// The weights and running averages of a file, exactly as they are in it: the file has their precision.
///
/// # Errors
/// A file that can't be read or is none, a tensor that is missing, of another shape or not finite.
pub fn read<T: Real>(model: &Model<T>, path: &Path) -> Result<State<f64>> {
    let wrong = |e: SnapshotError| failure(e).at(path.display());
    let mut file = snapshot::read(path).map_err(wrong)?;
    if file.tensors.iter().all(|t| t.name.starts_with(PREFIX)) {
        file.tensors.iter_mut().for_each(|t| drop(t.name.drain(..PREFIX.len())));
    }
    let missing: Vec<String> = model
        .tensors()
        .iter()
        .map(|t| &t.name)
        .chain(model.buffers().iter().map(|b| &b.name))
        .filter(|name| file.get(name).is_none())
        .cloned()
        .collect();
    if !missing.is_empty() {
        let known = |name: &String| {
            model.tensors().iter().any(|t| t.name == *name) || model.buffers().iter().any(|b| b.name == *name)
        };
        let unexpected = file.tensors.iter().map(|t| t.name.clone()).filter(|n| !known(n)).collect();
        return Err(wrong(SnapshotError::Names { missing, unexpected }));
    }
    let mut theta = Vec::with_capacity(model.len());
    for tensor in model.tensors() {
        theta.extend(file.values(&tensor.name, &tensor.shape).map_err(wrong)?);
    }
    let buffer = |b: &Buffer| file.values(&b.name, &[b.len]).map_err(wrong);
    Ok(State { theta, buffers: model.buffers().iter().map(buffer).collect::<Result<_>>()? })
}

/// Where training, or an analysis without one, starts: `model.weights` if there are any, else by the initialisers.
///
/// # Errors
/// As [`read`].
pub fn start<T: Real>(config: &Config, model: &Model<T>) -> Result<State<T>> {
    let Some(path) = &config.model.weights else { return Ok(model.start(config.seed)) };
    let State { theta, buffers } = read(model, path)?;
    Ok(State { theta: theta.into_iter().map(T::from_f64).collect(), buffers })
}
