//! `qimera`: GDFQ with images between classes, from superposed embeddings.

use blindfold_zoo::{ConfigError, Entry, Stream, defaults_of, merge_defaults, parse};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::gdfq::ClassTerms;
use super::latents::draw_labels;
use super::{EmbeddingStart, GeneratorMethod, GeneratorSettings, GeneratorTerm, GeneratorView, Latents};

/// Settings of `qimera`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QimeraConfig {
    /// The generator and its optimizer; `latent` is read where `random_embedding` is true.
    pub generator: GeneratorSettings,
    /// Weight of the cross-entropy of the teacher's answers with the classes' shares.
    pub ce_weight: f64,
    /// Weight of the distance of the batch norms' statistics.
    pub bns_weight: f64,
    /// `p`: with this probability the images of a batch have several classes each.
    pub probability: f64,
    /// `K`: how many.
    pub classes: usize,
    /// Start the embedding at random numbers, and not at the rows of the teacher's last linear layer.
    pub random_embedding: bool,
    /// Added to the variance where the embedded codes are normalised.
    pub epsilon: f64,
    /// With `conditioning = "batch-norm"`: divide the classes' weighted scales and shifts by their number.
    pub average_norms: bool,
}

impl Default for QimeraConfig {
    fn default() -> Self {
        Self {
            generator: GeneratorSettings::default(),
            ce_weight: 1.0,
            bns_weight: 0.1,
            probability: 0.4,
            classes: 2,
            random_embedding: false,
            epsilon: 1e-5,
            average_norms: true,
        }
    }
}

fn build(table: toml::Table) -> Result<Box<dyn GeneratorMethod>, ConfigError> {
    let config: QimeraConfig = parse(merge_defaults(defaults_of::<QimeraConfig>(), table))?;
    let terms = ClassTerms::new(&config.generator, config.ce_weight, config.bns_weight)?;
    if !(0.0..=1.0).contains(&config.probability) {
        return Err(ConfigError::invalid("probability", config.probability, "write a number from 0 to 1"));
    }
    if config.classes == 0 {
        return Err(ConfigError::invalid("classes", 0, "write a number of at least 1"));
    }
    if !(config.epsilon > 0.0 && config.epsilon < 1.0) {
        return Err(ConfigError::invalid("epsilon", config.epsilon, "write a small positive number such as 1e-5"));
    }
    Ok(Box::new(Qimera { config, terms }))
}

/// GDFQ whose batches hold, now and then, images between classes: near the teacher's decision boundaries.
///
/// ```text
/// with probability p:  K classes y_k an image,  share = softmax(K draws of N(0, 1));  else K = 1, share = 1
/// h = sum_k share_k * BN(Emb(y_k) + z_k),  z_k ~ N(0, I),  x = G(h),  t = sum_k share_k * onehot(y_k)
/// L_G = ce_weight * (1/N) sum_n -sum_c t_nc log softmax(T(x_n))_c + bns_weight * (the distance of GDFQ)
/// ```
/// BN: over all codes of the batch, dimension by dimension, without scale and shift. Emb starts at the rows of the
/// teacher's last linear layer, whose length is that of the codes then. With `conditioning = "batch-norm"`, beside the
/// embedding, the inner batch norms take `(1/K) sum_k share_k * gamma_{y_k}` as scale, the shift likewise;
/// `average_norms = false` leaves out `1/K`.
///
/// # Shapes
/// - logits and targets `[batch, classes]`; each term `[1]`, unweighted
/// # Range
/// Both terms `>= 0`; the cross-entropy is not below the mean entropy of the targets. Units as for `gdfq`.
/// # Source
/// Choi et al., "Qimera: Data-free Quantization with Synthetic Boundary Supporting Samples", NeurIPS 2021, section 3,
/// <https://arxiv.org/abs/2111.02625>, with the settings of its code for CIFAR-10: `probability`,
/// `classes` are .4 and 2 for CIFAR-10 (with `random_embedding`), .4 and 10 for CIFAR-100, .4 and 500 for ResNet-18.
/// # Differences from the source
/// - Batches of one class an image go the same way with K = 1 (recalled).
/// - The optional mapping of the code to fewer dimensions is left out: the published scripts run without it.
/// - Classes of one image are drawn with replacement, so that two of them may be the same.
#[derive(Debug)]
struct Qimera {
    config: QimeraConfig,
    terms: ClassTerms,
}

