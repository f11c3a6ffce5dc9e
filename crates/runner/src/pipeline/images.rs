//! The images of a run: from the cache, or made now.

use std::time::Instant;

use anyhow::Result;
use blindfold_synth::{ImageSet, ImageSource, Progress, Request, Step, SynthError, cache_identity};
use blindfold_zoo::{merge_defaults, sha256_hex};

use super::cache::{CacheSlot, Claimed};
use super::context::{Context, data_of};
use crate::config::{DataTable, SourceTable};
use crate::interrupt;
use crate::record::{Phase, Record, Task, Versions};
use crate::teachers::Teacher;

/// Images with the story of their making.
pub(crate) struct MadeImages {
    pub(crate) images: ImageSet,
    pub(crate) records: Vec<Record>,
    /// SHA-256 of what they depend on; of the images themselves where they are real.
    pub(crate) key: String,
    /// Whether data was used.
    pub(crate) real: bool,
    /// Image passes that they cost when they were made.
    pub(crate) passes: u64,
}

struct Report {
    task: Task,
    records: Vec<Record>,
    began: Instant,
    seen: u64,
}

impl Progress for Report {
    fn step(&mut self, step: Step<'_>) {
        let record = Record::new(Phase::Synth, self.seen, self.began.elapsed().as_secs_f64())
            .with_all(step.scalars.iter().map(|&(name, value)| (format!("synth/{name}"), value)));
        self.seen += 1;
        let note = step.scalars.first().map(|(tag, value)| format!("{tag} {value:.4}")).unwrap_or_default();
        self.task.set_total(step.total as u64);
        self.task.set(step.iteration as u64, &note);
        self.records.push(record);
    }

    fn cancelled(&self) -> bool {
        interrupt::asked()
    }
}

struct Place {
    built: Box<dyn ImageSource>,
    slot: CacheSlot,
}

fn place(context: &Context, source: &SourceTable, teacher: &Teacher, seed: u64) -> Result<Place> {
    let entry = context.registry.sources.get(&source.source).map_err(|error| error.within("images"))?;
    // What is built is what the cache's identity names, defaults of inner tables included.
    let table = merge_defaults((entry.defaults)(), source.table.clone());
    let built = context.registry.source(&source.source, table.clone()).map_err(|error| error.within("images"))?;
    let versions = Versions::current();
    let identity = cache_identity(&teacher.hash, &source.source, &table, seed)
        + &format!("device {}\nblindfold {}\nburn {}\n", context.device.name, versions.blindfold, versions.burn);
    let slot = CacheSlot::new(&context.project.cache().join("images"), &identity);
    Ok(Place { built, slot })
}

/// Where the images that `source` gives for this teacher and seed lie once they are made; none for real ones.
pub(crate) fn slot(context: &Context, source: &SourceTable, teacher: &Teacher, seed: u64) -> Result<Option<CacheSlot>> {
    let Place { built, slot, .. } = place(context, source, teacher, seed)?;
    Ok((!built.needs_real()).then_some(slot))
}

/// The images that `source` gives for this teacher and seed. `None` when the user stopped it.
pub(crate) fn make(
    context: &Context,
    source: &SourceTable,
    data: &DataTable,
    teacher: &Teacher,
    seed: u64,
    label: &str,
) -> Result<Option<MadeImages>> {
    let Place { built, slot } = place(context, source, teacher, seed)?;
    let real = built.needs_real();
    let passes = built.passes(&teacher.network);
    // Real images are never written into the cache.
    if let Some((images, records)) = slot.read().filter(|_| !real) {
        context.console.line(&format!("{label} {} images of {} from the cache", images.len(), source.source));
        return Ok(Some(MadeImages { images, records, key: slot.key, real, passes }));
    }
    let waits = |holder: &str| context.console.line(&format!("{label} waits for the images that {holder} makes"));
    let claim = match real {
        true => None,
        false => match slot.claim(waits)? {
            Claimed::Mine(claim) => Some(claim),
            Claimed::Made(images, records) => {
                return Ok(Some(MadeImages { images, records, key: slot.key, real, passes }));
            }
            Claimed::Stopped => return Ok(None),
        },
    };
    let real_images = if real { Some(context.real_images(&data_of(built.as_ref(), data)?)?) } else { None };
    // How many steps there are, the source says with the first of them.
    let task = context.console.task(label, 1, 0);
    let mut report = Report { task, records: Vec::new(), began: Instant::now(), seen: 0 };
    let request = Request {
        teacher: &teacher.network,
        normalization: &teacher.normalization,
        seed,
        real: real_images.as_deref(),
        progress: &mut report,
    };
    let images = match built.synthesize(request) {
        Ok(images) => images,
        Err(SynthError::Cancelled) => {
            report.task.end("stopped");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let Report { task, records, .. } = report;
    task.end(&format!("{} images of {}", images.len(), source.source));
    let key = if real {
        sha256_hex(&images.to_bytes()?)
    } else {
        slot.write(&images, &records)?;
        slot.key
    };
    if let Some(claim) = claim {
        claim.finish();
    }
    Ok(Some(MadeImages { images, records, key, real, passes }))
}
