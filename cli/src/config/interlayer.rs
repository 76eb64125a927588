//! `[interlayer]`: curvature between functional blocks, in activation space.

use serde::{Deserialize, Serialize};

use eigenlens_hessian::geometry::GeometryOptions;

/// How the norms between blocks are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// By unit vectors where the results of all blocks number at most `exact_max`, with probes beside them for comparison;
    /// else by probes.
    #[default]
    Auto,
    /// By unit vectors, whatever it takes.
    Exact,
    /// By probes.
    Probes,
}

/// Section `[interlayer]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Interlayer {
    /// Whether a run computes it at every snapshot. `eigenlens interlayer` always does.
    pub enabled: bool,
    /// How the norms are found: `auto`, `exact`, `probes`.
    pub method: Method,
    /// Results of all blocks up to which `auto` takes unit vectors.
    pub exact_max: usize,
    /// Rademacher probes per block otherwise.
    pub probes: usize,
}

impl Default for Interlayer {
    fn default() -> Self {
        let GeometryOptions { exact_max, probes, .. } = GeometryOptions::default();
        Self { enabled: false, method: Method::Auto, exact_max, probes }
    }
}

impl Interlayer {
    /// The options of the norms between blocks with so many results in all, and those of a second computation to compare
    /// them with.
    pub fn options(&self, results: usize, seed: u64) -> (GeometryOptions, Option<GeometryOptions>) {
        let by = |exact_max| GeometryOptions { exact_max, probes: self.probes, seed, ..GeometryOptions::default() };
        let (exact, probes) = (by(usize::MAX), by(0));
        match self.method {
            Method::Exact => (exact, None),
            // The probes' ‖·‖₂ is not compared.
            Method::Auto if results <= self.exact_max => (exact, Some(GeometryOptions { leading: 0, ..probes })),
            Method::Auto | Method::Probes => (probes, None),
        }
    }
}
