//! Codes that are places in a table of levels.

use std::borrow::Cow;

use blindfold_zoo::vectorized;
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::change_groups::change_groups;
use crate::error::QuantError;
use crate::samples::host_values;

/// A table of levels for each group of values; a value takes the nearest level, the lower of two that are equally near,
/// unless [`Self::with_thresholds`] says where one level ends and the next begins.
///
/// Infinities take the outermost levels. NaN stays NaN where values are fake quantized; among the codes there is none for
/// it, and it is encoded as the lowest level.
///
/// A plain value (serde), so that a checkpoint holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Codebook {
    bits: u8,
    axis: Option<usize>,
    constants: usize,
    levels: Vec<Vec<f32>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    thresholds: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    bits: u8,
    axis: Option<usize>,
    constants: usize,
    levels: Vec<Vec<f32>>,
    #[serde(default)]
    thresholds: Vec<Vec<f32>>,
}

impl TryFrom<Fields> for Codebook {
    type Error = QuantError;

    fn try_from(fields: Fields) -> Result<Self, QuantError> {
        let Fields { bits, axis, constants, levels, thresholds } = fields;
        let book = Self::new(levels, bits, axis)?;
        let book = if thresholds.is_empty() { book } else { book.with_thresholds(thresholds)? };
        Ok(book.with_constants(constants))
    }
}

impl Codebook {
    /// A table for each index along `axis`, or one for the whole tensor. Levels are sorted, and equal ones become one.
    ///
    /// # Errors
    /// [`QuantError::Grid`] for a table that is empty, has more than `2^bits` levels or one that is not finite, for bits
    /// outside 1 to 8, and when without an axis there is not one table.
    pub fn new(levels: Vec<Vec<f32>>, bits: u8, axis: Option<usize>) -> Result<Self, QuantError> {
        let broken = |reason: String| Err(QuantError::Grid(reason));
        if !(1..=8).contains(&bits) {
            return broken(format!("a table of levels with {bits} bits"));
        }
        if levels.is_empty() || axis.is_none() && levels.len() != 1 || axis.is_some_and(|axis| axis > 3) {
            return broken(format!("{} tables of levels along axis {axis:?}", levels.len()));
        }
        let mut levels = levels;
        for table in &mut levels {
            if table.iter().any(|level| !level.is_finite()) {
                return broken("a level that is not finite".to_owned());
            }
            table.iter_mut().for_each(|level| *level += 0.0);
            table.sort_by(f32::total_cmp);
            table.dedup();
            if table.is_empty() || table.len() > 1 << bits {
                return broken(format!("{} levels in {bits} bits", table.len()));
            }
        }
        let constants = levels.iter().map(Vec::len).sum();
        Ok(Self { bits, axis, constants, levels, thresholds: Vec::new() })
    }

    /// The same with thresholds of its own, ascending, for each group one fewer than levels: a value takes the level
    /// after all thresholds that lie below it. The number of constants stays what it was.
    ///
    /// # Errors
    /// [`QuantError::Grid`] for another number of them, and for thresholds that do not ascend or are not finite.
    pub fn with_thresholds(self, thresholds: Vec<Vec<f32>>) -> Result<Self, QuantError> {
        let fits = |(table, levels): (&Vec<f32>, &Vec<f32>)| table.len() + 1 == levels.len();
        if thresholds.len() != self.levels.len() || !thresholds.iter().zip(&self.levels).all(fits) {
            return Err(QuantError::Grid("its thresholds are not one fewer than its levels".to_owned()));
        }
        if !thresholds.iter().all(|table| table.is_sorted() && table.iter().all(|threshold| threshold.is_finite())) {
            return Err(QuantError::Grid("thresholds that do not ascend, or are not finite".to_owned()));
        }
        Ok(Self { thresholds, ..self })
    }

    /// The same levels with the thresholds midway between them.
    pub fn without_thresholds(self) -> Self {
        Self { thresholds: Vec::new(), ..self }
    }

    /// The same with the number of 32-bit constants that describe it, where it is not one for each level (a fixed table
    /// with a scale a group has one a group).
    pub fn with_constants(self, constants: usize) -> Self {
        Self { constants, ..self }
    }

    /// Number of bits of a code.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The dimension that tells the groups apart; none where the whole tensor is one group.
    pub fn axis(&self) -> Option<usize> {
        self.axis
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.levels.len()
    }

