//! Slurm's programs.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use super::script::command;
use crate::Usage;

/// Why a program of Slurm gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not in PATH.
    Absent,
    /// What it said.
    Said(String),
}

/// What one of Slurm's programs prints.
pub(super) fn ask(program: &str, arguments: &[String]) -> Result<String, Refusal> {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).output().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Refusal::Absent,
            _ => Refusal::Said(error.to_string()),
        })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = text(&output.stderr);
    let said = if said.trim().is_empty() { output.status.to_string() } else { said.trim().to_owned() };
    Err(Refusal::Said(said))
}

/// Whether there is a Slurm to submit to.
pub(super) fn check() -> Result<(), Usage> {
    match ask("sbatch", &["--version".to_owned()]) {
        Err(Refusal::Absent) => Err(absent()),
        _ => Ok(()),
    }
}

/// Submits a job and gives back its number.
pub(super) fn submit(arguments: &[String]) -> Result<String, Usage> {
    let typed = || command(&[&["sbatch".to_owned()][..], arguments].concat());
    let answer = match ask("sbatch", arguments) {
        Ok(answer) => answer,
        Err(Refusal::Absent) => return Err(absent()),
        Err(Refusal::Said(said)) => {
            let message = format!(
                "Slurm refuses the job:\n{said}\nto:\n{}\nmend `[study.slurm]`, or take fewer cells with --only",
                typed()
            );
            return Err(Usage(message));
        }
    };
    number(&answer).ok_or_else(|| Usage(format!("sbatch names no job, but says:\n{}\nto:\n{}", answer.trim(), typed())))
}

/// The number in `17` or, of one cluster among several, `17;name`.
fn number(answer: &str) -> Option<String> {
    let last = answer.lines().rev().find(|line| !line.trim().is_empty())?.trim();
    let number = last.split(';').next().unwrap_or(last);
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.to_owned())
}

fn absent() -> Usage {
    let message = "there is no `sbatch` in PATH: launch the study on a machine of a Slurm cluster, such as its login \
                   node, or run it here with --jobs N";
    Usage(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_known_by_its_number() {
        assert_eq!(number("17\n").as_deref(), Some("17"));
        assert_eq!(number("welcome to the cluster\n17;north\n\n").as_deref(), Some("17"));
        for wrong in ["", "\n", "Submitted batch job", "17 18", ";north"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_told_from_one_that_refuses() {
        assert_eq!(ask("no such program of Slurm", &[]), Err(Refusal::Absent));
        #[cfg(unix)]
        {
            let shell = |line: &str| ask("sh", &["-c".to_owned(), line.to_owned()]);
            assert_eq!(shell("echo yes; echo no >&2"), Ok("yes\n".to_owned()));
            assert_eq!(shell("echo yes; echo no >&2; exit 1"), Err(Refusal::Said("no".to_owned())));
            assert!(matches!(shell("exit 3"), Err(Refusal::Said(said)) if said.contains('3')));
        }
    }
}
