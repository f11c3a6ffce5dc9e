//! What calibration keeps of one activation site.

use crate::codec::Codec;
use crate::error::QuantError;
use crate::plan::Target;
use crate::range::RangeObserver;
use crate::reservoir::Reservoir;
use crate::samples::Samples;

/// Values of a group that a number format is fitted to.
const MAX_SAMPLES: usize = 1 << 18;

/// Sees the batches that pass, and gives the codec for all of them.
pub(super) struct CodecObserver {
    bits: u8,
    seen: Seen,
}

enum Seen {
    /// By a range estimator.
    Range(Box<dyn RangeObserver>),
    /// A sample of each group, for a number format.
    Values(Vec<Reservoir>),
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
                    groups.resize_with(samples.groups(), || Reservoir::new(MAX_SAMPLES));
                }
                if groups.len() != samples.groups() {
                    return Err(QuantError::Groups { expected: groups.len(), found: samples.groups() });
                }
                groups.iter_mut().zip(samples.iter()).for_each(|(group, values)| group.extend(values));
                Ok(())
            }
        }
    }

    pub(super) fn codec(&self, target: &Target) -> Result<Codec, QuantError> {
        let axis = target.granularity.activation_axis();
        match (&self.seen, &target.format) {
            (Seen::Values(groups), Some((_, format))) => {
                let values = groups.iter().flat_map(|group| group.values().iter().copied()).collect();
                format.fit(&Samples::new(values, groups.len())?, self.bits, axis)
            }
            (Seen::Range(observer), _) => Ok(target.quantizer.grid(&observer.ranges()?, self.bits, axis)?.into()),
            (Seen::Values(_), None) => Err(QuantError::Empty),
        }
    }
}
