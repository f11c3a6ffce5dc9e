//! A study that is handed to Slurm: what sbatch is told, what a task does, what is gathered. Scripts play Slurm's
//! programs here; `scripts/check_slurm.sh` has a real cluster.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use common::{Bench, study, text, until};

/// The small study with what it asks of a cluster.
static STUDY: LazyLock<String> = LazyLock::new(|| {
    let slurm = "\n[study.slurm]\npartition = \"gpu\"\ntime = \"1:00:00\"\nextra = [\"--nice=10\"]\n\
                 setup = [\"echo the module is loaded\"]\n";
    study::STUDY.replace("baseline = \"zeroq\"\n", slurm)
});

/// A results folder that a shell must not read as anything but a name.
const OUT: &str = "by 'slurm' $(touch read) %A";
const CELLS: [&str; 4] = [
    "small-gdfq-w4a4/zeroq/seed-1",
    "small-gdfq-w4a4/zeroq/seed-2",
    "small-gdfq-w4a4/zeroq-kd/seed-1",
    "small-gdfq-w4a4/zeroq-kd/seed-2",
];

/// Takes as many jobs as `most` says, and keeps what it was told.
const SBATCH: &str = r#"
cd "$(dirname "$0")" || exit
if [ "$1" = --version ]; then echo slurm; exit; fi
count=$(cat count)
if [ "$count" -ge "$(cat most)" ]; then echo "sbatch: error: invalid partition specified: gpu" >&2; exit 1; fi
count=$((count + 1))
echo "$count" >count
printf '%s\n' "$@" >"job-$count"
echo "$count;north"
"#;
const SQUEUE: &str = r#"
cat "$(dirname "$0")/queue" || { echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }
"#;
const SACCT: &str = r#"
cat "$(dirname "$0")/ended" || { echo "Slurm accounting storage is disabled" >&2; exit 1; }
"#;
const SCONTROL: &str = r#"
echo "$*" >"$(dirname "$0")/controlled"
"#;

struct Cluster {
    bench: Bench,
    bin: PathBuf,
}

