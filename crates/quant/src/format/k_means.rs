//! The table of levels that errs least on the values themselves.

use std::ops::{Range, RangeInclusive};

use blindfold_zoo::{ConfigError, Entry, defaults_of, parse};
use serde::{Deserialize, Serialize};

use super::NumberFormat;
use super::tables::{checked_width, codebook, mean};
use crate::codec::Codec;
use crate::error::QuantError;
use crate::samples::Samples;

/// Table of [`KMeans`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KMeansConfig {
    /// Up to so many distinct values in a group the result is the exact optimum; of more, neighbours are first bound
    /// together into about so many cells.
    pub cells: usize,
    /// The most rounds of Lloyd's iteration after that.
    pub iterations: usize,
}

impl Default for KMeansConfig {
    fn default() -> Self {
        Self { cells: 2048, iterations: 100 }
    }
}

/// One-dimensional k-means: `2^b` free levels for each group.
///
/// ```text
/// argmin over l_1 < ... < l_k, k = 2^b:   sum_x min_i (x - l_i)^2
/// E(1, j) = spread(0, j),   E(c, j) = min_i E(c - 1, i) + spread(i, j),   spread(i, j): sum (x - mean)^2, cells i to j
/// then Lloyd:   l_i = mean of its values,   borders (l_i + l_{i+1}) / 2,   until nothing changes
/// ```
/// The best partition of values on a line is into intervals, so that a dynamic programme over the sorted values finds
/// it; the best `i` does not decrease with `j`, which makes it `O(k n log n)`. A group of at most `2^b` distinct values
/// keeps every one of them.
///
/// # Range
/// Levels lie within the values. Zero is not a level in general.
///
/// # Source
/// Lloyd, Least Squares Quantization in PCM, IEEE Transactions on Information Theory 28, 1982; the dynamic programme:
/// Wang and Song, Ckmeans.1d.dp, The R Journal 3, 2011; k-means on weights: Han et al., Deep Compression, ICLR 2016,
/// section 3.
///
/// # Differences from the source
/// Beyond [`KMeansConfig::cells`] distinct values the dynamic programme runs over cells of neighbours, and Lloyd's
/// iteration over all values: a local optimum next to the global one. Deep Compression starts from equidistant levels.
#[derive(Debug, Clone)]
pub struct KMeans {
    config: KMeansConfig,
}

const WIDTHS: RangeInclusive<u8> = 1..=8;

impl KMeans {
    /// The format of a checked table.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for fewer than 1024 cells: 256 levels need room between them.
    pub fn new(config: KMeansConfig) -> Result<Self, ConfigError> {
        if config.cells < 1024 {
            return Err(ConfigError::invalid("cells", config.cells, "write at least 1024"));
        }
        Ok(Self { config })
    }

    fn table(&self, values: &[f32], levels: usize) -> Vec<f32> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        let mut distinct = sorted.clone();
        distinct.dedup();
        if distinct.len() <= levels {
            return distinct;
        }
        let line = Line::of(&sorted);
        let mut borders = line.best_partition(levels, self.config.cells);
        line.lloyd(&mut borders, self.config.iterations);
        line.levels(&borders)
    }
}

impl NumberFormat for KMeans {
    fn widths(&self) -> RangeInclusive<u8> {
        WIDTHS
    }

    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        let levels: usize = 1 << checked_width(&WIDTHS, bits)?;
        Ok(codebook(samples, bits, axis, |values| self.table(values, levels))?.into())
    }
}

/// Distinct values about their mean, ascending, with running totals. A partition is the ascending list of its borders:
/// part `i` is `values[borders[i]..borders[i + 1]]`.
struct Line {
    mean: f64,
    values: Vec<f64>,
    totals: Totals,
}

/// Running totals, from 0 to the whole: how many values, their sum, the sum of their squares.
#[derive(Default)]
struct Totals {
    count: Vec<f64>,
    sum: Vec<f64>,
    square: Vec<f64>,
}

impl Totals {
    fn push(&mut self, count: f64, sum: f64, square: f64) {
        self.count.push(count);
        self.sum.push(sum);
        self.square.push(square);
    }

    /// The totals at some places alone.
    fn at(&self, places: &[usize]) -> Self {
        let pick = |totals: &[f64]| places.iter().map(|&place| totals[place]).collect();
        Self { count: pick(&self.count), sum: pick(&self.sum), square: pick(&self.square) }
    }

    fn centre(&self, part: Range<usize>) -> f64 {
        (self.sum[part.end] - self.sum[part.start]) / (self.count[part.end] - self.count[part.start])
    }

    /// `sum (x - centre)^2`
    fn spread(&self, part: Range<usize>) -> f64 {
        let sum = self.sum[part.end] - self.sum[part.start];
        let square = self.square[part.end] - self.square[part.start];
        (square - sum * sum / (self.count[part.end] - self.count[part.start])).max(0.0)
    }
}

