use super::*;

#[test]
fn every_member_is_documented_and_builds_from_its_defaults() {
    for entry in generators().unwrap().entries() {
        assert!(!entry.summary.is_empty() && !entry.source.is_empty(), "{} is not documented", entry.name);
        let defaults = (entry.defaults)();
        let text = toml::to_string(&defaults).unwrap();
        assert_eq!(text.parse::<toml::Table>().unwrap(), defaults, "{} does not come back", entry.name);
        for table in [toml::Table::new(), defaults] {
            let method = (entry.build)(table).unwrap();
            method.settings().validate().unwrap();
        }
        let error = (entry.build)("no_such_key = 1".parse().unwrap()).err().unwrap();
        assert!(error.to_string().contains("no_such_key"), "{error}");
        let error = (entry.build)("generator = { every = 0 }".parse().unwrap()).err().unwrap();
        assert!(error.to_string().contains("`generator.every`: 0"), "{}: {error}", entry.name);
    }
}

#[test]
fn a_part_of_the_generators_table_keeps_the_rest_of_the_defaults() {
    for entry in BUILTIN_GENERATORS {
        let mut expected = (entry.build)(toml::Table::new()).unwrap().settings().clone();
        expected.optimizer.lr = 0.5;
        let part = (entry.build)("generator = { optimizer = { lr = 0.5 } }".parse().unwrap()).unwrap();
        assert_eq!(part.settings(), &expected, "{}", entry.name);
    }
}

#[test]
fn every_file_is_in_the_table() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generator");
    let others =
        ["mod", "checkpoint", "latents", "layers", "network", "sample", "settings", "teacher", "tests", "trainer"];
    let mut files: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().replace('_', "-"))
        .filter(|name| !others.contains(&name.as_str()))
        .collect();
    files.sort();
    files.dedup();
    let mut table: Vec<&str> = BUILTIN_GENERATORS.iter().map(|entry| entry.name).collect();
    table.sort_unstable();
    assert_eq!(files, table);
}
