//! Which values pass unquantized while a network is fitted.

use blindfold_zoo::{choose, vectorized};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use rand::Rng;

use crate::host::is_host;

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

    /// True for what is dropped of so many values.
    pub(super) fn draw(&mut self, count: usize) -> Vec<bool> {
        let mut mask = Vec::with_capacity(count + 3);
        while mask.len() < count {
            let bits = self.random.next_u64();
            mask.extend([0, 16, 32, 48].map(|shift| (bits >> shift) & 0xffff < self.threshold));
        }
        mask.truncate(count);
        mask
    }

    /// `kept`, with the values that are dropped taken from `instead`: plain tensors of one shape.
    pub(super) fn mix(&mut self, kept: Tensor<4>, instead: Tensor<4>) -> Tensor<4> {
        const READ: &str = "its type is f32, and the host can read its own memory";
        let (shape, device) = (kept.dims(), kept.device());
        if !(is_host(&device) && kept.dtype() == DType::F32 && instead.dtype() == DType::F32) {
            let mask = self.mask(shape, &device);
            return kept.mask_where(mask, instead);
        }
        let mask = self.draw(shape.iter().product());
        let (mut data, other) = (kept.into_data(), instead.into_data());
        let (values, other) = (data.as_mut_slice::<f32>().expect(READ), other.as_slice::<f32>().expect(READ));
        vectorized(
            #[inline(always)]
            || {
                for ((value, &other), &dropped) in values.iter_mut().zip(other).zip(&mask) {
                    *value = choose(dropped, other, *value);
                }
            },
        );
        Tensor::from_data(data, &device)
    }

    /// True for what is dropped.
    pub fn mask(&mut self, shape: [usize; 4], device: &Device) -> Tensor<4, Bool> {
        Tensor::from_data(TensorData::new(self.draw(shape.iter().product()), shape), device)
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

    #[test]
    fn a_mixture_has_the_values_that_the_mask_says() {
        let device = Device::flex();
        let [kept, instead] = [1.0, 2.0].map(|value| Tensor::<4>::full([2, 3, 5, 7], value, &device));
        let drawn = Dropout::new(&mut stream(3, "test"), 0.4).unwrap().mask([2, 3, 5, 7], &device);
        let mixed = Dropout::new(&mut stream(3, "test"), 0.4).unwrap().mix(kept.clone(), instead.clone());
        mixed.into_data().assert_eq(&kept.mask_where(drawn, instead).into_data(), true);
    }
}
