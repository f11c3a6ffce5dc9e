//! Where the run was computed, and the hashes of what it came from.

use super::html::{Section, definitions, escape, fold};
use super::run_files::RunFiles;

/// Lines of the log that a page takes in, the last ones.
const LINES: usize = 200;

/// Device, machine, times, versions, hashes.
pub(super) fn environment(files: &RunFiles) -> Section {
    let info = &files.info;
    let known = |value: &Option<String>| value.as_deref().map_or_else(|| "not known".to_owned(), hash);
    let host = info.host.as_deref().unwrap_or("not known");
    let cores = info.cores.map(|cores| format!(", {cores} threads")).unwrap_or_default();
    let commit = info.git.as_ref().map_or_else(
        || "not known".to_owned(),
        |git| format!("{}{}", hash(&git.sha), if git.dirty { " with changes that no commit holds" } else { "" }),
    );
    let rows = [
        ("Device", escape(&info.device)),
        ("Machine", escape(&format!("{host}{cores}"))),
        ("Began", escape(&info.started)),
        ("Ended", escape(info.ended.as_deref().unwrap_or("not yet"))),
        ("Taken up again", times(info.resumed)),
        ("blindfold", escape(&info.versions.blindfold)),
        ("Burn", escape(&info.versions.burn)),
        ("Rust, at least", escape(&info.versions.rust)),
        ("Commit", commit),
        ("Configuration", hash(&info.config_sha256)),
        ("Teacher", known(&info.teacher_sha256)),
        ("Test set", known(&info.dataset_sha256)),
        ("Images", known(&info.images_sha256)),
        ("Folder", format!("<code>{}</code>", escape(&files.folder.display().to_string()))),
    ];
    Section { id: "environment", title: "Environment", body: definitions(&rows) }
}

/// The end of log.txt, folded.
pub(super) fn log(files: &RunFiles) -> Section {
    let text = files.text("log.txt").unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LINES)..];
    let body = match shown.is_empty() {
        true => "<p class=\"soft\">Empty.</p>".to_owned(),
        false => {
            let name = match shown.len() < lines.len() {
                true => format!("The last {} of {} lines", shown.len(), lines.len()),
                false => format!("{} lines", lines.len()),
            };
            fold(&name, &format!("<pre>{}</pre>", escape(&shown.join("\n"))))
        }
    };
    Section { id: "log", title: "Log", body }
}

fn hash(hash: &str) -> String {
    format!("<span class=\"mono\">{}</span>", escape(hash))
}

fn times(count: u32) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::run_files::tests::folder;
    use super::*;

    #[test]
    fn what_is_not_known_is_said() {
        let root = folder("RUNNING", None, &[("config.toml", "")]);
        let body = environment(&RunFiles::read(root.path()).unwrap()).body;
        assert!(body.contains("<dt>Machine</dt><dd>not known, 2 threads</dd>"), "{body}");
        assert!(body.contains("<dt>Ended</dt><dd>not yet</dd>") && body.contains("<dd>never</dd>"), "{body}");
        assert!(body.contains("<dt>Images</dt><dd><span class=\"mono\">cd</span></dd>"), "{body}");
        assert!(body.contains("<dt>Teacher</dt><dd>not known</dd>"), "{body}");
    }

    #[test]
    fn the_end_of_a_long_log_is_there() {
        let text: String = (0..250).map(|line| format!("line {line} <\n")).collect();
        let root = folder("FAILED", None, &[("config.toml", ""), ("log.txt", text.as_str())]);
        let body = log(&RunFiles::read(root.path()).unwrap()).body;
        assert!(body.contains("The last 200 of 250 lines") && body.contains("line 249 &lt;"), "{body}");
        assert!(!body.contains("line 49 "), "{body}");
    }
}
