//! "Did you mean": the nearest of the known names.

/// Jaro–Winkler similarity below which no name is worth offering: typical slips of a key (two letters swapped, one
/// dropped or doubled) score above 0.85, unrelated words of this program's vocabulary below 0.7.
const NEAR: f64 = 0.8;

/// The known name nearest to `name`, if any is near. Case, `-` and `_` make no difference.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |s: &str| s.to_lowercase().replace(['-', ' '], "_");
    let name = plain(name);
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(&name, &plain(k)), k))
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
    fn unrelated_words_find_nothing() {
        assert_eq!(nearest("banana", ["digits", "mnist", "wine"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
