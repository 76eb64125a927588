//! `spectra/*.npz`: what is known of one layer's spectrum.
//!
//! | array | meaning |
//! |---|---|
//! | `dim` | p, one number |
//! | `eigenvalues` | all p eigenvalues, ascending: an exact spectrum |
//! | `nodes`, `weights`, `probe` | else: the quadratures of all probes, one after the other, with the number of the probe |
//! | `top`, `top_residuals` | largest eigenvalues, descending, with ‖Hv − λv‖ |
//! | `bottom`, `bottom_residuals` | smallest eigenvalues, ascending, with ‖Hv − λv‖ |

use std::collections::BTreeMap;

use eigenlens_nets::data::npz::{self, Column};

use super::Pair;
use crate::error::{Failure, Result};

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
        let dim = [self.dim() as i64];
        let dim = ("dim", Column::I64(&dim));
        match self {
            Spectrum::Exact(values) => npz::write(&[dim, ("eigenvalues", Column::F64(values))]),
            Spectrum::Quadrature { probes, top, bottom, .. } => {
                let nodes: Vec<f64> = probes.iter().flat_map(|p| p.nodes.iter().copied()).collect();
                let weights: Vec<f64> = probes.iter().flat_map(|p| p.weights.iter().copied()).collect();
                let number = probes.iter().enumerate().flat_map(|(i, p)| std::iter::repeat_n(i as i64, p.nodes.len()));
                let number: Vec<i64> = number.collect();
                let split =
                    |pairs: &[Pair]| -> (Vec<f64>, Vec<f64>) { pairs.iter().map(|p| (p.value, p.residual)).unzip() };
                let (top, bottom) = (split(top), split(bottom));
                npz::write(&[
                    dim,
                    ("nodes", Column::F64(&nodes)),
                    ("weights", Column::F64(&weights)),
                    ("probe", Column::I64(&number)),
                    ("top", Column::F64(&top.0)),
                    ("top_residuals", Column::F64(&top.1)),
                    ("bottom", Column::F64(&bottom.0)),
                    ("bottom_residuals", Column::F64(&bottom.1)),
                ])
            }
        }
    }

    /// Reads the bytes of a file; `name` is what to call it in errors.
    ///
    /// # Errors
    /// If it is damaged or its arrays don't fit together.
    pub fn from_npz(bytes: &[u8], name: &str) -> Result<Self> {
        let failure = |what: String| Failure::new(format!("the spectrum can't be read: {what}"));
        let columns = npz::read(name, bytes).map_err(|e| failure(e.to_string()))?;
        parse(columns).map_err(|e| failure(e).at(name))
    }
}

fn parse(mut columns: BTreeMap<String, Vec<f64>>) -> Result<Spectrum, String> {
    let mut column = |name: &str| columns.remove(name).ok_or_else(|| format!("the array {name} is missing"));
    if let Ok(values) = column("eigenvalues") {
        return Ok(Spectrum::Exact(values));
    }
    let (nodes, weights) = (column("nodes")?, column("weights")?);
    let mut pairs = |name: &str| {
        let (values, residuals) = (column(name)?, column(&format!("{name}_residuals"))?);
        if values.len() != residuals.len() {
            return Err(format!("{name} has {} values and {} residuals", values.len(), residuals.len()));
        }
        Ok(values.into_iter().zip(residuals).map(|(value, residual)| Pair { value, residual }).collect())
    };
    let (top, bottom) = (pairs("top")?, pairs("bottom")?);
    let (dim, probe) = (column("dim")?, column("probe")?);
    let [dim] = dim[..] else { return Err("dim is not one number".to_owned()) };
    if dim < 0.0 || dim.fract() != 0.0 {
        return Err(format!("dim is {dim}, no number of parameters"));
    }
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
    Ok(Spectrum::Quadrature { dim: dim as usize, probes, top, bottom })
}
