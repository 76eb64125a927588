//! The NPY format of NumPy: magic `\x93NUMPY`, version, header length, a Python dictionary, then the values.
//!
//! Written: version 1, one-dimensional f8 and i8. Read: versions 1 to 3, real dtypes (f2 f4 f8, i1…i8, u1…u8, b1), both byte orders, C and Fortran order, ranks 1 to 4.
//! Source: NumPy enhancement proposal 1, "A Simple File Format for NumPy Arrays".

use super::array::{Array, checked_volume, not_empty};
use super::error::{DataError, quoted};
use super::input::Input;

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Longest header: NumPy itself writes about 120 bytes and refuses to read more than 10,000.
const MAX_HEADER: usize = 1 << 16;

/// Highest rank read: (n, channels, height, width).
const MAX_RANK: usize = 4;

/// Largest magnitude up to which every whole number is an f64.
const EXACT: u64 = 1 << 53;

/// A one-dimensional array to be written.
#[derive(Clone, Copy, Debug)]
pub enum Column<'a> {
    /// As `<f8`.
    F64(&'a [f64]),
    /// As `<i8`.
    I64(&'a [i64]),
}

/// The bytes of a file of one column. The same values give the same bytes.
pub(crate) fn bytes(column: Column<'_>) -> Vec<u8> {
    let (descr, length) = match column {
        Column::F64(v) => ("<f8", v.len()),
        Column::I64(v) => ("<i8", v.len()),
    };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({length},), }}");
    // Magic, version and length take 10 bytes; the data start at a multiple of 64.
    let padding = 63 - (10 + header.len()) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    match column {
        Column::F64(v) => v.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Column::I64(v) => v.iter().for_each(|x| out.extend(x.to_le_bytes())),
    }
    out
}

/// Reads one NPY array of data into C order.
///
/// # Errors
/// An empty array, and what [`read_any`] refuses.
pub(crate) fn read(input: Input) -> Result<Array, DataError> {
    let file = input.file.clone();
    let array = read_any(input)?;
    not_empty(&file, &array.shape)?;
    Ok(array)
}

/// Reads one NPY array, which may be empty, into C order.
///
/// # Errors
/// A foreign or damaged header, a dtype that is not real, an absurd shape, too few or too many bytes, whole numbers beyond
/// 2⁵³.
pub(crate) fn read_any(mut input: Input) -> Result<Array, DataError> {
    let file = input.file.clone();
    let bad = |problem: String, hint: &str| DataError::format(&file, problem, hint);
    let magic = input.exactly(8, "the NPY header")?;
    if !magic.starts_with(MAGIC) {
        let hint = "give a file written by numpy.save, or an archive written by numpy.savez as NPZ";
        return Err(bad(format!("it begins with bytes {:02x?}, not like an NPY file", &magic[..6]), hint));
    }
    let length = match magic[6] {
        1 => {
            let b = input.exactly(2, "the NPY header")?;
            usize::from(u16::from_le_bytes([b[0], b[1]]))
        }
        2 | 3 => {
            let b = input.exactly(4, "the NPY header")?;
            u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize
        }
        other => return Err(bad(format!("NPY version {other} is unknown"), "save it with numpy.save")),
    };
    if length > MAX_HEADER {
        return Err(DataError::TooLarge {
            file,
            what: "the NPY header",
            size: length as u128,
            limit: MAX_HEADER as u64,
            hint: "the file is damaged, or its dtype has fields: save plain numbers",
        });
    }
    let text = input.exactly(length, "the NPY header")?;
    let header = Header::parse(&text)
        .map_err(|problem| bad(problem, "save an array of plain numbers with numpy.save or numpy.savez"))?;
    if header.shape.is_empty() || header.shape.len() > MAX_RANK {
        let hint = "inputs have shape (rows, …) with 1 to 4 dimensions, targets (rows) or (rows, outputs)";
        return Err(bad(format!("the array has {} dimensions", header.shape.len()), hint));
    }
    let volume = checked_volume(&file, &header.shape)?;
    let (width, decode) = header.dtype;
    let data = input.values(volume, width, decode)?;
    input.at_end()?;
    if header.whole
        && let Some(v) = data.iter().find(|v| v.abs() > EXACT as f64)
    {
        let problem = format!("whole number {v} is beyond 2^53 and not exact as f64");
        return Err(bad(problem, "scale or renumber it, or save it as float64"));
    }
    let data = if header.fortran { to_c_order(&data, &header.shape) } else { data };
    Ok(Array { data, shape: header.shape, byte: header.byte })
}

/// Reorders a column-major array; rank 1 is the same in both orders.
fn to_c_order(data: &[f64], shape: &[usize]) -> Vec<f64> {
    let mut strides = vec![1; shape.len()];
    for k in 1..shape.len() {
        strides[k] = strides[k - 1] * shape[k - 1];
    }
    let mut index = vec![0; shape.len()];
    let mut out = Vec::with_capacity(data.len());
    let mut at = 0;
    for _ in 0..data.len() {
        out.push(data[at]);
        // Count up the C-ordered index, the last axis fastest.
        for k in (0..shape.len()).rev() {
            index[k] += 1;
            at += strides[k];
            if index[k] < shape[k] {
                break;
            }
            at -= strides[k] * shape[k];
            index[k] = 0;
        }
    }
    out
}

/// Bytes per value, and how to read one.
type Decoder = (usize, fn(&[u8]) -> f64);

