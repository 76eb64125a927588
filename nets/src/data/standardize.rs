//! Scaling fitted on the training part only: inputs to mean 0 and sd 1 (or pixels to 0..1), real targets likewise.

use super::dataset::{Dataset, Targets};
use super::error::DataError;

/// How inputs are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scaling {
    /// Not at all.
    None,
    /// Each column to mean 0 and standard deviation 1 over the training rows.
    #[default]
    ZScore,
    /// All values divided by the largest possible one (255 for bytes), or the largest of the training rows if the
    /// source states none.
    Pixels,
}

/// x ↦ (x − shift) / scale, column by column, and its inverse. Plain numbers, to be saved beside a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// What is subtracted, one per column.
    pub shift: Vec<f64>,
    /// What is divided by, one per column; positive and finite.
    pub scale: Vec<f64>,
}

/// The scaling of a data set: inputs always (perhaps by 1), targets for regression if asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Standardizer {
    /// Scaling of the inputs, one column per feature.
    pub inputs: Affine,
    /// Scaling of the real targets, one column per output; `None`: left as they are.
    pub targets: Option<Affine>,
}

impl Affine {
    /// Does nothing to `columns` columns.
    pub fn identity(columns: usize) -> Self {
        Self { shift: vec![0.0; columns], scale: vec![1.0; columns] }
    }

    /// Mean and standard deviation (divisor n) of each column of the given rows of `x`, shape (_, columns).
    ///
    /// A column that is constant over these rows gets scale 1, so that it becomes 0 rather than NaN; constant means
    /// sd ≤ 10 ε max |x|, which is the rounding error of a mean. Two passes, values divided by the column's largest
    /// magnitude first, so that neither 1e200 nor 1e-200 spoils the square. Cost: three passes over the rows.
    fn z_score(x: &[f64], columns: usize, rows: &[usize]) -> Self {
        let n = rows.len() as f64;
        let row = |r: usize| &x[r * columns..][..columns];
        let mut largest = vec![0.0f64; columns];
        for &r in rows {
            largest.iter_mut().zip(row(r)).for_each(|(m, v)| *m = m.max(v.abs()));
        }
        let unit: Vec<f64> = largest.iter().map(|&m| if m > 0.0 { m } else { 1.0 }).collect();
        let mut mean = vec![0.0; columns];
        for &r in rows {
            for (j, v) in row(r).iter().enumerate() {
                mean[j] += v / unit[j];
            }
        }
        mean.iter_mut().for_each(|m| *m /= n);
        let mut variance = vec![0.0; columns];
        for &r in rows {
            for (j, v) in row(r).iter().enumerate() {
                variance[j] += (v / unit[j] - mean[j]).powi(2);
            }
        }
        let scale = |(v, u): (&f64, &f64)| {
            let sd = (v / n).sqrt();
            if sd > 10.0 * f64::EPSILON { sd * u } else { 1.0 }
        };
        Self {
            scale: variance.iter().zip(&unit).map(scale).collect(),
            shift: mean.iter().zip(&unit).map(|(m, u)| m * u).collect(),
        }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.shift.len()
    }

    /// Scales rows in place; `x` has shape (n, columns).
    ///
    /// # Panics
    /// If `x` is not a whole number of rows.
    #[track_caller]
    pub fn apply(&self, x: &mut [f64]) {
        self.each(x, |v, shift, scale| (v - shift) / scale);
    }

    /// Undoes [`Affine::apply`] (to rounding).
    ///
    /// # Panics
    /// If `x` is not a whole number of rows.
    #[track_caller]
    pub fn invert(&self, x: &mut [f64]) {
        self.each(x, |v, shift, scale| v * scale + shift);
    }

    #[track_caller]
    fn each(&self, x: &mut [f64], f: impl Fn(f64, f64, f64) -> f64) {
        let columns = self.columns();
        assert!(
            columns == self.scale.len() && columns > 0 && x.len().is_multiple_of(columns),
            "{} values for {columns} shifts and {} scales",
            x.len(),
            self.scale.len()
        );
        for row in x.chunks_exact_mut(columns) {
            for ((v, &shift), &scale) in row.iter_mut().zip(&self.shift).zip(&self.scale) {
                *v = f(*v, shift, scale);
            }
        }
    }
}

