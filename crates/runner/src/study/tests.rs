use toml::Value;

use super::{Ledger, Study};
use crate::Project;
use crate::pipeline::wordless;
use crate::record::config_hash;

/// The content of the teacher `resnet20-cifar10`, which is not shipped.
const TEACHER: &str = "bba1c589975b807871782b4f27d798fbf2b90b19650b0921dc060213c1a32d17";

/// Whatever a study file learns to say, the runs that are in a ledger are known by their hashes for good.
#[test]
fn the_cells_of_a_committed_study_are_known_by_the_hashes_of_its_ledger() {
    let project = Project::find(None).unwrap();
    let study = Study::read(&project, "ptq-cifar10").unwrap();
    let ledger = Ledger::open(&study.ledger()).unwrap();
    let hashes: Vec<String> = study
        .cells(&project)
        .unwrap()
        .into_iter()
        .filter(|cell| cell.config.experiment.name == "ptq-cifar10-gdfq-w4a4" && cell.config.seed == 1)
        .filter(|cell| ["minmax", "mse", "percentile", "kl"].contains(&cell.method.as_str()))
        .map(|cell| {
            let mut config = wordless(&cell.config);
            config.device = Some("flex".to_owned());
            config.teacher.hash = Some(TEACHER.to_owned());
            let Value::Table(table) = Value::try_from(&config).unwrap() else { panic!() };
            let hash = config_hash(&table);
            let entry = ledger.find(&hash).unwrap_or_else(|| panic!("{} is not in the ledger", cell.id()));
            assert_eq!((&entry.summary.method, entry.summary.seed), (&cell.method, 1));
            assert_eq!(cell.variant, cell.method);
            hash
        })
        .collect();
    assert_eq!(hashes.len(), 4);
    assert_eq!(hashes[0], "ab37b5ee2969a5f90a09bb06a75d94e8b61898d0e97de735c1f06fe45772a198");
    assert_eq!(hashes[1], "f17d48f6477d89f2c95b676d6be0fa20d8516bc264e98344b95ad2384894ee2d");
}

#[test]
fn at_smoke_size_a_study_has_other_names_and_another_folder() {
    let project = Project::find(None).unwrap();
    let study = Study::read(&project, "ptq-cifar10").unwrap();
    let full = study.cells(&project).unwrap();
    let smoke = study.clone().at_smoke_size(&project);
    let cells = smoke.cells(&project).unwrap();
    assert_eq!(cells.len(), full.len());
    assert!(cells.iter().all(|cell| cell.config.experiment.name.ends_with("+fast")));
    assert!(cells[0].id().starts_with("ptq-cifar10-gdfq-w8a8+fast/minmax/seed-1"));
    assert!(cells[0].config.data.limit.is_some() && full[0].config.data.limit.is_none());
    assert_ne!(smoke.ledger(), study.ledger());
    assert_eq!(smoke.clone().at_smoke_size(&project).ledger(), smoke.ledger());
}
