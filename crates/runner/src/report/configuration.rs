//! What the run was told, and where that differs from its experiment.

use super::html::{Section, aside, escape, fold};
use super::run_files::RunFiles;
use super::table::{Cell, Column, table};
use crate::record::Difference;

/// Keys that a run writes or is named by: they always differ from an experiment's.
const OWN: [&str; 3] = ["device", "teacher.hash", "experiment.name"];

/// What the configuration is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// An experiment as its file is now, from it to the run.
    Experiment {
        /// Its name.
        name: String,
        /// Keys whose values are others.
        differences: Vec<Difference>,
    },
    /// There is none to compare with, and why.
    Absent(String),
}

/// The command, the differences, and the whole configuration folded.
pub(super) fn configuration(files: &RunFiles, baseline: &Baseline) -> Section {
    let mut body = String::new();
    if let Some(command) = files.text("overrides.txt") {
        body += &format!("<p>Command: <code>{}</code></p>\n", escape(command.trim()));
    }
    body += &match baseline {
        Baseline::Absent(why) => aside(&format!("Not compared with its experiment: {why}.")),
        Baseline::Experiment { name, differences } => {
            let told = |difference: &&Difference| !OWN.contains(&difference.key.as_str());
            let differences: Vec<&Difference> = differences.iter().filter(told).collect();
            match differences.is_empty() {
                true => aside(&format!("As configs/{name}.toml and the method's file say, in every key.")),
                false => {
                    aside(&format!("Other than configs/{name}.toml and the method's file say now:"))
                        + &rows(&differences)
                }
            }
        }
    };
    if let Some(text) = files.text("config.toml") {
        body += &fold("The whole configuration", &format!("<pre>{}</pre>", escape(&text)));
    }
    Section { id: "configuration", title: "Configuration", body }
}

fn rows(differences: &[&Difference]) -> String {
    let columns = ["key", "experiment", "this run"].map(Column::words);
    let value = |value: &Option<String>| Cell::text(value.as_deref().unwrap_or("not set"));
    let row = |difference: &&Difference| -> Vec<Cell> {
        vec![Cell::text(difference.key.as_str()), value(&difference.old), value(&difference.new)]
    };
    table(&columns, &differences.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::run_files::tests::folder;
    use super::*;

    fn difference(key: &str, old: Option<&str>, new: Option<&str>) -> Difference {
        Difference { key: key.into(), old: old.map(str::to_owned), new: new.map(str::to_owned) }
    }

    #[test]
    fn differences_stand_above_the_folded_configuration() {
        let config = "seed = 7 # <now>\n";
        let root = folder("COMPLETED", None, &[("config.toml", config), ("overrides.txt", "blindfold exp 'a<b'\n")]);
        let files = RunFiles::read(root.path()).unwrap();
        let differences = vec![
            difference("device", None, Some("\"flex\"")),
            difference("distill.epochs", Some("20"), Some("5")),
            difference("fit.<x>", None, Some("1")),
        ];
        let body = configuration(&files, &Baseline::Experiment { name: "small".into(), differences }).body;
        assert!(body.contains("<code>blindfold exp &#39;a&lt;b&#39;</code>"), "{body}");
        assert!(body.contains("<tr><td>distill.epochs</td><td>20</td><td>5</td></tr>"), "{body}");
        assert!(
            body.contains("<td>fit.&lt;x&gt;</td><td>not set</td><td>1</td>") && !body.contains("<td>device"),
            "{body}"
        );
        assert!(body.find("distill.epochs").unwrap() < body.find("<pre>seed = 7 # &lt;now&gt;").unwrap(), "{body}");
        let own = vec![difference("device", None, Some("\"flex\""))];
        let body = configuration(&files, &Baseline::Experiment { name: "small".into(), differences: own }).body;
        assert!(body.contains("in every key"), "{body}");
        assert!(configuration(&files, &Baseline::Absent("no file".into())).body.contains("no file."));
    }
}
