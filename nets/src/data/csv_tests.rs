//! Tests of the text tables.

use super::super::input::tests::{gz, temp};
use super::super::{Source, Targets, Task, builtin, load};
use super::*;
use proptest::prelude::*;

use crate::testing::config;

/// Reads a table in memory.
fn read_as(text: impl AsRef<[u8]>, target: TargetSpec) -> Result<Dataset, DataError> {
    read("my", Input::memory("my.data.csv", text.as_ref().to_vec())?, None, &target, None)
}

fn read_text(text: &str) -> Result<Dataset, DataError> {
    read_as(text, TargetSpec::default())
}

fn message(text: impl AsRef<[u8]>) -> String {
    read_as(text, TargetSpec::default()).expect_err("must be refused").to_string()
}

fn task(task: Task) -> TargetSpec {
    TargetSpec { task: Some(task), ..TargetSpec::default() }
}

#[test]
fn a_plain_table_is_read() {
    let set = read_text("a,b,kind\n1,2.5,x\n-3,4e-1,y\n5,6,x\n").unwrap();
    assert_eq!((set.name.as_str(), set.rows, set.features), ("my", 3, 2));
    assert_eq!(set.x, [1.0, 2.5, -3.0, 0.4, 5.0, 6.0]);
    assert_eq!(set.feature_names, ["a", "b"]);
    assert_eq!(set.targets, Targets::Classes { labels: vec![0, 1, 0], names: vec!["x".into(), "y".into()] });
}

#[test]
fn windows_line_ends_bom_blank_lines_blanks_and_no_last_line_end() {
    let set = read_text("\u{feff}a, target\r\n\r\n 1 , 0.5\r\n2,1.5\r\n \r\n3,2.25").unwrap();
    assert_eq!(set.feature_names, ["a"]);
    assert_eq!(set.targets.values(), Some(&[0.5, 1.5, 2.25][..]));
}

#[test]
fn tabs_and_semicolons_are_found_from_the_header() {
    for s in ["\t", ";"] {
        let set = read_text(&"a|b, with comma|target\n1|2|0.5\n3|4|1.5\n".replace('|', s)).unwrap();
        assert_eq!(set.feature_names, ["a", "b, with comma"]);
        assert_eq!(set.x, [1.0, 2.0, 3.0, 4.0]);
    }
}

#[test]
fn quotes_protect_separators_and_quotes() {
    let set = read_text("\"a,1\",\"say \"\"b\"\"\",t\n\"1\", \"2\" ,\"x,y\"\n3,4,z\n").unwrap();
    assert_eq!(set.feature_names, ["a,1", "say \"b\""]);
    let Targets::Classes { names, .. } = set.targets else { panic!() };
    assert_eq!(names, ["x,y", "z"]);
}

#[test]
fn gzip_is_unpacked_whatever_the_name() {
    let (_dir, path) = temp("packed.data.csv", &gz(b"a,t\n1,0.5\n2,0.7\n"));
    let set = load(&Source::Csv { path, test: None, target: TargetSpec::default() }).unwrap();
    assert_eq!((set.rows, set.name.as_str()), (2, "packed"));
}

#[test]
fn target_by_name_else_target_else_last() {
    let text = "a,target,b\n1,0.5,7\n2,1.5,8\n";
    let set = read_text(text).unwrap();
    assert_eq!((set.feature_names, set.targets.values().unwrap()), (vec!["a".into(), "b".into()], &[0.5, 1.5][..]));
    let spec = TargetSpec { column: Some("a".into()), task: Some(Task::Regression), classes: None };
    assert_eq!(read_as(text, spec).unwrap().targets.values(), Some(&[1.0, 2.0][..]));
    assert_eq!(read_text("a,b\n1,0.5\n2,1.5\n").unwrap().feature_names, ["a"]);
    let spec = TargetSpec { column: Some("tarjet".into()), ..TargetSpec::default() };
    let text = read_as(text, spec).unwrap_err().to_string();
    assert!(text.contains("no target column \"tarjet\"; did you mean \"target\"?"), "{text}");
}

