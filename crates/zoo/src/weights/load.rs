//! Giving a network the weights of a file, whatever naming scheme the file follows.

use std::path::Path;

use burn::tensor::TensorData;

use super::{NamedTensors, WeightError, read_tensors};
use crate::Network;
use crate::architecture::Architecture;

/// The network with the weights of a file, in whichever naming scheme of the architecture fits most of its tensors.
///
/// # Errors
/// [`WeightError::File`] when the file cannot be read or holds numbers that no trained network has,
/// [`WeightError::Mismatch`] when its tensors are not the network's.
pub fn load_weights(network: Network, architecture: &dyn Architecture, path: &Path) -> Result<Network, WeightError> {
    let tensors = read_tensors(path)?;
    let state = renamed(&network, architecture, tensors);
    if let Some(what) = state.iter().find_map(|(name, data)| not_trained(name, data)) {
        let fix = "make the file anew: its training diverged, or it is damaged".to_owned();
        return Err(WeightError::File { path: path.to_owned(), what, fix });
    }
    network.with_state(state)
}

/// What is wrong with the numbers of a tensor, if anything.
fn not_trained(name: &str, data: &TensorData) -> Option<String> {
    if let Some(value) = data.iter::<f32>().find(|value| !value.is_finite()) {
        return Some(format!("tensor `{name}` holds {value}"));
    }
    let variances = name.ends_with(".running_var");
    let negative = data.iter::<f32>().find(|value| variances && *value < 0.0)?;
    Some(format!("tensor `{name}` holds the variance {negative}"))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::Device;

    use super::*;
    use crate::{Family, architecture, write_safetensors};

    #[test]
    fn numbers_that_no_trained_network_has_are_refused_with_file_and_tensor() {
        let table: toml::Table = "depth = 8\nwidths = [4, 6, 8]".parse().unwrap();
        let built = Family::new("architecture", architecture::BUILTIN).unwrap().build("resnet", table).unwrap();
        let network = built.build(&Device::flex(), 1);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("teacher.safetensors");
        let load = |ending: &str, value: f32| {
            let mut state = network.state();
            let (name, data) = state.iter_mut().find(|(name, _)| name.ends_with(ending)).unwrap();
            let mut values: Vec<f32> = data.iter::<f32>().collect();
            values[0] = value;
            *data = TensorData::new(values, data.shape().to_vec());
            let name = name.clone();
            std::fs::write(&path, write_safetensors(&state, &BTreeMap::new()).unwrap()).unwrap();
            (name, load_weights(network.clone(), built.as_ref(), &path))
        };
        assert!(load(".weight", -1.0).1.is_ok() && load(".running_var", 0.0).1.is_ok());
        for (ending, value) in [(".weight", f32::NAN), (".running_mean", f32::INFINITY), (".running_var", -1.0)] {
            let (name, loaded) = load(ending, value);
            let error = loaded.unwrap_err().to_string();
            assert!(error.contains("teacher.safetensors") && error.contains(&name), "{error}");
        }
    }
}
