//! Weights in and out of files.

mod error;
mod file;
mod load;
mod matching;

pub use error::WeightError;
pub use file::{NamedTensors, read_safetensors, read_tensors, write_safetensors};
pub use load::load_weights;
pub(crate) use matching::match_state;