impl Cluster {
    fn new(file: &str) -> Self {
        let bench = study::bench(file);
        let root = bench.folder.path();
        let bin = root.join("bin");
        fs::create_dir(&bin).unwrap();
        for (name, script) in [("sbatch", SBATCH), ("squeue", SQUEUE), ("sacct", SACCT), ("scontrol", SCONTROL)] {
            let path = bin.join(name);
            fs::write(&path, format!("#!/bin/sh{script}")).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let cluster = Self { bench, bin };
        cluster.says("count", "0");
        cluster.says("most", "99");
        cluster
    }

    /// What Slurm's programs are to say.
    fn says(&self, file: &str, text: &str) {
        fs::write(self.bin.join(file), text).unwrap();
    }

    /// What sbatch was told for a job.
    fn told(&self, job: usize) -> Vec<String> {
        let text = fs::read_to_string(self.bin.join(format!("job-{job}"))).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn path(&self) -> String {
        format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap())
    }

    fn study(&self, arguments: &[&str]) -> Output {
        let mut command = self.bench.command(&[&["study", "small"][..], arguments].concat());
        command.env("PATH", self.path()).output().unwrap()
    }

    fn launch(&self) -> Output {
        self.study(&["--launcher", "slurm", "--throttle", "2", "--out", OUT])
    }

    fn submission(&self) -> PathBuf {
        self.bench.folder.path().join(OUT).join("studies/small/slurm/1")
    }

    fn ledger(&self) -> PathBuf {
        self.bench.folder.path().join("experiments/small/results.jsonl")
    }

    fn run_file(&self, cell: &str) -> PathBuf {
        self.bench.folder.path().join(OUT).join("runs").join(cell).join("run.json")
    }

    /// A task as Slurm would start it.
    fn task(&self, first: usize, task: usize) -> Command {
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", "bash"]).arg(self.submission().join("task.sh")).arg(first.to_string());
        command.env("PATH", self.path()).env("SLURM_CPUS_ON_NODE", "1").env("SLURM_ARRAY_JOB_ID", "7");
        command.env("SLURM_ARRAY_TASK_ID", task.to_string()).current_dir("/");
        for name in ["BLINDFOLD_ROOT", "BLINDFOLD_DATA", "RAYON_NUM_THREADS", "SLURM_RESTART_COUNT"] {
            command.env_remove(name);
        }
        command
    }

    /// The ledger's rows by hash, without the time they took.
    fn rows(&self) -> BTreeMap<String, serde_json::Value> {
        let text = fs::read_to_string(self.ledger()).unwrap_or_default();
        let row = |line: &str| {
            let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
            for key in ["wall_seconds", "image_seconds"] {
                row["summary"][key] = serde_json::Value::Null;
            }
            (row["config_sha256"].as_str().unwrap().to_owned(), row)
        };
        text.lines().map(row).collect()
    }

    fn change(&self, cell: &str, key: &str, value: &str) {
        let path = self.run_file(cell);
        let mut run: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        run[key] = value.into();
        fs::write(path, run.to_string()).unwrap();
    }
}

#[test]
fn tasks_give_the_rows_of_the_study_and_collecting_gives_them_again() {
    let cluster = Cluster::new(&STUDY);
    assert_eq!(text(&cluster.study(&["--out", "here"])).0, Some(0));
    let here = cluster.rows();
    fs::remove_file(cluster.ledger()).unwrap();

    let (code, stdout, stderr) = text(&cluster.launch());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains("job 1: 2 cells that make images for all\njob 2: 2 cells, when job 1 has ended\n"),
        "{stdout}"
    );
    let again = r"blindfold study small --out 'by '\''slurm'\'' $(touch read) %A' --collect ";
    assert!(stdout.contains(again) && stdout.contains("squeue --jobs=1,2 "), "{stdout}");
    let folder = cluster.submission();
    assert_eq!(fs::read_to_string(folder.join("cells.txt")).unwrap().lines().collect::<Vec<_>>(), CELLS);
    for (job, first) in [(1, "0"), (2, "2")] {
        let told = cluster.told(job);
        let has = |option: &str| told.iter().any(|argument| argument == option);
        assert!(has("--array=0-1%2") && has("--requeue") && has("--signal=B:INT@60"), "{told:?}");
        assert!(has("--partition=gpu") && has("--time=1:00:00") && has("--nice=10"), "{told:?}");
        assert_eq!(has("--dependency=afterany:1"), job == 2, "{told:?}");
        let output = format!("--output={}/logs/%A_%a.txt", folder.display().to_string().replace('%', "%%"));
        assert!(has(&output), "{told:?}");
        assert_eq!(told[told.len() - 2..], [folder.join("task.sh").display().to_string(), first.to_owned()]);
    }
    for (first, task) in [(0, 0), (0, 1), (2, 0), (2, 1)] {
        let (code, stdout, stderr) = text(&cluster.task(first, task).output().unwrap());
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        assert!(stdout.starts_with("the module is loaded\n"), "{stdout}");
        assert!(stdout.contains(&format!("{}: life 1, on ", CELLS[first + task])), "{stdout}");
    }
    assert_eq!(cluster.rows(), here);
    let (code, _, stderr) = text(&cluster.task(2, 2).output().unwrap());
    assert!(code == Some(2) && stderr.contains("has no cell for task 2"), "{stderr}");
    let read = ["/", "bin", "."].map(|place| cluster.bench.folder.path().join(place).join("read").exists());
    assert_eq!(read, [false; 3], "a name was run as a command");

