//! The top of the page: what was run, and what came of it.

use super::html::{definitions, escape};
use super::run_files::RunFiles;
use crate::plot::number;
use crate::record::{Best, DOUBLE_DAGGER, Phase, Status, Summary};

/// The page's title: the run's name.
pub(super) fn title(files: &RunFiles) -> String {
    let info = &files.info;
    format!("{} / {} / seed {}", info.experiment, info.method, info.seed)
}

/// The head of the page as HTML.
pub(super) fn header(files: &RunFiles) -> String {
    let info = &files.info;
    let (status, class) = match info.status {
        Status::Completed => ("COMPLETED", "good"),
        Status::Running => ("RUNNING", "warn"),
        Status::Interrupted => ("INTERRUPTED", "warn"),
        Status::Failed => ("FAILED", "bad"),
    };
    let summary = files.word("experiment.summary").unwrap_or_default();
    let tiles: String = match &files.summary {
        Some(summary) => outcome(summary, files.key("distill").is_some()),
        None => so_far(files),
    };
    format!(
        "<header class=\"lead\">\n<p class=\"soft small\">{}</p>\n\
         <div class=\"title\"><h1>{} <span class=\"soft\">on</span> {}</h1>\
         <span class=\"badge {class}\">{status}</span></div>\n\
         <p class=\"soft\">{}</p>\n<div class=\"tiles\">\n{tiles}</div>\n{}</header>\n",
        escape(&title(files)),
        escape(&info.method),
        escape(&info.experiment),
        escape(&summary),
        definitions(&facts(files))
    )
}

/// The result of a finished run.
fn outcome(summary: &Summary, trained: bool) -> String {
    let percent = |value: Option<f64>| value.map(|value| format!("{value:.2} %"));
    let place = summary.measured_on.as_deref().unwrap_or("images that are not named");
    let student = if trained { "student top-1, final epoch" } else { "student top-1" };
    let missing = "not measured";
    [
        tile(percent(summary.fp_top1), "teacher top-1, full precision", missing),
        tile(percent(summary.student_top1), student, missing),
        tile(summary.drop.map(|drop| format!("{drop:.2}")), "drop, points", missing),
        tile(percent(summary.agreement), &format!("agreement, {place}"), missing),
        tile(summary.logit_mse.map(number), &format!("logit MSE, {place}"), missing),
    ]
    .concat()
}

/// The latest measurements of a run that is not finished.
fn so_far(files: &RunFiles) -> String {
    let last = |tag: &str| files.last(Phase::Eval, tag).map(|value| format!("{value:.2} %"));
    let missing = "not yet";
    [
        tile(last("teacher/top1"), "teacher top-1, full precision", missing),
        tile(last("student/top1"), "student top-1 so far", missing),
        tile(last("student/agreement"), "agreement so far, held-out images", missing),
    ]
    .concat()
}

fn tile(value: Option<String>, name: &str, missing: &str) -> String {
    let (class, value) = match value {
        Some(value) => ("tile", value),
        None => ("tile none", missing.to_owned()),
    };
    format!("<div class=\"{class}\"><b>{}</b><span>{}</span></div>\n", escape(&value), escape(name))
}

/// Method, teacher, data, protocol, bits, and how they were used, as HTML.
fn facts(files: &RunFiles) -> Vec<(&'static str, String)> {
    let word = |path: &str| files.word(path).unwrap_or_else(|| "not known".to_owned());
    let code = |path: &str| format!("<code>{}</code>", escape(&word(path)));
    let limit = files.word("data.limit").map(|limit| format!(" (first {limit})")).unwrap_or_default();
    let (network, data, bits) = match &files.summary {
        Some(summary) => (format!(", {}", summary.network), summary.dataset.clone(), summary.bits.clone()),
        None => (
            String::new(),
            format!("{}{limit}", word("data.name")),
            format!("W{}A{}", word("quant.weight_bits"), word("quant.activation_bits")),
        ),
    };
    let count = files.word("images.count").map(|count| format!("{count} of ")).unwrap_or_default();
    let real = if files.uses_real_data() { " <b class=\"warn\">REAL data</b>" } else { "" };
    let mut facts = vec![
        ("Method", escape(&word("method.summary"))),
        ("Source", escape(&word("method.source"))),
        ("Teacher", format!("{}{}", code("teacher.name"), escape(&network))),
        ("Test set", escape(&data)),
        ("Protocol", code("quant.protocol")),
        ("Bits", escape(&bits)),
        ("Images", format!("{}{}{real}", escape(&count), code("images.source"))),
        ("Fitting steps", escape(&steps(files))),
        ("Training", escape(&training(files))),
    ];
    let differences = files.key("method.differences").and_then(toml::Value::as_array).into_iter().flatten();
    let differences: Vec<String> = differences.filter_map(|line| Some(escape(line.as_str()?))).collect();
    if !differences.is_empty() {
        facts.push(("Other than there", differences.join("<br>")));
    }
    if let Some(best) = files.summary.as_ref().and_then(|summary| summary.best_on_test.as_ref()) {
        let mark = "selected on test: optimistic, not the result";
        facts.push(("Best on test", format!("{} <span class=\"soft\">{DOUBLE_DAGGER} {mark}</span>", at(best))));
    }
    if let Some(best) = files.summary.as_ref().and_then(|summary| summary.best_by_synthetic.as_ref()) {
        facts.push((
            "Best without data",
            format!("{} <span class=\"soft\">{}</span>", at(best), escape(&best.criterion)),
        ));
    }
    facts
}

