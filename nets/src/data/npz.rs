//! NPZ archives of named columns of numbers, written byte for byte reproducibly and read back with everything checked.
//!
//! An NPZ is a ZIP of NPY files; what is written here is stored, not compressed, and carries no time. The formats are those
//! of `npy` and `zip`, which also read the user's data.

use std::collections::BTreeMap;

use super::error::DataError;
use super::{npy, zip};

pub use super::npy::Column;

/// The bytes of an archive of named columns, in the order given.
///
/// # Panics
/// If it reaches 4 GiB, ZIP's limit: half a billion numbers.
#[track_caller]
pub fn write(columns: &[(&str, Column<'_>)]) -> Vec<u8> {
    let files: Vec<(&str, Vec<u8>)> = columns.iter().map(|(name, column)| (*name, npy::bytes(*column))).collect();
    zip::stored(&files)
}

/// All columns of an archive by name; `name` is what to call it in errors. Whole numbers come as f64, exactly.
///
/// # Errors
/// A damaged archive, arrays that are not one-dimensional, whole numbers beyond 2⁵³.
pub fn read(name: &str, bytes: &[u8]) -> Result<BTreeMap<String, Vec<f64>>, DataError> {
    let archive = zip::Archive::memory(name, bytes)?;
    let mut columns = BTreeMap::new();
    for array in archive.names() {
        let (file, values) = archive.read(array, npy::read_any)?;
        if values.shape.len() != 1 {
            let problem = format!("the array has shape {:?}, not one dimension", values.shape);
            return Err(DataError::format(&file, problem, "give an archive of columns"));
        }
        columns.insert(array.to_owned(), values.data);
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back_bit_for_bit() {
        let values = [0.1, -0.0, f64::MIN_POSITIVE, f64::MAX, f64::NAN, f64::NEG_INFINITY];
        let columns = [
            ("a", Column::F64(&values)),
            ("probe", Column::I64(&[0, 0, 1, -(1 << 53)])),
            ("none", Column::F64(&[])),
            ("nor", Column::I64(&[])),
        ];
        let back = read("x.npz", &write(&columns)).unwrap();
        assert_eq!(back.len(), 4);
        assert!(
            back["a"].iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits()) && back["a"].len() == values.len()
        );
        assert_eq!(back["probe"], [0.0, 0.0, 1.0, -9_007_199_254_740_992.0]);
        assert!(back["none"].is_empty() && back["nor"].is_empty());
        assert_eq!(read("x.npz", &write(&[])).unwrap().len(), 0);
    }

    #[test]
    fn data_start_at_a_multiple_of_64_for_every_length() {
        for n in 0..200 {
            assert_eq!((npy::bytes(Column::F64(&vec![0.0; n])).len() - 8 * n) % 64, 0);
        }
    }

    #[test]
    fn what_is_not_a_column_of_exact_numbers_is_refused() {
        let big = write(&[("n", Column::I64(&[i64::MAX]))]);
        assert!(read("x.npz", &big).unwrap_err().to_string().contains("beyond 2^53"));
        // "shape": (4,) becomes (2,2) in the same number of bytes; the checksum follows.
        let mut file = npy::bytes(Column::F64(&[1.0, 2.0, 3.0, 4.0]));
        let at = file.windows(7).position(|w| w == b"(4,), }").unwrap();
        file[at..at + 7].copy_from_slice(b"(2,2),}");
        let error = read("x.npz", &zip::stored(&[("m", file)])).unwrap_err().to_string();
        assert!(error.contains("array \"m\"") && error.contains("shape [2, 2], not one dimension"), "{error}");
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_noticed() {
        let values = [1.0, 2.0];
        let whole = write(&[("x", Column::F64(&values))]);
        let is_same = |bytes: &[u8]| read("x.npz", bytes).is_ok_and(|back| back.get("x").is_some_and(|x| *x == values));
        for n in 0..whole.len() {
            assert!(read("x.npz", &whole[..n]).is_err(), "cut at {n}");
        }
        let data = 30 + 5..30 + 5 + npy::bytes(Column::F64(&values)).len();
        for i in 0..whole.len() {
            let mut broken = whole.clone();
            broken[i] ^= 1;
            // Dates and versions mean nothing here: then the numbers are right. A changed byte of the data never passes.
            let read = read("x.npz", &broken);
            assert!(read.is_err() || !data.contains(&i), "byte {i}");
            assert!(read.is_err() || is_same(&broken) || !read.unwrap().contains_key("x"), "byte {i}");
        }
    }
}
