//! Where runs go, what they leave, and what they refuse.

use super::*;

fn config(sets: &[&str]) -> Config {
    let overrides: Vec<Override> = sets.iter().map(|s| Override::set(s).unwrap()).collect();
    Config::parse(None, &overrides, &["digits"]).unwrap()
}

fn create(sets: &[&str], base: &Path) -> Result<RunDir> {
    RunDir::create(&config(sets), None, &["eigenlens".into(), "run".into()], base)
}

#[test]
fn a_new_run_is_complete_from_the_start() {
    let base = tempfile::tempdir().unwrap();
    let run = create(&[], base.path()).unwrap();
    let name = run.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(name, format!("digits-{}", config(&[]).hash8()));
    let mut files: Vec<_> = std::fs::read_dir(run.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["config.toml", "manifest.json", "parts", "snapshots", "spectra"]);
    assert_eq!(run.config().unwrap(), config(&[]));
    let manifest = RunDir::open(run.path()).unwrap().manifest;
    assert_eq!((manifest.status, manifest.seeds.run), (Status::Running, 1));
    assert_eq!(manifest.argv, ["eigenlens", "run"]);
}

#[test]
fn the_same_command_twice_gives_two_directories() {
    let base = tempfile::tempdir().unwrap();
    let first = create(&[], base.path()).unwrap();
    let second = create(&[], base.path()).unwrap();
    assert_eq!(second.path().to_str().unwrap(), format!("{}-2", first.path().display()));
    let names = std::fs::read_dir(base.path().join("runs")).unwrap().count();
    assert_eq!(names, 2, "nothing temporary stays");
}

#[test]
fn an_empty_directory_may_be_used() {
    let base = tempfile::tempdir().unwrap();
    std::fs::create_dir(base.path().join("a")).unwrap();
    assert!(create(&["out=a"], base.path()).is_ok());
}

#[test]
fn existing_directories_are_refused_with_what_they_are() {
    let base = tempfile::tempdir().unwrap();
    std::fs::create_dir(base.path().join("full")).unwrap();
    std::fs::write(base.path().join("full/notes.txt"), "mine").unwrap();
    std::fs::write(base.path().join("file"), "mine").unwrap();
    let mut run = create(&["out=a"], base.path()).unwrap();
    let what = |sets: &[&str]| create(sets, base.path()).unwrap_err().what().to_owned();
    assert_eq!(what(&["out=full"]), "the directory exists and is not a run directory");
    assert_eq!(what(&["out=file"]), "it exists and is not a directory");
    assert_eq!(what(&["out=a"]), "the directory holds an unfinished run of this config");
    assert_eq!(what(&["out=a", "seed=2"]), "the directory holds a run of another config");
    run.finish(|_| Ok(())).unwrap();
    assert_eq!(what(&["out=a"]), "the directory holds a finished run of this config");
    assert_eq!(std::fs::read_to_string(base.path().join("full/notes.txt")).unwrap(), "mine");
}

#[test]
fn only_the_same_config_is_resumed() {
    let base = tempfile::tempdir().unwrap();
    create(&["out=a"], base.path()).unwrap();
    let error = RunDir::resume(&config(&["out=a", "train.lr=0.5"]), None, base.path()).unwrap_err();
    assert_eq!(error.what(), "the run there has another config (train.lr = 0.002 there, 0.5 here)");
    let run = RunDir::resume(&config(&["out=a", "threads=3"]), None, base.path()).unwrap();
    assert_eq!(run.manifest().resumed.len(), 1);
}

#[test]
fn only_the_same_data_are_resumed_with() {
    let base = tempfile::tempdir().unwrap();
    let config = config(&["out=a"]);
    RunDir::create(&config, Some("one"), &[], base.path()).unwrap();
    for other in [Some("two"), None] {
        let error = RunDir::resume(&config, other, base.path()).unwrap_err();
        assert_eq!(error.what(), "the data have changed since the run began");
    }
    assert!(RunDir::open(&base.path().join("a")).unwrap().manifest.resumed.is_empty(), "nothing was changed");
    assert!(RunDir::resume(&config, Some("one"), base.path()).is_ok());
}

