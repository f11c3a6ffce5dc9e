use image::{Rgb, RgbImage};

use super::*;

/// A test batch of 10,000 records whose labels go round.
fn write_test_batch(home: &DataHome, change: impl Fn(&mut Vec<u8>)) {
    let folder = home.join("cifar-10-batches-bin");
    std::fs::create_dir_all(&folder).unwrap();
    let mut bytes = vec![0u8; 10_000 * 3073];
    bytes.chunks_mut(3073).enumerate().for_each(|(index, record)| record[0] = (index % 10) as u8);
    change(&mut bytes);
    std::fs::write(folder.join("test_batch.bin"), bytes).unwrap();
}

fn cifar10() -> Box<dyn DataSet> {
    build(&CIFAR10, toml::Table::new()).unwrap()
}

#[test]
fn a_file_of_the_right_structure_is_accepted_and_said_to_be_unofficial() {
    let folder = tempfile::tempdir().unwrap();
    let home = DataHome::new(folder.path());
    write_test_batch(&home, |_| {});
    let report = cifar10().verify(&home).unwrap().remove(0);
    assert_eq!(report.evidence, Evidence::Structure);
    assert!(report.detail.contains("row order may differ"), "{}", report.detail);
    assert!(report.detail.contains("1000 a class in the test split"), "{}", report.detail);
    assert!(cifar10().has(Split::Test, &home) && !cifar10().has(Split::Train, &home));
}

#[test]
fn records_beside_the_file_raise_the_evidence_and_find_a_changed_pixel() {
    let folder = tempfile::tempdir().unwrap();
    let home = DataHome::new(folder.path());
    let inner = home.join("cifar-10-batches-bin");
    write_test_batch(&home, |_| {});
    recorded::write(home.path(), recorded::SUMS, &["cifar-10-batches-bin/test_batch.bin".to_owned()]).unwrap();
    assert_eq!(cifar10().verify(&home).unwrap()[0].evidence, Evidence::Recorded);
    recorded::write(&inner, recorded::UNPACKED, &["test_batch.bin".to_owned()]).unwrap();
    assert_eq!(cifar10().verify(&home).unwrap()[0].evidence, Evidence::Published);
    write_test_batch(&home, |bytes| bytes[1000] = 1);
    assert!(matches!(cifar10().verify(&home), Err(DataError::Checksum { .. })));
}

#[test]
fn unequal_classes_wrong_labels_and_cut_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let home = DataHome::new(folder.path());
    write_test_batch(&home, |bytes| bytes[0] = 1);
    let text = cifar10().verify(&home).unwrap_err().to_string();
    assert!(text.contains("999 images of class 0 and 1001 of class 1"), "{text}");
    write_test_batch(&home, |bytes| bytes[3073] = 11);
    assert!(cifar10().load(Split::Test, &home).unwrap_err().to_string().contains("label 11 in record 1"));
    write_test_batch(&home, |bytes| bytes.truncate(5_000_000));
    let text = cifar10().load(Split::Test, &home).unwrap_err().to_string();
    assert!(text.contains("truncated") && text.contains("blindfold data fetch cifar10"), "{text}");
}

#[test]
fn class_folders_and_binary_files_give_the_same_images() {
    let folder = tempfile::tempdir().unwrap();
    let home = DataHome::new(folder.path());
    let pixel = |class: usize, channel: usize, y: u32, x: u32| (class * 20 + channel * 7) as u8 ^ (y * 5 + x) as u8;
    let mut bytes = Vec::new();
    for (class, name) in "airplane automobile bird cat deer dog frog horse ship truck".split(' ').enumerate() {
        let path = home.join(format!("cifar10/subset/{name}/0.png"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_fn(32, 32, |x, y| Rgb([0, 1, 2].map(|c| pixel(class, c, y, x)))).save(path).unwrap();
        bytes.push(class as u8);
        bytes.extend((0..3072u32).map(|i| pixel(class, (i / 1024) as usize, i / 32 % 32, i % 32)));
    }
    let from_folders = cifar10().load(Split::Subset, &home).unwrap();
    std::fs::create_dir(home.join("cifar-10-batches-bin")).unwrap();
    std::fs::write(home.join("cifar-10-batches-bin/train_subset.bin"), bytes).unwrap();
    let from_binary = cifar10().load(Split::Subset, &home).unwrap();
    assert_eq!(from_folders.pixels, from_binary.pixels);
    assert_eq!(from_folders.labels, from_binary.labels);
    std::fs::remove_dir_all(home.join("cifar10/subset/ship")).unwrap();
    let table = toml::Table::from_iter([("form".to_owned(), toml::Value::String("folders".to_owned()))]);
    let text = build(&CIFAR10, table).unwrap().load(Split::Subset, &home).unwrap_err().to_string();
    assert!(text.contains("found 9 class folders, expected 10 class folders"), "{text}");
}
