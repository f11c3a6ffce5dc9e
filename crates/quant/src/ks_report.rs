//! What the distribution-aware scheme finds in the weights of a network, beside what it competes with.

use crate::codec::Codec;
use crate::distribution::{DensityFamily, KolmogorovSmirnov};
use crate::error::QuantError;
use crate::format::{KMeans, KMeansConfig, Ks, NumberFormat};
use crate::granularity::Granularity;
use crate::network::{LayerWeight, QuantizedNetwork};
use crate::range::{Aciq, AciqConfig, AciqFamily, MinMax, MinMaxConfig, Mse, MseConfig, RangeEstimator};
use crate::samples::Samples;

/// One quantized weight.
#[derive(Debug, Clone, PartialEq)]
pub struct KsRow {
    /// The layer's name.
    pub layer: String,
    /// Bits of a code.
    pub bits: u8,
    /// Which values share a codebook or a range.
    pub granularity: Granularity,
    /// Number of groups.
    pub groups: usize,
    /// Groups that the Gaussian is closer to; the others are Laplace or constant.
    pub gaussian_groups: usize,
    /// Distances of all weights of the layer together to the Gaussian and the Laplace density; none where all are equal.
    pub test: Option<KolmogorovSmirnov>,
    /// The clipping threshold of all weights together: distance from their location, in units of the weights; infinite
    /// without one.
    pub clip: f64,
    /// The codebook of all weights together, ascending, in units of the weights.
    pub levels: Vec<f32>,
    /// What each way of quantizing the layer costs, at its bits and granularity.
    pub errors: KsErrors,
}

/// Mean squared errors of the weights of one layer, in weights squared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KsErrors {
    /// The scheme itself.
    pub ks: f64,
    /// The layer's quantizer over the range from the least to the largest weight.
    pub min_max: f64,
    /// The layer's quantizer over the range of the smallest mean squared error.
    pub mse_optimal: f64,
    /// The layer's quantizer over the range of ACIQ: whichever is best of Gaussian, Laplace and min-max.
    pub aciq: f64,
    /// The best free levels.
    pub k_means: f64,
}

impl KsErrors {
    fn all(&self) -> [f64; 5] {
        [self.ks, self.min_max, self.mse_optimal, self.aciq, self.k_means]
    }
}

/// The distribution-aware scheme on every quantized weight of a network.
///
/// # Source
/// The comparison that Luqman, Qazi and Khan, arXiv 2412.07391, 2024, ask for: is the error of the scheme the smallest?
#[derive(Debug, Clone, PartialEq)]
pub struct KsReport {
    /// One row a weight, in the network's order.
    pub rows: Vec<KsRow>,
    /// Weights of 1 and 16 bits, which the scheme does not have.
    pub left_out: Vec<String>,
}

const COLUMNS: [&str; 5] = ["KS", "min-max", "MSE-optimal", "ACIQ", "k-means"];

impl KsReport {
    /// Fits `ks` and what it is compared with to the weights in floating point.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] with the layer's name for weights that diverged.
    pub fn of(quantized: &QuantizedNetwork, ks: &Ks) -> Result<Self, QuantError> {
        let mut report = Self { rows: Vec::new(), left_out: Vec::new() };
        for weight in quantized.weight_tensors()? {
            if ks.widths().contains(&weight.bits) {
                report.rows.push(row(&weight, ks).map_err(|error| error.at(&weight.name))?);
            } else {
                report.left_out.push(weight.name);
            }
        }
        Ok(report)
    }

