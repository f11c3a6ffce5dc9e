//! `blindfold completions`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::aot::{Shell, generate};

use super::print;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn completions(mut command: Command, args: &CompletionsArgs) -> Result<ExitCode> {
    // A program with plugins of its own has a name of its own.
    let program = std::env::args_os().next().and_then(|program| Path::new(&program).file_stem().map(ToOwned::to_owned));
    let name = program.map_or_else(|| command.get_name().to_owned(), |name| name.to_string_lossy().into_owned());
    let mut script = Vec::new();
    generate(args.shell, &mut command, name, &mut script);
    print(&String::from_utf8(script)?);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_shell_has_a_script() {
        Cli::command().debug_assert();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            generate(shell, &mut Cli::command(), "blindfold", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("dry-run") && script.contains("completions"), "{shell}");
        }
    }
}
