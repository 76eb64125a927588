//! NumPy archives of one-dimensional arrays, as the run directory holds them: written byte for byte reproducibly, read
//! back with every length checked.
//!
//! An NPZ is a ZIP of NPY files; the entries here are stored, not compressed, and carry no time. Sources: PKWARE
//! APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16; NumPy's NEP 1 (the NPY format, version 1.0).

use std::collections::BTreeMap;

/// A one-dimensional array.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// `<f8`.
    F64(Vec<f64>),
    /// `<i8`.
    I64(Vec<i64>),
}

const LOCAL: u32 = u32::from_le_bytes(*b"PK\x03\x04");
const CENTRAL: u32 = u32::from_le_bytes(*b"PK\x01\x02");
const END: u32 = u32::from_le_bytes(*b"PK\x05\x06");
/// 1980-01-01, the earliest date that ZIP knows.
const DATE: u16 = 0x21;

/// The bytes of an archive of named arrays, in the order given.
///
/// # Panics
/// If an array or the archive reaches 4 GiB, ZIP's limit; a spectrum of half a billion eigenvalues would.
pub fn write(arrays: &[(&str, Array)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, array) in arrays {
        let file_name = format!("{name}.npy");
        let data = npy(array);
        let size = u32::try_from(data.len()).expect("an array below 4 GiB");
        let offset = u32::try_from(out.len()).expect("an archive below 4 GiB");
        // Version 2.0, no flags, stored, the date, CRC and both sizes: the same in both headers.
        let mut common = Vec::new();
        for word in [20u16, 0, 0, 0, DATE] {
            common.extend(word.to_le_bytes());
        }
        for word in [crc32(&data), size, size] {
            common.extend(word.to_le_bytes());
        }
        common.extend((file_name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        out.extend(LOCAL.to_le_bytes());
        out.extend(&common);
        out.extend(file_name.as_bytes());
        out.extend(&data);
        directory.extend(CENTRAL.to_le_bytes());
        directory.extend(20u16.to_le_bytes());
        directory.extend(&common);
        // No comment, disk 0, no attributes.
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(file_name.as_bytes());
    }
    let start = u32::try_from(out.len()).expect("an archive below 4 GiB");
    let count = arrays.len() as u16;
    out.extend(&directory);
    out.extend(END.to_le_bytes());
    out.extend([0; 4]);
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend(0u16.to_le_bytes());
    out
}

/// The arrays of an archive that [`fn@write`] wrote.
///
/// # Errors
/// What is wrong with the bytes, as half a sentence.
pub fn read(bytes: &[u8]) -> Result<BTreeMap<String, Array>, String> {
    let mut arrays = BTreeMap::new();
    let mut at = Cursor { bytes, at: 0 };
    while at.u32()? == LOCAL {
        let header = at.take(22)?;
        let word = |i: usize| u32::from_le_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
        let (flags_and_method, crc, size) = (word(2), word(10), word(14) as usize);
        if flags_and_method != 0 {
            return Err("it is compressed or encrypted".to_owned());
        }
        let name_length = at.u16()? as usize;
        let extra_length = at.u16()? as usize;
        let name = String::from_utf8(at.take(name_length)?.to_vec()).map_err(|_| "a name is not UTF-8".to_owned())?;
        at.take(extra_length)?;
        let data = at.take(size)?;
        if crc32(data) != crc {
            return Err(format!("the checksum of {name} is wrong"));
        }
        let array = parse_npy(data).map_err(|e| format!("{name}: {e}"))?;
        arrays.insert(name.trim_end_matches(".npy").to_owned(), array);
    }
    Ok(arrays)
}

fn npy(array: &Array) -> Vec<u8> {
    let (kind, length) = match array {
        Array::F64(v) => ("<f8", v.len()),
        Array::I64(v) => ("<i8", v.len()),
    };
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({length},), }}");
    // Magic, version and length take 10 bytes; the data start at a multiple of 64.
    let padding = 63 - (10 + header.len()) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    match array {
        Array::F64(v) => v.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Array::I64(v) => v.iter().for_each(|x| out.extend(x.to_le_bytes())),
    }
    out
}

fn parse_npy(bytes: &[u8]) -> Result<Array, String> {
    let mut at = Cursor { bytes, at: 0 };
    if at.take(8)? != b"\x93NUMPY\x01\x00" {
        return Err("it is no NPY file of version 1.0".to_owned());
    }
    let length = at.u16()? as usize;
    let header = String::from_utf8_lossy(at.take(length)?).into_owned();
    let data = &bytes[at.at..];
    let (words, rest) = data.as_chunks::<8>();
    let shape = format!("'shape': ({},)", words.len());
    if !rest.is_empty() || !header.contains(&shape) {
        return Err("its shape does not fit its length".to_owned());
    }
    if header.contains("'<f8'") {
        Ok(Array::F64(words.iter().map(|w| f64::from_le_bytes(*w)).collect()))
    } else if header.contains("'<i8'") {
        Ok(Array::I64(words.iter().map(|w| i64::from_le_bytes(*w)).collect()))
    } else {
        Err("its type is neither <f8 nor <i8".to_owned())
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(n).filter(|&e| e <= self.bytes.len()).ok_or("it ends too early")?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn u16(&mut self) -> Result<u16, String> {
        let b = self.take(2)?;
        Ok(u16::from_le_bytes([b[0], b[1]]))
    }

    fn u32(&mut self) -> Result<u32, String> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }
}

/// CRC-32 as ZIP uses it (ISO 3309, reflected polynomial 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut c = i as u32;
            let mut k = 0;
            while k < 8 {
                c = if c & 1 == 1 { (c >> 1) ^ 0xEDB8_8320 } else { c >> 1 };
                k += 1;
            }
            table[i] = c;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |c, &b| (c >> 8) ^ TABLE[((c ^ u32::from(b)) & 0xFF) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_the_standard_test_text_is_right() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn arrays_come_back_bit_for_bit() {
        let values = vec![0.1, -0.0, f64::MIN_POSITIVE, f64::MAX];
        let arrays = [("a", Array::F64(values)), ("probe", Array::I64(vec![0, 0, 1])), ("none", Array::F64(vec![]))];
        let back = read(&write(&arrays)).unwrap();
        assert_eq!(back.len(), 3);
        for (name, array) in arrays {
            assert_eq!(back[name], array);
        }
        assert_eq!(read(&write(&[])).unwrap().len(), 0);
    }

    #[test]
    fn data_start_at_a_multiple_of_64_for_every_length() {
        for n in 0..200 {
            let bytes = npy(&Array::F64(vec![0.0; n]));
            assert_eq!((bytes.len() - 8 * n) % 64, 0);
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_of_the_data_is_noticed() {
        let whole = write(&[("x", Array::F64(vec![1.0, 2.0]))]);
        let end_of_data = 30 + 5 + npy(&Array::F64(vec![1.0, 2.0])).len();
        for n in 0..end_of_data {
            assert!(read(&whole[..n]).is_err(), "cut at {n}");
        }
        for i in 35..end_of_data {
            let mut broken = whole.clone();
            broken[i] ^= 1;
            assert!(read(&broken).is_err(), "byte {i}");
        }
    }
}
