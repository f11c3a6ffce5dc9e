//! SHA-256 as text.

use sha2::{Digest, Sha256};

/// SHA-256 of these bytes as 64 lower-case hexadecimal digits.
///
/// ```
/// assert!(blindfold_zoo::sha256_hex(b"abc").starts_with("ba7816bf8f01cfea"));
/// ```
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
