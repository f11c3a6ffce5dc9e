//! The answer: which layer, weights or activations?

use serde::Serialize;

use super::ablation::Ablation;
use super::by_name;
use super::logits::LogitError;
use crate::audit::Role;

/// Above so many times the other kind's cost a kind dominates.
const DOMINATES: f64 = 2.0;
/// From such a share of the whole on a single tensor stands out.
const STANDS_OUT: f64 = 0.2;

/// What goes away when one tensor is left in floating point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// The node's name.
    pub layer: String,
    /// Its weight or its output.
    #[serde(serialize_with = "by_name")]
    pub role: Role,
    /// The error with everything quantized less the error without this tensor, in the verdict's measure; negative where
    /// errors cancel.
    pub gain: f64,
    /// The same as a share of the error with everything quantized.
    pub share: f64,
}

/// Tensors by what leaving each in floating point gains, and the answer in one sentence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// What gains are measured in: `KL in nats`; `logit MSE` where the KL is zero, as with a single class.
    pub measure: &'static str,
    /// The largest gain first.
    pub ranking: Vec<Ranked>,
    /// One sentence.
    pub sentence: String,
}

impl Verdict {
    /// The verdict on an ablation.
    pub fn of(ablation: &Ablation) -> Self {
        let by_kl = ablation.both.kl > 0.0;
        let measure = if by_kl { "KL in nats" } else { "logit MSE" };
        let cost = |error: &LogitError| if by_kl { error.kl } else { error.mse };
        let whole = cost(&ablation.both);
        let mut ranking: Vec<Ranked> = ablation
            .rows
            .iter()
            .map(|row| {
                let gain = whole - cost(&row.disabled);
                let share = if whole > 0.0 { gain / whole } else { 0.0 };
                Ranked { layer: row.layer.clone(), role: row.role, gain, share }
            })
            .collect();
        ranking.sort_by(|a, b| b.gain.total_cmp(&a.gain));
        let costs = [cost(&ablation.weights), cost(&ablation.activations), whole];
        let sentence = sentence(measure, costs, &ranking);
        Self { measure, ranking, sentence }
    }
}

fn sentence(measure: &str, [weights, activations, both]: [f64; 3], ranking: &[Ranked]) -> String {
    let Some(first) = ranking.first() else {
        return "The plan quantizes nothing: there is no error to explain.".to_owned();
    };
    if both == 0.0 {
        return "Quantization changes no logit of these images: there is no error to explain.".to_owned();
    }
    let kinds = if weights > DOMINATES * activations {
        "Weights dominate"
    } else if activations > DOMINATES * weights {
        "Activations dominate"
    } else {
        "Weights and activations cost about the same"
    };
    let tensor = match first.role {
        Role::Weight => format!("the weight of `{}`", first.layer),
        Role::Activation => format!("the output of `{}`", first.layer),
    };
    let percent = 100.0 * first.share;
    let single = if first.gain <= 0.0 {
        "no single tensor is to blame, for to leave any one in floating point gains nothing".to_owned()
    } else if first.share < STANDS_OUT {
        format!(
            "no single layer stands out, for even {tensor}, the first of them, left in floating point takes away no more than {percent:.0} %"
        )
    } else {
        format!("the first to look at is {tensor}, which left in floating point takes away {percent:.0} %")
    };
    let [weights, activations, both] = [weights, activations, both].map(short);
    format!(
        "{kinds} ({measure}: {weights} by weights alone, {activations} by activations alone, {both} by both); {single}."
    )
}

/// Three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 1e-3 => format!("{value:.2e}"),
        size => format!("{value:.*}", (2 - size.log10().floor() as i32).max(0) as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::AblationRow;
    use crate::precision::Precision;

    fn cost(kl: f64) -> LogitError {
        LogitError { mse: 2.0 * kl, kl, agreement: 90.0 }
    }

    fn row(layer: &str, role: Role, disabled: f64) -> AblationRow {
        AblationRow { layer: layer.into(), role, bits: Precision::Int(4), enabled: cost(0.1), disabled: cost(disabled) }
    }

    fn verdict(weights: f64, activations: f64, both: f64, rows: Vec<AblationRow>) -> Verdict {
        Verdict::of(&Ablation { weights: cost(weights), activations: cost(activations), both: cost(both), rows })
    }

    #[test]
    fn the_tensor_whose_absence_gains_most_comes_first() {
        let rows = vec![
            row("conv1", Role::Weight, 0.28),
            row("relu1", Role::Activation, 0.31),
            row("layer3.0.conv1", Role::Weight, 0.15),
        ];
        let verdict = verdict(0.25, 0.03, 0.3, rows);
        let order: Vec<&str> = verdict.ranking.iter().map(|ranked| ranked.layer.as_str()).collect();
        assert_eq!(order, ["layer3.0.conv1", "conv1", "relu1"]);
        assert!((verdict.ranking[0].share - 0.5).abs() < 1e-12 && verdict.ranking[2].gain < 0.0);
        assert_eq!(
            verdict.sentence,
            "Weights dominate (KL in nats: 0.250 by weights alone, 0.0300 by activations alone, 0.300 by both); the first to look at is the weight of `layer3.0.conv1`, which left in floating point takes away 50 %."
        );
    }

    #[test]
    fn what_does_not_stand_out_is_not_blamed() {
        let spread = verdict(0.1, 0.15, 0.3, vec![row("relu1", Role::Activation, 0.27)]);
        assert!(spread.sentence.starts_with("Weights and activations cost about the same"), "{}", spread.sentence);
        assert!(
            spread.sentence.contains("no single layer stands out") && spread.sentence.contains("no more than 10 %")
        );
        let cancelling = verdict(0.1, 0.5, 0.3, vec![row("relu1", Role::Activation, 0.35)]);
        assert!(
            cancelling.sentence.starts_with("Activations dominate") && cancelling.sentence.contains("gains nothing")
        );
    }

    #[test]
    fn without_an_error_there_is_nothing_to_say() {
        assert!(verdict(0.0, 0.0, 0.0, Vec::new()).sentence.contains("quantizes nothing"));
        let exact = verdict(0.0, 0.0, 0.0, vec![row("conv1", Role::Weight, 0.0)]);
        assert!(exact.sentence.contains("changes no logit") && exact.ranking[0].share == 0.0);
        assert_eq!(exact.measure, "logit MSE");
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(
            [0.0, 0.25, 12.34, 1234.0, 0.000_123, 0.001].map(short),
            ["0", "0.250", "12.3", "1234", "1.23e-4", "0.00100"]
        );
    }
}
