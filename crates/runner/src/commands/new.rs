//! `blindfold new`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use super::print;
use crate::record::write_atomic;
use crate::{Project, Registry, Usage};

/// What a new loss begins as: a loss called `my-loss`, which a test builds and runs.
const LOSS: &str = include_str!("../../templates/my_loss.rs");
/// Where losses live, from the repository's root.
const LOSSES: &str = "crates/distill/src/loss";
/// The last line of the table that is opened by [`TABLE`].
const TABLE_END: &str = "];";
const TABLE: &str = "pub const BUILTIN: &[Entry<dyn Loss>] =";
const LONGEST: usize = 40;

/// Arguments of `new`.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A loss of the student: its file and its line in the family's table.
    Loss {
        /// Its name, in lower case with hyphens, such as my-loss.
        name: String,
    },
}

pub(super) fn new(registry: &Registry, args: &NewArgs) -> Result<ExitCode> {
    let What::Loss { name } = &args.what;
    let name = Name::read(name)?;
    if registry.losses.entries().iter().any(|entry| entry.name == name.kebab) {
        return Err(Usage(format!("there is a loss `{}` already: choose another name", name.kebab)).into());
    }
    let project = Project::find(None)?;
    let folder = project.root().join(LOSSES);
    let table = folder.join("mod.rs");
    if !table.is_file() {
        let message = format!(
            "there is no {}: `new` adds to Blindfold's own repository; a loss outside of it is a program of its own: docs/extending.md",
            table.display()
        );
        return Err(Usage(message).into());
    }
    let file = folder.join(format!("{}.rs", name.snake));
    if let Some(taken) = [file.clone(), folder.join(&name.snake)].into_iter().find(|path| path.exists()) {
        return Err(Usage(format!("{} is there already: choose another name", taken.display())).into());
    }
    let old = std::fs::read_to_string(&table).with_context(|| table.display().to_string())?;
    let listed = with_member(&old, &name.snake).map_err(|what| Usage(format!("{}: {what}", table.display())))?;
    write_atomic(&file, name.fill(LOSS).as_bytes())?;
    write_atomic(&table, listed.as_bytes())?;
    print(&next_steps(&name, &relative(&project, &file)));
    Ok(ExitCode::SUCCESS)
}

fn relative(project: &Project, path: &Path) -> PathBuf {
    path.strip_prefix(project.root()).unwrap_or(path).to_owned()
}

fn next_steps(name: &Name, file: &Path) -> String {
    let Name { kebab, snake, .. } = name;
    let file = file.display();
    format!(
        "wrote {file}, listed it in {LOSSES}/mod.rs

next
  1. write formula, options and documentation into {file};
     until then it is a mean squared difference of logits
  2. cargo test --release -p blindfold-distill {snake}
  3. reference values, which the suite of losses asks for: a case
     emit_case(\"logit_case\", \"{kebab}\", \"{{ ... }}\", value, student) in scripts/reference/distill_losses.py, then
     python scripts/reference/distill_losses.py > crates/distill/tests/data/reference.toml
     A loss that is not 0 between a network and itself goes into NO_DISTANCES of crates/distill/src/loss_suite.rs
  4. use it: [[distill.loss]] with kind = \"{kebab}\"; just describe loss {kebab}
  5. just schema, so that editors know its keys; just check
"
    )
}

/// A loss' name in the three ways that Rust and TOML write it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    kebab: String,
    snake: String,
    camel: String,
}

impl Name {
    fn read(name: &str) -> Result<Self, Usage> {
        let wrong = |what: &str| Usage(format!("new loss {name:?}: {what}"));
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.split('-').all(is_part) {
            return Err(wrong("write lower-case letters and digits with single hyphens, such as my-loss"));
        }
        if name.len() > LONGEST {
            return Err(wrong(&format!("write at most {LONGEST} characters")));
        }
        let snake = name.replace('-', "_");
        if KEYWORDS.contains(&snake.as_str()) {
            return Err(wrong(&format!(
                "that is a word of Rust, which no module is called: add one, such as my-{name}"
            )));
        }
        let camel = name.split('-').map(|part| part[..1].to_ascii_uppercase() + &part[1..]).collect();
        Ok(Self { kebab: name.to_owned(), snake, camel })
    }

