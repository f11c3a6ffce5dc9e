//! One writer a folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use super::error::RecordError;
use super::owner::Owner;

const PREFIX: &str = ".lock-";
/// The first byte of a lock file: somebody holds it, or gave it back.
const HELD: u8 = b'+';
const RELEASED: u8 = b'-';
/// How often a holder says that it lives.
const BEAT: Duration = Duration::from_secs(20);
/// After so long without a beat a holder on another machine counts as dead. Shared folders may show a file's time a
/// minute late.
pub(crate) const STALE: Duration = Duration::from_secs(300);
/// So long a lock file may be without its owner's name: its maker has yet to write it.
const UNNAMED: Duration = Duration::from_secs(10);
const TRIES: usize = 64;

/// The right to write a folder, held until dropped, against processes of this machine and of others that share the
/// folder.
///
/// ```text
/// <folder>/.lock-<n>     + {"host": .., "boot": .., "pid": .., "ticks": .., "since": ..}
/// ```
/// The file with the largest `n` says who holds the folder: nobody when it begins with `-`. It is taken by making the
/// file `n + 1`, which of several processes one alone can do; so a lock that its owner left behind is taken over once,
/// however many notice at the same time. The file stays when the lock is given back: were it deleted, its number could
/// be given twice.
///
/// An owner is alive under this system while it holds the operating system's lock on its file, so a killed process
/// holds nothing, however it died, and its process id may be anyone's by now. Where the file system has no such locks,
/// its process decides. On another machine it is alive while it writes the first byte again and again: the file's time
/// is its heartbeat, compared with the clock of whoever stores the folder.
#[derive(Debug)]
pub(crate) struct Lock {
    file: Arc<File>,
    /// Dropped to end the heartbeat.
    stop: Option<Sender<()>>,
    heart: Option<JoinHandle<()>>,
}

enum State {
    Free,
    Held(String),
}

impl Lock {
    /// Takes the lock of a folder that is there.
    pub(crate) fn acquire(folder: &Path) -> Result<Self, RecordError> {
        for _ in 0..TRIES {
            let last = newest(folder)?;
            match state(folder, last) {
                Ok(State::Free) => {}
                Ok(State::Held(holder)) => return Err(RecordError::Locked { path: folder.to_owned(), holder }),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(RecordError::io("read", &file_of(folder, last))(error)),
            }
            let (own, path) = (last + 1, file_of(folder, last + 1));
            let file = match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(RecordError::io("create", &path)(error)),
            };
            let lock = Self::hold(file, &path).inspect_err(|_| {
                let _ = fs::remove_file(&path);
            })?;
            if newest(folder)? == own {
                sweep(folder, last);
                return Ok(lock);
            }
            // While this process slept between looking and making, others took the lock, gave it back and swept.
            drop(lock);
            let _ = fs::remove_file(&path);
        }
        Err(RecordError::Locked { path: folder.to_owned(), holder: "processes that come and go".to_owned() })
    }

    /// Who holds the lock of a folder; nobody where there is no such folder.
    pub(crate) fn holder(folder: &Path) -> Result<Option<String>, RecordError> {
        if !folder.is_dir() {
            return Ok(None);
        }
        let last = newest(folder)?;
        match state(folder, last) {
            Ok(State::Held(holder)) => Ok(Some(holder)),
            Ok(State::Free) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RecordError::io("read", &file_of(folder, last))(error)),
        }
    }

    fn hold(file: File, path: &Path) -> Result<Self, RecordError> {
        for _ in 0..200 {
            match file.try_lock() {
                // Somebody looks at the file, which takes a moment.
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
                // Without locks of the file system its owner's process and heartbeat decide.
                Ok(()) | Err(TryLockError::Error(_)) => break,
            }
        }
        let owner = serde_json::to_string(&Owner::this()).map_err(RecordError::format(path))?;
        let mut text = vec![HELD];
        text.extend(owner.as_bytes());
        text.push(b'\n');
        (&file).write_all(&text).map_err(RecordError::io("write", path))?;
        let file = Arc::new(file);
        let (stop, stopped) = mpsc::channel::<()>();
        let beating = Arc::clone(&file);
        let heart = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                let _ = mark(&beating, HELD);
            }
        });
        let heart = heart.map_err(RecordError::io("keep up", path))?;
        Ok(Self { file, stop: Some(stop), heart: Some(heart) })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(heart) = self.heart.take() {
            let _ = heart.join();
        }
        let _ = mark(&self.file, RELEASED);
        let _ = self.file.unlock();
    }
}

/// Writes the first byte: in place, so that it needs no space on a full disk, and the machine that stores it sets the
/// time.
fn mark(mut file: &File, mark: u8) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&[mark])
}

fn file_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{number}"))
}

fn numbers(folder: &Path) -> Result<Vec<u64>, RecordError> {
    let entries = fs::read_dir(folder).map_err(RecordError::io("list", folder))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.strip_prefix(PREFIX)?.parse().ok()).collect())
}

/// The largest number; 0 where there is none.
fn newest(folder: &Path) -> Result<u64, RecordError> {
    Ok(numbers(folder)?.into_iter().max().unwrap_or(0))
}

/// Removes the files before `kept`. The one before the newest stays, so that a slow process does not make it again.
fn sweep(folder: &Path, kept: u64) {
    for number in numbers(folder).unwrap_or_default().into_iter().filter(|number| *number < kept) {
        let _ = fs::remove_file(file_of(folder, number));
    }
}