struct Header {
    dtype: Decoder,
    whole: bool,
    byte: bool,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Parses `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "the NPY header is no text")?;
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        let mut rest = Cursor(text);
        rest.expect('{')?;
        while !rest.eat('}') {
            let key = rest.string()?;
            rest.expect(':')?;
            match key {
                "descr" => {
                    descr = Some(rest.string().map_err(|_| "the dtype has fields, so values are no plain numbers")?)
                }
                "fortran_order" => fortran = Some(rest.boolean()?),
                "shape" => shape = Some(rest.tuple()?),
                other => return Err(format!("the NPY header has the unknown key {}", quoted(other))),
            }
            if !rest.eat(',') {
                rest.expect('}')?;
                break;
            }
        }
        if !rest.0.trim().is_empty() {
            return Err("the NPY header goes on after its end".into());
        }
        let descr = descr.ok_or("the NPY header has no dtype")?;
        let (dtype, kind) = decoder(descr)?;
        Ok(Self {
            dtype,
            whole: kind == 'i' || kind == 'u',
            byte: kind == 'u' && dtype.0 == 1,
            fortran: fortran.ok_or("the NPY header has no fortran_order")?,
            shape: shape.ok_or("the NPY header has no shape")?,
        })
    }
}

/// The unread rest of a header.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn eat(&mut self, c: char) -> bool {
        self.0 = self.0.trim_start();
        match self.0.strip_prefix(c) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.eat(c) {
            Ok(())
        } else {
            Err(format!("the NPY header is damaged: {c:?} expected at {}", quoted(self.0)))
        }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.eat('"') {
            '"'
        } else {
            self.expect('\'')?;
            '\''
        };
        let (text, rest) = self.0.split_once(quote).ok_or("the NPY header is damaged: a text does not end")?;
        self.0 = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.0 = self.0.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err(format!("the NPY header is damaged: True or False expected at {}", quoted(self.0)))
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        self.expect('(')?;
        let mut numbers = Vec::new();
        while !self.eat(')') {
            let digits = self.0.len() - self.0.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, rest) = self.0.split_at(digits);
            let number =
                number.parse().map_err(|_| format!("the shape in the NPY header is wrong at {}", quoted(self.0)))?;
            numbers.push(number);
            // Python 2 wrote whole numbers as 3L.
            self.0 = rest.strip_prefix('L').unwrap_or(rest);
            if !self.eat(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(numbers)
    }
}

/// How to read a dtype such as `<f8`, and its kind character.
fn decoder(descr: &str) -> Result<(Decoder, char), String> {
    let (big, kind) = match descr.strip_prefix(['<', '|', '=']) {
        Some(rest) => (false, rest),
        None => match descr.strip_prefix('>') {
            Some(rest) => (true, rest),
            None => (false, descr),
        },
    };
    fn bytes<const N: usize>(b: &[u8]) -> [u8; N] {
        let mut a = [0; N];
        a.copy_from_slice(b);
        a
    }
    let decode: Decoder = match (kind, big) {
        ("b1" | "?" | "u1", _) => (1, |b| f64::from(b[0])),
        ("i1", _) => (1, |b| f64::from(b[0] as i8)),
        ("i2", false) => (2, |b| f64::from(i16::from_le_bytes(bytes(b)))),
        ("i2", true) => (2, |b| f64::from(i16::from_be_bytes(bytes(b)))),
        ("u2", false) => (2, |b| f64::from(u16::from_le_bytes(bytes(b)))),
        ("u2", true) => (2, |b| f64::from(u16::from_be_bytes(bytes(b)))),
        ("i4", false) => (4, |b| f64::from(i32::from_le_bytes(bytes(b)))),
        ("i4", true) => (4, |b| f64::from(i32::from_be_bytes(bytes(b)))),
        ("u4", false) => (4, |b| f64::from(u32::from_le_bytes(bytes(b)))),
        ("u4", true) => (4, |b| f64::from(u32::from_be_bytes(bytes(b)))),
        ("i8", false) => (8, |b| i64::from_le_bytes(bytes(b)) as f64),
        ("i8", true) => (8, |b| i64::from_be_bytes(bytes(b)) as f64),
        ("u8", false) => (8, |b| u64::from_le_bytes(bytes(b)) as f64),
        ("u8", true) => (8, |b| u64::from_be_bytes(bytes(b)) as f64),
        ("f2", false) => (2, |b| crate::half::f16_to_f64(u16::from_le_bytes(bytes(b)))),
        ("f2", true) => (2, |b| crate::half::f16_to_f64(u16::from_be_bytes(bytes(b)))),
        ("f4", false) => (4, |b| f64::from(f32::from_le_bytes(bytes(b)))),
        ("f4", true) => (4, |b| f64::from(f32::from_be_bytes(bytes(b)))),
        ("f8", false) => (8, |b| f64::from_le_bytes(bytes(b))),
        ("f8", true) => (8, |b| f64::from_be_bytes(bytes(b))),
        _ => {
            let what = match kind.chars().next() {
                Some('O') => "Python objects",
                Some('U' | 'S' | 'a') => "texts (number the classes 0, 1, … instead)",
                Some('c') => "complex numbers",
                Some('M' | 'm') => "times",
                _ => "no numbers known here",
            };
            return Err(format!("dtype {} holds {what}", quoted(descr)));
        }
    };
    Ok((decode, kind.chars().next().unwrap_or('?')))
}

#[cfg(test)]
#[path = "npy_tests.rs"]
mod tests;
