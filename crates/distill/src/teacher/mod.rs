//! Supervised training of a teacher, on real data.

mod config;
#[cfg(test)]
mod tests;
mod trainer;

pub use config::TeacherConfig;
pub use trainer::{TeacherRecord, TeacherTrainer};
