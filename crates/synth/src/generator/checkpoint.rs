//! A generator's training as bytes.

use std::collections::HashMap;

use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};

use crate::error::SynthError;

const WHAT: &str = "the checkpoint of a generator";
const FORMAT: &str = "generator-1";
const HEADER: &str = "blindfold";
const OPTIMIZER: &str = "optimizer";

/// Everything that the training of a generator needs to go on as if it had never stopped.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) header: Header,
    pub(super) tensors: Vec<(String, TensorData)>,
    pub(super) optimizer: Vec<u8>,
}

/// Which training, and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    format: String,
    /// Batches handed out.
    pub(super) position: usize,
    /// Steps of the generator.
    pub(super) steps: usize,
    /// What fixes the training.
    pub(super) training: toml::Table,
}

impl Header {
    pub(super) fn new(position: usize, steps: usize, training: toml::Table) -> Self {
        Self { format: FORMAT.to_owned(), position, steps, training }
    }
}

impl Checkpoint {
    /// As a safetensors file.
    pub(super) fn into_bytes(self) -> Result<Vec<u8>, SynthError> {
        let malformed = |error: safetensors::SafeTensorError| SynthError::malformed(WHAT, error);
        let text = toml::to_string(&self.header).map_err(|error| SynthError::malformed(WHAT, error))?;
        let mut views = Vec::with_capacity(self.tensors.len() + 1);
        for (name, data) in &self.tensors {
            let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes()).map_err(malformed)?;
            views.push((name.as_str(), view));
        }
        let optimizer = TensorView::new(Dtype::U8, vec![self.optimizer.len()], &self.optimizer).map_err(malformed)?;
        views.push((OPTIMIZER, optimizer));
        serialize(views, Some(HashMap::from([(HEADER.to_owned(), text)]))).map_err(malformed)
    }

    /// Reads what [`Self::into_bytes`] wrote for the same training.
    ///
    /// # Errors
    /// [`SynthError::Malformed`] for damaged bytes, and for another training, by the keys that differ.
    pub(super) fn from_bytes(bytes: &[u8], training: &toml::Table) -> Result<Self, SynthError> {
        let malformed = |error: safetensors::SafeTensorError| SynthError::malformed(WHAT, error);
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
        let text = metadata.metadata().as_ref().and_then(|map| map.get(HEADER));
        let text = text.ok_or_else(|| SynthError::malformed(WHAT, "it has no header"))?;
        let header: Header = toml::from_str(text).map_err(|error| SynthError::malformed(WHAT, error))?;
        header.expect(training)?;
        let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
        let (mut optimizer, mut tensors) = (None, Vec::new());
        for (name, view) in file.iter() {
            match view.dtype() {
                Dtype::U8 if name == OPTIMIZER => optimizer = Some(view.data().to_vec()),
                Dtype::F32 => tensors.push((name.to_owned(), floats(&view))),
                other => return Err(SynthError::malformed(WHAT, format!("`{name}` is {other:?}"))),
            }
        }
        let optimizer = optimizer.ok_or_else(|| SynthError::malformed(WHAT, "it has no optimizer state"))?;
        Ok(Self { header, tensors, optimizer })
    }
}

impl Header {
    fn expect(&self, training: &toml::Table) -> Result<(), SynthError> {
        if self.format != FORMAT {
            return Err(SynthError::malformed(WHAT, format!("it is of format `{}`, not `{FORMAT}`", self.format)));
        }
        let show = |table: &toml::Table, key: &String| table.get(key).map_or("nothing".to_owned(), ToString::to_string);
        let mut keys: Vec<&String> = training.keys().chain(self.training.keys()).collect();
        keys.sort();
        keys.dedup();
        let differing: Vec<String> = keys
            .into_iter()
            .filter(|key| training.get(*key) != self.training.get(*key))
            .map(|key| format!("`{key}` is {} there and {} here", show(&self.training, key), show(training, key)))
            .collect();
        match differing.is_empty() {
            true => Ok(()),
            false => Err(SynthError::malformed(WHAT, format!("it is of another training ({})", differing.join("; ")))),
        }
    }
}

/// The optimizer's state as bytes.
pub(super) fn optimizer_bytes(optimizer: &ModuleOptimizer) -> Result<Vec<u8>, SynthError> {
    let bytes = optimizer.into_bytes().map_err(|error| SynthError::malformed(WHAT, format!("{error:?}")))?;
    Ok(bytes.to_vec())
}

/// The same optimizer with the state that [`optimizer_bytes`] gave.
pub(super) fn optimizer_from(optimizer: ModuleOptimizer, bytes: Vec<u8>) -> Result<ModuleOptimizer, SynthError> {
    let read = optimizer.from_bytes(Bytes::from_bytes_vec(bytes));
    read.map_err(|error| SynthError::malformed(WHAT, format!("its optimizer state cannot be read: {error:?}")))
}

fn floats(view: &TensorView<'_>) -> TensorData {
    let words = view.data().chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
    TensorData::new(words.map(f32::from_le_bytes).collect::<Vec<f32>>(), view.shape().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let tensors = vec![
            ("b".to_owned(), TensorData::new(vec![1.5f32, -0.0, f32::MIN_POSITIVE], [3])),
            ("a".to_owned(), TensorData::new(vec![0.1f32, 0.2], [1, 2])),
        ];
        let header = Header::new(7, 3, toml::toml! { seed = "3" batch = 16 });
        Checkpoint { header, tensors, optimizer: vec![1, 2, 3] }
    }

    #[test]
    fn bytes_give_back_the_same_bits() {
        let bytes = checkpoint().into_bytes().unwrap();
        let read = Checkpoint::from_bytes(&bytes, &checkpoint().header.training).unwrap();
        assert_eq!((read.header, read.optimizer), (checkpoint().header, vec![1, 2, 3]));
        for (name, data) in checkpoint().tensors {
            let (_, other) = read.tensors.iter().find(|(other, _)| *other == name).unwrap();
            assert_eq!((data.as_bytes(), data.shape()), (other.as_bytes(), other.shape()));
        }
    }

    #[test]
    fn a_truncated_checkpoint_and_another_training_are_errors() {
        let bytes = checkpoint().into_bytes().unwrap();
        for length in [0, 7, bytes.len() / 2, bytes.len() - 1] {
            assert!(Checkpoint::from_bytes(&bytes[..length], &checkpoint().header.training).is_err());
        }
        let other = toml::toml! { seed = "4" batch = 16 };
        let error = Checkpoint::from_bytes(&bytes, &other).unwrap_err().to_string();
        assert!(error.contains("`seed` is \"3\" there and \"4\" here") && !error.contains("batch"), "{error}");
    }
}