#[test]
fn a_failed_run_is_resumed_and_a_finished_one_is_not() {
    let base = tempfile::tempdir().unwrap();
    let mut run = create(&["out=a"], base.path()).unwrap();
    run.fail("the loss is not finite", |_| Ok(())).unwrap();
    assert_eq!(RunDir::open(run.path()).unwrap().manifest.reason.as_deref(), Some("the loss is not finite"));
    let mut again = RunDir::resume(&config(&["out=a"]), None, base.path()).unwrap();
    assert_eq!((again.manifest.status, &again.manifest.reason), (Status::Running, &None));
    again.finish(|_| Ok(())).unwrap();
    assert!(again.manifest.ended.is_some() && again.manifest.seconds.is_some());
    let error = RunDir::resume(&config(&["out=a"]), None, base.path()).unwrap_err();
    assert_eq!(error.what(), "the run there is finished");
}

#[test]
fn without_a_directory_the_latest_unfinished_run_is_resumed() {
    let base = tempfile::tempdir().unwrap();
    assert!(RunDir::resume(&config(&[]), None, base.path()).is_err());
    let _first = create(&[], base.path()).unwrap();
    let second = create(&[], base.path()).unwrap().path().to_owned();
    let mut third = create(&[], base.path()).unwrap();
    third.finish(|_| Ok(())).unwrap();
    assert_eq!(RunDir::resume(&config(&[]), None, base.path()).unwrap().path(), second);
}

#[test]
fn a_run_that_is_at_work_is_not_resumed() {
    let base = tempfile::tempdir().unwrap();
    let mut run = create(&["out=a"], base.path()).unwrap();
    let error = RunDir::resume(&config(&["out=a"]), None, base.path()).unwrap_err();
    assert_eq!(error.what(), "another program is at work in the directory");
    assert!(RunDir::open(run.path()).unwrap().manifest.resumed.is_empty(), "nothing was changed");
    run.fail("interrupted", |_| Ok(())).unwrap();
    assert!(RunDir::resume(&config(&["out=a"]), None, base.path()).is_ok());
}

#[test]
fn a_resumption_sweeps_up_what_was_half_written() {
    let base = tempfile::tempdir().unwrap();
    let path = create(&["out=a"], base.path()).unwrap().path().to_owned();
    for file in [".eigenlens-x1.part", "spectra/.eigenlens-x2.part", "snapshots/.eigenlens-x3.tmp", "spectra/mine.txt"]
    {
        std::fs::write(path.join(file), "half").unwrap();
    }
    RunDir::resume(&config(&["out=a"]), None, base.path()).unwrap();
    let left = |folder: &str| std::fs::read_dir(path.join(folder)).unwrap().count();
    assert_eq!((left("."), left("spectra"), left("snapshots")), (5, 1, 0));
}

#[test]
fn a_finished_run_keeps_nothing_for_a_resumption() {
    let base = tempfile::tempdir().unwrap();
    let mut run = create(&["out=a"], base.path()).unwrap();
    assert!(run.file("parts").is_dir());
    run.finish(|_| Ok(())).unwrap();
    assert!(!run.file("parts").exists());
}

#[test]
fn what_is_no_run_directory_is_not_opened() {
    let base = tempfile::tempdir().unwrap();
    assert_eq!(RunDir::open(&base.path().join("none")).unwrap_err().what(), "there is no such directory");
    let what = RunDir::open(base.path()).unwrap_err().what().to_owned();
    assert_eq!(what, "it is not a run directory: manifest.json or config.toml is missing");
    std::fs::write(base.path().join("config.toml"), "").unwrap();
    std::fs::write(base.path().join("manifest.json"), "{}").unwrap();
    let what = RunDir::open(base.path()).unwrap_err().what().to_owned();
    assert!(what.starts_with("it is not a run directory: manifest.json can't be read"), "{what}");
}

#[test]
fn a_failed_creation_leaves_nothing() {
    let base = tempfile::tempdir().unwrap();
    std::fs::write(base.path().join("runs"), "a file in the way").unwrap();
    assert!(create(&[], base.path()).is_err());
    assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 1);
}

#[test]
fn file_names_are_plain_and_sort_by_snapshot() {
    assert_eq!(RunDir::snapshot_file(3, 12), "snapshots/003-epoch-00012.safetensors");
    assert_eq!(RunDir::spectrum_file(0, "conv 1/λ"), "spectra/000-conv-1--.npz");
}
