//! "Did you mean": the nearest of the known names.

/// Jaro–Winkler similarity below which no name is worth offering: typical slips of a key (two letters swapped, one
/// dropped or doubled) score above 0.85, unrelated words of this program's vocabulary below 0.7.
const NEAR: f64 = 0.8;

/// The known name nearest to `name`, if any is near. Case, `-` and `_` make no difference.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |s: &str| s.to_lowercase().replace(['-', ' '], "_");
    let name = plain(name);
    let similarity = |k: &str| {
        let k = plain(k);
        // In short names one slip weighs too much for a similarity: `rnu` for `run`.
        let one_slip = k.len() > 2 && strsim::osa_distance(&name, &k) == 1;
        strsim::jaro_winkler(&name, &k).max(if one_slip { NEAR } else { 0.0 })
    };
    known
        .into_iter()
        .map(|k| (similarity(k), k))
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_name() {
        let known = ["batch_size", "epochs", "optimizer", "lr", "schedule", "early_stopping"];
        for (slip, name) in [
            ("batchsize", "batch_size"),
            ("batch-size", "batch_size"),
            ("Epoch", "epochs"),
            ("optimiser", "optimizer"),
            ("shedule", "schedule"),
            ("earlystopping", "early_stopping"),
        ] {
            assert_eq!(nearest(slip, known), Some(name));
        }
    }

    #[test]
    fn one_slip_in_a_short_name_is_near() {
        assert_eq!(nearest("rnu", ["run", "check", "data"]), Some("run"));
        assert_eq!(nearest("lt", ["lr"]), None);
    }

    #[test]
    fn unrelated_words_find_nothing() {
        assert_eq!(nearest("banana", ["digits", "mnist", "wine"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
