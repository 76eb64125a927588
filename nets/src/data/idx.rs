//! The IDX format of MNIST: magic `00 00 type rank`, big-endian u32 dimensions, values row-major and big-endian.
//!
//! Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits" (file formats section).

use super::array::{Array, checked_volume, not_empty};
use super::error::DataError;
use super::input::Input;

/// Highest rank read: (n, channels, height, width).
const MAX_RANK: usize = 4;

/// Reads one IDX array.
///
/// # Errors
/// A foreign magic number, an unknown type code, a zero or absurd dimension, too few or too many bytes.
pub(crate) fn read(mut input: Input) -> Result<Array, DataError> {
    let file = input.file.clone();
    let magic = input.exactly(4, "the IDX header")?;
    let (kind, rank) = (magic[2], magic[3] as usize);
    if magic[0] != 0 || magic[1] != 0 {
        return Err(DataError::format(
            &file,
            format!("it begins with bytes {magic:02x?}, and an IDX file with 00 00"),
            "give an IDX file like train-images-idx3-ubyte (gzip is unpacked by itself)",
        ));
    }
    let Some(decode) = decoder(kind) else {
        return Err(DataError::format(
            &file,
            format!("IDX type code 0x{kind:02x} is unknown"),
            "known are 0x08 u8, 0x09 i8, 0x0b i16, 0x0c i32, 0x0d f32, 0x0e f64",
        ));
    };
    if rank == 0 || rank > MAX_RANK {
        return Err(DataError::format(
            &file,
            format!("it has {rank} dimensions"),
            format!("images have 2 to {MAX_RANK} and labels one"),
        ));
    }
    let head = input.exactly(4 * rank, "the IDX dimensions")?;
    let shape: Vec<usize> =
        head.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    not_empty(&file, &shape)?;
    let data = input.values(checked_volume(&file, &shape)?, width(kind), decode)?;
    input.at_end()?;
    Ok(Array { data, shape, byte: kind == 0x08 })
}

fn width(kind: u8) -> usize {
    match kind {
        0x08 | 0x09 => 1,
        0x0b => 2,
        0x0c | 0x0d => 4,
        _ => 8,
    }
}

/// How to read one big-endian value of a type code.
fn decoder(kind: u8) -> Option<fn(&[u8]) -> f64> {
    Some(match kind {
        0x08 => |b| f64::from(b[0]),
        0x09 => |b| f64::from(b[0] as i8),
        0x0b => |b| f64::from(i16::from_be_bytes([b[0], b[1]])),
        0x0c => |b| f64::from(i32::from_be_bytes([b[0], b[1], b[2], b[3]])),
        0x0d => |b| f64::from(f32::from_be_bytes([b[0], b[1], b[2], b[3]])),
        0x0e => |b| f64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "idx_tests.rs"]
mod tests;
