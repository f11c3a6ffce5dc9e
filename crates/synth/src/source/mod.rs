//! Where images come from.

mod deepinversion;
mod dsg;
mod generator;
mod genie_d;
mod hast;
mod intraq;
mod knowledge_within;
mod mct;
mod mixmix;
mod noise;
mod out_of_domain;
mod real;
mod synq;
mod texq;
mod uniform;
mod zeroq;

use blindfold_zoo::{ConfigError, Entry, Family, Network, Normalization};

use crate::error::SynthError;
use crate::images::ImageSet;
use crate::optimised::ScheduleConfig;
use crate::optimizer::OptimizerConfig;
use crate::plugins::SourcePlugins;
use crate::progress::Progress;
use crate::real_images::RealImages;

pub use deepinversion::DeepInversionConfig;
pub use dsg::DsgConfig;
pub use generator::GeneratorSourceConfig;
pub use genie_d::{GenieDConfig, GenieDecayConfig};
pub use hast::HastConfig;
pub use intraq::IntraqConfig;
pub use knowledge_within::KnowledgeWithinConfig;
pub use mct::{ImageGranularity, MctConfig, OutputLoss};
pub use mixmix::MixMixConfig;
pub use noise::NoiseConfig;
pub use out_of_domain::{DataChoice, OutOfDomainConfig};
pub use real::RealConfig;
pub use synq::SynqConfig;
pub use texq::TexqConfig;
pub use uniform::UniformConfig;
pub use zeroq::{InitConfig, ZeroqConfig};

/// What a source may use.
pub struct Request<'a> {
    /// The float network, in evaluation mode, on the plain device that is to do the work.
    pub teacher: &'a Network,
    /// How the teacher's input is normalised.
    pub normalization: &'a Normalization,
    /// From which all random numbers follow.
    pub seed: u64,
    /// Real images: read by the controls alone, so give them only where [`ImageSource::needs_real`] says so, and take
    /// them from the data set of [`ImageSource::data`] where it names one.
    pub real: Option<&'a RealImages>,
    /// Who is told of every step.
    pub progress: &'a mut dyn Progress,
}

/// A way to come by images: plugin family `image source`.
pub trait ImageSource: Send + Sync {
    /// Whether it takes its images from data. Tables mark such rows.
    fn needs_real(&self) -> bool {
        false
    }

    /// The data set that it takes them from; none where it is the one that the teacher is for.
    fn data(&self) -> Option<&DataChoice> {
        None
    }

    /// How many images it gives.
    fn count(&self) -> usize;

    /// Image passes that the synthesis for this teacher costs: one for each image that goes through one network,
    /// forward alone or forward and backward. A generator's own are not counted; none by default.
    fn passes(&self, _teacher: &Network) -> u64 {
        0
    }

