//! `--device`: names of devices, and clear errors for those that are not there.

use anyhow::Result;
use burn::tensor::Device;

use crate::Usage;

/// The devices that a program can be built with.
const KNOWN: [&str; 3] = ["flex", "wgpu", "ndarray"];

/// The devices that this program was built with.
pub fn built_in() -> Vec<&'static str> {
    let mut devices = Vec::new();
    if cfg!(feature = "flex") {
        devices.push("flex");
    }
    if cfg!(feature = "wgpu") {
        devices.push("wgpu");
    }
    if cfg!(feature = "ndarray") {
        devices.push("ndarray");
    }
    devices
}

/// A device and what it is called in run.json.
#[derive(Debug, Clone)]
pub struct NamedDevice {
    /// The device.
    pub device: Device,
    /// Its name with its adapter, such as `flex` or `wgpu (NVIDIA H200)`.
    pub name: String,
}

/// The device of that name; the first that was built in where none is given.
///
/// # Errors
/// A name that is no device, a device that was not built in or is not there, and a software adapter nobody asked for: each
/// with what to type.
pub fn select(name: Option<&str>) -> Result<NamedDevice> {
    let built = built_in();
    let Some(first) = built.first() else {
        return Err(Usage("this program was built without any device: build it with --features flex".to_owned()).into());
    };
    let name = name.unwrap_or(first);
    let kind = name.split(':').next().unwrap_or(name);
    if !KNOWN.contains(&kind) {
        return Err(Usage(format!(
            "there is no device `{name}`; there are: flex, wgpu, ndarray (built in: {})",
            built.join(", ")
        ))
        .into());
    }
    if !built.contains(&kind) {
        let message = format!(
            "the device `{kind}` was not built in (built in: {}): type `just device={kind} ...`, or build with `cargo build --release -p blindfold-runner --no-default-features --features {kind}`",
            built.join(", ")
        );
        return Err(Usage(message).into());
    }
    if kind != "wgpu" && name.contains(':') {
        let message = format!("`{name}`: `{kind}` is one device, the processor: write `{kind}`");
        return Err(Usage(message).into());
    }
    match kind {
        #[cfg(feature = "flex")]
        "flex" => Ok(NamedDevice { device: Device::flex(), name: "flex".to_owned() }),
        #[cfg(feature = "ndarray")]
        "ndarray" => {
            #[allow(deprecated)]
            let device = Device::ndarray();
            Ok(NamedDevice { device, name: "ndarray".to_owned() })
        }
        #[cfg(feature = "wgpu")]
        "wgpu" => gpu::select(name.split_once(':').map_or("", |(_, adapter)| adapter)),
        _ => Err(Usage(format!("the device `{name}` is not known to this build")).into()),
    }
}

#[cfg(feature = "wgpu")]
mod gpu;
