//! Linear layers on one image, in `f64` on the host.

use std::ops::Range;

use rayon::prelude::*;

/// What is added to sizes that rounding is relative to, so that it covers results too small for a full mantissa, or that a device
/// takes for zero: times `2^-24` this is `2^-126`, the smallest normal `f32`.
pub(super) const FLOOR: f64 = 1.0 / (1u128 << 102) as f64;

/// How a convolution reaches its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Output channels.
    pub(super) out: usize,
    /// Input channels of each group.
    pub(super) group_in: usize,
    /// Independent channel groups.
    pub(super) groups: usize,
    /// Height and width of the kernel.
    pub(super) kernel: [usize; 2],
    /// Vertical and horizontal step.
    pub(super) stride: [usize; 2],
    /// Zeros on both sides, vertically and horizontally.
    pub(super) padding: [usize; 2],
}

impl Geometry {
    /// One output for each input channel at each position, from that input alone.
    pub(super) fn channelwise(channels: usize) -> Self {
        Self { out: channels, group_in: 1, groups: channels, kernel: [1; 2], stride: [1; 2], padding: [0; 2] }
    }

    /// Each output from all of a vector.
    pub(super) fn dense(out: usize, features: usize) -> Self {
        Self { out, group_in: features, groups: 1, kernel: [1; 2], stride: [1; 2], padding: [0; 2] }
    }

    /// The same kernel with other channels, in one group.
    pub(super) fn with_channels(self, out: usize, group_in: usize) -> Self {
        Self { out, group_in, groups: 1, ..self }
    }

    /// Number of kernel places.
    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Number of products that are summed for one output.
    pub(super) fn terms(&self) -> usize {
        self.group_in * self.taps()
    }

    /// The output's shape.
    pub(super) fn output(&self, [_, height, width]: [usize; 3]) -> [usize; 3] {
        let size = |axis: usize, input: usize| {
            (input + 2 * self.padding[axis]).saturating_sub(self.kernel[axis]) / self.stride[axis] + 1
        };
        [self.out, size(0, height), size(1, width)]
    }

    /// `y[o] = sum_{c,u,v} weight[o,c,u,v] * x[c, s*h + u - p, s*w + v - p]` for an input of that shape, without bias.
    pub(super) fn correlate(&self, weight: &[f64], input: &[f64], shape: [usize; 3]) -> Vec<f64> {
        let [_, height, width] = shape;
        let [out, rows, columns] = self.output(shape);
        let area = rows * columns;
        let mut output = vec![0.0; out * area];
        if area == 0 || input.iter().all(|&x| x == 0.0) {
            return output;
        }
        let group_out = out / self.groups;
        output.par_chunks_exact_mut(area).enumerate().for_each(|(channel, picture)| {
            let first = channel / group_out * self.group_in;
            let row = &weight[channel * self.terms()..(channel + 1) * self.terms()];
            for (from, kernel) in row.chunks_exact(self.taps()).enumerate() {
                let plane = &input[(first + from) * height * width..(first + from + 1) * height * width];
                for (tap, &factor) in kernel.iter().enumerate() {
                    if factor != 0.0 {
                        self.add_tap(picture, columns, plane, [height, width], tap, factor);
                    }
                }
            }
        });
        output
    }

    /// Adds `factor` times the inputs that one kernel place falls on.
    fn add_tap(
        &self,
        picture: &mut [f64],
        columns: usize,
        plane: &[f64],
        [height, width]: [usize; 2],
        tap: usize,
        factor: f64,
    ) {
        let (u, v) = (tap / self.kernel[1], tap % self.kernel[1]);
        let rows = reached(height, picture.len() / columns, u, self.stride[0], self.padding[0]);
        let reach = reached(width, columns, v, self.stride[1], self.padding[1]);
        if reach.is_empty() {
            return;
        }
        let left = reach.start * self.stride[1] + v - self.padding[1];
        for row in rows {
            let top = row * self.stride[0] + u - self.padding[0];
            let line = &plane[top * width + left..(top + 1) * width];
            let target = &mut picture[row * columns..(row + 1) * columns][reach.clone()];
            if self.stride[1] == 1 {
                target.iter_mut().zip(line).for_each(|(sum, x)| *sum += factor * x);
            } else {
                target.iter_mut().zip(line.iter().step_by(self.stride[1])).for_each(|(sum, x)| *sum += factor * x);
            }
        }
    }
}

/// The outputs, of `out` along one side, for which the kernel place `tap` falls on one of `size` inputs.
fn reached(size: usize, out: usize, tap: usize, stride: usize, padding: usize) -> Range<usize> {
    let first = padding.saturating_sub(tap).div_ceil(stride).min(out);
    let end = (size + padding).saturating_sub(tap).div_ceil(stride).min(out);
    first..end.max(first)
}

/// `y = W x + b` on one image.
#[derive(Debug, Clone)]
pub(super) struct LinearMap {
    /// How it reaches its input.
    pub(super) geometry: Geometry,
    /// `[out, in / groups, height, width]`, row-major.
    pub(super) weight: Vec<f64>,
    /// `[out]`.
    pub(super) bias: Vec<f64>,
    /// What the biases are sums of, in absolute value, and [`FLOOR`] for each product: what their rounding is relative to, besides the
    /// products.
    pub(super) bias_terms: Vec<f64>,
}

