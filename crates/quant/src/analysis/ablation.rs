//! What each tensor costs at the logits.

use serde::Serialize;

use super::by_name;
use super::comparison::Comparison;
use super::logits::LogitError;
use super::modes::Selection;
use crate::audit::Role;
use crate::error::QuantError;
use crate::plan::Target;
use crate::precision::Precision;
use crate::step::FitProgress;

/// The cost of one tensor: enable-one and disable-one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationRow {
    /// The node's name.
    pub layer: String,
    /// Its weight or its output.
    #[serde(serialize_with = "by_name")]
    pub role: Role,
    /// The tensor's format.
    pub bits: Precision,
    /// Enable-one: with this tensor quantized alone.
    pub enabled: LogitError,
    /// Disable-one: with everything quantized but this tensor.
    pub disabled: LogitError,
}

/// What quantization costs at the logits: as a whole, by kind, and by tensor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ablation {
    /// With only weights quantized.
    pub weights: LogitError,
    /// With only activations quantized.
    pub activations: LogitError,
    /// With both.
    pub both: LogitError,
    /// Every tensor that the plan quantizes, in the network's order, a node's weight before its output.
    pub rows: Vec<AblationRow>,
}

impl Comparison<'_> {
    /// Runs all images three times, and twice more for every tensor that the plan quantizes.
    ///
    /// # Errors
    /// [`QuantError::Cancelled`] when `progress` says so; [`QuantError::NotFinite`] for logits that are NaN or
    /// infinite; those of dynamic ranges.
    pub fn ablation(&self, progress: &mut dyn FitProgress) -> Result<Ablation, QuantError> {
        let plan = &self.student.plan;
        let tensors: Vec<(Role, &Target)> = self
            .quantized
            .nodes()
            .iter()
            .flat_map(|node| {
                let weight = plan.weight(&node.name).map(|target| (Role::Weight, target));
                weight.into_iter().chain(plan.activation(&node.name).map(|target| (Role::Activation, target)))
            })
            .filter(|(_, target)| target.is_quantized())
            .collect();
        let mut selections = vec![Selection::WEIGHTS, Selection::ACTIVATIONS, Selection::BOTH];
        for &(role, target) in &tensors {
            selections.push(Selection::only(role, &target.name));
            selections.push(Selection::all_but(role, &target.name));
        }
        let errors = self.errors(&selections, progress)?;
        let (whole, single) = errors.split_at(3);
        let rows = tensors.iter().zip(single.chunks_exact(2)).map(|((role, target), pair)| AblationRow {
            layer: target.name.clone(),
            role: *role,
            bits: target.precision,
            enabled: pair[0],
            disabled: pair[1],
        });
        Ok(Ablation { weights: whole[0], activations: whole[1], both: whole[2], rows: rows.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Families;
    use crate::network::QuantizedNetwork;
    use crate::plan::{LayerOverride, Plan, QuantConfig};
    use crate::step::Silent;
    use crate::testing::{images, small};

    fn measure(config: &QuantConfig) -> Ablation {
        let network = small(4);
        let plan = Plan::new(config, &network, &Families::builtin()).unwrap();
        let batch = images(&network, 8, 2);
        let student = QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(batch)).unwrap();
        let comparison = Comparison::new(&student, &network, images(&network, 6, 5), 6).unwrap();
        comparison.ablation(&mut Silent).unwrap()
    }

    fn only(exception: LayerOverride) -> QuantConfig {
        QuantConfig {
            weight_bits: Precision::Float,
            activation_bits: Precision::Float,
            layer: vec![exception],
            ..Default::default()
        }
    }

    #[test]
    fn a_single_quantized_tensor_is_all_of_the_error() {
        let name = "layer2.0.conv1";
        let weight = LayerOverride { weight_bits: Some(Precision::Int(3)), ..LayerOverride::new(name) };
        let site = LayerOverride { activation_bits: Some(Precision::Int(2)), ..LayerOverride::new("relu1") };
        for (exception, role) in [(weight, Role::Weight), (site, Role::Activation)] {
            let ablation = measure(&only(exception));
            let [row] = &ablation.rows[..] else { panic!("{} rows", ablation.rows.len()) };
            let nothing = LogitError { mse: 0.0, kl: 0.0, agreement: 100.0 };
            assert!(row.role == role && ablation.both.mse > 0.0);
            assert_eq!((row.enabled, row.disabled), (ablation.both, nothing));
            let (own, other) = match role {
                Role::Weight => (ablation.weights, ablation.activations),
                Role::Activation => (ablation.activations, ablation.weights),
            };
            assert_eq!((own, other), (ablation.both, nothing));
        }
    }

    #[test]
    fn the_tensor_with_the_fewest_bits_costs_most() {
        let bad = LayerOverride { weight_bits: Some(Precision::Int(2)), ..LayerOverride::new("layer1.0.conv2") };
        let ablation = measure(&QuantConfig { layer: vec![bad], ..Default::default() });
        assert_eq!(ablation.rows.len(), 6 + 5);
        assert_eq!(ablation.rows[0].layer, "conv1");
        let largest = ablation.rows.iter().max_by(|a, b| a.enabled.mse.total_cmp(&b.enabled.mse)).unwrap();
        let best = ablation.rows.iter().min_by(|a, b| a.disabled.mse.total_cmp(&b.disabled.mse)).unwrap();
        assert_eq!((largest.layer.as_str(), best.layer.as_str()), ("layer1.0.conv2", "layer1.0.conv2"));
        assert!(best.disabled.mse < 0.2 * ablation.both.mse);
    }

    #[test]
    fn it_stops_when_asked() {
        struct Stopped;
        impl FitProgress for Stopped {
            fn unit(&mut self, _done: usize, _total: usize, _values: &[(String, f64)]) {}
            fn cancelled(&self) -> bool {
                true
            }
        }
        let network = small(4);
        let plan = Plan::new(&QuantConfig::default(), &network, &Families::builtin()).unwrap();
        let student =
            QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(images(&network, 2, 1))).unwrap();
        let comparison = Comparison::new(&student, &network, images(&network, 2, 5), 2).unwrap();
        assert!(matches!(comparison.ablation(&mut Stopped), Err(QuantError::Cancelled)));
    }
}
