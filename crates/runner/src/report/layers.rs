//! The error of each layer, as bars and as a table.

use std::collections::BTreeMap;

use super::bars::bars;
use super::html::{Section, aside, fold};
use super::run_files::RunFiles;
use super::table::{Cell, Column, table};
use crate::record::Phase;

/// Layers up to which bars are shown at once.
const MANY: usize = 48;
/// The values of a layer: end of the tag, heading.
const VALUES: [(&str, &str); 3] =
    [("weight_mse", "weight MSE"), ("sqnr_db", "weight SQNR (dB)"), ("activation_mse", "activation MSE")];

/// Errors of weights and activations by layer, in the order of the network.
pub(super) fn layers(files: &RunFiles) -> Section {
    let mut found: BTreeMap<&str, [Option<f64>; 3]> = BTreeMap::new();
    for record in files.records.iter().filter(|record| record.phase == Phase::Calibrate) {
        for (tag, value) in &record.values {
            let parts = tag.strip_prefix("quant/").and_then(|rest| rest.rsplit_once('/'));
            let Some((layer, name)) = parts else { continue };
            if let Some(at) = VALUES.iter().position(|(known, _)| *known == name) {
                found.entry(layer).or_default()[at] = Some(*value);
            }
        }
    }
    let order = order(files);
    let place = |layer: &str| order.iter().position(|known| known == layer).unwrap_or(usize::MAX);
    let mut layers: Vec<(&str, [Option<f64>; 3])> = found.into_iter().collect();
    layers.sort_by_key(|(layer, _)| place(layer));
    Section { id: "layers", title: "Errors by layer", body: body(&layers) }
}

fn body(layers: &[(&str, [Option<f64>; 3])]) -> String {
    if layers.is_empty() {
        return aside("Not measured yet: layers are compared with the teacher once the student is calibrated.");
    }
    let of = |at: usize| -> Vec<(&str, f64)> {
        layers.iter().filter_map(|(layer, values)| Some((*layer, values[at]?))).collect()
    };
    let (weights, activations) = (of(1), of(2));
    let charts = bars("Weights: signal to quantization noise", "dB, higher is better", 0, &weights)
        + &bars("Activations: mean squared error", "activation², lower is better", 1, &activations);
    let charts = format!("<div class=\"cards wide\">\n{charts}</div>\n");
    let charts = if weights.len().max(activations.len()) > MANY { fold("Bars", &charts) } else { charts };
    let mut columns = vec![Column::words("layer")];
    columns.extend(VALUES.map(|(_, heading)| Column::numbers(heading)));
    let row = |(layer, values): &(&str, [Option<f64>; 3])| -> Vec<Cell> {
        std::iter::once(Cell::text(*layer)).chain(values.iter().map(|value| Cell::number(*value))).collect()
    };
    let rows: Vec<Vec<Cell>> = layers.iter().map(row).collect();
    aside(
        "Against the teacher in the student's own graph, after calibration and fitting, before any training. In the \
         table, a click on a heading sorts.",
    ) + &charts
        + &fold(&format!("Table of {} layers and sites", layers.len()), &table(&columns, &rows))
}

/// The layers as the audit lists them, which is the network's order.
fn order(files: &RunFiles) -> Vec<String> {
    let audit = files.text("audit.md").unwrap_or_default();
    let first = |line: &str| Some(line.strip_prefix('|')?.split('|').next()?.trim().to_owned());
    audit.lines().filter_map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::super::run_files::tests::folder;
    use super::*;
    use crate::record::{METRICS_FILE, Record};

    #[test]
    fn layers_stand_in_the_network_s_order() {
        let record = Record::new(Phase::Calibrate, 0, 0.0)
            .with("quant/linear/sqnr_db", 20.0)
            .with("quant/linear/weight_mse", 1e-4)
            .with("quant/zero/conv<1>/sqnr_db", 10.0)
            .with("quant/relu/activation_mse", 0.5);
        let line = record.to_line().unwrap() + "\n";
        let audit = "| layer | kind |\n|---|---|\n| zero/conv<1> | conv2d |\n| relu | relu |\n| linear | linear |\n";
        let root =
            folder("COMPLETED", None, &[("config.toml", ""), (METRICS_FILE, line.as_str()), ("audit.md", audit)]);
        let body = layers(&RunFiles::read(root.path()).unwrap()).body;
        let rows: Vec<&str> = body.split("<tr><td>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
        assert_eq!(rows, ["zero/conv&lt;1&gt;", "relu", "linear"]);
        assert!(body.contains("Table of 3 layers and sites") && body.matches("class=\"bar\"").count() == 3, "{body}");
        assert!(body.contains("data-v=\"0.0001\">1.00e-4</td>"), "{body}");
    }

    #[test]
    fn before_calibration_there_is_nothing_and_it_says_so() {
        let root = folder("RUNNING", None, &[("config.toml", "")]);
        assert!(layers(&RunFiles::read(root.path()).unwrap()).body.contains("Not measured yet"));
    }
}
