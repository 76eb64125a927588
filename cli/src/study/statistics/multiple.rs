//! Many tests at once: the rate of false discoveries.

use super::{Unfit, finite};

/// p-values adjusted after Benjamini and Hochberg, in the order given: rejecting those ≤ q keeps the expected share of
/// false ones among the rejected at most q, for independent or positively dependent tests.
///
/// Cost: O(m log m).
///
/// # Errors
/// A p-value that is not a number.
/// # Sources
/// Benjamini & Hochberg, J. R. Stat. Soc. B 57 (1995); adjusted values as of Yekutieli & Benjamini (1999).
pub fn benjamini_hochberg(p: &[f64]) -> Result<Vec<f64>, Unfit> {
    finite("p", p)?;
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
    let (mut adjusted, mut least) = (vec![0.0; p.len()], 1.0f64);
    for (above, &i) in order.iter().enumerate() {
        least = least.min(p[i] * p.len() as f64 / (p.len() - above) as f64);
        adjusted[i] = least;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Sorted 0.01, 0.02, 0.03, 0.5 by 4/1, 4/2, 4/3, 1: 0.04, 0.04, 0.04, 0.5.
        let q = benjamini_hochberg(&[0.03, 0.5, 0.01, 0.02]).unwrap();
        for (q, want) in q.iter().zip([0.04, 0.5, 0.04, 0.04]) {
            assert!((q - want).abs() < 1e-16);
        }
        assert_eq!(benjamini_hochberg(&[]), Ok(vec![]));
        assert!(benjamini_hochberg(&[f64::NAN]).is_err());
    }
}
