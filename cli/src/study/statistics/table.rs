//! Named columns of numbers, standardised where a method needs it.

use eigenlens_linalg::reduce::{dot, sum};

use super::{Unfit, at_least, finite, same_rows};

/// Relative spread below which a column counts as constant: what rounding leaves of equal numbers.
const CONSTANT: f64 = 1e-13;

/// Columns of the same length, each with a name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    names: Vec<String>,
    columns: Vec<Vec<f64>>,
}

impl Table {
    /// A table of columns; NaN stands for "missing" until [`Table::complete`].
    ///
    /// # Errors
    /// Columns of different lengths.
    pub fn new<N: Into<String>>(columns: impl IntoIterator<Item = (N, Vec<f64>)>) -> Result<Self, Unfit> {
        let (names, columns): (Vec<String>, Vec<Vec<f64>>) = columns.into_iter().map(|(n, c)| (n.into(), c)).unzip();
        let rows = columns.first().map_or(0, Vec::len);
        columns.iter().try_for_each(|c| same_rows(rows, c.len()))?;
        Ok(Self { names, columns })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The names, in the order of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The columns.
    pub fn columns(&self) -> &[Vec<f64>] {
        &self.columns
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&[f64]> {
        self.names.iter().position(|n| n == name).map(|i| self.columns[i].as_slice())
    }

    /// The rows of these indices, in this order; an index may occur several times.
    ///
    /// # Panics
    /// If an index is not a row.
    pub fn select(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|c| take(c, rows)).collect();
        Self { names: self.names.clone(), columns }
    }

    /// The columns of both, those of `self` first.
    ///
    /// # Errors
    /// If they differ in their number of rows.
    pub fn beside(&self, other: &Table) -> Result<Self, Unfit> {
        if self.width() > 0 && other.width() > 0 {
            same_rows(self.rows(), other.rows())?;
        }
        let names = self.names.iter().chain(&other.names).cloned().collect();
        Ok(Self { names, columns: self.columns.iter().chain(&other.columns).cloned().collect() })
    }

    /// Indices of the rows in which every value is finite. The others are for the caller to count and to name.
    pub fn complete(&self) -> Vec<usize> {
        (0..self.rows()).filter(|&i| self.columns.iter().all(|c| c[i].is_finite())).collect()
    }

    /// The columns that take at least two values in these rows, and the names of the others.
    pub fn without_constants(&self, rows: &[usize]) -> (Self, Vec<String>) {
        let (kept, dropped): (Vec<usize>, Vec<usize>) =
            (0..self.width()).partition(|&j| Scale::of(&self.names[j], &take(&self.columns[j], rows)).is_ok());
        let table = Self {
            names: kept.iter().map(|&j| self.names[j].clone()).collect(),
            columns: kept.iter().map(|&j| self.columns[j].clone()).collect(),
        };
        (table, dropped.iter().map(|&j| self.names[j].clone()).collect())
    }

    /// Mean and spread of every column.
    ///
    /// # Errors
    /// Fewer than two rows, no column, a value that is not finite, a constant column.
    pub fn scales(&self) -> Result<Vec<Scale>, Unfit> {
        at_least("columns", self.width(), 1)?;
        self.names.iter().zip(&self.columns).map(|(n, c)| Scale::of(n, c)).collect()
    }

    /// The columns with these means taken off and divided by these spreads.
    ///
    /// # Panics
    /// If there are not as many scales as columns.
    pub fn standardised(&self, scales: &[Scale]) -> Vec<Vec<f64>> {
        assert_eq!(scales.len(), self.width(), "a scale per column");
        let apply = |(c, s): (&Vec<f64>, &Scale)| c.iter().map(|x| (x - s.mean) / s.deviation).collect();
        self.columns.iter().zip(scales).map(apply).collect()
    }
}

/// Mean and standard deviation (denominator n − 1) of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
}

impl Scale {
    /// Those of some values.
    ///
    /// # Errors
    /// Fewer than two values, a value that is not finite, or all the same.
    pub fn of(column: &str, values: &[f64]) -> Result<Self, Unfit> {
        at_least("rows", values.len(), 2)?;
        finite(column, values)?;
        let n = values.len() as f64;
        let mean = sum(values) / n;
        let centred: Vec<f64> = values.iter().map(|x| x - mean).collect();
        let deviation = (dot(&centred, &centred) / (n - 1.0)).sqrt();
        if deviation <= CONSTANT * mean.abs() || deviation == 0.0 {
            return Err(Unfit::Constant { column: column.to_owned() });
        }
        Ok(Self { mean, deviation })
    }
}

/// The values at these indices.
pub fn take(values: &[f64], rows: &[usize]) -> Vec<f64> {
    rows.iter().map(|&i| values[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_rows_and_constants_are_named() {
        let t = Table::new([("a", vec![1.0, f64::NAN, 3.0, 4.0]), ("b", vec![2.0; 4])]).unwrap();
        let rows = t.complete();
        assert_eq!(rows, [0, 2, 3]);
        let (kept, dropped) = t.without_constants(&rows);
        assert_eq!((kept.names(), dropped), (&["a".to_owned()][..], vec!["b".to_owned()]));
        assert_eq!(t.scales().unwrap_err().to_string(), "`a` is NaN in row 1");
        assert_eq!(Scale::of("b", &[0.1 + 0.2, 0.3, 0.3]), Err(Unfit::Constant { column: "b".into() }));
        assert_eq!(Table::new([("a", vec![1.0]), ("b", vec![])]), Err(Unfit::Lengths { left: 1, right: 0 }));
    }

    #[test]
    fn standardised_columns_have_mean_zero_and_deviation_one() {
        let t = Table::new([("a", vec![1e6, 1e6 + 1.0, 1e6 + 5.0])]).unwrap();
        let z = t.standardised(&t.scales().unwrap());
        let again = Scale::of("z", &z[0]).unwrap();
        assert!(again.mean.abs() < 1e-15 && (again.deviation - 1.0).abs() < 1e-14);
    }
}
