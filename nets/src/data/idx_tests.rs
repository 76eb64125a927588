//! Tests of the IDX format.

use super::super::input::tests::{gz, temp};
use super::super::{Source, TargetSpec, Targets, Task, load};
use super::*;
use proptest::prelude::*;

use crate::testing::config;

fn idx(kind: u8, shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, shape.len() as u8];
    shape.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn array(bytes: &[u8]) -> Result<Array, DataError> {
    read(Input::memory("a-idx", bytes.to_vec())?)
}

fn message(bytes: &[u8]) -> String {
    array(bytes).expect_err("must be refused").to_string()
}

#[test]
fn all_types_are_read_big_endian() {
    let cases: [(u8, Vec<u8>); 6] = [
        (0x08, vec![1, 200]),
        (0x09, vec![1, 200u8]),
        (0x0b, [1i16, -300].iter().flat_map(|v| v.to_be_bytes()).collect()),
        (0x0c, [1i32, -70_000].iter().flat_map(|v| v.to_be_bytes()).collect()),
        (0x0d, [1f32, -0.5].iter().flat_map(|v| v.to_be_bytes()).collect()),
        (0x0e, [1f64, -0.1].iter().flat_map(|v| v.to_be_bytes()).collect()),
    ];
    let second = [200.0, -56.0, -300.0, -70_000.0, -0.5, -0.1];
    for ((kind, data), second) in cases.into_iter().zip(second) {
        let a = array(&idx(kind, &[2], &data)).unwrap();
        assert_eq!((a.data, a.shape), (vec![1.0, second], vec![2]), "{kind:02x}");
    }
}

#[test]
fn images_and_labels_become_a_data_set() {
    let (_d1, images) = temp("images", &gz(&idx(8, &[3, 1, 2], &[0, 1, 2, 3, 4, 255])));
    let (_d2, labels) = temp("labels", &idx(8, &[3], &[1, 0, 1]));
    let source =
        |test| Source::Idx { images: images.clone(), labels: labels.clone(), test, target: TargetSpec::default() };
    let classes = TargetSpec { task: Some(Task::Classification), ..TargetSpec::default() };
    let set =
        load(&Source::Idx { images: images.clone(), labels: labels.clone(), test: None, target: classes }).unwrap();
    assert_eq!((set.rows, set.features, set.input_shape.as_slice()), (3, 2, &[1, 1, 2][..]));
    assert_eq!(set.feature_names, ["p0_0", "p0_1"]);
    assert_eq!(set.targets, Targets::Classes { labels: vec![1, 0, 1], names: vec!["0".into(), "1".into()] });
    assert_eq!(set.max_value, Some(255.0));

    let (_d3, more) = temp("t-images", &idx(8, &[1, 1, 2], &[9, 9]));
    let (_d4, more_labels) = temp("t-labels", &idx(8, &[1], &[0]));
    let set = load(&source(Some((more, more_labels)))).unwrap();
    assert_eq!((set.rows, set.test_start), (4, Some(3)));
    let (_d5, wide) = temp("wide", &idx(8, &[1, 2, 2], &[9; 4]));
    let (_d6, one) = temp("one", &idx(8, &[1], &[0]));
    let text = load(&source(Some((wide, one)))).unwrap_err().to_string();
    assert!(text.contains("[2, 2]") && text.contains("[1, 2]"), "both shapes: {text}");
}

#[test]
fn labels_for_another_number_of_images_are_refused() {
    let (_d1, images) = temp("images", &idx(8, &[3, 1, 1], &[0, 1, 2]));
    let (_d2, labels) = temp("labels", &idx(8, &[2], &[0, 1]));
    let source = Source::Idx { images, labels, test: None, target: TargetSpec::default() };
    let text = load(&source).unwrap_err().to_string();
    assert!(text.contains("2 targets for the 3 inputs of"), "{text}");
}

