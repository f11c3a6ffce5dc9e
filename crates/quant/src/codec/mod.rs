//! The frozen outcome of fitting a number format to a tensor.

mod codebook;
mod half;

use blindfold_zoo::ops::change_values;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

pub use codebook::Codebook;
pub use half::Half;

use crate::error::QuantError;
use crate::grid::Grid;

/// How the values of one tensor become codes, and codes become values again.
///
/// Fake quantization keeps NaN, so that a fault upstream is still seen in what comes out. Codes have no NaN: integers and
/// tables of levels encode it as some code of theirs.
///
/// A plain value (serde), so that a checkpoint holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// Integers with a scale and a zero point a group.
    Uniform(Grid),
    /// A table of levels a group.
    Codebook(Codebook),
    /// 16-bit floating point.
    Half(Half),
    /// A sum of terms, each of which codes what those before it have left over.
    Sum(Vec<Codec>),
}

impl Codec {
    /// Number of bits of a code; those of all terms together.
    pub fn bits(&self) -> u8 {
        match self {
            Self::Uniform(grid) => grid.bits(),
            Self::Codebook(book) => book.bits(),
            Self::Half(_) => 16,
            Self::Sum(terms) => terms.iter().map(Self::bits).sum(),
        }
    }

    /// The grid, if the codes are integers with a scale and a zero point.
    pub fn uniform(&self) -> Option<&Grid> {
        match self {
            Self::Uniform(grid) => Some(grid),
            _ => None,
        }
    }

    /// Number of groups of values that have constants of their own.
    pub fn groups(&self) -> usize {
        match self {
            Self::Uniform(grid) => grid.groups(),
            Self::Codebook(book) => book.groups(),
            Self::Half(_) => 1,
            Self::Sum(terms) => terms.iter().map(Self::groups).max().unwrap_or(1),
        }
    }

    /// Largest number of distinct values that a group can have.
    pub fn levels(&self) -> usize {
        match self {
            Self::Uniform(grid) => grid.levels(),
            Self::Codebook(book) => book.levels(),
            Self::Half(_) => 1 << 16,
            Self::Sum(terms) => terms.iter().map(Self::levels).fold(1, usize::saturating_mul),
        }
    }

    /// The values that the codes of a group stand for, ascending; none for 16-bit floating point and for sums of more than 65,536.
    pub fn levels_of(&self, group: usize) -> Option<Vec<f32>> {
        let mut levels: Vec<f32> = match self {
            Self::Uniform(grid) => {
                let map = grid.map(group);
                (0..grid.levels()).map(|code| map.value(map.low + code as f32)).collect()
            }
            Self::Codebook(book) => book.table(group).to_vec(),
            Self::Half(_) => return None,
            Self::Sum(_) if self.levels() > 1 << 16 => return None,
            Self::Sum(terms) => {
                let mut sums = vec![0.0f32];
                for term in terms {
                    let parts = term.levels_of(group)?;
                    sums = sums.iter().flat_map(|sum| parts.iter().map(move |part| sum + part)).collect();
                }
                sums
            }
        };
        levels.sort_by(f32::total_cmp);
        Some(levels)
    }

    /// Bits in which `values` values are stored: their codes, and the constants of all groups in 32 bits each.
    pub fn storage_bits(&self, values: usize) -> usize {
        match self {
            Self::Uniform(grid) => values * usize::from(grid.bits()) + 32 * grid.constants(),
            Self::Codebook(book) => values * usize::from(book.bits()) + 32 * book.constants(),
            Self::Half(_) => 16 * values,
            Self::Sum(terms) => terms.iter().map(|term| term.storage_bits(values)).sum(),
        }
    }

