//! Real images: where they lie, how they come there, and how they are read.
//!
//! ```text
//! catalogue -> fetch -> checksum -> archive -> DataHome -> DataSet::load -> RealImages
//!                                              shapes (computed) ----------^
//! ```
//!
//! [`DataSet`] is the plugin family; [`family`] lists its members. `commands` holds what `blindfold data` does.

mod archive;
mod catalogue;
mod checksum;
mod cifar;
mod class_folders;
mod commands;
mod dataset;
mod error;
mod fetch;
mod home;
mod idx;
mod image_folder;
mod mnist;
mod procedural;
mod progress;
mod recorded;
mod records;
mod scratch;
pub mod shapes;
mod verify;

pub use catalogue::{Packing, Publication};
pub use checksum::{Checksum, Hasher};
pub use cifar::{CifarConfig, Form};
pub use commands::{DataStatus, fetch_data_set, list, verify};
pub use dataset::{BUILTIN, DataSet, Split, family};
pub use error::DataError;
pub use fetch::{Download, MOST_BYTES, fetch};
pub use home::DataHome;
pub use image_folder::ImageFolderConfig;
pub use mnist::MnistConfig;
pub use procedural::ShapesConfig;
pub use progress::DownloadBar;
pub use verify::{Evidence, FileReport, Verification};