#[test]
fn task_is_inferred_by_the_documented_rule() {
    let column = |values: &[&str]| {
        let rows: String = values.iter().map(|v| format!("1,{v}\n")).collect();
        read_text(&format!("a,t\n{rows}")).map(|s| s.task())
    };
    assert_eq!(column(&["0", "1", "0", "1"]).unwrap(), Task::Classification);
    assert_eq!(column(&["-1", "1", "1", "-1"]).unwrap(), Task::Classification);
    assert_eq!(column(&["red", "blue", "red"]).unwrap(), Task::Classification);
    assert_eq!(column(&["0.5", "1", "0.5", "1"]).unwrap(), Task::Regression);
    assert_eq!(column(&["1", "2", "3", "4"]).unwrap(), Task::Regression, "whole numbers that never repeat");
    let many: Vec<String> = (0..63).map(|i| (i % 21).to_string()).collect();
    assert_eq!(column(&many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap(), Task::Regression, "21 values");
    let text = column(&["1.5", "2.5", "3.5", "NA"]).unwrap_err().to_string();
    assert!(
        text.contains("line 5, column \"t\"") && text.contains("\"NA\""),
        "one bad number makes no classes: {text}"
    );
}

#[test]
fn number_classes_are_sorted_by_value_and_names_as_text() {
    let classes = |text| match read_as(text, task(Task::Classification)).unwrap().targets {
        Targets::Classes { labels, names } => (labels, names),
        _ => panic!("classes were asked for"),
    };
    let (labels, names) = classes("a,t\n1,10\n1,9\n1,-2\n1,10.0\n");
    assert_eq!((labels, names), (vec![2, 1, 0, 2], ["-2", "9", "10"].map(String::from).to_vec()));
    let (labels, names) = classes("a,t\n1,b10\n1,b9\n1,B\n");
    assert_eq!((labels, names), (vec![1, 2, 0], ["B", "b10", "b9"].map(String::from).to_vec()));
}

#[test]
fn stated_classes_are_not_renumbered_and_their_range_is_checked() {
    let spec = TargetSpec { classes: Some(4), ..TargetSpec::default() };
    let set = read_as("a,t\n1,0\n2,2\n", spec.clone()).unwrap();
    assert_eq!((set.outputs(), set.class_counts()), (4, vec![1, 0, 1, 0]));
    for (bad, said) in [("4", "label 4 is outside 0..=3"), ("-1", "label -1 is outside"), ("x", "not a whole number")] {
        let text = read_as(format!("a,t\n1,0\n2,{bad}\n"), spec.clone()).unwrap_err().to_string();
        assert!(text.contains("line 3, column \"t\"") && text.contains(said), "{text}");
    }
    let text = read_as("a,t\n1,0.5\n2,1\n", task(Task::Classification)).unwrap_err().to_string();
    assert!(text.contains("0.5 is not a whole number; set the task to regression"), "{text}");
}

#[test]
fn ragged_lines_name_line_and_both_counts() {
    let text = message("a,b,t\n1,2,0\n\n3,4\n");
    assert!(text.starts_with("my.data.csv, line 4: 2 fields, and the header has 3;"), "{text}");
    assert!(message("a,b,t\n1,2,0\n3,4,1,\n").contains("line 3: 4 fields"));
}

#[test]
fn bad_numbers_name_line_column_and_remedy() {
    let text = message("a,b,t\n1,2,0\n3,green,1\n");
    assert!(text.starts_with("my.data.csv, line 3, column \"b\": \"green\" is not a number;"), "{text}");
    for missing in ["", "NA", "?", "null"] {
        let text = message(format!("a,b,t\n1,{missing},0\n"));
        assert!(text.contains("line 2, column \"b\": the value is missing"), "{missing}: {text}");
    }
    for bad in ["nan", "inf", "-Infinity", "1e999"] {
        let text = message(format!("a,b,t\n1,{bad},0\n"));
        assert!(text.contains("is not a finite number; remove or fill in"), "{bad}: {text}");
    }
    assert!(message("a,t\n1,0\n2,\n").contains("line 3, column \"t\": the target is missing"));
    let text = read_as("a,t\n1,0\n2,x\n", task(Task::Regression)).unwrap_err().to_string();
    assert!(text.contains("line 3, column \"t\": target \"x\" is not a finite number"), "{text}");
}

#[test]
fn headers_that_cannot_be_used_are_refused() {
    assert!(message("").contains("the file is empty"));
    assert!(message("\n \n").contains("the file is empty"));
    assert!(message("a,b\n").contains("no rows after the header"));
    assert!(message("a\n1\n").contains("only one column"));
    assert!(message("a b c\n1 2 3\n").contains("separated by comma, tab or semicolon"));
    assert!(message("1,2,3\n4,5,6\n").contains("line 1: the header has only numbers"));
    assert!(message(",a,t\n0,1,2\n").contains("column 1 has no name"));
    assert!(message("a,b,a\n0,1,2\n").contains("columns 1 and 3 have the same name \"a\""));
}

#[test]
fn damaged_text_is_refused() {
    assert!(message("a,t\n1,\"x\n2,y\n").contains("line 2: a quoted field does not end on its line"));
    assert!(message("a,t\n1,\"x\"y\n").contains("line 2: there is text after the end of a quoted field"));
    assert!(message(b"a,t\n1,\xff\xfe\n").contains("line 2: it is not UTF-8 text"));
    let utf16: Vec<u8> = "a,t\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(message(utf16).contains("UTF-8"));
}

#[test]
fn an_archive_without_line_ends_stops_at_the_longest_line() {
    let text = message(gz(&vec![b'1'; MAX_LINE + 10]));
    assert!(text.contains("line 1: the line is longer than 16 MiB"), "{text}");
}

#[test]
fn one_class_and_a_single_row_say_what_is_missing() {
    let text = read_text("a,t\n1,x\n2,x\n").unwrap_err().to_string();
    assert!(text.contains("1 class(es)"), "{text}");
}

#[test]
fn a_test_table_is_the_fixed_test_part() {
    let (_d1, train) = temp("train.csv", b"a,t\n1,x\n2,y\n");
    let (_d2, test) = temp("test.csv", b"a,t\n3,z\n");
    let both = Source::Csv { path: train.clone(), test: Some(test), target: TargetSpec::default() };
    let set = load(&both).unwrap();
    assert_eq!((set.rows, set.test_start, set.outputs()), (3, Some(2), 3));
    assert_eq!(set.row(2), [3.0]);
    for (bad, said) in [("b,t\n3,z\n", "column \"b\" stands where"), ("a,c,t\n3,4,z\n", "it has 2 features")] {
        let (_d, test) = temp("test.csv", bad.as_bytes());
        let source = Source::Csv { path: train.clone(), test: Some(test), target: TargetSpec::default() };
        let text = load(&source).unwrap_err().to_string();
        assert!(text.contains("test.csv") && text.contains(said) && text.contains("same header"), "{text}");
    }
    let (_d, test) = temp("test.csv", b"a,t\n3,z\n4,\n");
    let source = Source::Csv { path: train, test: Some(test), target: TargetSpec::default() };
    let text = load(&source).unwrap_err().to_string();
    assert!(text.contains("test.csv, line 3, column \"t\""), "rows of the test file keep their file and line: {text}");
}

#[test]
fn what_is_exported_is_read_back_bit_for_bit() {
    for name in ["iris", "penguins", "concrete", "abalone"] {
        let set = builtin::load(name, &Default::default()).unwrap();
        let mut text = Vec::new();
        set.write_csv(&mut text).unwrap();
        let back = read_as(&text, task(set.task())).unwrap();
        assert_eq!(back.x, set.x, "{name}");
        assert_eq!(back.feature_names, set.feature_names);
        if set.task() == Task::Regression {
            assert_eq!(back.targets.values(), set.targets.values());
        } else {
            assert_eq!(back.targets, set.targets, "{name}: its class names happen to be sorted");
        }
    }
}

proptest! {
    #![proptest_config(config(300))]
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_as(&bytes, TargetSpec::default());
        let _ = read_as([b"a,b\n".as_slice(), &bytes].concat(), TargetSpec::default());
    }

    #[test]
    fn table_like_text_never_panics(text in "[a,;\t\"\n0-9.e+-]{0,120}", k in prop::option::of(0usize..5)) {
        let _ = read_as(text, TargetSpec { classes: k, ..TargetSpec::default() });
    }

    #[test]
    fn damaged_gzip_never_panics(at in 0usize..1000, bit in 0u8..8, cut in 0usize..1000) {
        let mut packed = gz(b"a,b,t\n1,2,0.5\n3,4,1.5\n5,6,2.5\n");
        let n = packed.len();
        packed[at % n] ^= 1 << bit;
        let _ = read_as(&packed, TargetSpec::default());
        packed.truncate(cut % n);
        let _ = read_as(&packed, TargetSpec::default());
    }

    #[test]
    fn any_finite_number_is_read_exactly(v in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO) {
        let set = read_as(format!("a,t\n{v},0.5\n{v:e},1\n"), TargetSpec::default()).unwrap();
        prop_assert_eq!(set.x, [v, v]);
    }
}
