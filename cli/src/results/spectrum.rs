//! `spectra/*.npz`: what is known of one layer's spectrum.
//!
//! | array | meaning |
//! |---|---|
//! | `dim` | p, one number |
//! | `eigenvalues` | all p eigenvalues, ascending: an exact spectrum |
//! | `nodes`, `weights`, `probe` | else: the quadratures of all probes, one after the other, with the number of the probe |
//! | `top`, `top_residuals` | largest eigenvalues, descending, with ‖Hv − λv‖ |
//! | `bottom`, `bottom_residuals` | smallest eigenvalues, ascending, with ‖Hv − λv‖ |

use super::Pair;
use crate::error::{Failure, Result};
use crate::npz::{self, Array};

/// The Gauss quadrature of one random probe.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probe {
    /// λ_j, ascending.
    pub nodes: Vec<f64>,
    /// ω_j; they sum to 1.
    pub weights: Vec<f64>,
}

/// The spectrum of a symmetric matrix of dimension p.
#[derive(Clone, Debug, PartialEq)]
pub enum Spectrum {
    /// All p eigenvalues, ascending.
    Exact(Vec<f64>),
    /// Gauss quadratures of random probes, and extreme pairs.
    Quadrature {
        /// p.
        dim: usize,
        /// One quadrature per probe.
        probes: Vec<Probe>,
        /// Largest eigenvalues, descending.
        top: Vec<Pair>,
        /// Smallest eigenvalues, ascending.
        bottom: Vec<Pair>,
    },
}

impl Spectrum {
    /// p.
    pub fn dim(&self) -> usize {
        match self {
            Spectrum::Exact(values) => values.len(),
            Spectrum::Quadrature { dim, .. } => *dim,
        }
    }

    /// Every number on the λ axis that is known: eigenvalues, or nodes with a weight, and pairs.
    pub fn positions(&self) -> Vec<f64> {
        match self {
            Spectrum::Exact(values) => values.clone(),
            Spectrum::Quadrature { probes, top, bottom, .. } => {
                let weighty = |p: &Probe| {
                    let both = p.nodes.iter().zip(&p.weights);
                    both.filter(|(_, w)| **w > 0.0).map(|(x, _)| *x).collect::<Vec<_>>()
                };
                probes.iter().flat_map(weighty).chain(top.iter().chain(bottom).map(|p| p.value)).collect()
            }
        }
    }

    /// The bytes of its file.
    pub fn to_npz(&self) -> Vec<u8> {
        let dim = ("dim", Array::I64(vec![self.dim() as i64]));
        match self {
            Spectrum::Exact(values) => npz::write(&[dim, ("eigenvalues", Array::F64(values.clone()))]),
            Spectrum::Quadrature { probes, top, bottom, .. } => {
                let nodes = probes.iter().flat_map(|p| p.nodes.iter().copied()).collect();
                let weights = probes.iter().flat_map(|p| p.weights.iter().copied()).collect();
                let number = probes.iter().enumerate().flat_map(|(i, p)| std::iter::repeat_n(i as i64, p.nodes.len()));
                let values = |pairs: &[Pair]| Array::F64(pairs.iter().map(|p| p.value).collect());
                let residuals = |pairs: &[Pair]| Array::F64(pairs.iter().map(|p| p.residual).collect());
                npz::write(&[
                    dim,
                    ("nodes", Array::F64(nodes)),
                    ("weights", Array::F64(weights)),
                    ("probe", Array::I64(number.collect())),
                    ("top", values(top)),
                    ("top_residuals", residuals(top)),
                    ("bottom", values(bottom)),
                    ("bottom_residuals", residuals(bottom)),
                ])
            }
        }
    }

    /// Reads the bytes of a file; `name` is what to call it in errors.
    ///
    /// # Errors
    /// If it is damaged or its arrays don't fit together.
    pub fn from_npz(bytes: &[u8], name: &str) -> Result<Self> {
        parse(bytes).map_err(|e| Failure::new(format!("the spectrum can't be read: {e}")).at(name))
    }
}

fn parse(bytes: &[u8]) -> Result<Spectrum, String> {
    let mut arrays = npz::read(bytes)?;
    let mut floats = |name: &str| match arrays.remove(name) {
        Some(Array::F64(values)) => Ok(values),
        _ => Err(format!("the array {name} is missing")),
    };
    if let Ok(values) = floats("eigenvalues") {
        return Ok(Spectrum::Exact(values));
    }
    let (nodes, weights) = (floats("nodes")?, floats("weights")?);
    let mut pairs = |name: &str| {
        let (values, residuals) = (floats(name)?, floats(&format!("{name}_residuals"))?);
        if values.len() != residuals.len() {
            return Err(format!("{name} has {} values and {} residuals", values.len(), residuals.len()));
        }
        Ok(values.into_iter().zip(residuals).map(|(value, residual)| Pair { value, residual }).collect())
    };
    let (top, bottom) = (pairs("top")?, pairs("bottom")?);
    let mut integers = |name: &str| match arrays.remove(name) {
        Some(Array::I64(values)) => Ok(values),
        _ => Err(format!("the array {name} is missing")),
    };
    let (dim, probe) = (integers("dim")?, integers("probe")?);
    let [dim] = dim[..] else { return Err("dim is not one number".to_owned()) };
    if nodes.len() != weights.len() || nodes.len() != probe.len() {
        return Err("nodes, weights and probe differ in length".to_owned());
    }
    let mut probes: Vec<Probe> = Vec::new();
    for (i, &k) in probe.iter().enumerate() {
        if i == 0 || k != probe[i - 1] {
            probes.push(Probe::default());
        }
        let last = probes.last_mut().expect("just pushed");
        last.nodes.push(nodes[i]);
        last.weights.push(weights[i]);
    }
    Ok(Spectrum::Quadrature { dim: usize::try_from(dim).map_err(|_| "dim is negative")?, probes, top, bottom })
}
