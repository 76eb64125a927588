//! Tests of the snapshots: our files against the safetensors crate in both directions, damage of every kind, atomicity.

use super::*;
use proptest::prelude::*;

use crate::testing::config;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

fn tensor(name: &str, shape: &[usize], data: TensorData) -> NamedTensor {
    NamedTensor { name: name.into(), shape: shape.to_vec(), data }
}

fn example() -> (Vec<NamedTensor>, BTreeMap<String, String>) {
    let tensors = vec![
        tensor("fc1.weight", &[2, 3], TensorData::F32(vec![1.0, -2.0, 3.5, f32::MIN_POSITIVE, 0.1, -0.0])),
        tensor("fc1.bias", &[2], TensorData::F64(vec![0.1, -1e300])),
        tensor("scale", &[], TensorData::F64(vec![f64::EPSILON])),
        tensor("none", &[0, 4], TensorData::F32(vec![])),
    ];
    let metadata = [("step", "100"), ("note", "a \"quoted\" é\n"), ("a", ""), ("b", "x")];
    (tensors, metadata.map(|(k, v)| (k.to_owned(), v.to_owned())).into())
}

/// The bytes of the example's file, without a file.
fn encoded() -> Vec<u8> {
    let (mut tensors, metadata) = example();
    tensors.sort_by_key(|t| matches!(t.data, TensorData::F32(_)));
    let order: Vec<&NamedTensor> = tensors.iter().collect();
    let mut out = Vec::new();
    encode(&mut out, &header(&order, &metadata).unwrap(), &order).unwrap();
    out
}

fn written() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    let (tensors, metadata) = example();
    write(&path, &tensors, &metadata).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn what_is_written_is_read_bit_for_bit() {
    let (tensors, metadata) = example();
    let back = parse("a", &written()).unwrap();
    assert_eq!(back.metadata, metadata);
    assert_eq!(back.tensors.len(), tensors.len());
    for t in &tensors {
        assert_eq!(back.get(&t.name), Some(t));
    }
    assert!(matches!(&back.get("fc1.weight").unwrap().data, TensorData::F32(v) if v[5].is_sign_negative()));
}

#[test]
fn same_content_gives_same_bytes() {
    assert_eq!(written(), written());
    assert_eq!(written(), encoded());
}

#[test]
fn the_safetensors_crate_reads_our_files() {
    let bytes = written();
    let theirs = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.len(), 4);
    let weight = theirs.tensor("fc1.weight").unwrap();
    assert_eq!((weight.dtype(), weight.shape()), (Dtype::F32, &[2, 3][..]));
    assert_eq!(weight.data()[..4], 1f32.to_le_bytes());
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["note"], example().1["note"]);
}

#[test]
fn we_read_the_files_of_the_safetensors_crate() {
    let one = [0x00, 0x3c, 0x00, 0xc0]; // f16: 1, -2
    let bf = [0x80, 0x3f, 0x40, 0xc0]; // bf16: 1, -3
    let double: Vec<u8> = [1.5f64, -0.25].iter().flat_map(|v| v.to_le_bytes()).collect();
    let views = [
        ("half", TensorView::new(Dtype::F16, vec![2], &one).unwrap()),
        ("brain", TensorView::new(Dtype::BF16, vec![2, 1], &bf).unwrap()),
        ("double", TensorView::new(Dtype::F64, vec![1, 2], &double).unwrap()),
    ];
    let bytes = safetensors::serialize(views, Some([("k".to_owned(), "v".to_owned())].into())).unwrap();
    let ours = parse("a", &bytes).unwrap();
    assert_eq!(ours.values("half", &[2]).unwrap(), [1.0, -2.0]);
    assert_eq!(ours.values("brain", &[2, 1]).unwrap(), [1.0, -3.0]);
    assert_eq!(ours.values("double", &[1, 2]).unwrap(), [1.5, -0.25]);
    assert_eq!(ours.metadata["k"], "v");
}

#[test]
fn other_dtypes_are_named() {
    let bytes = [7u8; 8];
    let views = [("ids", TensorView::new(Dtype::I64, vec![1], &bytes).unwrap())];
    let text = parse("a.st", &safetensors::serialize(views, None).unwrap()).unwrap_err().to_string();
    assert!(text.contains("a.st: tensor \"ids\" has dtype \"I64\"; convert"), "{text}");
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = written();
    for n in 0..bytes.len() {
        assert!(parse("a", &bytes[..n]).is_err(), "{n} of {} bytes", bytes.len());
    }
    assert!(parse("a", &[&bytes[..], &[0]].concat()).is_err(), "one byte more");
}

/// A file with this header and `n` zero bytes of data.
fn crafted(header: &str, n: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; n]].concat()
}

#[test]
fn hostile_headers_are_errors() {
    let huge = u64::MAX;
    for header in [
        "".to_owned(),
        "[]".to_owned(),
        "{\"a\":3}".to_owned(),
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}".to_owned(),
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}".to_owned(),
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}".to_owned(),
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}".to_owned(),
        "{\"a\":{\"dtype\":\"F64\",\"shape\":[0],\"data_offsets\":[0,7]}}".to_owned(),
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}".to_owned(),
        format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{huge},{huge}],\"data_offsets\":[0,8]}}}}"),
        format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{huge}],\"data_offsets\":[0,{huge}]}}}}"),
        "{\"__metadata__\":{\"k\":1},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}".to_owned(),
        // Two tensors on the same bytes.
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}".to_owned(),
        "[".repeat(100_000),
    ] {
        assert!(parse("a", &crafted(&header, 8)).is_err(), "{}", &header[..header.len().min(200)]);
    }
    assert!(parse("a", &u64::MAX.to_le_bytes()).is_err());
}