impl Standardizer {
    /// Fits the scaling on the given rows, which should be the training part alone.
    ///
    /// `targets`: also bring real targets to mean 0 and sd 1 (class labels are never changed).
    ///
    /// # Errors
    /// No rows; pixels without any positive value; a spread beyond the range of f64.
    /// # Panics
    /// If an index is not below the number of rows.
    #[track_caller]
    pub fn fit(data: &Dataset, rows: &[usize], scaling: Scaling, targets: bool) -> Result<Self, DataError> {
        let invalid = |problem: &str, hint| {
            Err(DataError::Invalid { name: data.name.clone(), problem: problem.to_owned(), hint })
        };
        if rows.is_empty() {
            return invalid("no training rows to fit the scaling on", "give the training part more rows");
        }
        let inputs = match scaling {
            Scaling::None => Affine::identity(data.features),
            // An index is no quantity.
            _ if data.vocabulary.is_some() => Affine::identity(data.features),
            Scaling::ZScore => Affine::z_score(&data.x, data.features, rows),
            Scaling::Pixels => {
                let largest = || rows.iter().flat_map(|&r| data.row(r)).copied().fold(0.0, f64::max);
                let max = data.max_value.unwrap_or_else(largest);
                if max <= 0.0 {
                    return invalid("no positive value to scale pixels by", "use z-scores instead");
                }
                Affine { shift: vec![0.0; data.features], scale: vec![max; data.features] }
            }
        };
        let targets = match &data.targets {
            Targets::Values { values, outputs, .. } if targets => Some(Affine::z_score(values, *outputs, rows)),
            _ => None,
        };
        for affine in std::iter::once(&inputs).chain(&targets) {
            if !affine.shift.iter().chain(&affine.scale).all(|v| v.is_finite()) {
                return invalid("the spread of a column is beyond the range of f64", "scale such columns down first");
            }
        }
        Ok(Self { inputs, targets })
    }

    /// The data set with scaled inputs and, if fitted, scaled targets; all rows, also those outside the training part.
    ///
    /// # Panics
    /// If the number of features or outputs is another one than in the fit.
    #[track_caller]
    pub fn apply(&self, data: &Dataset) -> Dataset {
        assert_eq!(self.inputs.columns(), data.features, "features of the fit and of the data");
        let mut scaled = data.clone();
        self.inputs.apply(&mut scaled.x);
        if let (Some(affine), Targets::Values { values, outputs, .. }) = (&self.targets, &mut scaled.targets) {
            assert_eq!(affine.columns(), *outputs, "outputs of the fit and of the data");
            affine.apply(values);
        }
        scaled.max_value = None;
        scaled
    }
}

#[cfg(test)]
mod tests {
    use super::super::dataset::tests::{classes, values};
    use super::*;

