//! Bounds, estimate and measurement side by side.

use serde::Serialize;

use crate::csv_cell::csv_cell;

/// One node of the report. Differences are the student's output less the teacher's, after the quantization of that
/// output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BoundsRow {
    /// The node's name.
    pub node: String,
    /// The layer's kind.
    pub kind: String,
    /// Number of elements of its output for one image.
    pub elements: usize,
    /// Guaranteed by intervals alone: the largest bound of any element.
    pub interval_max: f64,
    /// The mean of these bounds over all elements.
    pub interval_mean: f64,
    /// Guaranteed by intervals and operator norms together, element by element the smaller: the largest.
    pub tighter_max: f64,
    /// The mean of these bounds over all elements.
    pub tighter_mean: f64,
    /// The root mean square that batch-norm statistics let expect. No guarantee.
    pub statistical_rms: f64,
    /// The largest difference on the images, if there were any.
    pub measured_max: Option<f64>,
    /// Their root mean square.
    pub measured_rms: Option<f64>,
    /// Differences that were outside their bounds. A guarantee holds only if there are none.
    pub outside: Option<usize>,
}

impl BoundsRow {
    /// How loose the guarantee is: `tighter_max / measured_max`. None without images; 1 where both are 0.
    pub fn looseness(&self) -> Option<f64> {
        let measured = self.measured_max?;
        Some(if measured == 0.0 && self.tighter_max == 0.0 { 1.0 } else { self.tighter_max / measured })
    }
}

/// Whether the bounds of the logits keep the class that the teacher chooses.
///
/// With `d = student - teacher` in `[low, high]`, the teacher's class `k` stays first if for every other class `j`
///
/// ```text
/// t_k - t_j > high_j - low_k
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Certificate {
    /// A margin `t_k - t_j` above which no image of the box can change its class.
    pub margin_needed: f64,
    /// The largest margin between the first and the second class that the teacher has on the images, if there were any.
    pub margin_found: Option<f64>,
    /// Images whose class is certain to stay, if there were any.
    pub certified: Option<usize>,
}

/// How far a quantized network can be from its teacher, node by node, for all images of a box.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BoundsReport {
    /// In the network's order; the last are the logits.
    pub rows: Vec<BoundsRow>,
    /// What the bounds of the logits are good for.
    pub certificate: Certificate,
    /// Images that were measured.
    pub images: usize,
}

const HEADER: [&str; 10] = [
    "node",
    "kind",
    "interval max",
    "interval mean",
    "tighter max",
    "tighter mean",
    "statistical RMS",
    "measured max",
    "measured RMS",
    "looseness",
];

const LEGEND: &str = "Differences are student less teacher. Interval and tighter bounds are guaranteed for every image of \
                      the box, rounding in f32 included; max and mean are over the elements of a node. The statistical RMS \
                      is an estimate from batch-norm statistics, not a bound. Looseness is tighter max / measured max.";

impl BoundsReport {
    /// Whether no measured difference was outside its bounds.
    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.outside.unwrap_or(0) == 0)
    }

    /// The row of the logits.
    pub fn logits(&self) -> Option<&BoundsRow> {
        self.rows.last()
    }

    /// The table, what it says of the logits, and how to read it.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("| {} |\n|---|---|{}\n", HEADER.join(" | "), "---:|".repeat(HEADER.len() - 2));
        for row in &self.rows {
            let numbers = numbers(row).map(|number| number.map_or_else(|| "-".to_owned(), short));
            text += &format!("| {} | {} | {} |\n", row.node, row.kind, numbers.join(" | "));
        }
        let outside: usize = self.rows.iter().filter_map(|row| row.outside).sum();
        let held = match (self.images, outside) {
            (0, _) => "No images were measured.".to_owned(),
            (images, 0) => format!("On {images} images every difference of every node was within its bounds."),
            (images, outside) => format!("**{outside} differences on {images} images were outside their bounds.**"),
        };
        let Certificate { margin_needed, margin_found, certified } = &self.certificate;
        text += &format!(
            "\n{held}\n\nAn image keeps its class for certain if the teacher's first logit leads by more than {}.",
            short(*margin_needed)
        );
        if let (Some(found), Some(certified)) = (margin_found, certified) {
            text += &format!(
                " The largest lead on the images is {}: {certified} of {} are certain to keep it.",
                short(*found),
                self.images
            );
        }
        text + "\n\n" + LEGEND + "\n"
    }

    /// The table as CSV, with full precision; empty cells where nothing was measured.
    pub fn to_csv(&self) -> String {
        let mut text =
            String::from("node,kind,elements,interval_max,interval_mean,tighter_max,tighter_mean,statistical_rms,");
        text += "measured_max,measured_rms,looseness,outside\n";
        for row in &self.rows {
            let numbers = numbers(row).map(|number| number.map_or_else(String::new, |number| number.to_string()));
            let outside = row.outside.map_or_else(String::new, |outside| outside.to_string());
            let cells =
                [csv_cell(&row.node), csv_cell(&row.kind), row.elements.to_string(), numbers.join(","), outside];
            text += &cells.join(",");
            text.push('\n');
        }
        text
    }
}

