//! Drawing: what all figures of the program have in common.
//!
//! ```text
//! values -> Scale (linear, log, loss, names) -> Frame (axes of one panel) -> Canvas -> SVG -> png
//!                                    Look (colour and marker of the i-th series), legend, spread (labels apart)
//! ```

mod canvas;
mod frame;
mod legend;
mod look;
mod numbers;
mod png;
mod scale;
mod spread;

pub(crate) use canvas::{Canvas, Drawn, FAINT, INK, LABEL, LINES, SOFT, SUBTITLE, TITLE, svg, text_width, write};
pub(crate) use frame::{Frame, Titles};
pub(crate) use legend::{ROW as LEGEND_ROW, legend};
pub(crate) use look::Look;
pub(crate) use numbers::{number, short, ticks};
pub(crate) use png::png;
pub(crate) use scale::Scale;
pub(crate) use spread::spread;