    /// `x^` of values of that shape in row-major order.
    ///
    /// # Errors
    /// [`QuantError::Groups`] when the shape does not have the codec's groups.
    pub fn fake_quantize_values(&self, values: &[f32], shape: [usize; 4]) -> Result<Vec<f32>, QuantError> {
        match self {
            Self::Uniform(grid) => grid.fake_quantize_values(values, shape),
            Self::Codebook(book) => book.fake_quantize_values(values, shape),
            Self::Half(half) => Ok(values.iter().map(|&x| half.value(half.code(x))).collect()),
            Self::Sum(terms) => {
                let mut rest = values.to_vec();
                let mut sum = vec![0.0f32; values.len()];
                for term in terms {
                    let parts = term.fake_quantize_values(&rest, shape)?;
                    for ((sum, rest), part) in sum.iter_mut().zip(&mut rest).zip(parts) {
                        *sum += part;
                        *rest -= part;
                    }
                }
                Ok(sum)
            }
        }
    }

    /// The codes of values of that shape in row-major order; for a sum, term after term.
    ///
    /// # Errors
    /// As [`Self::fake_quantize_values`].
    pub fn encode(&self, values: &[f32], shape: [usize; 4]) -> Result<Vec<i32>, QuantError> {
        match self {
            Self::Uniform(grid) => grid.encode(values, shape),
            Self::Codebook(book) => book.encode(values, shape),
            Self::Half(half) => Ok(values.iter().map(|&x| i32::from(half.code(x))).collect()),
            Self::Sum(terms) => {
                let mut rest = values.to_vec();
                let mut codes = Vec::with_capacity(values.len() * terms.len());
                for term in terms {
                    codes.extend(term.encode(&rest, shape)?);
                    let parts = term.fake_quantize_values(&rest, shape)?;
                    for (rest, part) in rest.iter_mut().zip(parts) {
                        *rest -= part;
                    }
                }
                Ok(codes)
            }
        }
    }

    /// The values of codes as [`Self::encode`] gives them.
    ///
    /// # Errors
    /// [`QuantError::Groups`] as [`Self::fake_quantize_values`]; [`QuantError::Grid`] for a code that does not exist.
    pub fn decode(&self, codes: &[i32], shape: [usize; 4]) -> Result<Vec<f32>, QuantError> {
        match self {
            Self::Uniform(grid) => grid.decode_values(codes, shape),
            Self::Codebook(book) => book.decode(codes, shape),
            Self::Half(half) => codes
                .iter()
                .map(|&code| {
                    let code = u16::try_from(code).map_err(|_| QuantError::Grid(format!("code {code} of 16 bits")))?;
                    Ok(half.value(code))
                })
                .collect(),
            Self::Sum(terms) => {
                let count = shape.iter().product::<usize>();
                let mut sum = vec![0.0f32; count];
                for (term, codes) in terms.iter().zip(codes.chunks(count.max(1))) {
                    for (sum, part) in sum.iter_mut().zip(term.decode(codes, shape)?) {
                        *sum += part;
                    }
                }
                Ok(sum)
            }
        }
    }

    /// `x^` of a tensor. Without a gradient rule (see [`crate::Ste`]).
    ///
    /// # Shapes
    /// - x and output: rank 4, with the groups that the codec was fitted for
    pub fn fake_quantize(&self, x: Tensor<4>) -> Tensor<4> {
        if let Self::Uniform(grid) = self {
            return grid.fake_quantize(x);
        }
        let shape = x.dims();
        change_values(x, |values| {
            let replaced = match self {
                Self::Codebook(book) => book.replace(values, shape),
                _ => self.fake_quantize_values(values, shape).map(|quantized| values.copy_from_slice(&quantized)),
            };
            replaced.expect("a tensor has the channels that its codec was fitted for, as all shapes must agree");
        })
    }

    /// 1 where a value lies within what has codes, 0 where it is clipped.
    pub fn inside(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Uniform(grid) => grid.inside(x),
            Self::Codebook(book) => book.inside(x),
            Self::Half(_) => x.ones_like(),
            Self::Sum(terms) => match terms.first() {
                Some(term) => term.inside(x),
                None => x.ones_like(),
            },
        }
    }
}

impl From<Grid> for Codec {
    fn from(grid: Grid) -> Self {
        Self::Uniform(grid)
    }
}

impl From<Codebook> for Codec {
    fn from(book: Codebook) -> Self {
        Self::Codebook(book)
    }
}
