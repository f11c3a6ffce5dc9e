//! The plugin families that image sources draw on.

use blindfold_zoo::{ConfigError, Family};

use crate::bn::{StatisticsLoss, statistics_losses};
use crate::generator::{GeneratorMethod, generators};
use crate::prior::{ImagePrior, image_priors};
use crate::source::{ImageSource, NAMING_SOURCES};

/// What the names in an image source's own table may stand for.
#[derive(Debug, Clone)]
pub struct SourcePlugins {
    /// Distances of batch-norm statistics: `loss = { kind = "..." }`.
    pub statistics: Family<dyn StatisticsLoss>,
    /// Ways to train a generator: `method = { kind = "..." }`.
    pub generators: Family<dyn GeneratorMethod>,
    /// Terms that ask for natural or varied images: `prior = [{ kind = "..." }]`.
    pub priors: Family<dyn ImagePrior>,
}

impl SourcePlugins {
    /// The members that come with Blindfold.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when two members of a family share a name.
    pub fn builtin() -> Result<Self, ConfigError> {
        Ok(Self { statistics: statistics_losses()?, generators: generators()?, priors: image_priors()? })
    }

    /// Builds the member of `sources` of that name from its own table, with what the table names looked up here.
    ///
    /// # Errors
    /// As [`Family::build`]; [`ConfigError::UnknownName`] also for a batch-norm loss, a generator or a prior that is
    /// not here.
    pub fn source(
        &self,
        sources: &Family<dyn ImageSource>,
        name: &str,
        table: toml::Table,
    ) -> Result<Box<dyn ImageSource>, ConfigError> {
        let entry = sources.get(name)?;
        let built = match NAMING_SOURCES.iter().find(|(naming, _)| *naming == name) {
            Some((_, build)) => build(table, self),
            None => (entry.build)(table),
        };
        built.map_err(|error| error.within(name))
    }
}

#[cfg(test)]
mod tests {
    use blindfold_zoo::Entry;

    use super::*;
    use crate::generator::sample::colour_network;
    use crate::images::ImageSet;
    use crate::progress::NoProgress;
    use crate::sample::{normalization, small_network};
    use crate::source::{BUILTIN_SOURCES, Request, image_sources};

    /// The families with members from outside, which are known ones under other names.
    fn with_outsiders() -> SourcePlugins {
        let SourcePlugins { statistics, generators, priors } = SourcePlugins::builtin().unwrap();
        let loss = Entry { name: "from-outside", ..*statistics.get("norm").unwrap() };
        let method = Entry { name: "from-outside", ..*generators.get("gdfq").unwrap() };
        let prior = Entry { name: "from-outside", ..*priors.get("l2").unwrap() };
        SourcePlugins {
            statistics: statistics.with(loss).unwrap(),
            generators: generators.with(method).unwrap(),
            priors: priors.with(prior).unwrap(),
        }
    }

    fn built(name: &str, table: &str) -> Result<Box<dyn ImageSource>, ConfigError> {
        with_outsiders().source(&image_sources().unwrap(), name, table.parse().unwrap())
    }

    fn images(name: &str, table: &str) -> ImageSet {
        let teacher = if name == "generator" { colour_network() } else { small_network(1) };
        let (normalization, progress) = (normalization(), &mut NoProgress);
        let request = Request { teacher: &teacher, normalization: &normalization, seed: 3, real: None, progress };
        built(name, table).unwrap().synthesize(request).unwrap()
    }

    /// What in the table of a source names a member: the known one, and the text with `KIND` for its name.
    fn namings(name: &str) -> Vec<(&'static str, &'static str)> {
        let entry = *image_sources().unwrap().get(name).unwrap();
        let mut found = Vec::new();
        if (entry.defaults)().contains_key("method") {
            found.push(("gdfq", "method = { kind = 'KIND', generator = { latent = 8, channels = 8 } }"));
        }
        if (entry.defaults)().contains_key("loss") {
            found.push(("norm", "loss = { kind = 'KIND' }"));
        }
        if (entry.build)("prior = []".parse().unwrap()).is_ok() {
            found.push(("l2", "prior = [{ kind = 'KIND', weight = 0.5 }]"));
        }
        found
    }

    #[test]
    fn a_member_from_outside_does_what_it_does_in_every_source_that_names_one() {
        for (name, _) in NAMING_SOURCES {
            let plain = match *name {
                "dsg" => "noise_images = 4",
                "texq" | "synq" => "centres = { iterations = 1 }",
                _ => "",
            };
            let namings = namings(name);
            assert!(!namings.is_empty(), "{name}");
            for (known, own) in namings {
                let table = |kind: &str| {
                    let own = own.replace("KIND", kind);
                    format!("count = 4\nbatch = 4\niterations = 2\n{plain}\n{own}")
                };
                assert_eq!(images(name, &table("from-outside")), images(name, &table(known)), "{name}: {own}");
                let alone = image_sources().unwrap().build(name, table("from-outside").parse().unwrap()).err().unwrap();
                assert!(matches!(alone, ConfigError::UnknownName { .. }), "{name}: {alone}");
            }
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_from_outside() {
        for (name, table) in [
            ("zeroq", "loss.kind = 'from-outsid'"),
            ("generator", "method.kind = 'from-outsid'"),
            ("dsg", "prior = [{ kind = 'from-outsid' }]"),
        ] {
            let error = built(name, table).err().unwrap().to_string();
            assert!(error.contains("did you mean `from-outside`?") && error.ends_with(", from-outside"), "{error}");
        }
    }

    #[test]
    fn faults_are_told_as_the_family_tells_them() {
        let sources = image_sources().unwrap();
        for (name, table) in
            [("zeroq", "loss = { kind = 'norm', epsilon = -1.0 }"), ("noise", "count = 0"), ("zerq", "")]
        {
            let alone = sources.build(name, table.parse().unwrap()).err().unwrap();
            assert_eq!(built(name, table).err().unwrap(), alone);
        }
    }

    #[test]
    fn every_source_that_names_a_member_is_listed() {
        let plugins = SourcePlugins::builtin().unwrap();
        let is_member = |value: &toml::Value| {
            let kind = value.get("kind").and_then(toml::Value::as_str);
            kind.is_some_and(|kind| plugins.statistics.get(kind).is_ok() || plugins.generators.get(kind).is_ok())
        };
        let naming = |entry: &&Entry<dyn ImageSource>| {
            let takes_priors = (entry.build)("prior = []".parse().unwrap()).is_ok();
            takes_priors || (entry.defaults)().values().any(is_member)
        };
        let mut found: Vec<&str> = BUILTIN_SOURCES.iter().filter(naming).map(|entry| entry.name).collect();
        let mut listed: Vec<&str> = NAMING_SOURCES.iter().map(|(name, _)| *name).collect();
        found.sort_unstable();
        listed.sort_unstable();
        assert_eq!(found, listed);
    }
}
