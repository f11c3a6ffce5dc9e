//! What a task of a study asks of Slurm.

use serde::Deserialize;

/// Options of sbatch that the launcher sets or cannot do with.
const OWN: [&str; 15] = [
    "--array",
    "-a",
    "--dependency",
    "-d",
    "--output",
    "-o",
    "--open-mode",
    "--signal",
    "--requeue",
    "--no-requeue",
    "--parsable",
    "--test-only",
    "--wait",
    "-W",
    "--wrap",
];

/// The table `[study.slurm]`. What is absent is left to Slurm.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Resources {
    partition: Option<String>,
    account: Option<String>,
    qos: Option<String>,
    time: Option<String>,
    mem: Option<String>,
    gres: Option<String>,
    constraint: Option<String>,
    cpus_per_task: Option<u32>,
    /// Further options of sbatch.
    extra: Vec<String>,
    /// Shell lines before the program.
    pub(super) setup: Vec<String>,
    /// Tasks of an array at once.
    pub(super) throttle: Option<u32>,
    /// Seconds before the time limit at which a run is stopped.
    pub(super) notice: u32,
    /// How often a task that meets its time limit is put back.
    pub(super) requeues: u32,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            partition: None,
            account: None,
            qos: None,
            time: None,
            mem: None,
            gres: None,
            constraint: None,
            cpus_per_task: None,
            extra: Vec::new(),
            setup: Vec::new(),
            throttle: None,
            notice: 60,
            requeues: 20,
        }
    }
}

impl Resources {
    /// What is wrong beyond the form.
    pub(crate) fn fault(&self) -> Option<String> {
        if let Some((key, _)) = self.texts().into_iter().find(|(_, text)| text.is_some_and(is_no_value)) {
            return Some(format!("`study.slurm.{key}` is empty or not one line: write it as sbatch takes it"));
        }
        for (key, count) in
            [("cpus_per_task", self.cpus_per_task), ("throttle", self.throttle), ("notice", Some(self.notice))]
        {
            if count == Some(0) {
                return Some(format!("`study.slurm.{key}`: 0 is not valid: write at least 1"));
            }
        }
        self.extra.iter().find_map(|option| {
            let wrong = |what: &str| Some(format!("`study.slurm.extra`: `{option}` {what}"));
            if !option.starts_with('-') || is_no_value(option) {
                return wrong("is no option: write each with its value as one text, such as \"--nice=10\"");
            }
            let name = match option.starts_with("--") {
                true => option.split('=').next(),
                false => option.get(..2),
            };
            if name.is_some_and(|name| OWN.contains(&name)) { wrong("is for the launcher to say") } else { None }
        })
    }

    /// As options of sbatch.
    pub(super) fn options(&self) -> Vec<String> {
        let texts = self.texts().into_iter().filter_map(|(key, text)| Some(format!("--{key}={}", text?)));
        let cores = self.cpus_per_task.map(|count| format!("--cpus-per-task={count}"));
        texts.chain(cores).chain(self.extra.iter().cloned()).collect()
    }

    fn texts(&self) -> [(&'static str, Option<&str>); 7] {
        [
            ("partition", self.partition.as_deref()),
            ("account", self.account.as_deref()),
            ("qos", self.qos.as_deref()),
            ("time", self.time.as_deref()),
            ("mem", self.mem.as_deref()),
            ("gres", self.gres.as_deref()),
            ("constraint", self.constraint.as_deref()),
        ]
    }
}

fn is_no_value(text: &str) -> bool {
    text.trim().is_empty() || text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Resources {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn every_key_becomes_one_option() {
        let resources = read(
            "partition = 'gpu'\naccount = 'a b'\nqos = 'long'\ntime = '02:00:00'\nmem = '8G'\ngres = 'gpu:1'\n\
             constraint = 'a&b'\ncpus_per_task = 4\nextra = ['--nice=10', '--exclude=n[1-2]']\nsetup = ['module load']",
        );
        assert_eq!(resources.fault(), None);
        assert_eq!(
            resources.options(),
            [
                "--partition=gpu",
                "--account=a b",
                "--qos=long",
                "--time=02:00:00",
                "--mem=8G",
                "--gres=gpu:1",
                "--constraint=a&b",
                "--cpus-per-task=4",
                "--nice=10",
                "--exclude=n[1-2]",
            ]
        );
        assert_eq!(read(""), Resources::default());
        assert!(Resources::default().options().is_empty());
    }

    #[test]
    fn what_sbatch_would_take_otherwise_than_it_is_meant_is_refused() {
        for (text, words) in [
            ("partition = ''", "`study.slurm.partition` is empty"),
            ("time = \"1\\n2\"", "`study.slurm.time` is empty or not one line"),
            ("cpus_per_task = 0", "`study.slurm.cpus_per_task`: 0 is not valid"),
            ("throttle = 0", "`study.slurm.throttle`: 0 is not valid"),
            ("notice = 0", "`study.slurm.notice`: 0 is not valid"),
            ("extra = ['--nice', '10']", "`10` is no option"),
            ("extra = ['/tmp/other.sh']", "`/tmp/other.sh` is no option"),
            ("extra = ['--array=0-9']", "`--array=0-9` is for the launcher"),
            ("extra = ['-a0-9']", "`-a0-9` is for the launcher"),
            ("extra = ['--wrap=rm']", "`--wrap=rm` is for the launcher"),
        ] {
            let fault = read(text).fault().unwrap_or_default();
            assert!(fault.contains(words), "{text}: {fault}");
        }
        let error = toml::from_str::<Resources>("partiton = 'x'").unwrap_err().to_string();
        assert!(error.contains("unknown field `partiton`"), "{error}");
    }
}
