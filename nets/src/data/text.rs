//! Text as sequences of characters: windows of a text, and the character that follows each of theirs.
//!
//! The characters that occur, in the order of their code points, are the vocabulary. Sample r is the characters
//! r C … r C + C − 1 as indices, its targets are the C characters one further: each position predicts the next. Windows do
//! not overlap, so that no part of the text is in two of them (but for the last target of one, the first input of the next).

use std::io::Read;

use super::dataset::{Dataset, MAX_CLASSES, MAX_FEATURES, MAX_VALUES, Targets};
use super::error::DataError;
use super::input::Input;

/// Reads UTF-8 text, packed with gzip or not, as windows of `context` characters; the last `test` (a share of all windows)
/// are its fixed test part, if that is one at least.
///
/// # Errors
/// Text that is not UTF-8, too short for two windows, or made of a single character; a context of 0 or too long.
pub(crate) fn read(name: &str, mut input: Input, context: usize, test: f64) -> Result<Dataset, DataError> {
    let file = input.file.clone();
    let wrong = |problem: String, hint: &str| DataError::format(&file, problem, hint);
    if context == 0 || context > MAX_FEATURES {
        return Err(wrong(format!("windows of {context} characters"), "take at least 1, for example 32"));
    }
    let mut bytes = Vec::new();
    // A character has at most four bytes; one byte more shows that there are too many.
    let limit = 4 * MAX_VALUES as u64;
    (&mut input.reader).take(limit + 1).read_to_end(&mut bytes).map_err(|e| DataError::io(&file, e))?;
    if bytes.len() as u64 > limit {
        let hint = "take a part of the text";
        let size = bytes.len() as u128;
        return Err(DataError::TooLarge { file: file.clone(), what: "the number of bytes", size, limit, hint });
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        wrong(format!("byte {} is not UTF-8 text", e.utf8_error().valid_up_to()), "save the text as UTF-8")
    })?;
    let characters: Vec<char> = text.strip_prefix('\u{feff}').unwrap_or(&text).chars().collect();
    let rows = characters.len().saturating_sub(1) / context;
    if rows < 2 {
        let problem = format!("{} characters make no two windows of {context} and what follows", characters.len());
        return Err(wrong(problem, "give more text or a shorter context"));
    }
    let mut known = characters.clone();
    known.sort_unstable();
    known.dedup();
    if !(2..=MAX_CLASSES).contains(&known.len()) {
        let problem = format!("the text has {} different characters", known.len());
        return Err(wrong(problem, "a text to learn from has at least two and at most 65,536"));
    }
    let index = |c: &char| known.binary_search(c).unwrap_or_default();
    let used = rows * context;
    let test_rows = (rows as f64 * test).round() as usize;
    let set = Dataset {
        name: name.to_owned(),
        x: characters[..used].iter().map(|c| index(c) as f64).collect(),
        rows,
        features: context,
        feature_names: (1..=context).map(|i| format!("c{i}")).collect(),
        input_shape: vec![context],
        targets: Targets::Sequences {
            labels: characters[1..=used].iter().map(|c| index(c) as u32).collect(),
            positions: context,
            names: known.iter().map(|c| named(*c)).collect(),
        },
        test_start: (1..rows).contains(&test_rows).then(|| rows - test_rows),
        max_value: None,
        vocabulary: Some(known.len()),
        weights: None,
    };
    set.validate()?;
    Ok(set)
}

/// A character as a class name: itself if it can be seen.
fn named(c: char) -> String {
    match c {
        ' ' => "space".to_owned(),
        c if c.is_control() => c.escape_debug().to_string(),
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(text: &'static str, context: usize, test: f64) -> Result<Dataset, DataError> {
        read("t", Input::memory("t.txt", text.as_bytes())?, context, test)
    }

    #[test]
    fn each_position_has_the_next_character_as_its_target() {
        let set = windows("abc abc ab", 3, 0.34).unwrap();
        // Vocabulary: space, a, b, c.
        assert_eq!((set.rows, set.features, set.vocabulary, set.test_start), (3, 3, Some(4), Some(2)));
        assert_eq!(set.x, [1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0, 0.0, 1.0]);
        let Targets::Sequences { labels, positions, names } = &set.targets else { panic!("sequences") };
        assert_eq!((labels[..].to_vec(), *positions), (vec![2, 3, 0, 1, 2, 3, 0, 1, 2], 3));
        assert_eq!(names[..], ["space", "a", "b", "c"]);
        assert_eq!(set.class_counts(), [2, 2, 3, 2]);
        let part = set.subset(&[1]);
        assert_eq!((part.x, part.targets.rows()), (vec![0.0, 1.0, 2.0], 1));
    }

    #[test]
    fn a_byte_order_mark_is_no_character_and_line_ends_are() {
        let set = windows("\u{feff}ä\nä\nä\n", 2, 0.0).unwrap();
        assert_eq!((set.vocabulary, set.rows, set.test_start), (Some(2), 2, None));
        let Targets::Sequences { names, .. } = &set.targets else { panic!("sequences") };
        assert_eq!(names[..], ["\\n", "ä"]);
    }

    #[test]
    fn text_that_teaches_nothing_is_refused_with_the_remedy() {
        let text = |r: Result<Dataset, DataError>| r.unwrap_err().to_string();
        assert!(text(windows("", 4, 0.0)).contains("0 characters make no two windows of 4"));
        assert!(text(windows("aaaaaaaa", 2, 0.0)).contains("1 different characters"));
        assert!(text(windows("abcdefgh", 0, 0.0)).contains("take at least 1"));
        let latin1 = Input::memory("t.txt", &b"caf\xe9 caf\xe9"[..]).unwrap();
        assert!(text(read("t", latin1, 2, 0.0)).contains("byte 3 is not UTF-8 text; save the text as UTF-8"));
    }
}