impl LinearMap {
    /// A map with these weights.
    pub(super) fn new(geometry: Geometry, weight: Vec<f64>, bias: Vec<f64>) -> Self {
        let floor = (geometry.terms() + 1) as f64 * FLOOR;
        let bias_terms = bias.iter().map(|bias| bias.abs() + floor).collect();
        Self { geometry, weight, bias, bias_terms }
    }

    /// The mean over windows of each channel, padding counted as zeros.
    pub(super) fn average(channels: usize, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Self {
        let geometry = Geometry { kernel, stride, padding, ..Geometry::channelwise(channels) };
        let taps = geometry.taps();
        Self::new(geometry, vec![1.0 / taps as f64; channels * taps], vec![0.0; channels])
    }

    /// The same without its bias.
    pub(super) fn without_bias(&self) -> Self {
        Self::new(self.geometry, self.weight.clone(), vec![0.0; self.bias.len()])
    }

    /// This map less another of the same geometry; none where they are equal.
    pub(super) fn minus(&self, other: &Self) -> Option<Self> {
        let subtract = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
        let (weight, bias) = (subtract(&self.weight, &other.weight), subtract(&self.bias, &other.bias));
        if weight.iter().chain(&bias).all(|&x| x == 0.0) {
            return None;
        }
        let bias_terms = self.bias_terms.iter().zip(&other.bias_terms).map(|(a, b)| a + b).collect();
        Some(Self { geometry: self.geometry, weight, bias, bias_terms })
    }

    /// This map followed by a scale and a shift of each output channel.
    pub(super) fn then(&self, after: &Self) -> Self {
        let row = self.geometry.terms();
        let weight = self.weight.iter().enumerate().map(|(index, w)| w * after.weight[index / row]).collect();
        let scaled = |values: &[f64], scale: fn(f64) -> f64, shift: &[f64]| {
            let products = values.iter().zip(&after.weight).zip(shift);
            products.map(|((value, factor), shift)| value * scale(*factor) + shift).collect::<Vec<f64>>()
        };
        let bias = scaled(&self.bias, |factor| factor, &after.bias);
        let bias_terms = scaled(&self.bias_terms, f64::abs, &after.bias_terms);
        Self { geometry: self.geometry, weight, bias, bias_terms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, one sum an output.
    fn by_definition(g: &Geometry, weight: &[f64], input: &[f64], shape: [usize; 3]) -> Vec<f64> {
        let [_, height, width] = shape;
        let [out, rows, columns] = g.output(shape);
        let mut output = Vec::new();
        for o in 0..out {
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let mut sum = 0.0;
                for c in 0..g.group_in {
                    for (u, v) in (0..g.kernel[0]).flat_map(|u| (0..g.kernel[1]).map(move |v| (u, v))) {
                        let y = (row * g.stride[0] + u).wrapping_sub(g.padding[0]);
                        let x = (column * g.stride[1] + v).wrapping_sub(g.padding[1]);
                        if y < height && x < width {
                            let from = o / (out / g.groups) * g.group_in + c;
                            let w = weight[((o * g.group_in + c) * g.kernel[0] + u) * g.kernel[1] + v];
                            sum += w * input[(from * height + y) * width + x];
                        }
                    }
                }
                output.push(sum);
            }
        }
        output
    }

    #[test]
    fn correlation_is_that_of_the_definition() {
        let geometry = |out, group_in, groups, kernel, stride, padding| Geometry {
            out,
            group_in,
            groups,
            kernel,
            stride,
            padding,
        };
        for (g, shape) in [
            (geometry(3, 2, 1, [3, 3], [1, 1], [1, 1]), [2, 5, 4]),
            (geometry(4, 2, 2, [3, 2], [2, 1], [1, 0]), [4, 6, 5]),
            (geometry(2, 3, 1, [1, 1], [2, 2], [0, 0]), [3, 7, 7]),
            (geometry(2, 1, 2, [5, 5], [3, 2], [2, 2]), [2, 4, 3]),
            (geometry(1, 1, 1, [3, 3], [1, 1], [0, 0]), [1, 3, 3]),
        ] {
            let weight: Vec<f64> = (0..g.out * g.terms()).map(|index| (index as f64 * 0.7).sin()).collect();
            let input: Vec<f64> =
                (0..shape.iter().product::<usize>()).map(|index| (index as f64 * 1.3).cos()).collect();
            let (found, expected) = (g.correlate(&weight, &input, shape), by_definition(&g, &weight, &input, shape));
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-12, "{g:?}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_map_and_a_scale_after_it_are_one_map() {
        let map = LinearMap::new(Geometry::dense(2, 3), vec![1.0, 2.0, 3.0, -1.0, 0.5, 4.0], vec![1.0, -2.0]);
        let scale = LinearMap::new(Geometry::channelwise(2), vec![2.0, -3.0], vec![0.5, 0.25]);
        let both = map.then(&scale);
        assert_eq!(both.weight, [2.0, 4.0, 6.0, 3.0, -1.5, -12.0]);
        assert_eq!(both.bias, [2.5, 6.25]);
        assert_eq!(both.bias_terms, [2.5, 6.25]);
        assert!(both.minus(&both).is_none());
        assert_eq!(both.minus(&map).unwrap().bias, [1.5, 8.25]);
    }
}
