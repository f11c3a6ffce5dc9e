//! Random draws whose bits are the same on every platform.

use blindfold_zoo::Stream;
use rand::Rng;

/// Draws from one stream with additions, multiplications and square roots only, which IEEE 754 rounds exactly.
pub(super) struct Draw(Stream);

impl Draw {
    /// Draws from `stream`.
    pub(super) fn new(stream: Stream) -> Self {
        Self(stream)
    }

    /// Uniform in `[0, 1)`, with 24 bits.
    pub(super) fn unit(&mut self) -> f32 {
        (self.0.next_u64() >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in `[low, high)`.
    pub(super) fn range(&mut self, [low, high]: [f32; 2]) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `0..count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((self.0.next_u64() >> 32) as usize * count) >> 32
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Nearly normal, mean 0, variance 1: the sum of four uniform 16-bit numbers, centred and scaled.
    pub(super) fn normal(&mut self) -> f32 {
        let bits = self.0.next_u64();
        let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
        // Each uniform has variance 1/12, so four have 1/3.
        (sum as f32 * (1.0 / 65_536.0) - 2.0) * 1.732_050_8
    }

    /// A uniform direction in `D` dimensions: a point of the unit ball, by rejection, brought to length 1.
    pub(super) fn direction<const D: usize>(&mut self) -> [f32; D] {
        loop {
            let point: [f32; D] = std::array::from_fn(|_| self.range([-1.0, 1.0]));
            let square: f32 = point.iter().map(|x| x * x).sum();
            if square > 0.01 && square <= 1.0 {
                return point.map(|x| x / square.sqrt());
            }
        }
    }

    /// A uniform point of the colour cube, each channel in `[low, high)`.
    pub(super) fn colour(&mut self, range: [f32; 2]) -> [f32; 3] {
        std::array::from_fn(|_| self.range(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_zoo::stream;

    #[test]
    fn normals_have_mean_0_and_variance_1() {
        let mut draw = Draw::new(stream(1, "test"));
        let values: Vec<f32> = (0..100_000).map(|_| draw.normal()).collect();
        let mean = values.iter().sum::<f32>() / 1e5;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 1e5;
        assert!(mean.abs() < 0.015 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn integers_are_even_and_directions_have_length_1() {
        let mut draw = Draw::new(stream(2, "test"));
        let mut counts = [0; 10];
        (0..50_000).for_each(|_| counts[draw.below(10)] += 1);
        assert!(counts.iter().all(|count| (4_700..5_300).contains(count)), "{counts:?}");
        let direction: [f32; 3] = draw.direction();
        assert!((direction.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
