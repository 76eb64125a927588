//! Finished parts of a run's curvature, kept while it is under way so that `--resume` need not compute them again.
//!
//! A part is one layer's result or one Φ, a JSON file under `parts/`. It carries a seal: the SHA-256 of everything that the
//! numbers follow from ([`Origin`]), of the numbers themselves, and of the spectrum's file that goes with them. A part whose
//! seal doesn't fit is damaged or of another origin, and counts as missing. The seal covers the numbers as they read back, so
//! a file that could not be read to the same bits would not pass either.

use std::fs::File;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::RunDir;
use crate::config::Config;
use crate::error::{Failure, Result};
use crate::{files, machine};

/// The folder of parts; it goes when the run is finished.
pub const PARTS: &str = "parts";

/// What numbers follow from, step by step: program, config, samples, weights, layer.
#[derive(Clone, Debug)]
pub struct Origin(Sha256);

impl Origin {
    /// This program on this kind of processor (other vector instructions round differently), with this config.
    pub fn new(config: &Config) -> Self {
        let program = [machine::VERSION, machine::COMMIT.unwrap_or(""), machine::simd_level()];
        program.iter().fold(Self(Sha256::new()), |origin, word| origin.text(word)).text(&config.digest())
    }

    /// With a text.
    pub fn text(&self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// With numbers, bit for bit.
    pub fn numbers(&self, values: &[f64]) -> Self {
        let mut state = self.0.clone();
        state.update((values.len() as u64).to_le_bytes());
        let mut bytes = Vec::with_capacity(8 * 1024);
        for chunk in values.chunks(1024) {
            bytes.clear();
            chunk.iter().for_each(|x| bytes.extend(x.to_le_bytes()));
            state.update(&bytes);
        }
        Self(state)
    }

    fn bytes(&self, bytes: &[u8]) -> Self {
        let mut state = self.0.clone();
        // The length first, so that two neighbours can't trade bytes.
        state.update((bytes.len() as u64).to_le_bytes());
        state.update(bytes);
        Self(state)
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> String {
        hex(self.0.clone())
    }

    /// Of data alone, whatever computes with them.
    pub fn of_data() -> Self {
        Self(Sha256::new())
    }

    /// The seal of a part's JSON and the bytes of its spectrum.
    fn seal(&self, json: &[u8], spectrum: &[u8]) -> String {
        hex(self.bytes(json).bytes(spectrum).0)
    }
}

fn hex(state: Sha256) -> String {
    state.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Serialize, Deserialize)]
struct Part<T> {
    seal: String,
    numbers: T,
}

fn part_file(name: &str) -> String {
    format!("{PARTS}/{name}.json")
}

impl RunDir {
    /// Keeps a finished part. The spectrum's file, if there is one, is written first: a part stands for both.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn keep<T: Serialize>(
        &self,
        name: &str,
        origin: &Origin,
        numbers: &T,
        spectrum: Option<(&str, &[u8])>,
    ) -> Result<()> {
        if let Some((file, bytes)) = spectrum {
            self.write(file, bytes)?;
        }
        let json = serde_json::to_vec(numbers).map_err(|e| Failure::new(format!("{name}: {e}")))?;
        let seal = origin.seal(&json, spectrum.map_or(&[], |s| s.1));
        self.write_json(&part_file(name), &Part { seal, numbers })
    }

    /// The part of this name if it is whole, of this origin, and has its spectrum's `file` beside it, byte for byte.
    pub fn kept<T: Serialize + DeserializeOwned>(&self, name: &str, origin: &Origin, file: Option<&str>) -> Option<T> {
        let part: Part<T> = serde_json::from_slice(&std::fs::read(self.file(&part_file(name))).ok()?).ok()?;
        let spectrum = file.map_or(Some(Vec::new()), |file| std::fs::read(self.file(file)).ok())?;
        let json = serde_json::to_vec(&part.numbers).ok()?;
        (origin.seal(&json, &spectrum) == part.seal).then_some(part.numbers)
    }
}

/// Makes this process the only one at work in a run directory, as long as the file is open.
///
/// # Errors
/// If another one is.
pub fn lock(path: &Path) -> Result<Option<File>> {
    files::lock(&path.join(PARTS).join("lock"), path)
}

/// Removes what writers that were killed left half-written beside the files they were to replace.
pub fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".eigenlens-") && (name.ends_with(".part") || name.ends_with(".tmp")) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Measured;

    const FILE: &str = "spectra/000-fc1.npz";

    fn run(base: &Path) -> (RunDir, Origin) {
        let config = Config::parse(None, &[], &["digits"]).unwrap();
        (RunDir::create(&config, None, &[], base).unwrap(), Origin::new(&config))
    }

    #[test]
    fn a_part_comes_back_bit_for_bit_and_only_to_its_origin() {
        let base = tempfile::tempdir().unwrap();
        let (run, origin) = run(base.path());
        // Numbers that a reader of decimals rounds wrongly unless it takes care.
        for value in [0.1 + 0.2, 8.41e21, 1.2345678901234567e-300, -0.0, 5e-324, 0.638_344_722_147_214_6] {
            let numbers = Measured::mean(value, value.abs() / 3.0, 7);
            run.keep("000-fc1", &origin, &numbers, Some((FILE, b"spectrum"))).unwrap();
            let back: Measured = run.kept("000-fc1", &origin, Some(FILE)).unwrap();
            assert_eq!(back.value.to_bits(), numbers.value.to_bits());
            assert_eq!(back, numbers);
        }
        let kept = |origin: &Origin| run.kept::<Measured>("000-fc1", origin, Some(FILE)).is_some();
        assert!(kept(&origin) && !kept(&origin.numbers(&[])) && !kept(&origin.text("fc2")));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let base = tempfile::tempdir().unwrap();
        let (run, origin) = run(base.path());
        let numbers = Measured::bounded(1.25, 1e-9);
        run.keep("a", &origin, &numbers, Some((FILE, b"spectrum"))).unwrap();
        let kept = || run.kept::<Measured>("a", &origin, Some(FILE));
        for file in [FILE.to_owned(), part_file("a")] {
            let whole = std::fs::read(run.file(&file)).unwrap();
            for at in 0..whole.len() {
                let mut broken = whole.clone();
                broken[at] ^= 1;
                run.write(&file, &broken).unwrap();
                // A change of the layout alone is none of the numbers.
                assert!(kept().is_none_or(|m| m == numbers && whole[at].is_ascii_whitespace()), "{file}, byte {at}");
            }
            run.write(&file, &whole).unwrap();
            assert_eq!(kept(), Some(numbers));
            std::fs::remove_file(run.file(&file)).unwrap();
            assert_eq!(kept(), None);
            run.write(&file, &whole).unwrap();
        }
    }

    #[test]
    fn neighbours_do_not_trade_bytes() {
        let base = tempfile::tempdir().unwrap();
        let (_, origin) = run(base.path());
        assert_ne!(origin.text("ab").text("c").seal(b"", b""), origin.text("a").text("bc").seal(b"", b""));
        assert_ne!(origin.seal(b"ab", b"c"), origin.seal(b"a", b"bc"));
        assert_ne!(origin.numbers(&[0.0]).seal(b"", b""), origin.numbers(&[-0.0]).seal(b"", b""));
    }

    #[test]
    fn what_is_not_finite_is_not_taken_over() {
        let base = tempfile::tempdir().unwrap();
        let (run, origin) = run(base.path());
        run.keep("a", &origin, &Measured::exact(f64::NAN), None).unwrap();
        assert!(run.kept::<Measured>("a", &origin, None).is_none());
    }
}
