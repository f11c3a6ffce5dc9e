use blindfold_zoo::stream;

use super::*;
use crate::sample::{host, images};

/// Images `[count, 3, 8, 8]`, each of a class of its own.
pub(super) fn batch(count: usize, seed: u64) -> Augmented {
    Augmented { images: images(count, seed), labels: Some((0..count as u32).collect()), shares: None, classes: count }
}

pub(super) fn apply(name: &str, table: &str, batch: Augmented, random: &mut Stream) -> Augmented {
    augmentations().unwrap().build(name, table.parse().unwrap()).unwrap().apply(batch, random)
}

/// The fault of a member's table.
pub(super) fn fault(name: &str, table: &str) -> String {
    augmentations().unwrap().build(name, table.parse().unwrap()).err().unwrap().to_string()
}

/// The image that a mixed one of [`batch`] has the rest of its classes from: itself where it has all of them.
pub(super) fn partner_of(shares: &[f64], image: usize) -> usize {
    (0..shares.len()).find(|&class| class != image && shares[class] > 0.0).unwrap_or(image)
}

fn bits(batch: &Augmented) -> (Vec<f64>, Option<Vec<u32>>, Option<Vec<f64>>) {
    (host(&batch.images), batch.labels.clone(), batch.shares.as_ref().map(host))
}

#[test]
fn every_member_is_documented_and_builds_from_its_defaults() {
    for entry in augmentations().unwrap().entries() {
        assert!(!entry.summary.is_empty() && !entry.source.is_empty(), "{} is not documented", entry.name);
        let defaults = (entry.defaults)();
        let text = toml::to_string(&defaults).unwrap();
        assert_eq!(text.parse::<toml::Table>().unwrap(), defaults, "{} does not come back", entry.name);
        for table in [toml::Table::new(), defaults] {
            (entry.build)(table).unwrap().check([3, 8, 8]).unwrap();
        }
        for table in ["no_such_key = 1", "probability = -0.1", "probability = nan"] {
            let key = table.split(' ').next().unwrap();
            let error = (entry.build)(table.parse().unwrap()).err().unwrap().to_string();
            assert!(error.contains(key), "{}: {error}", entry.name);
        }
    }
}

#[test]
fn every_file_is_in_the_table() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/augmentation");
    let others = ["mod", "augmented", "mixing", "tests"];
    let mut files: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().replace('_', "-"))
        .filter(|name| !others.contains(&name.as_str()))
        .collect();
    files.sort();
    let mut table: Vec<&str> = BUILTIN_AUGMENTATIONS.iter().map(|entry| entry.name).collect();
    table.sort_unstable();
    assert_eq!(files, table);
}

#[test]
fn a_probability_of_0_is_the_identity() {
    for entry in BUILTIN_AUGMENTATIONS {
        let still = apply(entry.name, "probability = 0.0", batch(6, 5), &mut stream(3, "test"));
        assert_eq!(bits(&still), bits(&batch(6, 5)), "{}", entry.name);
    }
}

#[test]
fn the_stream_alone_decides() {
    for entry in BUILTIN_AUGMENTATIONS {
        let shown = |seed| bits(&apply(entry.name, "", batch(16, 5), &mut stream(seed, "test")));
        assert_eq!(shown(3), shown(3), "{}", entry.name);
        assert_eq!(shown(3) == shown(4), entry.name == "low-pass", "{}", entry.name);
        assert_ne!(shown(3), bits(&batch(16, 5)), "{}", entry.name);
    }
}

#[test]
fn labels_stay_unless_images_are_mixed() {
    for entry in BUILTIN_AUGMENTATIONS {
        let shown = apply(entry.name, "", batch(6, 5), &mut stream(3, "test"));
        let mixed = ["mixup", "cutmix"].contains(&entry.name);
        assert_eq!((shown.labels.is_none(), shown.shares.is_some()), (mixed, mixed), "{}", entry.name);
        assert_eq!((shown.images.dims(), shown.classes), ([6, 3, 8, 8], 6), "{}", entry.name);
        let nameless = Augmented { labels: None, ..batch(6, 5) };
        let shown = apply(entry.name, "", nameless, &mut stream(3, "test"));
        assert!(shown.labels.is_none() && shown.shares.is_none(), "{}", entry.name);
    }
}

#[test]
fn one_image_alone_stays_itself_where_images_are_mixed() {
    for name in ["mixup", "cutmix"] {
        let alone = apply(name, "", batch(1, 5), &mut stream(3, "test"));
        let (found, expected) = (host(&alone.images), host(&images(1, 5)));
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
    }
}

#[test]
fn a_choice_and_its_options_stand_in_one_table() {
    let config: AugmentationConfig = toml::from_str("kind = 'mixup'\nalpha = 0.4").unwrap();
    assert_eq!((config.kind.as_str(), &config.options), ("mixup", &toml::toml! { alpha = 0.4 }));
    assert_eq!(config, toml::from_str(&toml::to_string(&config).unwrap()).unwrap());
}
