//! Pieces of work shared out among processes and machines.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::error::RecordError;
use super::lock::{Lock, STALE};

const TRIES: usize = 16;

/// A folder in which processes, of one machine or of several that share it, claim pieces of work: each is held by one
/// at a time, and what a process held that was killed can be claimed again.
///
/// ```
/// use blindfold::record::{Claims, Taken};
///
/// let root = tempfile::tempdir()?;
/// let claims = Claims::at(root.path());
/// let Taken::Mine(claim) = claims.take("images")? else { panic!("nobody else is here") };
/// assert!(matches!(claims.take("images")?, Taken::Theirs(holder) if holder.starts_with("process ")));
/// claim.finish();
/// assert!(matches!(claims.take("images")?, Taken::Mine(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Claims {
    folder: PathBuf,
}

/// The right to do one piece of work, held until dropped.
#[derive(Debug)]
pub struct Claim {
    folder: PathBuf,
    _lock: Lock,
}

/// What an attempt to claim came to.
#[derive(Debug)]
pub enum Taken {
    /// This process has it now.
    Mine(Claim),
    /// Who has it, such as `process 4711 on host lab since 2026-11-21T07:23:34Z`.
    Theirs(String),
}

impl Claims {
    /// The claims in that folder, which is made with the first of them.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Writes into the folder, so that one that cannot be written is known before any work is done.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn check(&self) -> Result<(), RecordError> {
        fs::create_dir_all(&self.folder).map_err(RecordError::io("create folder", &self.folder))?;
        let probe = self.folder.join(format!(".probe-{}", std::process::id()));
        let written = fs::write(&probe, b"x");
        let _ = fs::remove_file(&probe);
        written.map_err(RecordError::io("write in", &self.folder))
    }

    /// Claims a piece of work by its name, which is a file's. Look afterwards whether it still has to be done: somebody
    /// may have [finished](Claim::finish) it a moment ago.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn take(&self, work: &str) -> Result<Taken, RecordError> {
        let folder = self.folder.join(work);
        let mut tries = 0;
        loop {
            tries += 1;
            let made = fs::create_dir_all(&folder).map_err(RecordError::io("create folder", &folder));
            match made.and_then(|()| Lock::acquire(&folder)) {
                Ok(lock) => return Ok(Taken::Mine(Claim { folder, _lock: lock })),
                Err(RecordError::Locked { holder, .. }) => return Ok(Taken::Theirs(holder)),
                // Whoever finished that work removes its folder at the same moment.
                Err(error) if vanished(&error) && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Claims a piece of work that takes others a moment, as soon as they have done it.
    ///
    /// # Errors
    /// [`RecordError::Locked`] when somebody keeps it for longer than a dead process can, [`RecordError::Io`].
    pub fn wait(&self, work: &str) -> Result<Claim, RecordError> {
        let began = Instant::now();
        loop {
            match self.take(work)? {
                Taken::Mine(claim) => return Ok(claim),
                Taken::Theirs(holder) if began.elapsed() > 2 * STALE => {
                    return Err(RecordError::Locked { path: self.folder.join(work), holder });
                }
                Taken::Theirs(_) => sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Who has that piece of work.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn holder(&self, work: &str) -> Result<Option<String>, RecordError> {
        Lock::holder(&self.folder.join(work))
    }
}

impl Claim {
    /// The work is done: nothing is left of the claim. Call it only when everybody who claims the work later can see
    /// that it is done.
    pub fn finish(self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn vanished(error: &RecordError) -> bool {
    matches!(error, RecordError::Io { source, .. }
        if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    #[test]
    fn nothing_is_left_of_finished_work_and_dropped_work_can_be_claimed_again() {
        let root = tempfile::tempdir().unwrap();
        let claims = Claims::at(root.path().join("claims"));
        claims.check().unwrap();
        let Taken::Mine(claim) = claims.take("a").unwrap() else { panic!() };
        assert!(claims.holder("a").unwrap().is_some());
        drop(claim);
        assert_eq!(claims.holder("a").unwrap(), None);
        claims.wait("a").unwrap().finish();
        assert_eq!(fs::read_dir(root.path().join("claims")).unwrap().count(), 0);
    }

    #[test]
    fn work_that_is_finished_under_the_hands_of_others_is_done_once() {
        let root = tempfile::tempdir().unwrap();
        let claims = Claims::at(root.path());
        let done: Mutex<Vec<usize>> = Mutex::default();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for work in 0..30 {
                        if let Taken::Mine(claim) = claims.take(&work.to_string()).unwrap() {
                            let known = done.lock().unwrap().contains(&work);
                            if !known {
                                thread::yield_now();
                                done.lock().unwrap().push(work);
                            }
                            claim.finish();
                        }
                    }
                });
            }
        });
        let done = done.into_inner().unwrap();
        assert_eq!(done.iter().collect::<BTreeSet<_>>().len(), done.len(), "{done:?}");
    }

    #[test]
    fn a_file_in_the_way_is_an_error_with_its_path() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("claims");
        fs::write(&path, "x").unwrap();
        let claims = Claims::at(&path);
        assert!(claims.check().unwrap_err().to_string().contains("claims"));
        assert!(matches!(claims.take("a"), Err(RecordError::Io { .. })));
    }
}
