//! What Slurm runs for each task.

use std::fmt;

/// The part that is the same for all studies.
const SAME: &str = include_str!("task.sh");

/// The script of a submission's tasks, for bash. It is called with the line of its array's first cell; Slurm says the
/// number of the task.
pub(super) struct Script<'a> {
    /// The list of cells.
    pub(super) cells: &'a str,
    /// The folder that the study was launched in.
    pub(super) here: &'a str,
    /// Variables that the program finds its files by.
    pub(super) environment: &'a [(&'static str, String)],
    /// The user's own lines.
    pub(super) setup: &'a [String],
    /// The program with its arguments, the cell aside.
    pub(super) run: &'a [String],
    /// Move runs of another configuration aside.
    pub(super) fresh: bool,
    /// How often a task that meets its time limit is put back.
    pub(super) requeues: u32,
}

impl fmt::Display for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#!/usr/bin/env bash")?;
        writeln!(f, "# One task of a Slurm array: a cell of a study. Written by `blindfold study --launcher slurm`.")?;
        writeln!(f, "cd -- {} || exit 2", quoted(self.here))?;
        for (name, value) in self.environment {
            writeln!(f, "export {name}={}", quoted(value))?;
        }
        for line in self.setup {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "cells={}", quoted(self.cells))?;
        writeln!(f, "run=({})", command(self.run))?;
        writeln!(f, "afresh=({})", if self.fresh { "--fresh" } else { "" })?;
        writeln!(f, "requeues={}", self.requeues)?;
        write!(f, "{SAME}")
    }
}

/// Arguments as a shell reads them.
pub(super) fn command(arguments: &[String]) -> String {
    arguments.iter().map(|argument| quoted(argument)).collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./,:+-=@%".contains(c);
    match text.chars().all(plain) && !text.is_empty() {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(fresh: bool) -> String {
        let run = ["/opt/a b/blindfold", "study", "it's; $(rm -r x)", "--out", "-"].map(str::to_owned);
        Script {
            cells: "/data/`id`/cells.txt",
            here: "/home/o'neill",
            environment: &[("BLINDFOLD_DATA", "/data/\"x\"\n$y".to_owned())],
            setup: &["module load vulkan".to_owned(), "ulimit -c 0".to_owned()],
            run: &run,
            fresh,
            requeues: 7,
        }
        .to_string()
    }

    #[test]
    fn names_are_text_for_the_shell_whatever_is_in_them() {
        let text = script(true);
        let head = text.strip_suffix(SAME).unwrap();
        let expected = r#"#!/usr/bin/env bash
# One task of a Slurm array: a cell of a study. Written by `blindfold study --launcher slurm`.
cd -- '/home/o'\''neill' || exit 2
export BLINDFOLD_DATA='/data/"x"
$y'
module load vulkan
ulimit -c 0
cells='/data/`id`/cells.txt'
run=('/opt/a b/blindfold' study 'it'\''s; $(rm -r x)' --out -)
afresh=(--fresh)
requeues=7
"#;
        assert_eq!(head, expected);
        assert!(script(false).contains("\nafresh=()\n"));
    }

    #[test]
    fn a_command_is_quoted_where_it_must_be() {
        let words = ["sbatch", "--array=0-3%2", "", "a b", "é"].map(str::to_owned);
        assert_eq!(command(&words), "sbatch --array=0-3%2 '' 'a b' 'é'");
    }
}
