//! Every metric that a run writes: its unit, its good direction, its meaning.

/// A metric, or a family of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The tag; `<name>` stands for one part between slashes.
    pub tag: &'static str,
    /// Empty where it has none.
    pub unit: &'static str,
    /// Which direction is good; none where neither is.
    pub higher_is_better: Option<bool>,
    /// What it is, in one sentence.
    pub meaning: &'static str,
}

const fn metric(tag: &'static str, unit: &'static str, better: Option<bool>, meaning: &'static str) -> Metric {
    Metric { tag, unit, higher_is_better: better, meaning }
}

const HIGHER: Option<bool> = Some(true);
const LOWER: Option<bool> = Some(false);

/// The metrics, by group. A tag is described by the first pattern that fits.
pub const GLOSSARY: &[Metric] = &[
    metric("loss/total", "", LOWER, "What is minimised: the weighted sum of all terms."),
    metric(
        "loss/kl",
        "nat",
        LOWER,
        "Kullback-Leibler divergence of the student's from the teacher's class probabilities, at the loss' temperature.",
    ),
    metric("loss/cross-entropy", "nat", LOWER, "Cross-entropy of the logits against labels."),
    metric("loss/logit-mse", "logit^2", LOWER, "Mean squared difference of student and teacher logits."),
    metric(
        "loss/feature-mse",
        "activation^2",
        LOWER,
        "Mean squared difference of student and teacher features at the named nodes.",
    ),
    metric("loss/attention", "", LOWER, "Distance of normalised attention maps of student and teacher."),
    metric("loss/js", "nat", LOWER, "Jensen-Shannon divergence of student and teacher, at the loss' temperature."),
    metric("loss/logit-l1", "logit", LOWER, "Mean absolute difference of student and teacher logits."),
    metric(
        "loss/feature-l1",
        "activation",
        LOWER,
        "Mean absolute difference of student and teacher features at the named nodes.",
    ),
    metric(
        "loss/activation-kl",
        "nat",
        LOWER,
        "Divergence between Gaussian fits of student and teacher activations at the named nodes.",
    ),
    metric(
        "loss/info-nce",
        "nat",
        LOWER,
        "Contrast of student and teacher features of one image against other images.",
    ),
    metric(
        "loss/rotation",
        "nat",
        LOWER,
        "How badly the student's features of turned images tell which turn of the teacher's they are.",
    ),
    metric(
        "loss/masked-patch",
        "",
        LOWER,
        "Distance of what the student makes of images with missing patches from what the teacher makes of whole ones.",
    ),
    metric(
        "loss/contrastive",
        "nat",
        LOWER,
        "Contrast of student and teacher features of two views of one image against other images.",
    ),
    metric("loss/grad-cam", "", LOWER, "Distance of the class activation maps of student and teacher."),
    metric("loss/<term>", "", LOWER, "A loss term, unweighted, as its plugin defines it."),
    metric("loss/<term>/weighted", "", LOWER, "The same term times its weight: its share in loss/total."),
    metric(
        "loss/<term>/gradient_norm",
        "",
        None,
        "Euclidean norm of the unweighted term's gradient over all parameters of the student.",
    ),
    metric("lr", "", None, "Learning rate of this step."),
    metric("generator/loss", "", LOWER, "What a generator minimises: the weighted sum of its terms."),
    metric("generator/<term>", "", None, "A term of a generator's loss, unweighted."),
    metric(
        "train/inundation",
        "",
        None,
        "Mean over weight tensors of what gradient inundation multiplied the update by.",
    ),
    metric("synth/loss", "", LOWER, "What synthetic images are optimised for: the weighted sum of the terms below."),
    metric(
        "synth/bn_loss",
        "",
        LOWER,
        "Distance of an image batch's statistics from those stored in the teacher's batch norms, over all layers.",
    ),
    metric("synth/input_loss", "", LOWER, "Distance of the images' own statistics from mean 0 and deviation 1."),
    metric("synth/lr", "", None, "Step size of the images' optimizer."),
    metric(
        "synth/label_accuracy",
        "%",
        HIGHER,
        "Share of the images that the teacher takes for the class that they were made for.",
    ),
    metric("synth/<name>", "", None, "A value that an image source reports of an iteration."),
    metric("fit/<step>/<unit>/before", "activation^2", LOWER, "Reconstruction error of a unit with nearest rounding."),
    metric("fit/<step>/<unit>/soft", "activation^2", LOWER, "Reconstruction error of a unit before hard rounding."),
    metric("fit/<step>/<unit>/hard", "activation^2", LOWER, "Reconstruction error of a unit after hard rounding."),
    metric(
        "fit/<step>/<unit>/rejected",
        "activation^2",
        LOWER,
        "Reconstruction error of a fitted unit that was worse than before, and so was not kept.",
    ),
    metric(
        "fit/<step>/<unit>/diverged",
        "",
        None,
        "1 where the fit of a unit went beyond what numbers hold, so that the unit stayed as it was.",
    ),
    metric(
        "fit/allocate/<layer>/mean_trace",
        "nat/weight^2",
        None,
        "Mean of the diagonal of the Hessian over a layer's weights, which the sensitivity `hessian-trace` weighs errors by.",
    ),
    metric(
        "fit/allocate/<layer>/<bits>",
        "",
        LOWER,
        "How much a layer suffers at a width, as the sensitivity of `[allocate]` measures it.",
    ),
    metric("fit/<step>/<unit>/<name>", "", None, "A value that a fitting step reports of a layer or block."),
    metric(
        "fit/bias-correction/mean_error",
        "activation",
        LOWER,
        "Root mean square over its channels of the shift of a layer's mean output that is corrected.",
    ),
    metric(
        "fit/squant/flipped",
        "",
        None,
        "Share of a layer's weights that are rounded to another code than the nearest.",
    ),
    metric(
        "fit/stochastic-rounding/mean_shift",
        "weight",
        None,
        "Mean of a layer's rounded weights less that of its float weights; 0 on average.",
    ),
    metric(
        "fit/seq-mse/factor",
        "",
        None,
        "Mean factor of a layer's weight ranges: 1 is from the smallest to the largest weight.",
    ),
    metric(
        "fit/seq-mse/before",
        "activation^2",
        LOWER,
        "Sum of the squared errors of a layer's output with weight ranges from the smallest to the largest weight.",
    ),
    metric("fit/seq-mse/after", "activation^2", LOWER, "The same sum with the ranges that are chosen."),
    metric("fit/df-mpc/coefficient", "", None, "Mean factor by which the input channels of a layer are scaled."),
    metric("fit/lapq/p", "", None, "Exponent of the layers' own errors that gave the clips tried in this evaluation."),
    metric("fit/lapq/kl", "nat", LOWER, "Divergence of the student's answers from the teacher's with the clips tried."),
    metric("fit/lapq/before", "nat", LOWER, "The same divergence before any clip is moved."),
    metric("fit/lapq/after", "nat", LOWER, "The same divergence with the clips that are kept."),
    metric("fit/<step>/<name>", "", None, "A value that a fitting step reports."),
    metric("quant/codes_changed", "%", None, "Share of integer weights that this step changed."),
    metric(
        "quant/<layer>/weight_mse",
        "weight^2",
        LOWER,
        "Mean squared difference of a layer's quantized and float weights.",
    ),
    metric(
        "quant/<layer>/sqnr_db",
        "dB",
        HIGHER,
        "Signal to quantization noise of a layer's weights: 10 log10(sum w^2 / sum (w - q)^2).",
    ),
    metric(
        "quant/<layer>/activation_mse",
        "activation^2",
        LOWER,
        "Mean squared difference of the activations at a node, quantized network against float network.",
    ),
    metric("teacher/top1", "%", HIGHER, "Teacher's top-1 accuracy on the test set."),
    metric("teacher/top5", "%", HIGHER, "Teacher's top-5 accuracy on the test set."),
    metric("student/top1", "%", HIGHER, "Student's top-1 accuracy on the test set."),
    metric("student/top5", "%", HIGHER, "Student's top-5 accuracy on the test set."),
    metric("student/agreement", "%", HIGHER, "Share of images to which student and teacher give one class."),
    metric("student/test_agreement", "%", HIGHER, "Share of test images to which student and teacher give one class."),
    metric(
        "student/kl",
        "nat",
        LOWER,
        "Kullback-Leibler divergence of the student's from the teacher's class probabilities, temperature 1.",
    ),
    metric("student/logit_mse", "logit^2", LOWER, "Mean squared difference of student and teacher logits."),
    metric("train/top1", "%", HIGHER, "Top-1 accuracy on the training batches of a teacher, augmentation included."),
    metric("train/loss", "nat", LOWER, "Training loss of a teacher, label smoothing included."),
    metric("train/agreement", "%", HIGHER, "Share of the batch's images to which student and teacher give one class."),
    metric(
        "perf/images_per_s",
        "1/s",
        HIGHER,
        "Images through the network in a second. A time: it differs between runs.",
    ),
];

