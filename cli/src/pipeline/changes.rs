//! What changed since the snapshot before: differences with an error of their own, and how far the leading space moved.

use eigenlens_hessian::block::BlockReport;
use eigenlens_hessian::estimate::{Estimate, Quantity, jackknife_of_means};
use eigenlens_hessian::gradient_coupling::space_error;
use eigenlens_hessian::overlap::{Subspace, overlap};
use eigenlens_nets::data::npz::{self, Column};

use super::curvature::measured;
use super::setup::failure;
use crate::error::Result;
use crate::results::{Measured, Probe, Spectrum};

/// Most values of a block's leading eigenvectors that go to the file of its spectrum: 8 MiB.
const KEPT: usize = 1 << 20;

/// A block at one snapshot, as far as the next one wants it.
pub struct Seen {
    spectrum: Spectrum,
    space: Option<Subspace>,
}

impl Seen {
    /// From its report. The leading space is kept where it is defined and small enough for the file.
    pub fn new(spectrum: Spectrum, report: &BlockReport, vectors: usize) -> Self {
        let space = report.leading.as_ref().filter(|_| vectors * report.parameters <= KEPT).and_then(|pairs| {
            let error = space_error(pairs, vectors)?;
            Some(Subspace { count: vectors, vectors: pairs.vectors[..vectors * report.parameters].to_vec(), error })
        });
        Seen { spectrum, space }
    }

    /// From the file of its spectrum, as [`Seen::to_npz`] wrote it.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn from_npz(bytes: &[u8], name: &str) -> Result<Self> {
        let spectrum = Spectrum::from_npz(bytes, name)?;
        let mut columns = npz::read(name, bytes).map_err(failure)?;
        let mut space = || {
            let (vectors, error) = (columns.remove("vectors")?, *columns.remove("vectors_error")?.first()?);
            Some(Subspace { count: vectors.len() / spectrum.dim().max(1), vectors, error })
        };
        Ok(Seen { space: space(), spectrum })
    }

    /// The file of the spectrum with the leading vectors, (k, p), and how far their space may be off.
    pub fn to_npz(&self) -> Vec<u8> {
        match &self.space {
            None => self.spectrum.to_npz(),
            Some(s) => {
                let error = [s.error];
                self.spectrum
                    .to_npz_with(&[("vectors", Column::F64(&s.vectors)), ("vectors_error", Column::F64(&error))])
            }
        }
    }

    /// The spectrum.
    pub fn spectrum(&self) -> &Spectrum {
        &self.spectrum
    }

    /// Changes since `before`: of the trace and of ‖H‖_F, and the overlap of the leading spaces.
    ///
    /// Probe i is the same vector at every snapshot, so that the difference of two estimates has the standard error of the
    /// differences probe by probe, which is smaller than that of either where the block changed little.
    pub fn since(&self, before: &Seen) -> Vec<(String, Measured)> {
        let mut out: Vec<Quantity> = Vec::new();
        let mut put = |name, e: Estimate| {
            let uncertainty = (e.samples > 0).then(|| e.uncertainty());
            out.push(Quantity { name, value: e.mean, uncertainty });
        };
        match (&before.spectrum, &self.spectrum) {
            (Spectrum::Exact { .. }, Spectrum::Exact { .. }) => {
                let [a, b] = [before, self].map(|s| exact_moments(&s.spectrum));
                let exact = |x: f64| Estimate { mean: x, sem: 0.0, samples: 0 };
                put("trace_change", exact(b[0] - a[0]));
                put("frobenius_change", exact(b[1].sqrt() - a[1].sqrt()));
            }
            (Spectrum::Quadrature { dim, probes: a, .. }, Spectrum::Quadrature { probes: b, .. }) => {
                let moment = |list: &[Probe], k: i32| -> Vec<f64> {
                    let of = |p: &Probe| p.nodes.iter().zip(&p.weights).map(|(x, w)| w * x.powi(k)).sum::<f64>();
                    list.iter().take(a.len().min(b.len())).map(|p| *dim as f64 * of(p)).collect()
                };
                let changes: Vec<f64> = moment(a, 1).iter().zip(moment(b, 1)).map(|(a, b)| b - a).collect();
                put("trace_change", Estimate::from_samples(&changes));
                let (a, b) = (moment(a, 2), moment(b, 2));
                put("frobenius_change", jackknife_of_means(&[&a, &b], |m| m[1].sqrt() - m[0].sqrt()));
            }
            _ => {}
        }
        if let (Some(a), Some(b)) = (&before.space, &self.space) {
            out.extend(overlap(a, b));
        }
        out.iter().map(|q| (q.name.to_owned(), measured(q))).collect()
    }
}