fn state(folder: &Path, number: u64) -> io::Result<State> {
    if number == 0 {
        return Ok(State::Free);
    }
    let file = File::open(file_of(folder, number))?;
    // Shared, so that those who look do not take each other for an owner.
    let locked = file.try_lock_shared();
    let mut bytes = Vec::new();
    (&file).take(4096).read_to_end(&mut bytes)?;
    let owner = bytes.get(1..).and_then(|rest| serde_json::from_slice::<Owner>(rest).ok());
    let name = || owner.as_ref().map_or_else(|| "a process that has just begun".to_owned(), ToString::to_string);
    let held = |lives: bool| if lives { State::Held(name()) } else { State::Free };
    if bytes.first() == Some(&RELEASED) {
        return Ok(State::Free);
    }
    Ok(match (locked, &owner) {
        (Err(TryLockError::WouldBlock), _) => held(true),
        (Ok(()), Some(owner)) if owner.is_here() => State::Free,
        (Err(TryLockError::Error(_)), Some(owner)) if owner.is_here() => held(owner.lives()),
        (_, Some(_)) => held(age(&file, folder)? < STALE),
        (_, None) => held(age(&file, folder)? < UNNAMED),
    })
}

/// How long ago a file of the folder was written, by the clock that writes its times.
fn age(file: &File, folder: &Path) -> io::Result<Duration> {
    let written = file.metadata()?.modified()?;
    let probe = folder.join(format!(".now-{}", std::process::id()));
    let now = File::create(&probe).and_then(|mut probe| {
        probe.write_all(b".")?;
        probe.metadata()?.modified()
    });
    let _ = fs::remove_file(&probe);
    Ok(now.unwrap_or_else(|_| SystemTime::now()).duration_since(written).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn leave(folder: &Path, number: u64, mark: u8, owner: &Owner, age: Duration) {
        let mut bytes = vec![mark];
        bytes.extend(serde_json::to_vec(owner).unwrap());
        leave_bytes(folder, number, &bytes, age);
    }

    fn leave_bytes(folder: &Path, number: u64, bytes: &[u8], age: Duration) {
        let path = file_of(folder, number);
        fs::write(&path, bytes).unwrap();
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    fn elsewhere() -> Owner {
        Owner { host: "elsewhere".into(), boot: "another".into(), ..Owner::this() }
    }

    fn refused(folder: &Path) -> Option<String> {
        match Lock::acquire(folder) {
            Ok(_) => None,
            Err(RecordError::Locked { holder, .. }) => Some(holder),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_second_writer_is_refused_and_told_who_the_first_is() {
        let root = tempfile::tempdir().unwrap();
        let first = Lock::acquire(root.path()).unwrap();
        let text = Lock::acquire(root.path()).unwrap_err().to_string();
        assert!(text.contains(&format!("written by process {} on host", std::process::id())), "{text}");
        assert!(Lock::holder(root.path()).unwrap().unwrap().starts_with("process "));
        drop(first);
        assert_eq!(Lock::holder(root.path()).unwrap(), None);
        Lock::acquire(root.path()).unwrap();
        assert_eq!(Lock::holder(&root.path().join("not there")).unwrap(), None);
    }

    #[test]
    fn what_a_killed_process_of_this_machine_left_is_taken_over_at_once() {
        let root = tempfile::tempdir().unwrap();
        leave(root.path(), 1, HELD, &Owner { pid: 999_999_999, ..Owner::this() }, Duration::ZERO);
        let _lock = Lock::acquire(root.path()).unwrap();
        let text = fs::read_to_string(file_of(root.path(), 2)).unwrap();
        assert!(text.starts_with('+') && text.contains(&format!("\"pid\":{}", std::process::id())), "{text}");
    }

    #[test]
    fn another_machine_holds_its_lock_while_its_heart_beats() {
        let root = tempfile::tempdir().unwrap();
        leave(root.path(), 1, HELD, &elsewhere(), STALE / 2);
        assert!(refused(root.path()).unwrap().contains("on host elsewhere"));
        leave(root.path(), 1, RELEASED, &elsewhere(), Duration::ZERO);
        assert_eq!(refused(root.path()), None, "it was given back");
        leave(root.path(), 3, HELD, &elsewhere(), STALE * 2);
        let file = File::options().read(true).write(true).open(file_of(root.path(), 3)).unwrap();
        mark(&file, HELD).unwrap();
        assert!(refused(root.path()).is_some(), "a beat makes it young again");
        leave(root.path(), 3, HELD, &elsewhere(), STALE * 2);
        assert_eq!(refused(root.path()), None, "its heart has stopped");
    }

    #[test]
    fn a_file_without_its_owner_s_name_is_held_for_a_moment_only() {
        let root = tempfile::tempdir().unwrap();
        leave_bytes(root.path(), 1, b"", Duration::ZERO);
        assert!(refused(root.path()).is_some());
        leave_bytes(root.path(), 1, b"", UNNAMED * 2);
        assert_eq!(refused(root.path()), None);
    }

    #[test]
    fn numbers_only_grow_and_old_files_are_swept() {
        let root = tempfile::tempdir().unwrap();
        for _ in 0..5 {
            drop(Lock::acquire(root.path()).unwrap());
        }
        let mut left = numbers(root.path()).unwrap();
        left.sort_unstable();
        assert_eq!(left, [4, 5]);
    }

    #[test]
    fn of_many_who_try_at_once_one_is_inside() {
        let root = tempfile::tempdir().unwrap();
        let (inside, times) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        if let Ok(_lock) = Lock::acquire(root.path()) {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            times.fetch_add(1, Ordering::SeqCst);
                            thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(times.load(Ordering::SeqCst) > 0);
    }
}
