//! Checkpoints as bytes: a safetensors file whose header says which training it belongs to.

use std::collections::{BTreeMap, HashMap};

use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, TensorData};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

use crate::error::DistillError;

const HEADER: &str = "blindfold";
const OPTIMIZER: &str = "optimizer";

/// Everything that a training needs to go on as if it had never stopped.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) header: Header,
    pub(crate) tensors: Vec<(String, TensorData)>,
    pub(crate) optimizer: Vec<u8>,
    /// What else has bytes of its own, by name: a generator, a second optimizer.
    pub(crate) parts: BTreeMap<String, Vec<u8>>,
}

/// Which training, and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// `student-2` or `teacher-1`: what was trained, and the version of the format.
    pub(crate) format: String,
    /// Steps done.
    pub(crate) step: usize,
    /// What fixes the training: its configuration, seed, images, network.
    pub(crate) training: toml::Table,
    /// What else the trainer keeps.
    pub(crate) extra: toml::Table,
}

impl Archive {
    pub(crate) fn into_bytes(self) -> Result<Vec<u8>, DistillError> {
        let text = toml::to_string(&self.header)
            .map_err(|error| DistillError::checkpoint(format!("cannot be written: {error}")))?;
        let floats =
            self.tensors.iter().map(|(name, data)| view(name, Dtype::F32, data.shape().to_vec(), data.as_bytes()));
        let optimizer = std::iter::once((OPTIMIZER, &self.optimizer));
        let parts = optimizer.chain(self.parts.iter().map(|(name, bytes)| (name.as_str(), bytes)));
        let bytes = parts.map(|(name, bytes)| view(name, Dtype::U8, vec![bytes.len()], bytes));
        let views = floats.chain(bytes).collect::<Result<Vec<_>, _>>()?;
        serialize(views, Some(HashMap::from([(HEADER.to_owned(), text)])))
            .map_err(|error| DistillError::checkpoint(format!("cannot be written: {error}")))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, DistillError> {
        let damaged =
            |error: &dyn std::fmt::Display| DistillError::checkpoint(format!("is damaged or no checkpoint ({error})"));
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(&error))?;
        let text =
            metadata.metadata().as_ref().and_then(|map| map.get(HEADER)).ok_or_else(|| damaged(&"it has no header"))?;
        let header: Header = toml::from_str(text).map_err(|error| damaged(&error))?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(&error))?;
        let mut parts = BTreeMap::new();
        let mut tensors = Vec::new();
        for (name, view) in file.iter() {
            match view.dtype() {
                Dtype::U8 => drop(parts.insert(name.to_owned(), view.data().to_vec())),
                Dtype::F32 => tensors.push((name.to_owned(), floats(&view))),
                other => return Err(damaged(&format!("{name} is {other:?}"))),
            }
        }
        let optimizer = parts.remove(OPTIMIZER).ok_or_else(|| damaged(&"it has no optimizer state"))?;
        Ok(Self { header, tensors, optimizer, parts })
    }

    /// Refuses an archive of another format or another training.
    pub(crate) fn expect(&self, format: &str, training: &toml::Table) -> Result<(), DistillError> {
        if self.header.format != format {
            return Err(DistillError::checkpoint(format!("is of format `{}`, not `{format}`", self.header.format)));
        }
        let differing: Vec<String> = training
            .keys()
            .chain(self.header.training.keys().filter(|key| !training.contains_key(*key)))
            .filter(|key| training.get(*key) != self.header.training.get(*key))
            .map(|key| {
                let show = |table: &toml::Table| table.get(key).map_or("nothing".to_owned(), ToString::to_string);
                format!("`{key}` is {} there and {} here", show(&self.header.training), show(training))
            })
            .collect();
        match differing.is_empty() {
            true => Ok(()),
            false => Err(DistillError::checkpoint(format!("belongs to another training ({})", differing.join("; ")))),
        }
    }
}

/// The optimizer's state as bytes.
pub(crate) fn optimizer_bytes(optimizer: &ModuleOptimizer) -> Result<Vec<u8>, DistillError> {
    let bytes = optimizer
        .into_bytes()
        .map_err(|error| DistillError::checkpoint(format!("cannot hold the optimizer: {error:?}")))?;
    Ok(bytes.to_vec())
}

/// The same optimizer with the state that [`optimizer_bytes`] gave.
pub(crate) fn optimizer_from(optimizer: ModuleOptimizer, bytes: Vec<u8>) -> Result<ModuleOptimizer, DistillError> {
    optimizer
        .from_bytes(Bytes::from_bytes_vec(bytes))
        .map_err(|error| DistillError::checkpoint(format!("has an optimizer state that cannot be read: {error:?}")))
}

fn view<'a>(
    name: &str,
    dtype: Dtype,
    shape: Vec<usize>,
    data: &'a [u8],
) -> Result<(String, TensorView<'a>), DistillError> {
    TensorView::new(dtype, shape, data)
        .map(|view| (name.to_owned(), view))
        .map_err(|error| DistillError::checkpoint(format!("cannot hold `{name}`: {error}")))
}

fn floats(view: &TensorView<'_>) -> TensorData {
    let values: Vec<f32> =
        view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
    TensorData::new(values, view.shape().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Archive {
        let training = toml::toml! { seed = 3 batch = 128 };
        let header = Header { format: "student-1".into(), step: 7, training, extra: toml::Table::new() };
        let tensors = vec![
            ("b".to_owned(), TensorData::new(vec![1.5f32, -0.0, f32::MIN_POSITIVE], [3])),
            ("a".to_owned(), TensorData::new(vec![0.1f32, 0.2], [1, 2])),
        ];
        let parts = BTreeMap::from([("generator".to_owned(), vec![9, 8]), ("nothing".to_owned(), Vec::new())]);
        Archive { header, tensors, optimizer: vec![1, 2, 3], parts }
    }

    #[test]
    fn bytes_give_back_the_same_bits() {
        let read = Archive::from_bytes(&archive().into_bytes().unwrap()).unwrap();
        assert_eq!(read.header, archive().header);
        assert_eq!(read.optimizer, [1, 2, 3]);
        assert_eq!(read.parts, archive().parts);
        for (name, data) in archive().tensors {
            let (_, other) = read.tensors.iter().find(|(other, _)| *other == name).unwrap();
            assert_eq!(data.as_bytes(), other.as_bytes());
            assert_eq!(data.shape(), other.shape());
        }
    }

    #[test]
    fn a_truncated_archive_is_an_error() {
        let bytes = archive().into_bytes().unwrap();
        for length in [0, 7, bytes.len() / 2, bytes.len() - 1] {
            assert!(Archive::from_bytes(&bytes[..length]).unwrap_err().to_string().contains("is damaged"));
        }
    }

    #[test]
    fn another_training_is_refused_by_the_key_that_differs() {
        let error = archive().expect("student-1", &toml::toml! { seed = 4 batch = 128 }).unwrap_err();
        assert!(error.to_string().contains("`seed` is 3 there and 4 here"), "{error}");
        assert!(!error.to_string().contains("batch"));
        assert!(archive().expect("teacher-1", &archive().header.training).is_err());
        archive().expect("student-1", &archive().header.training).unwrap();
    }
}