/// The metric that a tag is an instance of.
pub fn describe(tag: &str) -> Option<&'static Metric> {
    GLOSSARY.iter().find(|metric| fits(metric.tag, tag))
}

fn fits(pattern: &str, tag: &str) -> bool {
    let (patterns, parts): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), tag.split('/').collect());
    patterns.len() == parts.len()
        && patterns.iter().zip(&parts).all(|(pattern, part)| {
            pattern == part || (pattern.starts_with('<') && pattern.ends_with('>') && !part.is_empty())
        })
}

/// The glossary as a markdown table.
pub fn glossary_markdown() -> String {
    let mut text = String::from("| tag | unit | better | meaning |\n|---|---|---|---|\n");
    for metric in GLOSSARY {
        let better = metric.higher_is_better.map_or("–", |higher| if higher { "higher" } else { "lower" });
        let unit = if metric.unit.is_empty() { "–" } else { metric.unit };
        text += &format!("| `{}` | {unit} | {better} | {} |\n", metric.tag, metric.meaning);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn tags_find_their_pattern_and_special_ones_their_own() {
        assert_eq!(describe("quant/layer1.0.conv1/sqnr_db").unwrap().unit, "dB");
        assert_eq!(describe("loss/kl").unwrap().unit, "nat");
        assert_eq!(describe("loss/my-loss").unwrap().tag, "loss/<term>");
        assert_eq!(describe("loss/kl/weighted").unwrap().tag, "loss/<term>/weighted");
        assert_eq!((describe("loss/"), describe("quant/sqnr_db"), describe("loss")), (None, None, None));
    }

    /// The text of every source file of these crates, tests left out.
    fn sources(crates: &[&str]) -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut folders: Vec<PathBuf> = crates.iter().map(|name| root.join(name).join("src")).collect();
        let mut texts = Vec::new();
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("glossary.rs") {
                    let text = std::fs::read_to_string(path).unwrap();
                    texts.push(text.split("mod tests {").next().unwrap_or_default().to_owned());
                }
            }
        }
        texts
    }

    /// Whether a tag as the code writes it, with `{}` for what it fills in, can be an instance of a metric.
    fn may_fit(pattern: &str, written: &str) -> bool {
        let (patterns, parts): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), written.split('/').collect());
        patterns.len() == parts.len()
            && patterns
                .iter()
                .zip(parts)
                .all(|(pattern, part)| *pattern == part || pattern.starts_with('<') || part.contains('{'))
    }

    #[test]
    fn every_tag_in_the_code_is_described() {
        let mut found = 0;
        for text in sources(&["runner"]) {
            for call in [".with(\"", ".with(format!(\""] {
                for rest in text.split(call).skip(1) {
                    let tag = rest.split('"').next().unwrap_or_default();
                    assert!(GLOSSARY.iter().any(|metric| may_fit(metric.tag, tag)), "`{tag}` is not in the glossary");
                    found += 1;
                }
            }
        }
        assert!(found >= 15, "{found} tags were found: is this still how they are written?");
    }

    /// The names that a source file of fitting steps or sensitivities gives values, as the code writes them: whole tags, and the
    /// texts at the head of a pair such as `("lapq/kl".to_owned(), value)` or `(format!("{}/soft", unit), value)`.
    fn reported(text: &str) -> Vec<&str> {
        let literal = |from: usize| text[from..].split_once('"').unwrap_or_default();
        let whole = text.match_indices("\"fit/").map(|(at, _)| literal(at + 1).0);
        let heads = ["(\"", "(format!(\""].into_iter().flat_map(|head| {
            let places = text.match_indices(head).filter_map(move |(at, _)| {
                // Behind a name the parenthesis is that of a call.
                let calls = |c: char| c.is_alphanumeric() || "_!>".contains(c);
                (!text[..at].ends_with(calls)).then_some(at + head.len())
            });
            places.map(literal).filter(move |(_, rest)| head != "(\"" || rest.starts_with(".to_owned(), "))
        });
        whole.chain(heads.map(|(name, _)| name)).collect()
    }

    #[test]
    fn every_name_that_fitting_reports_is_described() {
        let texts = sources(&["quant"]);
        let reporting = texts.iter().filter(|text| text.contains("FitProgress") || text.contains(".unit("));
        let names: Vec<&str> = reporting.flat_map(|text| reported(text)).collect();
        for name in &names {
            let tag = if name.starts_with("fit/") { (*name).to_owned() } else { format!("fit/{name}") };
            let described = GLOSSARY.iter().any(|metric| may_fit(metric.tag, &tag));
            assert!(described && !tag.contains(char::is_whitespace), "`{tag}` is not in the glossary");
        }
        for name in ["lapq/kl", "allocate/{}/w{bits}", "fit/{step}/{}/{what}"] {
            assert!(names.contains(&name), "{name} is not among {names:?}: is this still how they are written?");
        }
    }

    #[test]
    fn every_described_tag_is_one_that_the_code_writes() {
        let losses = blindfold_distill::losses().unwrap();
        let texts = sources(&["runner", "distill", "synth", "quant"]);
        for metric in GLOSSARY {
            let parts: Vec<&str> = metric.tag.split('/').collect();
            let written = match parts.as_slice() {
                ["loss", name] if !["total", "<term>"].contains(name) => losses.get(name).is_ok(),
                [.., last] if !last.starts_with('<') => {
                    let ways = [format!("\"{last}\""), format!("/{last}\"")];
                    texts.iter().any(|text| ways.iter().any(|way| text.contains(way)))
                }
                _ => true,
            };
            assert!(written, "nothing writes `{}`", metric.tag);
        }
    }

    #[test]
    fn each_tag_stands_once_and_is_not_hidden_by_one_before_it() {
        for metric in GLOSSARY {
            let example = metric.tag.replace(['<', '>'], "");
            assert_eq!(describe(&example).unwrap().tag, metric.tag);
            assert!(metric.meaning.ends_with('.') && !metric.meaning.contains('|'), "{}", metric.tag);
        }
        assert_eq!(glossary_markdown().lines().count(), GLOSSARY.len() + 2);
    }
}
