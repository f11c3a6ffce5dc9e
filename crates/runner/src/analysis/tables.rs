//! The analysis as comma-separated values, at full precision; empty where there is no value.

use blindfold_quant::{Ablation, LayerReport, LogitError, SignalError, UNIFORM_RMSE_PER_STEP};

use crate::record::csv_cell;

/// One line a layer.
pub(super) fn layers(layers: &[LayerReport]) -> String {
    let mut text =
        "layer,kind,weight_bits,activation_bits,weight_mse,weight_sqnr_db,weight_cosine,weight_rmse_per_step,\
                    uniform_rmse_per_step,weight_clipped"
            .to_owned();
    for mode in ["weights_only", "activations_only", "both"] {
        text += &format!(",{mode}_mse,{mode}_relative_mse,{mode}_sqnr_db,{mode}_cosine");
    }
    text.push('\n');
    for layer in layers {
        let bits = |bits: Option<blindfold_quant::Precision>| bits.map(|bits| bits.to_string()).unwrap_or_default();
        let mut cells =
            vec![csv_cell(&layer.layer), layer.kind.to_owned(), bits(layer.weight_bits), bits(layer.activation_bits)];
        match &layer.weight {
            Some(weight) => {
                let SignalError { mse, sqnr_db, cosine, .. } = weight.error;
                let numbers = [Some(mse), sqnr_db, cosine, weight.rmse_per_step];
                cells.extend(numbers.map(number));
                cells.extend([UNIFORM_RMSE_PER_STEP, weight.clipped].map(|value| value.to_string()));
            }
            None => cells.extend([const { String::new() }; 6]),
        }
        for error in [layer.output.weights_only, layer.output.activations_only, layer.output.both] {
            cells.extend([Some(error.mse), error.relative(), error.sqnr_db, error.cosine].map(number));
        }
        text += &(cells.join(",") + "\n");
    }
    text
}

/// One line a tensor: it alone quantized.
pub(super) fn enable_one(ablation: &Ablation) -> String {
    let mut text = "layer,tensor,bits,logit_mse,kl,agreement\n".to_owned();
    for row in &ablation.rows {
        text += &format!("{},{},{},{}\n", csv_cell(&row.layer), row.role.name(), row.bits, measured(&row.enabled));
    }
    text
}

/// One line a tensor: everything quantized but it; what that gains over everything quantized.
pub(super) fn disable_one(ablation: &Ablation) -> String {
    let mut text = "layer,tensor,bits,logit_mse,kl,agreement,logit_mse_gain,kl_gain,agreement_gain\n".to_owned();
    for row in &ablation.rows {
        let (both, without) = (&ablation.both, &row.disabled);
        text += &format!(
            "{},{},{},{},{},{},{}\n",
            csv_cell(&row.layer),
            row.role.name(),
            row.bits,
            measured(without),
            both.mse - without.mse,
            both.kl - without.kl,
            without.agreement - both.agreement
        );
    }
    text
}

fn measured(error: &LogitError) -> String {
    format!("{},{},{}", error.mse, error.kl, error.agreement)
}

fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use blindfold_quant::{AblationRow, OutputReport, Precision, Role, WeightReport};

    use super::*;

    pub(in crate::analysis) fn signal(mse: f64) -> SignalError {
        SignalError { mse, mean_square: 4.0, sqnr_db: (mse > 0.0).then_some(10.0), cosine: Some(0.5) }
    }

    pub(in crate::analysis) fn example_layers() -> Vec<LayerReport> {
        let output = OutputReport { weights_only: signal(0.0), activations_only: signal(1.0), both: signal(2.0) };
        let weight = WeightReport { error: signal(0.25), rmse_per_step: None, clipped: 0.125 };
        let conv = LayerReport {
            layer: "conv1".into(),
            kind: "conv2d",
            weight_bits: Some(Precision::Int(4)),
            activation_bits: None,
            weight: Some(weight),
            output,
        };
        let relu = LayerReport {
            layer: "relu1".into(),
            kind: "relu",
            weight_bits: None,
            activation_bits: Some(Precision::Float),
            weight: None,
            output,
        };
        vec![conv, relu]
    }

    pub(in crate::analysis) fn example_ablation() -> Ablation {
        let error = |kl: f64| LogitError { mse: 2.0 * kl, kl, agreement: 100.0 - 8.0 * kl };
        let bits = Precision::Int(4);
        let row = |layer: &str, role, enabled, disabled| AblationRow {
            layer: layer.into(),
            role,
            bits,
            enabled: error(enabled),
            disabled: error(disabled),
        };
        let rows = vec![row("conv1", Role::Weight, 0.25, 0.5), row("relu1", Role::Activation, 0.5, 0.25)];
        Ablation { weights: error(0.25), activations: error(0.5), both: error(0.75), rows }
    }

    #[test]
    fn every_line_has_the_headers_columns() {
        let text = layers(&example_layers());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert!(lines.iter().all(|line| line.len() == 22), "{text}");
        assert_eq!(
            lines[1][..10],
            ["conv1", "conv2d", "4", "", "0.25", "10", "0.5", "", "0.2886751345948129", "0.125"]
        );
        assert_eq!(lines[2][..10], ["relu1", "relu", "", "fp32", "", "", "", "", "", ""]);
        assert_eq!(lines[1][10..14], ["0", "0", "", "0.5"]);
        assert_eq!(lines[1][18..], ["2", "0.5", "10", "0.5"]);
    }

    #[test]
    fn gains_are_what_goes_away() {
        let ablation = example_ablation();
        assert_eq!(enable_one(&ablation).lines().nth(1).unwrap(), "conv1,weight,4,0.5,0.25,98");
        assert_eq!(disable_one(&ablation).lines().nth(2).unwrap(), "relu1,output,4,0.5,0.25,98,1,0.5,4");
    }
}
