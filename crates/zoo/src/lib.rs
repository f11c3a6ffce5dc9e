//! Networks as data: the graph, its layers and taps, architectures, weights in and out, and the teachers' catalogue.
//!
//! ```text
//! checkpoint (.th .pt .safetensors) -> Weights -> Network <- architecture
//! Network + Tap -> logits          Network -> pass -> Network
//! ```

pub mod architecture;
mod digest;
mod lanes;
mod names;
mod network;
mod normalization;
pub mod ops;
mod pass;
mod plugin;
mod rng;
mod teacher;
mod vectorized;
mod weights;

pub use digest::sha256_hex;
pub use lanes::{LANES, lane_product, lane_sum};
pub use names::{near_matches, with_hint};
pub use network::{
    BatchNorm2d, BatchStatistics, Block, ChannelSelect, Conv2d, FeatureTap, Layer, Linear, Network, NetworkBuilder,
    NoTap, Node, NodeId, Op, Site, Stateless, Tap, Taps, parameter_id,
};
pub use normalization::Normalization;
pub use pass::{fold_batch_norms, fold_batch_norms_where, insert_before};
pub use plugin::{ConfigError, Entry, Family, defaults_of, merge_defaults, parse};
pub use rng::{Stream, stream};
pub use teacher::{ArchitectureTable, TeacherCard, TeacherPlace, catalogue, find_teacher};
pub use vectorized::{choose, vectorized};
pub use weights::{NamedTensors, WeightError, load_weights, read_safetensors, read_tensors, write_safetensors};
