//! The program `blindfold` with the plugins of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    match plugin_loss::registry() {
        Ok(registry) => blindfold::run(registry),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