    fs::remove_file(cluster.ledger()).unwrap();
    let (code, stdout, stderr) = text(&cluster.study(&["--collect", "--out", OUT]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("4 cells: 4 done (4 of them taken in now), 0 running, 0 pending, 0 failed"), "{stdout}");
    assert_eq!(cluster.rows(), here);
    let page = fs::read_to_string(cluster.bench.folder.path().join("experiments/small/README.md")).unwrap();
    assert!(page.contains("zeroq-kd"), "{page}");

    // One is running, one failed, one is of another configuration, one is gone.
    fs::remove_file(cluster.ledger()).unwrap();
    cluster.says("queue", "1_0|RUNNING|None|n3\n1_1|COMPLETED|None|n3\n2_1|PENDING|BeginTime|\n");
    cluster.says("ended", "2_0|OUT_OF_MEMORY|n4\n");
    cluster.change(CELLS[0], "status", "RUNNING");
    cluster.change(CELLS[1], "config_sha256", "another");
    let config = cluster.run_file(CELLS[1]).with_file_name("config.toml");
    let other = fs::read_to_string(&config).unwrap().replace("weight_bits = 4", "weight_bits = 3");
    fs::write(&config, other).unwrap();
    fs::remove_dir_all(cluster.run_file(CELLS[2]).parent().unwrap()).unwrap();
    cluster.change(CELLS[3], "status", "FAILED");
    let (code, stdout, stderr) = text(&cluster.study(&["--collect", "--out", OUT]));
    assert_eq!(code, Some(1), "{stderr}");
    let log = folder.join("logs/2_0.txt");
    for line in [
        "running  small-gdfq-w4a4 zeroq seed 1  (job 1_0, on n3)".to_owned(),
        "missing  small-gdfq-w4a4 zeroq seed 2  (its folder holds another run: --fresh moves that aside)".to_owned(),
        format!("failed   small-gdfq-w4a4 zeroq-kd seed 1  (job 2_0, OUT_OF_MEMORY: {})", log.display()),
        "pending  small-gdfq-w4a4 zeroq-kd seed 2  (job 2_1, BeginTime)".to_owned(),
        "4 cells: 0 done, 1 running, 1 pending, 1 failed, 0 stopped, 1 missing".to_owned(),
    ] {
        assert!(stdout.lines().any(|found| found == line), "{line}:\n{stdout}");
    }
    assert!(stderr.contains("1 cells failed"), "{stderr}");
}

#[test]
fn what_slurm_has_is_not_submitted_again() {
    let cluster = Cluster::new(&STUDY);
    assert_eq!(text(&cluster.launch()).0, Some(0));
    cluster.says("queue", "1_0|RUNNING|None|n\n1_1|FAILED|None|n\n2_0|PENDING|Dependency|\n2_1|PENDING|Dependency|\n");
    let (code, _, stderr) = text(&cluster.launch());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("3 cells are submitted already"), "{stderr}");
    let second = cluster.submission().with_file_name("2");
    assert_eq!(fs::read_to_string(second.join("cells.txt")).unwrap(), format!("{}\n", CELLS[1]));
    assert!(cluster.told(3).contains(&"--array=0-0%2".to_owned()));
    cluster.says("queue", "1_0|RUNNING|None|n\n3_0|RUNNING|None|n\n2_0|PENDING|None|\n2_1|PENDING|None|\n");
    let (code, stdout, stderr) = text(&cluster.launch());
    assert_eq!((code, stdout.as_str()), (Some(0), "nothing is left to submit\n"), "{stderr}");
    assert!(!second.with_file_name("3").exists());
}

