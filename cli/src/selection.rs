//! Which quantities of a block are asked for, by name, and what has to be computed for them.

use eigenlens_hessian::block::Route;
use eigenlens_hessian::metrics::{GAPS, METRICS, PANEL, RATIOS};
use eigenlens_hessian::wanted::Wanted;

use crate::error::{Failure, Result};
use crate::quantities::SHOWN;

/// Names that stand for more than one quantity, or for none of a table: all gaps, all ratios, the spectrum itself (pairs and
/// density, file and picture), Φ.
const GROUPS: [&str; 4] = ["gap", "ratio", "spectrum", "phi"];
/// What trace and norm give without eigenvalues.
const SUMS: [&str; 3] = ["trace", "mean_curvature", "frobenius"];
/// What the extreme eigenvalues give.
const ENDS: [&str; 4] = ["lambda_max", "lambda_min", "r_e", "outliers"];
/// What only all eigenvalues give.
const EXACT: [&str; 3] = ["condition", "k_h_half", "power_law_slope"];

/// The quantities that a config asks for; none named: all.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a>(pub &'a [String]);

/// Whether a quantity is no function of the spectrum. Some of these take the leading pairs.
fn is_panel(name: &str) -> bool {
    PANEL.iter().any(|m| m.key == name)
}

fn known() -> Vec<&'static str> {
    let mut names: Vec<&'static str> =
        SHOWN.iter().map(|s| s.key).chain(METRICS.iter().chain(PANEL).map(|m| m.key)).collect();
    names.extend(GROUPS);
    names.sort_unstable();
    names.dedup();
    names
}

/// The position of the first name that is no quantity, and what to say of it.
pub fn unknown(names: &[String]) -> Option<(usize, Failure)> {
    let known = known();
    let (at, name) = names.iter().enumerate().find(|(_, name)| !known.contains(&name.as_str()))?;
    Some((at, Failure::new(format!("unknown quantity `{name}`")).did_you_mean(name, known)))
}

impl Selection<'_> {
    fn named(self, name: &str) -> bool {
        self.0.iter().any(|n| n == name)
    }

    /// Whether all quantities are asked for.
    pub fn is_all(self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key is asked for.
    pub fn has(self, key: &str) -> bool {
        let group = |keys: &[&str], name: &str| keys.contains(&key) && self.named(name);
        self.is_all() || self.named(key) || group(&GAPS, "gap") || group(&RATIOS, "ratio")
    }

    /// Whether anything is asked for that is no function of the spectrum.
    pub fn has_panel(self) -> bool {
        self.is_all() || self.0.iter().any(|name| is_panel(name))
    }

    /// What has to be computed of each block. Of Φ alone: trace and norm, which cost least.
    pub fn wanted(self) -> Wanted {
        if self.is_all() {
            return Wanted::ALL;
        }
        let ends = |name: &str| {
            is_panel(name)
                || ENDS.contains(&name)
                || ["gap", "ratio"].contains(&name)
                || GAPS.contains(&name)
                || RATIOS.contains(&name)
        };
        let of_spectrum = |name: &str| name == "spectrum" || METRICS.iter().any(|m| m.key == name);
        let density = self.0.iter().any(|n| of_spectrum(n) && !ends(n) && !SUMS.contains(&n.as_str()));
        let ends = self.0.iter().any(|n| ends(n));
        Wanted { sums: !ends || self.0.iter().any(|n| SUMS.contains(&n.as_str())), ends, density }
    }

    /// Why a block whose spectrum was found so has not one of the quantities asked for.
    fn why(key: &str, route: &str) -> String {
        let krylov = route == Route::Krylov.as_str();
        if krylov && EXACT.contains(&key) {
            return format!("{key} needs all eigenvalues, and this block is larger than spectra.exact_max");
        }
        if krylov && key == "outliers" {
            return "the leading eigenvalues leave the number of outliers open: ask for more of them with spectra.pairs"
                .to_owned();
        }
        if krylov && (GAPS.contains(&key) || RATIOS.contains(&key)) {
            return format!("{key} needs more leading eigenvalues: raise spectra.pairs");
        }
        format!("{key} is not defined for this block")
    }

    /// What to note of the quantities that were named and that a block does not have.
    pub fn missing(self, has: impl Fn(&str) -> bool, route: &str) -> Vec<String> {
        let named = self.0.iter().filter(|n| METRICS.iter().chain(PANEL).any(|m| m.key == n.as_str()));
        named.filter(|n| !has(n)).map(|n| Self::why(n, route)).collect()
    }

    /// Refuses a quantity that no block can have by the routes they take, each with its name and parameters.
    ///
    /// # Errors
    /// With the quantity and the reason.
    pub fn check(self, blocks: &[(String, usize, Route)]) -> Result<()> {
        let Some(key) = EXACT.into_iter().find(|key| self.named(key)) else { return Ok(()) };
        if blocks.iter().any(|(_, _, route)| *route != Route::Krylov) {
            return Ok(());
        }
        let Some((name, p, _)) = blocks.iter().min_by_key(|b| b.1) else { return Ok(()) };
        Err(Failure::new(format!(
            "`{key}` needs all eigenvalues, and no block gets them: the smallest, `{name}`, has {p} parameters"
        ))
        .hint(format!("set spectra.exact_max to {p} or more, or use --exact")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(names: &[&str]) -> Wanted {
        Selection(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).wanted()
    }

    #[test]
    fn what_has_to_be_computed_follows_from_the_names() {
        let w = |sums, ends, density| Wanted { sums, ends, density };
        assert_eq!(wanted(&[]), Wanted::ALL);
        assert_eq!(wanted(&["trace", "frobenius"]), w(true, false, false));
        assert_eq!(wanted(&["phi"]), w(true, false, false));
        assert_eq!(wanted(&["lambda_max", "gap"]), w(false, true, false));
        assert_eq!(wanted(&["gap_3", "trace"]), w(true, true, false));
        assert!(wanted(&["entropy"]).density && wanted(&["spectrum"]).density && wanted(&["rank_stable"]).density);
    }

    #[test]
    fn names_are_known_or_corrected() {
        let names = |n: &[&str]| n.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert!(unknown(&names(&["trace", "gap", "spectrum", "phi", "gap_2"])).is_none());
        let (at, error) = unknown(&names(&["trace", "lamda_max"])).unwrap();
        assert!(at == 1 && error.to_string().contains("did you mean `lambda_max`?"), "{error}");
    }

    #[test]
    fn what_only_all_eigenvalues_give_is_refused_where_no_block_has_them() {
        let names = ["condition".to_owned()];
        let selection = Selection(&names);
        let block = |route| ("fc1".to_owned(), 5000, route);
        assert!(selection.check(&[block(Route::Krylov), block(Route::Gram)]).is_ok());
        let error = selection.check(&[block(Route::Krylov)]).unwrap_err().to_string();
        assert!(error.contains("`fc1`, has 5000 parameters") && error.contains("exact_max to 5000"), "{error}");
        assert!(selection.missing(|_| false, "krylov")[0].contains("larger than spectra.exact_max"));
        assert!(selection.missing(|_| false, "gram")[0].contains("not defined"));
        assert!(selection.missing(|_| true, "krylov").is_empty());
    }
}