fn at(best: &Best) -> String {
    let top1 = best.top1.map(|top1| format!("{top1:.2} % ")).unwrap_or_default();
    format!("{top1}at epoch {}", best.epoch)
}

fn steps(files: &RunFiles) -> String {
    let steps = files.key("fit.steps").and_then(toml::Value::as_array).into_iter().flatten();
    let names: Vec<&str> = steps.filter_map(toml::Value::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn training(files: &RunFiles) -> String {
    match (files.key("distill").is_some(), files.word("distill.epochs"), files.word("distill.batch")) {
        (false, ..) => "none".to_owned(),
        (true, Some(epochs), Some(batch)) => format!("{epochs} epochs, batches of {batch}"),
        (true, ..) => "yes".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::run_files::tests::folder;
    use super::*;
    use crate::record::METRICS_FILE;

    fn config() -> &'static str {
        "[experiment]\nsummary = 'small & fine'\n[method]\nsummary = '<script>'\nsource = 'A, B'\n\
         differences = ['less', 'more']\n\
         [teacher]\nname = 'resnet20'\n[data]\nname = 'shapes10'\nlimit = 40\n[images]\nsource = 'zeroq'\ncount = 8\n\
         [quant]\nprotocol = 'gdfq'\nweight_bits = 4\nactivation_bits = 8\n[distill]\nepochs = 6\nbatch = 4\n"
    }

    #[test]
    fn an_unfinished_run_shows_what_it_has_measured() {
        let records = "{\"step\":0,\"phase\":\"eval\",\"wall\":0.0,\"teacher/top1\":96.5}\n";
        let root = folder("FAILED", Some("no space"), &[("config.toml", config()), (METRICS_FILE, records)]);
        let html = header(&RunFiles::read(root.path()).unwrap());
        assert!(html.contains("<span class=\"badge bad\">FAILED</span>"), "{html}");
        assert!(html.contains("<b>96.50 %</b>") && html.contains("<b>not yet</b><span>student top-1 so far"), "{html}");
        assert!(html.contains("<dd>&lt;script&gt;</dd>") && html.contains("small &amp; fine"), "{html}");
        assert!(html.contains("<dd>shapes10 (first 40)</dd>") && html.contains("<dd>W4A8</dd>"), "{html}");
        assert!(html.contains("6 epochs, batches of 4") && html.contains("<dd>less<br>more</dd>"), "{html}");
    }

    #[test]
    fn a_finished_run_shows_its_outcome_and_the_best_epoch_apart() {
        let summary =
            Summary { best_on_test: Some(Best::on_test(3, 92.0)), logit_mse: Some(0.25), ..Summary::default() };
        let summary =
            Summary { measured_on: Some("held-out".into()), ..summary.with_accuracy([96.0, 99.0], [91.5, 99.0]) };
        let summary = serde_json::to_string(&summary).unwrap();
        let root = folder("COMPLETED", None, &[("config.toml", config()), ("summary.json", summary.as_str())]);
        let html = header(&RunFiles::read(root.path()).unwrap());
        assert!(html.contains("<b>91.50 %</b><span>student top-1, final epoch</span>"), "{html}");
        assert!(html.contains("<b>4.50</b><span>drop, points</span>") && html.contains("<b>0.25</b>"), "{html}");
        assert!(html.contains("92.00 % at epoch 3 <span class=\"soft\">\u{2021} selected on test"), "{html}");
        assert!(html.contains("<b>not measured</b><span>agreement, held-out</span>"), "{html}");
    }
}
