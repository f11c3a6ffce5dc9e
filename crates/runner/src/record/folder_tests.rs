use super::super::config_diff::config_hash;
use super::*;

fn identity() -> RunIdentity {
    RunIdentity { experiment: "shapes10-w4a8".into(), method: "zeroq".into(), seed: 1, device: "flex".into() }
}

fn open(path: &Path, bits: i64, fresh: bool) -> Result<Opened, RecordError> {
    open_with(path, bits, fresh, false)
}

fn open_with(path: &Path, bits: i64, fresh: bool, remeasure: bool) -> Result<Opened, RecordError> {
    let config = toml::Table::from_iter([("weight_bits".to_owned(), toml::Value::Integer(bits))]);
    open_of(path, config, fresh, remeasure)
}

fn open_of(path: &Path, config: toml::Table, fresh: bool, remeasure: bool) -> Result<Opened, RecordError> {
    let request = OpenRequest {
        identity: &identity(),
        config: &config,
        config_hash: &config_hash(&config),
        overrides: "exp shapes10-w4a8 --seed 1",
        work_tree: Path::new("/"),
        fresh,
        remeasure,
    };
    RunFolder::open(path, request)
}

/// A new run, for the tests of other modules.
pub(in super::super) fn open_new(path: &Path) -> RunFolder {
    match open(path, 4, false).unwrap() {
        Opened::New(run) => run,
        other => panic!("{other:?}"),
    }
}

fn status(path: &Path) -> Status {
    RunFolder::read_info(path).unwrap().status
}

fn root() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let path = RunFolder::path_of(root.path(), "shapes10-w4a8", "zeroq", 1);
    (root, path)
}

#[test]
fn a_new_folder_has_its_files_and_nothing_is_left_of_its_making() {
    let (root, path) = root();
    assert!(path.ends_with("shapes10-w4a8/zeroq/seed-1"));
    let run = open_new(&path);
    assert_eq!(status(&path), Status::Running);
    for name in ["run.json", "config.toml", "overrides.txt", "checkpoints", "samples"] {
        assert!(path.join(name).exists(), "{name}");
    }
    assert_eq!(fs::read_to_string(path.join("config.toml")).unwrap(), "weight_bits = 4\n");
    let siblings = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(siblings, 1, "the stage was renamed");
    drop((run, root));
}

#[test]
fn an_unfinished_run_is_taken_up_whatever_ended_it() {
    let (_root, path) = root();
    drop(open_new(&path));
    for (life, expected) in [Status::Running, Status::Interrupted, Status::Failed].into_iter().enumerate() {
        assert_eq!(status(&path), expected);
        fs::write(path.join("checkpoints/.last.bin.part-999999999"), "half").unwrap();
        let Opened::Resume(run) = open(&path, 4, false).unwrap() else { panic!("life {life}") };
        assert_eq!((run.info().resumed, status(&path)), (life as u32 + 1, Status::Running));
        assert_eq!(fs::read_dir(run.path().join("checkpoints")).unwrap().count(), 0);
        match life {
            0 => run.interrupt().unwrap(),
            1 => run.fail("loss/kl is not finite").unwrap(),
            _ => path.clone(),
        };
        if life == 1 {
            let info = RunFolder::read_info(&path).unwrap();
            assert_eq!(info.error.as_deref(), Some("loss/kl is not finite"));
            assert!(info.ended.is_some());
        }
    }
}

#[test]
fn a_finished_run_is_never_overwritten_but_moved_aside_on_request() {
    let (_root, path) = root();
    let summary = Summary { method: "zeroq".into(), ..Summary::default() };
    open_new(&path).complete(&summary).unwrap();
    let before = fs::read(path.join("run.json")).unwrap();
    assert!(matches!(open(&path, 4, false).unwrap(), Opened::Finished(found) if found == path));
    assert!(matches!(open(&path, 3, false), Err(RecordError::Differs { .. })));
    assert_eq!(fs::read(path.join("run.json")).unwrap(), before);
    assert_eq!(RunFolder::read_summary(&path).unwrap(), summary);

    for n in 1..=2 {
        let Opened::New(run) = open(&path, 3, true).unwrap() else { panic!() };
        assert!(path.with_file_name(format!("seed-1.old-{n}")).join("run.json").exists());
        assert_eq!((run.info().resumed, status(&path)), (0, Status::Running));
    }
    assert_eq!(fs::read(path.with_file_name("seed-1.old-1").join("run.json")).unwrap(), before);
}

