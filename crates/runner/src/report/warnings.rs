//! What a reader must know before believing a number.

use super::html::{Section, escape};
use super::run_files::RunFiles;
use crate::record::{REAL_DATA, Record, Status};

/// Tags that are named of those that were not finite.
const NAMED: usize = 6;

/// The warnings, or that there are none.
pub(super) fn warnings(files: &RunFiles) -> Section {
    let items: String = found(files)
        .into_iter()
        .map(|(grave, text)| format!("<li{}>{}</li>\n", if grave { " class=\"bad\"" } else { "" }, escape(&text)))
        .collect();
    let body = match items.is_empty() {
        true => "<p class=\"soft\">None.</p>".to_owned(),
        false => format!("<ul class=\"notes\">\n{items}</ul>"),
    };
    Section { id: "warnings", title: "Warnings", body }
}

/// Each with whether it is grave.
fn found(files: &RunFiles) -> Vec<(bool, String)> {
    let info = &files.info;
    let mut found = Vec::new();
    match info.status {
        Status::Completed => {}
        Status::Failed => {
            let reason = info.error.as_deref().unwrap_or("run.json does not say why");
            found.push((true, format!("The run failed: {reason}")));
        }
        Status::Running => found.push((
            false,
            "The run is not finished: a process works on it, or was killed while doing so. Numbers are those so far."
                .to_owned(),
        )),
        Status::Interrupted => {
            found.push((false, "The run was stopped and not taken up again. Numbers are those so far.".to_owned()));
        }
    }
    found.extend(files.faults.iter().map(|fault| (true, format!("Left out: {fault}"))));
    if let Some(summary) = files.summary.as_ref().filter(|summary| !summary.accuracy_measured) {
        let note = summary.accuracy_note.as_deref().unwrap_or("summary.json does not say why");
        found.push((false, format!("Accuracy was not measured: {note}")));
    }
    if files.uses_real_data() {
        found.push((false, REAL_DATA.to_owned()));
    }
    if let Some(limit) = files.word("data.limit") {
        found.push((false, format!("Accuracy is that on the first {limit} images of the test set only.")));
    }
    if let Some(budget) = files.word("method.budget").filter(|budget| budget != "full") {
        found.push((false, format!("The method ran with less than its paper's budget. {budget}")));
    }
    let mut tags: Vec<String> = files.records.iter().flat_map(Record::not_finite).collect();
    tags.sort();
    tags.dedup();
    if !tags.is_empty() {
        let more = tags.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = tags.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        found.push((true, format!("Not finite at some step: {named}{more}")));
    }
    if info.git.as_ref().is_some_and(|git| git.dirty) {
        found.push((false, "The code had changes that no commit holds.".to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::run_files::tests::folder;
    use super::*;
    use crate::record::{METRICS_FILE, Summary};

    #[test]
    fn a_failed_run_says_why_and_what_was_not_finite() {
        let records = "{\"step\":0,\"phase\":\"distill\",\"wall\":0.0,\"loss/kl\":null,\"lr\":0.1}\n";
        let config = "[data]\nlimit = 40\n[images]\nsource = 'real'\n";
        let root = folder("FAILED", Some("loss is <NaN>"), &[("config.toml", config), (METRICS_FILE, records)]);
        let body = warnings(&RunFiles::read(root.path()).unwrap()).body;
        assert!(body.contains("<li class=\"bad\">The run failed: loss is &lt;NaN&gt;</li>"), "{body}");
        assert!(body.contains("Not finite at some step: loss/kl</li>") && body.contains("uses REAL data"), "{body}");
        assert!(body.contains("first 40 images"), "{body}");
    }

    #[test]
    fn accuracy_that_was_not_measured_is_said_and_a_whole_run_has_no_warning() {
        let blind = Summary::default().without_accuracy("no CIFAR-10 here");
        let seeing = Summary::default().with_accuracy([90.0, 99.0], [89.0, 99.0]);
        let body = |summary: &Summary| {
            let summary = serde_json::to_string(summary).unwrap();
            let root = folder("COMPLETED", None, &[("config.toml", ""), ("summary.json", summary.as_str())]);
            warnings(&RunFiles::read(root.path()).unwrap()).body
        };
        assert!(body(&blind).contains("Accuracy was not measured: no CIFAR-10 here"));
        assert_eq!(body(&seeing), "<p class=\"soft\">None.</p>");
    }
}
