//! What number formats would cost each layer's weights.

use std::path::Path;

use anyhow::Result;
use blindfold_quant::{ChannelBitTable, ChannelRounding, KsConfig, KsReport, QuantizedNetwork};

use crate::pipeline::Prepared;
use crate::record::write_atomic;

/// Writes weights.md and weights.csv (the distribution of each layer's weights, and formats side by side on it), and
/// channel-bits.md and channel-bits.csv (bits by channel, where the plan's weights have one width of 1 to 8 bits).
pub(crate) fn write_weights(prepared: &Prepared, weight_bits: Option<u8>, folder: &Path) -> Result<()> {
    let teacher = &prepared.prepared_teacher;
    let floats = QuantizedNetwork::with_weights(teacher.clone(), prepared.student.plan.clone())?;
    let report = KsReport::of(&floats, &blindfold_quant::Ks::new(KsConfig::default()))?;
    write_atomic(&folder.join("weights.md"), report.to_markdown().as_bytes())?;
    write_atomic(&folder.join("weights.csv"), report.to_csv().as_bytes())?;
    if let Some(bits) = weight_bits.filter(|bits| *bits <= 8) {
        let table = ChannelBitTable::of(teacher, bits, ChannelRounding::default())?;
        write_atomic(&folder.join("channel-bits.md"), table.to_markdown().as_bytes())?;
        write_atomic(&folder.join("channel-bits.csv"), table.to_csv().as_bytes())?;
    }
    Ok(())
}
