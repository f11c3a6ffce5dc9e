use super::super::measure::{AGREEMENT, SECONDS};
use super::super::sheet::Spot;
use super::super::sheet::tests::{run, small, small_sheet, spot};
use super::*;
use crate::record::Summary;

fn without_brecq() -> Sheet {
    let spots: Vec<_> = small().into_iter().filter(|spot| spot.method != "brecq").collect();
    Sheet::new("small", "gdfq", Some("minmax"), &spots).unwrap()
}

fn line<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no line `{start}`: {text}"))
}

#[test]
fn a_measure_has_variants_by_bits_with_marks_that_are_explained() {
    let text = measure_grid(&without_brecq(), &DROP).unwrap().to_markdown();
    assert!(text.contains("\n| method | W8A8 | W4A4 |\n|---|--:|--:|\n"), "{text}");
    assert_eq!(line(&text, "| minmax"), "| minmax | 0.01 ± 0.04 | 4.80 ± 0.10 / 9.50 [1] |");
    assert_eq!(line(&text, "| mse"), "| mse | 0.00 ± 0.02 | 2.30 ± 0.10⁺ |");
    assert_eq!(line(&text, "| kd"), "| kd | 0.01 ± 0.04 | **1.15 ± 0.09⁺** |");
    assert_eq!(line(&text, "| real†"), "| real† | 0.00 ± 0.01 | 0.50 ± 0.10⁺ |");
    for note in ["- **bold**: ", "- ⁺ significantly better", "- † uses REAL data", "- [1] Paper & Co, table 2"] {
        line(&text, note);
    }
    assert!(text.contains("Mean ± std (n − 1) over seeds."), "{text}");
}

#[test]
fn nothing_is_bold_or_explained_where_nothing_is_sure() {
    let text = measure_grid(&small_sheet(), &DROP).unwrap().to_markdown();
    assert!(!text.contains("**bold**") && !text.contains("**1.15"), "{text}");
    let one = Sheet::new("small", "gdfq", None, &[spot("mse", "w4a4", 1, Some(1.0))]).unwrap();
    let text = measure_grid(&one, &DROP).unwrap().to_markdown();
    assert!(!text.contains("⁺") && !text.contains("†") && !text.contains("Mean"), "{text}");
    assert!(text.contains("| mse | 1.00 |"), "{text}");
}

#[test]
fn final_and_best_on_test_stand_apart_and_the_latter_is_marked() {
    let sheet = small_sheet();
    let text = measure_grid(&sheet, &BEST).unwrap().to_markdown();
    assert!(text.contains("best on the test set‡") && text.contains("- ‡ epoch selected on test"), "{text}");
    assert_eq!(line(&text, "| mse"), "| mse |  |  |");
    assert!(!measure_grid(&sheet, &TOP1).unwrap().to_markdown().contains('‡'));
    let spots: Vec<_> = small().into_iter().filter(|spot| spot.method != "kd").collect();
    let never = Sheet::new("small", "gdfq", None, &spots).unwrap();
    assert_eq!(measure_grid(&never, &BEST), None);
    assert!(!column_grid(&never, "w4a4").unwrap().to_markdown().contains("epoch selected"));
}

#[test]
fn other_bits_than_the_columns_are_named() {
    let mut binary = spot("binary", "w4a4", 1, Some(80.0));
    binary.run.as_mut().unwrap().bits = "W1A4".to_owned();
    let sheet = Sheet::new("small", "gdfq", None, &[binary]).unwrap();
    let text = measure_grid(&sheet, &DROP).unwrap().to_markdown();
    assert!(text.contains("| binary | 80.00 (W1A4) |") && text.contains("- in brackets: the bits"), "{text}");
}

