//! A format and what it makes of a tensor.

use super::promise::Promise;
use super::subject::Subject;
use crate::codec::Codec;
use crate::format::NumberFormat;
use crate::samples::Samples;

pub(super) const GROUPS: usize = 3;
pub(super) const SHAPE: [usize; 4] = [GROUPS, 4, 2, 3];
pub(super) const VALUES: usize = GROUPS * 4 * 2 * 3;

/// A format fitted to a tensor in one width, per tensor or per channel.
pub(super) struct Case {
    pub(super) promise: &'static Promise,
    pub(super) format: Box<dyn NumberFormat>,
    pub(super) bits: u8,
    pub(super) axis: Option<usize>,
    pub(super) values: Vec<f32>,
    pub(super) codec: Codec,
}

impl Case {
    pub(super) fn new(subject: &Subject, values: Vec<f32>, width: u8, per_channel: bool) -> Self {
        let format = subject.build();
        let (first, last) = format.widths().into_inner();
        let bits = first + width % (last - first + 1);
        let axis = per_channel.then_some(0);
        let codec = fit(format.as_ref(), &values, bits, axis);
        Self { promise: subject.promise, format, bits, axis, values, codec }
    }

    pub(super) fn groups(&self) -> usize {
        if self.axis.is_some() { GROUPS } else { 1 }
    }

    /// For each group values around and within its range and the group's own, with their shape.
    pub(super) fn probes(&self) -> (Vec<f32>, [usize; 4]) {
        const AROUND: i16 = 50;
        let run = VALUES / self.groups();
        let mut probes = Vec::new();
        for own in self.values.chunks_exact(run) {
            let extent = own.iter().fold(0.0f32, |extent, x| extent.max(x.abs()));
            let extent = if extent > 0.0 { extent } else { 1.0 };
            probes.extend((-AROUND..=AROUND).map(|place| 1.5 * extent * f32::from(place) / f32::from(AROUND)));
            probes.extend_from_slice(own);
        }
        let length = probes.len() / self.groups();
        (probes, [self.groups(), length, 1, 1])
    }

    /// The probes of each group with what the codec makes of them, ascending.
    pub(super) fn pairs(&self) -> Vec<Vec<(f32, f32)>> {
        let (probes, shape) = self.probes();
        let output = self.codec.fake_quantize_values(&probes, shape).unwrap();
        let pairs: Vec<(f32, f32)> = probes.into_iter().zip(output).collect();
        let sorted = |group: &[(f32, f32)]| {
            let mut group = group.to_vec();
            group.sort_by(|a, b| a.0.total_cmp(&b.0));
            group
        };
        pairs.chunks_exact(shape[1]).map(sorted).collect()
    }

    /// What the rounding of `f32` may add to a result: nothing, but in a sum.
    pub(super) fn slack(&self, group: &[(f32, f32)]) -> f32 {
        match self.codec {
            Codec::Sum(_) => 1e-6 * group.iter().fold(0.0f32, |largest, (_, y)| largest.max(y.abs())),
            _ => 0.0,
        }
    }
}

pub(super) fn fit(format: &dyn NumberFormat, values: &[f32], bits: u8, axis: Option<usize>) -> Codec {
    let groups = if axis.is_some() { GROUPS } else { 1 };
    format.fit(&Samples::new(values.to_vec(), groups).unwrap(), bits, axis).unwrap()
}
