//! What a checkpoint holds of a quantized network.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::TensorData;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

use crate::codec::Codec;
use crate::error::QuantError;
use crate::learned::{GroupStatistics, LearnedState};

const HEADER: &str = "codecs";

/// Everything of a quantized network that its config does not say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QuantizedState {
    /// The network's parameters by name.
    pub parameters: Vec<(String, TensorData)>,
    /// Codecs of weights that calibration or a fitting step has frozen, by layer.
    pub weights: BTreeMap<String, Codec>,
    /// Codecs of activations, by site.
    pub activations: BTreeMap<String, Codec>,
    /// Whether activations are quantized.
    pub calibrated: bool,
    /// Parameters of the learned quantizers, where they have been started.
    pub learned: Option<LearnedState>,
    /// Statistics of the calibration that learned quantizers of activations start from, by site.
    pub statistics: BTreeMap<String, Vec<GroupStatistics>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    weights: BTreeMap<String, Codec>,
    activations: BTreeMap<String, Codec>,
    calibrated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    learned: Option<LearnedState>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    statistics: BTreeMap<String, Vec<GroupStatistics>>,
}

impl QuantizedState {
    /// As a safetensors file: the parameters, with the codecs as JSON in its header.
    ///
    /// # Errors
    /// [`QuantError::State`] when it cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, QuantError> {
        let refused = |error: &dyn std::fmt::Display| QuantError::State(format!("cannot be written: {error}"));
        let header = Header {
            weights: self.weights.clone(),
            activations: self.activations.clone(),
            calibrated: self.calibrated,
            learned: self.learned.clone(),
            statistics: self.statistics.clone(),
        };
        let header = serde_json::to_string(&header).map_err(|error| refused(&error))?;
        let views = self
            .parameters
            .iter()
            .map(|(name, data)| {
                let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes());
                view.map(|view| (name.as_str(), view)).map_err(|error| refused(&error))
            })
            .collect::<Result<Vec<_>, _>>()?;
        serialize(views, Some(HashMap::from([(HEADER.to_owned(), header)]))).map_err(|error| refused(&error))
    }

    /// What [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`QuantError::State`] for damaged bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, QuantError> {
        let damaged = |error: &dyn std::fmt::Display| QuantError::State(format!("is damaged: {error}"));
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(&error))?;
        let header = metadata.metadata().as_ref().and_then(|map| map.get(HEADER));
        let header = header.ok_or_else(|| damaged(&"it has no codecs"))?;
        let Header { weights, activations, calibrated, learned, statistics } =
            serde_json::from_str(header).map_err(|error| damaged(&error))?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(&error))?;
        let mut parameters = Vec::new();
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(damaged(&format!("`{name}` is {:?}", view.dtype())));
            }
            let (values, _) = view.data().as_chunks::<4>();
            let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            parameters.push((name.to_owned(), TensorData::new(values, view.shape().to_vec())));
        }
        Ok(Self { parameters, weights, activations, calibrated, learned, statistics })
    }
}
