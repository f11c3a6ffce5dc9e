//! Teachers: found by name or file, loaded with their weights checked.

use std::path::PathBuf;

use anyhow::{Context, Result};
use blindfold_zoo::{Network, Normalization, TeacherCard, TeacherPlace, find_teacher, load_weights};
use burn::tensor::Device;

use crate::config::TeacherTable;
use crate::data::{Checksum, DataHome};
use crate::{Project, Registry, Usage};

/// A teacher ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Teacher {
    pub(crate) name: String,
    pub(crate) network: Network,
    pub(crate) normalization: Normalization,
    pub(crate) hash: String,
}

/// Where the weights of a catalogued teacher lie, whether or not they are there.
pub(crate) fn path_of(card: &TeacherCard, project: &Project, home: &DataHome) -> Result<PathBuf> {
    Ok(match card.place()? {
        TeacherPlace::Shipped(model) => project.models().join(model),
        TeacherPlace::DataFolder(file) => home.join(file),
    })
}

/// Loads a teacher: from the catalogue with its checksum, or from a file with the architecture that the table gives.
pub(crate) fn load(
    table: &TeacherTable,
    registry: &Registry,
    project: &Project,
    home: &DataHome,
    device: &Device,
) -> Result<Teacher> {
    let name = table.name.clone();
    let (architecture, normalization, path) = match &table.file {
        Some(file) => {
            let missing = |key: &str| {
                Usage(format!(
                    "`teacher.{key}` is missing: a teacher from a file needs its architecture and normalization"
                ))
            };
            let architecture = table.architecture.clone().ok_or_else(|| missing("architecture"))?;
            let normalization = table.normalization.clone().ok_or_else(|| missing("normalization"))?;
            (architecture, normalization, file.clone())
        }
        None => {
            if table.architecture.is_some() || table.normalization.is_some() {
                let message = format!(
                    "`teacher.architecture` and `teacher.normalization` go with `teacher.file`; `{name}` is looked up in the catalogue"
                );
                return Err(Usage(message).into());
            }
            let card = find_teacher(&name)?;
            let path = path_of(&card, project, home)?;
            if !path.is_file() {
                return Err(Usage(how_to_get(&name, &card, &path, home)).into());
            }
            Checksum::Sha256(card.sha256.clone().into())
                .check(&path, how_to_restore(&name, &card)?)
                .with_context(|| format!("teacher {name}"))?;
            (card.architecture, card.normalization, path)
        }
    };
    let built = registry
        .architectures
        .build(&architecture.kind, architecture.table)
        .map_err(|error| error.within("teacher.architecture"))?;
    let network = load_weights(built.build(device, 0), built.as_ref(), &path)?;
    normalization.check(network.input_shape()[0])?;
    let hash = network.content_hash();
    Ok(Teacher { name, network, normalization, hash })
}

/// What is odd about measuring this teacher on that data set, where the catalogue knows which one it learned.
pub(crate) fn strange_data(table: &TeacherTable, data: &str) -> Option<String> {
    if table.file.is_some() {
        return None;
    }
    let learned = find_teacher(&table.name).ok()?.data;
    (learned != data).then(|| {
        format!(
            "the teacher {} was trained on {learned}, and is measured on {data}: accuracies mean little",
            table.name
        )
    })
}

/// What to do where a catalogued teacher's file is not the one that the catalogue knows.
fn how_to_restore(name: &str, card: &TeacherCard) -> Result<String> {
    Ok(match (card.place()?, &card.url) {
        (TeacherPlace::Shipped(model), _) => format!(
            "for the shipped one type: git checkout models/{model}; for one of your own name its file: teacher.file = \"...\", with \
             teacher.architecture and teacher.normalization"
        ),
        (TeacherPlace::DataFolder(_), Some(_)) => format!("delete it and type: blindfold teacher fetch {name}"),
        (TeacherPlace::DataFolder(_), None) => format!("put the file of its publisher there ({})", card.source),
    })
}

/// What to type to get a teacher that is not there.
pub(crate) fn how_to_get(name: &str, card: &TeacherCard, path: &std::path::Path, home: &DataHome) -> String {
    let how = match &card.url {
        Some(_) => format!("type: blindfold teacher fetch {name}"),
        None => format!("its publisher ({}) gives no address to fetch it from: put the file there", card.source),
    };
    format!(
        "the teacher {name} is not at {} (data folder: {}, {}); {how}",
        path.display(),
        home.path().display(),
        home.chosen_by()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_restored_from_where_it_came() {
        let how = |name: &str| how_to_restore(name, &find_teacher(name).unwrap()).unwrap();
        let shipped = how("resnet20-shapes10");
        assert!(shipped.contains("git checkout models/resnet20-shapes10.safetensors"), "{shipped}");
        let fetched = how("resnet20-cifar10");
        assert!(!fetched.contains("git checkout") && !fetched.contains("teacher.file"), "{fetched}");
    }

    #[test]
    fn a_teacher_on_another_data_set_than_its_own_is_strange() {
        let table: TeacherTable = toml::from_str("name = 'resnet20-shapes10'").unwrap();
        assert_eq!(strange_data(&table, "shapes10"), None);
        let what = strange_data(&table, "cifar10").unwrap();
        assert!(what.contains("trained on shapes10") && what.contains("on cifar10"), "{what}");
        let own = TeacherTable { file: Some("mine.safetensors".into()), ..table };
        assert_eq!(strange_data(&own, "cifar10"), None);
    }
}
