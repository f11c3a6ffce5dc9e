//! A study is the same study however many processes work on it, and however they end.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use blindfold::record::{Claims, Taken, write_atomic};
use common::study::{STUDY, bench, ledger, rows, rows_of, start, statuses};
use common::{text, until};

#[test]
fn a_study_killed_at_five_points_ends_with_the_rows_of_an_undisturbed_one() {
    let bench = bench(STUDY);
    let began = Instant::now();
    let whole = rows_of(&bench, &["--out", "whole"]);
    let took = began.elapsed();
    assert_eq!(whole.len(), 4);
    let mut kills = 0;
    for point in 1..=5 {
        let mut child = start(&bench, &["--out", "killed"]);
        sleep(took * point / 6);
        kills += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        if rows(&bench).len() == 4 {
            // It came to its end before the kill: the next points start over, with the images made anew as well.
            fs::remove_file(ledger(&bench)).unwrap();
            fs::rename(bench.folder.path().join("killed"), bench.folder.path().join(format!("done-{point}"))).unwrap();
        }
    }
    assert!(kills >= 2, "only {kills} of five kills met a living process");
    assert_eq!(rows_of(&bench, &["--out", "killed"]), whole);
}

#[test]
fn two_jobs_give_the_rows_of_one_and_make_each_set_of_images_once() {
    let bench = bench(STUDY);
    let one = rows_of(&bench, &["--out", "one"]);
    let (code, _, stderr) = text(&bench.run(&["study", "small", "--jobs", "2", "--out", "two"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(rows(&bench), one);
    for line in 1..=4 {
        assert!(stderr.contains(&format!("[{line}/4] done: small-gdfq-w4a4 / ")), "{stderr}");
    }
    // Those of two seeds and those for measuring, with their records and digests; nothing is left of the claims.
    let cache = bench.folder.path().join("two/runs/.cache/images");
    let files = fs::read_dir(&cache).unwrap().filter(|file| file.as_ref().unwrap().path().is_file()).count();
    assert_eq!(files, 9);
    assert_eq!(fs::read_dir(cache.join(".claims")).unwrap().count(), 0);
    for method in ["zeroq", "zeroq-kd"] {
        let log = bench.folder.path().join(format!("two/runs/small-gdfq-w4a4/{method}/seed-1/log.txt"));
        assert!(fs::read_to_string(log).unwrap().contains("calibrated: "), "a child's words stand in its run's log");
    }
}

#[test]
fn two_processes_share_a_study_and_do_no_cell_twice() {
    let bench = bench(STUDY);
    let children = [start(&bench, &["--out", "shared"]), start(&bench, &["--out", "shared"])];
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(rows(&bench).len(), 4);
    assert_eq!(fs::read_to_string(ledger(&bench)).unwrap().lines().count(), 4);
    assert_eq!(statuses(&bench, "shared"), ["COMPLETED"; 4]);
    let page = fs::read_to_string(bench.folder.path().join("experiments/small/README.md")).unwrap();
    assert!(page.contains("zeroq-kd"), "{page}");
}

#[test]
fn when_the_parent_is_stopped_or_killed_its_children_stop_at_a_checkpoint() {
    let bench = bench(&STUDY.replace("epochs = 2", "epochs = 100000"));
    for (results, signal) in [("stopped", "-TERM"), ("killed", "-KILL")] {
        let mut parent = start(&bench, &["--jobs", "2", "--only", "zeroq-kd", "--out", results]);
        until("both runs", || statuses(&bench, results).len() == 2);
        Command::new("kill").args([signal, &parent.id().to_string()]).status().unwrap();
        let status = parent.wait().unwrap();
        assert_eq!(status.code(), (results == "stopped").then_some(1));
        until("the end of the children", || statuses(&bench, results) == ["INTERRUPTED", "INTERRUPTED"]);
    }
    assert!(rows(&bench).is_empty());
}

#[test]
fn the_grid_says_what_is_done_cached_running_and_missing() {
    // A step of that length is the end of any training.
    let bench = bench(&STUDY.replace("lr = 1e-3", "lr = 1e300"));
    let (code, _, stderr) =
        text(&bench.run(&["study", "small", "--out", "a", "--only", "zeroq-kd", "zeroq", "seed=1"]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("1 runs failed; the others are kept"), "{stderr}");
    assert!(stderr.contains("small-gdfq-w4a4 / zeroq-kd / seed 1: "), "{stderr}");
    assert_eq!(rows(&bench).len(), 1);
    let grid = || {
        let (code, stdout, stderr) = text(&bench.run(&["study", "small", "--out", "a", "--dry-run"]));
        assert_eq!(code, Some(0), "{stderr}");
        stdout
    };
    let stdout = grid();
    assert!(stdout.contains("done     small-gdfq-w4a4 zeroq seed 1\n"), "{stdout}");
    assert!(stdout.contains("cached   small-gdfq-w4a4 zeroq-kd seed 1\n"), "{stdout}");
    assert!(stdout.contains("missing  small-gdfq-w4a4 zeroq seed 2\n"), "{stdout}");
    assert!(stdout.ends_with("4 cells: 1 done, 1 cached, 0 running, 2 missing\n"), "{stdout}");

    // The claim of the cell that failed is left, and free to be taken.
    let claims = bench.folder.path().join("experiments/small/.claims");
    let mut names = fs::read_dir(&claims).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let cell = names.find(|name| name.len() == 64).unwrap();
    let Taken::Mine(_claim) = Claims::at(&claims).take(&cell).unwrap() else { panic!() };
    let stdout = grid();
    let line = format!("running  small-gdfq-w4a4 zeroq-kd seed 1  (process {} on host ", std::process::id());
    assert!(stdout.contains(&line), "{stdout}");
    let (code, _, stderr) = text(&bench.run(&["study", "small", "--out", "a", "--only", "zeroq-kd", "seed=1"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("left to another process: small-gdfq-w4a4 / zeroq-kd / seed 1"), "{stderr}");
}

#[test]
fn axes_are_a_part_of_the_names_of_cells_and_set_their_keys() {
    let axes = "\n[study.axes]\n'images.iterations' = [2, 3]\n\
                size = [{ label = 'few', 'evaluation.batch' = 10 }, { 'evaluation.batch' = 20, 'data.limit' = 30 }]\n";
    let bench = bench(&STUDY.replace("\n[methods.zeroq.images]", &format!("{axes}\n[methods.zeroq.images]")));
    let (code, stdout, stderr) = text(&bench.run(&["study", "small", "--out", "a", "--dry-run"]));
    assert_eq!(code, Some(0), "{stderr}");
    let names: Vec<&str> = stdout.lines().map(|line| line.split_once(' ').unwrap().1.trim()).collect();
    assert_eq!(names.len(), 17, "{stdout}");
    let experiments: Vec<&str> = names[..16].iter().step_by(4).map(|name| name.split(' ').next().unwrap()).collect();
    assert_eq!(
        experiments,
        [
            "small-gdfq-w4a4+images.iterations=2+size=few",
            "small-gdfq-w4a4+images.iterations=2+size=30,20",
            "small-gdfq-w4a4+images.iterations=3+size=few",
            "small-gdfq-w4a4+images.iterations=3+size=30,20",
        ]
    );
    assert_eq!(names[1], "small-gdfq-w4a4+images.iterations=2+size=few zeroq seed 2");
    let only = ["--only", "zeroq", "seed=2", "images.iterations=3", "size=30,20"];
    let (code, _, stderr) = text(&bench.run(&[&["study", "small", "--out", "a"][..], &only].concat()));
    assert_eq!(code, Some(0), "{stderr}");
    let run = bench.folder.path().join("a/runs/small-gdfq-w4a4+images.iterations=3+size=30,20/zeroq/seed-2");
    let config: toml::Table = fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
    assert_eq!(config["images"]["iterations"].as_integer(), Some(3));
    assert_eq!(
        (config["evaluation"]["batch"].as_integer(), config["data"]["limit"].as_integer()),
        (Some(20), Some(30))
    );
    let page = fs::read_to_string(bench.folder.path().join("experiments/small/README.md")).unwrap();
    assert!(page.contains("zeroq images.iterations=3 size=30,20"), "{page}");
}

#[test]
fn a_smoke_run_lies_apart_from_the_study() {
    let bench = bench(STUDY);
    let (code, stdout, stderr) =
        text(&bench.run(&["study", "small", "--out", "a", "--fast", "--only", "zeroq", "seed=1"]));
    assert_eq!(code, Some(0), "{stderr}");
    let apart = bench.folder.path().join("a/studies/small+fast");
    assert!(
        stdout.trim().ends_with("studies/small+fast/README.md") && apart.join("results.jsonl").is_file(),
        "{stdout}"
    );
    assert!(bench.folder.path().join("a/runs/small-gdfq-w4a4+fast/zeroq/seed-1/summary.json").is_file());
    let names = fs::read_dir(bench.folder.path().join("experiments/small")).unwrap();
    assert_eq!(names.count(), 1, "study.toml alone");
}

#[test]
fn what_is_wrong_with_a_study_is_said_before_anything_runs() {
    let axes = |keys: &str| format!("baseline = 'zeroq'\n[study.axes]\n{keys}");
    let own = str::to_owned;
    for (old, new, words) in [
        ("seeds = [1, 2]", own("seeds = [1, 2]\nbasline = 'zeroq'"), "did you mean `baseline`?"),
        ("baseline = \"zeroq\"", own("baseline = 'zerog'"), "does not name `zerog` (did you mean `zeroq`?)"),
        ("seeds = [1, 2]", own("seeds = [1, 1]"), "name each seed once"),
        ("seeds = [1, 2]", own("seeds = [1]\nfast = true\nfull = true"), "exclude each other"),
        ("seeds = [1, 2]", own("seeds = [1]\nseeds_of = { zeroq = [] }"), "`study.seeds_of.zeroq` is empty"),
        ("[methods.zeroq.images]", own("[quant]\nweight_bits = 3\n[methods.zeroq.images]"), "is set by `study.bits`"),
        (
            "[methods.zeroq.images]",
            own("[experiment]\nname = 'x'\n[methods.zeroq.images]"),
            "`experiment.name` is set by",
        ),
        ("bits = [\"w4a4\"]", own("bits = ['w4a4', 'w4a4']"), "`study.bits` names `w4a4` twice"),
        ("baseline = \"zeroq\"", axes("quant.weight_bits = [4]"), "it is set by `study.bits`"),
        ("baseline = \"zeroq\"", axes("evaluation.bach = [4]"), "did you mean `batch`?"),
        ("baseline = \"zeroq\"", axes("images.iteratons = [4]"), "did you mean `iterations`?"),
        ("baseline = \"zeroq\"", axes("distill.epochs = [1, 2]"), "`distill.epochs`: method `zeroq` does not train"),
        ("baseline = \"zeroq\"", own("published.zerog = { drop = 1, source = 'A' }"), "did you mean `zeroq`?"),
    ] {
        assert!(STUDY.contains(old), "{old}");
        let bench = bench(&STUDY.replace(old, &new));
        let (code, _, stderr) = text(&bench.run(&["study", "small", "--dry-run"]));
        assert_eq!(code, Some(2), "{new}: {stderr}");
        assert!(stderr.contains(words), "{new}: {stderr}");
    }
    let bench = bench(STUDY);
    for (arguments, words) in [
        (vec!["smal"], "there is no study `smal` (did you mean `small`?)"),
        (vec!["small", "--only", "zerog"], "did you mean `zeroq`?"),
        (vec!["small", "--only", "sed=1"], "did you mean `seed`?"),
        (vec!["small", "--method", "zerog"], "--method zerog: the study has: zeroq, zeroq-kd (did you mean `zeroq`?)"),
        (vec!["small", "--only", "seed=99"], "--only seed=99: the study has the seeds: 1, 2"),
        (vec!["small", "--max-seed", "0", "--dry-run"], "none of its 4 cells is all that was asked for"),
        (vec!["small", "--jobs", "0"], "0 is not in 1..=1024"),
        (vec!["small", "--cell", "small/zeroq/1"], "such as small-gdfq-w4a4/zeroq/seed-1"),
    ] {
        let (code, _, stderr) = text(&bench.run(&[&["study"][..], arguments.as_slice()].concat()));
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_torn_last_line_is_written_again_without_running_anything() {
    let bench = bench(STUDY);
    let run = || text(&bench.run(&["study", "small", "--out", "a", "--only", "zeroq"]));
    assert_eq!(run().0, Some(0));
    let whole = rows(&bench);
    let bytes = fs::read(ledger(&bench)).unwrap();
    fs::write(ledger(&bench), &bytes[..bytes.len() - 9]).unwrap();
    let (code, _, stderr) = run();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("half-written") && stderr.contains("is finished already"), "{stderr}");
    assert_eq!(rows(&bench), whole);
    assert_eq!(whole.len(), 2);
}

/// Every file below a folder with its content.
fn contents(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => contents(&path, found),
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
}

#[test]
#[cfg(unix)]
fn a_write_that_fails_is_said_clearly_and_finished_runs_stay_whole() {
    let bench = bench(STUDY);
    let first = ["study", "small", "--out", "a", "--only", "zeroq", "seed=1"];
    assert_eq!(text(&bench.run(&first)).0, Some(0));
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    let finished = bench.folder.path().join("a/runs/small-gdfq-w4a4/zeroq");
    contents(&finished.join("seed-1"), &mut before);
    let rows_before = rows(&bench);

    // No file may grow beyond 64 blocks: the images of seed 2 do not fit.
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_blindfold")]);
    command.args(["study", "small", "--out", "a", "--only", "zeroq", "seed=2"]);
    command.current_dir(bench.folder.path()).env_remove("BLINDFOLD_ROOT");
    command.env("BLINDFOLD_DATA", bench.folder.path().join("data"));
    let (code, _, stderr) = text(&command.output().unwrap());
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("cannot store an image set") && stderr.contains("ulimit -f"), "{stderr}");
    contents(&finished.join("seed-1"), &mut after);
    assert_eq!(before, after);
    assert_eq!(rows(&bench), rows_before);
    let cache = bench.folder.path().join("a/runs/.cache/images");
    let parts = fs::read_dir(cache)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".part-"));
    assert_eq!(parts.count(), 0, "half a set of images is not left behind");
    let (code, _, stderr) = text(&bench.run(&["study", "small", "--out", "a", "--only", "zeroq"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(rows(&bench).len(), 2);
}

#[test]
#[cfg(unix)]
fn a_ledger_on_a_full_disk_is_said_clearly_and_filled_in_later() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let bench = bench(STUDY);
    std::os::unix::fs::symlink("/dev/full", ledger(&bench)).unwrap();
    let run = || text(&bench.run(&["study", "small", "--out", "a", "--only", "zeroq"]));
    let (code, _, stderr) = run();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("cannot append to") && stderr.contains("results.jsonl"), "{stderr}");
    assert!(
        stderr.contains("free some space") && stderr.contains("1 runs failed"),
        "the rest would fail alike: {stderr}"
    );
    fs::remove_file(ledger(&bench)).unwrap();
    let (code, _, stderr) = run();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("zeroq / seed 1 is finished already"), "{stderr}");
    assert_eq!(rows(&bench).len(), 2);
}

#[test]
#[cfg(unix)]
fn a_folder_that_cannot_be_written_is_said_before_anything_runs() {
    use std::os::unix::fs::PermissionsExt;

    let bench = bench(STUDY);
    let folder = bench.folder.path().join("experiments/small");
    let may = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
    may(0o555);
    // Root may write everywhere.
    let refused = fs::write(folder.join("probe"), "x").is_err();
    if refused {
        let (code, _, stderr) = text(&bench.run(&["study", "small", "--out", "a"]));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("experiments/small") && stderr.contains("change the rights there"), "{stderr}");
        assert!(!bench.folder.path().join("a").exists());
    }
    may(0o755);
}

/// A process of the race below: claims all it can, says which, and holds them until it is told to end.
#[test]
#[ignore = "a part of two_processes_race_for_fifty_claims"]
fn racer() {
    let Some(folder) = std::env::var_os("BLINDFOLD_TEST_RACE").map(PathBuf::from) else { return };
    let claims = Claims::at(folder.join("claims"));
    let began = Instant::now();
    while !folder.join("go").exists() && began.elapsed() < Duration::from_secs(60) {
        std::thread::yield_now();
    }
    let mut held = Vec::new();
    for work in 0..50 {
        if let Taken::Mine(claim) = claims.take(&work.to_string()).unwrap() {
            held.push((work, claim));
        }
    }
    let works: Vec<i32> = held.iter().map(|(work, _)| *work).collect();
    write_atomic(&folder.join(std::process::id().to_string()), &serde_json::to_vec(&works).unwrap()).unwrap();
    until("the end", || folder.join("end").exists());
}

#[test]
fn two_processes_race_for_fifty_claims_and_each_goes_to_one() {
    let root = tempfile::tempdir().unwrap();
    let race = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "racer", "--ignored"]).env("BLINDFOLD_TEST_RACE", root.path());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut racers = [race(), race()];
    sleep(Duration::from_millis(100));
    fs::write(root.path().join("go"), "").unwrap();
    let answer = |racer: &Child| root.path().join(racer.id().to_string());
    until("both answers", || racers.iter().all(|racer| answer(racer).is_file()));
    let [first, second]: [Vec<i32>; 2] =
        [0, 1].map(|at: usize| serde_json::from_slice(&fs::read(answer(&racers[at])).unwrap()).unwrap());
    let mut all = [first.clone(), second.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..50).collect::<Vec<_>>(), "{first:?} {second:?}");

    // What a killed process held is free at once; what a living one holds is not.
    racers[0].kill().unwrap();
    racers[0].wait().unwrap();
    let claims = Claims::at(root.path().join("claims"));
    for (works, free) in [(first, true), (second, false)] {
        for work in works {
            assert_eq!(matches!(claims.take(&work.to_string()).unwrap(), Taken::Mine(_)), free, "{work}");
        }
    }
    fs::write(root.path().join("end"), "").unwrap();
    assert!(racers[1].wait().unwrap().success());
}