    /// The template with this name in place of its own.
    fn fill(&self, template: &str) -> String {
        template.replace("MyLoss", &self.camel).replace("my-loss", &self.kebab).replace("my_loss", &self.snake)
    }
}

/// Words that a module cannot be called, and what lies beside the losses.
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The text of a family's module with one member more: its `pub mod` among the others in the order of the alphabet,
/// its entry at the end of the table.
fn with_member(text: &str, module: &str) -> Result<String, String> {
    let by_hand = |what: &str| format!("{what}: add `pub mod {module};` and `{module}::ENTRY` by hand");
    let module_of = |line: &str| {
        let rest = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?;
        rest.strip_suffix(';').map(str::to_owned)
    };
    let lines: Vec<&str> = text.lines().collect();
    let modules: Vec<(usize, String)> =
        lines.iter().enumerate().filter_map(|(at, line)| Some((at, module_of(line)?))).collect();
    let (last, _) = modules.last().ok_or_else(|| by_hand("there are no modules"))?;
    let after = modules.iter().find(|(_, other)| other.as_str() > module);
    let at = after.map_or(last + 1, |(at, _)| *at);
    let mut text: String = lines[..at].iter().map(|line| format!("{line}\n")).collect();
    text += &format!("pub mod {module};\n");
    text.extend(lines[at..].iter().map(|line| format!("{line}\n")));
    let begin = text.find(TABLE).ok_or_else(|| by_hand(&format!("there is no table `{TABLE}`")))?;
    let end = text[begin..].find(TABLE_END).ok_or_else(|| by_hand(&format!("`{TABLE}` has no end")))? + begin;
    let entries = text[..end].trim_end();
    let entry = match entries.ends_with(',') {
        true => format!("{entries}\n    {module}::ENTRY,\n"),
        false => format!("{entries}, {module}::ENTRY"),
    };
    Ok(entry + &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_written_in_three_ways() {
        let name = Name::read("quartic-norm2").unwrap();
        assert_eq!((name.snake.as_str(), name.camel.as_str()), ("quartic_norm2", "QuarticNorm2"));
        for wrong in
            ["", "My-Loss", "my_loss", "my--loss", "-loss", "loss-", "2nd", "my loss", "../x", "mod", "type", "é"]
        {
            let Usage(text) = Name::read(wrong).unwrap_err();
            assert!(text.starts_with("new loss ") && text.contains("such as my-"), "{wrong}: {text}");
        }
        assert!(Name::read(&"x".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn a_member_is_listed_in_both_places_whatever_the_tables_form() {
        let head = "//! Losses.\n\npub mod attention;\nmod parts;\npub mod kl;\n\nuse x;\n\n";
        let long = format!("{head}{TABLE} &[\n    attention::ENTRY,\n    kl::ENTRY,\n];\n\nfn f() {{}}\n");
        assert_eq!(
            with_member(&long, "js").unwrap(),
            "//! Losses.\n\npub mod attention;\npub mod js;\nmod parts;\npub mod kl;\n\nuse x;\n\n".to_owned()
                + &format!("{TABLE} &[\n    attention::ENTRY,\n    kl::ENTRY,\n    js::ENTRY,\n];\n\nfn f() {{}}\n")
        );
        let short = format!("{head}{TABLE}\n    &[attention::ENTRY, kl::ENTRY];\n");
        let listed = with_member(&short, "zebra").unwrap();
        assert!(listed.contains("pub mod kl;\npub mod zebra;\n\nuse x;"), "{listed}");
        assert!(listed.ends_with("    &[attention::ENTRY, kl::ENTRY, zebra::ENTRY];\n"), "{listed}");
        assert!(with_member("mod a;\n", "b").unwrap_err().contains("by hand"));
    }

    #[test]
    fn nothing_of_the_templates_own_name_is_left() {
        let text = Name::read("quartic").unwrap().fill(LOSS);
        assert!(text.contains("pub struct QuarticConfig {") && text.contains("name: \"quartic\","));
        assert!(!text.to_lowercase().replace(['-', '_'], "").contains("myloss"));
    }
}