impl Line {
    fn of(sorted: &[f32]) -> Self {
        let mean = mean(sorted.iter().map(|&x| f64::from(x)));
        let mut line = Self { mean, values: Vec::new(), totals: Totals::default() };
        let (mut count, mut sum, mut square) = (0.0, 0.0, 0.0);
        line.totals.push(count, sum, square);
        for same in sorted.chunk_by(|a, b| a == b) {
            let (value, weight) = (f64::from(same[0]) - mean, same.len() as f64);
            count += weight;
            sum += weight * value;
            square += weight * value * value;
            line.values.push(value);
            line.totals.push(count, sum, square);
        }
        line
    }

    /// The centre of each part; a part of one distinct value has that value, not the rounded mean of its copies.
    fn levels(&self, borders: &[usize]) -> Vec<f32> {
        let level = |part: &[usize]| match self.values[part[0]..part[1]] {
            [value] => (self.mean + value) as f32,
            _ => (self.mean + self.totals.centre(part[0]..part[1])) as f32,
        };
        borders.windows(2).map(level).collect()
    }

    fn error(&self, borders: &[usize]) -> f64 {
        borders.windows(2).map(|part| self.totals.spread(part[0]..part[1])).sum()
    }

    /// Borders of cells of neighbours: a cell ends when it has its share of the values or of the width, so that neither
    /// the middle nor the tails are coarse.
    fn cells(&self, most: usize) -> Vec<usize> {
        let count = self.values.len();
        if count <= most {
            return (0..=count).collect();
        }
        let share = (2 * count).div_ceil(most);
        let width = 2.0 * (self.values[count - 1] - self.values[0]) / most as f64;
        let mut borders = vec![0];
        let mut start = 0;
        for (place, value) in self.values.iter().enumerate() {
            if place - start >= share || value - self.values[start] >= width {
                start = place;
                borders.push(start);
            }
        }
        borders.push(count);
        borders
    }

    /// The partition into `parts` of least error among those whose borders are borders of cells.
    fn best_partition(&self, parts: usize, most_cells: usize) -> Vec<usize> {
        let cells = self.cells(most_cells);
        let totals = self.totals.at(&cells);
        let count = cells.len() - 1;
        let mut error: Vec<f64> = (0..=count).map(|end| if end == 0 { 0.0 } else { totals.spread(0..end) }).collect();
        let mut starts = Vec::with_capacity(parts - 1);
        for part in 2..=parts {
            let (unknown, nowhere) = (vec![f64::INFINITY; count + 1], vec![0; count + 1]);
            let mut layer = Layer { totals: &totals, before: &error, error: unknown, start: nowhere };
            layer.fill(part..count + 1, part - 1..=count);
            starts.push(layer.start);
            error = layer.error;
        }
        let mut borders = vec![count];
        let mut last = count;
        for start in starts.iter().rev() {
            last = start[last];
            borders.push(last);
        }
        borders.push(0);
        borders.reverse();
        borders.into_iter().map(|cell| cells[cell]).collect()
    }

    /// Lloyd's iteration; gives the error of the partition that it was given and after each round.
    fn lloyd(&self, borders: &mut Vec<usize>, rounds: usize) -> Vec<f64> {
        let mut errors = vec![self.error(borders)];
        for _ in 0..rounds {
            let centres: Vec<f64> = borders.windows(2).map(|part| self.totals.centre(part[0]..part[1])).collect();
            let border = |pair: &[f64]| self.values.partition_point(|&value| value <= (pair[0] + pair[1]) / 2.0);
            let mut next = Vec::with_capacity(borders.len());
            next.push(0);
            next.extend(centres.windows(2).map(border));
            next.push(self.values.len());
            let empty = next.windows(2).any(|part| part[0] >= part[1]);
            if empty || next == *borders {
                break;
            }
            *borders = next;
            errors.push(self.error(borders));
        }
        errors
    }
}

/// One more part: for every end the least error and where the last part starts.
struct Layer<'a> {
    totals: &'a Totals,
    before: &'a [f64],
    error: Vec<f64>,
    start: Vec<usize>,
}

impl Layer<'_> {
    /// Fills `ends`, whose best starts are known to lie in `starts`: the middle end first, as its start bounds the
    /// others'.
    fn fill(&mut self, ends: Range<usize>, starts: RangeInclusive<usize>) {
        if ends.is_empty() {
            return;
        }
        let end = ends.start + ends.len() / 2;
        let (first, last) = (*starts.start(), *starts.end());
        let (mut error, mut best) = (f64::INFINITY, first);
        for start in first..=last.min(end - 1) {
            let candidate = self.before[start] + self.totals.spread(start..end);
            if candidate < error {
                (error, best) = (candidate, start);
            }
        }
        (self.error[end], self.start[end]) = (error, best);
        self.fill(ends.start..end, first..=best);
        self.fill(end + 1..ends.end, best..=last);
    }
}

