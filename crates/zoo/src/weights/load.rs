//! Giving a network the weights of a file, whatever naming scheme the file follows.

use std::path::Path;

use burn::tensor::TensorData;

use super::{NamedTensors, WeightError, read_tensors};
use crate::Network;
use crate::architecture::Architecture;

/// The network with the weights of a file, in whichever naming scheme of the architecture fits most of its tensors.
///
/// # Errors
/// [`WeightError::File`] when the file cannot be read, [`WeightError::Mismatch`] when its tensors are not the network's.
pub fn load_weights(network: Network, architecture: &dyn Architecture, path: &Path) -> Result<Network, WeightError> {
    let tensors = read_tensors(path)?;
    network.clone().with_state(renamed(&network, architecture, tensors))
}

/// The tensors under this library's names.
fn renamed(network: &Network, architecture: &dyn Architecture, tensors: NamedTensors) -> Vec<(String, TensorData)> {
    let own: std::collections::BTreeSet<String> = network.state().into_iter().map(|(name, _)| name).collect();
    let plain = |name: &str| name.strip_prefix("module.").unwrap_or(name).to_owned();
    let translate =
        |scheme: fn(&str) -> Option<String>, name: &str| scheme(&plain(name)).unwrap_or_else(|| plain(name));
    let fits = |scheme: &fn(&str) -> Option<String>| {
        tensors.keys().filter(|name| own.contains(&translate(*scheme, name))).count()
    };
    let mut best: fn(&str) -> Option<String> = |name| Some(name.to_owned());
    let mut most = 0;
    for scheme in architecture.schemes() {
        if fits(&scheme) > most {
            most = fits(&scheme);
            best = scheme;
        }
    }
    tensors.iter().map(|(name, data)| (translate(best, name), data.clone())).collect()
}
