//! Proof, after conversion, that every layer is what the plan says.

mod meter;
mod row;

use std::collections::BTreeMap;

use blindfold_zoo::{Layer, Taps};
use burn::tensor::Tensor;

use crate::codec::Codec;
use crate::error::QuantError;
use crate::network::QuantizedNetwork;
use meter::LevelMeter;

pub use row::{AuditRow, Role};

/// A table of every weight and every activation site, with the distinct values that were measured in a forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// One row a tensor, in the network's order.
    pub rows: Vec<AuditRow>,
    /// Size of all parameters in floating point, in bytes.
    pub float_bytes: usize,
    /// Size of the same with quantized weights packed, scales and zero points included, in bytes.
    pub quantized_bytes: usize,
}

impl Audit {
    /// Runs the network once and measures what passes; learned quantizers as they would be frozen now. Without images it runs on one of zeros, and levels of activations are
    /// left out; those of weights do not depend on images.
    ///
    /// # Errors
    /// [`QuantError::Audit`] lists, by layer: weights that the plan does not mention, weights and activations with more
    /// distinct values than codes, and sites that the plan quantizes and that have no grid.
    pub fn of(quantized: &QuantizedNetwork, images: Option<Tensor<4>>) -> Result<Self, QuantError> {
        if quantized.learned.is_some() {
            return Self::of(&quantized.frozen_learned()?, images);
        }
        let has_images = images.is_some();
        let [channels, height, width] = quantized.network.input_shape();
        let device = quantized.network.device().inner();
        let images = images.unwrap_or_else(|| Tensor::zeros([1, channels, height, width], &device));
        let mut fake = quantized.tap();
        let mut meter = LevelMeter::new(&quantized.plan);
        quantized.network.run(images.inner(), &mut Taps(vec![&mut fake, &mut meter]));
        let weights = quantized.weight_tensors()?;
        let mut codecs: BTreeMap<String, Codec> =
            weights.into_iter().map(|weight| (weight.name, weight.codec)).collect();
        let mut audit = Self { rows: Vec::new(), float_bytes: 0, quantized_bytes: 0 };
        let mut faults: Vec<String> = fake.fault().map(ToString::to_string).into_iter().collect();
        for node in quantized.network.nodes() {
            let name = &node.name;
            let parameters = parameter_count(&node.layer) * 4;
            audit.float_bytes += parameters;
            audit.quantized_bytes += parameters;
            if node.layer.has_weight() {
                match (quantized.plan.weight(name), meter.weights.get(name)) {
                    (Some(target), Some(seen)) => {
                        let codec = codecs.remove(name);
                        let row = AuditRow::new(
                            target,
                            codec.as_ref(),
                            node.layer.kind(),
                            Role::Weight,
                            seen.values,
                            seen.groups,
                            Some(seen.levels),
                        );
                        // Constants may take more than floats would: subtract last.
                        audit.quantized_bytes = audit.quantized_bytes + row.bytes - seen.values * 4;
                        audit.rows.push(row);
                    }
                    (None, _) => faults
                        .push(format!("`{name}`: the plan does not mention its weight, which is in floating point")),
                    (_, None) => faults.push(format!("`{name}`: its weight was never used")),
                }
            }
            if let Some(target) = quantized.plan.activation(name) {
                if target.is_quantized() && target.dynamic.is_none() && !quantized.activations.contains_key(name) {
                    faults.push(format!("`{name}`: its output has no grid and is in floating point"));
                }
                let seen = meter.activations.get(name).copied().unwrap_or_default();
                let levels = has_images.then_some(seen.levels);
                audit.rows.push(AuditRow::new(
                    target,
                    quantized.activations.get(name),
                    node.layer.kind(),
                    Role::Activation,
                    seen.values,
                    seen.groups,
                    levels,
                ));
            }
        }
        faults.extend(audit.rows.iter().filter_map(AuditRow::fault));
        if faults.is_empty() { Ok(audit) } else { Err(QuantError::Audit(faults)) }
    }

    /// How many times smaller the quantized parameters are.
    pub fn compression(&self) -> f64 {
        self.float_bytes as f64 / self.quantized_bytes.max(1) as f64
    }

    /// The table in Markdown, with the sizes below it.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from(
            "| layer | kind | tensor | bits | quantizer | range | granularity | groups | distinct levels | allowed | bytes |\n\
             |---|---|---|---:|---|---|---|---:|---:|---:|---:|\n",
        );
        for row in &self.rows {
            text.push_str(&row.to_markdown());
        }
        text.push_str(&format!(
            "\nDistinct levels are the largest number in any one group (channel or tensor), measured in a forward pass.\n\n\
             Parameters: {} bytes in fp32, {} bytes quantized (packed, with the scales, zero points and levels of its groups in 4 bytes each), \
             {:.2} times smaller.\n",
            self.float_bytes,
            self.quantized_bytes,
            self.compression(),
        ));
        text
    }
}

