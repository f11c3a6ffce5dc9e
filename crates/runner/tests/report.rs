//! The page of `blindfold report`: whole, of well-formed HTML, with nothing from elsewhere and nothing of a run's text
//! read as HTML.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod common;
mod fabricated;

use common::{Bench, text};
use fabricated::{End, Results, Run};

const SECTIONS: [&str; 9] =
    ["warnings", "curves", "layers", "samples", "audit", "configuration", "costs", "environment", "log"];
/// Elements without content.
const VOID: [&str; 3] = ["meta", "img", "br"];

/// An element that begins: its name and its attributes.
type Element = (String, Vec<(String, String)>);

/// The elements of a page in order, and the text between them as a reader sees it. Panics where an element is not
/// closed, or closed that is not open.
fn parse(page: &str) -> (Vec<Element>, String) {
    let (mut elements, mut seen, mut open) = (Vec::new(), String::new(), Vec::new());
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some((before, after)) = rest.split_once('<') {
        seen += &plain(before);
        let (tag, content) = after.split_once('>').unwrap();
        rest = content;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "</{name}> at: {:.80}", content);
            continue;
        }
        let closed = tag.ends_with('/');
        let element = element(tag.trim_end_matches('/'));
        let name = element.0.clone();
        if ["style", "script"].contains(&name.as_str()) {
            rest = rest.split_once(&format!("</{name}>")).unwrap().1;
        } else if !closed && !VOID.contains(&name.as_str()) {
            open.push(name);
        }
        elements.push(element);
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    (elements, seen + &plain(rest))
}

/// `name a="1" b`.
fn element(tag: &str) -> Element {
    let (name, mut rest) = tag.split_once([' ', '\n']).unwrap_or((tag, ""));
    assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()), "<{tag}>");
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return (name.to_owned(), attributes);
        }
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let key = rest[..end].to_owned();
        assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "<{tag}>");
        rest = &rest[end..];
        let value = match rest.strip_prefix("=\"") {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"').unwrap();
                rest = after;
                plain(value)
            }
            None => String::new(),
        };
        attributes.push((key, value));
    }
}

fn plain(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    assert!(!text.replace("&amp;", "").contains('&'), "an ampersand that is not escaped: {text}");
    text.replace("&amp;", "&")
}

/// Parses the page and holds it against what every page has; returns what a reader sees.
fn check(page: &str) -> String {
    let (elements, seen) = parse(page);
    let value =
        |element: &Element, key: &str| element.1.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone());
    for section in SECTIONS {
        let there = elements
            .iter()
            .filter(|element| element.0 == "section" && value(element, "id").as_deref() == Some(section));
        assert_eq!(there.count(), 1, "{section}");
    }
    for element in &elements {
        for forbidden in ["link", "iframe", "object", "embed", "base", "form"] {
            assert_ne!(element.0, forbidden);
        }
        for (key, address) in &element.1 {
            assert!(!key.starts_with("on"), "{element:?}");
            match key.as_str() {
                "src" => assert!(address.starts_with("data:image/"), "{address:.80}"),
                "href" => assert!(address.starts_with('#'), "{address}"),
                "style" => assert!(address.starts_with("width:") && !address.contains("url"), "{address}"),
                _ => {}
            }
        }
    }
    let policy =
        elements.iter().find_map(|element| value(element, "http-equiv").and(value(element, "content"))).unwrap();
    assert!(
        policy.starts_with("default-src 'none'; img-src data:;") && policy.contains("script-src 'sha256-"),
        "{policy}"
    );
    assert_eq!(elements.iter().filter(|element| element.0 == "script").count(), 1);
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    assert!(!style.contains("url(") && !style.contains("@import") && style.contains("prefers-color-scheme: dark"));
    seen
}

