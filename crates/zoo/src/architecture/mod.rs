//! Network architectures, a plugin family.

mod densenet;
mod lenet;
mod resnet;

use burn::tensor::Device;

use crate::{Entry, Network};

/// Builds a network of random weights, and knows the names that other libraries give its parameters.
pub trait Architecture: Send + Sync + std::fmt::Debug {
    /// The network with weights drawn from `seed`.
    fn build(&self, device: &Device, seed: u64) -> Network;

    /// The name that this library gives the parameter which a checkpoint calls `name`, for each naming scheme that is known
    /// (`None` where the scheme has no such parameter). The first scheme is this library's own.
    fn schemes(&self) -> Vec<fn(&str) -> Option<String>>;
}

/// The architectures of this library.
pub const BUILTIN: &[Entry<dyn Architecture>] = &[resnet::ENTRY, densenet::ENTRY, lenet::ENTRY];

/// `name` with `from` at its start replaced by `to`.
fn swap_prefix(name: &str, from: &str, to: &str) -> Option<String> {
    name.strip_prefix(from).map(|rest| format!("{to}{rest}"))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::BUILTIN;
    use crate::Family;

    #[test]
    fn every_architecture_builds_from_its_defaults_and_runs() {
        let family = Family::new("architecture", BUILTIN).unwrap();
        for entry in family.entries() {
            assert!(!entry.summary.is_empty() && !entry.source.is_empty(), "{} lacks words", entry.name);
            let network = (entry.build)((entry.defaults)()).unwrap().build(&Device::flex(), 1);
            let [channels, height, width] = network.input_shape();
            let logits = network.forward(Tensor::ones([2, channels, height, width], &Device::flex()));
            assert_eq!(logits.dims(), [2, network.classes()], "{}", entry.name);
            for block in network.blocks() {
                let outside = |id: usize| !block.nodes.contains(&id);
                for id in block.nodes.clone() {
                    let reads = network.node(id).inputs.iter().filter(|&&input| outside(input));
                    assert!(reads.into_iter().all(|&input| input == block.input), "{}", block.name);
                    assert!(id == block.output || network.consumers(id).into_iter().all(|reader| !outside(reader)));
                }
            }
        }
    }
}