    /// Makes the images: the same ones for the same teacher, settings, seed and device.
    ///
    /// # Errors
    /// [`SynthError`], among them [`SynthError::Cancelled`].
    fn synthesize(&self, request: Request<'_>) -> Result<ImageSet, SynthError>;
}

/// All members of the family that ship with Blindfold.
pub const BUILTIN_SOURCES: &[Entry<dyn ImageSource>] = &[
    noise::ENTRY,
    uniform::ENTRY,
    zeroq::ENTRY,
    deepinversion::ENTRY,
    knowledge_within::ENTRY,
    dsg::ENTRY,
    mixmix::ENTRY,
    mct::ENTRY,
    intraq::ENTRY,
    hast::ENTRY,
    texq::ENTRY,
    synq::ENTRY,
    genie_d::ENTRY,
    generator::ENTRY,
    real::ENTRY,
    out_of_domain::ENTRY,
];

/// Builds a source, with what its table names looked up in these families.
type NamingBuild = fn(toml::Table, &SourcePlugins) -> Result<Box<dyn ImageSource>, ConfigError>;

/// The sources of [`BUILTIN_SOURCES`] whose tables name members of other families.
pub(crate) const NAMING_SOURCES: &[(&str, NamingBuild)] = &[
    (zeroq::ENTRY.name, zeroq::build),
    (deepinversion::ENTRY.name, deepinversion::build),
    (knowledge_within::ENTRY.name, knowledge_within::build),
    (dsg::ENTRY.name, dsg::build),
    (mixmix::ENTRY.name, mixmix::build),
    (mct::ENTRY.name, mct::build),
    (intraq::ENTRY.name, intraq::build),
    (hast::ENTRY.name, hast::build),
    (texq::ENTRY.name, texq::build),
    (synq::ENTRY.name, synq::build),
    (genie_d::ENTRY.name, genie_d::build),
    (generator::ENTRY.name, generator::build),
];

/// The plugin family of image sources, whose members know the other plugins that ship with Blindfold; those of a program
/// are known to what [`SourcePlugins::source`] builds.
///
/// # Errors
/// [`ConfigError::Duplicate`], which the test of the table excludes.
pub fn image_sources() -> Result<Family<dyn ImageSource>, ConfigError> {
    Family::new("image source", BUILTIN_SOURCES)
}

/// A count of images or iterations as TOML gives it.
fn positive(key: &str, value: usize) -> Result<usize, ConfigError> {
    if value == 0 {
        return Err(ConfigError::invalid(key, value, "write a number of at least 1"));
    }
    Ok(value)
}

/// Image passes of so many images in so many iterations.
fn image_passes(images: usize, iterations: usize) -> u64 {
    (images as u64).saturating_mul(iterations as u64)
}

/// A term's weight.
pub(crate) fn checked_weight(key: &str, weight: f64) -> Result<f64, ConfigError> {
    if weight >= 0.0 && weight.is_finite() {
        return Ok(weight);
    }
    Err(ConfigError::invalid(key, weight, "write 0 or a positive number"))
}

/// The keys that every optimised source has.
fn check_plan(
    (count, batch): (usize, usize),
    optimizer: &OptimizerConfig,
    schedule: &ScheduleConfig,
) -> Result<(), ConfigError> {
    positive("count", count)?;
    positive("batch", batch)?;
    optimizer.validate().map_err(|error| error.within("optimizer"))?;
    schedule.validate().map_err(|error| error.within("schedule"))
}

/// The window of a Gaussian blur: `kernel` pixels wide, an odd number, with deviation `sigma`.
pub(crate) fn check_blur(keys: [&str; 2], kernel: usize, sigma: f64) -> Result<(), ConfigError> {
    if kernel.is_multiple_of(2) {
        return Err(ConfigError::invalid(keys[0], kernel, "write an odd number of pixels"));
    }
    if !(sigma > 0.0 && sigma.is_finite()) {
        return Err(ConfigError::invalid(keys[1], sigma, "write a positive number of pixels"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bn::statistics_losses;
    use crate::prior::image_priors;
    use crate::sample::small_network;

    fn check<T: ?Sized>(family: &Family<T>) {
        for entry in family.entries() {
            assert!(!entry.summary.is_empty() && !entry.source.is_empty(), "{} is not documented", entry.name);
            let defaults = (entry.defaults)();
            let text = toml::to_string(&defaults).unwrap();
            assert_eq!(text.parse::<toml::Table>().unwrap(), defaults, "{} does not come back", entry.name);
            for table in [toml::Table::new(), defaults] {
                (entry.build)(table).map(|_| ()).unwrap();
            }
            let error = (entry.build)("no_such_key = 1".parse().unwrap()).err().unwrap();
            assert!(error.to_string().contains("no_such_key"), "{error}");
        }
    }

    #[test]
    fn every_member_is_documented_and_builds_from_its_defaults() {
        check(&image_sources().unwrap());
        check(&statistics_losses().unwrap());
        check(&image_priors().unwrap());
    }

    #[test]
    fn every_file_is_in_its_table() {
        for (folder, table, others) in [
            ("source", BUILTIN_SOURCES.iter().map(|entry| entry.name).collect::<Vec<_>>(), &["mod"][..]),
            (
                "bn",
                crate::BUILTIN_LOSSES.iter().map(|entry| entry.name).collect(),
                &["mod", "objective", "observed", "pooled", "reference", "statistics", "tap"],
            ),
            ("prior", crate::BUILTIN_PRIORS.iter().map(|entry| entry.name).collect(), &["mod", "list", "tests"]),
        ] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
            let mut files: Vec<String> = std::fs::read_dir(path)
                .unwrap()
                .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().replace('_', "-"))
                .filter(|name| !others.contains(&name.as_str()))
                .collect();
            files.sort();
            files.dedup();
            let mut table = table;
            table.sort_unstable();
            assert_eq!(files, table);
        }
    }

    #[test]
    fn only_the_controls_need_real_images() {
        for entry in BUILTIN_SOURCES {
            let source = (entry.build)(toml::Table::new()).unwrap();
            assert_eq!(source.needs_real(), ["real", "out-of-domain"].contains(&entry.name));
            assert_eq!(source.data().is_some(), entry.name == "out-of-domain");
            assert_eq!(source.count(), 64);
        }
    }

    #[test]
    fn every_source_says_what_it_costs() {
        let teacher = small_network(1);
        let passes = |name: &str, table: &str| {
            let table = format!("count = 10\n{table}");
            image_sources().unwrap().build(name, table.parse().unwrap()).unwrap().passes(&teacher)
        };
        for name in ["noise", "uniform", "real", "out-of-domain"] {
            assert_eq!(passes(name, ""), 0, "{name}");
        }
        let plain = "batch = 4\niterations = 3";
        for name in ["zeroq", "deepinversion", "knowledge-within", "mixmix", "hast", "genie-d"] {
            assert_eq!(passes(name, plain), 30, "{name}");
        }
        assert_eq!(passes("mct", "batch = 10\niterations = 3"), 30);
        assert_eq!(passes("deepinversion", &format!("{plain}\nadi_weight = 0.1")), 60);
        assert_eq!(passes("dsg", &format!("{plain}\nnoise_images = 7")), 37);
        assert_eq!(passes("intraq", plain), 30 + 10);
        // A centre for each of the six classes, optimised and looked at once.
        let centres = format!("{plain}\ncentres = {{ iterations = 5 }}");
        assert_eq!((passes("texq", &centres), passes("synq", &centres)), (30 + 36, 30 + 36));
        assert_eq!(passes("synq", &format!("{centres}\ncentre_weight = 0.0")), 30);
        assert_eq!(passes("generator", plain), 12);
        // A prior that keeps the centres of classes looks at each finished image once more.
        assert_eq!(passes("hast", &format!("{plain}\nprior = [{{ kind = 'l2' }}]")), 30);
        assert_eq!(passes("hast", &format!("{plain}\nprior = [{{ kind = 'cosine-margin' }}]")), 30 + 10);
        assert_eq!(passes("zeroq", "iterations = 9223372036854775807"), u64::MAX);
    }
}
