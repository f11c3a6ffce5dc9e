//! Which values pass unquantized while a network is fitted.

use burn::tensor::{Bool, Device, Tensor, TensorData};
use rand::Rng;

/// Draws masks that are true with a probability, value by value, on the host, so that they are the same on every
/// device.
#[derive(Debug)]
pub struct Dropout<R> {
    random: R,
    /// The probability in 65536ths.
    threshold: u64,
}

impl<R: Rng> Dropout<R> {
    /// Draws from a stream; none for a probability of 0.
    pub fn new(random: R, probability: f64) -> Option<Self> {
        (probability > 0.0).then(|| Self { random, threshold: (probability * 65536.0).round() as u64 })
    }

    /// True for what is dropped.
    pub fn mask(&mut self, shape: [usize; 4], device: &Device) -> Tensor<4, Bool> {
        let count = shape.iter().product();
        let mut mask = Vec::with_capacity(count + 3);
        while mask.len() < count {
            let bits = self.random.next_u64();
            mask.extend([0, 16, 32, 48].map(|shift| (bits >> shift) & 0xffff < self.threshold));
        }
        mask.truncate(count);
        Tensor::from_data(TensorData::new(mask, shape), device)
    }
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::stream;

    use super::*;

    #[test]
    fn as_many_are_dropped_as_asked_and_the_stream_decides_which() {
        for probability in [0.1, 0.5, 0.9] {
            let draw = |seed: u64| {
                let mut random = stream(seed, "test");
                let mask = Dropout::new(&mut random, probability).unwrap().mask([5, 3, 71, 47], &Device::flex());
                mask.float().into_data().iter::<f32>().collect::<Vec<f32>>()
            };
            let mask = draw(1);
            let share = mask.iter().sum::<f32>() / mask.len() as f32;
            assert!((f64::from(share) - probability).abs() < 0.01, "{probability}: {share}");
            assert!(mask == draw(1) && mask != draw(2));
        }
        assert!(Dropout::new(&mut stream(1, "test"), 0.0).is_none());
    }
}
