//! Plugin family: how much the network suffers when a layer's weights have few bits.

mod hessian_trace;
mod kl;
mod mse;
mod sqnr;

use std::fmt::Debug;

use blindfold_zoo::{Entry, Network};
use burn::tensor::Tensor;

use super::candidates::LayerCandidates;
use crate::error::QuantError;
use crate::step::FitProgress;

pub use hessian_trace::{HessianTarget, HessianTrace, HessianTraceConfig};
pub use kl::{KlSensitivity, KlSensitivityConfig};
pub use mse::{MseSensitivity, MseSensitivityConfig};
pub use sqnr::{SqnrSensitivity, SqnrSensitivityConfig};

/// Measures every layer at every width that it may have, each for itself; the sum over layers is what an allocation
/// keeps small.
pub trait Sensitivity: Debug + Send + Sync {
    /// Whether it looks at images.
    fn needs_images(&self) -> bool;

    /// The table: for each layer, in order, one finite number for each of its widths, in order. Larger is worse.
    ///
    /// # Errors
    /// [`QuantError::Cancelled`] when [`FitProgress::cancelled`] says so; a member's own.
    fn measure(&self, request: SensitivityRequest<'_>) -> Result<Vec<Vec<f64>>, QuantError>;
}

/// What a sensitivity is measured on.
pub struct SensitivityRequest<'a> {
    /// The teacher in floating point, without gradients, as the plan prepares it.
    pub network: &'a Network,
    /// Its quantized layers in the network's order, with their widths.
    pub layers: &'a [LayerCandidates],
    /// Images `[image, channel, height, width]` without gradients; for a member that looks at none whatever is at hand.
    pub images: Tensor<4>,
    /// The seed of random streams.
    pub seed: u64,
    /// Told of every layer; may ask to stop.
    pub progress: &'a mut dyn FitProgress,
}

/// All sensitivities of this crate.
pub const BUILTIN: &[Entry<dyn Sensitivity>] = &[kl::ENTRY, hessian_trace::ENTRY, sqnr::ENTRY, mse::ENTRY];

/// `value(layer, index of the width)` for all layers and widths.
fn data_free(
    request: SensitivityRequest<'_>,
    value: impl Fn(&LayerCandidates, usize) -> Result<f64, QuantError>,
) -> Result<Vec<Vec<f64>>, QuantError> {
    let SensitivityRequest { layers, progress, .. } = request;
    let mut table = Vec::with_capacity(layers.len());
    for (done, layer) in layers.iter().enumerate() {
        if progress.cancelled() {
            return Err(QuantError::Cancelled);
        }
        let row: Vec<f64> = (0..layer.bits.len()).map(|index| value(layer, index)).collect::<Result<_, _>>()?;
        progress.unit(done + 1, layers.len(), &labelled(layer, &row));
        table.push(row);
    }
    Ok(table)
}

/// A row of the table as values to log.
fn labelled(layer: &LayerCandidates, row: &[f64]) -> Vec<(String, f64)> {
    layer.bits.iter().zip(row).map(|(bits, &value)| (format!("allocate/{}/w{bits}", layer.name), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::candidates::all_candidates;
    use super::*;
    use crate::plan::{Protocol, QuantConfig};
    use crate::step::Silent;
    use crate::testing::{images, small};

    struct Stop;

    impl FitProgress for Stop {
        fn unit(&mut self, _done: usize, _total: usize, _values: &[(String, f64)]) {}

        fn cancelled(&self) -> bool {
            true
        }
    }

    #[test]
    fn every_member_is_worse_at_two_bits_than_at_eight_and_the_same_twice() {
        for protocol in [Protocol::Gdfq, Protocol::Brecq] {
            let quant = QuantConfig { protocol, ..QuantConfig::default() };
            let (network, layers) = all_candidates(&small(3), &quant, &[2, 8]);
            for entry in BUILTIN {
                let member = (entry.build)(toml::Table::new()).unwrap();
                let measure = || {
                    let images = images(&network, 4, 5);
                    let (network, layers, seed, progress) = (&network, layers.as_slice(), 7, &mut Silent);
                    member.measure(SensitivityRequest { network, layers, images, seed, progress }).unwrap()
                };
                let table = measure();
                assert_eq!(table.len(), layers.len());
                for (layer, row) in layers.iter().zip(&table) {
                    assert!(row[0] > row[1] && row[1] >= 0.0, "{} {protocol} {}: {row:?}", entry.name, layer.name);
                }
                assert_eq!(measure(), table, "{}", entry.name);
            }
        }
    }

    #[test]
    fn every_member_stops_when_asked() {
        let (network, layers) = all_candidates(&small(3), &QuantConfig::default(), &[2, 8]);
        for entry in BUILTIN {
            let member = (entry.build)(toml::Table::new()).unwrap();
            let images = images(&network, 2, 5);
            let request =
                SensitivityRequest { network: &network, layers: &layers, images, seed: 7, progress: &mut Stop };
            assert!(matches!(member.measure(request), Err(QuantError::Cancelled)), "{}", entry.name);
        }
    }
}
