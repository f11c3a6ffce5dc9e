//! Whether runs belong in one table, and which tables there are where they do not.

use std::collections::{BTreeMap, BTreeSet};

use crate::Usage;
use crate::record::{Summary, shortened, teacher_content};

/// Experiments that are named for a value.
const NAMED: usize = 3;

/// What a run says of itself under a name.
type Trait = fn(&Summary) -> &str;

/// What runs of one table agree in, and why.
const AGREED: [(&str, Trait, &str); 5] = [
    ("protocol", |run| &run.protocol, "protocols keep other layers at 8 bit and quantize at other places"),
    ("test set", |run| &run.dataset, "accuracies on two test sets are two measures"),
    ("teacher", |run| &run.teacher, "a drop is one from its own teacher"),
    ("network", |run| &run.network, "a drop is one from its own teacher"),
    ("bits", |run| &run.bits, "fewer bits lose more, whatever the method"),
];

/// The content of teachers of one name: what that is called, and why it matters.
const CONTENT: (&str, &str) = ("content of the teacher", "a drop is one from its own teacher");

/// Where the teacher stands in [`AGREED`].
const TEACHER: usize = 2;

/// The names of [`setting`] for machines.
pub(super) const SETTING: [&str; 5] = ["protocol", "dataset", "teacher", "network", "bits"];

/// What a run shares with all others of its table: protocol, test set, teacher, network, bits.
pub(super) fn setting(run: &Summary) -> [String; 5] {
    AGREED.map(|(_, value, _)| value(run).to_owned())
}

/// Runs of one test set, teacher (by name and content), network, protocol and bit width, in the order of the first of
/// each.
pub(super) fn alike<T>(runs: &[T], summary: impl Fn(&T) -> &Summary) -> Vec<Vec<&T>> {
    let all: Vec<&Summary> = runs.iter().map(&summary).collect();
    let mut settings: Vec<([String; 5], &str)> = Vec::new();
    let mut groups: Vec<Vec<&T>> = Vec::new();
    for run in runs {
        let own = (setting(summary(run)), teacher_content(summary(run), &all));
        match settings.iter().position(|known| *known == own) {
            Some(place) => groups[place].push(run),
            None => {
                settings.push(own);
                groups.push(vec![run]);
            }
        }
    }
    groups
}

/// What a run agrees in with those of its table, the beginning of its teacher's content last.
fn traits<'a>(run: &'a Summary, runs: &[&'a Summary]) -> [&'a str; 6] {
    let [protocol, dataset, teacher, network, bits] = AGREED.map(|(_, value, _)| value(run));
    [protocol, dataset, teacher, network, bits, shortened(teacher_content(run, runs))]
}

/// The runs by protocol, in the order of the first of each.
pub(super) fn by_protocol(runs: &[Summary]) -> Vec<Vec<Summary>> {
    let mut groups: Vec<Vec<Summary>> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|group| group[0].protocol == run.protocol) {
            Some(group) => group.push(run.clone()),
            None => groups.push(vec![run.clone()]),
        }
    }
    groups
}

/// Refuses experiments of which two share no table: asking for them together asks to compare what does not compare. The
/// methods of one experiment may need several tables (a ternary method beside 4-bit ones); they are no fault of the
/// user's.
///
/// # Errors
/// What differs, where, and why that matters.
pub(super) fn check(runs: &[&Summary]) -> Result<(), Usage> {
    let mut settings: BTreeMap<&str, BTreeSet<[&str; 6]>> = BTreeMap::new();
    for run in runs {
        settings.entry(&run.experiment).or_default().insert(traits(run, runs));
    }
    let all: Vec<&BTreeSet<[&str; 6]>> = settings.values().collect();
    let strangers = all.iter().enumerate().any(|(index, one)| all[..index].iter().any(|other| one.is_disjoint(other)));
    if !strangers {
        return Ok(());
    }
    let differs = |index: usize| {
        let sets: BTreeSet<BTreeSet<&str>> =
            all.iter().map(|settings| settings.iter().map(|setting| setting[index]).collect()).collect();
        sets.len() > 1
    };
    let mut text = "these runs do not belong in one table:".to_owned();
    for (index, (what, why)) in AGREED.map(|(what, _, why)| (what, why)).into_iter().chain([CONTENT]).enumerate() {
        // Teachers of two names have two contents: the names say it.
        if !differs(index) || (index == AGREED.len() && differs(TEACHER)) {
            continue;
        }
        let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (experiment, own) in &settings {
            for value in own.iter().map(|setting| setting[index]).collect::<BTreeSet<&str>>() {
                values.entry(value).or_default().push(experiment);
            }
        }
        let values: Vec<String> = values.iter().map(|(value, names)| format!("`{value}` ({})", some(names))).collect();
        text += &format!("\n  {what}: {}; {why}", values.join(" and "));
    }
    Err(Usage(format!("{text}\nname runs that agree in these, or ask for a table of each with --split")))
}

fn some(names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = names[..names.len() - more].join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(experiment: &str, protocol: &str, bits: &str) -> Summary {
        Summary {
            experiment: experiment.into(),
            method: "zeroq".into(),
            protocol: protocol.into(),
            bits: bits.into(),
            dataset: "cifar10".into(),
            ..Summary::default()
        }
    }

    #[test]
    fn what_differs_is_said_with_the_reason_and_what_agrees_is_not() {
        let runs = [run("a", "gdfq", "W4A4"), run("b", "brecq", "W4A4"), run("c", "brecq", "W3A3")];
        let text = check(&runs.iter().collect::<Vec<_>>()).unwrap_err().to_string();
        assert!(text.contains("protocol: `brecq` (b, c) and `gdfq` (a); protocols keep other layers"), "{text}");
        assert!(text.contains("bits: `W3A3` (c) and `W4A4` (a, b);") && text.contains("--split"), "{text}");
        assert!(!text.contains("test set:") && !text.contains("teacher:"), "{text}");
    }

    #[test]
    fn one_experiment_may_need_several_tables_and_two_that_share_one_belong_together() {
        let runs = [run("a", "gdfq", "W4A4"), run("a", "gdfq", "W2A4"), run("b", "gdfq", "W4A4")];
        assert!(check(&runs.iter().collect::<Vec<_>>()).is_ok());
        let groups = alike(&runs, |run| run);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        let runs = [run("a", "gdfq", "W4A4"), run("b", "brecq", "W4A4"), run("c", "gdfq", "W3A3")];
        assert_eq!(by_protocol(&runs).iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_content_is_named_only_where_teachers_have_one_name() {
        let of = |experiment: &str, teacher: &str, content: &str| Summary {
            teacher: teacher.into(),
            teacher_sha256: Some(content.into()),
            ..run(experiment, "gdfq", "W4A4")
        };
        let fault = |runs: [Summary; 2]| check(&runs.each_ref()).unwrap_err().to_string();
        let text = fault([of("a", "small", "ab"), of("b", "small", "cd")]);
        assert!(text.contains("content of the teacher: `ab` (a) and `cd` (b);"), "{text}");
        let text = fault([of("a", "small", "ab"), of("b", "large", "cd")]);
        assert!(text.contains("teacher: `large` (b) and `small` (a);") && !text.contains("content"), "{text}");
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(some(&["a", "b", "c"]), "a, b, c");
        assert_eq!(some(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