fn ids(page: &str) -> Vec<String> {
    let sections = page.split("<section id=\"").skip(1);
    sections.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn runs_that_were_calibrated_trained_fitted_and_analysed_have_their_pages() {
    let bench = Bench::new();
    for method in ["zeroq", "zeroq-kd", "brecq", "real"] {
        let (code, _, stderr) = text(&bench.run(&["exp", "small", "--method", method, "--out", "a"]));
        assert_eq!(code, Some(0), "{stderr}");
    }
    let (code, _, stderr) = text(&bench.run(&["analyze", "small", "--method", "brecq", "--images", "4", "--out", "a"]));
    assert_eq!(code, Some(0), "{stderr}");
    let page_of = |method: &str| {
        let (code, stdout, stderr) =
            text(&bench.run(&["report", &format!("small/{method}"), "--results", "a", "--out", "page.html"]));
        assert_eq!((code, stdout.as_str()), (Some(0), "page.html\n"), "{stderr}");
        std::fs::read_to_string(bench.folder.path().join("page.html")).unwrap()
    };
    let calibrated = page_of("zeroq");
    let seen = check(&calibrated);
    assert_eq!(ids(&calibrated), SECTIONS);
    for words in ["COMPLETED", "Making the images", "conv2d", "W4A4", "gdfq", "As configs/small.toml", "layer1.0.conv1"]
    {
        assert!(seen.contains(words), "{words}: {seen}");
    }
    assert!(calibrated.contains("src=\"data:image/png;base64,iVBOR"), "the sample");
    // The number of the page is the number of the outcome.
    let summary = std::fs::read_to_string(bench.folder_of("a", "zeroq").join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let top1 = format!("{:.2} %student top-1", summary["student_top1"].as_f64().unwrap());
    assert!(seen.contains(&top1), "{top1}: {seen}");

    let trained = page_of("zeroq-kd");
    let seen = check(&trained);
    for words in ["Accuracy and agreement", "Learning rate", "Loss terms", "student top-1, final epoch", "Best on test"]
    {
        assert!(seen.contains(words), "{words}: {seen}");
    }
    assert!(trained.contains("<title>epoch 6\n"), "each epoch says its values");

    let fitted = page_of("brecq");
    let seen = check(&fitted);
    assert!(["fitting", "analysis"].iter().all(|id| ids(&fitted).contains(&(*id).to_owned())), "{:?}", ids(&fitted));
    assert!(seen.contains("hard / before") && seen.contains("activation-steps"), "{seen}");
    assert!(fitted.contains("src=\"data:image/svg+xml;base64,"), "the overview");

    assert!(check(&page_of("real")).contains("uses REAL data"));
}

#[test]
fn without_the_test_set_the_page_says_so_and_what_was_set_stands_above() {
    let bench = Bench::new();
    let set = ["--set", "data.name=cifar10", "--set", "quant.activation_bits=8"];
    let (code, _, stderr) = text(&bench.run(&[&["exp", "small", "--method", "zeroq"][..], &set].concat()));
    assert_eq!(code, Some(0), "{stderr}");
    let runs = bench.folder.path().join("results/runs");
    let mut names = std::fs::read_dir(&runs).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    let experiment = names.find(|name| name.starts_with("small")).unwrap();
    let (code, stdout, stderr) = text(&bench.run(&["report", &experiment]));
    assert_eq!(code, Some(0), "{stderr}");
    let path = runs.join(&experiment).join("zeroq/seed-1/report.html");
    assert_eq!(std::path::Path::new(stdout.trim()).canonicalize().unwrap(), path.canonicalize().unwrap());
    let page = std::fs::read_to_string(path).unwrap();
    let seen = check(&page);
    assert!(seen.contains("Accuracy was not measured") && seen.contains("not measuredstudent top-1"), "{seen}");
    assert!(page.contains("<tr><td>quant.activation_bits</td><td>4</td><td>8</td></tr>"), "{page}");
}

#[test]
fn a_failed_run_and_a_killed_one_have_pages_of_what_there_is() {
    let results = Results::new();
    let failed = results.add(&Run::new("w4", "kd", 1).top1(&[70.0, 75.0]), End::Failed("no space left on <device>"));
    results.works(&["report", failed.to_str().unwrap()]);
    let seen = check(&std::fs::read_to_string(failed.join("report.html")).unwrap());
    assert!(seen.contains("FAILED") && seen.contains("The run failed: no space left on <device>"), "{seen}");
    assert!(seen.contains("75.00 %student top-1 so far") && seen.contains("configs/w4.toml is not a file"), "{seen}");
    let killed = results.add(&Run::new("w4", "kd", 2), End::Killed);
    let seen = results.works(&["report", "w4/kd/seed-2"]);
    assert!(seen.trim_end().ends_with("seed-2/report.html"), "{seen}");
    let seen = check(&std::fs::read_to_string(killed.join("report.html")).unwrap());
    assert!(seen.contains("RUNNING") && seen.contains("No curve has been recorded"), "{seen}");
}

#[test]
fn nothing_of_a_run_s_text_is_read_as_html() {
    const EVIL: &str = "</pre></script><script>alert(1)</script><img src=x onerror=\"alert('2')\">&amp;";
    let results = Results::new();
    let mut run = Run::new("w4", "a<b>&\"'", 1).top1(&[70.0, 75.0]);
    let layer = format!("quant/{}/sqnr_db", EVIL.replace('/', ":"));
    run.records.push(blindfold::record::Record::new(blindfold::record::Phase::Calibrate, 0, 0.0).with(layer, 1.0));
    let folder = results.add(&run, End::Failed(EVIL));
    let audit = format!("| layer | bits |\n|---|---:|\n| {EVIL} | 4 |\n\n{EVIL}\n");
    for (name, text) in [("log.txt", EVIL), ("overrides.txt", EVIL), ("audit.md", audit.as_str())] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let config = std::fs::read_to_string(folder.join("config.toml")).unwrap();
    std::fs::write(folder.join("config.toml"), config.replace("\"made up\"", &format!("'''{EVIL}'''"))).unwrap();
    results.works(&["report", folder.to_str().unwrap()]);
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    let seen = check(&page);
    // The experiment's summary, the failure, the audit twice, the command, the configuration, the log.
    assert!(seen.matches(EVIL).count() >= 7, "{}: {seen}", seen.matches(EVIL).count());
    assert!(page.contains("<h1>a&lt;b&gt;&amp;&quot;&#39; <span"), "{page}");
}

#[test]
fn a_page_is_about_one_run() {
    let results = Results::new();
    results.add(&Run::new("w4", "kd", 1), End::Completed(80.0));
    results.add(&Run::new("w4", "kd", 2), End::Completed(82.0));
    let text = results.refused(&["report", "w4/kd"]);
    assert!(text.contains("means 2 runs") && text.contains("seed-1\n") && text.contains("seed-2"), "{text}");
    assert!(results.refused(&["report", "w5"]).contains("there are no runs `w5`"));
    std::fs::create_dir_all(results.root.path().join("results/runs/empty")).unwrap();
    assert!(results.refused(&["report", "empty"]).contains("no run in it"));
}
