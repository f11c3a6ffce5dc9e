//! Ctrl-C: asked for once, the run checkpoints and stops; asked for twice, the program ends at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();

/// Listens for Ctrl-C and for the termination signal.
pub(crate) fn listen() {
    INSTALLED.get_or_init(|| {
        let heard = || {
            if ASKED.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
            eprintln!("\nstopping after this step; press Ctrl-C again to stop at once");
        };
        if let Err(error) = ctrlc::set_handler(heard) {
            tracing::warn!("Ctrl-C will not checkpoint: {error}");
        }
    });
}

/// Whether the user asked to stop.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Stops as after one Ctrl-C when standard input ends: whoever started this process has closed it, or is gone.
pub(crate) fn stop_with_stdin() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        ASKED.store(true, Ordering::SeqCst);
    });
}
