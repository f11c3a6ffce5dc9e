//! What people see of a download.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar with speed and time left on a terminal; one line at the start elsewhere.
#[derive(Debug)]
pub struct DownloadBar(Option<ProgressBar>);

impl DownloadBar {
    /// Begins a download of so many bytes (0 where that is not known), on standard error.
    pub fn begin(name: &str, bytes: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            let size = if bytes == 0 { String::new() } else { format!(", {:.1} MB", bytes as f64 / 1e6) };
            eprintln!("downloading {name}{size}");
            return Self(None);
        }
        if bytes == 0 {
            let style = ProgressStyle::with_template("{msg} {spinner} {bytes} {bytes_per_sec}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            return Self(Some(ProgressBar::no_length().with_style(style).with_message(name.to_owned())));
        }
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(Some(ProgressBar::new(bytes).with_style(style).with_message(name.to_owned())))
    }

    /// Tells the bytes so far.
    pub fn advance(&self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
        }
    }
}

impl Drop for DownloadBar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
