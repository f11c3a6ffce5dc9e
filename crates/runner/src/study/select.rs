//! A part of a study's grid, as the command line names it.

use std::collections::BTreeSet;

use anyhow::Result;
use blindfold_zoo::near_matches;

use super::{Cell, Study};
use crate::Usage;

/// Which cells are wanted: of each kind of name any that is given, all where none is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    methods: Vec<String>,
    bits: Vec<String>,
    protocols: Vec<String>,
    seeds: Vec<u64>,
    axes: Vec<(String, String)>,
    max_seed: Option<u64>,
}

impl Selection {
    /// By methods, bits and protocols.
    pub(crate) fn of(study: &Study, methods: &[String], bits: &[String], protocols: &[String]) -> Result<Self> {
        for (asked, known, what) in [
            (methods, &study.methods, "method"),
            (bits, &study.bits, "bits"),
            (protocols, &study.protocols, "protocol"),
        ] {
            if let Some(stranger) = asked.iter().find(|name| !known.contains(name)) {
                let hint = hint(stranger, known.iter().map(String::as_str));
                return Err(Usage(format!("--{what} {stranger}: the study has: {}{hint}", known.join(", "))).into());
            }
        }
        let own = |names: &[String]| names.to_vec();
        Ok(Self { methods: own(methods), bits: own(bits), protocols: own(protocols), ..Self::default() })
    }

    /// With only these as well: a method, bits, a protocol, or `AXIS=VALUE`, where an axis may also be `seed`.
    pub(crate) fn only(mut self, study: &Study, names: &[String]) -> Result<Self> {
        for name in names {
            self.add(study, name)?;
        }
        Ok(self)
    }

    /// With seeds up to that one.
    pub(crate) fn up_to(self, max_seed: Option<u64>) -> Self {
        Self { max_seed, ..self }
    }

    /// Whether methods are asked for by name.
    pub(crate) fn names_methods(&self) -> bool {
        !self.methods.is_empty()
    }

    /// Whether a cell is wanted.
    pub(crate) fn wants(&self, cell: &Cell) -> bool {
        let one_of = |names: &[String], name: &String| names.is_empty() || names.contains(name);
        let seed = cell.config.seed;
        // Values of one axis are alternatives; each axis that is named must fit.
        let place = |axis: &str| cell.axes.iter().find(|(name, _)| name == axis).map(|(_, label)| label);
        let fits = |axis: &str| self.axes.iter().any(|(name, label)| name == axis && place(axis) == Some(label));
        one_of(&self.methods, &cell.method)
            && one_of(&self.bits, &cell.bits)
            && one_of(&self.protocols, &cell.protocol)
            && (self.seeds.is_empty() || self.seeds.contains(&seed))
            && self.max_seed.is_none_or(|most| seed <= most)
            && self.axes.iter().all(|(axis, _)| fits(axis))
    }

    fn add(&mut self, study: &Study, text: &str) -> Result<()> {
        let known = [
            ("method", &study.methods, &mut self.methods),
            ("bits", &study.bits, &mut self.bits),
            ("protocol", &study.protocols, &mut self.protocols),
        ];
        let Some((kind, value)) = text.split_once('=') else {
            for (_, known, wanted) in known {
                if known.iter().any(|name| name == text) {
                    wanted.push(text.to_owned());
                    return Ok(());
                }
            }
            let names = || study.methods.iter().chain(&study.bits).chain(&study.protocols).map(String::as_str);
            let axes: String = study.axes.iter().map(|axis| format!(", {}=..", axis.name)).collect();
            let known = names().collect::<Vec<_>>().join(", ");
            let message = format!("--only {text}: the study has: {known}{axes}{}", hint(text, names()));
            return Err(Usage(message).into());
        };
        for (name, known, wanted) in known {
            if name == kind {
                if !known.iter().any(|name| name == value) {
                    let hint = hint(value, known.iter().map(String::as_str));
                    return Err(Usage(format!("--only {text}: the study has: {}{hint}", known.join(", "))).into());
                }
                wanted.push(value.to_owned());
                return Ok(());
            }
        }
        if kind == "seed" {
            let seed = value
                .parse::<u64>()
                .map_err(|_| Usage(format!("--only {text}: write a whole number, as in seed=1")))?;
            let of_method = |method: &String| study.seeds_of.get(method).unwrap_or(&study.seeds);
            let known: BTreeSet<u64> = study.methods.iter().flat_map(of_method).copied().collect();
            if !known.contains(&seed) {
                let known = known.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
                return Err(Usage(format!("--only {text}: the study has the seeds: {known}")).into());
            }
            self.seeds.push(seed);
            return Ok(());
        }
        let Some(axis) = study.axes.iter().find(|axis| axis.name == kind) else {
            let names =
                || ["method", "bits", "protocol", "seed"].into_iter().chain(study.axes.iter().map(|a| a.name.as_str()));
            let known = names().collect::<Vec<_>>().join(", ");
            return Err(Usage(format!("--only {text}: the axes are: {known}{}", hint(kind, names()))).into());
        };
        let labels = || axis.choices.iter().map(|choice| choice.label.as_str());
        if !labels().any(|label| label == value) {
            let known = labels().collect::<Vec<_>>().join(", ");
            return Err(Usage(format!("--only {text}: `{kind}` takes: {known}{}", hint(value, labels()))).into());
        }
        self.axes.push((kind.to_owned(), value.to_owned()));
        Ok(())
    }
}

fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    near_matches(name, known).first().map(|best| format!(" (did you mean `{best}`?)")).unwrap_or_default()
}
