//! Every plugin of this crate says in its file what it computes, over what, in which range, and whose it is.

use std::path::Path;

use blindfold_zoo::Entry;

/// Images are taken or drawn there, not computed: there is no formula to state.
const WITHOUT_FORMULA: [&str; 2] = ["real", "out-of-domain"];

const SECTIONS: [&str; 4] = ["/// # Shapes", "/// # Range", "/// # Source", "/// # Differences from the source"];

fn names<T: ?Sized>(table: &[Entry<T>]) -> Vec<&'static str> {
    table.iter().map(|entry| entry.name).collect()
}

#[test]
fn every_plugin_says_its_formula_shapes_range_source_and_differences() {
    for (folder, members) in [
        ("augmentation", names(crate::BUILTIN_AUGMENTATIONS)),
        ("bn", names(crate::BUILTIN_LOSSES)),
        ("generator", names(crate::BUILTIN_GENERATORS)),
        ("prior", names(crate::BUILTIN_PRIORS)),
        ("source", names(crate::BUILTIN_SOURCES)),
    ] {
        for member in members {
            let file = Path::new("src").join(folder).join(member.replace('-', "_")).with_extension("rs");
            let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file)).unwrap();
            let says = |section: &str| text.lines().any(|line| line.trim_end() == section);
            for section in SECTIONS {
                assert!(says(section), "{}: there is no line `{section}`", file.display());
            }
            let formula = says("/// ```text");
            assert!(formula || WITHOUT_FORMULA.contains(&member), "{}: there is no formula", file.display());
        }
    }
}
