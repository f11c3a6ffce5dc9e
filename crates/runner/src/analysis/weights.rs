//! What number formats would cost each layer's weights.

use std::path::Path;

use anyhow::Result;
use blindfold_quant::{
    ChannelBitTable, ChannelRounding, Ks, KsConfig, KsReport, PluginChoice, QuantConfig, QuantizedNetwork,
};
use blindfold_zoo::parse;

use crate::pipeline::Prepared;
use crate::record::write_atomic;

/// Writes weights.md and weights.csv (the distribution of each layer's weights, and formats side by side on it), and
/// channel-bits.md and channel-bits.csv (bits by channel, where the plan's weights have one width of 1 to 8 bits).
pub(crate) fn write_weights(prepared: &Prepared, quant: &QuantConfig, folder: &Path) -> Result<()> {
    let teacher = &prepared.prepared_teacher;
    let floats = QuantizedNetwork::with_weights(teacher.clone(), prepared.student.plan.clone())?;
    let report = KsReport::of(&floats, &ks_of(quant.weight.format.as_ref())?)?;
    write_atomic(&folder.join("weights.md"), report.to_markdown().as_bytes())?;
    write_atomic(&folder.join("weights.csv"), report.to_csv().as_bytes())?;
    if let Some(bits) = quant.weight_bits.bits().filter(|bits| *bits <= 8) {
        let table = ChannelBitTable::of(teacher, bits, ChannelRounding::default())?;
        write_atomic(&folder.join("channel-bits.md"), table.to_markdown().as_bytes())?;
        write_atomic(&folder.join("channel-bits.csv"), table.to_csv().as_bytes())?;
    }
    Ok(())
}

/// The distribution-aware scheme as a tensor's number format has it; with its defaults where the format is another.
pub(super) fn ks_of(format: Option<&PluginChoice>) -> Result<Ks> {
    let own = format.filter(|format| format.kind == "ks");
    let config = own.map(|format| parse::<KsConfig>(format.options.clone())).transpose()?;
    Ok(Ks::new(config.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_has_the_options_of_the_format_where_that_is_it() {
        let of = |format: Option<PluginChoice>| format!("{:?}", ks_of(format.as_ref()).unwrap());
        let default = format!("{:?}", Ks::new(KsConfig::default()));
        assert_eq!([of(None), of(Some(PluginChoice::named("k-means")))], [default.clone(), default]);
        let refined = format!("{:?}", Ks::new(KsConfig { refine: 50, ..KsConfig::default() }));
        assert_eq!(of(Some(PluginChoice::named("ks").with("refine", 50))), refined);
        assert!(ks_of(Some(&PluginChoice::named("ks").with("refin", 50))).is_err());
    }
}
