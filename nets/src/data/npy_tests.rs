//! Tests of NPY and NPZ, on files that NumPy 2.4 wrote (`fixtures/`) and on crafted ones.

use super::super::input::tests::temp;
use super::super::zip::Archive;
use super::super::{Dataset, Source, TargetSpec, Targets, Task, load};
use super::*;
use flate2::Crc;
use flate2::{Compression, write::DeflateEncoder};
use proptest::prelude::*;

use crate::testing::config;
use std::io::Write;

const NUMPY: &[u8] = include_bytes!("fixtures/numpy.npz");
const COMPRESSED: &[u8] = include_bytes!("fixtures/numpy_compressed.npz");
const IMAGES: &[u8] = include_bytes!("fixtures/images.npy");

fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    headed(&format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"), data)
}

fn headed(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn array(bytes: &[u8]) -> Result<Array, DataError> {
    read(Input::memory("a.npy", bytes.to_vec())?)
}

fn message(bytes: &[u8]) -> String {
    array(bytes).expect_err("must be refused").to_string()
}

fn npz(bytes: &[u8], x: &str, y: &str, target: TargetSpec) -> Result<Dataset, DataError> {
    let (_dir, path) = temp("a.npz", bytes);
    load(&Source::Npz { path, x: x.into(), y: y.into(), test: None, target })
}

/// A ZIP archive with one entry, stored or deflated.
fn archive(name: &str, content: &[u8], deflate: bool) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(content);
    let packed = if deflate {
        let mut z = DeflateEncoder::new(Vec::new(), Compression::best());
        z.write_all(content).unwrap();
        z.finish().unwrap()
    } else {
        content.to_vec()
    };
    let common = |out: &mut Vec<u8>| {
        out.extend([20, 0, 0, 0, if deflate { 8 } else { 0 }, 0, 0, 0, 0, 0]);
        out.extend(crc.sum().to_le_bytes());
        out.extend((packed.len() as u32).to_le_bytes());
        out.extend((content.len() as u32).to_le_bytes());
        out.extend((name.len() as u16).to_le_bytes());
        out.extend([0, 0]);
    };
    let mut out = b"PK\x03\x04".to_vec();
    common(&mut out);
    out.extend(name.as_bytes());
    out.extend(&packed);
    let start = out.len() as u32;
    out.extend(b"PK\x01\x02\x14\x00");
    common(&mut out);
    out.extend([0; 14]);
    out.extend(name.as_bytes());
    let size = out.len() as u32 - start;
    out.extend(b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00");
    out.extend(size.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

#[test]
fn numpy_archives_are_read_in_every_order_and_precision() {
    let classes = TargetSpec { task: Some(Task::Classification), ..TargetSpec::default() };
    let set = npz(NUMPY, "x", "y", classes.clone()).unwrap();
    assert_eq!(set.x, (0..12).map(|i| f64::from(i) / 4.0).collect::<Vec<_>>());
    assert_eq!((set.rows, set.features, set.name.as_str()), (4, 3, "a"));
    let names = ["0", "1", "2"].map(String::from).to_vec();
    assert_eq!(set.targets, Targets::Classes { labels: vec![1, 0, 2, 1], names });
    for x in ["x_fortran", "x_f32", "x_big", "x.npy"] {
        for y in ["y", "y_u8"] {
            assert_eq!(npz(NUMPY, x, y, classes.clone()).unwrap(), set, "{x} {y}");
        }
    }
}

#[test]
fn real_targets_may_have_several_columns() {
    let set = npz(NUMPY, "x", "y_real", TargetSpec::default()).unwrap();
    assert_eq!((set.task(), set.outputs()), (Task::Regression, 2));
    assert_eq!(set.targets.values().unwrap(), [0.5, 1.0, 2.0, -3.0, 4.0, 5.0, 6.0, 7.5]);
    let classes = TargetSpec { task: Some(Task::Classification), ..TargetSpec::default() };
    let text = npz(NUMPY, "x", "y_real", classes).unwrap_err().to_string();
    assert!(text.contains("instead of one-hot rows"), "{text}");
}

#[test]
fn compressed_archives_and_images_are_read() {
    let target = TargetSpec { classes: Some(3), ..TargetSpec::default() };
    let set = npz(COMPRESSED, "x", "y", target).unwrap();
    assert_eq!((set.rows, set.features, set.input_shape), (4, 30, vec![1, 5, 6]));
    assert_eq!(set.max_value, None, "real numbers state no largest value");
    let a = array(IMAGES).unwrap();
    assert_eq!((a.shape, a.byte), (vec![4, 2, 3], true));
    assert_eq!(a.data, (0..24).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn two_npy_files_make_a_data_set() {
    let (_d1, x) = temp("x.npy", IMAGES);
    let (_d2, y) = temp("y.npy", &npy("'<i4'", "False", "(4,)", &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]));
    let source = |test| Source::Npy { x: x.clone(), y: y.clone(), test, target: TargetSpec::default() };
    let set = load(&source(None)).unwrap();
    assert_eq!((set.rows, set.outputs(), set.input_shape.clone()), (4, 2, vec![1, 2, 3]));
    let set = load(&source(Some((x.clone(), y.clone())))).unwrap();
    assert_eq!((set.rows, set.test_start), (8, Some(4)));
}

#[test]
fn arrays_that_hold_no_numbers_say_what_they_hold() {
    let text = |y: &str| npz(NUMPY, "x", y, TargetSpec::default()).unwrap_err().to_string();
    assert!(text("names").contains("number the classes 0, 1, …"), "{}", text("names"));
    assert!(text("objects").contains("Python objects"), "{}", text("objects"));
    assert!(text("scalar").contains("0 dimensions"), "{}", text("scalar"));
    assert!(text("labels").contains("no array \"labels\"; the arrays are \"x\", "), "{}", text("labels"));
    assert!(text("y_reel").contains("did you mean \"y_real\"?"), "{}", text("y_reel"));
    assert!(text("names").contains("a.npz, array \"names\":"));
}

#[test]
fn every_number_type_is_read() {
    for (descr, bytes, value) in [
        ("'|b1'", vec![1], 1.0),
        ("'|u1'", vec![200], 200.0),
        ("'|i1'", vec![200], -56.0),
        ("'<i2'", vec![0, 1], 256.0),
        ("'>i2'", vec![0, 1], 1.0),
        ("'<u2'", vec![255, 255], 65535.0),
        ("'>u4'", vec![0, 1, 0, 0], 65536.0),
        ("'<i4'", vec![255; 4], -1.0),
        ("'>i8'", (-5i64).to_be_bytes().to_vec(), -5.0),
        ("'<u8'", (1u64 << 53).to_le_bytes().to_vec(), 9_007_199_254_740_992.0),
        ("'<f2'", vec![0, 0x3c], 1.0),
        ("'>f4'", 0.5f32.to_be_bytes().to_vec(), 0.5),
        ("\"<f8\"", 0.1f64.to_le_bytes().to_vec(), 0.1),
    ] {
        assert_eq!(array(&npy(descr, "False", "(1,)", &bytes)).unwrap().data, [value], "{descr}");
    }
}

#[test]
fn whole_numbers_beyond_2_53_are_not_rounded_silently() {
    let text = message(&npy("'<i8'", "False", "(1,)", &i64::MAX.to_le_bytes()));
    assert!(text.contains("beyond 2^53"), "{text}");
}

#[test]
fn fortran_order_of_any_rank_is_turned() {
    // Value = its place in C order; written with the first axis fastest.
    let shape = [2usize, 3, 2, 2];
    let mut data = Vec::new();
    for l in 0..2 {
        for k in 0..2 {
            for j in 0..3 {
                for i in 0..2 {
                    data.push((((i * 3 + j) * 2 + k) * 2 + l) as u8);
                }
            }
        }
    }
    let a = array(&npy("'|u1'", "True", "(2, 3, 2, 2)", &data)).unwrap();
    assert_eq!(a.shape, shape);
    assert_eq!(a.data, (0..24).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn damaged_headers_are_errors() {
    let good = |shape: &str| npy("'|u1'", "False", shape, &[1, 2]);
    assert!(array(&good("(2L,)")).is_ok() && array(&good("(2 , 1)")).is_ok() && array(&good("(2)")).is_ok());
    for shape in ["(-2,)", "(2,,)", "(2", "2", "()", "(0,)", "(2.0,)", "(99999999999999999999,)", "(1,1,1,1,2)"] {
        assert!(array(&good(shape)).is_err(), "{shape}");
    }
    for header in [
        "",
        "{",
        "{}",
        "{'descr': '|u1'}",
        "{'x': 3}",
        "{'shape': (2,), 'descr': '|u1', 'fortran_order': 0}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2,)} {",
        "{'descr': '|u1",
    ] {
        assert!(array(&headed(header, &[1, 2])).is_err(), "{header}");
    }
    assert!(message(&npy("[('a', '<f8')]", "False", "(2,)", &[0; 16])).contains("has fields"));
    assert!(message(&npy("'<c16'", "False", "(1,)", &[0; 16])).contains("complex"));
    assert!(message(&npy("'<f16'", "False", "(1,)", &[0; 16])).contains("no numbers known here"));
    assert!(message(b"PK\x03\x04 and so on").contains("not like an NPY file"));
    assert!(message(&[b"\x93NUMPY\x07\x00".as_slice(), &[0; 100]].concat()).contains("version 7"));
    assert!(message(&npy("'|u1'", "False", "(3,)", &[1, 2])).contains("2 of 3 bytes of data"));
    assert!(message(&npy("'|u1'", "False", "(1,)", &[1, 2])).contains("bytes after the end"));
    assert!(array(&headed(&"(".repeat(60_000), &[])).is_err(), "no recursion");
}

#[test]
fn lengths_that_lie_cost_neither_memory_nor_a_panic() {
    let huge = [b"\x93NUMPY\x02\x00".as_slice(), &u32::MAX.to_le_bytes(), &[b' '; 50]].concat();
    assert!(message(&huge).contains("the NPY header is 4294967295, above the limit"));
    assert!(
        message(&npy("'<f8'", "False", "(4294967296, 4294967296, 4294967296)", &[0; 8])).contains("above the limit")
    );
    assert!(message(&npy("'<f8'", "False", "(268435456,)", &[0; 8])).contains("8 of 2147483648 bytes"));
}

#[test]
fn zip_bombs_end_where_the_header_does() {
    // 64 MB of zeros in 64 kB, for an array that needs two bytes.
    let mut content = npy("'|u1'", "False", "(2,)", &[1, 2]);
    content.resize(64 << 20, 0);
    let text = npz(&archive("x.npy", &content, true), "x", "x", TargetSpec::default()).unwrap_err().to_string();
    assert!(text.contains("bytes after the end"), "{text}");
    // An array larger than any limit, however well it is packed.
    let content = npy("'<f8'", "False", "(1000000000,)", &vec![0; 1 << 20]);
    let text = npz(&archive("x.npy", &content, true), "x", "x", TargetSpec::default()).unwrap_err().to_string();
    assert!(text.contains("above the limit"), "{text}");
}

#[test]
fn a_wrong_checksum_is_found() {
    for deflate in [false, true] {
        let content = npy("'|u1'", "False", "(4,)", &[0, 1, 0, 1]);
        let mut bytes = archive("x.npy", &content, deflate);
        npz(&bytes, "x", "x", TargetSpec::default()).unwrap();
        // The checksum in the directory; the one in the local header isn't used.
        let at = bytes.len() - 22 - 5 - 46 + 16;
        bytes[at] ^= 1;
        let text = npz(&bytes, "x", "x", TargetSpec::default()).unwrap_err().to_string();
        assert!(text.contains("the checksum is wrong"), "{text}");
    }
}

#[test]
fn foreign_archives_are_named() {
    let text = npz(b"a,b\n1,2\n", "x", "y", TargetSpec::default()).unwrap_err().to_string();
    assert!(text.contains("not an NPZ archive") && text.contains("numpy.savez"), "{text}");
    assert!(npz(b"", "x", "y", TargetSpec::default()).is_err());
    let mut encrypted = archive("x.npy", &npy("'|u1'", "False", "(1,)", &[0]), false);
    let at = encrypted.len() - 22 - 5 - 46 + 8;
    encrypted[at] |= 1;
    assert!(npz(&encrypted, "x", "x", TargetSpec::default()).unwrap_err().to_string().contains("encrypted"));
    let mut other = archive("x.npy", &npy("'|u1'", "False", "(1,)", &[0]), false);
    let at = other.len() - 22 - 5 - 46 + 10;
    other[at] = 93;
    assert!(npz(&other, "x", "x", TargetSpec::default()).unwrap_err().to_string().contains("method 93"));
    let dir = tempfile::tempdir().unwrap();
    assert!(Archive::open(dir.path()).err().unwrap().to_string().contains("not a directory"));
}

#[test]
fn every_truncation_of_an_archive_is_an_error() {
    for n in (0..COMPRESSED.len()).step_by(7) {
        assert!(npz(&COMPRESSED[..n], "x", "y", TargetSpec::default()).is_err(), "{n}");
    }
}

proptest! {
    #![proptest_config(config(300))]
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = array(&[b"\x93NUMPY\x01\x00".as_slice(), &bytes].concat());
    }

    #[test]
    fn header_like_text_never_panics(header in "[{}'\":,() ()TrueFals0-9descrshapo_<f8L]{0,100}") {
        let _ = array(&headed(&header, &[0; 16]));
    }
}

proptest! {
    // Archives are real files here, so there are fewer cases.
    #![proptest_config(config(100))]
    #[test]
    fn random_archives_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = npz(&[&bytes[..], b"PK\x05\x06", &bytes].concat(), "x", "y", TargetSpec::default());
    }

    #[test]
    fn flipped_bits_never_panic(at in 0usize..10_000, bit in 0u8..8) {
        for (file, x, y) in [(NUMPY, "x_fortran", "y_real"), (COMPRESSED, "x", "y")] {
            let mut bytes = file.to_vec();
            bytes[at % file.len()] ^= 1 << bit;
            let _ = npz(&bytes, x, y, TargetSpec::default());
        }
        let mut bytes = IMAGES.to_vec();
        let n = bytes.len();
        bytes[at % n] ^= 1 << bit;
        let _ = array(&bytes);
    }
}

#[test]
fn a_value_that_is_not_finite_is_named_by_file_array_row_and_column() {
    use super::super::npz::{Column, write};
    let y = [0, 1, 0, 1];
    for bad in [f64::NAN, f64::NEG_INFINITY] {
        let x = [1.0, 2.0, bad, 3.0];
        let archive = write(&[("x", Column::F64(&x)), ("y", Column::I64(&y))]);
        let text = npz(&archive, "x", "y", TargetSpec::default()).unwrap_err().to_string();
        let expected = format!("a.npz, array \"x\", row 2 (from 0), column \"x0\": the value is {bad}; remove");
        assert!(text.contains(&expected), "{text}");
        // Images: row 1 of the second sample.
        let data: Vec<u8> = (0..12).flat_map(|i| if i == 6 + 4 { bad } else { 0.5f64 }.to_le_bytes()).collect();
        let (_dir, path) = temp("images.npy", &npy("'<f8'", "False", "(2, 2, 3)", &data));
        let (_other, targets) = temp("y.npy", &npy("'<i8'", "False", "(2,)", &[0; 16]));
        let source = Source::Npy { x: path, y: targets, test: None, target: TargetSpec::default() };
        let text = load(&source).unwrap_err().to_string();
        assert!(text.contains("images.npy, row 1 (from 0), column \"p1_1\": the value is "), "{text}");
    }
}