/// Σλ and Σλ² of an exact spectrum.
fn exact_moments(spectrum: &Spectrum) -> [f64; 2] {
    let Spectrum::Exact { values, repeated: (value, count) } = spectrum else { return [f64::NAN; 2] };
    [1, 2].map(|k| values.iter().map(|x| x.powi(k)).sum::<f64>() + *count as f64 * value.powi(k))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(list: &[(String, Measured)], key: &str) -> Measured {
        list.iter().find(|(k, _)| k == key).unwrap_or_else(|| panic!("{key}")).1
    }

    fn quadrature(shift: f64) -> Seen {
        // Probes that differ much from each other and change little together.
        let probes = [1.0, 5.0, 3.0]
            .map(|x| Probe { nodes: vec![x + shift, 2.0 * x + shift], weights: vec![0.5, 0.5] })
            .to_vec();
        Seen { spectrum: Spectrum::Quadrature { dim: 10, probes, top: vec![], bottom: vec![], cdf: None }, space: None }
    }

    #[test]
    fn a_difference_of_the_same_probes_has_a_smaller_error_than_either() {
        let found = quadrature(0.1).since(&quadrature(0.0));
        let change = get(&found, "trace_change");
        assert!((change.value - 1.0).abs() < 1e-12 && change.standard_error.unwrap() < 1e-12);
        let norm = get(&found, "frobenius_change");
        // √(10 · mean (x² + 4x²)/2) grows by about 1.5 x̄ · 10 · 0.1 / norm.
        assert!(norm.value > 0.0 && norm.standard_error.unwrap() < 0.1 * norm.value, "{norm:?}");
    }

    #[test]
    fn exact_spectra_differ_exactly_and_kinds_do_not_mix() {
        let exact = |values: &[f64], repeated| Seen {
            spectrum: Spectrum::Exact { values: values.to_vec(), repeated },
            space: None,
        };
        let found = exact(&[3.0, 4.0], (0.0, 8)).since(&exact(&[0.0, 3.0], (0.5, 8)));
        assert_eq!(get(&found, "trace_change"), Measured::exact(0.0));
        assert_eq!(get(&found, "frobenius_change"), Measured::exact(5.0 - 11_f64.sqrt()));
        assert!(quadrature(0.0).since(&exact(&[1.0], (0.0, 9))).is_empty());
    }

    #[test]
    fn vectors_come_back_from_the_file_and_overlap() {
        let seen = |t: f64| Seen {
            spectrum: Spectrum::exact(vec![1.0, 2.0]),
            space: Some(Subspace { count: 1, vectors: vec![t.cos(), t.sin()], error: 1e-9 }),
        };
        let back = Seen::from_npz(&seen(0.3).to_npz(), "x").unwrap();
        assert_eq!((back.spectrum(), &back.space), (seen(0.3).spectrum(), &seen(0.3).space));
        let overlap = get(&back.since(&seen(0.0)), "top_overlap");
        assert!((overlap.value - 0.3_f64.cos().powi(2)).abs() < 1e-15 && overlap.residual == Some(2e-9));
        let none = Seen { space: None, ..seen(0.3) };
        assert!(Seen::from_npz(&none.to_npz(), "x").unwrap().space.is_none());
        assert!(Seen::from_npz(b"no archive", "x").is_err());
    }
}
