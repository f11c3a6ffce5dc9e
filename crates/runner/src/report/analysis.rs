//! The error analysis of `blindfold analyze`, where there is one in the run's folder.

use super::html::{Section, data_uri, fold};
use super::markdown;
use super::run_files::RunFiles;

/// Histograms that the page takes in.
const HISTOGRAMS: usize = 120;

/// The pages of the analysis, with their pictures within them.
pub(super) fn analysis(files: &RunFiles) -> Option<Section> {
    let text = files.text("analysis/analysis.md")?;
    let picture = |name: &str| files.bytes(&format!("analysis/{name}")).map(|bytes| data_uri("image/svg+xml", &bytes));
    // The section has the title already.
    let text = text.strip_prefix("# ").and_then(|rest| rest.split_once('\n')).map_or(text.as_str(), |(_, rest)| rest);
    let mut body = markdown::html(text, &picture);
    let tables = [
        ("weights", "How the weights are distributed"),
        ("activations", "How the activations are distributed"),
        ("channel-bits", "Bits by channel"),
    ];
    for (name, title) in tables {
        if let Some(text) = files.text(&format!("analysis/{name}.md")) {
            body += &fold(title, &markdown::html(&text, &picture));
        }
    }
    let names = histograms(files);
    if !names.is_empty() {
        let pictures = names.iter().take(HISTOGRAMS).filter_map(|name| {
            let address = picture(&format!("histograms/{name}"))?;
            let name = super::html::escape(name.trim_end_matches(".svg"));
            let caption = format!("<figcaption>{name}</figcaption>");
            Some(format!("<figure class=\"figure\"><img alt=\"{name}\" src=\"{address}\">{caption}</figure>\n"))
        });
        let pictures = format!("<div class=\"cards wide\">\n{}</div>\n", pictures.collect::<String>());
        let left = names.len().saturating_sub(HISTOGRAMS);
        let left = if left > 0 { format!(", the first {HISTOGRAMS} of {}", names.len()) } else { String::new() };
        body += &fold(&format!("Values with their grids{left}"), &pictures);
    }
    Some(Section { id: "analysis", title: "Error analysis", body })
}

/// The names of the pictures in the order of the layers, which they begin with the number of.
fn histograms(files: &RunFiles) -> Vec<String> {
    let entries = std::fs::read_dir(files.folder.join("analysis/histograms")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".svg") && !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::super::run_files::tests::folder;
    use super::*;

    #[test]
    fn pages_and_pictures_stand_within_the_page() {
        let page = "# Error analysis\n\n**relu1 stands out.**\n\n![error of each layer's output](overview.svg)\n";
        let files = [
            ("config.toml", ""),
            ("analysis/analysis.md", page),
            ("analysis/overview.svg", "<svg/>"),
            ("analysis/weights.md", "| layer | KS |\n|---|--:|\n| conv1 | 0.1 |\n"),
            ("analysis/activations.md", "| site | KS |\n|---|--:|\n| relu1 | 0.1 |\n"),
            ("analysis/histograms/01-conv1.svg", "<svg/>"),
        ];
        let root = folder("COMPLETED", None, &files);
        let body = analysis(&RunFiles::read(root.path()).unwrap()).unwrap().body;
        assert!(body.starts_with("<p><b>relu1 stands out.</b></p>"), "{body}");
        assert_eq!(body.matches("src=\"data:image/svg+xml;base64,PHN2Zy8+\"").count(), 2, "{body}");
        for what in ["weights", "activations"] {
            assert!(body.contains(&format!("<summary>How the {what} are distributed</summary>")), "{body}");
        }
        assert!(body.contains("<figcaption>01-conv1</figcaption>") && !body.contains("Bits by channel"), "{body}");
    }

    #[test]
    fn without_an_analysis_there_is_no_section() {
        let root = folder("COMPLETED", None, &[("config.toml", "")]);
        assert_eq!(analysis(&RunFiles::read(root.path()).unwrap()), None);
    }
}
