//! The weights of `n2uq`: uniform levels over a learned span.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::codec::{Codebook, Codec};
use crate::error::QuantError;
use crate::learned::size::{LEAST, size, size_of};
use crate::learned::{GroupStatistics, LearnedSite};
use crate::samples::Samples;

/// A weight with its scale: what `s` and `C` make of it.
///
/// ```text
/// s = mean |w| * n / 2^(b-1),   w^ = s * (round((clip(w / s, -C/2, C/2) + C/2) n / C) C / n - C/2),   n = 2^b - 1
/// ```
pub(super) struct SpannedWeights<'a> {
    values: &'a Samples,
    site: &'a LearnedSite,
}

impl<'a> SpannedWeights<'a> {
    pub(super) fn new(values: &'a Samples, site: &'a LearnedSite) -> Self {
        Self { values, site }
    }

    /// `s` of each group.
    pub(super) fn scales(&self) -> Vec<f64> {
        let steps = f64::from(self.site.steps());
        let factor = steps / ((steps + 1.0) / 2.0);
        let statistics = GroupStatistics::of(self.values);
        statistics.iter().map(|group| factor * f64::from(group.magnitude.max(LEAST))).collect()
    }

    /// `C` of each group at the start: of the 80 spans `C' (1 - 0.01 k)`, `C'` the one that clips nothing, that of least
    /// squared error.
    pub(super) fn spans(&self) -> Vec<f32> {
        let steps = f64::from(self.site.steps());
        let span = |(values, scale): (&[f32], f64)| {
            let largest = values.iter().fold(0f64, |largest, &w| largest.max(f64::from(w).abs()));
            let widest = (2.0 * largest / scale).max(f64::from(LEAST));
            let spans: Vec<f64> = (0..80).map(|k| widest * (1.0 - 0.01 * f64::from(k))).collect();
            let error = |&span: &f64| -> f64 {
                values.iter().map(|&w| (rounded(f64::from(w), scale, span, steps) - f64::from(w)).powi(2)).sum()
            };
            let errors: Vec<f64> = spans.par_iter().map(error).collect();
            let best = (1..errors.len()).fold(0, |best, place| if errors[place] < errors[best] { place } else { best });
            spans[best] as f32
        };
        self.values.iter().zip(self.scales()).map(span).collect()
    }

    /// The codec of these spans, one a group.
    ///
    /// # Errors
    /// [`QuantError::Grid`] for spans that diverged.
    pub(super) fn codec(&self, spans: &[f32]) -> Result<Codec, QuantError> {
        let steps = self.site.steps() as usize;
        let levels = |(scale, &span): (f64, &f32)| -> Vec<f32> {
            let reach = scale * f64::from(size(span));
            (0..=steps).map(|code| (reach * (code as f64 / steps as f64 - 0.5)) as f32).collect()
        };
        let tables = self.scales().into_iter().zip(spans).map(levels).collect();
        Ok(Codebook::new(tables, self.site.bits, self.site.axis)?.with_constants(self.site.groups).into())
    }

    /// A tensor with the gradients for `x` and the spans.
    pub(super) fn carrier(&self, x: Tensor<4>, value: &Tensor<4>, spans: &Tensor<1>) -> Tensor<4> {
        let span = size_of(self.site.spread(spans));
        let halves = self.scales().into_iter().map(|scale| (scale / 2.0) as f32).collect();
        let reach = span.clone().inner() * self.site.constants(halves, value);
        let plain = x.clone().inner();
        let inside = plain.clone().abs().lower_equal(reach.expand(plain.dims())).float();
        let slope = (value.clone() - plain * inside.clone()) / span.clone().inner();
        x * inside + span.autodiff() * slope
    }
}

/// `w^` of a weight.
fn rounded(w: f64, scale: f64, span: f64, steps: f64) -> f64 {
    let place = (w / scale).clamp(-span / 2.0, span / 2.0) + span / 2.0;
    scale * ((place * steps / span).round() * span / steps - span / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Role;

    fn site(bits: u8, groups: usize) -> LearnedSite {
        LearnedSite { role: Role::Weight, bits, axis: Some(0), groups, signed: true }
    }

    #[test]
    fn the_scale_is_the_papers() {
        let weights = Samples::new(vec![1.0, -3.0, 0.5, 0.1], 2).unwrap();
        let scales = SpannedWeights::new(&weights, &site(2, 2)).scales();
        assert!((scales[0] - 2.0 * 1.5).abs() < 1e-6 && (scales[1] - 0.3 * 1.5).abs() < 1e-6, "{scales:?}");
    }

    #[test]
    fn the_span_at_the_start_is_the_best_of_its_candidates() {
        // On levels already, and with an outlier that costs least when it is clipped.
        let even: Vec<f32> = (0..64).map(|index| (index % 4) as f32 - 1.5).collect();
        let outlier: Vec<f32> = (0..64).map(|index| if index == 9 { 9.0 } else { even[index] }).collect();
        let weights = Samples::new([even, outlier].concat(), 2).unwrap();
        let site = site(2, 2);
        let spanned = SpannedWeights::new(&weights, &site);
        let (spans, scales) = (spanned.spans(), spanned.scales());
        assert!((f64::from(spans[0]) * scales[0] - 3.0).abs() < 1e-5, "{spans:?}");
        let error = |share: f64| -> f64 {
            let span = 2.0 * 9.0 / scales[1] * share;
            weights.group(1).iter().map(|&w| (rounded(w.into(), scales[1], span, 3.0) - f64::from(w)).powi(2)).sum()
        };
        let found = f64::from(spans[1]) * scales[1] / 18.0;
        assert!(found < 0.99 && (0..80).all(|k| error(found) <= error(1.0 - 0.01 * f64::from(k)) * 1.0001), "{found}");
    }

    #[test]
    fn weights_of_zero_stay_near_zero() {
        let weights = Samples::new(vec![0.0; 8], 1).unwrap();
        let site = LearnedSite { axis: None, ..site(4, 1) };
        let spanned = SpannedWeights::new(&weights, &site);
        let codec = spanned.codec(&spanned.spans()).unwrap();
        let values = codec.fake_quantize_values(&[0.0; 8], [8, 1, 1, 1]).unwrap();
        assert!(values.iter().all(|value| value.abs() < 1e-12), "{values:?}");
    }
}
