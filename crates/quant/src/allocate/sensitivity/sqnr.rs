//! The noise of the weights relative to the weights.

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Sensitivity, SensitivityRequest, data_free};
use crate::error::QuantError;

/// Table of [`SqnrSensitivity`]: it has no keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqnrSensitivityConfig {}

/// The power of a layer's quantization noise relative to that of its weights.
///
/// ```text
/// Omega_l(b) = sum (w - w^)^2 / sum w^2 = 10^(-SQNR / 10)
/// ```
/// `w^`: the weights of layer `l` at `b` bits; sums in `f64`. Looks at no images.
///
/// # Range
/// `>= 0`; 0 for a layer whose weights are all 0.
///
/// # Source
/// Lin, Talathi, Annapureddy, Fixed point quantization of deep convolutional networks, ICML 2016, section 3: the noises of
/// all layers add up in the output's SQNR.
///
/// # Differences from the source
/// The source has closed-form noises of assumed distributions; here they are measured.
#[derive(Debug, Clone, Copy)]
pub struct SqnrSensitivity;

impl Sensitivity for SqnrSensitivity {
    fn needs_images(&self) -> bool {
        false
    }

    fn measure(&self, request: SensitivityRequest<'_>) -> Result<Vec<Vec<f64>>, QuantError> {
        data_free(request, |layer, index| {
            let signal: f64 = layer.values.iter().map(|&w| f64::from(w).powi(2)).sum();
            Ok(if signal == 0.0 { 0.0 } else { layer.squared_error(index)? / signal })
        })
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn Sensitivity> = Entry {
    name: "sqnr",
    summary: "power of the weights' quantization noise relative to the weights; no images",
    source: "Lin, Talathi, Annapureddy: Fixed point quantization of deep convolutional networks, ICML 2016, section 3",
    defaults: defaults_of::<SqnrSensitivityConfig>,
    build: |table| {
        let SqnrSensitivityConfig {} = parse(table)?;
        Ok(Box::new(SqnrSensitivity))
    },
};

#[cfg(test)]
mod tests {
    use super::super::super::candidates::all_candidates;
    use super::*;
    use crate::plan::QuantConfig;
    use crate::step::Silent;
    use crate::testing::{images, small};

    #[test]
    fn a_bit_more_is_worth_six_decibels() {
        let (network, layers) = all_candidates(&small(1), &QuantConfig::default(), &[4, 8]);
        let images = images(&network, 1, 1);
        let (network, layers, progress) = (&network, layers.as_slice(), &mut Silent);
        let request = SensitivityRequest { network, layers, images, seed: 1, progress };
        for row in SqnrSensitivity.measure(request).unwrap() {
            // 15 steps become 255: 20 log10 17 dB, as the step of a min-max grid shrinks.
            let decibels = 10.0 * (row[0] / row[1]).log10();
            assert!((decibels - 20.0 * 17f64.log10()).abs() < 2.5, "{decibels}");
            assert!(row[0] < 0.1);
        }
    }
}