#[test]
fn another_configuration_is_an_error_that_names_the_keys() {
    let (_root, path) = root();
    drop(open_new(&path));
    let error = open(&path, 3, false).unwrap_err();
    assert!(error.is_usage());
    let text = error.to_string();
    assert!(text.contains("\n  weight_bits: was 4, now 3\n"), "{text}");
    assert_eq!(status(&path), Status::Running);
}

#[test]
fn a_run_told_of_in_other_words_is_the_same_run() {
    let (_root, path) = root();
    let told =
        |summary: &str| -> toml::Table { format!("[method]\nname = 'm'\nsummary = '{summary}'").parse().unwrap() };
    let Opened::New(run) = open_of(&path, told("a"), false, false).unwrap() else { panic!() };
    run.write("checkpoints/last.bin", b"state").unwrap();
    drop(run);
    let Opened::Resume(run) = open_of(&path, told("b"), false, false).unwrap() else { panic!() };
    assert_eq!((run.info().resumed, &run.info().config_sha256), (1, &config_hash(&told("b"))));
    assert!(fs::read_to_string(path.join("config.toml")).unwrap().contains("\"b\""));
    let summary = Summary::default();
    run.complete(&summary).unwrap();
    assert!(matches!(open_of(&path, told("c"), false, false).unwrap(), Opened::Finished(_)));
    let info = RunFolder::read_info(&path).unwrap();
    assert_eq!((info.status, &info.config_sha256), (Status::Completed, &config_hash(&told("c"))));
    let is_of = |told: &toml::Table| RunFolder::is_of(&path, &info, told, &config_hash(told)).unwrap();
    assert!(is_of(&told("c")) && is_of(&told("d")));
    assert!(!is_of(&"[method]\nname = 'n'\nsummary = 'c'".parse().unwrap()));
}

#[test]
fn a_run_that_failed_before_its_first_checkpoint_makes_room_for_another_configuration() {
    let (_root, path) = root();
    open_new(&path).fail("the network has no batch norm").unwrap();
    fs::write(path.join("checkpoints/.last.bin.part-999999999"), "half").unwrap();
    let Opened::New(run) = open(&path, 3, false).unwrap() else { panic!() };
    assert_eq!((run.info().resumed, status(&path)), (0, Status::Running));
    let aside = path.with_file_name("seed-1.old-1");
    assert_eq!(status(&aside), Status::Failed);

    run.write("checkpoints/last.bin", b"state").unwrap();
    run.fail("loss/kl is not finite").unwrap();
    assert!(matches!(open(&path, 4, false), Err(RecordError::Differs { .. })), "hours of work are not put away");
    assert!(matches!(open(&path, 3, false).unwrap(), Opened::Resume(_)));
    assert!(!path.with_file_name("seed-1.old-2").exists());
}

#[test]
fn a_finished_run_without_accuracy_is_made_again_when_it_can_be_measured() {
    let (_root, path) = root();
    let blind = Summary::default().without_accuracy("no test set");
    open_new(&path).complete(&blind).unwrap();
    assert!(matches!(open_with(&path, 4, false, false).unwrap(), Opened::Finished(_)));
    assert!(matches!(open_with(&path, 3, false, true), Err(RecordError::Differs { .. })));
    let Opened::New(run) = open_with(&path, 4, false, true).unwrap() else { panic!() };
    assert_eq!(RunFolder::read_summary(&path.with_file_name("seed-1.old-1")).unwrap(), blind);

    let measured = Summary::default().with_accuracy([92.0, 99.0], [90.0, 98.0]);
    run.complete(&measured).unwrap();
    assert!(matches!(open_with(&path, 4, false, true).unwrap(), Opened::Finished(_)));
    assert_eq!(RunFolder::read_summary(&path).unwrap(), measured);
}

#[test]
fn a_folder_has_one_writer() {
    let (_root, path) = root();
    let first = open_new(&path);
    for fresh in [false, true] {
        assert!(matches!(open(&path, 4, fresh), Err(RecordError::Locked { .. })), "fresh: {fresh}");
    }
    drop(first);
    assert!(matches!(open(&path, 4, false).unwrap(), Opened::Resume(_)));
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let (_root, path) = root();
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("thesis.tex"), "").unwrap();
    assert!(matches!(open(&path, 4, true), Err(RecordError::NotARunFolder { .. })));
    fs::remove_file(path.join("thesis.tex")).unwrap();
    assert!(matches!(open(&path, 4, false).unwrap(), Opened::New(_)), "an empty folder is as good as none");
}

#[test]
fn a_damaged_run_file_is_an_error_with_its_path() {
    let (_root, path) = root();
    drop(open_new(&path));
    fs::write(path.join("run.json"), "{").unwrap();
    let text = open(&path, 4, false).unwrap_err().to_string();
    assert!(text.contains("seed-1/run.json"), "{text}");
}
