//! What commands say: results on stdout, notes and errors on stderr.

use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

use anyhow::{Result, anyhow};

/// Why stdout could not be written, for the first time.
static UNPRINTED: OnceLock<io::Error> = OnceLock::new();

/// Prints to stdout. A reader that went away (`| head`) is no error; any other fails the command, see [`printed`].
pub(super) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        lost(error);
    }
}

/// Keeps an error of stdout for the command's end.
pub(super) fn lost(error: io::Error) {
    if error.kind() != ErrorKind::BrokenPipe {
        // Later ones follow from the first.
        let _ = UNPRINTED.set(error);
    }
}

/// Whether all that was printed got out.
pub(super) fn printed() -> Result<()> {
    match UNPRINTED.get() {
        None => Ok(()),
        Some(error) => Err(anyhow!("cannot write to stdout: {error}")),
    }
}

/// Says a line on stderr; `eprintln!` would panic where nobody listens.
pub(super) fn tell(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
