//! The scheme on every tensor of one kind.

use super::row::KsRow;
use crate::analysis::Comparison;
use crate::audit::Role;
use crate::error::QuantError;
use crate::format::{Ks, NumberFormat};
use crate::network::QuantizedNetwork;
use crate::samples::Samples;

/// The distribution-aware scheme on every quantized weight of a network, or at every activation site.
///
/// # Source
/// The comparison that Luqman, Qazi and Khan, arXiv 2412.07391, 2024, ask for: is the error of the scheme the smallest?
///
/// # Differences from the source
/// Its abstract speaks of weights alone. That of activations is ours, by the same scheme: it is fitted to all values that
/// reach a site, as the format `ks` itself is, the zeros that a ReLU leaves among them.
#[derive(Debug, Clone, PartialEq)]
pub struct KsReport {
    /// Weights, or activations.
    pub role: Role,
    /// The scheme's own table, as TOML on one line.
    pub options: String,
    /// One row a tensor, in the network's order.
    pub rows: Vec<KsRow>,
    /// Tensors of 1 and 16 bits, which the scheme does not have, and sites whose range is found while the network runs.
    pub left_out: Vec<String>,
}

/// About so many values of an activation site are looked at, a uniform sample of all.
const SITE_VALUES: usize = 1 << 17;

const COLUMNS: [&str; 5] = ["KS", "min-max", "MSE-optimal", "ACIQ", "k-means"];

impl KsReport {
    /// Fits `ks` and what it is compared with to the weights in floating point.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] with the layer's name for weights that diverged.
    pub fn of(quantized: &QuantizedNetwork, ks: &Ks) -> Result<Self, QuantError> {
        let mut report = Self { role: Role::Weight, options: ks.options(), rows: Vec::new(), left_out: Vec::new() };
        for weight in quantized.weight_tensors()? {
            if !ks.widths().contains(&weight.bits) {
                report.left_out.push(weight.name);
                continue;
            }
            let groups = weight.axis.map_or(1, |axis| weight.view[axis]);
            let row = Samples::new(weight.values, groups)
                .and_then(|samples| KsRow::of(&weight.target, weight.bits, &samples, ks));
            report.rows.push(row.map_err(|error| error.at(&weight.name))?);
        }
        Ok(report)
    }

    /// Fits `ks` and what it is compared with to what reaches each quantized activation site in the student, everything
    /// before it quantized, on the comparison's images. Beyond about 131,072 values a site a uniform sample stands for all.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] with the site's name for values that are NaN or infinite; those of dynamic ranges.
    pub fn of_activations(comparison: &Comparison<'_>, ks: &Ks) -> Result<Self, QuantError> {
        let mut report = Self { role: Role::Activation, options: ks.options(), rows: Vec::new(), left_out: Vec::new() };
        let values = comparison.site_values(SITE_VALUES)?;
        for target in comparison.student.plan.activations().filter(|target| target.is_quantized()) {
            let bits = target.precision.bits().filter(|bits| ks.widths().contains(bits));
            let (Some(bits), Some(samples)) = (bits, values.get(&target.name)) else {
                report.left_out.push(target.name.clone());
                continue;
            };
            report.rows.push(KsRow::of(target, bits, samples, ks).map_err(|error| error.at(&target.name))?);
        }
        Ok(report)
    }

    /// The table in Markdown: errors in units of 1e-6, the smallest but that of k-means in bold; a verdict below.
    pub fn to_markdown(&self) -> String {
        let (place, values) = match self.role {
            Role::Weight => ("layer", "weights"),
            Role::Activation => ("site", "activations"),
        };
        let mut text =
            format!("| {place} | bits | family | D Gaussian | D Laplace | Gaussian groups | clip | levels |");
        for column in COLUMNS {
            text += &format!(" {column} |");
        }
        text += "\n|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
        for row in &self.rows {
            text += &row.to_markdown();
        }
        let wins = |rivals: std::ops::Range<usize>| {
            let smallest = |row: &&KsRow| row.errors.all()[rivals.clone()].iter().all(|error| row.errors.ks <= *error);
            self.rows.iter().filter(smallest).count()
        };
        text += &format!(
            "\nThe error of KS is at or below that of every uniform grid in {} of {} {place}s, and at or below that of k-means in {}.\n\n\
             Columns from KS on: mean squared error of the {values} in units of 1e-6, at the {place}'s bits and granularity. \
             Family, D, clip and levels: of all {values} of the {place} together; groups decide for themselves. Bold: the smallest but that \
             of k-means, which has more constants. KS: {}.\n",
            wins(1..4),
            self.rows.len(),
            wins(4..5),
            self.options
        );
        if self.role == Role::Activation {
            text += "\nActivations: what reaches the site in the student, everything before it quantized and itself not yet; \
                     the zeros that a ReLU leaves count as any other value.\n";
        }
        if !self.left_out.is_empty() {
            let why = match self.role {
                Role::Weight => "as the scheme has 2 to 8 bits",
                Role::Activation => "as the scheme has 2 to 8 bits and levels that are there before the network runs",
            };
            text += &format!("\nLeft out, {why}: {}.\n", self.left_out.join(", "));
        }
        text
    }

    /// The table as CSV, with full precision: levels in one cell with spaces between them, cells without a value empty.
    pub fn to_csv(&self) -> String {
        let mut text = String::from(
            "layer,bits,granularity,groups,gaussian_groups,family,d_gaussian,d_laplace,clip,mse_ks,mse_min_max,\
             mse_mse_optimal,mse_aciq,mse_k_means,levels\n",
        );
        for row in &self.rows {
            text += &row.to_csv();
        }
        text
    }
}