    /// The table in Markdown: errors in units of 1e-6, the smallest but that of k-means in bold; a verdict below.
    pub fn to_markdown(&self) -> String {
        let mut text =
            String::from("| layer | bits | family | D Gaussian | D Laplace | Gaussian groups | clip | levels |");
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
            "\nThe error of KS is at or below that of every uniform grid in {} of {} layers, and at or below that of k-means in {}.\n\n\
             Columns from KS on: mean squared error of the weights in units of 1e-6, at the layer's bits and granularity. \
             Family, D, clip and levels: of all weights of the layer together; groups decide for themselves.\n",
            wins(1..4),
            self.rows.len(),
            wins(4..5)
        );
        if !self.left_out.is_empty() {
            text += &format!("\nLeft out, as the scheme has 2 to 8 bits: {}.\n", self.left_out.join(", "));
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

impl KsRow {
    /// The family that is closer to all weights of the layer together.
    pub fn family(&self) -> Option<DensityFamily> {
        self.test.as_ref().map(KolmogorovSmirnov::family)
    }

    fn to_markdown(&self) -> String {
        let Self { layer, bits, groups, gaussian_groups, test, clip, levels, errors, .. } = self;
        let family = self.family().map_or("-", DensityFamily::name);
        let distance = |of: fn(&KolmogorovSmirnov) -> f64| match test {
            Some(test) => format!("{:.4}", of(test)),
            None => "-".to_owned(),
        };
        let (gaussian, laplace) = (distance(|test| test.gaussian), distance(|test| test.laplace));
        let clip = if clip.is_finite() { format!("{clip:.4}") } else { "-".to_owned() };
        let count = levels.len();
        let mut text = format!(
            "| {layer} | {bits} | {family} | {gaussian} | {laplace} | {gaussian_groups}/{groups} | {clip} | {count} |"
        );
        let all = errors.all();
        let least = all[..4].iter().copied().fold(f64::INFINITY, f64::min);
        for (place, error) in all.into_iter().enumerate() {
            let shown = 1e6 * error;
            text += &if place < 4 && error == least { format!(" **{shown:.4}** |") } else { format!(" {shown:.4} |") };
        }
        text + "\n"
    }

    fn to_csv(&self) -> String {
        let Self { layer, bits, granularity, groups, gaussian_groups, test, clip, levels, errors } = self;
        let family = self.family().map_or("", DensityFamily::name);
        let distance = |of: fn(&KolmogorovSmirnov) -> f64| match test {
            Some(test) => of(test).to_string(),
            None => String::new(),
        };
        let (gaussian, laplace) = (distance(|test| test.gaussian), distance(|test| test.laplace));
        let clip = if clip.is_finite() { clip.to_string() } else { String::new() };
        let mut text =
            format!("{layer},{bits},{granularity},{groups},{gaussian_groups},{family},{gaussian},{laplace},{clip}");
        for error in errors.all() {
            text += &format!(",{error:e}");
        }
        let levels: Vec<String> = levels.iter().map(ToString::to_string).collect();
        text + "," + &levels.join(" ") + "\n"
    }
}

fn row(weight: &LayerWeight, ks: &Ks) -> Result<KsRow, QuantError> {
    let LayerWeight { name, target, bits, view, axis, values, .. } = weight;
    let (bits, quantizer) = (*bits, &target.quantizer);
    let groups = axis.map_or(1, |axis| view[axis]);
    let samples = Samples::new(values.clone(), groups)?;
    let error = |codec: Codec| -> Result<f64, QuantError> {
        let quantized = codec.fake_quantize_values(values, *view)?;
        let squares = values.iter().zip(&quantized).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2));
        Ok(squares.sum::<f64>() / values.len() as f64)
    };
    let uniform = |estimator: &dyn RangeEstimator| -> Result<f64, QuantError> {
        let mut observer = estimator.observer(quantizer.clone(), bits);
        observer.observe(&samples)?;
        error(quantizer.grid(&observer.ranges()?, bits, *axis)?.into())
    };
    let errors = KsErrors {
        ks: error(ks.fit(&samples, bits, *axis)?)?,
        min_max: uniform(&MinMax::new(MinMaxConfig::default()))?,
        mse_optimal: uniform(&Mse::new(MseConfig { p: 2.0, ..MseConfig::default() })?)?,
        aciq: uniform(&Aciq::new(AciqConfig { family: AciqFamily::Mixed, ..AciqConfig::default() })?)?,
        k_means: error(KMeans::new(KMeansConfig::default())?.fit(&samples, bits, *axis)?)?,
    };
    let whole = ks.codebook(values, None, bits);
    let is_gaussian =
        |group: &&[f32]| KolmogorovSmirnov::of(group).is_some_and(|test| test.family() == DensityFamily::Gaussian);
    Ok(KsRow {
        layer: name.clone(),
        bits,
        granularity: target.granularity,
        groups,
        gaussian_groups: samples.iter().filter(is_gaussian).count(),
        test: whole.test,
        clip: whole.clip,
        levels: whole.levels,
        errors,
    })
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::Network;
    use burn::tensor::{Tensor, TensorData};

    use super::*;
    use crate::distribution::draw;
    use crate::families::Families;
    use crate::format::KsConfig;
    use crate::plan::{Plan, QuantConfig};
    use crate::precision::Precision;
    use crate::testing::small;

    /// [`small`] whose convolutions have Laplace weights and whose classifier has Gaussian ones.
    fn network() -> Network {
        small(1).map_layers(|name, layer| {
            let Some(weight) = layer.weight() else { return layer };
            let (shape, device) = (weight.dims(), weight.device());
            let family = if name == "linear" { DensityFamily::Gaussian } else { DensityFamily::Laplace };
            let values = draw(family, shape.iter().product(), 7 + name.len() as u64);
            layer.with_weight(Tensor::from_data(TensorData::new(values, shape), &device))
        })
    }

