//! A format of three levels, which are not uniform.

use std::ops::RangeInclusive;

use blindfold_zoo::Entry;

use crate::codec::{Codebook, Codec};
use crate::error::QuantError;
use crate::format::NumberFormat;
use crate::samples::Samples;

#[derive(Debug)]
struct Ternary;

impl NumberFormat for Ternary {
    fn widths(&self) -> RangeInclusive<u8> {
        2..=2
    }

    fn fit(&self, samples: &Samples, bits: u8, axis: Option<usize>) -> Result<Codec, QuantError> {
        let mean = |values: &[f32]| values.iter().map(|value| value.abs()).sum::<f32>() / values.len() as f32;
        let levels = samples.iter().map(|values| vec![-1.4 * mean(values), 0.0, 1.4 * mean(values)]).collect();
        Ok(Codebook::new(levels, bits, axis)?.into())
    }
}

pub(super) const TERNARY: Entry<dyn NumberFormat> = Entry {
    name: "test-ternary",
    summary: "",
    source: "",
    defaults: toml::Table::new,
    build: |_| Ok(Box::new(Ternary)),
};
