//! The page: the verdict first, then what it rests on.

use blindfold_quant::{AblationRow, LayerReport, LogitError, Precision, Ranked, Role, UNIFORM_RMSE_PER_STEP};

use super::report::AnalysisReport;
use super::style::number;

/// Tensors that the ranking lists.
const LISTED: usize = 10;
const NONE: &str = "–";

/// The analysis in Markdown.
pub(super) fn page(report: &AnalysisReport) -> String {
    let AnalysisReport { experiment, method, seed, .. } = report;
    let mut text = format!("# Error analysis: {experiment} / {method} / seed {seed}\n\n");
    text += &format!("**{}**\n\n", report.verdict.sentence);
    text += &setting(report);
    text += "\n## Weights or activations?\n\n";
    text += &kinds(report);
    text += "\n## Which tensor?\n\n";
    text += &ranking(report);
    text += "\n## Layer by layer\n\n![error of each layer's output](overview.svg)\n\n";
    text += &layers(&report.layers);
    text += "\nFull precision: layers.csv, enable-one.csv, disable-one.csv. Values with their grids: histograms/. How the weights of each \
             layer are distributed, and what other number formats would cost them: weights.md; the same of the activations at each \
             site: activations.md; bits by channel: channel-bits.md.\n";
    text
}

fn setting(report: &AnalysisReport) -> String {
    let AnalysisReport { subject, teacher, bits, protocol, images, source, .. } = report;
    let real = if report.uses_real_data { " (REAL data)" } else { "" };
    let mut text = format!(
        "Analysed: {subject}, {bits} under protocol {protocol}, against its teacher {teacher}, on {images} of the images that it \
         was calibrated on: {source}{real}.\n"
    );
    if let Some(LogitError { mse, kl, agreement }) = report.passes {
        text += &format!(
            "\nThe passes change the function before anything is quantized: logit MSE {}, KL {} nats, agreement {} %. All \
             below is measured against the network after them.\n",
            number(mse),
            number(kl),
            number(agreement)
        );
    }
    text
}

fn kinds(report: &AnalysisReport) -> String {
    let ablation = &report.ablation;
    let mut text = "| quantized | logit MSE | KL (nat) | agreement (%) |\n|---|--:|--:|--:|\n".to_owned();
    for (name, error) in
        [("weights only", &ablation.weights), ("activations only", &ablation.activations), ("both", &ablation.both)]
    {
        text += &format!("| {name} | {} | {} | {} |\n", number(error.mse), number(error.kl), number(error.agreement));
    }
    text
}

fn ranking(report: &AnalysisReport) -> String {
    let measure = report.verdict.measure;
    let row_of = |ranked: &Ranked| {
        let fits = |row: &&AblationRow| row.layer == ranked.layer && row.role == ranked.role;
        report.ablation.rows.iter().find(fits)
    };
    let mut text = format!(
        "| tensor | bits | alone: KL (nat) | all but it: KL (nat) | all but it: agreement (%) | gain ({measure}) | share (%) |\n\
         |---|--:|--:|--:|--:|--:|--:|\n"
    );
    for ranked in report.verdict.ranking.iter().take(LISTED) {
        let Some(row) = row_of(ranked) else { continue };
        let cells = [row.enabled.kl, row.disabled.kl, row.disabled.agreement, ranked.gain, 100.0 * ranked.share];
        text += &format!("| {} | {} | {} |\n", tensor(ranked), row.bits, cells.map(number).join(" | "));
    }
    let left = report.verdict.ranking.len().saturating_sub(LISTED);
    if left > 0 {
        text += &format!("\n{left} more in disable-one.csv and enable-one.csv.\n");
    }
    text += "\nAlone: this tensor quantized and nothing else (enable-one). All but it: everything quantized but this tensor \
             (disable-one); the gain is what then goes away. Gains need not add up to the whole: errors amplify and cancel.\n";
    text
}

/// A tensor's name for people.
pub(super) fn tensor(ranked: &Ranked) -> String {
    let what = match ranked.role {
        Role::Weight => "weight",
        Role::Activation => "output",
    };
    format!("{what} of {}", escaped(&ranked.layer))
}

