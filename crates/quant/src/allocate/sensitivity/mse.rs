//! The noise of the weights.

use blindfold_zoo::{Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::{Sensitivity, SensitivityRequest, data_free};
use crate::allocate::candidates::LayerCandidates;
use crate::error::QuantError;

/// Table of [`MseSensitivity`]: it has no keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MseSensitivityConfig {}

/// The squared error of a layer's weights: their mean squared error times their number.
///
/// ```text
/// Omega_l(b) = sum (w - w^)^2
/// ```
/// `w^`: the weights of layer `l` at `b` bits; the sum in `f64`. Looks at no images. The measure that says nothing of what
/// a layer does to the network: the baseline of the others.
///
/// # Range
/// `>= 0`, in weights squared.
///
/// # Source
/// The second factor of Dong et al., HAWQ-V2, NeurIPS 2020, eq. 5, with the first one left out.
#[derive(Debug, Clone, Copy)]
pub struct MseSensitivity;

impl Sensitivity for MseSensitivity {
    fn needs_images(&self) -> bool {
        false
    }

    fn measure(&self, request: SensitivityRequest<'_>) -> Result<Vec<Vec<f64>>, QuantError> {
        data_free(request, LayerCandidates::squared_error)
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn Sensitivity> = Entry {
    name: "mse",
    summary: "squared error of the weights; no images",
    source: "the second factor of Dong et al., HAWQ-V2, NeurIPS 2020, eq. 5",
    defaults: defaults_of::<MseSensitivityConfig>,
    build: |table| {
        let MseSensitivityConfig {} = parse(table)?;
        Ok(Box::new(MseSensitivity))
    },
};

#[cfg(test)]
mod tests {
    use burn::tensor::{Tensor, TensorData};

    use super::super::super::candidates::all_candidates;
    use super::*;
    use crate::plan::QuantConfig;
    use crate::step::Silent;
    use crate::testing::{images, plain};

    #[test]
    fn the_error_is_that_of_a_calculation_by_hand() {
        // Two bits over [0, 3] stand for 0, 1, 2 and 3: of each row 0.25 becomes 0, and there are five rows.
        let row = [0.0f32, 0.25, 2.0, 3.0];
        let teacher = plain(1).map_layers(|name, layer| match layer.weight() {
            Some(weight) if name == "classifier" => {
                let values: Vec<f32> = (0..20).map(|index| row[index % 4]).collect();
                layer.with_weight(Tensor::from_data(TensorData::new(values, weight.dims()), &weight.device()))
            }
            _ => layer,
        });
        let (network, layers) = all_candidates(&teacher, &QuantConfig::default(), &[2]);
        let images = images(&network, 1, 1);
        let (network, layers, progress) = (&network, layers.as_slice(), &mut Silent);
        let request = SensitivityRequest { network, layers, images, seed: 1, progress };
        assert_eq!(MseSensitivity.measure(request).unwrap()[1], [5.0 / 16.0]);
    }
}
