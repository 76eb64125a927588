//! Correlation of two columns: of values, of ranks, and of what is left when other columns are taken out.

use eigenlens_linalg::reduce::{dot, norm2};

use super::distributions::student_two_sided;
use super::matrix::Basis;
use super::table::{Scale, Table, take};
use super::{Unfit, at_least, same_rows};

/// A correlation with the p-value of Student's t for independent rows.
///
/// Rows of a study are not independent: its p-value is beside a permutation p-value to show what the dependence does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Correlation {
    /// Between −1 and 1.
    pub r: f64,
    /// P(|T| ≥ |r| √(ν/(1 − r²))) for independent normal rows.
    pub p: f64,
    /// Degrees of freedom: rows − 2 − controls.
    pub freedom: usize,
}

/// Ranks from 1, equal values sharing the mean of theirs.
///
/// # Errors
/// A value that is not finite.
pub fn ranks(column: &str, values: &[f64]) -> Result<Vec<f64>, Unfit> {
    super::finite(column, values)?;
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut out = vec![0.0; values.len()];
    for tie in order.chunk_by(|&a, &b| values[a] == values[b]) {
        // The tie takes the places from `before` + 1 on.
        let before = order.partition_point(|&i| values[i] < values[tie[0]]);
        tie.iter().for_each(|&i| out[i] = before as f64 + 0.5 * (tie.len() + 1) as f64);
    }
    Ok(out)
}

/// Pearson's correlation.
///
/// # Errors
/// Fewer than three rows, different lengths, a value that is not finite, a constant.
pub fn pearson(x: (&str, &[f64]), y: (&str, &[f64])) -> Result<Correlation, Unfit> {
    same_rows(x.1.len(), y.1.len())?;
    at_least("rows", x.1.len(), 3)?;
    let (a, b) = (centred(x)?, centred(y)?);
    Ok(with_p(cosine(&a, &b), x.1.len() - 2))
}

/// Spearman's correlation: Pearson's of the ranks.
///
/// # Errors
/// As [`pearson`].
pub fn spearman(x: (&str, &[f64]), y: (&str, &[f64])) -> Result<Correlation, Unfit> {
    pearson((x.0, &ranks(x.0, x.1)?), (y.0, &ranks(y.0, y.1)?))
}

/// What is correlated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The values: Pearson.
    Values,
    /// Their ranks: Spearman.
    Ranks,
}

/// Correlation of x and y when what the controls say of them, linearly (in ranks: of their ranks), is taken out of both.
///
/// # Errors
/// As [`pearson`]; fewer rows than controls + 3; controls that depend on each other; an x or y that is a combination of
/// the controls.
pub fn partial(of: Of, x: (&str, &[f64]), y: (&str, &[f64]), controls: &Table) -> Result<Correlation, Unfit> {
    same_rows(x.1.len(), y.1.len())?;
    let controlled = Controlled::new(of, x.1.len(), controls)?;
    Ok(controlled.correlation(&controlled.rest(x)?, &controlled.rest(y)?))
}

/// Controls, ready to be taken out of columns.
#[derive(Clone, Debug)]
pub struct Controlled {
    of: Of,
    basis: Basis,
    freedom: usize,
}

impl Controlled {
    /// Those of a table, which may have no column.
    ///
    /// # Errors
    /// Another number of rows than `rows`, fewer than controls + 3; controls that depend on each other, or bad ones.
    pub fn new(of: Of, rows: usize, controls: &Table) -> Result<Self, Unfit> {
        at_least("rows", rows, controls.width() + 3)?;
        let mut columns = Vec::new();
        for (name, column) in controls.names().iter().zip(controls.columns()) {
            same_rows(rows, column.len())?;
            columns.push(prepared(of, (name, column))?);
        }
        let basis = Basis::with_constant(rows, controls.names(), &columns)?;
        Ok(Self { of, basis, freedom: rows - 2 - controls.width() })
    }

