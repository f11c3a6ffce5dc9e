//! What calibration keeps of one activation site.

use crate::codec::Codec;
use crate::error::QuantError;
use crate::interval::Range;
use crate::plan::Target;
use crate::range::RangeObserver;
use crate::reservoir::Reservoir;
use crate::samples::Samples;

/// Values of a group that a number format is fitted to; beyond that a uniform sample of them, with the smallest and the largest of
/// all, as many formats clip nothing.
const MAX_SAMPLES: usize = 1 << 18;

/// Sees the batches that pass, and gives the codec for all of them.
pub(super) struct CodecObserver {
    bits: u8,
    seen: Seen,
}

enum Seen {
    /// By a range estimator.
    Range(Box<dyn RangeObserver>),
    /// What a number format is fitted to, of each group.
    Values(Vec<(Range, Reservoir)>),
}

impl CodecObserver {
    pub(super) fn new(target: &Target, bits: u8) -> Self {
        let seen = match target.format {
            None => Seen::Range(target.range.observer(target.quantizer.clone(), bits)),
            Some(_) => Seen::Values(Vec::new()),
        };
        Self { bits, seen }
    }

    pub(super) fn observe(&mut self, samples: &Samples) -> Result<(), QuantError> {
        match &mut self.seen {
            Seen::Range(observer) => observer.observe(samples),
            Seen::Values(groups) => {
                if groups.is_empty() {
                    let first = |values| Ok((Range::of(values)?, Reservoir::new(MAX_SAMPLES)));
                    *groups = samples.iter().map(first).collect::<Result<_, QuantError>>()?;
                }
                if groups.len() != samples.groups() {
                    return Err(QuantError::Groups { expected: groups.len(), found: samples.groups() });
                }
                groups.iter_mut().zip(samples.iter()).try_for_each(|((range, sample), values)| {
                    *range = range.union(Range::of(values)?)?;
                    sample.extend(values);
                    Ok(())
                })
            }
        }
    }

    pub(super) fn codec(&self, target: &Target) -> Result<Codec, QuantError> {
        let axis = target.granularity.activation_axis();
        match (&self.seen, &target.format) {
            (Seen::Values(groups), Some((_, format))) => {
                let mut values = Vec::new();
                for (range, sample) in groups {
                    values.extend_from_slice(sample.values());
                    if sample.seen() > sample.values().len() as u64 {
                        values.extend([range.min(), range.max()]);
                    }
                }
                format.fit(&Samples::new(values, groups.len())?, self.bits, axis)
            }
            (Seen::Range(observer), _) => Ok(target.quantizer.grid(&observer.ranges()?, self.bits, axis)?.into()),
            (Seen::Values(_), None) => Err(QuantError::Empty),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Families;
    use crate::plan::{Plan, PluginChoice, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::small;

    #[test]
    fn a_format_that_clips_nothing_has_a_level_for_an_extreme_that_the_sample_left_out() {
        let mut config = QuantConfig { activation_bits: Precision::Int(8), ..QuantConfig::default() };
        config.activation.format = Some(PluginChoice::named("fp8"));
        let plan = Plan::new(&config, &small(1), &Families::builtin()).unwrap();
        let target = plan.activation("relu1").unwrap();
        let mut values: Vec<f32> = (0..2 * MAX_SAMPLES).map(|index| (index as f32 * 0.37).sin()).collect();
        let mut kept = Reservoir::new(MAX_SAMPLES);
        kept.extend(&(0..values.len()).map(|index| index as f32).collect::<Vec<f32>>());
        let kept: std::collections::BTreeSet<usize> = kept.values().iter().map(|index| *index as usize).collect();
        let missed = (0..values.len()).find(|index| !kept.contains(index)).unwrap();
        values[missed] = 50.0;
        let mut observer = CodecObserver::new(target, 8);
        values
            .chunks(MAX_SAMPLES / 2)
            .for_each(|part| observer.observe(&Samples::new(part.to_vec(), 1).unwrap()).unwrap());
        let found = observer.codec(target).unwrap().fake_quantize_values(&[50.0, -50.0], [1, 1, 1, 2]).unwrap();
        assert_eq!(found, [50.0, -50.0]);
    }
}
