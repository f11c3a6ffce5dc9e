//! Who holds a lock.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::clock::rfc3339;
use super::git::host_name;

/// A process as others recognise it, on this machine and on those that share a folder with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The machine's name.
    pub(crate) host: String,
    /// What tells this start of this system from all others, for machines may share a name; empty where there is none.
    pub(crate) boot: String,
    /// The process id.
    pub(crate) pid: u32,
    /// When the process began, in the system's own ticks, for ids are used again; 0 where it cannot be told.
    pub(crate) ticks: u64,
    /// When it took the lock, for people.
    pub(crate) since: String,
}

impl Owner {
    /// This process, now.
    pub(crate) fn this() -> Self {
        let pid = std::process::id();
        Self {
            host: host_name().unwrap_or_else(|| "unknown".to_owned()),
            boot: boot(),
            pid,
            ticks: ticks(pid).unwrap_or(0),
            since: rfc3339(SystemTime::now()),
        }
    }

    /// Whether it ran under the system that this process runs under.
    pub(crate) fn is_here(&self) -> bool {
        self.boot == boot() && host_name().is_none_or(|host| host == self.host)
    }

    /// Whether the process of an owner [that is here](Self::is_here) is still there; true where that cannot be told.
    pub(crate) fn lives(&self) -> bool {
        match (ticks(self.pid), ticks(std::process::id())) {
            (Some(ticks), _) => self.ticks == 0 || self.ticks == ticks,
            (None, can_be_told) => can_be_told.is_none(),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on host {} since {}", self.pid, self.host, self.since)
    }
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The start time of a process: the 22nd field of its `stat`, counted after the name, which may hold anything.
fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_and_neither_another_system_nor_the_dead() {
        let this = Owner::this();
        assert!(this.is_here() && this.lives());
        assert!(this.to_string().starts_with(&format!("process {} on host ", std::process::id())), "{this}");
        assert!(!Owner { boot: "another".into(), ..this.clone() }.is_here());
        let back: Owner = serde_json::from_str(&serde_json::to_string(&this).unwrap()).unwrap();
        assert_eq!(back, this);
        if this.ticks > 0 {
            assert!(!Owner { pid: 999_999_999, ..this.clone() }.lives());
            assert!(!Owner { ticks: this.ticks + 1, ..this }.lives(), "another process that was given the same id");
        }
    }
}
