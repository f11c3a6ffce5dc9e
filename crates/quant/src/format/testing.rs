//! Samples and measures for the tests of the formats.

use blindfold_zoo::stream;
use rand_distr::{Distribution, Exp1, StandardNormal};

use super::NumberFormat;
use crate::codec::Codec;
use crate::samples::Samples;

/// Samples of N(0, 1).
pub(super) fn normal(count: usize) -> Vec<f32> {
    let mut random = stream(1, "normal");
    (0..count).map(|_| StandardNormal.sample(&mut random)).collect()
}

/// Samples of the Laplace distribution with b = 1: differences of two exponential variables.
pub(super) fn laplace(count: usize) -> Vec<f32> {
    let mut random = stream(1, "laplace");
    (0..count)
        .map(|_| {
            let (plus, minus): (f32, f32) = (Exp1.sample(&mut random), Exp1.sample(&mut random));
            plus - minus
        })
        .collect()
}

/// The codec of values in one group.
pub(super) fn fitted(format: &dyn NumberFormat, values: &[f32], bits: u8) -> Codec {
    format.fit(&Samples::new(values.to_vec(), 1).unwrap(), bits, None).unwrap()
}

/// The levels of the only group of a codebook.
pub(super) fn table(codec: &Codec) -> &[f32] {
    match codec {
        Codec::Codebook(book) => book.table(0),
        other => panic!("{other:?} has no table"),
    }
}

/// What a codec of one group makes of values.
pub(super) fn quantized(codec: &Codec, values: &[f32]) -> Vec<f32> {
    codec.fake_quantize_values(values, [1, values.len(), 1, 1]).unwrap()
}

/// `mean (x - x^)^2` in one group.
pub(super) fn mean_square(codec: &Codec, values: &[f32]) -> f64 {
    let errors = quantized(codec, values).into_iter().zip(values).map(|(y, &x)| (f64::from(x) - f64::from(y)).powi(2));
    errors.sum::<f64>() / values.len() as f64
}
