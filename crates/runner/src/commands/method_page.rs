//! The page docs/method-files.md.

use anyhow::Result;
use toml::{Table, Value};

use crate::config::{SourceTable, method_names, read_method, read_method_table};
use crate::record::flatten;
use crate::{Project, Registry, Usage};

const HEAD: &str = "\
# Method files

Every file of `configs/methods/`; written by `blindfold list methods --markdown`. The families of methods, and what their parts
do: [methods.md](methods.md).

Of each stands here what it does otherwise than its source. Beside that, in all of them: images are made from the teacher also
where the source has data, unless *data* names real ones; bits, those of the first and last layer included, are the experiment's
and its protocol's; ranges are the file's, else the experiment's. *Full budget*: the keys that `--full` merges over the file.
";

/// All method files, a section each.
///
/// # Errors
/// What is wrong in which file.
pub(super) fn method_page(registry: &Registry, project: &Project) -> Result<String> {
    let mut page = HEAD.to_owned();
    for name in method_names(project)? {
        page += &section(registry, project, &name)?;
    }
    Ok(page)
}

fn section(registry: &Registry, project: &Project, name: &str) -> Result<String> {
    let (method, table) = (read_method(project, name)?, read_method_table(project, name)?);
    let mut text = format!("\n## {name}\n\n{}\n\n- source: {}\n", method.summary, method.source);
    text += if uses_data(registry, name, &table)? { "- data: **real images**\n" } else { "- data: none\n" };
    match table.get("budget") {
        Some(budget) => {
            let short = budget.get("short").and_then(Value::as_str).unwrap_or_default();
            let full = budget.get("full").and_then(Value::as_table).map(flatten).unwrap_or_default();
            let full: Vec<String> = full.iter().map(|(key, value)| format!("`{key} = {value}`")).collect();
            text += &format!("- short budget: {short}\n- full budget: {}\n", full.join(", "));
        }
        None => text += "- one budget: `--full` changes nothing\n",
    }
    if !method.differences.is_empty() {
        text += "\nOtherwise than in the source:\n\n";
        text.extend(method.differences.iter().map(|difference| format!("- {difference}\n")));
    }
    Ok(text)
}

/// Whether the file's image source takes images from data.
fn uses_data(registry: &Registry, name: &str, table: &Table) -> Result<bool> {
    let Some(images) = table.get("images").cloned() else { return Ok(false) };
    let wrong = |what: String| Usage(format!("configs/methods/{name}.toml: [images]: {what}"));
    let SourceTable { source, table } =
        images.try_into().map_err(|error: toml::de::Error| wrong(error.to_string().trim().to_owned()))?;
    let built = registry.source(&source, table).map_err(|error| wrong(error.to_string()))?;
    Ok(built.needs_real())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_the_program_s() {
        let project = Project::find(None).unwrap();
        let page = method_page(&Registry::builtin().unwrap(), &project).unwrap();
        let committed = std::fs::read_to_string(project.root().join("docs/method-files.md")).unwrap();
        assert!(
            page == committed,
            "docs/method-files.md is old: run `blindfold list methods --markdown > docs/method-files.md`"
        );
    }

    #[test]
    fn a_section_has_the_source_both_budgets_the_data_and_the_differences() {
        let project = Project::find(None).unwrap();
        let of = |name: &str| section(&Registry::builtin().unwrap(), &project, name).unwrap();
        let text = of("gdfq");
        assert!(text.starts_with("\n## gdfq\n\n") && text.contains("\n- source: Xu et al., "), "{text}");
        assert!(
            text.contains("\n- data: none\n- short budget: ") && text.contains("`distill.epochs = 396`, "),
            "{text}"
        );
        assert!(text.contains("`distill.schedule.milestones = [96, 196, 296]`"), "{text}");
        assert!(text.contains("\nOtherwise than in the source:\n\n- short budget: "), "{text}");
        let text = of("real");
        assert!(text.ends_with("\n- data: **real images**\n- one budget: `--full` changes nothing\n"), "{text}");
    }
}
