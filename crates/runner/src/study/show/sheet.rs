//! The finished runs of a study that may stand in one table.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Cell, Study};
use super::measure::Measure;
use crate::record::{CompareError, Published, Stat, Summary};

/// A place in a study's tables, and the run that fills it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spot {
    pub(crate) protocol: String,
    /// The column, such as `w4a4`.
    pub(crate) bits: String,
    pub(crate) method: String,
    /// The row: the method with its place on the study's further axes.
    pub(crate) variant: String,
    pub(crate) seed: u64,
    /// Teacher and test set: runs on different ones never share a table.
    pub(crate) bed: [String; 2],
    /// What a paper reports for this place.
    pub(crate) published: Option<Published>,
    /// The run, where it is finished.
    pub(crate) run: Option<Summary>,
}

/// The places of a study, with the outcomes of those cells that are finished.
pub(crate) fn spots(study: &Study, cells: &[(&Cell, Option<Summary>)]) -> Vec<Spot> {
    let spot = |(cell, run): &(&Cell, Option<Summary>)| Spot {
        protocol: cell.protocol.clone(),
        bits: cell.bits.clone(),
        method: cell.method.clone(),
        variant: cell.variant.clone(),
        seed: cell.config.seed,
        bed: [cell.config.teacher.name.clone(), test_set(cell)],
        published: study.published(cell).cloned(),
        run: run.clone(),
    };
    cells.iter().map(spot).collect()
}

/// The test set, a part of one apart from all of it.
fn test_set(cell: &Cell) -> String {
    let data = &cell.config.data;
    data.limit.map_or_else(|| data.name.clone(), |limit| format!("{}-first-{limit}", data.name))
}

/// A row of the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) method: String,
}

/// The runs of one protocol, teacher and test set: variants by bit widths.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sheet {
    /// The study.
    pub(crate) study: String,
    /// What its files are called after.
    pub(crate) stem: String,
    pub(crate) protocol: String,
    /// Bit widths, in the study's order.
    pub(crate) columns: Vec<String>,
    /// In the study's order.
    pub(crate) variants: Vec<Variant>,
    /// The method that others are tested against.
    pub(crate) baseline: Option<String>,
    /// Places without a finished run.
    pub(crate) missing: usize,
    published: BTreeMap<(String, String), Published>,
    runs: BTreeMap<(String, String), BTreeMap<u64, Summary>>,
}

impl Sheet {
    /// Of these places.
    ///
    /// # Errors
    /// [`CompareError::MixedProtocols`] where they are not of one protocol.
    pub(crate) fn new(study: &str, stem: &str, baseline: Option<&str>, spots: &[Spot]) -> Result<Self, CompareError> {
        let asked = spots.iter().map(|spot| spot.protocol.as_str());
        let ran = spots.iter().filter_map(|spot| spot.run.as_ref()).map(|run| run.protocol.as_str());
        let protocols: BTreeSet<&str> = asked.chain(ran).collect();
        if protocols.len() > 1 {
            let protocols = protocols.into_iter().map(|protocol| format!("`{protocol}`")).collect();
            return Err(CompareError::MixedProtocols { what: format!("the study {study}"), protocols });
        }
        let mut sheet = Self {
            study: study.to_owned(),
            stem: stem.to_owned(),
            protocol: spots.first().map(|spot| spot.protocol.clone()).unwrap_or_default(),
            columns: Vec::new(),
            variants: Vec::new(),
            baseline: baseline.map(str::to_owned),
            missing: 0,
            published: BTreeMap::new(),
            runs: BTreeMap::new(),
        };
        for spot in spots {
            if !sheet.columns.contains(&spot.bits) {
                sheet.columns.push(spot.bits.clone());
            }
            if !sheet.variants.iter().any(|known| known.name == spot.variant) {
                sheet.variants.push(Variant { name: spot.variant.clone(), method: spot.method.clone() });
            }
            let place = || (spot.variant.clone(), spot.bits.clone());
            if let Some(published) = &spot.published {
                sheet.published.insert(place(), published.clone());
            }
            match &spot.run {
                Some(run) => {
                    sheet.runs.entry(place()).or_default().insert(spot.seed, run.clone());
                }
                None => sheet.missing += 1,
            }
        }
        Ok(sheet)
    }

    /// The bits of a row in a column, where they are not the column's: of another width, or with weights that take over half as much
    /// again when stored.
    pub(crate) fn own_bits(&self, variant: &str, column: &str) -> Option<String> {
        self.runs(variant, column).find_map(|(_, run)| {
            if !run.bits.eq_ignore_ascii_case(column) {
                return Some(run.bits.clone());
            }
            let (weight, activation) = run.bits.strip_prefix('W')?.split_once('A')?;
            let mean = run.weight_bits_mean.filter(|mean| weight.parse().is_ok_and(|bits: f64| *mean > 1.5 * bits))?;
            Some(format!("W{mean:.1}A{activation}"))
        })
    }

    /// The finished runs at a place, by seed.
    pub(crate) fn runs(&self, variant: &str, column: &str) -> impl Iterator<Item = (u64, &Summary)> {
        let runs = self.runs.get(&(variant.to_owned(), column.to_owned()));
        runs.into_iter().flatten().map(|(seed, run)| (*seed, run))
    }

