//! How images are paired, and how much of itself each one keeps.

use blindfold_zoo::{ConfigError, Stream};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

/// How many shares are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mixing {
    /// One for all images of a batch.
    Batch,
    /// One for each image.
    Image,
}

/// The parameters of the Beta distribution that shares are drawn from.
const ALPHAS: [f64; 2] = [1e-3, 1e3];

/// Draws who is mixed with whom, and how much.
///
/// ```text
/// kept ~ Beta(alpha, alpha),   partners: a random order of the batch
/// ```
#[derive(Debug, Clone, Copy)]
pub(super) struct Pairing {
    beta: Beta<f64>,
    mixing: Mixing,
    probability: f64,
}

/// The partners of the images of a batch.
pub(super) struct Pairs {
    /// The number of each image's partner, which may be itself.
    pub(super) partners: Vec<usize>,
    /// The share of itself that each image keeps, from 0 to 1.
    pub(super) kept: Vec<f64>,
}

impl Pairing {
    /// Checks the values.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for the keys `alpha` and `probability`.
    pub(super) fn new(alpha: f64, mixing: Mixing, probability: f64) -> Result<Self, ConfigError> {
        super::checked_probability(probability)?;
        let [least, most] = ALPHAS;
        let fix = format!("write a number from {least} to {most}");
        if !(least..=most).contains(&alpha) {
            return Err(ConfigError::invalid("alpha", alpha, fix));
        }
        let beta = Beta::new(alpha, alpha).map_err(|_| ConfigError::invalid("alpha", alpha, fix))?;
        Ok(Self { beta, mixing, probability })
    }

    /// The pairs of a batch of `count` images; none where it is not mixed.
    pub(super) fn draw(&self, count: usize, random: &mut Stream) -> Option<Pairs> {
        if !random.random_bool(self.probability) {
            return None;
        }
        let mut partners: Vec<usize> = (0..count).collect();
        partners.shuffle(random);
        let kept = match self.mixing {
            Mixing::Batch => vec![self.beta.sample(random); count],
            Mixing::Image => (0..count).map(|_| self.beta.sample(random)).collect(),
        };
        Some(Pairs { partners, kept })
    }
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;

    use super::*;

    fn draw(alpha: f64, mixing: Mixing, count: usize, random: &mut Stream) -> Pairs {
        Pairing::new(alpha, mixing, 1.0).unwrap().draw(count, random).unwrap()
    }

    #[test]
    fn shares_have_the_moments_of_their_distribution() {
        let mut random = stream(3, "test pairs");
        for alpha in [0.2, 1.0, 3.0] {
            let kept = draw(alpha, Mixing::Image, 4000, &mut random).kept;
            let mean = kept.iter().sum::<f64>() / 4000.0;
            let variance = kept.iter().map(|share| (share - 0.5).powi(2)).sum::<f64>() / 4000.0;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 5.0 * (expected / 4000.0).sqrt(), "{alpha}: {mean}");
            // The deviation of 4,000 squares' mean is at most 2 % here.
            assert!((variance / expected - 1.0).abs() < 0.1, "{alpha}: {variance} instead of {expected}");
            assert!(kept.iter().all(|share| (0.0..=1.0).contains(share)));
        }
    }

    #[test]
    fn partners_are_an_order_of_the_batch_and_one_share_serves_all_if_asked() {
        let mut random = stream(3, "test pairs");
        let Pairs { partners, kept } = draw(1.0, Mixing::Batch, 50, &mut random);
        assert!(kept.iter().all(|share| *share == kept[0]));
        assert_ne!(partners, (0..50).collect::<Vec<_>>());
        let mut sorted = partners;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        let pairing = Pairing::new(1.0, Mixing::Batch, 0.25).unwrap();
        let mixed = (0..400).filter(|_| pairing.draw(2, &mut random).is_some()).count();
        assert!((60..=140).contains(&mixed), "{mixed}");
    }
}
