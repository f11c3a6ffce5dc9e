//! Several cells at once: each in a process of its own.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle, available_parallelism, sleep};
use std::time::{Duration, Instant};

use super::{Ended, Job, Tally};
use crate::interrupt;
use crate::record::RunFolder;

/// How often the children are looked after.
const LOOK: Duration = Duration::from_millis(50);
/// So much of what a child says is kept.
const KEPT: usize = 1 << 16;
/// What tells the program's threads how many they are.
const THREADS: &str = "RAYON_NUM_THREADS";

/// Runs cells as processes of this same program, some at a time.
///
/// A child's standard input is its leash: a child whose leash ends stops as on Ctrl-C and keeps a checkpoint. So
/// children do not outlive the process that started them, however that ended. Its last line on standard output says how
/// it ended.
pub(crate) struct Children {
    /// So many at once.
    pub(crate) count: usize,
    /// The arguments that all have in common.
    pub(crate) arguments: Vec<OsString>,
    /// Where run folders lie.
    pub(crate) runs: PathBuf,
}

struct Child<'a> {
    job: Job<'a>,
    process: std::process::Child,
    leash: Option<ChildStdin>,
    answer: JoinHandle<String>,
    words: JoinHandle<String>,
    began: Instant,
}

impl Children {
    /// Does these, and returns those that others have claimed, with their holders.
    pub(crate) fn pass<'j>(&self, jobs: Vec<Job<'j>>, tally: &mut Tally) -> Vec<(Job<'j>, String)> {
        let mut waiting = VecDeque::from(jobs);
        let mut running: Vec<Child<'j>> = Vec::new();
        let mut taken = Vec::new();
        loop {
            tally.stop_if(interrupt::asked());
            if tally.is_over() {
                running.iter_mut().for_each(|child| drop(child.leash.take()));
            }
            while !tally.is_over() && running.len() < self.count {
                let Some(job) = next(&waiting, &running).and_then(|at| waiting.remove(at)) else { break };
                match self.start(&job) {
                    Ok((process, [answer, words])) => running.push(leashed(job, process, answer, words)),
                    Err(error) => {
                        let error = format!("its process cannot be started: {error}");
                        tally.note(job.row, &Ended::Failed { error, everywhere: false }, Duration::ZERO);
                    }
                }
            }
            let mut at = 0;
            while at < running.len() {
                match running[at].process.try_wait() {
                    Ok(None) => at += 1,
                    status => {
                        let child = running.swap_remove(at);
                        let (job, took) = (child.job.clone(), child.began.elapsed());
                        match self.ended(child, status) {
                            Ended::Taken { holder } => taken.push((job, holder)),
                            ended => tally.note(job.row, &ended, took),
                        }
                    }
                }
            }
            if running.is_empty() && (waiting.is_empty() || tally.is_over()) {
                return taken;
            }
            sleep(LOOK);
        }
    }

    fn start(&self, job: &Job<'_>) -> io::Result<(std::process::Child, [JoinHandle<String>; 2])> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(&self.arguments).arg("--leash").arg("--cell").arg(job.row.cell.id());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if std::env::var_os(THREADS).is_none() {
            let cores = available_parallelism().map_or(1, NonZero::get);
            command.env(THREADS, (cores / self.count).max(1).to_string());
        }
        // Ctrl-C on the terminal reaches the parent alone, which then ends the leashes.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.spawn()?;
        let streams = [listen(process.stdout.take()), listen(process.stderr.take())];
        Ok((process, streams))
    }

    fn ended(&self, child: Child<'_>, status: io::Result<Option<ExitStatus>>) -> Ended {
        let Child { job, answer, words, .. } = child;
        let (answer, words) = (answer.join().unwrap_or_default(), words.join().unwrap_or_default());
        let last = answer.trim().lines().next_back().unwrap_or_default();
        if let Ok(ended) = serde_json::from_str(last) {
            return ended;
        }
        let how = match status {
            Ok(Some(status)) => status.to_string(),
            Ok(None) => "unknown".to_owned(),
            Err(error) => error.to_string(),
        };
        let cell = &job.row.cell;
        let (experiment, seed) = (&cell.config.experiment.name, cell.config.seed);
        self.keep(&RunFolder::path_of(&self.runs, experiment, &cell.method, seed), &words);
        let lines: Vec<&str> = words.trim().lines().collect();
        let said = lines[lines.len().saturating_sub(5)..].join("\n");
        Ended::Failed { error: format!("its process ended without an answer ({how}): {said}"), everywhere: false }
    }

    /// What a process said that died stands in its run's log, if it came so far as to have one.
    fn keep(&self, run: &Path, words: &str) {
        let log = OpenOptions::new().append(true).open(run.join("log.txt"));
        if let Ok(mut log) = log {
            let _ = log.write_all(words.as_bytes());
        }
    }
}

fn leashed(
    job: Job<'_>,
    mut process: std::process::Child,
    answer: JoinHandle<String>,
    words: JoinHandle<String>,
) -> Child<'_> {
    let leash = process.stdin.take();
    Child { job, process, leash, answer, words, began: Instant::now() }
}

/// The first that need not wait for images which one of those that run is making.
fn next(waiting: &VecDeque<Job<'_>>, running: &[Child<'_>]) -> Option<usize> {
    let made: BTreeSet<&str> = running.iter().flat_map(|child| child.job.lacks()).collect();
    waiting.iter().position(|job| job.lacks().all(|key| !made.contains(key)))
}

/// Reads a stream to its end, and keeps the last of it.
fn listen(stream: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut kept: Vec<u8> = Vec::new();
        if let Some(mut stream) = stream {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                kept.extend_from_slice(&piece[..count]);
                kept.drain(..kept.len().saturating_sub(KEPT));
            }
        }
        String::from_utf8_lossy(&kept).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_to_its_end_and_its_last_part_is_kept() {
        let text = "a".repeat(3 * KEPT) + "the end";
        let kept = listen(Some(io::Cursor::new(text))).join().unwrap();
        assert!(kept.len() == KEPT && kept.ends_with("the end"));
        assert_eq!(listen(None::<io::Empty>).join().unwrap(), "");
    }
}
