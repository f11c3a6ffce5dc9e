//! How many integer weights an update changed.

use blindfold_quant::{QuantError, QuantizedNetwork};

/// The integer codes of all quantized weights at one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Codes {
    step: usize,
    layers: Vec<(String, Vec<i32>)>,
}

impl Codes {
    /// Those that the student has before step `step`.
    pub(super) fn before(step: usize, student: &QuantizedNetwork) -> Result<Self, QuantError> {
        Ok(Self { step, layers: student.codes_of_weights()? })
    }

    /// Whether they are those before step `step`.
    pub(super) fn are_before(&self, step: usize) -> bool {
        self.step == step
    }

    /// Share of the codes that differ, of all layers together; none where no weight is quantized.
    pub(super) fn changed(&self, after: &Self) -> Option<f64> {
        let pairs = || self.layers.iter().zip(&after.layers).flat_map(|((_, old), (_, new))| old.iter().zip(new));
        let total = pairs().count();
        (total > 0).then(|| pairs().filter(|(old, new)| old != new).count() as f64 / total as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::Codes;

    fn codes(layers: &[&[i32]]) -> Codes {
        Codes { step: 0, layers: layers.iter().map(|codes| (String::new(), codes.to_vec())).collect() }
    }

    #[test]
    fn layers_count_by_their_weights() {
        let before = codes(&[&[1, 2, 3], &[0]]);
        assert_eq!(before.changed(&codes(&[&[1, -2, 3], &[0]])), Some(0.25));
        assert_eq!(before.changed(&before), Some(0.0));
        assert_eq!(codes(&[]).changed(&codes(&[])), None);
    }
}
