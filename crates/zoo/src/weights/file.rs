//! Reading and writing the tensors of weight files.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use pytorch_reader::PytorchReader;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::WeightError;

/// Named tensors, as a file holds them, in 32-bit float.
pub type NamedTensors = BTreeMap<String, TensorData>;

/// Keys under which checkpoints nest their state dict.
const NESTED: [&str; 4] = ["state_dict", "model_state_dict", "model", "net"];

fn fault(path: &Path, what: impl std::fmt::Display, fix: &str) -> WeightError {
    WeightError::File { path: path.to_owned(), what: what.to_string(), fix: fix.to_owned() }
}

/// All floating-point tensors of a `.safetensors`, `.pt`, `.pth`, `.th` or `.tar` file.
///
/// A state dict nested under `state_dict`, `model_state_dict`, `model` or `net` is found; integer tensors
/// (`num_batches_tracked`) are left out.
///
/// # Errors
/// [`WeightError::File`] when the file is not there, or is not what its ending says.
pub fn read_tensors(path: &Path) -> Result<NamedTensors, WeightError> {
    if !path.is_file() {
        return Err(fault(path, "there is no such file", "check the path, or fetch the teacher first"));
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending {
        "safetensors" => {
            let bytes = std::fs::read(path).map_err(|error| fault(path, error, "check that it can be read"))?;
            read_safetensors(&bytes).map_err(|what| fault(path, what, "make the file anew: it is damaged"))
        }
        "pt" | "pth" | "th" | "tar" => read_pytorch(path),
        _ => Err(fault(
            path,
            format!("its ending is `{ending}`"),
            "give a .safetensors, .pt, .pth, .th or .pth.tar file",
        )),
    }
}

fn read_pytorch(path: &Path) -> Result<NamedTensors, WeightError> {
    const FIX: &str = "save it with torch.save(model.state_dict(), path)";
    let plain = PytorchReader::new(path).map_err(|error| fault(path, error, FIX))?;
    let nested = NESTED.into_iter().find(|key| plain.keys().iter().any(|name| name.starts_with(&format!("{key}."))));
    let reader = match nested {
        Some(key) => PytorchReader::with_top_level_key(path, key).map_err(|error| fault(path, error, FIX))?,
        None => plain,
    };
    let mut tensors = NamedTensors::new();
    for (name, tensor) in reader.tensors() {
        let bytes = tensor.read().map_err(|error| fault(path, format!("tensor `{name}`: {error}"), FIX))?;
        let values = match format!("{:?}", tensor.dtype()).as_str() {
            "F32" => floats(&bytes, 4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            "F64" => floats(&bytes, 8, |b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32),
            "F16" => floats(&bytes, 2, |b| burn::tensor::f16::from_le_bytes([b[0], b[1]]).to_f32()),
            "BF16" => floats(&bytes, 2, |b| burn::tensor::bf16::from_le_bytes([b[0], b[1]]).to_f32()),
            _ => continue,
        };
        tensors.insert(name.clone(), TensorData::new(values, tensor.shape().to_vec()));
    }
    if tensors.is_empty() {
        return Err(fault(path, "it holds no floating-point tensor", FIX));
    }
    Ok(tensors)
}

fn floats(bytes: &[u8], size: usize, convert: impl Fn(&[u8]) -> f32) -> Vec<f32> {
    bytes.chunks_exact(size).map(convert).collect()
}

/// The floating-point tensors of a safetensors file's bytes.
///
/// # Errors
/// What is wrong with the bytes.
pub fn read_safetensors(bytes: &[u8]) -> Result<NamedTensors, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut tensors = NamedTensors::new();
    for (name, view) in file.iter() {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => floats(data, 4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            Dtype::F64 => {
                floats(data, 8, |b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32)
            }
            Dtype::F16 => floats(data, 2, |b| burn::tensor::f16::from_le_bytes([b[0], b[1]]).to_f32()),
            Dtype::BF16 => floats(data, 2, |b| burn::tensor::bf16::from_le_bytes([b[0], b[1]]).to_f32()),
            _ => continue,
        };
        tensors.insert(name.to_owned(), TensorData::new(values, view.shape().to_vec()));
    }
    Ok(tensors)
}

/// The bytes of a safetensors file of these tensors, in 32-bit float; the same tensors give the same bytes.
///
/// # Errors
/// What the encoder found wrong.
pub fn write_safetensors(
    tensors: &[(String, TensorData)],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, String> {
    let encoded: Vec<(&str, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, data)| {
            let data = data.clone().convert_dtype(DType::F32);
            (name.as_str(), data.shape().to_vec(), data.iter::<f32>().flat_map(f32::to_le_bytes).collect())
        })
        .collect();
    let views: Vec<(&str, TensorView<'_>)> = encoded
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes)
                .map(|view| (*name, view))
                .map_err(|error| error.to_string())
        })
        .collect::<Result<_, String>>()?;
    if metadata.len() > 1 {
        // A hash map of several keys would be written in a random order.
        let joined = metadata.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join("\n");
        let one = std::collections::HashMap::from([("blindfold".to_owned(), joined)]);
        return safetensors::serialize(views, Some(one)).map_err(|error| error.to_string());
    }
    let metadata = (!metadata.is_empty()).then(|| metadata.clone().into_iter().collect());
    safetensors::serialize(views, metadata).map_err(|error| error.to_string())
}