    /// Number of levels of the largest table.
    pub fn levels(&self) -> usize {
        self.levels.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Number of 32-bit constants that describe all tables.
    pub fn constants(&self) -> usize {
        self.constants
    }

    /// The levels of one group, ascending.
    pub fn table(&self, group: usize) -> &[f32] {
        &self.levels[group]
    }

    /// The thresholds of one group where it has its own; none where they lie midway between the levels.
    pub fn thresholds(&self, group: usize) -> Option<&[f32]> {
        self.thresholds.get(group).map(Vec::as_slice)
    }

    pub(super) fn fake_quantize_values(&self, values: &[f32], shape: [usize; 4]) -> Result<Vec<f32>, QuantError> {
        let mut output = values.to_vec();
        self.replace(&mut output, shape)?;
        Ok(output)
    }

    /// Puts the level in the place of each value, as [`Self::fake_quantize_values`].
    pub(super) fn replace(&self, values: &mut [f32], shape: [usize; 4]) -> Result<(), QuantError> {
        let bounds = self.bounds();
        change_groups(values, shape, self.axis, self.groups(), |group, values| {
            snap(&self.levels[group], &bounds[group], values);
        })
    }

    /// The thresholds of all groups.
    fn bounds(&self) -> Cow<'_, [Vec<f32>]> {
        match self.thresholds.is_empty() {
            true => self.levels.iter().map(|table| thresholds(table)).collect(),
            false => Cow::Borrowed(&self.thresholds),
        }
    }

    pub(super) fn encode(&self, values: &[f32], shape: [usize; 4]) -> Result<Vec<i32>, QuantError> {
        self.map(values, shape, |_, bounds, x| nearest(bounds, x) as i32)
    }

    pub(super) fn decode(&self, codes: &[i32], shape: [usize; 4]) -> Result<Vec<f32>, QuantError> {
        let value =
            |table: &[f32], _: &[f32], code: i32| usize::try_from(code).ok().and_then(|code| table.get(code)).copied();
        let values: Vec<Option<f32>> = self.map(codes, shape, value)?;
        let missing = |index: usize| QuantError::Grid(format!("code {} has no level", codes[index]));
        values.into_iter().enumerate().map(|(index, value)| value.ok_or_else(|| missing(index))).collect()
    }

    pub(super) fn inside(&self, x: Tensor<4>) -> Tensor<4> {
        let (shape, device) = (x.dims(), x.device());
        let values = self
            .map(&host_values(x), shape, |table, _, x| {
                f32::from(u8::from(x >= table[0] && x <= table[table.len() - 1]))
            })
            .expect("a tensor has the channels that its codec was fitted for, as all shapes must agree");
        Tensor::from_data(TensorData::new(values, shape), &device)
    }

    /// Applies `each(levels, thresholds, value)` with the tables of the value's group.
    fn map<A: Copy + Sync, B: Send>(
        &self,
        values: &[A],
        shape: [usize; 4],
        each: impl Fn(&[f32], &[f32], A) -> B + Sync,
    ) -> Result<Vec<B>, QuantError> {
        let (groups, run) = match self.axis {
            None => (1, values.len()),
            Some(axis) => (shape[axis], shape[axis + 1..].iter().product()),
        };
        if groups != self.groups() {
            return Err(QuantError::Groups { expected: self.groups(), found: groups });
        }
        if run == 0 {
            return Ok(Vec::new());
        }
        let bounds = self.bounds();
        Ok(values
            .par_iter()
            .with_min_len(1 << 12)
            .enumerate()
            .map(|(index, &value)| {
                let group = index / run % groups;
                each(&self.levels[group], &bounds[group], value)
            })
            .collect())
    }
}

/// The midpoints between neighbouring levels, below the upper of the two also where `f32` has nothing between them.
fn thresholds(levels: &[f32]) -> Vec<f32> {
    let between = |pair: &[f32]| {
        let middle = ((f64::from(pair[0]) + f64::from(pair[1])) / 2.0) as f32;
        if middle < pair[1] { middle } else { pair[0] }
    };
    levels.windows(2).map(between).collect()
}

/// The place of the level whose cell holds `x`.
fn nearest(thresholds: &[f32], x: f32) -> usize {
    thresholds.partition_point(|&threshold| threshold < x)
}

/// Tables up to this many levels are gone through for sixteen values together; in longer ones each value is searched.
const SHORT: usize = 64;
/// Values that are compared together.
const LANES: usize = 16;

