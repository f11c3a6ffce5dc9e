use image::{Rgb, RgbImage};

use super::*;

/// Saves a 4x2 picture whose red channel is `red`, green the column, blue the row.
fn save(path: PathBuf, red: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_fn(4, 2, |x, y| Rgb([red, x as u8, y as u8])).save(path).unwrap();
}

fn set() -> (tempfile::TempDir, DataHome) {
    let folder = tempfile::tempdir().unwrap();
    let home = DataHome::new(folder.path());
    save(home.join("images/train/2/a.png"), 20);
    save(home.join("images/train/10/a.png"), 30);
    save(home.join("images/train/1/b.png"), 11);
    save(home.join("images/train/1/a.png"), 10);
    save(home.join("images/test/10/a.png"), 40);
    (folder, home)
}

#[test]
fn classes_come_by_number_files_by_name_and_pixels_as_planes() {
    let (_folder, home) = set();
    let data = build(toml::Table::new()).unwrap();
    let train = data.load(Split::Train, &home).unwrap();
    assert_eq!((train.shape, train.classes, train.labels.as_slice()), ([3, 2, 4], 3, &[0, 0, 1, 2][..]));
    assert_eq!(&train.pixels[24..48], [11, 11, 11, 11, 11, 11, 11, 11, 0, 1, 2, 3, 0, 1, 2, 3, 0, 0, 0, 0, 1, 1, 1, 1]);
    // The test split lacks two classes, and its label stays that of the training split.
    assert_eq!(data.load(Split::Test, &home).unwrap().labels, [2]);
    assert_eq!(data.load(Split::Subset, &home).unwrap().labels, train.labels);
    assert_eq!(data.verify(&home).unwrap()[0].detail, "4 PNG files of 4x2x3 in 3 classes");
}

#[test]
fn other_sizes_other_files_and_no_files_are_named() {
    let (_folder, home) = set();
    let data = build(toml::Table::new()).unwrap();
    RgbImage::new(5, 2).save(home.join("images/test/10/b.png")).unwrap();
    assert!(data.load(Split::Test, &home).unwrap_err().to_string().contains("found 5x2 pixels, expected 4x2"));
    std::fs::write(home.join("images/train/2/notes.txt"), "").unwrap();
    assert!(data.load(Split::Train, &home).unwrap_err().to_string().contains("notes.txt"));
    std::fs::remove_file(home.join("images/train/2/notes.txt")).unwrap();
    std::fs::write(home.join("images/train/2/b.png"), "no picture").unwrap();
    assert!(data.load(Split::Train, &home).unwrap_err().to_string().contains("b.png"));
    let empty = DataHome::new(home.join("none"));
    assert!(data.load(Split::Test, &empty).unwrap_err().is_missing());
}

#[test]
fn channels_are_one_or_three() {
    let table = |channels| toml::Table::from_iter([("channels".to_owned(), toml::Value::Integer(channels))]);
    assert!(build(table(2)).unwrap_err().to_string().contains("write 3 (colour) or 1 (grey)"));
    let (_folder, home) = set();
    assert_eq!(build(table(1)).unwrap().load(Split::Test, &home).unwrap().shape, [1, 2, 4]);
}
