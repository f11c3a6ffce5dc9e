//! The images that a run was fitted on.

use super::html::{Section, aside, data_uri, escape};
use super::run_files::RunFiles;

/// Pictures that a page takes in, the latest ones.
const PICTURES: usize = 24;

/// The pictures of samples/, in the order of their steps.
pub(super) fn samples(files: &RunFiles) -> Section {
    let entries = std::fs::read_dir(files.folder.join("samples")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".png") && !name.starts_with('.'))
        .collect();
    names.sort();
    let left = names.len().saturating_sub(PICTURES);
    let picture = |name: &String| {
        let address = data_uri("image/png", &files.bytes(&format!("samples/{name}"))?);
        let name = escape(name.trim_end_matches(".png"));
        Some(format!("<figure><img alt=\"{name}\" src=\"{address}\"><figcaption>{name}</figcaption></figure>\n"))
    };
    let pictures: String = names[left..].iter().filter_map(picture).collect();
    let mut body = match pictures.is_empty() {
        true => aside("None yet."),
        false => format!("<div class=\"pictures\">\n{pictures}</div>\n"),
    };
    if files.uses_real_data() && !pictures.is_empty() {
        body = aside("Images of a REAL data set.") + &body;
    }
    if left > 0 {
        body += &aside(&format!("{left} earlier ones are in samples/."));
    }
    Section { id: "samples", title: "Images", body }
}

#[cfg(test)]
mod tests {
    use super::super::run_files::tests::folder;
    use super::*;

    #[test]
    fn pictures_stand_within_the_page_the_latest_ones_where_there_are_many() {
        let names: Vec<String> = (0..26).map(|step| format!("samples/images-{step:06}.png")).collect();
        let mut files = vec![("config.toml", "")];
        files.extend(names.iter().map(|name| (name.as_str(), "f")));
        let root = folder("COMPLETED", None, &files);
        let body = samples(&RunFiles::read(root.path()).unwrap()).body;
        assert_eq!(body.matches("src=\"data:image/png;base64,Zg==\"").count(), 24, "{body}");
        assert!(body.contains("images-000025<") && !body.contains("images-000001<"), "{body}");
        assert!(body.contains("2 earlier ones") && !body.contains("REAL"), "{body}");
    }

    #[test]
    fn real_images_are_marked_and_none_is_said() {
        let real = ("config.toml", "[images]\nsource = 'real'\n");
        let root = folder("RUNNING", None, &[real, ("samples/images-000000.png", "f")]);
        assert!(samples(&RunFiles::read(root.path()).unwrap()).body.contains("REAL data set"));
        let root = folder("RUNNING", None, &[real]);
        assert!(samples(&RunFiles::read(root.path()).unwrap()).body.contains("None yet."));
    }
}
