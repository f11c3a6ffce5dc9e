//! Where the code of a run came from.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// The state of a git work tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    /// The commit.
    pub sha: String,
    /// Whether tracked files differ from it.
    pub dirty: bool,
}

impl Git {
    /// The work tree that `folder` lies in; nothing when there is none, or no `git`.
    pub fn of(folder: &Path) -> Option<Self> {
        let sha = answer(Command::new("git").arg("-C").arg(folder).args(["rev-parse", "HEAD"]))?;
        let status = Command::new("git").arg("-C").arg(folder).args(["status", "--porcelain", "-uno"]).output().ok()?;
        let dirty = status.status.success() && !status.stdout.is_empty();
        Some(Self { sha, dirty })
    }
}

/// This machine's name, where it can be told.
pub(crate) fn host_name() -> Option<String> {
    let from_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    from_kernel.filter(|name| !name.is_empty()).or_else(|| answer(&mut Command::new("hostname")))
}

fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_repository_has_no_state() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Git::of(root.path()), None);
    }

    #[test]
    fn a_change_to_a_tracked_file_makes_it_dirty() {
        let root = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
            let mut command = Command::new("git");
            command
                .arg("-C")
                .arg(root.path())
                .args(identity)
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if !git(&["init"]) {
            return;
        }
        std::fs::write(root.path().join("a"), "1").unwrap();
        assert!(git(&["add", "a"]) && git(&["commit", "-m", "one"]));
        let clean = Git::of(root.path()).unwrap();
        assert_eq!((clean.sha.len(), clean.dirty), (40, false));
        std::fs::write(root.path().join("a"), "2").unwrap();
        assert_eq!(Git::of(root.path()).unwrap(), Git { dirty: true, ..clean });
    }
}
