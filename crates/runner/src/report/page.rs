//! The page, put together.

use sha2::{Digest, Sha256};

use super::analysis::analysis;
use super::configuration::{Baseline, configuration};
use super::costs::costs;
use super::curves::curves;
use super::environment::{environment, log};
use super::fitting::{allocation, fitting};
use super::header::{header, title};
use super::html::{Section, aside, base64, escape};
use super::layers::layers;
use super::markdown;
use super::run_files::RunFiles;
use super::samples::samples;
use super::warnings::warnings;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// One page of HTML about a run that needs nothing beside itself: style, script, charts and pictures are within it. Its
/// content security policy forbids everything else, so that no text of a run can load or run anything.
pub(crate) fn page(files: &RunFiles, baseline: &Baseline) -> String {
    let always = [
        Some(warnings(files)),
        Some(curves(files)),
        Some(layers(files)),
        fitting(files),
        allocation(files),
        analysis(files),
        Some(samples(files)),
        Some(audit(files)),
        Some(configuration(files, baseline)),
        Some(costs(files)),
        Some(environment(files)),
        Some(log(files)),
    ];
    let sections: Vec<Section> = always.into_iter().flatten().collect();
    let links: String =
        sections.iter().map(|section| format!("<a href=\"#{}\">{}</a>\n", section.id, section.title)).collect();
    let body: String = sections.iter().map(Section::to_html).collect();
    let script = base64(&Sha256::digest(SCRIPT.as_bytes()));
    let (title, header) = (escape(&title(files)), header(files));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'; script-src 'sha256-{script}'\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<main>\n{header}<nav aria-label=\"Sections\">\n{links}</nav>\n{body}\
         <footer>Made by <code>blindfold report</code> from the files of the run.</footer>\n</main>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

/// audit.md, which says of each tensor how it was quantized.
fn audit(files: &RunFiles) -> Section {
    let body = match files.text("audit.md") {
        Some(text) => markdown::html(&text, &|_| None),
        None => aside("Not written yet: the student is audited once it is calibrated."),
    };
    Section { id: "audit", title: "Audit", body }
}

#[cfg(test)]
mod tests {
    use super::super::run_files::tests::folder;
    use super::*;

    #[test]
    fn a_run_that_has_hardly_begun_has_a_page() {
        let root = folder("RUNNING", None, &[("config.toml", "")]);
        let files = RunFiles::read(root.path()).unwrap();
        let page = page(&files, &Baseline::Absent("there is no file".into()));
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
        for section in
            ["warnings", "curves", "layers", "samples", "audit", "configuration", "costs", "environment", "log"]
        {
            assert_eq!(page.matches(&format!("<section id=\"{section}\">")).count(), 1, "{section}");
            assert_eq!(page.matches(&format!("href=\"#{section}\"")).count(), 1, "{section}");
        }
        assert!(page.contains("<title>small / zeroq / seed 7</title>"));
    }

    #[test]
    fn style_and_script_end_where_they_should() {
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
        let root = folder("RUNNING", None, &[]);
        let page = page(&RunFiles::read(root.path()).unwrap(), &Baseline::Absent("no".into()));
        assert_eq!((page.matches("</script>").count(), page.matches("</style>").count()), (1, 1));
        // The policy's hash is that of the text between the tags.
        let script = page.split("<script>").nth(1).unwrap().split("</script>").next().unwrap();
        assert!(page.contains(&format!("'sha256-{}'", base64(&Sha256::digest(script.as_bytes())))));
    }
}
