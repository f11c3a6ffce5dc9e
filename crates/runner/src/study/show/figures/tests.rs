use super::super::sheet::tests::{run, small, small_sheet, spot};
use super::super::sheet::{Sheet, Spot};
use super::*;
use crate::plot::png;

/// How often a line of text stands in a picture.
fn count(svg: &str, text: &str) -> usize {
    svg.lines().filter(|line| line.trim() == text).count()
}

/// Twenty-eight methods at three bit widths.
fn many() -> Vec<Spot> {
    let mut spots = Vec::new();
    for method in 0..28 {
        let name = format!("method-{method:02}");
        for (place, bits) in ["w8a8", "w4a4", "w2a4"].into_iter().enumerate() {
            let drop = 0.01 + 4.0 * place as f64 * (1.0 + method as f64 / 10.0);
            let mut summary = run(&name, bits, 1, drop);
            summary.size_bytes = Some(100_000 + 1000 * method);
            spots.push(Spot { run: Some(summary), ..spot(&name, bits, 1, None) });
        }
    }
    spots
}

fn drawn(spots: &[Spot]) -> Vec<Figure> {
    figures(&Sheet::new("study", "gdfq", None, spots).unwrap(), &CurveFile::default()).unwrap()
}

#[test]
fn each_method_is_named_once_in_each_figure() {
    let figures = drawn(&many());
    let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
    assert_eq!(names, ["gdfq-bits", "gdfq-cost", "gdfq-size"]);
    for figure in &figures {
        for method in 0..28 {
            let name = format!("method-{method:02}");
            assert_eq!(count(&figure.svg, &name), 1, "{} in {}", name, figure.name);
        }
        assert_eq!(count(&figure.svg, &figure.title), 1, "{}", figure.name);
        if let Ok(folder) = std::env::var("BLINDFOLD_TEST_FIGURES") {
            std::fs::write(format!("{folder}/{}.svg", figure.name), &figure.svg).unwrap();
        }
    }
}

#[test]
fn names_do_not_cover_each_other_and_stay_within_the_picture() {
    for figure in drawn(&many()) {
        let number = |text: &str, key: &str| -> i32 {
            text.split(&format!(" {key}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
        };
        let (width, height) = (number(&figure.svg, "width"), number(&figure.svg, "height"));
        let mut places: Vec<(i32, i32)> = Vec::new();
        for text in figure.svg.split("<text").filter(|text| text.contains("\nmethod-")) {
            places.push((number(text, "x"), number(text, "y")));
        }
        assert_eq!(places.len(), 28, "{}", figure.name);
        assert!(places.iter().all(|(x, y)| *x + 60 < width && (0..height).contains(y)), "{}: {places:?}", figure.name);
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[1].1 - pair[0].1 >= 15), "{}", figure.name);
    }
}

#[test]
fn a_png_has_the_asked_size_and_shows_something() {
    let figure = drawn(&small()).into_iter().next().unwrap();
    let bytes = png(&figure.svg, 0.5).unwrap();
    let picture = image::load_from_memory(&bytes).unwrap().to_rgb8();
    assert_eq!((picture.width(), picture.height()), (450, (78 + 380) / 2));
    let colours: std::collections::BTreeSet<[u8; 3]> = picture.pixels().map(|pixel| pixel.0).collect();
    assert!(colours.len() > 20, "{} colours", colours.len());
}

#[test]
fn real_data_is_marked_and_on_no_front() {
    let figures = drawn(&small());
    for figure in &figures {
        assert_eq!((count(&figure.svg, "real†"), count(&figure.svg, "real")), (1, 0), "{}", figure.name);
    }
    let only = [spot("real", "w4a4", 1, Some(1.0))];
    let lines = |spots: &[Spot]| {
        let figures = drawn(spots);
        let size = figures.iter().find(|figure| figure.name == "gdfq-size").unwrap();
        size.svg.matches("#969696").count()
    };
    assert_eq!((lines(&only), lines(&[spot("mse", "w4a4", 1, Some(1.0))])), (0, 1));
}

#[test]
fn without_a_test_set_figures_show_agreement_and_say_so() {
    let mut blind = spot("mse", "w4a4", 1, None);
    blind.run = Some(run("mse", "w4a4", 1, 1.0).without_accuracy("no test set here"));
    let figures = drawn(&[blind]);
    assert!(
        figures[0].title.contains("agreement by bit width") && figures[0].svg.contains("accuracy was not measured")
    );
}

#[test]
fn what_is_not_known_is_not_drawn() {
    assert!(drawn(&[spot("mse", "w4a4", 1, None)]).is_empty());
    let mut bare = spot("mse", "w4a4", 1, Some(1.0));
    bare.run.as_mut().unwrap().size_bytes = None;
    let names: Vec<String> = drawn(&[bare]).into_iter().map(|figure| figure.name).collect();
    assert_eq!(names, ["gdfq-bits", "gdfq-cost"]);
    assert!(figures(&small_sheet(), &CurveFile::default()).unwrap().iter().all(|figure| figure.name != "gdfq-curves"));
}