#[test]
fn a_bit_width_has_intervals_tests_and_costs() {
    let text = column_grid(&without_brecq(), "w4a4").unwrap().to_markdown();
    let header =
        "| method | n | final top-1 | 95 % | best-on-test top-1‡ | drop | 95 % | p against minmax | published drop |";
    assert!(text.contains(header), "{text}");
    let mse = line(&text, "| mse");
    // t(0.975; 2) = 4.3027: 2.30 ± 4.3027 x 0.1 / sqrt(3).
    assert!(
        mse.starts_with("| mse | 3 | 89.43 ± 0.10 | 89.18 to 89.68 | – | 2.30 ± 0.10 | 2.05 to 2.55 | < 0.001 |"),
        "{mse}"
    );
    assert!(mse.ends_with("| 147.3 | 32.1 k | 1 min 20 s | 40 s |"), "{mse}");
    assert!(
        line(&text, "| kd").contains("| **1.15 ± 0.09** |") && line(&text, "| minmax").contains("| – | 9.50 [1] |")
    );
    assert_eq!(column_grid(&without_brecq(), "w2a2"), None);
}

#[test]
fn figures_that_not_all_runs_have_say_how_many() {
    let mut spots = vec![spot("mse", "w4a4", 1, Some(1.0)), spot("mse", "w4a4", 2, Some(2.0))];
    spots[1].run.as_mut().unwrap().agreement = None;
    let sheet = Sheet::new("small", "gdfq", None, &spots).unwrap();
    let text = column_grid(&sheet, "w4a4").unwrap().to_markdown();
    assert!(text.contains("| 94.0 (n = 1) |") && text.contains("| p |"), "{text}");
}

#[test]
fn csv_has_a_line_a_place_at_full_precision() {
    let text = csv(&small_sheet());
    let columns = text.lines().next().unwrap().split(',').count();
    assert!(text.lines().all(|line| line.split(',').count() >= columns), "{text}");
    assert_eq!(text.lines().count(), 1 + 4 + 5);
    let minmax =
        text.lines().find(|line| line.starts_with("gdfq,minmax,minmax,w4a4,W4A4,synthetic,3,1 2 3,4.")).unwrap();
    assert!(minmax.ends_with(",,,9.5,\"Paper & Co, table 2\""), "{minmax}");
    assert!(text.contains("\ngdfq,real,real,w8a8,W8A8,real,3,"), "{text}");
}

#[test]
fn files_hold_all_measures_and_all_bit_widths() {
    let sheet = without_brecq();
    let (md, tex) = (markdown(&sheet), tex(&sheet));
    for measure in [DROP, TOP1, BEST, AGREEMENT, SECONDS] {
        assert_eq!(md.matches(&format!("**{}**", measure.title)).count(), 1, "{}", measure.title);
    }
    assert!(md.contains("\n**W8A8**: ") && md.contains("\n**W4A4**: ") && md.starts_with("# small, protocol `gdfq`\n"));
    assert_eq!(tex.matches("\\begin{tabular}").count(), MEASURES.len() + 2);
    assert_eq!(tex.matches("\\toprule").count(), tex.matches("\\bottomrule").count());
    assert!(tex.contains("\\textbf{1.15 $\\pm$ 0.09$^{+}$}") && tex.contains("{[}1{]} Paper \\& Co, table 2"), "{tex}");
    assert!(!tex.replace("\\%", "").lines().any(|line| line.contains('%') && !line.starts_with('%')), "{tex}");
}

#[test]
fn bits_that_are_not_the_columns_are_told() {
    let of = |bits: &str, mean: Option<f64>| {
        let run = Summary { weight_bits_mean: mean, ..run("rex", bits, 1, 0.0) };
        let spot = Spot { run: Some(run), ..spot("rex", "w4a4", 1, None) };
        Sheet::new("small", "gdfq", None, &[spot]).unwrap().own_bits("rex", "w4a4")
    };
    assert_eq!(of("W4A4", Some(4.3)), None);
    assert_eq!(of("W4A4", None), None);
    assert_eq!(of("W8A4", Some(8.1)).as_deref(), Some("W8A4"));
    assert_eq!(of("W4A4", Some(8.33)).as_deref(), Some("W8.3A4"));
}