fn layers(layers: &[LayerReport]) -> String {
    let mut text = format!(
        "| layer | kind | bits W / A | weight MSE | weight SQNR (dB) | weight cosine | RMSE / step ({UNIFORM_RMSE_PER_STEP:.4}) | \
         clipped (%) | output MSE: weights only | activations only | both | output SQNR (dB) | output cosine |\n\
         |---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    for layer in layers {
        let bits = |bits: Option<Precision>| bits.map_or_else(|| NONE.to_owned(), |bits| bits.to_string());
        let weight = layer.weight.as_ref();
        let output = &layer.output;
        let cells = [
            weight.map(|weight| number(weight.error.mse)),
            weight.and_then(|weight| weight.error.sqnr_db).map(number),
            weight.and_then(|weight| weight.error.cosine).map(cosine),
            weight.and_then(|weight| weight.rmse_per_step).map(|steps| format!("{steps:.4}")),
            weight.map(|weight| number(100.0 * weight.clipped)),
            Some(number(output.weights_only.mse)),
            Some(number(output.activations_only.mse)),
            Some(number(output.both.mse)),
            output.both.sqnr_db.map(number),
            output.both.cosine.map(cosine),
        ];
        let cells = cells.map(|cell| cell.unwrap_or_else(|| NONE.to_owned()));
        let (name, kind) = (escaped(&layer.layer), layer.kind);
        let formats = format!("{} / {}", bits(layer.weight_bits), bits(layer.activation_bits));
        text += &format!("| {name} | {kind} | {formats} | {} |\n", cells.join(" | "));
    }
    text += &format!(
        "\nWeights are compared with the teacher's, outputs with the teacher's outputs on the same images. RMSE / step: \
         rounding to the nearest of evenly spaced values gives 1/sqrt(12) = {UNIFORM_RMSE_PER_STEP:.4} of a step, give or take \
         a few per cent by chance; clearly more is clipping, or rounding that is not to the nearest; clearly less, values that \
         crowd around single codes.\n"
    );
    text
}

fn cosine(value: f64) -> String {
    format!("{value:.4}")
}

fn escaped(name: &str) -> String {
    name.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use blindfold_quant::{KsReport, Verdict};

    use super::super::tables::tests::{example_ablation, example_layers};
    use super::*;

    fn example() -> AnalysisReport {
        let ablation = example_ablation();
        AnalysisReport {
            experiment: "small".into(),
            method: "zeroq".into(),
            seed: 1,
            teacher: "small-teacher".into(),
            protocol: "gdfq".into(),
            bits: "W4A4".into(),
            subject: "the calibrated network".into(),
            images: 64,
            source: "zeroq".into(),
            uses_real_data: false,
            passes: None,
            verdict: Verdict::of(&ablation),
            ablation,
            layers: example_layers(),
            histograms: Vec::new(),
            activations: KsReport {
                role: Role::Activation,
                options: String::new(),
                rows: Vec::new(),
                left_out: Vec::new(),
            },
            codebooks: String::new(),
        }
    }

    #[test]
    fn the_verdict_comes_first_and_the_worst_tensor_leads_its_table() {
        let text = page(&example());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "# Error analysis: small / zeroq / seed 1");
        assert!(lines[2].starts_with("**Weights and activations cost about the same"), "{}", lines[2]);
        assert!(lines[2].contains("the output of `relu1`"), "{}", lines[2]);
        let ranked: Vec<&&str> =
            lines.iter().filter(|line| line.contains(" of relu1") || line.contains(" of conv1")).collect();
        assert_eq!(
            ranked,
            [
                &"| output of relu1 | 4 | 0.5 | 0.25 | 98 | 0.5 | 66.7 |",
                &"| weight of conv1 | 4 | 0.25 | 0.5 | 96 | 0.25 | 33.3 |"
            ]
        );
        assert!(
            text.contains("| conv1 | conv2d | 4 / – | 0.25 | 10 | 0.5000 | – | 12.5 | 0 | 1 | 2 | 10 | 0.5000 |"),
            "{text}"
        );
        assert!(text.contains("| relu1 | relu | – / fp32 | – | – | – | – | – | 0 | 1 | 2 | 10 | 0.5000 |"), "{text}");
    }

    #[test]
    fn all_tables_are_whole_and_controls_are_marked() {
        let passes = Some(LogitError { mse: 0.5, kl: 0.01, agreement: 99.0 });
        let text = page(&AnalysisReport { uses_real_data: true, passes, ..example() });
        assert!(text.contains("REAL data") && text.contains("logit MSE 0.5, KL 0.01 nats, agreement 99 %"), "{text}");
        let mut columns = None;
        for line in text.lines() {
            let count = line.matches('|').count();
            assert!(!line.starts_with('|') || columns.is_none_or(|columns| columns == count), "{line}");
            columns = line.starts_with('|').then_some(count);
        }
    }
}
