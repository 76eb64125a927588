//! `spectra/*.npz`: what is known of one layer's spectrum.
//!
//! | array | meaning |
//! |---|---|
//! | `dim` | p, one number |
//! | `eigenvalues` | all p eigenvalues, ascending: an exact spectrum. Where there are fewer than p, |
//! | `repeated` | the one eigenvalue that all others have: 0 in a block of low rank, or the penalty's |
//! | `nodes`, `weights`, `probe` | else: the quadratures of all probes, one after the other, with the number of the probe |
//! | `top`, `top_residuals` | largest eigenvalues, descending, with ‖Hv − λv‖ |
//! | `bottom`, `bottom_residuals` | smallest eigenvalues, ascending, with ‖Hv − λv‖ |
//! | `cdf_at`, `cdf` | places t and the share of eigenvalues ≤ t, mean over the probes; with |
//! | `cdf_enclosure_low`, `cdf_enclosure_high` | what more steps could change (Chebyshev–Markov–Stieltjes), and |
//! | `cdf_low`, `cdf_high`, `cdf_level` | the band that holds the share at each t with that probability, 0.95 |
//! | `vectors` | the leading k eigenvectors one after the other, p values each, where k p is at most 2²⁰ |
//! | `vectors_error` | ‖P − P̂‖ of their space at most, from the residuals |

use std::collections::BTreeMap;

use eigenlens_nets::data::npz::{self, Column};

use super::{Cdf, Pair};
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
    /// All p eigenvalues.
    Exact {
        /// The eigenvalues, ascending, but for the repeated ones.
        values: Vec<f64>,
        /// An eigenvalue that is there more often than it is listed, and how many times more.
        repeated: (f64, usize),
    },
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
        /// The distribution function in its bands; files of earlier versions have none.
        cdf: Option<Cdf>,
    },
}

impl Spectrum {
    /// A spectrum of these eigenvalues, ascending.
    pub fn exact(values: Vec<f64>) -> Self {
        Spectrum::Exact { values, repeated: (0.0, 0) }
    }

    /// p.
    pub fn dim(&self) -> usize {
        match self {
            Spectrum::Exact { values, repeated } => values.len() + repeated.1,
            Spectrum::Quadrature { dim, .. } => *dim,
        }
    }

    /// Every number on the λ axis that is known: eigenvalues, or nodes with a weight, and pairs.
    pub fn positions(&self) -> Vec<f64> {
        match self {
            Spectrum::Exact { .. } => self.known(),
            Spectrum::Quadrature { probes, top, bottom, .. } => {
                let weighty = |p: &Probe| {
                    let both = p.nodes.iter().zip(&p.weights);
                    both.filter(|(_, w)| **w > 0.0).map(|(x, _)| *x).collect::<Vec<_>>()
                };
                probes.iter().flat_map(weighty).chain(top.iter().chain(bottom).map(|p| p.value)).collect()
            }
        }
    }

    /// Every eigenvalue that is known by itself, a repeated one once: all of an exact spectrum, else the pairs.
    pub fn known(&self) -> Vec<f64> {
        match self {
            Spectrum::Exact { values, repeated: (value, count) } => {
                values.iter().copied().chain((*count > 0).then_some(*value)).collect()
            }
            Spectrum::Quadrature { top, bottom, .. } => top.iter().chain(bottom).map(|p| p.value).collect(),
        }
    }

    /// The bytes of its file.
    pub fn to_npz(&self) -> Vec<u8> {
        self.to_npz_with(&[])
    }

    /// The bytes of its file with further columns.
    pub fn to_npz_with(&self, more: &[(&str, Column<'_>)]) -> Vec<u8> {
        let write = |columns: &[(&str, Column<'_>)]| npz::write(&[columns, more].concat());
        let dim = [self.dim() as i64];
        let dim = ("dim", Column::I64(&dim));
        match self {
            Spectrum::Exact { values, repeated: (_, 0) } => write(&[dim, ("eigenvalues", Column::F64(values))]),
            Spectrum::Exact { values, repeated: (value, _) } => {
                write(&[dim, ("eigenvalues", Column::F64(values)), ("repeated", Column::F64(&[*value]))])
            }
            Spectrum::Quadrature { probes, top, bottom, cdf, .. } => {
                let nodes: Vec<f64> = probes.iter().flat_map(|p| p.nodes.iter().copied()).collect();
                let weights: Vec<f64> = probes.iter().flat_map(|p| p.weights.iter().copied()).collect();
                let number = probes.iter().enumerate().flat_map(|(i, p)| std::iter::repeat_n(i as i64, p.nodes.len()));
                let number: Vec<i64> = number.collect();
                let split =
                    |pairs: &[Pair]| -> (Vec<f64>, Vec<f64>) { pairs.iter().map(|p| (p.value, p.residual)).unzip() };
                let (top, bottom) = (split(top), split(bottom));
                let mut columns = vec![
                    dim,
                    ("nodes", Column::F64(&nodes)),
                    ("weights", Column::F64(&weights)),
                    ("probe", Column::I64(&number)),
                    ("top", Column::F64(&top.0)),
                    ("top_residuals", Column::F64(&top.1)),
                    ("bottom", Column::F64(&bottom.0)),
                    ("bottom_residuals", Column::F64(&bottom.1)),
                ];
                columns.extend(cdf.iter().flat_map(Cdf::columns));
                write(&columns)
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
    let cdf = Cdf::take(&mut columns)?;
    let mut column = |name: &str| columns.remove(name).ok_or_else(|| format!("the array {name} is missing"));
    if let Ok(values) = column("eigenvalues") {
        let Ok(repeated) = column("repeated") else { return Ok(Spectrum::exact(values)) };
        let ([value], dim) = (&repeated[..], whole(&column("dim")?)?) else {
            return Err("repeated is not one number".to_owned());
        };
        let count = dim.checked_sub(values.len()).ok_or_else(|| format!("there are more than {dim} eigenvalues"))?;
        return Ok(Spectrum::Exact { values, repeated: (*value, count) });
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
    let dim = whole(&dim)?;
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
    Ok(Spectrum::Quadrature { dim, probes, top, bottom, cdf })
}

/// The number of parameters.
fn whole(dim: &[f64]) -> Result<usize, String> {
    let &[dim] = dim else { return Err("dim is not one number".to_owned()) };
    if dim < 0.0 || dim.fract() != 0.0 {
        return Err(format!("dim is {dim}, no number of parameters"));
    }
    Ok(dim as usize)
}
