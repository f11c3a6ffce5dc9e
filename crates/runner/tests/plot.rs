//! What `blindfold plot` draws in the terminal and as SVG.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in the helpers beside them.

mod fabricated;

use fabricated::{End, Results, Run};

fn results() -> Results {
    let results = Results::new();
    results.add(&Run::new("w4", "kd", 1).top1(&[70.0, 79.0, 80.0]), End::Completed(80.0));
    results.add(&Run::new("w4", "kd", 2).top1(&[70.0, 81.0, 82.0]), End::Completed(82.0));
    results.add(&Run::new("w4", "real", 1).top1(&[90.0, 91.0, 92.0]), End::Completed(92.0));
    results
}

#[test]
fn the_mean_of_the_seeds_is_drawn_plainly_where_stdout_is_no_terminal() {
    let results = results();
    let text = results.works(&["plot", "w4/kd"]);
    assert!(text.starts_with("student/top1 (%): phase eval, mean over seeds\n"), "{text}");
    assert!(text.contains("━━ kd  81.00 ± 1.41 (2 seeds)\n") && text.contains("step"), "{text}");
    assert!(text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)) && !text.contains('\x1b'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let text = results.works(&["plot", "w4"]);
    assert!(text.contains("\na kd  81.00 ± 1.41 (2 seeds)\nb real†  92.00\n"), "{text}");
    assert!(text.contains("aaa") && text.contains("bbb") && text.ends_with("not a data-free method\n"), "{text}");
}

#[test]
fn the_axis_the_smoothing_and_the_picture_are_the_user_s_choice() {
    let results = results();
    for (along, label, last) in [("step", "step", "20"), ("epoch", "epoch", "2.0"), ("wall", "seconds", "40")] {
        let text = results.works(&["plot", "w4/kd", "--x", along]);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let at = lines.iter().position(|line| *line == label).unwrap();
        assert!(lines[at - 1].split_whitespace().any(|tick| tick == last), "{along}: {text}");
    }
    let text = results.works(&["plot", "w4/real", "--smooth", "3", "--tag", "student/agreement"]);
    assert!(text.contains("the mean of the last 3") && text.contains("real†  90.00"), "{text}");
    let text = results.works(&["plot", "w4", "--svg", "pictures/top1.svg", "--x", "epoch"]);
    assert!(text.ends_with("pictures/top1.svg\n"), "{text}");
    let svg = std::fs::read_to_string(results.root.path().join("pictures/top1.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("kd  81.00 ± 1.41 (2 seeds)") && svg.contains("epoch"), "{svg}");
    assert!(results.refused(&["plot", "w4", "--smooth", "0"]).contains("--smooth"));
}

#[test]
fn an_unfinished_run_is_drawn_and_said_to_be_unfinished() {
    let results = results();
    results.add(&Run::new("w4", "kd", 3).top1(&[70.0, 78.0]), End::Killed);
    results.add(&Run::new("w4", "failed", 1).top1(&[60.0, 61.0]), End::Failed("no space left"));
    let text = results.works(&["plot", "w4"]);
    assert!(text.contains("kd  81.00 ± 1.41 (2 of 3 seeds), 1 not finished"), "{text}");
    assert!(text.contains("failed  61.00, 1 not finished"), "{text}");
}

#[test]
fn what_cannot_be_drawn_is_refused_with_the_reason() {
    let results = results();
    let text = results.refused(&["plot", "w4", "--tag", "student/topl"]);
    assert!(text.contains("did you mean `student/top1`") && text.contains("\n  student/agreement"), "{text}");
    let brecq = Run { protocol: "brecq".into(), ..Run::new("w4-brecq", "kd", 1).top1(&[50.0, 51.0]) };
    results.add(&brecq, End::Killed);
    let text = results.refused(&["plot", "w4", "w4-brecq"]);
    assert!(text.contains("`brecq` (w4-brecq) and `gdfq` (w4)") && text.contains("other layers at 8 bit"), "{text}");
    let elsewhere = Run { dataset: "cifar10".into(), ..Run::new("w4-cifar10", "kd", 1).top1(&[50.0, 51.0]) };
    results.add(&elsewhere, End::Completed(51.0));
    assert!(results.refused(&["plot", "w4", "w4-cifar10"]).contains("two measures"));
    assert!(results.works(&["plot", "w4", "w4-cifar10", "--tag", "student/agreement"]).contains("w4-cifar10/kd"));
    let text = results.refused(&["plot", "w4", "--phase", "distill"]);
    assert!(text.contains("has no values there, but in: eval"), "{text}");
    assert!(results.refused(&["plot", "w4", "--phase", "dream"]).contains("one of synth, calibrate"));
    assert!(results.refused(&["plot", "w5"]).contains("there are no runs `w5`"));
}
