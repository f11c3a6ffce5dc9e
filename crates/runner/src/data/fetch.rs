//! One file from the net, checked before it gets its name.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checksum::Checksum;
use super::error::DataError;
use super::scratch::Scratch;

/// A file that someone publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Its address, `http` or `https`.
    pub url: Cow<'static, str>,
    /// Its name here.
    pub file_name: Cow<'static, str>,
    /// The published checksum.
    pub checksum: Checksum,
    /// Its length; 0 where it is not published: then at most [`MOST_BYTES`] are read, and the checksum alone decides.
    pub bytes: u64,
}

/// A download whose length is not published may have so many bytes.
pub const MOST_BYTES: u64 = 1 << 30;

impl Download {
    /// The most bytes that may come.
    fn limit(&self) -> u64 {
        if self.bytes == 0 { MOST_BYTES } else { self.bytes }
    }

    /// The length in words.
    fn length(&self) -> String {
        if self.bytes == 0 { "an unknown number of".to_owned() } else { self.bytes.to_string() }
    }

    /// A file of a catalogue.
    pub const fn published(url: &'static str, file_name: &'static str, checksum: Checksum, bytes: u64) -> Self {
        Self { url: Cow::Borrowed(url), file_name: Cow::Borrowed(file_name), checksum, bytes }
    }
}

/// Downloads a file into `folder` and returns its path; `progress` is told the bytes so far.
///
/// The bytes go to a temporary name in the same folder, and get the file's name only when length and checksum are
/// right. A file that is there already and has the right checksum is taken as it is.
///
/// # Errors
/// [`DataError::Checksum`] when the bytes, or those of a file that is there already, are not the published ones;
/// [`DataError::Download`] when the address cannot be reached, refuses, or sends too little or too much: the message says where to put the
/// file by hand; [`DataError::Io`] when the folder cannot be written.
pub fn fetch(download: &Download, folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<PathBuf, DataError> {
    let target = folder.join(download.file_name.as_ref());
    if target.exists() {
        download.checksum.check(&target, "delete or move the file, then fetch again")?;
        return Ok(target);
    }
    std::fs::create_dir_all(folder).map_err(DataError::io("create", folder))?;
    let scratch = Scratch::beside(&target);
    let digest = stream(download, scratch.path(), &target, progress)?;
    let fix = format!("nothing was kept; what {} sends is not what was published: try again later", download.url);
    download.checksum.compare(&target, digest, fix)?;
    std::fs::rename(scratch.path(), &target).map_err(DataError::io("rename the download to", &target))?;
    Ok(target)
}

/// Downloads into `temporary` and returns the digest.
fn stream(
    download: &Download,
    temporary: &Path,
    target: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<String, DataError> {
    let fail = |found: String| DataError::Download {
        url: download.url.to_string(),
        found,
        fix: format!("try again, or download it elsewhere and put it at {}", target.display()),
    };
    let mut body = open(&download.url).map_err(|error| fail(explain(&error)))?;
    let mut file = File::create(temporary).map_err(DataError::io("create", temporary))?;
    let mut hasher = download.checksum.hasher();
    let mut buffer = vec![0u8; 1 << 16];
    let mut done = 0u64;
    loop {
        let count = body
            .read(&mut buffer)
            .map_err(|error| fail(format!("{error} after {done} of {} bytes", download.length())))?;
        if count == 0 {
            break;
        }
        done += count as u64;
        if done > download.limit() {
            return Err(fail(format!("more than {} bytes", download.limit())));
        }
        file.write_all(&buffer[..count]).map_err(DataError::io("write", temporary))?;
        hasher.write_all(&buffer[..count]).map_err(DataError::io("write", temporary))?;
        progress(done);
    }
    if done < download.bytes {
        return Err(fail(format!("the end after {done} of {} bytes", download.length())));
    }
    file.sync_all().map_err(DataError::io("write", temporary))?;
    Ok(hasher.finish())
}

fn open(url: &str) -> Result<impl Read, ureq::Error> {
    let agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        // A `.gz` file must arrive as it is.
        .accept_encoding("identity")
        .build()
        .new_agent();
    Ok(agent.get(url).call()?.into_body().into_reader())
}

fn explain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(code) => format!("the server answers with status {code}"),
        ureq::Error::HostNotFound => "no such host is known (is there a network?)".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with these bytes, and gives the address.
    fn serve(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            socket.write_all(answer).unwrap();
        });
        format!("http://{address}/abc.bin")
    }

    fn abc(url: String) -> Download {
        Download {
            url: Cow::Owned(url),
            file_name: Cow::Borrowed("abc.bin"),
            checksum: Checksum::sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            bytes: 3,
        }
    }

    /// The error's text, after checking that the folder stayed empty.
    fn failure(answer: &'static [u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let error = fetch(&abc(serve(answer)), folder.path(), &mut |_| {}).unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
        error.to_string()
    }

    #[test]
    fn a_good_file_arrives_once_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("new");
        let url = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
        let mut seen = 0;
        let path = fetch(&abc(url.clone()), &home, &mut |done| seen = done).unwrap();
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), seen), (&b"abc"[..], 3));
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1);
        // The server is gone: the file that is there must do.
        assert_eq!(fetch(&abc(url), &home, &mut |_| {}).unwrap(), path);
    }

    #[test]
    fn wrong_bytes_are_refused() {
        let text = failure(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabd");
        assert!(text.contains("SHA-256 is a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9"), "{text}");
        assert!(text.contains("nothing was kept"), "{text}");
    }

    #[test]
    fn a_body_that_breaks_off_is_refused() {
        let text = failure(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nab");
        assert!(text.contains("after 2 of 3 bytes"), "{text}");
        let text = failure(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab");
        assert!(text.contains("the end after 2 of 3 bytes"), "{text}");
    }

    #[test]
    fn a_body_that_is_too_long_is_refused() {
        let text = failure(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nabcd");
        assert!(text.contains("more than 3 bytes"), "{text}");
    }

    #[test]
    fn a_length_that_is_not_published_leaves_the_checksum_to_decide() {
        let folder = tempfile::tempdir().unwrap();
        let download = |answer| Download { bytes: 0, ..abc(serve(answer)) };
        let cut = download(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab");
        assert!(matches!(fetch(&cut, folder.path(), &mut |_| {}), Err(DataError::Checksum { .. })));
        let whole = download(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
        assert!(fetch(&whole, folder.path(), &mut |_| {}).is_ok());
    }

    #[test]
    fn a_missing_file_and_an_absent_server_say_where_to_put_the_file() {
        let text = failure(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert!(text.contains("status 404") && text.contains("put it at"), "{text}");
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let text = fetch(&abc(format!("http://{closed}/abc.bin")), folder.path(), &mut |_| {}).unwrap_err().to_string();
        assert!(text.contains("abc.bin") && text.contains("put it at"), "{text}");
    }

    #[test]
    fn a_damaged_file_that_is_there_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("abc.bin"), "mine").unwrap();
        let error = fetch(&abc("http://127.0.0.1:9/".to_owned()), folder.path(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, DataError::Checksum { .. }));
        assert_eq!(std::fs::read(folder.path().join("abc.bin")).unwrap(), b"mine");
    }
}