    /// Every finished run.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Summary> {
        self.runs.values().flat_map(BTreeMap::values)
    }

    /// The values of a measure at a place, by seed.
    pub(crate) fn values(&self, variant: &str, column: &str, measure: &Measure) -> BTreeMap<u64, f64> {
        self.runs(variant, column).filter_map(|(seed, run)| Some((seed, (measure.of)(run)?))).collect()
    }

    /// Mean and deviation of a measure at a place.
    pub(crate) fn stat(&self, variant: &str, column: &str, measure: &Measure) -> Option<Stat> {
        Stat::of(self.values(variant, column, measure).into_values())
    }

    /// What a paper reports for a place.
    pub(crate) fn published(&self, variant: &str, column: &str) -> Option<&Published> {
        self.published.get(&(variant.to_owned(), column.to_owned()))
    }

    /// Whether a row uses real data.
    pub(crate) fn is_real(&self, variant: &str) -> bool {
        self.columns.iter().any(|column| self.runs(variant, column).any(|(_, run)| run.uses_real_data))
    }

    /// A row's name with the mark of real data.
    pub(crate) fn label(&self, variant: &str) -> String {
        format!("{variant}{}", if self.is_real(variant) { crate::record::DAGGER } else { "" })
    }

    /// The baseline at the same place on the further axes.
    pub(crate) fn baseline_of(&self, variant: &Variant) -> Option<String> {
        let place = variant.name.strip_prefix(variant.method.as_str())?;
        let baseline = format!("{}{place}", self.baseline.as_ref()?);
        (baseline != variant.name && self.variants.iter().any(|known| known.name == baseline)).then_some(baseline)
    }

    /// Whether some place has several seeds.
    pub(crate) fn has_seeds(&self) -> bool {
        self.runs.values().any(|runs| runs.len() > 1)
    }

    /// Network, test set, teacher and protocol, and what the teacher reaches.
    pub(crate) fn setting(&self) -> String {
        let Some(run) = self.all().next() else { return format!("protocol `{}`", self.protocol) };
        let reached = run.fp_top1.map_or_else(String::new, |top1| format!(" ({top1:.2} % in full precision)"));
        format!("{} on {}, teacher `{}`{reached}, protocol `{}`", run.network, run.dataset, run.teacher, self.protocol)
    }
}

/// What the runs of a sheet share: protocol, and teacher and test set.
type Place<'a> = (&'a str, &'a [String; 2]);

