//! Fake quantization that lets some activations pass.

use blindfold_quant::{Dropout, FakeQuantTap, QuantizedNetwork, Target};
use blindfold_zoo::{BatchNorm2d, Site, Stream, Tap};
use burn::tensor::Tensor;

/// The student's fake quantization, in which each value of an activation passes unquantized with a probability.
///
/// ```text
/// y = x with probability p, else Q(x)      value by value, at every quantizer of activations
/// ```
///
/// # Source
/// Wei, Gong, Li et al., QDrop: Randomly Dropping Quantization for Extremely Low-bit Post-Training Quantization, ICLR 2022.
///
/// # Differences from the source
/// The source drops while blocks are reconstructed; here the student is trained as a whole, and its input is never dropped.
#[derive(Debug)]
pub(super) struct DroppingTap<'a> {
    student: &'a QuantizedNetwork,
    quantization: FakeQuantTap<'a>,
    dropping: Option<Dropout<Stream>>,
}

impl<'a> DroppingTap<'a> {
    /// Nothing is dropped for a probability of 0.
    pub(super) fn new(student: &'a QuantizedNetwork, probability: f64, random: Stream) -> Self {
        Self { student, quantization: student.tap(), dropping: Dropout::new(random, probability) }
    }

    /// The first fault of the quantization, if any.
    pub(super) fn fault(&self) -> Option<String> {
        self.quantization.fault().map(ToString::to_string)
    }

    fn quantizes(&self, name: &str) -> bool {
        self.student.is_calibrated() && self.student.plan.activation(name).is_some_and(Target::is_quantized)
    }
}

impl Tap for DroppingTap<'_> {
    fn weight(&mut self, site: Site<'_>, weight: Tensor<4>) -> Tensor<4> {
        self.quantization.weight(site, weight)
    }

    fn input(&mut self, site: Site<'_>, index: usize, input: Tensor<4>) -> Tensor<4> {
        self.quantization.input(site, index, input)
    }

    fn batch_norm(&mut self, site: Site<'_>, layer: &BatchNorm2d, input: &Tensor<4>) -> Option<Tensor<4>> {
        self.quantization.batch_norm(site, layer, input)
    }

    fn output(&mut self, site: Site<'_>, output: Tensor<4>) -> Tensor<4> {
        let quantizes = self.quantizes(&site.node.name);
        match self.dropping.as_mut().filter(|_| quantizes) {
            Some(dropping) => {
                let dropped = dropping.mask(output.dims(), &output.device().inner());
                self.quantization.output(site, output.clone()).mask_where(dropped, output)
            }
            None => self.quantization.output(site, output),
        }
    }
}

#[cfg(test)]
mod tests {
    use blindfold_quant::{Families, Plan, QuantConfig};
    use blindfold_zoo::{FeatureTap, Taps, stream};
    use burn::tensor::Device;

    use super::*;
    use crate::reference::floats;
    use crate::testing::{network, noise};

    fn student() -> QuantizedNetwork {
        let config: QuantConfig = toml::from_str("weight_bits = 'fp32'\nactivation_bits = 2").unwrap();
        let plan = Plan::new(&config, &network(3), &Families::builtin()).unwrap();
        QuantizedNetwork::calibrate(network(3), plan, noise(16, 1).batches(16, &Device::flex())).unwrap()
    }

    /// Outputs of the first ReLU, the first site, for a probability: everything before it is in floating point.
    fn first_site(student: &QuantizedNetwork, probability: f64, seed: u64) -> Vec<f32> {
        let mut quantization = DroppingTap::new(student, probability, stream(seed, "test"));
        let mut features = FeatureTap::new(["relu1".to_owned()]);
        let images = noise(16, 2).tensor(0..16, &Device::flex());
        student.network.run(images, &mut Taps(vec![&mut quantization, &mut features]));
        floats(features.features.remove("relu1").unwrap())
    }

    #[test]
    fn every_value_is_quantized_or_as_it_was_in_the_share_asked_for() {
        let student = student();
        let plain = {
            let mut features = FeatureTap::new(["relu1".to_owned()]);
            student.network.run(noise(16, 2).tensor(0..16, &Device::flex()), &mut features);
            floats(features.features.remove("relu1").unwrap())
        };
        let quantized = first_site(&student, 0.0, 1);
        for probability in [0.2, 0.5] {
            let mixed = first_site(&student, probability, 1);
            let (mut dropped, mut differing) = (0, 0);
            for ((mixed, plain), quantized) in mixed.iter().zip(&plain).zip(&quantized) {
                assert!(mixed == plain || mixed == quantized);
                if plain != quantized {
                    differing += 1;
                    dropped += usize::from(mixed == plain);
                }
            }
            let share = dropped as f64 / differing as f64;
            assert!(differing > 1000 && (share - probability).abs() < 0.05, "{share} of {differing}");
            assert_eq!(mixed, first_site(&student, probability, 1));
            assert_ne!(mixed, first_site(&student, probability, 2));
        }
    }

    #[test]
    fn gradients_flow_through_both_kinds_of_values() {
        let student = student();
        let images = noise(4, 2).tensor(0..4, &Device::flex()).autodiff().require_grad();
        let mut tap = DroppingTap::new(&student, 0.5, stream(1, "test"));
        let logits = student.network.run(images.clone(), &mut tap);
        let gradients = logits.sum().backward();
        assert!(floats(images.grad(&gradients).unwrap()).iter().any(|value| *value != 0.0));
        assert_eq!(tap.fault(), None);
    }
}