/// How the registry lists it.
pub const ENTRY: Entry<dyn NumberFormat> = Entry {
    name: "k-means",
    summary: "2^b free levels that err least on the values of each group",
    source: "Lloyd, Least Squares Quantization in PCM, IEEE Trans. IT 1982; Han et al., Deep Compression, ICLR 2016",
    defaults: defaults_of::<KMeansConfig>,
    build: |table| Ok(Box::new(KMeans::new(parse(table)?)?)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codebook;
    use crate::format::testing::{fitted, mean_square, normal, quantized, table};

    fn default() -> KMeans {
        KMeans::new(KMeansConfig::default()).unwrap()
    }

    /// Least sum of squares over all partitions of sorted values into `parts` intervals, by trying every one.
    fn exhaustive(sorted: &[f64], parts: usize) -> f64 {
        let spread = |part: &[f64]| {
            let mean = part.iter().sum::<f64>() / part.len() as f64;
            part.iter().map(|x| (x - mean).powi(2)).sum::<f64>()
        };
        if parts == 1 {
            return spread(sorted);
        }
        let last_starts = parts - 1..sorted.len();
        last_starts
            .map(|start| exhaustive(&sorted[..start], parts - 1) + spread(&sorted[start..]))
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn small_groups_get_the_best_of_all_partitions() {
        for offset in [0, 14, 28, 42] {
            let values = &normal(56)[offset..offset + 14];
            let mut sorted: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
            sorted.sort_by(f64::total_cmp);
            for bits in [1, 2, 3] {
                let found = mean_square(&fitted(&default(), values, bits), values) * 14.0;
                let least = exhaustive(&sorted, 1 << bits);
                assert!((found / least - 1.0).abs() < 1e-4, "{bits} bits: {found} {least}");
            }
        }
    }

    #[test]
    fn on_a_gaussian_it_is_at_or_below_the_lloyd_max_table_and_reaches_its_theoretical_error() {
        let values = normal(36_864);
        for (bits, theory, half) in [
            (2, 0.117482, vec![0.4528f32, 1.5104]),
            (3, 0.034548, vec![0.2451, 0.7560, 1.3439, 2.1519]),
            (4, 0.009501, vec![0.1284, 0.3880, 0.6568, 0.9423, 1.2562, 1.6180, 2.0690, 2.7326]),
        ] {
            let error = mean_square(&fitted(&default(), &values, bits), &values);
            let levels = half.iter().flat_map(|&level| [-level, level]).collect();
            let lloyd_max = Codec::from(Codebook::new(vec![levels], bits, None).unwrap());
            assert!(error <= mean_square(&lloyd_max, &values), "{bits} bits");
            assert!((error / theory - 1.0).abs() < 0.04, "{bits} bits: {error}, in theory {theory}");
        }
    }

    #[test]
    fn cells_of_neighbours_cost_less_than_a_ten_thousandth() {
        let values = normal(20_000);
        let exact = KMeans::new(KMeansConfig { cells: 1 << 20, iterations: 0 }).unwrap();
        for bits in [2, 4] {
            let exact = mean_square(&fitted(&exact, &values, bits), &values);
            let found = mean_square(&fitted(&default(), &values, bits), &values);
            assert!(found <= exact * (1.0 + 1e-4), "{bits} bits: {found} {exact}");
        }
    }

    #[test]
    fn the_error_never_rises_and_the_best_partition_is_a_fixed_point() {
        let mut sorted = normal(3000);
        sorted.sort_by(f32::total_cmp);
        let line = Line::of(&sorted);
        let mut borders: Vec<usize> = (0..=16).map(|part| part * line.values.len() / 16).collect();
        let errors = line.lloyd(&mut borders, 500);
        assert!(errors.len() > 3 && errors.is_sorted_by(|a, b| a * (1.0 + 1e-12) >= *b), "{errors:?}");
        let mut best = line.best_partition(16, usize::MAX);
        let least = line.lloyd(&mut best, 500);
        assert_eq!(least.len(), 1);
        assert!(least[0] <= errors[errors.len() - 1]);
    }

    #[test]
    fn few_distinct_values_are_kept() {
        let next = |x: f32, steps: u32| f32::from_bits(x.to_bits() + steps);
        for values in [vec![3.25, -0.1, 3.25, 7e-5, -0.1], vec![next(1.0, 1), next(1.0, 2), next(1.0, 1)]] {
            let codec = fitted(&default(), &values, 2);
            assert_eq!(quantized(&codec, &values), values);
        }
        assert_eq!(table(&fitted(&default(), &[5.0; 9], 3)), [5.0]);
    }

    #[test]
    fn too_few_cells_are_refused() {
        assert!(KMeans::new(KMeansConfig { cells: 100, ..Default::default() }).is_err());
    }
}