#[test]
fn sizes_whose_sum_overflows_are_an_error() {
    // Eight tensors of 2^61 bytes: their sum is 2^64, which wraps to 0.
    let entry = |i: u64| {
        let (start, end) = (i << 61, (i + 1).checked_shl(61).filter(|_| i < 7).unwrap_or(u64::MAX));
        format!("\"t{i}\":{{\"dtype\":\"F64\",\"shape\":[{}],\"data_offsets\":[{start},{end}]}}", 1u64 << 58)
    };
    let header = format!("{{{}}}", (0..8).map(entry).collect::<Vec<_>>().join(","));
    assert!(parse("a", &crafted(&header, 0)).is_err());
}

#[test]
fn contradictions_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let t = |name: &str, shape: &[usize]| tensor(name, shape, TensorData::F32(vec![1.0, 2.0]));
    for tensors in
        [vec![t("a", &[3])], vec![t("a", &[2]), t("a", &[1, 2])], vec![t("", &[2])], vec![t("__metadata__", &[2])]]
    {
        assert!(matches!(write(&path, &tensors, &BTreeMap::new()), Err(SnapshotError::Invalid { .. })));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn check_names_missing_unexpected_and_both_shapes() {
    let (tensors, metadata) = example();
    let shot = Snapshot { tensors, metadata };
    let all: [(&str, &[usize]); 4] = [("scale", &[]), ("none", &[0, 4]), ("fc1.bias", &[2]), ("fc1.weight", &[2, 3])];
    shot.check(all).unwrap();
    let text = shot.check([all[0], all[1], all[2], ("fc2.weight", &[2, 3])]).unwrap_err().to_string();
    assert!(text.contains("lacks \"fc2.weight\", and the network does not know \"fc1.weight\""), "{text}");
    let text = shot.check([all[0], all[1], all[2], ("fc1.weight", &[3, 2])]).unwrap_err().to_string();
    assert!(text.contains("\"fc1.weight\" has shape [2, 3], and the network needs [3, 2]"), "{text}");
    assert!(shot.values("fc1.bias", &[3]).unwrap_err().to_string().contains("shape [2]"));
    assert!(shot.values("fc9", &[3]).is_err());
    assert_eq!(shot.values("fc1.bias", &[2]).unwrap(), [0.1, -1e300]);
    // A single number with an axis, as PyTorch's `torch.ones(1)` is, is one without.
    let one = Snapshot { tensors: vec![tensor("s", &[1], TensorData::F64(vec![0.5]))], metadata: BTreeMap::new() };
    assert_eq!(one.values("s", &[]).unwrap(), [0.5]);
    assert!(shot.values("scale", &[1]).is_err());
}

#[test]
fn atomic_write_replaces_and_leaves_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    atomic_write(&path, b"one").unwrap();
    atomic_write(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_write_keeps_the_old_file_and_leaves_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    atomic_write(&path, b"old").unwrap();
    let failed = atomic_write_with(&path, |out| {
        out.write_all(&[0; 1 << 20])?;
        Err(io::Error::from(io::ErrorKind::StorageFull))
    });
    let text = failed.unwrap_err().to_string();
    assert!(text.starts_with("cannot write ") && text.contains("free some space"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn missing_directory_and_directory_as_file_have_hints() {
    let dir = tempfile::tempdir().unwrap();
    let text = atomic_write(&dir.path().join("no/a.txt"), b"x").unwrap_err().to_string();
    assert!(text.contains("create it first"), "{text}");
    assert!(atomic_write(dir.path(), b"x").is_err());
    let file = dir.path().join("file");
    atomic_write(&file, b"x").unwrap();
    assert!(atomic_write(&file.join("a"), b"x").is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn files_are_readable_for_others_as_the_umask_says() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (ours, plain) = (dir.path().join("a"), dir.path().join("b"));
    atomic_write(&ours, b"x").unwrap();
    fs::write(&plain, b"x").unwrap();
    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&plain));
}

#[test]
fn read_of_a_missing_file_or_directory_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(read(&dir.path().join("no")), Err(SnapshotError::Read { .. })));
    assert!(matches!(read(dir.path()), Err(SnapshotError::Read { .. })));
}

proptest! {
    #![proptest_config(config(256))]
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse("a", &bytes);
        let mut headed = (bytes.len() as u64 / 2).to_le_bytes().to_vec();
        headed.extend(bytes);
        let _ = parse("a", &headed);
    }

    #[test]
    fn flipped_bits_never_panic_nor_change_sizes(at in 0usize..4000, bit in 0u8..8) {
        let mut bytes = encoded();
        let n = bytes.len();
        bytes[at % n] ^= 1 << bit;
        if let Ok(shot) = parse("a", &bytes) {
            prop_assert!(shot.tensors.iter().map(|t| t.data.len()).sum::<usize>() <= n);
        }
    }

    #[test]
    fn any_doubles_come_back(values in prop::collection::vec(any::<u64>(), 0..50)) {
        let data = TensorData::F64(values.iter().map(|&b| f64::from_bits(b)).collect());
        let t = tensor("t", &[values.len()], data);
        let mut bytes = Vec::new();
        encode(&mut bytes, &header(&[&t], &BTreeMap::new()).unwrap(), &[&t]).unwrap();
        let back = parse("a", &bytes).unwrap();
        let bits: Vec<u64> = back.tensors[0].data.to_f64().iter().map(|v| v.to_bits()).collect();
        prop_assert_eq!(bits, values);
    }
}
