//! One seed, named streams.

use rand::SeedableRng;
use sha2::{Digest, Sha256};

/// The generator of every random number: a published algorithm whose output is the same on every platform.
pub type Stream = rand::rngs::Xoshiro256PlusPlus;

/// The random stream for one purpose: `Xoshiro256++(SHA-256(seed as 8 little-endian bytes || purpose))`.
///
/// Streams of different purposes are independent, so that adding a consumer shifts no other.
///
/// ```
/// use blindfold_zoo::stream;
/// use rand::Rng;
/// assert_eq!(stream(1, "init").next_u64(), stream(1, "init").next_u64());
/// assert_ne!(stream(1, "init").next_u64(), stream(1, "data order").next_u64());
/// ```
pub fn stream(seed: u64, purpose: &str) -> Stream {
    let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(purpose.as_bytes()).finalize();
    Stream::from_seed(digest.into())
}