/// Puts its level in the place of each value; NaN stays.
fn snap(levels: &[f32], thresholds: &[f32], values: &mut [f32]) {
    let search = |value: &mut f32| {
        if !value.is_nan() {
            *value = levels[nearest(thresholds, *value)];
        }
    };
    if levels.len() > SHORT {
        return values.iter_mut().for_each(search);
    }
    let (rows, rest) = values.as_chunks_mut::<LANES>();
    vectorized(
        #[inline(always)]
        || {
            for row in rows {
                let x = *row;
                let mut y = [levels[0]; LANES];
                for (&threshold, &level) in thresholds.iter().zip(&levels[1..]) {
                    for lane in 0..LANES {
                        y[lane] = if threshold < x[lane] { level } else { y[lane] };
                    }
                }
                for lane in 0..LANES {
                    row[lane] = if x[lane].is_nan() { x[lane] } else { y[lane] };
                }
            }
        },
    );
    rest.iter_mut().for_each(search);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_nearest_level_of_their_group() {
        let book = Codebook::new(vec![vec![1.0, -1.0, 0.0], vec![10.0, 20.0]], 2, Some(0)).unwrap();
        let values = [-3.0, -0.5, 0.4, 0.6, 9.0, 15.0, 15.1, 99.0];
        let shape = [2, 4, 1, 1];
        let quantized = book.fake_quantize_values(&values, shape).unwrap();
        assert_eq!(quantized, [-1.0, -1.0, 0.0, 1.0, 10.0, 10.0, 20.0, 20.0]);
        let codes = book.encode(&values, shape).unwrap();
        assert_eq!(codes, [0, 0, 1, 2, 0, 0, 1, 1]);
        assert_eq!(book.decode(&codes, shape).unwrap(), quantized);
        assert!(matches!(book.decode(&[0, 0, 0, 0, 2, 0, 0, 0], shape), Err(QuantError::Grid(_))));
        assert!(matches!(book.encode(&values, [4, 2, 1, 1]), Err(QuantError::Groups { expected: 2, found: 4 })));
    }

    #[test]
    fn short_tables_give_what_a_search_gives() {
        for count in [1, 2, 16, SHORT, SHORT + 1, 200] {
            let levels: Vec<f32> = (0..count).map(|index| (index * index) as f32 * 0.01 - 1.0).collect();
            let mut values: Vec<f32> = (0..501).map(|index| index as f32 * 0.02 - 2.0).collect();
            let bounds = thresholds(&levels);
            values.extend(bounds.iter().chain(&[f32::INFINITY, f32::NEG_INFINITY, -0.0]));
            let expected: Vec<f32> = values.iter().map(|&x| levels[nearest(&bounds, x)]).collect();
            snap(&levels, &bounds, &mut values);
            assert_eq!(values, expected);
        }
    }

    #[test]
    fn nan_stays_nan_and_infinities_take_the_outermost_levels() {
        let book = Codebook::new(vec![vec![-1.0, 0.0, 2.0]], 2, None).unwrap();
        let own = book.clone().with_thresholds(vec![vec![-0.1, 0.1]]).unwrap();
        for book in [book, own] {
            let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN];
            let quantized = book.fake_quantize_values(&values, [1, 4, 1, 1]).unwrap();
            assert!(quantized[0].is_nan() && quantized[3].is_nan(), "{quantized:?}");
            assert_eq!(quantized[1..3], [2.0, -1.0]);
        }
    }

    #[test]
    fn thresholds_of_its_own_decide_and_are_stored() {
        let book = Codebook::new(vec![vec![-1.0, 0.0, 1.0], vec![0.0, 4.0, 5.0]], 2, Some(0)).unwrap();
        let own = book.clone().with_thresholds(vec![vec![0.1, 0.2], vec![-3.0, 9.0]]).unwrap();
        let (values, shape) = ([0.05, 0.1, 0.15, 0.3, -4.0, 0.0, 9.0, 10.0], [2, 4, 1, 1]);
        assert_eq!(own.fake_quantize_values(&values, shape).unwrap(), [-1.0, -1.0, 0.0, 1.0, 0.0, 4.0, 4.0, 5.0]);
        assert_eq!((own.thresholds(1), book.thresholds(1)), (Some([-3.0, 9.0].as_slice()), None));
        assert_eq!((book.constants(), own.constants()), (6, 6));
        let text = serde_json::to_string(&own).unwrap();
        assert_eq!(serde_json::from_str::<Codebook>(&text).unwrap(), own);
        assert!(!serde_json::to_string(&book).unwrap().contains("thresholds"));
        assert_eq!(own.without_thresholds(), book);
        for wrong in [vec![vec![0.1, 0.2]], vec![vec![0.1], vec![0.1, 0.2]], vec![vec![0.2, 0.1], vec![0.1, 0.2]]] {
            assert!(matches!(book.clone().with_thresholds(wrong), Err(QuantError::Grid(_))));
        }
    }

    #[test]
    fn broken_tables_are_errors() {
        for (levels, bits, axis) in [
            (vec![], 2, Some(0)),
            (vec![vec![]], 2, None),
            (vec![vec![0.0, 1.0, 2.0]], 1, None),
            (vec![vec![f32::NAN]], 2, None),
            (vec![vec![0.0], vec![1.0]], 2, None),
            (vec![vec![0.0]], 9, None),
        ] {
            assert!(matches!(Codebook::new(levels, bits, axis), Err(QuantError::Grid(_))));
        }
    }
}