fn parameter_count(layer: &Layer) -> usize {
    match layer {
        Layer::Conv2d(conv) => {
            conv.weight.shape().num_elements() + conv.bias.as_ref().map_or(0, |bias| bias.shape().num_elements())
        }
        Layer::Linear(linear) => {
            linear.weight.shape().num_elements() + linear.bias.as_ref().map_or(0, |bias| bias.shape().num_elements())
        }
        Layer::BatchNorm2d(bn) => 4 * bn.gamma.shape().num_elements(),
        Layer::ChannelSelect(_) | Layer::Stateless(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Families;
    use crate::granularity::Granularity;
    use crate::plan::{FormatConfig, Plan, PluginChoice, Protocol, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::{images, small};

    fn quantized(protocol: Protocol) -> QuantizedNetwork {
        let network = small(3);
        let config = QuantConfig {
            protocol,
            weight_bits: Precision::Int(3),
            activation_bits: Precision::Int(4),
            ..Default::default()
        };
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        let batch = images(&network, 4, 1);
        QuantizedNetwork::calibrate(network, plan, std::iter::once(batch)).unwrap()
    }

    #[test]
    fn a_quantized_network_passes_and_the_table_has_every_layer() {
        for protocol in [Protocol::Gdfq, Protocol::Brecq] {
            let quantized = quantized(protocol);
            let batch = images(&quantized.network, 4, 2);
            for network in [quantized.clone(), quantized.for_evaluation().unwrap()] {
                let audit = Audit::of(&network, Some(batch.clone())).unwrap();
                let weights: Vec<&AuditRow> = audit.rows.iter().filter(|row| row.role == Role::Weight).collect();
                assert_eq!(weights.len(), 6);
                assert!(
                    weights
                        .iter()
                        .all(|row| row.levels.is_some_and(|levels| levels > 1 && levels <= row.allowed.unwrap()))
                );
                let text = audit.to_markdown();
                assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), audit.rows.len() + 1);
                assert!(text.contains("| layer2.0.conv1 | conv2d | weight | 3 |"), "{text}");
                assert!(audit.compression() > 3.0, "{}", audit.compression());
            }
        }
    }

    #[test]
    fn sizes_are_counted_by_hand() {
        let quantized = quantized(Protocol::Gdfq);
        let audit = Audit::of(&quantized, None).unwrap();
        let convolutions = [8 * 3 * 9, 8 * 8 * 9, 8 * 8 * 9, 16 * 8 * 9, 16 * 16 * 9];
        let weights: usize = convolutions.iter().sum::<usize>() + 160;
        let rest = 10 + 4 * (8 * 3 + 16 * 2);
        assert_eq!(audit.float_bytes, 4 * (weights + rest));
        let packed: usize = convolutions.iter().chain([&160]).map(|count| (count * 3usize).div_ceil(8)).sum();
        assert_eq!(audit.quantized_bytes, packed + 8 * (8 * 3 + 16 * 2 + 10) + 4 * rest);
    }

    /// The audit of a network whose weights alone are quantized.
    fn of_weights(bits: u8, change: impl Fn(&mut FormatConfig)) -> Audit {
        let network = small(3);
        let mut config =
            QuantConfig { weight_bits: Precision::Int(bits), activation_bits: Precision::Float, ..Default::default() };
        change(&mut config.weight);
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        Audit::of(&QuantizedNetwork::with_weights(network, plan).unwrap(), None).unwrap()
    }

    #[test]
    fn codebooks_may_take_more_than_the_floats_that_they_stand_for() {
        let audit = of_weights(8, |weight| weight.format = Some(PluginChoice::named("k-means")));
        // No channel has more than 256 weights: each has a level of its own, in 32 bits beside its code of 8.
        let weights = 8 * 3 * 9 + 2 * 8 * 8 * 9 + 16 * 8 * 9 + 16 * 16 * 9 + 160;
        assert_eq!(audit.quantized_bytes, audit.float_bytes + weights);
        assert!(audit.to_markdown().contains(&format!(" {} |\n", 5 * 8 * 3 * 9)), "{}", audit.to_markdown());
    }

    #[test]
    fn grids_without_zero_points_are_not_charged_for_them() {
        let audit = of_weights(4, |weight| {
            weight.quantizer = Some(PluginChoice::named("symmetric"));
            weight.granularity = Some(Granularity::PerGroup(9));
        });
        assert_eq!(audit.rows.iter().find(|row| row.layer == "conv1").unwrap().bytes, 8 * 27 / 2 + 4 * 8 * 3);
        let text = audit.to_markdown();
        assert!(text.contains("| per-group of 9 |") && text.contains("| per-group of 9, here of 8 |"), "{text}");
    }

    #[test]
    fn a_layer_left_in_float_is_named() {
        let mut quantized = quantized(Protocol::Gdfq);
        quantized.activations.remove("layer1.0.relu2");
        let error = Audit::of(&quantized, None).unwrap_err().to_string();
        assert!(error.contains("`layer1.0.relu2`: its output has no grid"), "{error}");
        let batch = images(&quantized.network, 4, 2);
        let error = Audit::of(&quantized, Some(batch)).unwrap_err().to_string();
        assert!(error.contains("`layer1.0.relu2`") && error.contains("distinct"), "{error}");
        let baked = quantized.for_evaluation().unwrap();
        let float = baked.clone().with_network(quantized.network.clone());
        let error = Audit::of(&float, None).unwrap_err().to_string();
        assert!(error.contains("`layer2.0.conv2`") && error.contains("distinct"), "{error}");
    }
}
