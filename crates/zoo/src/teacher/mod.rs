//! The catalogue of teachers.

mod card;

pub use card::{ArchitectureTable, TeacherCard, TeacherPlace, catalogue, find_teacher};
