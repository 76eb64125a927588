//! What lies between blocks of parameters at a snapshot: norms and Φ, and how their spectra differ.

use std::collections::BTreeMap;

use eigenlens_hessian::coupling::Coupling;
use eigenlens_hessian::estimate::Estimate;
use eigenlens_hessian::heterogeneity::{self, HeterogeneityOptions, heterogeneity};
use eigenlens_hessian::spectrum::{self, Repeated};
use eigenlens_linalg::Stop;
use serde::{Deserialize, Serialize};

use super::interlayer::numbers;
use crate::results::maps::{Heterogeneity, Parameters, Partial};
use crate::results::{LayerResult, Measured, Spectrum};

/// Blocks of which maps are kept: neurons come by the thousand.
pub const MOST_BLOCKS: usize = 128;

/// Φ and the norms behind it, as they are kept for a resumption.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Between {
    /// Φ.
    pub phi: Measured,
    /// The norms, unless there are too many blocks for a map.
    pub map: Option<Parameters>,
}

/// What the norms between blocks say.
pub fn between(found: &Coupling, phi: Measured) -> Between {
    let finite = found.norms.iter().flatten().all(|e| e.mean.is_finite() && e.sem.is_finite());
    let map = (finite && (2..=MOST_BLOCKS).contains(&found.parts.len())).then(|| parameters(found));
    Between { phi, map }
}

fn parameters(found: &Coupling) -> Parameters {
    let count = found.parts.len();
    let total: f64 = found.norms.iter().flatten().map(|e| e.mean).sum();
    let matrix = |number: &dyn Fn(usize, usize) -> Option<f64>| -> Partial {
        (0..count).map(|l| (0..count).map(|m| number(l, m)).collect()).collect()
    };
    // δ√s = δs / 2√s.
    let error = |e: &Estimate| if e.mean > 0.0 { e.sem / (2.0 * e.mean.sqrt()) } else { 0.0 };
    Parameters {
        blocks: found.parts.clone(),
        exact: found.exact,
        products: found.products,
        resonance: numbers(&found.norms, |e| e.mean.sqrt()),
        resonance_error: (!found.exact).then(|| numbers(&found.norms, error)),
        coupling: matrix(&|l, m| found.correlation(l, m)),
        share: matrix(&|l, m| (total > 0.0).then(|| found.norms[l][m].mean / total)),
    }
}

/// How the spectra of layers differ, by the file of each. `None` for fewer than two of them, or too many for a map.
pub fn spectra(layers: &[LayerResult], files: &BTreeMap<String, Spectrum>) -> Option<Heterogeneity> {
    let known: Vec<(&LayerResult, spectrum::Spectrum)> =
        layers.iter().filter_map(|l| Some((l, engine(files.get(l.spectrum.as_ref()?)?)))).collect();
    if !(2..=MOST_BLOCKS).contains(&known.len()) {
        return None;
    }
    let options = HeterogeneityOptions::default();
    let heterogeneity::Heterogeneity { jensen_shannon, wasserstein } =
        heterogeneity(&known.iter().map(|(_, s)| s).collect::<Vec<_>>(), &options);
    if jensen_shannon.iter().flatten().flatten().count() <= known.len() {
        return None;
    }
    let of = |list: &[Vec<Option<Estimate>>], number: &dyn Fn(&Estimate) -> f64| -> Partial {
        list.iter().map(|row| row.iter().map(|e| e.as_ref().map(number)).collect()).collect()
    };
    let estimated = jensen_shannon.iter().flatten().flatten().any(|e| e.samples > 0);
    Some(Heterogeneity {
        blocks: known.iter().map(|(l, _)| l.name.clone()).collect(),
        jensen_shannon: of(&jensen_shannon, &|e| e.mean),
        jensen_shannon_error: estimated.then(|| of(&jensen_shannon, &|e| e.sem)),
        wasserstein: of(&wasserstein, &|e| e.mean),
        wasserstein_error: estimated.then(|| of(&wasserstein, &|e| e.sem)),
    })
}

/// A spectrum of a file as the engine has it. Why a recurrence ended is not in the file, and makes no difference to what is
/// computed from it here.
fn engine(of: &Spectrum) -> spectrum::Spectrum {
    match of {
        Spectrum::Exact { values, repeated: (value, count) } => {
            spectrum::Spectrum::exact_with(values.clone(), Repeated { value: *value, count: *count })
        }
        Spectrum::Quadrature { dim, probes, top, bottom, .. } => {
            let pairs = |list: &[crate::results::Pair]| -> Vec<spectrum::Pair> {
                list.iter().map(|p| spectrum::Pair { value: p.value, residual: p.residual }).collect()
            };
            let probe = |p: &crate::results::Probe| spectrum::Probe {
                nodes: p.nodes.clone(),
                weights: p.weights.clone(),
                stop: Stop::MaxSteps,
            };
            spectrum::Spectrum::Quadrature {
                dim: *dim,
                probes: probes.iter().map(probe).collect(),
                top: pairs(top),
                bottom: pairs(bottom),
            }
        }
    }
}
