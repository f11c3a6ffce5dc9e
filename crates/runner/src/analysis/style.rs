//! What the analysis' figures have in common, beside what all figures have.

use plotters::prelude::RGBColor;

pub(crate) use crate::plot::{Canvas, Drawn, INK, LINES, SOFT, number, svg, ticks, write};

/// Blue, vermilion and green of Okabe and Ito, Color Universal Design, 2008.
pub(crate) const WEIGHTS: RGBColor = RGBColor(0, 114, 178);
pub(crate) const ACTIVATIONS: RGBColor = RGBColor(213, 94, 0);
pub(crate) const BOTH: RGBColor = RGBColor(0, 158, 115);
