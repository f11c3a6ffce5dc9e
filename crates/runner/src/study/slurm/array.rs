//! One job array of a submission.

use super::resources::Resources;

/// Tasks of an array at most: as many as Slurm takes unless its administrator has said otherwise (MaxArraySize = 1001).
const MOST: usize = 1000;

/// Cells that stand next to each other in the list of a submission, a task each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Array {
    /// The line of the first, from 0.
    pub(super) first: usize,
    /// How many there are.
    pub(super) count: usize,
}

/// What the arrays of a submission have in common.
pub(super) struct Shared<'a> {
    /// The study.
    pub(super) name: &'a str,
    /// The folder of the submission.
    pub(super) folder: &'a str,
    pub(super) resources: &'a Resources,
    /// Tasks of an array at once.
    pub(super) throttle: Option<u32>,
}

impl Array {
    /// The arrays of so many cells that make images and so many others that follow them.
    pub(super) fn of(makers: usize, others: usize) -> Vec<Self> {
        let mut arrays = Vec::new();
        for (begin, end) in [(0, makers), (makers, makers + others)] {
            let firsts = (begin..end).step_by(MOST);
            arrays.extend(firsts.map(|first| Self { first, count: (end - first).min(MOST) }));
        }
        arrays
    }

    /// What sbatch is called with. No shell reads it.
    ///
    /// An array begins when all tasks of the one before it have ended, `afterany`, not `afterok`: where one set of
    /// images could not be made, the cells of the others go on, and its own say why when they try it again.
    pub(super) fn arguments(&self, shared: &Shared<'_>, after: Option<&str>) -> Vec<String> {
        let Shared { name, folder, resources, throttle } = shared;
        let throttle = throttle.or(resources.throttle).map(|most| format!("%{most}")).unwrap_or_default();
        let mut arguments = vec![
            "--parsable".to_owned(),
            format!("--job-name=blindfold {name}"),
            format!("--array=0-{}{throttle}", self.count - 1),
        ];
        arguments.extend(after.map(|job| format!("--dependency=afterany:{job}")));
        arguments.extend([
            // Slurm fills in what follows a `%`, but for one that stands twice.
            format!("--output={}/logs/%A_%a.txt", folder.replace('%', "%%")),
            "--open-mode=append".to_owned(),
            "--nodes=1".to_owned(),
            "--ntasks=1".to_owned(),
            "--requeue".to_owned(),
            format!("--signal=B:INT@{}", resources.notice),
        ]);
        arguments.extend(resources.options());
        arguments.extend([format!("{folder}/task.sh"), self.first.to_string()]);
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_come_first_and_no_array_is_longer_than_slurm_takes() {
        let of = |makers, others| Array::of(makers, others).into_iter().map(|a| (a.first, a.count)).collect::<Vec<_>>();
        assert_eq!(of(2, 3), [(0, 2), (2, 3)]);
        assert_eq!(of(0, 1), [(0, 1)]);
        assert_eq!(of(1, 0), [(0, 1)]);
        assert!(of(0, 0).is_empty());
        assert_eq!(of(1001, 2001), [(0, 1000), (1000, 1), (1001, 1000), (2001, 1000), (3001, 1)]);
    }

    #[test]
    fn sbatch_is_told_bounds_dependency_and_resources() {
        let resources: Resources = toml::from_str("time = '1:00:00'\nthrottle = 3\nextra = ['--nice=10']").unwrap();
        let shared = Shared { name: "my; $(study)", folder: "/a %b/1", resources: &resources, throttle: None };
        let array = Array { first: 2, count: 7 };
        assert_eq!(
            array.arguments(&shared, Some("17")),
            [
                "--parsable",
                "--job-name=blindfold my; $(study)",
                "--array=0-6%3",
                "--dependency=afterany:17",
                "--output=/a %%b/1/logs/%A_%a.txt",
                "--open-mode=append",
                "--nodes=1",
                "--ntasks=1",
                "--requeue",
                "--signal=B:INT@60",
                "--time=1:00:00",
                "--nice=10",
                "/a %b/1/task.sh",
                "2",
            ]
        );
        let arguments = array.arguments(&Shared { throttle: Some(1), ..shared }, None);
        assert!(arguments.contains(&"--array=0-6%1".to_owned()), "the command line goes over the file");
        assert!(!arguments.iter().any(|argument| argument.starts_with("--dependency")));
        let plain = Resources::default();
        let shared = Shared { name: "x", folder: "/x", resources: &plain, throttle: None };
        assert!(Array { first: 0, count: 1 }.arguments(&shared, None).contains(&"--array=0-0".to_owned()));
    }
}
