//! GPUs through wgpu.

use anyhow::Result;
use burn::tensor::{Device, DeviceKind, DeviceType};

use super::NamedDevice;
use crate::Usage;

/// Names that software adapters go by.
const SOFTWARE: [&str; 4] = ["llvmpipe", "lavapipe", "swiftshader", "softpipe"];

/// `wgpu`: the first real GPU; `wgpu:1`: the second; `wgpu:software`: a software adapter, which must be asked for.
pub(super) fn select(detail: &str) -> Result<NamedDevice> {
    let listed: Vec<(Device, String)> = Device::enumerate(DeviceType::Wgpu)
        .into_vec()
        .into_iter()
        .map(|device| {
            let name = device.identity().map_or_else(|| "unnamed".to_owned(), |identity| identity.name.to_string());
            (device, name)
        })
        .collect();
    let soft = |name: &str| SOFTWARE.iter().any(|word| name.to_lowercase().contains(word));
    let names = || listed.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
    let found = match detail {
        "software" => listed.iter().find(|(_, name)| soft(name)).cloned(),
        "" => listed.iter().find(|(_, name)| !soft(name)).cloned(),
        index => {
            let Ok(index) = index.parse::<usize>() else {
                return Err(Usage(format!("wgpu:{index}: write wgpu, wgpu:<number> or wgpu:software")).into());
            };
            listed.iter().filter(|(_, name)| !soft(name)).nth(index).cloned()
        }
    };
    if let Some((device, name)) = found {
        return Ok(NamedDevice { device, name: format!("wgpu ({name})") });
    }
    if detail == "software" {
        // Enumeration lists no processors on some platforms; Burn finds them by kind.
        let device = Device::wgpu(DeviceKind::Cpu);
        if let Some(identity) = device.identity() {
            return Ok(NamedDevice { device, name: format!("wgpu ({})", identity.name) });
        }
    }
    let hint = if listed.iter().any(|(_, name)| soft(name)) {
        "; a software adapter must be asked for: --device wgpu:software"
    } else {
        ""
    };
    Err(Usage(format!(
        "no such GPU for `wgpu{}{detail}` (found: {}){hint}; --device flex runs on the processor",
        if detail.is_empty() { "" } else { ":" },
        if listed.is_empty() { "none".to_owned() } else { names() }
    ))
    .into())
}