#[test]
fn labels_outside_the_stated_range_name_their_row() {
    let (_d1, images) = temp("images", &idx(8, &[3, 1, 1], &[0, 1, 2]));
    let (_d2, labels) = temp("labels", &idx(8, &[3], &[0, 1, 10]));
    let target = TargetSpec { classes: Some(10), ..TargetSpec::default() };
    let text = load(&Source::Idx { images, labels, test: None, target }).unwrap_err().to_string();
    assert!(text.contains("row 2 (from 0): class label 10 is outside 0..=9"), "{text}");
}

#[test]
fn not_finite_images_name_row_and_column() {
    let data: Vec<u8> = [0f32, 1.0, 2.0, f32::NAN].iter().flat_map(|v| v.to_be_bytes()).collect();
    let (_d1, images) = temp("images", &idx(0x0d, &[2, 2], &data));
    let (_d2, labels) = temp("labels", &idx(8, &[2], &[0, 1]));
    let target = TargetSpec { classes: Some(2), ..TargetSpec::default() };
    let text = load(&Source::Idx { images, labels, test: None, target }).unwrap_err().to_string();
    assert!(text.contains("row 1 (from 0), column \"x1\": the value is NaN"), "{text}");
}

#[test]
fn foreign_and_damaged_files_are_named() {
    assert!(message(b"a,b,c\n1,2,3\n").contains("an IDX file with 00 00"));
    assert!(message(b"").contains("0 of 4 bytes"));
    assert!(message(&idx(0x0a, &[1], &[0])).contains("type code 0x0a is unknown"));
    assert!(message(&idx(8, &[], &[0])).contains("0 dimensions"));
    assert!(message(&idx(8, &[1, 1, 1, 1, 1], &[0])).contains("5 dimensions"));
    assert!(message(&idx(8, &[2, 0], &[])).contains("empty"));
    assert!(message(&idx(8, &[3], &[0, 1])).contains("2 of 3 bytes of data"));
    assert!(message(&idx(8, &[3], &[0, 1, 2, 3])).contains("bytes after the end"));
}

#[test]
fn lengths_that_lie_cost_neither_memory_nor_a_panic() {
    assert!(message(&idx(8, &[u32::MAX; 4], &[0; 10])).contains("above the limit of 268435456"));
    // Within the limit, but the bytes aren't there: the answer comes at once.
    assert!(message(&idx(0x0e, &[1 << 28], &[0; 16])).contains("16 of 2147483648 bytes"));
}

proptest! {
    #![proptest_config(config(300))]
    #[test]
    fn random_bytes_never_panic(kind in 7u8..16, rank in 0u8..6, tail in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = array(&tail);
        let _ = array(&[&[0, 0, kind, rank][..], &tail].concat());
    }

    #[test]
    fn damage_never_panics(at in 0usize..100, bit in 0u8..8, cut in 0usize..100) {
        let good = idx(8, &[3, 2, 2], &[5; 12]);
        prop_assert!(array(&good[..cut % good.len()]).is_err());
        let mut bytes = good;
        let n = bytes.len();
        bytes[at % n] ^= 1 << bit;
        let _ = array(&bytes);
        bytes.truncate(cut % n);
        let _ = array(&bytes);
    }
}

#[test]
fn labels_with_a_gap_or_below_zero_are_damage() {
    let (_d1, images) = temp("images", &idx(8, &[4, 1, 2], &[0; 8]));
    for (kind, labels, said) in [
        (0x08, [0u8, 1, 3, 1], "row 2 (from 0): class label 3, but no row has class 2"),
        (0x08, [7, 5, 7, 5], "row 1 (from 0): class label 5, but no row has class 0"),
        (0x09, [1, 0, 255, 0], "row 2 (from 0): class label -1 is not one of 0, 1, 2"),
    ] {
        let (_d2, labels) = temp("labels", &idx(kind, &[4], &labels));
        let target = TargetSpec { task: Some(Task::Classification), ..TargetSpec::default() };
        let source = Source::Idx { images: images.clone(), labels, test: None, target };
        let text = load(&source).unwrap_err().to_string();
        assert!(text.contains(said) && text.contains("renumber them"), "{text}");
    }
}