    /// What is left of a column (or of its ranks).
    ///
    /// # Errors
    /// A bad column, or one that is a combination of the controls.
    pub fn rest(&self, named: (&str, &[f64])) -> Result<Vec<f64>, Unfit> {
        let whole = prepared(self.of, named)?;
        let rest = self.basis.residual(&whole);
        let nothing = norm2(&rest) <= 1e-10 * norm2(&whole);
        if nothing { Err(Unfit::Dependent { column: named.0.to_owned() }) } else { Ok(rest) }
    }

    /// The partial correlation of two rests.
    pub fn correlation(&self, x: &[f64], y: &[f64]) -> Correlation {
        with_p(cosine(x, y), self.freedom)
    }

    /// The partial correlation when the rest of y comes to other rows: y's fitted part stays, its rest is permuted, and the
    /// controls are taken out once more.
    ///
    /// # Sources
    /// Freedman & Lane (1983); Winkler et al., NeuroImage 92 (2014), which compares it with its alternatives.
    pub fn permuted(&self, x: &[f64], y: &[f64], order: &[usize]) -> f64 {
        cosine(x, &self.basis.residual(&take(y, order)))
    }
}

fn prepared(of: Of, (name, values): (&str, &[f64])) -> Result<Vec<f64>, Unfit> {
    match of {
        Of::Values => centred((name, values)),
        Of::Ranks => centred((name, &ranks(name, values)?)),
    }
}

fn centred((name, values): (&str, &[f64])) -> Result<Vec<f64>, Unfit> {
    let scale = Scale::of(name, values)?;
    Ok(values.iter().map(|x| x - scale.mean).collect())
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    (dot(a, b) / (norm2(a) * norm2(b))).clamp(-1.0, 1.0)
}

fn with_p(r: f64, freedom: usize) -> Correlation {
    let nu = freedom as f64;
    let t = r * (nu / (1.0 - r * r)).sqrt();
    Correlation { r, p: student_two_sided(t, nu), freedom }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_their_mean_rank() {
        assert_eq!(ranks("x", &[3.0, 1.0, 3.0, 2.0, 3.0, 1.0]).unwrap(), [5.0, 1.5, 5.0, 3.0, 5.0, 1.5]);
        assert_eq!(ranks("x", &[0.0, -0.0]).unwrap(), [1.5, 1.5]);
    }

    #[test]
    fn a_monotone_relation_has_rank_correlation_one() {
        let x: Vec<f64> = (0..20).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| (0.5 * x).exp()).collect();
        let found = spearman(("x", &x), ("y", &y)).unwrap();
        assert_eq!((found.r, found.p, found.freedom), (1.0, 0.0, 18));
        assert!(pearson(("x", &x), ("y", &y)).unwrap().r < 0.7);
    }

    #[test]
    fn bad_columns_are_named() {
        let x = [1.0, 2.0, 3.0];
        let constant = Unfit::Constant { column: "y".into() };
        assert_eq!(pearson(("x", &x), ("y", &[2.0; 3])), Err(constant.clone()));
        assert_eq!(spearman(("x", &x), ("y", &[2.0; 3])), Err(constant));
        assert_eq!(pearson(("x", &x[..2]), ("y", &x[..2])), Err(Unfit::TooFew { what: "rows", have: 2, need: 3 }));
        assert!(matches!(spearman(("x", &x), ("y", &[1.0, f64::INFINITY, 0.0])), Err(Unfit::NonFinite { row: 1, .. })));
        let long = [1.0, 2.0, 4.0, 3.0, 7.0];
        let controls = Table::new([("c", long.map(|x| 5.0 - x).to_vec())]).unwrap();
        let found = partial(Of::Values, ("x", &long), ("y", &[1.0, 0.0, 2.0, 5.0, 5.0]), &controls);
        assert_eq!(found, Err(Unfit::Dependent { column: "x".into() }));
    }
}
