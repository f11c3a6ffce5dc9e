//! Progress on stderr: bars for people, plain lines for files.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::table::duration;

const PLAIN_EVERY: Duration = Duration::from_secs(15);

/// Where progress is shown: bars when stderr is a terminal, otherwise plain lines, at most one in 15 seconds a task.
#[derive(Clone)]
pub struct Console {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Bars { bars: MultiProgress, colour: bool },
    Plain(Arc<Mutex<dyn Write + Send>>),
    Silent,
}

impl Console {
    /// On stderr. Colours are left out when the environment variable `NO_COLOR` is set and not empty.
    pub fn stderr() -> Self {
        if std::io::stderr().is_terminal() {
            let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            return Self { kind: Kind::Bars { bars: MultiProgress::new(), colour } };
        }
        Self::plain(std::io::stderr())
    }

    /// Plain lines into a writer.
    pub fn plain(writer: impl Write + Send + 'static) -> Self {
        Self { kind: Kind::Plain(Arc::new(Mutex::new(writer))) }
    }

    /// Shows nothing.
    pub fn silent() -> Self {
        Self { kind: Kind::Silent }
    }

    /// One line that stays, above any bars.
    pub fn line(&self, text: &str) {
        tracing::info!("{text}");
        match &self.kind {
            Kind::Bars { bars, .. } => {
                let _ = bars.println(text);
            }
            Kind::Plain(writer) => {
                if let Ok(mut writer) = writer.lock() {
                    let _ = writeln!(writer, "{text}");
                }
            }
            Kind::Silent => {}
        }
    }

    /// Begins a task of `total` steps, of which `done` were made in an earlier life.
    pub fn task(&self, name: &str, total: u64, done: u64) -> Task {
        let bar = match &self.kind {
            Kind::Bars { bars, colour } => {
                let bar = bars.add(ProgressBar::new(total).with_position(done));
                bar.set_style(style(*colour));
                bar.set_prefix(name.to_owned());
                bar.reset_eta();
                Some(bar)
            }
            _ => None,
        };
        let now = Instant::now();
        Task { console: self.clone(), bar, name: name.to_owned(), total, done, began: now, said: now }
    }
}

fn style(colour: bool) -> ProgressStyle {
    let bar = if colour { "{bar:24.cyan/dim}" } else { "{bar:24}" };
    let template = format!("{{prefix:12}} {bar} {{pos}}/{{len}} [{{elapsed}}, {{eta}} left] {{wide_msg}}");
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━─")
}

/// A task under way.
pub struct Task {
    console: Console,
    bar: Option<ProgressBar>,
    name: String,
    total: u64,
    done: u64,
    began: Instant,
    said: Instant,
}

impl Task {
    /// How many steps there are, where that was not known at the beginning.
    pub fn set_total(&mut self, total: u64) {
        self.total = total;
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }

    /// `position` steps of the total are done; `note` says how it goes, such as `loss 0.31`.
    pub fn set(&mut self, position: u64, note: &str) {
        self.set_at(position, note, Instant::now());
    }

    fn set_at(&mut self, position: u64, note: &str, now: Instant) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(position);
                bar.set_message(note.to_owned());
            }
            None if now.duration_since(self.said) >= PLAIN_EVERY => {
                self.said = now;
                let left =
                    self.left(position, now).map(|left| format!(", {} left", duration(left))).unwrap_or_default();
                let percent = position * 100 / self.total.max(1);
                let note = if note.is_empty() { String::new() } else { format!(": {note}") };
                self.console.line(&format!("{} {position}/{} ({percent} %{left}){note}", self.name, self.total));
            }
            None => {}
        }
    }

    /// An epoch ended: one line that stays.
    pub fn epoch(&mut self, text: &str) {
        self.said = Instant::now();
        self.console.line(&format!("{} {text}", self.name));
    }

    /// The task ended, well or not: one line that stays.
    pub fn end(self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.console.line(&format!("{} {text} ({})", self.name, duration(self.began.elapsed().as_secs_f64())));
    }

    /// Seconds that the rest takes at the pace of this life so far.
    fn left(&self, position: u64, now: Instant) -> Option<f64> {
        let made = position.checked_sub(self.done).filter(|made| *made > 0)?;
        let pace = now.duration_since(self.began).as_secs_f64() / made as f64;
        Some(pace * self.total.saturating_sub(position) as f64)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn plain_lines_come_seldom_and_tell_the_time_left() {
        let page = Page::default();
        let mut task = Console::plain(page.clone()).task("distill", 100, 20);
        let began = task.began;
        for second in 0..=40 {
            task.set_at(20 + second, "loss 0.31", began + Duration::from_secs(second));
        }
        task.epoch("epoch 1: top-1 88.1");
        task.end("done");
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "distill 35/100 (35 %, 1 min 05 s left): loss 0.31");
        assert_eq!(lines[1], "distill 50/100 (50 %, 50 s left): loss 0.31");
        assert_eq!(lines[2..], ["distill epoch 1: top-1 88.1", "distill done (0 s)"]);
    }

    #[test]
    fn a_total_that_is_told_later_counts() {
        let page = Page::default();
        let mut task = Console::plain(page.clone()).task("images", 1, 0);
        let began = task.began;
        task.set_total(200);
        task.set_at(50, "", began + Duration::from_secs(20));
        task.end("done");
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().next().unwrap(), "images 50/200 (25 %, 1 min 00 s left)");
    }

    #[test]
    fn the_templates_of_the_bars_are_valid() {
        for colour in [true, false] {
            let bar = ProgressBar::hidden();
            bar.set_style(style(colour));
            let template = if colour { "{bar:24.cyan/dim}" } else { "{bar:24}" };
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
