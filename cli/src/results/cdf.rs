//! The distribution function that quadratures give, in its bands.

use std::collections::BTreeMap;

use eigenlens_nets::data::npz::Column;

/// Shares of eigenvalues ≤ t at some places.
#[derive(Clone, Debug, PartialEq)]
pub struct Cdf {
    /// The places t, ascending.
    pub at: Vec<f64>,
    /// The mean over the probes.
    pub mean: Vec<f64>,
    /// The mean over these probes is between these whatever more steps would show (Chebyshev–Markov–Stieltjes).
    pub enclosure: (Vec<f64>, Vec<f64>),
    /// The share is between these with probability `level`, at each place by itself: probes and enclosure.
    pub band: (Vec<f64>, Vec<f64>),
    /// The probability.
    pub level: f64,
}

/// The arrays of a file; beside them `cdf_level`, one number.
const ARRAYS: [&str; 6] = ["cdf_at", "cdf", "cdf_enclosure_low", "cdf_enclosure_high", "cdf_low", "cdf_high"];

impl Cdf {
    /// Name and numbers of each array.
    pub fn columns(&self) -> Vec<(&'static str, Column<'_>)> {
        let lists = [&self.at, &self.mean, &self.enclosure.0, &self.enclosure.1, &self.band.0, &self.band.1];
        let named = ARRAYS.into_iter().zip(lists).map(|(name, list)| (name, Column::F64(list)));
        named.chain([("cdf_level", Column::F64(std::slice::from_ref(&self.level)))]).collect()
    }

    /// From the arrays of a file; `None` if it has none of them (files of earlier versions).
    ///
    /// # Errors
    /// If some are missing or differ in length.
    pub fn take(columns: &mut BTreeMap<String, Vec<f64>>) -> Result<Option<Self>, String> {
        if !columns.contains_key(ARRAYS[0]) {
            return Ok(None);
        }
        let mut column = |name: &str| columns.remove(name).ok_or_else(|| format!("the array {name} is missing"));
        let lists = ARRAYS.into_iter().map(&mut column).collect::<Result<Vec<_>, _>>()?;
        let level = column("cdf_level")?;
        let [at, mean, low, high, band_low, band_high] =
            <[Vec<f64>; 6]>::try_from(lists).expect("as many as asked for");
        let &[level] = &level[..] else { return Err("cdf_level is not one number".to_owned()) };
        if [&mean, &low, &high, &band_low, &band_high].iter().any(|list| list.len() != at.len()) {
            return Err("the arrays of the distribution function differ in length".to_owned());
        }
        Ok(Some(Cdf { at, mean, enclosure: (low, high), band: (band_low, band_high), level }))
    }
}
