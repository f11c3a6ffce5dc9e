//! What reaches the activation sites.

use std::collections::BTreeMap;

use super::comparison::Comparison;
use crate::error::QuantError;
use crate::reservoir::Reservoir;
use crate::samples::Samples;

/// A group keeps as many values as this, however many share the site's: a codebook of 256 levels is to be fitted to them.
const LEAST: usize = 1 << 10;

impl Comparison<'_> {
    /// The values that reach each quantized site in the student over all images, everything before it quantized and itself
    /// not yet, in the groups of its granularity. Beyond `most` values a site, shared evenly among its groups, a uniform
    /// sample of each group stands for all. Sites whose range is found while the network runs are left out.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] with the site's name for values that are NaN or infinite; those of dynamic ranges.
    pub(crate) fn site_values(&self, most: usize) -> Result<BTreeMap<String, Samples>, QuantError> {
        let mut sites: BTreeMap<String, Vec<Reservoir>> = BTreeMap::new();
        self.watch(|name, output| {
            let target = self.student.plan.activation(name).filter(|target| target.dynamic.is_none());
            let Some(target) = target else { return Ok(()) };
            let samples = Samples::of(output, target.granularity.activation_axis())?;
            let groups = sites.entry(name.to_owned()).or_default();
            if groups.is_empty() {
                let limit = (most / samples.groups()).max(LEAST);
                groups.resize_with(samples.groups(), || Reservoir::new(limit));
            }
            groups.iter_mut().zip(samples.iter()).for_each(|(group, values)| group.extend(values));
            Ok(())
        })?;
        let of_site = |(name, groups): (String, Vec<Reservoir>)| {
            // All groups have seen as many values, and so keep as many.
            let values = groups.iter().flat_map(|group| group.values().iter().copied()).collect();
            match Samples::new(values, groups.len()) {
                Ok(samples) => Ok((name, samples)),
                Err(error) => Err(error.at(&name)),
            }
        };
        sites.into_iter().map(of_site).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Families;
    use crate::granularity::Granularity;
    use crate::network::QuantizedNetwork;
    use crate::plan::{Plan, QuantConfig};
    use crate::testing::{images, small};

    #[test]
    fn a_site_keeps_a_bounded_sample_in_groups_of_one_size() {
        for (granularity, groups) in [(Granularity::PerTensor, 1), (Granularity::PerChannel, 8)] {
            let mut config = QuantConfig::default();
            config.activation.granularity = Some(granularity);
            let network = small(4);
            let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
            let batch = images(&network, 4, 2);
            let student = QuantizedNetwork::calibrate(network.clone(), plan, std::iter::once(batch)).unwrap();
            let comparison = Comparison::new(&student, &network, images(&network, 10, 5), 3).unwrap();
            // Ten images of 12x12 with 8 channels: 11,520 values, 1,440 a channel.
            let whole = comparison.site_values(1 << 20).unwrap();
            assert_eq!(whole.len(), 5);
            assert_eq!((whole["relu1"].groups(), whole["relu1"].values().len()), (groups, 11_520));
            let few = comparison.site_values(2000).unwrap();
            let limit = if groups == 1 { 2000 } else { 8 * 1024 };
            let kept = few["relu1"].values().len();
            assert!(few["relu1"].groups() == groups && kept <= limit && kept > limit / 4, "{kept}");
            let spread = |samples: &Samples| samples.values().iter().copied().fold(0.0, f32::max);
            assert!(spread(&few["relu1"]) > 0.5 * spread(&whole["relu1"]));
        }
    }
}