/// The sheets of a study: one for each protocol, teacher and test set, in the study's order.
///
/// # Errors
/// A run of another protocol than its place.
pub(crate) fn sheets(study: &str, baseline: Option<&str>, spots: &[Spot]) -> Result<Vec<Sheet>, CompareError> {
    let mut groups: Vec<(Place<'_>, Vec<Spot>)> = Vec::new();
    for spot in spots {
        let key = (spot.protocol.as_str(), &spot.bed);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(spot.clone()),
            None => groups.push((key, vec![spot.clone()])),
        }
    }
    let beds: BTreeSet<&[String; 2]> = spots.iter().map(|spot| &spot.bed).collect();
    let teachers: BTreeSet<&str> = beds.iter().map(|bed| bed[0].as_str()).collect();
    let stem = |protocol: &str, [teacher, data]: &[String; 2]| match (beds.len(), teachers.len()) {
        (1, _) => protocol.to_owned(),
        (beds, teachers) if beds == teachers => format!("{protocol}-{teacher}"),
        _ => format!("{protocol}-{teacher}-{data}"),
    };
    let sheet = |((protocol, bed), spots): &(Place<'_>, Vec<Spot>)| {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let stem: String = stem(protocol, bed).chars().map(plain).collect();
        Sheet::new(study, &stem, baseline, spots)
    };
    groups.iter().map(sheet).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::measure::DROP;
    use super::*;
    use crate::record::Best;

    /// A finished run that loses so many points of 91.73.
    pub(in super::super) fn run(method: &str, bits: &str, seed: u64, drop: f64) -> Summary {
        let summary = Summary {
            experiment: format!("small-gdfq-{bits}"),
            method: method.into(),
            seed,
            teacher: "resnet20-cifar10".into(),
            network: "resnet20".into(),
            dataset: "cifar10".into(),
            protocol: "gdfq".into(),
            bits: bits.to_uppercase(),
            uses_real_data: method == "real",
            best_on_test: (method == "kd").then(|| Best::on_test(5, 91.73 - drop + 0.1)),
            agreement: Some(95.0 - drop),
            logit_mse: Some(drop / 3.0),
            weight_mse: Some(1.25e-4 * drop.abs()),
            size_bytes: Some(if bits == "w8a8" { 290_000 } else { 150_800 }),
            image_passes: (method != "brecq").then_some(32_064),
            wall_seconds: 60.0 + 10.0 * seed as f64,
            image_seconds: Some(40.0),
            ..Summary::default()
        };
        summary.with_accuracy([91.73, 99.0], [91.73 - drop, 98.0])
    }

    /// A place with such a run.
    pub(in super::super) fn spot(method: &str, bits: &str, seed: u64, drop: Option<f64>) -> Spot {
        Spot {
            protocol: "gdfq".into(),
            bits: bits.into(),
            method: method.into(),
            variant: method.into(),
            seed,
            bed: ["resnet20-cifar10".into(), "cifar10".into()],
            published: None,
            run: drop.map(|drop| run(method, bits, seed, drop)),
        }
    }

    /// Four methods at two bit widths with three seeds; `mse` beats `minmax` at w4a4, nothing is sure at w8a8, and one
    /// run is missing.
    pub(in super::super) fn small() -> Vec<Spot> {
        let mut spots = Vec::new();
        for (method, at_w8a8, at_w4a4) in [
            ("minmax", [0.05, -0.02, 0.01], [4.7, 4.9, 4.8]),
            ("mse", [0.0, 0.02, -0.01], [2.2, 2.3, 2.4]),
            ("kd", [-0.03, 0.04, 0.02], [1.1, 1.25, 1.1]),
            ("real", [0.01, 0.0, 0.0], [0.5, 0.6, 0.4]),
        ] {
            for (seed, (eight, four)) in (1..).zip(at_w8a8.into_iter().zip(at_w4a4)) {
                spots.push(spot(method, "w8a8", seed, Some(eight)));
                spots.push(spot(method, "w4a4", seed, Some(four)));
            }
        }
        spots.push(spot("brecq", "w4a4", 1, Some(1.0)));
        spots.push(spot("brecq", "w4a4", 2, None));
        spots[3].published = Some(Published { drop: 9.5, source: "Paper & Co, table 2".into() });
        spots
    }

    pub(in super::super) fn small_sheet() -> Sheet {
        Sheet::new("small", "gdfq", Some("minmax"), &small()).unwrap()
    }

    #[test]
    fn places_keep_the_order_of_the_study_and_what_is_missing_is_counted() {
        let sheet = small_sheet();
        assert_eq!(sheet.columns, ["w8a8", "w4a4"]);
        let names: Vec<&str> = sheet.variants.iter().map(|variant| variant.name.as_str()).collect();
        assert_eq!(names, ["minmax", "mse", "kd", "real", "brecq"]);
        assert_eq!((sheet.missing, sheet.has_seeds(), sheet.all().count()), (1, true, 25));
        let stat = sheet.stat("mse", "w4a4", &DROP).unwrap();
        assert!((stat.mean - 2.3).abs() < 1e-9 && stat.n == 3, "{stat:?}");
        assert_eq!(sheet.stat("brecq", "w8a8", &DROP), None);
        assert_eq!((sheet.label("real"), sheet.label("mse")), ("real†".to_owned(), "mse".to_owned()));
        assert!(
            sheet.setting().starts_with("resnet20 on cifar10, teacher `resnet20-cifar10` (91.73 % in full precision)")
        );
    }

    #[test]
    fn protocols_do_not_share_a_sheet_and_the_refusal_says_why() {
        let other = Spot { protocol: "brecq".into(), ..spot("mse", "w4a4", 1, None) };
        let error = Sheet::new("small", "x", None, &[spot("mse", "w4a4", 1, Some(1.0)), other.clone()]).unwrap_err();
        assert!(error.to_string().contains("`brecq` and `gdfq`: they keep other layers at 8 bit"), "{error}");
        let ran_otherwise = Spot { run: Some(run("mse", "w4a4", 1, 1.0)), ..other.clone() };
        assert!(Sheet::new("small", "x", None, &[ran_otherwise]).is_err());
        let both = sheets("small", None, &[spot("mse", "w4a4", 1, Some(1.0)), other]).unwrap();
        assert_eq!(both.iter().map(|sheet| sheet.stem.as_str()).collect::<Vec<_>>(), ["gdfq", "brecq"]);
    }

    #[test]
    fn teachers_have_sheets_of_their_own() {
        let other = Spot { bed: ["resnet56-cifar10".into(), "cifar10".into()], ..spot("mse", "w4a4", 1, None) };
        let both = sheets("small", None, &[spot("mse", "w4a4", 1, Some(1.0)), other]).unwrap();
        let stems: Vec<&str> = both.iter().map(|sheet| sheet.stem.as_str()).collect();
        assert_eq!(stems, ["gdfq-resnet20-cifar10", "gdfq-resnet56-cifar10"]);
    }

    #[test]
    fn the_baseline_stands_at_the_same_place_on_further_axes() {
        let at =
            |method: &str, place: &str| Spot { variant: format!("{method}{place}"), ..spot(method, "w4a4", 1, None) };
        let spots = [at("minmax", " count=64"), at("mse", " count=64"), at("mse", " count=256")];
        let sheet = Sheet::new("small", "gdfq", Some("minmax"), &spots).unwrap();
        let baselines: Vec<Option<String>> = sheet.variants.iter().map(|variant| sheet.baseline_of(variant)).collect();
        assert_eq!(baselines, [None, Some("minmax count=64".to_owned()), None]);
    }
}
