//! The widths that each layer may have, with the codecs that they would get.

use std::collections::BTreeSet;

use blindfold_zoo::{ConfigError, Network, NodeId};

use crate::codec::Codec;
use crate::error::QuantError;
use crate::plan::{Plan, Target};
use crate::precision::{MAX_BITS, MIN_BITS};
use crate::samples::Samples;

/// A quantized layer with the widths that it may have.
#[derive(Debug, Clone)]
pub struct LayerCandidates {
    /// The layer's name.
    pub name: String,
    /// Its place in the network.
    pub node: NodeId,
    /// `[out, in / groups, height, width]`.
    pub shape: [usize; 4],
    /// The shape in which the weight is quantized: the same values in the same order.
    pub view: [usize; 4],
    /// The weights in floating point, row-major.
    pub values: Vec<f32>,
    /// Whether the layer keeps the width that the plan gives it.
    pub fixed: bool,
    /// The widths, ascending; for a fixed layer the one that it has.
    pub bits: Vec<u8>,
    /// The codec that the plan's format gives the weight at each width.
    pub codecs: Vec<Codec>,
}

impl LayerCandidates {
    /// The quantized layers of a network that the plan has prepared, in its order; those of `fixed` names keep their width.
    ///
    /// # Errors
    /// [`QuantError::Config`] for a layer whose number format has none of the widths; with the layer's name those of the
    /// plugins and [`QuantError::NotFinite`].
    pub(super) fn of_network(
        network: &Network,
        plan: &Plan,
        widths: &[u8],
        fixed: &BTreeSet<String>,
    ) -> Result<Vec<Self>, QuantError> {
        let mut layers = Vec::new();
        for (node, place) in network.nodes().iter().enumerate() {
            let (Some(target), Some(weight)) = (plan.weight(&place.name), place.layer.weight()) else { continue };
            let Some(bits) = target.precision.bits() else { continue };
            let fixed = fixed.contains(&place.name);
            let bits = if fixed { vec![bits] } else { allowed(target, widths)? };
            let shape = weight.dims();
            let (view, axis) = target.granularity.weight_view(shape);
            let fit = || -> Result<(Vec<f32>, Vec<Codec>), QuantError> {
                let samples = Samples::of(weight.inner().reshape(view), axis)?;
                let codecs = bits.iter().map(|&bits| target.codec(&samples, bits, axis)).collect::<Result<_, _>>()?;
                Ok((samples.into_values(), codecs))
            };
            let (values, codecs) = fit().map_err(|error| error.at(&place.name))?;
            layers.push(Self { name: place.name.clone(), node, shape, view, values, fixed, bits, codecs });
        }
        Ok(layers)
    }

    /// What the weights become at the width of that place, row-major.
    ///
    /// # Errors
    /// [`QuantError::Groups`] for a codec of another shape.
    pub fn quantized(&self, index: usize) -> Result<Vec<f32>, QuantError> {
        self.codecs[index].fake_quantize_values(&self.values, self.view).map_err(|error| error.at(&self.name))
    }

    /// `sum (w - w^)^2` at the width of that place, in `f64`.
    ///
    /// # Errors
    /// As [`Self::quantized`].
    pub fn squared_error(&self, index: usize) -> Result<f64, QuantError> {
        let quantized = self.quantized(index)?;
        Ok(self.values.iter().zip(quantized).map(|(&w, q)| (f64::from(w) - f64::from(q)).powi(2)).sum())
    }
}

/// The widths that the layer's number format has.
fn allowed(target: &Target, widths: &[u8]) -> Result<Vec<u8>, QuantError> {
    let (has, what) = match &target.format {
        Some((name, format)) => (format.widths(), format!("the number format `{name}`")),
        None => (MIN_BITS..=MAX_BITS, "a uniform integer format".to_owned()),
    };
    let allowed: Vec<u8> = widths.iter().copied().filter(|bits| has.contains(bits)).collect();
    if allowed.is_empty() {
        let fix =
            format!("`{}` has {what}, of {} to {} bits: write some of those", target.name, has.start(), has.end());
        return Err(ConfigError::invalid("candidates", format!("{widths:?}"), fix).into());
    }
    Ok(allowed)
}

/// A network as a plan prepares it, with all widths for all layers, for tests.
#[cfg(test)]
pub(super) fn all_candidates(
    teacher: &Network,
    quant: &crate::plan::QuantConfig,
    widths: &[u8],
) -> (Network, Vec<LayerCandidates>) {
    let plan = Plan::new(quant, teacher, &crate::families::Families::builtin()).unwrap();
    let network = plan.prepare(teacher.clone()).unwrap().frozen();
    let layers = LayerCandidates::of_network(&network, &plan, widths, &BTreeSet::new()).unwrap();
    (network, layers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Families;
    use crate::plan::{Protocol, QuantConfig};
    use crate::testing::{plain, small};

    #[test]
    fn all_quantized_layers_have_the_widths_and_fixed_ones_their_own() {
        let teacher = small(1);
        for protocol in [Protocol::Gdfq, Protocol::Brecq] {
            let quant = QuantConfig { protocol, ..QuantConfig::default() };
            let plan = Plan::new(&quant, &teacher, &Families::builtin()).unwrap();
            let network = plan.prepare(teacher.clone()).unwrap();
            let fixed = BTreeSet::from(["conv1".to_owned()]);
            let layers = LayerCandidates::of_network(&network, &plan, &[2, 4], &fixed).unwrap();
            assert_eq!(layers.len(), 6);
            assert_eq!((layers[0].bits.as_slice(), layers[0].fixed), ([8].as_slice(), true));
            for layer in &layers[1..] {
                assert_eq!((layer.bits.as_slice(), layer.fixed), ([2, 4].as_slice(), false));
                assert_eq!(layer.codecs.iter().map(Codec::bits).collect::<Vec<_>>(), [2, 4]);
                let (two, four) = (layer.squared_error(0).unwrap(), layer.squared_error(1).unwrap());
                assert!(two > four && four > 0.0, "{}: {two} {four}", layer.name);
            }
        }
    }

    #[test]
    fn widths_that_no_format_has_are_an_error() {
        let teacher = plain(1);
        let plan = Plan::new(&QuantConfig::default(), &teacher, &Families::builtin()).unwrap();
        let error = LayerCandidates::of_network(&teacher, &plan, &[1, 16], &BTreeSet::new()).unwrap_err().to_string();
        assert!(error.contains("[1, 16]") && error.contains("2 to 8 bits"), "{error}");
    }
}
