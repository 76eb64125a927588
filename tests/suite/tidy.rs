//! Style and architecture, checked: what is written in ARCHITECTURE.md as an invariant of absence.

use std::fs;
use std::path::{Path, PathBuf};

use eigenlens_autodiff::ops::cases;

const MEMBERS: [&str; 7] = ["linalg", "autodiff", "nets", "hessian", "cli", "tests", "benches"];
const LIBRARIES: [&str; 4] = ["linalg", "autodiff", "nets", "hessian"];

/// Lines of a file at most; half of that is the aim.
const LINES: usize = 800;

struct File {
    /// Relative to the root of the workspace, with `/`.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn walk(directory: &Path, extensions: &[&str], found: &mut Vec<File>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if name != "target" && name != "runs" && !name.starts_with('.') {
                walk(&path, extensions, found);
            }
        } else if extensions.iter().any(|e| path.extension().is_some_and(|x| x == *e)) {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            found.push(File { path, text });
        }
    }
}

/// All files of the members with one of these extensions.
fn files(members: &[&str], extensions: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    members.iter().for_each(|m| walk(&root().join(m), extensions, &mut found));
    assert!(!found.is_empty());
    found
}

/// Whether the file holds tests only.
fn is_test(path: &str) -> bool {
    path.split('/').any(|part| {
        let stem = part.trim_end_matches(".rs");
        ["tests", "testing", "examples", "benches"].contains(&stem) || stem.ends_with("_tests")
    })
}

/// The code of a file: without comments, strings' contents left as they are, and without tests at its end.
fn code(file: &File) -> Vec<(usize, &str)> {
    let lines = file.text.lines().enumerate().map(|(i, l)| (i + 1, l));
    lines
        .take_while(|(_, l)| !l.starts_with("mod tests {"))
        .filter(|(_, l)| !l.trim_start().starts_with("//"))
        .map(|(i, l)| (i, l.split(" // ").next().unwrap()))
        .collect()
}

#[track_caller]
fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Where one of these words stands in the code of the libraries outside of tests.
fn occurrences(members: &[&str], words: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files(members, &["rs"]).iter().filter(|f| !is_test(&f.path)) {
        for (line, text) in code(file) {
            for word in words.iter().filter(|w| text.contains(**w)) {
                problems.push(format!("{}:{line}: {word}", file.path));
            }
        }
    }
    problems
}

#[test]
fn every_source_file_begins_with_what_it_is() {
    let bad = |f: &File| !f.text.starts_with("//! ");
    none(files(&MEMBERS, &["rs"]).iter().filter(|f| bad(f)).map(|f| f.path.clone()).collect());
}

#[test]
fn no_source_file_is_too_long() {
    let long = |f: &File| {
        let lines = f.text.lines().count();
        (lines > LINES).then(|| format!("{}: {lines} lines, at most {LINES}", f.path))
    };
    none(files(&MEMBERS, &["rs"]).iter().filter_map(long).collect());
}

#[test]
fn every_op_has_a_row_in_the_table_of_cases() {
    let names: Vec<&str> = cases::<f64>().iter().map(|c| (c.op)().name()).collect();
    let mut stems = Vec::new();
    for file in files(&["autodiff/src/ops"], &["rs"]) {
        let stem = file.path.rsplit('/').next().unwrap().trim_end_matches(".rs").replace('_', "-");
        if stem != "mod" {
            stems.push(stem);
        }
    }
    assert!(stems.len() >= 20, "only {} op files", stems.len());
    none(stems.into_iter().filter(|s| !names.contains(&s.as_str())).collect());
}

#[test]
fn every_op_file_states_its_formula() {
    // In the head of the file: an equation, or a map.
    let head = |f: &File| f.text.lines().take_while(|l| l.starts_with("//!")).collect::<Vec<_>>().join("\n");
    let bad = |f: &File| !f.path.ends_with("/mod.rs") && !head(f).contains(['=', '↦']);
    none(files(&["autodiff/src/ops"], &["rs"]).iter().filter(|f| bad(f)).map(|f| f.path.clone()).collect());
}

/// The lines of one section of a Cargo.toml.
fn section<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let header = format!("[{name}]");
    text.lines()
        .skip_while(|l| l.trim() != header)
        .skip(1)
        .take_while(|l| !l.starts_with('['))
        .filter(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#'))
        .collect()
}

fn manifest(member: &str) -> String {
    fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap()
}

#[test]
fn crates_depend_in_one_direction() {
    // linalg ← autodiff ← nets ← hessian ← cli; tests and benches → all.
    for (at, member) in LIBRARIES.iter().chain(&["cli"]).enumerate() {
        let text = manifest(member);
        let lower = LIBRARIES[..at.min(LIBRARIES.len())].to_vec();
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for line in section(&text, kind) {
                if let Some(name) = line.strip_prefix("eigenlens-") {
                    let name = name.split(['.', ' ', '=']).next().unwrap();
                    assert!(lower.contains(&name), "{member} must not depend on {name} ({kind})");
                }
            }
        }
    }
    for member in LIBRARIES.iter().chain(&["cli"]) {
        let text = manifest(member);
        assert!(!text.contains("eigenlens-tests") && !text.contains("eigenlens-benches"), "{member}");
    }
}

