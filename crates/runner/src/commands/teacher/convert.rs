//! `blindfold teacher convert`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow};
use blindfold_zoo::{find_teacher, load_weights, sha256_hex, write_safetensors};
use burn::tensor::Device;

use super::super::print;
use crate::Registry;
use crate::device;
use crate::record::write_atomic;

pub(super) fn convert(registry: &Registry, name: &str, from: &Path, to: &Path) -> Result<()> {
    let card = find_teacher(name)?;
    let device: Device = device::select(None)?.device;
    let architecture = registry.architectures.build(&card.architecture.kind, card.architecture.table.clone())?;
    let network = load_weights(architecture.build(&device, 0), architecture.as_ref(), from)?;
    let metadata = BTreeMap::from([("blindfold".to_owned(), format!("{name}: {}", card.source))]);
    let bytes = write_safetensors(&network.state(), &metadata).map_err(|error| anyhow!("{}: {error}", to.display()))?;
    write_atomic(to, &bytes)?;
    let digest = sha256_hex(&bytes);
    print(&format!("{digest}  {}\n", to.display()));
    Ok(())
}
