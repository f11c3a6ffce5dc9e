use super::*;

fn chart(lines: &[ChartLine], colour: bool) -> String {
    let chart = TerminalChart { title: "student/top1 (%)", x: "epoch", lines, width: 60, height: 10, colour };
    chart.render().unwrap()
}

fn line(name: &str, points: &[(f64, f64)]) -> ChartLine {
    ChartLine { name: name.into(), points: points.to_vec() }
}

#[test]
fn a_rising_line_runs_from_the_lower_left_to_the_upper_right() {
    let text = chart(&[line("zeroq  91.00", &[(0.0, 81.0), (20.0, 91.0)])], false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "student/top1 (%)");
    let plot: Vec<&str> = lines[1..11].iter().map(|line| line.split(['│', '┤']).nth(1).unwrap()).collect();
    let begin = |row: &str| row.chars().position(|c| c != ' ').unwrap();
    assert!(begin(plot[9]) == 0 && begin(plot[0]) > 45, "{text}");
    assert!(plot.windows(2).all(|pair| begin(pair[0]) > begin(pair[1])), "{text}");
    assert!(plot.iter().flat_map(|row| row.chars()).all(|c| c == ' ' || ('\u{2801}'..='\u{28ff}').contains(&c)));
    assert!(lines.iter().all(|line| line.chars().count() <= 60), "{text}");
    assert!(lines[11].contains('└') && lines[12].contains("10") && lines[13].trim() == "epoch", "{text}");
    assert_eq!(lines[14], "━━ zeroq  91.00");
}

#[test]
fn without_colour_each_line_has_a_letter() {
    let lines = [line("first", &[(0.0, 0.0), (10.0, 0.0)]), line("second", &[(0.0, 5.0), (10.0, 5.0)])];
    let text = chart(&lines, false);
    assert!(text.contains("bbbbbb") && text.contains("aaaaaa") && !text.contains('\x1b'), "{text}");
    assert!(text.ends_with("a first\nb second\n"), "{text}");
    let crossing = [line("first", &[(0.0, 0.0), (10.0, 5.0)]), line("second", &[(0.0, 5.0), (10.0, 0.0)])];
    assert!(chart(&crossing, false).contains('*'));
}

#[test]
fn with_colour_each_line_has_its_own() {
    let lines = [line("first", &[(0.0, 0.0), (10.0, 0.0)]), line("second", &[(0.0, 5.0), (10.0, 5.0)])];
    let text = chart(&lines, true);
    assert!(text.contains("\x1b[34m━━\x1b[0m first\n\x1b[33m━━\x1b[0m second\n"), "{text}");
    assert!(!text.contains("aaa"), "{text}");
}

#[test]
fn one_point_is_a_chart_and_none_is_not() {
    assert!(chart(&[line("dot", &[(3.0, 7.0)])], false).contains("7.0"));
    let lines = [line("nothing", &[])];
    let chart = TerminalChart { title: "t", x: "step", lines: &lines, width: 10, height: 1, colour: true };
    assert_eq!(chart.render(), None);
}