#[test]
fn before_its_time_limit_a_task_keeps_a_checkpoint_and_is_put_back() {
    let cluster = Cluster::new(
        &STUDY.replace("epochs = 2", "epochs = 100000").replace("[study.slurm]", "[study.slurm]\nrequeues = 1"),
    );
    assert_eq!(text(&cluster.launch()).0, Some(0));
    for (lives, put_back) in [("0", true), ("1", false)] {
        let mut command = cluster.task(2, 1);
        command.env("SLURM_RESTART_COUNT", lives).stdout(Stdio::null()).stderr(Stdio::null());
        let mut task = command.spawn().unwrap();
        let status = || fs::read_to_string(cluster.run_file(CELLS[3])).unwrap_or_default();
        until("the run", || status().contains(r#""status": "RUNNING""#));
        assert!(Command::new("kill").args(["-INT", &task.id().to_string()]).status().unwrap().success());
        assert_eq!(task.wait().unwrap().code(), Some(1));
        assert!(status().contains(r#""status": "INTERRUPTED""#), "{}", status());
        let controlled = cluster.bin.join("controlled");
        assert_eq!(fs::read_to_string(&controlled).ok().as_deref(), put_back.then_some("requeue 7_1\n"));
        let _ = fs::remove_file(controlled);
    }
    let (code, stdout, stderr) = text(&cluster.study(&["--collect", "--out", OUT]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("stopped  small-gdfq-w4a4 zeroq-kd seed 2\n"), "{stdout}");
    assert!(stdout.contains("4 cells: 0 done, 0 running, 0 pending, 0 failed, 1 stopped, 3 missing\n"), "{stdout}");
}

#[test]
fn a_dry_run_shows_everything_and_writes_nothing() {
    let cluster = Cluster::new(&STUDY);
    let arguments = ["--launcher", "slurm", "--dry-run", "--out", OUT, "--fresh", "--only", "seed=1"];
    let (code, stdout, stderr) = text(&cluster.study(&arguments));
    assert_eq!(code, Some(0), "{stderr}");
    for line in
        [CELLS[0], CELLS[2], "# 1 cells that make images for all", "afresh=(--fresh)", "echo the module is loaded"]
    {
        assert!(stdout.lines().any(|found| found == line), "{line}: {stdout}");
    }
    assert!(stdout.contains("\nsbatch --parsable '--job-name=blindfold small' --array=0-0 "), "{stdout}");
    assert!(stdout.contains("'--dependency=afterany:<job before>'") && !stdout.contains(CELLS[1]), "{stdout}");
    assert!(!cluster.bench.folder.path().join(OUT).exists() && !cluster.bin.join("job-1").exists());
}

#[test]
fn what_keeps_a_study_from_slurm_is_said_with_exit_code_2() {
    let cluster = Cluster::new(&STUDY);
    let says = |output: Output, words: &[&str]| {
        let (code, stdout, stderr) = text(&output);
        assert_eq!(code, Some(2), "{stdout}{stderr}");
        words.iter().for_each(|words| assert!(stderr.contains(words), "{words}: {stderr}"));
    };
    let folder = cluster.bench.folder.path();
    let mut command = cluster.bench.command(&["study", "small", "--launcher", "slurm", "--out", OUT]);
    let absent = command.env("PATH", folder.join("configs")).output().unwrap();
    says(absent, &["there is no `sbatch` in PATH", "--jobs N"]);
    assert!(!folder.join(OUT).exists());

    cluster.says("most", "0");
    says(cluster.launch(), &["sbatch: error: invalid partition specified: gpu", "sbatch --parsable", "[study.slurm]"]);
    assert!(!cluster.submission().exists(), "nothing was submitted");
    cluster.says("most", "1");
    says(cluster.launch(), &["invalid partition specified: gpu", "scancel 1 takes it back"]);
    assert!(cluster.submission().join("jobs.json").is_file());

    fs::write(folder.join("file"), "x").unwrap();
    let output = cluster.study(&["--launcher", "slurm", "--out", "file"]);
    says(output, &["the results folder file", "file is not a folder"]);

    for (arguments, words) in [
        (vec!["--launcher", "pbs"], "slurm"),
        (vec!["--launcher", "slurm", "--jobs", "2"], "--jobs"),
        (vec!["--throttle", "2"], "--launcher"),
        (vec!["--launcher", "slurm", "--throttle", "0"], "0 is not in 1.."),
        (vec!["--collect", "--fresh"], "--fresh"),
    ] {
        says(cluster.study(&arguments), &[words]);
    }
    for (key, words) in [
        ("partiton = 'gpu'", "did you mean `partition`?"),
        ("extra = ['--array=0-9']", "`--array=0-9` is for the launcher to say"),
        ("time = 60", "invalid type: integer"),
    ] {
        let file = folder.join("experiments/small/study.toml");
        let study = STUDY.split("[study.slurm]").next().unwrap();
        fs::write(file, format!("{study}[study.slurm]\n{key}\n")).unwrap();
        says(cluster.study(&["--dry-run"]), &["study.toml", words]);
    }
}