fn numbers(row: &BoundsRow) -> [Option<f64>; 8] {
    [
        Some(row.interval_max),
        Some(row.interval_mean),
        Some(row.tighter_max),
        Some(row.tighter_mean),
        Some(row.statistical_rms),
        row.measured_max,
        row.measured_rms,
        row.looseness(),
    ]
}

/// Four digits, as a power of ten where the number is very large or small.
fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        size if (1e-3..1e4).contains(&size) => {
            let digits = (3 - size.log10().floor() as i32).max(0) as usize;
            format!("{number:.digits$}")
        }
        _ => format!("{number:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> BoundsReport {
        let row = |node: &str, tighter_max: f64, measured: Option<f64>| BoundsRow {
            node: node.to_owned(),
            kind: "conv2d".to_owned(),
            elements: 4,
            interval_max: 12340.0,
            interval_mean: 0.5,
            tighter_max,
            tighter_mean: 0.25,
            statistical_rms: 0.000_012_3,
            measured_max: measured,
            measured_rms: measured.map(|max| max / 2.0),
            outside: measured.map(|_| 0),
        };
        let certificate = Certificate { margin_needed: 1.5, margin_found: Some(2.0), certified: Some(1) };
        BoundsReport {
            rows: vec![row("a,b", 3.0, Some(1.5)), row("c", 0.0, Some(0.0)), row("d", 1.0, None)],
            certificate,
            images: 2,
        }
    }

    #[test]
    fn the_table_has_a_row_a_node_and_says_how_loose_it_is() {
        let text = report().to_markdown();
        assert!(
            text.contains("| a,b | conv2d | 1.234e4 | 0.5000 | 3.000 | 0.2500 | 1.230e-5 | 1.500 | 0.7500 | 2.000 |"),
            "{text}"
        );
        assert!(text.contains("| c | conv2d | 1.234e4 | 0.5000 | 0 | 0.2500 | 1.230e-5 | 0 | 0 | 1.000 |"), "{text}");
        assert!(text.contains("| d | conv2d |") && text.contains("| - | - | - |"), "{text}");
        assert!(text.contains("On 2 images every difference"), "{text}");
        assert!(text.contains("more than 1.500. The largest lead on the images is 2.000: 1 of 2"), "{text}");
        assert_eq!(report().rows.iter().map(BoundsRow::looseness).collect::<Vec<_>>(), [Some(2.0), Some(1.0), None]);
    }

    #[test]
    fn csv_has_full_precision_and_empty_cells() {
        let text = report().to_csv();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "\"a,b\",conv2d,4,12340,0.5,3,0.25,0.0000123,1.5,0.75,2,0");
        assert_eq!(lines[3], "d,conv2d,4,12340,0.5,1,0.25,0.0000123,,,,");
        assert_eq!(lines[0].split(',').count(), 12);
    }

    #[test]
    fn a_difference_outside_its_bounds_is_said() {
        let mut report = report();
        assert!(report.holds());
        report.rows[0].outside = Some(3);
        assert!(!report.holds() && report.to_markdown().contains("**3 differences on 2 images"));
    }
}