    fn moments(set: &Dataset, rows: &[usize], j: usize) -> (f64, f64) {
        let n = rows.len() as f64;
        let mean = rows.iter().map(|&r| set.row(r)[j]).sum::<f64>() / n;
        let variance = rows.iter().map(|&r| (set.row(r)[j] - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }

    #[test]
    fn training_rows_get_mean_0_and_sd_1_and_others_do_not_matter() {
        let mut set = classes(10, 3, 2);
        let rows = [0, 1, 2, 3, 4];
        let fitted = Standardizer::fit(&set, &rows, Scaling::ZScore, true).unwrap();
        let scaled = fitted.apply(&set);
        for j in 0..3 {
            let (mean, sd) = moments(&scaled, &rows, j);
            assert!(mean.abs() < 1e-15 && (sd - 1.0).abs() < 1e-15, "{mean} {sd}");
        }
        set.x[9 * 3] = 1e9;
        assert_eq!(Standardizer::fit(&set, &rows, Scaling::ZScore, true).unwrap(), fitted, "test rows are not seen");
    }

    #[test]
    fn constant_columns_become_zero_not_nan() {
        for constant in [0.0, 7.0, 0.1, -1e300, 1e-300] {
            let mut set = classes(7, 2, 2);
            (0..7).for_each(|i| set.x[2 * i] = constant);
            let rows: Vec<usize> = (0..7).collect();
            let fitted = Standardizer::fit(&set, &rows, Scaling::ZScore, false).unwrap();
            assert_eq!(fitted.inputs.scale[0], 1.0, "{constant}");
            assert!((0..7).all(|i| fitted.apply(&set).row(i)[0].abs() <= 1e-15 * constant.abs()), "{constant}");
        }
    }

    #[test]
    fn extreme_magnitudes_neither_overflow_nor_vanish() {
        for unit in [1e-200, 1.0, 1e200] {
            let mut set = values(5, 1);
            set.x = [1.0, 2.0, 3.0, 4.0, 5.0].map(|v| v * unit).to_vec();
            let fitted = Standardizer::fit(&set, &[0, 1, 2, 3, 4], Scaling::ZScore, false).unwrap();
            assert!((fitted.inputs.scale[0] / unit - 2f64.sqrt()).abs() < 1e-14, "{unit}");
        }
    }

    #[test]
    fn large_mean_keeps_its_small_spread() {
        let mut set = values(4, 1);
        set.x = vec![1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0, 1e9 + 4.0];
        let fitted = Standardizer::fit(&set, &[0, 1, 2, 3], Scaling::ZScore, false).unwrap();
        assert!((fitted.inputs.scale[0] - 1.25f64.sqrt()).abs() < 1e-6, "{}", fitted.inputs.scale[0]);
    }

    #[test]
    fn pixels_are_divided_by_the_stated_or_the_largest_value() {
        let mut set = classes(4, 2, 2);
        set.max_value = Some(255.0);
        let scaled = Standardizer::fit(&set, &[0, 1], Scaling::Pixels, false).unwrap().apply(&set);
        assert_eq!(scaled.row(1), [10.0 / 255.0, 11.0 / 255.0]);
        set.max_value = None;
        let fitted = Standardizer::fit(&set, &[0, 1], Scaling::Pixels, false).unwrap();
        assert_eq!(fitted.inputs.scale, [11.0, 11.0]);
        set.x.fill(0.0);
        assert!(Standardizer::fit(&set, &[0, 1], Scaling::Pixels, false).is_err());
    }

    #[test]
    fn real_targets_scale_and_come_back() {
        let set = values(9, 2);
        let rows: Vec<usize> = (0..6).collect();
        let fitted = Standardizer::fit(&set, &rows, Scaling::None, true).unwrap();
        let scaled = fitted.apply(&set);
        assert_eq!(scaled.x, set.x);
        let mut back = scaled.targets.values().unwrap().to_vec();
        assert!((back[..6].iter().sum::<f64>()).abs() < 1e-14);
        fitted.targets.unwrap().invert(&mut back);
        for (a, b) in back.iter().zip(set.targets.values().unwrap()) {
            assert!((a - b).abs() < 1e-14, "{a} {b}");
        }
        assert_eq!(Standardizer::fit(&classes(4, 2, 2), &[0, 1], Scaling::None, true).unwrap().targets, None);
    }

    #[test]
    fn no_rows_and_boundless_spread_are_errors() {
        assert!(Standardizer::fit(&classes(4, 2, 2), &[], Scaling::ZScore, false).is_err());
        let mut set = values(2, 1);
        set.x = vec![f64::MAX, -f64::MAX];
        let fitted = Standardizer::fit(&set, &[0, 1], Scaling::ZScore, false).unwrap();
        assert!(fitted.apply(&set).x.iter().all(|v| v.is_finite()));
    }

    #[test]
    #[should_panic(expected = "3 values for 2 shifts")]
    fn half_a_row_is_refused() {
        Affine::identity(2).apply(&mut [1.0, 2.0, 3.0]);
    }
}