#[test]
fn the_workspace_has_its_members_one_binary_and_no_default() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = section(&text, "workspace").into_iter().find(|l| l.starts_with("members")).unwrap().to_owned();
    for member in MEMBERS {
        assert!(members.contains(&format!("\"{member}\"")), "{member} is no member");
    }
    assert!(!text.contains("default-members"));
    let binaries: Vec<&str> = MEMBERS
        .into_iter()
        .filter(|m| {
            let source = root().join(m).join("src");
            source.join("main.rs").exists() || source.join("bin").exists() || manifest(m).contains("[[bin]]")
        })
        .collect();
    assert_eq!(binaries, ["cli"]);
}

#[test]
fn libraries_have_no_feature_flags_and_share_the_versions_of_the_workspace() {
    for member in LIBRARIES {
        assert!(section(&manifest(member), "features").is_empty(), "{member} has features");
    }
    for member in MEMBERS {
        let text = manifest(member);
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for line in section(&text, kind) {
                assert!(line.contains("workspace = true"), "{member}: `{line}` has a version of its own");
            }
        }
        assert!(section(&text, "lints").contains(&"workspace = true"), "{member} has lints of its own");
    }
}

#[test]
fn libraries_never_print() {
    none(occurrences(&LIBRARIES, &["println!", "eprintln!", "print!(", "dbg!", "io::stdout", "io::stderr"]));
}

#[test]
fn libraries_never_read_the_environment_or_the_clock() {
    none(occurrences(&LIBRARIES, &["std::env", "env::var", "Instant::now", "SystemTime", "std::time"]));
}

#[test]
fn libraries_have_no_global_random_state() {
    none(occurrences(
        &LIBRARIES,
        &["thread_rng", "rand::rng()", "rand::random", "from_entropy", "from_os_rng", "OsRng"],
    ));
}

#[test]
fn libraries_never_give_up_the_process_or_leave_work_undone() {
    none(
        occurrences(&MEMBERS[..5], &["process::exit", "process::abort", "todo!(", "unimplemented!("])
            .into_iter()
            .filter(|p| !p.starts_with("cli/src/main.rs"))
            .collect(),
    );
}

#[test]
fn only_the_operator_files_know_what_a_network_is() {
    let allowed = [
        "operator.rs",
        "curvature.rs",
        "fisher.rs",
        "fisher/",
        "local.rs",
        "local/",
        "operator/",
        "kronecker.rs",
        "kronecker/",
        "gram.rs",
        "gram/",
        "coupling.rs",
        "coupling/",
        "geometry.rs",
        "geometry/",
        "layerwise.rs",
        "approximations.rs",
        "activation_bend.rs",
        "weights_spectrum.rs",
        "class_structure.rs",
        "sharpness.rs",
        "per_sample.rs",
        "monitor.rs",
        "noise.rs",
        "wanted.rs",
        "verify.rs",
        "verify/",
        "lib.rs",
    ];
    let knows = |f: &File| {
        let own = f.path.trim_start_matches("hessian/src/");
        !is_test(&f.path)
            && !allowed.iter().any(|a| own.starts_with(a))
            && code(f).iter().any(|(_, l)| l.contains("eigenlens_nets"))
    };
    none(files(&["hessian/src"], &["rs"]).iter().filter(|f| knows(f)).map(|f| f.path.clone()).collect());
}

#[test]
fn serialised_types_are_the_programs_alone() {
    none(occurrences(&LIBRARIES, &["derive(Serialize", "derive(Deserialize", "serde::Serialize"]));
}

#[test]
fn unsafe_code_is_in_linalg_only_and_argued_for() {
    // The counting allocator of these tests is the one exception: an allocator can't be written without.
    let mut problems = Vec::new();
    for file in files(&MEMBERS, &["rs"]) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let own = line.split("//").next().unwrap();
            let uses = ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"].iter().any(|u| own.contains(u));
            if !uses || own.contains('"') {
                continue;
            }
            let allowed = file.path.starts_with("linalg/") || file.path == "tests/suite/allocation.rs";
            let argued =
                lines[at.saturating_sub(12)..=at].iter().any(|l| l.contains("SAFETY") || l.contains("# Safety"));
            if !allowed || !argued {
                problems.push(format!("{}:{}: {}", file.path, at + 1, line.trim()));
            }
        }
    }
    none(problems);
}

#[test]
fn no_macro_writes_functions() {
    none(occurrences(&["autodiff", "nets", "hessian", "cli"], &["macro_rules!"]));
}

#[test]
fn no_file_names_the_paths_of_a_machine() {
    // Put together here, so that this file doesn't name them either.
    let paths = ["work", "root", "home"].map(|d| format!("/{d}/"));
    let mut all = files(&MEMBERS, &["rs", "toml", "md", "sh", "json"]);
    let mut top: Vec<PathBuf> = fs::read_dir(root()).unwrap().map(|e| e.unwrap().path()).collect();
    top.retain(|p| p.is_file() && p.extension().is_some_and(|x| x == "toml" || x == "md"));
    for path in top {
        let text = fs::read_to_string(&path).unwrap();
        all.push(File { path: path.file_name().unwrap().to_str().unwrap().to_owned(), text });
    }
    let mut problems = Vec::new();
    for file in &all {
        for (at, line) in file.text.lines().enumerate() {
            if paths.iter().any(|p| line.contains(p.as_str())) {
                problems.push(format!("{}:{}: {}", file.path, at + 1, line.trim()));
            }
        }
    }
    none(problems);
}

#[test]
fn ignored_tests_say_why() {
    let ignored = |f: &File| f.text.lines().any(|l| l.trim_start().starts_with("#[ignore]"));
    none(files(&MEMBERS, &["rs"]).iter().filter(|f| ignored(f)).map(|f| f.path.clone()).collect());
}
