//! What the figures' vertical axis shows.

use super::super::measure::{AGREEMENT, DROP, Measure};
use super::super::sheet::Sheet;
use crate::plot::Scale;

/// The measure that tells good runs from bad ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quality {
    pub(super) measure: &'static Measure,
    /// In a title.
    pub(super) name: &'static str,
    /// Along the axis.
    pub(super) axis: &'static str,
    /// In a subtitle.
    pub(super) about: &'static str,
}

impl Quality {
    /// Top-1 where it was measured, else agreement with the teacher; the two never share a figure. `None` where no run
    /// is finished.
    pub(super) fn of(sheet: &Sheet) -> Option<Self> {
        let measured = |measure: &Measure| sheet.all().any(|run| (measure.of)(run).is_some());
        if measured(&DROP) {
            return Some(Self {
                measure: &DROP,
                name: "top-1",
                axis: "points lost",
                about: "points of top-1 lost against full precision, log2(1 + points): up is better",
            });
        }
        measured(&AGREEMENT).then_some(Self {
            measure: &AGREEMENT,
            name: "agreement",
            axis: "agreement (%)",
            about: "agreement with the teacher on held-out synthetic images: accuracy was not measured",
        })
    }

    /// An axis on which these values lie.
    pub(super) fn scale(&self, values: impl Iterator<Item = f64>) -> Option<Scale> {
        if self.measure.key == DROP.key { Scale::loss(values) } else { Scale::linear(values) }
    }
}