impl GeneratorMethod for Qimera {
    fn settings(&self) -> &GeneratorSettings {
        &self.config.generator
    }

    fn embedding(&self) -> EmbeddingStart {
        if self.config.random_embedding { EmbeddingStart::Random } else { EmbeddingStart::Teacher }
    }

    fn latents(&self, classes: usize, count: usize, random: &mut Stream) -> Latents {
        let parts = if random.random_bool(self.config.probability) { self.config.classes } else { 1 };
        Latents::Superposed {
            labels: draw_labels(classes, count * parts, random),
            shares: (0..count).flat_map(|_| shares(parts, random)).collect(),
            parts,
            epsilon: self.config.epsilon,
            average_norms: self.config.average_norms,
        }
    }

    fn terms(&self, view: &GeneratorView<'_>) -> Vec<GeneratorTerm> {
        self.terms.of(view)
    }
}

/// `softmax(u)` of `parts` standard normal numbers `u`.
fn shares(parts: usize, random: &mut Stream) -> Vec<f32> {
    let drawn: Vec<f64> = (0..parts).map(|_| StandardNormal.sample(random)).collect();
    let largest = drawn.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = drawn.iter().map(|value| (value - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| (power / sum) as f32).collect()
}

pub(super) const ENTRY: Entry<dyn GeneratorMethod> = Entry {
    name: "qimera",
    summary: "GDFQ with images between classes, from superposed embeddings",
    source: "Choi et al., Qimera, NeurIPS 2021, section 3",
    defaults: defaults_of::<QimeraConfig>,
    build,
};

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;

    use super::*;

    fn method(table: &str) -> Box<dyn GeneratorMethod> {
        (ENTRY.build)(table.parse().unwrap()).unwrap()
    }

    #[test]
    fn shares_and_targets_sum_to_one() {
        let method = method("probability = 1.0\nclasses = 7");
        let latents = method.latents(5, 30, &mut stream(1, "qimera"));
        let Latents::Superposed { labels, shares, parts, .. } = &latents else { panic!("several classes an image") };
        assert_eq!((labels.len(), shares.len(), *parts), (210, 210, 7));
        for row in shares.chunks(7).chain(latents.targets(5).unwrap().chunks(5)) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}");
            assert!(row.iter().all(|share| (0.0..=1.0 + 1e-6).contains(share)), "{row:?}");
        }
        let mut spread = shares.clone();
        spread.sort_by(f32::total_cmp);
        assert!(spread[0] < 0.05 && spread[209] > 0.4, "the shares differ: {} to {}", spread[0], spread[209]);
        assert_eq!(latents.labels(), None);
    }

    #[test]
    fn one_class_an_image_has_the_whole_share() {
        let method = method("probability = 0.0\nclasses = 7");
        let latents = method.latents(5, 30, &mut stream(1, "qimera"));
        assert_eq!((latents.count(), latents.codes()), (30, 30));
        let labels = latents.labels().unwrap();
        let targets = latents.targets(5).unwrap();
        for (row, label) in targets.chunks(5).zip(labels) {
            assert_eq!((row[label as usize], row.iter().sum::<f32>()), (1.0, 1.0));
        }
    }

    #[test]
    fn batches_are_superposed_as_often_as_asked() {
        let method = method("probability = 0.4\nclasses = 3");
        let mut random = stream(1, "qimera");
        let several = (0..2000).filter(|_| method.latents(5, 2, &mut random).labels().is_none()).count();
        // Five deviations of 2000 draws.
        assert!((several as f64 - 800.0).abs() < 5.0 * (2000.0f64 * 0.4 * 0.6).sqrt(), "{several}");
    }

    #[test]
    fn the_embedding_starts_as_asked() {
        assert_eq!(method("").embedding(), EmbeddingStart::Teacher);
        assert_eq!(method("random_embedding = true").embedding(), EmbeddingStart::Random);
    }

    #[test]
    fn faults_name_their_key() {
        let message = |table: &str| (ENTRY.build)(table.parse().unwrap()).unwrap_err().to_string();
        assert!(message("probability = 1.5").starts_with("`probability`: 1.5"));
        assert!(message("classes = 0").starts_with("`classes`: 0"));
        assert!(message("epsilon = 0.0").starts_with("`epsilon`: 0"));
        assert!(message("bns_weight = -0.1").starts_with("`bns_weight`: -0.1"));
    }
}