    fn report(bits: u8, granularity: Granularity) -> (QuantizedNetwork, KsReport) {
        let mut config = QuantConfig { weight_bits: Precision::Int(bits), ..QuantConfig::default() };
        config.weight.granularity = Some(granularity);
        let network = network();
        let plan = Plan::new(&config, &network, &Families::builtin()).unwrap();
        let quantized = QuantizedNetwork::with_weights(network, plan).unwrap();
        let report = KsReport::of(&quantized, &Ks::new(KsConfig::default())).unwrap();
        (quantized, report)
    }

    #[test]
    fn a_row_holds_what_was_computed_apart() {
        for granularity in [Granularity::PerTensor, Granularity::PerChannel, Granularity::PerGroup(72)] {
            let (quantized, report) = report(3, granularity);
            let weights = quantized.weight_tensors().unwrap();
            assert_eq!(weights.len(), report.rows.len());
            for (weight, row) in weights.iter().zip(&report.rows) {
                assert_eq!((&weight.name, 3, granularity), (&row.layer, row.bits, row.granularity));
                assert_eq!(row.groups, weight.codec.groups());
                assert_eq!(row.test, KolmogorovSmirnov::of(&weight.values));
                assert_eq!(row.levels.len(), 8);
                // The plan's own codec is min-max: the protocol `gdfq`.
                let quantized = weight.quantized().unwrap();
                let squares = weight.values.iter().zip(&quantized).map(|(x, y)| f64::from(x - y).powi(2));
                let error = squares.sum::<f64>() / quantized.len() as f64;
                assert!(
                    (row.errors.min_max / error - 1.0).abs() < 1e-4,
                    "{}: {} {error}",
                    row.layer,
                    row.errors.min_max
                );
            }
        }
    }

    #[test]
    fn errors_are_in_the_order_that_they_must_be_in() {
        for bits in [2, 4] {
            for granularity in [Granularity::PerTensor, Granularity::PerChannel] {
                for row in report(bits, granularity).1.rows {
                    let KsErrors { ks, min_max, mse_optimal, aciq, k_means } = row.errors;
                    assert!(mse_optimal <= min_max * (1.0 + 1e-5), "{}: {:?}", row.layer, row.errors);
                    assert!(aciq <= min_max * (1.0 + 1e-5), "{}: {:?}", row.layer, row.errors);
                    assert!(k_means <= ks * (1.0 + 1e-3), "{}: {:?}", row.layer, row.errors);
                    assert!(k_means <= mse_optimal * (1.0 + 1e-3), "{}: {:?}", row.layer, row.errors);
                }
            }
        }
    }

    #[test]
    fn large_layers_show_the_family_that_they_were_drawn_from() {
        let (_, report) = report(4, Granularity::PerTensor);
        for row in report.rows.iter().filter(|row| row.layer.starts_with("layer2")) {
            assert_eq!(row.family(), Some(DensityFamily::Laplace), "{}", row.layer);
            assert!(row.errors.ks < row.errors.min_max, "{}", row.layer);
        }
    }

    #[test]
    fn the_tables_have_a_line_a_layer() {
        let (_, report) = report(4, Granularity::PerChannel);
        let csv = report.to_csv();
        let cells: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(cells, vec![15; report.rows.len() + 1]);
        assert!(csv.lines().nth(1).unwrap().starts_with("conv1,4,per-channel,8,"), "{csv}");
        let markdown = report.to_markdown();
        let lines = markdown.lines().filter(|line| line.starts_with('|'));
        assert!(lines.clone().all(|line| line.matches('|').count() == 14), "{markdown}");
        assert_eq!(lines.count(), report.rows.len() + 2);
    }

    #[test]
    fn constant_layers_and_other_widths_are_shown_as_such() {
        let ones = network().map_layers(|_, layer| match layer.weight() {
            Some(weight) => layer.with_weight(weight.ones_like()),
            None => layer,
        });
        let config = QuantConfig { weight_bits: Precision::Int(4), ..QuantConfig::default() };
        let plan = Plan::new(&config, &ones, &Families::builtin()).unwrap();
        let quantized = QuantizedNetwork::with_weights(ones, plan).unwrap();
        let report = KsReport::of(&quantized, &Ks::new(KsConfig::default())).unwrap();
        for row in &report.rows {
            assert_eq!((row.family(), row.gaussian_groups, row.levels.as_slice()), (None, 0, [1.0].as_slice()));
            assert_eq!((row.errors.ks, row.errors.k_means), (0.0, 0.0));
        }
        assert!(report.to_markdown().contains("| conv1 | 4 | - | - | - | 0/8 | - | 1 |"), "{}", report.to_markdown());
    }
}
