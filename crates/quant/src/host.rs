//! Which devices compute in the host's own memory.

use burn::tensor::Device;

/// Whether values of the device can be read and written without a transfer.
pub(crate) fn is_host(device: &Device) -> bool {
    let name = format!("{:?}", device.as_dispatch());
    name.contains("Flex") || name.contains("NdArray")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flex_is_the_hosts_with_and_without_gradients() {
        assert!(is_host(&Device::flex()) && is_host(&Device::flex().autodiff()));
    }
}
